// The device and its guest as one trace shows them, at one point of it: registers, rings, chains, what is known of
// guest RAM. Goes forward part by part; a part is what becomes a frame. walk.ts goes backwards with copies. Nothing
// here makes text, so that scanning a long trace is fast. Portable.

import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import { isLoad, type Step, type TraceEvent, WIDTHS } from '../../../replay/step.ts'
import { type ChainModel, copyChain, newChain } from './chain-model.ts'
import { KnownMemory } from './known-memory.ts'
import { type QueueModel, RegisterModel } from './register-model.ts'
import { DEVICES, DRIVERS, type GuestChange } from './walk-types.ts'

/** A step, and what the driver wrote before it. */
export interface Moment {
  readonly number: number
  readonly step: Step
  readonly changes: readonly GuestChange[]
  /** number of the step's first frame */
  readonly firstFrame: number
}

/** What a frame is made of. */
export type Part =
  | { readonly kind: 'driver' }
  | { readonly kind: 'call' }
  | { readonly kind: 'data' }
  | { readonly kind: 'event'; readonly at: number }
  | { readonly kind: 'interrupt' }
  | { readonly kind: 'trap' }

const DRIVER: Part = { kind: 'driver' }
const CALL: Part = { kind: 'call' }
const DATA: Part = { kind: 'data' }
const INTERRUPT: Part = { kind: 'interrupt' }
const TRAP: Part = { kind: 'trap' }

/** These make interrupts; a restore brings the counters of the past along. */
const INTERRUPTING: ReadonlySet<string> = new Set(['plan', 'publish', 'setCapacity', 'fail'])

function hasInterrupt({ call, counters }: Step): boolean {
  if (!INTERRUPTING.has(call)) return false
  return counters.some(([i]) => i === abi.COUNTER_INTERRUPTS || i === abi.COUNTER_SUPPRESSED_INTERRUPTS)
}

export function partCount(step: Step, hasChanges: boolean): number {
  const extras = [hasChanges, step.payload !== undefined, hasInterrupt(step), step.result === undefined]
  return 1 + step.events.length + extras.filter(Boolean).length
}

export function partAt(step: Step, hasChanges: boolean, index: number): Part {
  let at = index
  if (hasChanges && at-- === 0) return DRIVER
  if (at-- === 0) return CALL
  if (step.payload !== undefined && at-- === 0) return DATA
  if (at < step.events.length) return { kind: 'event', at }
  at -= step.events.length
  return hasInterrupt(step) && at === 0 ? INTERRUPT : TRAP
}

/** Finished requests that are kept for the list. */
const FINISHED_MAX = 32

function isFinished({ state }: ChainModel): boolean {
  return state === 'published' || state === 'dropped'
}

export class MachineModel {
  registers = new RegisterModel()
  memory = new KnownMemory()
  readonly counters = new Array<number>(abi.COUNTERS).fill(0)
  /** eight u32 */
  throttle: readonly number[] = []
  /** what the current frame is about */
  queueIndex = 0
  chain: ChainModel | undefined
  /** oldest first; finished ones are thinned out */
  #requests: ChainModel[] = []
  #requestsMax = 2 * FINISHED_MAX
  /** per queue: from being taken to being shown as used, by head */
  #taken: Map<number, ChainModel>[] = []
  /** by what plan() called it */
  #slots = new Map<number, ChainModel>()
  /** requests of this plan() that went to the host so far */
  #planned = 0
  /** id of a used element of which the length is to come */
  #halfId = 0
  readonly #scratchView = new DataView(new ArrayBuffer(8))
  /** the first 0 to 8 bytes of it */
  readonly #scratch = Array.from({ length: 9 }, (_, width) => new Uint8Array(this.#scratchView.buffer, 0, width))

  copy(): MachineModel {
    const other = new MachineModel()
    const copies = new Map<ChainModel, ChainModel>()
    const same = (chain: ChainModel): ChainModel => {
      if (isFinished(chain)) return chain
      const known = copies.get(chain) ?? copyChain(chain)
      copies.set(chain, known)
      return known
    }
    other.registers = this.registers.copy()
    other.memory = this.memory.copy()
    for (const [i, value] of this.counters.entries()) other.counters[i] = value
    other.throttle = this.throttle
    other.queueIndex = this.queueIndex
    other.chain = this.chain && same(this.chain)
    other.#requests = this.#requests.map(same)
    other.#requestsMax = this.#requestsMax
    other.#taken = this.#taken.map((taken) => new Map([...taken].map(([head, chain]) => [head, same(chain)])))
    other.#slots = new Map([...this.#slots].map(([slot, chain]) => [slot, same(chain)]))
    other.#planned = this.#planned
    other.#halfId = this.#halfId
    return other
  }

