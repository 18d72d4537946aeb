// One virtio-blk device, inline: the caller's thread runs the engine and the back end. What the guest sees is decided
// by the engine; this file carries calls in, IO out and interrupts up, for synchronous and asynchronous back ends
// alike (device rules 4, 6, 7, 15 to 18). It never reads a descriptor. Portable: no Node import.
//
// A drain is plan -> IO -> complete... -> publish. Calls that arrive while one runs (a back end or an interrupt
// handler that touches the device) are remembered and served after it, so the engine is never entered twice.

import * as abi from '../../assembly/abi.ts'
import { VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import type { BlockBackend } from '../backend/types.ts'
import { checkAbi, type EngineExports, loadEngine } from '../engine/engine.ts'
import { type Counters, EngineState } from '../engine/state.ts'
import type { GuestMemory } from './guest-memory.ts'
import { sectorsOf, stateConfig, type VirtioBlkOptions } from './options.ts'
import { type ThrottleOptions, throttleRecord } from './throttle.ts'
import { FAILED, flush, isPromise, read, write } from './transfer.ts'

/** What a drain of every queue left behind: nothing, more chains, or a head that waits for tokens. */
export type PollResult = 'idle' | 'more' | { stalledNanos: number }

/**
 * Private copies held at a time by one device; a single larger request may exceed it. A guest can describe gigabytes
 * with a few megabytes of RAM, all descriptors pointing to the same place (past bug 10).
 */
const COPIES_MAX = 64 << 20

const nowNanos = (): number => performance.now() * 1e6

/** A private buffer, or nothing if the host has no room for it: then the request fails and the device lives. */
function allocate(bytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    return new Uint8Array(bytes)
  } catch {
    return undefined
  }
}

