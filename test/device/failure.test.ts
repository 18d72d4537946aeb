// Failures that end service (device rule 7): a poisoned queue or a trap of the engine sets NEEDS_RESET, raises the
// CONFIG bit and one interrupt, and a reset brings the device back with everything it had. Traps are made by wrapping
// the engine's exports.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { answered, each, type Fixture, serves, setUp, unanswered } from '../support/device.ts'
import { type EngineCall, EngineTap } from '../support/engine-tap.ts'
import type { Flavour } from '../support/engines.ts'
import { LateBackend } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device failure')

const SIZE = 16

async function tapped(
  flavour: Flavour,
  backend?: (disk: MemoryBackend) => BlockBackend,
): Promise<{ fixture: Fixture; tap: EngineTap }> {
  const tap = new EngineTap(flavour.engine)
  const device = { engine: tap.engine, queueSizeMax: SIZE }
  const fixture = await setUp(flavour, backend ? { device, backend } : { device })
  return { fixture, tap }
}

/** The device is down: NEEDS_RESET, CONFIG, one interrupt more than `interrupts`, and kicks are ignored. */
async function down(fixture: Fixture, queue: RawQueue, interrupts: number): Promise<void> {
  const { raw } = fixture
  assert.is(raw.reg.status, 0x4f)
  assert.is(raw.reg.interruptStatus & 2, 2)
  assert.is(fixture.interrupts, interrupts + 1, 'interrupts')
  assert.is(fixture.failures.length, 1, 'failure messages')
  const read = queue.request({ type: 0, dataIn: 512 })
  const gain = fixture.gained(['kicks', 'ignoredKicks'], () => queue.submit(read.head))
  assert.equal(gain, { kicks: 0, ignoredKicks: 1 })
  fixture.device.poll()
  await settle()
  unanswered(read)
  assert.equal([fixture.interrupts, fixture.failures.length], [interrupts + 1, 1])
}

/** All slots work: as many requests as the ring holds go through, several times. */
function allSlots(fixture: Fixture): void {
  const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
  for (let round = 0; round < 5; round++) {
    const flushes = Array.from({ length: SIZE / 2 }, () => queue.request({ type: 4 }))
    queue.submit(...flushes.map(({ head }) => head))
    for (const flush of flushes) answered(flush, 0, 1)
  }
}

const TRAPS: readonly [EngineCall, 'before' | 'after'][] = [
  ['plan', 'before'],
  ['plan', 'after'],
  ['complete', 'before'],
  ['complete', 'after'],
  ['publish', 'before'],
  ['publish', 'after'],
  ['mmioWrite', 'before'],
  ['mmioWrite', 'after'],
]

for (const [name, when] of TRAPS) {
  each(
    test,
    `device rule 7: engine trap: ${when} ${name} -> NEEDS_RESET, CONFIG, one interrupt, reset heals`,
    async (f) => {
      const { fixture, tap } = await tapped(f)
      const { raw } = fixture
      for (let life = 1; life <= 3; life++) {
        const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
        answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
        const flushes = [1, 2, 3].map(() => queue.request({ type: 4 }))
        queue.publish(...flushes.map(({ head }) => head))
        const { interrupts } = fixture
        tap.trapNext(name, when)
        queue.kick()
        assert.is(raw.reg.status, 0x4f)
        assert.is(raw.reg.interruptStatus & 2, 2)
        assert.is(fixture.interrupts, interrupts + 1)
        assert.equal([fixture.counter('engineTraps'), fixture.failures.length], [life, life])
        allSlots(fixture)
      }
      serves(fixture)
    },
  )
}

each(test, 'device rule 7: engine trap: then kicks and polls -> ignored, nothing said twice', async (f) => {
  const { fixture, tap } = await tapped(f)
  const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
  tap.trapNext('plan')
  queue.kick()
  await down(fixture, queue, 0)
  assert.is(fixture.counter('engineTraps'), 1)
  allSlots(fixture)
})

each(test, 'device rule 7: engine trap: in mmioRead -> NEEDS_RESET, reset heals', async (f) => {
  const { fixture, tap } = await tapped(f)
  const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
  tap.trapNext('mmioRead')
  fixture.raw.reg.read(0x0fc)
  await down(fixture, queue, 0)
  allSlots(fixture)
})

each(
  test,
  'device rule 7: engine trap: requests in flight -> late answers change nothing, reset frees all slots',
  async (f) => {
    let backend: LateBackend | undefined
    const { fixture, tap } = await tapped(f, (disk) => {
      backend = new LateBackend(disk)
      return backend
    })
    assert.ok(backend)
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
    for (let i = 0; i < SIZE / 2; i++) queue.run({ type: 4 })
    assert.is(backend.pending.length, SIZE / 2)
    tap.trapNext('plan')
    queue.kick()
    const before = fixture.ram()
    backend.pending[0]?.finish()
    await settle()
    assert.ok(before.equals(fixture.ram()), 'late answer before the reset')
    const stale = backend.pending.splice(0)
    const again = raw.negotiate({ queues: [{ size: SIZE }] }).queue
    const flushes = Array.from({ length: SIZE / 2 }, () => again.run({ type: 4 }))
    assert.is(backend.pending.length, SIZE / 2, 'all slots are free')
    for (const call of stale) call.finish()
    await settle()
    for (const flush of flushes) unanswered(flush)
    backend.finishAll()
    await settle()
    for (const flush of flushes) answered(flush, 0, 1)
  },
)

