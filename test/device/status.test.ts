// The status machine and feature negotiation (device rule 2): one new bit at a time, nothing taken back, FAILED from
// anywhere, NEEDS_RESET by the device alone, FEATURES_OK only with VERSION_1 and nothing that is not offered.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answered, each, type Fixture, setUp } from '../support/device.ts'

const test = suite('device status')

/** Walks the device from reset to a status. */
function reach(fixture: Fixture, status: number): void {
  const { raw } = fixture
  const base = status & 0x0f
  const stages = { 0: 'reset', 1: 'acknowledge', 3: 'features', 11: 'queues', 15: 'driverOk' } as const
  const { queues } = raw.negotiate({ upTo: stages[base as keyof typeof stages] })
  if (status & 0x40) queues[0]?.submit(0xffff)
  if (status & 0x80) raw.reg.status = status
  assert.is(raw.reg.status, status, `reach 0x${status.toString(16)}`)
}

/** For each status that can be: what may be written to change it, besides 0. Anything else leaves it as it is. */
const ALLOWED: readonly [status: number, next: readonly number[]][] = [
  [0x00, [0x01, 0x80]],
  [0x01, [0x03, 0x81]],
  [0x03, [0x0b, 0x83]],
  [0x0b, [0x0f, 0x8b]],
  [0x0f, [0x8f]],
  [0x4f, [0xcf]],
  [0x80, []],
  [0x81, []],
  [0x83, []],
  [0x8b, []],
  [0x8f, []],
  [0xcf, []],
]

each(test, 'device rule 2: Status: every byte in every state -> one new bit at a time, or no change', async (f) => {
  const fixture = await setUp(f, { diskBytes: 4096 })
  const { raw } = fixture
  for (const [status, allowed] of ALLOWED) {
    reach(fixture, status)
    for (let value = 1; value < 0x100; value++) {
      raw.reg.status = value
      const expected = allowed.includes(value) ? value : status
      assert.is(raw.reg.status, expected, `0x${value.toString(16)} in state 0x${status.toString(16)}`)
      if (expected !== status) reach(fixture, status)
    }
    for (const high of [0x100, 0x8000, 0x10000, 0x80000000]) {
      for (const low of [0, status, ...allowed]) {
        raw.reg.status = (high + low) >>> 0
        assert.is(raw.reg.status, status, `0x${(high + low).toString(16)} in state 0x${status.toString(16)}`)
      }
    }
    raw.reg.status = 0
    assert.is(raw.reg.status, 0, `reset from 0x${status.toString(16)}`)
  }
})

each(test, 'device rule 2: FEATURES_OK: without VERSION_1 -> refused; mended -> accepted', async (f) => {
  const { raw } = await setUp(f)
  for (const word of [0, 0x00000246, 0x20000246]) {
    raw.negotiate({ upTo: 'driver' })
    raw.reg.setFeatureWord(0, word)
    raw.reg.setFeatureWord(1, 0)
    raw.reg.status = 0x0b
    assert.is(raw.reg.status, 3)
    raw.reg.setFeatureWord(1, 1)
    raw.reg.status = 0x0b
    assert.is(raw.reg.status, 0x0b)
  }
})

each(test, 'device rule 2: FEATURES_OK: each single bit -> accepted exactly if offered', async (f) => {
  const { raw } = await setUp(f)
  const offered = [1, 2, 6, 9, 29, 32]
  for (let bit = 0; bit < 128; bit++) {
    const { status } = raw.negotiate({ upTo: 'featuresOk', features: [32, bit] })
    assert.is(status, offered.includes(bit) ? 0x0b : 3, `feature ${bit}`)
  }
  // RO is offered on a read-only disk only.
  const readOnly = await setUp(f, { device: { readOnly: true } })
  assert.is(readOnly.raw.negotiate({ upTo: 'featuresOk', features: [32, 5] }).status, 0x0b)
})

each(test, 'device rule 2: FEATURES_OK: every subset of the offer -> accepted', async (f) => {
  const { raw } = await setUp(f)
  const optional = [1, 2, 6, 9, 29]
  for (let mask = 0; mask < 32; mask++) {
    const features = [32, ...optional.filter((_, i) => (mask >> i) & 1)]
    assert.is(raw.negotiate({ upTo: 'featuresOk', features }).status, 0x0b, `features ${features}`)
  }
})

each(test, 'device rule 2: features: words past the fourth -> dropped, no aliasing on word 0', async (f) => {
  const { raw } = await setUp(f)
  for (const word of [4, 5, 32, 0x100, 0x10000, 0x80000000, 0xffffffff]) {
    raw.negotiate({ upTo: 'driver' })
    raw.reg.setFeatureWord(0, 0x246)
    raw.reg.setFeatureWord(1, 1)
    raw.reg.setFeatureWord(word, 0xffffffff)
    raw.reg.status = 0x0b
    assert.is(raw.reg.status, 0x0b, `word ${word}`)
  }
})

each(test, 'device rule 2: features: written before DRIVER -> dropped', async (f) => {
  const { raw } = await setUp(f)
  for (const early of ['reset', 'acknowledge'] as const) {
    raw.negotiate({ upTo: early })
    raw.reg.acceptFeatures([32])
    for (const status of early === 'reset' ? [1, 3] : [3]) raw.reg.status = status
    raw.reg.status = 0x0b
    assert.is(raw.reg.status, 3, early)
  }
})

each(test, 'device rule 2: features: written after FEATURES_OK -> what was accepted stays', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  const { queue } = raw.negotiate({ eventIdx: true })
  raw.reg.acceptFeatures([])
  // EVENT_IDX is still on: the avail flag says nothing, used_event decides.
  queue.availFlags = 1
  queue.usedEvent = 0
  answered(queue.run({ type: 4 }), 0, 1)
  assert.is(fixture.interrupts, 1)
  queue.usedEvent = 7
  answered(queue.run({ type: 4 }), 0, 1)
  assert.is(fixture.interrupts, 1)
})

each(test, 'device rule 2: features: negotiated otherwise after a reset -> the new set counts', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  raw.negotiate({ eventIdx: true })
  const { queue } = raw.negotiate({ eventIdx: false })
  queue.availFlags = 0
  queue.usedEvent = 7
  queue.run({ type: 4 })
  assert.is(fixture.interrupts, 1)
  // The offer is the same after a reset.
  assert.equal([raw.reg.featureWord(0), raw.reg.featureWord(1)], [0x20000246, 1])
})

test.run()
