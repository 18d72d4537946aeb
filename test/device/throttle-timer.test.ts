// The throttle over the life of a device: what a reset leaves of it (device rules 6 and 19 to 23), and the device's
// own timer: the only tests of the throttle on a real clock, so they assert no time tighter than "within five
// seconds". Also the number of drains that a stall costs, which was another device's bug once.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { flavours } from '../support/engines.ts'
import {
  eachFlavour,
  FLUSH,
  HOUR,
  type MakeRig,
  type Rig,
  type RigOptions,
  readOf,
  SECOND,
} from '../support/throttle-device.ts'
import { within } from '../support/within.ts'

const test = suite('throttle timer')
const each = eachFlavour(test)
const eachShipped = eachFlavour(test, flavours.slice(0, 2))
const LIMIT_MS = 5000

async function ready(make: MakeRig, options: RigOptions): Promise<Rig & { queue: RawQueue }> {
  const rig = await make(options)
  const { queue } = rig.raw.negotiate({ queues: [{ size: 64 }] })
  return { ...rig, queue }
}

function passes(queue: RawQueue, options = FLUSH): boolean {
  return queue.run(options).used() !== undefined
}

// Reset -----------------------------------------------------------------------------------------------------

each('device rule 6: reset -> no fresh burst', async (make) => {
  const { queue, raw, disk } = await ready(make, { throttle: { iops: 4, bytesPerSecond: 8192 } })
  for (let i = 0; i < 4; i++) assert.ok(passes(queue, readOf(0, 2048)))
  for (let i = 0; i < 10; i++) {
    const again = raw.negotiate({ queues: [{ size: 64 }] })
    assert.not.ok(passes(again.queue))
    assert.equal(disk.poll(), { stalledNanos: SECOND / 4 })
  }
})

each('device rule 6: reset -> what is left of the balance is left', async (make) => {
  const { queue, raw } = await ready(make, { throttle: { iops: 4 } })
  assert.ok(passes(queue))
  const again = raw.negotiate({ queues: [{ size: 64 }] }).queue
  assert.equal([passes(again), passes(again), passes(again), passes(again)], [true, true, true, false])
})

each('device rule 6: reset -> a debt stays, and time goes on paying it', async (make) => {
  const { queue, raw, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 512 } })
  assert.ok(passes(queue, readOf(0, 1024)))
  clock.now += SECOND / 2
  const again = raw.negotiate({ queues: [{ size: 64 }] }).queue
  const request = again.run(readOf(0, 1024))
  assert.ok(request.untouched())
  assert.equal(disk.poll(), { stalledNanos: SECOND / 2 })
  clock.now += SECOND / 2
  disk.poll()
  assert.is(request.status(), 0)
})

each('device rule 6: reset -> the fraction of a token stays', async (make) => {
  const { queue, raw, disk, clock } = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(queue), passes(queue)], [true, false])
  for (let i = 0; i < 9; i++) {
    clock.now += 100_000_000
    const again = raw.negotiate({ queues: [{ size: 64 }] })
    assert.not.ok(passes(again.queue))
    assert.equal(disk.poll(), { stalledNanos: (9 - i) * 100_000_000 })
  }
})

each(
  'device rule 6: reset in a stall -> the gauge is 0, counters stay, nothing of the old queue is served',
  async (make) => {
    const { queue, raw, disk, clock, backend, irqs } = await ready(make, { throttle: { iops: 1 } })
    assert.ok(passes(queue))
    const request = queue.run(FLUSH)
    disk.poll()
    const { throttledCount } = disk.counters
    assert.is(disk.counters.currentlyThrottled, 1)
    raw.reg.status = 0
    assert.equal([disk.counters.currentlyThrottled, disk.counters.throttledCount], [0, throttledCount])
    const raised = irqs()
    clock.now += HOUR
    assert.is(disk.poll(), 'idle')
    queue.kick()
    assert.equal([backend.calls.length, queue.usedIdx, irqs(), request.untouched()], [1, 1, raised, true])
    raw.reg.status = 0
    assert.is(disk.counters.currentlyThrottled, 0)
  },
)

each('device rule 6: reset without a stall -> the gauge stays 0', async (make) => {
  const { queue, raw, disk } = await ready(make, { throttle: { iops: 2 } })
  assert.ok(passes(queue))
  raw.reg.status = 0
  raw.reg.status = 0
  assert.equal([disk.counters.currentlyThrottled, disk.counters.resets], [0, 3])
})

each('device rule 6: reset in a stall -> kicks of the new queue are not held up by the old wait', async (make) => {
  const { queue, raw, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 512 } })
  assert.equal([passes(queue, readOf(0, 4096)), passes(queue, readOf(0, 512))], [true, false])
  clock.now += 1000
  const again = raw.negotiate({ queues: [{ size: 64 }] }).queue
  // Costs no bytes, so it does not wait for any.
  assert.ok(passes(again, FLUSH))
  assert.is(disk.counters.currentlyThrottled, 0)
})

