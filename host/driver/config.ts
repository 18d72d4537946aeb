// The configuration space of a block device (5.2.4) as the driver sees it: read as a whole inside the
// ConfigGeneration loop (2.5.1, 4.2.2.2), each field only if its feature was negotiated, with accesses of the
// field's own width and 64-bit fields as two words.
//
// Judges no value: limits that make no sense are the request builder's business (limits.ts).

import {
  VIRTIO_BLK_CFG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CFG_BLK_SIZE,
  VIRTIO_BLK_CFG_CAPACITY,
  VIRTIO_BLK_CFG_DISCARD_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CFG_MAX_DISCARD_SECTORS,
  VIRTIO_BLK_CFG_MAX_DISCARD_SEG,
  VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SECTORS,
  VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SEG,
  VIRTIO_BLK_CFG_MIN_IO_SIZE,
  VIRTIO_BLK_CFG_NUM_QUEUES,
  VIRTIO_BLK_CFG_OPT_IO_SIZE,
  VIRTIO_BLK_CFG_PHYSICAL_BLOCK_EXP,
  VIRTIO_BLK_CFG_SEG_MAX,
  VIRTIO_BLK_CFG_SIZE_MAX,
  VIRTIO_BLK_CFG_WRITE_ZEROES_MAY_UNMAP,
  VIRTIO_BLK_CFG_WRITEBACK,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '../../assembly/spec.ts'
import type { Registers } from './registers.ts'
import { DeviceMisbehaved } from './types.ts'

/** What the device says about itself. A field whose feature was not negotiated is undefined. */
export interface BlkConfig {
  /** in sectors of 512 bytes; a capacity above 2^53 loses its low bits */
  capacitySectors: number
  /** bytes in one data segment */
  sizeMax: number | undefined
  /** data segments in one request */
  segMax: number | undefined
  /** bytes */
  blockSize: number | undefined
  topology: { physicalBlockExp: number; alignmentOffset: number; minIoBlocks: number; optIoBlocks: number } | undefined
  /** the write cache is on: a write is durable only after a flush */
  writeback: boolean | undefined
  /** number of request queues */
  queues: number | undefined
  discard: { maxSectors: number; maxSegments: number; alignSectors: number } | undefined
  writeZeroes: { maxSectors: number; maxSegments: number; mayUnmap: boolean } | undefined
}

/** a generation that changes this often is not a change but a fault */
const GENERATION_RETRIES = 1000

/** Reads the whole configuration, untorn. Throws DeviceMisbehaved if the generation never settles. */
export function readConfig(reg: Registers, features: ReadonlySet<number>): BlkConfig {
  for (let attempt = 0; attempt < GENERATION_RETRIES; attempt++) {
    const before = reg.configGeneration
    const config = readFields(reg, features)
    if (reg.configGeneration === before) return config
  }
  throw new DeviceMisbehaved(`ConfigGeneration changed during each of ${GENERATION_RETRIES} reads of the configuration`)
}

function readFields(reg: Registers, features: ReadonlySet<number>): BlkConfig {
  const gated = <T>(feature: number, read: () => T): T | undefined => (features.has(feature) ? read() : undefined)
  return {
    capacitySectors: Number(reg.config64(VIRTIO_BLK_CFG_CAPACITY)),
    sizeMax: gated(VIRTIO_BLK_F_SIZE_MAX, () => reg.config(VIRTIO_BLK_CFG_SIZE_MAX)),
    segMax: gated(VIRTIO_BLK_F_SEG_MAX, () => reg.config(VIRTIO_BLK_CFG_SEG_MAX)),
    blockSize: gated(VIRTIO_BLK_F_BLK_SIZE, () => reg.config(VIRTIO_BLK_CFG_BLK_SIZE)),
    topology: gated(VIRTIO_BLK_F_TOPOLOGY, () => ({
      physicalBlockExp: reg.config(VIRTIO_BLK_CFG_PHYSICAL_BLOCK_EXP, 1),
      alignmentOffset: reg.config(VIRTIO_BLK_CFG_ALIGNMENT_OFFSET, 1),
      minIoBlocks: reg.config(VIRTIO_BLK_CFG_MIN_IO_SIZE, 2),
      optIoBlocks: reg.config(VIRTIO_BLK_CFG_OPT_IO_SIZE),
    })),
    writeback: gated(VIRTIO_BLK_F_CONFIG_WCE, () => reg.config(VIRTIO_BLK_CFG_WRITEBACK, 1) !== 0),
    queues: gated(VIRTIO_BLK_F_MQ, () => reg.config(VIRTIO_BLK_CFG_NUM_QUEUES, 2)),
    discard: gated(VIRTIO_BLK_F_DISCARD, () => ({
      maxSectors: reg.config(VIRTIO_BLK_CFG_MAX_DISCARD_SECTORS),
      maxSegments: reg.config(VIRTIO_BLK_CFG_MAX_DISCARD_SEG),
      alignSectors: reg.config(VIRTIO_BLK_CFG_DISCARD_SECTOR_ALIGNMENT),
    })),
    writeZeroes: gated(VIRTIO_BLK_F_WRITE_ZEROES, () => ({
      maxSectors: reg.config(VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SECTORS),
      maxSegments: reg.config(VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SEG),
      mayUnmap: reg.config(VIRTIO_BLK_CFG_WRITE_ZEROES_MAY_UNMAP, 1) !== 0,
    })),
  }
}
