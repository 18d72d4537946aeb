// What a disk can be asked to be, checked before anything is allocated: every message names the option, what was
// given and what is possible. Portable.

import { QUEUES_MAX } from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import type { BlockBackend } from '../backend/types.ts'
import type { EngineLoader } from '../engine/engine.ts'
import type { StateConfig } from '../engine/state.ts'
import type { GuestMemory } from './guest-memory.ts'
import type { ThrottleOptions } from './throttle.ts'

/** Features a device can offer, by the names of the standard. VERSION_1 is always offered, RO on a read-only disk. */
export const FEATURE_BITS = {
  SIZE_MAX: spec.VIRTIO_BLK_F_SIZE_MAX,
  SEG_MAX: spec.VIRTIO_BLK_F_SEG_MAX,
  RO: spec.VIRTIO_BLK_F_RO,
  BLK_SIZE: spec.VIRTIO_BLK_F_BLK_SIZE,
  FLUSH: spec.VIRTIO_BLK_F_FLUSH,
  RING_EVENT_IDX: spec.VIRTIO_F_EVENT_IDX,
  VERSION_1: spec.VIRTIO_F_VERSION_1,
} as const
export type FeatureName = keyof typeof FEATURE_BITS

const CORE: readonly FeatureName[] = ['SIZE_MAX', 'SEG_MAX', 'BLK_SIZE', 'FLUSH', 'RING_EVENT_IDX']

export interface VirtioBlkOptions {
  memory: GuestMemory
  backend: BlockBackend
  /** refuse writes and offer RO. Default false. */
  readOnly?: boolean
  /** what GET_ID answers: ASCII, at most 20 bytes, padded with NULs. Default 'virtio-blk-wasm'. */
  serial?: string
  /** number of request queues, 1..64. Default 1. More than one needs MQ, which is not offered yet. */
  queues?: number
  /** largest queue size, a power of two up to 32768. Default 256. */
  queueSizeMax?: number
  /** data descriptors per request, at most queueSizeMax - 2. Default 128, or queueSizeMax - 2 where that is less. */
  segMax?: number
  /** bytes per data descriptor. Default 1 MiB. */
  sizeMax?: number
  /** unit of reads and writes in bytes, a power of two from 512 to 65536. Default 512. */
  blockSize?: number
  /** 'core' (default): the reference set; 'full': all that is implemented; or the names of the features to offer */
  features?: 'core' | 'full' | readonly FeatureName[]
  throttle?: ThrottleOptions
  /**
   * Monotonic time in nanoseconds. Default: performance.now(). A disk with a clock of its own sets no timer for a
   * stall: its owner calls poll(), which is how tests make time.
   */
  clock?: () => number
  /** Called when the interrupt is raised; production does write(irqfd). */
  onInterrupt?: () => void
  /** Called once per failure that ends service (rule 7), with one line. Default: console.error. */
  onFailure?: (message: string) => void
  /** which engine to run; default: the flavour that fits the memory */
  engine?: EngineLoader
}

const NAMES: ReadonlySet<string> = new Set<keyof VirtioBlkOptions>([
  'memory',
  'backend',
  'readOnly',
  'serial',
  'queues',
  'queueSizeMax',
  'segMax',
  'sizeMax',
  'blockSize',
  'features',
  'throttle',
  'clock',
  'onInterrupt',
  'onFailure',
  'engine',
])

function integer(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`VirtioBlk: ${name} must be a whole number from ${min} to ${max}, not ${value}`)
  }
  return value
}

function powerOfTwo(name: string, value: number, min: number, max: number): number {
  integer(name, value, min, max)
  if ((value & (value - 1)) !== 0) throw new RangeError(`VirtioBlk: ${name} must be a power of two, not ${value}`)
  return value
}

function serialBytes(serial: string): Uint8Array {
  const bytes = new TextEncoder().encode(serial)
  if (bytes.length > spec.VIRTIO_BLK_ID_BYTES) {
    throw new RangeError(
      `VirtioBlk: serial '${serial}' has ${bytes.length} bytes, GET_ID holds ${spec.VIRTIO_BLK_ID_BYTES}`,
    )
  }
  return bytes
}

/** The features that a device of these options offers, as the standard's bits. */
export function featureWord(features: 'core' | 'full' | readonly FeatureName[], readOnly: boolean): bigint {
  const names = features === 'core' || features === 'full' ? CORE : features
  let word = 1n << BigInt(spec.VIRTIO_F_VERSION_1)
  if (readOnly) word |= 1n << BigInt(spec.VIRTIO_BLK_F_RO)
  for (const name of names) {
    const bit = FEATURE_BITS[name]
    if (bit === undefined) {
      throw new RangeError(`VirtioBlk: feature '${name}' is not one of ${Object.keys(FEATURE_BITS).join(', ')}`)
    }
    if (name === 'RO' && !readOnly) throw new RangeError("VirtioBlk: feature 'RO' needs readOnly: true")
    word |= 1n << BigInt(bit)
  }
  return word
}

/** Whole sectors of a size in bytes. */
export function sectorsOf(name: string, bytes: number): number {
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new RangeError(`VirtioBlk: ${name} must be a number of bytes from 0 to 2^53 - 1, not ${bytes}`)
  }
  return Math.floor(bytes / spec.VIRTIO_BLK_SECTOR_BYTES)
}

/** The configuration record of a disk, or a RangeError or TypeError that names the option. */
export function stateConfig(options: VirtioBlkOptions): StateConfig {
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) throw new TypeError(`VirtioBlk: there is no option '${name}'`)
  }
  if (options.memory === undefined) throw new TypeError('VirtioBlk: the option memory is missing (a GuestMemory)')
  if (options.backend === undefined) throw new TypeError('VirtioBlk: the option backend is missing (a BlockBackend)')
  const readOnly = options.readOnly ?? false
  const queueSizeMax = powerOfTwo('queueSizeMax', options.queueSizeMax ?? 256, 4, spec.VIRTQUEUE_MAX_SIZE)
  return {
    deviceFeatures: featureWord(options.features ?? 'core', readOnly),
    capacitySectors: sectorsOf('backend.capacityBytes', options.backend.capacityBytes),
    queues: integer('queues', options.queues ?? 1, 1, QUEUES_MAX),
    queueSizeMax,
    segMax: integer('segMax', options.segMax ?? Math.min(128, queueSizeMax - 2), 1, queueSizeMax - 2),
    sizeMax: integer('sizeMax', options.sizeMax ?? 1 << 20, 1, 0xffffffff),
    blockSize: powerOfTwo('blockSize', options.blockSize ?? 512, 512, 65536),
    readOnly,
    serial: serialBytes(options.serial ?? 'virtio-blk-wasm'),
    regions: options.memory.regions,
  }
}
