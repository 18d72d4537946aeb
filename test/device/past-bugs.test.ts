// Bugs that devices of this kind have had, rows 1 to 17 of the list: one test per row, named after it, doing what the
// bug did. Image probing (row 3) is in test/backend/file.test.ts, the double fetches (24, 25) in
// double-fetch.test.ts, the rest in past-bugs-19.test.ts and past-bugs-32.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { VirtioBlkOptions } from '../../host/device/options.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { type Piece, readable, writable } from '../../host/driver/raw-request.ts'
import { answered, each, pattern, serves, setUp, unanswered } from '../support/device.ts'
import { EngineTap } from '../support/engine-tap.ts'
import { FaultyBackend } from '../support/faulty-backend.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device past bugs')

const H = readable(16)
const S = writable(1)

each(test, 'past bug 1 (CVE-2026-5747): queue size rewritten after activation -> the old one counts', async (f) => {
  const { raw } = await setUp(f)
  for (const stage of ['queues', 'driverOk'] as const) {
    for (const size of [1, 0, 65535, 32768, 3, 512]) {
      const { queue } = raw.negotiate({ upTo: stage, queues: [{ size: 256 }] })
      raw.reg.queueSize = size
      raw.reg.status = 0x0f
      assert.equal([raw.reg.queueReady, raw.reg.queueSizeMax, raw.reg.read(0x038)], [1, 256, 0])
      const flushes = Array.from({ length: 128 }, () => queue.request({ type: 4 }))
      const guard = raw.mem.bytes(Number(queue.used) + 4 + 8 * 256 + 2, 64)
      for (let round = 0; round < 3; round++) queue.submit(...flushes.map(({ head }) => head))
      assert.equal([queue.usedIdx, queue.usedElement(383)], [384, { id: 254, len: 1 }], `size ${size}`)
      assert.equal(raw.mem.bytes(Number(queue.used) + 4 + 8 * 256 + 2, 64), guard)
    }
  }
})

each(test, 'past bug 2 (CVE-2026-45782): one head offered twice -> one execution, the second refused', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  for (const together of [true, false]) {
    const { queue } = raw.negotiate()
    backend?.calls.splice(0)
    const read = queue.request({ type: 0, sector: 1, dataIn: 512 })
    if (together) queue.submit(read.head, read.head)
    else for (let i = 0; i < 2; i++) queue.submit(read.head)
    assert.equal([backend?.calls, raw.reg.status], [['read 512+512'], 0x4f])
    backend?.finishAll()
    await settle()
    assert.ok(queue.usedIdx <= 1, 'one used element at most')
  }
  assert.is(fixture.counter('ringFaults'), 2)
})

each(
  test,
  'past bug 4 (CVE-2026-48914): SCSI pass-through with any buffers -> UNSUPP, only the status is touched',
  async (f) => {
    const { raw, device } = await setUp(f)
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    const layouts: Piece[][] = [
      [H, S],
      [H, readable(6), writable(96), writable(16), S],
      [H, readable(260), writable(4096), writable(1 << 16), writable(96), writable(16), S],
      [H, writable(97)],
      [readable(16 + 32), S],
      [H, ...Array.from({ length: 40 }, () => writable(3)), S],
    ]
    for (const type of [2, 3]) {
      for (const layout of layouts) {
        const hasDataIn = layout.filter(({ writable }) => writable).reduce((sum, { bytes }) => sum + bytes, 0) > 1
        const request = queue.run({ type, layout })
        answered(request, 2, hasDataIn ? 0 : 1)
        assert.ok(request.data().every((byte) => byte === 0xe5))
      }
    }
    assert.is(device.counters.unsupported, 12)
  },
)

