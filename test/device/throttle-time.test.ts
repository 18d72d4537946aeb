// What time does to the throttle: the rate over a minute for any pattern of polling (device rule 21), clocks that
// jump, numbers at the edge and a throttle changed in a stall (22), time counted (23), options refused (24). The
// clock is in the test's hand. Which request passes when is in throttle.test.ts, reset and the device's own timer in
// throttle-timer.test.ts. Patterns are random from a seed that is printed on failure: `SEED=n` repeats it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ThrottleOptions } from '../../host/device/throttle.ts'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { flavours } from '../support/engines.ts'
import {
  eachFlavour,
  FLUSH,
  HOUR,
  hollowDisk,
  type MakeRig,
  makerOf,
  type Rig,
  type RigOptions,
  readOf,
  SECOND,
  START,
} from '../support/throttle-device.ts'

const test = suite('throttle and time')
const each = eachFlavour(test)
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000_007)

async function ready(make: MakeRig, options: RigOptions): Promise<Rig & { queue: RawQueue }> {
  const rig = await make({ diskBytes: 256 << 10, ...options })
  const { queue } = rig.raw.negotiate({ queues: [{ size: 64 }] })
  return { ...rig, queue }
}

/** Offers a request and says whether it passed at once. */
function passes({ queue }: { queue: RawQueue }, options = FLUSH): boolean {
  return queue.run(options).used() !== undefined
}

function stalledNanos({ disk }: Rig): number {
  const result = disk.poll()
  return typeof result === 'object' ? result.stalledNanos : 0
}

// Rule 21: the rate, exactly ----------------------------------------------------------------------------------

const MINUTE = 60 * SECOND

/** Steps of the clock, in ns; `asked` is the wait that the device asked for. */
type Pattern = (random: () => number, asked: number) => number

const PATTERNS: Record<string, Pattern> = {
  'when the device asks': (_, asked) => asked,
  'just before and at the time': (_, asked) => (asked > 1 ? asked - 1 : 1),
  'every 700 ms': () => 700_000_000,
  'every second': () => SECOND,
  'from 1 ns to 1 s, at random': (random) => Math.floor(10 ** (9 * random())),
  'mostly 1 ns, now and then long': (random) => (random() < 0.97 ? 1 : Math.floor(SECOND * random()) + 1),
  'every 3 ms and a bit': (random) => 3_000_000 + Math.floor(999 * random()),
}

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * Keeps a backlog of requests of `cost` tokens in front of the device for a virtual minute. Returns the tokens that
 * should and that did come to be: granted, and left over as the device's last wait shows it.
 */
async function minute(make: MakeRig, throttle: ThrottleOptions, cost: number, pattern: Pattern, seed: number) {
  const bytes = 1 << 20
  const inBytes = throttle.iops === undefined
  const rig = await make({ throttle, backend: hollowDisk(bytes), regions: [{ gpa: 0, bytes: 4 << 20 }] })
  const { queue } = rig.raw.negotiate({ queues: [{ size: 256 }] })
  // The same chains again and again: descriptors lie ready, every ring slot names its head, only avail.idx moves.
  const heads: number[] = []
  const request = inBytes ? { type: 1, sector: 0, dataOut: new Uint8Array(cost) } : FLUSH
  const lay = inBytes ? 1 : 128
  for (let i = 0; i < lay; i++) heads.push(queue.request(request).head)
  for (let slot = 0; slot < 256; slot++) queue.setAvailSlot(slot, heads[slot % lay] as number)
  const random = generator(seed)
  const end = START + MINUTE
  let granted = 0
  let done = 0
  let asked = 0
  for (;;) {
    for (let stalled = false; !stalled; ) {
      queue.setAvailIdx(done + lay)
      const result = rig.disk.poll()
      const used = queue.usedIdx
      granted += ((used - done) & 0xffff) * cost
      done = used
      stalled = typeof result === 'object'
      if (typeof result === 'object') asked = result.stalledNanos
    }
    if (rig.clock.now === end) break
    rig.clock.now = Math.min(rig.clock.now + pattern(random, asked), end)
  }
  const rate = Number(inBytes ? throttle.bytesPerSecond : throttle.iops)
  const capacity = Number((inBytes ? throttle.bytesBurst : throttle.iopsBurst) ?? rate)
  return {
    expected: capacity + rate * 60,
    granted,
    left: cost - (asked * rate) / SECOND,
    ioErrors: rig.disk.counters.ioErrors,
  }
}

