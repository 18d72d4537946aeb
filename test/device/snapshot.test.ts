// Snapshots of every state a device can be in, restored on every flavour of the engine over a copy of guest RAM
// (device rule 26), and the pause of the inline device that comes before them (device rule 25). Bytes that are no
// snapshot: snapshot-bytes.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend, VirtioBlk, validateSnapshot } from '../../host/index.ts'
import { answered, diskBytes, each, pattern, unanswered } from '../support/device.ts'
import { EngineTap } from '../support/engine-tap.ts'
import type { Flavour } from '../support/engines.ts'
import { LateBackend } from '../support/late-backend.ts'
import { MovingDevice, moves, moving } from '../support/moving-device.ts'
import { settle, within } from '../support/within.ts'

const test = suite('device snapshot')
const LIMIT_MS = 5000
const SECOND = 1_000_000_000

function eachMove(name: string, run: (from: Flavour, to: Flavour) => Promise<void>): void {
  for (const [move, from, to] of moves) test(`${name} [${move}]`, () => run(from, to))
}

function read(sector: number): { type: number; sector: number; dataIn: number } {
  return { type: 0, sector, dataIn: 512 }
}

// What goes with a snapshot ----------------------------------------------------------------------------------

eachMove(
  'device rule 26: idle in the middle of its work -> the same registers, rings and counters',
  async (from, to) => {
    const f = await moving(from, { features: ['FLUSH', 'RING_EVENT_IDX', 'SEG_MAX'], segMax: 5, blockSize: 512 })
    const { queue } = f.raw.negotiate({ eventIdx: true, queues: [{ size: 8 }] })
    for (let i = 0; i < 11; i++) answered(queue.run(read(i)), 0, 513)
    answered(queue.run({ type: 1, sector: 90, dataOut: pattern(512) }), 0, 1)
    f.raw.reg.write(0x64, 1)
    const [bytes, ram, before] = [f.device.snapshot(), f.ram(), f.device.counters]
    const registers = [0x60, 0x70, 0xfc, 0x44, 0x100, 0x10c].map((offset) => f.device.mmioRead(offset, 4))
    await f.move(to)
    assert.equal(
      [0x60, 0x70, 0xfc, 0x44, 0x100, 0x10c].map((offset) => f.device.mmioRead(offset, 4)),
      registers,
    )
    assert.equal(registers.slice(1), [0x0f, 1, 1, 2048, 5])
    assert.equal({ ...f.device.counters, drains: before.drains }, before)
    assert.equal(f.ram(), ram, 'an idle device has nothing to write')
    assert.is(f.interrupts, 0)
    assert.equal(f.device.snapshot().slice(0, 184), bytes.slice(0, 184))
    const more = Array.from({ length: 11 }, (_, i) => queue.run(read(20 + i)))
    const last = more.at(-1)
    assert.ok(last)
    answered(last, 0, 513)
    assert.equal(last.data(), diskBytes(30 * 512, 512))
    assert.is(queue.usedIdx, 23)
  },
)

eachMove('past bug 41: chains pending and no kick -> served after the restore by itself', async (from, to) => {
  const f = await moving(from)
  const { queue } = f.raw.negotiate()
  answered(queue.run(read(1)), 0, 513)
  f.raw.reg.write(0x64, 1)
  const pending = [7, 8, 9].map((sector) => queue.request(read(sector)))
  queue.publish(...pending.map(({ head }) => head))
  for (const request of pending) unanswered(request)
  await f.move(to)
  for (const [i, request] of pending.entries()) {
    answered(request, 0, 513)
    assert.equal(request.data(), diskBytes((7 + i) * 512, 512))
  }
  assert.equal([queue.usedIdx, f.interrupts, f.raw.reg.read(0x60)], [4, 1, 1])
})

eachMove(
  'device rule 26: stalled -> the rest of the wait, the same balance, then served in order',
  async (from, to) => {
    const f = await moving(from, { throttle: { iops: 2, bytesPerSecond: 1 << 20 } })
    const { queue } = f.raw.negotiate()
    for (let i = 0; i < 2; i++) answered(queue.run(read(i)), 0, 513)
    const head = queue.run(read(5))
    unanswered(head)
    f.now += 0.2 * SECOND
    await f.move(to)
    assert.equal(f.device.counters.throttledNanos, 0.2 * SECOND)
    assert.equal([f.device.counters.currentlyThrottled, f.device.counters.throttledCount], [1, 1])
    queue.kick()
    unanswered(head, 'a kick does not help')
    f.now += 0.3 * SECOND - 1
    queue.kick()
    unanswered(head, '1 ns too early')
    f.now += 1
    queue.kick()
    answered(head, 0, 513)
    assert.equal(f.device.counters.throttledNanos, 0.5 * SECOND)
    assert.equal([f.device.counters.currentlyThrottled, f.device.counters.throttledCount], [0, 1])
    const next = queue.run(read(6))
    f.now += 0.5 * SECOND - 1
    queue.kick()
    unanswered(next, 'no fresh burst')
    f.now += 1
    queue.kick()
    answered(next, 0, 513)
  },
)

