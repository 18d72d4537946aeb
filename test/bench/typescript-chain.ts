// From descriptors to a decision, for the plain TypeScript device (typescript-device.ts): guest RAM as one buffer and
// its regions, the walk along a chain, and the verdict about the request in it. All checks of the contract, no
// BigInt: a guest address is a double, exact below 2^53 where all RAM is, and never rounded down to it from above.
// Requests are reused; nothing is allocated per request.

import * as spec from '../../assembly/spec.ts'

export interface RamRegion {
  readonly gpa: number
  readonly bytes: number
  /** offset in the buffer */
  readonly ptr: number
}

const HIGH = 2 ** 32

/** Guest RAM: regions of one buffer. */
export class Ram {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly view: DataView
  readonly #gpas: number[]
  readonly #sizes: number[]
  readonly #ptrs: number[]

  constructor(buffer: ArrayBufferLike, regions: readonly RamRegion[]) {
    this.u8 = new Uint8Array(buffer)
    this.u16 = new Uint16Array(buffer)
    this.u32 = new Uint32Array(buffer)
    this.view = new DataView(buffer)
    this.#gpas = regions.map(({ gpa }) => gpa)
    this.#sizes = regions.map(({ bytes }) => bytes)
    this.#ptrs = regions.map(({ ptr }) => ptr)
  }

  /** Offset of a range that lies in one region, else -1. */
  translate(gpa: number, bytes: number): number {
    const gpas = this.#gpas
    for (let i = 0; i < gpas.length; i++) {
      const offset = gpa - (gpas[i] as number)
      const size = this.#sizes[i] as number
      if (offset >= 0 && bytes <= size - offset) return (this.#ptrs[i] as number) + offset
    }
    return -1
  }

  /** Bytes from `gpa` to the end of its region; 0 outside RAM. */
  run(gpa: number): number {
    for (let i = 0; i < this.#gpas.length; i++) {
      const offset = gpa - (this.#gpas[i] as number)
      const size = this.#sizes[i] as number
      if (offset >= 0 && offset < size) return size - offset
    }
    return 0
  }

  /** True if all of a range is RAM; regions that touch are one. */
  contains(gpa: number, bytes: number): boolean {
    let at = gpa
    let left = bytes
    while (left > 0) {
      const run = this.run(at)
      if (run === 0) return false
      at += run
      left -= run
    }
    return true
  }
}

export interface Limits {
  readonly readOnly: boolean
  readonly sizeMax: number
  readonly segMax: number
  readonly blockSize: number
}

/** What parse found out about the chain itself. */
export const CHAIN_OK = 0
export const CHAIN_BROKEN = 1
export const CHAIN_NO_STATUS = 2

/** Verdicts. The first four need work or tokens; the others are answers. */
export const DO_IN = 1
export const DO_OUT = 2
export const DO_FLUSH = 3
export const DO_ID = 4
export const ANSWER_FLUSHED = 5
export const ANSWER_UNSUPP = 6
export const ANSWER_IOERR = 7

export class Request {
  readonly slot: number
  head = 0
  verdict = 0
  /** generation of the queue that the request belongs to; 0 = free */
  generation = 0
  /** a write that is being flushed before it is answered */
  flushing = false
  type = 0
  sector = 0
  statusPtr = 0
  outBytes = 0
  inBytes = 0
  /** data in pieces of the buffer; `pieces` of them are valid */
  readonly ptrs: Uint32Array
  readonly lens: Uint32Array
  pieces = 0
  #sectorLow = 0
  #dataDescs = 0
  #headerBytes = 0
  readonly #header = new DataView(new ArrayBuffer(spec.VIRTIO_BLK_REQ_HEADER_BYTES))
  /** fault a or b */
  #malformed = false
  /** a data buffer that is not RAM */
  #unmapped = false

  /** `piecesMax`: a descriptor of at most `segMax` has one piece per region, if all regions touch. */
  constructor(slot: number, piecesMax: number) {
    this.slot = slot
    this.ptrs = new Uint32Array(piecesMax)
    this.lens = new Uint32Array(piecesMax)
  }

  get bytes(): number {
    return this.outBytes + this.inBytes
  }

  #clear(head: number): void {
    this.head = head
    this.flushing = false
    this.type = 0
    this.sector = 0
    this.outBytes = 0
    this.inBytes = 0
    this.pieces = 0
    this.#dataDescs = 0
    this.#headerBytes = 0
    this.#malformed = false
    this.#unmapped = false
  }

  /** Follows the chain, reading each descriptor once. Zero-length descriptors are in neither stream. */
  parse(ram: Ram, tablePtr: number, tableGpa: number, size: number, head: number, limits: Limits): number {
    const { u32 } = ram
    this.#clear(head)
    let index = head
    // The last writable descriptor is held back: its last byte is the status.
    let lastGpa = 0
    let lastLen = 0
    for (let budget = size; budget > 0; budget--) {
      if (index >= size) return CHAIN_BROKEN
      const ptr = tablePtr >= 0 ? tablePtr + index * 16 : ram.translate(tableGpa + index * 16, 16)
      const word = ptr >>> 2
      const gpa = (u32[word] as number) + (u32[word + 1] as number) * HIGH
      const len = u32[word + 2] as number
      const flagsAndNext = u32[word + 3] as number
      if ((flagsAndNext & spec.VIRTQ_DESC_F_INDIRECT) !== 0) return CHAIN_BROKEN
      if (len !== 0) {
        if ((flagsAndNext & spec.VIRTQ_DESC_F_WRITE) !== 0) {
          if (lastLen !== 0) this.#addIn(ram, lastGpa, lastLen, limits)
          lastGpa = gpa
          lastLen = len
        } else {
          if (lastLen !== 0) this.#malformed = true
          this.#addReadable(ram, gpa, len, limits)
        }
      }
      if ((flagsAndNext & spec.VIRTQ_DESC_F_NEXT) === 0) {
        if (lastLen === 0) return CHAIN_NO_STATUS
        this.statusPtr = ram.translate(lastGpa + lastLen - 1, 1)
        if (this.statusPtr < 0) return CHAIN_NO_STATUS
        if (lastLen > 1) this.#addIn(ram, lastGpa, lastLen - 1, limits)
        return CHAIN_OK
      }
      index = flagsAndNext >>> 16
    }
    return CHAIN_BROKEN
  }

  #addReadable(ram: Ram, gpa: number, len: number, limits: Limits): void {
    let taken = 0
    if (this.#headerBytes < spec.VIRTIO_BLK_REQ_HEADER_BYTES) {
      taken = Math.min(len, spec.VIRTIO_BLK_REQ_HEADER_BYTES - this.#headerBytes)
      this.#takeHeader(ram, gpa, taken)
    }
    if (len === taken) return
    this.outBytes += len - taken
    this.#addData(ram, gpa + taken, len - taken, limits)
  }

  #addIn(ram: Ram, gpa: number, len: number, limits: Limits): void {
    this.inBytes += len
    this.#addData(ram, gpa, len, limits)
  }

