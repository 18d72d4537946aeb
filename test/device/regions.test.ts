// Guest RAM in pieces (device rules 3, 8 and 10): buffers and rings that run from one region into a touching one
// work, though the two are apart in linear memory; what runs into a hole does not. And rings of every size (rule 3),
// and the 16-bit indices at their wrap.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Piece, readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, type Fixture, pattern, setUp } from '../support/device.ts'
import type { Flavour } from '../support/engines.ts'
import { LateBackend } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device regions')

/** RAM: 0..0x40000 and on to 0x50000 and 0x51000 without a hole, then a hole to 0x60000. */
const REGIONS = [
  { gpa: 0, bytes: 0x40000 },
  { gpa: 0x40000, bytes: 0x10000 },
  { gpa: 0x50000, bytes: 0x1000 },
  { gpa: 0x60000, bytes: 0x10000 },
]
const BORDER = 0x40000
const HOLE = 0x51000
const BEHIND = 0x60000

async function pieces(flavour: Flavour): Promise<Fixture> {
  return setUp(flavour, { regions: REGIONS })
}

each(test, 'device rule 8: header: over the border of touching regions at each place -> read whole', async (f) => {
  const { raw } = await pieces(f)
  const { queue } = raw.negotiate()
  for (let before = 1; before <= 15; before++) {
    const header = readable(16, { addr: BORDER - before })
    const read = queue.run({ type: 0, sector: 0x123, layout: [header, writable(512), writable(1)] })
    answered(read, 0, 513, `${before} bytes before the border`)
    assert.equal(read.data(), diskBytes(0x123 * 512, 512))
  }
})

each(test, 'device rule 8: data: over the border of touching regions -> every byte, reads and writes', async (f) => {
  const { raw, disk } = await pieces(f)
  const { queue } = raw.negotiate()
  for (const before of [1, 100, 511, 512]) {
    const addr = BORDER - before
    const read = queue.run({ type: 0, sector: 9, layout: [readable(16), writable(512, { addr }), writable(1)] })
    answered(read, 0, 513, `IN, ${before} before the border`)
    assert.equal(read.data(), diskBytes(9 * 512, 512))
    // Data and status in one, so that the status byte is the only one behind the border, or in front of it.
    const joined = queue.run({ type: 0, sector: 9, layout: [readable(16), writable(513, { addr })] })
    answered(joined, 0, 513)
    assert.equal(joined.data(), diskBytes(9 * 512, 512))
    const data = pattern(512, before)
    const write = queue.run({
      type: 1,
      sector: 20,
      dataOut: data,
      layout: [readable(16), readable(512, { addr }), writable(1)],
    })
    answered(write, 0, 1)
    assert.equal(disk.bytes.slice(20 * 512, 21 * 512), data)
  }
})

each(test, 'device rule 8: data: over three touching regions, in many descriptors -> every byte', async (f) => {
  const { raw, disk } = await pieces(f)
  const { queue } = raw.negotiate()
  // 0x3ff00..0x50f00 covers the whole second region.
  const whole = { addr: 0x3fe00 }
  const read = queue.run({ type: 0, sector: 1, layout: [readable(16), writable(0x11200, whole), writable(1)] })
  answered(read, 0, 0x11201)
  assert.equal(read.data(), diskBytes(512, 0x11200))
  const cuts = [readable(16), readable(300, { addr: 0x3fff0 }), readable(724, { addr: 0x4fff8 }), writable(1)]
  const data = pattern(1024, 77)
  answered(queue.run({ type: 1, sector: 3, dataOut: data, layout: cuts }), 0, 1)
  assert.equal(disk.bytes.slice(1536, 2560), data)
})

