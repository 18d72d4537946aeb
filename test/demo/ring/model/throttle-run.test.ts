// The throttle panel's device: balances, stalls and completions are those of the token buckets of rules 19 to 23,
// computed here by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Load, ThrottleRun, type ThrottleSample } from '../../../../host/demo/ring/model/throttle-run.ts'

const test = suite('throttle run')

const reads = (requestsPerSecond: number, requestBytes = 512): Load => ({ requestsPerSecond, requestBytes, reads: 1 })

function at(samples: readonly ThrottleSample[], millis: number): ThrottleSample {
  const sample = samples.find((each) => each.millis === millis)
  assert.ok(sample, `a sample at ${millis} ms`)
  return sample
}

test('throttle run: 10 a second, bursts of 20, 100 offered -> the burst passes, then one every 100 ms', async () => {
  const run = await ThrottleRun.create({ limits: { iops: 10, iopsBurst: 20 }, load: reads(100), sampleMillis: 50 })
  assert.equal([run.samples.length, run.samples[0]?.opsBalance], [1, 20])
  run.advance(3000)
  const { samples } = run
  assert.is(samples.length, 61)
  // A full bucket keeps what it has earned of its next token. So request n, at 10 n ms, finds 20 - (n - 1) tokens and
  // the whole ones of 0.1 n: after the tenth 20 - 10 + 1 are left.
  assert.equal([at(samples, 100).completedTotal, at(samples, 100).isStalled], [10, false])
  assert.equal([at(samples, 100).waiting, at(samples, 100).opsBalance], [0, 11])
  // Request 22 finds 20 - 21 + 2 = 1, request 23 finds 0.3, and waits from 230 ms until the third is earned at 300 ms.
  assert.equal([at(samples, 200).completedTotal, at(samples, 200).isStalled], [20, false])
  const stalled = at(samples, 250)
  assert.equal([stalled.completedTotal, stalled.isStalled, stalled.waitMillis, stalled.opsBalance], [22, true, 50, 0.5])
  assert.equal([at(samples, 300).completedTotal, at(samples, 350).completedTotal], [23, 23])
  // From then on one every 100 ms: 20 + 10 * 3 in three seconds.
  const last = at(samples, 3000)
  assert.is(last.completedTotal, 50)
  assert.equal([last.offeredTotal, last.waiting, last.backlog], [300, 21, 229])
  assert.is(last.bytesTotal, 50 * 512)
  assert.is(last.bytesBalance, undefined)
  for (const sample of samples.slice(7)) assert.ok(sample.isStalled && sample.completions <= 1, `${sample.millis}`)
  // Rule 23: from 230 ms on a head waits, and the last one was asked at 3000 ms.
  assert.is(last.stalledMillisTotal, 3000 - 230)
  // Each head is refused once, when the one before it has taken the token: at 230 ms and 28 times after that.
  assert.is(
    samples.reduce((sum, { refusals }) => sum + refusals, 0),
    29,
  )
  await run.close()
})

test('throttle run: 4096 bytes a second, requests of 8192 -> larger than the bucket: each leaves a debt of 4096', async () => {
  const run = await ThrottleRun.create({ limits: { bytesPerSecond: 4096 }, load: reads(10, 8192), sampleMillis: 100 })
  run.advance(5000)
  const { samples } = run
  // 100 ms: the first passes, the bucket was full: 4096 - 8192. The second wants the debt paid: that takes a second.
  assert.equal([at(samples, 100).completedTotal, at(samples, 100).bytesBalance], [1, -4096])
  assert.equal([at(samples, 200).isStalled, at(samples, 200).waitMillis], [true, 900])
  assert.ok(Math.abs((at(samples, 600).bytesBalance ?? 0) + 2048) < 1e-6)
  assert.equal([at(samples, 1000).completedTotal, at(samples, 1100).completedTotal], [1, 2])
  // Then each costs two seconds of bytes, the balance having been 0.
  assert.equal([at(samples, 1100).bytesBalance, at(samples, 3000).completedTotal], [-8192, 2])
  assert.equal([at(samples, 3100).completedTotal, at(samples, 5000).completedTotal], [3, 3])
  assert.is(at(samples, 5000).opsBalance, undefined)
  await run.close()
})

