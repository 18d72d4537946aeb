// A disk whose recording is begun anew while a driver uses it: nothing is lost, each recording replays by itself, and
// what the page shows (rates, requests in flight, stalls, rows) is what happened. Time is real but for the reports'.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../../host/backend/memory.ts'
import { Activity, ROWS_MAX } from '../../../host/demo/linux/activity.ts'
import { RecordedDisk } from '../../../host/demo/linux/recorded-disk.ts'
import { GuestMemory } from '../../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../../host/device/virtio-blk.ts'
import { VirtioBlkDriver } from '../../../host/driver/driver.ts'
import { list } from '../../../host/replay/listing.ts'
import { replay } from '../../../host/replay/player.ts'
import { Trace } from '../../../host/replay/trace.ts'

const test = suite('recorded disk')

/** Each recording begins so long after the one before, as the page's list has it. */
const RECORDING_MS = 1_000_000

interface Rig {
  disk: RecordedDisk
  driver: VirtioBlkDriver
  activity: Activity
  allocated: number
  /** nothing more can be allocated */
  isFull: boolean
  /** InterruptStatus at each interrupt */
  interrupts: number[]
}

/** A driver on a device that is then restored behind its back, as a saved machine's is. */
async function rig(): Promise<Rig> {
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const backend = new MemoryBackend(256 << 10)
  const bare = await VirtioBlk.create({ memory, backend })
  const mmio = {
    device: bare as Pick<VirtioBlk, 'mmioRead' | 'mmioWrite'>,
    mmioRead: (offset: number, width: number): number => mmio.device.mmioRead(offset, width),
    mmioWrite: (offset: number, width: number, value: number): void => mmio.device.mmioWrite(offset, width, value),
  }
  const driver = await VirtioBlkDriver.probe({ mmio, memory })
  await driver.write(0, new Uint8Array(512).fill(1))
  const snapshot = bare.snapshot()
  await bare.close()
  const activity = new Activity()
  const made: Rig = { driver, activity, allocated: 0, isFull: false, interrupts: [] } as unknown as Rig
  const counted = GuestMemory.adopt({
    memory: memory.memory,
    regions: memory.regions,
    allocate: (bytes) => {
      if (made.isFull) throw new Error('there is no memory left')
      made.allocated++
      return memory.allocate(bytes)
    },
  })
  made.disk = await RecordedDisk.restore({
    snapshot,
    memory: counted,
    backend,
    // As a machine does it: not inside the device's call, and by a look at the registers.
    onInterrupt: () => queueMicrotask(() => made.disk && made.interrupts.push(made.disk.mmioRead(0x060, 4))),
    onFailure: (text) => assert.unreachable(text),
    onStep: ({ number }, index, step) => {
      activity.step({ number, begun: (number - 1) * RECORDING_MS }, index, step)
    },
  })
  mmio.device = made.disk
  return made
}

async function sealed({ disk }: Rig, number: number): Promise<Trace> {
  const recording = disk.recordingOf(number)
  assert.ok(recording, `recording ${number} is not kept`)
  return Trace.parse(await recording.recorder.trace().bytes())
}

test('new recording: while a head waits for tokens -> served by the next device; both recordings replay', async () => {
  const one = await rig()
  const { disk, driver } = one
  await driver.write(8, new Uint8Array(1024).fill(7))
  disk.setThrottle({ iops: 20, iopsBurst: 20 })
  const waits = Promise.all(Array.from({ length: 23 }, () => driver.read(8, 1024)))
  await new Promise((resolve) => setImmediate(resolve))
  assert.is(disk.counters.currentlyThrottled, 1)
  await disk.startRecording()
  for (const data of await waits) assert.equal(data, new Uint8Array(1024).fill(7))
  assert.is(disk.recording.number, 2)
  assert.is(disk.counters.readsCompleted, 23)
  const { rows } = one.activity.report(1, disk.counters, disk.inFlight)
  const waited = rows.filter(({ waitedMillis = 0 }) => waitedMillis > RECORDING_MS / 2)
  assert.is(waited.length, 1, 'it waited since the recording before')
  for (const number of [1, 2]) {
    const trace = await sealed(one, number)
    assert.is(trace.steps.filter(({ call }) => call === 'thaw').length, 1)
    assert.equal(replay(trace), { steps: trace.steps.length, digest: trace.digest })
  }
  await disk.startRecording()
  assert.is(disk.recordingOf(1), undefined)
  assert.is(one.allocated, 2, 'two state blocks, whatever the recordings')
  await driver.read(8, 1024)
  await driver.close()
  await disk.close()
})

test('new recording: cannot be begun -> the present one goes on, with all that follows; tried again -> the next', async () => {
  const one = await rig()
  const { disk, driver, activity } = one
  await driver.write(8, new Uint8Array(512).fill(5))
  one.isFull = true
  await disk.startRecording().then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, 'no memory left'),
  )
  assert.is(disk.recording.number, 1)
  assert.equal(await driver.read(8, 512), new Uint8Array(512).fill(5))
  assert.is(activity.requests, 2)
  assert.equal(
    activity.report(1, disk.counters, disk.inFlight).rows.map(({ recording, operation }) => [recording, operation]),
    [
      [1, 'write'],
      [1, 'read'],
    ],
  )
  one.isFull = false
  await disk.startRecording()
  await driver.read(8, 512)
  assert.equal([disk.recording.number, activity.requests], [2, 1])
  for (const number of [1, 2]) {
    const trace = await sealed(one, number)
    assert.equal(replay(trace), { steps: trace.steps.length, digest: trace.digest })
  }
  assert.is(list(await sealed(one, 1)).filter(({ kind }) => kind === 'request').length, 2)
  await driver.close()
  await disk.close()
})