each(test, 'device rule 11: short read: over the border -> the missing tail is zeroed behind it', async (f) => {
  const fixture = await setUp(f, {
    regions: REGIONS,
    backend: (disk) => ({
      capacityBytes: 4096,
      inPlace: true,
      read: (offset, into) => (offset === 0 ? disk.read(0, [(into[0] as Uint8Array).subarray(0, 50)]) : 0),
      write: () => 0,
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, layout: [readable(16), writable(512, { addr: BORDER - 100 }), writable(1)] })
  answered(read, 0, 513)
  assert.equal(read.data(), Uint8Array.of(...diskBytes(0, 50), ...new Uint8Array(462)))
  assert.is(fixture.counter('shortReads'), 1)
})

each(test, 'device rule 8: data: over the border, late back end -> every byte', async (f) => {
  let backend: LateBackend | undefined
  const { raw, disk } = await setUp(f, {
    regions: REGIONS,
    backend: (inner) => {
      backend = new LateBackend(inner)
      return backend
    },
  })
  const { queue } = raw.negotiate()
  const addr = BORDER - 200
  const read = queue.run({ type: 0, sector: 7, layout: [readable(16), writable(1024, { addr }), writable(1)] })
  backend?.finishAll()
  await settle()
  answered(read, 0, 1025)
  assert.equal(read.data(), diskBytes(7 * 512, 1024))
  const data = pattern(1024, 5)
  queue.run({ type: 1, sector: 1, dataOut: data, layout: [readable(16), readable(1024, { addr }), writable(1)] })
  // What the guest does to its buffer after the kick is too late.
  raw.mem.fill(addr, 1024, 0)
  backend?.finishAll()
  await settle()
  assert.equal(disk.bytes.slice(512, 1536), data)
})

each(test, 'device rule 10: data, header: into, out of or in a hole -> IOERR, nothing moved', async (f) => {
  const fixture = await pieces(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const before = fixture.disk.bytes.slice()
  for (const addr of [HOLE - 511, HOLE - 1, HOLE, BEHIND - 512, BEHIND - 1, 0x70000 - 511, 0x70000]) {
    const inData = queue.run({ type: 0, layout: [readable(16), writable(512, { addr }), writable(1)] })
    assert.equal([inData.status(), inData.usedLen()], [1, 0], `IN at ${addr}`)
    assert.ok(inData.data().every((byte) => byte === 0xe5 || byte === 0xff))
    const out = queue.run({ type: 1, layout: [readable(16), readable(512, { addr }), writable(1)] })
    assert.equal([out.status(), out.usedLen()], [1, 1], `OUT at ${addr}`)
  }
  for (const addr of [HOLE - 15, HOLE - 1, HOLE, BEHIND - 16, BEHIND - 1, 0x70000 - 8]) {
    const request = queue.run({ type: 4, layout: [readable(16, { addr }), writable(1)] })
    assert.equal([request.status(), request.usedLen()], [1, 1], `header at ${addr}`)
  }
  assert.equal(fixture.disk.bytes, before)
  // Right up to the edges is fine.
  for (const addr of [HOLE - 512, BEHIND, 0x70000 - 512]) {
    const layout: Piece[] = [readable(16), writable(512, { addr }), writable(1)]
    answered(queue.run({ type: 0, sector: 1, layout }), 0, 513, `edge ${addr}`)
  }
})

/** With this ring of 256 so many bytes before the border, five times round the ring. */
function ringOver(fixture: Fixture, part: 'desc' | 'avail' | 'used', before: number): void {
  const { raw } = fixture
  const about = `${part} ring, ${before} bytes before the border`
  const { queue, ready } = raw.negotiate({ eventIdx: true, queues: [{ size: 256, [part]: BORDER - before }] })
  assert.equal(ready, [1], about)
  for (let round = 0; round < 5; round++) {
    const mark = raw.arena.mark()
    const flushes = Array.from({ length: 128 }, () => queue.request({ type: 4 }))
    queue.submit(...flushes.map(({ head }) => head))
    for (const flush of flushes) answered(flush, 0, 1, about)
    raw.arena.rewind(mark)
  }
  assert.equal([queue.usedIdx, queue.availEvent], [640, 640], about)
}

each(test, 'device rule 3: rings: table over the border of touching regions -> works', async (f) => {
  const fixture = await pieces(f)
  for (const before of [16, 32, 2048, 4080]) ringOver(fixture, 'desc', before)
})

each(test, 'device rule 3: rings: available ring over the border of touching regions -> works', async (f) => {
  const fixture = await pieces(f)
  for (const before of [4, 6, 258, 514, 516]) ringOver(fixture, 'avail', before)
})

each(test, 'device rule 3: rings: available ring over the border, between flags and idx -> works', async (f) => {
  const fixture = await pieces(f)
  ringOver(fixture, 'avail', 2)
})

each(test, 'device rule 3: rings: used ring over the border, between two elements -> works', async (f) => {
  const fixture = await pieces(f)
  for (const before of [4, 12, 1020, 2044, 2052]) ringOver(fixture, 'used', before)
})

each(test, 'device rule 3: rings: used ring over the border, in the middle of an element -> works', async (f) => {
  const fixture = await pieces(f)
  for (const before of [8, 1024, 2048]) ringOver(fixture, 'used', before)
})

// Sizes --------------------------------------------------------------------------------------------------------

each(test, 'device rule 3: size 1: one writable byte -> IOERR, again and again', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue, ready } = raw.negotiate({ queues: [{ size: 1 }] })
  assert.equal(ready, [1])
  for (let i = 0; i < 1000; i++) {
    const mark = raw.arena.mark()
    answered(queue.run({ type: 4, layout: [writable(1)] }), 1, 1, `request ${i}`)
    raw.arena.rewind(mark)
  }
  assert.equal([queue.usedIdx, queue.usedElement(0), fixture.counter('ioErrors')], [1000, { id: 0, len: 1 }, 1000])
})

each(test, 'device rule 3: size 2: header and status -> served, slots alternate', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate({ queues: [{ size: 2 }] })
  for (let i = 0; i < 1000; i++) {
    const mark = raw.arena.mark()
    const flush = queue.run({ type: 4, head: i % 3 === 0 ? 1 : 0 })
    answered(flush, 0, 1)
    assert.equal(queue.usedElement(i), { id: i % 3 === 0 ? 1 : 0, len: 1 })
    raw.arena.rewind(mark)
  }
})

