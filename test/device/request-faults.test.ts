// Request faults: the chain ends and has a last writable byte in guest RAM, but the request is wrong. IOERR in the
// status byte, published, ioErrors +1, no token taken, back end not called. And the terminal answers that are not
// errors: FLUSH on a read-only disk and unknown types (device rules 8, 10 and 13).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Piece, type RawRequestOptions, readable, writable } from '../../host/driver/raw-request.ts'
import { answered, each, type Fixture, type SetUpOptions, setUp } from '../support/device.ts'
import type { Flavour } from '../support/engines.ts'
import { FaultyBackend } from '../support/faulty-backend.ts'

const test = suite('device request faults')

const OUTSIDE = 1 << 20

async function logged(flavour: Flavour, options: SetUpOptions = {}): Promise<{ fixture: Fixture; calls: unknown[] }> {
  let backend: FaultyBackend | undefined
  const fixture = await setUp(flavour, {
    ...options,
    backend: (disk) => {
      backend = new FaultyBackend(disk)
      return backend
    },
  })
  assert.ok(backend)
  return { fixture, calls: backend.calls }
}

const COUNTED = [
  ...(['ioErrors', 'unsupported', 'readsCompleted', 'writesCompleted', 'flushesCompleted', 'idsCompleted'] as const),
  ...(['bytesRead', 'bytesWritten', 'ringFaults', 'statusWriteFailures', 'throttledCount'] as const),
]
const NOTHING = Object.fromEntries(COUNTED.map((name) => [name, 0]))

type Case = [about: string, request: RawRequestOptions, usedLen: number]

/** Each case is answered so; the counters say so; the back end is not called; the device goes on. */
function refuses(
  { fixture, calls }: { fixture: Fixture; calls: unknown[] },
  cases: readonly Case[],
  status = 1,
  counter: (typeof COUNTED)[number] = 'ioErrors',
): void {
  const { raw, disk } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 256 }] })
  const before = disk.bytes.slice()
  for (const [about, options, usedLen] of cases) {
    const mark = raw.arena.mark()
    const request = queue.request(options)
    const { interrupts } = fixture
    const gain = fixture.gained(COUNTED, () => queue.submit(request.head))
    answered(request, status, usedLen, about)
    assert.equal(gain, { ...NOTHING, [counter]: 1 }, about)
    assert.is(fixture.interrupts, interrupts + 1, `${about}: interrupt`)
    const data = request.dataIn.filter(({ addr }) => Number(addr) < OUTSIDE)
    for (const { addr, bytes } of data) {
      assert.ok(
        raw.mem.bytes(addr, Math.min(bytes, OUTSIDE - Number(addr))).every((byte) => byte === 0xe5),
        `${about}: data was written`,
      )
    }
    raw.arena.rewind(mark)
  }
  assert.equal(calls, [])
  assert.ok(Buffer.from(before).equals(disk.bytes), 'the disk changed')
  const block = raw.reg.config(20) || 512
  answered(queue.run({ type: 0, dataIn: block }), 0, block + 1, 'a good request after them')
}

const H = readable(16)
const S = writable(1)
const many = (count: number, make: typeof readable, bytes: number): Piece[] =>
  Array.from({ length: count }, () => make(bytes))

each(test, 'device rule 8: fault a: readable after writable -> IOERR', async (f) => {
  const types = [0, 1, 4, 8, 99]
  const cases = types.flatMap((type): Case[] => [
    [`type ${type}, data after status`, { type, layout: [H, S, readable(512)] }, 1],
    [`type ${type}, status between`, { type, layout: [H, writable(512), readable(1), S] }, 0],
    [`type ${type}, header last`, { type, layout: [S, H] }, 1],
    [`type ${type}, header around the status`, { type, layout: [readable(8), S, readable(8)] }, 1],
    [`type ${type}, header behind data`, { type, layout: [writable(512), H, S] }, 0],
  ])
  refuses(await logged(f), cases)
})

each(test, 'device rule 8: fault a: fewer than 16 readable bytes -> IOERR', async (f) => {
  const lengths = Array.from({ length: 15 }, (_, i) => i + 1)
  refuses(await logged(f), [
    ...lengths.map((bytes): Case => [`${bytes} header bytes`, { type: 4, layout: [readable(bytes), S] }, 1]),
    ...lengths.map((bytes): Case => [`${bytes}, IN`, { type: 0, layout: [readable(bytes), writable(513)] }, 0]),
    ['15 single bytes', { type: 4, layout: [...many(15, readable, 1), S] }, 1],
    ['no readable byte', { type: 4, layout: [S] }, 1],
    ['no readable byte, data', { type: 0, layout: [writable(512), S] }, 0],
    ['empty readable ones', { type: 4, layout: [readable(0), readable(0), S] }, 1],
  ])
})

