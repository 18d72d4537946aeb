// Resets of a disk whose worker is another thread: while a read is slow or away for longer than a second, with late
// answers due, a thousand in a row with IO going on, from one vCPU thread and from several (device rule 6).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { takeEventFd } from '../../host/sys/eventfd.ts'
import { pattern } from '../support/device.ts'
import { type Driven, STOP } from '../support/threads.module.ts'
import { startVcpu } from '../support/threads.ts'
import { sleep, within } from '../support/within.ts'
import { onWorker, servesOnWorker, soon, until, used } from '../support/worker.ts'

const read = { type: 0, sector: 3, dataIn: 512 }
const NEEDS_RESET = 0x40

const test = suite('loop reset')

onWorker(
  test,
  'device rule 6: worker: reset while a read is slow -> waits for it, then no byte and no interrupt',
  {},
  async (f) => {
    const { raw, disk, script } = f
    const { queue } = raw.negotiate()
    script.slowMs = 200
    const requests = [1, 2, 3].map((sector) => queue.request({ ...read, sector }))
    queue.submit(...requests.map(({ head }) => head))
    await until('the read', () => script.calls === 1)
    raw.reg.status = 0
    const after = f.ram()
    assert.equal([raw.reg.status, takeEventFd(disk.interruptFd), raw.reg.interruptStatus], [0, 0, 0])
    script.slowMs = 0
    await sleep(50)
    assert.ok(after.equals(f.ram()))
    assert.equal([script.calls, takeEventFd(disk.interruptFd), queue.usedIdx], [1, 0, 0], 'between two requests')
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 6: worker: a read that is away for more than 1 s -> NEEDS_RESET until it is back',
  {},
  async (f) => {
    const { raw, disk, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    queue.submit(queue.request(read).head, queue.request({ ...read, sector: 9 }).head)
    await until('the read', () => script.inside === 1)
    takeEventFd(disk.interruptFd)
    raw.reg.status = 0
    assert.is(raw.reg.status & NEEDS_RESET, NEEDS_RESET)
    assert.equal([f.failures.length, takeEventFd(disk.interruptFd), f.counter('resets')], [1, 0, 1])
    assert.match(f.failures[0] ?? '', /1 s after a reset the back end still/)
    // Nothing but waiting helps, and nothing blocks again.
    for (const status of [0, 1, 3, 0x0f, 0]) raw.reg.status = status
    raw.reg.queueReady = 1
    queue.kick()
    raw.reg.interruptAck(3)
    assert.is(raw.reg.status & NEEDS_RESET, NEEDS_RESET)
    script.open()
    await until('Status to read 0', () => raw.reg.status === 0)
    const after = f.ram()
    assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus, f.counter('resets')], [0, 0, 2])
    await sleep(50)
    assert.ok(after.equals(f.ram()))
    assert.equal([raw.reg.status, queue.usedIdx, script.calls, f.failures.length], [0, 0, 1, 1])
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 6: worker: closed while a reset waits for the back end -> the close waits too',
  {},
  async (f) => {
    const { raw, disk, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    queue.run(read)
    await until('the read', () => script.inside === 1)
    raw.reg.status = 0
    assert.is(raw.reg.status & NEEDS_RESET, NEEDS_RESET)
    const closed = disk.close()
    script.open()
    await soon('close', closed)
    assert.is(script.count('close'), 1)
  },
)

for (const operation of ['read', 'write'] as const) {
  onWorker(
    test,
    `device rule 6: worker: reset with a late ${operation} -> 0 at once, a new request after it`,
    { late: true },
    async (f) => {
      const { raw, disk, script } = f
      const { queue: old } = raw.negotiate()
      script.shut()
      const request = operation === 'read' ? read : { type: 1, sector: 3, dataOut: pattern(512, 1) }
      old.run(request)
      await until('the call', () => script.inside === 1)
      raw.reg.status = 0
      assert.is(raw.reg.status, 0)
      const { queue } = raw.negotiate({ keepArena: true })
      const data = pattern(512, 2)
      const write = queue.run({ type: 1, sector: 3, dataOut: data })
      const before = f.ram()
      if (operation === 'read') {
        await until('the new write', () => script.count('write') === 1)
      } else {
        // A write of the old driver could land on top of a newer one.
        await sleep(30)
        assert.is(script.count('write'), 1)
        assert.ok(before.equals(f.ram()))
      }
      script.open()
      await used(queue, 1)
      assert.equal([write.status(), old.usedIdx, f.counter('writesCompleted')], [0, 0, 1])
      assert.equal(Uint8Array.from(script.data.disk.subarray(1536, 2048)), data)
      assert.is(raw.reg.status, 0x0f)
      assert.equal(disk.failures, { workerDeaths: 0, fullEventfds: 0, eventfdErrors: 0, timerErrors: 0 })
    },
  )
}

onWorker(
  test,
  'device rule 6: worker: a late answer that is away for more than 1 s -> told, then reset by itself',
  { late: true },
  async (f) => {
    const { raw, disk, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    queue.run({ type: 1, sector: 3, dataOut: pattern(512) })
    await until('the call', () => script.inside === 1)
    raw.negotiate({ keepArena: true })
    assert.is(raw.reg.status, 0x0f)
    takeEventFd(disk.interruptFd)
    await until('NEEDS_RESET', () => raw.reg.status === (0x0f | NEEDS_RESET))
    await until('the interrupt', () => takeEventFd(disk.interruptFd) === 1)
    assert.is(raw.reg.interruptStatus, 2)
    await sleep(50)
    assert.equal([takeEventFd(disk.interruptFd), f.failures.length], [0, 1], 'once')
    script.open()
    await until('Status to read 0', () => raw.reg.status === 0)
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 6: worker: QueueReady := 0 while a read is slow -> out of the queue when it returns',
  {},
  async (f) => {
    const { raw, script } = f
    const { queue } = raw.negotiate()
    script.slowMs = 100
    queue.submit(queue.request(read).head, queue.request(read).head)
    await until('the read', () => script.calls === 1)
    raw.reg.selectQueue(0)
    raw.reg.queueReady = 0
    assert.is(raw.reg.queueReady, 0)
    const after = f.ram()
    await sleep(50)
    assert.ok(after.equals(f.ram()))
    assert.is(script.calls, 1)
    script.slowMs = 0
    await servesOnWorker(f)
  },
)

for (const late of [false, true]) {
  onWorker(
    test,
    `device rule 6: worker: 1000 resets with IO going on, ${late ? 'late' : 'in place'} -> each complete at once`,
    { late },
    async (f) => {
      const { raw, disk } = f
      let bad = 0
      for (let i = 0; i < 1000; i++) {
        const { queue } = raw.negotiate()
        queue.submit(...[0, 1, 2].map(() => queue.request(read).head))
        if (i % 4 === 1) disk.mmioRead(0x60, 4)
        if (i % 16 === 2) await sleep(0)
        raw.reg.status = 0
        const indices = [queue.usedIdx, queue.availEvent, queue.usedFlags].join()
        if (raw.reg.status !== 0 || takeEventFd(disk.interruptFd) !== 0) bad++
        if (i % 32 === 3) await sleep(0)
        if ([queue.usedIdx, queue.availEvent, queue.usedFlags].join() !== indices) bad++
      }
      assert.equal([bad, f.counter('resets'), f.failures], [0, 2000, []])
      await servesOnWorker(f)
    },
  )
}

onWorker(
  test,
  'device rule 6: worker: 1000 resets on a vCPU thread, the others at the registers -> each complete',
  {},
  async (f) => {
    const storm = await startVcpu<Driven>(f, 'storm', { rounds: 1000 })
    const pester = await startVcpu<number>(f, 'pester', { arenaBase: 1 << 18 })
    const driven = await within(20_000, storm.result, 'the storm')
    Atomics.store(pester.shared, STOP, 1)
    const accesses = await soon('the other vCPU', pester.result)
    assert.equal([driven.rounds, driven.bad], [1000, 0])
    assert.ok(accesses > 0)
    assert.equal([f.counter('resets'), f.failures], [2000, []])
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 6: worker: two vCPU threads reset at once, a read under way -> both return, reset once each',
  {},
  async (f) => {
    const { raw, script } = f
    const { queue } = raw.negotiate()
    script.slowMs = 100
    queue.run(read)
    await until('the read', () => script.calls === 1)
    const { resets } = f.disk.counters
    const first = await startVcpu<number>(f, 'reset', {})
    const second = await startVcpu<number>(f, 'reset', {})
    assert.equal(await soon('the resets', Promise.all([first.result, second.result])), [0, 0])
    assert.is(f.counter('resets'), resets + 2)
    script.slowMs = 0
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 25: worker: a reset on a vCPU thread during a pause -> both hold, IO after the resume',
  {},
  async (f) => {
    await soon('pause', f.disk.pause())
    const { result } = await startVcpu<Driven>(f, 'storm', { rounds: 50 })
    assert.is((await soon('the storm', result)).bad, 0)
    assert.is(f.script.calls, 0)
    f.disk.resume()
    await servesOnWorker(f)
  },
)

test.run()
