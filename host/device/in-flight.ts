// The requests that a back end has promised to answer, and whose they are: the driver's, or those of a driver that was
// reset while they were under way (device rule 6). Counts and times only. Portable.

/** How long a back end may keep the requests of a driver that was reset before the guest is told, in ns. */
const SETTLE_NANOS = 1e9

export class InFlight {
  #all = 0
  #writes = 0
  #old = 0
  #oldWrites = 0
  /** goes up with each reset */
  #life = 0
  #settleBy = 0
  #isOverdue = false

  /** Counts a request; call the result when it has come home. */
  begin(isWrite: boolean): () => void {
    const life = this.#life
    const writes = isWrite ? 1 : 0
    this.#all++
    this.#writes += writes
    return () => {
      this.#all--
      this.#writes -= writes
      if (life === this.#life) return
      this.#old--
      this.#oldWrites -= writes
    }
  }

  /** From now on all of them are an earlier driver's. The second is counted from the first reset that left any. */
  reset(now: number): void {
    if (this.#old === 0) {
      this.#isOverdue = false
      this.#settleBy = now + SETTLE_NANOS
    }
    this.#life++
    this.#old = this.#all
    this.#oldWrites = this.#writes
  }

  get isEmpty(): boolean {
    return this.#all === 0
  }

  /** An earlier driver's write is under way: a newer request must not overtake it. */
  get hasOldWrites(): boolean {
    return this.#oldWrites > 0
  }

  /** An earlier driver's request is under way, and the guest has not been told. */
  get isSettling(): boolean {
    return this.#old > 0 && !this.#isOverdue
  }

  /** Until the guest is to be told, in ns. */
  nanosToSettle(now: number): number {
    return Math.min(SETTLE_NANOS, Math.max(0, this.#settleBy - now))
  }

  /** 'overdue' while the second is over and something has not come home; 'now' the first time that is seen. */
  check(now: number): 'settled' | 'now' | 'overdue' {
    if (this.#old === 0 || now < this.#settleBy) return 'settled'
    if (this.#isOverdue) return 'overdue'
    this.#isOverdue = true
    return 'now'
  }

  /** The guest was told, and all has come home since. */
  get isResetDue(): boolean {
    return this.#isOverdue && this.#old === 0
  }
}
