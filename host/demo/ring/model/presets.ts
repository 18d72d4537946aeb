// The scenarios that the Ring view offers: the usual layouts, every request of the device, what the rings can do, and
// one for each fault of assembly/CONTRACT.md. Each says what it leads to. Portable.

import {
  VIRTIO_BLK_T_DISCARD as DISCARD,
  VIRTIO_BLK_T_GET_ID as GET_ID,
  VIRTIO_BLK_T_IN as IN,
  VIRTIO_BLK_T_OUT as OUT,
  VIRTIO_BLK_S_UNSUPP as UNSUPP,
  VIRTIO_MMIO_QUEUE_NOTIFY,
} from '../../../../assembly/spec.ts'
import { REQUEST_FAULTS, RING_FAULTS } from './fault-presets.ts'
import { flush, H, ioerr, kick, ok, preset, r, read, request, S, w, write } from './preset-parts.ts'
import type { Preset, ScenarioPiece } from './scenario.ts'

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
    description: 'With used_event at 2 the first two requests raise no interrupt, the third does.',
    device: { eventIdx: true },
    actions: [{ do: 'kick', requests: [read(1), read(2)], usedEvent: 2 }, kick(read(3))],
    answers: [ok(513), ok(513), ok(513)],
  }),
  preset('Rings', {
    id: 'no-interrupt',
    title: 'A driver that wants no interrupt',
    description: 'With NO_INTERRUPT in avail.flags the answer is published, and nobody is told.',
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
