// A second thread that flips one 32-bit word of shared guest memory between two values, as fast as it can: the
// guest's other vCPU in a double-fetch attack. It runs between start() and stop(); end() ends the thread.

import { Worker } from 'node:worker_threads'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import { within } from './within.ts'

const STATE = 0
const WORD = 1
const FIRST = 2
const SECOND = 3
const IDLE = 0
const FLIPPING = 1
const ENDED = 2

const SOURCE = `
const { parentPort, workerData } = require('node:worker_threads')
const words = new Int32Array(workerData.buffer)
const control = new Int32Array(workerData.control)
let seed = 1
let sink = 0
// Two stores in a row would be one to a thread that has to fetch the cache line: it would only ever see the second.
function pause() {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0
  for (let i = (seed >>> 24) & 63; i > 0; i--) sink = (sink + i) | 0
}
parentPort.postMessage('ready')
for (;;) {
  const state = Atomics.load(control, 0)
  if (state === 2) break
  if (state === 0) {
    Atomics.store(control, 4, 1)
    Atomics.notify(control, 4)
    Atomics.wait(control, 0, 0)
    Atomics.store(control, 4, 0)
    continue
  }
  const at = control[1]
  const first = control[2]
  const second = control[3]
  for (let i = 0; i < 64; i++) {
    Atomics.store(words, at, first)
    pause()
    Atomics.store(words, at, second)
    pause()
  }
}
`

export class Flipper {
  readonly #memory: GuestMemory
  readonly #control = new Int32Array(new SharedArrayBuffer(32))
  readonly #worker: Worker

  private constructor(memory: GuestMemory) {
    this.#memory = memory
    const workerData = { buffer: memory.memory.buffer, control: this.#control.buffer }
    this.#worker = new Worker(SOURCE, { eval: true, workerData })
  }

  static async create(memory: GuestMemory): Promise<Flipper> {
    const flipper = new Flipper(memory)
    const ready = new Promise<void>((resolve, reject) => {
      flipper.#worker.once('message', () => resolve())
      flipper.#worker.once('error', reject)
    })
    await within(10_000, ready, 'the flipping thread')
    return flipper
  }

  /** Flips the word at a guest-physical address, a multiple of 4, between two values. Returns when it does. */
  start(gpa: number, first: number, second: number): void {
    this.stop()
    const at = this.#memory.view(gpa, 4).byteOffset / 4
    const words = new Int32Array(this.#memory.memory.buffer)
    Atomics.store(words, at, first)
    this.#control[WORD] = at
    this.#control[FIRST] = first
    this.#control[SECOND] = second
    Atomics.store(this.#control, STATE, FLIPPING)
    Atomics.notify(this.#control, STATE)
    const end = Date.now() + 1000
    while (Atomics.load(words, at) === first && Date.now() < end);
  }

  /** Returns when no more stores will come. */
  stop(): void {
    Atomics.store(this.#control, STATE, IDLE)
    while (Atomics.load(this.#control, 4) === 0) Atomics.wait(this.#control, 4, 0, 100)
  }

  async end(): Promise<void> {
    Atomics.store(this.#control, STATE, ENDED)
    Atomics.notify(this.#control, STATE)
    await within(10_000, this.#worker.terminate(), 'the end of the flipping thread')
  }
}
