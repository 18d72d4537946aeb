// Builds the payload of DISCARD and WRITE_ZEROES requests (5.2.6, struct virtio_blk_discard_write_zeroes): a range
// of sectors cut into segments no longer than the device allows, and segments gathered into requests.
//
// A limit of 0 is taken as none for sectors, as Linux does, and as one for segments. Checks no range.

import {
  VIRTIO_BLK_SEGMENT_BYTES,
  VIRTIO_BLK_SEGMENT_FLAGS,
  VIRTIO_BLK_SEGMENT_NUM_SECTORS,
  VIRTIO_BLK_SEGMENT_SECTOR,
} from '../../assembly/spec.ts'

export interface SectorRange {
  sector: number
  sectors: number
  /** virtio_blk_discard_write_zeroes.flags */
  flags: number
}

const NUM_SECTORS_MAX = 0xffffffff
/** whatever the device allows: a payload of at most 4 KiB */
const SEGMENTS_MAX = 256

/** The requests of `type` that cover the range, in order, each of at most `requestBytes` of payload. */
export function rangeRequests(
  type: number,
  range: SectorRange,
  limits: { maxSectors: number; maxSegments: number },
  requestBytes: number,
): { type: number; sector: number; out: Uint8Array }[] {
  const step = limits.maxSectors || NUM_SECTORS_MAX
  const fitting = Math.floor(requestBytes / VIRTIO_BLK_SEGMENT_BYTES)
  const perRequest = Math.min(limits.maxSegments || 1, SEGMENTS_MAX, fitting)
  const requests: { type: number; sector: number; out: Uint8Array }[] = []
  let sector = range.sector
  const end = range.sector + range.sectors
  while (sector < end) {
    const count = Math.min(perRequest, Math.ceil((end - sector) / step))
    const out = new Uint8Array(VIRTIO_BLK_SEGMENT_BYTES * count)
    const view = new DataView(out.buffer)
    for (let i = 0; i < count; i++) {
      const at = VIRTIO_BLK_SEGMENT_BYTES * i
      const sectors = Math.min(step, end - sector)
      view.setBigUint64(at + VIRTIO_BLK_SEGMENT_SECTOR, BigInt(sector), true)
      view.setUint32(at + VIRTIO_BLK_SEGMENT_NUM_SECTORS, sectors, true)
      view.setUint32(at + VIRTIO_BLK_SEGMENT_FLAGS, range.flags, true)
      sector += sectors
    }
    requests.push({ type, sector: 0, out })
  }
  return requests
}
