// Disks that share a worker, and disks that do not: how many batches of one disk come before another one's turn, and
// that a slow disk holds up nobody on another worker (device rules 17 and 28). Counted in calls of back ends, in the
// order of a log that they share; never in time.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawRequest } from '../../host/driver/raw-request.ts'
import { Script } from '../support/script.ts'
import { onWorker, type ScriptedDisk, servesOnWorker, setUpWorker, until, used } from '../support/worker.ts'

const test = suite('loop fairness')

const read = { type: 0, sector: 3, dataIn: 512 }
const FLOOD = 1
const OTHER = 2
const SIZE = 16
const BATCH = 5

/** A queue that always holds reads, beyond those of the batch under way: offered again as soon as they are answered. */
function flood({ raw }: ScriptedDisk): { refill(most?: number): void; offered(): number } {
  const { queue } = raw.negotiate({ queues: [{ size: 32 }] })
  const requests = Array.from({ length: 2 * BATCH }, () => queue.request(read))
  let offered = 0
  return {
    offered: () => offered,
    refill: (most = 2 * BATCH) => {
      while (((offered - queue.usedIdx) & 0xffff) < most) {
        queue.publish((requests[offered % requests.length] as RawRequest).head)
        offered++
      }
      queue.kick()
    },
  }
}

const log = Script.log()

onWorker(
  test,
  'device rule 28: worker: a batch of slow requests -> another disk waits for one or two of them, not for all',
  { script: { id: FLOOD, log } },
  async (f) => {
    const other = await f.attach({ script: { id: OTHER, log } })
    const { queue } = other.raw.negotiate()
    const slow = f.raw.negotiate({ queues: [{ size: 64 }] }).queue
    // Each takes longer than a disk may go on.
    f.script.slowMs = 40
    const requests = Array.from({ length: 12 }, () => slow.request(read))
    slow.submit(...requests.map(({ head }) => head))
    await until('the first', () => f.script.calls > 0)
    const before = f.script.order.length
    queue.run(read)
    await used(queue, 1)
    const calls = f.script.order.slice(before).indexOf(OTHER)
    assert.ok(calls >= 0 && calls <= 3, `${calls} of 12 came first`)
    await used(slow, 12)
    assert.equal(
      requests.map((request) => request.status()),
      requests.map(() => 0),
    )
    assert.is(f.counter('readsCompleted'), 12)
  },
)

onWorker(
  test,
  'device rule 28: worker: a guest that floods -> another disk waits for one batch at most',
  { script: { id: FLOOD, log } },
  async (f) => {
    const other = await f.attach({ script: { id: OTHER, log } })
    const { queue } = other.raw.negotiate()
    const flooding = flood(f)
    f.script.shut()
    flooding.refill(BATCH)
    await until('the flood', () => f.script.inside === 1)
    flooding.refill()
    const waits: number[] = []
    for (let round = 1; round <= 40; round++) {
      // The flood is in the middle of a batch and its ring holds more; now the other disk is kicked.
      const before = f.script.order.length
      queue.run(read)
      while (queue.usedIdx !== round) {
        const { calls } = f.script
        f.script.permit()
        await until('a call', () => f.script.calls > calls)
        flooding.refill()
      }
      waits.push(f.script.order.slice(before).indexOf(OTHER))
    }
    // What is left of the batch under way, and at most one whole batch more.
    assert.ok(
      waits.every((calls) => calls >= 0 && calls <= 3 * BATCH),
      waits.join(),
    )
    assert.ok(flooding.offered() > 40)
    f.script.open()
  },
)

