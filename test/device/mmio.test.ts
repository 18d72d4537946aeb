// The register window (device rules 1, 4 and 5): access rules, identity, selectors, feature words, config space, the
// interrupt registers, and when a kick is served. The status machine has a file of its own (status.test.ts).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answered, each, type Fixture, setUp, unanswered } from '../support/device.ts'
import { settle } from '../support/within.ts'

const test = suite('device mmio')

const ALL_ONES = 0xffffffff
/** registers that answer a read, in the state after reset of a device with default options */
const READABLE = new Map([
  [0x000, 0x74726976],
  [0x004, 2],
  [0x008, 2],
  [0x010, 0x20000246],
  [0x034, 256],
  [0x044, 0],
  [0x060, 0],
  [0x070, 0],
  [0x0b0, ALL_ONES],
  [0x0b4, ALL_ONES],
  [0x0b8, ALL_ONES],
  [0x0bc, ALL_ONES],
  [0x0fc, 0],
])

each(
  test,
  'device rule 1: registers: four aligned bytes after creation -> identity, SHM ones, all else 0',
  async (f) => {
    const { raw } = await setUp(f)
    for (let offset = 0; offset < 0x100; offset += 4) {
      if (offset === 0x00c) continue // VendorID is free to choose
      assert.is(raw.reg.read(offset), READABLE.get(offset) ?? 0, `0x${offset.toString(16)}`)
    }
  },
)

each(test, 'device rule 1: registers: four unaligned bytes -> read 0, write dropped', async (f) => {
  const { raw } = await setUp(f)
  for (let offset = 0; offset < 0x100; offset++) {
    if (offset % 4 === 0) continue
    assert.is(raw.reg.read(offset), 0, `0x${offset.toString(16)}`)
    raw.reg.write(offset, 1)
  }
  assert.is(raw.reg.status, 0)
})

each(test, 'device rule 1: registers: wrong width -> all ones in that width, writes dropped', async (f) => {
  const { raw } = await setUp(f)
  const ones = new Map([
    [1, 0xff],
    [2, 0xffff],
    [8, 2 ** 64 - 1],
  ])
  for (const [width, expected] of ones) {
    for (let offset = 0; offset < 0x100; offset++) {
      assert.is(raw.reg.read(offset, width), expected, `0x${offset.toString(16)} width ${width}`)
      raw.reg.write(offset, 1, width)
    }
    assert.equal([raw.reg.status, raw.reg.configGeneration, raw.reg.featureWord(0)], [0, 0, 0x20000246])
  }
})

each(test, 'device rule 1: registers: wrong-width write to a live device -> dropped', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const read = queue.request({ type: 0, dataIn: 512 })
  queue.publish(read.head)
  const gain = fixture.gained(['kicks', 'ignoredKicks', 'resets'], () => {
    for (const width of [1, 2, 8]) {
      raw.reg.write(0x050, 0, width)
      raw.reg.write(0x070, 0, width)
      raw.reg.write(0x044, 0, width)
    }
  })
  assert.equal(gain, { kicks: 0, ignoredKicks: 0, resets: 0 })
  unanswered(read)
  assert.equal([raw.reg.status, raw.reg.queueReady], [0x0f, 1])
})

each(test, 'device rule 1: registers: write to read-only and unknown offsets -> nothing changes', async (f) => {
  const { raw, device } = await setUp(f)
  raw.negotiate()
  const writable = [0x014, 0x020, 0x024, 0x030, 0x038, 0x044, 0x050, 0x064, 0x070]
  const addresses = [0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4]
  const all = (): number[] => Array.from({ length: 64 }, (_, i) => raw.reg.read(i * 4))
  const before = all()
  for (let offset = 0; offset < 0x100; offset += 4) {
    if (writable.includes(offset) || addresses.includes(offset)) continue
    for (const value of [0, 1, ALL_ONES]) device.mmioWrite(offset, 4, value)
  }
  assert.equal(all(), before)
})

each(test, 'device rule 1: features: word selector -> core words, 0 past them, no truncation', async (f) => {
  const { raw } = await setUp(f)
  assert.equal([raw.reg.featureWord(0), raw.reg.featureWord(1)], [0x20000246, 1])
  for (const word of [2, 3, 4, 32, 0x100, 0x10000, 0x80000000, ALL_ONES]) assert.is(raw.reg.featureWord(word), 0)
  const readOnly = await setUp(f, { device: { readOnly: true } })
  assert.equal([readOnly.raw.reg.featureWord(0), readOnly.raw.reg.featureWord(1)], [0x20000266, 1])
})

