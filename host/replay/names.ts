// The words for what is in a trace: events, results, counters, registers, limits, and decisions with the rule of
// CONTRACT.md that each follows. For messages and listings. Portable.

import * as abi from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import { COUNTER_NAMES } from '../engine/state.ts'
import type { Call, TraceEvent } from './step.ts'

const EVENTS: Readonly<Record<number, string>> = {
  [abi.TRACE_AVAIL_FLAGS]: 'avail.flags',
  [abi.TRACE_AVAIL_IDX]: 'avail.idx',
  [abi.TRACE_HEAD]: 'avail.ring[]',
  [abi.TRACE_USED_EVENT]: 'used_event',
  [abi.TRACE_DESC_ADDR]: 'descriptor addr',
  [abi.TRACE_DESC_REST]: 'descriptor len, flags, next',
  [abi.TRACE_TYPE]: 'header type',
  [abi.TRACE_SECTOR]: 'header sector',
  [abi.TRACE_HEADER_BYTE]: 'header byte',
  [abi.TRACE_USED_ELEMENT]: 'used element',
  [abi.TRACE_USED_HALF]: 'half of a used element',
  [abi.TRACE_USED_IDX]: 'used.idx',
  [abi.TRACE_USED_FLAGS]: 'used.flags',
  [abi.TRACE_AVAIL_EVENT]: 'avail_event',
  [abi.TRACE_STATUS]: 'status byte',
  [abi.TRACE_ZERO]: 'zero-fill',
  [abi.TRACE_SERIAL]: 'serial',
  [abi.TRACE_VERDICT]: 'verdict',
  [abi.TRACE_RING_FAULT]: 'ring fault',
  [abi.TRACE_STALL]: 'stall',
}

export function eventName(kind: number): string {
  return EVENTS[kind] ?? `event ${kind}`
}

export function eventText({ kind, at, low, high, bytes }: TraceEvent): string {
  const where = `${eventName(kind)} at 0x${at.toString(16)}`
  switch (kind) {
    case abi.TRACE_VERDICT:
      return `verdict on head ${at}: ${decisionText(low | 0)} (type ${high})`
    case abi.TRACE_RING_FAULT:
      return `ring fault of queue ${at}: ${decisionText(low | 0)}`
    case abi.TRACE_STALL:
      return `head ${at} stalled for ${low} ns`
    case abi.TRACE_DESC_ADDR:
    case abi.TRACE_SECTOR:
      return `${where} = 0x${((BigInt(high) << 32n) | BigInt(low)).toString(16)}`
    case abi.TRACE_DESC_REST:
      return `${where} = len ${low}, flags ${high & 0xffff}, next ${high >>> 16}`
    case abi.TRACE_USED_ELEMENT:
      return `${where} = head ${low}, len ${high}`
    case abi.TRACE_ZERO:
      return `${where}, ${low} bytes`
    case abi.TRACE_SERIAL:
      return `${where} = '${new TextDecoder().decode(bytes).replace(/\0+$/, '')}'`
    default:
      return `${where} = ${low}`
  }
}

export function counterName(index: number): string {
  return COUNTER_NAMES[index] ?? `counter ${index}`
}

const ENDS = ['empty', 'more', 'stalled', 'poisoned', 'busy', 'dead']

/** A call's result in words; undefined is a trap. */
export function resultText(call: Call, result: number | undefined): string {
  if (result === undefined) return 'a trap'
  if (call === 'plan') {
    const end = ENDS[result >>> abi.PLAN_END_SHIFT] ?? `end ${result >>> abi.PLAN_END_SHIFT}`
    return `${result & abi.PLAN_COUNT_MASK} requests, ${end}`
  }
  return `0x${result.toString(16)}`
}

