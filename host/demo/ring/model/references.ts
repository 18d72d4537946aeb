// Why the device does what it does: for each access and each decision the rule of assembly/CONTRACT.md, the row of the
// conformance list with its section of the VIRTIO 1.3 standard, and one sentence. Portable.

import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import type { Call, Step, TraceEvent } from '../../../replay/step.ts'

export interface Reference {
  /** where assembly/CONTRACT.md has it: 'rule 13', 'ring faults', 'request fault f'; undefined: it is the driver's */
  readonly rule: string | undefined
  /** section of VIRTIO 1.3 that says it; undefined where the standard leaves it open */
  readonly section: string | undefined
  /** id of the row of host/conformance/conformance.json that has this section */
  readonly row: string | undefined
  /** one sentence */
  readonly why: string
}

function said(rule: string, section: string, row: string, why: string): Reference {
  return { rule, section, row, why }
}

function open(rule: string, why: string): Reference {
  return { rule, section: undefined, row: undefined, why }
}

/** By TRACE_*: the loads and stores, and the stall. */
const ACCESSES: Readonly<Record<number, readonly Reference[]>> = {
  [abi.TRACE_AVAIL_FLAGS]: [
    said('rule 18', '2.7.7.2', 'usednot.3', 'Without EVENT_IDX the driver is interrupted unless avail.flags is 1.'),
  ],
  [abi.TRACE_AVAIL_IDX]: [
    said('ring faults', '2.7.6', 'avail.idx.1', 'avail.idx minus what was taken, in 16 bits, is how many chains wait.'),
  ],
  [abi.TRACE_HEAD]: [
    said('rule 9', '2.7.6', 'avail.idx.1', 'The entry at next_avail modulo the queue size names where a chain starts.'),
  ],
  [abi.TRACE_USED_EVENT]: [
    said(
      'rule 18',
      '2.7.7.2',
      'usednot.5',
      'With EVENT_IDX the driver says after which used element it wants to be told.',
    ),
  ],
  [abi.TRACE_DESC_ADDR]: [
    said(
      'rule 9',
      '2.7.5.2',
      'drv.desc.6',
      'A descriptor is read once, so that the driver cannot change what was checked.',
    ),
  ],
  [abi.TRACE_DESC_REST]: [
    said(
      'rule 8',
      '2.7.5',
      'desc.chain.1',
      'WRITE says which of the two streams the bytes belong to, NEXT that more follow.',
    ),
  ],
  [abi.TRACE_TYPE]: [
    said(
      'rule 8',
      '5.2.6',
      'blk.req.header.1',
      'The first 16 readable bytes are the header; its first four say what is wanted.',
    ),
  ],
  [abi.TRACE_SECTOR]: [
    said(
      'rule 8',
      '5.2.6',
      'blk.req.header.1',
      'Bytes 8 to 15 of the header are the sector that the request begins at.',
    ),
  ],
  [abi.TRACE_HEADER_BYTE]: [
    said(
      'rule 8',
      '2.7.4.1',
      'frame.1',
      'This header is cut in the middle, which the device must not mind: it goes byte by byte.',
    ),
  ],
  [abi.TRACE_USED_ELEMENT]: [
    said('rule 13', '2.7.8', 'used.id.1', 'The used element names the head, so that the driver knows its request.'),
    said(
      'rule 13',
      '2.6',
      'vq.usedlen.1',
      'Its length counts the bytes really written from the first writable byte on.',
    ),
  ],
  [abi.TRACE_USED_HALF]: [
    said(
      'rule 13',
      '2.7.8',
      'used.id.1',
      'This element lies astride two regions of RAM and is written in halves: id, then len.',
    ),
  ],
  [abi.TRACE_USED_IDX]: [
    said('rule 18', '2.7.8.2', 'used.1', 'used.idx moves after the elements are there, once for the whole batch.'),
  ],
  [abi.TRACE_USED_FLAGS]: [
    said(
      'rule 18',
      '2.7.10.2',
      'availnot.2',
      'While it works the device asks for no kicks, and for kicks again afterwards.',
    ),
  ],
  [abi.TRACE_AVAIL_EVENT]: [
    said(
      'rule 18',
      '2.7.10.2',
      'availnot.4',
      'With EVENT_IDX the device says after which chain it wants the next kick.',
    ),
  ],
  [abi.TRACE_STATUS]: [
    said('rule 8', '5.2.6', 'blk.req.header.1', 'The status is the last writable byte of the chain.'),
  ],
  [abi.TRACE_ZERO]: [
    said(
      'rule 11',
      '2.7.8.2',
      'used.2',
      'The used length says that all data was written, so what the disk lacks is zeros.',
    ),
  ],
  [abi.TRACE_SERIAL]: [
    said(
      'rule 14',
      '5.2.6',
      'blk.req.getid.1',
      'The serial has 20 bytes, padded with NULs; the rest of a longer buffer stays.',
    ),
  ],
  [abi.TRACE_STALL]: [
    open('rule 20', 'The head stays in the ring until both buckets have its tokens; the standard sets no time limit.'),
  ],
}

