// What happens at the same time, against the real thread: kicks at the end of a drain, several events in one wait,
// full eventfds. Many rounds where only luck brings the two together; a gate in the back end where they can be brought
// together. A hang is a failure.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { QUEUE_AVAIL_PTR, STATE_QUEUE_TABLE as QUEUE_TABLE } from '../../assembly/abi.ts'
import { DiskTransport } from '../../host/loop/transport.ts'
import { bind } from '../../host/sys/bind.ts'
import { signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { addressOf } from '../../host/sys/libc.ts'
import { type Driven, STOP } from '../support/threads.module.ts'
import { startVcpu } from '../support/threads.ts'
import { sleep, within } from '../support/within.ts'
import { onWorker, servesOnWorker, soon, until, used } from '../support/worker.ts'

const test = suite('loop races')

const read = { type: 0, sector: 3, dataIn: 512 }
const flush = { type: 4 }
const NEEDS_RESET = 0x40

// Kicks ---------------------------------------------------------------------------------------------------------------

for (const eventIdx of [false, true]) {
  for (const doorbell of [false, true]) {
    const how = `${eventIdx ? 'EVENT_IDX' : 'flags'}, kicks by ${doorbell ? 'eventfd' : 'register'}`
    onWorker(
      test,
      `device rule 29: worker: depth 1, next offer right at the answer, ${how} -> none is lost`,
      {},
      async (f) => {
        const rounds = 4000
        const { result } = await startVcpu<Driven>(f, 'drive', { rounds, eventIdx, doorbell })
        const driven = await within(20_000, result, 'the driver')
        assert.equal([driven.rounds, driven.hungAt, driven.bad], [rounds, -1, 0])
        await until('the count', () => f.counter('readsCompleted') === rounds)
        await until('the kicks', () => f.counter('kicks') === driven.kicks)
        assert.equal(f.failures, [])
      },
    )
  }
}

onWorker(
  test,
  'device rule 28: worker: late back end, next offer right at the answer -> none is lost',
  { late: true },
  async (f) => {
    const { result } = await startVcpu<Driven>(f, 'drive', { rounds: 300, eventIdx: true })
    const driven = await within(20_000, result, 'the driver')
    assert.equal([driven.rounds, driven.hungAt, driven.bad], [300, -1, 0])
  },
)

onWorker(
  test,
  'device rule 4: worker: DRIVER_OK with buffers waiting and no kick -> served, each of 200 times',
  {},
  async (f) => {
    const { raw } = f
    for (let round = 0; round < 200; round++) {
      const { queue } = raw.negotiate({ upTo: 'queues', eventIdx: round % 2 === 1 })
      const requests = [queue.request(read), queue.request(flush)]
      queue.publish(...requests.map(({ head }) => head))
      if (round % 3 === 0) await sleep(0)
      raw.reg.status = 0x0f
      await used(queue, 2)
      assert.equal(
        requests.map((request) => request.status()),
        [0, 0],
      )
    }
    assert.is(f.counter('kicks'), 0)
  },
)

onWorker(
  test,
  'device rule 29: worker: paused and resumed all the time in a stream of 4000 reads -> none is lost',
  {},
  async (f) => {
    const { result, shared } = await startVcpu<Driven>(f, 'drive', { rounds: 4000, eventIdx: true })
    let over = false
    result.then(() => {
      over = true
    })
    let pauses = 0
    while (!over) {
      await soon('pause', f.disk.pause())
      const before = f.counter('readsCompleted')
      if (pauses % 50 === 0) await sleep(2)
      assert.is(f.counter('readsCompleted'), before)
      f.disk.resume()
      pauses++
      if (pauses % 7 === 0) await soon('setThrottle', f.disk.setThrottle())
    }
    const driven = await result
    assert.equal([driven.rounds, driven.hungAt, driven.bad, shared[STOP]], [4000, -1, 0, 0])
    assert.ok(pauses > 20, `${pauses} pauses`)
  },
)

// Several things at once ----------------------------------------------------------------------------------------------

const MiB = 1 << 20
const slow = { disk: { throttle: { bytesPerSecond: 4 * MiB } }, diskBytes: 8 * MiB, ramBytes: 32 * MiB }
const large = { type: 0, sector: 0, dataIn: 4 * MiB + 64 * 1024, segments: MiB }

onWorker(
  test,
  'device rule 29: worker: kick, timer and the end in one wait -> it ends, and no counter is left full',
  slow,
  async (f) => {
    const { raw, disk, script, worker } = f
    const busy = await f.attach()
    const { queue } = raw.negotiate()
    for (const options of [large, read]) queue.submit(queue.request(options).head)
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    // The worker is kept busy with another disk while everything becomes ready.
    busy.script.shut()
    busy.raw.negotiate().queue.run(read)
    await until('the other read', () => busy.script.inside === 1)
    queue.submit(queue.request(flush).head)
    signalEventFd(disk.kickFds[0] as number)
    await sleep(60)
    const closed = worker.close()
    await sleep(20)
    busy.script.open()
    await soon('close', closed)
    const after = f.ram()
    await sleep(20)
    assert.ok(after.equals(f.ram()))
    assert.is(script.count('close'), 1)
  },
)

onWorker(test, 'device rule 20: worker: kick and timer in one wait -> one drain serves both', slow, async (f) => {
  const busy = await f.attach()
  const { queue } = f.raw.negotiate()
  for (const options of [large, read]) queue.submit(queue.request(options).head)
  await until('the stall', () => f.counter('currentlyThrottled') === 1)
  busy.script.shut()
  busy.raw.negotiate().queue.run(read)
  await until('the other read', () => busy.script.inside === 1)
  queue.submit(queue.request(flush).head)
  signalEventFd(f.disk.kickFds[0] as number)
  await sleep(60)
  const { drains } = f.disk.counters
  busy.script.open()
  await used(queue, 3)
  await until('the count', () => f.counter('flushesCompleted') === 1)
  assert.is(f.counter('drains'), drains + 1)
})

onWorker(
  test,
  'device rule 6: worker: kicks, a reset and a kick of the next driver in one wait -> it is served',
  {},
  async (f) => {
    const busy = await f.attach()
    busy.script.shut()
    busy.raw.negotiate().queue.run(read)
    await until('the other read', () => busy.script.inside === 1)
    const { queue: old } = f.raw.negotiate()
    const ignored = old.run(read)
    const { queue } = f.raw.negotiate({ keepArena: true })
    const request = queue.run(flush)
    busy.script.open()
    await used(queue, 1)
    assert.equal([request.status(), ignored.used(), f.script.count('read')], [0, undefined, 0])
  },
)

// Full eventfds -------------------------------------------------------------------------------------------------------

const write = bind<(fd: number, address: number, bytes: number) => number>(
  'write',
  'int64_t write(int fd, int64_t buffer, int64_t bytes)',
)

/** The most an eventfd holds: 2^64 - 2. */
function fill(fd: number): void {
  const most = new Uint32Array(new SharedArrayBuffer(8))
  most.set([0xffff_fffe, 0xffff_ffff])
  takeEventFd(fd)
  assert.is(write(fd, addressOf(most.buffer), 8), 8)
}

onWorker(test, 'device rule 29: worker: interrupt eventfd full -> counted, logged once, IO goes on', {}, async (f) => {
  const { queue } = f.raw.negotiate()
  for (let i = 1; i <= 3; i++) {
    fill(f.disk.interruptFd)
    queue.run(read)
    await used(queue, i)
    await until('the count', () => f.disk.failures.fullEventfds === i)
  }
  await until('the line', () => f.failures.length > 0)
  assert.is(f.failures.length, 1)
  assert.match(f.failures[0] ?? '', /interrupt eventfd is full/)
  assert.ok(takeEventFd(f.disk.interruptFd) > 2 ** 63, 'who waits for it has been woken')
})

onWorker(test, 'device rule 29: worker: kick and wake eventfds full -> counted, no wake-up is lost', {}, async (f) => {
  const { queue } = f.raw.negotiate()
  await soon('pause', f.disk.pause())
  // While it is busy elsewhere nobody empties them.
  const busy = await f.attach()
  busy.script.shut()
  busy.raw.negotiate().queue.run(read)
  await until('the other read', () => busy.script.inside === 1)
  fill(f.disk.handle.wakeFd)
  fill(f.disk.kickFds[0] as number)
  queue.run(read)
  assert.is(f.disk.failures.fullEventfds, 1)
  assert.match(f.failures[0] ?? '', /wake eventfd was full/)
  f.disk.resume()
  busy.script.open()
  await used(queue, 1)
  await until('what KVM counted', () => f.counter('kicks') > 0xffff_0000)
})

onWorker(
  test,
  'device rule 29: worker: an engine trap on its thread -> NEEDS_RESET, told once, reset heals',
  {},
  async (f) => {
    const { raw, disk } = f
    const { queue } = raw.negotiate()
    await used(queue, 0)
    // The engine's own note of where the available ring is: beyond the memory.
    const words = new Uint32Array(disk.handle.memory.buffer)
    await soon('pause', disk.pause())
    takeEventFd(disk.interruptFd)
    words[(disk.handle.statePtr + QUEUE_TABLE + QUEUE_AVAIL_PTR) >>> 2] = 0xffff_fff0
    disk.resume()
    queue.run(read)
    await until('NEEDS_RESET', () => raw.reg.status === (0x0f | NEEDS_RESET))
    await until('the interrupt', () => takeEventFd(disk.interruptFd) === 1)
    await until('the line', () => f.failures.length === 1)
    assert.equal([f.counter('engineTraps'), raw.reg.interruptStatus], [1, 2])
    assert.match(f.failures[0] ?? '', /trapped/)
    await servesOnWorker(f)
    assert.is(f.failures.length, 1)
  },
)

onWorker(
  test,
  'device rule 6: worker: a transport on the same thread as the disk -> the same registers',
  {},
  async (f) => {
    const transport = DiskTransport.open(f.disk.handle, () => {})
    transport.mmioWrite(0x70, 4, 0)
    transport.mmioWrite(0x70, 4, 1)
    assert.equal([f.raw.reg.status, transport.mmioRead(0x70, 4), transport.mmioRead(0x70, 2)], [1, 1, 0xffff])
  },
)

test.run()
