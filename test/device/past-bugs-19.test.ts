// Bugs that devices of this kind have had, rows 19 to 31 of the list: one test per row, named after it, doing what
// the bug did.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { BlockBackend } from '../../host/backend/types.ts'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, type Fixture, serves, setUp } from '../support/device.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device past bugs 19 to 31')

const H = readable(16)
const S = writable(1)
const RAM = 1 << 20

/** RAM to 1 MiB, a hole, and 64 KiB behind it. */
const HOLE = [
  { gpa: 0, bytes: RAM },
  { gpa: RAM + 0x10000, bytes: 0x10000 },
]

/** A request's answer, with the queue's state: 'status 1 used 0' or 'poisoned'. */
function verdict(fixture: Fixture, type: number, layout: readonly ReturnType<typeof readable>[]): string {
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const request = queue.run({ type, layout })
  if (raw.reg.status === 0x4f && queue.usedIdx === 0) return 'poisoned'
  return `status ${request.status()} used ${request.usedLen()}`
}

each(
  test,
  'past bug 19 (CVE-2018-1059): buffer from RAM out of it, or over a hole -> IOERR, nothing beyond',
  async (f) => {
    const fixture = await setUp(f, { regions: HOLE })
    const before = fixture.disk.bytes.slice()
    const behind = fixture.raw.mem.bytes(RAM + 0x10000, 0x10000)
    for (const addr of [RAM - 1, RAM - 511, RAM + 0x10000 - 1, RAM + 0x20000 - 511]) {
      assert.is(verdict(fixture, 0, [H, writable(0, { addr, len: 512 }), S]), 'status 1 used 0', `IN at ${addr}`)
      assert.is(verdict(fixture, 1, [H, readable(0, { addr, len: 512 }), S]), 'status 1 used 1', `OUT at ${addr}`)
    }
    const over = { addr: RAM - 0x1000, len: 0x12000 }
    assert.is(verdict(fixture, 0, [H, writable(0, over), S]), 'status 1 used 0')
    assert.is(verdict(fixture, 1, [H, readable(0, over), S]), 'status 1 used 1')
    assert.equal([fixture.disk.bytes, fixture.raw.mem.bytes(RAM + 0x10000, 0x10000)], [before, behind])
  },
)

each(test, 'past bug 22 (CVE-2022-2132): header cut at each of 15 positions -> the same request', async (f) => {
  const { raw } = await setUp(f)
  for (let cut = 1; cut <= 15; cut++) {
    const { queue } = raw.negotiate()
    const read = queue.run({ type: 0, sector: 0x102, layout: [readable(cut), readable(16 - cut), writable(512), S] })
    answered(read, 0, 513, `cut at ${cut}`)
    assert.equal(read.data(), diskBytes(0x102 * 512, 512))
  }
})

each(
  test,
  'past bug 23 (CVE-2019-9547): loops of 1, 2, size - 1, size, and one that skips the head -> poisoned',
  async (f) => {
    const fixture = await setUp(f)
    const status = { addr: 0x70000, len: 1, flags: 3 }
    for (const size of [4, 16, 256]) {
      for (const [length, back] of [
        [1, 0],
        [2, 0],
        [size - 1, 0],
        [size, 0],
        [3, 1],
        [size, size - 1],
      ] as const) {
        const { queue } = fixture.raw.negotiate({ queues: [{ size }] })
        for (let i = 0; i < length; i++) queue.setDescriptor(i, { ...status, next: i + 1 < length ? i + 1 : back })
        const gain = fixture.gained(['ringFaults', 'drains'], () => queue.submit(0))
        const about = `${length} of ${size}, back to ${back}`
        assert.equal([gain, fixture.raw.reg.status, queue.usedIdx], [{ ringFaults: 1, drains: 1 }, 0x4f, 0], about)
        assert.is(fixture.raw.mem.u8(0x70000), 0, about)
      }
    }
    serves(fixture)
  },
)

