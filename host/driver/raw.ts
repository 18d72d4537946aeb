// A driver without manners, for conformance checks, fuzzers and tests of single rules: registers, guest bytes, any
// number of queues, and one helper that brings the device to a chosen state with chosen features, ring sizes and
// ring addresses (3.1.1, 4.2.3). Everything is synchronous and does exactly the accesses it says.
//
// Validates nothing and repairs nothing: after every step ask the device what it made of it. Takes its memory from
// the lower half of the first region by default; VirtioBlkDriver takes the upper half, so both fit on one guest.

import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
} from '../../assembly/spec.ts'
import { BumpArena } from './arena.ts'
import { GuestBytes } from './bytes.ts'
import { RawQueue, type RawQueueOptions } from './raw-queue.ts'
import { Registers } from './registers.ts'
import type { DriverMemory, MmioBus } from './types.ts'

/** How far negotiate() goes: each stage includes the ones before it. */
export type Stage = 'reset' | 'acknowledge' | 'driver' | 'features' | 'featuresOk' | 'queues' | 'driverOk'

const STAGES: readonly Stage[] = ['reset', 'acknowledge', 'driver', 'features', 'featuresOk', 'queues', 'driverOk']

/** accepted by default where offered; EVENT_IDX and FLUSH have options of their own */
const PLAIN_FEATURES = [VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_BLK_SIZE]

export interface NegotiateOptions {
  /** Default 'driverOk'. */
  upTo?: Stage
  /** the values that the steps write to Status, where not 1, 3, 0x0b, 0x0f */
  status?: { acknowledge?: number; driver?: number; featuresOk?: number; driverOk?: number }
  /** exactly these bits, offered or not; `eventIdx`, `flush`, `add` and `drop` are then ignored */
  features?: Iterable<number>
  /** accept EVENT_IDX, offered or not. Default false. */
  eventIdx?: boolean
  /** accept FLUSH, offered or not. Default: if offered. */
  flush?: boolean
  /** bits to add to, to take from the default set (VERSION_1 and what is offered of SIZE_MAX, SEG_MAX, RO, BLK_SIZE) */
  add?: Iterable<number>
  drop?: Iterable<number>
  /** the queues to lay out and program, in this order. Default: queue 0. Default size: 16, or QueueSizeMax. */
  queues?: readonly RawQueueOptions[]
  /** leave the arena as it is. Default false: everything handed out before is free again, old rings included. */
  keepArena?: boolean
}

export interface Negotiated {
  /** Status at the end */
  status: number
  /** Status as read after each write to it, reset first */
  statusSeen: number[]
  /** the bits written to DriverFeatures */
  features: Set<number>
  queues: RawQueue[]
  /** the first of `queues`; throws if there is none */
  readonly queue: RawQueue
  /** QueueReady of each queue as read back */
  ready: number[]
}

export interface RawOptions {
  mmio: MmioBus
  memory: DriverMemory
  /** where rings and buffers come from. Default: from the second page of the first region to its middle. */
  arenaBase?: number
  arenaBytes?: number
}

const PAGE = 4096
const DEFAULT_SIZE = 16

export class Raw {
  /** the registers */
  readonly reg: Registers
  /** guest bytes, any address */
  readonly mem: GuestBytes
  /** guest addresses for buffers and rings */
  readonly arena: BumpArena

  constructor(options: RawOptions) {
    const first = options.memory.regions[0]
    const base = options.arenaBase ?? (first?.gpa ?? 0) + PAGE
    const middle = first ? first.gpa + Math.floor(first.bytes / 2 / PAGE) * PAGE : base
    this.reg = new Registers(options.mmio)
    this.mem = new GuestBytes(options.memory)
    this.arena = new BumpArena(base, options.arenaBytes ?? Math.max(middle - base, 0))
  }

  /** A queue, laid out but not programmed. */
  queue(options: RawQueueOptions = {}): RawQueue {
    return new RawQueue(this, options)
  }

  /** The feature set that negotiate() writes with these options. */
  chooseFeatures(options: NegotiateOptions = {}): Set<number> {
    if (options.features) return new Set(options.features)
    const offered = this.reg.offeredFeatures()
    const chosen = new Set(PLAIN_FEATURES.filter((bit) => offered.has(bit)))
    chosen.add(VIRTIO_F_VERSION_1)
    if (options.flush ?? offered.has(VIRTIO_BLK_F_FLUSH)) chosen.add(VIRTIO_BLK_F_FLUSH)
    if (options.eventIdx) chosen.add(VIRTIO_F_EVENT_IDX)
    for (const bit of options.add ?? []) chosen.add(bit)
    for (const bit of options.drop ?? []) chosen.delete(bit)
    return chosen
  }

  /** Resets the device and walks it up to a stage. Never throws on what the device answers. */
  negotiate(options: NegotiateOptions = {}): Negotiated {
    const last = STAGES.indexOf(options.upTo ?? 'driverOk')
    const statusSeen: number[] = []
    const step = (stage: Stage, run: () => void): void => {
      if (STAGES.indexOf(stage) <= last) run()
    }
    const setStatus = (value: number): void => {
      this.reg.status = value
      statusSeen.push(this.reg.status)
    }
    const acknowledge = options.status?.acknowledge ?? VIRTIO_CONFIG_S_ACKNOWLEDGE
    const driver = options.status?.driver ?? acknowledge | VIRTIO_CONFIG_S_DRIVER
    const featuresOk = options.status?.featuresOk ?? driver | VIRTIO_CONFIG_S_FEATURES_OK
    const driverOk = options.status?.driverOk ?? featuresOk | VIRTIO_CONFIG_S_DRIVER_OK
    let features = new Set<number>()
    const queues: RawQueue[] = []
    const ready: number[] = []

    if (!options.keepArena) this.arena.rewind()
    step('reset', () => setStatus(0))
    step('acknowledge', () => setStatus(acknowledge))
    step('driver', () => setStatus(driver))
    step('features', () => {
      features = this.chooseFeatures(options)
      this.reg.acceptFeatures(features)
    })
    step('featuresOk', () => setStatus(featuresOk))
    step('queues', () => {
      for (const place of options.queues ?? [{}]) {
        const queue = this.queue({ size: this.#defaultSize(place.queue ?? 0), ...place })
        queues.push(queue)
        ready.push(queue.program())
      }
    })
    step('driverOk', () => setStatus(driverOk))
    return {
      status: this.reg.status,
      statusSeen,
      features,
      queues,
      ready,
      get queue(): RawQueue {
        const [first] = queues
        if (!first) throw new RangeError('negotiate: no queue was set up')
        return first
      },
    }
  }

  #defaultSize(queue: number): number {
    this.reg.selectQueue(queue)
    const most = this.reg.queueSizeMax
    return most > 0 && most < DEFAULT_SIZE ? most : DEFAULT_SIZE
  }

  /** Waits, by short timers, until `condition` holds; false if it does not within `ms` milliseconds. */
  async until(condition: () => boolean, ms = 2000): Promise<boolean> {
    const end = Date.now() + ms
    while (!condition()) {
      if (Date.now() > end) return false
      await new Promise<void>((resolve) => setTimeout(resolve, 1))
    }
    return true
  }
}
