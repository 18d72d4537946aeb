// A worker's thread that dies with disks on it: the guests are told once, their resets bring the disks back on a new
// thread, and nothing of the old one is left (device rules 7 and 29). The back end ends the thread: in the middle of a
// request, or between two, from a timer.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { Raw } from '../../host/driver/raw.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import { takeEventFd } from '../../host/sys/eventfd.ts'
import { diskBytes } from '../support/device.ts'
import { Script } from '../support/script.ts'
import { GO, READY, SHARED_WORDS } from '../support/threads.module.ts'
import { startThread } from '../support/threads.ts'
import { sleep } from '../support/within.ts'
import {
  builtModule,
  onWorker,
  type ScriptedDisk,
  servesOnWorker,
  soon,
  until,
  used,
  type WorkerFixture,
} from '../support/worker.ts'

const test = suite('loop death')

const read = { type: 0, sector: 3, dataIn: 512 }
const NEEDS_RESET = 0x40
const DOWN = 0x0f | NEEDS_RESET

const folder = mkdtempSync(join(tmpdir(), 'vblk-death-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

/** Waits until the disk has been handed to a new thread. */
async function reborn({ script }: ScriptedDisk, opens = 2): Promise<void> {
  await until('the new thread', () => script.count('open') === opens)
}

/** The driver is up, and the disk's next request ends the thread. */
async function die({ raw, script }: ScriptedDisk): Promise<void> {
  script.mode = 'exit'
  raw.negotiate().queue.run(read)
  await until('the death', () => raw.reg.status === DOWN)
  script.mode = 'work'
}

function lines(f: WorkerFixture, pattern: RegExp): number {
  return f.failures.filter((line) => pattern.test(line)).length
}

onWorker(
  test,
  'device rule 7: worker: the thread ends in a request -> NEEDS_RESET, one interrupt, reset heals',
  {},
  async (f) => {
    const { raw, disk, script } = f
    await servesOnWorker(f)
    takeEventFd(disk.interruptFd)
    const before = disk.counters
    await die(f)
    assert.is(raw.reg.interruptStatus & 2, 2)
    await until('the interrupt', () => takeEventFd(disk.interruptFd) === 1)
    await until('the line', () => f.failures.length > 0)
    assert.equal(disk.failures, { workerDeaths: 1, fullEventfds: 0, eventfdErrors: 0, timerErrors: 0 })
    assert.equal([f.failures.length, lines(f, /the disk worker died/)], [1, 1], f.failures.join())
    await reborn(f)
    await sleep(30)
    assert.equal([raw.reg.status, takeEventFd(disk.interruptFd)], [DOWN, 0], 'only the driver resets it')
    assert.is(disk.counters.interrupts, before.interrupts + 1)
    await servesOnWorker(f)
    assert.equal([disk.counters.readsCompleted, script.count('read')], [2, 3])
    await servesOnWorker(f)
  },
)

for (const mode of ['throwLater', 'exitLater'] as const) {
  onWorker(
    test,
    `device rule 7: worker: late back end, ${mode} -> told once, reset heals`,
    { late: true },
    async (f) => {
      const { raw, disk, script } = f
      const { queue } = raw.negotiate()
      script.mode = mode
      queue.run(read)
      await until('the death', () => raw.reg.status === DOWN)
      script.mode = 'work'
      await until('the line', () => lines(f, /the disk worker died/) > 0)
      assert.equal([disk.failures.workerDeaths, lines(f, /the disk worker died/)], [1, 1])
      if (mode === 'throwLater') assert.is(lines(f, /scripted failure of nobody/), 1, f.failures.join())
      await reborn(f)
      await servesOnWorker(f)
    },
  )
}

onWorker(
  test,
  'device rule 7: worker: three disks on the thread that dies -> each told, each healed, data kept',
  {},
  async (f) => {
    const file = join(folder, 'three.img')
    writeFileSync(file, diskBytes(0, 1 << 20))
    const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true, stateBytes: 4 << 20 })
    const disk = await f.worker.attach({ memory, backend: { file } })
    const raw = new Raw({ mmio: disk, memory })
    const late = await f.attach({ late: true })
    await servesOnWorker(f)
    await servesOnWorker(late)
    raw.negotiate()
    late.script.shut()
    late.raw.negotiate().queue.run(read)
    await until('the late read', () => late.script.inside === 1)
    await die(f)
    await until('the others to be told', () => raw.reg.status === DOWN && late.raw.reg.status === DOWN)
    await until('the interrupt', () => takeEventFd(disk.interruptFd) === 1)
    assert.is(raw.reg.interruptStatus, 2)
    late.script.open()
    await reborn(f)
    await reborn(late)
    // The file's lock went with the old thread, and the new one has it.
    const { queue } = raw.negotiate()
    const request = queue.run(read)
    await used(queue, 1)
    assert.equal([request.status(), request.data()], [0, diskBytes(1536, 512)])
    await servesOnWorker(f)
    await servesOnWorker(late)
    assert.equal([disk.failures.workerDeaths, late.disk.failures.workerDeaths], [1, 1])
  },
)

