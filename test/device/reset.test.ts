// Reset (device rule 6): complete when the write returns. No guest byte changes and no interrupt fires afterwards,
// whatever a back end still holds; what comes late only frees its slot. Counters, throttle balance and capacity stay.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { BlockBackend } from '../../host/backend/types.ts'
import { answered, each, type Fixture, serves, setUp, unanswered } from '../support/device.ts'
import { type LateBackend, setUpLate } from '../support/late-backend.ts'
import { settle, sleep } from '../support/within.ts'

const test = suite('device reset')

each(
  test,
  'device rule 6: reset: registers -> as after creation, ConfigGeneration +1, interrupts acknowledged',
  async (f) => {
    const { raw, device } = await setUp(f)
    const { queue } = raw.negotiate()
    queue.run({ type: 4 })
    device.setCapacity(4096)
    raw.reg.write(0x014, 1)
    raw.reg.write(0x030, 5)
    const generation = raw.reg.configGeneration
    raw.reg.status = 0
    assert.equal([raw.reg.status, raw.reg.interruptStatus, raw.reg.queueReady], [0, 0, 0])
    assert.is(raw.reg.configGeneration, generation + 1)
    // Selectors are 0: feature word 0 and queue 0.
    assert.equal([raw.reg.read(0x010), raw.reg.queueSizeMax], [0x20000246, 256])
    // The accepted features are gone.
    for (const status of [1, 3, 0x0b]) raw.reg.status = status
    assert.is(raw.reg.status, 3)
    raw.reg.status = 0
    raw.reg.status = 0
    assert.is(raw.reg.configGeneration, generation + 3)
  },
)

each(test, 'device rule 6: reset: counters and capacity -> survive, resets +1', async (f) => {
  const fixture = await setUp(f)
  const { raw, device } = fixture
  const { queue } = raw.negotiate()
  queue.run({ type: 0, dataIn: 512 })
  queue.run({ type: 4 })
  device.setCapacity(8192)
  const before = device.counters
  raw.reg.status = 0
  assert.equal(device.counters, { ...before, resets: before.resets + 1 })
  assert.equal([before.readsCompleted, before.bytesRead, before.flushesCompleted], [1, 512, 1])
  assert.is(raw.reg.config64(0), 16n)
  serves(fixture)
})

each(test, 'device rule 6: reset: reads in flight -> no guest byte and no interrupt when they end', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const reads = [0, 1, 2, 3].map((sector) => queue.run({ type: 0, sector, dataIn: 512 }))
  assert.is(backend.pending.length, 4)
  backend.pending[1]?.finish()
  await settle()
  answered(reads[1] as (typeof reads)[number], 0, 513)
  raw.reg.status = 0
  const before = fixture.ram()
  const { interrupts } = fixture
  const counters = fixture.device.counters
  backend.pending[0]?.finish()
  backend.pending[0]?.reject(new Error('late'))
  backend.pending[0]?.answer(Number.NaN)
  await settle()
  assert.ok(before.equals(fixture.ram()), 'guest memory changed after the reset')
  assert.equal([fixture.interrupts, raw.reg.interruptStatus, raw.reg.status], [interrupts, 0, 0])
  assert.equal(fixture.device.counters, counters)
})

each(test, 'device rule 6: reset: late reads after the next bring-up -> nothing of the new ring changes', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const old = raw.negotiate().queue
  for (const sector of [0, 1]) old.run({ type: 0, sector, dataIn: 512 })
  // The same addresses again, with requests of the same heads.
  const { queue } = raw.negotiate()
  const reads = [8, 9].map((sector) => queue.run({ type: 0, sector, dataIn: 512 }))
  const [stale0, stale1, fresh0, fresh1] = backend.pending
  stale0?.finish()
  stale1?.reject('late')
  await settle()
  for (const read of reads) unanswered(read)
  assert.equal([queue.usedIdx, fixture.interrupts], [0, 0])
  fresh1?.finish()
  fresh0?.finish()
  await settle()
  reads.forEach((read, i) => {
    answered(read, 0, 513)
    assert.equal(read.data(), fixture.disk.bytes.slice((8 + i) * 512, (9 + i) * 512))
  })
})

