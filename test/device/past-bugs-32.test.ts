// Bugs that devices of this kind have had, rows 32 to 46 of the list: one test per row, named after it, doing what
// the bug did.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, each, pattern, serves, setUp, unanswered } from '../support/device.ts'
import { FaultyBackend } from '../support/faulty-backend.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device past bugs 32 to 46')

const H = readable(16)
const S = writable(1)
const RAM = 1 << 20

/** RAM to 1 MiB, a hole, and 64 KiB behind it. */
const HOLE = [
  { gpa: 0, bytes: RAM },
  { gpa: RAM + 0x10000, bytes: 0x10000 },
]

each(
  test,
  'past bug 32 (CVE-2021-36143): kick before addresses are set, DRIVER_OK with rings at 0 -> nothing breaks',
  async (f) => {
    const fixture = await setUp(f)
    const { raw } = fixture
    for (const upTo of ['reset', 'driver', 'featuresOk'] as const) {
      raw.negotiate({ upTo })
      const gain = fixture.gained(['kicks', 'ignoredKicks'], () => raw.reg.notify(0))
      assert.equal(gain, { kicks: 0, ignoredKicks: 1 })
    }
    raw.negotiate({ queues: [] })
    raw.reg.notify(0)
    assert.equal([raw.reg.status, raw.reg.queueReady], [0x0f, 0])
    // All three rings over each other at address 0, which is RAM: zeros offer nothing, garbage poisons.
    for (const [garbage, status] of [
      [0, 0x0f],
      [0xff, 0x4f],
    ] as const) {
      raw.mem.fill(0, 4096, garbage)
      raw.negotiate({ queues: [{ size: 16, desc: 0, avail: 0, used: 0, zero: false }] })
      raw.reg.notify(0)
      fixture.device.poll()
      assert.is(raw.reg.status, status)
    }
    // RAM that does not begin at 0: zero addresses are not RAM.
    const high = await setUp(f, { regions: [{ gpa: 0x10000, bytes: RAM }] })
    assert.equal(high.raw.negotiate({ queues: [{ desc: 0, avail: 0, used: 0, zero: false }] }).ready, [0])
    high.raw.reg.notify(0)
    assert.is(high.counter('kicks'), 0)
    serves(high)
    serves(fixture)
  },
)

each(
  test,
  'past bug 33 (rust-vmm 173): QueueNum 0, avail.idx + size + 1, calls after a reset -> refused, poisoned, quiet',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, device } = fixture
    const zero = raw.negotiate({ queues: [{ size: 16, sizeRegister: 0 }] })
    assert.equal(zero.ready, [0])
    zero.queue.kick()
    assert.is(raw.reg.status, 0x0f)
    const { queue } = raw.negotiate()
    queue.run({ type: 4 })
    queue.setAvailIdx(1 + 16 + 1)
    queue.kick()
    assert.equal([raw.reg.status, fixture.counter('invalidAvailIdx')], [0x4f, 1])
    raw.reg.status = 0
    const before = fixture.ram()
    const { interrupts } = fixture
    queue.kick()
    assert.is(device.poll(), 'idle')
    device.setCapacity(4096)
    device.setThrottle({ iops: 5 })
    device.setThrottle()
    raw.reg.interruptAck(0xffffffff)
    raw.reg.selectQueue(0)
    raw.reg.queueReady = 1
    raw.reg.status = 0
    await settle()
    assert.ok(before.equals(fixture.ram()))
    assert.equal([fixture.interrupts, raw.reg.status, raw.reg.queueReady], [interrupts, 0, 0])
    serves(fixture)
  },
)

each(
  test,
  'past bug 34 (Firecracker 2172): ring over a hole -> refused; FLUSH -> one durability call, its error IOERR',
  async (f) => {
    let backend: FaultyBackend | undefined
    const fixture = await setUp(f, {
      regions: HOLE,
      backend: (disk) => {
        backend = new FaultyBackend(disk, { flush: ['ok', { fail: 'EIO' }] })
        return backend
      },
    })
    const { raw } = fixture
    for (const part of ['desc', 'avail', 'used']) {
      for (const addr of [RAM - 16, RAM, RAM + 0x10000 - 16]) {
        const { queue, ready } = raw.negotiate({ queues: [{ size: 16, zero: false, [part]: addr }] })
        assert.equal(ready, [0], `${part} at ${addr}`)
        queue.kick()
        assert.is(raw.reg.status, 0x0f)
      }
    }
    const { queue } = raw.negotiate()
    answered(queue.run({ type: 4 }), 0, 1)
    assert.is(backend?.calls.length, 1)
    answered(queue.run({ type: 4 }), 1, 1)
    assert.is(backend?.calls.length, 2)
  },
)

each(
  test,
  'past bug 37 (Firecracker 1439): stalled for a second -> kicks do not drain, poll once per wait',
  async (f) => {
    const fixture = await setUp(f, { device: { throttle: { iops: 1 } } })
    const { queue } = fixture.raw.negotiate()
    answered(queue.run({ type: 4 }), 0, 1)
    const waiting = queue.request({ type: 4 })
    const gain = fixture.gained(['drains', 'kicks', 'throttledCount'], () => {
      queue.submit(waiting.head)
      for (let i = 0; i < 999; i++) {
        fixture.advance(1e6)
        queue.kick()
      }
    })
    // One to find out that there are no tokens; the rest of the kicks find the stall.
    assert.equal(gain, { drains: 1, kicks: 1000, throttledCount: 1 })
    unanswered(waiting)
    fixture.advance(1e6)
    assert.is(fixture.device.poll(), 'idle')
    answered(waiting, 0, 1)
  },
)

