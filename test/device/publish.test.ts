// Completion (device rules 16 to 18): counted after the publish, at most queue-size chains per drain, one store of
// used.idx and at most one interrupt per batch, and the suppression decision of both kinds.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { answered, each, type Fixture, setUp } from '../support/device.ts'
import { EngineTap } from '../support/engine-tap.ts'
import { FaultyBackend } from '../support/faulty-backend.ts'
import { settle, within } from '../support/within.ts'

const test = suite('device publish')

const COMPLETIONS = ['readsCompleted', 'bytesRead', 'writesCompleted', 'flushesCompleted', 'idsCompleted'] as const

function completions(fixture: Fixture): number {
  const { counters } = fixture.device
  const { unsupported, ioErrors, shortReads } = counters
  return COMPLETIONS.reduce((sum, name) => sum + counters[name], unsupported + ioErrors + shortReads)
}

each(test, 'device rule 16: counters: seen around the publish -> nothing before it, all after it', async (f) => {
  const tap = new EngineTap(f.engine)
  const fixture = await setUp(f, { device: { engine: tap.engine } })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
  const requests = [
    queue.request({ type: 0, dataIn: 512 }),
    queue.request({ type: 1, dataOut: new Uint8Array(512) }),
    queue.request({ type: 4 }),
    queue.request({ type: 8, dataIn: 20 }),
    queue.request({ type: 50 }),
    queue.request({ type: 0, dataIn: 1 }),
  ]
  const seen: unknown[] = []
  tap.watch = (name, when) => {
    if (name === 'publish') seen.push([when, queue.usedIdx, completions(fixture)])
    else if (queue.usedIdx === 0) assert.is(completions(fixture), 0, `${when} ${name}`)
  }
  queue.submit(...requests.map(({ head }) => head))
  tap.watch = undefined
  // one each, and 512 bytes read
  assert.equal(seen, [
    ['before', 0, 0],
    ['after', 6, 518],
  ])
})

each(
  test,
  'device rule 16: counters: seen by the interrupt handler and the back end -> never ahead of used.idx',
  async (f) => {
    const look: { queue?: RawQueue; fixture?: Fixture } = {}
    const seen: boolean[] = []
    const check = (): void => {
      if (look.queue && look.fixture) seen.push(look.fixture.counter('readsCompleted') <= look.queue.usedIdx)
    }
    const fixture = await setUp(f, {
      onInterrupt: check,
      backend: (disk) => ({
        capacityBytes: disk.capacityBytes,
        inPlace: true,
        read: (offset, into) => {
          check()
          return disk.read(offset, into)
        },
        write: () => 0,
        flush: () => {},
      }),
    })
    const { queue } = fixture.raw.negotiate()
    Object.assign(look, { queue, fixture })
    const reads = [1, 2, 3].map(() => queue.request({ type: 0, dataIn: 512 }))
    queue.submit(...reads.map(({ head }) => head))
    assert.equal(seen, [true, true, true, true])
  },
)

// Batches --------------------------------------------------------------------------------------------------------

each(
  test,
  'device rule 17: drain: guest keeps adding chains -> at most queue size per drain, poll() says more',
  async (f) => {
    const queueRef: { queue?: RawQueue } = {}
    let calls = 0
    let feeding = true
    const fixture = await setUp(f, {
      backend: (disk) => ({
        capacityBytes: disk.capacityBytes,
        inPlace: true,
        read: (_, into) => into.reduce((sum, buffer) => sum + buffer.length, 0),
        write: () => 0,
        flush: () => {
          calls++
          // What a second vCPU would do: the next chain is there before this one is used.
          if (feeding) queueRef.queue?.publish((calls % 4) * 2)
        },
      }),
    })
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: 8 }] })
    queueRef.queue = queue
    for (let i = 0; i < 4; i++) queue.request({ type: 4, head: i * 2 })
    queue.publish(0)
    queue.kick()
    assert.ok(calls >= 1 && calls <= 8, `${calls} chains in the first drain`)
    for (let round = 0; round < 20; round++) {
      const before = calls
      assert.is(fixture.device.poll(), 'more')
      assert.ok(calls - before >= 1 && calls - before <= 8, `${calls - before} chains in drain ${round}`)
    }
    feeding = false
    for (let i = 0; i < 10 && fixture.device.poll() === 'more'; i++);
    assert.is(fixture.device.poll(), 'idle')
    assert.equal([queue.usedIdx, raw.reg.status], [calls, 0x0f])
  },
)