function rateTest(name: string, throttle: ThrottleOptions, cost: number, patterns: string[], makers = flavours): void {
  for (const flavour of makers) {
    for (const pattern of patterns) {
      test(`device rule 21: ${name}, polled ${pattern} -> the rate, within one token [${flavour.name}]`, async () => {
        const run = minute(makerOf(flavour), throttle, cost, PATTERNS[pattern] as Pattern, SEED)
        const { expected, granted, left, ioErrors } = await run
        assert.is(ioErrors, 0)
        const got = granted + left
        // One token, and what a wait rounded up to a whole nanosecond hides.
        const slack = 1 + Number(throttle.iops ?? throttle.bytesPerSecond) / SECOND
        assert.ok(Math.abs(got - expected) <= slack, `SEED=${SEED}: ${granted} granted, ${left} left of ${expected}`)
        if (cost === 1) assert.ok(Math.abs(granted - expected) <= 1, `SEED=${SEED}: ${granted} granted of ${expected}`)
      })
    }
  }
}

const [release, ...others] = flavours
if (!release) throw new Error('no flavours')
const all = Object.keys(PATTERNS)
const random = ['from 1 ns to 1 s, at random']
rateTest('1 IOPS', { iops: 1 }, 1, all)
rateTest('3 IOPS', { iops: 3 }, 1, all)
rateTest('1 IOPS, burst 3', { iops: 1, iopsBurst: 3 }, 1, all, [release])
rateTest('7 IOPS, burst 20', { iops: 7, iopsBurst: 20 }, 1, all)
rateTest('333 IOPS', { iops: 333 }, 1, all, [release])
rateTest('333 IOPS', { iops: 333 }, 1, random, others)
rateTest('10007 IOPS', { iops: 10_007 }, 1, random, [release])
rateTest('10007 bytes/s', { bytesPerSecond: 10_007, bytesBurst: 20_000 }, 512, all)
rateTest('123456789 bytes/s', { bytesPerSecond: 123_456_789, bytesBurst: 2e8 }, 1 << 20, all, [release])
rateTest('123456789 bytes/s, large burst', { bytesPerSecond: 123_456_789, bytesBurst: 2 ** 32 }, 1 << 20, random, [
  release,
])

each('device rule 21: the fraction of a token -> survives polls that grant nothing', async (make) => {
  const rig = await ready(make, { throttle: { iops: 3 } })
  for (let i = 0; i < 3; i++) passes(rig)
  assert.not.ok(passes(rig))
  // 333333333.3 ns a token: whoever drops remainders is late by the third.
  for (let i = 0; i < 333_333; i++) {
    rig.clock.now += 1000
    rig.disk.poll()
  }
  assert.equal(rig.disk.poll(), { stalledNanos: 334 })
  rig.clock.now += 334
  assert.is(rig.disk.poll(), 'idle')
})

// Rule 22: clocks, large numbers, changes -------------------------------------------------------------------------

const DRAINED: [string, ThrottleOptions][] = [
  ['operations', { iops: 2 }],
  ['bytes', { bytesPerSecond: 1024 }],
]

