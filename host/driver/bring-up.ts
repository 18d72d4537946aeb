// Brings a block device from any state to DRIVER_OK in the order of the standard: 3.1.1 (general initialisation),
// 4.2.3.1 (is there a device), 4.2.3.2 (each queue), 2.2 and 5.2.3 (features). Whatever goes wrong after the reset
// ends with FAILED in Status and a thrown DriverError.
//
// Zeroes the rings in guest RAM that the caller gave it; starts no request, keeps no state.

import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_VERSION_1,
  VIRTIO_ID_BLOCK,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_VERSION_2,
} from '../../assembly/spec.ts'
import { HeapArena } from './arena.ts'
import { type BlkConfig, readConfig } from './config.ts'
import { defaultQueueSize, type RequestLimits, requestLimits } from './limits.ts'
import type { Registers } from './registers.ts'
import { RequestQueue } from './request-queue.ts'
import { placeRing, SplitRing } from './ring.ts'
import { DeviceMisbehaved, DriverError, type DriverMemory } from './types.ts'

/** The feature bits that this driver implements; VERSION_1 is not optional. */
export const UNDERSTOOD_FEATURES: ReadonlySet<number> = new Set([
  VIRTIO_F_VERSION_1,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_WRITE_ZEROES,
])

export interface BringUpOptions {
  reg: Registers
  memory: DriverMemory
  /** guest RAM for rings and buffers */
  arena: { gpa: number; bytes: number }
  queueSize: number | undefined
  queues: number
  segmentBytes: number | undefined
  interrupts: boolean
  features: ((offered: Set<number>) => Iterable<number>) | undefined
  resetTimeoutMs: number
}

/** A device at DRIVER_OK. */
export interface LiveDevice {
  offered: ReadonlySet<number>
  features: ReadonlySet<number>
  config: BlkConfig
  queues: RequestQueue[]
  limits: RequestLimits
}

const SLICE_ALIGN = 16
const QUEUE_SIZE_TEXT = 'a power of two, at least 1'

/** Throws DriverError unless there is a virtio-mmio block device of version 2 behind the window (4.2.2, 4.2.3.1.1). */
export function identify(reg: Registers): void {
  const { magic, version, deviceId } = reg
  if (magic !== VIRTIO_MMIO_MAGIC)
    throw new DriverError(`driver: MagicValue is 0x${magic.toString(16)}: no virtio-mmio`)
  if (version !== VIRTIO_MMIO_VERSION_2) throw new DriverError(`driver: Version is ${version}, only 2 is supported`)
  if (deviceId !== VIRTIO_ID_BLOCK) throw new DriverError(`driver: DeviceID is ${deviceId}, not a block device`)
}

/** Writes 0 to Status and waits until it reads 0 (2.4): only then has the device let go of guest RAM. */
export async function resetDevice(reg: Registers, timeoutMs: number): Promise<void> {
  reg.status = 0
  const end = Date.now() + timeoutMs
  while (reg.status !== 0) {
    if (Date.now() > end) throw new DeviceMisbehaved(`Status does not read 0 within ${timeoutMs} ms after a reset`)
    await new Promise<void>((resolve) => setTimeout(resolve, 1))
  }
}