for (const [name, upTo, status] of [
  ['in its reset state', 'reset', 0],
  ['in the middle of set-up', 'features', 3],
] as const) {
  onWorker(
    test,
    `device rule 7: worker: it dies with a disk ${name} -> no interrupt; a reset or nothing brings it up`,
    {},
    async (f) => {
      const other = await f.attach()
      other.raw.negotiate({ upTo })
      await die(f)
      await until('its own death', () => other.disk.failures.workerDeaths === 1)
      assert.is(other.raw.reg.status, status === 0 ? 0 : status | NEEDS_RESET)
      assert.is(takeEventFd(other.disk.interruptFd), 0)
      await reborn(other)
      await servesOnWorker(other)
      await servesOnWorker(f)
    },
  )
}

onWorker(
  test,
  'device rule 7: worker: reset and brought up before the new thread is there -> served when it is',
  {},
  async (f) => {
    const { raw, script } = f
    for (let i = 1; i <= 5; i++) {
      await die(f)
      const { queue, status } = raw.negotiate()
      assert.is(status, 0x0f)
      const request = queue.run(read)
      await used(queue, 1)
      assert.equal([request.status(), raw.reg.status, script.count('open')], [0, 0x0f, i + 1])
    }
  },
)

onWorker(
  test,
  'device rules 7 and 25: worker: it dies while a disk is paused -> told, quiet until resume, healed',
  {},
  async (f) => {
    const other = await f.attach()
    const { queue } = other.raw.negotiate()
    await soon('pause', other.disk.pause())
    queue.run(read)
    await die(f)
    await until('NEEDS_RESET', () => other.raw.reg.status === DOWN)
    await soon('pause', other.disk.pause())
    await reborn(other)
    const next = other.raw.negotiate().queue
    const request = next.run(read)
    const before = Buffer.from(other.memory.view(0, 1 << 20))
    await sleep(40)
    assert.ok(before.equals(Buffer.from(other.memory.view(0, 1 << 20))))
    other.disk.resume()
    await used(next, 1)
    assert.is(request.status(), 0)
    await servesOnWorker(other)
  },
)