each(test, 'device rule 6: reset: between the end of a read and its publish -> nothing is published', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const read = queue.run({ type: 0, dataIn: 512 })
  backend.pending[0]?.finish()
  raw.reg.status = 0
  const before = fixture.ram()
  await settle()
  assert.ok(before.equals(fixture.ram()))
  unanswered(read)
  assert.is(fixture.interrupts, 0)
  serves2(fixture, backend)
})

/** serves() for a late back end, as far as it goes without waiting: the read reaches the back end. */
function serves2(fixture: Fixture, backend: LateBackend): void {
  const calls = backend.calls.length
  fixture.raw.negotiate().queue.run({ type: 0, sector: 3, dataIn: 512 })
  assert.equal(backend.calls.slice(calls), ['read 1536+512'])
}

each(test, 'device rule 6: reset: writes and flushes in flight -> their late ends change nothing', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  // No FLUSH: the write has a second phase, which the reset cuts off.
  const { queue } = raw.negotiate({ flush: false })
  queue.run({ type: 1, sector: 1, dataOut: new Uint8Array(512) })
  queue.run({ type: 4 })
  raw.reg.status = 0
  const before = fixture.ram()
  backend.finishAll()
  await settle()
  backend.finishAll()
  await settle()
  assert.ok(before.equals(fixture.ram()))
  assert.equal([fixture.interrupts, fixture.counter('writesCompleted'), fixture.counter('flushesCompleted')], [0, 0, 0])
})

each(
  test,
  'device rule 6: reset: every slot in flight, ended late -> every slot free again, 50 times over',
  async (f) => {
    const { fixture, backend } = await setUpLate(f, { device: { queueSizeMax: 16 } })
    const { raw } = fixture
    for (let round = 0; round < 50; round++) {
      const { queue } = raw.negotiate({ queues: [{ size: 16 }] })
      // Eight chains of two: as many as the ring holds.
      for (let i = 0; i < 8; i++) queue.run({ type: 4 })
      assert.is(backend.pending.length, 8, `round ${round}`)
      raw.reg.status = 0
      if (round % 2) backend.finishAll()
      else for (const call of [...backend.pending]) call.reject(undefined)
      await settle()
    }
    assert.is(fixture.counter('flushesCompleted'), 0)
  },
)

each(test, 'device rule 6: reset: back end never answers -> the device serves on with the other slots', async (f) => {
  const { fixture, backend } = await setUpLate(f, { device: { queueSizeMax: 16 } })
  const { raw } = fixture
  const first = raw.negotiate({ queues: [{ size: 16 }] }).queue
  for (let i = 0; i < 5; i++) first.run({ type: 4 })
  raw.reg.status = 0
  assert.is(raw.reg.status, 0)
  const { queue } = raw.negotiate({ queues: [{ size: 16 }] })
  const lost = backend.pending.length
  for (let i = 0; i < 100; i++) {
    const read = queue.run({ type: 0, sector: i, dataIn: 512 })
    backend.pending[lost]?.finish()
    await settle()
    answered(read, 0, 513, `read ${i}`)
  }
})

each(
  test,
  'device rule 6: reset: no slot left until late answers come -> new requests go on by themselves',
  async (f) => {
    const { fixture, backend } = await setUpLate(f, { device: { queueSizeMax: 4 } })
    const { raw } = fixture
    // Four chains that share their status descriptor fill all four slots: two per ring life, so reset once between.
    for (let life = 0; life < 2; life++) {
      const { queue } = raw.negotiate({ queues: [{ size: 4 }] })
      for (let i = 0; i < 2; i++) queue.run({ type: 4 })
    }
    assert.is(backend.pending.length, 4)
    const stale = [...backend.pending]
    const { queue } = raw.negotiate({ queues: [{ size: 4 }] })
    const flush = queue.run({ type: 4 })
    await settle()
    unanswered(flush)
    assert.is(raw.reg.status, 0x0f)
    stale[0]?.finish()
    await settle()
    const calls = backend.pending.filter((call) => !stale.includes(call))
    assert.is(calls.length, 1, 'the waiting request reached the back end')
    calls[0]?.finish()
    await settle()
    answered(flush, 0, 1)
  },
)

