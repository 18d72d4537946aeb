// The scenarios that the Ring view offers: the usual layouts, every request of the device, what the rings can do, and
// one for each fault of assembly/CONTRACT.md. Each says what it leads to. Most break one thing and put a good request
// behind it, so that one sees whether the device goes on. Portable.

import {
  RING_FAULT_AVAIL_IDX,
  RING_FAULT_HEAD,
  RING_FAULT_HEAD_IN_FLIGHT,
  RING_FAULT_INDIRECT,
  RING_FAULT_LOOP,
  RING_FAULT_NEXT,
  RING_FAULT_NO_STATUS,
  RING_FAULT_STATUS_UNMAPPED,
} from '../../../assembly/abi.ts'
import {
  VIRTIO_BLK_T_DISCARD as DISCARD,
  VIRTIO_BLK_T_FLUSH as FLUSH,
  VIRTIO_BLK_T_GET_ID as GET_ID,
  VIRTIO_BLK_T_IN as IN,
  VIRTIO_BLK_S_IOERR as IOERR,
  VIRTIO_BLK_S_OK as OK,
  VIRTIO_BLK_T_OUT as OUT,
  VIRTIO_BLK_S_UNSUPP as UNSUPP,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../assembly/spec.ts'
import {
  type Outcome,
  type Preset,
  type PresetGroup,
  RAM_BYTES,
  type ScenarioAction,
  type ScenarioDevice,
  type ScenarioPiece,
  type ScenarioRequest,
} from './scenario.ts'

const END = BigInt(RAM_BYTES)
const QUEUE = 16

const r = (bytes: number, more: Partial<ScenarioPiece> = {}): ScenarioPiece => ({ writable: false, bytes, ...more })
const w = (bytes: number, more: Partial<ScenarioPiece> = {}): ScenarioPiece => ({ writable: true, bytes, ...more })
const H = r(16)
const S = w(1)

function request(type: number, sector: number | bigint, ...pieces: ScenarioPiece[]): ScenarioRequest {
  return { type, sector: BigInt(sector), pieces }
}

const read = (sector: number, bytes = 512): ScenarioRequest => request(IN, sector, H, w(bytes), S)
const write = (sector: number, bytes = 512): ScenarioRequest => request(OUT, sector, H, r(bytes), S)
const flush = request(FLUSH, 0, H, S)
const kick = (...requests: ScenarioRequest[]): ScenarioAction => ({ do: 'kick', requests })

const DEVICE: ScenarioDevice = { sectors: 128, queueSize: QUEUE }

type Answer = Outcome['requests'][number]
const ok = (usedLen: number): Answer => ({ status: OK, usedLen })
const ioerr = (usedLen: number): Answer => ({ status: IOERR, usedLen })

interface Told {
  readonly id: string
  readonly title: string
  readonly description: string
  readonly device?: Partial<ScenarioDevice>
  readonly actions: readonly ScenarioAction[]
  readonly answers: readonly Answer[]
  readonly ringFault?: number
}

function preset(group: PresetGroup, told: Told): Preset {
  const { id, title, description, device, actions, answers, ringFault } = told
  const outcome = { requests: answers, ...(ringFault === undefined ? {} : { ringFault }) }
  return { id, title, group, description, scenario: { device: { ...DEVICE, ...device }, actions }, outcome }
}

/** A bad request, and a good read behind it in the same kick. */
function fault(told: Omit<Told, 'actions' | 'answers'>, bad: ScenarioRequest, usedLen: 0 | 1): Preset {
  return preset('Request faults', { ...told, actions: [kick(bad, read(3))], answers: [ioerr(usedLen), ok(513)] })
}

/** A good read, what breaks the ring, and another good read that is never looked at. */
function poison(ringFault: number, told: Omit<Told, 'actions' | 'answers'>, bad: ScenarioRequest): Preset {
  const actions = [kick(read(1), bad, read(2))]
  return preset('Ring faults', { ...told, actions, answers: [ok(513), null, null], ringFault })
}

const LAYOUTS: readonly Preset[] = [
  preset('Layouts', {
    id: 'read',
    title: 'A read in three descriptors',
    description: 'Header, data and status byte each in a descriptor of their own: what nearly every driver does.',
    actions: [kick(read(1))],
    answers: [ok(513)],
  }),
  preset('Layouts', {
    id: 'write',
    title: 'A write in three descriptors',
    description: 'The data is readable, only the status byte is writable, so the used length is 1.',
    actions: [kick(write(2))],
    answers: [ok(1)],
  }),
  preset('Layouts', {
    id: 'header-and-data',
    title: 'Header and data in one descriptor',
    description: 'The first 16 readable bytes are the header wherever a descriptor ends; the rest is data.',
    actions: [kick(request(OUT, 4, r(16 + 512), S))],
    answers: [ok(1)],
  }),
  preset('Layouts', {
    id: 'data-and-status',
    title: 'Data and status in one descriptor',
    description: 'The last writable byte is the status, wherever a descriptor begins.',
    actions: [kick(request(IN, 5, H, w(512 + 1)))],
    answers: [ok(513)],
  }),
  preset('Layouts', {
    id: 'many-pieces',
    title: 'Data in many pieces',
    description: 'Two sectors cut into pieces of 100, 412, 1 and 511 bytes: framing is the driver’s business.',
    actions: [kick(request(IN, 6, H, w(100), w(412), w(1), w(511), S))],
    answers: [ok(1025)],
  }),
  preset('Layouts', {
    id: 'single-bytes',
    title: 'Every byte in a descriptor of its own',
    description: 'A GET_ID in 37 descriptors: the header is put together byte by byte.',
    device: { queueSize: 64 },
    actions: [kick(request(GET_ID, 0, ...Array<ScenarioPiece>(16).fill(r(1)), ...Array<ScenarioPiece>(21).fill(S)))],
    answers: [ok(21)],
  }),
  preset('Layouts', {
    id: 'empty-descriptors',
    title: 'Descriptors of length zero',
    description: 'They carry nothing and have no direction: the device skips them wherever they stand.',
    actions: [kick(request(IN, 7, r(0), H, w(0), w(512), r(0), S))],
    answers: [ok(513)],
  }),
  preset('Layouts', {
    id: 'header-across-regions',
    title: 'A header across two regions of RAM',
    description: 'Guest RAM is two regions that touch, and the header lies astride the border.',
    device: { border: 0x20000 },
    actions: [kick(request(IN, 8, r(16, { addr: 0x20000n - 8n }), w(512), S))],
    answers: [ok(513)],
  }),
]

const REQUESTS: readonly Preset[] = [
  preset('Requests', {
    id: 'flush',
    title: 'A flush',
    description: 'Header and status, no data: every write that was completed before is durable afterwards.',
    actions: [kick(write(1)), kick(flush)],
    answers: [ok(1), ok(1)],
  }),
  preset('Requests', {
    id: 'write-through',
    title: 'A write for a driver that cannot flush',
    description: 'Without FLUSH accepted each write is made durable before it is completed.',
    device: { flush: false },
    actions: [kick(write(1))],
    answers: [ok(1)],
  }),
  preset('Requests', {
    id: 'get-id',
    title: 'GET_ID',
    description: 'The serial in 20 bytes, padded with NULs, and the status byte right behind it: used length 21.',
    device: { serial: 'ring-view-disk' },
    actions: [kick(request(GET_ID, 0, H, w(20), S))],
    answers: [ok(21)],
  }),
  preset('Requests', {
    id: 'get-id-long',
    title: 'GET_ID with a longer buffer',
    description: 'Bytes 20 to 31 stay as they are, so the used length stops at 20.',
    actions: [kick(request(GET_ID, 0, H, w(32), S))],
    answers: [ok(20)],
  }),
  preset('Requests', {
    id: 'unsupported',
    title: 'Types that the device does not know',
    description: 'Type 99 and a DISCARD, which is not offered: UNSUPP, and not a byte of data is written.',
    actions: [kick(request(99, 0, H, w(512), S), request(DISCARD, 0, H, r(16), S))],
    answers: [
      { status: UNSUPP, usedLen: 0 },
      { status: UNSUPP, usedLen: 1 },
    ],
  }),
  preset('Requests', {
    id: 'short-read',
    title: 'A read past the end of the data',
    description: 'The disk says 64 sectors, the back end has 8: the second sector read is filled with zeros.',
    device: { sectors: 64, storedSectors: 8 },
    actions: [kick(read(7, 1024))],
    answers: [ok(1025)],
  }),
  preset('Requests', {
    id: 'full-back-end',
    title: 'A write that the back end cannot store',
    description: 'The back end has 8 of 64 sectors and makes no progress: IOERR, and the device goes on.',
    device: { sectors: 64, storedSectors: 8 },
    actions: [kick(write(20), read(1))],
    answers: [ioerr(1), ok(513)],
  }),
  preset('Requests', {
    id: 'flush-read-only',
    title: 'A flush of a read-only disk',
    description: 'There is nothing to make durable: OK without the back end.',
    device: { readOnly: true },
    actions: [kick(flush)],
    answers: [ok(1)],
  }),
]

const RINGS: readonly Preset[] = [
  preset('Rings', {
    id: 'batch',
    title: 'Four requests, one kick',
    description: 'One drain takes all four, one store of used.idx shows them, one interrupt tells of them.',
    actions: [kick(read(1), write(2), read(3), flush)],
    answers: [ok(513), ok(1), ok(513), ok(1)],
  }),
  preset('Rings', {
    id: 'event-idx',
    title: 'EVENT_IDX: an interrupt not before the third',
    description: 'used_event is 2: the first two requests raise no interrupt, the third does.',
    device: { eventIdx: true },
    actions: [{ do: 'kick', requests: [read(1), read(2)], usedEvent: 2 }, kick(read(3))],
    answers: [ok(513), ok(513), ok(513)],
  }),
  preset('Rings', {
    id: 'no-interrupt',
    title: 'A driver that wants no interrupt',
    description: 'avail.flags is NO_INTERRUPT: the answer is published, and nobody is told.',
    actions: [{ do: 'kick', requests: [read(1)], availFlags: 1 }],
    answers: [ok(513)],
  }),
  preset('Rings', {
    id: 'wrap',
    title: 'Around a ring of four',
    description: 'Six flushes, two per kick: the indices run on, the slots begin anew.',
    device: { queueSize: 4 },
    actions: [kick(flush, flush), kick(flush, flush), kick(flush, flush)],
    answers: [ok(1), ok(1), ok(1), ok(1), ok(1), ok(1)],
  }),
  preset('Rings', {
    id: 'ring-across-regions',
    title: 'A used ring across two regions of RAM',
    description: 'The first used element lies astride the border of two regions and is written in halves.',
    device: { border: 0x20000, used: 0x20000n - 8n },
    actions: [kick(read(1))],
    answers: [ok(513)],
  }),
  preset('Rings', {
    id: 'kick-in-vain',
    title: 'A kick for a queue that is not there',
    description: 'QueueNotify with 1 is counted and ignored; the kick for queue 0 behind it is served.',
    actions: [{ do: 'register', offset: VIRTIO_MMIO_QUEUE_NOTIFY, value: 1 }, kick(read(1))],
    answers: [ok(513)],
  }),
]

const REQUEST_FAULTS: readonly Preset[] = [
  fault(
    {
      id: 'fault-a-order',
      title: 'a: readable after writable',
      description: 'All readable descriptors must come before the writable ones.',
    },
    request(IN, 1, H, w(512), r(1), S),
    0,
  ),
  fault(
    {
      id: 'fault-a-short',
      title: 'a: a header of 15 bytes',
      description: 'A header has 16 bytes; with fewer there is no sector to go by.',
    },
    request(FLUSH, 0, r(15), S),
    1,
  ),
  fault(
    {
      id: 'fault-a-unmapped',
      title: 'a: a header outside guest RAM',
      description: 'The last eight of its bytes lie behind the end of guest RAM.',
    },
    request(FLUSH, 0, r(16, { addr: END - 8n }), S),
    1,
  ),
  fault(
    {
      id: 'fault-b-size',
      title: 'b: more than size_max in a descriptor',
      description: 'The device said size_max 512, the driver puts 1024 bytes into one descriptor.',
      device: { sizeMax: 512 },
    },
    request(IN, 1, H, w(1024), S),
    0,
  ),
  fault(
    {
      id: 'fault-b-segments',
      title: 'b: more than seg_max descriptors',
      description: 'The device said seg_max 2, the driver gives it three descriptors with data.',
      device: { segMax: 2 },
    },
    request(IN, 1, H, w(512), w(512), w(512), S),
    0,
  ),
  fault(
    {
      id: 'fault-b-total',
      title: 'b: four gigabytes of data',
      description: 'Two descriptors of 2 GiB each: the length no longer fits 32 bits.',
      device: { sizeMax: 0x80000000 },
    },
    request(IN, 1, H, w(0, { len: 0x80000000 }), w(0, { len: 0x80000000 }), S),
    0,
  ),
  fault(
    { id: 'fault-c-no-data', title: 'c: a read without data', description: 'A read of nothing is no request.' },
    request(IN, 1, H, S),
    1,
  ),
  fault(
    {
      id: 'fault-c-flush-data',
      title: 'c: a flush with data',
      description: 'A flush carries no data, in neither direction.',
    },
    request(FLUSH, 0, H, r(512), S),
    1,
  ),
  fault(
    {
      id: 'fault-d-blocks',
      title: 'd: no whole blocks',
      description: 'A read of 513 bytes: reads and writes come in multiples of 512.',
    },
    request(IN, 1, H, w(513), S),
    0,
  ),
  fault(
    {
      id: 'fault-d-direction',
      title: 'd: data in the wrong direction',
      description: 'A read whose data is readable: there is nowhere to put it.',
    },
    request(IN, 1, H, r(512), S),
    1,
  ),
  fault(
    {
      id: 'fault-d-unmapped',
      title: 'd: data outside guest RAM',
      description: 'The second half of the buffer lies behind the end of guest RAM.',
    },
    request(IN, 1, H, w(0, { addr: END - 256n, len: 512 }), S),
    0,
  ),
  fault(
    {
      id: 'fault-e',
      title: 'e: a write to a read-only disk',
      description: 'RO was offered: no write reaches the disk.',
      device: { readOnly: true },
    },
    write(1),
    1,
  ),
  fault(
    { id: 'fault-f', title: 'f: past the end of the disk', description: 'Sector 128 of a disk of 128 sectors.' },
    read(128),
    0,
  ),
  fault(
    {
      id: 'fault-f-wrap',
      title: 'f: sector 2^64 - 1',
      description: 'The largest sector there is: adding to it would wrap around to 0.',
    },
    request(IN, 2n ** 64n - 1n, H, w(512), S),
    0,
  ),
  fault(
    { id: 'fault-g', title: 'g: 19 bytes for the serial', description: 'GET_ID wants a buffer of 20 bytes.' },
    request(GET_ID, 0, H, w(19), S),
    0,
  ),
]

const BOTH = VIRTQ_DESC_F_NEXT + VIRTQ_DESC_F_WRITE

const RING_FAULTS: readonly Preset[] = [
  preset('Ring faults', {
    id: 'ring-avail-idx',
    title: 'avail.idx too far ahead',
    description: 'By avail.idx 17 chains wait in a ring of 16: nothing in the ring can be trusted, nothing is taken.',
    actions: [{ do: 'kick', requests: [read(1), read(2)], idxAhead: QUEUE - 1 }],
    answers: [null, null],
    ringFault: RING_FAULT_AVAIL_IDX,
  }),
  poison(
    RING_FAULT_HEAD,
    {
      id: 'ring-head',
      title: 'A head outside the queue',
      description: 'The avail ring says 16, the table has descriptors 0 to 15.',
    },
    { ...flush, ringEntry: QUEUE },
  ),
  poison(
    RING_FAULT_HEAD_IN_FLIGHT,
    {
      id: 'ring-head-in-flight',
      title: 'A head that is in flight',
      description: 'The avail ring says 0 a second time, before the first one has been shown as used.',
    },
    { ...flush, ringEntry: 0 },
  ),
  poison(
    RING_FAULT_NEXT,
    {
      id: 'ring-next',
      title: 'next outside the queue',
      description: 'The last descriptor goes on with descriptor 16 of a table of 16.',
    },
    request(IN, 2, H, w(512), w(1, { flags: BOTH, next: QUEUE })),
  ),
  poison(
    RING_FAULT_LOOP,
    {
      id: 'ring-loop',
      title: 'A chain that loops',
      description: 'The last descriptor goes on with the first one, so the chain is longer than the queue.',
    },
    { ...request(IN, 2, H, w(512), w(1, { flags: BOTH, next: 3 })), head: 3 },
  ),
  poison(
    RING_FAULT_INDIRECT,
    {
      id: 'ring-indirect',
      title: 'INDIRECT without the feature',
      description: 'The descriptor points to a table, which was never negotiated.',
    },
    request(IN, 2, r(48, { flags: VIRTQ_DESC_F_INDIRECT })),
  ),
  poison(
    RING_FAULT_NO_STATUS,
    {
      id: 'ring-no-status',
      title: 'No writable byte',
      description: 'Header and data, but nowhere to put the status: the device cannot answer.',
    },
    request(OUT, 2, H, r(512)),
  ),
  poison(
    RING_FAULT_STATUS_UNMAPPED,
    {
      id: 'ring-status-unmapped',
      title: 'A status byte outside guest RAM',
      description: 'The last writable byte lies behind the end of guest RAM: the device cannot answer.',
    },
    request(IN, 2, H, w(512), w(1, { addr: END })),
  ),
  preset('Ring faults', {
    id: 'ring-healed',
    title: 'A reset brings the device back',
    description: 'A poisoned queue, a reset, and the device serves a new driver as if nothing had been.',
    actions: [kick({ ...flush, ringEntry: QUEUE }), { do: 'reset' }, kick(read(1))],
    answers: [null, ok(513)],
  }),
]

const OVER_TIME: readonly Preset[] = [
  preset('Over time', {
    id: 'throttled',
    title: 'A throttled batch',
    description: 'Two requests a second, bursts of two: the third waits half a second, the fourth another half.',
    device: { limits: { iops: 2, iopsBurst: 2 } },
    actions: [kick(read(1), read(2), read(3), read(4)), { do: 'wait', millis: 500 }, { do: 'wait', millis: 500 }],
    answers: [ok(513), ok(513), ok(513), ok(513)],
  }),
  preset('Over time', {
    id: 'throttled-bytes',
    title: 'A request that must wait for its bytes',
    description: '1024 bytes a second: the second sector pair waits, and it still waits in the end.',
    device: { limits: { bytesPerSecond: 1024 } },
    actions: [kick(read(1, 1024), read(3, 1024)), { do: 'wait', millis: 500 }],
    answers: [ok(1025), null],
  }),
  preset('Over time', {
    id: 'limits-lifted',
    title: 'Limits lifted while a head waits',
    description: 'The host takes the limits away, and what waited is served at once.',
    device: { limits: { iops: 1 } },
    actions: [kick(read(1), read(2), read(3)), { do: 'limit', limits: {} }],
    answers: [ok(513), ok(513), ok(513)],
  }),
  preset('Over time', {
    id: 'late',
    title: 'A back end that takes its time',
    description: 'The kick returns with two requests in flight; their answers are published as they come.',
    device: { late: true },
    actions: [kick(read(1), write(2)), { do: 'answer', count: 1 }, { do: 'answer' }],
    answers: [ok(513), ok(1)],
  }),
  preset('Over time', {
    id: 'reset-in-flight',
    title: 'A reset with requests in flight',
    description: 'The answers come after the reset: no guest byte changes, no interrupt, only the records are freed.',
    device: { late: true },
    actions: [kick(read(1), write(2), flush), { do: 'reset' }, { do: 'answer' }, kick(read(3)), { do: 'answer' }],
    answers: [null, null, null, ok(513)],
  }),
  preset('Over time', {
    id: 'resized',
    title: 'A disk that becomes smaller',
    description: 'The driver is told by an interrupt; a read past the new end gets IOERR.',
    actions: [kick(read(100)), { do: 'resize', sectors: 64 }, kick(read(100))],
    answers: [ok(513), ioerr(0)],
  }),
]

export const PRESETS: readonly Preset[] = [
  ...LAYOUTS,
  ...REQUESTS,
  ...RINGS,
  ...REQUEST_FAULTS,
  ...RING_FAULTS,
  ...OVER_TIME,
]
