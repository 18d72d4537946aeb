// The trace file as host/replay/FORMAT.md has it: a file put together by hand, byte by byte, is read as the steps that
// it says, and these are written as the same bytes.

import { inflateRawSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Step } from '../../host/replay/step.ts'
import { readSteps, Trace } from '../../host/replay/trace.ts'

const test = suite('replay format')

const BODY = Uint8Array.from([
  // Step 0: init, no flags; nanos 1000 = zigzag 2000
  ...[0x01, 0xd0, 0x0f],
  // features low 0x200, high 1; 2048 sectors, 0; 1 queue of 256; segMax 128; sizeMax 4096; blocks of 512; writable
  ...[0x80, 0x04, 0x01, 0x80, 0x10, 0x00, 0x01, 0x80, 0x02, 0x80, 0x01, 0x80, 0x20, 0x80, 0x04, 0x00],
  // serial 'AB'
  ...[0x41, 0x42, ...new Array<number>(18).fill(0)],
  // one region: address 0, 1 MiB
  ...[0x01, 0x00, 0x80, 0x80, 0x40],
  // throttle, result 0
  ...[5, 0, 5, 0, 0, 0, 0, 0, 0x00],
  // Step 1: mmioRead(0, 4) after 1 ns gives 'virt'
  ...[0x02, 0x02, 0x00, 0x04, 0xf6, 0xd2, 0xc9, 0xa3, 0x07],
  // Step 2: plan(0, 1e9, 256) at the same time, with events and counters
  ...[0x64, 0x00, 0x00, 0x00, 0x80, 0xa8, 0xd6, 0xb9, 0x07, 0x80, 0x02],
  // three events: avail.idx at 0x1002 = 1; a verdict, read, on head 0; used.flags at 0x1000 = 1
  ...[0x03, 0x02, 0x84, 0x40, 0x01, 0x00, 0x20, 0x00, 0x01, 0x00, 0x13, 0x03, 0x01, 0x00],
  // result: one request, the ring empty. Slot 0, op read, sector 8, 512 bytes, head 0; one segment at 0x0ff0
  ...[0x01, 0x00, 0x01, 0x08, 0x00, 0x80, 0x04, 0x00, 0x01, 0x1f, 0x80, 0x04],
  // counter 19 (drains) + 1, counter 13 - 1
  ...[0x02, 0x13, 0x02, 0x0d, 0x01],
  // Step 3: complete(0, 512); result 0; the data's hash
  ...[0x05, 0x00, 0x00, 0x00, 0x80, 0x08, 0x00, 0x01, 0x78, 0x56, 0x34, 0x12],
  // Step 4: complete(0, NaN); result -1; no payload
  ...[0x05, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00],
  // Step 5: publish(0), which trapped
  ...[0x86, 0x00, 0x00],
])

const nothing = { events: [], planned: [], counters: [] }
const STEPS: readonly Step[] = [
  {
    ...nothing,
    call: 'init',
    args: [],
    config: {
      words: [0x200, 1, 2048, 0, 1, 256, 128, 4096, 512, 0],
      serial: Uint8Array.of(0x41, 0x42, ...new Array<number>(18).fill(0)),
      regions: [{ gpa: 0, bytes: 1 << 20 }],
    },
    throttle: [5, 0, 5, 0, 0, 0, 0, 0],
    result: 0,
    nanos: 1000,
  },
  { ...nothing, call: 'mmioRead', args: [0, 4], result: 0x74726976, nanos: 1001 },
  {
    call: 'plan',
    args: [0, 1e9, 256],
    events: [
      { kind: 2, at: 0x1002, low: 1, high: 0 },
      { kind: 32, at: 0, low: 1, high: 0 },
      { kind: 19, at: 0x1000, low: 1, high: 0 },
    ],
    result: 1,
    planned: [
      { slot: 0, op: 1, sectorLow: 8, sectorHigh: 0, dataBytes: 512, head: 0, segments: [{ gpa: 0xff0, len: 512 }] },
    ],
    counters: [
      [19, 1],
      [13, -1],
    ],
    nanos: 1001,
  },
  { ...nothing, call: 'complete', args: [0, 512], result: 0, payload: 0x12345678, nanos: 1001 },
  { ...nothing, call: 'complete', args: [0, Number.NaN], result: 0xffffffff, nanos: 1001 },
  { ...nothing, call: 'publish', args: [0], result: undefined, nanos: 1001 },
]

test('format: bytes put together by hand -> these steps', () => {
  assert.equal(readSteps(BODY), STEPS)
})

test('format: these steps -> these bytes, under a header that says so', async () => {
  const trace = new Trace(STEPS)
  const file = await trace.bytes()
  const view = new DataView(file.buffer)
  assert.is(Buffer.from(file.subarray(0, 8)).toString('hex'), '56424c4b5452430a')
  assert.equal([view.getUint16(8, true), view.getUint16(10, true)], [1, 0])
  assert.equal([view.getUint32(12, true), view.getUint32(16, true)], [file.length, 6])
  assert.is(view.getUint32(20, true), BODY.length)
  assert.is(view.getBigUint64(24, true).toString(16).padStart(16, '0'), trace.digest)
  assert.equal(new Uint8Array(inflateRawSync(file.subarray(36))), BODY)
})

test.run()
