// A queue is checked when it becomes ready, and frozen from then on (device rule 3): sizes, alignment, where the
// rings lie, order of the steps, and what QueueReady := 0 does. Sizes at work: queue-sizes.test.ts; rings that cross
// regions: regions.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueueOptions } from '../../host/driver/raw-queue.ts'
import { answered, each, type Fixture, setUp, unanswered } from '../support/device.ts'
import { settle } from '../support/within.ts'

const test = suite('device queue set-up')

const RAM = 1 << 20

/** QueueReady as read back after programming a queue so, and again after DRIVER_OK. */
function readyAfter(fixture: Fixture, place: RawQueueOptions): number {
  const { raw } = fixture
  const { ready } = raw.negotiate({ upTo: 'queues', queues: [{ zero: false, ...place }] })
  raw.reg.status = 0x0f
  assert.is(raw.reg.queueReady, ready[0])
  return ready[0] ?? -1
}

each(test, 'device rule 3: size: power of two up to the maximum -> ready, anything else -> not ready', async (f) => {
  const fixture = await setUp(f)
  for (const size of [1, 2, 4, 8, 16, 32, 64, 128, 256]) assert.is(readyAfter(fixture, { size }), 1, `size ${size}`)
  const bad = [0, 3, 5, 7, 9, 24, 255, 257, 384, 512, 1024, 32768, 65535, 65536, 0x10010, 0x10100]
  for (const sizeRegister of [...bad, 0x80000000, 0xffffff00, 0xffffffff]) {
    assert.is(readyAfter(fixture, { size: 16, sizeRegister }), 0, `size ${sizeRegister}`)
  }
})

each(test, 'device rule 3: size: maximum of 32768 -> 32768 is ready, 65536 not', async (f) => {
  const fixture = await setUp(f, {
    regions: [{ gpa: 0, bytes: 4 << 20 }],
    stateBytes: 16 << 20,
    device: { queueSizeMax: 32768, segMax: 4 },
  })
  assert.is(fixture.raw.reg.queueSizeMax, 32768)
  assert.is(readyAfter(fixture, { size: 32768 }), 1)
  assert.is(readyAfter(fixture, { size: 16, sizeRegister: 65536 }), 0)
})

each(test, 'device rule 3: alignment: 16, 2 and 4 -> ready, less -> not ready', async (f) => {
  const fixture = await setUp(f)
  const at = { size: 16, desc: 0x10000, avail: 0x11000, used: 0x12000 }
  for (let off = 1; off <= 32; off++) {
    assert.is(readyAfter(fixture, { ...at, desc: at.desc + off }), off % 16 === 0 ? 1 : 0, `desc +${off}`)
    assert.is(readyAfter(fixture, { ...at, avail: at.avail + off }), off % 2 === 0 ? 1 : 0, `avail +${off}`)
    assert.is(readyAfter(fixture, { ...at, used: at.used + off }), off % 4 === 0 ? 1 : 0, `used +${off}`)
  }
})

each(test, 'device rule 3: place: ring ends with RAM -> ready, one unit more -> not ready', async (f) => {
  const fixture = await setUp(f)
  const at = { size: 16, desc: 0x10000, avail: 0x11000, used: 0x12000 }
  // 16 x 16, 6 + 2 x 16 and 6 + 8 x 16 bytes: the event slots belong to the rings, negotiated or not.
  assert.is(readyAfter(fixture, { ...at, desc: RAM - 256 }), 1)
  assert.is(readyAfter(fixture, { ...at, desc: RAM - 240 }), 0)
  assert.is(readyAfter(fixture, { ...at, avail: RAM - 38 }), 1)
  assert.is(readyAfter(fixture, { ...at, avail: RAM - 36 }), 0)
  assert.is(readyAfter(fixture, { ...at, used: RAM - 136 }), 1)
  assert.is(readyAfter(fixture, { ...at, used: RAM - 132 }), 0)
})

each(test, 'device rule 3: place: outside RAM, up to 2^64 -> not ready', async (f) => {
  const fixture = await setUp(f)
  const at = { size: 16, desc: 0x10000, avail: 0x11000, used: 0x12000 }
  const outside = [RAM, 0x8000_0000, 2 ** 32, 2 ** 32 + 0x10000, 0x10000_0001_0000n, 1n << 63n, (1n << 63n) + 0x10000n]
  for (const addr of [...outside, 0xffff_ffff_ffff_0000n, 0xffff_ffff_ffff_fff0n]) {
    for (const part of ['desc', 'avail', 'used']) {
      assert.is(readyAfter(fixture, { ...at, [part]: addr }), 0, `${part} at ${addr}`)
    }
  }
})

each(test, 'device rule 3: place: RAM that starts at 0 -> rings at address 0 work', async (f) => {
  const fixture = await setUp(f)
  for (const part of ['desc', 'avail', 'used']) {
    const { queue, ready } = fixture.raw.negotiate({ queues: [{ size: 16, [part]: 0 }] })
    assert.equal(ready, [1], part)
    answered(queue.run({ type: 0, sector: 1, dataIn: 512 }), 0, 513, `${part} at 0`)
  }
})

