// What the owner and the guest can do to a disk whose worker is another thread: pause, kicks by eventfd as KVM writes
// them, batches and interrupts, back ends that fail. The back end's gate says when something is under way, so nothing
// depends on how fast anybody is.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import type { RawRequest, RawRequestOptions } from '../../host/driver/raw-request.ts'
import { signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { diskBytes, pattern } from '../support/device.ts'
import { sleep } from '../support/within.ts'
import { onWorker, servesOnWorker, soon, until, used } from '../support/worker.ts'

const test = suite('loop control plane')

const read = { type: 0, sector: 3, dataIn: 512 }
const flush = { type: 4 }
/** long enough for a worker that does what it must not to do it */
const A_WHILE_MS = 40

/** Offers several requests at once, and kicks unless told otherwise. */
function offer(queue: RawQueue, options: readonly RawRequestOptions[], kick = true): RawRequest[] {
  const requests = options.map((each) => queue.request(each))
  queue.publish(...requests.map(({ head }) => head))
  if (kick) queue.kick()
  return requests
}

// Pause --------------------------------------------------------------------------------------------------------------

onWorker(
  test,
  'device rule 25: worker: paused -> no guest byte changes, kicks are remembered until resume',
  {},
  async (f) => {
    const { disk, raw } = f
    const { queue } = raw.negotiate()
    await soon('pause', disk.pause())
    assert.is(disk.isPaused, true)
    const { drains } = disk.counters
    const [request] = offer(queue, [read])
    const before = f.ram()
    await sleep(A_WHILE_MS)
    assert.ok(before.equals(f.ram()))
    assert.equal([f.counter('kicks'), f.counter('drains'), f.script.calls], [1, drains, 0])
    disk.resume()
    assert.is(disk.isPaused, false)
    await used(queue, 1)
    assert.is(request?.status(), 0)
  },
)

onWorker(
  test,
  'device rule 25: worker: pause in the middle of a batch -> after the request under way, the rest later',
  {},
  async (f) => {
    const { disk, raw, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    const requests = offer(queue, [read, { ...read, sector: 4 }, { ...read, sector: 5 }])
    await until('the first read', () => script.inside === 1)
    let isPaused = false
    const paused = disk.pause().then(() => {
      isPaused = true
    })
    await sleep(A_WHILE_MS)
    assert.is(isPaused, false, 'the read under way is waited for')
    script.open()
    await soon('pause', paused)
    const before = f.ram()
    await sleep(A_WHILE_MS)
    assert.ok(before.equals(f.ram()))
    assert.equal([script.count('read'), queue.usedIdx], [1, 0], 'the others have not started, nothing is published')
    disk.resume()
    await used(queue, 3)
    requests.forEach((request, i) => {
      assert.equal([request.status(), request.usedLen(), request.data()], [0, 513, diskBytes((3 + i) * 512, 512)])
    })
  },
)

onWorker(
  test,
  'device rule 25: worker: paused with late answers due -> kept, delivered at resume',
  { late: true },
  async (f) => {
    const { disk, raw, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    const [request] = offer(queue, [read, flush])
    await until('both calls', () => script.inside === 2)
    await soon('pause', disk.pause())
    const before = f.ram()
    script.open()
    await until('the answers', () => script.inside === 0)
    await sleep(A_WHILE_MS)
    assert.ok(before.equals(f.ram()))
    disk.resume()
    await used(queue, 2)
    assert.equal([request?.status(), request?.data()], [0, diskBytes(1536, 512)])
  },
)

onWorker(
  test,
  'device rule 25: worker: pause, pause, resume -> goes on; resume without a pause -> nothing',
  {},
  async (f) => {
    const { disk, raw } = f
    disk.resume()
    const { queue } = raw.negotiate()
    await soon('pause', disk.pause())
    await soon('pause', Promise.all([disk.pause(), disk.pause()]))
    offer(queue, [read])
    await sleep(A_WHILE_MS)
    assert.is(queue.usedIdx, 0)
    disk.resume()
    await used(queue, 1)
    disk.resume()
    await soon('pause', disk.pause())
    offer(queue, [read])
    await sleep(A_WHILE_MS)
    assert.is(queue.usedIdx, 1, 'a resume too many does not make the next pause leak')
    disk.resume()
    await used(queue, 2)
  },
)

onWorker(test, 'device rule 25: worker: resumed before the pause was there -> everything is served', {}, async (f) => {
  const { disk, raw, script } = f
  const { queue } = raw.negotiate()
  script.shut()
  offer(queue, [read, read, read])
  await until('the first read', () => script.inside === 1)
  const paused = disk.pause()
  disk.resume()
  script.open()
  await used(queue, 3)
  await soon('pause', paused)
})

onWorker(
  test,
  'device rule 25: worker: paused before DRIVER_OK -> reset and set-up work, the drain comes at resume',
  {},
  async (f) => {
    const { disk, raw } = f
    raw.negotiate()
    await soon('pause', disk.pause())
    const { queue, status } = raw.negotiate({ upTo: 'queues' })
    assert.is(status, 0x0b)
    offer(queue, [read], false)
    raw.reg.status = 0x0f
    await sleep(A_WHILE_MS)
    assert.equal([raw.reg.status, queue.usedIdx], [0x0f, 0])
    disk.resume()
    await used(queue, 1)
  },
)

onWorker(
  test,
  'device rule 25: worker: paused, kicked and reset -> nothing of the old driver is served at resume',
  {},
  async (f) => {
    const { disk, raw } = f
    const { queue } = raw.negotiate()
    await soon('pause', disk.pause())
    const [request] = offer(queue, [read])
    raw.reg.status = 0
    assert.is(raw.reg.status, 0)
    const before = f.ram()
    disk.resume()
    await sleep(A_WHILE_MS)
    assert.ok(before.equals(f.ram()))
    assert.equal([request?.used(), f.script.calls], [undefined, 0])
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 6: worker: interrupts that nobody took, then a reset -> the eventfd is empty',
  {},
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate()
    for (let i = 1; i <= 3; i++) {
      offer(queue, [read])
      await used(queue, i)
      await until('the interrupt', () => f.counter('interrupts') === i)
    }
    raw.reg.status = 0
    assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus], [0, 0])
  },
)

// Kicks and batches --------------------------------------------------------------------------------------------------

onWorker(
  test,
  'device rule 5: worker: kicks by eventfd, as KVM counts them -> counted exactly, live or ignored',
  { disk: { queues: 2 } },
  async (f) => {
    const { raw, disk } = f
    const kick = (queue: number, times: number): void => {
      for (let i = 0; i < times; i++) assert.is(signalEventFd(disk.kickFds[queue] as number), 0)
    }
    kick(0, 3)
    kick(1, 2)
    await until('the early kicks', () => f.counter('ignoredKicks') === 5)
    // Only the second queue is set up.
    const { queue } = raw.negotiate({ queues: [{ queue: 1 }] })
    kick(0, 4)
    await until('kicks of a queue that is not ready', () => f.counter('ignoredKicks') === 9)
    offer(queue, [read], false)
    kick(1, 6)
    await used(queue, 1)
    await until('all kicks', () => f.counter('kicks') === 6)
    // By register, the same counters; a value that is no queue, untruncated.
    queue.kick()
    raw.reg.notify(0x1_0000)
    await until('both ways', () => f.counter('kicks') === 7)
    assert.is(f.counter('ignoredKicks'), 10)
    await soon('pause', disk.pause())
    kick(1, 5)
    raw.reg.status = 0
    disk.resume()
    await until('kicks that the reset overtook', () => f.counter('kicks') + f.counter('ignoredKicks') === 22)
  },
)

onWorker(
  test,
  'device rule 18: worker: a batch of 12 -> one drain, one interrupt, one used.idx store',
  {},
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    await until('the first drain', () => f.counter('drains') > 0)
    // Offered while nobody looks, so that the worker finds all of them at once. It has seen all wake-ups of the set-up
    // before, and that of the kick before it may go on: none is left for a second, empty drain.
    await soon('pause', disk.pause())
    await sleep(A_WHILE_MS)
    takeEventFd(disk.interruptFd)
    const before = disk.counters
    offer(queue, new Array(12).fill(read))
    await sleep(A_WHILE_MS)
    disk.resume()
    await until('some', () => queue.usedIdx !== 0)
    assert.is(queue.usedIdx, 12)
    await until('the interrupt', () => f.counter('interrupts') === before.interrupts + 1)
    await until('the counters', () => f.counter('readsCompleted') === 12)
    assert.is(f.counter('drains'), before.drains + 1)
    await until('the eventfd', () => takeEventFd(disk.interruptFd) === 1)
    assert.is(raw.reg.interruptStatus, 1)
  },
)

