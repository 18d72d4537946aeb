// Back ends that answer late (device rules 11, 12, 15 and 6): out of order, with nonsense, by rejecting, or never;
// and what becomes of their answers when the driver has stopped the queue or the device was closed meanwhile. Reset
// with requests in flight: reset.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BackendError } from '../../host/backend/types.ts'
import { answered, diskBytes, each, pattern, setUp, unanswered } from '../support/device.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle, within } from '../support/within.ts'

const test = suite('device late')

each(
  test,
  'device rule 15: late back end: out of order -> used in the order of the answers, each with its data',
  async (f) => {
    const { fixture, backend } = await setUpLate(f)
    const { queue } = fixture.raw.negotiate({ queues: [{ size: 32 }] })
    const reads = [0, 1, 2, 3, 4].map((i) => queue.run({ type: 0, sector: 10 + i, dataIn: 512 * (i + 1) }))
    const calls = [...backend.pending]
    for (const read of reads) unanswered(read)
    for (const i of [3, 0, 4, 2, 1]) {
      calls[i]?.finish()
      await settle()
    }
    reads.forEach((read, i) => {
      answered(read, 0, 512 * (i + 1) + 1)
      assert.equal(read.data(), diskBytes((10 + i) * 512, 512 * (i + 1)))
    })
    assert.equal(
      queue.takeUsed().map(({ id }) => reads.findIndex(({ head }) => head === id)),
      [3, 0, 4, 2, 1],
    )
    assert.is(fixture.interrupts, 5)
  },
)

each(
  test,
  'device rule 18: late back end: answers that come together -> published together, one interrupt',
  async (f) => {
    const { fixture, backend } = await setUpLate(f)
    const { queue } = fixture.raw.negotiate()
    const flushes = [1, 2, 3, 4].map(() => queue.run({ type: 4 }))
    backend.finishAll()
    await settle()
    for (const flush of flushes) answered(flush, 0, 1)
    assert.equal([fixture.interrupts, fixture.counter('interrupts')], [1, 1])
  },
)

each(test, 'device rule 15: late back end: nonsense or a rejection -> IOERR, the device goes on', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const nonsense = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 513, 2 ** 32 + 512, undefined, null, '512', 512n, {}]
  const reasons = [new Error('x'), undefined, null, 'EINTR', new BackendError('EIO'), { code: 'EINTR' }]
  const ends = [
    ...nonsense.map((value) => (): void => backend.pending[0]?.answer(value)),
    ...reasons.map((reason) => (): void => backend.pending[0]?.reject(reason)),
  ]
  for (const [i, end] of ends.entries()) {
    const mark = raw.arena.mark()
    const read = queue.run({ type: 0, dataIn: 512 })
    end()
    await settle()
    answered(read, 1, 0, `read ${i}`)
    assert.ok(read.data().every((byte) => byte === 0xe5))
    const write = queue.run({ type: 1, dataOut: pattern(512) })
    end()
    await settle()
    answered(write, 1, 1, `write ${i}`)
    raw.arena.rewind(mark)
  }
  assert.equal([fixture.counter('ioErrors'), fixture.counter('engineTraps')], [2 * ends.length, 0])
  const read = queue.run({ type: 0, dataIn: 512 })
  backend.finishAll()
  await settle()
  answered(read, 0, 513)
})

each(
  test,
  'device rule 15: back end: an object with then() that is no promise -> data or IOERR, never stale bytes',
  async (f) => {
    const fixture = await setUp(f, {
      backend: (disk) => ({
        capacityBytes: disk.capacityBytes,
        read: (offset, into) => {
          const moved = disk.read(offset, into)
          // biome-ignore lint/suspicious/noThenProperty: a home-made promise is what is tested
          return { then: (resolve: (value: number) => void) => resolve(moved) } as unknown as Promise<number>
        },
        write: () => 0,
        flush: () => {},
      }),
    })
    const { queue } = fixture.raw.negotiate()
    const read = queue.run({ type: 0, sector: 1, dataIn: 512 })
    await settle()
    if (read.status() === 0) assert.equal(read.data(), diskBytes(512, 512))
    else answered(read, 1, 0)
    const next = queue.run({ type: 4 })
    await settle()
    answered(next, 0, 1)
  },
)

each(test, 'device rule 11: late back end: EINTR 16 times -> retried; 17 times -> IOERR', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate()
  for (const times of [16, 17]) {
    const read = queue.run({ type: 0, sector: 1, dataIn: 512 })
    for (let i = 0; i < times; i++) {
      unanswered(read)
      backend.pending[0]?.reject(new BackendError('EINTR'))
      await settle()
    }
    if (times === 16) backend.pending[0]?.finish()
    await settle()
    answered(read, times === 16 ? 0 : 1, times === 16 ? 513 : 0)
    assert.is(backend.calls.splice(0).length, 17)
  }
})