each(test, 'device rule 1: features: none wanted -> VERSION_1 alone, and their config fields are 0', async (f) => {
  const { raw } = await setUp(f, { device: { features: [] } })
  assert.equal([raw.reg.featureWord(0), raw.reg.featureWord(1)], [0, 1])
  assert.equal([raw.reg.config64(0), raw.reg.config(8), raw.reg.config(12), raw.reg.config(20)], [2048n, 0, 0, 0])
})

each(test, 'device rule 1: config space: any offset and width -> little-endian bytes, 0 past the end', async (f) => {
  const { raw } = await setUp(f, { diskBytes: 512 * 0x1203 + 511, device: { segMax: 126, sizeMax: 65536 } })
  const golden = new Uint8Array(0x1000)
  golden.set([0x03, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 126, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0])
  const view = new DataView(golden.buffer)
  for (let at = 0; at < 0x200; at++) {
    assert.is(raw.reg.config(at, 1), golden[at], `offset ${at}`)
    assert.is(raw.reg.config(at, 2), view.getUint16(at, true), `offset ${at}, two bytes`)
    assert.is(raw.reg.config(at, 4), view.getUint32(at, true), `offset ${at}, four bytes`)
    assert.is(raw.reg.config(at, 8), Number(view.getBigUint64(at, true)), `offset ${at}, eight bytes`)
  }
  for (const at of [0xeff, 0xf00, 0xfff_ff00 - 0x100]) assert.is(raw.reg.config(at), 0)
})

each(test, 'device rule 1: config space: written in any width -> nothing changes', async (f) => {
  const { raw } = await setUp(f)
  const all = (): number[] => Array.from({ length: 0x80 }, (_, i) => raw.reg.config(i, 1))
  const before = all()
  for (let at = 0; at < 0x80; at++) for (const width of [1, 2, 4, 8]) raw.reg.setConfig(at, ALL_ONES, width)
  assert.equal(all(), before)
  assert.equal([raw.reg.configGeneration, raw.reg.interruptStatus], [0, 0])
})

each(test, 'device rule 1: selectors: queue out of range -> QueueSizeMax 0, not ready, no aliasing', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate({ upTo: 'queues' })
  for (const selector of [1, 63, 64, 0x100, 0x10000, 0x80000000, ALL_ONES]) {
    raw.reg.selectQueue(selector)
    assert.equal([raw.reg.queueSizeMax, raw.reg.queueReady], [0, 0], `QueueSel ${selector}`)
    raw.reg.queueReady = 0
    raw.reg.queueReady = 1
    assert.is(raw.reg.queueReady, 0)
  }
  raw.reg.selectQueue(0)
  assert.equal([raw.reg.queueSizeMax, raw.reg.queueReady], [256, 1])
  raw.reg.status = 0x0f
  answered(queue.run({ type: 4 }), 0, 1)
})

each(
  test,
  'device rule 1: interrupt registers: ACK -> clears exactly the named bits, reading clears none',
  async (f) => {
    const { raw, device } = await setUp(f)
    const { queue } = raw.negotiate()
    queue.run({ type: 4 })
    assert.is(raw.reg.interruptStatus, 1)
    device.setCapacity(4096)
    assert.equal([raw.reg.interruptStatus, raw.reg.interruptStatus], [3, 3])
    for (const [ack, left] of [
      [0, 3],
      [0xfffffffc, 3],
      [0xfffffffd, 2],
      [1, 2],
      [2, 0],
      [ALL_ONES, 0],
    ] as const) {
      raw.reg.interruptAck(ack)
      assert.is(raw.reg.interruptStatus, left, `after ACK 0x${ack.toString(16)}`)
    }
    queue.run({ type: 4 })
    assert.is(raw.reg.interruptStatus, 1)
  },
)

// Kicks --------------------------------------------------------------------------------------------------------

/** Offers a read, does `kick`, and expects it to be counted as ignored and to have moved nothing. */
function ignored(fixture: Fixture, about: string, kick: () => void): void {
  const before = fixture.ram()
  const { interrupts } = fixture
  const gain = fixture.gained(['kicks', 'ignoredKicks', 'readsCompleted', 'ioErrors'], kick)
  assert.equal(gain, { kicks: 0, ignoredKicks: 1, readsCompleted: 0, ioErrors: 0 }, about)
  assert.ok(before.equals(fixture.ram()), `${about}: guest memory changed`)
  assert.is(fixture.interrupts, interrupts, `${about}: interrupt`)
}

each(
  test,
  'device rule 4: kick: before DRIVER_OK -> counted and ignored; the edge drains without a kick',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, device } = fixture
    const { queue } = raw.negotiate({ upTo: 'queues' })
    const reads = [1, 2].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
    queue.publish(...reads.map(({ head }) => head))
    ignored(fixture, 'FEATURES_OK', () => queue.kick())
    assert.is(device.poll(), 'idle')
    for (const read of reads) unanswered(read)
    raw.reg.status = 0x0f
    for (const read of reads) answered(read, 0, 513)
    assert.equal([fixture.interrupts, queue.usedIdx, fixture.counter('kicks')], [1, 2, 0])
  },
)

