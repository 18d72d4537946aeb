// The usual ways to lay a request out in descriptors, for the form: from a type and an amount of data to pieces.

import {
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../../assembly/spec.ts'
import type { DraftPiece } from './draft.ts'

const HEADER_BYTES = 16
/** More descriptors than this are no use to anybody who looks. */
const SINGLE_BYTES_MAX = 64

export const TYPES: readonly (readonly [value: string, text: string])[] = [
  [String(VIRTIO_BLK_T_IN), 'IN, read (0)'],
  [String(VIRTIO_BLK_T_OUT), 'OUT, write (1)'],
  [String(VIRTIO_BLK_T_FLUSH), 'FLUSH (4)'],
  [String(VIRTIO_BLK_T_GET_ID), 'GET_ID (8)'],
  [String(VIRTIO_BLK_T_DISCARD), 'DISCARD (11)'],
]

export const LAYOUTS: readonly (readonly [value: string, text: string])[] = [
  ['apart', 'Header, data, status apart'],
  ['header-data', 'Header with readable data'],
  ['data-status', 'Writable data with status'],
  ['pieces', 'Data in four pieces'],
  ['single', 'Single bytes'],
]

export function piece(writable: boolean, bytes: number): DraftPiece {
  return { writable, bytes: String(bytes), len: '', addr: '', flags: '', next: '' }
}

/** How much data a request of a type usually has. */
export function usualBytes(type: string): number {
  if (type === String(VIRTIO_BLK_T_FLUSH)) return 0
  if (type === String(VIRTIO_BLK_T_GET_ID)) return 20
  return type === String(VIRTIO_BLK_T_DISCARD) ? 16 : 512
}

/** Whether the data of a type goes to the device. */
function isOut(type: string): boolean {
  return type === String(VIRTIO_BLK_T_OUT) || type === String(VIRTIO_BLK_T_DISCARD)
}

export function layOut(layout: string, type: string, dataBytes: number): DraftPiece[] {
  const writable = !isOut(type)
  const data = dataBytes > 0 ? [piece(writable, dataBytes)] : []
  const header = piece(false, HEADER_BYTES)
  const status = piece(true, 1)
  if (layout === 'header-data' && !writable) return [piece(false, HEADER_BYTES + dataBytes), status]
  if (layout === 'data-status' && writable) return [header, piece(true, dataBytes + 1)]
  if (layout === 'pieces') return [header, ...inFour(dataBytes).map((bytes) => piece(writable, bytes)), status]
  if (layout === 'single') {
    const bytes = Math.min(dataBytes, SINGLE_BYTES_MAX)
    const rest = dataBytes - bytes > 0 ? [piece(writable, dataBytes - bytes)] : []
    return [...times(HEADER_BYTES, piece(false, 1)), ...times(bytes, piece(writable, 1)), ...rest, status]
  }
  return [header, ...data, status]
}

function times(count: number, one: DraftPiece): DraftPiece[] {
  return Array<DraftPiece>(count).fill(one)
}

/** Uneven on purpose: framing is the driver’s business. */
function inFour(bytes: number): number[] {
  const first = Math.min(100, bytes)
  const third = bytes > 101 ? 1 : 0
  const second = Math.floor((bytes - first - third) / 2)
  return [first, second, third, bytes - first - second - third].filter((one) => one > 0)
}
