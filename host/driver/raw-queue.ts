// One split virtqueue under full manual control (2.7): descriptors, both rings, notification, for tests that break
// the rules on purpose. Nothing is validated, nothing is skipped, nothing is remembered except the next index to
// offer and the last used index taken; ring parts may lie anywhere, also outside RAM (stores then go nowhere, see
// bytes.ts).
//
// The ring's memory belongs to whoever placed it. Indices are stored atomically where they are aligned.

import {
  VIRTQ_AVAIL_ELEM_BYTES,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_NEXT,
  VIRTQ_USED_ELEM_BYTES,
  VIRTQ_USED_ELEM_ID,
  VIRTQ_USED_ELEM_LEN,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
} from '../../assembly/spec.ts'
import type { BumpArena } from './arena.ts'
import { addressAdd, type GuestBytes } from './bytes.ts'
import { buildRequest, type RawRequest, type RawRequestOptions } from './raw-request.ts'
import type { Registers } from './registers.ts'
import type { Address } from './types.ts'

/** One descriptor (2.7.5), exactly as it lies in memory. */
export interface Descriptor {
  addr: Address
  len: number
  flags: number
  next: number
}

/** A link of a chain: NEXT and `next` are filled in unless `flags` or `next` say otherwise. */
export interface ChainLink {
  addr: Address
  len: number
  /** device-writable. Default false. */
  writable?: boolean
  /** the descriptor points to an indirect table. Default false. */
  indirect?: boolean
  /** the exact flags, instead of what the above and the position in the chain give */
  flags?: number
  /** the exact next, instead of the following link's index (0 in the last) */
  next?: number
}

export interface ChainOptions {
  /** index of the first descriptor. Default: after the last chain written, wrapping at the size. */
  head?: number
  /** index of every descriptor. Default: consecutive from the head, wrapping at the size. */
  indices?: readonly number[]
}

export interface UsedElement {
  id: number
  len: number
}

export interface RawQueueOptions {
  /** queue index, for QueueSel and kicks. Default 0. */
  queue?: number
  /** entries. Any number; ring arithmetic here and QueueSize use it. Default 16. */
  size?: number
  /** what QueueSize is told, if not `size` */
  sizeRegister?: number
  /** address of the descriptor table; default: from the arena, 16-aligned */
  desc?: Address
  /** address of the available ring; default: from the arena, 2-aligned */
  avail?: Address
  /** address of the used ring; default: from the arena, 4-aligned */
  used?: Address
  /** zero the three parts. Default true. */
  zero?: boolean
  /** what program() writes to QueueReady; false: does not write it. Default 1. */
  ready?: number | false
}

/** What a raw queue works on. */
export interface RawAccess {
  readonly reg: Registers
  readonly mem: GuestBytes
  readonly arena: BumpArena
}

const PAGE = 4096
const EVENT_BYTES = 2

export class RawQueue {
  readonly raw: RawAccess
  readonly queue: number
  readonly size: number
  readonly sizeRegister: number
  readonly desc: Address
  readonly avail: Address
  readonly used: Address
  readonly ready: number | false
  /** the idx that the next offered head takes (free-running, 16 bits) */
  nextAvail = 0
  /** the used idx up to which takeUsed() has read */
  nextUsed = 0
  /** the descriptor that the next chain starts at, if it is given no head */
  nextDesc = 0

  /** Lays the ring out; does not touch the device (see program()). */
  constructor(raw: RawAccess, options: RawQueueOptions = {}) {
    const { queue = 0, size = 16 } = options
    this.raw = raw
    this.queue = queue
    this.size = size
    this.sizeRegister = options.sizeRegister ?? size
    this.ready = options.ready ?? 1
    const descBytes = VIRTQ_DESC_BYTES * size
    const availBytes = VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * size + EVENT_BYTES
    const usedBytes = VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * size + EVENT_BYTES
    this.desc = options.desc ?? raw.arena.alloc(descBytes, PAGE)
    this.avail = options.avail ?? raw.arena.alloc(availBytes, 2)
    this.used = options.used ?? raw.arena.alloc(usedBytes, 4)
    if (options.zero ?? true) {
      raw.mem.fill(this.desc, descBytes, 0)
      raw.mem.fill(this.avail, availBytes, 0)
      raw.mem.fill(this.used, usedBytes, 0)
    }
  }

