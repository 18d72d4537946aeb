// What a hostile guest found at the worker's door: resets that cross each other, resets that nobody tells the worker
// of, a lock that one vCPU keeps from all others, and a listener that throws in the middle of a reset (device rules 6,
// 7, 25, 29).

import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { setUp as setUpDevice } from '../../host/device/set-up.ts'
import { Raw } from '../../host/driver/raw.ts'
import { CONTROL_BYTES } from '../../host/loop/control.ts'
import { monotonicNanos, ServedDisk } from '../../host/loop/served-disk.ts'
import { type DiskHandle, DiskTransport } from '../../host/loop/transport.ts'
import { Epoll } from '../../host/sys/epoll.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { TimerFd } from '../../host/sys/timerfd.ts'
import { diskBytes } from '../support/device.ts'
import type { HammerData } from '../support/hammer.module.ts'
import { interleaved } from '../support/interleave.ts'
import { LateBackend } from '../support/late-backend.ts'
import { settle as resolved, sleep } from '../support/within.ts'
import { builtModule, onWorker, servesOnWorker, soon, until } from '../support/worker.ts'

const test = suite('loop review')

const NEEDS_RESET = 0x40
const read = { type: 0, sector: 3, dataIn: 512 }

/** A disk with a late back end and no loop: the test takes its turns. */
async function lateDisk(onFailure: (message: string) => void = () => {}) {
  const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true, stateBytes: 2 << 20 })
  const backend = new LateBackend(new MemoryBackend(diskBytes(0, 64 << 10)))
  const device = await setUpDevice({ memory, backend }, monotonicNanos)
  const [wake, interrupt, kick, timer] = [EventFd.create(), EventFd.create(), EventFd.create(), TimerFd.create()]
  const epoll = Epoll.create()
  const handle = {
    memory: memory.memory,
    statePtr: device.state.ptr,
    controlPtr: memory.allocate(CONTROL_BYTES),
    queues: 1,
    wakeFd: wake.fd,
    kickFds: [kick.fd],
    interruptFd: interrupt.fd,
    timerFd: timer.fd,
  }
  const message = { id: 1, handle, queueSizeMax: device.queueSizeMax, regions: memory.regions }
  const disk = new ServedDisk(message, backend, onFailure, () => {})
  disk.attach(epoll)
  const transport = DiskTransport.open(handle, onFailure)
  const raw = new Raw({ mmio: transport, memory })
  const lockWord = new Int32Array(memory.memory.buffer, handle.controlPtr, 1)
  return {
    backend,
    disk,
    handle,
    raw,
    transport,
    control: transport.control,
    isLocked: () => Atomics.load(lockWord, 0) !== 0,
    settle: () => {
      disk.woken()
      for (let i = 0; disk.turn(); i++) assert.ok(i < 100, 'the disk does not come to rest')
    },
    close: async () => {
      disk.detach(epoll)
      await disk.close()
      for (const owned of [epoll, wake, interrupt, kick, timer]) owned.close()
    },
  }
}

/** Lets the clock of the disks run on. */
function later(ms: number): () => void {
  const real = performance.now
  performance.now = () => real.call(performance) + ms
  return () => {
    performance.now = real
  }
}

test('device rule 6: worker: a new driver comes up while an overdue reset completes -> it is not reset again', async () => {
  const { backend, control, disk, raw, isLocked, settle, close } = await lateDisk()
  let places = 1
  let tried = 0
  for (let at = 0; at < places; at++) {
    const { queue } = raw.negotiate()
    settle()
    queue.run(read)
    settle()
    assert.is(backend.pending.length, 1)
    raw.reg.status = 0
    settle()
    const back = later(1001)
    disk.expired()
    settle()
    assert.is(raw.reg.status, NEEDS_RESET, `access ${at}: overdue`)
    backend.finishAll()
    await resolved()
    let up: ReturnType<Raw['negotiate']> | undefined
    const accesses = interleaved(() => {
      disk.turn()
    }, [
      {
        at,
        run: () => {
          if (control.isBusy || isLocked()) return // it would have to wait
          up = raw.negotiate()
        },
      },
    ])
    if (at === 0) places = accesses
    settle()
    back()
    if (up === undefined) continue
    tried++
    assert.is(up.status, 0x0f, `access ${at}: up`)
    const request = up.queue.run(read)
    settle()
    backend.finishAll()
    await resolved()
    settle()
    assert.equal([raw.reg.status, request.status()], [0x0f, 0], `access ${at}: still up, and served`)
  }
  assert.ok(tried > 2, `${tried} of ${places}`)
  await close()
})

