// A request is two byte streams, not descriptors (device rule 8): the header is the first 16 readable bytes and the
// status the last writable one, wherever the descriptor borders fall. And 64-bit arithmetic on guest numbers (rule
// 10). That guest memory is read once (rule 9) is in double-fetch.test.ts; buffers that cross regions in
// regions.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Piece, readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, type Fixture, pattern, setUp } from '../support/device.ts'
import type { Flavour } from '../support/engines.ts'

const test = suite('device chain')

/** Ring of 1024 descriptors, so that every byte of a request can have its own. */
async function wide(flavour: Flavour): Promise<Fixture> {
  return setUp(flavour, {
    stateBytes: 16 << 20,
    device: { queueSizeMax: 1024, segMax: 1000, serial: 'twenty bytes serial!' },
  })
}

interface Streams {
  about: string
  header: readonly Piece[]
  dataOut: (bytes: number) => readonly Piece[]
  dataIn: (bytes: number) => readonly Piece[]
}

/** Runs the four request types with this framing; each must do what the usual framing does. */
function allTypes(fixture: Fixture, { about, header, dataOut, dataIn }: Streams): void {
  const { disk, raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 1024 }] })
  const data = pattern(512, about.length)
  const write = queue.run({ type: 1, sector: 5, dataOut: data, layout: [...header, ...dataOut(512), ...dataIn(0)] })
  answered(write, 0, 1, `${about}: OUT`)
  assert.equal(disk.bytes.slice(2560, 3072), data, `${about}: OUT`)
  assert.equal([disk.bytes[2559], disk.bytes[3072]], [diskBytes(2559, 1)[0], diskBytes(3072, 1)[0]])
  const read = queue.run({ type: 0, sector: 5, layout: [...header, ...dataIn(512)] })
  answered(read, 0, 513, `${about}: IN`)
  assert.equal(read.data(), data, `${about}: IN`)
  const id = queue.run({ type: 8, layout: [...header, ...dataIn(20)] })
  answered(id, 0, 21, `${about}: GET_ID`)
  assert.is(new TextDecoder().decode(id.data()), 'twenty bytes serial!', `${about}: GET_ID`)
  answered(queue.run({ type: 4, layout: [...header, ...dataIn(0)] }), 0, 1, `${about}: FLUSH`)
  answered(queue.run({ type: 99, layout: [...header, ...dataIn(0)] }), 2, 1, `${about}: unknown`)
}

const usualOut = (bytes: number): Piece[] => [readable(bytes)]
const usualIn = (bytes: number): Piece[] => (bytes > 0 ? [writable(bytes), writable(1)] : [writable(1)])

each(test, 'device rule 8: header: cut in two at each of the 15 places -> same answers', async (f) => {
  const fixture = await wide(f)
  for (let cut = 1; cut <= 15; cut++) {
    const header = [readable(cut), readable(16 - cut)]
    allTypes(fixture, { about: `cut at ${cut}`, header, dataOut: usualOut, dataIn: usualIn })
  }
})

each(test, 'device rule 8: header: sixteen descriptors of one byte -> same answers', async (f) => {
  const fixture = await wide(f)
  const header = Array.from({ length: 16 }, () => readable(1, { align: 1 }))
  allTypes(fixture, { about: 'bytes', header, dataOut: usualOut, dataIn: usualIn })
})

each(test, 'device rule 8: framing: every byte in its own descriptor -> same answers', async (f) => {
  const fixture = await wide(f)
  const bytes = (count: number, make: typeof readable): Piece[] =>
    Array.from({ length: count }, () => make(1, { align: 1 }))
  allTypes(fixture, {
    about: 'all bytes',
    header: bytes(16, readable),
    dataOut: (count) => bytes(count, readable),
    dataIn: (count) => bytes(count + 1, writable),
  })
})

each(test, 'device rule 8: framing: header with data, data with status -> same answers', async (f) => {
  const fixture = await wide(f)
  const { disk, raw } = fixture
  allTypes(fixture, { about: 'in one', header: [readable(16)], dataOut: usualOut, dataIn: (n) => [writable(n + 1)] })
  const { queue } = raw.negotiate()
  const data = pattern(1024, 9)
  // The header's tail shares a descriptor with the data; or everything readable is one.
  for (const layout of [
    [readable(1040)],
    [readable(7), readable(1033)],
    [readable(15), readable(500), readable(525)],
  ]) {
    disk.bytes.fill(0, 0, 2048)
    answered(queue.run({ type: 1, sector: 1, dataOut: data, layout: [...layout, writable(1)] }), 0, 1)
    assert.equal(disk.bytes.slice(512, 1536), data)
  }
  for (const layout of [[writable(1025)], [writable(1), writable(1024)], [writable(1023), writable(2)]]) {
    const read = queue.run({ type: 0, sector: 1, layout: [readable(16), ...layout] })
    answered(read, 0, 1025)
    assert.equal(read.data(), data)
  }
})