  /** 4.2.3.2 without its checks: QueueSel, QueueSize, the addresses, QueueReady. Returns QueueReady as read back. */
  program(): number {
    const { reg } = this.raw
    reg.selectQueue(this.queue)
    reg.queueSize = this.sizeRegister
    reg.setQueueAddresses(this.desc, this.avail, this.used)
    if (this.ready !== false) reg.queueReady = this.ready
    return reg.queueReady
  }

  // Descriptors ------------------------------------------------------------------------------------------

  descriptorAddress(index: number): Address {
    return addressAdd(this.desc, VIRTQ_DESC_BYTES * index)
  }

  descriptor(index: number): Descriptor {
    return this.descriptorAt(this.descriptorAddress(index))
  }

  setDescriptor(index: number, descriptor: Descriptor): void {
    this.setDescriptorAt(this.descriptorAddress(index), descriptor)
  }

  /** A descriptor anywhere, in an indirect table for one. */
  descriptorAt(at: Address): Descriptor {
    const { mem } = this.raw
    return {
      addr: mem.u64(addressAdd(at, VIRTQ_DESC_ADDR)),
      len: mem.u32(addressAdd(at, VIRTQ_DESC_LEN)),
      flags: mem.u16(addressAdd(at, VIRTQ_DESC_FLAGS)),
      next: mem.u16(addressAdd(at, VIRTQ_DESC_NEXT)),
    }
  }

  setDescriptorAt(at: Address, descriptor: Descriptor): void {
    const { mem } = this.raw
    mem.setU64(addressAdd(at, VIRTQ_DESC_ADDR), descriptor.addr)
    mem.setU32(addressAdd(at, VIRTQ_DESC_LEN), descriptor.len)
    mem.setU16(addressAdd(at, VIRTQ_DESC_FLAGS), descriptor.flags)
    mem.setU16(addressAdd(at, VIRTQ_DESC_NEXT), descriptor.next)
  }

  /** Writes linked descriptors into the table; returns the head. An empty list writes nothing. */
  chain(links: readonly ChainLink[], options: ChainOptions = {}): number {
    const head = options.indices?.[0] ?? options.head ?? this.nextDesc
    const indexOf = (i: number): number => options.indices?.[i] ?? this.#wrap(head + i)
    links.forEach((link, i) => {
      this.setDescriptor(indexOf(i), linked(link, i + 1 < links.length ? indexOf(i + 1) : undefined))
    })
    this.nextDesc = this.#wrap(indexOf(Math.max(links.length - 1, 0)) + 1)
    return head
  }

  /** Writes an indirect table (2.7.5.3) at `at`, entries linked in order; returns the link that points to it. */
  indirectTable(at: Address, links: readonly ChainLink[]): ChainLink {
    links.forEach((link, i) => {
      const next = i + 1 < links.length ? i + 1 : undefined
      this.setDescriptorAt(addressAdd(at, VIRTQ_DESC_BYTES * i), linked(link, next))
    })
    return { addr: at, len: VIRTQ_DESC_BYTES * links.length, indirect: true }
  }

  // Available ring ---------------------------------------------------------------------------------------

  availSlotAddress(slot: number): Address {
    return addressAdd(this.avail, VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * slot)
  }

  setAvailSlot(slot: number, head: number): void {
    this.raw.mem.setU16(this.availSlotAddress(slot), head)
  }

