// Workers and the life of the process: a worker that nobody closed does not keep it alive, and what is waited for
// does. Each in a process of its own.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runChild } from '../support/worker-child.ts'

const test = suite('loop process')

for (const program of [
  'left open',
  'left open, late back end',
  'left open, a call under way',
  'left open, paused',
  'process.exit',
]) {
  test(`device rule 29: worker: ${program} -> the process ends all the same`, async () => {
    const { code, signal, said, errors } = await runChild(program)
    assert.equal({ code, signal, errors }, { code: program === 'process.exit' ? 3 : 0, signal: null, errors: '' })
    assert.ok(said)
  })
}

for (const [program, said] of [
  ['nothing but a pause to wait for', { paused: true }],
  ['nothing but new limits to wait for', { done: true }],
  ['nothing but a close to wait for', { closes: 1 }],
] as const) {
  test(`device rule 25: worker: ${program} -> the process waits`, async () => {
    assert.equal(await runChild(program), { code: 0, signal: null, said, errors: '' })
  })
}

test('device rule 22: worker: the timer cannot be armed -> polled, all served, counted, logged once', async () => {
  const { code, said, errors } = await runChild('timer taken away')
  assert.equal([code, errors], [0, ''])
  const { flushes, stalls, failures, counts } = said as {
    flushes: number
    stalls: number
    failures: string[]
    counts: Record<string, number>
  }
  assert.is(flushes, 25)
  assert.ok(stalls >= 4, `${stalls} stalls`)
  assert.is(failures.length, 1, failures.join('; '))
  assert.match(failures[0] ?? '', /timer cannot be .*armed/)
  assert.ok((counts.timerErrors ?? 0) >= 4)
})

test.run()
