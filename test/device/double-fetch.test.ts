// Each field of guest memory that decides something is read once (device rule 9). A second thread flips one word of a
// request while the device works on it; whatever comes out must be what one of the two values, unchanging, gives.
// Runs on the shared flavour only: the others have no memory that a second thread can reach.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { diskBytes, type Fixture, setUp } from '../support/device.ts'
import { flavours } from '../support/engines.ts'
import { Flipper } from '../support/flipper.ts'

const test = suite('device double fetch')

const PHASE_MS = 150

/** A read of sector 1 at fixed addresses, so that it is the same after each reset. */
const HEADER = 0x20000
const DATA = 0x21000
const OTHER = 0x25000
const STATUS = 0x28000
const SECOND_HEADER = 0x29000
const BUFFER = 4096
const AVAIL = 0x30000
const USED = 0x31000

/** One word of the request, and what it flips between. The usual value comes first. */
interface Flip {
  about: string
  word: (queue: RawQueue) => number
  values: readonly [number, number]
  /** the outcomes that unchanging memory gives */
  allowed: readonly string[]
  /** the word lies in the available ring, where the index in use counts: `word` is not asked */
  ring?: 'idx' | 'slot'
}

function prepare(fixture: Fixture): RawQueue {
  const { raw } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: 16, desc: 0x1f000, avail: AVAIL, used: USED }] })
  raw.mem.write(HEADER, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0))
  raw.mem.write(SECOND_HEADER, Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  const status = { addr: STATUS, len: 1, writable: true }
  queue.chain([{ addr: HEADER, len: 16 }, { addr: DATA, len: 512, writable: true }, status], { head: 0 })
  queue.chain(
    [
      { addr: SECOND_HEADER, len: 16 },
      { ...status, addr: STATUS + 1 },
    ],
    { head: 4 },
  )
  return queue
}

/** All that a buffer may hold afterwards. Whole buffers are compared, so that bytes past the data count too. */
const CONTENTS: readonly (readonly [string, Uint8Array])[] = (
  [
    ['-', new Uint8Array(0)],
    ['sector 1+512', diskBytes(512, 512)],
    ['sector 1+1024', diskBytes(512, 1024)],
    ['sector 2+512', diskBytes(1024, 512)],
    ['id', new TextEncoder().encode('virtio-blk-wasm\0\0\0\0\0')],
    ['ioerr', Uint8Array.from({ length: 512 }, (_, i) => (i === 511 ? 1 : 0xe5))],
  ] as const
).map(([name, start]) => {
  const bytes = Buffer.alloc(BUFFER, 0xe5)
  bytes.set(start)
  return [name, bytes]
})

function contents(fixture: Fixture, at: number): string {
  const view = fixture.memory.view(at, BUFFER)
  const bytes = Buffer.from(view.buffer, view.byteOffset, BUFFER)
  return CONTENTS.find(([, expected]) => bytes.equals(expected))?.[0] ?? 'torn'
}

/** What happened: the used elements, both status bytes, and what lies in the two buffers. */
function outcome(fixture: Fixture, queue: RawQueue): string {
  const { raw } = fixture
  if (raw.reg.status !== 0x0f) return 'poisoned'
  const elements = queue.takeUsed().map(({ id, len }) => `${id}:${len}`)
  const statuses = [raw.mem.u8(STATUS), raw.mem.u8(STATUS + 1)].map((byte) => (byte === 0xe5 ? '-' : String(byte)))
  return `${elements.join(' ')} status ${statuses.join('')} ${contents(fixture, DATA)} ${contents(fixture, OTHER)}`
}

function wipe(fixture: Fixture): void {
  for (const at of [DATA, OTHER]) fixture.memory.view(at, BUFFER).fill(0xe5)
  fixture.memory.view(STATUS, 16).fill(0xe5)
}

type Seen = Map<string, number>

function note(seen: Seen, text: string): string {
  seen.set(text, (seen.get(text) ?? 0) + 1)
  return text
}

/** Flips a word of the request, while the same request is made again and again. The flipping survives resets. */
function raceRequest(fixture: Fixture, flipper: Flipper, flip: Flip, seen: Seen): void {
  let queue = prepare(fixture)
  const [first, second] = flip.values
  flipper.start(flip.word(queue), first, second)
  for (let turns = deadline(seen); turns(); ) {
    wipe(fixture)
    queue.submit(0)
    if (note(seen, outcome(fixture, queue)) === 'poisoned') queue = prepare(fixture)
  }
  flipper.stop()
}

/** True until the time for one flip is over; ten times as long while only one value was ever seen. */
function deadline(seen: Seen): () => boolean {
  const start = Date.now()
  return () => {
    const spent = Date.now() - start
    return spent < PHASE_MS || (seen.size < 2 && spent < 10 * PHASE_MS)
  }
}

