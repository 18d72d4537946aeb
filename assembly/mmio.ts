// The register window of a version-2 virtio-mmio device (4.2.2) and the status machine (2.1, 3.1.1; device rules 1 to
// 7). Registers are exactly four aligned bytes; anything else reads all ones and writes nothing. What a write means
// for the host comes back as EFFECT_* bits. Guest memory is touched by nothing here except through resolveRings(),
// which only looks addresses up.

import {
  COUNTER_IGNORED_KICKS,
  COUNTER_KICKS,
  COUNTER_RESETS,
  EFFECT_ACK,
  EFFECT_DRIVER_OK,
  EFFECT_KICK,
  EFFECT_RESET,
} from './abi.ts'
import { configRead } from './config.ts'
import { forget } from './counters.ts'
import {
  counter,
  counterAdd,
  generationBump,
  generationOf,
  interruptStatusClear,
  interruptStatusOf,
  isLive,
  Queue,
  queueAt,
  State,
  statusExchange,
  statusOf,
} from './layout.ts'
import * as spec from './spec.ts'
import { clearStall } from './throttle.ts'
import { forgetHeads, NEVER_STORED, resolveRings } from './virtqueue.ts'

export function read(state: State, offset: u32, width: u32): u32 {
  if (offset >= (spec.VIRTIO_MMIO_CONFIG as u32)) return configRead(state, offset - spec.VIRTIO_MMIO_CONFIG, width)
  if (width !== 4) return width === 1 ? 0xff : 0xffff
  switch (offset) {
    case spec.VIRTIO_MMIO_MAGIC_VALUE:
      return spec.VIRTIO_MMIO_MAGIC
    case spec.VIRTIO_MMIO_VERSION:
      return spec.VIRTIO_MMIO_VERSION_2
    case spec.VIRTIO_MMIO_DEVICE_ID:
      return spec.VIRTIO_ID_BLOCK
    case spec.VIRTIO_MMIO_DEVICE_FEATURES: {
      const sel = state.deviceFeaturesSel
      return sel < 2 ? ((state.deviceFeatures >> ((sel << 5) as u64)) as u32) : 0
    }
    case spec.VIRTIO_MMIO_QUEUE_SIZE_MAX:
      return state.queueSel < state.queues ? state.queueSizeMax : 0
    case spec.VIRTIO_MMIO_QUEUE_READY:
      return state.queueSel < state.queues ? queueAt(state, state.queueSel).ready : 0
    case spec.VIRTIO_MMIO_INTERRUPT_STATUS:
      return interruptStatusOf(state)
    case spec.VIRTIO_MMIO_STATUS:
      return statusOf(state)
    case spec.VIRTIO_MMIO_SHM_LEN_LOW:
    case spec.VIRTIO_MMIO_SHM_LEN_HIGH:
    case spec.VIRTIO_MMIO_SHM_BASE_LOW:
    case spec.VIRTIO_MMIO_SHM_BASE_HIGH:
      return u32.MAX_VALUE
    case spec.VIRTIO_MMIO_CONFIG_GENERATION:
      return generationOf(state)
    default:
      return 0
  }
}

export function write(state: State, offset: u32, width: u32, value: u32): u32 {
  if (offset >= (spec.VIRTIO_MMIO_CONFIG as u32) || width !== 4) return 0
  switch (offset) {
    case spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      state.deviceFeaturesSel = value
      return 0
    case spec.VIRTIO_MMIO_DRIVER_FEATURES:
      writeFeatures(state, value)
      return 0
    case spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      state.driverFeaturesSel = value
      return 0
    case spec.VIRTIO_MMIO_QUEUE_SEL:
      state.queueSel = value
      return 0
    case spec.VIRTIO_MMIO_QUEUE_NOTIFY:
      return notify(state, value, 1)
    case spec.VIRTIO_MMIO_INTERRUPT_ACK:
      return interruptStatusClear(state, value) === 0 ? EFFECT_ACK : 0
    case spec.VIRTIO_MMIO_STATUS:
      return value === 0 ? reset(state) : advanceStatus(state, value)
    default:
      if (state.queueSel < state.queues) writeQueue(state, queueAt(state, state.queueSel), offset, value)
      return 0
  }
}

