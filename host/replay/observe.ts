// What the host can see of a device's state block around an engine call, in guest terms: the configuration before
// init(), the requests that plan() listed, the counters. The recorder writes it down, the player compares it: both see
// through these eyes. Portable.

import * as abi from '../../assembly/abi.ts'
import type { InitConfig, PlannedRequest } from './step.ts'

interface Range {
  readonly gpa: number
  readonly bytes: number
  readonly ptr: number
}

const SLOT_MASK = (1 << abi.SLOT_QUEUE_SHIFT) - 1

export class Observed {
  readonly ptr: number
  readonly memory: WebAssembly.Memory
  #view: DataView
  #regions: readonly Range[] = []

  constructor(memory: WebAssembly.Memory, ptr: number) {
    this.memory = memory
    this.ptr = ptr
    this.#view = new DataView(memory.buffer)
  }

  /** Memories can grow. */
  get #data(): DataView {
    if (this.#view.buffer !== this.memory.buffer) this.#view = new DataView(this.memory.buffer)
    return this.#view
  }

  #u32(at: number): number {
    return this.#data.getUint32(at, true)
  }

  #number64(at: number): number {
    return this.#u32(at + 4) * 2 ** 32 + this.#u32(at)
  }

  get #regionTable(): readonly Range[] {
    if (this.#regions.length > 0) return this.#regions
    this.#regions = Array.from({ length: this.#u32(this.ptr + abi.STATE_REGIONS) }, (_, i) => {
      const at = this.ptr + abi.STATE_REGION_TABLE + i * abi.REGION_BYTES
      return {
        gpa: this.#number64(at + abi.REGION_GPA),
        bytes: this.#number64(at + abi.REGION_SIZE),
        ptr: this.#u32(at + abi.REGION_PTR),
      }
    })
    return this.#regions
  }

  gpaOf(ptr: number): number {
    for (const region of this.#regionTable) {
      const offset = ptr - region.ptr
      if (offset >= 0 && offset < region.bytes) return region.gpa + offset
    }
    return 0
  }

  /** 0 if it is not guest RAM. */
  ptrOf(gpa: number): number {
    for (const region of this.#regionTable) {
      const offset = gpa - region.gpa
      if (offset >= 0 && offset < region.bytes) return region.ptr + offset
    }
    return 0
  }

  bytes(ptr: number, count: number): Uint8Array {
    return new Uint8Array(this.#data.buffer, ptr, count)
  }

  config(): InitConfig {
    const at = (offset: number): number => this.#u32(this.ptr + offset)
    return {
      words: [
        at(abi.STATE_DEVICE_FEATURES),
        at(abi.STATE_DEVICE_FEATURES + 4),
        at(abi.STATE_CAPACITY_SECTORS),
        at(abi.STATE_CAPACITY_SECTORS + 4),
        at(abi.STATE_QUEUES),
        at(abi.STATE_QUEUE_SIZE_MAX),
        at(abi.STATE_SEG_MAX),
        at(abi.STATE_SIZE_MAX),
        at(abi.STATE_BLOCK_SIZE),
        at(abi.STATE_READ_ONLY),
      ],
      serial: this.bytes(this.ptr + abi.STATE_SERIAL, 20).slice(),
      regions: this.#regionTable.map(({ gpa, bytes }) => ({ gpa, bytes })),
    }
  }

  throttle(): number[] {
    return Array.from({ length: 8 }, (_, i) => this.#u32(this.ptr + abi.STATE_THROTTLE_CONFIG + 4 * i))
  }

  writeThrottle(words: readonly number[]): void {
    for (const [i, word] of words.entries())
      this.#data.setUint32(this.ptr + abi.STATE_THROTTLE_CONFIG + 4 * i, word, true)
  }

  counter(index: number): number {
    return this.#number64(this.ptr + abi.STATE_COUNTERS + 8 * index)
  }

  #queue(index: number): number {
    return this.ptr + abi.STATE_QUEUE_TABLE + index * abi.QUEUE_BYTES
  }

  /** Offset of a slot's record, 0 if there is no such slot. */
  record(slot: number): number {
    const queue = slot >>> abi.SLOT_QUEUE_SHIFT
    if (queue >= this.#u32(this.ptr + abi.STATE_QUEUES)) return 0
    const index = slot & SLOT_MASK
    if (index >= this.#u32(this.#queue(queue) + abi.QUEUE_SLOTS)) return 0
    return this.#u32(this.#queue(queue) + abi.QUEUE_RECORDS) + index * this.#u32(this.ptr + abi.STATE_SLOT_BYTES)
  }

  /** What the last plan() of the queue listed. */
  planned(queue: number, count: number): PlannedRequest[] {
    if (count === 0) return []
    const list = this.#u32(this.#queue(queue) + abi.QUEUE_PLANNED)
    return Array.from({ length: count }, (_, i) => this.#request(this.#u32(list + 4 * i)))
  }

  #request(slot: number): PlannedRequest {
    const record = this.record(slot)
    const at = (offset: number): number => this.#u32(record + offset)
    const op = at(abi.REQ_OP)
    const hasData = op === abi.REQ_OP_READ || op === abi.REQ_OP_WRITE
    return {
      slot,
      op,
      sectorLow: hasData ? at(abi.REQ_SECTOR_LOW) : 0,
      sectorHigh: hasData ? at(abi.REQ_SECTOR_HIGH) : 0,
      dataBytes: at(abi.REQ_DATA_BYTES),
      head: at(abi.REQ_HEAD),
      segments: this.segments(record).map(({ ptr, len }) => ({ gpa: this.gpaOf(ptr), len })),
    }
  }

  /** Of the request in a record: the pieces of guest RAM with its data. */
  segments(record: number): { ptr: number; len: number }[] {
    return Array.from({ length: this.#u32(record + abi.REQ_SEGMENTS) }, (_, i) => {
      const at = record + abi.REQ_SEGMENT_LIST + i * abi.SEGMENT_BYTES
      return { ptr: this.#u32(at + abi.SEGMENT_PTR), len: this.#u32(at + abi.SEGMENT_LEN) }
    })
  }

  /** The data of the request in a slot, in one piece; undefined if it has none. */
  payload(slot: number): Uint8Array | undefined {
    const record = this.record(slot)
    if (record === 0) return undefined
    const op = this.#u32(record + abi.REQ_OP)
    if (op !== abi.REQ_OP_READ && op !== abi.REQ_OP_WRITE) return undefined
    const segments = this.segments(record)
    const data = new Uint8Array(segments.reduce((sum, { len }) => sum + len, 0))
    let done = 0
    for (const { ptr, len } of segments) {
      data.set(this.bytes(ptr, len), done)
      done += len
    }
    return data
  }
}
