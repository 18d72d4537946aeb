// Heads that wait for tokens on a worker: the timer, pauses and resets during the wait, new limits, and a new capacity
// while the disk is idle or stalled. Real time, but nothing is timed: a wait that does not end by itself is a hang.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import type { RawRequest, RawRequestOptions } from '../../host/driver/raw-request.ts'
import { takeEventFd } from '../../host/sys/eventfd.ts'
import { sleep } from '../support/within.ts'
import { onWorker, servesOnWorker, soon, until, used } from '../support/worker.ts'

const read = { type: 0, sector: 3, dataIn: 512 }
const flush = { type: 4 }
const MiB = 1 << 20

/** Offers several requests at once, and kicks. */
function offer(queue: RawQueue, options: readonly RawRequestOptions[]): RawRequest[] {
  const requests = options.map((each) => queue.request(each))
  queue.submit(...requests.map(({ head }) => head))
  return requests
}

const test = suite('loop stall')

// A stall of the bytes bucket: what is over one second's worth passes and leaves a debt of some milliseconds.
const throttle = { bytesPerSecond: 4 * MiB }
const slow = { disk: { throttle }, diskBytes: 8 * MiB, ramBytes: 32 * MiB }
/** Empties the bucket, and a little more. */
const large = { type: 0, sector: 0, dataIn: 4 * MiB + 128 * 1024, segments: MiB }

onWorker(
  test,
  'device rule 20: worker: a stall -> the timer ends it, kicks during it do not drain, order is kept',
  slow,
  async (f) => {
    const { raw, script } = f
    const { queue } = raw.negotiate()
    const requests = offer(queue, [large, read, { ...read, sector: 4 }, flush])
    await until('the stall', () => f.counter('throttledCount') > 0)
    const { drains, throttledCount } = f.disk.counters
    for (let i = 0; i < 20; i++) queue.kick()
    await used(queue, 4)
    assert.equal(
      requests.map((request) => request.status()),
      [0, 0, 0, 0],
    )
    assert.equal(
      [0, 1, 2, 3].map((slot) => queue.usedElement(slot).id),
      requests.map(({ head }) => head),
    )
    const after = f.disk.counters
    // The timer's drain, one more where it came a moment early, and one for what was kicked after the end of the stall.
    assert.ok(after.drains - drains <= 4, `${after.drains - drains} drains`)
    assert.ok(after.throttledCount - throttledCount <= 3)
    assert.is(after.currentlyThrottled, 0)
    assert.ok(after.throttledNanos > 0)
    assert.is(script.count('read'), 3)
  },
)

onWorker(
  test,
  'device rule 25: worker: pause during a stall -> nothing until resume, then the wait ends by itself',
  slow,
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate()
    offer(queue, [large, read])
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    await soon('pause', disk.pause())
    const before = f.ram()
    // Longer than the wait: the timer goes off meanwhile.
    await sleep(100)
    assert.ok(before.equals(f.ram()))
    disk.resume()
    await used(queue, 2)
    assert.is(f.counter('currentlyThrottled'), 0)
  },
)

onWorker(
  test,
  'device rule 6: worker: reset during a stall -> gauge 0, the next driver is served at once',
  slow,
  async (f) => {
    const { raw } = f
    const { queue } = raw.negotiate()
    offer(queue, [large, { ...large, sector: 8 }])
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    raw.reg.status = 0
    assert.equal([raw.reg.status, f.counter('currentlyThrottled')], [0, 0])
    const { queue: next } = raw.negotiate()
    offer(next, [flush])
    await used(next, 1)
    assert.is(next.usedIdx, 1)
  },
)

for (const [name, limits] of [
  ['none', undefined],
  ['higher ones', { iops: 1_000_000 }],
] as const) {
  const disk = { throttle: { iops: 1 } }
  onWorker(
    test,
    `device rule 22: worker: ${name} as new limits while stalled -> asked again at once`,
    { disk },
    async (f) => {
      const { queue } = f.raw.negotiate()
      offer(queue, [flush, flush, flush, flush, flush])
      await until('the stall', () => f.counter('currentlyThrottled') === 1)
      await used(queue, 1)
      const { throttledCount } = f.disk.counters
      await soon('setThrottle', f.disk.setThrottle(limits))
      await used(queue, 5)
      // Not by the timer, which would have found the others waiting a second each.
      if (limits === undefined) assert.is(f.counter('throttledCount'), throttledCount)
    },
  )
}

onWorker(
  test,
  'device rule 22: worker: limits set and taken away 30 times -> no stall lasts until its timer',
  {},
  async (f) => {
    const { queue } = f.raw.negotiate()
    // Each would take a second by the timer, and all together more than this test may.
    for (let round = 1; round <= 30; round++) {
      await soon('setThrottle', f.disk.setThrottle({ iops: 1 }))
      offer(queue, [flush, flush])
      await until('the stall', () => f.counter('currentlyThrottled') === 1)
      await soon('setThrottle', f.disk.setThrottle())
      await used(queue, 2 * round)
    }
  },
)

onWorker(
  test,
  'device rule 22: worker: new limits while stalled that still refuse -> the timer is set anew',
  slow,
  async (f) => {
    const { queue } = f.raw.negotiate()
    offer(queue, [large, read])
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    for (let bytesPerSecond = 5 * MiB; bytesPerSecond < 9 * MiB; bytesPerSecond += MiB) {
      await soon('setThrottle', f.disk.setThrottle({ bytesPerSecond }))
    }
    await used(queue, 2)
  },
)

onWorker(test, 'device rule 22: worker: new limits while paused -> taken, and used at resume', {}, async (f) => {
  const { queue } = f.raw.negotiate()
  await soon('pause', f.disk.pause())
  await soon('setThrottle', f.disk.setThrottle({ iops: 2 }))
  offer(queue, [flush, flush, flush])
  f.disk.resume()
  await until('the stall', () => f.counter('currentlyThrottled') === 1)
  await used(queue, 2)
  await soon('setThrottle', f.disk.setThrottle())
  await used(queue, 3)
})

onWorker(test, 'device rule 24: worker: wrong limits -> refused by name, the old ones stay', {}, async (f) => {
  const error = await f.disk.setThrottle({ iops: -1 }).catch((reason) => reason)
  assert.instance(error, RangeError)
  assert.match(error.message, /iops must be a positive integer/)
  await servesOnWorker(f)
})

// Capacity -----------------------------------------------------------------------------------------------------------

onWorker(
  test,
  'device rule 27: worker: a new capacity, idle and stalled -> told by interrupt, past the end IOERR',
  slow,
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate()
    const generation = raw.reg.read(0xfc)
    takeEventFd(disk.interruptFd)
    disk.setCapacity(1024 * 512 + 100)
    assert.equal([raw.reg.read(0x100), raw.reg.read(0xfc)], [1024, generation + 1])
    assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus], [1, 2])
    raw.reg.interruptAck(2)
    disk.setCapacity(8 * MiB)
    offer(queue, [large, { ...read, sector: 2048 }])
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    takeEventFd(disk.interruptFd)
    disk.setCapacity(512 * 512)
    assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus & 2], [1, 2])
    await used(queue, 2)
    assert.is(f.counter('ioErrors'), 1)
    const error = await Promise.resolve()
      .then(() => disk.setCapacity(-1))
      .catch((reason) => reason)
    assert.match(String(error), /capacity must be a number of bytes/)
  },
)

test.run()
