// The register window of a disk that a worker serves, usable from any thread that has the disk's handle: every vCPU
// thread opens its own. Accesses take turns by the device lock; none waits for IO, but for a write to Status or
// QueueReady, which first sees the worker out of the disk: between two requests, at most one second (device rule 6).
// It owns no file descriptor and touches no guest memory.

import { constants } from 'node:os'
import * as abi from '../../assembly/abi.ts'
import { VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import { isWindowWrite, readWindow } from '../device/window.ts'
import { type EngineExports, loadEngine } from '../engine/engine.ts'
import { type RecorderHandle, recordingEngine } from '../replay/recorder.ts'
import { signalEventFd, takeEventFd } from '../sys/eventfd.ts'
import { TimerFd } from '../sys/timerfd.ts'
import { DiskControl, type FailureKind } from './control.ts'

/** All that another thread needs of a disk; it can be posted to one (structured clone). */
export interface DiskHandle {
  readonly memory: WebAssembly.Memory
  /** offsets of the engine's state and of the control block in `memory` */
  readonly statePtr: number
  readonly controlPtr: number
  readonly queues: number
  /** eventfds: wakes the worker; one per queue for ioeventfd; signalled for each interrupt */
  readonly wakeFd: number
  readonly kickFds: readonly number[]
  readonly interruptFd: number
  /** timerfd of the throttle */
  readonly timerFd: number
  /** the disk is recorded: its engine calls take turns, on whatever thread they are made */
  readonly recording?: RecorderHandle
}

/** This thread's engine for the disk. */
export function engineOf({ memory, recording }: DiskHandle): EngineExports {
  return recording ? recordingEngine(memory, recording) : (loadEngine(memory) as EngineExports)
}

export type FailureListener = (message: string) => void

/** Rule 6: how long a reset waits for the back end before the guest sees NEEDS_RESET. */
const RESET_TIMEOUT_MS = 1000

const { EAGAIN } = constants.errno

const log: FailureListener = (message) => console.error(message)

export class DiskTransport {
  readonly control: DiskControl
  readonly #handle: DiskHandle
  readonly #engine: EngineExports
  readonly #state: number
  readonly #timer: TimerFd
  readonly #onFailure: FailureListener

  private constructor(handle: DiskHandle, engine: EngineExports, onFailure: FailureListener) {
    this.control = new DiskControl(handle.memory, handle.controlPtr)
    this.#handle = handle
    this.#engine = engine
    this.#state = handle.statePtr
    this.#timer = TimerFd.borrow(handle.timerFd)
    this.#onFailure = onFailure
  }

  /** `onFailure` is told, in one line each, of what ends service (default: console.error). */
  static open(handle: DiskHandle, onFailure: FailureListener = log): DiskTransport {
    return new DiskTransport(handle, engineOf(handle), onFailure)
  }

  /** As VirtioBlk.mmioRead. */
  mmioRead(offset: number, width: number): number {
    this.control.lock()
    try {
      return readWindow(this.#engine, this.#state, offset, width)
    } catch (error) {
      this.#trapped(error)
      return 0
    } finally {
      this.control.unlock()
    }
  }

  /** As VirtioBlk.mmioWrite, but for the drain: a QueueNotify wakes the worker and returns. */
  mmioWrite(offset: number, width: number, value: number): void {
    if (!isWindowWrite(offset, value)) return
    this.control.lock()
    try {
      if (this.control.isClosed) return
      if (width === 4 && offset === VIRTIO_MMIO_STATUS) this.#writeStatus(value)
      else if (width === 4 && offset === VIRTIO_MMIO_QUEUE_READY) this.#quietly(() => this.#write(offset, width, value))
      else this.#write(offset, width, value)
    } catch (error) {
      this.#trapped(error)
    } finally {
      this.control.unlock()
    }
  }

  #write(offset: number, width: number, value: number): void {
    const effects = this.#engine.mmioWrite(this.#state, offset, width, value)
    if (effects & abi.EFFECT_RESET) this.#wasReset()
    if (effects & abi.EFFECT_DRIVER_OK && !this.control.hasWorker) this.#failed(abi.FAIL_WORKER)
    if (effects & (abi.EFFECT_KICK | abi.EFFECT_DRIVER_OK)) this.wake()
  }

  /** Everything but a reset changes one bit, atomically; still the worker is out when the write returns (rule 4). */
  #writeStatus(value: number): void {
    if (value !== 0) {
      const isQuiet = this.#quietly(() => this.#write(VIRTIO_MMIO_STATUS, 4, value))
      if (!isQuiet) this.#write(VIRTIO_MMIO_STATUS, 4, value)
      return
    }
    const { control } = this
    if (control.isResetPending) return
    control.hold()
    if (!control.waitQuiet(RESET_TIMEOUT_MS)) {
      control.setResetPending(true)
      // It may have left since: then it has not seen the flag, and the reset is ours.
      if (control.isBusy) {
        this.#engine.fail(this.#state, abi.FAIL_QUIETLY)
        this.#onFailure('virtio-blk: 1 s after a reset the back end still has a request of before')
        return
      }
      control.setResetPending(false)
    }
    try {
      this.#write(VIRTIO_MMIO_STATUS, 4, 0)
    } finally {
      this.release()
    }
    // A back end that promised answers may still owe some: the worker is to see that they come within a second.
    this.wake()
  }

  /** Runs `act` while the worker is out of the disk. False: it did not leave in time, and nothing was done. */
  #quietly(act: () => void): boolean {
    const { control } = this
    if (control.isResetPending) return false
    control.hold()
    try {
      const isQuiet = control.waitQuiet(RESET_TIMEOUT_MS)
      if (isQuiet) act()
      return isQuiet
    } finally {
      this.release()
    }
  }

  /** Lets go of a hold; a worker that was turned away meanwhile is woken. */
  release(): void {
    if (this.control.release()) this.wake()
  }

  /** No interrupt of the old driver's time is left in the eventfd, and no timer runs. */
  #wasReset(): void {
    this.control.countReset()
    takeEventFd(this.#handle.interruptFd)
    const disarmed = this.#timer.disarm()
    if (disarmed < 0) this.#count('timerErrors', `the timer cannot be disarmed (errno ${-disarmed})`)
  }

  /**
   * For the worker and for who buries it: completes a reset that could not wait for a back end. The caller knows that
   * no worker is in the disk.
   */
  completeReset(isDue: () => boolean): void {
    this.control.lock()
    try {
      const isPending = this.control.isResetPending
      if (this.control.isClosed || !(isPending || isDue())) return
      this.control.setResetPending(false)
      try {
        this.#write(VIRTIO_MMIO_STATUS, 4, 0)
      } finally {
        if (isPending) this.release()
      }
    } catch (error) {
      this.#trapped(error)
    } finally {
      this.control.unlock()
    }
  }

  // The way out --------------------------------------------------------------------------------------------

  /** Makes the worker look at the disk. Of a disk that is closed the descriptors may be somebody else's by now. */
  wake(): void {
    if (this.control.isClosed) return
    const { wakeFd } = this.#handle
    let result = signalEventFd(wakeFd)
    if (result === -EAGAIN) {
      // The worker never reads this counter. Emptied, it takes the signal.
      this.#count('fullEventfds', 'the wake eventfd was full')
      takeEventFd(wakeFd)
      result = signalEventFd(wakeFd)
    }
    if (result < 0) this.#count('eventfdErrors', `the wake eventfd cannot be signalled (errno ${-result})`)
  }

  /** A counter that is full has an interrupt pending already: nothing is lost. */
  interrupt(): void {
    const result = signalEventFd(this.#handle.interruptFd)
    if (result === -EAGAIN) this.#count('fullEventfds', 'the interrupt eventfd is full: nobody takes the interrupts')
    else if (result < 0) this.#count('eventfdErrors', `the interrupt eventfd cannot be signalled (errno ${-result})`)
  }

  #count(kind: FailureKind, message: string): void {
    if (this.control.count(kind)) this.#onFailure(`virtio-blk: ${message}`)
  }

  // Failure ------------------------------------------------------------------------------------------------

  /** Rule 7. `cause` is FAIL_*. The driver is interrupted once, if it is up. */
  #failed(cause: number): void {
    if (this.#engine.fail(this.#state, cause) & abi.EFFECT_INTERRUPT) this.interrupt()
  }

  #trapped(error: unknown): void {
    this.#failed(abi.FAIL_TRAP)
    this.#onFailure(`virtio-blk: the engine trapped, the guest must reset: ${String(error)}`)
  }

  /** Rule 7: the worker is dead, and what it had in flight with it. A driver is told; without one, nothing failed. */
  workerDied(): void {
    const { control } = this
    if (!control.abandon()) return
    this.completeReset(() => false)
    control.lock()
    try {
      if (control.isClosed) return
      control.count('workerDeaths')
      const status = readWindow(this.#engine, this.#state, VIRTIO_MMIO_STATUS, 4)
      this.#failed(abi.FAIL_WORKER)
      if (status === 0) this.#write(VIRTIO_MMIO_STATUS, 4, 0)
    } finally {
      control.unlock()
    }
  }

  /** Rule 7: no worker will come any more. A driver that is up is told now, one that comes up at its DRIVER_OK. */
  giveUp(): void {
    const { control } = this
    control.lock()
    try {
      if (control.isClosed) return
      control.giveUp()
      const status = readWindow(this.#engine, this.#state, VIRTIO_MMIO_STATUS, 4)
      if (status & VIRTIO_CONFIG_S_DRIVER_OK) this.#failed(abi.FAIL_WORKER)
    } finally {
      control.unlock()
    }
  }
}
