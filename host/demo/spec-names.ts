// The standard's names for bits, features and status bytes, as the page shows them. Portable.

import * as spec from '../../assembly/spec.ts'

type Names = readonly (readonly [bit: number, name: string])[]

export const STATUS_NAMES: Names = [
  [spec.VIRTIO_CONFIG_S_ACKNOWLEDGE, 'ACKNOWLEDGE'],
  [spec.VIRTIO_CONFIG_S_DRIVER, 'DRIVER'],
  [spec.VIRTIO_CONFIG_S_FEATURES_OK, 'FEATURES_OK'],
  [spec.VIRTIO_CONFIG_S_DRIVER_OK, 'DRIVER_OK'],
  [spec.VIRTIO_CONFIG_S_NEEDS_RESET, 'NEEDS_RESET'],
  [spec.VIRTIO_CONFIG_S_FAILED, 'FAILED'],
]

export const INTERRUPT_NAMES: Names = [
  [spec.VIRTIO_MMIO_INT_VRING, 'VRING'],
  [spec.VIRTIO_MMIO_INT_CONFIG, 'CONFIG'],
]

const DESC_FLAG_NAMES: Names = [
  [spec.VIRTQ_DESC_F_NEXT, 'NEXT'],
  [spec.VIRTQ_DESC_F_WRITE, 'WRITE'],
  [spec.VIRTQ_DESC_F_INDIRECT, 'INDIRECT'],
]

/** Of a request's status byte, which is the index. */
export const STATUS_BYTE_NAMES: readonly string[] = ['OK', 'IOERR', 'UNSUPP']

/** By bit number. */
const FEATURES: Readonly<Record<number, string>> = {
  [spec.VIRTIO_BLK_F_SIZE_MAX]: 'SIZE_MAX',
  [spec.VIRTIO_BLK_F_SEG_MAX]: 'SEG_MAX',
  [spec.VIRTIO_BLK_F_RO]: 'RO',
  [spec.VIRTIO_BLK_F_BLK_SIZE]: 'BLK_SIZE',
  [spec.VIRTIO_BLK_F_FLUSH]: 'FLUSH',
  [spec.VIRTIO_BLK_F_TOPOLOGY]: 'TOPOLOGY',
  [spec.VIRTIO_BLK_F_CONFIG_WCE]: 'CONFIG_WCE',
  [spec.VIRTIO_BLK_F_MQ]: 'MQ',
  [spec.VIRTIO_BLK_F_DISCARD]: 'DISCARD',
  [spec.VIRTIO_BLK_F_WRITE_ZEROES]: 'WRITE_ZEROES',
  [spec.VIRTIO_F_INDIRECT_DESC]: 'INDIRECT_DESC',
  [spec.VIRTIO_F_EVENT_IDX]: 'EVENT_IDX',
  [spec.VIRTIO_F_VERSION_1]: 'VERSION_1',
  [spec.VIRTIO_F_NOTIFICATION_DATA]: 'NOTIFICATION_DATA',
}

export function featureName(bit: number): string {
  return FEATURES[bit] ?? `bit ${bit}`
}

/** Names of the bits that are set; what has no name as a number. */
export function namesOf(bits: number, names: Names): string[] {
  const known = names.filter(([bit]) => (bits & bit) !== 0)
  const rest = (known.reduce((left, [bit]) => left & ~bit, bits) >>> 0) as number
  return [...known.map(([, name]) => name), ...(rest === 0 ? [] : [`0x${rest.toString(16)}`])]
}

export function descFlagNames(flags: number): string[] {
  return namesOf(flags, DESC_FLAG_NAMES)
}
