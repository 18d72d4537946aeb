// A descriptor chain as two byte streams (device rules 8 to 10): the readable descriptors, concatenated, and the
// writable ones. Header = the first 16 readable bytes, status = the last writable byte, whatever the descriptor
// borders. Every descriptor field and every header byte is read once, into the request record and its segment list,
// which lie outside guest RAM; the verdict on the request (request.ts) looks only there.
//
// A ring fault ends the walk and poisons the queue. A request fault is remembered and the walk goes on, because only
// its end shows where the status byte is. Guest numbers are 64-bit and compared before they are added.

import {
  REQ_SEGMENT_LIST,
  REQUEST_FAULT_DATA_UNMAPPED,
  REQUEST_FAULT_HEADER_SHORT,
  REQUEST_FAULT_HEADER_UNMAPPED,
  REQUEST_FAULT_ORDER,
  REQUEST_FAULT_SEG_MAX,
  REQUEST_FAULT_SIZE_MAX,
  REQUEST_FAULT_TOTAL,
  RING_FAULT_INDIRECT,
  RING_FAULT_LOOP,
  RING_FAULT_NEXT,
  RING_FAULT_NO_STATUS,
  RING_FAULT_STATUS_UNMAPPED,
  SEGMENT_BYTES,
} from './abi.ts'
import { Queue, Request, Segment, State } from './layout.ts'
import { bytesFrom, loadByte, loadDescAddr, loadDescRest, loadSector, loadType, regionAt, translate } from './memory.ts'
import {
  VIRTIO_BLK_REQ_HEADER_BYTES,
  VIRTIO_BLK_REQ_SECTOR,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './spec.ts'
import { descAt } from './virtqueue.ts'

/** Of two request faults, the one that comes first in the contract's order; their codes fall in that order. */
function earlier(fault: i32, other: i32): i32 {
  return fault === 0 || other > fault ? other : fault
}

/** Appends at `end` a buffer that crosses regions, a segment for each. The new end, or 0 at a hole. */
function addPieces(state: State, end: u32, gpa: u64, bytes: u32): u32 {
  while (bytes !== 0) {
    const here = min<u64>(bytesFrom(state, gpa), bytes) as u32
    if (here === 0) return 0
    const segment = changetype<Segment>(end)
    segment.ptr = translate(state, gpa, here)
    segment.len = here
    end += SEGMENT_BYTES
    gpa += here
    bytes -= here
  }
  return end
}

/** The rare header, cut by descriptors or by a region border: bytes `done` on, as far as `len` goes. */
function gatherHeader(state: State, request: Request, gpa: u64, len: u32, done: u32): i32 {
  if (done === 0) {
    request.type = 0
    request.sector = 0
  }
  const taken = min<u32>(VIRTIO_BLK_REQ_HEADER_BYTES - done, len)
  for (let i: u32 = 0; i < taken; i++) {
    const ptr = translate(state, gpa + i, 1)
    if (ptr === 0) return REQUEST_FAULT_HEADER_UNMAPPED
    const at = done + i
    const byte = loadByte(ptr)
    if (at < 4) request.type |= (byte << (at << 3)) as u32
    else if (at >= (VIRTIO_BLK_REQ_SECTOR as u32)) request.sector |= byte << ((at - VIRTIO_BLK_REQ_SECTOR) << 3)
  }
  return 0
}

/**
 * Reads the chain that starts at `head` into `request`: type, sector, segments, dataIn, dataOut, statusPtr, walked and
 * the first request fault. Returns 0 or a RING_FAULT_* code. Long on purpose: the engine's hot loop keeps its state in
 * locals, and a call in it costs a quarter of its speed.
 */
export function walk(state: State, queue: Queue, request: Request, head: u32): i32 {
  const size = queue.size
  const table = queue.descPtr
  const sizeMax = state.sizeMax
  const segMax = state.segMax
  const list = changetype<u32>(request) + REQ_SEGMENT_LIST
  // Most guests have all buffers in their first region: asked here, without a loop.
  const region = regionAt(state, 0)
  const regionGpa = region.gpa
  const regionSize = region.size
  const regionPtr = region.ptr
  let fault: i32 = 0
  let end = list
  let header: u32 = 0 // header bytes seen
  let buffers: u32 = 0 // descriptors with data, the status byte taken for data as long as more may follow
  let overlong: u32 = 0 // writable ones one byte above sizeMax, which is right for data and status in one
  let dataOut: u64 = 0
  let dataIn: u64 = 0
  let lastGpa: u64 = 0 // the last writable descriptor
  let lastLen: u32 = 0
  let left = size - 1 // descriptors until the chain is longer than the queue
  let desc = table !== 0 ? table + head * VIRTQ_DESC_BYTES : descAt(state, queue, head)
  let gpa = loadDescAddr(desc)
  let rest = loadDescRest(desc)
  let len = rest as u32

  // The header: as a rule one descriptor and one turn.
  while (header < (VIRTIO_BLK_REQ_HEADER_BYTES as u32)) {
    const flags = (rest >> 32) as u32
    if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) return RING_FAULT_INDIRECT
    if (len !== 0) {
      if ((flags & VIRTQ_DESC_F_WRITE) !== 0) break
      const whole = header === 0 && len >= (VIRTIO_BLK_REQ_HEADER_BYTES as u32)
      const ptr = whole ? translate(state, gpa, VIRTIO_BLK_REQ_HEADER_BYTES) : 0
      const taken = min<u32>(VIRTIO_BLK_REQ_HEADER_BYTES - header, len)
      if (ptr !== 0) {
        request.type = loadType(ptr)
        request.sector = loadSector(ptr)
      } else {
        const missing = gatherHeader(state, request, gpa, len, header)
        if (missing !== 0) fault = earlier(fault, missing)
      }
      header += taken
      gpa += taken
      len -= taken
      if (len !== 0) break
    }
    if ((flags & VIRTQ_DESC_F_NEXT) === 0) return RING_FAULT_NO_STATUS
    const index = (rest >> 48) as u32
    if (index >= size) return RING_FAULT_NEXT
    if (left-- === 0) return RING_FAULT_LOOP
    desc = table !== 0 ? table + index * VIRTQ_DESC_BYTES : descAt(state, queue, index)
    gpa = loadDescAddr(desc)
    rest = loadDescRest(desc)
    len = rest as u32
  }

  // Data and status. `len` counts what of the descriptor is left: a header may have come before the data.
  for (;;) {
    const flags = (rest >> 32) as u32
    if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) return RING_FAULT_INDIRECT
    // Empty descriptors are skipped: they have neither direction nor place.
    if (len !== 0) {
      if ((flags & VIRTQ_DESC_F_WRITE) !== 0) {
        lastGpa = gpa
        lastLen = len
        dataIn += len
        if (len > sizeMax) {
          if (len - 1 > sizeMax) fault = earlier(fault, REQUEST_FAULT_SIZE_MAX)
          else overlong++
        }
      } else {
        if (lastLen !== 0) fault = earlier(fault, REQUEST_FAULT_ORDER)
        dataOut += len
        if (len > sizeMax) fault = earlier(fault, REQUEST_FAULT_SIZE_MAX)
      }
      if (++buffers > segMax + 1) fault = earlier(fault, REQUEST_FAULT_SEG_MAX)
      if (fault === 0) {
        const offset = gpa - regionGpa
        if (offset < regionSize && (len as u64) <= regionSize - offset) {
          const segment = changetype<Segment>(end)
          segment.ptr = regionPtr + (offset as u32)
          segment.len = len
          end += SEGMENT_BYTES
        } else {
          const pieces = addPieces(state, end, gpa, len)
          if (pieces === 0) fault = REQUEST_FAULT_DATA_UNMAPPED
          else end = pieces
        }
      }
    }
    if ((flags & VIRTQ_DESC_F_NEXT) === 0) break
    const index = (rest >> 48) as u32
    if (index >= size) return RING_FAULT_NEXT
    if (left-- === 0) return RING_FAULT_LOOP
    desc = table !== 0 ? table + index * VIRTQ_DESC_BYTES : descAt(state, queue, index)
    gpa = loadDescAddr(desc)
    rest = loadDescRest(desc)
    len = rest as u32
  }
  if (lastLen === 0) return RING_FAULT_NO_STATUS
  // The last writable byte was the status after all, not data.
  dataIn--
  if (lastLen === 1) buffers--
  if (lastLen - 1 === sizeMax) overlong--
  if (header < (VIRTIO_BLK_REQ_HEADER_BYTES as u32)) fault = earlier(fault, REQUEST_FAULT_HEADER_SHORT)
  if (overlong !== 0) fault = earlier(fault, REQUEST_FAULT_SIZE_MAX)
  if (buffers > segMax) fault = earlier(fault, REQUEST_FAULT_SEG_MAX)
  if (dataIn + dataOut > <u64>u32.MAX_VALUE) fault = earlier(fault, REQUEST_FAULT_TOTAL)
  request.fault = fault
  request.walked = size - left
  request.dataIn = min<u64>(dataIn, u32.MAX_VALUE) as u32
  request.dataOut = min<u64>(dataOut, u32.MAX_VALUE) as u32
  if (fault !== 0) {
    const gpa = lastGpa + (lastLen - 1)
    request.statusPtr = gpa >= lastGpa ? translate(state, gpa, 1) : 0
    return request.statusPtr === 0 ? RING_FAULT_STATUS_UNMAPPED : 0
  }
  // All data is mapped and nothing readable followed, so the last segment ends with the status byte.
  const last = changetype<Segment>(end - SEGMENT_BYTES)
  const before = last.len - 1
  last.len = before
  request.segments = (end - list) / SEGMENT_BYTES - (before === 0 ? 1 : 0)
  request.statusPtr = last.ptr + before
  return 0
}
