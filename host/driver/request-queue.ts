// One request queue of the polite driver (5.2.6): turns jobs into chains, starts as many as fit, keeps the rest in
// order, and finishes what the device returns. Header, data and status of a request lie in one block of guest RAM,
// so that the same block serves the usual layout (each in its own descriptor), a ring of two (header with data,
// data with status; 2.7.4 lets us), and an indirect table in front of them. A ring of one needs INDIRECT_DESC.
//
// Safe against being entered from inside a kick, as a synchronous device does with its interrupt. A block and its
// descriptors are free again only when the device has returned them. Knows neither timers nor Status.

import {
  VIRTIO_BLK_REQ_HEADER_BYTES,
  VIRTIO_BLK_REQ_SECTOR,
  VIRTIO_BLK_REQ_TYPE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTQ_DESC_BYTES,
} from '../../assembly/spec.ts'
import type { HeapArena } from './arena.ts'
import type { Registers } from './registers.ts'
import type { Buffer, SplitRing, UsedChain } from './ring.ts'
import { DeviceMisbehaved, DriverError, type DriverMemory } from './types.ts'

/** One request to the device. At most one of `out` and `into`. */
export interface Job {
  type: number
  sector: number
  /** bytes that the device reads after the header; copied when the request starts */
  out?: Uint8Array
  /** filled when the request ended well, as long as what the device returns before the status byte */
  into?: Uint8Array
  /** called once; without an error the status was OK */
  done: (error?: DriverError) => void
}

export interface RequestQueueOptions {
  reg: Registers
  memory: DriverMemory
  ring: SplitRing
  heap: HeapArena
  /** bytes in one data descriptor at most */
  segmentBytes: number
  /** INDIRECT_DESC was negotiated */
  indirect: boolean
  /** what to write to QueueNotify for this avail.idx */
  notification: (availIdx: number) => number
}

interface Started {
  job: Job
  block: number
  blockBytes: number
  dataAt: number
  statusAt: number
}

/** what the status byte holds until the device writes it; no status of the standard */
const STATUS_UNWRITTEN = 0xff
/** what data-in holds until then: blocks are used again, and old data must not pass for a device's answer */
const DATA_UNWRITTEN = 0xdb
const STATUS_BYTES = 1
const COMPACT_AT = 1024

export class RequestQueue {
  readonly ring: SplitRing
  readonly #options: RequestQueueOptions
  readonly #started = new Map<number, Started>()
  #waiting: Job[] = []
  #firstWaiting = 0
  #pumping = false
  #failure: DriverError | undefined

  constructor(options: RequestQueueOptions) {
    this.ring = options.ring
    this.#options = options
  }

  /** true if the device holds requests of ours */
  get busy(): boolean {
    return this.#started.size > 0
  }

  /** requests not finished: with the device, and waiting for room in the ring */
  get load(): number {
    return this.#started.size + this.#waiting.length - this.#firstWaiting
  }

  /** Takes jobs; call pump() to start them. */
  add(job: Job): void {
    this.#waiting.push(job)
  }

  /** Starts what fits, kicks, finishes what is finished, until nothing more fits. Throws DeviceMisbehaved. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#startWaiting() > 0) {
        if (this.ring.publish()) this.#options.reg.notify(this.#options.notification(this.ring.availIdx))
        this.scan()
      }
    } finally {
      this.#pumping = false
    }
  }

  /** Finishes what the device has returned; returns how many requests. Throws DeviceMisbehaved. */
  scan(): number {
    const { ring } = this
    let finished = 0
    while (!this.#failure && ring.pending) {
      ring.suppressInterrupts()
      for (let chain = ring.take(); chain; chain = ring.take()) {
        this.#finish(chain)
        finished++
      }
      ring.allowInterrupts()
    }
    return finished
  }