each(
  test,
  'past bug 26 (CVE-2021-29631): empty chain, only NEXT flags, more than SEG_MAX + 2 -> refused',
  async (f) => {
    const fixture = await setUp(f, { device: { segMax: 4 } })
    const { raw } = fixture
    const broken = [
      [{ addr: 0, len: 0 }],
      Array.from({ length: 16 }, (_, i) => ({ addr: 0, len: 0, flags: 1, next: (i + 1) % 16 })),
      Array.from({ length: 16 }, (_, i) => ({ addr: 0x70000, len: 16, flags: 1, next: (i + 1) % 16 })),
    ]
    for (const links of broken) {
      const { queue } = raw.negotiate()
      queue.submit(queue.chain(links))
      assert.equal([raw.reg.status, queue.usedIdx], [0x4f, 0])
    }
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    for (const count of [5, 6, 7, 40]) {
      const layout = [H, ...Array.from({ length: count }, () => writable(512)), S]
      const read = queue.run({ type: 0, layout })
      answered(read, 1, 0, `${count} data descriptors`)
      assert.ok(read.data().every((byte) => byte === 0xe5))
    }
    answered(queue.run({ type: 0, dataIn: 2048, segments: 512 }), 0, 2049)
  },
)

each(test, 'past bug 27 (OpenBSD vmd): GET_ID into 1, 19, 20, 21 and 4096 bytes -> at most 20 written', async (f) => {
  const { raw } = await setUp(f, { device: { serial: 'abcdefghijklmnopqrst' } })
  const { queue } = raw.negotiate()
  for (const [bytes, status, usedLen] of [
    [1, 1, 0],
    [19, 1, 0],
    [20, 0, 21],
    [21, 0, 20],
    [4096, 0, 20],
  ] as const) {
    const id = queue.run({ type: 8, dataIn: bytes })
    answered(id, status, usedLen, `${bytes} bytes`)
    const written = id.data().findLastIndex((byte) => byte !== 0xe5) + 1
    assert.is(written, status === 0 ? 20 : 0)
  }
})

each(
  test,
  'past bug 28 (CVE-2022-26353): ten thousand malformed chains -> memory and slots as at the start',
  async (f) => {
    const { fixture, backend } = await setUpLate(f, {
      device: { queueSizeMax: 16 },
    })
    const { raw, memory } = fixture
    const count = f.name === 'debug' ? 1000 : 10_000
    let { queue } = raw.negotiate()
    // Seven that get IOERR or UNSUPP; every hundredth round one that poisons.
    const build = (): number[] => [
      queue.request({ type: 0, layout: [readable(4), S] }).head,
      queue.request({ type: 0, layout: [S, H] }).head,
      queue.request({ type: 4, dataIn: 1 }).head,
      queue.request({ type: 77 }).head,
      queue.request({ type: 0, layout: [readable(16, { addr: RAM })] }).head,
    ]
    let heads = build()
    globalThis.gc?.()
    const start = process.memoryUsage().heapUsed
    const linear = memory.memory.buffer.byteLength
    for (let i = 0; i < count; i += 4) {
      const poisoning = i % 400 === 0
      queue.submit(...heads.slice(0, 4), ...(poisoning ? [heads[4] ?? 0] : []))
      assert.is(raw.reg.status, poisoning ? 0x4f : 0x0f)
      if (!poisoning) continue
      queue = raw.negotiate().queue
      heads = build()
    }
    globalThis.gc?.()
    const grown = process.memoryUsage().heapUsed - start
    assert.is(memory.memory.buffer.byteLength, linear)
    if (globalThis.gc) assert.ok(grown < 4 << 20, `${grown} bytes more`)
    const { ioErrors, unsupported } = fixture.device.counters
    assert.is(ioErrors + unsupported, count)
    // All slots are free: the whole ring can be in flight.
    queue = raw.negotiate().queue
    const flushes = Array.from({ length: 8 }, () => queue.run({ type: 4 }))
    assert.is(backend?.pending.length, 8)
    backend?.finishAll()
    await settle()
    for (const flush of flushes) answered(flush, 0, 1)
  },
)

