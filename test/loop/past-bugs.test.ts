// Bugs that other devices with threads, eventfds and event loops have had, each against a disk on a worker's real
// thread. The numbers continue those of test/device/past-bugs*.test.ts: the same list, seen from another thread.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { sleep } from '../support/within.ts'
import { onWorker, servesOnWorker, setUpWorker, until, used } from '../support/worker.ts'

const test = suite('loop past bugs')

const read = { type: 0, sector: 3, dataIn: 512 }
const NEEDS_RESET = 0x40

onWorker(
  test,
  'past bug 2: one head offered twice while its IO runs -> done once, the second is a ring fault',
  { late: true },
  async (f) => {
    const { raw, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    const request = queue.request(read)
    queue.submit(request.head)
    await until('the read', () => script.inside === 1)
    queue.submit(request.head)
    await until('the fault', () => (raw.reg.status & NEEDS_RESET) !== 0)
    script.open()
    await until('the answer', () => script.inside === 0)
    await sleep(20)
    assert.equal([script.count('read'), f.counter('ringFaults'), queue.usedIdx <= 1], [1, 1, true])
    await servesOnWorker(f)
  },
)

for (const late of [false, true]) {
  const kind = late ? 'late' : 'in place'
  onWorker(
    test,
    `past bug 20: the guest changes descriptors under the worker's eyes, ${kind} -> an answer or a fault`,
    { late },
    async (f) => {
      const { raw, memory } = f
      let seed = 12345
      const below = (limit: number): number => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
        return (seed >>> 8) % limit
      }
      const lens = [512, 0, 1, 511, 0xffffffff, 1 << 20]
      const gpas = [0x10_0000 - 256, 0, 0xffff_f000, 2 ** 40]
      let faults = 0
      for (let round = 0; round < 150; round++) {
        const { queue } = raw.negotiate()
        const requests = Array.from({ length: 5 }, () => queue.request(read))
        const before = requests.flatMap(({ head }) => [0, 1, 2].map((i) => queue.descriptor(head + i)))
        queue.submit(...requests.map(({ head }) => head))
        for (let flip = 0; flip < 60; flip++) {
          const index = below(15)
          const old = before[index] as (typeof before)[0]
          const change = below(4)
          queue.setDescriptor(index, {
            addr: change === 0 ? (gpas[below(gpas.length)] as number) : old.addr,
            len: change === 1 ? (lens[below(lens.length)] as number) : old.len,
            flags: change === 2 ? below(8) : old.flags,
            next: change === 3 ? below(20) : old.next,
          })
        }
        await until('answers or a fault', () => queue.usedIdx === 5 || (raw.reg.status & NEEDS_RESET) !== 0)
        if (queue.usedIdx !== 5) faults++
      }
      assert.equal([f.counter('engineTraps'), f.disk.failures.workerDeaths], [0, 0])
      assert.ok(faults <= 150 && memory.regions.length === 1)
      await servesOnWorker(f)
    },
  )
}

onWorker(test, 'past bug 33: rings written and kicked in every way after a reset -> nothing happens', {}, async (f) => {
  const { raw, disk } = f
  const { queue } = raw.negotiate()
  await used(queue, 0)
  const requests = Array.from({ length: 5 }, () => queue.request(read))
  raw.reg.status = 0
  queue.publish(...requests.map(({ head }) => head))
  const before = f.ram()
  const { drains } = disk.counters
  for (let i = 0; i < 10; i++) {
    queue.kick()
    signalEventFd(disk.kickFds[0] as number)
    signalEventFd(disk.handle.wakeFd)
  }
  await until('the kicks', () => f.counter('ignoredKicks') === 20)
  await sleep(20)
  assert.ok(before.equals(f.ram()))
  assert.equal([f.script.calls, disk.counters.drains, takeEventFd(disk.interruptFd)], [0, drains, 0])
})

test('past bug 36: one disk that does not answer for long -> the others keep being served, their resets too', async () => {
  const slow = await setUpWorker()
  const quick = await setUpWorker()
  try {
    slow.script.shut()
    slow.raw.negotiate().queue.run(read)
    await until('the slow read', () => slow.script.inside === 1)
    for (let i = 0; i < 20; i++) await servesOnWorker(quick)
    quick.disk.setCapacity(512)
    assert.is(quick.raw.reg.read(0x100), 1)
    assert.is(slow.script.inside, 1)
  } finally {
    await slow.close()
    await quick.close()
  }
})

onWorker(
  test,
  'past bug 37: a head that waits for tokens -> the thread sleeps, kicked or not',
  { disk: { throttle: { iops: 2 } } },
  async (f) => {
    const { queue } = f.raw.negotiate()
    for (let i = 0; i < 3; i++) queue.run({ type: 4 })
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    const before = f.disk.counters
    for (let i = 0; i < 20; i++) {
      queue.kick()
      await sleep(5)
    }
    const { drains, throttledCount } = f.disk.counters
    assert.ok(drains - before.drains <= 3, `${drains - before.drains} drains`)
    assert.ok(throttledCount - before.throttledCount <= 2)
    await used(queue, 3)
  },
)

onWorker(test, 'past bug 41: chains pending, nobody kicks, and the thread is a new one -> served', {}, async (f) => {
  const { raw, script } = f
  script.mode = 'exit'
  raw.negotiate().queue.run(read)
  await until('the death', () => (raw.reg.status & NEEDS_RESET) !== 0)
  script.mode = 'work'
  const { queue } = raw.negotiate({ upTo: 'queues' })
  queue.publish(queue.request(read).head, queue.request({ type: 4 }).head)
  raw.reg.status = 0x0f
  await used(queue, 2)
  assert.is(raw.reg.status, 0x0f)
})

onWorker(
  test,
  'past bug 44: a new capacity while the disk is idle, stalled, paused or busy -> the interrupt comes each time',
  { disk: { throttle: { iops: 1 } } },
  async (f) => {
    const { raw, disk, script } = f
    const { queue } = raw.negotiate()
    queue.availFlags = 1
    const told = (capacity: number): void => {
      const generation = raw.reg.read(0xfc)
      raw.reg.interruptAck(3)
      takeEventFd(disk.interruptFd)
      disk.setCapacity(capacity * 512)
      assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus & 2], [1, 2])
      assert.equal([raw.reg.read(0xfc), raw.reg.read(0x100)], [generation + 1, capacity])
    }
    told(10)
    script.shut()
    queue.run(read)
    await until('the read', () => script.inside === 1)
    told(11)
    script.open()
    await used(queue, 1)
    queue.run(read)
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    told(12)
    await disk.pause()
    told(13)
    disk.resume()
  },
)

test.run()