each('device rule 7: a ring fault behind a stall -> the gauge is 0 and polling is idle', async (make) => {
  const { queue, raw, disk, clock } = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(queue), passes(queue)], [true, false])
  queue.setAvailIdx(queue.availIdx + 65)
  disk.poll()
  assert.is(raw.reg.status & 0x40, 0x40)
  assert.is(disk.counters.currentlyThrottled, 0)
  clock.now += HOUR
  assert.is(disk.poll(), 'idle')
  assert.is(queue.usedIdx, 1)
})

// Drains ------------------------------------------------------------------------------------------------------

each('past bug 37 (Firecracker #1439): stalled for a second -> a bounded number of drains', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 1 } })
  assert.equal([passes(queue), passes(queue)], [true, false])
  const { drains } = disk.counters
  // A driver that kicks every millisecond, and an owner that polls when it is told to.
  let due = clock.now
  for (let ms = 0; ms < 1000; ms++) {
    if (clock.now >= due) {
      const result = disk.poll()
      assert.type(result, 'object')
      due = clock.now + (typeof result === 'object' ? result.stalledNanos : 0)
    }
    queue.kick()
    clock.now += 1_000_000
  }
  assert.is(queue.usedIdx, 1)
  assert.is(disk.counters.drains, drains + 1)
  disk.poll()
  assert.equal([queue.usedIdx, disk.counters.drains], [2, drains + 2])
})

eachShipped('past bug 37 (Firecracker #1439): stalled on a real clock -> a bounded number of drains', async (make) => {
  const { queue, raw, disk } = await ready(make, { throttle: { iops: 4 }, realClock: true })
  for (let i = 0; i < 4; i++) assert.ok(passes(queue))
  const { drains } = disk.counters
  assert.not.ok(passes(queue))
  let kicks = 0
  const served = raw.until(() => {
    if (queue.usedIdx < 5) {
      queue.kick()
      kicks++
    }
    return queue.usedIdx === 5
  }, LIMIT_MS)
  assert.ok(await within(2 * LIMIT_MS, served, 'the stalled request'))
  await disk.close()
  // The first refusal, the timer, a kick or a timer more on each side of the wait's end.
  assert.ok(disk.counters.drains - drains <= 6, `${disk.counters.drains - drains} drains for ${kicks} kicks`)
})

// The device's own timer ----------------------------------------------------------------------------------------

eachShipped('device rule 20: no clock given -> a stalled request is served without a kick', async (make) => {
  const { queue, raw, disk, irqs } = await ready(make, { throttle: { iops: 5 }, realClock: true })
  for (let i = 0; i < 5; i++) assert.ok(passes(queue))
  const raised = irqs()
  const requests = [queue.request(FLUSH), queue.request(readOf(2))]
  queue.submit(...requests.map(({ head }) => head))
  assert.is(disk.counters.currentlyThrottled, 1)
  assert.ok(
    await within(
      2 * LIMIT_MS,
      raw.until(() => queue.usedIdx === 7, LIMIT_MS),
      'two stalled requests',
    ),
  )
  assert.equal(
    requests.map((request) => request.status()),
    [0, 0],
  )
  assert.is(requests[1]?.data()[0], 3)
  assert.ok(irqs() > raised)
  assert.is(disk.counters.currentlyThrottled, 0)
  assert.ok(disk.counters.throttledNanos > 0)
  await disk.close()
})

eachShipped('device rule 22: no clock given, setThrottle in a stall -> the timer is set anew', async (make) => {
  const { queue, raw, disk } = await ready(make, { throttle: { bytesPerSecond: 1 }, realClock: true })
  // Two hours of debt at the old rate.
  assert.ok(passes(queue, readOf(0, 8192)))
  assert.not.ok(passes(queue, readOf(0, 512)))
  disk.setThrottle({ bytesPerSecond: 100_000 })
  assert.ok(
    await within(
      2 * LIMIT_MS,
      raw.until(() => queue.usedIdx === 2, LIMIT_MS),
      'the stalled request',
    ),
  )
  await disk.close()
})

eachShipped('device rule 6: no clock given, reset in a stall -> the timer serves nothing any more', async (make) => {
  const { queue, raw, disk, backend } = await ready(make, { throttle: { iops: 20 }, realClock: true })
  while (passes(queue));
  const calls = backend.calls.length
  raw.reg.status = 0
  const { drains } = disk.counters
  await new Promise((resolve) => setTimeout(resolve, 150))
  assert.equal([backend.calls.length, disk.counters.drains, disk.counters.currentlyThrottled], [calls, drains, 0])
  await disk.close()
})

eachShipped('device rule 20: no clock given, close in a stall -> nothing is served any more', async (make) => {
  const { queue, disk, backend, irqs } = await ready(make, { throttle: { iops: 20 }, realClock: true })
  while (passes(queue));
  const seen = [backend.calls.length, queue.usedIdx, irqs()]
  await disk.close()
  await new Promise((resolve) => setTimeout(resolve, 150))
  assert.equal([backend.calls.length, queue.usedIdx, irqs()], seen)
})

test.run()
