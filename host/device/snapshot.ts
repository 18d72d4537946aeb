// The snapshot of a device, rule 26: everything a guest could tell the difference by, as explicit fields, and nothing
// of how the engine lays out its memory. Little-endian, without padding; times are waits, never points in time; all
// requests have been answered, so none is in it. Portable.
//
//    0  u8[8]  magic 'VBLKSNAP'          8  u16  version, 1        10  u16  reserved, 0     12  u32  length of it all
//   16  u64    deviceFeatures           24  u64  capacitySectors   32  u32  queues          36  u32  queueSizeMax
//   40  u32    segMax                   44  u32  sizeMax           48  u32  blockSize       52  u32  readOnly, 0 or 1
//   56  u8[20] serial, NUL-padded       76  u32  status            80  u32  interruptStatus 84  u32  configGeneration
//   88  u32    deviceFeaturesSel        92  u32  driverFeaturesSel 96  u32  queueSel       100  u32[4] driverFeatures
//  116  i32    fault, RING_FAULT_*     120  u64  opsRate          128  u64  opsCapacity    136  u64  bytesRate
//  144  u64    bytesCapacity           152  i64  opsBalance       160  u64  opsFraction, in 1e-9 tokens
//  168  i64    bytesBalance            176  u64  bytesFraction    184  u64[24] counters, in the order of abi.ts
//  376  64 bytes per queue:
//       +0  u32  size                   +4  u32  ready             +8  u32  frozen         +12  u32  stalled
//      +16  u64  descGpa               +24  u64  availGpa         +32  u64  usedGpa
//      +40  u32  nextAvail             +44  u32  nextUsed         +48  u32  availEvent     +52  u32  usedFlags
//      +56  u64  waitNanos: what is left until a stalled head is asked again
//  then u32  checksum: CRC-32 (as in zip) of all before it
//
// availEvent and usedFlags are what the device last stored in the ring, 0x10000 = nothing yet.

import * as abi from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import { COUNTER_INDEX } from '../engine/state.ts'
import { crc32 } from './crc32.ts'
import { FEATURE_BITS, type FeatureName } from './options.ts'
import type { ThrottleOptions } from './throttle.ts'

/** A snapshot that cannot be used: which field, at which byte, and why. */
export class SnapshotError extends Error {
  readonly field: string
  readonly offset: number

  constructor(field: string, offset: number, why: string) {
    super(`snapshot: ${field} at byte ${offset} ${why}`)
    this.name = 'SnapshotError'
    this.field = field
    this.offset = offset
  }
}

/** What a snapshot says about its device, for whoever decides what to restore it on. */
export interface SnapshotInfo {
  readonly version: number
  readonly capacityBytes: number
  readonly readOnly: boolean
  readonly serial: string
  readonly queues: number
  readonly queueSizeMax: number
  readonly segMax: number
  readonly sizeMax: number
  readonly blockSize: number
  /** what the device offers, RO and VERSION_1 included */
  readonly features: readonly FeatureName[]
  readonly throttle: ThrottleOptions
  /** the Status register */
  readonly status: number
}

type Kind = 'u32' | 'i32' | 'u64' | 'i64' | 'serial'
/** Name, type, and where the engine's state has it: in the state block or in a queue's block. */
export type Field = readonly [name: string, kind: Kind, state: number]
export type Values = Record<string, bigint>

export interface Snapshot {
  readonly info: SnapshotInfo
  readonly serial: Uint8Array
  /** every field of the device but the serial, by name */
  readonly device: Values
  readonly queues: readonly Values[]
}

const MAGIC = 'VBLKSNAP'
const VERSION = 1
const HEAD_BYTES = 16
const CHECKSUM_BYTES = 4
const KIND_BYTES: Record<Kind, number> = { u32: 4, i32: 4, u64: 8, i64: 8, serial: spec.VIRTIO_BLK_ID_BYTES }

