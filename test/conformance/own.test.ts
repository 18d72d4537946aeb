// Our own device against every rule of the standard, on every flavour of the engine: nothing fails, nothing that it
// offers is skipped.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ownTarget } from '../../host/conformance/own-target.ts'
import { ROWS } from '../../host/conformance/rows.ts'
import { runConformance } from '../../host/conformance/run.ts'
import { flavours } from '../support/engines.ts'

const test = suite('conformance of our device')

for (const flavour of flavours) {
  const make = ownTarget({ engine: flavour.engine, memory: (options) => flavour.memory(options) })
  const results = new Map((await runConformance(make)).map((result) => [result.id, result]))
  for (const { id, requirement } of ROWS) {
    test(`conformance ${id}: ${requirement} [${flavour.name}]`, () => {
      const result = results.get(id)
      assert.ok(result, 'no result')
      const { outcome, tried, seen } = result
      assert.not.ok(outcome === 'failed' || outcome === 'skipped', `${outcome}\ntried: ${tried}\nseen: ${seen}`)
    })
  }
}

test.run()
