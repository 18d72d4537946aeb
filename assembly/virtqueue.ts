// The split virtqueue, device side (2.7): where its three rings are, what is available, what was used, and the two
// notification decisions. A queue's rings are checked when it becomes ready and frozen from then on (device rule 3),
// so no access below can leave guest RAM. Descriptors are chain.ts's business.
//
// Order that matters: used elements before used.idx; used.idx before used_event or avail.flags is read; avail_event
// (or used.flags) before avail.idx is read again. All of these are atomic accesses of memory.ts.

import { COUNTER_INTERRUPTS, COUNTER_SUPPRESSED_INTERRUPTS, PUBLISH_INTERRUPT, PUBLISH_MORE } from './abi.ts'
import { countNow } from './counters.ts'
import { counter, counterAdd, interruptStatusSet, isLive, Queue, State, U64 } from './layout.ts'
import {
  isRam,
  loadAvailFlags,
  loadAvailIdx,
  loadHead,
  loadUsedEvent,
  storeAvailEvent,
  storeUsedElement,
  storeUsedFlags,
  storeUsedHalf,
  storeUsedIdx,
  translate,
} from './memory.ts'
import {
  VIRTIO_MMIO_INT_VRING,
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_AVAIL_ELEM_BYTES,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_ALIGN,
  VIRTQ_DESC_BYTES,
  VIRTQ_USED_ALIGN,
  VIRTQ_USED_ELEM_BYTES,
  VIRTQ_USED_ELEM_ID,
  VIRTQ_USED_ELEM_LEN,
  VIRTQ_USED_F_NO_NOTIFY,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
} from './spec.ts'

/** "Never stored yet", for the copies of what the device last stored; no 16-bit value equals it. */
export const NEVER_STORED: u32 = 0x10000
/**
 * A head between pop and push. Heads that were pushed hold the epoch of their push, and become free with the publish.
 */
const IN_FLIGHT = u64.MAX_VALUE

// Rings ----------------------------------------------------------------------------------------------------

/** Rule 3. True if the queue may become ready; then the ring pointers are set. */
export function resolveRings(state: State, queue: Queue): bool {
  const size = queue.size
  if (size === 0 || size > state.queueSizeMax || (size & (size - 1)) !== 0) return false
  const desc = queue.descGpa
  const avail = queue.availGpa
  const used = queue.usedGpa
  if ((desc & (VIRTQ_DESC_ALIGN - 1)) !== 0) return false
  if ((avail & (VIRTQ_AVAIL_ALIGN - 1)) !== 0) return false
  if ((used & (VIRTQ_USED_ALIGN - 1)) !== 0) return false
  // Both event slots count, negotiated or not (2.7.2).
  const descBytes = (VIRTQ_DESC_BYTES * size) as u64
  const availBytes = (VIRTQ_AVAIL_RING + VIRTQ_AVAIL_ELEM_BYTES * size + 2) as u64
  const usedBytes = (VIRTQ_USED_RING + VIRTQ_USED_ELEM_BYTES * size + 2) as u64
  if (!isRam(state, desc, descBytes) || !isRam(state, avail, availBytes) || !isRam(state, used, usedBytes)) return false
  queue.descPtr = translate(state, desc, descBytes)
  queue.availPtr = translate(state, avail, availBytes)
  queue.usedPtr = translate(state, used, usedBytes)
  return true
}

// A ring in one region has a pointer; one that crosses touching regions (pointer 0) is translated field by field: a
// used element, and flags and idx of the available ring, may lie astride the border.

export function descAt(state: State, queue: Queue, index: u32): u32 {
  const offset = index * VIRTQ_DESC_BYTES
  const base = queue.descPtr
  return base !== 0 ? base + offset : translate(state, queue.descGpa + (offset as u64), VIRTQ_DESC_BYTES)
}

function availAt(state: State, queue: Queue, offset: u32): u32 {
  const base = queue.availPtr
  return base !== 0 ? base + offset : translate(state, queue.availGpa + (offset as u64), VIRTQ_AVAIL_ELEM_BYTES)
}

function usedAt(state: State, queue: Queue, offset: u32): u32 {
  const base = queue.usedPtr
  return base !== 0 ? base + offset : translate(state, queue.usedGpa + (offset as u64), 2)
}

// Available ring ---------------------------------------------------------------------------------------------

/** Chains offered and not yet popped: 0..size from an honest driver. Reads avail.idx once. */
export function available(state: State, queue: Queue): u32 {
  return (loadAvailIdx(availAt(state, queue, VIRTQ_AVAIL_IDX)) - queue.nextAvail) & 0xffff
}