each(test, 'device rule 17: drain: chains added meanwhile, no clock of its own -> served without a kick', async (f) => {
  const state: { queue?: RawQueue; left: number } = { left: 50 }
  const fixture = await setUp(f, {
    realTime: true,
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: () => 0,
      write: () => 0,
      flush: () => {
        if (state.left-- > 0) state.queue?.publish((state.left % 4) * 2)
      },
    }),
  })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 8 }] })
  state.queue = queue
  for (let i = 0; i < 4; i++) queue.request({ type: 4, head: i * 2 })
  queue.submit(0)
  assert.ok(
    await within(
      3000,
      fixture.raw.until(() => queue.usedIdx === 51),
      '51 requests',
    ),
  )
  assert.is(fixture.counter('kicks'), 1)
  await fixture.device.close()
})

each(test, 'device rule 18: batch: several requests in one kick -> used.idx moves once, one interrupt', async (f) => {
  const idx: number[] = []
  const look: { queue?: RawQueue } = {}
  const fixture = await setUp(f, {
    onInterrupt: () => idx.push(look.queue?.usedIdx ?? -1),
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: () => 0,
      write: () => 0,
      flush: () => {
        idx.push(look.queue?.usedIdx ?? -1)
      },
    }),
  })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 16 }] })
  look.queue = queue
  const flushes = Array.from({ length: 8 }, () => queue.request({ type: 4 }))
  queue.submit(...flushes.map(({ head }) => head))
  assert.equal(idx, [0, 0, 0, 0, 0, 0, 0, 0, 8])
  assert.equal(
    queue.takeUsed(),
    flushes.map(({ head }) => ({ id: head, len: 1 })),
  )
  assert.equal([fixture.interrupts, fixture.counter('interrupts')], [1, 1])
})

// Suppression ------------------------------------------------------------------------------------------------------

each(test, 'device rule 18: EVENT_IDX off: NO_INTERRUPT in avail.flags -> honoured, used_event ignored', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  for (const [flags, usedEvent, interrupts] of [
    [0, 0x1234, 1],
    [1, 0, 0],
    [1, 2, 0],
    [0, 0xffff, 1],
    [0xfffe, 0, 1],
    [0xffff, 0, 0],
  ] as const) {
    queue.availFlags = flags
    queue.usedEvent = usedEvent
    raw.reg.interruptAck(3)
    const before = fixture.interrupts
    const gain = fixture.gained(['interrupts', 'suppressedInterrupts'], () => answered(queue.run({ type: 4 }), 0, 1))
    assert.equal(gain, { interrupts, suppressedInterrupts: 1 - interrupts }, `flags ${flags}`)
    assert.equal([fixture.interrupts - before, raw.reg.interruptStatus], [interrupts, 1], `flags ${flags}`)
  }
  assert.is(queue.usedFlags, 0)
})

each(test, 'device rule 18: EVENT_IDX on: used_event around the batch -> exactly the need-event formula', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ eventIdx: true, queues: [{ size: 16 }] })
  // Batch size, used_event relative to used.idx before the batch, interrupt?
  const table = [
    [1, 0, 1],
    [1, -1, 0],
    [1, 1, 0],
    [1, 0x7fff, 0],
    [1, -0x8000, 0],
    [2, 0, 1],
    [2, 1, 1],
    [2, 2, 0],
    [2, -1, 0],
    [3, 2, 1],
    [3, 3, 0],
    [8, -1, 0],
    [8, 0, 1],
    [8, 4, 1],
    [8, 7, 1],
    [8, 8, 0],
    [8, 0x4000, 0],
  ] as const
  for (let round = 0; round < 3; round++) {
    for (const [size, relative, interrupts] of table) {
      const mark = raw.arena.mark()
      raw.reg.interruptAck(3)
      // avail.flags must make no difference.
      queue.availFlags = round
      queue.usedEvent = queue.usedIdx + relative
      const flushes = Array.from({ length: size }, () => queue.request({ type: 4 }))
      const before = fixture.interrupts
      const heads = flushes.map(({ head }) => head)
      const gain = fixture.gained(['interrupts', 'suppressedInterrupts'], () => queue.submit(...heads))
      const about = `batch of ${size}, used_event ${relative}`
      assert.equal(gain, { interrupts, suppressedInterrupts: 1 - interrupts }, about)
      assert.equal([fixture.interrupts - before, raw.reg.interruptStatus], [interrupts, 1], about)
      // Kicks are wanted from here on, by avail_event and not by used.flags.
      assert.equal([queue.availEvent, queue.usedFlags], [queue.availIdx, 0], about)
      raw.arena.rewind(mark)
    }
  }
})

