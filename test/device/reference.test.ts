// Cases of the reference device's own test list that no other test here has, one by one: registers and configuration
// as they are by default, plain requests with all their consequences, bring-up, reset and the throttle gauge. Which
// case is where is in test/reference.md. Interrupts: reference-interrupt.test.ts; random chains:
// reference-random.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, pattern, serves, setUp, unanswered } from '../support/device.ts'

const test = suite('reference')

const QUARTER_GIB = 268_435_456
const SECOND = 1_000_000_000

// Registers and configuration ----------------------------------------------------------------------------------

/** A disk of so many bytes that stores nothing. */
const hollow = (capacityBytes: number) => () => ({
  capacityBytes,
  inPlace: true,
  read: (_: number, into: Uint8Array[]) => into.reduce((sum, { length }) => sum + length, 0),
  write: (_: number, from: Uint8Array[]) => from.reduce((sum, { length }) => sum + length, 0),
  flush() {},
})

each(test, 'device rule 1: config space: 256 MiB and defaults -> byte for byte', async (f) => {
  const { raw } = await setUp(f, { backend: hollow(QUARTER_GIB) })
  const bytes = Array.from({ length: 32 }, (_, at) => raw.reg.config(at, 1))
  const expected = [0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  assert.equal(bytes, expected)
  assert.is(raw.reg.config64(0), 524_288n)
  assert.equal([raw.reg.config(8), raw.reg.config(12), raw.reg.config(20)], [1 << 20, 128, 512])
})

each(test, 'device rule 1: capacity: not a multiple of 512 -> rounded down; below 512 -> 0 sectors', async (f) => {
  for (const [bytes, sectors] of [
    [511, 0n],
    [512, 1n],
    [1535, 2n],
  ] as const) {
    const { raw } = await setUp(f, { diskBytes: bytes })
    assert.is(raw.reg.config64(0), sectors)
  }
})

each(test, 'device rule 3: queue registers: written before FEATURES_OK or after a reset -> no effect', async (f) => {
  // No RAM at address 0: a queue whose addresses were dropped cannot become ready.
  const base = 0x10_0000
  const { raw } = await setUp(f, { regions: [{ gpa: base, bytes: 1 << 20 }] })
  const { queue } = raw.negotiate({ upTo: 'queues' })
  assert.is(raw.reg.queueReady, 1)
  const program = (): void => {
    raw.reg.selectQueue(0)
    raw.reg.queueSize = 16
    raw.reg.setQueueAddresses(queue.desc, queue.avail, queue.used)
    raw.reg.queueReady = 1
  }
  raw.reg.status = 0
  for (const status of [0, 1, 3]) {
    if (status > 0) raw.reg.status = status
    program()
    assert.is(raw.reg.queueReady, 0, `ready in state ${status}`)
  }
  raw.reg.acceptFeatures([32])
  raw.reg.status = 0x0b
  raw.reg.queueReady = 1
  assert.is(raw.reg.queueReady, 0, 'addresses of an earlier state were kept')
  program()
  assert.is(raw.reg.queueReady, 1)
})

each(test, 'device rule 4: kick: no queue ready -> counted, and nothing else happens', async (f) => {
  const fixture = await setUp(f)
  const { raw, device } = fixture
  const { queue } = raw.negotiate({ queues: [{ ready: false }] })
  const read = queue.request({ type: 0, dataIn: 512 })
  const before = { ...device.counters, ignoredKicks: 3 }
  const ram = fixture.ram()
  for (let i = 0; i < 3; i++) {
    queue.publish(...(i === 0 ? [read.head] : []))
    queue.kick()
  }
  assert.is(device.poll(), 'idle')
  assert.equal(device.counters, before)
  assert.equal([raw.reg.status, raw.reg.interruptStatus, fixture.interrupts], [0x0f, 0, 0])
  unanswered(read)
  // Only what the driver itself wrote is different: one ring slot and the index.
  const now = fixture.ram()
  const changed = [...ram.keys()].filter((at) => ram[at] !== now[at])
  assert.ok(changed.every((at) => at >= Number(queue.avail) && at < Number(queue.avail) + 38))
})

// Plain requests ------------------------------------------------------------------------------------------------

const ZERO = {
  ...{ readsCompleted: 0, bytesRead: 0, writesCompleted: 0, bytesWritten: 0, flushesCompleted: 0, idsCompleted: 0 },
  ...{ unsupported: 0, ioErrors: 0, shortReads: 0, throttledCount: 0, ringFaults: 0, statusWriteFailures: 0 },
}
const COUNTED = Object.keys(ZERO) as (keyof typeof ZERO)[]

each(test, 'device rule 11: IN: one sector -> its data, OK, used length 513, counted once', async (f) => {
  const fixture = await setUp(f)
  const { queue } = fixture.raw.negotiate()
  const read = queue.request({ type: 0, sector: 5, dataIn: 512 })
  const gain = fixture.gained(COUNTED, () => queue.submit(read.head))
  answered(read, 0, 513)
  assert.equal(read.data(), diskBytes(2560, 512))
  assert.equal(gain, { ...ZERO, readsCompleted: 1, bytesRead: 512 })
  assert.equal([queue.usedIdx, fixture.interrupts, fixture.raw.reg.interruptStatus], [1, 1, 1])
})

each(
  test,
  'device rule 11: OUT: one sector -> stored there and nowhere else, used length 1, counted once',
  async (f) => {
    const fixture = await setUp(f, { diskBytes: 4096 })
    const { queue } = fixture.raw.negotiate()
    const write = queue.request({ type: 1, sector: 1, dataOut: pattern(512) })
    const gain = fixture.gained(COUNTED, () => queue.submit(write.head))
    answered(write, 0, 1)
    const expected = diskBytes(0, 4096)
    expected.set(pattern(512), 512)
    assert.equal(fixture.disk.bytes, expected)
    assert.equal(gain, { ...ZERO, writesCompleted: 1, bytesWritten: 512 })
  },
)

each(
  test,
  'device rule 11: IN: nine sectors over three descriptors of three -> all, from sector 0 and 1',
  async (f) => {
    const fixture = await setUp(f, { diskBytes: 32 * 512 })
    const { queue } = fixture.raw.negotiate()
    for (const [sector, segments] of [
      [1, 7],
      [0, 3],
    ] as const) {
      const read = queue.run({ type: 0, sector, dataIn: segments * 1536, segments: 1536 })
      answered(read, 0, segments * 1536 + 1)
      assert.equal(read.data(), diskBytes(sector * 512, segments * 1536))
    }
  },
)

each(test, 'device rule 14: GET_ID: on a read-only disk -> served and counted, no other counter moves', async (f) => {
  const fixture = await setUp(f, { device: { readOnly: true, serial: 'ro' } })
  const { queue } = fixture.raw.negotiate()
  const id = queue.request({ type: 8, dataIn: 20 })
  const gain = fixture.gained(COUNTED, () => queue.submit(id.head))
  answered(id, 0, 21)
  assert.equal(id.data().slice(0, 3), Uint8Array.of(0x72, 0x6f, 0))
  assert.equal(gain, { ...ZERO, idsCompleted: 1 })
})

each(test, 'device rule 8: statuses: OK, IOERR and UNSUPP -> 0, 1 and 2 in the guest', async (f) => {
  const { queue } = (await setUp(f)).raw.negotiate()
  const statuses = [{ type: 4 }, { type: 0 }, { type: 0xbeef }].map((options) => queue.run(options).status())
  assert.equal(statuses, [0, 1, 2])
})

each(
  test,
  'device rule 8: default limits: 1 MiB in one descriptor -> OK, one byte or sector more -> IOERR',
  async (f) => {
    const fixture = await setUp(f, { diskBytes: 2 << 20, regions: [{ gpa: 0, bytes: 4 << 20 }] })
    const { queue } = fixture.raw.negotiate()
    const buffer = { addr: 2 << 20 }
    const run = (bytes: number) => queue.run({ type: 0, layout: [readable(16), writable(bytes, buffer), writable(1)] })
    for (const bytes of [(1 << 20) + 1, (1 << 20) + 512]) {
      const request = run(bytes)
      assert.equal([request.status(), request.usedLen()], [1, 0])
    }
    assert.is(fixture.counter('ioErrors'), 2)
    const request = run(1 << 20)
    assert.equal([request.status(), request.usedLen()], [0, (1 << 20) + 1])
  },
)

each(test, 'device rule 8: default limits: 130 descriptors -> OK, 131 and 132 -> IOERR, published', async (f) => {
  const fixture = await setUp(f)
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 256 }] })
  for (const [segments, status] of [
    [128, 0],
    [129, 1],
    [130, 1],
  ] as const) {
    const request = queue.run({ type: 0, dataIn: 512 * segments, segments: 512, head: 0 })
    answered(request, status, status === 0 ? 512 * segments + 1 : 0, `${segments} segments`)
  }
  assert.is(fixture.counter('throttledCount'), 0)
})

