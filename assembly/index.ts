// The engine's exports (the state block and all codes: abi.ts). The state pointer comes first in every one; results
// are i32 outcomes or bits, and anything wider goes through records in the state block. The module is a pure function
// of (memory, calls): it keeps no global, imports nothing but the memory, and never learns the time or a file.
//
// The drain is plan -> IO by the host -> complete... -> publish, for synchronous and asynchronous back ends alike.

import * as abi from './abi.ts'
import { walk } from './chain.ts'
import { fillConfig } from './config.ts'
import {
  counter,
  counterAdd,
  failDevice,
  generationBump,
  interruptStatusSet,
  isLive,
  queueAt,
  State,
  statusOf,
  statusSet,
  U32,
} from './layout.ts'
import { regionAt } from './memory.ts'
import * as mmio from './mmio.ts'
import * as request from './request.ts'
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_MMIO_INT_CONFIG,
  VIRTQUEUE_MAX_SIZE,
} from './spec.ts'
import * as throttle from './throttle.ts'
import { traced } from './trace.ts'
import * as virtqueue from './virtqueue.ts'

/** Every array starts on a cache line. */
const ALIGN: u64 = 64

function roundUp(bytes: u64): u64 {
  return (bytes + ALIGN - 1) & ~(ALIGN - 1)
}

/**
 * A request record with room for every piece of segMax buffers and the status byte, each of which may cross all
 * regions. An odd number of cache lines, so that neighbouring slots do not fall on the same few cache sets.
 */
function slotBytes(segMax: u32, regions: u32): u64 {
  return roundUp(abi.REQ_SEGMENT_LIST + ((segMax as u64) + 1) * (regions as u64) * abi.SEGMENT_BYTES) | ALIGN
}

function arraysBytes(queueSizeMax: u32, segMax: u32, regions: u32): u64 {
  const size = queueSizeMax as u64
  return roundUp(size * 8) + roundUp(size * 4) + size * slotBytes(segMax, regions)
}

// Set-up ---------------------------------------------------------------------------------------------------

export function abiVersion(): i32 {
  return abi.ABI_VERSION
}

/** Size of a state block in bytes, 0 if it would not fit a linear memory. */
export function stateBytes(queues: u32, queueSizeMax: u32, segMax: u32, regions: u32): u32 {
  if (queues > (abi.QUEUES_MAX as u32) || queueSizeMax > (VIRTQUEUE_MAX_SIZE as u32)) return 0
  if (segMax > (VIRTQUEUE_MAX_SIZE as u32) || regions > (abi.REGIONS_MAX as u32)) return 0
  const table = roundUp((abi.STATE_QUEUE_TABLE + queues * abi.QUEUE_BYTES) as u64)
  const total = table + (queues as u64) * arraysBytes(queueSizeMax, segMax, regions)
  return total <= (u32.MAX_VALUE as u64) ? (total as u32) : 0
}

/** Takes over the configuration record of a zeroed state block. Returns 0 or INIT_BAD_*. */
export function init(statePtr: u32): i32 {
  const state = changetype<State>(statePtr)
  const bad = checkConfig(state)
  if (bad !== 0) return bad
  fillConfig(state)
  throttle.configure(state, 0)
  state.slotBytes = slotBytes(state.segMax, state.regions) as u32
  const size = state.queueSizeMax
  let at = roundUp((statePtr + abi.STATE_QUEUE_TABLE + state.queues * abi.QUEUE_BYTES) as u64) as u32
  for (let i: u32 = 0; i < state.queues; i++) {
    const queue = queueAt(state, i)
    queue.heads = at
    queue.planned = queue.heads + (roundUp((size as u64) * 8) as u32)
    queue.records = queue.planned + (roundUp((size as u64) * 4) as u32)
    at = queue.records + size * state.slotBytes
    mmio.resetQueue(state, queue)
  }
  return 0
}

function bit(feature: u32): u64 {
  return (1 as u64) << (feature as u64)
}

