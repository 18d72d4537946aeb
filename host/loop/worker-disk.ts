// A disk that a worker's thread serves, as its owner has it: the register window, what can be asked of it, its pause
// and its snapshots (device rules 22, 25 to 27, 29). It owns the disk's descriptors. The thread itself and what
// becomes of its disks when it dies: disk-worker.ts. Linux.

import { EFFECT_INTERRUPT } from '../../assembly/abi.ts'
import { VIRTIO_MMIO_INTERRUPT_STATUS } from '../../assembly/spec.ts'
import { sectorsOf, type VirtioBlkOptions } from '../device/options.ts'
import { captureSnapshot, type Overridable } from '../device/restore.ts'
import { setUp } from '../device/set-up.ts'
import type { Snapshot } from '../device/snapshot.ts'
import { type ThrottleOptions, throttleRecord } from '../device/throttle.ts'
import type { EngineExports } from '../engine/engine.ts'
import type { Counters, EngineState } from '../engine/state.ts'
import type { Recorder } from '../replay/recorder.ts'
import { EventFd } from '../sys/eventfd.ts'
import { TimerFd } from '../sys/timerfd.ts'
import { CONTROL_BYTES, type Failures } from './control.ts'
import type { DiskWorker } from './disk-worker.ts'
import type { BackendSource, Request, ServedDiskMessage } from './messages.ts'
import { monotonicNanos } from './served-disk.ts'
import { type DiskHandle, DiskTransport, type FailureListener } from './transport.ts'

export interface WorkerDiskOptions
  extends Omit<VirtioBlkOptions, 'backend' | 'clock' | 'onInterrupt' | 'onFailure' | 'engine'> {
  readonly backend: BackendSource
  /** records all that the engine does for this disk, on every thread; made with `shared: true` */
  readonly record?: Recorder
  /** rule 26: the bytes of a snapshot, of this disk on a worker or inline: as VirtioBlk.restore */
  readonly restore?: Uint8Array
  readonly override?: readonly Overridable[]
}

/** A request without the number that its answer bears. */
export type Ask = Request extends infer Kind ? (Kind extends Request ? Omit<Kind, 'call'> : never) : never

/** The thread has ended: what it was asked for will not come. */
export class WorkerDead extends Error {}

/** The module of a back end is found from here, not from the thread's file. */
export function source(options: WorkerDiskOptions): BackendSource {
  const { backend } = options
  if (typeof backend !== 'object' || backend === null || 'file' in backend === 'module' in backend) {
    throw new TypeError('DiskWorker: backend must be { file: PATH } or { module: URL, options }')
  }
  if ('module' in backend) return { ...backend, module: String(backend.module) }
  if (typeof backend.file !== 'string')
    throw new TypeError(`DiskWorker: backend.file must be a path, not ${backend.file}`)
  return { readOnly: options.readOnly ?? false, ...backend }
}

interface WorkerDiskParts {
  readonly worker: DiskWorker
  readonly id: number
  readonly options: WorkerDiskOptions
  readonly capacityBytes: number
  readonly snapshot: Snapshot | undefined
  readonly onFailure: FailureListener
}

/** A disk that a worker serves; made by DiskWorker.attach(). */
export class WorkerDisk {
  /** for DiskTransport.open() on other threads */
  readonly handle: DiskHandle
  readonly #worker: DiskWorker
  readonly #message: ServedDiskMessage
  readonly #backend: BackendSource
  readonly #engine: EngineExports
  readonly #state: EngineState
  readonly #transport: DiskTransport
  readonly #owned: readonly { close(): void }[]
  #paused = false
  /** the pause has a hold on the disk */
  #holds = false
  #snapshot: Promise<Uint8Array> | undefined
  /** what was taken before is being finished for a snapshot: not even a pause holds the disk */
  #draining = false
  #isGivenUp = false
  #closing: Promise<void> | undefined