each(test, 'device rule 26: a debt and a fraction of a token -> exactly the same rate after the restore', async (f) => {
  const [straight, moved] = [
    await moving(f, { throttle: { iops: 7, iopsBurst: 9 } }),
    await moving(f, { throttle: { iops: 7, iopsBurst: 9 } }),
  ]
  const served: number[][] = []
  for (const device of [straight, moved]) {
    const { queue } = device.raw.negotiate({ queues: [{ size: 64 }] })
    const seen: number[] = []
    queue.publish(...Array.from({ length: 21 }, () => queue.request({ type: 4 }).head))
    for (let i = 0; i < 300; i++) {
      if (device === moved && i % 50 === 49) await device.move(f)
      device.now += 7_654_321
      device.device.poll()
      seen.push(queue.usedIdx)
    }
    served.push(seen)
  }
  assert.equal(served[1], served[0])
  assert.is(served[0]?.at(-1), 21)
})

test('device rule 26: stalled, on a real clock -> the timer of the new device serves the head', async () => {
  const [, from, to] = moves[1] as (typeof moves)[number]
  const f = await moving(from, { throttle: { iops: 4 } })
  const { queue } = f.raw.negotiate()
  for (let i = 0; i < 4; i++) answered(queue.run(read(i)), 0, 513)
  const head = queue.run(read(5))
  unanswered(head)
  const target = f.target(to)
  let told: () => void = () => {}
  const interrupted = new Promise<void>((resolve) => {
    told = resolve
  })
  const bytes = f.device.snapshot()
  f.raw.reg.write(0x64, 1)
  const { clock, ...rest } = target
  assert.ok(clock)
  let calls = 0
  const onInterrupt = (): void => {
    // The first one is that of the requests before, which was not acknowledged in the snapshot.
    if (++calls === 2) told()
  }
  const disk = await VirtioBlk.restore(bytes, { ...rest, onInterrupt })
  await within(LIMIT_MS, interrupted, 'the stalled head')
  f.memory = target.memory
  answered(head, 0, 513)
  await disk.close()
})

eachMove(
  'device rule 26: an interrupt that was not acknowledged -> raised again, once, and acknowledged',
  async (from, to) => {
    const f = await moving(from)
    const { queue } = f.raw.negotiate()
    answered(queue.run(read(1)), 0, 513)
    f.device.setCapacity(512 * 512)
    await f.move(to, { backend: f.disk, override: ['capacity'] })
    assert.equal([f.interrupts, f.raw.reg.read(0x60), f.device.counters.interrupts], [1, 3, 3])
    f.raw.reg.write(0x64, 3)
    assert.is(f.raw.reg.read(0x60), 0)
    await f.move(to)
    assert.is(f.interrupts, 0, 'nothing is pending any more')
  },
)

eachMove('device rule 26: poisoned -> still needs its reset, and comes back with it', async (from, to) => {
  const f = await moving(from)
  const { queue } = f.raw.negotiate()
  answered(queue.run(read(1)), 0, 513)
  queue.submit(99)
  assert.is(f.raw.reg.status, 0x4f)
  await f.move(to)
  assert.equal([f.raw.reg.status, f.raw.reg.read(0x60), f.interrupts], [0x4f, 3, 1])
  queue.kick()
  assert.is(f.device.counters.ringFaults, 1)
  const again = f.raw.negotiate()
  answered(again.queue.run(read(2)), 0, 513)
})

eachMove('device rule 26: at each step before DRIVER_OK -> the driver goes on where it was', async (from, to) => {
  for (const upTo of ['reset', 'acknowledge', 'driver', 'features', 'featuresOk', 'queues'] as const) {
    const f = await moving(from)
    f.raw.reg.write(0x30, 3)
    f.raw.negotiate({ upTo })
    const status = f.raw.reg.status
    await f.move(to)
    assert.equal([f.raw.reg.status, f.interrupts], [status, 0], upTo)
    assert.is(f.device.counters.resets, 1)
    if (upTo !== 'queues') continue
    f.raw.reg.status = 0x0f
    assert.is(f.raw.reg.status, 0x0f)
  }
})