each(test, 'device rule 11: late back end: short counts -> continued; then 0 -> zeros', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, sector: 1, dataIn: 1024, segments: 400 })
  backend.pending[0]?.answer(100)
  await settle()
  backend.pending[0]?.answer(0)
  await settle()
  answered(read, 0, 1025)
  assert.equal(backend.calls.splice(0), ['read 512+1024', 'read 612+924'])
  assert.ok(
    read.data().every((byte) => byte === 0),
    'nothing was put into the buffer, and no stale byte is shown',
  )
  const write = queue.run({ type: 1, sector: 1, dataOut: pattern(1024) })
  backend.pending[0]?.answer(1000)
  await settle()
  unanswered(write)
  backend.pending[0]?.answer(24)
  await settle()
  answered(write, 0, 1)
  assert.equal(backend.calls, ['write 512+1024', 'write 1512+24'])
  assert.is(fixture.counter('shortReads'), 1)
})

each(test, 'device rule 12: late back end: write-through -> used only when the flush has ended', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate({ flush: false })
  const write = queue.run({ type: 1, sector: 2, dataOut: pattern(512) })
  assert.equal(backend.calls, ['write 1024+512'])
  backend.finishAll()
  await settle()
  assert.equal(backend.calls, ['write 1024+512', 'flush'])
  unanswered(write)
  assert.is(fixture.counter('writesCompleted'), 0)
  backend.finishAll()
  await settle()
  answered(write, 0, 1)
  const failing = queue.run({ type: 1, sector: 2, dataOut: pattern(512) })
  backend.finishAll()
  await settle()
  backend.pending[0]?.reject(new Error('disk gone'))
  await settle()
  answered(failing, 1, 1)
  assert.equal([fixture.counter('writesCompleted'), fixture.counter('ioErrors')], [1, 1])
})

each(test, 'device rule 15: late back end: never answers one -> the others go on', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 8 }] })
  const stuck = queue.run({ type: 0, dataIn: 512, indices: [0, 1, 2] })
  const [never] = backend.pending
  for (let i = 0; i < 50; i++) {
    const mark = raw.arena.mark()
    const flush = queue.run({ type: 4, indices: [3 + (i % 2) * 2, 4 + (i % 2) * 2] })
    for (const call of [...backend.pending]) if (call !== never) call.finish()
    await settle()
    answered(flush, 0, 1)
    raw.arena.rewind(mark)
  }
  unanswered(stuck)
  assert.is(queue.usedIdx, 50)
})

each(test, 'device rule 15: back end: sometimes at once, sometimes late -> both are right', async (f) => {
  let turn = 0
  const fixture = await setUp(f, {
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      read: (offset, into) => {
        const moved = disk.read(offset, into)
        return turn++ % 2 ? new Promise((resolve) => setImmediate(() => resolve(moved))) : moved
      },
      write: () => 0,
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  const reads = [0, 1, 2, 3].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
  queue.submit(...reads.map(({ head }) => head))
  assert.is(queue.usedIdx, 2)
  await settle()
  reads.forEach((read, sector) => {
    answered(read, 0, 513)
    assert.equal(read.data(), diskBytes(sector * 512, 512))
  })
})

each(
  test,
  'device rule 6: stop: QueueReady := 0 with reads in flight -> no guest byte changes when they end',
  async (f) => {
    const { fixture, backend } = await setUpLate(f)
    const { raw } = fixture
    const { queue } = raw.negotiate()
    for (const sector of [0, 1]) queue.run({ type: 0, sector, dataIn: 512 })
    raw.reg.queueReady = 0
    assert.is(raw.reg.queueReady, 0)
    const before = fixture.ram()
    const { interrupts } = fixture
    backend.finishAll()
    await settle()
    assert.ok(before.equals(fixture.ram()), 'guest memory changed after the driver took the queue back')
    assert.equal([fixture.interrupts, queue.usedIdx], [interrupts, 0])
  },
)

each(
  test,
  'device rule 6: close: with requests in flight -> no guest byte and no interrupt when they end',
  async (f) => {
    const { fixture, backend } = await setUpLate(f)
    const { queue } = fixture.raw.negotiate()
    queue.run({ type: 0, sector: 1, dataIn: 512 })
    queue.run({ type: 1, sector: 2, dataOut: pattern(512) })
    queue.run({ type: 4 })
    await within(1000, fixture.device.close(), 'close()')
    const before = fixture.ram()
    backend.finishAll()
    await settle()
    assert.ok(before.equals(fixture.ram()), 'guest memory changed after close()')
    assert.is(fixture.interrupts, 0)
    queue.kick()
    fixture.device.poll()
    await settle()
    assert.ok(before.equals(fixture.ram()))
  },
)

test.run()
