// Builds one block request (5.2.6) for raw access: header, data and status as two byte streams, readable and
// writable, cut into descriptors at any positions (2.7.4, framing is not the device's business). Every piece gets
// its own bytes, filled with sentinels and with guard bytes on both sides, so a test sees what was written, what
// was not, and what should not have been.
//
// Does not offer the request to the device, and does not judge it: short headers, missing status bytes, addresses
// outside RAM, wrong flags are all built as asked.

import {
  VIRTIO_BLK_REQ_HEADER_BYTES,
  VIRTIO_BLK_REQ_SECTOR,
  VIRTIO_BLK_REQ_TYPE,
  VIRTQ_DESC_BYTES,
} from '../../assembly/spec.ts'
import { addressAdd } from './bytes.ts'
import type { ChainLink, RawQueue, UsedElement } from './raw-queue.ts'
import type { Address } from './types.ts'

/** what writable bytes hold before the device writes them; no status of the standard */
export const WRITABLE_SENTINEL = 0xe5
/** what readable bytes hold past the end of header and data */
const READABLE_SENTINEL = 0x5a
/** what the bytes before and after each piece hold */
const GUARD_SENTINEL = 0xc3
const GUARD_BYTES = 16

/** One descriptor of a layout: so many bytes of the readable or the writable stream. */
export interface Piece {
  writable: boolean
  /** bytes of the stream that it carries, and its len unless `len` is given */
  bytes: number
  /** where it lies; default: fresh from the arena, with guard bytes around it */
  addr?: Address
  /** alignment of a fresh address. Default 16. */
  align?: number
  /** the descriptor's len, if not `bytes` */
  len?: number
  /** the descriptor's exact flags */
  flags?: number
  /** the descriptor's exact next */
  next?: number
}

/** A piece of `bytes` bytes that the device reads. */
export function readable(bytes: number, more: Partial<Piece> = {}): Piece {
  return { ...more, writable: false, bytes }
}

/** A piece of `bytes` bytes that the device writes. */
export function writable(bytes: number, more: Partial<Piece> = {}): Piece {
  return { ...more, writable: true, bytes }
}

export interface RawRequestOptions {
  type: number
  sector?: number | bigint
  reserved?: number
  /** the readable stream after the header. Default none. */
  dataOut?: Uint8Array
  /** bytes of the writable stream before the status byte. Default 0. */
  dataIn?: number
  /**
   * The descriptors. Default: header (16, readable), data, status (1, writable), each in its own. The streams are
   * laid over the pieces in order, whatever the cuts; bytes of a stream that no piece has room for are left out.
   */
  layout?: readonly Piece[]
  /** default layout only: sizes of the data descriptors, e.g. [512, 512]; or one size to cut by. Default: one. */
  segments?: number | readonly number[]
  /** put the pieces into an indirect table; a number: that many stay direct, before it. Default false. */
  indirect?: boolean | number
  /** the head's index in the table; default as RawQueue.chain */
  head?: number
  /** the index of every descriptor in the table */
  indices?: readonly number[]
}

/** A placed piece of a request. */
export interface Span {
  addr: Address
  bytes: number
}

interface PlacedPiece extends Span {
  writable: boolean
  guarded: boolean
}

/** A request that lies in guest memory. */
export class RawRequest {
  readonly queue: RawQueue
  /** index of the first descriptor */
  readonly head: number
  /** all pieces in descriptor order */
  readonly pieces: readonly (Span & { writable: boolean })[]
  /** where the readable stream's bytes lie: its first 16, and the rest */
  readonly header: readonly Span[]
  readonly dataOut: readonly Span[]
  /** where the writable stream's bytes lie, without its last */
  readonly dataIn: readonly Span[]
  /** address of the first readable byte, of the last writable byte; undefined if there is none */
  readonly headerAddr: Address | undefined
  readonly statusAddr: Address | undefined
  /** address of the indirect table, if there is one */
  readonly tableAddr: Address | undefined
  readonly #placed: readonly PlacedPiece[]
  readonly #usedBefore: number
  readonly #sent: Uint8Array