eachMove('device rule 26: a stopped queue, a queue set up and not ready, FAILED -> as they were', async (from, to) => {
  const f = await moving(from, { queues: 3 })
  f.raw.negotiate({ upTo: 'queues', queues: [{ size: 8 }, { queue: 1, size: 4, ready: false }] })
  f.raw.reg.write(0x30, 0)
  f.raw.reg.write(0x44, 0)
  f.raw.reg.status = 0x8b
  const bytes = f.device.snapshot()
  await f.move(to)
  assert.equal([f.raw.reg.status, f.raw.reg.read(0x44)], [0x8b, 0])
  assert.equal(f.device.snapshot(), bytes)
})

eachMove('device rule 26: a ring across two touching regions -> found again in the new memory', async (from, to) => {
  const f = new MovingDevice(from, [
    { gpa: 0, bytes: 0x40000 },
    { gpa: 0x40000, bytes: 0xc0000 },
  ])
  await f.start(from)
  const ring = { size: 16, desc: 0x40000 - 128, avail: 0x30000, used: 0x31000 }
  const { queue } = f.raw.negotiate({ queues: [ring] })
  for (let i = 0; i < 3; i++) answered(queue.run(read(i)), 0, 513)
  await f.move(to)
  for (let i = 0; i < 15; i++) answered(queue.run(read(i)), 0, 513)
  assert.is(queue.usedIdx, 18)
})

eachMove(
  'device rules 12 and 26: a driver without FLUSH -> its writes stay durable before they complete',
  async (from, to) => {
    const f = await moving(from)
    const { queue } = f.raw.negotiate({ flush: false })
    answered(queue.run({ type: 1, sector: 0, dataOut: pattern(512) }), 0, 1)
    const backend = new LateBackend(f.disk)
    await f.move(to, { backend })
    const write = queue.run({ type: 1, sector: 1, dataOut: pattern(512) })
    backend.finishAll()
    await settle()
    unanswered(write)
    assert.equal(backend.calls, ['write 512+512', 'flush'])
    backend.finishAll()
    await settle()
    answered(write, 0, 1)
  },
)

each(
  test,
  'device rules 7 and 26: after a trap in the middle of a drain -> needs its reset, and comes back',
  async (flavour) => {
    for (const [call, when] of [
      ['plan', 'after'],
      ['complete', 'before'],
      ['complete', 'after'],
      ['publish', 'before'],
    ] as const) {
      const f = new MovingDevice(flavour)
      const tap = new EngineTap(flavour.engine)
      await f.start({ ...flavour, engine: tap.engine })
      const { queue } = f.raw.negotiate()
      answered(queue.run(read(1)), 0, 513)
      tap.trapNext(call, when)
      queue.run(read(2))
      assert.is(f.raw.reg.status, 0x4f)
      await f.move(flavour)
      assert.equal([f.raw.reg.status, f.interrupts, queue.usedIdx], [0x4f, 1, 1], `${when} ${call}`)
      queue.kick()
      assert.is(queue.usedIdx, 1)
      const again = f.raw.negotiate()
      for (let i = 0; i < 40; i++) answered(again.queue.run({ type: 4 }), 0, 1)
    }
  },
)

// Back ends that are late ------------------------------------------------------------------------------------

eachMove('past bug 42: requests in flight -> waited for; each is completed exactly once', async (from, to) => {
  const f = new MovingDevice(from)
  const backend = new LateBackend(f.disk)
  await f.start(from, {}, backend)
  const { queue } = f.raw.negotiate()
  const first = [1, 2, 3].map((sector) => queue.run(read(sector)))
  assert.throws(() => f.device.snapshot(), /await disk\.pause\(\)/)
  let isQuiet = false
  const paused = f.device.pause().then(() => {
    isQuiet = true
  })
  const later = queue.run(read(9))
  backend.pending[1]?.finish()
  await settle()
  assert.equal([isQuiet, queue.usedIdx, backend.calls.length], [false, 1, 3])
  assert.throws(() => f.device.snapshot(), /await disk\.pause\(\)/)
  backend.finishAll()
  await within(LIMIT_MS, paused, 'pause')
  const ram = f.ram()
  for (const request of first) answered(request, 0, 513)
  unanswered(later)
  const bytes = f.device.snapshot()
  await settle()
  assert.equal(f.ram(), ram, 'guest bytes changed while paused')
  const successor = new LateBackend(f.disk)
  await f.move(to, { backend: successor }, bytes)
  assert.equal(successor.calls, ['read 4608+512'])
  successor.finishAll()
  await settle()
  answered(later, 0, 513)
  assert.equal([queue.usedIdx, f.device.counters.readsCompleted, backend.calls.length], [4, 4, 3])
})

