// One device to test, in one call: guest RAM, a disk with known bytes, the device of a flavour, and the raw driver
// over it. Counts interrupts and failure messages, and owns the device's clock. Tests of the device contract start
// here; what they expect is typed in by hand, from the standard and the contract.

import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import type { VirtioBlkOptions } from '../../host/device/options.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/raw.ts'
import type { RawRequest } from '../../host/driver/raw-request.ts'
import { type Flavour, flavours } from './engines.ts'

export type DeviceOptions = Partial<
  Omit<VirtioBlkOptions, 'memory' | 'backend' | 'clock' | 'onInterrupt' | 'onFailure'>
>

export interface SetUpOptions {
  /** bytes of the disk. Default 1 MiB. Its content is diskByte(). */
  diskBytes?: number
  /** what stores the bytes, given the disk; default: the disk itself */
  backend?: (disk: MemoryBackend) => BlockBackend
  /** guest RAM in pieces. Default: 1 MiB at address 0. */
  regions?: readonly { gpa: number; bytes: number }[]
  stateBytes?: number
  /** the device's options */
  device?: DeviceOptions
  /** no clock option: the device uses real time and timers. Default false. */
  realTime?: boolean
  /** called at every interrupt, after it was counted */
  onInterrupt?: () => void
}

/** What byte `at` of a fresh disk holds: differs from sector to sector and within one. */
export function diskByte(at: number): number {
  return (at * 7 + Math.floor(at / 512) * 29 + 3) & 0xff
}

/** What a fresh disk holds from byte `from` on. */
export function diskBytes(from: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let i = 0; i < count; i++) bytes[i] = diskByte(from + i)
  return bytes
}

/** Bytes to write, unlike those of the disk. */
export function pattern(count: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 13 + (i >> 8) * 5 + seed * 101) & 0xff)
}

type CounterName = keyof VirtioBlk['counters']

export class Fixture {
  readonly flavour: Flavour
  readonly memory: GuestMemory
  readonly disk: MemoryBackend
  readonly device: VirtioBlk
  readonly raw: Raw
  readonly #seen: { interrupts: number; now: number; failures: string[] }

  constructor(
    flavour: Flavour,
    memory: GuestMemory,
    disk: MemoryBackend,
    device: VirtioBlk,
    seen: { interrupts: number; now: number; failures: string[] },
  ) {
    this.flavour = flavour
    this.memory = memory
    this.disk = disk
    this.device = device
    this.raw = new Raw({ mmio: device, memory })
    this.#seen = seen
  }

  /** interrupts raised so far */
  get interrupts(): number {
    return this.#seen.interrupts
  }

  /** messages to onFailure so far */
  get failures(): readonly string[] {
    return this.#seen.failures
  }

  /** moves the device's clock by so many nanoseconds */
  advance(nanos: number): void {
    this.#seen.now += nanos
  }

  counter(name: CounterName): number {
    return this.device.counters[name]
  }

  /** A copy of all guest RAM, to compare with a later one. */
  ram(): Buffer {
    return Buffer.concat(this.memory.regions.map(({ gpa, bytes }) => this.memory.view(gpa, bytes)))
  }

  /** Runs `act` and returns what the named counters gained. */
  gained<Name extends CounterName>(names: readonly Name[], act: () => void): Record<Name, number> {
    const before = this.device.counters
    act()
    const after = this.device.counters
    const gain = {} as Record<Name, number>
    for (const name of names) gain[name] = after[name] - before[name]
    return gain
  }
}

export async function setUp(flavour: Flavour, options: SetUpOptions = {}): Promise<Fixture> {
  const seen = { interrupts: 0, now: 1_000_000_000, failures: [] as string[] }
  const regions = options.regions ?? [{ gpa: 0, bytes: 1 << 20 }]
  const memory = flavour.memory({ regions, stateBytes: options.stateBytes ?? 2 << 20 })
  const disk = new MemoryBackend(diskBytes(0, options.diskBytes ?? 1 << 20))
  const device = await VirtioBlk.create({
    engine: flavour.engine,
    ...options.device,
    memory,
    backend: options.backend?.(disk) ?? disk,
    ...(options.realTime ? {} : { clock: () => seen.now }),
    onInterrupt: () => {
      seen.interrupts++
      options.onInterrupt?.()
    },
    onFailure: (message) => seen.failures.push(message),
  })
  return new Fixture(flavour, memory, disk, device, seen)
}

/** One test per flavour. */
export function each(test: Test, name: string, run: (flavour: Flavour) => Promise<void> | void): void {
  for (const flavour of flavours) test(`${name} [${flavour.name}]`, () => run(flavour))
}

/** The request was answered: status, used length, and nothing outside its writable bytes changed. */
export function answered(request: RawRequest, status: number, usedLen: number, about = 'request'): void {
  assert.is(request.status(), status, `${about}: status`)
  assert.is(request.usedLen(), usedLen, `${about}: used length`)
  assert.ok(request.intact(), `${about}: bytes around the buffers changed`)
}

/** The request was not answered: no used element, no writable byte changed. */
export function unanswered(request: RawRequest, about = 'request'): void {
  assert.is(request.used(), undefined, `${about}: used element`)
  assert.ok(request.untouched(), `${about}: writable bytes changed`)
  assert.ok(request.intact(), `${about}: bytes around the buffers changed`)
}

/** The device serves a read: the proof that it is alive. */
export function serves(fixture: Fixture): void {
  const { queue, status } = fixture.raw.negotiate()
  assert.is(status, 0x0f, 'status after bring-up')
  const read = queue.run({ type: 0, sector: 3, dataIn: 512 })
  answered(read, 0, 513, 'read after bring-up')
  assert.equal(read.data(), fixture.disk.bytes.slice(1536, 2048))
}