/** By VERDICT_*, REQUEST_FAULT_* and RING_FAULT_*. */
const DECISIONS: Readonly<Record<number, readonly Reference[]>> = {
  [abi.VERDICT_READ]: [
    said('rule 11', '5.2.6', 'blk.req.in.1', 'Nothing speaks against it: the back end is asked for the data.'),
  ],
  [abi.VERDICT_WRITE]: [
    said('rule 11', '5.2.6', 'blk.req.out.1', 'Nothing speaks against it: the back end is given the data.'),
  ],
  [abi.VERDICT_FLUSH]: [
    said('rule 12', '5.2.6', 'blk.req.flush.1', 'The back end makes every completed write durable.'),
    said('rule 12', '5.2.6.2', 'blk.op.stable.3', 'A flush covers the writes that were completed before it was sent.'),
  ],
  [abi.VERDICT_GET_ID]: [
    said('rule 14', '5.2.6', 'blk.req.getid.1', 'The engine answers this itself; it has no feature bit.'),
  ],
  [abi.VERDICT_FLUSH_NOTHING]: [
    said(
      'request faults',
      '5.2.6.2',
      'blk.op.ro.2',
      'No write reaches a read-only disk, so there is nothing to make durable.',
    ),
  ],
  [abi.VERDICT_UNSUPPORTED]: [
    said(
      'request faults',
      '5.2.6',
      'blk.req.unsupp.1',
      'A type that is unknown or not offered is answered with UNSUPP.',
    ),
  ],
  [abi.REQUEST_FAULT_ORDER]: [
    said(
      'request fault a',
      '2.7.4.2',
      'drv.frame.1',
      'A driver puts all writable descriptors behind all readable ones.',
    ),
  ],
  [abi.REQUEST_FAULT_HEADER_SHORT]: [
    said('request fault a', '5.2.6.1', 'drv.blk.op.14', 'A request begins with 16 readable bytes of header.'),
  ],
  [abi.REQUEST_FAULT_HEADER_UNMAPPED]: [
    said('request fault a', '2.7.5.2', 'drv.desc.4', 'Every buffer lies inside guest memory; this header does not.'),
  ],
  [abi.REQUEST_FAULT_SIZE_MAX]: [
    said('request fault b', '5.2.6.1', 'drv.blk.op.18', 'A descriptor carries no more data bytes than size_max.'),
  ],
  [abi.REQUEST_FAULT_SEG_MAX]: [
    said('request fault b', '5.2.6.1', 'drv.blk.op.18', 'A request has no more descriptors with data than seg_max.'),
  ],
  [abi.REQUEST_FAULT_TOTAL]: [
    said('request fault b', '2.7.5.2', 'drv.desc.1', 'A chain never has more than 2^32 bytes.'),
  ],
  [abi.REQUEST_FAULT_NO_DATA]: [
    said('request fault c', '5.2.6.1', 'drv.blk.op.5', 'Reads and writes have whole sectors of data, at least one.'),
    said('request fault c', '5.2.6.1', 'drv.blk.op.7', 'GET_ID has a buffer of 20 bytes.'),
  ],
  [abi.REQUEST_FAULT_FLUSH_DATA]: [said('request fault c', '5.2.6.1', 'drv.blk.op.4', 'A flush carries no data.')],
  [abi.REQUEST_FAULT_ALIGNMENT]: [
    said(
      'request fault d',
      '5.2.6.1',
      'drv.blk.op.5',
      'Data and sector are whole blocks of blk_size (512 bytes unless the device says otherwise).',
    ),
    said(
      'request fault d',
      '5.2.5',
      'blk.cfg.blk-size.1',
      'The standard asks for multiples of 512 bytes and calls blk_size a hint; this device takes whole blocks.',
    ),
  ],
  [abi.REQUEST_FAULT_DIRECTION]: [
    said(
      'request fault d',
      '5.2.6.1',
      'drv.blk.op.15',
      'Data that the device is to write is writable, other data readable.',
    ),
  ],
  [abi.REQUEST_FAULT_DATA_UNMAPPED]: [
    said('request fault d', '2.7.5.2', 'drv.desc.4', 'Every buffer lies inside guest memory; this data does not.'),
  ],
  [abi.REQUEST_FAULT_READ_ONLY]: [
    said('request fault e', '5.2.6.2', 'blk.op.ro.1', 'Where RO was offered a write gets IOERR, accepted or not.'),
  ],
  [abi.REQUEST_FAULT_RANGE]: [
    said('request fault f', '5.2.6.1', 'drv.blk.op.1', 'No request goes past the capacity; it is compared in sectors.'),
  ],
  [abi.REQUEST_FAULT_ID_SHORT]: [
    said(
      'request fault g',
      '5.2.6.1',
      'drv.blk.op.7',
      'GET_ID has a buffer of 20 bytes; the device never writes beyond it.',
    ),
  ],
  [abi.RING_FAULT_AVAIL_IDX]: [
    said('ring faults', '2.7.6.1', 'drv.avail.2', 'No more chains wait than the ring has entries.'),
  ],
  [abi.RING_FAULT_HEAD]: [
    said('ring faults', '2.7.5.2', 'drv.desc.3', 'A head is an index below the size of the table.'),
  ],
  [abi.RING_FAULT_HEAD_IN_FLIGHT]: [
    said('ring faults', '2.7.6.1', 'drv.avail.3', 'A head that the device still owns is not offered again.'),
  ],
  [abi.RING_FAULT_NEXT]: [
    said('ring faults', '2.7.5.2', 'drv.desc.3', 'next is an index below the size of the table.'),
  ],
  [abi.RING_FAULT_LOOP]: [
    said('ring faults', '2.7.5.2', 'drv.desc.1', 'A chain never loops, so it is never longer than the table.'),
  ],
  [abi.RING_FAULT_INDIRECT]: [
    said('ring faults', '2.7.5.3.1', 'drv.indir.1', 'INDIRECT is for drivers that have negotiated INDIRECT_DESC.'),
  ],
  [abi.RING_FAULT_NO_STATUS]: [
    said('ring faults', '5.2.6.1', 'drv.blk.op.14', 'Every request has a writable byte for its status.'),
  ],
  [abi.RING_FAULT_STATUS_UNMAPPED]: [
    said(
      'ring faults',
      '2.7.5.2',
      'drv.desc.4',
      'The status byte lies outside guest memory, so the request cannot be answered.',
    ),
  ],
}

