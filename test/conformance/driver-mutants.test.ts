// The checks of driver rows are themselves checked: the plain TypeScript device passes them all, and for each there is
// a device, wrong in one line, that falls for just that rule and is caught by the check named for it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DRIVER } from '../../host/conformance/checks/driver.ts'
import { runConformance } from '../../host/conformance/run.ts'
import { TypeScriptDevice } from '../bench/typescript-device.ts'
import { DRIVER_MUTANTS } from '../support/driver-mutants.ts'
import { DRIVER_VARIANTS } from '../support/driver-variants.ts'
import { patchedDevice, plainTarget } from '../support/typescript-target.ts'

const test = suite('conformance mutants of driver rows')

test('every check of a driver row has a mutant, and every mutant a check', () => {
  const checked = DRIVER.checks.map(({ id }) => id).sort()
  assert.equal(Object.keys(DRIVER_MUTANTS).sort(), checked)
  assert.ok(checked.length >= 70)
})

for (const { id } of DRIVER.checks) {
  test(`conformance ${id}: the plain device -> passes`, async () => {
    const [result] = await runConformance(plainTarget(TypeScriptDevice), { id })
    assert.is(result?.outcome, 'passed', `${result?.tried}\n${result?.seen}`)
  })
}

for (const [id, { about, patches = [], wrap }] of Object.entries(DRIVER_MUTANTS)) {
  test(`conformance ${id}: mutant: ${about} -> caught`, async () => {
    const Device = patches.length > 0 ? await patchedDevice(patches) : TypeScriptDevice
    const [result] = await runConformance(plainTarget(Device, wrap), { id })
    assert.is(result?.outcome, 'failed', `${result?.tried}\n${result?.seen}`)
    // Caught by what the check looked at, not by an accident of the mutant's.
    assert.not.match(result?.seen ?? '', /^the check ended with/)
  })
}

for (const { id, about, patches } of DRIVER_VARIANTS) {
  test(`conformance ${id}: another way that is right: ${about} -> passes`, async () => {
    const [result] = await runConformance(plainTarget(await patchedDevice(patches)), { id })
    assert.is(result?.outcome, 'passed', `${result?.tried}\n${result?.seen}`)
  })
}

test.run()