each(
  test,
  'past bug 5 (CVE-2026-16457): malformed rings -> each drain ends within a bounded number of steps',
  async (f) => {
    const tap = new EngineTap(f.engine)
    const fixture = await setUp(f, { device: { engine: tap.engine } })
    const { raw } = fixture
    const status = { addr: 0x70000, len: 1, writable: true }
    const malformed: readonly ((queue: ReturnType<typeof raw.queue>) => void)[] = [
      (queue) => queue.setAvailIdx(17),
      (queue) => queue.setAvailIdx(0xffff),
      (queue) => queue.publish(16),
      (queue) => queue.publish(0xffff),
      (queue) => queue.publish(queue.chain([{ ...status, flags: 3, next: 0 }])),
      (queue) => queue.publish(queue.chain([{ addr: 0, len: 0, flags: 1, next: 0 }])),
      (queue) => queue.publish(queue.chain([{ addr: 0, len: 0, flags: 7, next: 0 }])),
      (queue) => queue.publish(...Array.from({ length: 16 }, () => queue.chain([{ addr: 0, len: 0 }], { head: 3 }))),
      (queue) => queue.publish(queue.chain(Array.from({ length: 16 }, () => ({ addr: 0, len: 0 })))),
      (queue) =>
        queue.publish(...Array.from({ length: 16 }, (_, head) => queue.chain([{ addr: 0, len: 0 }], { head }))),
    ]
    for (const [i, spoil] of malformed.entries()) {
      const { queue } = raw.negotiate()
      spoil(queue)
      const before = [tap.count('plan'), tap.count('publish'), tap.count('complete')]
      queue.kick()
      fixture.device.poll()
      await settle()
      const steps = [tap.count('plan'), tap.count('publish'), tap.count('complete')].map((n, j) => n - (before[j] ?? 0))
      assert.ok((steps[0] ?? 9) <= 3 && (steps[1] ?? 9) <= 3 && steps[2] === 0, `vector ${i}: ${steps}`)
      assert.is(raw.reg.status, 0x4f, `vector ${i}`)
    }
    serves(fixture)
  },
)

each(
  test,
  'past bug 6 (CVE-2024-8612): used length -> exactly the bytes written, the others keep their pattern',
  async (f) => {
    let backend: FaultyBackend | undefined
    const { raw } = await setUp(f, {
      backend: (disk) => {
        backend = new FaultyBackend(disk)
        return backend
      },
    })
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    const run = (type: number, dataIn: number, sector = 0): [number, number] => {
      const request = queue.run({ type, sector, dataIn, segments: 100 })
      assert.ok(request.intact())
      const all = [...request.data(), request.status() ?? 0xe5]
      const written = all.findIndex((byte, i) => byte === 0xe5 && all.slice(i, i + 8).every((next) => next === 0xe5))
      return [request.usedLen() ?? -1, written < 0 ? all.length : written]
    }
    // used length, and bytes that changed from the first on
    assert.equal(run(0, 512), [513, 513])
    assert.equal(run(8, 20), [21, 21])
    assert.equal(run(8, 512), [20, 20])
    for (const [type, dataIn, sector] of [
      [0, 512, 1 << 20],
      [0, 100, 0],
      [1, 512, 0],
      [4, 512, 0],
      [8, 19, 0],
      [9, 512, 0],
    ] as const) {
      const request = queue.run({ type, sector, dataIn })
      assert.is(request.usedLen(), 0, `type ${type}`)
      assert.ok(
        request.data().every((byte) => byte === 0xe5),
        `type ${type}`,
      )
    }
    backend?.script.read.push({ fail: 'EIO' })
    const failed = queue.run({ type: 0, dataIn: 512 })
    assert.equal([failed.usedLen(), failed.data().every((byte) => byte === 0xe5)], [0, true])
  },
)

