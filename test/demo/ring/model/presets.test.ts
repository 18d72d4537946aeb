// Every preset of the Ring view, run on a real device: what the driver sees in the last picture is what the contract
// and the standard say, typed in here by hand, and what the preset promises. And on every frame of them: the pictures
// are the same forwards and backwards, and guest RAM in the last one is the guest RAM there really is.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../../../assembly/abi.ts'
import { PRESETS } from '../../../../host/demo/ring/model/presets.ts'
import { runScenario, type ScenarioRun } from '../../../../host/demo/ring/model/run-scenario.ts'
import type { Preset } from '../../../../host/demo/ring/model/scenario.ts'
import { walkOf } from '../../../../host/demo/ring/model/walk.ts'
import { type Picture, UNKNOWN } from '../../../../host/demo/ring/model/walk-types.ts'
import { replay } from '../../../../host/replay/player.ts'

const test = suite('presets of the Ring view')

const OK = 0
const IOERR = 1
const UNSUPP = 2

/** Status and used length of each request, null: never answered; then the ring fault, if there is one. */
type Expected = readonly [answers: readonly (readonly [status: number, usedLen: number] | null)[], ringFault?: number]

/** From CONTRACT.md: rule 13 for the lengths, the tables of faults, rules 11 to 14 and 20 for the rest. */
const EXPECTED: Readonly<Record<string, Expected>> = {
  // Rule 13: IN data + 1.
  read: [[[OK, 513]]],
  write: [[[OK, 1]]],
  'header-and-data': [[[OK, 1]]],
  'data-and-status': [[[OK, 513]]],
  'many-pieces': [[[OK, 1025]]],
  'single-bytes': [[[OK, 21]]],
  'empty-descriptors': [[[OK, 513]]],
  'header-across-regions': [[[OK, 513]]],
  flush: [
    [
      [OK, 1],
      [OK, 1],
    ],
  ],
  'write-through': [[[OK, 1]]],
  'get-id': [[[OK, 21]]],
  'get-id-long': [[[OK, 20]]],
  unsupported: [
    [
      [UNSUPP, 0],
      [UNSUPP, 1],
    ],
  ],
  'short-read': [[[OK, 1025]]],
  'full-back-end': [
    [
      [IOERR, 1],
      [OK, 513],
    ],
  ],
  'flush-read-only': [[[OK, 1]]],
  batch: [
    [
      [OK, 513],
      [OK, 1],
      [OK, 513],
      [OK, 1],
    ],
  ],
  'event-idx': [
    [
      [OK, 513],
      [OK, 513],
      [OK, 513],
    ],
  ],
  'no-interrupt': [[[OK, 513]]],
  wrap: [Array.from({ length: 6 }, () => [OK, 1] as const)],
  'ring-across-regions': [[[OK, 513]]],
  'kick-in-vain': [[[OK, 513]]],
  // Faults a to g: IOERR; 0 where there are writable bytes before the status byte, 1 where there are none.
  ...Object.fromEntries(
    Object.entries({
      'fault-a-order': 0,
      'fault-a-short': 1,
      'fault-a-unmapped': 1,
      'fault-b-size': 0,
      'fault-b-segments': 0,
      'fault-b-total': 0,
      'fault-c-no-data': 1,
      'fault-c-flush-data': 1,
      'fault-d-blocks': 0,
      'fault-d-direction': 1,
      'fault-d-unmapped': 0,
      'fault-e': 1,
      'fault-f': 0,
      'fault-f-wrap': 0,
      'fault-g': 0,
    }).map(([id, usedLen]) => [
      id,
      [
        [
          [IOERR, usedLen],
          [OK, 513],
        ],
      ] as Expected,
    ]),
  ),
  // Ring faults: RING_FAULT_AVAIL_IDX -1 to RING_FAULT_STATUS_UNMAPPED -8; what came before is published.
  'ring-avail-idx': [[null, null], -1],
  'ring-head': [[[OK, 513], null, null], -2],
  'ring-head-in-flight': [[[OK, 513], null, null], -3],
  'ring-next': [[[OK, 513], null, null], -4],
  'ring-loop': [[[OK, 513], null, null], -5],
  'ring-indirect': [[[OK, 513], null, null], -6],
  'ring-no-status': [[[OK, 513], null, null], -7],
  'ring-status-unmapped': [[[OK, 513], null, null], -8],
  'ring-healed': [[null, [OK, 513]]],
  throttled: [
    [
      [OK, 513],
      [OK, 513],
      [OK, 513],
      [OK, 513],
    ],
  ],
  'throttled-bytes': [[[OK, 1025], null]],
  'limits-lifted': [
    [
      [OK, 513],
      [OK, 513],
      [OK, 513],
    ],
  ],
  late: [
    [
      [OK, 513],
      [OK, 1],
    ],
  ],
  'reset-in-flight': [[null, null, null, [OK, 513]]],
  resized: [
    [
      [OK, 513],
      [IOERR, 0],
    ],
  ],
}

