// Numbers fixed by the standard: register offsets, status and feature bits, ring layout, block request
// types. Spelled as in OASIS VIRTIO 1.2 (section numbers are the same in 1.3 and 1.4) and in Linux
// include/uapi/linux/virtio_*.h.
//
// Compiled by asc and imported by the host as it is, so every constant is an integer literal or a sum of
// earlier names, below 2^31. Feature bits are bit numbers, never masks. Nothing of ours belongs here: that is abi.ts.

// 4.2.2 MMIO device register layout
export const VIRTIO_MMIO_MAGIC_VALUE = 0x000
export const VIRTIO_MMIO_VERSION = 0x004
export const VIRTIO_MMIO_DEVICE_ID = 0x008
export const VIRTIO_MMIO_VENDOR_ID = 0x00c
export const VIRTIO_MMIO_DEVICE_FEATURES = 0x010
export const VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014
export const VIRTIO_MMIO_DRIVER_FEATURES = 0x020
export const VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024
export const VIRTIO_MMIO_QUEUE_SEL = 0x030
export const VIRTIO_MMIO_QUEUE_SIZE_MAX = 0x034
export const VIRTIO_MMIO_QUEUE_SIZE = 0x038
export const VIRTIO_MMIO_QUEUE_READY = 0x044
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064
export const VIRTIO_MMIO_STATUS = 0x070
export const VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080
export const VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084
export const VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090
export const VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094
export const VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0
export const VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4
export const VIRTIO_MMIO_SHM_SEL = 0x0ac
export const VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0
export const VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4
export const VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8
export const VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc
export const VIRTIO_MMIO_CONFIG = 0x100

export const VIRTIO_MMIO_MAGIC = 0x74726976
export const VIRTIO_MMIO_VERSION_2 = 2
export const VIRTIO_ID_BLOCK = 2

// 4.2.2 InterruptStatus
export const VIRTIO_MMIO_INT_VRING = 1
export const VIRTIO_MMIO_INT_CONFIG = 2

// 2.1 device status field
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1
export const VIRTIO_CONFIG_S_DRIVER = 2
export const VIRTIO_CONFIG_S_DRIVER_OK = 4
export const VIRTIO_CONFIG_S_FEATURES_OK = 8
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40
export const VIRTIO_CONFIG_S_FAILED = 0x80

// 5.2.3 and 6: feature bit numbers
export const VIRTIO_BLK_F_SIZE_MAX = 1
export const VIRTIO_BLK_F_SEG_MAX = 2
export const VIRTIO_BLK_F_RO = 5
export const VIRTIO_BLK_F_BLK_SIZE = 6
export const VIRTIO_BLK_F_FLUSH = 9
export const VIRTIO_BLK_F_TOPOLOGY = 10
export const VIRTIO_BLK_F_CONFIG_WCE = 11
export const VIRTIO_BLK_F_MQ = 12
export const VIRTIO_BLK_F_DISCARD = 13
export const VIRTIO_BLK_F_WRITE_ZEROES = 14
export const VIRTIO_F_INDIRECT_DESC = 28
export const VIRTIO_F_EVENT_IDX = 29
export const VIRTIO_F_VERSION_1 = 32
export const VIRTIO_F_NOTIFICATION_DATA = 38

// 2.7 split virtqueue
export const VIRTQUEUE_MAX_SIZE = 32768
export const VIRTQ_DESC_ALIGN = 16
export const VIRTQ_AVAIL_ALIGN = 2
export const VIRTQ_USED_ALIGN = 4
export const VIRTQ_DESC_BYTES = 16
export const VIRTQ_DESC_ADDR = 0
export const VIRTQ_DESC_LEN = 8
export const VIRTQ_DESC_FLAGS = 12
export const VIRTQ_DESC_NEXT = 14
export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4
export const VIRTQ_AVAIL_FLAGS = 0
export const VIRTQ_AVAIL_IDX = 2
export const VIRTQ_AVAIL_RING = 4
export const VIRTQ_AVAIL_ELEM_BYTES = 2
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
export const VIRTQ_USED_FLAGS = 0
export const VIRTQ_USED_IDX = 2
export const VIRTQ_USED_RING = 4
export const VIRTQ_USED_ELEM_BYTES = 8
export const VIRTQ_USED_ELEM_ID = 0
export const VIRTQ_USED_ELEM_LEN = 4
export const VIRTQ_USED_F_NO_NOTIFY = 1

// 5.2.4 device configuration layout (offsets from VIRTIO_MMIO_CONFIG)
export const VIRTIO_BLK_CFG_CAPACITY = 0
export const VIRTIO_BLK_CFG_SIZE_MAX = 8
export const VIRTIO_BLK_CFG_SEG_MAX = 12
export const VIRTIO_BLK_CFG_BLK_SIZE = 20
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
export const VIRTIO_BLK_CFG_BYTES = 96

// 5.2.6 device operation
export const VIRTIO_BLK_T_IN = 0
export const VIRTIO_BLK_T_OUT = 1
export const VIRTIO_BLK_T_FLUSH = 4
export const VIRTIO_BLK_T_GET_ID = 8
export const VIRTIO_BLK_T_DISCARD = 11
export const VIRTIO_BLK_T_WRITE_ZEROES = 13
export const VIRTIO_BLK_REQ_TYPE = 0
export const VIRTIO_BLK_REQ_SECTOR = 8
export const VIRTIO_BLK_REQ_HEADER_BYTES = 16
export const VIRTIO_BLK_ID_BYTES = 20
export const VIRTIO_BLK_SECTOR_BYTES = 512
export const VIRTIO_BLK_SECTOR_BITS = 9
export const VIRTIO_BLK_S_OK = 0
export const VIRTIO_BLK_S_IOERR = 1
export const VIRTIO_BLK_S_UNSUPP = 2
// struct virtio_blk_discard_write_zeroes
export const VIRTIO_BLK_SEGMENT_BYTES = 16
export const VIRTIO_BLK_SEGMENT_SECTOR = 0
export const VIRTIO_BLK_SEGMENT_NUM_SECTORS = 8
export const VIRTIO_BLK_SEGMENT_FLAGS = 12
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1