each(test, 'device rule 6: reset: from inside the back end -> nothing more of that drain is done', async (f) => {
  let act: (() => void) | undefined
  const calls: number[] = []
  const fixture = await setUp(f, {
    backend: (disk): BlockBackend => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: (offset) => {
        calls.push(offset)
        act?.()
        return 512
      },
      write: () => 0,
      flush: () => {},
    }),
  })
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const reads = [0, 1, 2].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
  queue.publish(...reads.map(({ head }) => head))
  act = () => {
    raw.reg.status = 0
  }
  queue.kick()
  act = undefined
  for (const read of reads) unanswered(read)
  assert.equal([calls, raw.reg.status, fixture.interrupts], [[0], 0, 0])
  await settle()
  assert.is(queue.usedIdx, 0)
  for (let i = 0; i < 300; i++) raw.negotiate().queue.run({ type: 0, dataIn: 512 })
  answered(raw.negotiate().queue.run({ type: 0, dataIn: 512 }), 0, 513)
})

each(test, 'device rule 6: reset: from inside the interrupt handler -> taken at once', async (f) => {
  let act: (() => void) | undefined
  const fixture = await setUp(f, { onInterrupt: () => act?.() })
  const { raw } = fixture
  const { queue } = raw.negotiate()
  act = () => {
    raw.reg.status = 0
  }
  answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  act = undefined
  assert.is(raw.reg.status, 0)
  serves(fixture)
})

each(
  test,
  'device rule 6: reset: at the interrupt of a poisoned queue -> no interrupt for what came before it',
  async (f) => {
    const act: { now?: (() => void) | undefined } = {}
    const fixture = await setUp(f, { onInterrupt: () => act.now?.() })
    const { raw } = fixture
    const { queue } = raw.negotiate()
    const read = queue.request({ type: 0, dataIn: 512 })
    // One good request, then a head that is none: a ring interrupt and a CONFIG interrupt in one drain.
    queue.publish(read.head, 99)
    let after = 0
    act.now = () => {
      if (raw.reg.status === 0) after++
      raw.reg.status = 0
    }
    queue.kick()
    act.now = undefined
    assert.equal([after, raw.reg.status, raw.reg.interruptStatus], [0, 0, 0])
    serves(fixture)
  },
)

each(test, 'device rule 6: reset: a stalled head -> gauge corrected, timer disarmed, balance kept', async (f) => {
  const fixture = await setUp(f, { device: { throttle: { iops: 1 } } })
  const { raw } = fixture
  const { queue } = raw.negotiate()
  answered(queue.run({ type: 4 }), 0, 1)
  const stalled = queue.run({ type: 4 })
  unanswered(stalled)
  assert.is(fixture.counter('currentlyThrottled'), 1)
  raw.reg.status = 0
  assert.is(fixture.counter('currentlyThrottled'), 0)
  assert.is(fixture.device.poll(), 'idle')
  // The tokens are still spent.
  const after = raw.negotiate().queue.run({ type: 4 })
  unanswered(after)
  assert.is(fixture.counter('currentlyThrottled'), 1)
  fixture.advance(1e9)
  fixture.device.poll()
  answered(after, 0, 1)
  assert.is(fixture.counter('currentlyThrottled'), 0)
})

each(
  test,
  'device rule 6: reset: real timer armed for a stalled head -> nothing happens when it would fire',
  async (f) => {
    const fixture = await setUp(f, { realTime: true, device: { throttle: { iops: 50 } } })
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: 256 }] })
    const flushes = Array.from({ length: 60 }, () => queue.request({ type: 4 }))
    queue.submit(...flushes.map(({ head }) => head))
    assert.is(fixture.counter('currentlyThrottled'), 1)
    raw.reg.status = 0
    const before = fixture.ram()
    const { interrupts } = fixture
    const { drains } = fixture.device.counters
    await sleep(60)
    assert.ok(before.equals(fixture.ram()))
    assert.equal([fixture.interrupts, fixture.counter('drains')], [interrupts, drains])
    await fixture.device.close()
  },
)

test.run()