  get queue(): QueueModel | undefined {
    return this.registers.queues[this.queueIndex]
  }

  /** All that are not finished, and the last that are. */
  get requests(): readonly ChainModel[] {
    let surplus = this.#requests.filter(isFinished).length - FINISHED_MAX
    return this.#requests.filter((chain) => !isFinished(chain) || surplus-- <= 0)
  }

  /** Chains of the current queue that are the device's, by head. */
  get taken(): ReadonlyMap<number, ChainModel> {
    return this.#takenOf(this.queueIndex)
  }

  #takenOf(queue: number): Map<number, ChainModel> {
    this.#taken[queue] ??= new Map()
    return this.#taken[queue]
  }

  /** Of a complete() step: whose answer it is. */
  chainOf(slot: number): ChainModel | undefined {
    return this.#slots.get(slot)
  }

  // Forward --------------------------------------------------------------------------------------------------

  /** All parts of a step. */
  applyAll(moment: Moment): void {
    const { step, changes } = moment
    if (changes.length > 0) this.apply(moment, DRIVER)
    this.apply(moment, CALL)
    if (step.payload !== undefined) this.apply(moment, DATA)
    for (let i = 0; i < step.events.length; i++) this.#event(moment, i)
    this.endStep(step)
  }

  apply(moment: Moment, part: Part): void {
    const { step, changes } = moment
    if (part.kind === 'driver') for (const { gpa, bytes } of changes) this.memory.write(gpa, bytes, DRIVERS)
    else if (part.kind === 'call') this.#call(step)
    else if (part.kind === 'data') this.#data(step)
    else if (part.kind === 'event') this.#event(moment, part.at)
  }

  /** After the last part. */
  endStep(step: Step): void {
    const { call, args, result, counters } = step
    for (const [index, change] of counters) this.counters[index] = (this.counters[index] ?? 0) + change
    if (call === 'complete' && result !== undefined && result !== abi.COMPLETE_FLUSH) this.#slots.delete(args[0] ?? -1)
  }

  #call(step: Step): void {
    const { call, args } = step
    const [first = 0, second = 0, third = 0] = args
    const { registers } = this
    if (step.throttle) this.throttle = step.throttle
    if (call === 'init' && step.config) registers.init(step.config)
    else if (call === 'mmioWrite') this.#write(first, second, third)
    else if (call === 'plan') this.#turnTo(first)
    else if (call === 'publish') {
      if (first !== this.queueIndex) this.#turnTo(first)
    } else if (call === 'complete') {
      this.#turnTo(first >>> abi.SLOT_QUEUE_SHIFT)
      this.chain = this.#slots.get(first)
    } else if (call === 'setCapacity') registers.setCapacity(first, second)
    else if (call === 'fail') this.#fail(first)
    else if (call === 'thaw' && step.snapshot) registers.thaw(step.snapshot)
  }

  #turnTo(queue: number): void {
    this.queueIndex = queue
    this.chain = undefined
    this.#planned = 0
  }

  #write(offset: number, width: number, value: number): void {
    const { registers } = this
    const isQueueRegister = offset >= spec.VIRTIO_MMIO_QUEUE_SEL && offset < spec.VIRTIO_MMIO_INTERRUPT_STATUS
    const selected = registers.queueSel
    const wasReady = registers.queues[selected]?.ready
    if (registers.write(offset, width, value)) {
      registers.queues.forEach((_, queue) => {
        this.#drop(queue)
      })
    }
    if (offset === spec.VIRTIO_MMIO_QUEUE_READY && wasReady && !registers.queues[selected]?.ready) this.#drop(selected)
    if (offset === spec.VIRTIO_MMIO_QUEUE_NOTIFY && registers.queues[value]) this.#turnTo(value)
    else if (isQueueRegister && registers.queues[registers.queueSel]) this.#turnTo(registers.queueSel)
  }

  /** The driver of this queue is gone: what it offered is answered to nobody. */
  #drop(queue: number): void {
    for (const chain of this.#requests) {
      if (chain.queue === queue && !isFinished(chain)) chain.state = 'dropped'
    }
    this.#takenOf(queue).clear()
  }

  #fail(cause: number): void {
    this.registers.fail(cause)
    if (cause !== abi.FAIL_TRAP && cause !== abi.FAIL_WORKER) return
    // What was in flight has no record any more.
    this.#slots.clear()
    for (const chain of this.#requests) if (chain.state === 'in flight') chain.state = 'dropped'
  }

  // The back end's data --------------------------------------------------------------------------------------

  #data(step: Step): void {
    const { payload, args } = step
    const { chain, memory } = this
    if (chain === undefined) return
    const moved = chain.isWrite ? 0 : (args[1] ?? 0)
    let done = 0
    for (const { gpa, len } of chain.segments) {
      if (payload instanceof Uint8Array) {
        const bytes = payload.subarray(done, done + len)
        const read = Math.min(Math.max(moved > 0 ? moved - done : 0, 0), len)
        if (chain.state === 'in flight') memory.write(gpa, bytes.subarray(0, read), DEVICES)
        else memory.see(gpa, bytes.subarray(0, read))
        memory.see(gpa + read, bytes.subarray(read))
      } else if (!chain.isWrite && chain.state === 'in flight') memory.forget(gpa, len)
      done += len
    }
  }

  // Loads, stores, decisions ---------------------------------------------------------------------------------

  /** The same bytes as storedBytes() gives, without making anything: a long trace has millions of these. */
  #bytesOf({ kind, low, high, bytes }: TraceEvent): Uint8Array {
    if (bytes) return bytes
    this.#scratchView.setUint32(0, low, true)
    this.#scratchView.setUint32(4, high, true)
    return this.#scratch[WIDTHS[kind] as number] as Uint8Array
  }

  #event(moment: Moment, at: number): void {
    const event = moment.step.events[at] as TraceEvent
    const { kind, low } = event
    if (isLoad(kind)) {
      this.memory.see(event.at, this.#bytesOf(event))
      this.#loaded(moment, event, at)
    } else if (kind === abi.TRACE_VERDICT) this.#verdict(moment.step, event, at)
    else if (kind === abi.TRACE_RING_FAULT) this.#ringFault(low | 0)
    else if (kind === abi.TRACE_STALL) this.#stall()
    else if (kind === abi.TRACE_ZERO) this.memory.zero(event.at, low)
    else {
      this.memory.write(event.at, this.#bytesOf(event), DEVICES)
      this.#stored(event)
    }
  }

  #loaded(moment: Moment, { kind, at: gpa, low, high }: TraceEvent, index: number): void {
    const { queue, chain } = this
    const last = chain?.descriptors.at(-1)
    if (kind === abi.TRACE_AVAIL_IDX) {
      // Nothing is offered, so nothing waits: a head that did was taken back.
      if (queue && moment.step.call === 'plan' && low === queue.nextAvail) this.#endStall(queue)
    } else if (kind === abi.TRACE_HEAD) {
      this.#begin(low, moment.number, moment.firstFrame + index + this.#partsBefore(moment))
    } else if (chain === undefined) return
    else if (kind === abi.TRACE_DESC_ADDR) {
      const index = queue ? Number((BigInt(gpa) - queue.desc) / BigInt(spec.VIRTQ_DESC_BYTES)) : 0
      chain.descriptors.push({ index, addr: (BigInt(high) << 32n) | BigInt(low), rest: undefined })
    } else if (kind === abi.TRACE_DESC_REST && last) {
      last.rest = { len: low, flags: high & 0xffff, next: high >>> 16 }
    } else if (kind === abi.TRACE_TYPE) chain.type = low
    else if (kind === abi.TRACE_SECTOR) chain.sector = (BigInt(high) << 32n) | BigInt(low)
    else if (kind === abi.TRACE_HEADER_BYTE) this.#headerByte(chain, low)
  }

  /** Frames of the step before its first event. */
  #partsBefore({ step, changes }: Moment): number {
    return 1 + (changes.length > 0 ? 1 : 0) + (step.payload === undefined ? 0 : 1)
  }

  #headerByte(chain: ChainModel, byte: number): void {
    const bytes = chain.headerBytes
    bytes.push(byte)
    const value = (from: number, to: number): bigint => {
      return bytes.slice(from, to).reduceRight((sum, each) => (sum << 8n) | BigInt(each), 0n)
    }
    if (bytes.length === 4) chain.type = Number(value(0, 4))
    if (bytes.length === spec.VIRTIO_BLK_REQ_HEADER_BYTES) chain.sector = value(8, 16)
  }

  /** A chain that was looked at before and is looked at again is the same one. */
  #begin(head: number, step: number, frame: number): void {
    const queue = this.queueIndex
    this.#forgetWaiting()
    this.chain = newChain(queue, head, step, frame)
    this.#requests.push(this.chain)
    if (this.#requests.length > this.#requestsMax) {
      this.#requests = [...this.requests]
      this.#requestsMax = 2 * (this.#requests.length + FINISHED_MAX)
    }
  }

  #forgetWaiting(): void {
    const isWaiting = ({ state, queue }: ChainModel): boolean =>
      queue === this.queueIndex && (state === 'stalled' || state === 'walking')
    // At most one waits, and it is near the end.
    const at = this.#requests.findLastIndex(isWaiting)
    if (at >= 0) this.#requests.splice(at, 1)
  }

  #endStall(queue: QueueModel): void {
    if (queue.stalled) this.#forgetWaiting()
    queue.stalled = false
  }

  #verdict(step: Step, { low }: TraceEvent, at: number): void {
    const { chain, queue } = this
    if (!chain || !queue) return
    chain.code = low | 0
    chain.state = 'judged'
    if (step.events[at + 1]?.kind === abi.TRACE_STALL) return
    queue.stalled = false
    queue.nextAvail = (queue.nextAvail + 1) & 0xffff
    this.#takenOf(this.queueIndex).set(chain.head, chain)
    if (chain.code < abi.VERDICT_READ || chain.code > abi.VERDICT_FLUSH) return
    const request = step.planned[this.#planned++]
    if (request === undefined) return
    chain.state = 'in flight'
    chain.slot = request.slot
    chain.segments = request.segments
    chain.isWrite = chain.code === abi.VERDICT_WRITE
    this.#slots.set(request.slot, chain)
  }

  #stall(): void {
    if (this.chain) this.chain.state = 'stalled'
    if (this.queue) this.queue.stalled = true
  }

  #ringFault(fault: number): void {
    this.registers.fault = fault
    this.registers.end()
    if (this.queue) this.queue.stalled = false
    const { chain } = this
    // The fault is that of the chain that was being read, if any was.
    if (fault === abi.RING_FAULT_AVAIL_IDX || chain?.state !== 'walking') this.chain = undefined
    else {
      chain.code = fault
      chain.state = 'dropped'
    }
  }

  #stored({ kind, at: gpa, low, high }: TraceEvent): void {
    const { queue } = this
    if (queue === undefined) return
    if (kind === abi.TRACE_STATUS) {
      if (this.chain) this.chain.status = low
    } else if (kind === abi.TRACE_USED_ELEMENT) this.#used(queue, low, high)
    else if (kind === abi.TRACE_USED_HALF) {
      const isId = (BigInt(gpa) - queue.used - BigInt(spec.VIRTQ_USED_RING)) % BigInt(spec.VIRTQ_USED_ELEM_BYTES) === 0n
      if (isId) this.#halfId = low
      else this.#used(queue, this.#halfId, low)
    } else if (kind === abi.TRACE_USED_IDX) this.#publish(queue, low)
  }

  #used(queue: QueueModel, head: number, len: number): void {
    queue.nextUsed = (queue.nextUsed + 1) & 0xffff
    const chain = this.#takenOf(this.queueIndex).get(head)
    if (chain === undefined) return
    this.chain = chain
    chain.usedLen = len
    chain.state = 'answered'
  }

  #publish(queue: QueueModel, idx: number): void {
    queue.usedIdxBefore = queue.usedIdx
    queue.usedIdx = idx
    this.registers.interruptStatus |= spec.VIRTIO_MMIO_INT_VRING
    const taken = this.#takenOf(this.queueIndex)
    for (const [head, chain] of taken) {
      if (chain.state !== 'answered') continue
      chain.state = 'published'
      taken.delete(head)
    }
  }
}
