// How the threads of one disk agree on who may touch it: a block of shared memory beside the engine's state, outside
// guest RAM. The vCPU threads take turns by a lock. The worker shows when it is in the disk (BUSY), and whoever needs
// the disk left alone holds it (HOLD): the worker looks at HOLD before each drain and between requests. No message
// and no system call is needed for that, and an idle worker need not even wake up (device rules 6, 25).
//
// Order that matters: the worker stores BUSY before it loads HOLD, the holder stores HOLD before it loads BUSY. All
// accesses are atomic and sequentially consistent, so one of the two sees the other.

/** Size of the block in bytes. What different threads store is on different cache lines. */
export const CONTROL_BYTES = 256

// Words of the block (i32 each)
const LOCK = 0 // 0 free, 1 taken, 2 taken and somebody waits
const CLOSED = 1 // the disk is gone: its descriptors have been closed
const TURNS = 2 // goes up each time the lock is taken
const HOLD = 16 // holders
const MISSED = 17 // the worker turned away from a held disk: it wants to be woken
const RESETS = 18 // resets, whoever did them
const RETRY = 19 // the limits have changed: ask stalled heads again
const RESET_PENDING = 20 // a reset waits for the worker to leave the disk
const WORKER = 21 // NO_WORKER, SERVED or EXPECTED
const BUSY = 32 // the worker is in the disk: OUT, IN or OVERSTAYED
const FAILURES = 48 // counts, one word per kind

const OUT = 0
const IN = 1
const OVERSTAYED = 2 // in, and somebody has waited for it in vain

const NO_WORKER = 0 // and none will come
const SERVED = 1
const EXPECTED = 2 // it died, and another one is to come

/** What went wrong beside the guest's requests and was survived (rule 29). */
export const FAILURE_KINDS = ['workerDeaths', 'fullEventfds', 'eventfdErrors', 'timerErrors'] as const
export type FailureKind = (typeof FAILURE_KINDS)[number]
export type Failures = Record<FailureKind, number>

/** No thread keeps the lock longer than a reset waits; one that does has died with it. */
const LOCK_TIMEOUT_MS = 10_000
/** Time for one who waits for the lock to take it, before the thread that gave it back can come again. */
const HAND_OVER_MS = 1

export class DiskControl {
  readonly #words: Int32Array
  /** this thread has waited for the worker with the lock in its hand */
  #hasKept = false

  /** `ptr`: offset of the block in `memory`, a multiple of 64; zeroed before first use. */
  constructor(memory: WebAssembly.Memory, ptr: number) {
    this.#words = new Int32Array(memory.buffer, ptr, CONTROL_BYTES / 4)
  }

  // The device lock ----------------------------------------------------------------------------------------

  lock(): void {
    if (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0) this.#waitForLock()
    Atomics.add(this.#words, TURNS, 1)
  }

  #waitForLock(): void {
    const words = this.#words
    let turns = Atomics.load(words, TURNS)
    let deadline = performance.now() + LOCK_TIMEOUT_MS
    while (Atomics.exchange(words, LOCK, 2) !== 0) {
      if (performance.now() >= deadline) {
        // Others have had it meanwhile: it was not our turn, that is all.
        const now = Atomics.load(words, TURNS)
        if (now === turns) throw new Error('virtio-blk: the device lock is not given back; a vCPU thread died with it')
        turns = now
        deadline = performance.now() + LOCK_TIMEOUT_MS
      }
      Atomics.wait(words, LOCK, 2, deadline - performance.now())
    }
  }

  unlock(): void {
    const words = this.#words
    const hasKept = this.#hasKept
    this.#hasKept = false
    if (Atomics.exchange(words, LOCK, 0) !== 2) return
    Atomics.notify(words, LOCK, 1)
    // A guest that makes this thread wait for the worker again and again would keep all others out.
    if (hasKept) Atomics.wait(words, LOCK, 0, HAND_OVER_MS)
  }

  // The worker's side --------------------------------------------------------------------------------------

  /** False if the disk is held: then the release wakes the worker. */
  enter(): boolean {
    const words = this.#words
    for (;;) {
      Atomics.store(words, BUSY, IN)
      if (Atomics.load(words, HOLD) === 0) return true
      Atomics.store(words, MISSED, 1)
      this.leave()
      // Released in between, perhaps before MISSED was to be seen: try again.
      if (Atomics.load(words, HOLD) !== 0) return false
    }
  }

