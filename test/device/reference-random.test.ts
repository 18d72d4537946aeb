// The reference device's random cases: one dimension of a request at random, the rest usual, and what must hold then.
// Everything at random at once, compared with a second implementation, is in random.test.ts. fast-check prints seed
// and path of a failure; `SEED=n` repeats it.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { type Fixture, setUp } from '../support/device.ts'
import { flavours } from '../support/engines.ts'

const test = suite('reference random')

const [release] = flavours
if (!release) throw new Error('no flavours')
const RUNS = 256
const settings = process.env.SEED ? { numRuns: RUNS, seed: Number(process.env.SEED) } : { numRuns: RUNS }

/** A fresh bring-up of the one device of a test. */
function bring(fixture: Fixture) {
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 16 }] })
  return { raw: fixture.raw, queue }
}

test('device rule 8: random: header anywhere -> OK or IOERR, used.idx exactly 1', async () => {
  const fixture = await setUp(release)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 << 20 }), fc.boolean(), (addr, write) => {
      const { queue } = bring(fixture)
      // Sometimes on top of the rings or the data: whatever type it then holds, it is answered.
      const data = write ? readable(512) : writable(512)
      const request = queue.request({ type: 4, layout: [readable(16), data, writable(1)] })
      queue.setDescriptor(request.head, { ...queue.descriptor(request.head), addr })
      queue.submit(request.head)
      assert.ok([0, 1, 2].includes(request.status() ?? -1), `status ${request.status()}`)
      assert.is(queue.usedIdx, 1)
    }),
    settings,
  )
})

test('device rule 8: random: data length below 8 MiB, any type -> an answer, used.idx exactly 1', async () => {
  const fixture = await setUp(release)
  const types = fc.integer({ min: 0, max: 8 })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: (8 << 20) - 1 }), types, fc.boolean(), (len, type, isWritable) => {
      const { queue } = bring(fixture)
      const piece = isWritable ? writable(0, { addr: 0x40000, len }) : readable(0, { addr: 0x40000, len })
      const request = queue.run({ type, layout: [readable(16), piece, writable(1)] })
      assert.ok([0, 1, 2].includes(request.status() ?? -1), `status ${request.status()}`)
      assert.is(queue.usedIdx, 1)
      const { len: usedLen } = queue.usedElement(0)
      assert.ok(usedLen <= len + 1, `used length ${usedLen}`)
    }),
    settings,
  )
})

test('device rule 8: random: any flags on the data -> one answer, or poisoned with one fault', async () => {
  const fixture = await setUp(release)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 15 }), fc.constantFrom(0, 1, 4, 8, 11), (flags, type) => {
      const { queue, raw } = bring(fixture)
      const before = fixture.counter('ringFaults')
      const request = queue.run({ type, layout: [readable(16), writable(512, { flags, next: 2 }), writable(1)] })
      if (raw.reg.status === 0x4f) {
        assert.equal([queue.usedIdx, fixture.counter('ringFaults')], [0, before + 1])
        assert.ok(request.untouched())
      } else {
        assert.equal([queue.usedIdx, fixture.counter('ringFaults'), raw.reg.status], [1, before, 0x0f])
      }
    }),
    settings,
  )
})

test('device rule 8: random: chains of random descriptors -> counters only grow, and each is accounted for', async () => {
  const fixture = await setUp(release)
  const descriptor = fc.record({
    addr: fc.integer({ min: 0, max: (16 << 20) - 1 }),
    len: fc.integer({ min: 0, max: (8 << 20) - 1 }),
    flags: fc.integer({ min: 0, max: 7 }),
    next: fc.integer({ min: 0, max: 255 }),
  })
  fc.assert(
    fc.property(fc.array(descriptor, { minLength: 1, maxLength: 200 }), (descriptors) => {
      const { queue, status } = fixture.raw.negotiate({ queues: [{ size: 256 }] })
      assert.is(status, 0x0f)
      descriptors.forEach((each, i) => {
        queue.setDescriptor(i, each)
      })
      const before = fixture.device.counters
      queue.submit(0)
      const after = fixture.device.counters
      for (const name of Object.keys(before) as (keyof typeof before)[]) {
        assert.ok(after[name] >= before[name], `${name} went back`)
      }
      const faults = after.ringFaults + after.invalidAvailIdx - before.ringFaults - before.invalidAvailIdx
      assert.is(queue.usedIdx + faults, 1, `used.idx ${queue.usedIdx}, ${faults} faults`)
    }),
    settings,
  )
})

type Shape = { type: 0 | 1 | 4; sector: number; sectors: number[] }

const shape: fc.Arbitrary<Shape> = fc.record({
  type: fc.constantFrom<0 | 1 | 4>(0, 1, 4),
  sector: fc.nat(7),
  sectors: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 8 }),
})

test('device rule 20: random: any request on a drained bucket -> refused without a trace, or IOERR', async () => {
  const fixture = await setUp(release, { diskBytes: 4096, device: { throttle: { iops: 1 } } })
  fixture.raw.negotiate().queue.run({ type: 4 })
  fc.assert(
    fc.property(shape, ({ type, sector, sectors }) => {
      const { queue } = bring(fixture)
      const bytes = sectors.reduce((sum, count) => sum + 512 * count, 0)
      const segments = sectors.map((count) => 512 * count)
      const data = type === 1 ? { dataOut: new Uint8Array(bytes), segments } : { dataIn: bytes, segments }
      const before = fixture.device.counters
      const request = queue.run({ type, sector, ...(type === 4 && sectors.length < 4 ? {} : data) })
      const after = fixture.device.counters
      for (const name of ['readsCompleted', 'writesCompleted', 'flushesCompleted'] as const) {
        assert.is(after[name], before[name], name)
      }
      assert.is(after.throttledCount + after.ioErrors - before.throttledCount - before.ioErrors, 1)
      if (after.throttledCount > before.throttledCount) {
        assert.ok(request.untouched())
        assert.equal([queue.usedIdx, after.currentlyThrottled], [0, 1])
      } else {
        assert.equal([request.status(), queue.usedIdx, after.currentlyThrottled], [1, 1, 0])
      }
    }),
    {
      ...settings,
      examples: [
        [{ type: 0, sector: 1, sectors: [3, 3, 3, 3, 3, 3, 3] }],
        [{ type: 0, sector: 0, sectors: [3, 3, 3] }],
      ],
    },
  )
})

test.run()