onWorker(
  test,
  'device rules 16 and 28: worker: a batch of a slow back end -> shown to the guest in parts, counted after each',
  {},
  async (f) => {
    const { raw, script } = f
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    script.shut()
    offer(queue, new Array(6).fill(read))
    for (let i = 0; i < 6; i++) {
      await until('the next call', () => script.count('read') === i + 1 && script.inside === 1)
      // Those before are used, but for what came in one slice with this one; none is counted that is not.
      assert.ok(f.counter('readsCompleted') <= queue.usedIdx && queue.usedIdx <= i)
      script.permit()
    }
    script.open()
    await used(queue, 6)
    await until('the counters', () => f.counter('readsCompleted') === 6)
  },
)

onWorker(test, 'device rule 18: worker: NO_INTERRUPT -> none, but the VRING bit and the count', {}, async (f) => {
  const { raw, disk } = f
  const { queue } = raw.negotiate()
  queue.availFlags = 1
  offer(queue, [read])
  await used(queue, 1)
  await until('the decision', () => f.counter('suppressedInterrupts') === 1)
  assert.equal([f.counter('interrupts'), takeEventFd(disk.interruptFd), raw.reg.interruptStatus], [0, 0, 1])
})

onWorker(
  test,
  'device rule 18: worker: EVENT_IDX -> interrupted when used.idx passes used_event, not before',
  {},
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate({ eventIdx: true })
    queue.usedEvent = 2
    for (let i = 1; i <= 4; i++) {
      offer(queue, [read])
      await used(queue, i)
      await until('the decision', () => f.counter('suppressedInterrupts') + f.counter('interrupts') === i)
      assert.is(f.counter('interrupts'), i >= 3 ? 1 : 0)
    }
    await until('the eventfd', () => takeEventFd(disk.interruptFd) === 1)
  },
)

