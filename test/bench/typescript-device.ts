// The yardstick: a virtio-blk device of the same contract and core features in plain TypeScript over typed arrays, as
// one would write it without WebAssembly, with the engine's surface: plan, complete, publish. No check is left out,
// and random.test.ts holds it to the model like the real device. Queue state is in objects, requests are pooled, and
// no BigInt is on the path of a request unless a throttle is set (its buckets are the model's).
//
// It does no IO: who calls plan moves the data of the planned requests and says how much in complete. One queue.
// Counters are doubles, exact up to 2^53. Chains are in typescript-chain.ts, registers in typescript-transport.ts.

import * as spec from '../../assembly/spec.ts'
import { COUNTERS } from '../support/model.ts'
import { Bucket, type ModelThrottle } from '../support/model-parts.ts'
import * as chain from './typescript-chain.ts'
import { type Limits, Ram, type RamRegion, Request } from './typescript-chain.ts'
import * as transport from './typescript-transport.ts'
import { type RingPart, Transport } from './typescript-transport.ts'

export interface TypeScriptOptions extends Limits {
  buffer: ArrayBufferLike
  regions: readonly RamRegion[]
  capacityBytes: number
  serial: string
  queueSizeMax: number
  throttle?: ModelThrottle
  now: number
}

/** What complete asks for: flush the back end, then complete the same slot again. */
export const FLUSH_FIRST = 1

const WAIT_MAX = 1_000_000_000
const MASK16 = 0xffff

const C = Object.fromEntries(COUNTERS.map((name, i) => [name, i])) as Record<(typeof COUNTERS)[number], number>
const READS = C.readsCompleted
const BYTES_READ = C.bytesRead
const WRITES = C.writesCompleted
const BYTES_WRITTEN = C.bytesWritten
const SHORT_READS = C.shortReads
const IO_ERRORS = C.ioErrors
const THROTTLED_NOW = C.currentlyThrottled

export class TypeScriptDevice {
  /** slots of the requests of the last plan that need IO; as many as plan returned */
  readonly planned: Uint16Array
  readonly #ram: Ram
  readonly #options: TypeScriptOptions
  readonly #transport: Transport
  readonly #id = new Uint8Array(spec.VIRTIO_BLK_ID_BYTES)
  readonly #requests: Request[]
  readonly #freeSlots: number[]
  /** per head: taken, and its used element not published */
  readonly #inFlight: Uint8Array
  /** heads of the used elements that the next publish shows */
  readonly #finished: Uint16Array
  #finishedCount = 0
  #plannedCount = 0
  readonly #counters = new Float64Array(COUNTERS.length)
  /** counted when the batch is published */
  readonly #pending = new Float64Array(COUNTERS.length)
  readonly #ops: Bucket
  readonly #bytes: Bucket
  readonly #throttled: boolean
  /** of the queue: a request of an earlier one is only freed when its IO is over */
  #generation = 1
  #stalledSince = -1
  #stallWait = 0

  constructor(options: TypeScriptOptions) {
    const { queueSizeMax, throttle = {}, now } = options
    this.#options = options
    this.#ram = new Ram(options.buffer, options.regions)
    const sectors = Math.floor(options.capacityBytes / spec.VIRTIO_BLK_SECTOR_BYTES)
    this.#transport = new Transport(this.#ram, options, queueSizeMax, sectors)
    this.#id.set(new TextEncoder().encode(options.serial))
    const piecesMax = options.segMax * options.regions.length
    this.#requests = Array.from({ length: queueSizeMax }, (_, slot) => new Request(slot, piecesMax))
    this.#freeSlots = this.#requests.map(({ slot }) => slot)
    this.#inFlight = new Uint8Array(queueSizeMax)
    this.planned = new Uint16Array(queueSizeMax)
    this.#finished = new Uint16Array(queueSizeMax)
    this.#throttled = throttle.iops !== undefined || throttle.bytesPerSecond !== undefined
    this.#ops = new Bucket(throttle.iops, throttle.iopsBurst, now)
    this.#bytes = new Bucket(throttle.bytesPerSecond, throttle.bytesBurst, now)
  }

