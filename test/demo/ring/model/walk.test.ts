// The walk through a trace: on every golden trace and on one that begins with a restore the pictures agree with the
// engine, which is played beside it, after every step; on a long recording and a hostile one, too.

import { readdirSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import { MemoryBackend } from '../../../../host/backend/memory.ts'
import { MachineModel, type Moment, partCount } from '../../../../host/demo/ring/model/machine-model.ts'
import { PRESETS } from '../../../../host/demo/ring/model/presets.ts'
import { runScenario } from '../../../../host/demo/ring/model/run-scenario.ts'
import { type Walk, walkOf } from '../../../../host/demo/ring/model/walk.ts'
import { DEVICES, DRIVERS, type Picture, UNKNOWN } from '../../../../host/demo/ring/model/walk-types.ts'
import { GuestMemory } from '../../../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../../../host/device/virtio-blk.ts'
import { Raw } from '../../../../host/driver/raw.ts'
import { readable, writable } from '../../../../host/driver/raw-request.ts'
import { type EngineExports, loadEngine } from '../../../../host/engine/engine.ts'
import { COUNTER_INDEX } from '../../../../host/engine/state.ts'
import { replay } from '../../../../host/replay/player.ts'
import { Recorder } from '../../../../host/replay/recorder.ts'
import { ARGUMENTS, type Call } from '../../../../host/replay/step.ts'
import { Trace } from '../../../../host/replay/trace.ts'

const test = suite('walk through a trace')
const FOLDER = 'test/golden'
const GOLDEN = readdirSync(FOLDER).filter((file) => file.endsWith('.trace'))

const load = (file: string): Promise<Trace> => Trace.parse(new Uint8Array(readFileSync(`${FOLDER}/${file}`)))

/** Plays the trace on the engine; `after` is called after each step with the engine's memory and state. */
function beside(trace: Trace, after: (step: number, memory: WebAssembly.Memory, state: number) => void): void {
  let step = 0
  const engine = (memory: WebAssembly.Memory): EngineExports => {
    const real = loadEngine(memory) as EngineExports
    const calls = real as unknown as Record<Call, (...args: number[]) => number>
    const wrapped: Record<string, unknown> = { ...real }
    for (const call of Object.keys(ARGUMENTS) as Call[]) {
      wrapped[call] = (state: number, ...args: number[]) => {
        const result = calls[call](state, ...args)
        after(step++, memory, state)
        return result
      }
    }
    return wrapped as unknown as EngineExports
  }
  const { divergence } = replay(trace, { engine })
  assert.is(divergence?.message, undefined)
  assert.is(step, trace.steps.length)
}

/** What of the picture the engine knows too. */
function shown(picture: Picture): unknown {
  const { registers, device, queue, counters } = picture
  return {
    registers: [registers.status, registers.interruptStatus, registers.configGeneration, registers.queueSel],
    selectors: [registers.deviceFeaturesSel, registers.driverFeaturesSel],
    accepted: registers.features.filter(({ isAccepted }) => isAccepted).map(({ bit }) => bit),
    fault: registers.ringFault,
    eventIdx: registers.negotiated.includes('EVENT_IDX'),
    capacity: device.capacitySectors,
    queue: queue && [queue.size, queue.isReady, queue.isStalled, queue.descGpa, queue.availGpa, queue.usedGpa],
    cursors: queue && [queue.nextAvail, queue.nextUsed, queue.publishedUsed],
    taken: queue?.isReady ? takenHeads(picture) : [],
    counters: { ...counters },
  }
}

function takenHeads({ queue, requests }: Picture): number[] {
  const taken = requests.filter(
    ({ state, queue: of }) => of === queue?.index && ['in flight', 'answered', 'judged'].includes(state),
  )
  return taken.map(({ head }) => head).sort((a, b) => a - b)
}

function known(memory: WebAssembly.Memory, state: number, queueIndex: number): unknown {
  const view = new DataView(memory.buffer, state)
  const u32 = (at: number): number => view.getUint32(at, true)
  const at = abi.STATE_QUEUE_TABLE + queueIndex * abi.QUEUE_BYTES
  const words = [0, 1, 2, 3].map((i) => u32(abi.STATE_DRIVER_FEATURES + 4 * i))
  const counters: Record<string, number> = {}
  for (const [name, index] of Object.entries(COUNTER_INDEX)) {
    counters[name] = Number(view.getBigUint64(abi.STATE_COUNTERS + 8 * index, true))
  }
  const epoch = view.getBigUint64(at + abi.QUEUE_EPOCH, true)
  const heads = new DataView(memory.buffer, u32(at + abi.QUEUE_HEADS))
  const isTaken = (head: number): boolean => {
    const mark = heads.getBigUint64(8 * head, true)
    return mark === 2n ** 64n - 1n || mark === epoch
  }
  const size = u32(at + abi.QUEUE_SIZE)
  const isReady = u32(at + abi.QUEUE_READY) === 1
  return {
    registers: [abi.STATE_STATUS, abi.STATE_INTERRUPT_STATUS, abi.STATE_CONFIG_GENERATION, abi.STATE_QUEUE_SEL].map(
      u32,
    ),
    selectors: [abi.STATE_DEVICE_FEATURES_SEL, abi.STATE_DRIVER_FEATURES_SEL].map(u32),
    accepted: Array.from({ length: 128 }, (_, bit) => bit).filter(
      (bit) => (((words[bit >> 5] as number) >>> (bit & 31)) & 1) !== 0,
    ),
    fault: view.getInt32(abi.STATE_FAULT, true),
    eventIdx: u32(abi.STATE_EVENT_IDX) !== 0,
    capacity: Number(view.getBigUint64(abi.STATE_CAPACITY_SECTORS, true)),
    queue: [
      size,
      isReady,
      u32(at + abi.QUEUE_STALLED) === 1,
      ...[abi.QUEUE_DESC_GPA, abi.QUEUE_AVAIL_GPA, abi.QUEUE_USED_GPA].map((gpa) => view.getBigUint64(at + gpa, true)),
    ],
    cursors: [abi.QUEUE_NEXT_AVAIL, abi.QUEUE_NEXT_USED, abi.QUEUE_USED_IDX].map((field) => u32(at + field)),
    taken: isReady ? Array.from({ length: size }, (_, head) => head).filter(isTaken) : [],
    counters,
  }
}

/** Every byte that the picture knows is in the engine's guest RAM. Returns how many those are. */
function compareRam(walk: Walk, frame: number, memory: WebAssembly.Memory, state: number): number {
  const view = new DataView(memory.buffer, state)
  let bytes = 0
  for (let i = 0; i < view.getUint32(abi.STATE_REGIONS, true); i++) {
    const region = abi.STATE_REGION_TABLE + i * abi.REGION_BYTES
    const gpa = Number(view.getBigUint64(region + abi.REGION_GPA, true))
    const size = Number(view.getBigUint64(region + abi.REGION_SIZE, true))
    const ram = new Uint8Array(memory.buffer, view.getUint32(region + abi.REGION_PTR, true), size)
    for (let from = 0; from < size; from += 1 << 20) {
      const dump = walk.dump(frame, gpa + from, Math.min(size - from, 1 << 20))
      for (let at = dump.known.findIndex(Boolean); at >= 0 && at < dump.known.length; at++) {
        if (dump.known[at] === UNKNOWN) continue
        bytes++
        if (dump.bytes[at] !== ram[from + at]) {
          assert.unreachable(`frame ${frame}: 0x${(gpa + from + at).toString(16)} is not ${dump.bytes[at]}`)
        }
      }
    }
  }
  return bytes
}

/** The picture after every step, but for the long ones after some of them, and RAM now and then. */
function compareAll(trace: Trace, every = 1): { compared: number; bytes: number } {
  const walk = walkOf(trace)
  let compared = 0
  let bytes = 0
  beside(trace, (step, memory, state) => {
    if (step % every !== 0 && step !== trace.steps.length - 1) return
    const frame = walk.firstFrameOf(step + 1) - 1
    const picture = walk.pictureAt(frame)
    assert.equal(shown(picture), known(memory, state, picture.queue?.index ?? 0), `step ${step}`)
    compared++
    if (step % 997 === 0 || step === trace.steps.length - 1) bytes += compareRam(walk, frame, memory, state)
  })
  return { compared, bytes }
}

for (const file of GOLDEN) {
  test(`walk: ${file}, after every step -> registers, queue and counters of the engine, and its guest RAM`, async () => {
    const trace = await load(file)
    const { compared, bytes } = compareAll(trace)
    assert.is(compared, trace.steps.length)
    assert.ok(bytes > 50, `${bytes} bytes compared`)
  })

  test(`walk: ${file}, all frames -> each with a text and references, and no number is left out`, async () => {
    const walk = walkOf(await load(file))
    let steps = 0
    for (let i = 0; i < walk.length; i++) {
      const { index, step, text, field, kind, references, gpa } = walk.frameAt(i)
      assert.is(index, i)
      assert.is(walk.stepOf(i), step)
      if (i === walk.firstFrameOf(step)) steps++
      assert.not.match(`${text} ${field}`, /undefined|NaN|-1\b|\[object/)
      assert.is(typeof gpa === 'number', kind === 'load' || kind === 'store')
      if (text.startsWith('init')) continue
      assert.ok(references.length > 0, text)
    }
    assert.is(steps, walk.trace.steps.length)
  })
}

test('walk: linux.trace, backwards and at random -> the same pictures as forwards', async () => {
  const walk = walkOf(await load('linux.trace'))
  const text = (frame: number): string =>
    JSON.stringify(walk.pictureAt(frame), (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
  const frames = Array.from({ length: 60 }, (_, i) => Math.floor((i * walk.length) / 60))
  const forwards = frames.map(text)
  for (let i = frames.length - 1; i >= 0; i--) assert.is(text(frames[i] as number), forwards[i])
  for (let i = 0; i < 60; i++) assert.is(text(frames[(i * 37) % 60] as number), forwards[(i * 37) % 60])
})

// A restored device ----------------------------------------------------------------------------------------------

async function restored(): Promise<Trace> {
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const backend = new MemoryBackend(64 << 10)
  let now = 5e9
  const clock = (): number => now
  const first = await VirtioBlk.create({ memory, backend, clock, throttle: { iops: 1, iopsBurst: 1 } })
  const { queue } = new Raw({ mmio: first, memory }).negotiate({ eventIdx: true })
  queue.run({ type: 0, sector: 1, dataIn: 512 })
  queue.run({ type: 0, sector: 2, dataIn: 512 })
  const snapshot = first.snapshot()
  await first.close()
  const recorder = new Recorder()
  const device = await VirtioBlk.restore(snapshot, { memory, backend, clock, engine: recorder.engine })
  for (let i = 0; i < 4; i++) {
    now += 25e7
    device.poll()
  }
  await device.close()
  return recorder.trace()
}

test('walk: a trace that begins with a restore -> registers and rings of the snapshot, then as the engine', async () => {
  const trace = await restored()
  assert.is(trace.steps[2]?.call, 'thaw')
  assert.is(compareAll(trace).compared, trace.steps.length)
  const walk = walkOf(trace)
  const { registers, queue } = walk.pictureAt(walk.firstFrameOf(2))
  assert.equal(registers.statusNames, ['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK', 'DRIVER_OK'])
  assert.ok(registers.negotiated.includes('EVENT_IDX'))
  assert.equal([queue?.isReady, queue?.isStalled, queue?.nextAvail, queue?.publishedUsed], [true, true, 1, 1])
  // The ring is the driver's, and nobody has looked at it yet.
  assert.is(queue?.avail?.idx.value, undefined)
  const last = walk.pictureAt(walk.length - 1)
  assert.equal([last.queue?.isStalled, last.queue?.nextAvail, last.queue?.used?.idx.value], [false, 2, 2])
  assert.equal(
    last.requests.map(({ state, status, usedLen }) => [state, status, usedLen]),
    [['published', 0, 513]],
  )
})

// What is known and what is not ------------------------------------------------------------------------------------

test('walk: without the guest image -> a descriptor is known once both its halves are loaded, what is not stays so', async () => {
  const read = PRESETS.find(({ id }) => id === 'read')
  assert.ok(read)
  const { trace, before } = await runScenario(read.scenario)
  const walk = walkOf(trace)
  const plan = trace.steps.findLastIndex(({ call }) => call === 'plan')
  const frames = walk.framesAt(walk.firstFrameOf(plan), walk.firstFrameOf(plan + 1))
  const rest = frames.find(({ text }) => text === 'load descriptor 0: len 16, NEXT, next 1')
  assert.ok(rest)
  const half = walk.pictureAt(rest.index - 1).queue?.descriptors[0]
  assert.equal([half?.addr, half?.len, half?.isKnown], [0x11c0n, undefined, false])
  const whole = walk.pictureAt(rest.index)
  const row = whole.queue?.descriptors[0]
  assert.equal([row?.len, row?.flagNames, row?.next, row?.isKnown, row?.touched], [16, ['NEXT'], 1, true, 'load'])
  assert.equal([row?.head, row?.position, row?.isInHand, row?.roles], [0, 0, true, ['header']])
  assert.is(whole.queue?.descriptors[5]?.isKnown, false)
  assert.equal(whole.touched, [{ gpa: 0x1008, len: 8, kind: 'load' }])
  // With it, all is known from the beginning.
  const image = walkOf(trace, before)
  assert.is(
    image.length,
    walk.length + before.changes.filter((change, i, all) => change.step !== all[i - 1]?.step).length,
  )
  assert.ok(image.pictureAt(image.start).queue?.descriptors.every(({ isKnown }) => isKnown))
})

test('walk: a read, frame by frame -> the chain in hand as it grows, and who wrote which byte', async () => {
  const read = PRESETS.find(({ id }) => id === 'read')
  assert.ok(read)
  const { trace, before } = await runScenario(read.scenario)
  const walk = walkOf(trace, before)
  const at = (text: string): Picture => {
    const frame = walk.framesAt(0, walk.length).findLast((each) => each.text === text)
    assert.ok(frame, text)
    return walk.pictureAt(frame.index)
  }
  const begun = at('load avail.ring[0] = 0: a chain begins at descriptor 0')
  assert.equal([begun.chain?.state, begun.chain?.descriptors], ['walking', []])
  const walked = at('load descriptor 2: len 1, WRITE')
  assert.equal(walked.chain?.descriptors, [0, 1, 2])
  assert.equal([walked.chain?.typeName, walked.chain?.sector], ['IN', 1n])
  assert.equal(walked.chain?.header, [{ gpa: 0x11c0n, len: 16 }])
  assert.equal(walked.chain?.statusByte, { gpa: 0x1410n, value: 0xe5 })
  assert.equal(
    walked.queue?.descriptors.slice(0, 3).map(({ roles }) => roles),
    [['header'], ['data'], ['status']],
  )
  const judged = at('decision on head 0: read (rule 11; 5.2.6)')
  assert.equal([judged.chain?.state, judged.chain?.code, judged.frame.code], ['in flight', 1, 1])
  assert.is(judged.queue?.nextAvail, 1)
  const moved = at('the back end read 512 of 512 bytes at sector 1, into 1 piece')
  const [data] = moved.chain?.data ?? []
  assert.equal([data?.gpa, data?.len, data?.writable], [0x11f0n, 512, true])
  assert.is(new TextDecoder().decode(data?.start.bytes), 'sector 00000001 ')
  assert.equal([...(data?.start.known ?? [])], new Array(16).fill(DEVICES))
  assert.equal([...walk.dump(moved.frame.index, 0x1410, 1).known], [DRIVERS])
  const answered = at('store used.ring[0] = {id 0, len 513}')
  assert.equal([answered.chain?.state, answered.chain?.status, answered.chain?.usedLen], ['answered', 0, 513])
  const { touched } = answered
  assert.equal(touched, [{ gpa: Number(answered.queue?.usedGpa) + spec.VIRTQ_USED_RING, len: 8, kind: 'store' }])
  assert.is(answered.queue?.used?.elements[0]?.len.touched, 'store')
  assert.equal([...walk.dump(answered.frame.index, 0x1410, 1).known], [DEVICES])
  const published = at('store used.idx = 1')
  assert.equal([published.chain?.state, published.queue?.publishedUsed], ['published', 1])
  assert.equal(published.registers.interruptNames, ['VRING'])
})

// Long and hostile -------------------------------------------------------------------------------------------------

async function long(requests: number): Promise<{ trace: Trace; used: number }> {
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const recorder = new Recorder({ clock: () => 0 })
  const backend = new MemoryBackend(64 << 10)
  const device = await VirtioBlk.create({ memory, backend, clock: () => 1e9, engine: recorder.engine })
  const { queue } = new Raw({ mmio: device, memory }).negotiate({ queues: [{ size: 64 }] })
  for (let i = 0; i < requests; i += 4) {
    for (let j = 0; j < 4; j++) {
      const at = 0x40000 + j * 1024
      const data = { addr: at + 64 }
      const isRead = (i + j) % 3 !== 0
      const layout = [
        readable(16, { addr: at }),
        isRead ? writable(512, data) : readable(512, data),
        writable(1, { addr: at + 32 }),
      ]
      queue.publish(queue.request({ type: isRead ? 0 : 1, sector: (i + j) % 128, layout, head: j * 4 }).head)
    }
    queue.kick()
  }
  await device.close()
  return { trace: recorder.trace(), used: queue.usedIdx }
}

/** What a model is taken through: whole steps, as frames; and single frames. */
function countFrames() {
  const { applyAll, apply } = MachineModel.prototype
  const counts = { inSteps: 0, single: 0 }
  let isWhole = false
  MachineModel.prototype.applyAll = function (moment: Moment) {
    counts.inSteps += partCount(moment.step, moment.changes.length > 0)
    isWhole = true
    applyAll.call(this, moment)
    isWhole = false
  }
  MachineModel.prototype.apply = function (moment, part) {
    if (!isWhole) counts.single++
    apply.call(this, moment, part)
  }
  return {
    /** since it was last asked */
    since(): typeof counts {
      const { inSteps, single } = counts
      counts.inSteps = counts.single = 0
      return { inSteps, single }
    },
    stop: () => Object.assign(MachineModel.prototype, { applyAll, apply }),
  }
}

test('walk: a recording of 100,000 requests -> the last picture and any other, without making them all', async () => {
  const { trace, used } = await long(100_000)
  const longest = trace.steps.reduce((most, step) => Math.max(most, partCount(step, false)), 0)
  const counted = countFrames()
  const start = performance.now()
  const walk = walkOf(trace)
  const made = performance.now()
  assert.equal(counted.since(), { inSteps: 0, single: 0 }, 'nothing is looked at before it is asked for')
  const last = walk.pictureAt(walk.length - 1)
  const scanned = performance.now()
  const scan = counted.since()
  assert.is(scan.inSteps + scan.single, walk.length, 'each step once')
  assert.ok(scan.single <= longest, `${scan.single} single frames`)
  // From the copy before it: the walk keeps 256 at most.
  const most = Math.ceil(walk.length / 256) + 2 * longest
  assert.is(last.counters.readsCompleted + last.counters.writesCompleted, 100_000)
  assert.is(last.queue?.used?.idx.value, used)
  assert.is(last.requests.length, 32)
  const JUMPS = 50
  for (let i = 0; i < JUMPS; i++) {
    const frame = (i * 7_919_111) % walk.length
    const { counters, queue } = walk.pictureAt(frame)
    const published = (counters.readsCompleted + counters.writesCompleted) & 0xffff
    // Requests are counted with the publish, at the end of its step.
    const distance = ((queue?.publishedUsed ?? 0) - published) & 0xffff
    assert.ok(distance === 0 || distance === 4, `frame ${frame}`)
    const { inSteps, single } = counted.since()
    assert.ok(inSteps + single <= most && single <= longest, `a jump took ${inSteps} + ${single} frames`)
  }
  const jumped = performance.now()
  for (let i = 0; i < 200; i++) {
    walk.pictureAt(walk.length - 1 - i)
    const { inSteps, single } = counted.since()
    assert.ok(inSteps + single <= most && single <= longest, `a step back took ${inSteps} + ${single} frames`)
  }
  const back = performance.now()
  counted.stop()
  const ms = (from: number, to: number, count = 1): string => `${((to - from) / count).toFixed(1)} ms`
  console.log(
    `\n  ${trace.steps.length} steps, ${walk.length} frames: made in ${ms(start, made)}, last picture after` +
      ` ${ms(made, scanned)}, a jump ${ms(scanned, jumped, JUMPS)}, a step back ${ms(jumped, back, 200)}`,
  )
})

test('walk: a trace of a device that no engine would make -> refused', async () => {
  const trace = await load('request-e.trace')
  const [first, ...rest] = trace.steps
  assert.ok(first?.config)
  const words = [...first.config.words]
  words[4] = 0xffffffff
  const wrong = new Trace([{ ...first, config: { ...first.config, words } }, ...rest])
  assert.throws(() => walkOf(wrong), /^step 0: no device has 4294967295 queues of 256 entries$/)
})

test('walk: a frame that is not there -> RangeError', async () => {
  const walk = walkOf(await load('request-e.trace'))
  for (const frame of [-1, walk.length, 0.5, Number.NaN]) {
    assert.throws(() => walk.pictureAt(frame), /^walk: there is no frame /)
  }
})

test.run()