each(
  test,
  'past bug 29 (CVE-2024-3446): descriptor in the MMIO window, which is not RAM -> IOERR or poison',
  async (f) => {
    const fixture = await setUp(f)
    const window = 0xc000_1000
    for (const off of [0, 0x50, 0x70, 0x100]) {
      const addr = window + off
      assert.is(verdict(fixture, 0, [H, writable(512, { addr }), S]), 'status 1 used 0')
      assert.is(verdict(fixture, 1, [H, readable(512, { addr }), S]), 'status 1 used 1')
      assert.is(verdict(fixture, 4, [readable(16, { addr }), S]), 'status 1 used 1')
      assert.is(verdict(fixture, 4, [H, writable(1, { addr })]), 'poisoned')
    }
    const { raw } = fixture
    for (const part of ['desc', 'avail', 'used']) {
      assert.equal(raw.negotiate({ queues: [{ size: 16, zero: false, [part]: window }] }).ready, [0])
    }
    serves(fixture)
  },
)

each(
  test,
  'past bug 29 (CVE-2024-3446): back end that re-enters the device -> every request served once',
  async (f) => {
    const act: { now?: (() => void) | undefined } = {}
    for (const inPlace of [true, false]) {
      const calls: number[] = []
      const fixture = await setUp(f, {
        onInterrupt: () => act.now?.(),
        backend: (disk): BlockBackend => ({
          capacityBytes: disk.capacityBytes,
          inPlace,
          read: (offset, into) => {
            calls.push(offset / 512)
            act.now?.()
            return disk.read(offset, into)
          },
          write: () => 0,
          flush: () => act.now?.(),
        }),
      })
      const { raw, device } = fixture
      const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
      act.now = () => {
        queue.kick()
        device.poll()
        raw.reg.interruptAck(1)
        raw.reg.status = 0x0f
        raw.reg.selectQueue(7)
        raw.reg.queueReady = 1
        device.mmioRead(0x100, 8)
        device.setThrottle()
      }
      const reads = [1, 2, 3, 4].map((sector) => queue.request({ type: 0, sector, dataIn: 512 }))
      queue.submit(...reads.map(({ head }) => head))
      for (let i = 0; i < 10 && device.poll() !== 'idle'; i++);
      act.now = undefined
      await settle()
      reads.forEach((read, i) => {
        answered(read, 0, 513)
        assert.equal(read.data(), diskBytes((i + 1) * 512, 512))
      })
      assert.equal([calls, queue.usedIdx, raw.reg.status], [[1, 2, 3, 4], 4, 0x0f])
      assert.is(fixture.counter('engineTraps'), 0)
      answered(queue.run({ type: 4 }), 0, 1)
    }
  },
)

each(
  test,
  'past bug 31 (CVE-2019-18960): header, data and status, each over the end of RAM -> IOERR or poison',
  async (f) => {
    const fixture = await setUp(f, { regions: HOLE })
    for (const end of [RAM, RAM + 0x20000]) {
      for (const before of [1, 8, 15]) {
        const header = readable(0, { addr: end - before, len: 16 })
        assert.is(verdict(fixture, 4, [header, S]), 'status 1 used 1', `header ${before} before the end`)
      }
      for (const before of [1, 256, 511]) {
        const addr = end - before
        assert.is(verdict(fixture, 0, [H, writable(0, { addr, len: 512 }), S]), 'status 1 used 0')
        assert.is(verdict(fixture, 1, [H, readable(0, { addr, len: 512 }), S]), 'status 1 used 1')
      }
      assert.is(verdict(fixture, 0, [H, writable(512, { addr: end - 512 }), S]), 'status 0 used 513')
      // Data up to the last byte, and the status behind it: there is nowhere to put it.
      assert.is(verdict(fixture, 0, [H, writable(0, { addr: end - 512, len: 513 })]), 'poisoned')
      assert.is(verdict(fixture, 4, [H, writable(1, { addr: end })]), 'poisoned')
      assert.is(verdict(fixture, 4, [H, writable(1, { addr: end - 1 })]), 'status 0 used 1')
    }
  },
)

test.run()