test('device rule 7: worker: a listener throws in the middle of a reset -> the next reset brings the device back', async () => {
  const { control, disk, handle, raw, settle, close } = await lateDisk()
  let calls = 0
  const broken = DiskTransport.open({ ...handle, timerFd: 2 ** 30 }, () => {
    if (++calls === 1) throw new Error('the log is full')
  })
  raw.negotiate()
  broken.mmioWrite(0x70, 4, 0)
  assert.ok(calls > 0)
  assert.not(control.isHeld, 'nobody holds the disk any more')
  const { queue, status } = raw.negotiate()
  assert.is(status, 0x0f)
  const request = queue.run({ type: 8, dataIn: 20 })
  settle()
  assert.is(request.status(), 0)
  assert.not(disk.turn())
  await close()
})

/** Runs `body` while threads do what hammer.module.ts does. Returns how often they did it. */
async function hammered(threads: readonly Omit<HammerData, 'stop'>[], body: () => Promise<void>): Promise<number[]> {
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const workers = threads.map((data) => new Worker(builtModule('hammer'), { workerData: { ...data, stop } }))
  const said = (worker: Worker): Promise<number> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  let ends: Promise<number>[] = []
  try {
    await soon('the hammers', Promise.all(workers.map(said)))
    ends = workers.map(said)
    await body()
  } finally {
    Atomics.store(stop, 0, 1)
  }
  return soon('the end of the hammers', Promise.all(ends))
}

const twoOn = (handle: DiskHandle): Omit<HammerData, 'stop'>[] => [
  { handle, value: 0xff },
  { handle, value: 0xff },
]

onWorker(
  test,
  'device rule 6: worker: two vCPUs write Status without end, a request is stuck -> no other thread waits for long',
  {},
  async (f) => {
    f.script.shut()
    const { queue } = f.raw.negotiate()
    queue.run(read)
    await until('the request is in the back end', () => f.script.inside === 1)
    await hammered(twoOn(f.disk.handle), async () => {
      for (let i = 0; i < 5; i++) {
        const start = performance.now()
        f.disk.mmioRead(0, 4)
        const ms = performance.now() - start
        assert.ok(ms < 3500, `register read ${i} took ${ms} ms`)
        await sleep(10)
      }
    })
    f.script.open()
    await until('served', () => queue.usedIdx === 1)
  },
)

onWorker(
  test,
  'device rule 6: worker: two vCPUs write Status without end, requests of 300 ms -> no other thread waits for long',
  {},
  async (f) => {
    f.script.slowMs = 300
    const { queue } = f.raw.negotiate()
    const requests = Array.from({ length: 5 }, () => queue.request(read))
    queue.submit(...requests.map(({ head }) => head))
    await until('the first request is in the back end', () => f.script.count('read') === 1)
    let longest = 0
    await hammered(twoOn(f.disk.handle), async () => {
      while (queue.usedIdx < 5) {
        const start = performance.now()
        f.disk.mmioRead(0, 4)
        longest = Math.max(longest, performance.now() - start)
        await sleep(1)
      }
    })
    assert.ok(longest < 2000, `a register read took ${longest} ms`)
  },
)

