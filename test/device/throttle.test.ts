// Device rules 19 and 20 from the guest's side: what passes, what is refused, and that a refusal leaves no trace but
// a head that waits. Black box over the raw driver; the clock is in the test's hand, so every wait is exact. What
// time does to the buckets (rules 21 to 24) is in throttle-time.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import type { RawRequest, RawRequestOptions } from '../../host/driver/raw-request.ts'
import {
  eachFlavour,
  FLUSH,
  idOf,
  type MakeRig,
  type Rig,
  type RigOptions,
  readOf,
  SECOND,
} from '../support/throttle-device.ts'

const test = suite('throttle')
const each = eachFlavour(test)

async function ready(make: MakeRig, options: RigOptions, eventIdx = false): Promise<Rig & { queue: RawQueue }> {
  const rig = await make({ diskBytes: 256 << 10, ...options })
  const { queue } = rig.raw.negotiate({ queues: [{ size: 64 }], eventIdx })
  return { ...rig, queue }
}

function submitAll(queue: RawQueue, ...all: RawRequestOptions[]): RawRequest[] {
  const requests = all.map((options) => queue.request(options))
  queue.submit(...requests.map(({ head }) => head))
  return requests
}

/** 0 = answered OK; undefined = the status byte still holds the sentinel and nothing was published. */
function answers(requests: RawRequest[]): (number | undefined)[] {
  return requests.map((request) => (request.used() === undefined && request.untouched() ? undefined : request.status()))
}

const OK = 0

// Rule 19: the buckets -------------------------------------------------------------------------------------

each('device rule 19: no throttle -> everything passes at one instant', async (make) => {
  const { queue, disk } = await ready(make, {})
  for (let i = 0; i < 2000; i++) {
    queue.raw.arena.rewind(queue.raw.arena.mark())
    const mark = queue.raw.arena.mark()
    assert.is(queue.run(i % 2 ? FLUSH : readOf(0, 4096)).status(), OK)
    queue.raw.arena.rewind(mark)
  }
  assert.equal([disk.counters.throttledCount, disk.counters.currentlyThrottled], [0, 0])
  assert.is(disk.poll(), 'idle')
})

each('device rule 19: no burst -> one second of requests passes at once, the next waits', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { iops: 5 } })
  const requests = submitAll(queue, ...Array.from({ length: 6 }, () => FLUSH))
  assert.equal(answers(requests), [OK, OK, OK, OK, OK, undefined])
  assert.equal(disk.poll(), { stalledNanos: SECOND / 5 })
})

each('device rule 19: no burst -> one second of bytes passes at once, the next waits', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { bytesPerSecond: 2048 } })
  const requests = submitAll(queue, readOf(0, 1024), readOf(0, 1024), readOf(0, 512))
  assert.equal(answers(requests), [OK, OK, undefined])
  assert.equal(disk.poll(), { stalledNanos: SECOND / 4 })
})

each('device rule 19: a burst -> that much passes at once, refilled at the rate', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 2, iopsBurst: 4 } })
  const requests = submitAll(queue, ...Array.from({ length: 5 }, () => FLUSH))
  assert.equal(answers(requests), [OK, OK, OK, OK, undefined])
  assert.equal(disk.poll(), { stalledNanos: SECOND / 2 })
  clock.now += SECOND / 2 - 1
  assert.equal(disk.poll(), { stalledNanos: 1 })
  clock.now += 1
  assert.is(disk.poll(), 'idle')
  assert.is(requests[4]?.status(), OK)
})

each('device rule 19: a quiet time -> the bucket holds its capacity and no more', async (make) => {
  const { queue, clock } = await ready(make, { throttle: { iops: 3, iopsBurst: 4 } })
  clock.now += 100 * SECOND
  assert.equal(answers(submitAll(queue, FLUSH, FLUSH, FLUSH, FLUSH, FLUSH)), [OK, OK, OK, OK, undefined])
})

each('device rule 19: larger than the capacity -> passes and leaves a debt', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 1024 } })
  const [large, next] = submitAll(queue, readOf(0, 1536), readOf(0, 512)) as [RawRequest, RawRequest]
  assert.equal(answers([large, next]), [OK, undefined])
  // 512 in debt, 512 needed.
  assert.equal(disk.poll(), { stalledNanos: SECOND })
  clock.now += SECOND - 1
  assert.equal(disk.poll(), { stalledNanos: 1 })
  clock.now += 1
  assert.is(disk.poll(), 'idle')
  assert.is(next.status(), OK)
})