onWorker(
  test,
  'device rule 28: worker: 8 disks, all with work -> each gets its turn before any gets its third',
  {},
  async (f) => {
    const shared = Script.log()
    const gate = await f.attach()
    const disks = await Promise.all(Array.from({ length: 8 }, (_, id) => f.attach({ script: { id, log: shared } })))
    gate.script.shut()
    gate.raw.negotiate().queue.run(read)
    await until('the worker to be busy', () => gate.script.inside === 1)
    const queues = disks.map(({ raw }) => {
      const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
      queue.submit(...Array.from({ length: 5 }, () => queue.request(read).head))
      return queue
    })
    gate.script.open()
    for (const queue of queues) await used(queue, 5)
    const order = disks[0]?.script.order ?? []
    assert.is(order.length, 40)
    // A batch each, none torn apart.
    const batches = order.filter((id, i) => i === 0 || id !== order[i - 1])
    assert.is(new Set(batches).size, 8)
    assert.is(batches.length, 8)
  },
)

test('device rule 28: worker: a slow disk -> one on another worker serves as if it were not there', async () => {
  const slow = await setUpWorker()
  const quick = await setUpWorker()
  try {
    const { queue } = slow.raw.negotiate()
    slow.script.shut()
    queue.run(read)
    await until('the slow read', () => slow.script.inside === 1)
    for (let i = 0; i < 50; i++) await servesOnWorker(quick)
    assert.equal([slow.script.inside, queue.usedIdx], [1, 0])
    slow.script.open()
    await used(queue, 1)
  } finally {
    await slow.close()
    await quick.close()
  }
})

onWorker(
  test,
  'device rule 28: worker: a late disk that does not answer -> others on its worker are served',
  { late: true },
  async (f) => {
    const other = await f.attach()
    f.script.shut()
    const { queue } = f.raw.negotiate()
    queue.run(read)
    await until('the late read', () => f.script.inside === 1)
    for (let i = 0; i < 20; i++) await servesOnWorker(other)
    assert.is(queue.usedIdx, 0)
    f.script.open()
    await used(queue, 1)
  },
)

onWorker(
  test,
  'device rule 28: worker: a stalled disk -> others on its worker are served',
  { disk: { throttle: { iops: 1 } } },
  async (f) => {
    const other = await f.attach()
    const { queue } = f.raw.negotiate()
    queue.run({ type: 4 })
    queue.run({ type: 4 })
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    const { drains } = f.disk.counters
    for (let i = 0; i < 20; i++) await servesOnWorker(other)
    assert.ok(f.counter('drains') <= drains + 2, 'past bug 37: no spinning meanwhile')
  },
)

onWorker(test, 'device rule 28: worker: a poisoned disk -> others on its worker are served', {}, async (f) => {
  const other = await f.attach()
  const { queue } = f.raw.negotiate()
  queue.setAvailIdx(1000)
  queue.kick()
  await until('the poison', () => (f.raw.reg.status & 0x40) !== 0)
  for (let i = 0; i < 5; i++) queue.kick()
  for (let i = 0; i < 5; i++) await servesOnWorker(other)
  assert.equal([f.counter('invalidAvailIdx'), f.counter('ignoredKicks')], [1, 5])
  await servesOnWorker(f)
})

onWorker(
  test,
  'device rule 28: worker: two queues of one disk, one flooded -> the other waits for one batch',
  { disk: { queues: 2 } },
  async (f) => {
    const { queues } = f.raw.negotiate({ queues: [{ queue: 0 }, { queue: 1 }] })
    const [flooded, other] = queues as [(typeof queues)[0], (typeof queues)[0]]
    const requests = Array.from({ length: 5 }, () => flooded.request(read))
    let offered = 0
    f.script.shut()
    for (; offered < 5; offered++) flooded.publish((requests[offered] as RawRequest).head)
    flooded.kick()
    await until('the flood', () => f.script.inside === 1)
    other.run({ ...read, sector: 9 })
    let calls = 0
    while (other.usedIdx === 0) {
      assert.ok(calls++ <= 12, 'the other queue is never served')
      const { calls: before } = f.script
      f.script.permit()
      await until('a call', () => f.script.calls > before || other.usedIdx === 1)
      while (((offered - flooded.usedIdx) & 0xffff) < 5) flooded.publish((requests[offered++ % 5] as RawRequest).head)
      flooded.kick()
    }
    f.script.open()
  },
)

test.run()