each(
  test,
  'device rule 8: status: last writable byte, wherever it lies -> written there and nowhere else',
  async (f) => {
    const { raw } = await setUp(f)
    const { queue } = raw.negotiate()
    for (const bytes of [1, 2, 3, 20, 511, 513, 514]) {
      const read = queue.run({ type: 0, layout: [readable(16), writable(bytes)] })
      // 512 data bytes and the status is what works; all else is a fault, and leaves the data alone.
      answered(read, bytes === 513 ? 0 : 1, bytes === 513 ? 513 : bytes === 1 ? 1 : 0, `${bytes} bytes`)
      if (bytes !== 513) assert.ok(read.data().every((byte) => byte === 0xe5))
    }
  },
)

each(test, 'device rule 8: data: cut at odd places, odd addresses -> same bytes', async (f) => {
  const { raw, disk } = await setUp(f)
  const { queue } = raw.negotiate()
  const cuts = [1, 2, 3, 5, 7, 11, 13, 300, 170]
  const read = queue.run({
    type: 0,
    sector: 2,
    layout: [
      readable(16, { align: 1 }),
      ...cuts.map((bytes) => writable(bytes, { align: 1 })),
      writable(1, { align: 1 }),
    ],
  })
  answered(read, 0, 513)
  assert.equal(read.data(), diskBytes(1024, 512))
  const data = pattern(512, 3)
  const write = queue.run({
    type: 1,
    sector: 2,
    dataOut: data,
    layout: [readable(16, { align: 1 }), ...cuts.map((bytes) => readable(bytes, { align: 1 })), writable(1)],
  })
  answered(write, 0, 1)
  assert.equal(disk.bytes.slice(1024, 1536), data)
})

each(test, 'device rule 8: zero-length descriptors: at every position, wherever they point -> skipped', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate()
  const nowhere = [0, 0x8000_0000, 0xffff_ffff_ffff_ffffn]
  for (let position = 0; position <= 5; position++) {
    for (const addr of nowhere) {
      for (const make of [readable, writable]) {
        const layout = [readable(10), readable(6), writable(100), writable(412), writable(1)]
        layout.splice(position, 0, make(0, { addr }))
        const read = queue.run({ type: 0, sector: 4, layout })
        answered(read, 0, 513, `${make.name} of 0 at ${position}`)
        assert.equal(read.data(), diskBytes(2048, 512))
      }
    }
  }
})

each(
  test,
  'device rule 8: descriptors: scattered over the table, next without NEXT -> followed, ignored',
  async (f) => {
    const { raw } = await setUp(f)
    const { queue } = raw.negotiate({ queues: [{ size: 16 }] })
    const layout = [readable(16), writable(512), writable(1, { next: 0xffff })]
    for (const indices of [
      [15, 0, 7],
      [2, 1, 0],
      [8, 15, 3],
    ]) {
      const read = queue.run({ type: 0, sector: 1, layout, indices })
      answered(read, 0, 513)
      assert.is(read.used()?.id, indices[0])
    }
  },
)

each(test, 'device rule 8: chain: as long as the queue -> served', async (f) => {
  const { raw } = await setUp(f)
  for (const size of [2, 4, 16, 256]) {
    const { queue } = raw.negotiate({ queues: [{ size }] })
    const empty = Array.from({ length: size - 2 }, () => readable(0))
    answered(queue.run({ type: 4, layout: [readable(16), ...empty, writable(1)] }), 0, 1, `size ${size}`)
    answered(queue.run({ type: 4, layout: [...empty, readable(16), writable(1)] }), 0, 1, `size ${size}`)
  }
})

each(test, 'device rule 8: buffers: several descriptors over the same bytes -> each is served', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate()
  const addr = raw.arena.alloc(512, 512)
  const read = queue.run({
    type: 0,
    sector: 0,
    layout: [readable(16), writable(512, { addr }), writable(512, { addr }), writable(1)],
  })
  assert.equal([read.status(), read.usedLen()], [0, 1025])
  // Both sectors went there; which one stayed is not said.
  const bytes = raw.mem.bytes(addr, 512)
  assert.ok([diskBytes(0, 512), diskBytes(512, 512)].some((sector) => sector.every((byte, i) => byte === bytes[i])))
})

// 64-bit arithmetic ----------------------------------------------------------------------------------------------