onWorker(
  test,
  'device rule 17: worker: more chains than the queue is long -> batches of at most its size',
  {},
  async (f) => {
    const { script } = f
    const { queue } = f.raw.negotiate({ queues: [{ size: 4 }] })
    script.shut()
    // Of one descriptor pair each: the ring holds two at a time, and is kept full.
    let offered = 0
    const one = {
      type: 4,
      layout: [
        { writable: false, bytes: 16 },
        { writable: true, bytes: 1 },
      ],
    }
    const requests = [queue.request(one), queue.request(one)]
    for (; offered < 2; offered++) queue.publish((requests[offered] as RawRequest).head)
    queue.kick()
    script.open()
    while (offered < 200) {
      await until('room', () => ((offered - queue.usedIdx) & 0xffff) < 2)
      queue.publish((requests[offered % 2] as RawRequest).head)
      queue.kick()
      offered++
    }
    await used(queue, 200)
    assert.equal([f.counter('flushesCompleted'), f.raw.reg.status], [200, 0x0f])
  },
)

// Back ends -----------------------------------------------------------------------------------------------------------

for (const late of [false, true]) {
  const kind = late ? 'late' : 'in place'
  onWorker(
    test,
    `device rule 15: worker: back end ${kind} that throws or answers nonsense -> IOERR, goes on`,
    { late },
    async (f) => {
      const { queue } = f.raw.negotiate()
      let count = 0
      for (const mode of ['throw', 'nonsense', 'throw'] as const) {
        f.script.mode = mode
        const requests = offer(queue, [read, { type: 1, sector: 1, dataOut: pattern(512) }])
        count += 2
        await used(queue, count)
        assert.equal(
          requests.map((request) => request.status()),
          [1, 1],
        )
      }
      f.script.mode = 'work'
      const [good] = offer(queue, [read])
      await used(queue, count + 1)
      assert.equal([good?.status(), f.counter('ioErrors'), f.failures], [0, 6, []])
    },
  )
}

onWorker(
  test,
  'device rule 12: worker: no FLUSH accepted, late back end -> each write is flushed before it ends',
  { late: true },
  async (f) => {
    const { queue } = f.raw.negotiate({ flush: false })
    const [write] = offer(queue, [{ type: 1, sector: 0, dataOut: pattern(512) }])
    await used(queue, 1)
    assert.equal([write?.status(), f.script.count('write'), f.script.count('flush')], [0, 1, 1])
  },
)

test.run()