  /** Writes the head into the next ring slot; avail.idx stays. */
  offer(head: number): void {
    this.setAvailSlot(this.#wrap(this.nextAvail), head)
    this.nextAvail = (this.nextAvail + 1) & 0xffff
  }

  /** Writes avail.idx; offers go on from there. */
  setAvailIdx(idx: number): void {
    this.nextAvail = idx & 0xffff
    this.availIdx = idx
  }

  /** Offers the heads and moves avail.idx past all that was offered, in one store. */
  publish(...heads: readonly number[]): void {
    for (const head of heads) this.offer(head)
    this.setAvailIdx(this.nextAvail)
  }

  /** QueueNotify; the value is this queue's index unless given. */
  kick(value: number = this.queue): void {
    this.raw.reg.notify(value)
  }

  /** publish() and kick() */
  submit(...heads: readonly number[]): void {
    this.publish(...heads)
    this.kick()
  }

  get availFlags(): number {
    return this.raw.mem.u16(addressAdd(this.avail, VIRTQ_AVAIL_FLAGS))
  }

  set availFlags(flags: number) {
    this.raw.mem.setU16(addressAdd(this.avail, VIRTQ_AVAIL_FLAGS), flags)
  }

  /** avail.idx in memory; setting it leaves `nextAvail` alone (see setAvailIdx) */
  get availIdx(): number {
    return this.raw.mem.u16(addressAdd(this.avail, VIRTQ_AVAIL_IDX))
  }

  set availIdx(idx: number) {
    this.raw.mem.setU16(addressAdd(this.avail, VIRTQ_AVAIL_IDX), idx)
  }

  /** the driver's word to the device: interrupt when used.idx passes it (EVENT_IDX) */
  get usedEvent(): number {
    return this.raw.mem.u16(this.usedEventAddress)
  }

  set usedEvent(idx: number) {
    this.raw.mem.setU16(this.usedEventAddress, idx)
  }

  get usedEventAddress(): Address {
    return this.availSlotAddress(this.size)
  }

  // Used ring --------------------------------------------------------------------------------------------

  usedElementAddress(slot: number): Address {
    return addressAdd(this.used, VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * slot)
  }

  /** The element in a slot; a free-running idx will do as well, it is taken modulo the size. */
  usedElement(slot: number): UsedElement {
    const at = this.usedElementAddress(this.#wrap(slot))
    const { mem } = this.raw
    return { id: mem.u32(addressAdd(at, VIRTQ_USED_ELEM_ID)), len: mem.u32(addressAdd(at, VIRTQ_USED_ELEM_LEN)) }
  }

  setUsedElement(slot: number, element: UsedElement): void {
    const at = this.usedElementAddress(this.#wrap(slot))
    this.raw.mem.setU32(addressAdd(at, VIRTQ_USED_ELEM_ID), element.id)
    this.raw.mem.setU32(addressAdd(at, VIRTQ_USED_ELEM_LEN), element.len)
  }

  /** The elements between the last call and used.idx, oldest first; at most `size`, the rest is overwritten. */
  takeUsed(): UsedElement[] {
    const idx = this.usedIdx
    const count = Math.min((idx - this.nextUsed) & 0xffff, this.size)
    const elements: UsedElement[] = []
    for (let i = count; i > 0; i--) elements.push(this.usedElement((idx - i) & 0xffff))
    this.nextUsed = idx
    return elements
  }

  get usedFlags(): number {
    return this.raw.mem.u16(addressAdd(this.used, VIRTQ_USED_FLAGS))
  }

  set usedFlags(flags: number) {
    this.raw.mem.setU16(addressAdd(this.used, VIRTQ_USED_FLAGS), flags)
  }

  get usedIdx(): number {
    return this.raw.mem.u16(addressAdd(this.used, VIRTQ_USED_IDX))
  }

  set usedIdx(idx: number) {
    this.raw.mem.setU16(addressAdd(this.used, VIRTQ_USED_IDX), idx)
  }

  /** the device's word to the driver: kick when avail.idx passes it (EVENT_IDX) */
  get availEvent(): number {
    return this.raw.mem.u16(this.availEventAddress)
  }

  set availEvent(idx: number) {
    this.raw.mem.setU16(this.availEventAddress, idx)
  }

  get availEventAddress(): Address {
    return this.usedElementAddress(this.size)
  }

  /** Moves all four indices and both cursors to `idx`, as after that many requests. Before program() only. */
  startAt(idx: number): void {
    this.setAvailIdx(idx)
    this.usedIdx = idx
    this.nextUsed = idx & 0xffff
  }

  // Requests ---------------------------------------------------------------------------------------------

  /** Builds a request in the arena and its chain in the table. Offers nothing: see submit(request.head). */
  request(options: RawRequestOptions): RawRequest {
    return buildRequest(this, options)
  }

  /** request(), publish, kick. With a synchronous device the answer is there on return. */
  run(options: RawRequestOptions): RawRequest {
    const request = this.request(options)
    this.submit(request.head)
    return request
  }

  #wrap(idx: number): number {
    return this.size > 0 ? idx % this.size : idx
  }
}

function linked(link: ChainLink, next: number | undefined): Descriptor {
  const flags =
    (next === undefined ? 0 : VIRTQ_DESC_F_NEXT) |
    (link.writable ? VIRTQ_DESC_F_WRITE : 0) |
    (link.indirect ? VIRTQ_DESC_F_INDIRECT : 0)
  return { addr: link.addr, len: link.len, flags: link.flags ?? flags, next: link.next ?? next ?? 0 }
}