const runs = new Map<string, Promise<ScenarioRun>>()
function runOf(preset: Preset): Promise<ScenarioRun> {
  const run = runs.get(preset.id) ?? runScenario(preset.scenario)
  runs.set(preset.id, run)
  return run
}

function lastOf(walk: { length: number; pictureAt(frame: number): Picture }): Picture {
  return walk.pictureAt(walk.length - 1)
}

test('presets: their ids -> each once, and all that are expected here', () => {
  assert.equal(PRESETS.map(({ id }) => id).sort(), Object.keys(EXPECTED).sort())
  for (const { description, title } of PRESETS) {
    assert.match(description, /^[A-Z0-9].*\.$/)
    assert.ok(title.length <= 48, title)
  }
})

/** Of the constants of abi.ts that begin so, those that no preset has met. */
function missing(beginning: string, met: ReadonlySet<number>): string[] {
  const all = Object.entries(abi) as [name: string, value: number][]
  return all.filter(([name, value]) => name.startsWith(beginning) && !met.has(value)).map(([name]) => name)
}

test('presets: all of them together -> every load, store, verdict and fault that the engine has', async () => {
  const kinds = new Set<number>()
  const codes = new Set<number>()
  for (const preset of PRESETS) {
    for (const { events } of (await runOf(preset)).trace.steps) {
      for (const { kind, low } of events) {
        kinds.add(kind)
        if (kind === abi.TRACE_VERDICT || kind === abi.TRACE_RING_FAULT) codes.add(low | 0)
      }
    }
  }
  assert.equal(missing('TRACE_', kinds), [])
  for (const beginning of ['VERDICT_', 'REQUEST_FAULT_', 'RING_FAULT_']) assert.equal(missing(beginning, codes), [])
})

for (const preset of PRESETS) {
  const { id, outcome } = preset
  const [answers, ringFault] = EXPECTED[id] ?? [[]]

  test(`preset ${id}: the last picture -> status bytes, used lengths and ring fault as the contract says`, async () => {
    const { trace, before } = await runOf(preset)
    const picture = lastOf(walkOf(trace, before))
    const seen = picture.requests.filter(({ state }) => state === 'published')
    const expected = answers.filter((answer) => answer !== null)
    assert.equal(
      seen.map(({ status, usedLen }) => [status, usedLen]),
      expected,
    )
    for (const { status, statusByte } of seen.slice(-1)) assert.is(statusByte?.value, status)
    assert.is(picture.registers.ringFault, ringFault ?? 0)
    assert.is(picture.registers.statusNames.includes('NEEDS_RESET'), ringFault !== undefined)
    assert.is(picture.registers.interruptNames.includes('CONFIG'), ringFault !== undefined || id === 'resized')
    // The preset says the same to whoever looks at the page.
    assert.equal(
      outcome.requests.map((answer) => answer && [answer.status, answer.usedLen]),
      answers,
    )
    assert.is(outcome.ringFault, ringFault)
  })

  test(`preset ${id}: its trace -> replays, and is the same when run again`, async () => {
    const { trace } = await runOf(preset)
    assert.is(replay(trace).divergence?.message, undefined)
    const again = await runScenario(preset.scenario)
    assert.is(again.trace.digest, trace.digest)
  })

  test(`preset ${id}: guest RAM in the last picture -> every byte as it really is`, async () => {
    const { trace, before, after } = await runOf(preset)
    const walk = walkOf(trace, before)
    for (const { gpa, bytes } of after) {
      const dump = walk.dump(walk.length - 1, gpa, bytes.length)
      assert.ok(Buffer.from(dump.bytes).equals(bytes), 'bytes')
      assert.not(dump.known.includes(UNKNOWN), 'all known')
    }
  })

  test(`preset ${id}: backwards and at random -> the same pictures as forwards`, async () => {
    const { trace, before } = await runOf(preset)
    const walk = walkOf(trace, before)
    const forwards = Array.from({ length: walk.length }, (_, i) => text(walk.pictureAt(i)))
    for (let i = walk.length - 1; i >= 0; i--) assert.is(text(walk.pictureAt(i)), forwards[i], `frame ${i}`)
    for (let i = 0; i < 40; i++) {
      const frame = (i * 7919) % walk.length
      assert.is(text(walk.pictureAt(frame)), forwards[frame], `frame ${frame}`)
    }
  })
}

function text(picture: Picture): string {
  return JSON.stringify(picture, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}

test.run()
