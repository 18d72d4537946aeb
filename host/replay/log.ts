// Where the engines of one device, on one thread or on many, write the steps they make: a growing buffer with a lock.
// While a device is recorded its engine calls take turns, so that the order in the log is the order they had. The
// first bytes hold what the next step is written against; the steps follow. Portable.

import { COUNTERS } from '../../assembly/abi.ts'
import { SharedLock } from '../engine/shared-lock.ts'

const LOCK = 0
const FULL = 1
const FLOATS_AT = 64
const END = 0
const GPA = 1
const TIME = 2
const NANOS = 3
const STATE_PTR = 4
const STEPS = 5
const COUNTERS_AT = 8
const STEPS_AT = FLOATS_AT + (COUNTERS_AT + COUNTERS) * 8
const GROW_BYTES = 1 << 20

/** ArrayBuffer or SharedArrayBuffer with a maximum; the library's types are older than these. */
interface Growing {
  readonly byteLength: number
  readonly maxByteLength: number
  resize?(bytes: number): void
  grow?(bytes: number): void
}
type Make = new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer

export class Log {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly #lock: SharedLock
  readonly #words: Int32Array
  readonly #floats: Float64Array
  readonly bytes: Uint8Array

  constructor(buffer: ArrayBuffer | SharedArrayBuffer) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer as ArrayBuffer, 0, FLOATS_AT / 4)
    this.#lock = new SharedLock(this.#words, LOCK)
    this.#floats = new Float64Array(buffer as ArrayBuffer, FLOATS_AT, COUNTERS_AT + COUNTERS)
    this.bytes = new Uint8Array(buffer as ArrayBuffer)
  }

  /** `shared`: for engines on several threads. `maxBytes` of steps, then no more are taken. */
  static create(shared: boolean, maxBytes: number): Log {
    const Buffer = (shared ? SharedArrayBuffer : ArrayBuffer) as unknown as Make
    const log = new Log(new Buffer(STEPS_AT + GROW_BYTES, { maxByteLength: STEPS_AT + GROW_BYTES + maxBytes }))
    log.end = STEPS_AT
    return log
  }

  hold<Result>(work: () => Result): Result {
    return this.#lock.hold(work)
  }

  /** Sees to it that `bytes` more fit behind the end. False: there is no more room, and never will be. */
  reserve(bytes: number): boolean {
    const buffer = this.buffer as unknown as Growing
    if (this.isFull) return false
    const wanted = this.end + bytes
    if (wanted > buffer.maxByteLength) {
      this.#words[FULL] = 1
      return false
    }
    if (wanted > buffer.byteLength) {
      const length = Math.min(buffer.maxByteLength, wanted + Math.max(GROW_BYTES, buffer.byteLength >>> 1))
      if (buffer.grow) buffer.grow(length)
      else buffer.resize?.(length)
    }
    return true
  }

  get isFull(): boolean {
    return this.#words[FULL] !== 0
  }

  get end(): number {
    return this.#floats[END] as number
  }

  set end(at: number) {
    this.#floats[END] = at
  }

  get stepCount(): number {
    return this.#floats[STEPS] as number
  }

  countStep(): void {
    this.#floats[STEPS] = this.stepCount + 1
  }

  /** offset of the recorded device's state; 0: not known yet */
  get statePtr(): number {
    return this.#floats[STATE_PTR] as number
  }

  set statePtr(ptr: number) {
    this.#floats[STATE_PTR] = ptr
  }

  readonly previous = previousOf(() => this.#floats)

  /** By how much a counter has changed since the last call of this. */
  counterChange(index: number, value: number): number {
    const at = COUNTERS_AT + index
    const change = value - (this.#floats[at] as number)
    if (change !== 0) this.#floats[at] = value
    return change
  }

  /** What the steps take, the room for more not counted. */
  get stepBytes(): number {
    return this.end - STEPS_AT
  }

  /** A copy of the steps. */
  steps(): Uint8Array {
    return this.bytes.slice(STEPS_AT, this.end)
  }
}

function previousOf(floats: () => Float64Array) {
  return {
    get gpa(): number {
      return floats()[GPA] as number
    },
    set gpa(value: number) {
      floats()[GPA] = value
    },
    get time(): number {
      return floats()[TIME] as number
    },
    set time(value: number) {
      floats()[TIME] = value
    },
    get nanos(): number {
      return floats()[NANOS] as number
    },
    set nanos(value: number) {
      floats()[NANOS] = value
    },
  }
}