/** Flips avail.idx, or an even slot of the available ring, over one kick; returns the outcome. */
function raceRing(fixture: Fixture, queue: RawQueue, flipper: Flipper, flip: Flip, seen: Seen): string {
  const [first, second] = flip.values
  const idx = (queue.nextAvail + 1) & 0xffff
  const slot = queue.nextAvail % 16
  wipe(fixture)
  queue.offer(0)
  if (flip.ring === 'idx') {
    flipper.start(AVAIL, idx << 16, ((idx + second) & 0xffff) << 16)
  } else if (slot % 2 === 0) {
    flipper.start(AVAIL + 4 + slot * 2, first, second)
    queue.setAvailIdx(idx)
  } else {
    queue.setAvailIdx(idx)
  }
  for (const end = performance.now() + Math.random() / 50; performance.now() < end; );
  queue.kick()
  flipper.stop()
  queue.setAvailIdx(idx)
  return note(seen, outcome(fixture, queue))
}

function race(fixture: Fixture, flipper: Flipper, flip: Flip): Seen {
  const seen: Seen = new Map()
  if (flip.ring === undefined) {
    raceRequest(fixture, flipper, flip, seen)
    return seen
  }
  let queue = prepare(fixture)
  for (let turns = deadline(seen); turns(); ) {
    if (raceRing(fixture, queue, flipper, flip, seen) === 'poisoned') queue = prepare(fixture)
  }
  return seen
}

const READ = '0:513 status 0- sector 1+512 -'
const FAILED = '0:0 status 1- - -'

const DESC = 16
const at = (index: number, offset: number) => (queue: RawQueue) => Number(queue.desc) + index * DESC + offset

const FLIPS: readonly Flip[] = [
  {
    about: 'data len, both good',
    word: at(1, 8),
    values: [512, 1024],
    allowed: [READ, '0:1025 status 0- sector 1+1024 -'],
  },
  { about: 'data len, one huge', word: at(1, 8), values: [512, 0x7ffffe00], allowed: [READ, FAILED] },
  { about: 'data len, one empty', word: at(1, 8), values: [512, 0], allowed: [READ, '0:1 status 1- - -'] },
  {
    about: 'data addr, both good',
    word: at(1, 0),
    values: [DATA, OTHER],
    allowed: [READ, '0:513 status 0- - sector 1+512'],
  },
  { about: 'data addr, one outside RAM', word: at(1, 0), values: [DATA, 0xfff0_0000], allowed: [READ, FAILED] },
  { about: 'data addr, high half', word: at(1, 4), values: [0, 0x8000_0000], allowed: [READ, FAILED] },
  {
    about: 'data flags, NEXT',
    word: at(1, 12),
    values: [0x0002_0003, 0x0002_0002],
    allowed: [READ, '0:0 status -- ioerr -'],
  },
  {
    about: 'data flags, WRITE',
    word: at(1, 12),
    values: [0x0002_0003, 0x0002_0001],
    allowed: [READ, '0:1 status 1- - -'],
  },
  { about: 'data next', word: at(1, 12), values: [0x0002_0003, 0xffff_0003], allowed: [READ, 'poisoned'] },
  { about: 'status addr', word: at(2, 0), values: [STATUS, 0xfff0_0000], allowed: [READ, 'poisoned'] },
  { about: 'header addr', word: at(0, 0), values: [HEADER, SECOND_HEADER], allowed: [READ, FAILED] },
  { about: 'type, IN and GET_ID', word: () => HEADER, values: [0, 8], allowed: [READ, '0:20 status 0- id -'] },
  { about: 'type, IN and OUT', word: () => HEADER, values: [0, 1], allowed: [READ, FAILED] },
  {
    about: 'sector, both good',
    word: () => HEADER + 8,
    values: [1, 2],
    allowed: [READ, '0:513 status 0- sector 2+512 -'],
  },
  { about: 'sector, one past the end', word: () => HEADER + 12, values: [0, 0x8000_0000], allowed: [READ, FAILED] },
  {
    about: 'avail.idx, one too far',
    word: () => AVAIL,
    values: [0, 40],
    allowed: [READ, 'poisoned'],
    ring: 'idx',
  },
  {
    about: 'ring slot, two heads',
    word: () => AVAIL,
    values: [0, 4],
    allowed: [READ, '4:1 status -0 - -'],
    ring: 'slot',
  },
  { about: 'ring slot, no head', word: () => AVAIL, values: [0, 0x4000], allowed: [READ, 'poisoned'], ring: 'slot' },
]

for (const [name, flips] of [
  ['device rule 9: guest memory: any field flipped by another thread -> as one of the two values', FLIPS.slice(15)],
  ['past bug 24 (FreeBSD-SA-24:17): descriptor field flipped by another thread -> as one value', FLIPS.slice(0, 11)],
  ['past bug 25 (CVE-2015-8550): request header flipped by another thread -> as one value', FLIPS.slice(11, 15)],
] as const) {
  test(`${name} [shared]`, async () => {
    const shared = flavours.find((flavour) => flavour.name === 'shared')
    assert.ok(shared)
    const fixture = await setUp(shared)
    const flipper = await Flipper.create(fixture.memory)
    try {
      let both = 0
      for (const flip of flips) {
        const seen = race(fixture, flipper, flip)
        const text = `${flip.about}: ${JSON.stringify(Object.fromEntries(seen))}`
        for (const result of seen.keys()) assert.ok(flip.allowed.includes(result), text)
        if (seen.size > 1) both++
      }
      // On a busy machine one word or another may look still all the time, but not every one.
      assert.ok(both > 0, 'no word was seen to change')
    } finally {
      await flipper.end()
    }
    assert.is(fixture.counter('engineTraps'), 0)
  })
}

test.run()