each(test, 'device rule 4: DRIVER_OK: written again -> no second drain', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const read = queue.request({ type: 0, dataIn: 512 })
  queue.publish(read.head)
  assert.equal(
    fixture.gained(['drains'], () => (raw.reg.status = 0x0f)),
    { drains: 0 },
  )
  await settle()
  unanswered(read)
  queue.kick()
  answered(read, 0, 513)
})

each(test, 'device rule 4: DRIVER_OK: two ready queues -> both drained', async (f) => {
  const fixture = await setUp(f, { device: { queues: 2 } })
  const { raw } = fixture
  const { queues } = raw.negotiate({ upTo: 'queues', queues: [{ queue: 0 }, { queue: 1 }] })
  const reads = queues.map((queue, sector) => {
    const read = queue.request({ type: 0, sector, dataIn: 512 })
    queue.publish(read.head)
    return read
  })
  raw.reg.status = 0x0f
  for (const read of reads) answered(read, 0, 513)
})

each(test, 'device rule 4: kick: in every state without DRIVER_OK, or with FAILED -> ignored', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  for (const upTo of ['reset', 'acknowledge', 'driver', 'features', 'featuresOk'] as const) {
    raw.negotiate({ upTo })
    ignored(fixture, upTo, () => raw.reg.notify(0))
  }
  for (const status of [0x8b, 0x8f]) {
    const { queue } = raw.negotiate({ upTo: status === 0x8f ? 'driverOk' : 'queues' })
    raw.reg.status = status
    assert.is(raw.reg.status, status)
    const read = queue.request({ type: 0, dataIn: 512 })
    queue.publish(read.head)
    ignored(fixture, `status 0x${status.toString(16)}`, () => queue.kick())
    fixture.device.poll()
    unanswered(read)
    raw.reg.status = 0x8f
    unanswered(read)
  }
})

each(test, 'device rule 4: kick: with NEEDS_RESET -> ignored, polled too', async (f) => {
  const fixture = await setUp(f)
  const { raw, device } = fixture
  const { queue } = raw.negotiate()
  queue.submit(16)
  assert.is(raw.reg.status, 0x4f)
  const read = queue.request({ type: 0, dataIn: 512 })
  queue.publish(read.head)
  ignored(fixture, 'NEEDS_RESET', () => queue.kick())
  assert.is(device.poll(), 'idle')
  await settle()
  unanswered(read)
})

each(test, 'device rule 5: QueueNotify: value that is no live queue -> counted, ignored, not truncated', async (f) => {
  const fixture = await setUp(f, { device: { queues: 2 } })
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ queue: 0 }] })
  const read = queue.request({ type: 0, dataIn: 512 })
  queue.publish(read.head)
  // 1 exists but is not ready.
  for (const value of [1, 2, 64, 0x100, 0xffff, 0x10000, 0x10001, 0x80000000, ALL_ONES]) {
    ignored(fixture, `QueueNotify ${value}`, () => queue.kick(value))
  }
  unanswered(read)
  assert.equal(
    fixture.gained(['kicks', 'ignoredKicks'], () => queue.kick(0)),
    { kicks: 1, ignoredKicks: 0 },
  )
  answered(read, 0, 513)
})

each(test, 'device rule 5: QueueNotify: one of two live queues -> that one is drained, the other not', async (f) => {
  const { raw } = await setUp(f, { device: { queues: 2 } })
  const [zero, one] = raw.negotiate({ queues: [{ queue: 0 }, { queue: 1, size: 8 }] }).queues
  assert.ok(zero && one)
  const reads = [zero, one].map((queue) => {
    const read = queue.request({ type: 0, sector: 5, dataIn: 512 })
    queue.publish(read.head)
    return read
  })
  one.kick()
  assert.equal([zero.usedIdx, one.usedIdx], [0, 1])
  zero.kick()
  for (const read of reads) answered(read, 0, 513)
})

each(test, 'device rule 5: kick: with nothing new -> served, no interrupt, ring untouched', async (f) => {
  const fixture = await setUp(f)
  const { queue } = fixture.raw.negotiate()
  const gain = fixture.gained(['kicks', 'ignoredKicks'], () => {
    for (let i = 0; i < 100; i++) queue.kick()
  })
  assert.equal([gain, fixture.interrupts, queue.usedIdx], [{ kicks: 100, ignoredKicks: 0 }, 0, 0])
  answered(queue.run({ type: 4 }), 0, 1)
})

test.run()