each(
  'device rule 19: larger than the capacity, in debt -> waits for the debt alone, and deepens it only then',
  async (make) => {
    const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 1024 } })
    const [, second] = submitAll(queue, readOf(0, 1536), readOf(0, 2048)) as [RawRequest, RawRequest]
    for (let i = 0; i < 5; i++) assert.equal(disk.poll(), { stalledNanos: SECOND / 2 })
    clock.now += SECOND / 2
    assert.is(disk.poll(), 'idle')
    assert.is(second.status(), OK)
    const third = queue.run(readOf(0, 1536))
    assert.ok(third.untouched())
    clock.now += 2 * SECOND - 1
    assert.equal(disk.poll(), { stalledNanos: 1 })
    clock.now += 1
    disk.poll()
    assert.is(third.status(), OK)
  },
)

each('device rule 19: as large as the capacity -> is no exception and waits for a full bucket', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 1024 } })
  const [, , third] = submitAll(queue, readOf(0, 512), readOf(0, 512), readOf(0, 1024)) as RawRequest[]
  assert.equal(disk.poll(), { stalledNanos: SECOND })
  clock.now += SECOND - 1
  assert.equal(disk.poll(), { stalledNanos: 1 })
  clock.now += 1
  disk.poll()
  assert.is(third?.status(), OK)
})

each('device rule 19: in debt -> time pays the debt first', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 1000, bytesBurst: 1000 } })
  submitAll(queue, readOf(0, 1536))
  clock.now += SECOND
  // -536 + 1000: 464 left, which is 36 ms less than 500.
  const request = queue.run(idOf(500))
  assert.ok(request.untouched())
  assert.equal(disk.poll(), { stalledNanos: 36_000_000 })
  assert.is(disk.counters.throttledCount, 2)
})

each('device rule 19: FLUSH, no bytes -> passes a drained bytes bucket, in debt too', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { bytesPerSecond: 512 } })
  const requests = submitAll(queue, readOf(0, 4096), FLUSH, FLUSH, readOf(0, 512))
  assert.equal(answers(requests), [OK, OK, OK, undefined])
  assert.is(disk.counters.flushesCompleted, 2)
})

each('device rule 19: FLUSH -> costs an operation', async (make) => {
  const { queue } = await ready(make, { throttle: { iops: 1 } })
  assert.equal(answers(submitAll(queue, FLUSH, FLUSH)), [OK, undefined])
})

each('device rule 19: GET_ID -> costs an operation and its data bytes', async (make) => {
  const ops = await ready(make, { throttle: { iops: 1 } })
  assert.equal(answers(submitAll(ops.queue, idOf(), idOf())), [OK, undefined])
  const bytes = await ready(make, { throttle: { bytesPerSecond: 40 } })
  assert.equal(answers(submitAll(bytes.queue, idOf(20), idOf(20), idOf(20))), [OK, OK, undefined])
  assert.equal(bytes.disk.poll(), { stalledNanos: SECOND / 2 })
})

each('device rule 19: OUT -> costs its data bytes, and not the header and status bytes', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { bytesPerSecond: 1024 } })
  const out = { type: 1, sector: 0, dataOut: new Uint8Array(512) }
  assert.equal(answers(submitAll(queue, out, out, out)), [OK, OK, undefined])
  assert.equal(disk.poll(), { stalledNanos: SECOND / 2 })
})

each('device rule 19: one dimension limited -> the other is unlimited', async (make) => {
  const ops = await ready(make, { throttle: { iops: 2, iopsBurst: 3 } })
  assert.equal(answers(submitAll(ops.queue, readOf(0, 65536), readOf(0, 65536), readOf(0, 65536))), [OK, OK, OK])
  const bytes = await ready(make, { throttle: { bytesPerSecond: 10_240 } })
  assert.equal(
    answers(submitAll(bytes.queue, ...Array.from({ length: 20 }, () => readOf(0, 512)))),
    Array.from({ length: 20 }, () => OK),
  )
})