each(
  test,
  'past bug 7 (CVE-2023-5158): zero-length descriptor at each position, or only those -> no endless loop',
  async (f) => {
    const fixture = await setUp(f)
    const { raw } = fixture
    const layout = [readable(8), readable(8), writable(256), writable(256), S]
    for (let position = 0; position <= layout.length; position++) {
      for (const empty of [readable(0), writable(0)]) {
        const { queue } = raw.negotiate()
        const pieces = [...layout.slice(0, position), empty, ...layout.slice(position)]
        answered(queue.run({ type: 0, layout: pieces }), 0, 513, `position ${position}`)
      }
    }
    for (let count = 1; count <= 16; count++) {
      const { queue } = raw.negotiate()
      queue.submit(queue.chain(Array.from({ length: count }, (_, i) => ({ addr: 0, len: 0, writable: i % 2 === 1 }))))
      assert.equal([raw.reg.status, queue.usedIdx], [0x4f, 0], `${count} empty ones`)
    }
    serves(fixture)
  },
)

each(
  test,
  'past bug 8 (CVE-2016-6490): as many zero-length descriptors as the queue has -> poisoned, ended',
  async (f) => {
    const fixture = await setUp(f)
    for (const size of [1, 2, 16, 256]) {
      const { queue } = fixture.raw.negotiate({ queues: [{ size }] })
      const links = Array.from({ length: size }, () => ({ addr: 0, len: 0, writable: true }))
      const gain = fixture.gained(['drains', 'ringFaults', 'statusWriteFailures'], () =>
        queue.submit(queue.chain(links)),
      )
      assert.equal([gain, queue.usedIdx], [{ drains: 1, ringFaults: 1, statusWriteFailures: 1 }, 0])
    }
  },
)

each(
  test,
  'past bug 9 (CVE-2016-7422): length 0xFFFFFFFF at every position, address past 2^64 -> IOERR or poison',
  async (f) => {
    const fixture = await setUp(f)
    const { raw } = fixture
    const layout = [readable(8), readable(8), writable(256), writable(256), S]
    const before = fixture.disk.bytes.slice()
    for (let position = 0; position < layout.length; position++) {
      for (const addr of [undefined, (1n << 64n) - 16n, (1n << 64n) - 0xffff_ffffn, 1n << 63n]) {
        for (const len of [0xffffffff, 0xfffffffe, 0x80000000]) {
          const { queue } = raw.negotiate()
          const pieces = layout.map((piece, i) => {
            if (i !== position) return piece
            return addr === undefined ? { ...piece, len } : { ...piece, len, addr, bytes: 0 }
          })
          const request = queue.request({ type: 0, layout: pieces })
          queue.submit(request.head)
          const about = `position ${position}, ${len} at ${addr}`
          const last = position === layout.length - 1
          // The last one holds the status byte: out of reach, it poisons.
          assert.equal([raw.reg.status, queue.usedIdx], last ? [0x4f, 0] : [0x0f, 1], about)
          if (!last) assert.equal([raw.mem.u8(Number(request.statusAddr)), queue.usedElement(0).len], [1, 0], about)
        }
      }
    }
    assert.equal(fixture.disk.bytes, before)
    serves(fixture)
  },
)

