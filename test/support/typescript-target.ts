// The plain TypeScript device (test/bench/typescript-device.ts) as a target of the conformance kit, from its source as
// it is or with pieces replaced: devices that are wrong on purpose. It answers inside mmioWrite; held requests end in
// release(). Mutants that no change of the source can make wrap the target.

import { build } from 'esbuild'
import { CachedDisk } from '../../host/conformance/own-target.ts'
import type { Target, TargetFactory, TargetFacts } from '../../host/conformance/target.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { flush, read, write } from '../../host/device/transfer.ts'
import { DO_FLUSH, DO_IN } from '../bench/typescript-chain.ts'
import { FLUSH_FIRST, type TypeScriptDevice } from '../bench/typescript-device.ts'
import { readSource } from './source.ts'

type SourceFile = 'chain' | 'device' | 'transport'
/** A piece of source that occurs once, and what it becomes. */
export type Patch = readonly [file: SourceFile, find: string, replace: string]
type DeviceClass = typeof TypeScriptDevice
/** Changes a target in place of the source, its disk at hand. */
export type Wrap = (target: Target, disk: CachedDisk) => Target

const RAM_BYTES = 8 << 20
const DISK_BYTES = 1 << 20
const SIZE_MAX = 65536
const SEG_MAX = 16
const QUEUE_SIZE_MAX = 256
const SERIAL = 'conformance'
const STATUS = 0x070
const QUEUE_READY = 0x044
const CONFIG = 0x100

function patched(file: string, text: string, patches: readonly Patch[]): string {
  let contents = text
  for (const [name, find, replace] of patches) {
    if (file !== `typescript-${name}.ts`) continue
    const [before = '', after, ...more] = contents.split(find)
    if (after === undefined || more.length > 0) throw new Error(`patch: not once in ${file}: ${find}`)
    contents = before + replace + after
  }
  return contents
}

/** The device's class, compiled from its source with these changes. */
export async function patchedDevice(patches: readonly Patch[]): Promise<DeviceClass> {
  const { outputFiles } = await build({
    entryPoints: ['test/bench/typescript-device.ts'],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'patch',
        setup(plugin) {
          plugin.onLoad({ filter: /\btypescript-(chain|device|transport)\.ts$/ }, ({ path }) => {
            const file = path.slice(path.lastIndexOf('/') + 1)
            return { contents: patched(file, readSource(path), patches), loader: 'ts' }
          })
        },
      },
    ],
  })
  const url = `data:text/javascript;base64,${Buffer.from(outputFiles[0]?.contents ?? []).toString('base64')}`
  return ((await import(url)) as { TypeScriptDevice: DeviceClass }).TypeScriptDevice
}

class PlainTarget implements Target {
  readonly memory = GuestMemory.create({ ramBytes: RAM_BYTES, stateBytes: 0 })
  readonly disk = new CachedDisk(DISK_BYTES)
  readonly mmio = this
  readonly facts: TargetFacts
  readonly #device: TypeScriptDevice
  /** resets and stopped queues so far: what was planned before the last one gets no data */
  #epoch = 0
  #held: (() => void)[] | undefined

  constructor(Device: DeviceClass, readOnly: boolean, blockSize: number) {
    const { memory } = this
    this.facts = { capacityBytes: DISK_BYTES, serial: SERIAL, blockSize, sizeMax: SIZE_MAX, segMax: SEG_MAX, queues: 1 }
    this.#device = new Device({
      ...{ buffer: memory.memory.buffer, regions: memory.regions, capacityBytes: DISK_BYTES, serial: SERIAL, now: 0 },
      ...{ readOnly, blockSize, sizeMax: SIZE_MAX, segMax: SEG_MAX, queueSizeMax: QUEUE_SIZE_MAX },
    })
  }

  mmioRead(offset: number, width: number): number {
    if (width === 4 && offset % 4 === 0) return this.#device.mmioRead(offset)
    if (offset < CONFIG) return 2 ** (8 * width) - 1
    const byte = (at: number): number => (this.#device.mmioRead(at - (at % 4)) >>> (8 * (at % 4))) & 0xff
    return Array.from({ length: width }, (_, i) => byte(offset + i) * 256 ** i).reduce((sum, value) => sum + value)
  }

  mmioWrite(offset: number, width: number, value: number): void {
    if (width !== 4 || offset % 4 !== 0 || offset >= CONFIG) return
    if ((offset === STATUS && value === 0) || (offset === QUEUE_READY && value !== 1)) this.#epoch++
    if (this.#device.mmioWrite(offset, value)) this.#drain()
  }

  interrupts(): number {
    return this.#device.counters.interrupts ?? 0
  }

  setCapacity(bytes: number): void {
    this.#device.setCapacity(bytes)
  }

  content(offset: number, bytes: number): Uint8Array {
    return this.disk.volatile.slice(offset, offset + bytes)
  }

  stable(offset: number, bytes: number): Uint8Array {
    return this.disk.stable.slice(offset, offset + bytes)
  }

  hold(): void {
    this.#held ??= []
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const end of held) end()
  }

  #drain(): void {
    const count = this.#device.plan(0, 0, QUEUE_SIZE_MAX)
    for (const slot of this.#device.planned.slice(0, count)) {
      const epoch = this.#epoch
      if (this.#held === undefined) this.#end(slot, epoch)
      else this.#held.push(() => this.#publish(() => this.#end(slot, epoch)))
    }
    this.#publish(() => {})
  }

  #publish(act: () => void): void {
    act()
    this.#device.publish(0)
  }

  #end(slot: number, epoch: number): void {
    const result = epoch === this.#epoch ? this.#move(slot) : 0
    if (this.#device.complete(slot, result) === FLUSH_FIRST) this.#device.complete(slot, flush(this.disk) as number)
  }

  #move(slot: number): number {
    const { verdict, ptrs, lens, pieces, sector, bytes } = this.#device.request(slot)
    if (verdict === DO_FLUSH) return flush(this.disk) as number
    const { buffer } = this.memory.memory
    const buffers = Array.from(ptrs.subarray(0, pieces), (ptr, i) => new Uint8Array(buffer, ptr, lens[i]))
    return (verdict === DO_IN ? read : write)(this.disk, sector * 512, buffers, bytes) as number
  }
}

/** Makes devices of the class, one per check. */
export function plainTarget(Device: DeviceClass, wrap: Wrap = (target) => target): TargetFactory {
  return (kind) => {
    const target = new PlainTarget(Device, kind === 'readOnly', kind === 'largeBlocks' ? 4096 : 512)
    return wrap(target, target.disk)
  }
}