each(test, 'device rule 3: place: hole between regions -> not ready, touching regions -> ready', async (f) => {
  const fixture = await setUp(f, {
    regions: [
      { gpa: 0, bytes: 0x40000 },
      { gpa: 0x40000, bytes: 0x10000 },
      { gpa: 0x51000, bytes: 0x10000 },
    ],
  })
  const at = { size: 256, desc: 0x10000, avail: 0x20000, used: 0x30000 }
  for (const part of ['desc', 'avail', 'used']) {
    assert.is(readyAfter(fixture, { ...at, [part]: 0x40000 - 64 }), 1, `${part} over the border`)
    assert.is(readyAfter(fixture, { ...at, [part]: 0x50000 - 64 }), 0, `${part} over the hole`)
    assert.is(readyAfter(fixture, { ...at, [part]: 0x50000 }), 0, `${part} in the hole`)
    assert.is(readyAfter(fixture, { ...at, [part]: 0x51000 - 64 }), 0, `${part} out of the hole`)
    assert.is(readyAfter(fixture, { ...at, [part]: 0x51000 }), 1, `${part} behind the hole`)
  }
})

each(test, 'device rule 3: frozen: size and addresses written while ready -> the old ones count', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ upTo: 'queues', queues: [{ size: 8 }] })
  const rewrite = (): void => {
    raw.reg.selectQueue(0)
    raw.reg.queueSize = 2
    raw.reg.setQueueAddresses(0x8000_0000, 0x8000_0000, 0x8000_0000)
  }
  rewrite()
  assert.is(raw.reg.queueReady, 1)
  // Also after the driver took the queue back: frozen until reset.
  raw.reg.queueReady = 0
  rewrite()
  raw.reg.queueReady = 1
  assert.is(raw.reg.queueReady, 1)
  raw.reg.status = 0x0f
  rewrite()
  for (let i = 0; i < 20; i++) answered(queue.run({ type: 0, sector: i, dataIn: 512 }), 0, 513, `read ${i}`)
  assert.is(queue.usedIdx, 20)
  // A reset thaws.
  assert.is(readyAfter(fixture, { size: 4 }), 1)
})

each(test, 'device rule 3: refused queue: mended before DRIVER_OK -> ready', async (f) => {
  const { raw } = await setUp(f)
  raw.negotiate({ upTo: 'featuresOk' })
  const queue = raw.queue({ size: 16 })
  raw.reg.queueSize = 17
  raw.reg.setQueueAddresses(queue.desc, queue.avail, queue.used)
  raw.reg.queueReady = 1
  assert.is(raw.reg.queueReady, 0)
  assert.is(queue.program(), 1)
  raw.reg.status = 0x0f
  answered(queue.run({ type: 4 }), 0, 1)
})

each(test, 'device rule 3: QueueReady: 1 before FEATURES_OK or after DRIVER_OK -> no effect', async (f) => {
  const { raw } = await setUp(f)
  for (const upTo of ['reset', 'acknowledge', 'driver', 'driverOk'] as const) {
    raw.negotiate({ upTo, queues: [] })
    assert.is(raw.queue({ size: 16 }).program(), 0, upTo)
  }
  // What was written too early was dropped, not remembered.
  raw.negotiate({ upTo: 'driver' })
  raw.queue({ size: 16 }).program()
  raw.reg.acceptFeatures([32])
  raw.reg.status = 0x0b
  assert.is(raw.reg.queueReady, 0)
})

each(test, 'device rule 3: QueueReady: any other value than 1 -> stops the queue, at any time', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  for (const value of [0, 2, 3, 0x100, 0x10001, 0x80000001, 0xffffffff]) {
    for (const stage of ['queues', 'driverOk'] as const) {
      const { queue } = raw.negotiate({ upTo: stage })
      raw.reg.queueReady = value
      assert.is(raw.reg.queueReady, 0, `${value} at ${stage}`)
      raw.reg.status = 0x0f
      const read = queue.request({ type: 0, dataIn: 512 })
      const gain = fixture.gained(['kicks', 'ignoredKicks'], () => queue.submit(read.head))
      assert.equal(gain, { kicks: 0, ignoredKicks: 1 })
      fixture.device.poll()
      await settle()
      unanswered(read)
    }
  }
})

each(test, 'device rule 3: QueueReady: 0 and 1 again before DRIVER_OK -> the queue works', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate({ upTo: 'queues' })
  raw.reg.queueReady = 0
  raw.reg.queueReady = 1
  raw.reg.queueReady = 1
  assert.is(raw.reg.queueReady, 1)
  raw.reg.status = 0x0f
  answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
})

each(test, 'device rule 3: two queues: only the second ready -> it works alone', async (f) => {
  const { raw } = await setUp(f, { device: { queues: 2 } })
  const { queue, ready } = raw.negotiate({ queues: [{ queue: 1, size: 4 }] })
  assert.equal(ready, [1])
  raw.reg.selectQueue(0)
  assert.is(raw.reg.queueReady, 0)
  raw.reg.selectQueue(2)
  assert.equal([raw.reg.queueSizeMax, raw.reg.queueReady], [0, 0])
  for (let i = 0; i < 10; i++) answered(queue.run({ type: 0, sector: i, dataIn: 512 }), 0, 513)
  assert.is(queue.usedIdx, 10)
})

each(
  test,
  'device rule 3: address halves: high before low, and stale high words -> 64 bits as last written',
  async (f) => {
    const { raw } = await setUp(f)
    raw.negotiate({ upTo: 'featuresOk' })
    const queue = raw.queue({ size: 16 })
    const write = (high: number): void => {
      for (const [low, addr] of [
        [0x080, queue.desc],
        [0x090, queue.avail],
        [0x0a0, queue.used],
      ] as const) {
        raw.reg.write(low + 4, high)
        raw.reg.write(low, Number(addr))
      }
    }
    raw.reg.queueSize = 16
    write(1)
    raw.reg.queueReady = 1
    assert.is(raw.reg.queueReady, 0)
    write(0)
    raw.reg.queueReady = 1
    assert.is(raw.reg.queueReady, 1)
    raw.reg.status = 0x0f
    answered(queue.run({ type: 4 }), 0, 1)
  },
)

test.run()
