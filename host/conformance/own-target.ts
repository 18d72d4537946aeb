// Our own device as a target of the kit, with every extra: a disk in memory that can wait, fail and lose power. The
// command and the kit's tests check this; it is also the example for whoever brings a device of theirs.

import type { BlockBackend } from '../backend/types.ts'
import { BackendError } from '../backend/types.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import type { VirtioBlkOptions } from '../device/options.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import type { Target, TargetFactory, TargetKind } from './target.ts'

const RAM_BYTES = 8 << 20
const STATE_BYTES = 4 << 20
const DISK_BYTES = 1 << 20
const SERIAL = 'conformance'
const SEG_MAX = 16
const SIZE_MAX = 65536
const QUEUE_SIZE_MAX = 256

/** A disk with a write cache: what is written is volatile until it is flushed. */
export class CachedDisk implements BlockBackend {
  readonly capacityBytes: number
  readonly volatile: Uint8Array
  readonly stable: Uint8Array
  /** every call is refused */
  fails = false
  #held: (() => void)[] | undefined

  constructor(bytes: number) {
    this.capacityBytes = bytes
    this.volatile = new Uint8Array(bytes)
    // Every check has a disk of its own: a loop takes a tenth of the time of Uint8Array.from.
    for (let at = 0; at < bytes; at++) this.volatile[at] = at * 7 + (at >> 9) * 29 + 3
    this.stable = this.volatile.slice()
  }

  /** Calls wait from now on. */
  hold(): void {
    this.#held ??= []
  }

  /** All that waits is done, in order, and nothing waits any more. */
  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const end of held) end()
  }

  read(offset: number, into: Uint8Array[]): number | Promise<number> {
    return this.#later(() => this.#each(offset, into, (at, buffer) => buffer.set(this.#piece(at, buffer.length))))
  }

  write(offset: number, from: Uint8Array[]): number | Promise<number> {
    return this.#later(() => this.#each(offset, from, (at, buffer) => this.#piece(at, buffer.length).set(buffer)))
  }

  flush(): void | Promise<void> {
    return this.#later(() => this.stable.set(this.volatile))
  }

  #later<Value>(work: () => Value): Value | Promise<Value> {
    const act = (): Value => {
      if (this.fails) throw new BackendError('EIO')
      return work()
    }
    const held = this.#held
    if (held === undefined) return act()
    return new Promise((resolve, reject) => {
      held.push(() => {
        try {
          resolve(act())
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  #piece(at: number, bytes: number): Uint8Array {
    return this.volatile.subarray(at, at + bytes)
  }

  #each(offset: number, buffers: readonly Uint8Array[], move: (at: number, buffer: Uint8Array) => void): number {
    let at = offset
    for (const buffer of buffers) {
      const whole = Math.max(0, Math.min(buffer.length, this.capacityBytes - at))
      move(at, buffer.subarray(0, whole))
      at += whole
    }
    return at - offset
  }
}

/** How to make ours otherwise: another flavour of the engine, other options of the device. */
export interface OwnOptions {
  engine?: VirtioBlkOptions['engine']
  memory?: (options: { ramBytes: number; stateBytes: number }) => GuestMemory
}

/** Makes our devices, one per check. */
export function ownTarget(options: OwnOptions = {}): TargetFactory {
  return async (kind: TargetKind): Promise<Target> => {
    const make = options.memory ?? GuestMemory.create
    const memory = make({ ramBytes: RAM_BYTES, stateBytes: STATE_BYTES })
    const disk = new CachedDisk(DISK_BYTES)
    const blockSize = kind === 'largeBlocks' ? 4096 : 512
    let interrupts = 0
    const device = await VirtioBlk.create({
      ...(options.engine ? { engine: options.engine } : {}),
      memory,
      backend: disk,
      readOnly: kind === 'readOnly',
      serial: SERIAL,
      segMax: SEG_MAX,
      sizeMax: SIZE_MAX,
      queueSizeMax: QUEUE_SIZE_MAX,
      blockSize,
      onInterrupt: () => {
        interrupts++
      },
      onFailure: () => {},
    })
    return {
      mmio: device,
      memory,
      // Held requests end in promises: the loop goes round once.
      settle: () => new Promise((resolve) => setTimeout(resolve, 0)),
      close: () => device.close(),
      facts: { capacityBytes: DISK_BYTES, serial: SERIAL, blockSize, sizeMax: SIZE_MAX, segMax: SEG_MAX, queues: 1 },
      interrupts: () => interrupts,
      setCapacity: (bytes) => device.setCapacity(bytes),
      content: (offset, bytes) => disk.volatile.slice(offset, offset + bytes),
      stable: (offset, bytes) => disk.stable.slice(offset, offset + bytes),
      hold: () => disk.hold(),
      release: () => disk.release(),
      failing: (fails) => {
        disk.fails = fails
      },
    }
  }
}