  private constructor(
    parts: WorkerDiskParts,
    message: ServedDiskMessage,
    engine: EngineExports,
    state: EngineState,
    owned: readonly { close(): void }[],
  ) {
    this.handle = message.handle
    this.#worker = parts.worker
    this.#message = message
    this.#backend = source(parts.options)
    this.#engine = engine
    this.#state = state
    this.#owned = owned
    this.#transport = DiskTransport.open(message.handle, parts.onFailure)
  }

  /** For DiskWorker. */
  static async make(parts: WorkerDiskParts): Promise<WorkerDisk> {
    const { capacityBytes, id, options, snapshot } = parts
    const { record, ...wanted } = options
    const { memory } = wanted
    const backend = { capacityBytes } as VirtioBlkOptions['backend']
    const engine = record ? { engine: record.engine } : {}
    const device = await setUp({ ...wanted, ...engine, backend }, monotonicNanos, snapshot)
    const controlPtr = memory.allocate(CONTROL_BYTES)
    const wake = EventFd.create()
    const owned: { close(): void }[] = [wake]
    try {
      const interrupt = EventFd.create()
      owned.push(interrupt)
      const timer = TimerFd.create()
      owned.push(timer)
      const kicks = Array.from({ length: device.queues }, () => {
        const kick = EventFd.create()
        owned.push(kick)
        return kick
      })
      const handle: DiskHandle = {
        memory: memory.memory,
        statePtr: device.state.ptr,
        controlPtr,
        queues: device.queues,
        wakeFd: wake.fd,
        kickFds: kicks.map(({ fd }) => fd),
        interruptFd: interrupt.fd,
        timerFd: timer.fd,
        ...(record && { recording: record.handle }),
      }
      const message = { id, handle, queueSizeMax: device.queueSizeMax, regions: memory.regions }
      const disk = new WorkerDisk(parts, message, device.engine, device.state, owned)
      // Rule 26: of an interrupt that was not acknowledged the new machine has heard nothing.
      if (disk.mmioRead(VIRTIO_MMIO_INTERRUPT_STATUS, 4) !== 0) disk.#transport.interrupt()
      await disk.#serve()
      return disk
    } catch (error) {
      for (const descriptor of owned) descriptor.close()
      throw error
    }
  }

