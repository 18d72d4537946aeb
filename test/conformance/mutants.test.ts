// Devices with one rule broken: the check that is named for the rule must see it. A check that passes a device that
// breaks its rule checks nothing. The mistakes are in test/support/wrong-*.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PARTS, runConformance } from '../../host/conformance/run.ts'
import { readSource } from '../support/source.ts'
import { wrongTarget } from '../support/wrong-device.ts'
import { WRONG_REGISTERS } from '../support/wrong-registers.ts'
import { WRONG_REQUESTS } from '../support/wrong-requests.ts'
import { WRONG_RINGS } from '../support/wrong-rings.ts'

const test = suite('conformance mutants')

const MISTAKES = [...WRONG_REGISTERS, ...WRONG_RINGS, ...WRONG_REQUESTS]

for (const mistake of MISTAKES) {
  test(`conformance ${mistake.id}: ${mistake.what} -> failed`, async () => {
    const [result] = await runConformance(wrongTarget(mistake), { id: mistake.id })
    assert.is(result?.outcome, 'failed', `${result?.tried}\n${result?.seen}`)
    // Seen by an assertion of the check, and not because the kit itself fell over.
    assert.not.match(result?.seen ?? '', 'the check ended with')
  })
}

test('every check of the device side is proven by a mistake that it sees', () => {
  // Those of features that ours does not offer are in foreign.test.ts.
  const foreign = readSource('test/conformance/foreign.test.ts')
  const proven = new Set(MISTAKES.map(({ id }) => id))
  const unproven = PARTS.device.checks
    .map(({ id }) => id)
    .filter((id) => !proven.has(id) && !foreign.includes(`'${id}',`))
  assert.equal(unproven, [])
})

test.run()