for (const [kind, throttle] of DRAINED) {
  each(`device rule 22: ${kind}, the clock goes back an hour -> wait in range, and granted after it`, async (make) => {
    const rig = await ready(make, { throttle })
    rig.clock.now += 5 * HOUR
    const read = readOf(0, 512)
    assert.equal([passes(rig, read), passes(rig, read), passes(rig, read)], [true, true, false])
    rig.clock.now -= HOUR
    const wait = stalledNanos(rig)
    assert.ok(wait >= 1 && wait <= SECOND, `wait ${wait}`)
    rig.clock.now += wait
    assert.is(rig.disk.poll(), 'idle')
    // Nothing was earned by going back: the next one waits.
    assert.not.ok(passes(rig, read))
  })

  each(`device rule 22: ${kind}, the clock goes back in a stall -> kicks and polls still end it`, async (make) => {
    const rig = await ready(make, { throttle })
    const read = readOf(0, 512)
    rig.clock.now += HOUR
    assert.equal([passes(rig, read), passes(rig, read), passes(rig, read)], [true, true, false])
    rig.clock.now = 0
    for (let polls = 0; rig.queue.usedIdx < 3; polls++) {
      assert.ok(polls < 5, 'five waits were not enough')
      rig.clock.now += stalledNanos(rig)
    }
  })

  each(`device rule 22: ${kind}, the clock goes forward by years -> one capacity, not years of it`, async (make) => {
    for (const jump of [400 * 24 * HOUR, 100 * 365 * 24 * HOUR, 1e19, 1e300, Number.POSITIVE_INFINITY]) {
      const rig = await ready(make, { throttle })
      const read = readOf(0, 512)
      assert.equal([passes(rig, read), passes(rig, read), passes(rig, read)], [true, true, false])
      rig.clock.now += jump
      rig.disk.poll()
      assert.equal([rig.queue.usedIdx, passes(rig, read), passes(rig, read)], [3, true, false], `jump ${jump}`)
      const wait = stalledNanos(rig)
      assert.ok(wait >= 1 && wait <= SECOND, `wait ${wait}`)
    }
  })

  each(`device rule 22: ${kind}, a clock without sense -> no trap, wait in range, service afterwards`, async (make) => {
    for (const nonsense of [Number.NaN, -1, Number.NEGATIVE_INFINITY, -1e300, 0.5]) {
      const rig = await ready(make, { throttle })
      const read = readOf(0, 512)
      assert.equal([passes(rig, read), passes(rig, read), passes(rig, read)], [true, true, false])
      const before = rig.clock.now
      rig.clock.now = nonsense
      for (let i = 0; i < 3; i++) {
        const wait = stalledNanos(rig)
        assert.ok(wait >= 1 && wait <= SECOND, `clock ${nonsense}: wait ${wait}`)
        rig.queue.kick()
      }
      assert.is(rig.queue.usedIdx, 2, `clock ${nonsense}: granted out of nothing`)
      rig.clock.now = before + SECOND
      rig.disk.poll()
      assert.equal([rig.queue.usedIdx, rig.disk.counters.engineTraps, rig.failures], [3, 0, []])
    }
  })
}

each('device rule 22: a device made and first used with a clock of NaN -> serves its burst', async (make) => {
  const rig = await make({ throttle: { iops: 2 } })
  rig.clock.now = Number.NaN
  const { queue } = rig.raw.negotiate()
  const seen = { ...rig, queue }
  assert.equal([passes(seen), passes(seen), passes(seen)], [true, true, false])
})

each('device rule 22: rates and bursts up to 2^63 -> pass, also after long times', async (make) => {
  const most = 2n ** 63n
  for (const throttle of [
    { iops: most, iopsBurst: most, bytesPerSecond: most, bytesBurst: most },
    { iops: most, bytesPerSecond: most },
    { iops: most - 1n, bytesPerSecond: most - 1n },
    { iops: 1, iopsBurst: most, bytesPerSecond: 1, bytesBurst: most },
    { iops: 2n ** 62n, iopsBurst: most, bytesPerSecond: 2n ** 53n + 1n, bytesBurst: 2n ** 63n - 1n },
  ]) {
    const rig = await ready(make, { throttle })
    for (const step of [0, 1, 1, 999, SECOND, HOUR, 1e17, 9e18, 1]) {
      rig.clock.now += step
      assert.ok(passes(rig, readOf(0, 4096)), `step ${step}`)
    }
    assert.equal([rig.disk.counters.throttledCount, rig.disk.counters.engineTraps], [0, 0])
  }
})

