// Disks on a worker's real thread, from attach to close: IO through the polite driver and the raw one, file and module
// back ends, several disks, what is refused and with which words, and that nothing is left open afterwards, no
// descriptor and no thread.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FileBackend } from '../../host/backend/file.ts'
import { BackendError } from '../../host/backend/types.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlkDriver } from '../../host/driver/driver.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import type { WorkerDiskOptions } from '../../host/loop/worker-disk.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { diskBytes, pattern } from '../support/device.ts'
import { Script } from '../support/script.ts'
import { sleep } from '../support/within.ts'
import { builtModule, onWorker, servesOnWorker, setUpWorker, soon, until, used } from '../support/worker.ts'

const test = suite('loop disk worker')

const folder = mkdtempSync(join(tmpdir(), 'vblk-worker-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const read = { type: 0, sector: 3, dataIn: 512 }
const fds = (): number => readdirSync('/proc/self/fd').length
const threads = (): number => readdirSync('/proc/self/task').length

function image(name: string): string {
  const path = join(folder, name)
  writeFileSync(path, diskBytes(0, 1 << 20))
  return path
}

function guest(): GuestMemory {
  return GuestMemory.create({ ramBytes: 4 << 20, shared: true, stateBytes: 4 << 20 })
}

/** Runs with a worker of its own. */
async function withWorker(run: (worker: DiskWorker, failures: string[]) => Promise<void>): Promise<void> {
  const failures: string[] = []
  const worker = await DiskWorker.create({ onFailure: (message) => failures.push(message) })
  try {
    await run(worker, failures)
  } finally {
    await soon('the worker to close', worker.close())
  }
}

test('device rule 11: worker: file back end, polite driver -> reads, writes, flush and id, in the file', async () => {
  const file = image('driver.img')
  await withWorker(async (worker, failures) => {
    const memory = guest()
    const disk = await worker.attach({ memory, backend: { file }, serial: 'a disk' })
    const driver = await soon('probe', VirtioBlkDriver.probe({ mmio: disk, memory }))
    assert.is(driver.capacitySectors, 2048)
    assert.equal(await soon('read', driver.read(7, 65_536)), diskBytes(7 * 512, 65_536))
    const written = pattern(40_960)
    await soon('write', driver.write(100, written))
    await soon('flush', driver.flush())
    assert.is(await soon('id', driver.getId()), 'a disk')
    assert.equal(Uint8Array.from(readFileSync(file)).slice(51_200, 92_160), written)
    assert.equal(await soon('read', driver.read(100, 40_960)), written)
    const many = await soon('reads', Promise.all(Array.from({ length: 300 }, (_, i) => driver.read(i, 512))))
    for (const [i, data] of many.slice(0, 100).entries()) assert.equal(data, diskBytes(i * 512, 512))
    const { writesCompleted, bytesWritten, flushesCompleted, idsCompleted, ioErrors } = disk.counters
    assert.equal([writesCompleted > 0, bytesWritten, flushesCompleted, idsCompleted, ioErrors], [true, 40_960, 1, 1, 0])
    assert.equal(disk.failures, { workerDeaths: 0, fullEventfds: 0, eventfdErrors: 0, timerErrors: 0 })
    assert.equal(failures, [])
  })
})

test('device rule 8: worker: read-only file -> RO offered, write refused, the file unlocked for other readers', async () => {
  const file = image('read-only.img')
  await withWorker(async (worker) => {
    const memory = guest()
    const disk = await worker.attach({ memory, backend: { file }, readOnly: true })
    const other = FileBackend.open(file, { readOnly: true })
    other.close()
    const driver = await soon('probe', VirtioBlkDriver.probe({ mmio: disk, memory }))
    assert.is(driver.readOnly, true)
    assert.equal(await soon('read', driver.read(0, 512)), diskBytes(0, 512))
    let status: unknown
    await soon(
      'write',
      driver.write(0, pattern(512)).catch((error) => {
        status = error.status
      }),
    )
    assert.is(status, 1)
  })
})

for (const late of [false, true]) {
  const kind = late ? 'that promises its answers' : 'that answers at once'
  onWorker(test, `device rule 11: worker: module back end ${kind} -> serves`, { late }, async (fixture) => {
    const { raw, script, disk } = fixture
    await servesOnWorker(fixture)
    const { queue } = raw.negotiate()
    const data = pattern(1024)
    const write = queue.run({ type: 1, sector: 9, dataOut: data, segments: 512 })
    await used(queue, 1)
    const flush = queue.run({ type: 4 })
    const id = queue.run({ type: 8, dataIn: 20 })
    await used(queue, 3)
    assert.equal([write.status(), flush.status(), id.status()], [0, 0, 0])
    assert.equal(Uint8Array.from(script.data.disk.subarray(4608, 5632)), data)
    assert.is(new TextDecoder().decode(id.data()), 'virtio-blk-wasm\0\0\0\0\0')
    assert.equal([script.count('open'), script.count('write'), script.count('flush')], [1, 1, 1])
    const { readsCompleted, writesCompleted, flushesCompleted, idsCompleted } = disk.counters
    assert.equal([readsCompleted, writesCompleted, flushesCompleted, idsCompleted], [1, 1, 1, 1])
  })
}

test('device rule 28: worker: 8 disks, some late, on one worker -> each its own data, counters and interrupt', async () => {
  const fixture = await setUpWorker()
  try {
    const disks = [
      fixture,
      ...(await Promise.all([...Array(7).keys()].map((i) => fixture.attach({ late: i % 3 === 1 })))),
    ]
    disks.forEach(({ script }, i) => {
      script.data.disk.fill(i + 1)
    })
    for (const [i, { raw, disk }] of disks.entries()) {
      const { queue } = raw.negotiate({ queues: [{ size: 32 }] })
      const requests = Array.from({ length: i + 1 }, () => queue.request(read))
      queue.submit(...requests.map(({ head }) => head))
      await used(queue, i + 1)
      for (const request of requests) assert.equal(request.data(), new Uint8Array(512).fill(i + 1))
      assert.is(disk.counters.readsCompleted, i + 1)
    }
    const irqs = disks.map(({ disk }) => disk.interruptFd)
    assert.is(new Set([...irqs, ...disks.flatMap(({ disk }) => disk.kickFds)]).size, 16)
    await disks[3]?.disk.close()
    for (const [i, disk] of disks.entries()) if (i !== 3) await servesOnWorker(disk, `disk ${i} after another's close`)
  } finally {
    await fixture.close()
  }
})

onWorker(
  test,
  'device rule 5: worker: two queues -> each its own eventfd, each served',
  { disk: { queues: 2 } },
  async (f) => {
    assert.is(f.disk.kickFds.length, 2)
    const { queues } = f.raw.negotiate({ queues: [{ queue: 0 }, { queue: 1 }] })
    for (const queue of queues) {
      const request = queue.run(read)
      await used(queue, 1)
      assert.is(request.status(), 0)
    }
  },
)

onWorker(test, 'device rule 6: worker: the handle -> can be cloned for another thread', {}, async ({ disk }) => {
  const clone = structuredClone(disk.handle)
  assert.equal({ ...clone, memory: 0 }, { ...disk.handle, memory: 0 })
  assert.is(new Uint8Array(clone.memory.buffer).length, disk.handle.memory.buffer.byteLength)
})

// The end ----------------------------------------------------------------------------------------------------------

test('device rule 29: worker: 100 created, used and closed -> no descriptor and no thread is left', async () => {
  const file = image('cycles.img')
  const cycle = async (i: number): Promise<void> => {
    const fixture = await setUpWorker({ late: i % 10 === 5 })
    if (i % 4 === 0) await servesOnWorker(fixture)
    if (i % 10 === 1) await fixture.worker.attach({ memory: guest(), backend: { file } })
    if (i % 10 === 2) await fixture.disk.close()
    if (i % 10 === 3) await fixture.disk.pause()
    await fixture.close()
  }
  for (const i of [0, 1, 5]) await cycle(i)
  const before = fds()
  for (let i = 0; i < 100; i++) await cycle(i)
  assert.is(fds(), before)
  // Threads of the pool of libuv may come; those of workers are gone.
  await until('the threads to end', () => threads() <= baseline)
})
const baseline = threads() + 4

onWorker(
  test,
  'device rule 25: worker: 100 disks attached and closed on one worker -> no descriptor is left',
  {},
  async (f) => {
    const one = async (late: boolean): Promise<void> => {
      const { disk } = await f.attach({ late })
      await soon('close', disk.close())
    }
    // A late answer that is waited for brings the worker's second thread, which stays.
    const first = await f.attach({ late: true })
    first.script.slowMs = 50
    const { queue } = first.raw.negotiate()
    queue.run(read)
    await used(queue, 1)
    await soon('close', first.disk.close())
    const before = fds()
    for (let i = 0; i < 100; i++) await one(i % 5 === 0)
    assert.is(fds(), before)
    await servesOnWorker(f)
  },
)

for (const what of ['disk', 'worker'] as const) {
  onWorker(
    test,
    `device rule 25: worker: ${what} closed while a read is slow -> waits for it, then nothing changes`,
    {},
    async (f) => {
      const { disk, raw, script, worker } = f
      const { queue } = raw.negotiate()
      script.shut()
      const requests = [read, { ...read, sector: 5 }, { ...read, sector: 6 }].map((options) => queue.request(options))
      queue.submit(...requests.map(({ head }) => head))
      await until('the read to be under way', () => script.inside === 1)
      let isClosed = false
      const closed = (what === 'disk' ? disk : worker).close().then(() => {
        isClosed = true
      })
      await sleep(50)
      assert.is(isClosed, false)
      assert.is(script.count('close'), 0)
      script.open()
      await soon('close', closed)
      const after = f.ram()
      assert.equal([script.count('read'), script.count('close'), queue.usedIdx], [1, 1, 0], 'the others never started')
      queue.kick()
      raw.reg.status = 0
      await sleep(20)
      assert.ok(after.equals(f.ram()))
      assert.is(raw.reg.status, 0x0f, 'writes to a disk that is gone are dropped')
    },
  )
}

onWorker(
  test,
  'device rule 25: worker: closed while late answers are due -> not waited for, never delivered',
  { late: true },
  async (f) => {
    const { disk, raw, script } = f
    const { queue } = raw.negotiate()
    script.shut()
    const request = queue.run(read)
    await until('the read to be under way', () => script.inside === 1)
    await soon('close', disk.close())
    const after = f.ram()
    script.open()
    await sleep(50)
    assert.ok(after.equals(f.ram()))
    assert.is(request.used(), undefined)
  },
)

onWorker(
  test,
  'device rule 28: worker: a flooding guest -> close comes between two requests all the same',
  {},
  async (f) => {
    const { disk, raw, script } = f
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    script.slowMs = 2
    const requests = Array.from({ length: 20 }, () => queue.request(read))
    queue.submit(...requests.map(({ head }) => head))
    await until('the flood', () => script.calls > 2)
    await soon('close', disk.close())
    assert.ok(script.calls < 20, `${script.calls} calls`)
  },
)

onWorker(
  test,
  'device rule 25: worker: closed twice, used after it -> nothing happens',
  {},
  async ({ disk, worker, raw }) => {
    const { handle } = disk
    await Promise.all([disk.close(), disk.close()])
    await disk.close()
    // Whoever gets the numbers next must hear nothing from the disk that had them.
    const others = Array.from({ length: 12 }, () => EventFd.create())
    const numbers = [handle.wakeFd, handle.interruptFd, ...handle.kickFds]
    assert.ok(numbers.every((number) => others.some(({ fd }) => fd === number)))
    await disk.pause()
    disk.resume()
    await disk.setThrottle({ iops: 5 })
    disk.setCapacity(512)
    disk.mmioWrite(0x50, 4, 0)
    disk.mmioWrite(0x70, 4, 0)
    raw.negotiate()
    assert.equal(
      others.map((other) => other.take()),
      others.map(() => 0),
    )
    for (const other of others) other.close()
    await Promise.all([worker.close(), worker.close()])
    await worker.close()
  },
)

test('device rule 29: worker: closed -> attach is refused, and one that was under way ends', async () => {
  const worker = await DiskWorker.create({ onFailure: () => {} })
  const before = fds()
  const script = Script.create(diskBytes(0, 4096))
  const backend = { module: builtModule('scripted'), options: script.data }
  const underWay = worker.attach({ memory: guest(), backend }).then(
    () => 'attached',
    () => 'refused',
  )
  await soon('close', worker.close())
  await soon('attach', underWay)
  const error = await soon(
    'attach',
    worker.attach({ memory: guest(), backend }).catch((reason) => reason),
  )
  assert.match(String(error), /closed/)
  assert.ok(fds() < before, 'descriptors of the worker are gone, and of the disk too')
})

test('device rule 29: worker: a back end that cannot be closed -> close says so, all the rest is closed', async () => {
  const before = fds()
  const fixture = await setUpWorker({ script: { closeFails: 'stuck' } })
  const other = await fixture.attach()
  const error = await soon(
    'close',
    fixture.worker.close().catch((reason) => reason),
  )
  assert.match(String(error), /stuck/)
  assert.is(other.script.count('close'), 1)
  await until('the thread to end', () => fds() === before)
})

// Refusals -----------------------------------------------------------------------------------------------------------

const unshared = GuestMemory.create({ ramBytes: 1 << 20 })
const scripted = (more: object = {}) => ({
  module: builtModule('scripted'),
  options: { ...Script.create(diskBytes(0, 4096)).data, ...more },
})

const REFUSED: [name: string, options: () => Partial<WorkerDiskOptions>, message: RegExp, code?: string][] = [
  ['missing file', () => ({ backend: { file: '/nowhere/disk.img' } }), /\/nowhere\/disk\.img: no such file/, 'ENOENT'],
  ['a folder', () => ({ backend: { file: folder } }), /is a directory/, 'ENOTBLK'],
  ['no back end', () => ({ backend: undefined as never }), /backend must be \{ file: PATH \} or \{ module/],
  ['a back end itself', () => ({ backend: { read() {} } as never }), /backend must be \{ file: PATH \} or \{ module/],
  ['both kinds of back end', () => ({ backend: { file: 'x', module: 'y' } as never }), /backend must be/],
  ['unshared memory', () => ({ memory: unshared, backend: scripted() }), /memory must be shared/],
  ['no memory', () => ({ memory: undefined as never, backend: scripted() }), /option memory is missing/],
  ['unknown option', () => ({ backend: scripted(), colour: 'red' }) as never, /no option 'colour'/],
  ['bad queue size', () => ({ backend: scripted(), queueSizeMax: 100 }), /queueSizeMax must be a power of two/],
  ['bad throttle', () => ({ backend: scripted(), throttle: { iops: 0 } }), /iops must be a positive integer/],
  ['module that is not there', () => ({ backend: { module: 'file:///nowhere/x.js' } }), /nowhere\/x\.js/],
  ['module without a default export', () => ({ backend: { module: 'node:os' } }), /BlockBackend|not a function/],
  ['module that makes nothing', () => ({ backend: scripted({ instead: undefined }) }), /returns a BlockBackend/],
  ['module that makes half of one', () => ({ backend: scripted({ instead: { read: 1 } }) }), /returns a BlockBackend/],
  ['module that fails', () => ({ backend: scripted({ refuse: 'the moon is wrong' }) }), /the moon is wrong/],
]

for (const [name, options, message, code] of REFUSED) {
  onWorker(test, `device rule 24: worker: attach: ${name} -> named error, nothing left open`, {}, async (f) => {
    const attach = () => f.worker.attach({ memory: guest(), ...options() } as WorkerDiskOptions)
    const refused = await soon(
      'attach',
      attach().then(
        () => undefined,
        (error) => error,
      ),
    )
    assert.instance(refused, Error)
    assert.match(refused.message, message)
    assert.is(refused.message.split('\n').length, 1)
    if (code !== undefined) {
      assert.instance(refused, BackendError)
      assert.is(refused.code, code)
    }
    const before = fds()
    for (let i = 0; i < 5; i++)
      await soon(
        'attach',
        attach().catch(() => {}),
      )
    assert.is(fds(), before)
    await servesOnWorker(f)
  })
}

test('device rule 24: worker: attach: file in use -> says so, free again after close', async () => {
  const file = image('locked.img')
  await withWorker(async (worker) => {
    const disk = await worker.attach({ memory: guest(), backend: { file } })
    const error = await worker.attach({ memory: guest(), backend: { file } }).catch((reason) => reason)
    assert.instance(error, BackendError)
    assert.equal([error.code, /in use by this same process/.test(error.message)], ['EWOULDBLOCK', true], error.message)
    await disk.close()
    await worker.attach({ memory: guest(), backend: { file } })
  })
  FileBackend.open(file).close()
})

test('device rule 24: worker: attach refused after the back end was opened -> the back end is closed', async () => {
  const script = Script.create(diskBytes(0, 4096))
  const backend = { module: builtModule('scripted'), options: script.data }
  await withWorker(async (worker) => {
    await worker.attach({ memory: guest(), backend, segMax: 0 }).catch(() => {})
    assert.equal([script.count('open'), script.count('close')], [1, 1])
  })
})

test('device rule 24: worker: a file of odd size -> a warning comes from the thread', async () => {
  const file = join(folder, 'odd.img')
  writeFileSync(file, new Uint8Array(1000))
  await withWorker(async (worker, failures) => {
    await worker.attach({ memory: guest(), backend: { file } })
    await until('the warning', () => failures.length > 0)
    assert.match(failures[0] ?? '', /1000 bytes are not whole 512-byte sectors/)
  })
})

test.run()