each('device rule 19: request faults and unknown types -> take no tokens and do not wait for any', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { iops: 1, bytesPerSecond: 512 } })
  const requests = submitAll(
    queue,
    readOf(0, 513),
    readOf(1 << 20, 512),
    { type: 0xbeef },
    idOf(19),
    readOf(0, 512),
    readOf(0, 513),
    { type: 0xbeef },
    readOf(0, 512),
  )
  assert.equal(answers(requests), [1, 1, 2, 1, OK, 1, 2, undefined])
  assert.equal([disk.counters.ioErrors, disk.counters.unsupported, disk.counters.throttledCount], [4, 2, 1])
})

// Rule 20: both buckets, refusal, order, kicks ----------------------------------------------------------------

each('device rule 20: bytes refuse -> no operation is charged, however often it is asked', async (make) => {
  // Operations come slowly, bytes fast: a charged operation would be missed 10 ms later.
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 1, iopsBurst: 2, bytesPerSecond: 51_200 } })
  const [, second] = submitAll(queue, readOf(0, 51_200), readOf(0, 512)) as [RawRequest, RawRequest]
  for (let i = 0; i < 7; i++) assert.equal(disk.poll(), { stalledNanos: SECOND / 100 })
  clock.now += SECOND / 100
  assert.is(disk.poll(), 'idle')
  assert.is(second.status(), OK)
})

each('device rule 20: operations refuse -> no bytes are charged, however often it is asked', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 100, bytesPerSecond: 512 } })
  for (let i = 0; i < 10; i++) submitAll(queue, ...Array.from({ length: 10 }, () => FLUSH))
  const read = queue.run(readOf(0, 512))
  for (let i = 0; i < 7; i++) assert.equal(disk.poll(), { stalledNanos: SECOND / 100 })
  clock.now += SECOND / 100
  assert.is(disk.poll(), 'idle')
  assert.is(read.status(), OK)
})

each('device rule 20: both refuse -> the larger wait, once', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { iops: 4, bytesPerSecond: 1024 } })
  submitAll(queue, FLUSH, FLUSH, FLUSH, readOf(0, 1024))
  submitAll(queue, readOf(0, 512))
  assert.is(disk.counters.throttledCount, 1)
  // 250 ms for the operation, 500 ms for the bytes.
  assert.equal(disk.poll(), { stalledNanos: SECOND / 2 })
  const other = await ready(make, { throttle: { iops: 2, bytesPerSecond: 10_240 } })
  submitAll(other.queue, FLUSH, readOf(0, 10_240), readOf(0, 512))
  assert.equal(other.disk.poll(), { stalledNanos: SECOND / 2 })
})

each('device rule 20: a longer wait than 1 s -> 1 s at a time, and no sooner granted for it', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 512 } })
  const [, next] = submitAll(queue, readOf(0, 2048), readOf(0, 512)) as [RawRequest, RawRequest]
  // 1536 in debt, 512 needed: 4 s.
  for (let second = 0; second < 4; second++) {
    assert.equal(disk.poll(), { stalledNanos: SECOND })
    assert.ok(next.untouched())
    clock.now += SECOND
  }
  assert.is(disk.poll(), 'idle')
  assert.is(next.status(), OK)
  assert.is(disk.counters.throttledCount, 5)
})

each(
  'device rule 20: refusal -> cursor, status, used ring and interrupt are as if it had not been offered',
  async (make) => {
    const { queue, disk, raw, irqs, backend, clock } = await ready(make, { throttle: { iops: 1 } }, true)
    assert.is(queue.run(readOf(0)).status(), OK)
    raw.reg.interruptAck(1)
    const [before, raised] = [disk.counters, irqs()]
    queue.usedEvent = queue.usedIdx
    const request = queue.run(readOf(3, 1024))
    assert.ok(request.untouched())
    assert.ok(request.intact())
    assert.equal([queue.usedIdx, queue.usedElement(1)], [1, { id: 0, len: 0 }])
    assert.equal([raw.reg.interruptStatus, irqs()], [0, raised])
    // The cursor: kicks are asked for from the refused chain on.
    assert.is(queue.availEvent, 1)
    assert.is(backend.calls.length, 1)
    assert.equal(disk.counters, {
      ...before,
      throttledCount: 1,
      currentlyThrottled: 1,
      kicks: before.kicks + 1,
      drains: before.drains + 1,
    })
    clock.now += SECOND
    assert.is(disk.poll(), 'idle')
    assert.equal([request.status(), request.usedLen(), request.data()[0]], [OK, 1025, 4])
    assert.equal([queue.usedIdx, queue.availEvent], [2, 2])
    assert.equal([disk.counters.throttledCount, disk.counters.currentlyThrottled], [1, 0])
  },
)

