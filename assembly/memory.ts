// Guest RAM: translation, and every load and store of guest memory that the engine makes. Nothing else in
// assembly/ touches guest memory (test/tidy.test.ts holds us to that).
//
// Ring indices, flags and events are atomic in every flavour: Wasm atomics are sequentially consistent, so the store
// of used.idx is ordered before the load of used_event, and the store of avail_event before the re-load of avail.idx,
// without a fence (2.7.13.3, 2.7.13.4). vCPUs are outside the Wasm memory model: what counts for them is the machine
// code, and V8 emits locked instructions or plain x86 loads for these, on unshared memory too. Plain loads are not
// volatile, but a value read once into a const stays read once, and that is all rule 9 needs.

import { REGION_BYTES, STATE_REGION_TABLE } from './abi.ts'
import { Region, State } from './layout.ts'
import { VIRTIO_BLK_REQ_SECTOR, VIRTQ_DESC_LEN } from './spec.ts'

export function regionAt(state: State, index: u32): Region {
  return changetype<Region>(changetype<u32>(state) + STATE_REGION_TABLE + index * REGION_BYTES)
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
  return atomic.load<u16>(ptr)
}

export function loadAvailIdx(ptr: u32): u32 {
  return atomic.load<u16>(ptr)
}

/** One element of the available ring. Ordered after the atomic load of avail.idx that made it valid. */
export function loadHead(ptr: u32): u32 {
  return load<u16>(ptr)
}

export function loadUsedEvent(ptr: u32): u32 {
  return atomic.load<u16>(ptr)
}

export function storeAvailEvent(ptr: u32, idx: u32): void {
  atomic.store<u16>(ptr, idx as u16)
}

export function storeUsedFlags(ptr: u32, flags: u32): void {
  atomic.store<u16>(ptr, flags as u16)
}

export function storeUsedIdx(ptr: u32, idx: u32): void {
  atomic.store<u16>(ptr, idx as u16)
}

/** id and len in one plain store; the atomic store of used.idx comes after it. */
export function storeUsedElement(ptr: u32, head: u32, len: u32): void {
  store<u64>(ptr, (head as u64) | ((len as u64) << 32))
}

/** id or len alone, where the element lies astride two regions. */
export function storeUsedHalf(ptr: u32, value: u32): void {
  store<u32>(ptr, value)
}

export function loadDescAddr(ptr: u32): u64 {
  return load<u64>(ptr)
}

/** len, flags and next: the second half of a descriptor, in one load. */
export function loadDescRest(ptr: u32): u64 {
  return load<u64>(ptr, VIRTQ_DESC_LEN)
}

// Requests -------------------------------------------------------------------------------------------------

export function loadType(header: u32): u32 {
  return load<u32>(header)
}

export function loadSector(header: u32): u64 {
  return load<u64>(header, VIRTIO_BLK_REQ_SECTOR)
}

export function loadByte(ptr: u32): u64 {
  return load<u8>(ptr)
}

export function storeByte(ptr: u32, value: u32): void {
  store<u8>(ptr, value as u8)
}

export function zero(ptr: u32, bytes: u32): void {
  memory.fill(ptr, 0, bytes)
}

/** Copies engine bytes into guest RAM. */
export function copyOut(ptr: u32, from: u32, bytes: u32): void {
  memory.copy(ptr, from, bytes)
}