each(test, 'device rule 10: sector: around every power of two that arithmetic could lose -> IOERR', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate()
  const powers = [23, 31, 32, 52, 53, 54, 55, 56, 62, 63]
  const sectors = powers.flatMap((power) => [-2n, -1n, 0n, 1n, 2n].map((off) => (1n << BigInt(power)) + off))
  sectors.push((1n << 64n) - 1n, (1n << 64n) - 2n, (1n << 64n) - 8n, (1n << 55n) * 3n)
  for (const sector of sectors) {
    for (const count of [1, 2, 8]) {
      const mark = raw.arena.mark()
      const read = queue.run({ type: 0, sector, dataIn: 512 * count })
      answered(read, 1, 0, `IN ${sector}+${count}`)
      assert.ok(read.data().every((byte) => byte === 0xe5))
      answered(queue.run({ type: 1, sector, dataOut: new Uint8Array(512 * count) }), 1, 1, `OUT ${sector}+${count}`)
      raw.arena.rewind(mark)
    }
  }
})

each(
  test,
  'device rule 10: sector: huge disk -> byte offsets past 2^32 reach the back end exactly, the end is the end',
  async (f) => {
    const offsets: number[] = []
    const { raw } = await setUp(f, {
      backend: () => ({
        // 2^44 sectors and a half that does not count
        capacityBytes: 2 ** 53 - 256,
        inPlace: true,
        read: (offset) => {
          offsets.push(offset)
          return 512
        },
        write: () => 0,
        flush: () => {},
      }),
    })
    assert.is(raw.reg.config64(0), 17592186044415n)
    const { queue } = raw.negotiate()
    const good = [2 ** 23 - 1, 2 ** 23, 2 ** 23 + 1, 2 ** 32, 2 ** 32 + 1, 2 ** 43 + 5, 17592186044414]
    for (const sector of good) answered(queue.run({ type: 0, sector, dataIn: 512 }), 0, 513, `sector ${sector}`)
    const expected = [
      4294966784, 4294967296, 4294967808, 2199023255552, 2199023256064, 4503599627373056, 9007199254739968,
    ]
    assert.equal(offsets, expected)
    for (const sector of [17592186044415, 17592186044416, 2n ** 54n, 2n ** 55n, 2n ** 63n]) {
      answered(queue.run({ type: 0, sector, dataIn: 512 }), 1, 0, `sector ${sector}`)
    }
    assert.is(offsets.length, 7)
  },
)

each(test, 'device rule 10: lengths: data that adds up to 2^32 and more -> IOERR', async (f) => {
  const fixture = await setUp(f, { device: { sizeMax: 0xffffffff } })
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const huge = { len: 0xfffffe00, addr: 0x80000 }
  for (const layout of [
    [readable(16), writable(0, huge), writable(0, huge), writable(1)],
    [readable(16), writable(0, huge), writable(512, { addr: 0x80000 }), writable(1)],
    [readable(16), readable(0, huge), readable(0, huge), writable(1)],
    [readable(16), writable(0, { ...huge, len: 0xffffffff }), writable(0, { ...huge, len: 0xffffffff }), writable(1)],
    [readable(16), readable(0, huge), writable(0, huge), writable(1)],
  ]) {
    const write = layout.every((piece) => !piece.writable || piece.bytes === 1)
    const request = queue.run({ type: write ? 1 : 0, layout })
    assert.equal([request.status(), request.usedLen()], [1, write ? 1 : 0])
  }
  assert.equal([fixture.counter('ioErrors'), raw.reg.status], [5, 0x0f])
})

each(test, 'device rule 10: addresses: addr + len past 2^64, 2^63 and 2^32 -> not guest RAM', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate()
  const addresses = [
    ...[0xffff_ffff_ffff_fe00n, 0xffff_ffff_ffff_ff00n, 0xffff_ffff_ffff_ffffn, 0x7fff_ffff_ffff_ff00n],
    ...[0x8000_0000_0000_0000n, 0x1_0000_0000n, 0x1_0001_0000n, 0xffff_ff00n, 0xffff_ffff_0001_0000n],
  ]
  for (const addr of addresses) {
    const read = queue.run({ type: 0, layout: [readable(16), writable(512, { addr }), writable(1)] })
    assert.equal([read.status(), read.usedLen()], [1, 0], `IN to ${addr}`)
    const write = queue.run({ type: 1, layout: [readable(16), readable(512, { addr }), writable(1)] })
    assert.equal([write.status(), write.usedLen()], [1, 1], `OUT from ${addr}`)
    const header = queue.run({ type: 4, layout: [readable(16, { addr }), writable(1)] })
    assert.equal([header.status(), header.usedLen()], [1, 1], `header at ${addr}`)
  }
})

test.run()