each(test, 'device rule 8: fault a: header not in guest RAM -> IOERR', async (f) => {
  const places = [OUTSIDE, OUTSIDE - 1, OUTSIDE - 15, 0xc000_1000, 2 ** 40, (1n << 64n) - 8n, (1n << 64n) - 16n]
  refuses(await logged(f), [
    ...places.map((addr): Case => [`header at ${addr}`, { type: 4, layout: [readable(16, { addr }), S] }, 1]),
    ['second half', { type: 0, layout: [readable(8), readable(8, { addr: OUTSIDE }), writable(512), S] }, 0],
    ['one byte', { type: 4, layout: [readable(15), readable(1, { addr: OUTSIDE }), S] }, 1],
  ])
})

each(test, 'device rule 8: fault b: more than sizeMax data bytes in a descriptor -> IOERR, any type', async (f) => {
  const device = { sizeMax: 1024 }
  const cases = [0, 1, 4, 8, 99].flatMap((type): Case[] => [
    [`type ${type}, one in`, { type, layout: [H, writable(1025), S] }, 0],
    [`type ${type}, one in of 1536`, { type, layout: [H, writable(512), writable(1536), S] }, 0],
    [`type ${type}, one out`, { type, layout: [H, readable(1025), S] }, 1],
    [`type ${type}, out behind the header`, { type, layout: [readable(16 + 1025), S] }, 1],
    [`type ${type}, in before the status`, { type, layout: [H, writable(1026)] }, 0],
    [`type ${type}, in of which the last byte is no status`, { type, layout: [H, writable(1025), writable(1)] }, 0],
    [`type ${type}, both`, { type, layout: [H, writable(1025), writable(1026)] }, 0],
  ])
  const fixture = await logged(f, { device })
  refuses(fixture, cases)
  // The header and the status byte are not data.
  const { queue } = fixture.fixture.raw.negotiate()
  answered(queue.run({ type: 0, layout: [H, writable(1025)] }), 0, 1025, 'data and status of sizeMax + 1')
  answered(queue.run({ type: 1, dataOut: new Uint8Array(1024), layout: [readable(1040), S] }), 0, 1)
})

each(test, 'device rule 8: fault b: more than segMax descriptors with data -> IOERR, any type', async (f) => {
  const device = { segMax: 4 }
  const cases = [0, 1, 4, 8, 99].flatMap((type): Case[] => [
    [`type ${type}, five in`, { type, layout: [H, ...many(5, writable, 512), S] }, 0],
    [`type ${type}, five out`, { type, layout: [H, ...many(5, readable, 512), S] }, 1],
    [`type ${type}, two and three`, { type, layout: [H, ...many(2, readable, 512), ...many(3, writable, 512), S] }, 0],
    [`type ${type}, fifth with the status`, { type, layout: [H, ...many(4, writable, 512), writable(513)] }, 0],
    [`type ${type}, first with the header`, { type, layout: [readable(528), ...many(4, readable, 512), S] }, 1],
    [`type ${type}, sixty`, { type, layout: [H, ...many(60, writable, 512), S] }, 0],
  ])
  const fixture = await logged(f, { device })
  refuses(fixture, cases)
  // Four are allowed, and descriptors without data do not count.
  const { queue } = fixture.fixture.raw.negotiate({ queues: [{ size: 64 }] })
  const empty = many(20, writable, 0)
  answered(queue.run({ type: 0, layout: [H, ...empty, ...many(4, writable, 512), ...empty, S] }), 0, 2049)
  answered(
    queue.run({ type: 0, layout: [...many(16, readable, 1), ...many(3, writable, 512), writable(513)] }),
    0,
    2049,
  )
})

each(test, 'device rule 8: fault c: no data, or data for a FLUSH -> IOERR', async (f) => {
  refuses(await logged(f), [
    ...[0, 1, 8].map((type): Case => [`type ${type} without data`, { type, layout: [H, S] }, 1]),
    ...[0, 1, 8].map((type): Case => [`type ${type}, empty`, { type, layout: [H, writable(0), readable(0), S] }, 1]),
    ['FLUSH with data in', { type: 4, dataIn: 512 }, 0],
    ['FLUSH with one byte in', { type: 4, layout: [H, writable(2)] }, 0],
    ['FLUSH with data out', { type: 4, dataOut: new Uint8Array(512) }, 1],
    ['FLUSH with one byte out', { type: 4, layout: [readable(17), S] }, 1],
  ])
})

each(test, 'device rule 8: fault d: data not a multiple of the block size -> IOERR', async (f) => {
  const lengths = [1, 2, 256, 511, 513, 1023, 1025, 4095]
  refuses(await logged(f), [
    ...lengths.map((bytes): Case => [`IN of ${bytes}`, { type: 0, dataIn: bytes }, 0]),
    ...lengths.map((bytes): Case => [`OUT of ${bytes}`, { type: 1, dataOut: new Uint8Array(bytes) }, 1]),
    ['IN of 511 and 512', { type: 0, dataIn: 1023, segments: [511, 512] }, 0],
  ])
})

