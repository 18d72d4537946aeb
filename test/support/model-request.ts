// The model device's requests (see model.ts): a chain of descriptors becomes two byte streams, the streams become a
// plan or an answer, and a plan is executed against a disk. Faults are looked for in the order a to g of the
// contract. Every function here is pure but for guest memory and the disk; counters come back as amounts to add.

import * as spec from '../../assembly/spec.ts'
import type { ModelMemory } from './model-parts.ts'

/** What a synchronous back end offers. Failures are thrown; `code: 'EINTR'` asks for another try. */
export interface ModelDisk {
  read(offset: number, into: Uint8Array[]): number
  write(offset: number, from: Uint8Array[]): number
  flush(): void
}

export interface ModelLimits {
  disk: ModelDisk
  readOnly: boolean
  serial: string
  sizeMax: number
  segMax: number
  blockSize: number
}

/** The part of a stream that lies in one descriptor. Never empty. */
interface Piece {
  gpa: bigint
  len: bigint
}

export interface Chain {
  readable: Piece[]
  writable: Piece[]
  /** a readable descriptor comes after a writable one */
  disordered: boolean
  /** address of the last writable byte */
  status: bigint | undefined
  /** writable bytes before it */
  dataInBytes: bigint
}

export interface Answer {
  kind: 'answer'
  status: number
  usedLen: bigint
  counts: Record<string, bigint>
}

export interface Plan {
  kind: 'run'
  type: number
  sector: bigint
  data: Piece[]
  bytes: bigint
}

const EINTR_RETRIES = 16
const SECTOR = 512n
const HEADER_BYTES = 16n
const { VIRTIO_BLK_T_IN: IN, VIRTIO_BLK_T_OUT: OUT, VIRTIO_BLK_T_FLUSH: FLUSH, VIRTIO_BLK_T_GET_ID: GET_ID } = spec

/** Follows a chain to its end; undefined is a ring fault. Zero-length descriptors are in neither stream. */
export function walkChain(memory: ModelMemory, table: bigint, size: number, head: number): Chain | undefined {
  const readable: Piece[] = []
  const writable: Piece[] = []
  let disordered = false
  let index = head
  for (let count = 0; count < size; count++) {
    if (index >= size) return undefined
    const desc = table + 16n * BigInt(index)
    const gpa = memory.readU64(desc + BigInt(spec.VIRTQ_DESC_ADDR))
    const len = memory.readU32(desc + BigInt(spec.VIRTQ_DESC_LEN))
    const flags = memory.readU16(desc + BigInt(spec.VIRTQ_DESC_FLAGS))
    const next = memory.readU16(desc + BigInt(spec.VIRTQ_DESC_NEXT))
    if (gpa === undefined || len === undefined || flags === undefined || next === undefined) return undefined
    if (flags & spec.VIRTQ_DESC_F_INDIRECT) return undefined
    if (len > 0) {
      const write = (flags & spec.VIRTQ_DESC_F_WRITE) !== 0
      if (!write && writable.length > 0) disordered = true
      const stream = write ? writable : readable
      stream.push({ gpa, len: BigInt(len) })
    }
    if (!(flags & spec.VIRTQ_DESC_F_NEXT)) {
      const last = writable.at(-1)
      const status = last && last.gpa + last.len - 1n
      return { readable, writable, disordered, status, dataInBytes: last ? total(writable) - 1n : 0n }
    }
    index = next
  }
  return undefined
}

function total(pieces: readonly Piece[]): bigint {
  return pieces.reduce((sum, { len }) => sum + len, 0n)
}

/** The bytes [from, to) of a stream, still cut where the descriptors are. */
function slice(pieces: readonly Piece[], from: bigint, to: bigint): Piece[] {
  const out: Piece[] = []
  let at = 0n
  for (const piece of pieces) {
    let { gpa, len } = piece
    const behind = at + len - to
    if (behind > 0n) len -= behind
    if (from > at) {
      gpa += from - at
      len -= from - at
    }
    if (len > 0n) out.push({ gpa, len })
    at += piece.len
  }
  return out
}

function gather(memory: ModelMemory, pieces: readonly Piece[]): Uint8Array | undefined {
  const parts: Uint8Array[] = []
  for (const { gpa, len } of pieces) {
    const part = memory.read(gpa, len)
    if (part === undefined) return undefined
    parts.push(part)
  }
  return new Uint8Array(Buffer.concat(parts))
}

function scatter(memory: ModelMemory, pieces: readonly Piece[], from: Uint8Array): void {
  let done = 0
  for (const { gpa, len } of pieces) {
    const part = from.subarray(done, done + Number(len))
    memory.write(gpa, part)
    done += part.length
  }
}

function answer(status: number, counter: string): Answer {
  return { kind: 'answer', status, usedLen: 1n, counts: { [counter]: 1n } }
}

function ioError(): Answer {
  return answer(spec.VIRTIO_BLK_S_IOERR, 'ioErrors')
}

