// The words that KvmMachine and its vCPU threads share while a guest runs: start, stop, serial output taken, and
// counters of exits. Every access is atomic, or of a counter that only grows. Nothing else is shared but the devices
// (pc-devices.ts) and guest RAM.

/** Times the guest left to the machine since it was switched on, all vCPUs together. */
export interface ExitCounters {
  /** accesses to a disk's window, notifications included */
  readonly mmio: number
  readonly ports: number
  /** writes of QueueNotify that were exits; with ioeventfd there are none */
  readonly notifications: number
  /** the longest that an access, and a notification, kept a vCPU out of the guest */
  readonly longestMmioMs: number
  readonly longestNotificationMs: number
}

const START = 0
const STOP = 1
const DRAINED = 2
const MMIO = 3
const PORTS = 4
const NOTIFICATIONS = 5
const LONGEST_MMIO_US = 6
const LONGEST_NOTIFICATION_US = 7
const WORDS = 8

export class MachineControl {
  readonly #words: Int32Array

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared, 0, WORDS)
  }

  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(WORDS * 4)
  }

  start(): void {
    this.#raise(START)
  }

  /** Every thread leaves its loop when it looks next; a guest has to be interrupted for that. */
  stop(): void {
    this.#raise(STOP)
    this.#raise(START) // for threads that have not started
    this.drained()
  }

  get isStopping(): boolean {
    return Atomics.load(this.#words, STOP) !== 0
  }

  waitForStart(): void {
    while (Atomics.load(this.#words, START) === 0) Atomics.wait(this.#words, START, 0)
  }

  /** Serial output was taken. */
  drained(): void {
    Atomics.add(this.#words, DRAINED, 1)
    Atomics.notify(this.#words, DRAINED)
  }

  waitDrained(ms: number): void {
    Atomics.wait(this.#words, DRAINED, Atomics.load(this.#words, DRAINED), ms)
  }

  countPort(): void {
    Atomics.add(this.#words, PORTS, 1)
  }

  countMmio(isNotification: boolean, ms: number): void {
    const us = Math.round(ms * 1000)
    Atomics.add(this.#words, MMIO, 1)
    this.#atLeast(LONGEST_MMIO_US, us)
    if (!isNotification) return
    Atomics.add(this.#words, NOTIFICATIONS, 1)
    this.#atLeast(LONGEST_NOTIFICATION_US, us)
  }

  get exits(): ExitCounters {
    const word = (index: number): number => Atomics.load(this.#words, index) >>> 0
    return {
      mmio: word(MMIO),
      ports: word(PORTS),
      notifications: word(NOTIFICATIONS),
      longestMmioMs: word(LONGEST_MMIO_US) / 1000,
      longestNotificationMs: word(LONGEST_NOTIFICATION_US) / 1000,
    }
  }

  #raise(index: number): void {
    Atomics.store(this.#words, index, 1)
    Atomics.notify(this.#words, index)
  }

  #atLeast(index: number, value: number): void {
    for (let seen = Atomics.load(this.#words, index); seen < value; ) {
      const before = Atomics.compareExchange(this.#words, index, seen, value)
      if (before === seen) return
      seen = before
    }
  }
}