/** 3.1.1, steps 1 to 8. */
export async function bringUp(options: BringUpOptions): Promise<LiveDevice> {
  const { reg } = options
  await resetDevice(reg, options.resetTimeoutMs)
  try {
    reg.status = VIRTIO_CONFIG_S_ACKNOWLEDGE
    reg.status = VIRTIO_CONFIG_S_ACKNOWLEDGE + VIRTIO_CONFIG_S_DRIVER
    const offered = reg.offeredFeatures()
    const features = chooseFeatures(offered, options.features)
    reg.acceptFeatures(features)
    const accepted = VIRTIO_CONFIG_S_ACKNOWLEDGE + VIRTIO_CONFIG_S_DRIVER + VIRTIO_CONFIG_S_FEATURES_OK
    reg.status = accepted
    if ((reg.status & VIRTIO_CONFIG_S_FEATURES_OK) === 0) {
      throw new DriverError(`driver: the device refuses the features ${[...features].join(', ')}`)
    }
    const config = readConfig(reg, features)
    const { queues, limits } = setUpQueues(options, features, config)
    reg.status = accepted + VIRTIO_CONFIG_S_DRIVER_OK
    const status = reg.status
    if (status & VIRTIO_CONFIG_S_NEEDS_RESET || !(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
      throw new DeviceMisbehaved(`Status reads 0x${status.toString(16)} after DRIVER_OK`)
    }
    return { offered, features, config, queues, limits }
  } catch (error) {
    reg.status = (reg.status | VIRTIO_CONFIG_S_FAILED) >>> 0
    throw error
  }
}

function chooseFeatures(
  offered: Set<number>,
  choose: ((offered: Set<number>) => Iterable<number>) | undefined,
): Set<number> {
  if (!offered.has(VIRTIO_F_VERSION_1)) throw new DriverError('driver: the device does not offer VERSION_1')
  const chosen = new Set(choose ? choose(new Set(offered)) : [...offered].filter((bit) => UNDERSTOOD_FEATURES.has(bit)))
  chosen.add(VIRTIO_F_VERSION_1)
  for (const bit of chosen) {
    if (!offered.has(bit)) throw new DriverError(`driver: feature ${bit} was chosen but is not offered`)
    if (!UNDERSTOOD_FEATURES.has(bit)) throw new DriverError(`driver: feature ${bit} was chosen but is not implemented`)
  }
  return chosen
}

interface QueueSlice {
  gpa: number
  bytes: number
}

function setUpQueues(
  options: BringUpOptions,
  features: ReadonlySet<number>,
  config: BlkConfig,
): { queues: RequestQueue[]; limits: RequestLimits } {
  const { arena, queues: count } = options
  if (count > (config.queues ?? 1)) {
    throw new DriverError(`driver: queues is ${count}, the device has ${config.queues ?? 1}`)
  }
  const bytes = Math.floor(arena.bytes / count / SLICE_ALIGN) * SLICE_ALIGN
  const queues: RequestQueue[] = []
  let limits: RequestLimits | undefined
  for (let index = 0; index < count; index++) {
    const made = setUpQueue(options, features, config, index, { gpa: arena.gpa + bytes * index, bytes })
    queues.push(made.queue)
    if (!limits || made.limits.requestBytes < limits.requestBytes) limits = made.limits
  }
  if (!limits) throw new DriverError('driver: queues must be at least 1')
  return { queues, limits }
}

/** 4.2.3.2, for one queue; its ring lies at the start of its slice of memory, buffers behind it. */
function setUpQueue(
  options: BringUpOptions,
  features: ReadonlySet<number>,
  config: BlkConfig,
  index: number,
  slice: QueueSlice,
): { queue: RequestQueue; limits: RequestLimits } {
  const { reg, memory } = options
  reg.selectQueue(index)
  if (reg.queueReady !== 0) throw new DeviceMisbehaved(`QueueReady of queue ${index} is not 0 after a reset`)
  const sizeMax = reg.queueSizeMax
  if (sizeMax === 0) throw new DriverError(`driver: the device has no queue ${index}`)
  const size = options.queueSize ?? defaultQueueSize(sizeMax, slice.bytes)
  if (!(size >= 1 && size <= sizeMax && Number.isInteger(Math.log2(size)))) {
    throw new DriverError(`driver: queueSize must be ${QUEUE_SIZE_TEXT} and at most ${sizeMax}, not ${size}`)
  }
  const place = placeRing(slice.gpa, size)
  const heapAt = Math.ceil((slice.gpa + place.bytes) / SLICE_ALIGN) * SLICE_ALIGN
  const heapBytes = slice.gpa + slice.bytes - heapAt
  const indirect = features.has(VIRTIO_F_INDIRECT_DESC)
  const limits = requestLimits({ config, ringSize: size, indirect, heapBytes, segmentBytes: options.segmentBytes })
  memory.view(slice.gpa, place.bytes).fill(0)
  const eventIdx = features.has(VIRTIO_F_EVENT_IDX)
  const ring = new SplitRing({ memory, place, size, eventIdx, interrupts: options.interrupts })

  reg.queueSize = size
  reg.setQueueAddresses(place.desc, place.avail, place.used)
  reg.queueReady = 1
  if (reg.queueReady !== 1) throw new DeviceMisbehaved(`QueueReady of queue ${index} does not become 1 (size ${size})`)
  const withIdx = features.has(VIRTIO_F_NOTIFICATION_DATA)
  const notification = (availIdx: number): number => (withIdx ? availIdx * 0x10000 + index : index)
  const heap = new HeapArena(heapAt, heapBytes)
  const { segmentBytes } = limits
  const queue = new RequestQueue({ reg, memory, ring, heap, segmentBytes, indirect, notification })
  return { queue, limits }
}
