// A device with a clock in the test's hand, over a memory disk of which every back-end call is logged, and the raw
// driver: what the throttle tests start from. One call makes a bare device; the test negotiates as it likes. The
// clock starts at one second and moves only when the test moves it.

import type { Test } from 'uvu'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import type { VirtioBlkOptions } from '../../host/device/options.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/raw.ts'
import type { RawRequestOptions } from '../../host/driver/raw-request.ts'
import { type Flavour, flavours } from './engines.ts'
import { FaultyBackend, type Script } from './faulty-backend.ts'

export const SECOND = 1_000_000_000
export const HOUR = 3600 * SECOND
export const START = SECOND

export interface RigOptions extends Partial<Omit<VirtioBlkOptions, 'memory' | 'engine' | 'clock' | 'onInterrupt'>> {
  diskBytes?: number
  script?: Script
  /** Default: 1 MiB at address 0. */
  regions?: { gpa: number; bytes: number }[]
  /** let the device use its own clock and timers. Default false. */
  realClock?: boolean
}

export interface Rig {
  disk: VirtioBlk
  raw: Raw
  memory: GuestMemory
  /** the disk's content; byte i of sector n holds n + 1 at the start */
  content: Uint8Array
  /** the log of what reached the back end */
  backend: FaultyBackend
  clock: { now: number }
  /** how often the interrupt was raised */
  irqs(): number
  /** the lines the device wrote about failures */
  failures: string[]
}

export type MakeRig = (options?: RigOptions) => Promise<Rig>

export function makerOf(flavour: Flavour): MakeRig {
  return async (options = {}) => {
    const {
      diskBytes = 64 << 10,
      script,
      regions = [{ gpa: 0, bytes: 1 << 20 }],
      realClock,
      backend,
      ...rest
    } = options
    const memory = flavour.memory({ regions, stateBytes: 1 << 20 })
    const inner = new MemoryBackend(diskBytes)
    for (let at = 0; at < diskBytes; at += 512) inner.bytes.fill(at / 512 + 1, at, at + 512)
    const logged = new FaultyBackend(backend ?? inner, script)
    const clock = { now: START }
    const failures: string[] = []
    let irqs = 0
    const disk = await VirtioBlk.create({
      ...rest,
      memory,
      backend: logged,
      engine: flavour.engine,
      ...(realClock ? {} : { clock: () => clock.now }),
      onInterrupt: () => {
        irqs++
      },
      onFailure: (message) => failures.push(message),
    })
    const raw = new Raw({ mmio: disk, memory })
    return { disk, raw, memory, content: inner.bytes, backend: logged, clock, irqs: () => irqs, failures }
  }
}

/** Registers a test once per engine flavour; the flavour's name goes behind the test's. */
export function eachFlavour(test: Test, only: readonly Flavour[] = flavours) {
  return (name: string, run: (make: MakeRig) => void | Promise<void>): void => {
    for (const flavour of only) test(`${name} [${flavour.name}]`, () => run(makerOf(flavour)))
  }
}

/** A disk whose writes and flushes move nothing and always work, for tests that count gigabytes. */
export function hollowDisk(capacityBytes: number): BlockBackend {
  const total = (buffers: Uint8Array[]): number => buffers.reduce((sum, { length }) => sum + length, 0)
  return { capacityBytes, inPlace: true, read: (_, into) => total(into), write: (_, from) => total(from), flush() {} }
}

export function readOf(sector: number, bytes = 512): RawRequestOptions {
  return { type: 0, sector, dataIn: bytes }
}

export function writeOf(sector: number, dataOut: Uint8Array): RawRequestOptions {
  return { type: 1, sector, dataOut }
}

export const FLUSH: RawRequestOptions = { type: 4 }

export function idOf(bytes = 20): RawRequestOptions {
  return { type: 8, dataIn: bytes }
}