each(test, 'device rule 8: fault f: disk of 0 sectors -> every read and write is IOERR, FLUSH is OK', async (f) => {
  for (const diskBytes of [0, 511]) {
    const fixture = await setUp(f, { diskBytes })
    const { queue } = fixture.raw.negotiate()
    answered(queue.run({ type: 0, dataIn: 512 }), 1, 0)
    answered(queue.run({ type: 1, dataOut: new Uint8Array(512) }), 1, 1)
    answered(queue.run({ type: 4 }), 0, 1)
    assert.is(fixture.counter('ioErrors'), 2)
  }
})

// Reset, poison and the gauge -----------------------------------------------------------------------------------

each(test, 'device rule 6: reset: then a new bring-up -> the ring starts at 0, counters go on', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const first = raw.negotiate().queue
  for (let i = 0; i < 7; i++) answered(first.run({ type: 0, dataIn: 512 }), 0, 513)
  const { queue } = raw.negotiate()
  const read = queue.run({ type: 0, sector: 2, dataIn: 512 })
  answered(read, 0, 513)
  assert.equal([queue.usedIdx, queue.usedElement(0).id, read.data()[0]], [1, read.head, diskBytes(1024, 1)[0]])
  assert.equal([fixture.counter('readsCompleted'), fixture.counter('bytesRead')], [8, 4096])
})

