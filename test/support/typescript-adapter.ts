// The bench's plain TypeScript device (test/bench/typescript-device.ts) with a back end behind it, so that it can be
// held to the model side by side like the real device: a yardstick that skips checks would flatter nobody.

import { GuestMemory } from '../../host/device/guest-memory.ts'
import { flush, read, write } from '../../host/device/transfer.ts'
import { DO_FLUSH, DO_IN } from '../bench/typescript-chain.ts'
import { FLUSH_FIRST, TypeScriptDevice } from '../bench/typescript-device.ts'
import type { Device, MakeDevice, Surroundings } from './rig.ts'

class Adapter implements Device {
  readonly #device: TypeScriptDevice
  readonly #around: Surroundings
  readonly #buffer: ArrayBufferLike
  #interrupts = 0

  constructor(device: TypeScriptDevice, around: Surroundings, buffer: ArrayBufferLike) {
    this.#device = device
    this.#around = around
    this.#buffer = buffer
  }

  get counters(): object {
    return this.#device.counters
  }

  mmioRead(offset: number, width: 1 | 2 | 4): number {
    if (width === 4 && offset % 4 === 0) return this.#device.mmioRead(offset)
    if (offset < 0x100) return width === 4 ? 0 : 2 ** (8 * width) - 1
    const byte = (at: number): number => (this.#device.mmioRead(at - (at % 4)) >>> (8 * (at % 4))) & 0xff
    return Array.from({ length: width }, (_, i) => byte(offset + i) * 256 ** i).reduce((sum, value) => sum + value)
  }

  mmioWrite(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 4 || offset >= 0x100) return
    if (this.#device.mmioWrite(offset, value, this.#around.clock())) this.#drain()
    this.#forward()
  }

  poll(): unknown {
    if (!this.#device.isLive) return 'idle'
    this.#drain()
    const { stalledNanos } = this.#device
    return stalledNanos === 0 ? 'idle' : { stalledNanos }
  }

  setCapacity(bytes: number): void {
    this.#device.setCapacity(bytes)
    this.#forward()
  }

  #drain(): void {
    const device = this.#device
    const count = device.plan(0, this.#around.clock(), this.#around.options.queueSizeMax)
    for (const slot of device.planned.subarray(0, count)) {
      if (device.complete(slot, this.#move(slot)) === FLUSH_FIRST) {
        device.complete(slot, flush(this.#around.backend) as number)
      }
    }
    device.publish(0)
    this.#forward()
  }

  #move(slot: number): number {
    const { verdict, ptrs, lens, pieces, sector, bytes } = this.#device.request(slot)
    const { backend } = this.#around
    if (verdict === DO_FLUSH) return flush(backend) as number
    const buffers = Array.from(ptrs.subarray(0, pieces), (ptr, i) => new Uint8Array(this.#buffer, ptr, lens[i]))
    return (verdict === DO_IN ? read : write)(backend, sector * 512, buffers, bytes) as number
  }

  #forward(): void {
    const raised = (this.#device.counters.interrupts as number) - this.#interrupts
    this.#interrupts += raised
    for (let i = 0; i < raised; i++) this.#around.onInterrupt()
  }
}

export const makeTypeScriptDevice: MakeDevice = async (around) => {
  const { options, clock } = around
  const memory = GuestMemory.create({ regions: options.layout.regions, stateBytes: 0 })
  const { buffer } = memory.memory
  const { regions } = memory
  const device = new TypeScriptDevice({
    ...options,
    buffer,
    regions,
    capacityBytes: options.diskBytes,
    now: clock(),
  })
  const ram = options.layout.regions.map(({ gpa, bytes }) => memory.view(gpa, bytes))
  return { device: new Adapter(device, around, buffer), ram }
}