each(
  test,
  'past bug 37 (Firecracker 1439): stalled in real time -> a few drains, then served by the timer',
  async (f) => {
    const fixture = await setUp(f, { realTime: true, device: { throttle: { iops: 2 } } })
    const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
    const flushes = Array.from({ length: 3 }, () => queue.request({ type: 4 }))
    const before = fixture.counter('drains')
    queue.submit(...flushes.map(({ head }) => head))
    // At once, so that a busy machine does not carry a kick past the end of the stall, where it may drain.
    for (let i = 0; i < 100; i++) queue.kick()
    assert.ok(await fixture.raw.until(() => queue.usedIdx === 3, 10_000))
    const drains = fixture.counter('drains') - before
    assert.ok(drains <= 6, `${drains} drains for one stall`)
    await fixture.device.close()
  },
)

each(
  test,
  'past bug 38 (virtio-win 7849): each offered feature -> its config fields are not zero and fit together',
  async (f) => {
    for (const features of ['core', 'full'] as const) {
      for (const device of [{}, { queueSizeMax: 4 }, { queueSizeMax: 1024 }, { blockSize: 4096 }, { readOnly: true }]) {
        const { raw } = await setUp(f, { stateBytes: 4 << 20, device: { features, ...device } })
        const offered = raw.reg.offeredFeatures()
        const check = (bit: number, about: string, holds: () => boolean): void => {
          if (offered.has(bit)) assert.ok(holds(), about)
        }
        const blkSize = raw.reg.config(20)
        check(1, 'size_max', () => raw.reg.config(8) >= 65536)
        check(2, 'seg_max', () => raw.reg.config(12) > 0 && raw.reg.config(12) + 2 <= raw.reg.queueSizeMax)
        check(6, 'blk_size', () => blkSize >= 512 && (blkSize & (blkSize - 1)) === 0)
        check(10, 'topology', () => raw.reg.config(26, 2) > 0 || raw.reg.config(28) > 0)
        check(11, 'CONFIG_WCE needs FLUSH', () => offered.has(9))
        check(12, 'num_queues', () => raw.reg.config(34, 2) > 0)
        check(13, 'discard', () => [36, 40, 44].every((at) => raw.reg.config(at) > 0))
        check(14, 'write zeroes', () => [48, 52].every((at) => raw.reg.config(at) > 0))
        check(16, 'secure erase', () => [60, 64, 68].every((at) => raw.reg.config(at) > 0))
        assert.ok(offered.has(32) && !offered.has(0) && !offered.has(7) && !offered.has(24) && !offered.has(27))
      }
    }
  },
)

each(test, 'past bug 40 (e2b fork): config space -> byte-exact, each field at its own offset', async (f) => {
  const { raw } = await setUp(f, {
    diskBytes: 0x1234 * 512,
    device: { queues: 2, sizeMax: 0x00a1b2c3, segMax: 0x7e, blockSize: 4096 },
  })
  const bytes = Buffer.from(Array.from({ length: 96 }, (_, i) => raw.reg.config(i, 1)))
  const golden =
    // capacity, size_max, seg_max
    '3412000000000000' +
    'c3b2a100' +
    '7e000000' +
    // geometry, blk_size, topology
    '00000000' +
    '00100000' +
    '0000000000000000' +
    // writeback, unused0, num_queues: MQ and CONFIG_WCE are not offered
    '00' +
    '00' +
    '0000' +
    // discard, write zeroes, unused1, secure erase, zoned
    '00'.repeat(12 + 9 + 3 + 12 + 24)
  assert.is(bytes.toString('hex'), golden)
})

each(
  test,
  'past bug 43 (QEMU zero-size buffers): zero-size buffers anywhere -> skipped, even outside RAM',
  async (f) => {
    const { raw } = await setUp(f)
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    const nowhere = { addr: (1n << 64n) - 1n }
    for (const type of [0, 1, 4, 8]) {
      const dataBytes = type === 4 ? 0 : type === 8 ? 20 : 512
      const data = type === 4 ? [] : type === 1 ? [readable(dataBytes)] : [writable(dataBytes)]
      const clean = [H, ...data, S]
      const spoiled = clean.flatMap((piece) => [readable(0, nowhere), writable(0, nowhere), piece])
      const request = queue.run({ type, layout: [...spoiled, writable(0, nowhere)] })
      answered(request, 0, type === 1 || type === 4 ? 1 : dataBytes + 1, `type ${type}`)
    }
  },
)

each(test, 'past bug 46 (propolis 492): FLUSH not accepted -> each write durable before it is used', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate({ flush: false })
  const writes = [1, 2, 3].map((sector) => queue.run({ type: 1, sector, dataOut: pattern(512, sector) }))
  backend?.finishAll()
  await settle()
  // Written, not yet durable: nothing is used.
  assert.equal(backend?.calls.slice(3), ['flush', 'flush', 'flush'])
  for (const write of writes) unanswered(write)
  backend?.pending[1]?.finish()
  await settle()
  assert.equal(
    writes.map((write) => write.status()),
    [0xe5, 0, 0xe5],
  )
  backend?.finishAll()
  await settle()
  for (const write of writes) answered(write, 0, 1)
})

test.run()
