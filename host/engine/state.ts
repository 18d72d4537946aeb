// The host's view on a device's state block: the configuration record it writes before init(), the request records
// that plan() fills, and the counters. Offsets are abi.ts's. Guest RAM is never touched here. Portable.

import * as abi from '../../assembly/abi.ts'

export interface StateConfig {
  deviceFeatures: bigint
  capacitySectors: number
  queues: number
  queueSizeMax: number
  segMax: number
  sizeMax: number
  blockSize: number
  readOnly: boolean
  /** at most 20 bytes */
  serial: Uint8Array
  regions: readonly { gpa: number; bytes: number; ptr: number }[]
}

/** Tokens per second and bucket size, per dimension; rate 0 = unlimited. */
export interface ThrottleRecord {
  opsRate: bigint
  opsCapacity: bigint
  bytesRate: bigint
  bytesCapacity: bigint
}

/** What the device has counted since it was made, resets included; `currentlyThrottled` is a gauge. */
export interface Counters {
  readsCompleted: number
  bytesRead: number
  writesCompleted: number
  bytesWritten: number
  flushesCompleted: number
  idsCompleted: number
  discardsCompleted: number
  writeZeroesCompleted: number
  unsupported: number
  ioErrors: number
  shortReads: number
  throttledCount: number
  throttledNanos: number
  currentlyThrottled: number
  invalidAvailIdx: number
  ringFaults: number
  statusWriteFailures: number
  kicks: number
  ignoredKicks: number
  drains: number
  interrupts: number
  suppressedInterrupts: number
  resets: number
  engineTraps: number
}

export const COUNTER_INDEX: Record<keyof Counters, number> = {
  readsCompleted: abi.COUNTER_READS_COMPLETED,
  bytesRead: abi.COUNTER_BYTES_READ,
  writesCompleted: abi.COUNTER_WRITES_COMPLETED,
  bytesWritten: abi.COUNTER_BYTES_WRITTEN,
  flushesCompleted: abi.COUNTER_FLUSHES_COMPLETED,
  idsCompleted: abi.COUNTER_IDS_COMPLETED,
  discardsCompleted: abi.COUNTER_DISCARDS_COMPLETED,
  writeZeroesCompleted: abi.COUNTER_WRITE_ZEROES_COMPLETED,
  unsupported: abi.COUNTER_UNSUPPORTED,
  ioErrors: abi.COUNTER_IO_ERRORS,
  shortReads: abi.COUNTER_SHORT_READS,
  throttledCount: abi.COUNTER_THROTTLED_COUNT,
  throttledNanos: abi.COUNTER_THROTTLED_NANOS,
  currentlyThrottled: abi.COUNTER_CURRENTLY_THROTTLED,
  invalidAvailIdx: abi.COUNTER_INVALID_AVAIL_IDX,
  ringFaults: abi.COUNTER_RING_FAULTS,
  statusWriteFailures: abi.COUNTER_STATUS_WRITE_FAILURES,
  kicks: abi.COUNTER_KICKS,
  ignoredKicks: abi.COUNTER_IGNORED_KICKS,
  drains: abi.COUNTER_DRAINS,
  interrupts: abi.COUNTER_INTERRUPTS,
  suppressedInterrupts: abi.COUNTER_SUPPRESSED_INTERRUPTS,
  resets: abi.COUNTER_RESETS,
  engineTraps: abi.COUNTER_ENGINE_TRAPS,
}

/** By their index in the state block. */
export const COUNTER_NAMES = Object.keys(COUNTER_INDEX) as readonly (keyof Counters)[]

/** The part of a slot's name that is the index of its record. */
const SLOT_MASK = (1 << abi.SLOT_QUEUE_SHIFT) - 1

/** Where a queue's block lies in the state block. */
export function queueOffset(queue: number): number {
  return abi.STATE_QUEUE_TABLE + queue * abi.QUEUE_BYTES
}

export class EngineState {
  readonly ptr: number
  readonly #memory: WebAssembly.Memory
  #words: Uint32Array
  #slotBytes = 0
  readonly #records: number[] = []

