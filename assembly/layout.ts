// The state block as @unmanaged structs, each offset checked against abi.ts at compile time: drift stops the build
// and leaves no trace in the module. The block belongs to the engine and lies outside every guest region.
//
// The transport words (status, interrupt status, generation) and a few counters may be touched by a vCPU thread and a
// worker at once, so they are read and changed only through the atomic helpers at the end. Everything else has one
// owner at a time.

import * as abi from './abi.ts'
import {
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_MMIO_INT_CONFIG,
} from './spec.ts'

@unmanaged
export class State {
  status: u32
  interruptStatus: u32
  configGeneration: u32
  deviceFeaturesSel: u32
  driverFeaturesSel: u32
  queueSel: u32
  driverFeatures0: u32
  driverFeatures1: u32
  driverFeatures2: u32
  driverFeatures3: u32
  deviceFeatures: u64
  capacitySectors: u64
  queues: u32
  queueSizeMax: u32
  segMax: u32
  sizeMax: u32
  blockSize: u32
  readOnly: u32
  serial0: u64
  serial1: u64
  serial2: u32
  regions: u32
  eventIdx: u32
  writeThrough: u32
  damaged: u32
  fault: i32
  slotBytes: u32
  reserved: u32
  opsRate: u64
  opsCapacity: u64
  bytesRate: u64
  bytesCapacity: u64
}
if (offsetof<State>('status') !== abi.STATE_STATUS) ERROR('State.status')
if (offsetof<State>('interruptStatus') !== abi.STATE_INTERRUPT_STATUS) ERROR('State.interruptStatus')
if (offsetof<State>('configGeneration') !== abi.STATE_CONFIG_GENERATION) ERROR('State.configGeneration')
if (offsetof<State>('deviceFeaturesSel') !== abi.STATE_DEVICE_FEATURES_SEL) ERROR('State.deviceFeaturesSel')
if (offsetof<State>('driverFeaturesSel') !== abi.STATE_DRIVER_FEATURES_SEL) ERROR('State.driverFeaturesSel')
if (offsetof<State>('queueSel') !== abi.STATE_QUEUE_SEL) ERROR('State.queueSel')
if (offsetof<State>('driverFeatures0') !== abi.STATE_DRIVER_FEATURES) ERROR('State.driverFeatures0')
if (offsetof<State>('deviceFeatures') !== abi.STATE_DEVICE_FEATURES) ERROR('State.deviceFeatures')
if (offsetof<State>('capacitySectors') !== abi.STATE_CAPACITY_SECTORS) ERROR('State.capacitySectors')
if (offsetof<State>('queues') !== abi.STATE_QUEUES) ERROR('State.queues')
if (offsetof<State>('queueSizeMax') !== abi.STATE_QUEUE_SIZE_MAX) ERROR('State.queueSizeMax')
if (offsetof<State>('segMax') !== abi.STATE_SEG_MAX) ERROR('State.segMax')
if (offsetof<State>('sizeMax') !== abi.STATE_SIZE_MAX) ERROR('State.sizeMax')
if (offsetof<State>('blockSize') !== abi.STATE_BLOCK_SIZE) ERROR('State.blockSize')
if (offsetof<State>('readOnly') !== abi.STATE_READ_ONLY) ERROR('State.readOnly')
if (offsetof<State>('serial0') !== abi.STATE_SERIAL) ERROR('State.serial0')
if (offsetof<State>('regions') !== abi.STATE_REGIONS) ERROR('State.regions')
if (offsetof<State>('eventIdx') !== abi.STATE_EVENT_IDX) ERROR('State.eventIdx')
if (offsetof<State>('writeThrough') !== abi.STATE_WRITE_THROUGH) ERROR('State.writeThrough')
if (offsetof<State>('damaged') !== abi.STATE_DAMAGED) ERROR('State.damaged')
if (offsetof<State>('fault') !== abi.STATE_FAULT) ERROR('State.fault')
if (offsetof<State>('slotBytes') !== abi.STATE_SLOT_BYTES) ERROR('State.slotBytes')
if (offsetof<State>('opsRate') !== abi.STATE_THROTTLE_CONFIG) ERROR('State.opsRate')
if (offsetof<State>() > (abi.STATE_OPS_BUCKET as usize)) ERROR('State')
if (abi.STATE_OPS_BUCKET + abi.BUCKET_BYTES !== abi.STATE_BYTES_BUCKET) ERROR('STATE_BYTES_BUCKET')
if (abi.STATE_BYTES_BUCKET + abi.BUCKET_BYTES !== abi.STATE_COUNTERS) ERROR('STATE_COUNTERS')
if (abi.STATE_COUNTERS + 8 * abi.COUNTERS > abi.STATE_CONFIG_SPACE) ERROR('STATE_CONFIG_SPACE')
if (abi.STATE_CONFIG_SPACE + 96 > abi.STATE_REGION_TABLE) ERROR('STATE_REGION_TABLE')
if (abi.STATE_REGION_TABLE + abi.REGIONS_MAX * abi.REGION_BYTES > abi.STATE_QUEUE_TABLE) ERROR('STATE_QUEUE_TABLE')