/** A ring fault ends service. */
const POISONED = said(
  'rule 7',
  '2.1.2',
  'status.3',
  'An error of the ring shows as NEEDS_RESET, and the driver is interrupted.',
)

const NO_REFERENCES: readonly Reference[] = []

/** Of a load, a store or a decision. */
export function eventReferences({ kind, low }: TraceEvent): readonly Reference[] {
  if (kind === abi.TRACE_VERDICT) return DECISIONS[low | 0] ?? NO_REFERENCES
  if (kind === abi.TRACE_RING_FAULT) return [...(DECISIONS[low | 0] ?? NO_REFERENCES), POISONED]
  return ACCESSES[kind] ?? NO_REFERENCES
}

// Calls ----------------------------------------------------------------------------------------------------

const CALLS: Readonly<Partial<Record<Call, readonly Reference[]>>> = {
  plan: [
    said(
      'rule 17',
      '2.7.13.3',
      'avail.access.1',
      'A drain takes the chains that avail.idx covers, a queue size of them at most.',
    ),
  ],
  complete: [
    said(
      'rule 16',
      '2.7.8.2',
      'used.2',
      'The back end is done; status and used element follow, and nobody is told yet.',
    ),
  ],
  publish: [said('rule 18', '2.7.8.2', 'used.1', 'All that was completed is shown by one store of used.idx.')],
  kicked: [said('rule 5', '4.2.2', 'mmio.queue-notify.1', 'A kick by eventfd counts like a write to QueueNotify.')],
  setCapacity: [
    said('rule 27', '5.2.6.2', 'blk.op.capacity.2', 'A new capacity is announced with a configuration change.'),
  ],
  setThrottle: [
    open('rule 22', 'Limits can change at any time, also while a head waits; the standard knows no limits.'),
  ],
  fail: [said('rule 7', '2.1.2', 'status.3', 'What ends service shows as NEEDS_RESET.')],
  thaw: [
    open('rule 26', 'The device goes on from a snapshot as if nothing had been; the standard knows no snapshots.'),
  ],
}

