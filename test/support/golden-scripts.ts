// The golden traces that a script makes: one per ring fault and per request fault of the contract, a throttled run, and
// a reset under load. Time is counted and nothing is random, so each comes out the same every time, byte by byte.

import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { type RawRequestOptions, readable, writable } from '../../host/driver/raw-request.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import type { Trace } from '../../host/replay/trace.ts'
import { type Fixture, pattern, type SetUpOptions, serves, setUp } from './device.ts'
import { type Flavour, flavours } from './engines.ts'
import { type LateBackend, setUpLate } from './late-backend.ts'
import { settle } from './within.ts'

/** All of guest RAM lies below. */
const RAM_END = 1 << 20
const SIZE = 16

const HEADER = { addr: 0x70000, len: 16 }
const DATA = { addr: 0x71000, len: 512, writable: true }
const STATUS = { addr: 0x72000, len: 1, writable: true }
const H = readable(16)
const S = writable(1)

function countedRecorder(): Recorder {
  let nanos = 0
  return new Recorder({ clock: () => (nanos += 1000) })
}

/** A device of its own, recorded while the script runs. */
async function record(script: (fixture: Fixture) => void | Promise<void>, options: SetUpOptions = {}): Promise<Trace> {
  const recorder = countedRecorder()
  const device = { ...options.device, engine: recorder.engine }
  const fixture = await setUp(flavours[0] as Flavour, { diskBytes: 64 << 10, ...options, device })
  await script(fixture)
  await fixture.device.close()
  return recorder.trace()
}

/** A good read, the broken chain and another good read in one drain; a kick in vain; and a reset that heals. */
function ringFault(breaks: (queue: RawQueue) => void): () => Promise<Trace> {
  return () =>
    record((fixture) => {
      const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
      const before = queue.request({ type: 0, sector: 1, dataIn: 512, indices: [0, 1, 2] })
      const after = queue.request({ type: 0, sector: 2, dataIn: 512, indices: [3, 4, 5] })
      queue.nextDesc = 6
      queue.offer(before.head)
      breaks(queue)
      queue.submit(after.head)
      queue.kick()
      serves(fixture)
    })
}

/** A request that each is wrong in its way, in a drain of its own; then a good one. */
function requestFault(requests: readonly RawRequestOptions[], device: SetUpOptions['device'] = {}) {
  return (): Promise<Trace> =>
    record(
      (fixture) => {
        const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
        for (const request of requests) queue.run(request)
        queue.run({ type: 0, sector: 3, dataIn: 512 })
      },
      { device },
    )
}

const data = (bytes: number, sector: number | bigint = 0): RawRequestOptions => ({ type: 0, sector, dataIn: bytes })

async function throttled(): Promise<Trace> {
  return await record((fixture) => {
    const { device, raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: 32 }] })
    device.setThrottle({ iops: 2, iopsBurst: 3, bytesPerSecond: 2048 })
    for (let i = 0; i < 8; i++) queue.publish(queue.request(data(512, i)).head)
    queue.kick()
    for (let i = 0; i < 80 && queue.usedIdx < 6; i++) {
      fixture.advance(5e7)
      device.poll()
    }
    fixture.advance(-1e9) // a clock that jumps back
    device.poll()
    device.setThrottle()
    device.poll()
    device.setCapacity(32 << 10)
    queue.run(data(512, 100))
  })
}

async function resetUnderLoad(): Promise<Trace> {
  const recorder = countedRecorder()
  const device = { engine: recorder.engine }
  const { fixture, backend } = await setUpLate(flavours[0] as Flavour, { diskBytes: 64 << 10, device })
  await resetsUnderLoad(fixture, backend)
  await fixture.device.close()
  return recorder.trace()
}