const CONFIG_FIELDS: readonly Field[] = [
  ['deviceFeatures', 'u64', abi.STATE_DEVICE_FEATURES],
  ['capacitySectors', 'u64', abi.STATE_CAPACITY_SECTORS],
  ['queues', 'u32', abi.STATE_QUEUES],
  ['queueSizeMax', 'u32', abi.STATE_QUEUE_SIZE_MAX],
  ['segMax', 'u32', abi.STATE_SEG_MAX],
  ['sizeMax', 'u32', abi.STATE_SIZE_MAX],
  ['blockSize', 'u32', abi.STATE_BLOCK_SIZE],
  ['readOnly', 'u32', abi.STATE_READ_ONLY],
  ['serial', 'serial', abi.STATE_SERIAL],
]
const REGISTER_FIELDS: readonly Field[] = [
  ['status', 'u32', abi.STATE_STATUS],
  ['interruptStatus', 'u32', abi.STATE_INTERRUPT_STATUS],
  ['configGeneration', 'u32', abi.STATE_CONFIG_GENERATION],
  ['deviceFeaturesSel', 'u32', abi.STATE_DEVICE_FEATURES_SEL],
  ['driverFeaturesSel', 'u32', abi.STATE_DRIVER_FEATURES_SEL],
  ['queueSel', 'u32', abi.STATE_QUEUE_SEL],
  ['driverFeatures0', 'u32', abi.STATE_DRIVER_FEATURES],
  ['driverFeatures1', 'u32', abi.STATE_DRIVER_FEATURES + 4],
  ['driverFeatures2', 'u32', abi.STATE_DRIVER_FEATURES + 8],
  ['driverFeatures3', 'u32', abi.STATE_DRIVER_FEATURES + 12],
  ['fault', 'i32', abi.STATE_FAULT],
]
const LIMIT_FIELDS: readonly Field[] = [
  ['opsRate', 'u64', abi.STATE_THROTTLE_CONFIG],
  ['opsCapacity', 'u64', abi.STATE_THROTTLE_CONFIG + 8],
  ['bytesRate', 'u64', abi.STATE_THROTTLE_CONFIG + 16],
  ['bytesCapacity', 'u64', abi.STATE_THROTTLE_CONFIG + 24],
]
const BALANCE_FIELDS: readonly Field[] = [
  ['opsBalance', 'i64', abi.STATE_OPS_BUCKET + abi.BUCKET_BALANCE],
  ['opsFraction', 'u64', abi.STATE_OPS_BUCKET + abi.BUCKET_FRACTION],
  ['bytesBalance', 'i64', abi.STATE_BYTES_BUCKET + abi.BUCKET_BALANCE],
  ['bytesFraction', 'u64', abi.STATE_BYTES_BUCKET + abi.BUCKET_FRACTION],
]
const COUNTER_FIELDS: readonly Field[] = Object.entries(COUNTER_INDEX)
  .sort(([, a], [, b]) => a - b)
  .map(([name, index]) => [name, 'u64', abi.STATE_COUNTERS + 8 * index])

/** What init() and setThrottle() do not set. */
export const LIVE_FIELDS: readonly Field[] = [...REGISTER_FIELDS, ...BALANCE_FIELDS, ...COUNTER_FIELDS]
/** The whole record, in its order. */
export const DEVICE_FIELDS: readonly Field[] = [
  ...CONFIG_FIELDS,
  ...REGISTER_FIELDS,
  ...LIMIT_FIELDS,
  ...BALANCE_FIELDS,
  ...COUNTER_FIELDS,
]

const WAIT = 'waitNanos'
/** The wait is a float in the state: whoever copies takes care of it. */
export const QUEUE_FIELDS: readonly Field[] = [
  ['size', 'u32', abi.QUEUE_SIZE],
  ['ready', 'u32', abi.QUEUE_READY],
  ['frozen', 'u32', abi.QUEUE_FROZEN],
  ['stalled', 'u32', abi.QUEUE_STALLED],
  ['descGpa', 'u64', abi.QUEUE_DESC_GPA],
  ['availGpa', 'u64', abi.QUEUE_AVAIL_GPA],
  ['usedGpa', 'u64', abi.QUEUE_USED_GPA],
  ['nextAvail', 'u32', abi.QUEUE_NEXT_AVAIL],
  // What was written and never published is the past of a device that trapped; nobody has seen it.
  ['nextUsed', 'u32', abi.QUEUE_USED_IDX],
  ['availEvent', 'u32', abi.QUEUE_AVAIL_EVENT],
  ['usedFlags', 'u32', abi.QUEUE_USED_FLAGS],
]

