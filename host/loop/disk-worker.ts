// A thread that serves disks: the device as a VMM embeds it. The vCPU threads never do IO: they write registers
// (DiskTransport), kicks reach the worker by eventfd (from MMIO exits, or from KVM by ioeventfd), and it answers with
// an eventfd that KVM takes for an interrupt (irqfd). This file is the side of whoever owns the worker: it makes and
// owns every descriptor, attaches disks, and buries a thread that died (device rules 6, 7, 25 to 29). What the thread
// does is in loop.ts and served-disk.ts. Linux.

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { EFFECT_INTERRUPT } from '../../assembly/abi.ts'
import { BackendError } from '../backend/types.ts'
import { sectorsOf, type VirtioBlkOptions } from '../device/options.ts'
import { setUp } from '../device/set-up.ts'
import { type ThrottleOptions, throttleRecord } from '../device/throttle.ts'
import type { EngineExports } from '../engine/engine.ts'
import type { Counters, EngineState } from '../engine/state.ts'
import type { Recorder } from '../replay/recorder.ts'
import { Epoll } from '../sys/epoll.ts'
import { EventFd } from '../sys/eventfd.ts'
import { TimerFd } from '../sys/timerfd.ts'
import { CONTROL_BYTES, type Failures } from './control.ts'
import { DISKS_MAX } from './decisions.ts'
import type { Answer, BackendSource, Request, ServedDiskMessage, ThreadData } from './messages.ts'
import { monotonicNanos } from './served-disk.ts'
import { type DiskHandle, DiskTransport, type FailureListener } from './transport.ts'

export interface DiskWorkerOptions {
  /** told, in one line each, what ends service and what odd thing was survived. Default: console.error. */
  readonly onFailure?: FailureListener
}

export interface WorkerDiskOptions
  extends Omit<VirtioBlkOptions, 'backend' | 'clock' | 'onInterrupt' | 'onFailure' | 'engine'> {
  readonly backend: BackendSource
  /** records all that the engine does for this disk, on every thread; made with `shared: true` */
  readonly record?: Recorder
}

type Pending = { resolve: (capacityBytes: number | undefined) => void; reject: (error: Error) => void }
/** A request without the number that its answer bears. */
type Ask = Request extends infer Kind ? (Kind extends Request ? Omit<Kind, 'call'> : never) : never

/** The thread has ended: what it was asked for will not come. */
class WorkerDead extends Error {}

/** Workers whose thread runs: it must leave epoll_wait before the process can end. */
const running = new Set<EventFd>()
process.once('exit', () => {
  for (const stop of running) stop.signal()
})

export class DiskWorker {
  readonly #onFailure: FailureListener
  readonly #control = EventFd.create()
  readonly #disks = new Map<number, WorkerDisk>()
  readonly #pending = new Map<number, Pending>()
  #epoll = Epoll.create()
  readonly #outerEpoll = Epoll.create()
  readonly #stop = EventFd.create()
  #thread: Worker | undefined
  #port: MessagePort | undefined
  #calls = 0
  #ids = 0
  #closing: Promise<void> | undefined
  #closed = false
  /** the thread has answered since it was started: it is worth a successor */
  #hasServed = false
  #ended: Promise<void> = Promise.resolve()

  private constructor(onFailure: FailureListener) {
    this.#onFailure = onFailure
  }

  /** Starts the thread. It does not keep the process alive. Throws SysError if the system gives no more descriptors. */
  static async create(options: DiskWorkerOptions = {}): Promise<DiskWorker> {
    const worker = new DiskWorker(options.onFailure ?? ((message) => console.error(message)))
    worker.#start()
    return worker
  }

