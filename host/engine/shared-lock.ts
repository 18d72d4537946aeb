// A lock over one word of shared memory, for threads of this process. Held for as long as
// an access to a device register takes, which never blocks, so waiting is short. Not recursive.

const FREE = 0
const HELD = 1
/** held, and somebody may be waiting */
const CONTENDED = 2

export class SharedLock {
  readonly #words: Int32Array
  readonly #at: number

  /** `words[at]` must be 0 before the first use and belongs to the lock. */
  constructor(words: Int32Array, at: number) {
    this.#words = words
    this.#at = at
  }

  /** Runs `work` with the lock held, and returns what it returns. */
  hold<Result>(work: () => Result): Result {
    this.#take()
    try {
      return work()
    } finally {
      this.#give()
    }
  }

  #take(): void {
    const words = this.#words
    const at = this.#at
    if (Atomics.compareExchange(words, at, FREE, HELD) === FREE) return
    while (Atomics.exchange(words, at, CONTENDED) !== FREE) Atomics.wait(words, at, CONTENDED)
  }

  #give(): void {
    if (Atomics.exchange(this.#words, this.#at, FREE) === CONTENDED) Atomics.notify(this.#words, this.#at, 1)
  }
}
