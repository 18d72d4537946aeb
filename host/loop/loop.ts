// The loop of a worker's thread: waits in epoll for kicks, timers and control messages of all its disks, and gives
// every disk that has something to do one turn per round (device rules 17, 28). While every back end answers at once
// the thread sleeps in epoll_wait; as soon as one may promise its answers, the thread's event loop has to run, and a
// second thread sleeps in epoll_wait for it (waiter.ts).
//
// What an event means and what a stall leads to is decided in decisions.ts; queues are drained by device/service.ts.

import { constants } from 'node:os'
import type { Epoll } from '../sys/epoll.ts'
import { takeEventFd } from '../sys/eventfd.ts'
import { SysError } from '../sys/libc.ts'
import { diskOf, dispatch, LOOK_UP_MS, queueOf } from './decisions.ts'
import { monotonicNanos, type ServedDisk } from './served-disk.ts'

const { EINTR } = constants.errno

/** Sleeps in epoll_wait on behalf of a thread that must not. */
export interface Waiter {
  /** Calls the listener once something is ready. */
  arm(): void
}

export interface LoopOptions {
  readonly epoll: Epoll
  readonly controlFd: number
  /** reads and carries out the messages that have come */
  readonly onControl: () => void
  /** made when it is first needed */
  readonly waiter: (onReady: () => void) => Waiter
}

export class Loop {
  readonly #options: LoopOptions
  readonly #disks = new Map<number, ServedDisk>()
  /** disks that want a turn, in the order they asked */
  #ready = new Set<ServedDisk>()
  /** the set of the round before, empty */
  #round = new Set<ServedDisk>()
  /** disks whose timer could not be armed */
  readonly #polling = new Set<ServedDisk>()
  /** disks whose back ends need the thread's event loop */
  #late = 0
  /** control requests that are being carried out, which need it too */
  #calls = 0
  #waiter: Waiter | undefined
  #rouse: () => void = () => {}

  constructor(options: LoopOptions) {
    this.#options = options
  }

  add(disk: ServedDisk): void {
    disk.attach(this.#options.epoll)
    this.#disks.set(disk.id, disk)
    if (!disk.isInPlace) this.#late++
    this.want(disk)
  }

  /** The caller has seen to it that the disk is held. */
  remove(id: number): ServedDisk | undefined {
    const disk = this.#disks.get(id)
    if (disk === undefined) return undefined
    disk.detach(this.#options.epoll)
    this.#disks.delete(id)
    this.#ready.delete(disk)
    this.#polling.delete(disk)
    if (!disk.isInPlace) this.#late--
    return disk
  }

  find(id: number): ServedDisk | undefined {
    return this.#disks.get(id)
  }

  want(disk: ServedDisk): void {
    this.#ready.add(disk)
    this.#rouse()
  }

  /** Runs the thread's event loop until the work is done. */
  async during<Result>(work: Promise<Result>): Promise<Result> {
    this.#calls++
    try {
      return await work
    } finally {
      this.#calls--
    }
  }

  get #needsEventLoop(): boolean {
    return this.#late > 0 || this.#calls > 0
  }

  /** Returns at the stop event, between two turns; throws if epoll fails. */
  async run(): Promise<void> {
    const { epoll } = this.#options
    for (;;) {
      if (this.#needsEventLoop) await this.#turnEventLoop()
      const count = epoll.wait(this.#needsEventLoop || this.#ready.size > 0 ? 0 : (this.#timeoutMs() ?? LOOK_UP_MS))
      if (count < 0 && count !== -EINTR) throw new SysError('epoll_wait', -count)
      let stop = false
      for (let i = 0; i < count; i++) stop = this.#handle(epoll.token(i)) || stop
      if (stop) return
      this.#poll()
      this.#takeTurns()
    }
  }

  /** One turn for each disk that wants one; those that want another are first in the next round. */
  #takeTurns(): void {
    const round = this.#ready
    this.#ready = this.#round
    this.#round = round
    for (const disk of round) {
      if (disk.turn()) this.#ready.add(disk)
      if (disk.pollAt !== Number.POSITIVE_INFINITY) this.#polling.add(disk)
    }
    round.clear()
  }

  /** The thread is ending before its time. */
  abandon(): void {
    for (const disk of this.#disks.values()) disk.abandon()
  }

  /** True: stop. Events that came with it are still taken, so that no counter is left full. */
  #handle(token: number): boolean {
    const disk = this.#disks.get(diskOf(token))
    switch (dispatch(token)) {
      case 'stop':
        return true
      case 'control':
        takeEventFd(this.#options.controlFd)
        this.#options.onControl()
        return false
      case 'kick':
        disk?.kicked(queueOf(token))
        break
      case 'wake':
        disk?.woken()
        break
      case 'timer':
        disk?.expired()
        break
      case 'skip':
        break
    }
    if (disk !== undefined) this.#ready.add(disk)
    return false
  }

  #poll(): void {
    for (const disk of this.#polling) {
      if (monotonicNanos() < disk.pollAt) continue
      this.#polling.delete(disk)
      disk.polled()
      this.#ready.add(disk)
    }
  }

  /** Until the first disk is to be polled, at most LOOK_UP_MS as no stall is longer; undefined if none is. */
  #timeoutMs(): number | undefined {
    if (this.#polling.size === 0) return undefined
    let pollAt = Number.POSITIVE_INFINITY
    for (const disk of this.#polling) pollAt = Math.min(pollAt, disk.pollAt)
    return Math.min(LOOK_UP_MS, Math.max(0, Math.ceil((pollAt - monotonicNanos()) / 1e6)))
  }

  /** Lets promises and messages of this thread run; sleeps until one of them, or an event, wants the loop. */
  async #turnEventLoop(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    if (this.#ready.size > 0 || !this.#needsEventLoop) return
    // A control request is short: it is not worth a thread.
    const timeoutMs = this.#late === 0 ? 1 : this.#timeoutMs()
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>((resolve) => {
      this.#rouse = resolve
      if (timeoutMs !== undefined) timer = setTimeout(resolve, timeoutMs)
      if (this.#late === 0) return
      this.#waiter ??= this.#options.waiter(() => this.#rouse())
      this.#waiter.arm()
    })
    this.#rouse = () => {}
    clearTimeout(timer)
  }
}
