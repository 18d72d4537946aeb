// A thread that serves disks: the device as a VMM embeds it. The vCPU threads never do IO: they write registers
// (DiskTransport), kicks reach the worker by eventfd (from MMIO exits, or from KVM by ioeventfd), and it answers with
// an eventfd that KVM takes for an interrupt (irqfd). This file is the side of whoever owns the worker: it makes the
// thread and what wakes it, attaches disks (worker-disk.ts), and buries a thread that died (device rules 6, 7 and 29).
// What the thread does is in loop.ts and served-disk.ts. Linux.

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { BackendError } from '../backend/types.ts'
import { checkCapacity, planRestore } from '../device/restore.ts'
import { Epoll } from '../sys/epoll.ts'
import { EventFd } from '../sys/eventfd.ts'
import { DISKS_MAX } from './decisions.ts'
import type { Answer, ThreadData } from './messages.ts'
import type { FailureListener } from './transport.ts'
import { type Ask, source, WorkerDead, WorkerDisk, type WorkerDiskOptions } from './worker-disk.ts'

export interface DiskWorkerOptions {
  /** told, in one line each, what ends service and what odd thing was survived. Default: console.error. */
  readonly onFailure?: FailureListener
}

type Pending = { resolve: (capacityBytes: number | undefined) => void; reject: (error: Error) => void }
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
   * RangeError naming the option that is wrong, BackendError for a file that cannot be opened. With `restore` it is
   * the disk of that snapshot, which goes on at once (rule 26); SnapshotError says what is against it.
   */
  async attach(options: WorkerDiskOptions): Promise<WorkerDisk> {
    if (this.#closing !== undefined) throw new Error('the disk worker is closed')
    if (options.memory?.shared === false) {
      throw new TypeError('DiskWorker: the memory must be shared: GuestMemory.create({ shared: true, ... })')
    }
    checkRecorder(options)
    const { record, restore, ...fresh } = options
    const plan = restore === undefined ? undefined : planRestore(restore, fresh)
    const wanted = { ...(plan?.options ?? fresh), ...(record && { record }) }
    const id = ++this.#ids
    if (id >= DISKS_MAX) throw new RangeError(`DiskWorker: a worker takes ${DISKS_MAX} disks in its life`)
    const capacityBytes = (await this.ask({ kind: 'open', id, backend: source(wanted) })) as number
    try {
      if (plan !== undefined) checkCapacity(plan, capacityBytes)
      const disk = await WorkerDisk.make({
        worker: this,
        id,
        options: wanted,
        capacityBytes,
        snapshot: plan?.snapshot,
        onFailure: this.#onFailure,
      })
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
