// A guest whose device and RAM can be exchanged under it: for tests of snapshots. The raw driver talks to whatever
// device is there now; move() takes a snapshot, copies guest RAM into a memory of another flavour, and goes on there.

import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import type { RestoreOptions } from '../../host/device/restore.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/raw.ts'
import { type DeviceOptions, diskBytes } from './device.ts'
import { type Flavour, flavours } from './engines.ts'

const RAM_BYTES = 1 << 20
const ONE_REGION = [{ gpa: 0, bytes: RAM_BYTES }]

/** The other half of a restore's options. */
export type MoveOptions = Partial<RestoreOptions>

export class MovingDevice {
  memory: GuestMemory
  /** the clock of the device that is there now */
  now = 1_000_000_000
  /** calls of onInterrupt, by the device that is there now */
  interrupts = 0
  onInterrupt: () => void = () => {}
  readonly failures: string[] = []
  readonly disk = new MemoryBackend(diskBytes(0, 1 << 20))
  readonly raw: Raw
  #device: VirtioBlk | undefined
  readonly #regions: readonly { gpa: number; bytes: number }[]
  #life = 0

  /** `regions`: guest RAM in pieces that lie within the first MiB. Default: all of it in one piece. */
  constructor(flavour: Flavour, regions: readonly { gpa: number; bytes: number }[] = ONE_REGION) {
    this.#regions = regions
    this.memory = this.#make(flavour)
    this.raw = new Raw({
      mmio: {
        mmioRead: (offset, width) => this.device.mmioRead(offset, width),
        mmioWrite: (offset, width, value) => this.device.mmioWrite(offset, width, value),
      },
      memory: { regions, view: (gpa, bytes) => this.memory.view(gpa, bytes) },
    })
  }

  get device(): VirtioBlk {
    assert.ok(this.#device)
    return this.#device
  }

  #make(flavour: Flavour): GuestMemory {
    return flavour.memory({ regions: this.#regions, stateBytes: 1 << 20 })
  }

  /** A copy of guest RAM. */
  ram(): Uint8Array {
    const bytes = new Uint8Array(RAM_BYTES)
    for (const { gpa, bytes: length } of this.#regions) bytes.set(this.memory.view(gpa, length), gpa)
    return bytes
  }

  async start(flavour: Flavour, device: DeviceOptions = {}, backend: BlockBackend = this.disk): Promise<this> {
    this.#device = await VirtioBlk.create({
      ...device,
      engine: flavour.engine,
      memory: this.memory,
      backend,
      ...this.#owner(),
    })
    return this
  }

  /** What only the device that is there now may count and ask. */
  #owner(): Pick<RestoreOptions, 'clock' | 'onInterrupt' | 'onFailure'> {
    const life = ++this.#life
    return {
      clock: () => this.now,
      onInterrupt: () => {
        if (life !== this.#life) return
        this.interrupts++
        this.onInterrupt()
      },
      onFailure: (message) => this.failures.push(message),
    }
  }

  /** The options with which `flavour` restores it over the same disk and a copy of the RAM. */
  target(flavour: Flavour, options: MoveOptions = {}, ram: Uint8Array = this.ram()): RestoreOptions {
    const memory = this.#make(flavour)
    for (const { gpa, bytes } of this.#regions) memory.view(gpa, bytes).set(ram.subarray(gpa, gpa + bytes))
    return { engine: flavour.engine, memory, backend: this.disk, ...this.#owner(), ...options }
  }

  /** Closes the device and goes on with the one that is made from `bytes`, its own snapshot by default. */
  async move(flavour: Flavour, options: MoveOptions = {}, bytes = this.device.snapshot()): Promise<VirtioBlk> {
    const target = this.target(flavour, options)
    await this.device.close()
    // Another machine, whose clock says something else.
    this.now += 12_345_678_901
    this.interrupts = 0
    this.memory = target.memory
    this.#device = await VirtioBlk.restore(bytes, target)
    return this.#device
  }
}

/** Every flavour with itself and with every other. */
export const moves: readonly (readonly [name: string, from: Flavour, to: Flavour])[] = flavours.flatMap((from) =>
  flavours.map((to) => [`${from.name} -> ${to.name}`, from, to] as const),
)

export async function moving(flavour: Flavour, device: DeviceOptions = {}): Promise<MovingDevice> {
  return new MovingDevice(flavour).start(flavour, device)
}
