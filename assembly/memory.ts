// Guest RAM: translation, and every load and store of guest memory that the engine makes. Nothing else in
// assembly/ touches guest memory (test/tidy.test.ts holds us to that).
//
// Ring indices, flags and events are atomic in every flavour: Wasm atomics are sequentially consistent, so the store
// of used.idx is ordered before the load of used_event, and the store of avail_event before the re-load of avail.idx,
// without a fence (2.7.13.3, 2.7.13.4). vCPUs are outside the Wasm memory model: what counts for them is the machine
// code, and V8 emits locked instructions or plain x86 loads for these, on unshared memory too. Plain loads are not
// volatile, but a value read once into a const stays read once, and that is all rule 9 needs.

import * as abi from './abi.ts'
import { Region, State } from './layout.ts'
import { VIRTIO_BLK_REQ_SECTOR, VIRTQ_DESC_LEN } from './spec.ts'
import { traced, traced64 } from './trace.ts'

export function regionAt(state: State, index: u32): Region {
  return changetype<Region>(changetype<u32>(state) + abi.STATE_REGION_TABLE + index * abi.REGION_BYTES)
}

/** Linear offset of `bytes` bytes of guest RAM at `gpa`, or 0 unless all of them lie in one region. */
export function translate(state: State, gpa: u64, bytes: u64): u32 {
  const regions = state.regions
  for (let i: u32 = 0; i < regions; i++) {
    const region = regionAt(state, i)
    // gpa below the region wraps to a huge offset, so one unsigned comparison checks both ends.
    const offset = gpa - region.gpa
    if (offset < region.size && bytes <= region.size - offset) return region.ptr + (offset as u32)
  }
  return 0
}

/** How many bytes of guest RAM one region holds from `gpa` on: 0 if `gpa` is not guest RAM. */
export function bytesFrom(state: State, gpa: u64): u64 {
  const regions = state.regions
  for (let i: u32 = 0; i < regions; i++) {
    const region = regionAt(state, i)
    const offset = gpa - region.gpa
    if (offset < region.size) return region.size - offset
  }
  return 0
}

/** True if every byte is guest RAM; the range may cross regions that touch. */
export function isRam(state: State, gpa: u64, bytes: u64): bool {
  while (bytes !== 0) {
    const here = bytesFrom(state, gpa)
    if (here === 0) return false
    if (here >= bytes) return true
    bytes -= here
    gpa += here
  }
  return true
}

// Rings ----------------------------------------------------------------------------------------------------

export function loadAvailFlags(ptr: u32): u32 {
  const value: u32 = atomic.load<u16>(ptr)
  traced(abi.TRACE_AVAIL_FLAGS, ptr, value, 0)
  return value
}

export function loadAvailIdx(ptr: u32): u32 {
  const value: u32 = atomic.load<u16>(ptr)
  traced(abi.TRACE_AVAIL_IDX, ptr, value, 0)
  return value
}

/** One element of the available ring. Ordered after the atomic load of avail.idx that made it valid. */
export function loadHead(ptr: u32): u32 {
  const value: u32 = load<u16>(ptr)
  traced(abi.TRACE_HEAD, ptr, value, 0)
  return value
}

export function loadUsedEvent(ptr: u32): u32 {
  const value: u32 = atomic.load<u16>(ptr)
  traced(abi.TRACE_USED_EVENT, ptr, value, 0)
  return value
}

export function storeAvailEvent(ptr: u32, idx: u32): void {
  atomic.store<u16>(ptr, idx as u16)
  traced(abi.TRACE_AVAIL_EVENT, ptr, idx & 0xffff, 0)
}

export function storeUsedFlags(ptr: u32, flags: u32): void {
  atomic.store<u16>(ptr, flags as u16)
  traced(abi.TRACE_USED_FLAGS, ptr, flags & 0xffff, 0)
}

export function storeUsedIdx(ptr: u32, idx: u32): void {
  atomic.store<u16>(ptr, idx as u16)
  traced(abi.TRACE_USED_IDX, ptr, idx & 0xffff, 0)
}

/** id and len in one plain store; the atomic store of used.idx comes after it. */
export function storeUsedElement(ptr: u32, head: u32, len: u32): void {
  store<u64>(ptr, (head as u64) | ((len as u64) << 32))
  traced(abi.TRACE_USED_ELEMENT, ptr, head, len)
}

/** id or len alone, where the element lies astride two regions. */
export function storeUsedHalf(ptr: u32, value: u32): void {
  store<u32>(ptr, value)
  traced(abi.TRACE_USED_HALF, ptr, value, 0)
}

export function loadDescAddr(ptr: u32): u64 {
  const value: u64 = load<u64>(ptr)
  traced64(abi.TRACE_DESC_ADDR, ptr, value)
  return value
}

/** len, flags and next: the second half of a descriptor, in one load. */
export function loadDescRest(ptr: u32): u64 {
  const value: u64 = load<u64>(ptr, VIRTQ_DESC_LEN)
  traced64(abi.TRACE_DESC_REST, ptr + VIRTQ_DESC_LEN, value)
  return value
}

// Requests -------------------------------------------------------------------------------------------------

export function loadType(header: u32): u32 {
  const value: u32 = load<u32>(header)
  traced(abi.TRACE_TYPE, header, value, 0)
  return value
}

export function loadSector(header: u32): u64 {
  const value: u64 = load<u64>(header, VIRTIO_BLK_REQ_SECTOR)
  traced64(abi.TRACE_SECTOR, header + VIRTIO_BLK_REQ_SECTOR, value)
  return value
}

export function loadByte(ptr: u32): u64 {
  const value: u64 = load<u8>(ptr)
  traced64(abi.TRACE_HEADER_BYTE, ptr, value)
  return value
}

export function storeByte(ptr: u32, value: u32): void {
  store<u8>(ptr, value as u8)
  traced(abi.TRACE_STATUS, ptr, value & 0xff, 0)
}

export function zero(ptr: u32, bytes: u32): void {
  memory.fill(ptr, 0, bytes)
  traced(abi.TRACE_ZERO, ptr, bytes, 0)
}

/** Copies engine bytes into guest RAM. */
export function copyOut(ptr: u32, from: u32, bytes: u32): void {
  memory.copy(ptr, from, bytes)
  traced(abi.TRACE_SERIAL, ptr, bytes, from)
}
