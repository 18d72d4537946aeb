// The reference device's interrupt and notification cases, one by one (device rule 18): when a drain raises the
// interrupt, with and without EVENT_IDX, and what it tells the driver about kicks. The formula as a whole is swept in
// publish.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { each, type Fixture, setUp } from '../support/device.ts'
import type { Flavour } from '../support/engines.ts'

const test = suite('reference interrupts')

interface Ready {
  fixture: Fixture
  queue: RawQueue
}

async function ready(flavour: Flavour, eventIdx: boolean): Promise<Ready> {
  const fixture = await setUp(flavour)
  const { queue } = fixture.raw.negotiate({ eventIdx })
  return { fixture, queue }
}

/** Offers so many flushes in one kick; returns how many interrupts they raised. */
function drain({ fixture, queue }: Ready, count = 1, type = 4): number {
  const before = fixture.interrupts
  const requests = Array.from({ length: count }, () => queue.request({ type }))
  queue.submit(...requests.map(({ head }) => head))
  return fixture.interrupts - before
}

each(
  test,
  'device rule 18: interrupt: EVENT_IDX off -> silent before, one per drain, used_event ignored',
  async (f) => {
    const rig = await ready(f, false)
    assert.equal([rig.fixture.interrupts, rig.fixture.raw.reg.interruptStatus], [0, 0])
    rig.queue.usedEvent = 65_535
    assert.equal([drain(rig), drain(rig), drain(rig, 2)], [1, 1, 1])
    assert.is(rig.fixture.raw.reg.interruptStatus, 1)
  },
)

each(test, 'device rule 18: interrupt: used_event 65535, used 1 -> silent, the VRING bit is set', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 65_535
  assert.equal([drain(rig), rig.queue.usedIdx, rig.fixture.raw.reg.interruptStatus], [0, 1, 1])
  assert.is(rig.fixture.counter('suppressedInterrupts'), 1)
})

each(test, 'device rule 18: interrupt: used_event 0, used 1 -> fires once; left at 0, used 2 -> silent', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 0
  assert.equal([drain(rig), drain(rig)], [1, 0])
})

each(test, 'device rule 18: interrupt: used_event 0 then 1, a drain each -> fires each time', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 0
  assert.is(drain(rig), 1)
  rig.queue.usedEvent = 1
  assert.is(drain(rig), 1)
  assert.is(rig.queue.usedIdx, 2)
})

each(test, 'device rule 18: interrupt: three chains in one drain, used_event reached -> fires once', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 0
  assert.equal([drain(rig, 3), rig.queue.usedIdx], [1, 3])
})

each(test, 'device rule 18: interrupt: three chains in one drain, used_event 10 -> silent', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 10
  assert.equal([drain(rig, 3), rig.queue.usedIdx, rig.fixture.raw.reg.interruptStatus], [0, 3, 1])
})

each(test, 'device rule 18: interrupt: used_event 2 spans two drains -> fires once', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 2
  assert.equal([drain(rig, 1), drain(rig, 2), rig.queue.usedIdx], [0, 1, 3])
})

each(test, 'device rule 18: interrupt: EVENT_IDX, failed and unknown requests -> the same decision', async (f) => {
  for (const type of [0, 0xbeef]) {
    const rig = await ready(f, true)
    rig.queue.usedEvent = 65_535
    assert.equal([drain(rig, 1, type), rig.fixture.raw.reg.interruptStatus], [0, 1])
    rig.queue.usedEvent = 1
    assert.is(drain(rig, 1, type), 1)
  }
})

each(test, 'device rule 18: interrupt: a drain that publishes nothing -> silent, no VRING bit', async (f) => {
  const rig = await ready(f, true)
  rig.queue.usedEvent = 0
  rig.queue.kick()
  rig.fixture.device.poll()
  assert.equal([rig.fixture.interrupts, rig.fixture.raw.reg.interruptStatus], [0, 0])
  // The decision for the next one is not spoilt by it.
  assert.is(drain(rig), 1)
})

each(test, 'device rule 18: drain: a chain offered after a drain -> served by the next kick', async (f) => {
  const rig = await ready(f, false)
  for (let i = 1; i <= 5; i++) {
    drain(rig)
    assert.is(rig.queue.usedIdx, i)
  }
})

each(test, 'device rule 18: drain: two chains offered before one kick -> both served, one interrupt', async (f) => {
  const rig = await ready(f, false)
  const [first, second] = [rig.queue.request({ type: 4 }), rig.queue.request({ type: 4 })]
  rig.queue.publish(first.head)
  rig.queue.publish(second.head)
  rig.queue.kick()
  assert.equal([first.status(), second.status(), rig.queue.usedIdx, rig.fixture.interrupts], [0, 0, 2, 1])
})

each(
  test,
  'device rule 18: batch: three reads of three sectors in one kick -> each its own data, in order',
  async (f) => {
    const { fixture, queue } = await ready(f, false)
    const reads = [0, 1, 2].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
    queue.submit(...reads.map(({ head }) => head))
    reads.forEach((read, sector) => {
      assert.equal(read.data(), fixture.disk.bytes.slice(sector * 512, sector * 512 + 512))
    })
    assert.equal(
      queue.takeUsed(),
      reads.map(({ head }) => ({ id: head, len: 513 })),
    )
    assert.is(fixture.interrupts, 1)
  },
)

/** used.flags and avail_event, seen from inside a flush and after the drain. */
async function notifications(flavour: Flavour, eventIdx: boolean): Promise<{ during: number[][]; after: number[][] }> {
  const seen: { queue?: RawQueue; during: number[][]; after: number[][] } = { during: [], after: [] }
  const look = (queue: RawQueue): number[] => [queue.usedFlags, queue.availEvent]
  const fixture = await setUp(flavour, {
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: () => 0,
      write: () => 0,
      flush: () => {
        if (seen.queue) seen.during.push(look(seen.queue))
      },
    }),
  })
  const { queue } = fixture.raw.negotiate({ eventIdx })
  seen.queue = queue
  for (let i = 0; i < 2; i++) {
    queue.run({ type: 4 })
    seen.after.push(look(queue))
  }
  return seen
}

each(
  test,
  'device rule 18: kicks: EVENT_IDX off -> used.flags says no kicks while draining, 0 afterwards',
  async (f) => {
    const { during, after } = await notifications(f, false)
    assert.equal(
      during.map(([flags]) => flags),
      [1, 1],
    )
    assert.equal(
      after.map(([flags]) => flags),
      [0, 0],
    )
  },
)

each(test, 'device rule 18: kicks: EVENT_IDX on -> used.flags stays 0, avail_event follows the cursor', async (f) => {
  const { during, after } = await notifications(f, true)
  assert.equal(
    during.map(([flags]) => flags),
    [0, 0],
  )
  assert.equal(after, [
    [0, 1],
    [0, 2],
  ])
})

test.run()