each(
  test,
  'device rule 25: inline: paused -> kicks, polls and new limits are remembered, resume serves',
  async (flavour) => {
    const f = await moving(flavour)
    const { queue } = f.raw.negotiate()
    await within(LIMIT_MS, f.device.pause(), 'pause')
    await within(LIMIT_MS, f.device.pause(), 'second pause')
    assert.ok(f.device.isPaused)
    const request = queue.run(read(4))
    const ram = f.ram()
    f.device.setThrottle({ iops: 100 })
    f.device.poll()
    f.device.setCapacity(1 << 19)
    f.now += SECOND
    f.device.poll()
    await settle()
    assert.equal(f.ram(), ram)
    f.device.resume()
    f.device.resume()
    answered(request, 0, 513)
    assert.not.ok(f.device.isPaused)
  },
)

each(
  test,
  'device rule 25: inline: paused with a back end that is late -> reset works, nothing old is served',
  async (flavour) => {
    const f = new MovingDevice(flavour)
    const backend = new LateBackend(f.disk)
    await f.start(flavour, {}, backend)
    const { queue } = f.raw.negotiate()
    queue.run(read(1))
    const paused = f.device.pause()
    f.raw.reg.status = 0
    const ram = f.ram()
    backend.finishAll()
    await within(LIMIT_MS, paused, 'pause')
    assert.equal(f.ram(), ram)
    const { queue: fresh } = f.raw.negotiate()
    const request = fresh.run(read(2))
    unanswered(request)
    const bytes = f.device.snapshot()
    assert.is(validateSnapshot(bytes).status, 0x0f)
    f.device.resume()
    backend.finishAll()
    await settle()
    answered(request, 0, 513)
  },
)

each(
  test,
  'device rule 25: inline: resumed or closed before the pause was there -> the pause resolves',
  async (flavour) => {
    const f = new MovingDevice(flavour)
    await f.start(flavour, {}, new LateBackend(f.disk))
    f.raw.negotiate().queue.run(read(1))
    const first = f.device.pause()
    f.device.resume()
    await within(LIMIT_MS, first, 'a pause that was resumed')
    const second = f.device.pause()
    await f.device.close()
    await within(LIMIT_MS, second, 'a pause that was closed')
    await within(LIMIT_MS, f.device.pause(), 'a pause of a closed disk')
    assert.throws(() => f.device.snapshot(), /closed/)
  },
)

each(test, 'device rule 26: taken from inside an interrupt -> refused, the device goes on', async (flavour) => {
  const f = await moving(flavour)
  let error: unknown
  f.onInterrupt = () => {
    try {
      f.device.snapshot()
    } catch (caught) {
      error = caught
    }
  }
  const { queue } = f.raw.negotiate()
  answered(queue.run(read(1)), 0, 513)
  assert.match(String(error), /await disk\.pause\(\)/)
  assert.ok(f.device.snapshot().length > 0)
  answered(queue.run(read(2)), 0, 513)
})

// Another disk -------------------------------------------------------------------------------------------------

each(
  test,
  'device rule 26: another option than in the snapshot -> refused by name, nothing touched',
  async (flavour) => {
    const f = await moving(flavour, { serial: 'one', throttle: { iops: 50 }, queueSizeMax: 64 })
    f.raw.negotiate()
    const bytes = f.device.snapshot()
    for (const [options, field, offset] of [
      [{ backend: new MemoryBackend(1 << 19) }, 'capacitySectors', 24],
      [{ queues: 2 }, 'queues', 32],
      [{ queueSizeMax: 128 }, 'queueSizeMax', 36],
      [{ segMax: 3 }, 'segMax', 40],
      [{ sizeMax: 4096 }, 'sizeMax', 44],
      [{ blockSize: 4096 }, 'blockSize', 48],
      [{ readOnly: true }, 'readOnly', 52],
      [{ serial: 'two' }, 'serial', 56],
      [{ features: ['FLUSH'] as const }, 'deviceFeatures', 16],
      [{ throttle: { iops: 51 } }, 'opsRate', 120],
      [{ throttle: { iops: 50, iopsBurst: 99 } }, 'opsCapacity', 128],
      [{ throttle: { iops: 50, bytesPerSecond: 512 } }, 'bytesRate', 136],
    ] as const) {
      const target = f.target(flavour, options)
      const ram = target.memory.view(0, 1 << 20).slice()
      let error: unknown
      await VirtioBlk.restore(bytes, target).catch((caught) => {
        error = caught
      })
      const { name, field: found, offset: at } = error as { name: string; field: string; offset: number }
      assert.equal([name, found, at], ['SnapshotError', field, offset])
      assert.equal(target.memory.view(0, 1 << 20), ram)
      assert.is(target.memory.allocate(64), f.target(flavour).memory.allocate(64), 'state was allocated')
    }
    const same = {
      serial: 'one',
      throttle: { iops: 50 },
      queueSizeMax: 64,
      readOnly: false,
      queues: 1,
      features: 'core',
    }
    await f.move(flavour, same as object)
    assert.is(f.raw.reg.status, 0x0f)
  },
)