each('device rule 20: refusal at the wrap of the ring index -> the same head is asked again', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 4096 } })
  const heads = Array.from({ length: 32 }, () => queue.request(FLUSH).head)
  for (let bucket = 0; bucket < 16; bucket++) {
    clock.now += SECOND
    for (let i = 0; i < 4096 / heads.length; i++) queue.submit(...heads)
  }
  assert.equal([queue.usedIdx, disk.counters.flushesCompleted, disk.counters.throttledCount], [0, 65_536, 0])
  queue.submit(heads[7] as number)
  disk.poll()
  assert.equal([queue.usedIdx, disk.counters.throttledCount], [0, 2])
  clock.now += SECOND
  disk.poll()
  assert.equal([queue.usedIdx, disk.counters.flushesCompleted, queue.usedElement(0).id], [1, 65_537, heads[7]])
})

each(
  'device rule 20: a stall in the middle of a batch -> what came before is published, with one interrupt',
  async (make) => {
    const { queue, disk, irqs, clock } = await ready(make, { throttle: { iops: 2 } })
    const requests = submitAll(queue, readOf(0), readOf(1), readOf(2), readOf(3))
    assert.equal(answers(requests), [OK, OK, undefined, undefined])
    assert.equal([queue.usedIdx, irqs(), disk.counters.currentlyThrottled], [2, 1, 1])
    clock.now += SECOND
    assert.is(disk.poll(), 'idle')
    assert.equal(answers(requests), [OK, OK, OK, OK])
    assert.equal([queue.usedIdx, irqs(), disk.counters.throttledCount], [4, 2, 1])
    assert.equal(
      queue.takeUsed().map(({ id }) => id),
      requests.map(({ head }) => head),
    )
    assert.equal(
      requests.map((request) => request.data()[0]),
      [1, 2, 3, 4],
    )
  },
)

each('device rule 20: behind a stalled head -> nothing overtakes, free, faulty or unknown', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { bytesPerSecond: 512 } })
  submitAll(queue, readOf(0, 512))
  const requests = submitAll(queue, readOf(1, 512), FLUSH, readOf(0, 513), { type: 77 }, idOf(20))
  assert.equal(answers(requests), [undefined, undefined, undefined, undefined, undefined])
  for (let i = 0; i < 3; i++) disk.poll()
  assert.equal(answers(requests), [undefined, undefined, undefined, undefined, undefined])
  assert.equal([disk.counters.ioErrors, disk.counters.unsupported], [0, 0])
  clock.now += SECOND
  disk.poll()
  assert.equal(answers(requests), [OK, OK, 1, 2, undefined])
})

each('device rule 20: the same head refused again -> counted each time, the gauge stays 1', async (make) => {
  const { queue, disk } = await ready(make, { throttle: { iops: 1 } })
  submitAll(queue, FLUSH, FLUSH)
  for (let i = 2; i <= 6; i++) {
    disk.poll()
    assert.equal([disk.counters.throttledCount, disk.counters.currentlyThrottled, queue.usedIdx], [i, 1, 1])
  }
})

each('device rule 20: kicks during a stall -> counted, and no drain before the wait is over', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 1 } })
  const [, second] = submitAll(queue, FLUSH, FLUSH) as [RawRequest, RawRequest]
  const { drains, kicks, throttledCount } = disk.counters
  clock.now += SECOND - 1
  for (let i = 0; i < 25; i++) queue.kick()
  assert.equal(
    [disk.counters.kicks, disk.counters.drains, disk.counters.throttledCount],
    [kicks + 25, drains, throttledCount],
  )
  assert.is(disk.counters.ignoredKicks, 0)
  assert.ok(second.untouched())
  // At the end of the wait a kick is as good as the timer.
  clock.now += 1
  queue.kick()
  assert.is(second.status(), OK)
  assert.equal([disk.counters.kicks, disk.counters.drains], [kicks + 26, drains + 1])
})

