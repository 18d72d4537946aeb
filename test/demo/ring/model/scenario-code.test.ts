// A scenario as text for a URL: every preset survives it, and whatever else a URL says is either a scenario of bounded
// size that runs, or one clear line.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PRESETS } from '../../../../host/demo/ring/model/presets.ts'
import { runScenario } from '../../../../host/demo/ring/model/run-scenario.ts'
import {
  PIECES_MAX,
  RAM_BYTES,
  REQUESTS_MAX,
  type Scenario,
  ScenarioError,
} from '../../../../host/demo/ring/model/scenario.ts'
import { decodeScenario, encodeScenario } from '../../../../host/demo/ring/model/scenario-code.ts'
import { walkOf } from '../../../../host/demo/ring/model/walk.ts'
import { fromEnvironment } from '../../../support/environment.ts'

const test = suite('scenarios as text')

/** What a URL could say instead. */
function textOf(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

const GOOD = { v: 1, device: { sectors: 64, queueSize: 16 }, actions: [] as unknown[] }
const REQUEST = { type: 0, sector: '1', pieces: [{ writable: false, bytes: 16 }] }

function withDevice(device: unknown): unknown {
  return { ...GOOD, device: { ...GOOD.device, ...(device as object) } }
}

function withAction(action: unknown): unknown {
  return { ...GOOD, actions: [action] }
}

test('scenario: every preset, encoded and decoded -> the same; letters, digits, - and _ only', () => {
  for (const { id, scenario } of PRESETS) {
    const text = encodeScenario(scenario)
    assert.match(text, /^[\w-]+$/)
    assert.ok(text.length < 3000, `${id}: ${text.length}`)
    assert.equal(decodeScenario(text), scenario, id)
  }
})

const REFUSED: readonly [about: string, value: unknown, message: RegExp][] = [
  ['no version', { ...GOOD, v: undefined }, /^scenario: the scenario\.v is missing$/],
  ['another version', { ...GOOD, v: 2 }, /^scenario: the scenario\.v must be a whole number from 1 to 1, not 2$/],
  ['a list', [], /^scenario: the scenario must be an object, not \[\]$/],
  ['null', null, /^scenario: the scenario must be an object, not null$/],
  ['no device', { v: 1, actions: [] }, /^scenario: the scenario\.device is missing$/],
  ['an unknown field', { ...GOOD, extra: 1 }, /has a field 'extra'; it may have v, device, actions$/],
  ['a field of the prototype', withDevice(JSON.parse('{"__proto__": 1}')), /has a field '__proto__'/],
  ['a queue of 3', withDevice({ queueSize: 3 }), /\.queueSize must be a power of two from 1 to 256, not 3$/],
  ['a queue of 512', withDevice({ queueSize: 512 }), /\.queueSize must be a power of two from 1 to 256, not 512$/],
  ['a huge disk', withDevice({ sectors: 1e9 }), /\.sectors must be a whole number from 1 to 4096, not 1000000000$/],
  ['half a sector', withDevice({ sectors: 1.5 }), /\.sectors must be a whole number from 1 to 4096, not 1\.5$/],
  ['a border in a page', withDevice({ border: 5000 }), /device\.border must be a multiple of 4096, not 5000$/],
  ['a serial of 21', withDevice({ serial: 'x'.repeat(21) }), /\.serial must be at most 20 printable ASCII characters/],
  ['segMax above the queue', withDevice({ segMax: 15 }), /device\.segMax must be at most 14 for a queue of 16$/],
  [
    'a burst below the rate',
    withDevice({ limits: { iops: 5, iopsBurst: 2 } }),
    /limits: throttle: iopsBurst \(2\) must be/,
  ],
  ['a burst alone', withDevice({ limits: { iopsBurst: 2 } }), /iopsBurst is set without iops/],
  ['an address as a number', withDevice({ desc: 4096 }), /\.desc must be a string of digits, below 2\^64, not 4096$/],
  ['2^64', withDevice({ desc: '18446744073709551616' }), /\.desc must be a string of digits, below 2\^64/],
  ['no action', withAction(null), /actions\[0\]\.do must be one of kick, wait, answer, reset, register, resize, limit/],
  ['an inherited action', withAction({ do: 'toString' }), /actions\[0\]\.do must be one of kick, .*, not "toString"$/],
  [
    '33 actions',
    { ...GOOD, actions: Array.from({ length: 33 }, () => ({ do: 'reset' })) },
    /has 33 entries, at most 32$/,
  ],
  [
    'an endless wait',
    withAction({ do: 'wait', millis: 1e12 }),
    /actions\[0\]\.millis must be a whole number from 1 to 60000/,
  ],
  [
    'a type of 33 bits',
    withAction({ do: 'kick', requests: [{ ...REQUEST, type: 2 ** 32 }] }),
    /requests\[0\]\.type must be/,
  ],
  [
    'pieces as text',
    withAction({ do: 'kick', requests: [{ ...REQUEST, pieces: 'all' }] }),
    /\.pieces must be a list, not "all"$/,
  ],
  [
    'a piece of a gigabyte',
    withAction({ do: 'kick', requests: [{ ...REQUEST, pieces: [{ writable: true, bytes: 2 ** 30 }] }] }),
    /requests\[0\]\.pieces\[0\]\.bytes must be a whole number from 0 to 65536, not 1073741824$/,
  ],
  [
    'too many requests in all',
    {
      ...GOOD,
      actions: Array.from({ length: 2 }, () => ({ do: 'kick', requests: new Array(REQUESTS_MAX).fill(REQUEST) })),
    },
    /^scenario: 256 requests in all actions together, at most 128$/,
  ],
  [
    'too many pieces in all',
    withAction({
      do: 'kick',
      requests: new Array(2).fill({ ...REQUEST, pieces: new Array(PIECES_MAX).fill(REQUEST.pieces[0]) }),
    }),
    /^scenario: 2048 pieces in all actions together, at most 1024$/,
  ],
]

for (const [about, value, message] of REFUSED) {
  test(`scenario: ${about} -> one line that names the field and what is possible`, () => {
    let error: unknown
    try {
      decodeScenario(textOf(value))
    } catch (thrown) {
      error = thrown
    }
    assert.instance(error, ScenarioError)
    assert.match((error as Error).message, message)
    assert.not.match((error as Error).message, /\n/)
  })
}

test('scenario: what is no scenario at all -> one line that says so', () => {
  for (const [text, message] of [
    ['', /does not hold a scenario, or not all of one/],
    ['a b', /no base64url text, or not all of it/],
    ['A', /no base64url text, or not all of it/],
    ['AAAA', /does not hold a scenario/],
    ['A'.repeat(200_000), /200000 characters, at most 131072/],
  ] as const) {
    assert.throws(() => decodeScenario(text), message)
  }
})

test('scenario: cut off anywhere -> refused', () => {
  const text = encodeScenario(PRESETS[0]?.scenario as Scenario)
  for (let length = 0; length < text.length; length++) {
    assert.throws(
      () => decodeScenario(text.slice(0, length)),
      (error: Error) => error instanceof ScenarioError,
    )
  }
})

test('scenario: buffers that do not fit guest RAM -> ScenarioError when it is run', async () => {
  const piece = { writable: true, bytes: 65536 }
  const request = { type: 0, sector: 0n, pieces: [{ writable: false, bytes: 16 }, piece, piece, piece, piece] }
  const scenario: Scenario = { device: { sectors: 64, queueSize: 16 }, actions: [{ do: 'kick', requests: [request] }] }
  try {
    await runScenario(decodeScenario(encodeScenario(scenario)))
    assert.unreachable()
  } catch (error) {
    assert.instance(error, ScenarioError)
    assert.is(
      (error as Error).message,
      `scenario: the rings and buffers do not fit ${RAM_BYTES} bytes of guest RAM: make them smaller`,
    )
  }
})

// Any scenario that decodes ----------------------------------------------------------------------------------------

const maybe = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined })
const u16 = fc.oneof(fc.nat(20), fc.nat(0xffff))
const address = fc.oneof(fc.nat(RAM_BYTES + 64), fc.constantFrom(RAM_BYTES - 1, 0, 1)).map(String)
const wide = fc.oneof(fc.nat(200).map(String), fc.constant(String(2n ** 64n - 1n)), address)
const piece = fc.record({
  writable: fc.boolean(),
  bytes: fc.oneof(fc.constantFrom(0, 1, 15, 16, 512, 513, 1024), fc.nat(2000)),
  len: maybe(fc.oneof(fc.nat(2000), fc.constant(0xffffffff))),
  addr: maybe(wide),
  flags: maybe(fc.oneof(fc.nat(7), fc.nat(0xffff))),
  next: maybe(u16),
})
const request = fc.record({
  type: fc.oneof(fc.constantFrom(0, 1, 4, 8, 11, 99), fc.nat(0xffffffff)),
  sector: wide,
  pieces: fc.array(piece, { maxLength: 6 }),
  text: maybe(fc.constantFrom('', 'abc')),
  head: maybe(u16),
  ringEntry: maybe(u16),
})
const action = fc.oneof(
  fc.record({
    do: fc.constant('kick'),
    requests: fc.array(request, { maxLength: 5 }),
    idxAhead: maybe(u16),
    availFlags: maybe(u16),
    usedEvent: maybe(u16),
  }),
  fc.record({ do: fc.constant('wait'), millis: fc.integer({ min: 1, max: 60_000 }) }),
  fc.record({ do: fc.constant('answer'), count: maybe(fc.integer({ min: 1, max: 5 })) }),
  fc.record({ do: fc.constant('reset') }),
  fc.record({
    do: fc.constant('register'),
    offset: fc.constantFrom(0x14, 0x20, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x100),
    value: u16,
  }),
  fc.record({ do: fc.constant('resize'), sectors: fc.nat(4096) }),
  fc.record({
    do: fc.constant('limit'),
    limits: fc.constantFrom({}, { iops: 1 }, { bytesPerSecond: 1000, bytesBurst: 5000 }),
  }),
)
const device = fc.record({
  sectors: fc.integer({ min: 1, max: 200 }),
  storedSectors: maybe(fc.nat(200)),
  readOnly: maybe(fc.boolean()),
  queueSize: fc.constantFrom(1, 2, 4, 16),
  eventIdx: maybe(fc.boolean()),
  flush: maybe(fc.boolean()),
  sizeMax: maybe(fc.constantFrom(1, 512, 0xffffffff)),
  blockSize: maybe(fc.constantFrom(512, 4096)),
  limits: maybe(fc.constantFrom({ iops: 2 }, { bytesPerSecond: 1024 })),
  late: maybe(fc.boolean()),
  border: maybe(fc.constantFrom(4096, 8192, 0x20000)),
  desc: maybe(address),
  avail: maybe(address),
  used: maybe(address),
})

test('scenario: anything a URL can hold -> it runs and can be walked, every byte as it is, or one line says why not', async () => {
  let ran = 0
  const property = fc.asyncProperty(device, fc.array(action, { maxLength: 8 }), async (disk, actions) => {
    const scenario = decodeScenario(textOf({ v: 1, device: disk, actions }))
    assert.equal(decodeScenario(encodeScenario(scenario)), scenario)
    try {
      const { trace, before, after } = await runScenario(scenario)
      const walk = walkOf(trace, before)
      for (let i = 0; i < walk.length; i += 3) walk.pictureAt(i)
      for (const { gpa, bytes } of after) {
        assert.ok(Buffer.from(walk.dump(walk.length - 1, gpa, bytes.length).bytes).equals(bytes))
      }
      ran++
    } catch (error) {
      if (!(error instanceof ScenarioError)) throw error
      assert.not.match(error.message, /\n/)
    }
  })
  const seed = process.env.SEED === undefined ? {} : { seed: fromEnvironment('SEED', 0, 0) }
  await fc.assert(property, { numRuns: fromEnvironment('RUNS', 150, 1), ...seed })
  assert.ok(ran > 0, `${ran} ran`)
})

test.run()