function checkConfig(state: State): i32 {
  const known =
    bit(VIRTIO_BLK_F_SIZE_MAX) |
    bit(VIRTIO_BLK_F_SEG_MAX) |
    bit(VIRTIO_BLK_F_RO) |
    bit(VIRTIO_BLK_F_BLK_SIZE) |
    bit(VIRTIO_BLK_F_FLUSH) |
    bit(VIRTIO_F_EVENT_IDX) |
    bit(VIRTIO_F_VERSION_1)
  const features = state.deviceFeatures
  const size = state.queueSizeMax
  const block = state.blockSize
  if (state.queues === 0 || state.queues > (abi.QUEUES_MAX as u32)) return abi.INIT_BAD_QUEUES
  if (size === 0 || size > (VIRTQUEUE_MAX_SIZE as u32) || (size & (size - 1)) !== 0) return abi.INIT_BAD_QUEUE_SIZE_MAX
  if (state.segMax === 0 || size < 3 || state.segMax > size - 2) return abi.INIT_BAD_SEG_MAX
  if (state.sizeMax === 0) return abi.INIT_BAD_SIZE_MAX
  if (block < (VIRTIO_BLK_SECTOR_BYTES as u32) || (block & (block - 1)) !== 0) return abi.INIT_BAD_BLOCK_SIZE
  if ((features & ~known) !== 0 || (features & bit(VIRTIO_F_VERSION_1)) === 0) return abi.INIT_BAD_FEATURES
  if (((features & bit(VIRTIO_BLK_F_RO)) !== 0) !== (state.readOnly !== 0)) return abi.INIT_BAD_FEATURES
  if (state.regions === 0 || state.regions > (abi.REGIONS_MAX as u32)) return abi.INIT_BAD_REGIONS
  for (let i: u32 = 0; i < state.regions; i++) {
    const region = regionAt(state, i)
    const mask: u64 = abi.REGION_ALIGN - 1
    if (region.ptr === 0 || region.size === 0 || region.size > (u32.MAX_VALUE as u64)) return abi.INIT_BAD_REGIONS
    if (((region.gpa | region.size | (region.ptr as u64)) & mask) !== 0) return abi.INIT_BAD_REGIONS
    if (region.gpa > u64.MAX_VALUE - region.size) return abi.INIT_BAD_REGIONS
  }
  return 0
}

// The register window --------------------------------------------------------------------------------------

/** `width` is 1, 2 or 4. */
export function mmioRead(statePtr: u32, offset: u32, width: u32): u32 {
  return mmio.read(changetype<State>(statePtr), offset, width)
}

/** Returns EFFECT_* bits. */
export function mmioWrite(statePtr: u32, offset: u32, width: u32, value: u32): u32 {
  return mmio.write(changetype<State>(statePtr), offset, width, value)
}

// The drain ------------------------------------------------------------------------------------------------

/**
 * Takes up to `max` chains (fewer if they are very many descriptors all together), judges them, takes their tokens at
 * time `now` (ns) and lists the slots of those that need IO in queue.planned; the others are answered here. Returns
 * their number and PLAN_* above it.
 */
export function plan(statePtr: u32, queueIndex: u32, now: f64, max: u32): u32 {
  const state = changetype<State>(statePtr)
  if (queueIndex >= state.queues || !isLive(state)) return abi.PLAN_DEAD << abi.PLAN_END_SHIFT
  const queue = queueAt(state, queueIndex)
  if (queue.ready === 0) return abi.PLAN_DEAD << abi.PLAN_END_SHIFT
  counter(state, abi.COUNTER_DRAINS).value++
  const nanos = throttle.toNanos(now)
  const offered = virtqueue.available(state, queue)
  if (offered === 0) {
    // A head that waited for tokens and was taken back waits no longer.
    throttle.endStall(state, queue, nanos)
    return abi.PLAN_EMPTY << abi.PLAN_END_SHIFT
  }
  if (offered > queue.size) return poison(state, queueIndex, abi.RING_FAULT_AVAIL_IDX, 0, nanos)
  virtqueue.disableKicks(state, queue)
  const chains = min<u32>(offered, max)
  const walksMax = queue.size << abi.PLAN_WALKS_SHIFT
  let walks: u32 = 0
  let count: u32 = 0
  let i: u32 = 0
  for (; i < chains && walks < walksMax; i++) {
    const head = virtqueue.peekHead(state, queue)
    if (head >= queue.size) return poison(state, queueIndex, abi.RING_FAULT_HEAD, count, nanos)
    if (virtqueue.isHeadOurs(queue, head)) return poison(state, queueIndex, abi.RING_FAULT_HEAD_IN_FLIGHT, count, nanos)
    const slot = request.takeSlot(state, queue)
    if (slot < 0) return count | (abi.PLAN_BUSY << abi.PLAN_END_SHIFT)
    const req = request.requestAt(state, queue, slot)
    req.head = head
    const fault = walk(state, queue, req, head)
    if (fault !== 0) {
      request.freeSlot(state, queue, slot)
      return poison(state, queueIndex, fault, count, nanos)
    }
    const verdict = request.classify(state, req)
    traced(abi.TRACE_VERDICT, head, verdict, req.type)
    if (verdict > 0 && verdict <= abi.VERDICT_GET_ID) {
      if (!throttle.take(state, queue, req.dataIn + req.dataOut, nanos)) {
        request.freeSlot(state, queue, slot)
        traced(abi.TRACE_STALL, head, queue.stallNanos as u32, 0)
        return count | (abi.PLAN_STALLED << abi.PLAN_END_SHIFT)
      }
    } else {
      throttle.endStall(state, queue, nanos)
    }
    walks += req.walked
    virtqueue.advance(queue)
    virtqueue.takeHead(queue, head)
    if (verdict > 0 && verdict <= abi.VERDICT_FLUSH) {
      // VERDICT_READ, _WRITE and _FLUSH are REQ_OP_READ, _WRITE and _FLUSH.
      request.submit(queue, req, verdict)
      changetype<U32>(queue.planned + (count << 2)).value = (queueIndex << abi.SLOT_QUEUE_SHIFT) | slot
      count++
    } else {
      request.answer(state, queue, req, verdict)
      request.freeSlot(state, queue, slot)
    }
  }
  return count | ((offered > i ? abi.PLAN_MORE : abi.PLAN_EMPTY) << abi.PLAN_END_SHIFT)
}