each('device rule 22: a drained bucket and 272 years, whose product is 2^64 -> full, not empty', async (make) => {
  const options = { throttle: { bytesPerSecond: 2 ** 31 }, backend: hollowDisk(2 ** 32) }
  const rig = await make({ ...options, regions: [{ gpa: 0, bytes: 4 << 20 }] })
  rig.clock.now = 0
  const { queue } = rig.raw.negotiate({ queues: [{ size: 256 }] })
  const whole = { writable: false, bytes: 1 << 20, addr: 2 << 20 }
  const header = { writable: false, bytes: 16 }
  const layout = [header, ...Array.from({ length: 128 }, () => whole), { writable: true, bytes: 1 }]
  const { head } = queue.request({ type: 1, layout })
  for (let i = 0; i < 17; i++) queue.submit(head)
  assert.equal([queue.usedIdx, rig.disk.poll()], [16, { stalledNanos: SECOND / 16 }])
  rig.clock.now = 2 ** 33 * SECOND
  assert.equal([rig.disk.poll(), queue.usedIdx], ['idle', 17])
})

each('device rule 22: a burst of 2^63 cut down to 1 -> the balance follows', async (make) => {
  const rig = await ready(make, { throttle: { iops: 1, iopsBurst: 2n ** 63n } })
  rig.clock.now += HOUR
  rig.disk.setThrottle({ iops: 1 })
  assert.equal([passes(rig), passes(rig)], [true, false])
  assert.equal(rig.disk.poll(), { stalledNanos: SECOND })
})

each('device rule 22: a debt far above the rate -> 1 s at a time, to the end', async (make) => {
  const rig = await ready(make, { throttle: { bytesPerSecond: 10_000 } })
  assert.equal([passes(rig, readOf(0, 200 * 512)), passes(rig, readOf(0, 512))], [true, false])
  // 92400 in debt, 512 needed.
  for (let second = 0; second < 9; second++) {
    assert.is(stalledNanos(rig), SECOND)
    rig.clock.now += SECOND
  }
  assert.is(stalledNanos(rig), 291_200_000)
})

each('device rule 22: setThrottle in a stall -> none: the head is served at once', async (make) => {
  const rig = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(rig), passes(rig)], [true, false])
  rig.disk.setThrottle()
  assert.equal([rig.queue.usedIdx, rig.disk.counters.currentlyThrottled], [2, 0])
  for (let i = 0; i < 20; i++) assert.ok(passes(rig))
})

each('device rule 22: setThrottle in a stall -> a new wait, from what is left to earn', async (make) => {
  const rig = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(rig), passes(rig)], [true, false])
  rig.clock.now += 100_000_000
  rig.disk.setThrottle({ iops: 10 })
  // A tenth of a token is there.
  assert.equal(rig.disk.poll(), { stalledNanos: 90_000_000 })
  assert.is(rig.disk.counters.currentlyThrottled, 1)
  rig.clock.now += 90_000_000
  rig.queue.kick()
  assert.is(rig.queue.usedIdx, 2)
})

each('device rule 22: setThrottle in a stall -> kicks count against the new wait, not the old', async (make) => {
  const rig = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(rig), passes(rig)], [true, false])
  rig.disk.setThrottle({ iops: 1000 })
  rig.clock.now += 1_000_000
  rig.queue.kick()
  assert.is(rig.queue.usedIdx, 2)
})

each('device rule 22: setThrottle -> a debt stays, a bucket that was unlimited starts full', async (make) => {
  const rig = await ready(make, { throttle: { bytesPerSecond: 1024 } })
  assert.ok(passes(rig, readOf(0, 4096)))
  rig.disk.setThrottle({ bytesPerSecond: 2048, iops: 2 })
  assert.equal([passes(rig), passes(rig), passes(rig)], [true, true, false])
  rig.disk.setThrottle({ bytesPerSecond: 6144 })
  assert.is(rig.queue.usedIdx, 4)
  assert.not.ok(passes(rig, readOf(0, 3072)))
  // 3072 in debt, 3072 needed.
  assert.equal(rig.disk.poll(), { stalledNanos: SECOND })
})

each('device rule 22: setThrottle with less -> the balance is cut to the new capacity', async (make) => {
  const rig = await ready(make, { throttle: { iops: 100 } })
  rig.disk.setThrottle({ iops: 2 })
  assert.equal([passes(rig), passes(rig), passes(rig)], [true, true, false])
})

// Rule 23: time counted ---------------------------------------------------------------------------------------

