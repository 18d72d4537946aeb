// A block request (5.2.6): the verdict on a walked chain, its execution as far as no IO is needed, and its end.
// classify() is pure and total: the one place where type, sizes, direction, access and range are judged, in the
// contract's order (device rules 8 to 10). finish() is the one place that writes a status byte and a used element.

import {
  COMPLETE_BAD_SLOT,
  COMPLETE_DONE,
  COMPLETE_FLUSH,
  COMPLETE_STALE,
  COUNTER_BYTES_READ,
  COUNTER_BYTES_WRITTEN,
  COUNTER_FLUSHES_COMPLETED,
  COUNTER_IDS_COMPLETED,
  COUNTER_IO_ERRORS,
  COUNTER_READS_COMPLETED,
  COUNTER_SHORT_READS,
  COUNTER_UNSUPPORTED,
  COUNTER_WRITES_COMPLETED,
  REQ_OP_NONE,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_OP_WRITE_THROUGH,
  REQ_SEGMENT_LIST,
  REQUEST_FAULT_ALIGNMENT,
  REQUEST_FAULT_DATA_UNMAPPED,
  REQUEST_FAULT_DIRECTION,
  REQUEST_FAULT_FLUSH_DATA,
  REQUEST_FAULT_ID_SHORT,
  REQUEST_FAULT_NO_DATA,
  REQUEST_FAULT_RANGE,
  REQUEST_FAULT_READ_ONLY,
  REQUEST_FAULT_TOTAL,
  SEGMENT_BYTES,
  SLOT_QUEUE_SHIFT,
  STATE_SERIAL,
  VERDICT_FLUSH,
  VERDICT_FLUSH_NOTHING,
  VERDICT_GET_ID,
  VERDICT_READ,
  VERDICT_UNSUPPORTED,
  VERDICT_WRITE,
} from './abi.ts'
import { countLater } from './counters.ts'
import { Queue, queueAt, Request, Segment, State } from './layout.ts'
import { copyOut, storeByte, zero } from './memory.ts'
import {
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_SECTOR_BITS,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from './spec.ts'
import { push } from './virtqueue.ts'

/** What to do with the request: VERDICT_* or the first REQUEST_FAULT_* in the contract's order. */
export function classify(state: State, request: Request): i32 {
  const fault = request.fault
  if (fault !== 0 && fault >= REQUEST_FAULT_TOTAL) return fault
  const type = request.type
  const dataIn = request.dataIn
  const dataOut = request.dataOut
  const bytes = dataIn + dataOut
  const flushes = ((state.deviceFeatures >> VIRTIO_BLK_F_FLUSH) & 1) !== 0
  if (type === VIRTIO_BLK_T_FLUSH && flushes) {
    if (bytes !== 0) return REQUEST_FAULT_FLUSH_DATA
    return state.readOnly !== 0 ? VERDICT_FLUSH_NOTHING : VERDICT_FLUSH
  }
  const isRead = type === VIRTIO_BLK_T_IN
  const isWrite = type === VIRTIO_BLK_T_OUT
  if (!isRead && !isWrite && type !== VIRTIO_BLK_T_GET_ID) return VERDICT_UNSUPPORTED
  if (bytes === 0) return REQUEST_FAULT_NO_DATA
  if (isRead || isWrite) {
    const block = state.blockSize
    const sectorMask = ((block >> VIRTIO_BLK_SECTOR_BITS) - 1) as u64
    if ((bytes & (block - 1)) !== 0 || (request.sector & sectorMask) !== 0) return REQUEST_FAULT_ALIGNMENT
  }
  if ((isWrite ? dataIn : dataOut) !== 0) return REQUEST_FAULT_DIRECTION
  if (fault !== 0) return REQUEST_FAULT_DATA_UNMAPPED
  if (type === VIRTIO_BLK_T_GET_ID)
    return bytes < (VIRTIO_BLK_ID_BYTES as u32) ? REQUEST_FAULT_ID_SHORT : VERDICT_GET_ID
  if (isWrite && state.readOnly !== 0) return REQUEST_FAULT_READ_ONLY
  const sector = request.sector
  const capacity = state.capacitySectors
  // Compared in sectors: nothing is shifted or added that could lose bits.
  if (sector > capacity || ((bytes >> VIRTIO_BLK_SECTOR_BITS) as u64) > capacity - sector) return REQUEST_FAULT_RANGE
  return isWrite ? VERDICT_WRITE : VERDICT_READ
}

/** Status byte, then used element; nothing is counted before the publish. */
function finish(state: State, queue: Queue, request: Request, status: u32, len: u32, countAs: u32): void {
  storeByte(request.statusPtr, status)
  push(state, queue, request.head, len)
  countLater(queue, countAs, 1)
}

/** Used length of a request whose status byte alone was written: it is the first writable byte, or it is not. */
function statusLen(request: Request): u32 {
  return request.dataIn === 0 ? 1 : 0
}

function fail(state: State, queue: Queue, request: Request): void {
  finish(state, queue, request, VIRTIO_BLK_S_IOERR, statusLen(request), COUNTER_IO_ERRORS)
}

/** Ends a request that needs no IO: the faults, the terminal answers, and GET_ID. */
export function answer(state: State, queue: Queue, request: Request, verdict: i32): void {
  if (verdict === VERDICT_UNSUPPORTED) {
    finish(state, queue, request, VIRTIO_BLK_S_UNSUPP, statusLen(request), COUNTER_UNSUPPORTED)
  } else if (verdict === VERDICT_FLUSH_NOTHING) {
    finish(state, queue, request, VIRTIO_BLK_S_OK, 1, COUNTER_FLUSHES_COMPLETED)
  } else if (verdict === VERDICT_GET_ID) {
    writeSerial(state, request)
    // A longer buffer is filled only up to the serial, so the count stops before the status byte (rule 13).
    const len = request.dataIn === VIRTIO_BLK_ID_BYTES ? VIRTIO_BLK_ID_BYTES + 1 : VIRTIO_BLK_ID_BYTES
    finish(state, queue, request, VIRTIO_BLK_S_OK, len, COUNTER_IDS_COMPLETED)
  } else {
    fail(state, queue, request)
  }
}

function segmentAt(request: Request, index: u32): Segment {
  return changetype<Segment>(changetype<u32>(request) + REQ_SEGMENT_LIST + index * SEGMENT_BYTES)
}

function writeSerial(state: State, request: Request): void {
  let done: u32 = 0
  for (let i: u32 = 0; done < (VIRTIO_BLK_ID_BYTES as u32); i++) {
    const segment = segmentAt(request, i)
    const bytes = min<u32>(segment.len, VIRTIO_BLK_ID_BYTES - done)
    copyOut(segment.ptr, changetype<u32>(state) + STATE_SERIAL + done, bytes)
    done += bytes
  }
}

/** Zeroes the data bytes from `from` on: what lay past the end of the backing reads as zeros (rule 11). */
function zeroFill(request: Request, from: u32): void {
  let start: u32 = 0
  for (let i: u32 = 0; i < request.segments; i++) {
    const segment = segmentAt(request, i)
    const end = start + segment.len
    if (end > from) {
      const skip = from > start ? from - start : 0
      zero(segment.ptr + skip, segment.len - skip)
    }
    start = end
  }
}

// Slots ----------------------------------------------------------------------------------------------------

export function requestAt(state: State, queue: Queue, index: u32): Request {
  return changetype<Request>(queue.records + index * state.slotBytes)
}

/** A free slot, or -1. Slots are reused last in, first out, and never touched before they are needed. */
export function takeSlot(state: State, queue: Queue): i32 {
  const free = queue.freeSlot
  let index = free - 1
  if (free !== 0) {
    queue.freeSlot = requestAt(state, queue, index).nextFree
  } else {
    index = queue.slots
    if (index === state.queueSizeMax) return -1
    queue.slots = index + 1
  }
  return index as i32
}

export function freeSlot(state: State, queue: Queue, slot: u32): void {
  const request = requestAt(state, queue, slot)
  request.op = REQ_OP_NONE
  request.nextFree = queue.freeSlot
  queue.freeSlot = slot + 1
}

/** Marks the request as handed to the host. */
export function submit(queue: Queue, request: Request, op: u32): void {
  request.op = op
  request.generation = queue.generation
  // Of a read only dataIn is not zero, of a write only dataOut, of a flush neither.
  request.dataBytes = request.dataIn + request.dataOut
}

export function completeRequest(state: State, slot: u32, result: f64): i32 {
  const index = slot & ((1 << SLOT_QUEUE_SHIFT) - 1)
  const queueIndex = slot >> SLOT_QUEUE_SHIFT
  if (queueIndex >= state.queues) return COMPLETE_BAD_SLOT
  const queue = queueAt(state, queueIndex)
  if (index >= queue.slots) return COMPLETE_BAD_SLOT
  const request = requestAt(state, queue, index)
  const op = request.op
  // After a trap the records cannot be trusted until the reset.
  if (op === REQ_OP_NONE || state.damaged !== 0) return COMPLETE_BAD_SLOT
  let outcome = COMPLETE_STALE
  if (request.generation === queue.generation) {
    outcome = COMPLETE_DONE
    if (op === REQ_OP_READ) {
      finishRead(state, queue, request, result)
    } else if (op === REQ_OP_WRITE) {
      // NaN fails every comparison, here and below.
      if (result !== (request.dataBytes as f64)) {
        fail(state, queue, request)
      } else if (state.writeThrough !== 0) {
        request.op = REQ_OP_WRITE_THROUGH
        return COMPLETE_FLUSH
      } else {
        finishWrite(state, queue, request)
      }
    } else if (result !== 0) {
      fail(state, queue, request)
    } else if (op === REQ_OP_WRITE_THROUGH) {
      finishWrite(state, queue, request)
    } else {
      finish(state, queue, request, VIRTIO_BLK_S_OK, 1, COUNTER_FLUSHES_COMPLETED)
    }
  }
  freeSlot(state, queue, index)
  return outcome
}

function finishRead(state: State, queue: Queue, request: Request, result: f64): void {
  const bytes = request.dataBytes
  if (!(result >= 0 && result <= (bytes as f64))) {
    fail(state, queue, request)
    return
  }
  const got = result as u32
  if (got < bytes) {
    zeroFill(request, got)
    countLater(queue, COUNTER_SHORT_READS, 1)
  }
  countLater(queue, COUNTER_BYTES_READ, got)
  finish(state, queue, request, VIRTIO_BLK_S_OK, bytes + 1, COUNTER_READS_COMPLETED)
}

function finishWrite(state: State, queue: Queue, request: Request): void {
  countLater(queue, COUNTER_BYTES_WRITTEN, request.dataBytes)
  finish(state, queue, request, VIRTIO_BLK_S_OK, 1, COUNTER_WRITES_COMPLETED)
}
