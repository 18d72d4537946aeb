// What a test and a back end on another thread say to each other: a block of shared memory with a gate, counts of the
// calls, and what the next calls are to do; and a log that several back ends may share, for the order of their calls.
// The test holds a Script; the back end is scripted.module.ts. Owns nothing but that memory.

/** Words of the block (i32). */
const GATE = 0 // 1: calls wait until it is opened, or for a permit
const PERMITS = 1
const TICKET = 2 // goes up with every change of the two
const INSIDE = 3 // calls that wait at the gate
const MODE = 4
const SLOW_MS = 5 // every call takes so long
const COUNTS = 6
const OPERATIONS = ['read', 'write', 'flush', 'open', 'close'] as const
const WORDS = 16
const LOG_MAX = 1 << 16

export type ScriptOperation = (typeof OPERATIONS)[number]

/** What calls do once they have passed the gate. */
const MODES = ['work', 'throw', 'exit', 'nonsense', 'throwLater', 'exitLater'] as const
export type Mode = (typeof MODES)[number]

/** What goes to the other thread. */
export interface ScriptData {
  readonly words: Int32Array
  readonly disk: Uint8Array
  /** word 0: how many entries; then an id for each read or write, in order */
  readonly log: Int32Array
  readonly id: number
}

export class Script {
  readonly data: ScriptData
  readonly #words: Int32Array

  constructor(data: ScriptData) {
    this.data = data
    this.#words = data.words
  }

  static create(disk: Uint8Array, id = 0, log = Script.log()): Script {
    const shared = new Uint8Array(new SharedArrayBuffer(disk.length))
    shared.set(disk)
    return new Script({ words: new Int32Array(new SharedArrayBuffer(4 * WORDS)), disk: shared, log, id })
  }

  static log(): Int32Array {
    return new Int32Array(new SharedArrayBuffer(4 * LOG_MAX))
  }

  // The test's side ----------------------------------------------------------------------------------------

  /** Calls from now on wait. */
  shut(): void {
    this.#set(GATE, 1)
  }

  /** All calls go on. */
  open(): void {
    this.#set(GATE, 0)
  }

  /** So many calls may go on although the gate is shut. */
  permit(calls = 1): void {
    Atomics.add(this.#words, PERMITS, calls)
    this.#changed()
  }

  set mode(mode: Mode) {
    Atomics.store(this.#words, MODE, MODES.indexOf(mode))
  }

  set slowMs(ms: number) {
    Atomics.store(this.#words, SLOW_MS, ms)
  }

  /** calls that wait at the gate now */
  get inside(): number {
    return Atomics.load(this.#words, INSIDE)
  }

  /** how often the back end was asked to */
  count(operation: ScriptOperation): number {
    return Atomics.load(this.#words, COUNTS + OPERATIONS.indexOf(operation))
  }

  /** reads, writes and flushes */
  get calls(): number {
    return this.count('read') + this.count('write') + this.count('flush')
  }

  /** ids of the disks that were read or written, in order */
  get order(): number[] {
    return [...this.data.log.subarray(1, 1 + Math.min(Atomics.load(this.data.log, 0), LOG_MAX - 1))]
  }

  #set(word: number, value: number): void {
    Atomics.store(this.#words, word, value)
    this.#changed()
  }

  #changed(): void {
    Atomics.add(this.#words, TICKET, 1)
    Atomics.notify(this.#words, TICKET)
  }

  // The back end's side ------------------------------------------------------------------------------------

  arrived(operation: ScriptOperation): void {
    Atomics.add(this.#words, COUNTS + OPERATIONS.indexOf(operation), 1)
    if (operation === 'open' || operation === 'close' || operation === 'flush') return
    const at = Atomics.add(this.data.log, 0, 1) + 1
    if (at < LOG_MAX) this.data.log[at] = this.data.id
  }

  get mode(): Mode {
    return MODES[Atomics.load(this.#words, MODE)] as Mode
  }

  get slowMs(): number {
    return Atomics.load(this.#words, SLOW_MS)
  }

  /** Blocks the thread at the gate. */
  wait(): void {
    Atomics.add(this.#words, INSIDE, 1)
    for (;;) {
      const ticket = Atomics.load(this.#words, TICKET)
      if (this.pass()) break
      Atomics.wait(this.#words, TICKET, ticket)
    }
    Atomics.sub(this.#words, INSIDE, 1)
  }

  /** As wait, for a back end that promises. */
  async whenOpen(): Promise<void> {
    Atomics.add(this.#words, INSIDE, 1)
    while (!this.pass()) await new Promise((resolve) => setTimeout(resolve, 1))
    Atomics.sub(this.#words, INSIDE, 1)
  }

  pass(): boolean {
    if (Atomics.load(this.#words, GATE) === 0) return true
    for (;;) {
      const permits = Atomics.load(this.#words, PERMITS)
      if (permits === 0) return false
      if (Atomics.compareExchange(this.#words, PERMITS, permits, permits - 1) === permits) return true
    }
  }
}