/** A ring fault: the device needs a reset. What this drain planned before may still be completed and published. */
function poison(state: State, queueIndex: u32, fault: i32, count: u32, now: u64): u32 {
  const queue = queueAt(state, queueIndex)
  state.fault = fault
  traced(abi.TRACE_RING_FAULT, queueIndex, fault, 0)
  if (fault === abi.RING_FAULT_AVAIL_IDX) {
    counter(state, abi.COUNTER_INVALID_AVAIL_IDX).value++
  } else {
    counter(state, abi.COUNTER_RING_FAULTS).value++
    if (fault === abi.RING_FAULT_NO_STATUS || fault === abi.RING_FAULT_STATUS_UNMAPPED) {
      counter(state, abi.COUNTER_STATUS_WRITE_FAILURES).value++
    }
  }
  throttle.endStall(state, queue, now)
  failDevice(state)
  return count | (abi.PLAN_POISONED << abi.PLAN_END_SHIFT)
}

/**
 * The back end's answer for a planned request: bytes read (fewer than asked = the rest is past the end of data),
 * bytes written (all of them), 0 for a flush; anything else, NaN included, is a failure. Returns COMPLETE_*.
 */
export function complete(statePtr: u32, slot: u32, result: f64): i32 {
  return request.completeRequest(changetype<State>(statePtr), slot, result)
}

/** Shows the driver everything completed since the last publish. Returns PUBLISH_* bits. */
export function publish(statePtr: u32, queueIndex: u32): u32 {
  const state = changetype<State>(statePtr)
  if (queueIndex >= state.queues) return 0
  const queue = queueAt(state, queueIndex)
  // After a trap the records cannot be trusted until the reset.
  return queue.ready !== 0 && state.damaged === 0 ? virtqueue.publishUsed(state, queue) : 0
}

// Control --------------------------------------------------------------------------------------------------

/** Rule 27. Returns EFFECT_INTERRUPT if the driver is to be told. */
export function setCapacity(statePtr: u32, sectorsLow: u32, sectorsHigh: u32): u32 {
  const state = changetype<State>(statePtr)
  state.capacitySectors = (sectorsLow as u64) | ((sectorsHigh as u64) << 32)
  fillConfig(state)
  generationBump(state)
  if (!isLive(state)) return 0
  interruptStatusSet(state, VIRTIO_MMIO_INT_CONFIG)
  counterAdd(state, abi.COUNTER_INTERRUPTS, 1)
  return abi.EFFECT_INTERRUPT
}

/** Takes over the throttle record at time `now` (ns). A stalled queue wants a drain afterwards. */
export function setThrottle(statePtr: u32, now: f64): void {
  throttle.configure(changetype<State>(statePtr), throttle.toNanos(now))
}

/**
 * Rules 6 and 7, for what only the host can see: `cause` is FAIL_*. Returns EFFECT_INTERRUPT the first time; not for
 * FAIL_QUIETLY, nor for a worker that dies before the driver is up.
 */
export function fail(statePtr: u32, cause: u32): u32 {
  const state = changetype<State>(statePtr)
  if (cause === abi.FAIL_TRAP) counterAdd(state, abi.COUNTER_ENGINE_TRAPS, 1)
  if (cause === abi.FAIL_TRAP || cause === abi.FAIL_WORKER) state.damaged = 1
  const isUp = (statusOf(state) & VIRTIO_CONFIG_S_DRIVER_OK) !== 0
  if (cause === abi.FAIL_QUIETLY || (cause === abi.FAIL_WORKER && !isUp)) {
    statusSet(state, VIRTIO_CONFIG_S_NEEDS_RESET)
    return 0
  }
  return failDevice(state) ? abi.EFFECT_INTERRUPT : 0
}

/**
 * Rule 26: the second half of a restore. The host has called init() and setThrottle() and then written the fields of a
 * snapshot; `now` (ns) is when the remaining waits begin. Not 0: a ready queue has a ring outside guest RAM, and the
 * block is not to be used.
 */
export function thaw(statePtr: u32, now: f64): i32 {
  return mmio.thaw(changetype<State>(statePtr), throttle.toNanos(now))
}

/**
 * Kicks that did not come through the register window (ioeventfd): counts `kicks` writes of `queueIndex` as mmioWrite
 * does (rules 4 and 5). Returns EFFECT_KICK if the queue is live.
 */
export function kicked(statePtr: u32, queueIndex: u32, kicks: u32): u32 {
  return mmio.notify(changetype<State>(statePtr), queueIndex, kicks)
}