each(test, 'device rule 6: reset of a poisoned device -> serves again, the fault stays counted once', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 256 }] })
  queue.setAvailIdx(1000)
  for (let i = 0; i < 6; i++) queue.kick()
  assert.equal([raw.reg.status, raw.reg.interruptStatus], [0x4f, 2])
  assert.equal([fixture.counter('invalidAvailIdx'), fixture.counter('readsCompleted'), fixture.interrupts], [1, 0, 1])
  // The driver cannot climb out by other bits; what it repeats is kept.
  raw.reg.status = 0x0f
  assert.is(raw.reg.status, 0x4f)
  raw.reg.status = 0
  assert.equal([raw.reg.status, raw.reg.interruptStatus], [0, 0])
  serves(fixture)
  assert.is(fixture.counter('invalidAvailIdx'), 1)
})

each(test, 'device rule 7: poison: kicks afterwards -> used.flags and avail_event as they were', async (f) => {
  for (const eventIdx of [false, true]) {
    const { raw } = await setUp(f)
    const { queue } = raw.negotiate({ eventIdx })
    queue.setAvailIdx(17)
    queue.kick()
    queue.usedFlags = 0x1234
    queue.availEvent = 0x5678
    for (let i = 0; i < 5; i++) queue.kick()
    assert.equal([queue.usedFlags, queue.availEvent], [0x1234, 0x5678])
  }
})

each(test, 'device rule 20: bytes alone refuse -> gauge 1 and a wait of 1 s, then granted and gauge 0', async (f) => {
  const fixture = await setUp(f, { device: { throttle: { bytesPerSecond: 512 } } })
  const { device } = fixture
  const { queue } = fixture.raw.negotiate()
  assert.is(device.counters.currentlyThrottled, 0)
  answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  const read = queue.run({ type: 0, sector: 1, dataIn: 512 })
  unanswered(read)
  assert.is(device.counters.currentlyThrottled, 1)
  assert.equal(device.poll(), { stalledNanos: SECOND })
  assert.equal([device.counters.throttledCount, device.counters.currentlyThrottled], [2, 1])
  fixture.advance(SECOND)
  assert.is(device.poll(), 'idle')
  answered(read, 0, 513)
  assert.equal([device.counters.throttledCount, device.counters.currentlyThrottled], [2, 0])
})

each(test, 'device rule 20: a read of 2048 with both buckets in debt -> refused once, by one count', async (f) => {
  const fixture = await setUp(f, { device: { throttle: { iops: 10, bytesPerSecond: 1024 } } })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
  for (let i = 0; i < 9; i++) queue.run({ type: 4 })
  answered(queue.run({ type: 0, dataIn: 4096 }), 0, 4097)
  const read = queue.run({ type: 0, dataIn: 2048 })
  unanswered(read)
  assert.equal([fixture.counter('throttledCount'), fixture.counter('ioErrors')], [1, 0])
  // 100 ms for the operation, 3 s for the bytes of which a timer takes one at a time.
  assert.equal(fixture.device.poll(), { stalledNanos: SECOND })
  fixture.advance(3 * SECOND)
  assert.is(fixture.device.poll(), 'idle')
  answered(read, 0, 2049)
})

test.run()