  /** The device of the bench: RAM from guest address 0, a disk of 1 GiB, the default limits. */
  static forBench(ram: Uint8Array): TypeScriptDevice {
    return new TypeScriptDevice({
      buffer: ram.buffer,
      regions: [{ gpa: 0, bytes: ram.byteLength, ptr: ram.byteOffset }],
      ...{ capacityBytes: 2 ** 30, serial: '', queueSizeMax: 256, now: 0 },
      ...{ readOnly: false, sizeMax: 1 << 20, segMax: 128, blockSize: 512 },
    })
  }

  // --- control ---

  mmioRead(offset: number): number {
    return this.#transport.read(offset)
  }

  /** Returns true if a drain is due: plan, IO, complete, publish. */
  mmioWrite(offset: number, value: number, now = 0): boolean {
    switch (this.#transport.write(offset, value)) {
      case transport.EFFECT_DRAIN:
        return true
      case transport.EFFECT_KICK:
        this.#count(C.kicks, 1)
        return this.#stalledSince < 0 || now >= this.#stalledSince + this.#stallWait
      case transport.EFFECT_IGNORED_KICK:
        this.#count(C.ignoredKicks, 1)
        return false
      case transport.EFFECT_RESET:
        this.#count(C.resets, 1)
        this.#dropAll()
        return false
      case transport.EFFECT_QUEUE_OFF:
        this.#dropAll()
        return false
      default:
        return false
    }
  }

