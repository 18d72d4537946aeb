// Recording a trace anew from what came in, and shrinking one to the steps that a failure needs. The check here is a
// function; test/cli/shrink.test.ts has commands.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import { list } from '../../host/replay/listing.ts'
import { replay } from '../../host/replay/player.ts'
import { Rerecorder } from '../../host/replay/rerecord.ts'
import { type ShrinkProgress, shrink } from '../../host/replay/shrink.ts'
import { Trace } from '../../host/replay/trace.ts'
import { recordScript } from '../support/record.ts'

const test = suite('shrink')

test('rerecord: all steps -> the same digest, as often as one likes', async () => {
  const trace = await recordScript()
  const recorder = new Rerecorder(trace)
  const all = trace.steps.map((_, number) => number)
  assert.is(recorder.record(all).digest, trace.digest)
  recorder.record(all.filter((number) => number % 3 !== 0))
  assert.is(recorder.record(all).digest, trace.digest)
})

test('rerecord: every golden trace -> the same digest', async () => {
  const files = readdirSync('test/golden').filter((file) => file.endsWith('.trace'))
  assert.ok(files.length > 10)
  for (const file of files) {
    const trace = await Trace.parse(readFileSync(join('test/golden', file)))
    const again = new Rerecorder(trace).record(trace.steps.map((_, number) => number))
    assert.is(again.digest, trace.digest, file)
  }
})

test('rerecord: any choice of steps -> a trace that replays', async () => {
  const trace = await recordScript()
  const recorder = new Rerecorder(trace)
  for (let every = 2; every < 9; every++) {
    const some = recorder.record(trace.steps.map((_, number) => number).filter((number) => number % every !== 1))
    assert.is(some.steps[0]?.call, 'init')
    assert.equal(replay(some), { steps: some.steps.length, digest: some.digest })
    assert.is((await Trace.parse(await some.bytes())).digest, some.digest)
  }
})

function fails(trace: Trace): boolean {
  return list(trace).some((one) => one.kind === 'request' && one.sector === 300n && one.decision < 0)
}

test('shrink: a refused read at the end -> a device that is brought up, and that read', async () => {
  const trace = await recordScript()
  const progress: ShrinkProgress[] = []
  const shortest = await shrink(
    trace,
    async (candidate) => fails(candidate),
    (now) => progress.push(now),
  )
  assert.ok(shortest)
  assert.ok(fails(shortest))
  const plans = shortest.steps.filter(({ call }) => call === 'plan')
  assert.ok(plans.length <= 6, `${plans.length} plans`)
  assert.ok(shortest.steps.length < trace.steps.length / 2, `${shortest.steps.length} steps`)
  assert.not(
    shortest.steps.some(({ call, args: [offset] }) => call === 'mmioWrite' && offset === VIRTIO_MMIO_QUEUE_NOTIFY),
  )
  assert.ok(shortest.steps.some(({ call, args: [offset] }) => call === 'mmioWrite' && offset === VIRTIO_MMIO_STATUS))
  // The one that is left cannot do without any step.
  const recorder = new Rerecorder(shortest)
  const all = shortest.steps.map((_, number) => number)
  for (const number of all.slice(1))
    assert.not(fails(recorder.record(all.filter((other) => other !== number))), `${number}`)
  assert.is(progress.at(-1)?.steps, shortest.steps.length)
  assert.equal(
    progress.map(({ runs }) => runs),
    progress.map((_, i) => i + 1),
  )
})

test('shrink: failing prefixes with passing ones between them -> the shorter one is found', async () => {
  const trace = await recordScript()
  // Exactly 28 steps, or 60 and more: halving alone ends at 60.
  const shortest = await shrink(trace, async ({ steps: { length } }) => length === 28 || length >= 60)
  assert.is(shortest?.steps.length, 28)
})

test('shrink: fails for every trace -> init alone', async () => {
  const shortest = await shrink(await recordScript(), async () => true)
  assert.is(shortest?.steps.length, 1)
})

test('shrink: the trace recorded anew does not fail -> undefined after one run', async () => {
  let runs = 0
  const shortest = await shrink(await recordScript(), async () => {
    runs++
    return false
  })
  assert.is(shortest, undefined)
  assert.is(runs, 1)
})

test.run()