/** Only between DRIVER and FEATURES_OK. Words above 3 are dropped; words 2 and 3 are kept and refused later. */
function writeFeatures(state: State, value: u32): void {
  const status = statusOf(state)
  if ((status & spec.VIRTIO_CONFIG_S_DRIVER) === 0 || (status & spec.VIRTIO_CONFIG_S_FEATURES_OK) !== 0) return
  switch (state.driverFeaturesSel) {
    case 0:
      state.driverFeatures0 = value
      break
    case 1:
      state.driverFeatures1 = value
      break
    case 2:
      state.driverFeatures2 = value
      break
    case 3:
      state.driverFeatures3 = value
      break
  }
}

function low(address: u64, half: u32): u64 {
  return (address & 0xffffffff00000000) | (half as u64)
}

function high(address: u64, half: u32): u64 {
  return (address & 0xffffffff) | ((half as u64) << 32)
}

/** Queue set-up: with FEATURES_OK and before DRIVER_OK, and not after the queue was ready once (rule 3). */
function writeQueue(state: State, queue: Queue, offset: u32, value: u32): void {
  const status = statusOf(state)
  const open = (status & spec.VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && (status & spec.VIRTIO_CONFIG_S_DRIVER_OK) === 0
  if (offset === spec.VIRTIO_MMIO_QUEUE_READY) {
    if (value !== 1) {
      stop(state, queue)
    } else if (open && queue.ready === 0 && resolveRings(state, queue)) {
      queue.ready = 1
      queue.frozen = 1
    }
    return
  }
  if (!open || queue.frozen !== 0) return
  switch (offset) {
    case spec.VIRTIO_MMIO_QUEUE_SIZE:
      queue.size = value
      break
    case spec.VIRTIO_MMIO_QUEUE_DESC_LOW:
      queue.descGpa = low(queue.descGpa, value)
      break
    case spec.VIRTIO_MMIO_QUEUE_DESC_HIGH:
      queue.descGpa = high(queue.descGpa, value)
      break
    case spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW:
      queue.availGpa = low(queue.availGpa, value)
      break
    case spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
      queue.availGpa = high(queue.availGpa, value)
      break
    case spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW:
      queue.usedGpa = low(queue.usedGpa, value)
      break
    case spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
      queue.usedGpa = high(queue.usedGpa, value)
      break
  }
}

/** The value is not truncated (rule 5); a kick that finds no live queue is counted and ignored (rule 4). */
export function notify(state: State, value: u32, kicks: u32): u32 {
  if (isLive(state) && value < state.queues && queueAt(state, value).ready !== 0) {
    counterAdd(state, COUNTER_KICKS, kicks as u64)
    return EFFECT_KICK
  }
  counterAdd(state, COUNTER_IGNORED_KICKS, kicks as u64)
  return 0
}

/** Rule 2: one new bit at a time, nothing cleared. NEEDS_RESET may appear meanwhile, hence the exchange. */
function advanceStatus(state: State, value: u32): u32 {
  for (;;) {
    const current = statusOf(state)
    const added = value & ~current
    if ((current & ~value) !== 0 || added === 0 || !isAllowed(state, current, added)) return 0
    if (statusExchange(state, current, value) !== current) continue
    if (added === spec.VIRTIO_CONFIG_S_FEATURES_OK) negotiated(state)
    return added === spec.VIRTIO_CONFIG_S_DRIVER_OK ? EFFECT_DRIVER_OK : 0
  }
}

function isAllowed(state: State, current: u32, added: u32): bool {
  switch (added) {
    case spec.VIRTIO_CONFIG_S_FAILED:
      return true
    case spec.VIRTIO_CONFIG_S_ACKNOWLEDGE:
      return current === 0
    case spec.VIRTIO_CONFIG_S_DRIVER:
      return current === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE
    case spec.VIRTIO_CONFIG_S_FEATURES_OK:
      return (
        current === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE + spec.VIRTIO_CONFIG_S_DRIVER &&
        accepted(state, spec.VIRTIO_F_VERSION_1) &&
        (driverFeatures(state) & ~state.deviceFeatures) === 0 &&
        (state.driverFeatures2 | state.driverFeatures3) === 0
      )
    case spec.VIRTIO_CONFIG_S_DRIVER_OK:
      return (
        current === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE + spec.VIRTIO_CONFIG_S_DRIVER + spec.VIRTIO_CONFIG_S_FEATURES_OK
      )
    default:
      return false
  }
}

function driverFeatures(state: State): u64 {
  return (state.driverFeatures0 as u64) | ((state.driverFeatures1 as u64) << 32)
}

function accepted(state: State, bit: u32): bool {
  return ((driverFeatures(state) >> (bit as u64)) & 1) !== 0
}

function negotiated(state: State): void {
  state.eventIdx = accepted(state, spec.VIRTIO_F_EVENT_IDX) ? 1 : 0
  // Rule 12: a driver that can neither flush nor choose the cache mode relies on each write being durable.
  const cached = accepted(state, spec.VIRTIO_BLK_F_FLUSH) || accepted(state, spec.VIRTIO_BLK_F_CONFIG_WCE)
  state.writeThrough = cached ? 0 : 1
}

/**
 * Rule 26: sets up what follows from the fields of a snapshot, which the host has written into a block that is
 * otherwise as init() left it. Nothing is in flight in a snapshot. Returns 0, or -1 - index of the queue that is ready
 * and has a ring outside guest RAM.
 */
export function thaw(state: State, now: u64): i32 {
  if ((statusOf(state) & spec.VIRTIO_CONFIG_S_FEATURES_OK) !== 0) negotiated(state)
  for (let i: u32 = 0; i < state.queues; i++) {
    const queue = queueAt(state, i)
    if (queue.ready !== 0 && !resolveRings(state, queue)) return -1 - i
    queue.usedIdx = queue.nextUsed
    queue.stalledAt = now
  }
  return 0
}

/** The queue is no longer served: what is in flight only frees its slot, and nothing unpublished is published. */
function stop(state: State, queue: Queue): void {
  if (queue.ready === 0) return
  queue.ready = 0
  queue.generation++
  queue.usedIdx = queue.nextUsed
  forget(queue)
  clearStall(state, queue)
}

/** A queue as it is after reset; what outlives a reset (slots in flight, generation) stays. */
export function resetQueue(state: State, queue: Queue): void {
  stop(state, queue)
  queue.generation++
  queue.frozen = 0
  queue.size = state.queueSizeMax
  queue.descGpa = 0
  queue.availGpa = 0
  queue.usedGpa = 0
  queue.nextAvail = 0
  queue.nextUsed = 0
  queue.usedIdx = 0
  queue.availEvent = NEVER_STORED
  queue.usedFlags = NEVER_STORED
  queue.epoch = 1
  forgetHeads(queue, state.queueSizeMax)
  if (state.damaged !== 0) {
    queue.freeSlot = 0
    queue.slots = 0
  }
}

/** Rule 6. Counters, throttle balance and capacity survive. */
function reset(state: State): u32 {
  for (let i: u32 = 0; i < state.queues; i++) resetQueue(state, queueAt(state, i))
  state.damaged = 0
  state.fault = 0
  state.deviceFeaturesSel = 0
  state.driverFeaturesSel = 0
  state.queueSel = 0
  state.driverFeatures0 = 0
  state.driverFeatures1 = 0
  state.driverFeatures2 = 0
  state.driverFeatures3 = 0
  state.eventIdx = 0
  state.writeThrough = 0
  counter(state, COUNTER_RESETS).value++
  generationBump(state)
  interruptStatusClear(state, u32.MAX_VALUE)
  // Last: whoever reads 0 knows that everything above is done. NEEDS_RESET may race in, so exchange until it holds.
  let current = statusOf(state)
  while (current !== 0) {
    const seen = statusExchange(state, current, 0)
    current = seen === current ? 0 : seen
  }
  return EFFECT_RESET | EFFECT_ACK
}