export class VirtioBlk {
  readonly #engine: EngineExports
  readonly #state: EngineState
  readonly #memory: GuestMemory
  readonly #backend: BlockBackend
  readonly #queues: number
  readonly #queueSizeMax: number
  readonly #clock: () => number
  readonly #ownsTimer: boolean
  readonly #onInterrupt: () => void
  readonly #onFailure: (message: string) => void
  /** per queue: when the stalled head may be tried again, 0 = not stalled */
  readonly #stalledUntil: number[]
  /** queues to drain once the running drain is over */
  readonly #wanted = new Set<number>()
  /** queues with completions to publish, collected over a microtask */
  readonly #dirty = new Set<number>()
  /** requests that wait until fewer private copies are held */
  readonly #waiting: { queue: number; slot: number; stands: () => boolean }[] = []
  /** bytes of private copies held by back ends */
  #copied = 0
  #draining = false
  #closed = false
  /** what was in flight when the engine trapped has no slot any more */
  #traps = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  private constructor(options: VirtioBlkOptions, engine: EngineExports, state: EngineState, queues: number) {
    this.#engine = engine
    this.#state = state
    this.#memory = options.memory
    this.#backend = options.backend
    this.#queues = queues
    this.#queueSizeMax = options.queueSizeMax ?? 256
    this.#clock = options.clock ?? nowNanos
    this.#ownsTimer = options.clock === undefined
    this.#onInterrupt = options.onInterrupt ?? (() => {})
    this.#onFailure = options.onFailure ?? ((message) => console.error(message))
    this.#stalledUntil = new Array(queues).fill(0)
  }

  /** Makes a device in its reset state. Throws RangeError or TypeError naming the option that is wrong. */
  static async create(options: VirtioBlkOptions): Promise<VirtioBlk> {
    const config = stateConfig(options)
    const throttle = throttleRecord(options.throttle)
    const { memory } = options
    const engine = checkAbi(await (options.engine ?? loadEngine)(memory.memory))
    const bytes = engine.stateBytes(config.queues, config.queueSizeMax, config.segMax, config.regions.length) >>> 0
    if (bytes === 0) throw new RangeError('VirtioBlk: queues x queueSizeMax x segMax need more state than 4 GiB')
    const state = new EngineState(memory.memory, memory.allocate(bytes))
    state.writeConfig(config)
    state.writeThrottle(throttle)
    const refused = engine.init(state.ptr)
    if (refused !== 0) throw new Error(`VirtioBlk: the engine refuses its configuration (${refused})`)
    const device = new VirtioBlk(options, engine, state, config.queues)
    engine.setThrottle(state.ptr, device.#clock())
    return device
  }

  // The register window ------------------------------------------------------------------------------------

  /**
   * Reads `width` bytes (1, 2, 4 or 8) at `offset` of the window, as an unsigned number (4.2.2, rule 1). Eight bytes
   * are two words of config space; of registers, like every width but four, all ones.
   */
  mmioRead(offset: number, width: number): number {
    if (offset >>> 0 !== offset || ![1, 2, 4, 8].includes(width)) return 0
    try {
      if (width !== 8) return this.#engine.mmioRead(this.#state.ptr, offset, width) >>> 0
      if (offset < VIRTIO_MMIO_CONFIG) return 2 ** 64 - 1
      const low = this.#engine.mmioRead(this.#state.ptr, offset, 4) >>> 0
      return low + (this.#engine.mmioRead(this.#state.ptr, offset + 4, 4) >>> 0) * 2 ** 32
    } catch (error) {
      this.#trapped(error)
      return 0
    }
  }

  /**
   * Writes `value`, 32 bits, to the window; what is no u32 (or its signed twin) is dropped. A QueueNotify drains the
   * queue before it returns, as far as the back end is synchronous.
   */
  mmioWrite(offset: number, width: number, value: number): void {
    if (this.#closed || offset >>> 0 !== offset || (value >>> 0 !== value && (value | 0) !== value)) return
    let effects = 0
    try {
      effects = this.#engine.mmioWrite(this.#state.ptr, offset, width, value)
    } catch (error) {
      this.#trapped(error)
      return
    }
    // An acknowledged interrupt matters to machines with a level-triggered line; they see it in InterruptStatus.
    if ((effects & ~abi.EFFECT_ACK) === 0) return
    if (effects & abi.EFFECT_RESET) this.#forget()
    if (effects & abi.EFFECT_KICK && !this.#isStalled(value)) this.#wanted.add(value)
    if (effects & abi.EFFECT_DRIVER_OK) for (let queue = 0; queue < this.#queues; queue++) this.#wanted.add(queue)
    this.#drainWanted()
  }

  // Draining -----------------------------------------------------------------------------------------------

  /** Drains every live queue once: the entry of the timer and of whoever owns the clock. */
  poll(): PollResult {
    if (this.#closed) return 'idle'
    for (let queue = 0; queue < this.#queues; queue++) this.#wanted.add(queue)
    const more = this.#drainWanted()
    const waits = this.#stalledUntil.flatMap((until, queue) => (until === 0 ? [] : [this.#state.stallNanos(queue)]))
    if (more) return 'more'
    return waits.length === 0 ? 'idle' : { stalledNanos: Math.min(...waits) }
  }

  /** Rule 20: a kick cannot help a head that waits for tokens. */
  #isStalled(queue: number): boolean {
    const until = this.#stalledUntil[queue] as number
    return until !== 0 && this.#clock() < until
  }

  #wantStalled(): void {
    for (let queue = 0; queue < this.#queues; queue++) if (this.#stalledUntil[queue] !== 0) this.#wanted.add(queue)
  }

  /** Drains the wanted queues once each. True if there is more to do, which a timer then sees to. */
  #drainWanted(): boolean {
    if (this.#draining) return true
    const more: number[] = []
    this.#draining = true
    try {
      // A queue that is wanted again while it is drained gets its second drain from the timer: a guest that keeps
      // adding chains cannot keep this call from returning (rule 17).
      for (const queue of [...this.#wanted]) {
        this.#wanted.delete(queue)
        if (!this.#closed && this.#drain(queue)) more.push(queue)
      }
    } finally {
      // Also when an interrupt handler throws: no wake-up is lost with it.
      this.#draining = false
      for (const queue of more) this.#wanted.add(queue)
      this.#arm()
    }
    return this.#wanted.size > 0
  }

  /** One drain: at most queue-size chains, one publish, at most one interrupt for them. True if the ring has more. */
  #drain(queue: number): boolean {
    const engine = this.#engine
    const { ptr } = this.#state
    const stands = this.#standing(queue)
    let end: number = abi.PLAN_DEAD
    let published = 0
    try {
      const now = this.#clock()
      const planned = engine.plan(ptr, queue, now, this.#queueSizeMax)
      end = planned >>> abi.PLAN_END_SHIFT
      this.#stalledUntil[queue] = end === abi.PLAN_STALLED ? now + this.#state.stallNanos(queue) : 0
      if (end === abi.PLAN_DEAD) return false
      const count = planned & abi.PLAN_COUNT_MASK
      if (count > 0) this.#submit(queue, count, stands)
      if (stands()) published = engine.publish(ptr, queue)
    } catch (error) {
      this.#trapped(error, end === abi.PLAN_POISONED)
      return false
    }
    if (end === abi.PLAN_POISONED) this.#poisoned(queue)
    if (!stands()) return false
    if (published & abi.PUBLISH_INTERRUPT) this.#onInterrupt()
    if (end === abi.PLAN_STALLED || end === abi.PLAN_BUSY) return false
    return end === abi.PLAN_MORE || (published & abi.PUBLISH_MORE) !== 0
  }

  /** Rule 7, for a ring fault: the guest is told, unless it has reset the device from inside this drain. */
  #poisoned(queue: number): void {
    const status = this.#engine.mmioRead(this.#state.ptr, VIRTIO_MMIO_STATUS, 4)
    if (this.#closed || (status & VIRTIO_CONFIG_S_NEEDS_RESET) === 0) return
    this.#onFailure(`virtio-blk: queue ${queue} is poisoned (ring fault ${this.#state.fault}), the guest must reset`)
    this.#onInterrupt()
  }

  /** Tells, later, whether what is planned for the queue now still has a guest: no reset, stop, trap or close since. */
  #standing(queue: number): () => boolean {
    const generation = this.#state.queueWord(queue, abi.QUEUE_GENERATION)
    const traps = this.#traps
    return () =>
      !this.#closed && this.#traps === traps && this.#state.queueWord(queue, abi.QUEUE_GENERATION) === generation
  }

  /** Starts the IO of the slots that plan() listed. */
  #submit(queue: number, count: number, stands: () => boolean): void {
    const list = this.#state.queueWord(queue, abi.QUEUE_PLANNED) >>> 2
    const slots = this.#state.words.slice(list, list + count)
    for (const slot of slots) this.#start(queue, slot, stands)
  }

  #start(queue: number, slot: number, stands: () => boolean): void {
    if (!stands()) {
      // Reset meanwhile: what was planned before must not touch anything, only free its slot.
      if (!this.#closed) this.#engine.complete(this.#state.ptr, slot, FAILED)
      return
    }
    const bytes = this.#copyBytes(queue, slot)
    if (bytes > 0 && (this.#waiting.length > 0 || (this.#copied > 0 && this.#copied + bytes > COPIES_MAX))) {
      this.#waiting.push({ queue, slot, stands })
      return
    }
    this.#copied += bytes
    const result = this.#execute(queue, slot)
    if (isPromise(result)) {
      this.#await(queue, slot, result, bytes)
    } else {
      this.#copied -= bytes
      this.#complete(queue, slot, result)
    }
  }

  /** Tries what waited for room again, oldest first: from the first that still finds none on, all queue up anew. */
  #startWaiting(): void {
    for (const { queue, slot, stands } of this.#waiting.splice(0)) this.#start(queue, slot, stands)
  }

  /** Size of the private copy that the request needs. */
  #copyBytes(queue: number, slot: number): number {
    if (this.#backend.inPlace === true) return 0
    return this.#state.words[(this.#state.record(queue, slot) + abi.REQ_DATA_BYTES) >>> 2] as number
  }

  #complete(queue: number, slot: number, result: number): void {
    if (this.#closed) return
    if (this.#engine.complete(this.#state.ptr, slot, result) !== abi.COMPLETE_FLUSH) return
    const flushed = flush(this.#backend)
    if (isPromise(flushed)) this.#await(queue, slot, flushed, 0)
    else if (!this.#closed) this.#engine.complete(this.#state.ptr, slot, flushed)
  }

  /** Reads the request record and carries it out. */
  #execute(queue: number, slot: number): number | Promise<number> {
    const words = this.#state.words
    const record = this.#state.record(queue, slot)
    const word = (field: number): number => words[(record + field) >>> 2] as number
    const op = word(abi.REQ_OP)
    if (op === abi.REQ_OP_FLUSH) return flush(this.#backend)
    const offset = (word(abi.REQ_SECTOR_HIGH) * 2 ** 32 + word(abi.REQ_SECTOR_LOW)) * 512
    const bytes = word(abi.REQ_DATA_BYTES)
    const segments = this.#segments(words, record + abi.REQ_SEGMENT_LIST, word(abi.REQ_SEGMENTS))
    const isRead = op === abi.REQ_OP_READ
    if (this.#backend.inPlace === true) {
      const done = isRead ? read(this.#backend, offset, segments, bytes) : write(this.#backend, offset, segments, bytes)
      if (isRead) this.#announce(segments)
      if (!isPromise(done)) return done
      // It promised to answer at once; it may still write to guest RAM, so it is not waited for as if all were well.
      Promise.resolve(done).catch(() => {})
      return FAILED
    }
    return isRead ? this.#readCopy(queue, offset, segments, bytes) : this.#writeCopy(offset, segments, bytes)
  }

  /** Views on guest RAM, each checked against the regions: the engine is not trusted with host addresses. */
  #segments(words: Uint32Array, list: number, count: number): Uint8Array[] {
    const views: Uint8Array[] = []
    for (let i = 0, at = list >>> 2; i < count; i++, at += abi.SEGMENT_BYTES >>> 2) {
      const ptr = words[at] as number
      const len = words[at + 1] as number
      if (!this.#memory.contains(ptr, len)) throw new Error(`segment ${ptr}+${len} is outside guest RAM`)
      views.push(new Uint8Array(words.buffer as ArrayBuffer, ptr, len))
    }
    return views
  }

  /** Tells the machine that owns the memory which of its bytes changed, zero-filled ones included. */
  #announce(segments: Uint8Array[]): void {
    const { onWrite } = this.#memory
    if (onWrite !== undefined) for (const { byteOffset, byteLength } of segments) onWrite(byteOffset, byteLength)
  }

  /** For back ends that may be late: they fill a private buffer, and guest RAM only if the request still stands. */
  #readCopy(queue: number, offset: number, segments: Uint8Array[], bytes: number): number | Promise<number> {
    const copy = allocate(bytes)
    if (copy === undefined) return FAILED
    const stands = this.#standing(queue)
    const deliver = (moved: number): number => {
      if (!stands()) return FAILED
      let done = 0
      for (const segment of segments) {
        if (done >= moved) break
        const part = copy.subarray(done, Math.min(done + segment.byteLength, moved))
        segment.set(part)
        done += part.byteLength
      }
      this.#announce(segments)
      return moved
    }
    const moved = read(this.#backend, offset, [copy], bytes)
    return isPromise(moved) ? moved.then(deliver) : deliver(moved)
  }

  #writeCopy(offset: number, segments: Uint8Array[], bytes: number): number | Promise<number> {
    const copy = allocate(bytes)
    if (copy === undefined) return FAILED
    let done = 0
    for (const segment of segments) {
      copy.set(segment, done)
      done += segment.byteLength
    }
    return write(this.#backend, offset, [copy], bytes)
  }

  // Asynchronous back ends ---------------------------------------------------------------------------------

  #await(queue: number, slot: number, result: Promise<number>, copied: number): void {
    const traps = this.#traps
    const late = (moved: number): void => {
      this.#copied -= copied
      this.#late(queue, slot, moved, traps)
    }
    result.then(late, () => late(FAILED))
  }

  /** A promised answer. After a reset complete() only frees the slot; after a trap the slot is not ours any more. */
  #late(queue: number, slot: number, result: number, traps: number): void {
    if (this.#closed || this.#traps !== traps) return
    try {
      this.#complete(queue, slot, result)
      this.#startWaiting()
    } catch (error) {
      this.#trapped(error)
      return
    }
    // Answers that come together are published together.
    if (this.#dirty.size === 0) queueMicrotask(() => this.#publishDirty())
    this.#dirty.add(queue)
  }

  #publishDirty(): void {
    const queues = [...this.#dirty]
    this.#dirty.clear()
    for (const queue of queues) {
      if (this.#closed) return
      let published = 0
      try {
        published = this.#engine.publish(this.#state.ptr, queue)
      } catch (error) {
        this.#trapped(error)
        return
      }
      if (published & abi.PUBLISH_INTERRUPT) this.#onInterrupt()
      // Slots are free again: what plan() left for want of them can go on.
      if (published & abi.PUBLISH_MORE && !this.#isStalled(queue)) this.#wanted.add(queue)
    }
    this.#drainWanted()
  }

  // Timers, failures, control ------------------------------------------------------------------------------

  /** The one timer: at once if queues are wanted, at the end of the first stall otherwise (rule 20, at most 1 s). */
  #arm(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#closed) return
    let nanos = Number.POSITIVE_INFINITY
    if (this.#wanted.size > 0) {
      nanos = 0
    } else if (this.#ownsTimer) {
      // What is left of the wait: setting the timer anew, which every effect of a register write does, must not
      // begin it anew. After a clock that went back the wait itself is the bound.
      const now = this.#clock()
      this.#stalledUntil.forEach((until, queue) => {
        if (until === 0) return
        nanos = Math.min(nanos, this.#state.stallNanos(queue), Math.max(0, until - now))
      })
    }
    if (nanos === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#onTimer(), Math.ceil(nanos / 1e6))
  }

  #onTimer(): void {
    this.#timer = undefined
    if (this.#ownsTimer) this.#wantStalled()
    this.#drainWanted()
  }

  /** Everything planned or waiting belongs to a device that is no more (rule 6). */
  #forget(): void {
    this.#stalledUntil.fill(0)
    this.#wanted.clear()
    this.#arm()
  }

  /**
   * Rule 7: an engine call trapped. The guest is told once, which a ring fault in the same drain has left to us; its
   * reset brings the device back.
   */
  #trapped(error: unknown, poisoned = false): void {
    this.#traps++
    this.#waiting.length = 0
    this.#forget()
    const effects = this.#engine.fail(this.#state.ptr, 1)
    this.#onFailure(`virtio-blk: the engine trapped, the guest must reset: ${String(error)}`)
    if (poisoned || effects & abi.EFFECT_INTERRUPT) this.#onInterrupt()
  }

  /** An engine call from outside the register window; of its EFFECT_* bits only the interrupt matters. */
  #control(call: () => number): void {
    if (this.#closed) return
    try {
      if (call() & abi.EFFECT_INTERRUPT) this.#onInterrupt()
    } catch (error) {
      this.#trapped(error)
    }
  }

  /** What the device has counted: names and meanings are in assembly/CONTRACT.md. */
  get counters(): Counters {
    return this.#state.readCounters()
  }

  /** Rule 27: a new size in bytes, rounded down to whole sectors; the driver gets a configuration interrupt. */
  setCapacity(bytes: number): void {
    const sectors = sectorsOf('capacity', bytes)
    const high = Math.floor(sectors / 2 ** 32)
    this.#control(() => this.#engine.setCapacity(this.#state.ptr, sectors >>> 0, high))
  }

  /** Rule 22: new limits from now on, none without an argument. A head that waits is asked again at once. */
  setThrottle(options?: ThrottleOptions): void {
    this.#state.writeThrottle(throttleRecord(options))
    this.#control(() => {
      this.#engine.setThrottle(this.#state.ptr, this.#clock())
      return 0
    })
    this.#wantStalled()
    this.#drainWanted()
  }

  /** Ends the device: no timer, no interrupt and no guest byte changes after this; closes the back end. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#forget()
    this.#closed = true
    await this.#backend.close?.()
  }
}
