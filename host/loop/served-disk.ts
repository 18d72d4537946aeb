// A disk as its worker sees it: the service that drains its queues, between the epoll loop that says when and the
// descriptors that carry interrupts and time. Lives on the worker's thread; owns its back end and nothing else. The
// state, the control block and all descriptors belong to the thread that attached the disk.

import { EFFECT_KICK } from '../../assembly/abi.ts'
import type { BlockBackend } from '../backend/types.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import { QueueService } from '../device/service.ts'
import type { EngineExports } from '../engine/engine.ts'
import { EngineState } from '../engine/state.ts'
import type { Epoll } from '../sys/epoll.ts'
import { takeEventFd } from '../sys/eventfd.ts'
import { TimerFd } from '../sys/timerfd.ts'
import { decideStall, KICK, resolveStall, SLICE_NANOS, type StallAction, TIMER, tokenOf, WAKE } from './decisions.ts'
import type { ServedDiskMessage } from './messages.ts'
import { DiskTransport, engineOf, type FailureListener } from './transport.ts'

/** Monotonic nanoseconds, the same on every thread: performance.now() counts from the start of its thread. */
export function monotonicNanos(): number {
  const [seconds, nanos] = process.hrtime()
  return seconds * 1e9 + nanos
}

const CLOCK_OFFSET = monotonicNanos() - performance.now() * 1e6
const clock = (): number => performance.now() * 1e6 + CLOCK_OFFSET

export class ServedDisk {
  readonly id: number
  /** the back end answers at once: its disk needs no event loop */
  readonly isInPlace: boolean
  /** ns at which a disk whose timer could not be armed is to be looked at; Infinity if the timer sees to it */
  pollAt = Number.POSITIVE_INFINITY
  readonly #message: ServedDiskMessage
  readonly #transport: DiskTransport
  readonly #backend: BlockBackend
  readonly #engine: EngineExports
  readonly #service: QueueService
  readonly #timer: TimerFd
  readonly #onFailure: FailureListener
  readonly #wake: () => void
  /** who waits for whenSettled() */
  readonly #settling: (() => void)[] = []
  #resets: number
  /** when the timer will expire, in clock time; 0 = not armed */
  #armedUntil = 0