each(
  test,
  'device rule 26: overridden capacity -> as a change of capacity: generation, CONFIG, one interrupt',
  async (flavour) => {
    const f = await moving(flavour)
    const { queue } = f.raw.negotiate()
    const generation = f.raw.reg.read(0xfc)
    await f.move(flavour, { backend: new MemoryBackend(1 << 19), override: ['capacity'] })
    assert.equal([f.raw.reg.read(0xfc), f.raw.reg.read(0x60), f.interrupts], [generation + 1, 2, 1])
    assert.equal([f.raw.reg.read(0x100), f.device.counters.interrupts], [1024, 1])
    answered(queue.run(read(1024)), 1, 0)
  },
)

each(
  test,
  'device rule 26: overridden serial and readOnly -> the new ones, and again with RO negotiated',
  async (flavour) => {
    const f = await moving(flavour, { serial: 'one' })
    const { queue } = f.raw.negotiate()
    await f.move(flavour, { serial: 'two', readOnly: true, override: ['serial', 'readOnly'] })
    const id = queue.run({ type: 8, dataIn: 20 })
    assert.is(new TextDecoder().decode(id.data()).replace(/\0+$/, ''), 'two')
    answered(queue.run({ type: 1, sector: 0, dataOut: pattern(512) }), 1, 1)
    const again = f.raw.negotiate({ add: [5] })
    answered(again.queue.run(read(1)), 0, 513)
    await f.move(flavour, { readOnly: false, override: ['readOnly'] })
    answered(again.queue.run({ type: 1, sector: 0, dataOut: pattern(512) }), 0, 1)
    await f.move(flavour)
    assert.is(f.raw.reg.status, 0x0f)
  },
)

each(test, 'device rule 26: an override that there is not -> TypeError', async (flavour) => {
  const f = await moving(flavour)
  const target = { ...f.target(flavour), override: ['size'] as unknown as ['serial'] }
  let error: unknown
  await VirtioBlk.restore(f.device.snapshot(), target).catch((caught) => {
    error = caught
  })
  assert.match(String(error), /TypeError: VirtioBlk: override names .*'size'/)
})

each(
  test,
  'device rule 26: rings that are not in the guest RAM there is -> refused, nothing allocated',
  async (flavour) => {
    const f = await moving(flavour)
    f.raw.negotiate()
    const memory = flavour.memory({ regions: [{ gpa: 0, bytes: 4096 }], stateBytes: 1 << 20 })
    let error: unknown
    await VirtioBlk.restore(f.device.snapshot(), { ...f.target(flavour), memory }).catch((caught) => {
      error = caught
    })
    assert.match(
      String(error),
      /SnapshotError: snapshot: queues\[0\]\.descGpa at byte 392 is 0x1000: .* not all guest RAM/,
    )
  },
)

each(test, 'device rule 26: validateSnapshot -> what the snapshot is of', async (flavour) => {
  const f = await moving(flavour, {
    serial: 'abc',
    throttle: { bytesPerSecond: 4096 },
    queueSizeMax: 8,
    readOnly: true,
  })
  assert.equal(validateSnapshot(f.device.snapshot()), {
    version: 1,
    capacityBytes: 1 << 20,
    readOnly: true,
    serial: 'abc',
    queues: 1,
    queueSizeMax: 8,
    segMax: 6,
    sizeMax: 1 << 20,
    blockSize: 512,
    features: ['SIZE_MAX', 'SEG_MAX', 'RO', 'BLK_SIZE', 'FLUSH', 'RING_EVENT_IDX', 'VERSION_1'],
    throttle: { iops: undefined, iopsBurst: undefined, bytesPerSecond: 4096n, bytesBurst: 4096n },
    status: 0,
  })
})

test.run()