  constructor(queue: RawQueue, head: number, pieces: readonly PlacedPiece[], tableAddr: Address | undefined) {
    this.queue = queue
    this.head = head
    this.pieces = pieces
    this.tableAddr = tableAddr
    const readableSpans = pieces.filter((piece) => !piece.writable)
    const writableSpans = pieces.filter((piece) => piece.writable)
    const writableBytes = total(writableSpans)
    this.header = cut(readableSpans, 0, VIRTIO_BLK_REQ_HEADER_BYTES)
    this.dataOut = cut(readableSpans, VIRTIO_BLK_REQ_HEADER_BYTES, total(readableSpans))
    this.dataIn = cut(writableSpans, 0, writableBytes - 1)
    this.headerAddr = this.header[0]?.addr
    this.statusAddr = cut(writableSpans, writableBytes - 1, writableBytes)[0]?.addr
    this.#placed = pieces
    this.#usedBefore = queue.usedIdx
    this.#sent = this.#gather(readableSpans)
  }

  /** the status byte; WRITABLE_SENTINEL while the device has not written it; undefined if there is none */
  status(): number | undefined {
    return this.statusAddr === undefined ? undefined : this.queue.raw.mem.u8(this.statusAddr)
  }

  /** a copy of the writable stream without the status byte */
  data(): Uint8Array {
    return this.#gather(this.dataIn)
  }

