// Numbers of the standard (OASIS VIRTIO 1.2: 5.2.3, 5.2.4, 5.2.6, 6) that a driver needs and assembly/spec.ts does
// not hold. Same spelling as the standard and Linux, feature bits as bit numbers, all values below 2^31.
//
// Nothing of ours belongs here, and nothing that spec.ts has.

export const VIRTIO_BLK_F_TOPOLOGY = 10
export const VIRTIO_BLK_F_MQ = 12
export const VIRTIO_BLK_F_DISCARD = 13
export const VIRTIO_BLK_F_WRITE_ZEROES = 14
export const VIRTIO_F_NOTIFICATION_DATA = 38

export const VIRTIO_BLK_CFG_PHYSICAL_BLOCK_EXP = 24
export const VIRTIO_BLK_CFG_ALIGNMENT_OFFSET = 25
export const VIRTIO_BLK_CFG_MIN_IO_SIZE = 26
export const VIRTIO_BLK_CFG_OPT_IO_SIZE = 28
export const VIRTIO_BLK_CFG_WRITEBACK = 32
export const VIRTIO_BLK_CFG_NUM_QUEUES = 34
export const VIRTIO_BLK_CFG_MAX_DISCARD_SECTORS = 36
export const VIRTIO_BLK_CFG_MAX_DISCARD_SEG = 40
export const VIRTIO_BLK_CFG_DISCARD_SECTOR_ALIGNMENT = 44
export const VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SECTORS = 48
export const VIRTIO_BLK_CFG_MAX_WRITE_ZEROES_SEG = 52
export const VIRTIO_BLK_CFG_WRITE_ZEROES_MAY_UNMAP = 56

export const VIRTIO_BLK_T_DISCARD = 11
export const VIRTIO_BLK_T_WRITE_ZEROES = 13
// 5.2.6 struct virtio_blk_discard_write_zeroes
export const VIRTIO_BLK_SEGMENT_BYTES = 16
export const VIRTIO_BLK_SEGMENT_SECTOR = 0
export const VIRTIO_BLK_SEGMENT_NUM_SECTORS = 8
export const VIRTIO_BLK_SEGMENT_FLAGS = 12
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1