  setCapacity(bytes: number): void {
    this.#transport.capacitySectors = Math.floor(bytes / spec.VIRTIO_BLK_SECTOR_BYTES)
    this.#transport.configGeneration += 1
    if (this.#transport.deviceIsLive) this.#raiseConfig()
  }

  get isLive(): boolean {
    return this.#transport.isLive
  }

  /** How long the stalled head has to wait from the last plan on; 0 if nothing is stalled. */
  get stalledNanos(): number {
    return this.#stalledSince < 0 ? 0 : this.#stallWait
  }

  get counters(): Record<string, number> {
    return Object.fromEntries(COUNTERS.map((name, i) => [name, this.#counters[i] as number]))
  }

  request(slot: number): Request {
    return this.#requests[slot] as Request
  }

  /** The queue starts over or stops: requests in flight are forgotten, their slots come back with their IO. */
  #dropAll(): void {
    this.#generation += 1
    this.#finishedCount = 0
    this.#inFlight.fill(0)
    this.#pending.fill(0)
    this.#stalledSince = -1
    this.#counters[THROTTLED_NOW] = 0
  }

  // --- plan ---

  /** Takes up to `max` chains. What needs IO is listed in `planned`, the rest is finished. Returns the listed ones. */
  plan(_queue: number, now: number, max: number): number {
    const { queue, isLive, eventIdx } = this.#transport
    const { size, avail, desc } = queue
    this.#plannedCount = 0
    if (!isLive) return 0
    this.#count(C.drains, 1)
    const availIdx = Atomics.load(this.#ram.u16, this.#at(avail, spec.VIRTQ_AVAIL_IDX) >>> 1)
    const pending = (availIdx - queue.nextAvail) & MASK16
    this.#endStall(now)
    if (pending > size) return this.#poison(C.invalidAvailIdx)
    if (!eventIdx) this.#store16(queue.used, spec.VIRTQ_USED_FLAGS, spec.VIRTQ_USED_F_NO_NOTIFY)
    const count = Math.min(pending, max, this.#freeSlots.length)
    for (let i = 0; i < count; i++) {
      const head = this.#load16(avail, spec.VIRTQ_AVAIL_RING + 2 * (queue.nextAvail & (size - 1)))
      if (head >= size || this.#inFlight[head] === 1) return this.#poison(C.ringFaults)
      const slot = this.#freeSlots[this.#freeSlots.length - 1] as number
      const request = this.#requests[slot] as Request
      const found = request.parse(this.#ram, desc.ptr, desc.gpa, size, head, this.#options)
      if (found !== chain.CHAIN_OK) {
        if (found === chain.CHAIN_NO_STATUS) this.#count(C.statusWriteFailures, 1)
        return this.#poison(C.ringFaults)
      }
      request.verdict = request.judge(this.#transport.capacitySectors, this.#options)
      if (this.#throttled && request.verdict <= chain.DO_ID && !this.#takeTokens(request.bytes, now)) break
      queue.nextAvail = (queue.nextAvail + 1) & MASK16
      this.#freeSlots.pop()
      this.#inFlight[head] = 1
      request.generation = this.#generation
      if (request.verdict <= chain.DO_FLUSH) this.planned[this.#plannedCount++] = slot
      else this.#answer(request)
    }
    return this.#plannedCount
  }

  /** Requests that are over without IO. */
  #answer(request: Request): void {
    switch (request.verdict) {
      case chain.DO_ID:
        this.#writeId(request)
        this.#finish(request, spec.VIRTIO_BLK_S_OK, request.inBytes === this.#id.length ? 21 : 20, C.idsCompleted)
        break
      case chain.ANSWER_FLUSHED:
        this.#finish(request, spec.VIRTIO_BLK_S_OK, 1, C.flushesCompleted)
        break
      case chain.ANSWER_UNSUPP:
        this.#fail(request, spec.VIRTIO_BLK_S_UNSUPP, C.unsupported)
        break
      default:
        this.#fail(request, spec.VIRTIO_BLK_S_IOERR, IO_ERRORS)
    }
  }

  #writeId({ ptrs, lens }: Request): void {
    for (let i = 0, done = 0; done < this.#id.length; i++) {
      const part = this.#id.subarray(done, done + (lens[i] as number))
      this.#ram.u8.set(part, ptrs[i] as number)
      done += part.length
    }
  }

  // --- complete ---

  /** `result`: bytes moved, 0 for a flush, negative for a failure. Returns 0, or FLUSH_FIRST. */
  complete(slot: number, result: number): number {
    const request = this.#requests[slot] as Request
    if (request.generation === 0) return 0
    if (request.generation !== this.#generation) {
      this.#free(request)
      return 0
    }
    const { verdict } = request
    if (result < 0) this.#fail(request, spec.VIRTIO_BLK_S_IOERR, IO_ERRORS)
    else if (verdict === chain.DO_IN) this.#completeIn(request, result)
    else if (verdict === chain.DO_OUT) return this.#completeOut(request, result)
    else this.#finish(request, spec.VIRTIO_BLK_S_OK, 1, C.flushesCompleted)
    return 0
  }

  #completeIn(request: Request, result: number): void {
    const bytes = request.inBytes
    if (result > bytes) {
      this.#fail(request, spec.VIRTIO_BLK_S_IOERR, IO_ERRORS)
      return
    }
    if (result < bytes) this.#padWithZeros(request, result)
    this.#pend(BYTES_READ, result)
    this.#finish(request, spec.VIRTIO_BLK_S_OK, bytes + 1, READS)
  }

  #completeOut(request: Request, result: number): number {
    const bytes = request.outBytes
    if (!request.flushing) {
      if (result !== bytes) {
        this.#fail(request, spec.VIRTIO_BLK_S_IOERR, IO_ERRORS)
        return 0
      }
      if (this.#transport.writeThrough) {
        request.flushing = true
        return FLUSH_FIRST
      }
    }
    this.#pend(BYTES_WRITTEN, bytes)
    this.#finish(request, spec.VIRTIO_BLK_S_OK, 1, WRITES)
    return 0
  }

  #padWithZeros({ ptrs, lens, pieces }: Request, from: number): void {
    this.#pend(SHORT_READS, 1)
    for (let i = 0, at = 0; i < pieces; i++) {
      const ptr = ptrs[i] as number
      const len = lens[i] as number
      if (at + len > from) this.#ram.u8.fill(0, ptr + Math.max(0, from - at), ptr + len)
      at += len
    }
  }

  /** Claims nothing of a data part that was not filled, so not the status byte after it either. */
  #fail(request: Request, status: number, counter: number): void {
    this.#finish(request, status, request.inBytes === 0 ? 1 : 0, counter)
  }

  /** Status byte, then the used element; nobody sees it before publish. */
  #finish(request: Request, status: number, usedLen: number, counter: number): void {
    const { queue } = this.#transport
    const { u8, u32 } = this.#ram
    u8[request.statusPtr] = status
    const offset = spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * (queue.nextUsed & (queue.size - 1))
    // Each half on its own: an element may have them in two regions.
    u32[this.#at(queue.used, offset) >>> 2] = request.head
    u32[this.#at(queue.used, offset + spec.VIRTQ_USED_ELEM_LEN) >>> 2] = usedLen
    queue.nextUsed = (queue.nextUsed + 1) & MASK16
    this.#finished[this.#finishedCount++] = request.head
    this.#pend(counter, 1)
    this.#free(request)
  }

  #free(request: Request): void {
    request.generation = 0
    this.#freeSlots.push(request.slot)
  }

  // --- publish ---

  /** One store of used.idx and one decision. True if the interrupt is to be raised. */
  publish(_queue: number): boolean {
    const { queue, isLive, eventIdx } = this.#transport
    let raise = false
    const old = queue.publishedUsed
    if (queue.nextUsed !== old) {
      Atomics.store(this.#ram.u16, this.#at(queue.used, spec.VIRTQ_USED_IDX) >>> 1, queue.nextUsed)
      queue.publishedUsed = queue.nextUsed
      this.#transport.interruptStatus |= spec.VIRTIO_MMIO_INT_VRING
      raise = this.#wantsInterrupt(old, eventIdx)
      this.#count(raise ? C.interrupts : C.suppressedInterrupts, 1)
      this.#settleCounters()
    }
    if (!isLive) return raise
    const { nextAvail, size, used } = queue
    if (eventIdx) this.#store16(used, spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * size, nextAvail)
    // Flags stays 0 with EVENT_IDX, whatever a driver has left there.
    if (!eventIdx || !queue.flagged) this.#store16(used, spec.VIRTQ_USED_FLAGS, 0)
    queue.flagged = true
    return raise
  }

  #wantsInterrupt(old: number, eventIdx: boolean): boolean {
    const { size, avail, nextUsed } = this.#transport.queue
    if (!eventIdx) return (this.#load16(avail, spec.VIRTQ_AVAIL_FLAGS) & spec.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const usedEvent = this.#load16(avail, spec.VIRTQ_AVAIL_RING + spec.VIRTQ_AVAIL_ELEM_BYTES * size)
    return ((nextUsed - usedEvent - 1) & MASK16) < ((nextUsed - old) & MASK16)
  }

  #settleCounters(): void {
    for (let i = 0; i < this.#finishedCount; i++) this.#inFlight[this.#finished[i] as number] = 0
    this.#finishedCount = 0
    for (let i = 0; i < this.#pending.length; i++) {
      const amount = this.#pending[i] as number
      if (amount === 0) continue
      this.#count(i, amount)
      this.#pending[i] = 0
    }
  }

  // --- rings: checked when the queue became ready, so every access is RAM ---

  #at(part: RingPart, offset: number): number {
    return part.ptr >= 0 ? part.ptr + offset : this.#ram.translate(part.gpa + offset, 1)
  }

  #load16(part: RingPart, offset: number): number {
    return this.#ram.u16[this.#at(part, offset) >>> 1] as number
  }

  #store16(part: RingPart, offset: number, value: number): void {
    this.#ram.u16[this.#at(part, offset) >>> 1] = value
  }

  // --- throttle, faults, counters ---

  #takeTokens(bytes: number, now: number): boolean {
    const opsWait = this.#ops.wait(1n, now)
    const bytesWait = this.#bytes.wait(BigInt(bytes), now)
    if (opsWait === 0n && bytesWait === 0n) {
      this.#ops.take(1n)
      this.#bytes.take(BigInt(bytes))
      return true
    }
    this.#stalledSince = now
    this.#stallWait = Math.min(Math.max(Number(opsWait), Number(bytesWait)), WAIT_MAX)
    this.#count(C.throttledCount, 1)
    this.#counters[THROTTLED_NOW] = 1
    return false
  }

  #endStall(now: number): void {
    if (this.#stalledSince < 0) return
    this.#count(C.throttledNanos, Math.max(0, now - this.#stalledSince))
    this.#stalledSince = -1
    this.#counters[THROTTLED_NOW] = 0
  }

  #poison(counter: number): number {
    this.#count(counter, 1)
    this.#transport.status |= spec.VIRTIO_CONFIG_S_NEEDS_RESET
    this.#raiseConfig()
    return this.#plannedCount
  }

  #raiseConfig(): void {
    this.#transport.interruptStatus |= spec.VIRTIO_MMIO_INT_CONFIG
    this.#count(C.interrupts, 1)
  }

  #count(counter: number, amount: number): void {
    this.#counters[counter] = (this.#counters[counter] as number) + amount
  }

  #pend(counter: number, amount: number): void {
    this.#pending[counter] = (this.#pending[counter] as number) + amount
  }
}
