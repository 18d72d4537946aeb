// Presets of what a driver can do wrong: one for each request fault and each ring fault of assembly/CONTRACT.md. Most
// break one thing and put a good request behind it, so that one sees whether the device goes on. Portable.

import {
  RING_FAULT_AVAIL_IDX,
  RING_FAULT_HEAD,
  RING_FAULT_HEAD_IN_FLIGHT,
  RING_FAULT_INDIRECT,
  RING_FAULT_LOOP,
  RING_FAULT_NEXT,
  RING_FAULT_NO_STATUS,
  RING_FAULT_STATUS_UNMAPPED,
} from '../../../../assembly/abi.ts'
import {
  VIRTIO_BLK_T_FLUSH as FLUSH,
  VIRTIO_BLK_T_GET_ID as GET_ID,
  VIRTIO_BLK_T_IN as IN,
  VIRTIO_BLK_T_OUT as OUT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../../assembly/spec.ts'
import { flush, H, ioerr, kick, ok, preset, QUEUE, r, read, request, S, type Told, w, write } from './preset-parts.ts'
import { type Preset, RAM_BYTES, type ScenarioRequest } from './scenario.ts'

const END = BigInt(RAM_BYTES)

/** A bad request, and a good read behind it in the same kick. */
function fault(told: Omit<Told, 'actions' | 'answers'>, bad: ScenarioRequest, usedLen: 0 | 1): Preset {
  return preset('Request faults', { ...told, actions: [kick(bad, read(3))], answers: [ioerr(usedLen), ok(513)] })
}

/** A good read, what breaks the ring, and another good read that is never looked at. */
function poison(ringFault: number, told: Omit<Told, 'actions' | 'answers'>, bad: ScenarioRequest): Preset {
  const actions = [kick(read(1), bad, read(2))]
  return preset('Ring faults', { ...told, actions, answers: [ok(513), null, null], ringFault })
}

export const REQUEST_FAULTS: readonly Preset[] = [
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

export const RING_FAULTS: readonly Preset[] = [
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