  #start(): void {
    const { port1, port2 } = new MessageChannel()
    const data: Omit<ThreadData, 'port'> = {
      epollFd: this.#epoll.fd,
      outerEpollFd: this.#outerEpoll.fd,
      controlFd: this.#control.fd,
      stopFd: this.#stop.fd,
    }
    const thread = new Worker(new URL(import.meta.resolve('virtio-blk-wasm/disk-thread')), {
      workerData: { ...data, port: port2 },
      transferList: [port2],
      name: 'virtio-blk',
      // What the process was started with (--eval, --input-type) is not for this file.
      execArgv: [],
    })
    this.#outerEpoll.add(this.#epoll.fd, 0)
    this.#thread = thread
    this.#port = port1
    this.#hasServed = false
    running.add(this.#stop)
    port1.on('message', (answer: Answer) => this.#take(answer))
    let reason = 'it ended'
    thread.once('error', (error) => {
      reason = String(error)
    })
    this.#ended = new Promise((resolve) => {
      thread.once('exit', () => {
        running.delete(this.#stop)
        // What the thread said last is in the port, and comes before its end.
        const isWorth = this.#hasServed || this.#pending.size > 0
        for (const pending of this.#pending.values()) pending.reject(new WorkerDead(`the disk worker died: ${reason}`))
        this.#pending.clear()
        port1.close()
        resolve()
        if (!this.#closed) this.#bury(reason, isWorth)
      })
    })
    thread.unref()
    port1.unref()
  }

  /** Rule 7: the guests are told, and a new thread serves their disks after their resets. */
  #bury(reason: string, isWorth: boolean): void {
    this.#onFailure(`virtio-blk: the disk worker died: ${reason}`)
    for (const disk of this.#disks.values()) disk.workerDied()
    if (!isWorth) {
      // It cannot even start: another one would not do better.
      this.#thread = undefined
      for (const disk of this.#disks.values()) disk.giveUp()
      return
    }
    this.#renewDescriptors()
    this.#start()
    // Later: what the dead thread was asked for has been refused by then.
    setImmediate(() => void this.#serveAgain(this.#thread))
  }

  /** One after the other: a disk that takes the thread with it is given up, and the others go on without it. */
  async #serveAgain(thread: Worker | undefined): Promise<void> {
    for (const disk of [...this.#disks.values()]) {
      // Dead again: its own burial goes on from here.
      if (this.#closed || this.#thread !== thread) return
      try {
        await disk.serveAgain()
      } catch (error) {
        disk.giveUp()
        this.#onFailure(`virtio-blk: a disk has no worker any more: ${(error as Error).message}`)
      }
    }
  }

  /** The old epoll still has the disks' descriptors in it, and the old stop event may have been signalled. */
  #renewDescriptors(): void {
    this.#outerEpoll.remove(this.#epoll.fd)
    this.#epoll.close()
    this.#epoll = Epoll.create()
    this.#control.take()
    this.#stop.take()
  }

  #take(answer: Answer): void {
    if ('failure' in answer) {
      this.#onFailure(answer.failure)
      return
    }
    const pending = this.#pending.get(answer.call)
    this.#pending.delete(answer.call)
    if (this.#pending.size === 0) this.#thread?.unref()
    const { error } = answer
    if (error === undefined) {
      this.#hasServed = true
      pending?.resolve(answer.capacityBytes)
    } else if (error.name === 'BackendError') {
      pending?.reject(new BackendError(error.code, error.message))
    } else {
      pending?.reject(new Error(error.message))
    }
  }

  /** Has the thread do something, between two batches. */
  ask(request: Ask): Promise<number | undefined> {
    const call = ++this.#calls
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#thread === undefined) {
        reject(this.#closed ? new Error('the disk worker is closed') : new WorkerDead('the disk worker has died'))
        return
      }
      this.#pending.set(call, { resolve, reject })
      this.#thread.ref()
      this.#port?.postMessage({ ...request, call })
      this.#control.signal()
    })
  }

  /**
   * Opens the back end on the thread and makes a disk of it, in its reset state and served. Throws TypeError or
   * RangeError naming the option that is wrong, BackendError for a file that cannot be opened.
   */
  async attach(options: WorkerDiskOptions): Promise<WorkerDisk> {
    if (this.#closing !== undefined) throw new Error('the disk worker is closed')
    if (options.memory?.shared === false) {
      throw new TypeError('DiskWorker: the memory must be shared: GuestMemory.create({ shared: true, ... })')
    }
    checkRecorder(options)
    const id = ++this.#ids
    if (id >= DISKS_MAX) throw new RangeError(`DiskWorker: a worker takes ${DISKS_MAX} disks in its life`)
    const capacityBytes = (await this.ask({ kind: 'open', id, backend: source(options) })) as number
    try {
      const disk = await WorkerDisk.make({ worker: this, id, options, capacityBytes, onFailure: this.#onFailure })
      if (this.#closing !== undefined) {
        await disk.close()
        throw new Error('the disk worker was closed meanwhile')
      }
      this.#disks.set(id, disk)
      return disk
    } catch (error) {
      await this.ask({ kind: 'close', id }).catch(() => {})
      throw error
    }
  }

  /** Forgets a disk that is closed. */
  forget(id: number): void {
    this.#disks.delete(id)
  }

  /** Closes the disks, then ends the thread: nothing is published, no byte changes, nothing is open after it. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const ends = await Promise.allSettled([...this.#disks.values()].map((disk) => disk.close()))
    this.#closed = true
    this.#stop.signal()
    this.#thread?.ref()
    await this.#ended
    for (const owned of [this.#outerEpoll, this.#epoll, this.#control, this.#stop]) owned.close()
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }
}

function checkRecorder({ record }: WorkerDiskOptions): void {
  if (record && !record.isShared) throw new TypeError('DiskWorker: record must be made with { shared: true }')
}

/** The module of a back end is found from here, not from the thread's file. */
function source(options: WorkerDiskOptions): BackendSource {
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
    const { capacityBytes, id, options } = parts
    const { record, ...wanted } = options
    const { memory } = wanted
    const backend = { capacityBytes } as VirtioBlkOptions['backend']
    const engine = record ? { engine: record.engine } : {}
    const device = await setUp({ ...wanted, ...engine, backend }, monotonicNanos)
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
    if (!this.#paused) control.hold()
    this.#paused = true
    await control.whenQuiet()
  }

  /** Goes on, with all that was kicked meanwhile. */
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#transport.release()
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