onWorker(
  test,
  'device rules 6 and 7: worker: it dies while a reset waits for it -> the reset completes by itself',
  {},
  async (f) => {
    const { raw, disk, script } = f
    script.shut()
    raw.negotiate().queue.run(read)
    await until('the read', () => script.inside === 1)
    raw.reg.status = 0
    assert.is(raw.reg.status & NEEDS_RESET, NEEDS_RESET)
    takeEventFd(disk.interruptFd)
    script.mode = 'exit'
    script.open()
    await until('Status to read 0', () => raw.reg.status === 0)
    script.mode = 'work'
    assert.equal([takeEventFd(disk.interruptFd), raw.reg.interruptStatus], [0, 0])
    await reborn(f)
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rules 6 and 7: worker: it dies under a vCPU that waits in a reset -> that returns, reset',
  {},
  async (f) => {
    const { raw, disk, script, memory } = f
    script.shut()
    raw.negotiate().queue.run(read)
    await until('the read', () => script.inside === 1)
    const shared = new Int32Array(new SharedArrayBuffer(4 * SHARED_WORDS))
    const data = { shared, rounds: 1, handle: disk.handle, regions: memory.regions }
    const { result } = startThread<number>('reset', data)
    await until('the vCPU', () => Atomics.load(shared, READY) === 1)
    Atomics.store(shared, GO, 1)
    Atomics.notify(shared, GO)
    await sleep(20)
    script.mode = 'exit'
    script.open()
    assert.is(await soon('the reset', result), 0)
    script.mode = 'work'
    await until('the burial', () => disk.failures.workerDeaths === 1)
    assert.is(raw.reg.status & ~NEEDS_RESET, 0)
    await reborn(f)
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 7: worker: it dies with a head stalled -> the gauge is 0 after the reset',
  { disk: { throttle: { iops: 2 } } },
  async (f) => {
    const other = await f.attach()
    const { queue } = f.raw.negotiate()
    for (let i = 0; i < 4; i++) queue.submit(queue.request({ type: 4 }).head)
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    await die(other)
    await until('NEEDS_RESET', () => f.raw.reg.status === DOWN)
    f.raw.reg.status = 0
    assert.equal([f.raw.reg.status, f.counter('currentlyThrottled')], [0, 0])
    await reborn(f)
    await soon('setThrottle', f.disk.setThrottle())
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 7: worker: it dies 10 times -> told each time, nothing left open, serves',
  {},
  async (f) => {
    const fds = (): number => readdirSync('/proc/self/fd').length
    await die(f)
    await reborn(f)
    await servesOnWorker(f)
    const before = fds()
    for (let i = 2; i <= 10; i++) {
      await die(f)
      await reborn(f, i + 1)
      await servesOnWorker(f)
    }
    assert.is(fds(), before)
    assert.equal([f.disk.failures.workerDeaths, lines(f, /the disk worker died/)], [10, 10])
  },
)

for (const what of ['disk', 'worker'] as const) {
  onWorker(test, `device rule 29: worker: ${what} closed while the thread dies -> the close ends`, {}, async (f) => {
    const { raw, script, disk, worker } = f
    script.shut()
    raw.negotiate().queue.run(read)
    await until('the read', () => script.inside === 1)
    const closed = what === 'disk' ? disk.close() : worker.close()
    script.mode = 'exit'
    script.open()
    await soon(
      'the close',
      closed.catch(() => {}),
    )
    await soon('the close', worker.close())
  })
}

// Threads that cannot be brought back ---------------------------------------------------------------------------------

onWorker(
  test,
  'device rule 7: worker: opening a back end ends the thread -> attach fails, the other disk heals',
  {},
  async (f) => {
    await servesOnWorker(f)
    const script = Script.create(diskBytes(0, 4096))
    script.arrived('open')
    const backend = { module: builtModule('scripted'), options: { ...script.data, reopenExits: true } }
    const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true })
    const error = await soon(
      'attach',
      f.worker.attach({ memory, backend }).catch((reason) => reason),
    )
    assert.match(String(error), /the disk worker died/)
    await until('the other disk', () => f.raw.reg.status === DOWN)
    await reborn(f)
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 29: worker: a back end whose opening ends every thread -> given up, the guest is told, no endless loop',
  { script: { reopenExits: true } },
  async (f) => {
    await die(f)
    await until('the end of the attempts', () => lines(f, /has no worker any more/) > 0)
    const { length } = f.failures
    const opens = f.script.count('open')
    await sleep(400)
    assert.equal([f.failures.length, f.script.count('open')], [length, opens], 'nobody tries on and on')
    assert.ok(opens <= 10, `${opens} threads`)
    // DRIVER_OK on a disk without a worker fails at once, instead of hanging.
    assert.is(f.raw.negotiate().status, DOWN)
  },
)

onWorker(
  test,
  'device rule 29: worker: two disks, one of them ends every thread -> given up, the other heals',
  {},
  async (f) => {
    const other = await f.attach({ script: { reopenExits: true } })
    await die(f)
    await until('the end of the attempts', () => lines(f, /has no worker any more/) > 0)
    await sleep(400)
    const opens = [f.script.count('open'), other.script.count('open')]
    await sleep(200)
    assert.equal([f.script.count('open'), other.script.count('open')], opens, 'nobody tries on and on')
    assert.is(lines(f, /has no worker any more/), 1, f.failures.join())
    await servesOnWorker(f)
    assert.is(other.raw.negotiate().status, DOWN)
    await soon('close', other.disk.close())
    await servesOnWorker(f)
  },
)

onWorker(
  test,
  'device rule 29: worker: closed after its thread has died for good -> ends, nothing left open',
  {},
  async (f) => {
    const fds = (): number => readdirSync('/proc/self/fd').length
    const before = fds()
    const failures: string[] = []
    const worker = await DiskWorker.create({ onFailure: (message) => failures.push(message) })
    const script = Script.create(diskBytes(0, 4096))
    const backend = { module: builtModule('scripted'), options: { ...script.data, reopenExits: true } }
    const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true })
    const disk = await soon('attach', worker.attach({ memory, backend }))
    await die({ disk, script, memory, raw: new Raw({ mmio: disk, memory }) })
    await until('the end of the attempts', () => failures.some((line) => /has no worker any more/.test(line)))
    await soon('close', disk.close())
    await soon('close', worker.close())
    assert.is(fds(), before)
    await servesOnWorker(f)
  },
)

test.run()
