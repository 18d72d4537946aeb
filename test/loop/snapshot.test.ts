// Snapshots of disks that a worker serves (device rule 26): taken while it runs, while it is paused and while a late
// back end has requests; restored on a worker, inline and back.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { validateSnapshot } from '../../host/device/snapshot.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/raw.ts'
import type { MmioBus } from '../../host/driver/types.ts'
import type { WorkerDisk } from '../../host/loop/worker-disk.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { takeEventFd } from '../../host/sys/eventfd.ts'
import { diskBytes } from '../support/device.ts'
import { settle } from '../support/within.ts'
import { builtModule, onWorker, soon, until, used, type WorkerFixture } from '../support/worker.ts'

const test = suite('loop snapshot')

const DISK_BYTES = 64 << 10
const RAM_BYTES = 1 << 20

const read = { type: 0, sector: 3, dataIn: 512 }

/** A new memory with the guest's bytes. */
function copyOf(memory: GuestMemory, shared = true): GuestMemory {
  const copy = GuestMemory.create({ ramBytes: RAM_BYTES, shared, stateBytes: 1 << 20 })
  copy.view(0, RAM_BYTES).set(memory.view(0, RAM_BYTES))
  return copy
}

/** A second disk on the fixture's worker, with the first one's content. */
function attach(f: WorkerFixture, memory: GuestMemory, restore: Uint8Array, more: object = {}): Promise<WorkerDisk> {
  const backend = { module: builtModule('scripted'), options: f.script.data }
  return soon('attach', f.worker.attach({ backend, memory, restore, ...more }))
}

/** The driver goes on in the copy: its rings are where they were. */
function follow(mmio: MmioBus, memory: GuestMemory, queue: ReturnType<Raw['queue']>): ReturnType<Raw['queue']> {
  const raw = new Raw({ mmio, memory, arenaBase: 0x60000 })
  const { desc, avail, used: usedRing, size } = queue
  const moved = raw.queue({ size, desc, avail, used: usedRing, zero: false })
  moved.nextAvail = queue.nextAvail
  moved.nextUsed = queue.nextUsed
  moved.nextDesc = queue.nextDesc
  return moved
}

onWorker(test, 'device rule 26: worker: running -> a snapshot, and it goes on', {}, async (f) => {
  const { queue } = f.raw.negotiate()
  queue.run(read)
  await used(queue, 1)
  const bytes = await soon('snapshot', f.disk.snapshot())
  assert.equal([validateSnapshot(bytes).status, validateSnapshot(bytes).capacityBytes], [0x0f, DISK_BYTES])
  assert.not.ok(f.disk.isPaused)
  const request = queue.run(read)
  await used(queue, 2)
  assert.equal(request.data(), diskBytes(1536, 512))
})

onWorker(
  test,
  'device rule 26: worker: two at once, and paused meanwhile -> both, and paused after them',
  {},
  async (f) => {
    const { queue } = f.raw.negotiate()
    const both = [f.disk.snapshot(), f.disk.snapshot()]
    await soon('pause', f.disk.pause())
    const [first, second] = await soon('snapshots', Promise.all(both))
    assert.equal(first, second)
    const ram = f.ram()
    queue.run(read)
    const after = f.ram()
    const third = await soon('snapshot', f.disk.snapshot())
    assert.ok(f.disk.isPaused)
    assert.not.equal(ram, after)
    assert.ok(after.equals(f.ram()), 'a snapshot takes nothing from the ring')
    assert.is(validateSnapshot(third).status, 0x0f)
    f.disk.resume()
    await used(queue, 1)
  },
)

onWorker(
  test,
  'past bug 42: worker: late requests in flight, paused -> finished once, then taken',
  { late: true },
  async (f) => {
    const { queue } = f.raw.negotiate()
    f.script.shut()
    const requests = [queue.request(read), queue.request({ type: 4 })]
    queue.submit(...requests.map(({ head }) => head))
    await until('both calls', () => f.script.inside === 2)
    await soon('pause', f.disk.pause())
    let bytes: Uint8Array | undefined
    const taken = f.disk.snapshot().then((snapshot) => {
      bytes = snapshot
    })
    const later = queue.run(read)
    await settle()
    assert.is(bytes, undefined)
    f.script.open()
    await soon('snapshot', taken)
    assert.ok(bytes)
    assert.equal([queue.usedIdx, f.script.calls, later.used()], [2, 2, undefined])
    const memory = copyOf(f.memory)
    const disk = await attach(f, memory, bytes)
    const moved = follow(disk, memory, queue)
    // Past bug 41 too: nobody kicks.
    await used(moved, 3)
    assert.is(disk.counters.readsCompleted, 2)
    f.disk.resume()
    await used(queue, 3)
    await soon('close', disk.close())
  },
)

onWorker(
  test,
  'device rule 26: worker: resumed, reset and kicked while a snapshot waits -> taken, all goes on',
  { late: true },
  async (f) => {
    const { queue } = f.raw.negotiate()
    f.script.shut()
    queue.run(read)
    await until('the call', () => f.script.inside === 1)
    await soon('pause', f.disk.pause())
    const taken = f.disk.snapshot()
    f.disk.resume()
    f.raw.reg.status = 0
    const { queue: fresh } = f.raw.negotiate()
    fresh.run({ type: 4 })
    f.script.open()
    const bytes = await soon('snapshot', taken)
    assert.is(validateSnapshot(bytes).status, 0x0f)
    await used(fresh, 1)
    assert.is(f.disk.isPaused, false)
  },
)

