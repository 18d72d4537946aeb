// The driver's side of one split virtqueue (2.7): free descriptors, available ring, used ring, and both kinds of
// notification suppression (2.7.7, 2.7.10). The ring's memory is guest RAM that the caller placed and zeroed; free
// list and chain lengths are kept outside it, so a device that scribbles over descriptors cannot corrupt us.
//
// Ordered accesses: avail.idx is stored after everything it publishes, used.idx is loaded before what it announces;
// both event checks have a full barrier before them. Atomics do all of that, where the ring is aligned for them.
// Does not touch registers: the caller kicks when publish() says so.

import {
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_AVAIL_ELEM_BYTES,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_ALIGN,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_NEXT,
  VIRTQ_USED_ALIGN,
  VIRTQ_USED_ELEM_BYTES,
  VIRTQ_USED_ELEM_ID,
  VIRTQ_USED_ELEM_LEN,
  VIRTQ_USED_F_NO_NOTIFY,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
  VIRTQUEUE_MAX_SIZE,
} from '../../assembly/spec.ts'
import { DeviceMisbehaved, type DriverMemory } from './types.ts'

/** One buffer of a chain, in guest RAM. */
export interface Buffer {
  gpa: number
  bytes: number
  /** device-writable; all readable buffers come first */
  writable: boolean
}

/** Where the three parts lie (guest-physical) and how long all of them are together. */
export interface RingPlace {
  desc: number
  avail: number
  used: number
  bytes: number
}

export interface SplitRingOptions {
  memory: DriverMemory
  place: RingPlace
  /** a power of two, 1..32768 */
  size: number
  /** EVENT_IDX was negotiated */
  eventIdx: boolean
  /** false: ask the device for no interrupts, ever (a polling driver) */
  interrupts: boolean
}

/** A finished chain: its head and what used.len said. */
export interface UsedChain {
  head: number
  len: number
}

interface OutstandingChain {
  descriptors: number
  writableBytes: number
}

const EVENT_BYTES = 2
const NONE = -1
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** True iff an index moving from `old` to `now` passed `event` (2.7.10, vring_need_event). */
export function needEvent(event: number, now: number, old: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - old) & 0xffff)
}

/** Lays a ring of `size` out from `base`, each part aligned as 2.7 asks. */
export function placeRing(base: number, size: number): RingPlace {
  const desc = Math.ceil(base / VIRTQ_DESC_ALIGN) * VIRTQ_DESC_ALIGN
  const availBytes = VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * size + EVENT_BYTES
  const avail = Math.ceil((desc + VIRTQ_DESC_BYTES * size) / VIRTQ_AVAIL_ALIGN) * VIRTQ_AVAIL_ALIGN
  const used = Math.ceil((avail + availBytes) / VIRTQ_USED_ALIGN) * VIRTQ_USED_ALIGN
  return { desc, avail, used, bytes: used + VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * size + EVENT_BYTES - base }
}

/** Writes one descriptor at byte `at` of a view: in the table of a ring, or in an indirect table. */
function writeDescriptor(view: DataView, at: number, buffer: Buffer, flags: number, next: number): void {
  view.setUint32(at + VIRTQ_DESC_ADDR, buffer.gpa % 2 ** 32, true)
  view.setUint32(at + VIRTQ_DESC_ADDR + 4, Math.floor(buffer.gpa / 2 ** 32), true)
  view.setUint32(at + VIRTQ_DESC_LEN, buffer.bytes, true)
  view.setUint16(at + VIRTQ_DESC_FLAGS, flags | (buffer.writable ? VIRTQ_DESC_F_WRITE : 0), true)
  view.setUint16(at + VIRTQ_DESC_NEXT, next, true)
}

/** The bytes of one ring part, with ordered access to its 16-bit fields. */
class RingPart {
  readonly #memory: DriverMemory
  readonly #gpa: number
  readonly #bytes: number
  #view: DataView
  #cells: Uint16Array | undefined

  constructor(memory: DriverMemory, gpa: number, bytes: number) {
    this.#memory = memory
    this.#gpa = gpa
    this.#bytes = bytes
    this.#view = this.#bind()
  }