const STATUS = said(
  'rule 2',
  '2.1.1',
  'drv.status.1',
  'Status takes one new bit at a time, in the order of the standard; 0 resets.',
)
const STATUS_READ = said(
  'rule 2',
  '2.1',
  'status.init.1',
  'Status shows how far the driver has come; it is 0 after a reset.',
)
/** Of a read of Status that has this bit. */
const NEEDS_RESET = [
  said('rule 7', '2.1.2', 'status.3', 'NEEDS_RESET: the device met an error that it cannot go on from.'),
  said(
    'rule 7',
    '2.1.1',
    'drv.status.4',
    'The driver must not count on what is in flight: it must reset the device and begin anew.',
  ),
]
const RESET = said('rule 6', '2.4.1', 'reset.3', 'After a reset no queue memory is touched and no interrupt comes.')
const QUEUE_SET_UP = said(
  'rule 3',
  '4.2.2',
  'mmio.queue-addr.1',
  'Size and addresses are open until the queue is ready, then frozen.',
)

const REGISTERS: Readonly<Record<number, readonly Reference[]>> = {
  [spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL]: [
    said('rule 1', '4.2.2', 'mmio.device-features.1', 'The selector says which 32 feature bits DeviceFeatures shows.'),
  ],
  [spec.VIRTIO_MMIO_DEVICE_FEATURES]: [
    said('rule 1', '4.2.2', 'mmio.device-features.1', 'What the device offers, 32 bits at a time.'),
  ],
  [spec.VIRTIO_MMIO_DRIVER_FEATURES]: [
    said('rule 1', '4.2.2', 'mmio.driver-features.1', 'What the driver accepts; open between DRIVER and FEATURES_OK.'),
  ],
  [spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL]: [
    said('rule 1', '4.2.2', 'mmio.driver-features.1', 'The selector says which 32 feature bits DriverFeatures takes.'),
  ],
  [spec.VIRTIO_MMIO_QUEUE_SEL]: [
    said('rule 3', '4.2.2', 'mmio.queue-sel.1', 'The queue registers act on the queue that QueueSel names.'),
  ],
  [spec.VIRTIO_MMIO_QUEUE_SIZE_MAX]: [
    said(
      'rule 3',
      '4.2.2',
      'mmio.queue-size-max.1',
      'The most entries that the selected queue can have; 0 = there is none.',
    ),
  ],
  [spec.VIRTIO_MMIO_QUEUE_SIZE]: [
    said('rule 3', '4.2.2', 'mmio.queue-size.1', 'The size is checked when the queue becomes ready: a power of two.'),
  ],
  [spec.VIRTIO_MMIO_QUEUE_READY]: [
    said('rule 3', '4.2.2', 'mmio.queue-ready.2', 'The whole queue is checked now; one that is refused reads 0.'),
  ],
  [spec.VIRTIO_MMIO_QUEUE_NOTIFY]: [
    said('rule 5', '4.2.2', 'mmio.queue-notify.1', 'A kick tells the device to look at the queue with this index.'),
  ],
  [spec.VIRTIO_MMIO_INTERRUPT_STATUS]: [
    said(
      'rule 18',
      '4.2.2.1',
      'mmio.interrupt-status.1',
      'A bit stays set from its event until the driver acknowledges it.',
    ),
  ],
  [spec.VIRTIO_MMIO_INTERRUPT_ACK]: [
    said('rule 18', '4.2.2', 'mmio.interrupt-ack.1', 'Each bit written here clears the same bit of InterruptStatus.'),
  ],
  [spec.VIRTIO_MMIO_QUEUE_DESC_LOW]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_QUEUE_DESC_HIGH]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH]: [QUEUE_SET_UP],
  [spec.VIRTIO_MMIO_CONFIG_GENERATION]: [
    said(
      'rule 27',
      '4.2.2',
      'mmio.config-generation.2',
      'Unchanged between two reads: config space has not changed either.',
    ),
  ],
}
const CONFIG_SPACE = [
  said('rule 1', '4.2.2', 'mmio.config.1', 'Config space can be read in any width; writes are dropped.'),
]
const OTHER_REGISTERS = [said('rule 1', '4.2.2', 'mmio.endian.1', 'Registers are four aligned bytes, little-endian.')]