@unmanaged
export class Bucket {
  capacity: u64
  rate: u64
  balance: i64
  last: u64
  fraction: u64
}
if (offsetof<Bucket>('capacity') !== abi.BUCKET_CAPACITY) ERROR('Bucket.capacity')
if (offsetof<Bucket>('rate') !== abi.BUCKET_RATE) ERROR('Bucket.rate')
if (offsetof<Bucket>('balance') !== abi.BUCKET_BALANCE) ERROR('Bucket.balance')
if (offsetof<Bucket>('last') !== abi.BUCKET_LAST) ERROR('Bucket.last')
if (offsetof<Bucket>('fraction') !== abi.BUCKET_FRACTION) ERROR('Bucket.fraction')
if (offsetof<Bucket>() !== abi.BUCKET_BYTES) ERROR('Bucket')

@unmanaged
export class Region {
  gpa: u64
  size: u64
  ptr: u32
  reserved: u32
}
if (offsetof<Region>('gpa') !== abi.REGION_GPA) ERROR('Region.gpa')
if (offsetof<Region>('size') !== abi.REGION_SIZE) ERROR('Region.size')
if (offsetof<Region>('ptr') !== abi.REGION_PTR) ERROR('Region.ptr')
if (offsetof<Region>() !== abi.REGION_BYTES) ERROR('Region')

@unmanaged
export class Queue {
  size: u32
  ready: u32
  frozen: u32
  stalled: u32
  descGpa: u64
  availGpa: u64
  usedGpa: u64
  descPtr: u32
  availPtr: u32
  usedPtr: u32
  nextAvail: u32
  nextUsed: u32
  usedIdx: u32
  availEvent: u32
  usedFlags: u32
  freeSlot: u32
  slots: u32
  planned: u32
  heads: u32
  records: u32
  generation: u32
  epoch: u64
  stalledAt: u64
  stallNanos: f64
}
if (offsetof<Queue>('size') !== abi.QUEUE_SIZE) ERROR('Queue.size')
if (offsetof<Queue>('ready') !== abi.QUEUE_READY) ERROR('Queue.ready')
if (offsetof<Queue>('frozen') !== abi.QUEUE_FROZEN) ERROR('Queue.frozen')
if (offsetof<Queue>('stalled') !== abi.QUEUE_STALLED) ERROR('Queue.stalled')
if (offsetof<Queue>('descGpa') !== abi.QUEUE_DESC_GPA) ERROR('Queue.descGpa')
if (offsetof<Queue>('availGpa') !== abi.QUEUE_AVAIL_GPA) ERROR('Queue.availGpa')
if (offsetof<Queue>('usedGpa') !== abi.QUEUE_USED_GPA) ERROR('Queue.usedGpa')
if (offsetof<Queue>('descPtr') !== abi.QUEUE_DESC_PTR) ERROR('Queue.descPtr')
if (offsetof<Queue>('availPtr') !== abi.QUEUE_AVAIL_PTR) ERROR('Queue.availPtr')
if (offsetof<Queue>('usedPtr') !== abi.QUEUE_USED_PTR) ERROR('Queue.usedPtr')
if (offsetof<Queue>('nextAvail') !== abi.QUEUE_NEXT_AVAIL) ERROR('Queue.nextAvail')
if (offsetof<Queue>('nextUsed') !== abi.QUEUE_NEXT_USED) ERROR('Queue.nextUsed')
if (offsetof<Queue>('usedIdx') !== abi.QUEUE_USED_IDX) ERROR('Queue.usedIdx')
if (offsetof<Queue>('availEvent') !== abi.QUEUE_AVAIL_EVENT) ERROR('Queue.availEvent')
if (offsetof<Queue>('usedFlags') !== abi.QUEUE_USED_FLAGS) ERROR('Queue.usedFlags')
if (offsetof<Queue>('freeSlot') !== abi.QUEUE_FREE_SLOT) ERROR('Queue.freeSlot')
if (offsetof<Queue>('slots') !== abi.QUEUE_SLOTS) ERROR('Queue.slots')
if (offsetof<Queue>('planned') !== abi.QUEUE_PLANNED) ERROR('Queue.planned')
if (offsetof<Queue>('heads') !== abi.QUEUE_HEADS) ERROR('Queue.heads')
if (offsetof<Queue>('records') !== abi.QUEUE_RECORDS) ERROR('Queue.records')
if (offsetof<Queue>('generation') !== abi.QUEUE_GENERATION) ERROR('Queue.generation')
if (offsetof<Queue>('epoch') !== abi.QUEUE_EPOCH) ERROR('Queue.epoch')
if (offsetof<Queue>('stalledAt') !== abi.QUEUE_STALLED_AT) ERROR('Queue.stalledAt')
if (offsetof<Queue>('stallNanos') !== abi.QUEUE_STALL_NANOS) ERROR('Queue.stallNanos')
if (offsetof<Queue>() !== abi.QUEUE_PENDING) ERROR('Queue.pending')
if (abi.QUEUE_PENDING + 8 * abi.COUNTERS_PER_REQUEST !== abi.QUEUE_BYTES) ERROR('Queue')

