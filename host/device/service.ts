// Serves the queues of one device: plan -> IO -> complete... -> publish, for back ends that answer at once and for
// those that promise (device rules 4, 6, 7, 11, 12, 15 to 18, 20). What the guest sees is decided by the engine; this
// carries requests out to the back end and answers back in. It never reads a descriptor. Portable: no Node import, no
// thread, no timer: whoever owns it calls serve() after wake(), and again after nanosToWake().
//
// Only serve() touches guest memory. A late answer is kept until the next serve(), so an owner that wants the guest's
// bytes left alone (a pause, a reset on another thread) has one door to close: isHeld, which is also asked between
// requests. No request of a new driver reaches the back end before the last write of the old driver has left it: it
// could otherwise land on top of a newer one (rule 6).

import * as abi from '../../assembly/abi.ts'
import { VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import type { BlockBackend } from '../backend/types.ts'
import type { EngineExports } from '../engine/engine.ts'
import type { EngineState } from '../engine/state.ts'
import type { GuestMemory } from './guest-memory.ts'
import { InFlight } from './in-flight.ts'
import { allocate, FAILED, flush, gather, isPromise, read, scatter, write } from './transfer.ts'

/** What a service works on. */
export interface ServiceParts {
  readonly engine: EngineExports
  readonly state: EngineState
  readonly memory: GuestMemory
  readonly backend: BlockBackend
  readonly queues: number
  readonly queueSizeMax: number
}

/** Who runs a service. */
export interface ServiceOwner {
  /** monotonic time in nanoseconds */
  readonly clock: () => number
  readonly interrupt: () => void
  /** told once per failure that ends service (rule 7), in one line */
  readonly failed: (message: string) => void
  /** asks for a serve(): a late answer has come; never called from inside serve() */
  readonly wake: () => void
  /** true while the device is to be left alone; then wake-ups must be repeated when that is over */
  readonly isHeld?: () => boolean
  /** how long one serve() may go on starting requests; at least one is started */
  readonly sliceNanos?: number
}

/** Bytes of private copies at a time; a larger request may exceed it. Guests can describe gigabytes (past bug 10). */
const COPIES_MAX = 64 << 20

const INFINITY = Number.POSITIVE_INFINITY

/** A planned request, and the life of the device it belongs to. */
interface Planned {
  readonly queue: number
  readonly slot: number
  readonly stands: () => boolean
}

/** A request in a back end. */
interface Promised {
  readonly queue: number
  readonly slot: number
  /** bytes of its private copy */
  readonly copied: number
  readonly isWrite: boolean
  /** fills guest RAM with what was read */
  readonly deliver?: (moved: number) => void
}

/** A promised answer that has come. */
interface Answer {
  readonly queue: number
  readonly slot: number
  readonly result: number
  readonly deliver: (() => void) | undefined
  readonly traps: number
}

export class QueueService {
  readonly #parts: ServiceParts
  readonly #owner: ServiceOwner
  /** per queue: when the stalled head may be tried again, 0 = not stalled */
  readonly #stalledUntil: number[]
  /** queues to drain */
  readonly #wanted = new Set<number>()
  /** queues with completions to publish */
  readonly #dirty = new Set<number>()
  /** late answers, in the order they came */
  #answers: Answer[] = []
  /** planned and not yet started: for want of private copies or time, or because the device was held in the middle */
  #waiting: Planned[] = []
  /** bytes of private copies held by back ends */
  #copied = 0
  readonly #inFlight = new InFlight()
  #serving = false
  #sliceEnd = INFINITY
  #hasStarted = false
  /** a request that could be started was put off by the last serve() */
  #isCut = false
  #closed = false
  /** nothing is taken from a ring: what was taken before is finished and published, no more (rule 25) */
  #isDraining = false
  /** what was in flight when the engine trapped has no slot any more */
  #traps = 0

  constructor(parts: ServiceParts, owner: ServiceOwner) {
    this.#parts = parts
    this.#owner = owner
    const now = owner.clock()
    // A state that was restored may have heads that wait (rule 26).
    this.#stalledUntil = Array.from({ length: parts.queues }, (_, queue) =>
      parts.state.queueWord(queue, abi.QUEUE_STALLED) === 0 ? 0 : now + parts.state.stallNanos(queue),
    )
  }

  // What is wanted -----------------------------------------------------------------------------------------

  /** A kick. Rule 20: it cannot help a head that waits for tokens. */
  kick(queue: number): void {
    const until = this.#stalledUntil[queue] as number
    if (until === 0 || this.#owner.clock() >= until) this.#wanted.add(queue)
  }

  kickAll(): void {
    for (let queue = 0; queue < this.#parts.queues; queue++) this.kick(queue)
  }

  /** Whether stalled or not. */
  wantAll(): void {
    for (let queue = 0; queue < this.#parts.queues; queue++) this.#wanted.add(queue)
  }

  /** The wait of the stalled queues is over, or their limits have changed. */
  wantStalled(): void {
    for (let queue = 0; queue < this.#parts.queues; queue++)
      if (this.#stalledUntil[queue] !== 0) this.#wanted.add(queue)
  }

  /** What the shortest stalled queue waits for, in nanoseconds; undefined if none is stalled. */
  get stalledNanos(): number | undefined {
    let shortest: number | undefined
    this.#stalledUntil.forEach((until, queue) => {
      if (until === 0) return
      shortest = Math.min(shortest ?? INFINITY, this.#parts.state.stallNanos(queue))
    })
    return shortest
  }

  /** True if serve() has work that waits for nothing. */
  get isWanted(): boolean {
    const hasWanted = this.#wanted.size > 0 && !this.#isDraining
    return !this.#inFlight.hasOldWrites && (this.#isCut || hasWanted || this.#dirty.size > 0)
  }

  /** True if nanosToWake() may be finite. */
  get isWaiting(): boolean {
    return this.#inFlight.isSettling || (!this.#isDraining && this.#stalledUntil.some((until) => until !== 0))
  }

  /** What is left of a stalled head's wait; after a clock that went back the wait itself is the bound. */
  #stallLeft(queue: number, now: number): number {
    return Math.min(this.#parts.state.stallNanos(queue), Math.max(0, (this.#stalledUntil[queue] as number) - now))
  }

  /** When to call wantStalled() and serve(), 0 = now: at the end of the first stall, or when a reset is overdue. */
  nanosToWake(): number {
    const now = this.#owner.clock()
    let nanos = INFINITY
    this.#stalledUntil.forEach((until, queue) => {
      if (until !== 0 && !this.#isDraining) nanos = Math.min(nanos, this.#stallLeft(queue, now))
    })
    return this.#inFlight.isSettling ? Math.min(nanos, this.#inFlight.nanosToSettle(now)) : nanos
  }

  /** True: from the next serve() on nothing is taken from a ring. False: what is wanted is drained again. */
  setDraining(draining: boolean): void {
    this.#isDraining = draining
  }

  /** Everything that was taken from a ring has been published, and no back end has anything in hand. */
  get isQuiet(): boolean {
    const kept = this.#answers.length + this.#waiting.length + this.#dirty.size
    return !this.#serving && kept === 0 && this.#inFlight.isEmpty && !this.isResetDue
  }

  // Serving ------------------------------------------------------------------------------------------------

  /**
   * Finishes what has come home, drains the wanted queues once each, publishes. Returns true if there is more to do
   * at once, or as soon as the device is no longer held. A queue that is wanted again while it is drained gets its
   * second drain from the next call: a guest that keeps adding chains cannot keep this one from returning (rule 17).
   * Called again from inside (a back end or an interrupt handler that touches the device) it only remembers.
   */
  serve(): boolean {
    if (this.#closed) return false
    if (this.#serving || this.#isHeld()) return true
    this.#serving = true
    const { sliceNanos } = this.#owner
    this.#sliceEnd = sliceNanos === undefined ? INFINITY : this.#owner.clock() + sliceNanos
    this.#hasStarted = false
    this.#isCut = false
    const more: number[] = []
    try {
      this.#takeAnswers()
      this.#checkOverdue()
      if (this.#inFlight.hasOldWrites) return false
      this.#startWaiting()
      this.#publishDirty()
      for (const queue of [...this.#wanted]) {
        if (this.#isDraining || this.#isHeld()) break
        this.#wanted.delete(queue)
        if (!this.#closed && this.#drain(queue)) more.push(queue)
      }
    } finally {
      // Also when an interrupt handler throws: no wake-up is lost with it.
      this.#serving = false
      for (const queue of more) this.#wanted.add(queue)
    }
    return this.isWanted || this.#isHeld()
  }

  #isHeld(): boolean {
    return this.#owner.isHeld?.() ?? false
  }

  /** One drain: at most queue-size chains, one publish, at most one interrupt for them. True if the ring has more. */
  #drain(queue: number): boolean {
    const { engine, queueSizeMax, state } = this.#parts
    const stands = this.#standing(queue)
    let end: number = abi.PLAN_DEAD
    let published = 0
    try {
      const now = this.#owner.clock()
      const planned = engine.plan(state.ptr, queue, now, queueSizeMax)
      end = planned >>> abi.PLAN_END_SHIFT
      this.#stalledUntil[queue] = end === abi.PLAN_STALLED ? now + state.stallNanos(queue) : 0
      if (end === abi.PLAN_DEAD) return false
      const count = planned & abi.PLAN_COUNT_MASK
      if (count > 0) this.#submit(queue, count, stands)
      if (this.#isHeld()) {
        this.#dirty.add(queue)
      } else if (stands()) {
        published = engine.publish(state.ptr, queue)
      }
    } catch (error) {
      this.trapped(error, end === abi.PLAN_POISONED)
      return false
    }
    if (end === abi.PLAN_POISONED) this.#poisoned(queue)
    if (!stands()) return false
    if (published & abi.PUBLISH_INTERRUPT) this.#owner.interrupt()
    if (end === abi.PLAN_STALLED || end === abi.PLAN_BUSY) return false
    return end === abi.PLAN_MORE || (published & abi.PUBLISH_MORE) !== 0
  }

  /** Rule 7, for a ring fault: the guest is told, unless it has reset the device from inside this drain. */
  #poisoned(queue: number): void {
    const { engine, state } = this.#parts
    const status = engine.mmioRead(state.ptr, VIRTIO_MMIO_STATUS, 4)
    if (this.#closed || (status & VIRTIO_CONFIG_S_NEEDS_RESET) === 0) return
    this.#owner.failed(`virtio-blk: queue ${queue} is poisoned (ring fault ${state.fault}), the guest must reset`)
    this.#owner.interrupt()
  }

  /** Tells, later, whether what is planned for the queue now still has a guest: no reset, stop, trap or close since. */
  #standing(queue: number): () => boolean {
    const { state } = this.#parts
    const generation = state.queueWord(queue, abi.QUEUE_GENERATION)
    const traps = this.#traps
    return () => !this.#closed && this.#traps === traps && state.queueWord(queue, abi.QUEUE_GENERATION) === generation
  }

  /** Starts the IO of the slots that plan() listed. */
  #submit(queue: number, count: number, stands: () => boolean): void {
    const { state } = this.#parts
    const list = state.queueWord(queue, abi.QUEUE_PLANNED) >>> 2
    const slots = state.words.slice(list, list + count)
    for (const slot of slots) this.#start({ queue, slot, stands })
  }

  #start(request: Planned): void {
    const { queue, slot, stands } = request
    if (!stands()) {
      // Reset meanwhile: what was planned before must not touch anything, only free its slot.
      if (!this.#closed) this.#parts.engine.complete(this.#parts.state.ptr, slot, FAILED)
      return
    }
    const bytes = this.#copyBytes(queue, slot)
    const full = bytes > 0 && (this.#waiting.length > 0 || (this.#copied > 0 && this.#copied + bytes > COPIES_MAX))
    const end = this.#sliceEnd
    const isOver = this.#isHeld() || (this.#hasStarted && end !== INFINITY && this.#owner.clock() >= end)
    if (full || isOver) {
      this.#waiting.push(request)
      // Room is made by answers, which ask to be served. A holder may let go before this drain ends, and tell nobody.
      this.#isCut ||= isOver
      return
    }
    this.#hasStarted = true
    const result = this.#execute(request)
    if (result === undefined) this.#copied += bytes
    else this.#complete(queue, slot, result)
  }

  /** Tries what waited again, oldest first: from the first that still cannot start on, all queue up anew. */
  #startWaiting(): void {
    if (this.#waiting.length === 0) return
    try {
      for (const request of this.#waiting.splice(0)) {
        this.#start(request)
        this.#dirty.add(request.queue)
      }
    } catch (error) {
      this.trapped(error)
    }
  }

  /** Size of the private copy that the request needs. */
  #copyBytes(queue: number, slot: number): number {
    const { backend, state } = this.#parts
    return backend.inPlace ? 0 : (state.words[(state.record(queue, slot) + abi.REQ_DATA_BYTES) >>> 2] as number)
  }

  #complete(queue: number, slot: number, result: number): void {
    if (this.#closed) return
    const { backend, engine, state } = this.#parts
    if (engine.complete(state.ptr, slot, result) !== abi.COMPLETE_FLUSH) return
    const flushed = flush(backend)
    if (isPromise(flushed)) this.#await({ queue, slot, copied: 0, isWrite: false }, flushed)
    else if (!this.#closed) engine.complete(state.ptr, slot, flushed)
  }

  /** Reads the request record and carries it out. Undefined if the answer was promised. */
  #execute({ queue, slot, stands }: Planned): number | undefined {
    const { backend, state } = this.#parts
    const words = state.words
    const record = state.record(queue, slot)
    const word = (field: number): number => words[(record + field) >>> 2] as number
    const op = word(abi.REQ_OP)
    if (op === abi.REQ_OP_FLUSH) return this.#await({ queue, slot, copied: 0, isWrite: false }, flush(backend))
    const offset = (word(abi.REQ_SECTOR_HIGH) * 2 ** 32 + word(abi.REQ_SECTOR_LOW)) * 512
    const bytes = word(abi.REQ_DATA_BYTES)
    const segments = this.#segments(words, record + abi.REQ_SEGMENT_LIST, word(abi.REQ_SEGMENTS))
    const isRead = op === abi.REQ_OP_READ
    if (backend.inPlace === true) {
      const done = isRead ? read(backend, offset, segments, bytes) : write(backend, offset, segments, bytes)
      if (isRead) this.#announce(segments)
      if (!isPromise(done)) return done
      // It promised to answer at once; it may still write to guest RAM, so it is not waited for as if all were well.
      Promise.resolve(done).catch(() => {})
      return FAILED
    }
    const copy = allocate(bytes)
    if (copy === undefined) return FAILED
    if (!isRead) {
      gather(segments, copy)
      return this.#await({ queue, slot, copied: bytes, isWrite: true }, write(backend, offset, [copy], bytes))
    }
    // A back end that may be late fills a private buffer, and guest RAM only if the request still stands.
    const deliver = (moved: number): void => {
      if (!stands()) return
      scatter(copy, moved, segments)
      this.#announce(segments)
    }
    return this.#await({ queue, slot, copied: bytes, isWrite: false, deliver }, read(backend, offset, [copy], bytes))
  }

  /** Views on guest RAM, each checked against the regions: the engine is not trusted with host addresses. */
  #segments(words: Uint32Array, list: number, count: number): Uint8Array[] {
    const views: Uint8Array[] = []
    for (let i = 0, at = list >>> 2; i < count; i++, at += abi.SEGMENT_BYTES >>> 2) {
      const ptr = words[at] as number
      const len = words[at + 1] as number
      if (!this.#parts.memory.contains(ptr, len)) throw new Error(`segment ${ptr}+${len} is outside guest RAM`)
      views.push(new Uint8Array(words.buffer as ArrayBuffer, ptr, len))
    }
    return views
  }

  /** Tells the machine that owns the memory which of its bytes changed, zero-filled ones included. */
  #announce(segments: Uint8Array[]): void {
    const { onWrite } = this.#parts.memory
    if (onWrite !== undefined) for (const { byteOffset, byteLength } of segments) onWrite(byteOffset, byteLength)
  }

  // Late answers -------------------------------------------------------------------------------------------

  /** The answer if it is there; otherwise undefined, and it comes to serve() one day. */
  #await(request: Promised, result: number | Promise<number>): number | undefined {
    const { queue, slot, copied, isWrite, deliver } = request
    if (!isPromise(result)) {
      deliver?.(result)
      return result
    }
    const traps = this.#traps
    const end = this.#inFlight.begin(isWrite)
    const home = (moved: number): void => {
      end()
      this.#copied -= copied
      if (this.#closed) return
      const late = deliver === undefined || moved === FAILED ? undefined : () => deliver(moved)
      this.#answers.push({ queue, slot, result: moved, deliver: late, traps })
      this.#owner.wake()
    }
    result.then(home, () => home(FAILED))
    return undefined
  }

  /** After a reset complete() only frees the slot; after a trap the slot is not ours any more. */
  #takeAnswers(): void {
    if (this.#answers.length === 0) return
    const answers = this.#answers
    this.#answers = []
    try {
      for (const { queue, slot, result, deliver, traps } of answers) {
        if (this.#traps !== traps) continue
        deliver?.()
        this.#complete(queue, slot, result)
        this.#dirty.add(queue)
      }
    } catch (error) {
      this.trapped(error)
    }
  }

  /** Answers that came together are published together. */
  #publishDirty(): void {
    const { engine, state } = this.#parts
    for (const queue of [...this.#dirty]) {
      if (this.#closed || this.#isHeld()) return
      this.#dirty.delete(queue)
      let published = 0
      try {
        published = engine.publish(state.ptr, queue)
      } catch (error) {
        this.trapped(error)
        return
      }
      if (published & abi.PUBLISH_INTERRUPT) this.#owner.interrupt()
      // Slots are free again: what plan() left for want of them can go on.
      if (published & abi.PUBLISH_MORE) this.kick(queue)
    }
  }

  // Reset, failure, end ------------------------------------------------------------------------------------

  /** The device was reset: everything planned or waiting belongs to a driver that is no more (rule 6). */
  reset(): void {
    this.#forget()
    for (const { slot } of this.#waiting.splice(0)) this.#parts.engine.complete(this.#parts.state.ptr, slot, FAILED)
    this.#inFlight.reset(this.#owner.clock())
  }

  #forget(): void {
    this.#stalledUntil.fill(0)
    this.#wanted.clear()
    this.#dirty.clear()
  }

  /** Rule 6: a reset was overdue and can complete: the owner is to write 0 to Status and to call reset(). */
  get isResetDue(): boolean {
    return this.#inFlight.isResetDue && !this.#closed
  }

  /** Rule 6: a back end that has not come back a second after the reset is seen by the guest, until it has. */
  #checkOverdue(): void {
    const checked = this.#inFlight.check(this.#owner.clock())
    if (checked === 'settled') return
    const { engine, state } = this.#parts
    if (checked === 'now') this.#owner.failed('virtio-blk: 1 s after a reset the back end still has requests of before')
    // A driver that is up again is told; one that waits for the reset, or is in the middle of its set-up, sees it.
    const isUp = (engine.mmioRead(state.ptr, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_DRIVER_OK) !== 0
    const effects = engine.fail(state.ptr, isUp ? abi.FAIL_SERVICE : abi.FAIL_QUIETLY)
    if (effects & abi.EFFECT_INTERRUPT) this.#owner.interrupt()
  }

  /**
   * Rule 7: an engine call trapped. The guest is told once, which a ring fault in the same drain has left to us; its
   * reset brings the device back.
   */
  trapped(error: unknown, poisoned = false): void {
    const { engine, state } = this.#parts
    this.#traps++
    this.#waiting.length = 0
    this.#forget()
    const effects = engine.fail(state.ptr, abi.FAIL_TRAP)
    this.#owner.failed(`virtio-blk: the engine trapped, the guest must reset: ${String(error)}`)
    if (poisoned || effects & abi.EFFECT_INTERRUPT) this.#owner.interrupt()
  }

  /** Nothing is touched and nobody is called any more. */
  close(): void {
    this.#closed = true
    this.#forget()
  }
}