const sizeOf = (fields: readonly Field[]): number => fields.reduce((sum, [, kind]) => sum + KIND_BYTES[kind], 0)
const QUEUES_AT = HEAD_BYTES + sizeOf(DEVICE_FIELDS)
const QUEUE_ENTRY_BYTES = sizeOf(QUEUE_FIELDS) + 8

export function readField(view: DataView, at: number, kind: Kind): bigint {
  if (kind === 'u32') return BigInt(view.getUint32(at, true))
  if (kind === 'i32') return BigInt(view.getInt32(at, true))
  return kind === 'i64' ? view.getBigInt64(at, true) : view.getBigUint64(at, true)
}

export function writeField(view: DataView, at: number, kind: Kind, value: bigint): void {
  if (kind === 'u32' || kind === 'i32') view.setUint32(at, Number(BigInt.asUintN(32, value)), true)
  else view.setBigUint64(at, BigInt.asUintN(64, value), true)
}

// Writing --------------------------------------------------------------------------------------------------

/** The queues' values hold `waitNanos` besides the QUEUE_FIELDS. */
export function encodeSnapshot(device: Values, serial: Uint8Array, queues: readonly Values[]): Uint8Array {
  const bytes = new Uint8Array(QUEUES_AT + queues.length * QUEUE_ENTRY_BYTES + CHECKSUM_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode(MAGIC))
  view.setUint16(8, VERSION, true)
  view.setUint32(12, bytes.length, true)
  let at = HEAD_BYTES
  const put = (values: Values, fields: readonly Field[]): void => {
    for (const [name, kind] of fields) {
      if (kind === 'serial') bytes.set(serial, at)
      else writeField(view, at, kind, values[name] as bigint)
      at += KIND_BYTES[kind]
    }
  }
  put(device, DEVICE_FIELDS)
  for (const queue of queues) put(queue, [...QUEUE_FIELDS, [WAIT, 'u64', 0]])
  view.setUint32(at, crc32(bytes.subarray(0, at)), true)
  return bytes
}

// Reading --------------------------------------------------------------------------------------------------

/** Where a field of the device lies in a snapshot. */
export function offsetOf(name: string): number {
  const index = DEVICE_FIELDS.findIndex(([field]) => field === name)
  return HEAD_BYTES + sizeOf(DEVICE_FIELDS.slice(0, index))
}

/** Where a field of a queue lies in a snapshot. */
export function queueOffsetOf(queue: number, name: string): number {
  const index = QUEUE_FIELDS.findIndex(([field]) => field === name)
  const before = index < 0 ? QUEUE_FIELDS : QUEUE_FIELDS.slice(0, index)
  return QUEUES_AT + queue * QUEUE_ENTRY_BYTES + sizeOf(before)
}

/** Checks every field of a snapshot, and says what it is of. Throws SnapshotError. */
export function validateSnapshot(bytes: Uint8Array): SnapshotInfo {
  return decodeSnapshot(bytes).info
}

/** As validateSnapshot, and all that is in it. */
export function decodeSnapshot(given: Uint8Array): Snapshot {
  if (!(given instanceof Uint8Array)) throw new TypeError('snapshot: a Uint8Array is wanted')
  // A copy, which nobody else can change between check and use. (A Buffer's slice() is none.)
  const bytes = new Uint8Array(given)
  const view = new DataView(bytes.buffer)
  checkFrame(bytes, view)
  let at = HEAD_BYTES
  const take = (fields: readonly Field[]): Values => {
    const values: Values = {}
    for (const [name, kind] of fields) {
      if (kind !== 'serial') values[name] = readField(view, at, kind)
      at += KIND_BYTES[kind]
    }
    return values
  }
  const device = take(DEVICE_FIELDS)
  const bad: Refuse = (name, why) => {
    throw new SnapshotError(name, offsetOf(name), why)
  }
  checkConfig(device, bad)
  const queueCount = Number(device.queues)
  const length = QUEUES_AT + queueCount * QUEUE_ENTRY_BYTES + CHECKSUM_BYTES
  if (bytes.length !== length) {
    throw new SnapshotError('length', 12, `is ${bytes.length}, for ${queueCount} queues it must be ${length}`)
  }
  const serialAt = offsetOf('serial')
  const serial = bytes.slice(serialAt, serialAt + spec.VIRTIO_BLK_ID_BYTES)
  const text = serialText(serial, bad)
  checkRegisters(device, bad)
  checkThrottle(device, 'ops', bad)
  checkThrottle(device, 'bytes', bad)
  const queues: Values[] = []
  for (let i = 0; i < queueCount; i++) {
    const queue = take([...QUEUE_FIELDS, [WAIT, 'u64', 0]])
    checkQueue(queue, device, (name, why) => {
      throw new SnapshotError(`queues[${i}].${name}`, queueOffsetOf(i, name), why)
    })
    queues.push(queue)
  }
  const stalled = queues.filter((queue) => queue.stalled === 1n).length
  if (device.currentlyThrottled !== BigInt(stalled)) {
    bad('currentlyThrottled', `is ${device.currentlyThrottled}, but ${stalled} queues are stalled`)
  }
  return { info: infoOf(device, text), serial, device, queues }
}