/** The head at the cursor, wherever the driver claims its chain starts; the cursor stays. */
export function peekHead(state: State, queue: Queue): u32 {
  const slot = queue.nextAvail & (queue.size - 1)
  return loadHead(availAt(state, queue, VIRTQ_AVAIL_RING + slot * VIRTQ_AVAIL_ELEM_BYTES))
}

export function advance(queue: Queue): void {
  queue.nextAvail = (queue.nextAvail + 1) & 0xffff
}

function headCell(queue: Queue, head: u32): U64 {
  return changetype<U64>(queue.heads + (head << 3))
}

/** True from pop until the used element is published: until then the head is ours. */
export function isHeadOurs(queue: Queue, head: u32): bool {
  const epoch = headCell(queue, head).value
  return epoch === IN_FLIGHT || epoch === queue.epoch
}

export function takeHead(queue: Queue, head: u32): void {
  headCell(queue, head).value = IN_FLIGHT
}

export function forgetHeads(queue: Queue, size: u32): void {
  for (let head: u32 = 0; head < size; head++) headCell(queue, head).value = 0
}

// Used ring ------------------------------------------------------------------------------------------------

/** Writes the used element; the driver sees it after the next publish(). */
export function push(state: State, queue: Queue, head: u32, len: u32): void {
  const slot = queue.nextUsed & (queue.size - 1)
  const offset = VIRTQ_USED_RING + slot * VIRTQ_USED_ELEM_BYTES
  if (queue.usedPtr !== 0) {
    storeUsedElement(queue.usedPtr + offset, head, len)
  } else {
    storeUsedHalf(usedAt(state, queue, offset + VIRTQ_USED_ELEM_ID), head)
    storeUsedHalf(usedAt(state, queue, offset + VIRTQ_USED_ELEM_LEN), len)
  }
  queue.nextUsed = (queue.nextUsed + 1) & 0xffff
  headCell(queue, head).value = queue.epoch
}

/** Asks the driver not to kick while we work. With EVENT_IDX nothing is needed: avail_event lies behind. */
export function disableKicks(state: State, queue: Queue): void {
  if (state.eventIdx !== 0 || queue.usedFlags === VIRTQ_USED_F_NO_NOTIFY) return
  queue.usedFlags = VIRTQ_USED_F_NO_NOTIFY
  storeUsedFlags(usedAt(state, queue, VIRTQ_USED_FLAGS), VIRTQ_USED_F_NO_NOTIFY)
}

/** Asks for a kick with the next chain, then looks once more. True if there is one already (2.7.10). */
function enableKicks(state: State, queue: Queue): bool {
  if (queue.usedFlags !== 0) {
    queue.usedFlags = 0
    storeUsedFlags(usedAt(state, queue, VIRTQ_USED_FLAGS), 0)
  }
  const cursor = queue.nextAvail
  if (state.eventIdx !== 0 && queue.availEvent !== cursor) {
    queue.availEvent = cursor
    const offset = VIRTQ_USED_RING + queue.size * VIRTQ_USED_ELEM_BYTES
    storeAvailEvent(usedAt(state, queue, offset), cursor)
  }
  return available(state, queue) !== 0
}

/** The one interrupt decision of a batch (2.7.7.2, 2.7.10): elements old..new-1 were just published. */
function wantsInterrupt(state: State, queue: Queue, old: u32): bool {
  if (state.eventIdx === 0) {
    return (loadAvailFlags(availAt(state, queue, VIRTQ_AVAIL_FLAGS)) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
  }
  const offset = VIRTQ_AVAIL_RING + queue.size * VIRTQ_AVAIL_ELEM_BYTES
  const idx = queue.usedIdx
  const event = loadUsedEvent(availAt(state, queue, offset))
  return ((idx - event - 1) & 0xffff) < ((idx - old) & 0xffff)
}

/** Shows the driver what was pushed and re-enables kicks. Returns PUBLISH_* bits. */
export function publishUsed(state: State, queue: Queue): u32 {
  let result: u32 = 0
  const old = queue.usedIdx
  if (queue.nextUsed !== old) {
    queue.usedIdx = queue.nextUsed
    queue.epoch++
    storeUsedIdx(usedAt(state, queue, VIRTQ_USED_IDX), queue.usedIdx)
    interruptStatusSet(state, VIRTIO_MMIO_INT_VRING)
    if (wantsInterrupt(state, queue, old)) {
      counterAdd(state, COUNTER_INTERRUPTS, 1)
      result = PUBLISH_INTERRUPT
    } else {
      counter(state, COUNTER_SUPPRESSED_INTERRUPTS).value++
    }
    countNow(state, queue)
  }
  if (isLive(state) && enableKicks(state, queue)) result |= PUBLISH_MORE
  return result
}
