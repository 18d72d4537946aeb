// The kit as a whole: every row of the standard has exactly one place (a check, a reason why nobody can check it, the
// list of what is not checked yet, or a feature that no check knows), and what a target lacks never turns into a pass.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CachedDisk, ownTarget } from '../../host/conformance/own-target.ts'
import { FEATURES, featureOf, ROWS } from '../../host/conformance/rows.ts'
import { PARTS, runConformance } from '../../host/conformance/run.ts'

const test = suite('conformance kit')

test('rows: 363 of the standard, each id once, features known', () => {
  assert.is(ROWS.length, 363)
  assert.is(new Set(ROWS.map(({ id }) => id)).size, 363)
  for (const row of ROWS) {
    const feature = featureOf(row)
    assert.ok(feature === undefined || FEATURES[feature] !== undefined, row.id)
  }
})

test('rows: each is in one place, and on its own side', () => {
  for (const side of ['device', 'driver'] as const) {
    const { checks, notCheckable } = PARTS[side]
    const places = [...checks.map(({ id }) => id), ...Object.keys(notCheckable)]
    assert.equal(
      places.filter((id, i) => places.indexOf(id) !== i),
      [],
      'in two places',
    )
    const rows = ROWS.filter((row) => row.side === side)
    assert.equal(
      places.filter((id) => !rows.some((row) => row.id === id)),
      [],
      `not a ${side} row`,
    )
    const lost = rows.filter((row) => featureOf(row) === undefined && !places.includes(row.id)).map(({ id }) => id)
    assert.equal(lost, [], 'nowhere')
  }
})

test('rows: reasons and descriptions are sentences', () => {
  for (const { checks, notCheckable } of Object.values(PARTS)) {
    for (const reason of Object.values(notCheckable)) assert.ok(reason.length > 20, reason)
    for (const { tried, id } of checks) assert.ok(tried.length > 10, id)
  }
})

test('disk of our target: it is not stable before a flush', () => {
  const disk = new CachedDisk(512)
  disk.write(0, [Uint8Array.of(1)])
  assert.is(disk.stable[0], 3)
  disk.flush()
  assert.is(disk.stable[0], 1)
})

test('target: none of a kind -> its rows are not passed', async () => {
  const usual = ownTarget()
  const results = await runConformance(async (kind) => (kind === 'usual' ? await usual(kind) : undefined), {
    section: '5.2.6.2',
  })
  assert.is(results.find(({ id }) => id === 'blk.op.ro.1')?.outcome, 'not offered')
})

test.run()