  /** `wake` asks for a turn() soon. */
  constructor(message: ServedDiskMessage, backend: BlockBackend, onFailure: FailureListener, wake: () => void) {
    const { handle, id, queueSizeMax, regions } = message
    this.id = id
    this.isInPlace = backend.inPlace === true
    this.#message = message
    this.#backend = backend
    this.#onFailure = onFailure
    this.#wake = wake
    this.#transport = DiskTransport.open(handle, onFailure)
    this.#engine = engineOf(handle)
    this.#timer = TimerFd.borrow(handle.timerFd)
    this.#resets = this.#transport.control.resets
    const allocate = (): number => {
      throw new Error('a worker allocates no state')
    }
    const parts = {
      engine: this.#engine,
      state: new EngineState(handle.memory, handle.statePtr),
      memory: GuestMemory.adopt({ memory: handle.memory, regions, allocate }),
      backend,
      queues: handle.queues,
      queueSizeMax,
    }
    const { control } = this.#transport
    this.#service = new QueueService(parts, {
      clock,
      interrupt: () => this.#transport.interrupt(),
      failed: onFailure,
      wake,
      isHeld: () => control.isHeld,
      sliceNanos: SLICE_NANOS,
    })
  }

  /** Adds the disk's descriptors to the loop's and asks for a first drain: whatever came before is not lost. */
  attach(epoll: Epoll): void {
    const { wakeFd, kickFds, timerFd } = this.#message.handle
    // On edge: a wake-up says all by coming, so its counter is never read. A full one is emptied by who finds it so.
    epoll.add(wakeFd, tokenOf(WAKE, this.id), true)
    kickFds.forEach((fd, queue) => {
      epoll.add(fd, tokenOf(KICK, this.id, queue))
    })
    epoll.add(timerFd, tokenOf(TIMER, this.id))
    this.#transport.control.setServed()
    this.#service.kickAll()
  }

  detach(epoll: Epoll): void {
    const { wakeFd, kickFds, timerFd } = this.#message.handle
    for (const fd of [wakeFd, ...kickFds, timerFd]) epoll.remove(fd)
  }

  // Events: each reads its descriptor, and leaves the draining to turn() -----------------------------------------

  /** An ioeventfd: the counter says how many kicks there were. */
  kicked(queue: number): void {
    const kicks = takeEventFd(this.#message.handle.kickFds[queue] as number)
    if (kicks <= 0) return
    const effects = this.#engine.kicked(this.#message.handle.statePtr, queue, Math.min(kicks, 0xffffffff))
    if (effects & EFFECT_KICK) this.#service.kick(queue)
  }

  woken(): void {
    if (this.#transport.control.takeRetry()) this.#service.wantStalled()
    this.#service.kickAll()
  }

  expired(): void {
    this.#timer.take()
    this.#armedUntil = 0
    this.#service.wantStalled()
  }

  /** In place of expired(), for a timer that could not be armed. */
  polled(): void {
    this.pollAt = Number.POSITIVE_INFINITY
    this.#service.wantStalled()
  }

  // Draining -----------------------------------------------------------------------------------------------

  /** Rule 26: from now on nothing is taken from a ring; or it is again. */
  setDraining(draining: boolean): void {
    this.#service.setDraining(draining)
  }

  /** Resolves when all that was taken from the rings has been answered, or the disk is closed. */
  whenSettled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settling.push(resolve)
      this.#wake()
    })
  }

  /** A batch of each queue that wants one, cut after SLICE_NANOS (rule 28). True if there is more to do at once. */
  turn(): boolean {
    const more = this.#turn()
    const { control } = this.#transport
    const isSettled = this.#service.isQuiet && !control.isResetPending && control.resets === this.#resets
    if (isSettled) for (const resolve of this.#settling.splice(0)) resolve()
    return more
  }

  #turn(): boolean {
    const { control } = this.#transport
    if (!control.enter()) {
      // A reset may have seen the worker at the door at the end of its second, and left the rest to it.
      if (!control.isResetPending) return false
      this.#transport.completeReset(() => false)
      return true
    }
    let more = true
    try {
      if (control.resets !== this.#resets) {
        this.#resets = control.resets
        this.#armedUntil = 0
        this.#service.reset()
        // A kick of the new driver may have come before this look at the reset, and has just been forgotten with it.
        this.#service.wantAll()
      }
      more = this.#service.serve()
      if (this.#service.isWaiting) {
        // A hold that has come only now may go without having turned the worker away, and then wakes nobody.
        if (control.isHeld) more = true
        else this.#sleep()
      }
      more ||= this.#service.isWanted
    } finally {
      control.leave()
    }
    if (control.isResetPending || this.#service.isResetDue) {
      // Nothing is due any more if the guest has reset the device itself since: a new driver may be up already.
      this.#transport.completeReset(() => this.#service.isResetDue && control.resets === this.#resets)
      return true
    }
    return more
  }

  /** Rule 20: sets the timer for what waits. */
  #sleep(): void {
    const decide = (): StallAction => decideStall(this.#service.nanosToWake())
    const action = resolveStall(decide(), () => {
      this.#service.wantStalled()
      this.#service.serve()
      return decide()
    })
    if (typeof action === 'object') this.#arm(action.sleepNanos)
  }

  #arm(nanos: number): void {
    const until = clock() + nanos
    if (this.#armedUntil !== 0 && this.#armedUntil <= until) return
    const armed = this.#timer.arm(nanos)
    if (armed === 0) {
      this.#armedUntil = until
      return
    }
    // Rule 22: polling instead, never a hang.
    this.pollAt = until
    if (this.#transport.control.count('timerErrors')) {
      this.#onFailure(`virtio-blk: the throttle timer cannot be armed (errno ${-armed}), polling instead`)
    }
  }

  /** The thread is ending before its time: its last words to the guest (rule 7). */
  abandon(): void {
    this.#transport.workerDied()
  }

  /** Nothing is touched any more. The holder has seen to it that nothing is being touched. */
  async close(): Promise<void> {
    this.#service.close()
    for (const resolve of this.#settling.splice(0)) resolve()
    await this.#backend.close?.()
  }
}