  async #serve(): Promise<void> {
    await this.#worker.ask({ kind: 'serve', disk: this.#message })
  }

  /** For DiskWorker. */
  workerDied(): void {
    this.#transport.workerDied()
  }

  /** For DiskWorker: there will be no thread for this disk. */
  giveUp(): void {
    this.#isGivenUp = true
    this.#transport.giveUp()
  }

  /** For DiskWorker: hands the disk to a new thread. It serves once the guest has reset the device. */
  async serveAgain(): Promise<void> {
    if (this.#closing !== undefined || this.#isGivenUp) return
    await this.#worker.ask({ kind: 'open', id: this.#message.id, backend: this.#backend })
    if (this.#closing === undefined) await this.#serve()
  }

  // The register window: the same on every thread that opens `handle` ---------------------------------------------

  /** As VirtioBlk.mmioRead. */
  mmioRead(offset: number, width: number): number {
    return this.#transport.mmioRead(offset, width)
  }

  /**
   * As VirtioBlk.mmioWrite, but that nothing is drained on this thread: a QueueNotify wakes the worker. Writes of
   * Status and QueueReady see it out of the disk first, which takes at most a second (rule 6).
   */
  mmioWrite(offset: number, width: number, value: number): void {
    this.#transport.mmioWrite(offset, width, value)
  }

  /** An eventfd per queue, for KVM's ioeventfd: writes of the queue's index to QueueNotify. */
  get kickFds(): readonly number[] {
    return this.handle.kickFds
  }

  /** The eventfd that is signalled for each interrupt, for KVM's irqfd. */
  get interruptFd(): number {
    return this.handle.interruptFd
  }

  /** What the device has counted: names and meanings are in assembly/CONTRACT.md. */
  get counters(): Counters {
    return this.#state.readCounters()
  }

  /** What went wrong beside the guest's requests and was survived, counted (rule 29). */
  get failures(): Failures {
    return this.#transport.control.failures
  }

  // Control ------------------------------------------------------------------------------------------------

  /** Rule 27: a new size in bytes, rounded down to whole sectors; the driver gets a configuration interrupt. */
  setCapacity(bytes: number): void {
    const sectors = sectorsOf('capacity', bytes)
    const { control } = this.#transport
    // Under the lock: a driver that reads the config space sees the old size or the new ConfigGeneration.
    control.lock()
    try {
      if (control.isClosed) return
      const effects = this.#engine.setCapacity(this.#state.ptr, sectors >>> 0, Math.floor(sectors / 2 ** 32))
      if (effects & EFFECT_INTERRUPT) this.#transport.interrupt()
    } finally {
      control.unlock()
    }
  }

  /** Rule 22: new limits, none without an argument. A head that waits is asked again at once. */
  async setThrottle(options?: ThrottleOptions): Promise<void> {
    const record = throttleRecord(options)
    await this.#held(() => {
      this.#state.writeThrottle(record)
      this.#engine.setThrottle(this.#state.ptr, monotonicNanos())
      this.#transport.control.askRetry()
    })
    this.#transport.wake()
  }

  /** Runs `act` when the worker has left the disk. */
  async #held(act: () => void): Promise<void> {
    const { control } = this.#transport
    if (control.isClosed) return
    control.hold()
    try {
      await control.whenQuiet()
      act()
    } finally {
      this.#transport.release()
    }
  }

  /** Rule 25: resolves when no guest byte changes any more until resume(). Kicks are remembered. */
  async pause(): Promise<void> {
    const { control } = this.#transport
    if (control.isClosed) return
    this.#paused = true
    this.#hold()
    await this.#snapshot?.catch(() => {})
    await control.whenQuiet()
  }

  /** Goes on, with all that was kicked meanwhile. */
  resume(): void {
    this.#paused = false
    this.#hold()
  }

  #hold(): void {
    const holds = this.#paused && !this.#draining
    if (holds === this.#holds) return
    this.#holds = holds
    if (holds) this.#transport.control.hold()
    else this.#transport.release()
  }

  /**
   * Rule 26: the disk as bytes, for DiskWorker.attach({ restore }) or VirtioBlk.restore(). Waits until the requests
   * that the worker has taken are answered, of a paused disk too: copy guest RAM after it, before resume().
   */
  snapshot(): Promise<Uint8Array> {
    this.#snapshot ??= this.#takeSnapshot().finally(() => {
      this.#snapshot = undefined
    })
    return this.#snapshot
  }

  async #takeSnapshot(): Promise<Uint8Array> {
    const { id } = this.#message
    const { control } = this.#transport
    await this.#worker.ask({ kind: 'drain', id, on: true })
    try {
      this.#draining = true
      this.#hold()
      await this.#worker.ask({ kind: 'settle', id })
      control.hold()
      try {
        await control.whenQuiet()
        control.lock()
        try {
          if (this.#closing !== undefined) throw new Error('the disk is closed, there is nothing to take a snapshot of')
          return captureSnapshot(this.#state, monotonicNanos())
        } finally {
          control.unlock()
        }
      } finally {
        this.#draining = false
        this.#hold()
        this.#transport.release()
      }
    } finally {
      this.#draining = false
      this.#hold()
      // A thread that has died meanwhile has nothing to go on with.
      await this.#worker.ask({ kind: 'drain', id, on: false }).catch(() => {})
    }
  }

  get isPaused(): boolean {
    return this.#paused
  }

  /**
   * Ends the disk: resolves when nothing can be published any more, the back end is closed and the descriptors are.
   * Take kickFds and interruptFd out of KVM first. Waits for what the back end is doing, however long that takes.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { control } = this.#transport
    control.hold()
    await control.whenQuiet()
    try {
      await this.#worker.ask({ kind: 'close', id: this.#message.id })
    } catch (error) {
      // With the thread the back end has gone too.
      if (!(error instanceof WorkerDead)) throw error
    } finally {
      control.lock()
      control.setClosed()
      control.unlock()
      this.#worker.forget(this.#message.id)
      for (const descriptor of this.#owned) descriptor.close()
    }
  }
}