  #takeHeader(ram: Ram, gpa: number, bytes: number): void {
    const whole = bytes === spec.VIRTIO_BLK_REQ_HEADER_BYTES
    const ptr = whole ? ram.translate(gpa, bytes) : -1
    if (ptr >= 0) {
      this.#headerBytes = bytes
      this.#decode(ram.view, ptr)
      return
    }
    for (let i = 0; i < bytes; i++) {
      const at = ram.translate(gpa + i, 1)
      if (at < 0) this.#malformed = true
      else this.#header.setUint8(this.#headerBytes + i, ram.u8[at] as number)
    }
    this.#headerBytes += bytes
    if (this.#headerBytes === spec.VIRTIO_BLK_REQ_HEADER_BYTES) this.#decode(this.#header, 0)
  }

  #decode(view: DataView, ptr: number): void {
    this.type = view.getUint32(ptr + spec.VIRTIO_BLK_REQ_TYPE, true)
    this.#sectorLow = view.getUint32(ptr + spec.VIRTIO_BLK_REQ_SECTOR, true)
    // Rounded above 2^53 sectors, where it is past any capacity anyway.
    this.sector = this.#sectorLow + view.getUint32(ptr + spec.VIRTIO_BLK_REQ_SECTOR + 4, true) * HIGH
  }

  #addData(ram: Ram, gpa: number, len: number, limits: Limits): void {
    this.#dataDescs += 1
    if (len > limits.sizeMax || this.#dataDescs > limits.segMax) this.#malformed = true
    if (this.#malformed || this.#unmapped) return
    const ptr = ram.translate(gpa, len)
    if (ptr >= 0) {
      this.#addPiece(ptr, len)
    } else if (ram.contains(gpa, len)) {
      for (let at = gpa, left = len; left > 0; ) {
        const run = Math.min(ram.run(at), left)
        this.#addPiece(ram.translate(at, run), run)
        at += run
        left -= run
      }
    } else {
      this.#unmapped = true
    }
  }

  #addPiece(ptr: number, len: number): void {
    this.ptrs[this.pieces] = ptr
    this.lens[this.pieces] = len
    this.pieces += 1
  }

  /** The faults a to g, then what is to be done. */
  judge(capacitySectors: number, limits: Limits): number {
    const { type, bytes, sector } = this
    if (this.#malformed || this.#headerBytes < spec.VIRTIO_BLK_REQ_HEADER_BYTES || bytes >= HIGH) return ANSWER_IOERR
    switch (type) {
      case spec.VIRTIO_BLK_T_IN:
      case spec.VIRTIO_BLK_T_OUT: {
        const out = type === spec.VIRTIO_BLK_T_OUT
        if (bytes === 0 || (out ? this.inBytes : this.outBytes) !== 0 || this.#unmapped) return ANSWER_IOERR
        // blockSize is a power of two, so the low bits tell.
        const { blockSize } = limits
        if ((bytes & (blockSize - 1)) !== 0) return ANSWER_IOERR
        if ((this.#sectorLow & ((blockSize >>> spec.VIRTIO_BLK_SECTOR_BITS) - 1)) !== 0) return ANSWER_IOERR
        if (out && limits.readOnly) return ANSWER_IOERR
        if (sector > capacitySectors) return ANSWER_IOERR
        if (bytes / spec.VIRTIO_BLK_SECTOR_BYTES > capacitySectors - sector) return ANSWER_IOERR
        return out ? DO_OUT : DO_IN
      }
      case spec.VIRTIO_BLK_T_FLUSH:
        if (bytes !== 0) return ANSWER_IOERR
        return limits.readOnly ? ANSWER_FLUSHED : DO_FLUSH
      case spec.VIRTIO_BLK_T_GET_ID:
        if (this.inBytes < spec.VIRTIO_BLK_ID_BYTES || this.outBytes !== 0 || this.#unmapped) return ANSWER_IOERR
        return DO_ID
      default:
        return ANSWER_UNSUPP
    }
  }
}
