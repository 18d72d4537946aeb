// Between a snapshot and a device's state block, and between a snapshot and the options of a restore (device rule 26).
// A restore is decided before anything is allocated: what the options leave out is taken from the snapshot, what they
// say otherwise is refused, and the rings must lie in the guest RAM that is there. Portable.

import * as abi from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import { type EngineState, queueOffset } from '../engine/state.ts'
import type { Region } from './guest-memory.ts'
import { featureWord, sectorsOf, stateConfig, type VirtioBlkOptions } from './options.ts'
import {
  DEVICE_FIELDS,
  decodeSnapshot,
  encodeSnapshot,
  LIVE_FIELDS,
  offsetOf,
  QUEUE_FIELDS,
  queueOffsetOf,
  readField,
  type Snapshot,
  SnapshotError,
  type Values,
  writeField,
} from './snapshot.ts'
import { throttleRecord } from './throttle.ts'

/** What a restored disk may be unlike the one of the snapshot in, if its owner says so. */
export type Overridable = 'capacity' | 'serial' | 'readOnly'

type DiskOptions = Omit<VirtioBlkOptions, 'backend'>

/** What is left out comes from the snapshot; what is given must be as in the snapshot, unless overridden. */
export interface RestoreOptions extends VirtioBlkOptions {
  readonly override?: readonly Overridable[]
}

/** A restore that nothing speaks against any more but, perhaps, the size of its back end. */
export interface Restoration<Options> {
  readonly options: Options
  readonly snapshot: Snapshot
  readonly override: readonly Overridable[]
}

const OVERRIDABLE: readonly Overridable[] = ['capacity', 'serial', 'readOnly']
const SIZES = ['queues', 'queueSizeMax', 'segMax', 'sizeMax', 'blockSize'] as const

/** Throws SnapshotError for what the snapshot has against it, RangeError or TypeError for an option that is wrong. */
export function planRestore<Options extends DiskOptions>(
  bytes: Uint8Array,
  given: Options & { readonly override?: readonly Overridable[] },
): Restoration<Options> {
  const { override = [], ...options } = given
  for (const name of override) {
    if (!OVERRIDABLE.includes(name)) {
      throw new TypeError(`VirtioBlk: override names one or more of ${OVERRIDABLE.join(', ')}, not '${name}'`)
    }
  }
  const snapshot = decodeSnapshot(bytes)
  const { device, info } = snapshot
  for (const name of SIZES) if (options[name] !== undefined) same(name, name, info[name], options[name])
  const merged = {
    ...options,
    ...Object.fromEntries(SIZES.map((name) => [name, info[name]])),
    readOnly: options.readOnly ?? info.readOnly,
    serial: options.serial ?? info.serial,
    features: options.features ?? info.features.filter((name) => name !== 'RO'),
    throttle: options.throttle ?? info.throttle,
  }
  const backend = { capacityBytes: info.capacityBytes } as VirtioBlkOptions['backend']
  const config = stateConfig({ ...merged, backend } as VirtioBlkOptions)
  if (!override.includes('readOnly')) same('readOnly', 'readOnly', info.readOnly, config.readOnly, 'readOnly')
  const serial = new Uint8Array(spec.VIRTIO_BLK_ID_BYTES)
  serial.set(config.serial)
  if (!override.includes('serial') && serial.some((byte, i) => byte !== snapshot.serial[i])) {
    same('serial', 'serial', `'${info.serial}'`, `'${merged.serial}'`, 'serial')
  }
  if (options.features !== undefined) {
    const wanted = featureWord(options.features, info.readOnly)
    same('deviceFeatures', 'features', hex(device.deviceFeatures), hex(wanted))
  }
  const throttle = throttleRecord(merged.throttle)
  for (const name of ['opsRate', 'opsCapacity', 'bytesRate', 'bytesCapacity'] as const) {
    same(name, 'throttle', device[name], throttle[name])
  }
  checkRings(snapshot, options.memory.regions)
  return { options: merged as unknown as Options, snapshot, override }
}

/** The last check, as soon as the size of the back end is known. */
export function checkCapacity({ override, snapshot }: Restoration<unknown>, capacityBytes: number): void {
  const sectors = BigInt(sectorsOf('backend.capacityBytes', capacityBytes))
  if (override.includes('capacity')) return
  same('capacitySectors', 'backend.capacityBytes', snapshot.device.capacitySectors, sectors, 'capacity')
}

function hex(value: bigint | undefined): string {
  return `0x${value?.toString(16)}`
}

function same<T>(field: string, option: string, then: T, now: T, override?: Overridable): void {
  if (then === now) return
  const remedy = override === undefined ? '' : `; to have it so, give override: ['${override}']`
  throw new SnapshotError(field, offsetOf(field), `is ${then}, the option ${option} makes it ${now}${remedy}`)
}