/** Decides about a request whose chain is whole and has a status byte. */
export function planRequest(memory: ModelMemory, chain: Chain, capacity: bigint, limits: ModelLimits): Answer | Plan {
  // a
  const readableBytes = total(chain.readable)
  if (chain.disordered || readableBytes < HEADER_BYTES) return ioError()
  const header = gather(memory, slice(chain.readable, 0n, HEADER_BYTES))
  if (header === undefined) return ioError()
  const fields = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const type = fields.getUint32(spec.VIRTIO_BLK_REQ_TYPE, true)
  const sector = fields.getBigUint64(spec.VIRTIO_BLK_REQ_SECTOR, true)
  // b
  const out = slice(chain.readable, HEADER_BYTES, readableBytes)
  const into = slice(chain.writable, 0n, chain.dataInBytes)
  const data = [...out, ...into]
  const bytes = total(data)
  if (data.some(({ len }) => len > BigInt(limits.sizeMax))) return ioError()
  if (data.length > limits.segMax || bytes >= 2n ** 32n) return ioError()
  if (![IN, OUT, FLUSH, GET_ID].includes(type)) return answer(spec.VIRTIO_BLK_S_UNSUPP, 'unsupported')
  // c
  if ((type === FLUSH) !== (bytes === 0n)) return ioError()
  // d
  const blockSize = BigInt(limits.blockSize)
  const moves = type === IN || type === OUT
  if (moves && (bytes % blockSize !== 0n || sector % (blockSize / SECTOR) !== 0n)) return ioError()
  if ((type === OUT ? into : out).length > 0) return ioError()
  if (data.some(({ gpa, len }) => !memory.contains(gpa, len))) return ioError()
  // e
  if (type === OUT && limits.readOnly) return ioError()
  // f
  if (moves && (sector > capacity || bytes / SECTOR > capacity - sector)) return ioError()
  // g
  if (type === GET_ID && bytes < BigInt(spec.VIRTIO_BLK_ID_BYTES)) return ioError()
  if (type === FLUSH && limits.readOnly) return answer(spec.VIRTIO_BLK_S_OK, 'flushesCompleted')
  return { kind: 'run', type, sector, data, bytes }
}

/** Runs a plan to its end. With `writeThrough` a write is durable before it is answered (rule 12). */
export function execute(memory: ModelMemory, limits: ModelLimits, plan: Plan, writeThrough: boolean): Answer {
  const calls = new Calls(limits.disk, Number(plan.bytes), Number(plan.sector * SECTOR))
  switch (plan.type) {
    case IN:
      return executeIn(memory, calls, plan)
    case OUT: {
      const from = gather(memory, plan.data)
      if (from === undefined || !calls.writeAll(from) || (writeThrough && !calls.flush())) return ioError()
      return done(1n, { writesCompleted: 1n, bytesWritten: plan.bytes })
    }
    case FLUSH:
      return calls.flush() ? done(1n, { flushesCompleted: 1n }) : ioError()
    default: {
      const id = new Uint8Array(spec.VIRTIO_BLK_ID_BYTES)
      id.set(new TextEncoder().encode(limits.serial))
      scatter(memory, slice(plan.data, 0n, BigInt(id.length)), id)
      return done(plan.bytes === 20n ? 21n : 20n, { idsCompleted: 1n })
    }
  }
}

function executeIn(memory: ModelMemory, calls: Calls, plan: Plan): Answer {
  const buffer = new Uint8Array(Number(plan.bytes))
  const moved = calls.readAll(buffer)
  // What a back end delivered before it failed is in the guest's buffer already; nothing is claimed of it.
  const good = moved.failed ? BigInt(moved.bytes) : plan.bytes
  scatter(memory, slice(plan.data, 0n, good), buffer.subarray(0, Number(good)))
  if (moved.failed) return ioError()
  const short = BigInt(moved.bytes) < plan.bytes ? 1n : 0n
  return done(plan.bytes + 1n, { readsCompleted: 1n, bytesRead: BigInt(moved.bytes), shortReads: short })
}

function done(usedLen: bigint, counts: Record<string, bigint>): Answer {
  return { kind: 'answer', status: spec.VIRTIO_BLK_S_OK, usedLen, counts }
}

/** The back-end calls of one request (rules 11 and 15). EINTR is tried again, 16 times in a transfer or a flush. */
class Calls {
  readonly #disk: ModelDisk
  readonly #bytes: number
  readonly #offset: number
  #retries = 0

  constructor(disk: ModelDisk, bytes: number, offset: number) {
    this.#disk = disk
    this.#bytes = bytes
    this.#offset = offset
  }

  /** The answer of one call that moves at most `asked` bytes; undefined is a failure. */
  #call(asked: number, make: () => number): number | undefined {
    for (;;) {
      try {
        const moved = make()
        return Number.isInteger(moved) && moved >= 0 && moved <= asked ? moved : undefined
      } catch (error) {
        if ((error as { code?: unknown } | null | undefined)?.code !== 'EINTR' || this.#retries === EINTR_RETRIES)
          return undefined
        this.#retries += 1
      }
    }
  }

  readAll(into: Uint8Array): { bytes: number; failed: boolean } {
    let bytes = 0
    while (bytes < this.#bytes) {
      const moved = this.#call(this.#bytes - bytes, () => this.#disk.read(this.#offset + bytes, [into.subarray(bytes)]))
      if (moved === undefined) return { bytes, failed: true }
      if (moved === 0) break
      bytes += moved
    }
    return { bytes, failed: false }
  }

  writeAll(from: Uint8Array): boolean {
    let bytes = 0
    while (bytes < this.#bytes) {
      const moved = this.#call(this.#bytes - bytes, () =>
        this.#disk.write(this.#offset + bytes, [from.subarray(bytes)]),
      )
      if (moved === undefined || moved === 0) return false
      bytes += moved
    }
    return true
  }

  flush(): boolean {
    this.#retries = 0
    const flushed = this.#call(0, () => {
      this.#disk.flush()
      return 0
    })
    return flushed === 0
  }
}