  /** The used element that came for this head since the request was built, and its idx; undefined if none did. */
  used(): (UsedElement & { idx: number }) | undefined {
    const { queue } = this
    const idx = queue.usedIdx
    const count = Math.min((idx - this.#usedBefore) & 0xffff, queue.size)
    for (let i = count; i > 0; i--) {
      const at = (idx - i) & 0xffff
      const element = queue.usedElement(at)
      if (element.id === this.head) return { ...element, idx: at }
    }
    return undefined
  }

  /** used.len of that element; undefined while there is none */
  usedLen(): number | undefined {
    return this.used()?.len
  }

  /** true if all writable bytes, status included, still hold the sentinel */
  untouched(): boolean {
    const spans = this.pieces.filter((piece) => piece.writable)
    return this.#gather(spans).every((byte) => byte === WRITABLE_SENTINEL)
  }

  /** true if the readable bytes are what was written there and the guards around every piece are whole */
  intact(): boolean {
    const { mem } = this.queue.raw
    const now = this.#gather(this.pieces.filter((piece) => !piece.writable))
    if (!now.every((byte, i) => byte === this.#sent[i])) return false
    const guards = this.#placed.filter((piece) => piece.guarded)
    return guards.every(({ addr, bytes }) =>
      [addressAdd(addr, -GUARD_BYTES), addressAdd(addr, bytes)].every((at) =>
        mem.bytes(at, GUARD_BYTES).every((byte) => byte === GUARD_SENTINEL),
      ),
    )
  }

  #gather(spans: readonly Span[]): Uint8Array {
    const all = new Uint8Array(total(spans))
    let at = 0
    for (const { addr, bytes } of spans) {
      all.set(this.queue.raw.mem.bytes(addr, bytes), at)
      at += bytes
    }
    return all
  }
}

/** The 16 bytes of a request header (5.2.6). */
function requestHeader(type: number, sector: number | bigint = 0, reserved = 0): Uint8Array {
  const header = new DataView(new ArrayBuffer(VIRTIO_BLK_REQ_HEADER_BYTES))
  header.setUint32(VIRTIO_BLK_REQ_TYPE, type, true)
  header.setUint32(VIRTIO_BLK_REQ_TYPE + 4, reserved, true)
  header.setBigUint64(VIRTIO_BLK_REQ_SECTOR, BigInt.asUintN(64, BigInt(sector)), true)
  return new Uint8Array(header.buffer)
}

/** Lays a request out in guest memory and its descriptors in the queue's table. */
export function buildRequest(queue: RawQueue, options: RawRequestOptions): RawRequest {
  const { mem, arena } = queue.raw
  const dataOut = options.dataOut ?? new Uint8Array(0)
  const stream = new Uint8Array(VIRTIO_BLK_REQ_HEADER_BYTES + dataOut.length)
  stream.set(requestHeader(options.type, options.sector, options.reserved))
  stream.set(dataOut, VIRTIO_BLK_REQ_HEADER_BYTES)
  const layout = options.layout ?? usualLayout(options)
  let sent = 0
  const placed = layout.map((piece): PlacedPiece => {
    const { bytes, writable: isWritable } = piece
    const guarded = piece.addr === undefined
    const addr = piece.addr ?? placeGuarded(queue, bytes, piece.align)
    mem.fill(addr, bytes, isWritable ? WRITABLE_SENTINEL : READABLE_SENTINEL)
    if (!isWritable) {
      mem.write(addr, stream.subarray(sent, sent + bytes))
      sent += bytes
    }
    return { addr, bytes, writable: isWritable, guarded }
  })
  const links = layout.map((piece, i): ChainLink => {
    const { flags, next } = piece
    return {
      addr: placed[i]?.addr ?? 0,
      len: piece.len ?? piece.bytes,
      writable: piece.writable,
      ...(flags === undefined ? {} : { flags }),
      ...(next === undefined ? {} : { next }),
    }
  })
  const direct = options.indirect === true ? 0 : options.indirect === false ? links.length : options.indirect
  let chain = links
  let tableAddr: Address | undefined
  if (direct !== undefined && direct < links.length) {
    const entries = links.slice(direct)
    tableAddr = arena.alloc(VIRTQ_DESC_BYTES * entries.length, VIRTQ_DESC_BYTES)
    chain = [...links.slice(0, direct), queue.indirectTable(tableAddr, entries)]
  }
  const head = queue.chain(chain, {
    ...(options.head === undefined ? {} : { head: options.head }),
    ...(options.indices === undefined ? {} : { indices: options.indices }),
  })
  return new RawRequest(queue, head, placed, tableAddr)
}

function usualLayout(options: RawRequestOptions): Piece[] {
  const outBytes = options.dataOut?.length ?? 0
  const inBytes = options.dataIn ?? 0
  return [
    readable(VIRTIO_BLK_REQ_HEADER_BYTES),
    ...segmentSizes(outBytes, options.segments).map((bytes) => readable(bytes)),
    ...segmentSizes(inBytes, options.segments).map((bytes) => writable(bytes)),
    writable(1),
  ]
}

function segmentSizes(bytes: number, segments: number | readonly number[] | undefined): readonly number[] {
  if (bytes === 0) return []
  if (typeof segments === 'object') return segments
  const step = segments ?? bytes
  const sizes: number[] = []
  for (let left = bytes; left > 0; left -= step) sizes.push(Math.min(step, left))
  return sizes
}

function placeGuarded(queue: RawQueue, bytes: number, align = 16): Address {
  const { mem, arena } = queue.raw
  arena.alloc(GUARD_BYTES, 1)
  const addr = arena.alloc(bytes, align)
  arena.alloc(GUARD_BYTES, 1)
  mem.fill(addr - GUARD_BYTES, GUARD_BYTES, GUARD_SENTINEL)
  mem.fill(addr + bytes, GUARD_BYTES, GUARD_SENTINEL)
  return addr
}

function total(spans: readonly Span[]): number {
  return spans.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** The spans that hold bytes `from` to `to` of the stream. */
function cut(spans: readonly Span[], from: number, to: number): Span[] {
  const parts: Span[] = []
  let start = 0
  for (const { addr, bytes } of spans) {
    const first = Math.max(from, start)
    const last = Math.min(to, start + bytes)
    if (first < last) parts.push({ addr: addressAdd(addr, first - start), bytes: last - first })
    start += bytes
  }
  return parts
}