/** Rule 3: all rings of ready queues, event slots included, in guest RAM, across touching regions too. */
function checkRings({ queues }: Snapshot, regions: readonly Region[]): void {
  queues.forEach((queue, i) => {
    if (queue.ready !== 1n) return
    const size = Number(queue.size)
    const rings: readonly (readonly [name: string, bytes: number])[] = [
      ['descGpa', spec.VIRTQ_DESC_BYTES * size],
      ['availGpa', spec.VIRTQ_AVAIL_RING + spec.VIRTQ_AVAIL_ELEM_BYTES * size + 2],
      ['usedGpa', spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * size + 2],
    ]
    for (const [name, bytes] of rings) {
      const gpa = queue[name] as bigint
      if (isRam(regions, gpa, BigInt(bytes))) continue
      throw new SnapshotError(
        `queues[${i}].${name}`,
        queueOffsetOf(i, name),
        `is ${hex(gpa)}: these ${bytes} bytes are not all guest RAM here`,
      )
    }
  })
}

function isRam(regions: readonly Region[], gpa: bigint, bytes: bigint): boolean {
  let at = gpa
  while (at < gpa + bytes) {
    const region = regions.find((each) => BigInt(each.gpa) <= at && at < BigInt(each.gpa + each.bytes))
    if (region === undefined) return false
    at = BigInt(region.gpa + region.bytes)
  }
  return true
}

// The state block ------------------------------------------------------------------------------------------

const SECOND = 1_000_000_000n
const BALANCE_MAX = 2n ** 63n - 1n

/** As the engine's toNanos(). */
function toNanos(now: number): bigint {
  if (!(now > 0)) return 0n
  return now >= 9.2e18 ? 9_200_000_000_000_000_000n : BigInt(Math.floor(now))
}

/** A snapshot of a device at time `now` (ns), in which nothing is in flight. The state is only looked at. */
export function captureSnapshot(state: EngineState, now: number): Uint8Array {
  const view = state.view()
  const nanos = toNanos(now)
  const device: Values = {}
  for (const [name, kind, at] of DEVICE_FIELDS) if (kind !== 'serial') device[name] = readField(view, at, kind)
  refill(view, device, 'ops', abi.STATE_OPS_BUCKET, nanos)
  refill(view, device, 'bytes', abi.STATE_BYTES_BUCKET, nanos)
  const serial = new Uint8Array(spec.VIRTIO_BLK_ID_BYTES)
  for (let i = 0; i < serial.length; i++) serial[i] = view.getUint8(abi.STATE_SERIAL + i)
  const queues = Array.from({ length: Number(device.queues) }, (_, i) => {
    const at = queueOffset(i)
    const queue: Values = {}
    for (const [name, kind, offset] of QUEUE_FIELDS) queue[name] = readField(view, at + offset, kind)
    queue.waitNanos = 0n
    if (queue.stalled === 1n) {
      const stalledAt = view.getBigUint64(at + abi.QUEUE_STALLED_AT, true)
      const wait = BigInt(view.getFloat64(at + abi.QUEUE_STALL_NANOS, true))
      const gone = nanos > stalledAt ? nanos - stalledAt : 0n
      queue.waitNanos = wait > gone ? wait - gone : 1n
      // Rule 23: what has been waited so far; the rest is counted from the restore on.
      device.throttledNanos = (device.throttledNanos as bigint) + gone
    }
    return queue
  })
  return encodeSnapshot(device, serial, queues)
}

/** Brings a balance up to `now`, exactly as the engine does (assembly/throttle.ts). */
function refill(view: DataView, device: Values, name: 'ops' | 'bytes', at: number, now: bigint): void {
  const rate = view.getBigUint64(at + abi.BUCKET_RATE, true)
  const capacity = view.getBigUint64(at + abi.BUCKET_CAPACITY, true)
  const last = view.getBigUint64(at + abi.BUCKET_LAST, true)
  if (rate === 0n || now <= last) return
  const [balance, fraction] = [device[`${name}Balance`] as bigint, device[`${name}Fraction`] as bigint]
  const part = rate * (now - last) + fraction
  const whole = part / SECOND
  const earned = whole < BALANCE_MAX ? whole : BALANCE_MAX
  const isFull = earned > capacity - balance
  device[`${name}Balance`] = isFull ? capacity : balance + earned
  device[`${name}Fraction`] = isFull ? 0n : part % SECOND
}

/** Writes what init() and setThrottle() have left to the snapshot. thaw() is to follow. */
export function applySnapshot(state: EngineState, { device, queues }: Snapshot): void {
  const view = state.view()
  for (const [name, kind, at] of LIVE_FIELDS) writeField(view, at, kind, device[name] as bigint)
  queues.forEach((queue, i) => {
    const at = queueOffset(i)
    for (const [name, kind, offset] of QUEUE_FIELDS) writeField(view, at + offset, kind, queue[name] as bigint)
    // Nothing is in flight, so what was written has been published.
    writeField(view, at + abi.QUEUE_NEXT_USED, 'u32', queue.nextUsed as bigint)
    view.setFloat64(at + abi.QUEUE_STALL_NANOS, Number(queue.waitNanos), true)
  })
}