test('new recording: takes microtasks only, so that a machine sees nothing of it', async () => {
  const { disk, driver } = await rig()
  const order: string[] = []
  setImmediate(() => order.push('the next turn'))
  const started = disk.startRecording().then(() => order.push('the recording'))
  assert.throws(() => disk.mmioRead(0, 4), 'while it changed its recording')
  await started
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(order, ['the recording', 'the next turn'])
  assert.is(disk.mmioRead(0, 4), 0x74726976)
  await driver.close()
  await disk.close()
})

test('new recording: with an interrupt that nobody has acknowledged -> raised again, when the registers are there', async () => {
  const { disk, driver, interrupts } = await rig()
  const INTERRUPT_STATUS = 0x060
  interrupts.length = 0
  disk.setThrottle({ iops: 1, iopsBurst: 1 })
  await driver.read(0, 512)
  const before = disk.mmioRead(INTERRUPT_STATUS, 4)
  interrupts.length = 0
  await disk.startRecording()
  assert.is(before, 1, 'this driver polls, and acknowledges nothing')
  assert.equal(interrupts, [1], 'InterruptStatus as it is read when the interrupt comes')
  await driver.close()
  await disk.close()
})

test('activity: rates, totals and rows of what was done since the last report', async () => {
  const { disk, driver, activity } = await rig()
  activity.report(1, disk.counters, disk.inFlight)
  await driver.write(16, new Uint8Array(4096).fill(3))
  await driver.read(16, 512)
  await driver.read(17, 512)
  await driver.flush()
  await driver.getId()
  await driver.read(1 << 20, 512).catch(() => {})
  const { rates, rows } = activity.report(2, disk.counters, disk.inFlight)
  assert.equal(
    [rates.reads, rates.writes, rates.flushes, rates.bytesRead, rates.bytesWritten, rates.stalls],
    [1, 0.5, 0.5, 512, 2048, 0],
  )
  assert.is(rates.totals.reads, 2)
  assert.is(rates.totals.errors, 1)
  assert.equal(
    rows.map(({ operation, sector, bytes, status }) => [operation, sector, bytes, status]),
    [
      ['write', 16, 4096, 0],
      ['read', 16, 512, 0],
      ['read', 17, 512, 0],
      ['flush', undefined, 0, 0],
      ['get id', undefined, 0, 0],
      ['refused', undefined, 0, 1],
    ],
  )
  assert.match(rows[5]?.decision ?? '', 'fault f')
  assert.is(activity.requests, 6)
  assert.equal(activity.report(1, disk.counters, disk.inFlight).rows, [])
  await driver.close()
  await disk.close()
})

test('activity: a row names the step of the trace that took the request', async () => {
  const one = await rig()
  for (let i = 0; i < 3; i++) await one.driver.write(i, new Uint8Array(512))
  const { rows } = one.activity.report(1, one.disk.counters, one.disk.inFlight)
  const listed = list(await sealed(one, 1)).filter(({ kind }) => kind === 'request')
  assert.equal(
    rows.map(({ step }) => step),
    listed.map(({ step }) => step),
  )
  await one.driver.close()
  await one.disk.close()
})

test('activity: requests in flight are those between avail.idx and used.idx, the waiting ones too', async () => {
  const { disk, driver, activity } = await rig()
  assert.is(activity.report(1, disk.counters, disk.inFlight).rates.inFlight, 0)
  disk.setThrottle({ iops: 10, iopsBurst: 10 })
  const all = Promise.all(Array.from({ length: 13 }, (_, i) => driver.read(i, 512)))
  await new Promise((resolve) => setImmediate(resolve))
  const during = activity.report(1, disk.counters, disk.inFlight).rates
  assert.is(during.inFlight, 3)
  assert.is(during.isWaiting, true)
  assert.ok(during.stalls > 0)
  const waiting = activity.report(1, disk.counters, disk.inFlight).rates
  assert.is(waiting.inFlight, 3, 'nothing happened since, and they wait still')
  await all
  const { rows } = activity.report(1, disk.counters, disk.inFlight)
  assert.ok(rows.some(({ waitedMillis = 0 }) => waitedMillis > 10))
  assert.equal(
    [activity.report(1, disk.counters, disk.inFlight).rates.inFlight, disk.counters.currentlyThrottled],
    [0, 0],
  )
  await driver.close()
  await disk.close()
})

test('activity: more requests than the list shows -> the newest', async () => {
  const { disk, driver, activity } = await rig()
  for (let i = 0; i < 3 * ROWS_MAX; i++) await driver.read(i % 100, 512)
  const { rows } = activity.report(1, disk.counters, disk.inFlight)
  assert.is(rows.length, ROWS_MAX)
  assert.is(rows.at(-1)?.sector, (3 * ROWS_MAX - 1) % 100)
  await driver.close()
  await disk.close()
})

test.run()