  leave(): void {
    Atomics.store(this.#words, BUSY, OUT)
    if (Atomics.load(this.#words, HOLD) !== 0) Atomics.notify(this.#words, BUSY)
  }

  get isHeld(): boolean {
    return Atomics.load(this.#words, HOLD) !== 0
  }

  // The holder's side --------------------------------------------------------------------------------------

  hold(): void {
    Atomics.add(this.#words, HOLD, 1)
  }

  /** True if the worker now must be woken. */
  release(): boolean {
    if (Atomics.sub(this.#words, HOLD, 1) !== 1) return false
    // Who waits for the worker without a hold, as its pause was ended at once, is told here: leave() will not.
    Atomics.notify(this.#words, BUSY)
    return Atomics.exchange(this.#words, MISSED, 0) === 1
  }

  get isBusy(): boolean {
    return Atomics.load(this.#words, BUSY) !== OUT
  }

  /**
   * Blocks until the worker has left the held disk, at most `timeoutMs`. False: it has not. Who comes after one that
   * has waited in vain does not wait as long again.
   */
  waitQuiet(timeoutMs: number): boolean {
    const words = this.#words
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const busy = Atomics.load(words, BUSY)
      if (busy === OUT) return true
      if (busy === OVERSTAYED) return false
      const left = deadline - performance.now()
      if (left <= 0) {
        Atomics.compareExchange(words, BUSY, IN, OVERSTAYED)
        return false
      }
      this.#hasKept = true
      Atomics.wait(words, BUSY, IN, left)
    }
  }

  /** As waitQuiet, without blocking the thread and without end; until nobody holds the disk, if that comes first. */
  async whenQuiet(): Promise<void> {
    if (!this.isBusy) return
    // A process does not stay for a waitAsync alone, and the worker's thread does not keep it either.
    const stay = setInterval(() => {}, 1000)
    try {
      while (this.isHeld) {
        const busy = Atomics.load(this.#words, BUSY)
        if (busy === OUT) break
        const waiting = Atomics.waitAsync(this.#words, BUSY, busy)
        if (waiting.async) await waiting.value
      }
    } finally {
      clearInterval(stay)
    }
  }

  /** The worker has died: it is in no disk any more. True for the first to say so; another worker is expected. */
  abandon(): boolean {
    const isFirst = Atomics.compareExchange(this.#words, WORKER, SERVED, EXPECTED) === SERVED
    Atomics.store(this.#words, BUSY, OUT)
    Atomics.notify(this.#words, BUSY)
    return isFirst
  }

  // Flags --------------------------------------------------------------------------------------------------

  /** A worker serves the disk, or soon will. */
  get hasWorker(): boolean {
    return Atomics.load(this.#words, WORKER) !== NO_WORKER
  }

  setServed(): void {
    Atomics.store(this.#words, WORKER, SERVED)
  }

  giveUp(): void {
    Atomics.store(this.#words, WORKER, NO_WORKER)
  }

  get isClosed(): boolean {
    return Atomics.load(this.#words, CLOSED) !== 0
  }

  setClosed(): void {
    Atomics.store(this.#words, CLOSED, 1)
  }

  /** Goes up with every reset, so that the worker's service learns of it at its next turn. */
  get resets(): number {
    return Atomics.load(this.#words, RESETS)
  }

  countReset(): void {
    Atomics.add(this.#words, RESETS, 1)
  }

  get isResetPending(): boolean {
    return Atomics.load(this.#words, RESET_PENDING) !== 0
  }

  setResetPending(pending: boolean): void {
    Atomics.store(this.#words, RESET_PENDING, pending ? 1 : 0)
  }

  askRetry(): void {
    Atomics.store(this.#words, RETRY, 1)
  }

  takeRetry(): boolean {
    return Atomics.exchange(this.#words, RETRY, 0) !== 0
  }

  /** Counts, and returns true the first time: that is when it is logged. */
  count(kind: FailureKind): boolean {
    return Atomics.add(this.#words, FAILURES + FAILURE_KINDS.indexOf(kind), 1) === 0
  }

  get failures(): Failures {
    const counts = FAILURE_KINDS.map((kind, i) => [kind, Atomics.load(this.#words, FAILURES + i)] as const)
    return Object.fromEntries(counts) as Failures
  }
}