  constructor(memory: WebAssembly.Memory, ptr: number) {
    this.ptr = ptr
    this.#memory = memory
    this.#words = new Uint32Array(memory.buffer)
  }

  /** The linear memory as u32 words: index = byte offset / 4. Take it anew before each use, memories can grow. */
  get words(): Uint32Array {
    if (this.#words.buffer !== this.#memory.buffer) this.#words = new Uint32Array(this.#memory.buffer)
    return this.#words
  }

  /** The state block, and all behind it. Made anew at each call, memories can grow. */
  view(): DataView {
    return new DataView(this.#memory.buffer, this.ptr)
  }

  writeConfig(config: StateConfig): void {
    const view = this.view()
    view.setBigUint64(abi.STATE_DEVICE_FEATURES, config.deviceFeatures, true)
    view.setBigUint64(abi.STATE_CAPACITY_SECTORS, BigInt(config.capacitySectors), true)
    view.setUint32(abi.STATE_QUEUES, config.queues, true)
    view.setUint32(abi.STATE_QUEUE_SIZE_MAX, config.queueSizeMax, true)
    view.setUint32(abi.STATE_SEG_MAX, config.segMax, true)
    view.setUint32(abi.STATE_SIZE_MAX, config.sizeMax, true)
    view.setUint32(abi.STATE_BLOCK_SIZE, config.blockSize, true)
    view.setUint32(abi.STATE_READ_ONLY, config.readOnly ? 1 : 0, true)
    config.serial.forEach((byte, i) => {
      view.setUint8(abi.STATE_SERIAL + i, byte)
    })
    view.setUint32(abi.STATE_REGIONS, config.regions.length, true)
    config.regions.forEach((region, i) => {
      const at = abi.STATE_REGION_TABLE + i * abi.REGION_BYTES
      view.setBigUint64(at + abi.REGION_GPA, BigInt(region.gpa), true)
      view.setBigUint64(at + abi.REGION_SIZE, BigInt(region.bytes), true)
      view.setUint32(at + abi.REGION_PTR, region.ptr, true)
    })
  }

  writeThrottle(throttle: ThrottleRecord): void {
    const view = this.view()
    view.setBigUint64(abi.STATE_THROTTLE_CONFIG, throttle.opsRate, true)
    view.setBigUint64(abi.STATE_THROTTLE_CONFIG + 8, throttle.opsCapacity, true)
    view.setBigUint64(abi.STATE_THROTTLE_CONFIG + 16, throttle.bytesRate, true)
    view.setBigUint64(abi.STATE_THROTTLE_CONFIG + 24, throttle.bytesCapacity, true)
  }

  /** u64s as numbers: exact up to 2^53. */
  readCounters(): Counters {
    const view = this.view()
    const counters = { ...COUNTER_INDEX }
    for (const [name, index] of Object.entries(COUNTER_INDEX)) {
      counters[name as keyof Counters] = Number(view.getBigUint64(abi.STATE_COUNTERS + 8 * index, true))
    }
    return counters
  }

  #queue(queue: number): number {
    return this.ptr + queueOffset(queue)
  }

  /** A u32 field (QUEUE_*) of a queue block. */
  queueWord(queue: number, field: number): number {
    return this.words[(this.#queue(queue) + field) >>> 2] as number
  }

  /** Offset of a slot's request record, which its segment list follows. Where the records lie is fixed by init(). */
  record(queue: number, slot: number): number {
    this.#slotBytes ||= this.words[(this.ptr + abi.STATE_SLOT_BYTES) >>> 2] as number
    this.#records[queue] ??= this.queueWord(queue, abi.QUEUE_RECORDS)
    return this.#records[queue] + (slot & SLOT_MASK) * this.#slotBytes
  }

  /** How long the stalled queue waits for tokens, 1..1e9 ns. */
  stallNanos(queue: number): number {
    return new DataView(this.#memory.buffer).getFloat64(this.#queue(queue) + abi.QUEUE_STALL_NANOS, true)
  }

  /** Ring fault of a poisoned queue (RING_FAULT_*), 0 if there was none since the last reset. */
  get fault(): number {
    return this.view().getInt32(abi.STATE_FAULT, true)
  }
}