onWorker(
  test,
  'device rule 6: worker: a late back end is not back 1 s after a reset -> Status shows it, without a kick',
  { late: true },
  async (f) => {
    f.script.shut()
    const { queue } = f.raw.negotiate()
    queue.run(read)
    await until('the request is in the back end', () => f.script.inside === 1)
    f.raw.reg.status = 0
    assert.is(f.raw.reg.status, 0)
    await sleep(500)
    assert.is(f.raw.reg.status, 0, 'half a second is no matter')
    await until('NEEDS_RESET', () => f.raw.reg.status === NEEDS_RESET, 2000)
    f.script.open()
    await until('0, by itself', () => f.raw.reg.status === 0)
    await servesOnWorker(f)
  },
)

for (const late of [false, true]) {
  onWorker(
    test,
    `device rule 28: worker: three vCPUs do anything at once, back end ${late ? 'late' : 'at once'} -> nothing but RAM changes, and a reset heals`,
    { late },
    async (f) => {
      const other = await f.attach()
      const region = f.memory.regions[0]
      assert.ok(region)
      const ram = { ptr: region.ptr, bytes: region.bytes }
      const before = Buffer.from(new Uint8Array(f.memory.memory.buffer, 0, region.ptr))
      const behind = (): Buffer => Buffer.from(new Uint8Array(f.memory.memory.buffer, region.ptr + region.bytes, 65536))
      const after = behind()
      const { handle } = f.disk
      const rounds = await hammered(
        [11, 222, 3333].map((seed) => ({ handle, seed, ram })),
        async () => {
          for (let i = 0; i < 3; i++) {
            await sleep(500)
            await servesOnWorker(other, 'a disk beside it')
            await f.disk.pause()
            if (i === 1) f.disk.setCapacity(32 << 10)
            f.disk.resume()
            await f.disk.setThrottle(i === 1 ? { iops: 5000 } : undefined)
          }
        },
      )
      assert.ok(
        rounds.every((count) => count > 200),
        rounds.join(),
      )
      assert.ok(before.equals(Buffer.from(new Uint8Array(f.memory.memory.buffer, 0, region.ptr))), 'below RAM')
      assert.ok(after.equals(behind()), 'above RAM')
      const { counters } = f.disk
      assert.equal([counters.engineTraps, f.disk.failures.workerDeaths], [0, 0])
      assert.ok(counters.resets > 50 && counters.readsCompleted > 10, JSON.stringify(counters))
      await until('the last reset', () => {
        f.raw.reg.status = 0
        return f.raw.reg.status === 0
      })
      assert.is(f.disk.counters.currentlyThrottled, 0)
      await servesOnWorker(f)
      assert.not(
        f.failures.some((line) => /trapped|died|lock/.test(line)),
        f.failures.slice(0, 3).join('\n'),
      )
    },
  )
}

for (const late of [false, true]) {
  onWorker(
    test,
    `device rule 7: worker: three vCPUs do anything at once, back end ${late ? 'late' : 'at once'}, the worker dies and dies -> a reset heals`,
    { late },
    async (f) => {
      const { bytes, ptr } = f.memory.regions[0] as { bytes: number; ptr: number }
      const { handle } = f.disk
      await hammered(
        [44, 555, 6666].map((seed) => ({ handle, seed, ram: { ptr, bytes } })),
        async () => {
          for (let death = 1; death <= 5; death++) {
            f.script.mode = late && death % 2 === 0 ? 'exitLater' : 'exit'
            await until('a death', () => f.disk.failures.workerDeaths >= death)
            f.script.mode = 'work'
            const served = f.counter('readsCompleted')
            await until('service', () => f.counter('readsCompleted') > served + 3)
          }
        },
      )
      await until('the last reset', () => {
        f.raw.reg.status = 0
        return f.raw.reg.status === 0
      })
      await servesOnWorker(f)
      assert.not(
        f.failures.some((line) => /trapped|lock/.test(line)),
        f.failures.slice(0, 3).join('\n'),
      )
    },
  )
}

test.run()