each('device rule 20: chains offered during a stall -> served in order after it', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 2 } })
  const first = submitAll(queue, FLUSH, FLUSH, FLUSH)
  const later = [...submitAll(queue, readOf(5)), ...submitAll(queue, readOf(6))]
  assert.equal(answers([...first, ...later]), [OK, OK, undefined, undefined, undefined])
  clock.now += SECOND
  disk.poll()
  assert.equal(answers([...first, ...later]), [OK, OK, OK, OK, undefined])
  clock.now += SECOND
  disk.poll()
  assert.is(later[1]?.data()[0], 7)
})

each('device rule 20: poll -> drains during a stall and says how long to wait', async (make) => {
  const { queue, disk, clock } = await ready(make, { throttle: { iops: 1 } })
  assert.is(disk.poll(), 'idle')
  submitAll(queue, FLUSH, FLUSH)
  const { drains } = disk.counters
  assert.equal(disk.poll(), { stalledNanos: SECOND })
  clock.now += 400_000_000
  assert.equal(disk.poll(), { stalledNanos: 600_000_000 })
  clock.now += 599_999_999
  assert.equal(disk.poll(), { stalledNanos: 1 })
  assert.is(disk.counters.drains, drains + 3)
  clock.now += 1
  assert.is(disk.poll(), 'idle')
  assert.is(disk.poll(), 'idle')
})

each('device rule 20: EVENT_IDX -> the retry after a stall goes through the interrupt decision', async (make) => {
  const { queue, disk, clock, raw, irqs } = await ready(make, { throttle: { iops: 1 } }, true)
  submitAll(queue, FLUSH, FLUSH)
  raw.reg.interruptAck(1)
  const raised = irqs()
  queue.usedEvent = 65_535
  clock.now += SECOND
  disk.poll()
  assert.equal([queue.usedIdx, raw.reg.interruptStatus, irqs()], [2, 1, raised])
  assert.is(disk.counters.suppressedInterrupts, 1)
})

each(
  'device rule 20: a stalled chain is taken back by the driver -> no stall, and its time is counted',
  async (make) => {
    const { queue, disk, clock } = await ready(make, { throttle: { iops: 1 } })
    submitAll(queue, FLUSH, FLUSH)
    assert.is(disk.counters.currentlyThrottled, 1)
    queue.setAvailIdx(1)
    clock.now += 1000
    assert.is(disk.poll(), 'idle')
    assert.equal([disk.counters.currentlyThrottled, disk.counters.throttledNanos, queue.usedIdx], [0, 1000, 1])
  },
)

each('device rule 20: a stalled chain is made a wrong one by the driver -> IOERR, no stall', async (make) => {
  const { queue, disk, clock, raw } = await ready(make, { throttle: { iops: 1 } })
  const [, second] = submitAll(queue, FLUSH, FLUSH) as [RawRequest, RawRequest]
  raw.mem.setU32(second.headerAddr ?? 0, 0)
  clock.now += 1000
  assert.is(disk.poll(), 'idle')
  assert.equal([second.status(), second.usedLen()], [1, 1])
  assert.equal([disk.counters.currentlyThrottled, disk.counters.throttledNanos, disk.counters.ioErrors], [0, 1000, 1])
})

each(
  'device rule 20: an asynchronous back end -> a stalled head is not overtaken and starts at its time',
  async (make) => {
    const rig = await make({ throttle: { iops: 1 }, script: {} })
    const { queue } = rig.raw.negotiate({ queues: [{ size: 64 }] })
    rig.backend.script.flush.push({ after: new Promise((resolve) => setTimeout(resolve, 5)) })
    const requests = submitAll(queue, FLUSH, FLUSH)
    assert.equal(answers(requests), [undefined, undefined])
    assert.is(rig.disk.counters.throttledCount, 1)
    assert.ok(await rig.raw.until(() => queue.usedIdx === 1))
    assert.equal(answers(requests), [OK, undefined])
    assert.is(rig.backend.calls.length, 1)
    rig.clock.now += SECOND
    rig.disk.poll()
    assert.ok(await rig.raw.until(() => queue.usedIdx === 2))
    assert.is(rig.disk.counters.throttledCount, 1)
  },
)

test.run()