each(test, 'device rule 3: size 32768: ring full of flushes, and one chain of 32768 -> served', async (f) => {
  const fixture = await setUp(f, {
    regions: [{ gpa: 0, bytes: 8 << 20 }],
    stateBytes: 16 << 20,
    device: { queueSizeMax: 32768, segMax: 4 },
  })
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 32768 }] })
  const header = raw.arena.alloc(16)
  raw.mem.write(header, Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  const status = raw.arena.alloc(16384)
  raw.mem.fill(status, 16384, 0xe5)
  const heads = Array.from({ length: 16384 }, (_, i) =>
    queue.chain([
      { addr: header, len: 16 },
      { addr: status + i, len: 1, writable: true },
    ]),
  )
  queue.submit(...heads)
  assert.is(queue.usedIdx, 16384)
  assert.ok(raw.mem.bytes(status, 16384).every((byte) => byte === 0))
  assert.equal(
    queue.takeUsed().map(({ id, len }) => id * 2 + len),
    heads.map((head) => head * 2 + 1),
  )
  assert.is(fixture.interrupts, 1)
  const links = Array.from({ length: 32768 }, () => ({ addr: 0, len: 0 }))
  links[100] = { addr: header, len: 16 }
  links[32767] = Object.assign({ addr: status, len: 1 }, { writable: true })
  queue.submit(queue.chain(links, { head: 7 }))
  assert.equal([raw.reg.status, queue.takeUsed()], [0x0f, [{ id: 7, len: 1 }]])
})

// Wrap -----------------------------------------------------------------------------------------------------------

each(test, 'device rule 3: wrap: 66000 requests on a ring of 4 -> every used id, slot and idx is right', async (f) => {
  const fixture = await setUp(f)
  const { raw, memory } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 4 }], eventIdx: true })
  const flushes = [queue.request({ type: 4 }), queue.request({ type: 4 })] as const
  const [a, b] = [flushes[0].head, flushes[1].head]
  assert.equal([a, b], [0, 2])
  const avail = new Uint16Array(memory.memory.buffer, memory.view(Number(queue.avail), 14).byteOffset, 7)
  const used = memory.view(Number(queue.used), 38)
  const view = new DataView(used.buffer, used.byteOffset)
  const statuses = flushes.map(({ statusAddr }) => memory.view(Number(statusAddr), 1))
  for (let idx = 0; idx < 66000; idx += 2) {
    // Odd rounds swap the heads; used_event asks for an interrupt in every eighth round only.
    const order = idx % 4 === 0 ? [a, b] : [b, a]
    avail[2 + (idx % 4)] = order[0] as number
    avail[2 + ((idx + 1) % 4)] = order[1] as number
    avail[6] = idx % 16 === 0 ? idx + 1 : idx + 2
    for (const status of statuses) status[0] = 0xe5
    avail[1] = idx + 2
    const before = fixture.interrupts
    queue.kick()
    const fine =
      view.getUint16(2, true) === ((idx + 2) & 0xffff) &&
      view.getUint32(4 + (idx % 4) * 8, true) === order[0] &&
      view.getUint32(8 + (idx % 4) * 8, true) === 1 &&
      view.getUint32(4 + ((idx + 1) % 4) * 8, true) === order[1] &&
      view.getUint32(8 + ((idx + 1) % 4) * 8, true) === 1 &&
      view.getUint16(36, true) === ((idx + 2) & 0xffff) &&
      statuses.every((status) => status[0] === 0) &&
      fixture.interrupts - before === (idx % 16 === 0 ? 1 : 0)
    if (!fine) assert.unreachable(`request ${idx}: ${Buffer.from(used).toString('hex')}`)
  }
  assert.equal([fixture.counter('flushesCompleted'), raw.reg.status], [66000, 0x0f])
})

test.run()