const DECISIONS: Readonly<Record<number, string>> = {
  [abi.VERDICT_READ]: 'read (rule 11)',
  [abi.VERDICT_WRITE]: 'write (rule 11)',
  [abi.VERDICT_FLUSH]: 'flush (rule 12)',
  [abi.VERDICT_GET_ID]: 'GET_ID (rule 14)',
  [abi.VERDICT_FLUSH_NOTHING]: 'flush of a read-only disk, nothing to do (request faults)',
  [abi.VERDICT_UNSUPPORTED]: 'unsupported type (request faults)',
  [abi.REQUEST_FAULT_ORDER]: 'IOERR, a readable descriptor after a writable one (fault a)',
  [abi.REQUEST_FAULT_HEADER_SHORT]: 'IOERR, fewer than 16 readable bytes (fault a)',
  [abi.REQUEST_FAULT_HEADER_UNMAPPED]: 'IOERR, header not in guest RAM (fault a)',
  [abi.REQUEST_FAULT_SIZE_MAX]: 'IOERR, more than sizeMax bytes in a descriptor (fault b)',
  [abi.REQUEST_FAULT_SEG_MAX]: 'IOERR, more than segMax descriptors with data (fault b)',
  [abi.REQUEST_FAULT_TOTAL]: 'IOERR, 2^32 data bytes or more (fault b)',
  [abi.REQUEST_FAULT_NO_DATA]: 'IOERR, no data bytes (fault c)',
  [abi.REQUEST_FAULT_FLUSH_DATA]: 'IOERR, a flush with data bytes (fault c)',
  [abi.REQUEST_FAULT_ALIGNMENT]: 'IOERR, not in whole blocks (fault d)',
  [abi.REQUEST_FAULT_DIRECTION]: 'IOERR, data in the wrong direction (fault d)',
  [abi.REQUEST_FAULT_DATA_UNMAPPED]: 'IOERR, data not in guest RAM (fault d)',
  [abi.REQUEST_FAULT_READ_ONLY]: 'IOERR, a write to a read-only disk (fault e)',
  [abi.REQUEST_FAULT_RANGE]: 'IOERR, past the end of the disk (fault f)',
  [abi.REQUEST_FAULT_ID_SHORT]: 'IOERR, fewer than 20 bytes for the serial (fault g)',
  [abi.RING_FAULT_AVAIL_IDX]: 'avail.idx more than the queue size ahead (ring faults)',
  [abi.RING_FAULT_HEAD]: 'head outside the queue (ring faults)',
  [abi.RING_FAULT_HEAD_IN_FLIGHT]: 'a head that is in flight (ring faults)',
  [abi.RING_FAULT_NEXT]: 'next outside the queue (ring faults)',
  [abi.RING_FAULT_LOOP]: 'a chain longer than the queue (ring faults)',
  [abi.RING_FAULT_INDIRECT]: 'INDIRECT, which is not offered (ring faults)',
  [abi.RING_FAULT_NO_STATUS]: 'no writable byte (ring faults)',
  [abi.RING_FAULT_STATUS_UNMAPPED]: 'last writable byte not in guest RAM (ring faults)',
}

/** A verdict or fault in words, and where CONTRACT.md has it. */
export function decisionText(code: number): string {
  return DECISIONS[code] ?? `decision ${code}`
}

const REGISTERS: Readonly<Record<number, string>> = {
  [spec.VIRTIO_MMIO_MAGIC_VALUE]: 'MagicValue',
  [spec.VIRTIO_MMIO_VERSION]: 'Version',
  [spec.VIRTIO_MMIO_DEVICE_ID]: 'DeviceID',
  [spec.VIRTIO_MMIO_VENDOR_ID]: 'VendorID',
  [spec.VIRTIO_MMIO_DEVICE_FEATURES]: 'DeviceFeatures',
  [spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL]: 'DeviceFeaturesSel',
  [spec.VIRTIO_MMIO_DRIVER_FEATURES]: 'DriverFeatures',
  [spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL]: 'DriverFeaturesSel',
  [spec.VIRTIO_MMIO_QUEUE_SEL]: 'QueueSel',
  [spec.VIRTIO_MMIO_QUEUE_SIZE_MAX]: 'QueueSizeMax',
  [spec.VIRTIO_MMIO_QUEUE_SIZE]: 'QueueSize',
  [spec.VIRTIO_MMIO_QUEUE_READY]: 'QueueReady',
  [spec.VIRTIO_MMIO_QUEUE_NOTIFY]: 'QueueNotify',
  [spec.VIRTIO_MMIO_INTERRUPT_STATUS]: 'InterruptStatus',
  [spec.VIRTIO_MMIO_INTERRUPT_ACK]: 'InterruptACK',
  [spec.VIRTIO_MMIO_STATUS]: 'Status',
  [spec.VIRTIO_MMIO_QUEUE_DESC_LOW]: 'QueueDescLow',
  [spec.VIRTIO_MMIO_QUEUE_DESC_HIGH]: 'QueueDescHigh',
  [spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW]: 'QueueDriverLow',
  [spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH]: 'QueueDriverHigh',
  [spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW]: 'QueueDeviceLow',
  [spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH]: 'QueueDeviceHigh',
  [spec.VIRTIO_MMIO_CONFIG_GENERATION]: 'ConfigGeneration',
}

/** The standard's name; what has none by its offset. */
export function registerName(offset: number): string {
  if (offset >= spec.VIRTIO_MMIO_CONFIG) return `config space +0x${(offset - spec.VIRTIO_MMIO_CONFIG).toString(16)}`
  return REGISTERS[offset] ?? `register 0x${offset.toString(16).padStart(3, '0')}`
}

/** Limits, as a step has them: eight u32. */
export function throttleText(words: readonly number[]): string {
  const at = (i: number): number => (words[2 * i + 1] ?? 0) * 2 ** 32 + (words[2 * i] ?? 0)
  const limits = [
    { rate: at(0), most: at(1), unit: 'requests' },
    { rate: at(2), most: at(3), unit: 'bytes' },
  ].filter(({ rate }) => rate !== 0)
  if (limits.length === 0) return 'no limits'
  return limits.map(({ rate, most, unit }) => `${rate} ${unit} a second, bursts of ${most}`).join(', ')
}