each(test, 'device rule 8: fault d: block size of 4096 -> data and sector in blocks', async (f) => {
  const device = { blockSize: 4096 }
  const fixture = await logged(f, { device })
  assert.is(fixture.fixture.raw.reg.config(20), 4096)
  refuses(fixture, [
    ...[512, 2048, 4608, 8191].map((bytes): Case => [`IN of ${bytes}`, { type: 0, dataIn: bytes }, 0]),
    ...[1, 4, 7, 9].map((sector): Case => [`IN at sector ${sector}`, { type: 0, sector, dataIn: 4096 }, 0]),
    ...[1, 4, 7, 9].map((sector): Case => [`OUT at ${sector}`, { type: 1, sector, dataOut: new Uint8Array(4096) }, 1]),
  ])
  answered(fixture.fixture.raw.negotiate().queue.run({ type: 0, sector: 8, dataIn: 8192 }), 0, 8193)
})

each(test, 'device rule 8: fault d: data in the wrong direction -> IOERR', async (f) => {
  refuses(await logged(f), [
    ['IN with readable data', { type: 0, dataOut: new Uint8Array(512) }, 1],
    ['IN with both', { type: 0, layout: [H, readable(512), writable(512), S] }, 0],
    ['OUT with writable data', { type: 1, dataIn: 512 }, 0],
    ['OUT with both', { type: 1, layout: [H, readable(512), writable(512), S] }, 0],
    ['GET_ID with readable data', { type: 8, dataOut: new Uint8Array(20) }, 1],
    ['GET_ID with both', { type: 8, layout: [H, readable(20), writable(20), S] }, 0],
    ['IN of half and half', { type: 0, layout: [H, readable(256), writable(256), S] }, 0],
  ])
})

each(test, 'device rule 8: fault d: a data buffer not wholly in guest RAM -> IOERR', async (f) => {
  const places = [OUTSIDE, OUTSIDE - 1, OUTSIDE - 511, 0xc000_1000, 2 ** 32, (1n << 64n) - 512n, 1n << 63n]
  const out = new Uint8Array(1024)
  refuses(await logged(f), [
    ...places.map((addr): Case => [`IN at ${addr}`, { type: 0, layout: [H, writable(512, { addr }), S] }, 0]),
    ...places.map((addr): Case => [`OUT at ${addr}`, { type: 1, layout: [H, readable(512, { addr }), S] }, 1]),
    ...places
      .map((addr): Case => [`GET_ID at ${addr}`, { type: 8, layout: [H, writable(20, { addr }), S] }, 0])
      .slice(0, 2),
    ['IN, second buffer', { type: 0, layout: [H, writable(512), writable(512, { addr: OUTSIDE }), S] }, 0],
    ['OUT, first', { type: 1, dataOut: out, layout: [H, readable(512, { addr: OUTSIDE }), readable(512), S] }, 1],
  ])
})

each(test, 'device rule 8: fault e: OUT on a read-only disk -> IOERR, RO accepted or not', async (f) => {
  const device = { readOnly: true }
  const fixture = await logged(f, { device })
  refuses(fixture, [['OUT', { type: 1, dataOut: new Uint8Array(512) }, 1]])
  const { queue } = fixture.fixture.raw.negotiate({ drop: [5] })
  answered(queue.run({ type: 1, dataOut: new Uint8Array(512) }), 1, 1)
  assert.is(fixture.calls.length, 1)
})

each(test, 'device rule 8: fault f: past the end of the disk -> IOERR, up to the end -> OK', async (f) => {
  // 2048 sectors
  const fixture = await logged(f)
  const ranges = [
    [2048, 1],
    [2047, 2],
    [2046, 3],
    [2049, 1],
    [0x7fff_ffff, 1],
    [0x8000_0000, 1],
    [2 ** 32, 1],
    [2 ** 32 + 1, 8],
    [2 ** 55, 1],
  ] as const
  const cases = ranges.flatMap(([sector, count]): Case[] => [
    [`IN ${sector}+${count}`, { type: 0, sector, dataIn: 512 * count }, 0],
    [`OUT ${sector}+${count}`, { type: 1, sector, dataOut: new Uint8Array(512 * count) }, 1],
  ])
  refuses(fixture, cases)
  const { raw } = fixture.fixture
  const { queue } = raw.negotiate({ queues: [{ size: 32 }] })
  answered(queue.run({ type: 0, sector: 2047, dataIn: 512 }), 0, 513)
  answered(queue.run({ type: 1, sector: 2040, dataOut: new Uint8Array(4096) }), 0, 1)
  // A whole megabyte, in sixteen descriptors over the same 64 KiB.
  const pieces = Array.from({ length: 16 }, () => writable(65536, { addr: 0x20000 }))
  for (const [sector, extra, status] of [
    [0, 0, 0],
    [0, 512, 1],
    [1, 0, 1],
  ] as const) {
    const request = queue.run({ type: 0, sector, layout: [H, ...pieces, writable(extra), S] })
    assert.equal([request.status(), request.usedLen()], [status, status === 0 ? 1048577 : 0], `${sector}, ${extra}`)
  }
})

