// The words for what is in a trace: events, results, counters, decisions and the rule of CONTRACT.md that each
// follows. For messages and listings. Portable.

import * as abi from '../../assembly/abi.ts'
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