  /** Ends every request with an error made for it. The queue takes no more: after a reset there is a new one. */
  fail(makeError: (job: Job) => DriverError): void {
    const jobs = [...[...this.#started.values()].map(({ job }) => job), ...this.#waiting.slice(this.#firstWaiting)]
    this.#failure = new DriverError('the request queue is closed')
    this.#started.clear()
    this.#waiting = []
    this.#firstWaiting = 0
    for (const job of jobs) job.done(makeError(job))
  }

  #startWaiting(): number {
    let count = 0
    for (let job = this.#waiting[this.#firstWaiting]; job; job = this.#waiting[this.#firstWaiting]) {
      const fits = !this.#failure && this.#start(job)
      if (!fits && this.busy) break
      this.#firstWaiting++
      if (fits) count++
      else job.done(this.#failure ?? this.#tooLarge(job))
    }
    if (this.#firstWaiting >= COMPACT_AT && this.#firstWaiting * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#firstWaiting)
      this.#firstWaiting = 0
    }
    return count
  }

  /** Places the request and its chain; false if descriptors or memory are short. */
  #start(job: Job): boolean {
    const { memory, heap, indirect } = this.#options
    const { ring } = this
    const dataBytes = job.out?.length ?? job.into?.length ?? 0
    const descriptors = this.#descriptors(dataBytes)
    const tableBytes = indirect ? VIRTQ_DESC_BYTES * descriptors : 0
    if (ring.free < (indirect ? 1 : descriptors)) return false
    const blockBytes = tableBytes + VIRTIO_BLK_REQ_HEADER_BYTES + dataBytes + STATUS_BYTES
    const block = heap.alloc(blockBytes)
    if (block === undefined) return false

    const bytes = memory.view(block, blockBytes)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const dataAt = tableBytes + VIRTIO_BLK_REQ_HEADER_BYTES
    const statusAt = dataAt + dataBytes
    view.setUint32(tableBytes + VIRTIO_BLK_REQ_TYPE, job.type, true)
    view.setUint32(tableBytes + VIRTIO_BLK_REQ_TYPE + 4, 0, true)
    view.setBigUint64(tableBytes + VIRTIO_BLK_REQ_SECTOR, BigInt(job.sector), true)
    if (job.out) bytes.set(job.out, dataAt)
    else bytes.fill(DATA_UNWRITTEN, dataAt, statusAt)
    bytes[statusAt] = STATUS_UNWRITTEN

    const buffers = this.#buffers(block + tableBytes, dataBytes, job.into !== undefined)
    const head = indirect ? ring.addIndirect(buffers, { gpa: block, view }) : ring.add(buffers)
    this.#started.set(head, { job, block, blockBytes, dataAt, statusAt })
    return true
  }

  #descriptors(dataBytes: number): number {
    return this.#merged ? 2 : 2 + Math.ceil(dataBytes / this.#options.segmentBytes)
  }

  /** a ring of one or two has no room for three: header and data, data and status share a descriptor */
  get #merged(): boolean {
    return this.ring.size <= 2
  }

  #buffers(header: number, dataBytes: number, writable: boolean): Buffer[] {
    const data = header + VIRTIO_BLK_REQ_HEADER_BYTES
    const status = data + dataBytes
    if (this.#merged) {
      const border = writable ? data : status
      return [
        { gpa: header, bytes: border - header, writable: false },
        { gpa: border, bytes: status + STATUS_BYTES - border, writable: true },
      ]
    }
    const buffers: Buffer[] = [{ gpa: header, bytes: VIRTIO_BLK_REQ_HEADER_BYTES, writable: false }]
    for (let at = 0; at < dataBytes; at += this.#options.segmentBytes) {
      buffers.push({ gpa: data + at, bytes: Math.min(this.#options.segmentBytes, dataBytes - at), writable })
    }
    buffers.push({ gpa: status, bytes: STATUS_BYTES, writable: true })
    return buffers
  }

  #finish({ head }: UsedChain): void {
    const started = this.#started.get(head)
    if (!started) throw new DeviceMisbehaved(`used.id ${head} is not an outstanding request`)
    this.#started.delete(head)
    const { job, block, blockBytes, dataAt, statusAt } = started
    const bytes = this.#options.memory.view(block, blockBytes)
    const status = bytes[statusAt]
    if (status === VIRTIO_BLK_S_OK && job.into) job.into.set(bytes.subarray(dataAt, statusAt))
    this.#options.heap.release(block, blockBytes)
    if (status === VIRTIO_BLK_S_OK) job.done()
    else job.done(statusError(job, status))
  }

  #tooLarge(job: Job): DriverError {
    const bytes = job.out?.length ?? job.into?.length ?? 0
    const room = `ring of ${this.ring.size}, ${this.#options.heap.bytes} bytes for buffers`
    const message = `a request of ${bytes} data bytes does not fit: ${room}`
    return new DriverError(message, { type: job.type, sector: job.sector })
  }
}

function statusError(job: Job, status: number | undefined): DriverError {
  const details = { type: job.type, sector: job.sector }
  if (status === undefined || status === STATUS_UNWRITTEN) {
    return new DeviceMisbehaved(`request type ${job.type}, sector ${job.sector}: returned without a status`, details)
  }
  const name = status === VIRTIO_BLK_S_IOERR ? 'IOERR' : status === VIRTIO_BLK_S_UNSUPP ? 'UNSUPP' : 'unknown'
  const message = `request type ${job.type}, sector ${job.sector}: status ${status} (${name})`
  return new DriverError(message, { ...details, status })
}