onWorker(
  test,
  'device rules 7 and 26: worker: it dies while a snapshot waits -> refused; the next one is of a device that failed',
  { late: true },
  async (f) => {
    const { queue } = f.raw.negotiate()
    f.script.shut()
    queue.run(read)
    await until('the call', () => f.script.inside === 1)
    const taken = f.disk.snapshot().then(
      () => 'taken',
      (error) => String(error),
    )
    f.script.mode = 'exit'
    f.script.open()
    assert.match(await soon('the refusal', taken), /the disk worker died/)
    f.script.mode = 'work'
    await until('NEEDS_RESET', () => f.raw.reg.status === 0x4f)
    const bytes = await soon('snapshot', f.disk.snapshot())
    assert.is(validateSnapshot(bytes).status, 0x4f)
    const memory = copyOf(f.memory)
    const disk = await attach(f, memory, bytes)
    assert.is(takeEventFd(disk.interruptFd), 1)
    const { queue: again } = new Raw({ mmio: disk, memory }).negotiate()
    again.run(read)
    await used(again, 1)
  },
)

onWorker(test, 'device rule 26: worker: restored with a recorder -> recorded', {}, async (f) => {
  const record = new Recorder({ shared: true })
  const disk = await attach(f, copyOf(f.memory), await soon('snapshot', f.disk.snapshot()), { record })
  assert.is(disk.mmioRead(0, 4), 0x74726976)
  assert.ok(record.steps > 0)
})

onWorker(test, 'device rule 26: worker: an interrupt that nobody acknowledged -> signalled again', {}, async (f) => {
  const { queue } = f.raw.negotiate()
  queue.run(read)
  await used(queue, 1)
  await soon('pause', f.disk.pause())
  const bytes = await soon('snapshot', f.disk.snapshot())
  const disk = await attach(f, copyOf(f.memory), bytes)
  assert.is(takeEventFd(disk.interruptFd), 1)
  disk.mmioWrite(0x64, 4, 1)
  const quiet = await attach(f, copyOf(f.memory), await soon('snapshot', disk.snapshot()))
  assert.is(takeEventFd(quiet.interruptFd), 0)
})

onWorker(
  test,
  'device rule 26: worker: stalled -> the timer of the new disk serves the head, once its wait is over',
  { disk: { throttle: { iops: 4 } } },
  async (f) => {
    const { queue } = f.raw.negotiate()
    for (let i = 1; i <= 4; i++) {
      queue.run(read)
      await used(queue, i)
    }
    queue.run(read)
    await until('the stall', () => f.counter('currentlyThrottled') === 1)
    await soon('pause', f.disk.pause())
    const bytes = await soon('snapshot', f.disk.snapshot())
    const memory = copyOf(f.memory)
    const disk = await attach(f, memory, bytes)
    await used(follow(disk, memory, queue), 5)
    assert.equal([disk.counters.currentlyThrottled, disk.counters.readsCompleted], [0, 5])
  },
)

onWorker(
  test,
  'device rule 26: inline -> worker -> inline: one guest, one disk, nothing lost or done twice',
  {},
  async (f) => {
    const content = (): MemoryBackend => new MemoryBackend(new Uint8Array(f.script.data.disk))
    let memory = GuestMemory.create({ ramBytes: RAM_BYTES, stateBytes: 1 << 20 })
    const first = await VirtioBlk.create({ memory, backend: content(), serial: 'wanderer' })
    let { queue } = new Raw({ mmio: first, memory }).negotiate()
    queue.run(read)
    // Pending in each move.
    queue.publish(queue.request(read).head)
    const toWorker = first.snapshot()
    await first.close()
    memory = copyOf(memory)
    const second = await attach(f, memory, toWorker)
    queue = follow(second, memory, queue)
    await used(queue, 2)
    queue.run({ type: 1, sector: 5, dataOut: new Uint8Array(512).fill(0xab) })
    await used(queue, 3)
    await soon('pause', second.pause())
    queue.publish(queue.request(read).head)
    const toInline = await soon('snapshot', second.snapshot())
    memory = copyOf(memory, false)
    await soon('close', second.close())
    const third = await VirtioBlk.restore(toInline, { memory, backend: content() })
    queue = follow(third, memory, queue)
    assert.is(queue.usedIdx, 4)
    const { readsCompleted, writesCompleted, resets } = third.counters
    assert.equal([readsCompleted, writesCompleted, resets], [3, 1, 1])
    assert.is(f.script.data.disk[5 * 512], 0xab)
    assert.is(validateSnapshot(third.snapshot()).serial, 'wanderer')
    await third.close()
  },
)

onWorker(
  test,
  'device rule 26: worker: another disk, or no snapshot at all -> refused, and the worker goes on',
  {},
  async (f) => {
    const bytes = await soon('snapshot', f.disk.snapshot())
    for (const [options, reason] of [
      [{ restore: bytes.slice(1) }, /SnapshotError: snapshot: magic at byte 0/],
      [{ queues: 2 }, /SnapshotError: snapshot: queues at byte 32 is 1/],
      [{ serial: 'x' }, /SnapshotError: snapshot: serial at byte 56/],
      [{ restore: undefined, override: ['serial'] }, /TypeError: VirtioBlk: there is no option 'override'/],
    ] as const) {
      const memory = copyOf(f.memory)
      const before = memory.allocate(64)
      let error: unknown
      await attach(f, memory, bytes, options).catch((caught) => {
        error = caught
      })
      assert.match(String(error), reason)
      assert.is(memory.allocate(64), before + 64)
    }
    const disk = await attach(f, copyOf(f.memory), bytes, { serial: 'x', override: ['serial'] })
    await soon('close', disk.close())
    let error: unknown
    await disk.snapshot().catch((caught) => {
      error = caught
    })
    assert.match(String(error), /closed/)
    assert.equal(f.failures, [])
  },
)

test.run()