async function resetsUnderLoad({ raw, device }: Fixture, backend: LateBackend): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const { queue } = raw.negotiate({ queues: [{ size: 32 }] })
    const write = { type: 1, sector: 3, dataOut: pattern(512, round) }
    for (const request of [write, data(512, 1), { type: 4 }, data(4096, 8)]) {
      queue.publish(queue.request(request).head)
    }
    queue.kick()
    // In the second round nothing comes back before the reset, in the third the driver waits for all.
    if (round === 0) backend.pending[1]?.finish()
    if (round === 2) backend.finishAll()
    await settle()
    if (round === 1) device.poll()
  }
  raw.reg.status = 0
  device.poll()
  for (let i = 0; i < 4; i++) {
    backend.finishAll()
    await settle()
  }
  const { queue } = raw.negotiate()
  queue.run(data(512, 3))
  backend.finishAll()
  await settle()
}

async function headInFlight(): Promise<Trace> {
  const recorder = countedRecorder()
  const device = { engine: recorder.engine }
  const { fixture, backend } = await setUpLate(flavours[0] as Flavour, { diskBytes: 64 << 10, device })
  const { queue } = fixture.raw.negotiate()
  const read = queue.run(data(512, 1))
  queue.submit(read.head)
  backend.finishAll()
  await settle()
  fixture.raw.negotiate().queue.run({ type: 4 })
  backend.finishAll()
  await settle()
  await fixture.device.close()
  return recorder.trace()
}

const RING_FAULTS = {
  'ring-avail-idx': ringFault((queue) => queue.setAvailIdx(SIZE + 1)),
  'ring-head': ringFault((queue) => queue.offer(SIZE)),
  'ring-next': ringFault((queue) => queue.offer(queue.chain([HEADER, DATA, { ...STATUS, flags: 3, next: SIZE }]))),
  'ring-loop': ringFault((queue) => queue.offer(queue.chain([HEADER, DATA, { ...STATUS, flags: 3, next: 7 }]))),
  'ring-indirect': ringFault((queue) => queue.offer(queue.chain([{ addr: 0x73000, len: 48, indirect: true }]))),
  'ring-head-in-flight': headInFlight,
  'ring-no-status': ringFault((queue) => queue.offer(queue.chain([HEADER, { addr: 0x71000, len: 512 }]))),
  'ring-status-unmapped': ringFault((queue) => queue.offer(queue.chain([HEADER, DATA, { ...STATUS, addr: RAM_END }]))),
}

const REQUEST_FAULTS = {
  'request-a': requestFault([
    { type: 0, layout: [H, writable(512), readable(1), S] },
    { type: 4, layout: [readable(15), S] },
    { type: 4, layout: [readable(16, { addr: RAM_END - 8 }), S] },
  ]),
  'request-b': requestFault(
    [
      { type: 0, layout: [H, writable(0, { len: 0x8000_0001 }), S] },
      { type: 0, layout: [H, ...Array.from({ length: 5 }, () => writable(512)), S] },
      { type: 0, layout: [H, ...Array.from({ length: 2 }, () => writable(0, { len: 0x8000_0000 })), S] },
    ],
    { sizeMax: 0x8000_0000, segMax: 4 },
  ),
  'request-c': requestFault([
    { type: 0, layout: [H, S] },
    { type: 1, layout: [H, S] },
    { type: 8, layout: [H, S] },
    { type: 4, layout: [H, readable(512), S] },
    { type: 4, layout: [H, writable(512), S] },
  ]),
  'request-d': requestFault([
    data(513),
    { type: 1, dataOut: new Uint8Array(511) },
    { type: 0, layout: [H, readable(512), S] },
    { type: 1, layout: [H, writable(512), S] },
    { type: 0, layout: [H, writable(0, { addr: RAM_END - 256, len: 512 }), S] },
  ]),
  'request-e': requestFault([{ type: 1, dataOut: new Uint8Array(512) }, { type: 4 }], { readOnly: true }),
  'request-f': requestFault([data(512, 128), data(1024, 127), data(512, (1n << 64n) - 1n)]),
  'request-g': requestFault([{ type: 8, dataIn: 19 }, { type: 8, dataIn: 20 }, { type: 99 }]),
}

/** By name: makes the trace. */
export const SCRIPTED: Readonly<Record<string, () => Promise<Trace>>> = {
  ...RING_FAULTS,
  ...REQUEST_FAULTS,
  throttled,
  'reset-under-load': resetUnderLoad,
}
