// A second thread that sleeps in epoll_wait for a worker whose own thread has to run its event loop, because a back
// end promises its answers. It only says that something is ready; the worker asks epoll itself. It sleeps in an epoll
// that has the worker's in it: waiting on that one would take events away. Entry and handle of the thread are both
// here. (libuv's thread pool is no place to sleep in: it has four threads for the whole process.)

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Epoll } from '../sys/epoll.ts'
import { LOOK_UP_MS } from './decisions.ts'
import type { Waiter } from './loop.ts'

const IDLE = 0
const ARMED = 1
const OVER = 2

interface WaiterData {
  readonly waiter: true
  readonly epollFd: number
  readonly turn: Int32Array
}

export class WaiterThread implements Waiter {
  readonly #turn = new Int32Array(new SharedArrayBuffer(4))
  readonly #thread: Worker

  /** `entry`: the built file of this module; `epollFd`: the outer epoll. `onReady` is called on the caller's thread. */
  constructor(entry: URL, epollFd: number, onReady: () => void) {
    const data: WaiterData = { waiter: true, epollFd, turn: this.#turn }
    this.#thread = new Worker(entry, { workerData: data, execArgv: [] })
    this.#thread.on('message', onReady)
  }

  arm(): void {
    if (Atomics.compareExchange(this.#turn, 0, IDLE, ARMED) === IDLE) Atomics.notify(this.#turn, 0)
  }

  /** Ends the thread. The caller has made a descriptor ready that stays so: the stop event. */
  async close(): Promise<void> {
    const over = new Promise((resolve) => this.#thread.once('exit', resolve))
    Atomics.store(this.#turn, 0, OVER)
    Atomics.notify(this.#turn, 0)
    await over
  }
}

function main({ epollFd, turn }: WaiterData): void {
  const epoll = Epoll.borrow(epollFd)
  for (;;) {
    Atomics.wait(turn, 0, IDLE)
    if (Atomics.load(turn, 0) === OVER) return
    if (epoll.wait(LOOK_UP_MS) === 0) continue
    // Whatever woke it, the worker looks for itself, at errors too.
    if (Atomics.compareExchange(turn, 0, ARMED, IDLE) === OVER) return
    parentPort?.postMessage(null)
  }
}

if (!isMainThread && (workerData as Partial<WaiterData> | null)?.waiter === true) main(workerData as WaiterData)