test('throttle run: no limits -> everything is served as it comes, nothing stalls', async () => {
  const run = await ThrottleRun.create({
    limits: {},
    load: { requestsPerSecond: 250, requestBytes: 4096, reads: 0.25 },
  })
  run.advance(2000)
  const last = run.samples.at(-1)
  assert.equal([last?.completedTotal, last?.offeredTotal, last?.isStalled], [500, 500, false])
  assert.equal([last?.opsBalance, last?.bytesBalance, last?.bytesTotal], [undefined, undefined, 500 * 4096])
  assert.equal([last?.completions, last?.bytes, last?.refusals], [Math.round(0.05 * 250), 12 * 4096 + 4096, 0])
  await run.close()
})

test('throttle run: in one go or in steps of any length -> the same samples', async () => {
  const setUp = {
    limits: { iops: 7, bytesPerSecond: 5000, bytesBurst: 9000 },
    load: { ...reads(33.3, 1024), reads: 0.5 },
  }
  const whole = await ThrottleRun.create(setUp)
  const parts = await ThrottleRun.create(setUp)
  whole.advance(4000)
  for (const millis of [1, 49, 0.25, 333.75, 1000, 16, 0, 2600]) parts.advance(millis)
  assert.is(parts.millis, 4000)
  assert.equal(parts.samples, whole.samples)
  // Rule 21: the configured rate, within one token. Full buckets of 7 and 9000 to begin with.
  const last = whole.samples.at(-1) as ThrottleSample
  const byBytes = (9000 + 5000 * 4) / 1024
  assert.ok(last.completedTotal <= byBytes + 1 && last.completedTotal >= byBytes - 1.2, `${last.completedTotal}`)
  await whole.close()
  await parts.close()
})

test('throttle run: limits changed while a head waits -> it is asked at once; a load changed -> from then on', async () => {
  const run = await ThrottleRun.create({ limits: { iops: 1 }, load: reads(50), sampleMillis: 100 })
  run.advance(1000)
  // One token to begin with, and one at 1000 ms.
  const before = run.samples.at(-1) as ThrottleSample
  assert.equal([before.completedTotal, before.isStalled, before.offeredTotal], [2, true, 50])
  run.setLoad(reads(0))
  run.setLimits({})
  assert.is(run.millis, 1000)
  run.advance(100)
  const after = run.samples.at(-1) as ThrottleSample
  assert.equal([after.completedTotal, after.isStalled, after.waiting, after.backlog], [50, false, 0, 0])
  assert.equal(run.limits, {})
  await run.close()
})

test('throttle run: a driver that offers far too much -> its callers wait, and it catches up when the limits go', async () => {
  const run = await ThrottleRun.create({ limits: { iops: 1 }, load: reads(10_000), sampleMillis: 1000 })
  run.advance(2000)
  const last = run.samples.at(-1) as ThrottleSample
  assert.equal([last.completedTotal, last.waiting, last.backlog], [3, 21, 1000])
  assert.is(last.offeredTotal, 1024)
  run.setLimits({})
  run.advance(1000)
  assert.is((run.samples.at(-1) as ThrottleSample).completedTotal, 1024 + 10_000)
  await run.close()
})

test('throttle run: limits and loads that make no sense -> refused by name, and nothing has changed', async () => {
  const run = await ThrottleRun.create({ limits: { iops: 5 }, load: reads(10) })
  assert.throws(() => run.setLimits({ iops: 5, iopsBurst: 2 }), /^throttle: iopsBurst \(2\) must be >= iops \(5\)/)
  assert.throws(() => run.setLoad(reads(-1)), /^throttle run: requestsPerSecond must be from 0 to 10000, not -1$/)
  assert.throws(() => run.setLoad(reads(1, 513)), /^throttle run: requestBytes must be a multiple of 512, not 513$/)
  assert.throws(() => run.setLoad({ ...reads(1), reads: 2 }), /^throttle run: reads must be from 0 to 1, not 2$/)
  assert.throws(() => run.advance(Number.NaN), /^throttle run: millis must be from 0 to 60000, not NaN$/)
  assert.equal([run.limits, run.load], [{ iops: 5 }, reads(10)])
  await run.close()
  for (const setUp of [
    { limits: {}, load: reads(Number.POSITIVE_INFINITY) },
    { limits: {}, load: reads(1), sampleMillis: 0 },
    { limits: { iops: 0 }, load: reads(1) },
  ]) {
    const error = await ThrottleRun.create(setUp).catch((thrown: unknown) => thrown)
    assert.instance(error, RangeError)
  }
})

test.run()