each(
  test,
  'device rule 7: engine trap: while a late answer is taken -> NEEDS_RESET, one interrupt, reset heals',
  async (f) => {
    for (const name of ['complete', 'publish'] as const) {
      let backend: LateBackend | undefined
      const { fixture, tap } = await tapped(f, (disk) => {
        backend = new LateBackend(disk)
        return backend
      })
      const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
      queue.run({ type: 4 })
      queue.run({ type: 4 })
      tap.trapNext(name)
      backend?.finishAll()
      await settle()
      assert.is(fixture.counter('engineTraps'), 1, name)
      assert.equal([fixture.raw.reg.status, fixture.interrupts, queue.usedIdx], [0x4f, 1, 0], name)
      const again = fixture.raw.negotiate({ queues: [{ size: SIZE }] }).queue
      const flushes = Array.from({ length: SIZE / 2 }, () => again.run({ type: 4 }))
      backend?.finishAll()
      await settle()
      for (const flush of flushes) answered(flush, 0, 1, name)
    }
  },
)

each(test, 'device rule 7: engine trap: completions not yet published, then poll() -> stay unpublished', async (f) => {
  const { fixture, tap } = await tapped(f)
  const { queue } = fixture.raw.negotiate({ queues: [{ size: SIZE }] })
  const id = queue.request({ type: 8, dataIn: 20 })
  queue.publish(id.head)
  tap.trapNext('publish')
  queue.kick()
  assert.equal([fixture.raw.reg.status, queue.usedIdx, fixture.interrupts], [0x4f, 0, 1])
  // The engine's state is not to be trusted any more, and the guest was told that service has ended.
  assert.is(fixture.device.poll(), 'idle')
  await settle()
  assert.equal([queue.usedIdx, fixture.interrupts, fixture.raw.reg.interruptStatus], [0, 1, 2])
})

each(test, 'device rule 7: poison: -> NEEDS_RESET, CONFIG bit, one interrupt, reset heals', async (f) => {
  const { fixture } = await tapped(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
  queue.submit(SIZE)
  assert.equal([raw.reg.interruptStatus, queue.usedIdx], [2, 0])
  await down(fixture, queue, 0)
  allSlots(fixture)
  assert.equal([fixture.counter('ringFaults'), fixture.counter('engineTraps')], [1, 0])
})

each(
  test,
  'device rule 7: poison: interrupts suppressed by the driver -> the CONFIG interrupt fires all the same',
  async (f) => {
    const { fixture } = await tapped(f)
    const { raw } = fixture
    for (const eventIdx of [false, true]) {
      const { queue } = raw.negotiate({ eventIdx, queues: [{ size: SIZE }] })
      queue.availFlags = 1
      queue.usedEvent = 0x8000
      const { interrupts } = fixture
      queue.submit(SIZE)
      assert.equal([raw.reg.status, raw.reg.interruptStatus, fixture.interrupts - interrupts], [0x4f, 2, 1])
    }
  },
)

each(test, 'device rule 7: poison of one queue -> the other is not served either, until the reset', async (f) => {
  const fixture = await setUp(f, { device: { queues: 2 } })
  const { raw } = fixture
  const [zero, one] = raw.negotiate({ queues: [{ queue: 0 }, { queue: 1 }] }).queues
  assert.ok(zero && one)
  zero.submit(99)
  assert.is(raw.reg.status, 0x4f)
  const read = one.run({ type: 0, dataIn: 512 })
  unanswered(read)
  const again = raw.negotiate({ queues: [{ queue: 0 }, { queue: 1 }] }).queues
  for (const queue of again) answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
})

each(test, 'device rule 7: poison: and a trap later in the same drain -> one interrupt all the same', async (f) => {
  for (const name of ['complete', 'publish'] as const) {
    const { fixture, tap } = await tapped(f)
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
    const read = queue.request({ type: 0, dataIn: 512 })
    queue.publish(read.head, 99)
    tap.trapNext(name)
    queue.kick()
    assert.equal([raw.reg.status, raw.reg.interruptStatus & 2, fixture.interrupts], [0x4f, 2, 1], name)
    allSlots(fixture)
  }
})

each(
  test,
  'device rule 7: poison: queue stopped by the back end in the same drain -> one interrupt all the same',
  async (f) => {
    const act: { now?: (() => void) | undefined } = {}
    const { fixture } = await tapped(f, (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: (offset, into) => {
        act.now?.()
        return disk.read(offset, into)
      },
      write: () => 0,
      flush: () => {},
    }))
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
    const read = queue.request({ type: 0, dataIn: 512 })
    queue.publish(read.head, 99)
    act.now = () => {
      raw.reg.queueReady = 0
    }
    queue.kick()
    act.now = undefined
    assert.equal([raw.reg.status, raw.reg.interruptStatus & 2, fixture.interrupts], [0x4f, 2, 1])
    allSlots(fixture)
  },
)

test.run()