type Refuse = (name: string, why: string) => never

function checkFrame(bytes: Uint8Array, view: DataView): void {
  const magic = new TextDecoder('latin1').decode(bytes.subarray(0, MAGIC.length))
  if (magic !== MAGIC) throw new SnapshotError('magic', 0, `is not '${MAGIC}': this is no snapshot, or not all of it`)
  const end = QUEUES_AT + QUEUE_ENTRY_BYTES + CHECKSUM_BYTES
  if (bytes.length < HEAD_BYTES) throw new SnapshotError('length', 12, `is missing: there are ${bytes.length} bytes`)
  const version = view.getUint16(8, true)
  if (version !== VERSION) throw new SnapshotError('version', 8, `is ${version}, this package reads ${VERSION}`)
  if (view.getUint16(10, true) !== 0) throw new SnapshotError('reserved', 10, 'is not 0')
  const length = view.getUint32(12, true)
  if (length !== bytes.length || length < end) {
    throw new SnapshotError('length', 12, `is ${length}, but there are ${bytes.length} bytes, and ${end} at least`)
  }
  const at = length - CHECKSUM_BYTES
  const [stored, actual] = [view.getUint32(at, true), crc32(bytes.subarray(0, at))]
  if (stored !== actual) {
    throw new SnapshotError('checksum', at, `is ${hex(stored)}, that of the bytes is ${hex(actual)}: they have changed`)
  }
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`
}

function bit(feature: number): bigint {
  return 1n << BigInt(feature)
}

const RO = bit(spec.VIRTIO_BLK_F_RO)
const VERSION_1 = bit(spec.VIRTIO_F_VERSION_1)
const KNOWN_FEATURES = Object.values(FEATURE_BITS).reduce((word, feature) => word | bit(feature), 0n)
const CAPACITY_MAX = BigInt(Number.MAX_SAFE_INTEGER) / BigInt(spec.VIRTIO_BLK_SECTOR_BYTES)

type Check = readonly [name: string, min: bigint, max: bigint]

function checkRange(values: Values, checks: readonly Check[], bad: Refuse): void {
  for (const [name, min, max] of checks) {
    const value = values[name] as bigint
    if (value < min || value > max) bad(name, `is ${value}, not from ${min} to ${max}`)
  }
}

function isPowerOfTwo(value: bigint): boolean {
  return value > 0n && (value & (value - 1n)) === 0n
}

/** What VirtioBlkOptions allow. */
function checkConfig(device: Values, bad: Refuse): void {
  const { blockSize, deviceFeatures, queueSizeMax, readOnly } = device as Record<string, bigint>
  const ranges: readonly Check[] = [
    ['capacitySectors', 0n, CAPACITY_MAX],
    ['queues', 1n, BigInt(abi.QUEUES_MAX)],
    ['queueSizeMax', 4n, BigInt(spec.VIRTQUEUE_MAX_SIZE)],
    ['segMax', 1n, (queueSizeMax as bigint) - 2n],
    ['sizeMax', 1n, 0xffffffffn],
    ['blockSize', 512n, 65536n],
    ['readOnly', 0n, 1n],
  ]
  checkRange(device, ranges, bad)
  if (!isPowerOfTwo(queueSizeMax as bigint)) bad('queueSizeMax', `is ${queueSizeMax}, no power of two`)
  if (!isPowerOfTwo(blockSize as bigint)) bad('blockSize', `is ${blockSize}, no power of two`)
  const features = deviceFeatures as bigint
  if ((features & ~KNOWN_FEATURES) !== 0n) bad('deviceFeatures', `is ${hex(features)}: not all of them are known`)
  if ((features & VERSION_1) === 0n) bad('deviceFeatures', `is ${hex(features)}: VERSION_1 is missing`)
  if (((features & RO) !== 0n) !== (readOnly === 1n)) {
    bad('deviceFeatures', `is ${hex(features)}: RO must be offered exactly by read-only disks (readOnly ${readOnly})`)
  }
}

function serialText(serial: Uint8Array, bad: Refuse): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(serial).replace(/\0+$/, '')
  } catch {
    return bad('serial', 'is no text')
  }
}

const { VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK } = spec
const END_BITS = BigInt(spec.VIRTIO_CONFIG_S_NEEDS_RESET | spec.VIRTIO_CONFIG_S_FAILED)
/** Rule 2: what Status can be, but for NEEDS_RESET and FAILED, which any of it can be with. */
const STATUSES: readonly bigint[] = [0n, 1n, 3n, 0xbn, 0xfn]

function has(device: Values, statusBit: number): boolean {
  return ((device.status as bigint) & BigInt(statusBit)) !== 0n
}

/** Rules 2 and 7: what a driver and the device itself can have brought the registers to. */
function checkRegisters(device: Values, bad: Refuse): void {
  const status = device.status as bigint
  if (!STATUSES.includes(status & ~END_BITS)) bad('status', `is ${hex(status)}, which no driver can reach`)
  const isUp = has(device, VIRTIO_CONFIG_S_DRIVER_OK)
  const isBroken = has(device, spec.VIRTIO_CONFIG_S_NEEDS_RESET)
  const pending = device.interruptStatus as bigint
  const possible = isUp ? 3n : isBroken ? BigInt(spec.VIRTIO_MMIO_INT_CONFIG) : 0n
  if ((pending & ~possible) !== 0n) bad('interruptStatus', `is ${hex(pending)}, with status ${hex(status)}`)
  const [low, high] = [device.driverFeatures0 as bigint, device.driverFeatures1 as bigint]
  const words = ['driverFeatures0', 'driverFeatures1', 'driverFeatures2', 'driverFeatures3']
  for (const name of has(device, VIRTIO_CONFIG_S_DRIVER) ? [] : words) {
    if (device[name] !== 0n) bad(name, `is ${hex(device[name] as bigint)}, but there is no driver`)
  }
  if (has(device, VIRTIO_CONFIG_S_FEATURES_OK)) {
    // RO may have been taken away by a restore with another readOnly.
    const allowed = (device.deviceFeatures as bigint) | RO
    if ((low & ~allowed & 0xffffffffn) !== 0n) bad('driverFeatures0', `is ${hex(low)}: not all of it is offered`)
    if ((high & ~(allowed >> 32n)) !== 0n) bad('driverFeatures1', `is ${hex(high)}: not all of it is offered`)
    if ((high & (VERSION_1 >> 32n)) === 0n) bad('driverFeatures1', `is ${hex(high)}: without VERSION_1`)
    for (const name of words.slice(2)) {
      if (device[name] !== 0n) bad(name, `is ${hex(device[name] as bigint)}, but nothing there is offered`)
    }
  }
  checkRange(device, [['fault', BigInt(abi.RING_FAULT_STATUS_UNMAPPED), 0n]], bad)
  if (device.fault !== 0n && !isBroken) bad('fault', `is ${device.fault}, but NEEDS_RESET is not set`)
}

const TOKENS_MAX = 2n ** 63n
const BALANCE_MAX = 2n ** 63n - 1n

/** Rules 19 and 24. */
function checkThrottle(device: Values, bucket: 'ops' | 'bytes', bad: Refuse): void {
  const rate = device[`${bucket}Rate`] as bigint
  const most = rate === 0n ? 0n : TOKENS_MAX
  const capacity = device[`${bucket}Capacity`] as bigint
  const full = capacity < BALANCE_MAX ? capacity : BALANCE_MAX
  const ranges: readonly Check[] = [
    [`${bucket}Rate`, 0n, TOKENS_MAX],
    [`${bucket}Capacity`, rate, most],
    [`${bucket}Balance`, rate === 0n ? 0n : -TOKENS_MAX, full],
    [`${bucket}Fraction`, 0n, rate === 0n ? 0n : 999_999_999n],
  ]
  checkRange(device, ranges, bad)
}

const NEVER_STORED = 0x10000n

/** Rules 3, 4 and 20. */
function checkQueue(queue: Values, device: Values, bad: Refuse): void {
  const isFrozen = queue.frozen === 1n
  const isReady = queue.ready === 1n
  const isStalled = queue.stalled === 1n
  const size = queue.size as bigint
  const isUp = has(device, VIRTIO_CONFIG_S_DRIVER_OK)
  const isSetUp = has(device, VIRTIO_CONFIG_S_FEATURES_OK)
  // Only a driver that is up has its queues served, and only what was ready once.
  const indexMax = isUp && isFrozen ? 0xffffn : 0n
  const ranges: readonly Check[] = [
    ['frozen', 0n, isSetUp ? 1n : 0n],
    ['ready', 0n, isFrozen ? 1n : 0n],
    ['stalled', 0n, isReady && isUp ? 1n : 0n],
    ['waitNanos', isStalled ? 1n : 0n, isStalled ? 1_000_000_000n : 0n],
    ['nextAvail', 0n, indexMax],
    ['nextUsed', 0n, indexMax],
    ['availEvent', indexMax === 0n ? NEVER_STORED : 0n, NEVER_STORED],
    ['usedFlags', indexMax === 0n ? NEVER_STORED : 0n, NEVER_STORED],
  ]
  checkRange(queue, ranges, bad)
  const flags = queue.usedFlags as bigint
  if (flags > BigInt(spec.VIRTQ_USED_F_NO_NOTIFY) && flags !== NEVER_STORED) bad('usedFlags', `is ${hex(flags)}`)
  if (!isSetUp && size !== device.queueSizeMax) bad('size', `is ${size} before any driver set it`)
  if (isFrozen && !(isPowerOfTwo(size) && size <= (device.queueSizeMax as bigint))) {
    bad('size', `is ${size}, no power of two up to ${device.queueSizeMax}`)
  }
  for (const [name, align] of RING_ALIGNS) {
    const gpa = queue[name] as bigint
    if (!isSetUp && gpa !== 0n) bad(name, `is ${hex(gpa)} before any driver set it`)
    if (isFrozen && gpa % align !== 0n) bad(name, `is ${hex(gpa)}, no multiple of ${align}`)
  }
  // All that was taken was given back; what a trap or the end of a worker has lost, the guest knows of.
  if (isReady && !has(device, spec.VIRTIO_CONFIG_S_NEEDS_RESET) && queue.nextUsed !== queue.nextAvail) {
    bad('nextUsed', `is ${queue.nextUsed}, but ${queue.nextAvail} requests were taken from the ring`)
  }
}

const RING_ALIGNS: readonly (readonly [name: string, align: bigint])[] = [
  ['descGpa', BigInt(spec.VIRTQ_DESC_ALIGN)],
  ['availGpa', BigInt(spec.VIRTQ_AVAIL_ALIGN)],
  ['usedGpa', BigInt(spec.VIRTQ_USED_ALIGN)],
]

function infoOf(device: Values, serial: string): SnapshotInfo {
  const number = (name: string): number => Number(device[name])
  const features = device.deviceFeatures as bigint
  const names = Object.keys(FEATURE_BITS) as FeatureName[]
  const rate = (name: string): bigint | undefined => device[name] || undefined
  return {
    version: VERSION,
    capacityBytes: number('capacitySectors') * spec.VIRTIO_BLK_SECTOR_BYTES,
    readOnly: device.readOnly === 1n,
    serial,
    queues: number('queues'),
    queueSizeMax: number('queueSizeMax'),
    segMax: number('segMax'),
    sizeMax: number('sizeMax'),
    blockSize: number('blockSize'),
    features: names.filter((name) => (features & bit(FEATURE_BITS[name])) !== 0n),
    throttle: {
      iops: rate('opsRate'),
      iopsBurst: rate('opsCapacity'),
      bytesPerSecond: rate('bytesRate'),
      bytesBurst: rate('bytesCapacity'),
    },
    status: number('status'),
  }
}