each('device rule 23: a stall -> throttledNanos is its length, polled or not', async (make) => {
  for (const polls of [[], [1], [250_000_000, 1, 700_000_000], Array.from({ length: 900 }, () => 1_000_000)]) {
    const rig = await ready(make, { throttle: { iops: 1 } })
    assert.equal([passes(rig), passes(rig)], [true, false])
    assert.is(rig.disk.counters.throttledNanos, 0)
    const since = rig.clock.now
    for (const step of polls) {
      rig.clock.now += step
      rig.disk.poll()
    }
    rig.clock.now = since + SECOND + 12_345
    rig.disk.poll()
    assert.equal([rig.queue.usedIdx, rig.disk.counters.throttledNanos], [2, SECOND + 12_345])
    rig.clock.now += HOUR
    rig.disk.poll()
    assert.is(rig.disk.counters.throttledNanos, SECOND + 12_345)
  }
})

each('device rule 23: two stalls -> their sum; setThrottle ends one -> counted as well', async (make) => {
  const rig = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(rig), passes(rig)], [true, false])
  rig.clock.now += SECOND
  rig.disk.poll()
  rig.clock.now += 300_000_000
  assert.not.ok(passes(rig))
  rig.clock.now += 600_000_000
  rig.disk.setThrottle()
  assert.equal([rig.queue.usedIdx, rig.disk.counters.throttledNanos], [3, 1_600_000_000])
})

// Rule 24: options ----------------------------------------------------------------------------------------------

const BAD_VALUES = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 64, 0n, -5n, 2n ** 63n + 1n, '10', null, {}]

for (const field of ['iops', 'iopsBurst', 'bytesPerSecond', 'bytesBurst'] as const) {
  test(`device rule 24: ${field} not a positive integer up to 2^63 -> refused by name`, async () => {
    const rig = await makerOf(release)()
    for (const value of BAD_VALUES) {
      const throttle = { iops: 100, bytesPerSecond: 100, [field]: value } as ThrottleOptions
      const message = await makerOf(release)({ throttle }).then(
        () => 'accepted',
        (error: Error) => error.message,
      )
      assert.match(message, new RegExp(`\\b${field}\\b`), `${typeof value} ${String(value)}`)
      assert.throws(() => rig.disk.setThrottle(throttle), new RegExp(`\\b${field}\\b`))
    }
  })
}

test('device rule 24: a burst below its rate -> refused, both fields named; equal is fine', async () => {
  const make = makerOf(release)
  const { disk } = await make()
  assert.throws(() => disk.setThrottle({ iops: 10, iopsBurst: 9 }), /iopsBurst \(9\) must be >= iops \(10\)/)
  assert.throws(
    () => disk.setThrottle({ bytesPerSecond: 10, bytesBurst: 1 }),
    /bytesBurst \(1\).*bytesPerSecond \(10\)/,
  )
  disk.setThrottle({ iops: 10, iopsBurst: 10, bytesPerSecond: 5, bytesBurst: 6 })
})

test('device rule 24: a burst without its rate -> refused, both fields named', async () => {
  const { disk } = await makerOf(release)()
  assert.throws(() => disk.setThrottle({ iopsBurst: 9 }), /iopsBurst.*without iops/)
  assert.throws(() => disk.setThrottle({ bytesBurst: 9, iops: 5 }), /bytesBurst.*without bytesPerSecond/)
})

test('device rule 24: both dimensions wrong -> operations are named first; unknown fields are named', async () => {
  const { disk } = await makerOf(release)()
  assert.throws(() => disk.setThrottle({ bytesBurst: 9, iopsBurst: 9 }), /iopsBurst/)
  assert.throws(() => disk.setThrottle({ iop: 5 } as ThrottleOptions), /\biop\b/)
})

each('device rule 24: setThrottle refuses -> the limits stay as they were', async (make) => {
  const rig = await ready(make, { throttle: { iops: 2 } })
  assert.throws(() => rig.disk.setThrottle({ iops: 500, bytesPerSecond: 0 }), /bytesPerSecond/)
  assert.equal([passes(rig), passes(rig), passes(rig)], [true, true, false])
})

test.run()