/** Of the beginning of a call. */
export function callReferences({ call, args, result = 0 }: Step): readonly Reference[] {
  if (call !== 'mmioRead' && call !== 'mmioWrite') return CALLS[call] ?? NO_REFERENCES
  const [offset = 0, , value = 0] = args
  if (offset >= spec.VIRTIO_MMIO_CONFIG) return CONFIG_SPACE
  if (offset === spec.VIRTIO_MMIO_STATUS) {
    if (call === 'mmioWrite') return [value === 0 ? RESET : STATUS]
    return result & spec.VIRTIO_CONFIG_S_NEEDS_RESET ? NEEDS_RESET : [STATUS_READ]
  }
  return REGISTERS[offset] ?? OTHER_REGISTERS
}

// The rest -------------------------------------------------------------------------------------------------

export const INTERRUPT_REFERENCES: Readonly<
  Record<'used' | 'flags' | 'event' | 'suppressed' | 'notYet' | 'config' | 'capacity', readonly Reference[]>
> = {
  used: [said('rule 18', '4.2.3.4', 'mmio.irq.1', 'The line is up while a bit of InterruptStatus is set.')],
  flags: [said('rule 18', '2.7.7.2', 'usednot.3', 'avail.flags is 0, so the driver is told of what was used.')],
  event: [said('rule 18', '2.7.7.2', 'usednot.5', 'used.idx has passed used_event, so the driver is told.')],
  suppressed: [said('rule 18', '2.7.7.2', 'usednot.2', 'avail.flags is 1: the driver does not want to be told.')],
  notYet: [
    said('rule 18', '2.7.7.2', 'usednot.6', 'used.idx has not passed used_event: the driver wants to be told later.'),
  ],
  capacity: [said('rule 27', '5.2.6.2', 'blk.op.capacity.2', 'A driver that is up is told of a new capacity.')],
  config: [said('rule 7', '2.1.2', 'status.4', 'A driver that is up is told with a configuration interrupt.')],
}

export const DATA_REFERENCES: Readonly<Record<'read' | 'write', readonly Reference[]>> = {
  read: [said('rule 11', '5.2.6', 'blk.req.in.1', 'The back end fills the data buffers in one vectored read.')],
  write: [said('rule 11', '5.2.6', 'blk.req.out.1', 'The back end stores the bytes of the data buffers.')],
}

export const DRIVER_REFERENCES: readonly Reference[] = [
  {
    rule: undefined,
    section: '2.7.13.3.1',
    row: 'drv.updidx.1',
    why: 'The driver writes descriptors, buffers and ring entries before avail.idx, and kicks last.',
  },
]