each(
  test,
  'past bug 10 (CVE-2016-5403): avail.idx driven on without waiting -> requests in flight never exceed the ring',
  async (f) => {
    const { fixture, backend } = await setUpLate(f)
    const { raw } = fixture
    let most = 0
    for (const step of [1, 5, 15, 16]) {
      const { queue } = raw.negotiate()
      // Fifteen heads that share one status descriptor: more requests than honest chains could make.
      const header = raw.arena.alloc(16)
      raw.mem.write(header, Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
      for (let i = 0; i < 15; i++) queue.setDescriptor(i, { addr: header, len: 16, flags: 1, next: 15 })
      queue.setDescriptor(15, { addr: header + 64, len: 1, flags: 2, next: 0 })
      for (let i = 0; i < 16; i++) queue.setAvailSlot(i, i % 15)
      for (let idx = step; idx < 65535; idx += step) {
        queue.setAvailIdx(idx)
        queue.kick()
        most = Math.max(most, backend?.pending.length ?? 0)
        if (raw.reg.status !== 0x0f) break
      }
      assert.is(raw.reg.status, 0x4f, 'a head in flight that is offered again poisons')
      backend?.finishAll()
      await settle()
    }
    assert.ok(most >= 15 && most <= 16, `${most} in flight`)
  },
)

each(test, 'past bug 11 (CVE-2011-2512): QueueNotify with 1, 0xFFFF, 2^31, 2^32 - 1 -> ignored, counted', async (f) => {
  const fixture = await setUp(f)
  const { queue } = fixture.raw.negotiate()
  const read = queue.request({ type: 0, dataIn: 512 })
  queue.publish(read.head)
  const gain = fixture.gained(['kicks', 'ignoredKicks', 'drains'], () => {
    for (const value of [1, 0xffff, 0x80000000, 0xffffffff]) queue.kick(value)
  })
  assert.equal(gain, { kicks: 0, ignoredKicks: 4, drains: 0 })
  unanswered(read)
})

each(
  test,
  'past bug 12 (CVE-2011-1750): data of 1, 511, 513 and 2^32 - 1 bytes -> IOERR, image unchanged',
  async (f) => {
    const fixture = await setUp(f, { device: { sizeMax: 0xffffffff } })
    const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
    const before = fixture.disk.bytes.slice()
    for (const bytes of [1, 511, 513]) {
      answered(queue.run({ type: 1, dataOut: pattern(bytes) }), 1, 1, `OUT of ${bytes}`)
      answered(queue.run({ type: 0, dataIn: bytes }), 1, 0, `IN of ${bytes}`)
    }
    for (const [type, make, usedLen] of [
      [1, readable, 1],
      [0, writable, 0],
    ] as const) {
      const request = queue.run({ type, layout: [H, make(0, { addr: 0x80000, len: 0xffffffff }), S] })
      assert.equal([request.status(), request.usedLen()], [1, usedLen])
    }
    assert.equal([fixture.disk.bytes, fixture.counter('ioErrors')], [before, 8])
  },
)

each(
  test,
  'past bug 13 (CVE-2011-2212): INDIRECT, not offered, of any shape -> poisoned, table not read',
  async (f) => {
    const fixture = await setUp(f)
    const { raw } = fixture
    for (const len of [0, 8, 16, 17, 32, 48, 16 * 16, 17 * 16, 0xffffffff]) {
      const { queue } = raw.negotiate()
      const request = queue.request({ type: 0, dataIn: 512, indirect: true })
      const desc = queue.descriptor(request.head)
      assert.is(desc.flags, 4)
      queue.setDescriptor(request.head, { ...desc, len })
      const gain = fixture.gained(['ringFaults', 'ioErrors'], () => queue.submit(request.head))
      assert.equal([gain, raw.reg.status, queue.usedIdx], [{ ringFaults: 1, ioErrors: 0 }, 0x4f, 0], `length ${len}`)
      unanswered(request)
    }
    // Nested, and behind direct descriptors.
    const { queue } = raw.negotiate()
    const nested = queue.request({ type: 4, indirect: 1 })
    queue.submit(nested.head)
    assert.is(raw.reg.status, 0x4f)
    unanswered(nested)
  },
)

each(test, 'past bug 14 (CVE-2011-4127): types 2 and 3 -> always UNSUPP, back end not called', async (f) => {
  for (const device of [{}, { readOnly: true }, { features: 'full' as const }]) {
    let backend: FaultyBackend | undefined
    const { raw } = await setUp(f, {
      device,
      backend: (disk) => {
        backend = new FaultyBackend(disk)
        return backend
      },
    })
    const { queue } = raw.negotiate()
    for (const type of [2, 3]) {
      answered(queue.run({ type, dataIn: 512 }), 2, 0)
      answered(queue.run({ type, dataOut: pattern(512) }), 2, 1)
    }
    assert.equal(backend?.calls, [])
  }
})

each(
  test,
  'past bug 15 (CVE-2013-2016): config space at any offset and width -> 0 past the end, writes change nothing',
  async (f) => {
    const { raw } = await setUp(f)
    const all = (): number[] => Array.from({ length: 0x100 }, (_, i) => raw.reg.config(i, 1))
    const before = all()
    for (let at = 0; at <= 0x1000; at++) {
      for (const width of [1, 2, 4, 8]) {
        if (at >= 96) assert.is(raw.reg.config(at, width), 0, `${at}, width ${width}`)
        raw.reg.setConfig(at, 0xffffffff, width)
      }
    }
    for (const at of [0x7fff_fe00, 0xffff_fe00, 0xffff_feff]) assert.is(raw.reg.config(at), 0, `${at}`)
    assert.equal(all(), before)
    assert.ok(before.slice(24).every((byte) => byte === 0))
  },
)

each(test, 'past bug 16 (CVE-2017-17381): legacy registers written in modern mode -> ignored', async (f) => {
  const { raw } = await setUp(f)
  for (const stage of ['reset', 'features', 'queues', 'driverOk'] as const) {
    const { queues } = raw.negotiate({ upTo: stage })
    for (const offset of [0x028, 0x03c, 0x040]) {
      for (const value of [0, 1, 3, 4096, 0xffffffff]) raw.reg.write(offset, value)
      assert.is(raw.reg.read(offset), 0)
    }
    const [queue] = queues
    if (!queue) continue
    raw.reg.status = 0x0f
    assert.is(raw.reg.queueReady, 1)
    answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  }
})

each(
  test,
  'past bug 17 (CVE-2013-4151): state handed in by the host -> each wrong field is refused by name',
  async (f) => {
    const memory = f.memory({ ramBytes: 1 << 16, stateBytes: 1 << 20 })
    const good: VirtioBlkOptions = { memory, backend: new MemoryBackend(4096), engine: f.engine }
    const bad: readonly [string, unknown][] = [
      ...[0, -1, 65, 1.5, Number.NaN, '1'].map((value): [string, unknown] => ['queues', value]),
      ...[0, 3, 255, 257, 65536, -4, Number.NaN, Number.POSITIVE_INFINITY].map((v): [string, unknown] => [
        'queueSizeMax',
        v,
      ]),
      ...[0, 255, 256, -1, 0.5, Number.NaN].map((value): [string, unknown] => ['segMax', value]),
      ...[0, -1, 2 ** 32, 0.5, Number.NaN].map((value): [string, unknown] => ['sizeMax', value]),
      ...[0, 256, 511, 513, 131072, -512, Number.NaN].map((value): [string, unknown] => ['blockSize', value]),
      ['serial', 'twenty-one characters'],
      ['serial', '\u00e4'.repeat(11)],
      ['memory', undefined],
      ['backend', undefined],
    ]
    for (const [name, value] of bad) {
      const message = await VirtioBlk.create({ ...good, [name]: value }).then(
        () => 'accepted',
        (error: Error) => error.message,
      )
      assert.match(message, name, `${name}: ${String(value)}`)
    }
    for (const capacityBytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      const backend = { ...good.backend, capacityBytes, read: () => 0, write: () => 0, flush: () => {} }
      const message = await VirtioBlk.create({ ...good, backend }).then(
        () => 'accepted',
        (error: Error) => error.message,
      )
      assert.match(message, 'capacityBytes', `${capacityBytes}`)
    }
    const unknown = await VirtioBlk.create({ ...good, features: ['BARRIER' as 'FLUSH'] }).then(
      () => 'accepted',
      (error: Error) => error.message,
    )
    assert.match(unknown, 'BARRIER')
    // None of them has taken room or left a trace: the good one still works.
    await VirtioBlk.create(good)
  },
)

test.run()