each(test, 'device rule 8: fault g: GET_ID with fewer than 20 bytes -> IOERR', async (f) => {
  refuses(await logged(f), [
    ...[1, 2, 10, 18, 19].map((bytes): Case => [`GET_ID of ${bytes}`, { type: 8, dataIn: bytes }, 0]),
    ['19 and the status in one', { type: 8, layout: [H, writable(20)] }, 0],
  ])
})

// Answers that are not errors ---------------------------------------------------------------------------------

const UNKNOWN = [
  2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 99, 0x100, 0x104, 0x10000, 0x7fffffff,
]
const BARRIER = [0x80000000, 0x80000001, 0x80000004, 0x80000008, 0xffffffff]

each(test, 'device rule 8: type: unknown or not offered, compared whole -> UNSUPP', async (f) => {
  const cases = [...UNKNOWN, ...BARRIER].flatMap((type): Case[] => [
    [`type ${type}, bare`, { type, layout: [H, S] }, 1],
    [`type ${type}, in`, { type, dataIn: 512 }, 0],
    [`type ${type}, out`, { type, dataOut: new Uint8Array(512) }, 1],
  ])
  refuses(await logged(f), cases, 2, 'unsupported')
})

each(test, 'device rule 8: type: unknown comes before size, direction, place and range -> UNSUPP', async (f) => {
  const cases: Case[] = [
    ['odd length', { type: 2, dataIn: 7 }, 0],
    ['both directions', { type: 2, layout: [H, readable(7), writable(9), S] }, 0],
    ['data outside RAM', { type: 2, layout: [H, writable(512, { addr: OUTSIDE }), S] }, 0],
    ['sector past the end', { type: 11, sector: 1n << 63n, dataOut: new Uint8Array(16) }, 1],
  ]
  refuses(await logged(f), cases, 2, 'unsupported')
  refuses(await logged(f, { device: { readOnly: true } }), cases, 2, 'unsupported')
})

each(test, 'device rule 8: type: FLUSH not offered -> UNSUPP', async (f) => {
  refuses(await logged(f, { device: { features: [] } }), [['FLUSH', { type: 4 }, 1]], 2, 'unsupported')
})

each(test, 'device rule 8: type: FLUSH offered, not accepted -> done', async (f) => {
  const { fixture, calls } = await logged(f)
  answered(fixture.raw.negotiate({ flush: false }).queue.run({ type: 4 }), 0, 1)
  assert.is(calls.length, 1)
})

each(test, 'device rule 8: FLUSH on a read-only disk -> OK, back end not called, flushesCompleted', async (f) => {
  const device = { readOnly: true }
  refuses(await logged(f, { device }), [['FLUSH', { type: 4 }, 1]], 0, 'flushesCompleted')
  refuses(await logged(f, { device }), [['FLUSH with data', { type: 4, dataIn: 512 }, 0]])
})

each(test, 'device rule 8: header: reserved word and the sector of FLUSH and GET_ID -> ignored', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate()
  answered(queue.run({ type: 0, reserved: 0xffffffff, dataIn: 512 }), 0, 513)
  answered(queue.run({ type: 4, sector: (1n << 64n) - 1n, reserved: 1 }), 0, 1)
  answered(queue.run({ type: 8, sector: (1n << 64n) - 1n, dataIn: 20 }), 0, 21)
})

each(test, 'device rule 8: request faults: throttle of one operation -> they take no token', async (f) => {
  const { fixture } = await logged(f, { device: { throttle: { iops: 1, bytesPerSecond: 512 } } })
  const { queue } = fixture.raw.negotiate({ queues: [{ size: 256 }] })
  for (let i = 0; i < 10; i++) {
    answered(queue.run({ type: 0, dataIn: 511 }), 1, 0)
    answered(queue.run({ type: 0, sector: 99999, dataIn: 512 }), 1, 0)
    answered(queue.run({ type: 77, layout: [H, S] }), 2, 1)
    answered(queue.run({ type: 8, dataIn: 19 }), 1, 0)
  }
  answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  assert.is(fixture.counter('throttledCount'), 0)
  assert.is(queue.run({ type: 0, dataIn: 512 }).used(), undefined)
  assert.is(fixture.counter('throttledCount'), 1)
})

test.run()