@unmanaged
export class Request {
  op: u32
  segments: u32
  sector: u64
  dataBytes: u32
  statusPtr: u32
  head: u32
  generation: u32
  nextFree: u32
  type: u32
  dataIn: u32
  dataOut: u32
  fault: i32
  walked: u32
}
if (offsetof<Request>('op') !== abi.REQ_OP) ERROR('Request.op')
if (offsetof<Request>('segments') !== abi.REQ_SEGMENTS) ERROR('Request.segments')
if (offsetof<Request>('sector') !== abi.REQ_SECTOR_LOW) ERROR('Request.sector')
if (offsetof<Request>('dataBytes') !== abi.REQ_DATA_BYTES) ERROR('Request.dataBytes')
if (offsetof<Request>('statusPtr') !== abi.REQ_STATUS_PTR) ERROR('Request.statusPtr')
if (offsetof<Request>('head') !== abi.REQ_HEAD) ERROR('Request.head')
if (offsetof<Request>('generation') !== abi.REQ_GENERATION) ERROR('Request.generation')
if (offsetof<Request>('nextFree') !== abi.REQ_NEXT_FREE) ERROR('Request.nextFree')
if (offsetof<Request>('type') !== abi.REQ_TYPE) ERROR('Request.type')
if (offsetof<Request>('dataIn') !== abi.REQ_DATA_IN) ERROR('Request.dataIn')
if (offsetof<Request>('dataOut') !== abi.REQ_DATA_OUT) ERROR('Request.dataOut')
if (offsetof<Request>('fault') !== abi.REQ_FAULT) ERROR('Request.fault')
if (offsetof<Request>('walked') !== abi.REQ_WALKED) ERROR('Request.walked')
if (offsetof<Request>() > (abi.REQ_SEGMENT_LIST as usize)) ERROR('Request')

@unmanaged
export class Segment {
  ptr: u32
  len: u32
}
if (offsetof<Segment>() !== abi.SEGMENT_BYTES) ERROR('Segment')

/** One cell of the counter, head and slot lists, and of the config space. */
@unmanaged
export class U64 {
  value: u64
}
@unmanaged
export class U32 {
  value: u32
}
@unmanaged
export class U8 {
  value: u8
}

export function queueAt(state: State, index: u32): Queue {
  return changetype<Queue>(changetype<u32>(state) + abi.STATE_QUEUE_TABLE + index * abi.QUEUE_BYTES)
}

export function counter(state: State, index: u32): U64 {
  return changetype<U64>(changetype<u32>(state) + abi.STATE_COUNTERS + (index << 3))
}

// Transport words: atomic, sequentially consistent --------------------------------------------------------

export function statusOf(state: State): u32 {
  return atomic.load<u32>(changetype<u32>(state), abi.STATE_STATUS)
}

export function statusSet(state: State, bits: u32): u32 {
  return atomic.or<u32>(changetype<u32>(state), bits, abi.STATE_STATUS)
}

/** For counters that a vCPU thread and a worker may both count: kicks, interrupts, traps. */
export function counterAdd(state: State, index: u32, amount: u64): void {
  atomic.add<u64>(changetype<u32>(counter(state, index)), amount)
}

/** Rule 4: chains are consumed only here. */
export function isLive(state: State): bool {
  const judged = VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET
  return (statusOf(state) & judged) === VIRTIO_CONFIG_S_DRIVER_OK
}

/** Returns the status seen: `expected` if the change was made. */
export function statusExchange(state: State, expected: u32, wanted: u32): u32 {
  return atomic.cmpxchg<u32>(changetype<u32>(state), expected, wanted, abi.STATE_STATUS)
}

export function interruptStatusOf(state: State): u32 {
  return atomic.load<u32>(changetype<u32>(state), abi.STATE_INTERRUPT_STATUS)
}

export function interruptStatusSet(state: State, bits: u32): void {
  atomic.or<u32>(changetype<u32>(state), bits, abi.STATE_INTERRUPT_STATUS)
}

/** Returns what is left. */
export function interruptStatusClear(state: State, bits: u32): u32 {
  return atomic.and<u32>(changetype<u32>(state), ~bits, abi.STATE_INTERRUPT_STATUS) & ~bits
}

export function generationOf(state: State): u32 {
  return atomic.load<u32>(changetype<u32>(state), abi.STATE_CONFIG_GENERATION)
}

export function generationBump(state: State): void {
  atomic.add<u32>(changetype<u32>(state), 1, abi.STATE_CONFIG_GENERATION)
}

/** Rule 7: service has ended. True if the driver is to be interrupted, which happens once until the next reset. */
export function failDevice(state: State): bool {
  const before = statusSet(state, VIRTIO_CONFIG_S_NEEDS_RESET)
  if ((before & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0) return false
  interruptStatusSet(state, VIRTIO_MMIO_INT_CONFIG)
  counterAdd(state, abi.COUNTER_INTERRUPTS, 1)
  return true
}