  /** The bytes. A memory that has grown since (a machine that we do not own) is looked up again. */
  get view(): DataView {
    if (this.#view.buffer.byteLength === 0) this.#view = this.#bind()
    return this.#view
  }

  load16(offset: number): number {
    const { view } = this
    return this.#cells ? Atomics.load(this.#cells, offset >> 1) : view.getUint16(offset, true)
  }

  store16(offset: number, value: number): void {
    const { view } = this
    if (this.#cells) Atomics.store(this.#cells, offset >> 1, value)
    else view.setUint16(offset, value, true)
  }

  #bind(): DataView {
    const { buffer, byteOffset } = this.#memory.view(this.#gpa, this.#bytes)
    const aligned = LITTLE_ENDIAN && byteOffset % 2 === 0
    this.#cells = aligned ? new Uint16Array(buffer, byteOffset, this.#bytes >> 1) : undefined
    return new DataView(buffer, byteOffset, this.#bytes)
  }
}

export class SplitRing {
  readonly size: number
  readonly place: RingPlace
  readonly #eventIdx: boolean
  readonly #interrupts: boolean
  readonly #desc: RingPart
  readonly #avail: RingPart
  readonly #used: RingPart
  readonly #usedEventAt: number
  readonly #availEventAt: number
  readonly #next: Int32Array
  readonly #outstanding = new Map<number, OutstandingChain>()
  #freeHead = 0
  #freeCount: number
  #availIdx = 0
  #kickedIdx = 0
  #usedIdx = 0

  constructor(options: SplitRingOptions) {
    const { memory, place, size } = options
    if (!(size >= 1 && size <= VIRTQUEUE_MAX_SIZE && Number.isInteger(Math.log2(size)))) {
      throw new RangeError(`SplitRing: size must be a power of two in 1..${VIRTQUEUE_MAX_SIZE}, not ${size}`)
    }
    this.size = size
    this.place = place
    this.#eventIdx = options.eventIdx
    this.#interrupts = options.interrupts
    this.#usedEventAt = VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * size
    this.#availEventAt = VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * size
    this.#desc = new RingPart(memory, place.desc, VIRTQ_DESC_BYTES * size)
    this.#avail = new RingPart(memory, place.avail, this.#usedEventAt + EVENT_BYTES)
    this.#used = new RingPart(memory, place.used, this.#availEventAt + EVENT_BYTES)
    this.#next = Int32Array.from({ length: size }, (_, i) => (i + 1 < size ? i + 1 : NONE))
    this.#freeCount = size
    this.allowInterrupts()
  }

  /** descriptors that no chain uses */
  get free(): number {
    return this.#freeCount
  }

  /** chains that the device has not returned */
  get outstanding(): number {
    return this.#outstanding.size
  }

  /** avail.idx as last stored */
  get availIdx(): number {
    return this.#availIdx
  }

  /** Writes a chain into the table and its head into the ring; publish() makes it visible. At most `free` buffers. */
  add(buffers: readonly Buffer[]): number {
    const head = this.#takeChain(buffers, 0)
    this.#offer(head, buffers.length, buffers)
    return head
  }

  /** As add(), through an indirect table of `buffers.length` descriptors at `table` (2.7.5.3). Takes one descriptor. */
  addIndirect(buffers: readonly Buffer[], table: { gpa: number; view: DataView }): number {
    buffers.forEach((buffer, i) => {
      const last = i + 1 === buffers.length
      writeDescriptor(table.view, VIRTQ_DESC_BYTES * i, buffer, last ? 0 : VIRTQ_DESC_F_NEXT, last ? 0 : i + 1)
    })
    const link = { gpa: table.gpa, bytes: VIRTQ_DESC_BYTES * buffers.length, writable: false }
    const head = this.#takeChain([link], VIRTQ_DESC_F_INDIRECT)
    this.#offer(head, 1, buffers)
    return head
  }

  /** Moves avail.idx past all chains added since (2.7.13). Returns whether the device wants a kick for them. */
  publish(): boolean {
    const old = this.#kickedIdx
    const now = this.#availIdx
    if (now === old) return false
    this.#avail.store16(VIRTQ_AVAIL_IDX, now)
    this.#kickedIdx = now
    if (this.#eventIdx) return needEvent(this.#used.load16(this.#availEventAt), now, old)
    return (this.#used.load16(VIRTQ_USED_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0
  }

  /** True if the device has returned chains that take() has not. */
  get pending(): boolean {
    return this.#used.load16(VIRTQ_USED_IDX) !== this.#usedIdx
  }

  /** The next returned chain; undefined if there is none. Throws DeviceMisbehaved if what it says cannot be. */
  take(): UsedChain | undefined {
    const idx = this.#used.load16(VIRTQ_USED_IDX)
    const ahead = (idx - this.#usedIdx) & 0xffff
    if (ahead === 0) return undefined
    if (ahead > this.#outstanding.size) {
      throw new DeviceMisbehaved(
        `used.idx is ${idx}, ${ahead} past what was taken, with ${this.#outstanding.size} chains outstanding`,
      )
    }
    const at = VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * (this.#usedIdx & (this.size - 1))
    const { view } = this.#used
    const head = view.getUint32(at + VIRTQ_USED_ELEM_ID, true)
    const len = view.getUint32(at + VIRTQ_USED_ELEM_LEN, true)
    const chain = this.#outstanding.get(head)
    if (!chain) throw new DeviceMisbehaved(`used.id ${head} is not the head of an outstanding chain`)
    if (len > chain.writableBytes) {
      throw new DeviceMisbehaved(`used.len ${len} of chain ${head} exceeds its ${chain.writableBytes} writable bytes`)
    }
    this.#outstanding.delete(head)
    this.#putChain(head, chain.descriptors)
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff
    return { head, len }
  }

  /** Asks for no interrupts for now (a hint, 2.7.7). With EVENT_IDX: parks used_event behind what was taken. */
  suppressInterrupts(): void {
    if (this.#eventIdx) this.#avail.store16(this.#usedEventAt, (this.#usedIdx - 1) & 0xffff)
    else this.#avail.store16(VIRTQ_AVAIL_FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT)
  }

  /**
   * Asks for an interrupt at the next returned chain, unless this driver only polls. Look at `pending` afterwards:
   * what the device returned before it saw this comes without one.
   */
  allowInterrupts(): void {
    if (!this.#interrupts) {
      this.suppressInterrupts()
    } else if (this.#eventIdx) {
      this.#avail.store16(this.#usedEventAt, this.#usedIdx)
    } else {
      this.#avail.store16(VIRTQ_AVAIL_FLAGS, 0)
    }
  }

  #offer(head: number, descriptors: number, buffers: readonly Buffer[]): void {
    let writableBytes = 0
    for (const buffer of buffers) if (buffer.writable) writableBytes += buffer.bytes
    this.#outstanding.set(head, { descriptors, writableBytes })
    const slot = this.#availIdx & (this.size - 1)
    this.#avail.view.setUint16(VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * slot, head, true)
    this.#availIdx = (this.#availIdx + 1) & 0xffff
  }

  #takeChain(buffers: readonly Buffer[], extraFlags: number): number {
    if (buffers.length === 0 || buffers.length > this.#freeCount) {
      throw new RangeError(`SplitRing: ${buffers.length} descriptors wanted, ${this.#freeCount} free`)
    }
    const head = this.#freeHead
    let index = head
    const { view } = this.#desc
    for (let i = 0; i < buffers.length; i++) {
      const following = this.#next[index] ?? NONE
      const last = i + 1 === buffers.length
      const flags = extraFlags | (last ? 0 : VIRTQ_DESC_F_NEXT)
      writeDescriptor(view, VIRTQ_DESC_BYTES * index, buffers[i] as Buffer, flags, last ? 0 : following)
      if (last) this.#freeHead = following
      else index = following
    }
    this.#freeCount -= buffers.length
    return head
  }

  #putChain(head: number, descriptors: number): void {
    let tail = head
    for (let i = 1; i < descriptors; i++) tail = this.#next[tail] ?? NONE
    this.#next[tail] = this.#freeHead
    this.#freeHead = head
    this.#freeCount += descriptors
  }
}
