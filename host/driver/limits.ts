// How large one request may be: what the device allows (size_max, seg_max; 5.2.4), what a chain on this ring can
// carry (a chain is never longer than the queue, 2.7.5.3.1), and what the driver's memory holds. And where in guest
// RAM that memory lies by default.
//
// Counts only: touches neither registers nor guest memory.

import {
  VIRTIO_BLK_REQ_HEADER_BYTES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTQ_DESC_BYTES,
  VIRTQUEUE_MAX_SIZE,
} from '../../assembly/spec.ts'
import type { BlkConfig } from './config.ts'
import { placeRing } from './ring.ts'
import { DriverError, type DriverMemory } from './types.ts'

export interface RequestLimits {
  /** bytes in one data descriptor */
  segmentBytes: number
  /** data descriptors in one request */
  segments: number
  /** data bytes in one request: a whole number of blocks */
  requestBytes: number
}

export interface LimitsInput {
  config: BlkConfig
  ringSize: number
  indirect: boolean
  /** bytes for buffers */
  heapBytes: number
  /** the caller's own limit for one data descriptor */
  segmentBytes?: number | undefined
}

/** descriptors besides the data: header and status */
const FRAME_DESCRIPTORS = 2
const FRAME_BYTES = VIRTIO_BLK_REQ_HEADER_BYTES + 16
const LEN_MAX = 2 ** 31
/** so many requests of the largest size fit into the memory at once */
const REQUESTS_AT_ONCE = 4
const ARENA_MAX = 16 << 20
const DEFAULT_SIZE_MAX = 256

/** The limits of one request. Throws DriverError if not even one block can be moved. */
export function requestLimits(input: LimitsInput): RequestLimits {
  const { config, ringSize, indirect, heapBytes } = input
  const block = blockBytes(config)
  const segmentBytes = Math.min(input.segmentBytes || LEN_MAX, config.sizeMax || LEN_MAX)
  const chain = Math.max(ringSize - FRAME_DESCRIPTORS, 1)
  const segments = Math.min(config.segMax || 1, chain)
  const frame = FRAME_BYTES + (indirect ? VIRTQ_DESC_BYTES * (segments + FRAME_DESCRIPTORS) : 0)
  const share = Math.max(Math.floor(heapBytes / REQUESTS_AT_ONCE) - frame, Math.min(block, heapBytes - frame))
  const requestBytes = Math.floor(Math.min(segments * segmentBytes, share) / block) * block
  if (requestBytes <= 0) {
    throw new DriverError(
      `driver: no request can carry a block of ${block} bytes: ${segments} segments of ${segmentBytes} bytes, ` +
        `${heapBytes} bytes for buffers`,
    )
  }
  return { segmentBytes, segments, requestBytes }
}

/** The unit in which reads and writes are cut: blk_size if it was negotiated and makes sense, else one sector. */
function blockBytes(config: BlkConfig): number {
  const { blockSize } = config
  return blockSize && blockSize % VIRTIO_BLK_SECTOR_BYTES === 0 ? blockSize : VIRTIO_BLK_SECTOR_BYTES
}

/** The default queue size: the device's maximum, but at most 256, a power of two, and half the memory. */
export function defaultQueueSize(sizeMax: number, memoryBytes: number): number {
  let size = 1
  const most = Math.min(sizeMax, DEFAULT_SIZE_MAX, VIRTQUEUE_MAX_SIZE)
  while (size * 2 <= most && placeRing(0, size * 2).bytes <= memoryBytes / 2) size *= 2
  return size
}

/** The default memory of the driver: the upper half of the first region, but at most 16 MiB. */
export function defaultArena(memory: DriverMemory, arenaBytes: number | undefined): { gpa: number; bytes: number } {
  const region = memory.regions[0]
  if (!region) throw new DriverError('driver: the guest has no memory')
  const bytes = arenaBytes ?? Math.min(Math.floor(region.bytes / 2 / 16) * 16, ARENA_MAX)
  return { gpa: Math.floor((region.gpa + region.bytes - bytes) / 16) * 16, bytes }
}
