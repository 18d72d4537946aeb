// Looks again while requests are outstanding: a few times at once, from microtasks, for devices that answer on the
// same thread a moment later; then from short timers that grow longer while nothing happens. It makes the driver
// work where nobody delivers interrupts, and is the fallback where they are.
//
// Knows nothing of rings or registers.

/** What a look found: nothing left to wait for, something finished, or neither. */
export type Look = 'idle' | 'progress' | 'nothing'

const MICROTASK_LOOKS = 8
/** after so many looks from microtasks in a row the event loop gets its turn, progress or not */
const MICROTASKS_IN_A_ROW = 64
/** looks by timers of 0 ms before they grow */
const QUICK_LOOKS = 32
const LOOKS_PER_MS = 8
const DELAY_MAX_MS = 10

export class Poller {
  readonly #look: (byTimer: boolean) => Look
  #running = false
  #fruitless = 0
  #microtasks = 0

  /** `look` is called until it says 'idle'; `byTimer` is false for the first, immediate looks. */
  constructor(look: (byTimer: boolean) => Look) {
    this.#look = look
  }

  /** Starts looking, unless it does already. */
  start(): void {
    if (this.#running) return
    this.#running = true
    this.#fruitless = 0
    this.#schedule()
  }

  #schedule(): void {
    if (this.#fruitless < MICROTASK_LOOKS && this.#microtasks < MICROTASKS_IN_A_ROW) {
      this.#microtasks++
      void Promise.resolve().then(() => this.#tick(false))
      return
    }
    this.#microtasks = 0
    const slow = Math.max(this.#fruitless - MICROTASK_LOOKS - QUICK_LOOKS, 0)
    setTimeout(() => this.#tick(true), Math.min(Math.ceil(slow / LOOKS_PER_MS), DELAY_MAX_MS))
  }

  #tick(byTimer: boolean): void {
    const found = this.#look(byTimer)
    if (found === 'idle') {
      this.#running = false
      return
    }
    this.#fruitless = found === 'progress' ? 0 : this.#fruitless + 1
    this.#schedule()
  }
}