each(test, 'device rule 18: EVENT_IDX on: first worked cases of a fresh ring -> as the standard counts', async (f) => {
  for (const [usedEvent, batches, interrupts] of [
    [65535, [1], [0]],
    [0, [1, 1], [1, 0]],
    [2, [1, 2, 1], [0, 1, 0]],
    [10, [3, 4, 3, 1], [0, 0, 0, 1]],
  ] as const) {
    const fixture = await setUp(f)
    const { queue } = fixture.raw.negotiate({ eventIdx: true, queues: [{ size: 16 }] })
    queue.usedEvent = usedEvent
    const raised = batches.map((size) => {
      const before = fixture.interrupts
      const flushes = Array.from({ length: size }, () => queue.request({ type: 4 }))
      queue.submit(...flushes.map(({ head }) => head))
      return fixture.interrupts - before
    })
    assert.equal(raised, interrupts, `used_event ${usedEvent}`)
  }
})

each(test, 'device rule 18: error answers: with and without suppression -> the same gate', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  queue.availFlags = 1
  for (const type of [0, 77]) queue.run({ type })
  assert.equal([fixture.interrupts, raw.reg.interruptStatus, queue.usedIdx], [0, 1, 2])
  queue.availFlags = 0
  for (const type of [0, 77]) queue.run({ type })
  assert.equal([fixture.interrupts, queue.usedIdx], [2, 4])
})

each(test, 'device rule 18: interrupt: acknowledged or not -> the next batch raises it again', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  for (let i = 1; i <= 5; i++) {
    queue.run({ type: 4 })
    if (i % 2) raw.reg.interruptAck(1)
    assert.equal([fixture.interrupts, raw.reg.interruptStatus], [i, i % 2 ? 0 : 1])
  }
})

each(test, 'device rule 18: interrupt handler: submits the next request -> each is served once', async (f) => {
  const state: { queue?: RawQueue; left: number } = { left: 20 }
  const fixture = await setUp(f, {
    realTime: true,
    onInterrupt: () => {
      if (state.left-- > 0) state.queue?.submit(0)
    },
  })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 4 }] })
  queue.request({ type: 4, head: 0 })
  state.queue = queue
  queue.submit(0)
  assert.ok(
    await within(
      3000,
      fixture.raw.until(() => queue.usedIdx === 21),
      '21 requests',
    ),
  )
  await settle()
  assert.equal([queue.usedIdx, fixture.interrupts, fixture.raw.reg.status], [21, 21, 0x0f])
  await fixture.device.close()
})

each(
  test,
  'device rule 18: batch: with a failing request among good ones -> each has its own status, in ring order',
  async (f) => {
    let backend: FaultyBackend | undefined
    const fixture = await setUp(f, {
      backend: (disk) => {
        backend = new FaultyBackend(disk, { read: ['ok', { fail: 'EIO' }, 'ok'] })
        return backend
      },
    })
    const { queue } = fixture.raw.negotiate()
    const reads = [1, 2, 3].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
    queue.submit(...reads.map(({ head }) => head))
    assert.equal(
      reads.map((read) => [read.status(), read.usedLen()]),
      [
        [0, 513],
        [1, 0],
        [0, 513],
      ],
    )
    assert.equal([fixture.interrupts, backend?.calls.length], [1, 3])
  },
)

test.run()
