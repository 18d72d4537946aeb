// Recording and replaying one device: the same digest on every flavour and in every run, and a replay that stops at
// the first step that differs and names its field.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { VirtioBlkDriver } from '../../host/driver/driver.ts'
import { type EngineExports, loadEngine } from '../../host/engine/engine.ts'
import { replay } from '../../host/replay/player.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { Trace } from '../../host/replay/trace.ts'
import { flavours } from '../support/engines.ts'
import { recordScript } from '../support/record.ts'

const test = suite('replay')

test('replay: a recorded device -> the trace flavour does the same, access by access', async () => {
  const trace = await recordScript()
  assert.ok(trace.steps.length > 40, `${trace.steps.length} steps`)
  const calls = new Set(trace.steps.map(({ call }) => call))
  for (const call of ['init', 'mmioRead', 'mmioWrite', 'plan', 'complete', 'publish', 'setCapacity', 'setThrottle']) {
    assert.ok(calls.has(call as never), call)
  }
  assert.equal(replay(trace), { steps: trace.steps.length, digest: trace.digest })
})

for (const flavour of flavours) {
  test(`replay: on the ${flavour.name} flavour -> the same digest`, async () => {
    const trace = await recordScript()
    const engine = (memory: WebAssembly.Memory) => flavour.engine(memory) as EngineExports
    const shared = flavour.name === 'shared'
    assert.equal(replay(trace, { engine, shared }), { steps: trace.steps.length, digest: trace.digest })
  })
}

test('replay: recorded twice -> the same digest and the same bytes', async () => {
  const [one, other] = [await recordScript(), await recordScript()]
  assert.is(one.digest, other.digest)
  assert.equal(await one.bytes(), await other.bytes())
})

test('replay: written and read -> the same steps', async () => {
  const trace = await recordScript()
  const read = await Trace.parse(await trace.bytes())
  assert.equal(read.steps, trace.steps)
  assert.is(read.digest, trace.digest)
})

test('replay: until a step -> stops there', async () => {
  const trace = await recordScript()
  assert.is(replay(trace, { until: 7 }).steps, 7)
})

/** The release engine, with one export in other hands. */
function broken(
  change: (real: EngineExports) => Partial<EngineExports>,
): (memory: WebAssembly.Memory) => EngineExports {
  return (memory) => {
    const real = loadEngine(memory) as EngineExports
    return { ...real, ...change(real) }
  }
}

test('replay: an engine whose publish always interrupts -> the step and its result', async () => {
  const trace = await recordScript()
  const engine = broken((real) => ({ publish: (state, queue) => real.publish(state, queue) | 1 }))
  const { divergence } = replay(trace, { engine })
  assert.ok(divergence)
  assert.is(divergence.call, 'publish')
  assert.is(divergence.field, 'result')
  assert.match(divergence.message, /^step \d+, publish\(0\): result: expected 0x0, seen 0x1$/)
})

test('replay: an engine that forgets a store -> the field is named', async () => {
  const trace = await recordScript()
  const engine = (memory: WebAssembly.Memory): EngineExports => {
    const real = loadEngine(memory) as EngineExports
    return {
      ...real,
      complete(state, slot, result) {
        const before = new Uint8Array(memory.buffer).slice(0, 4 << 20)
        const outcome = real.complete(state, slot, result)
        // All of guest RAM as it was: no status byte, no used element.
        new Uint8Array(memory.buffer).set(before.subarray(2 << 20, 3 << 20), 2 << 20)
        return outcome
      },
    }
  }
  const { divergence } = replay(trace, { engine })
  assert.is(divergence?.call, 'complete')
  assert.match(divergence?.field ?? '', /status byte|used element/)
})

test('recorder: a second device -> refused', async () => {
  const recorder = new Recorder()
  await recordScript({ recorder })
  let refused = ''
  await recordScript({ recorder }).catch((error: Error) => {
    refused = error.message
  })
  assert.match(refused, /a recorder records one device/)
})

test('recorder: full -> the steps so far are a trace, the device goes on', async () => {
  const recorder = new Recorder({ maxBytes: 0, clock: () => 0 })
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const device = await VirtioBlk.create({ memory, backend: new MemoryBackend(4096), engine: recorder.engine })
  // The first megabyte is there in any case.
  for (let i = 0; i < 400_000 && !recorder.isFull; i++) device.mmioRead(0, 4)
  assert.ok(recorder.isFull)
  const { steps } = recorder
  assert.is(device.mmioRead(0, 4), 0x74726976)
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory })
  await driver.write(1, new Uint8Array(512).fill(5))
  assert.equal(await driver.read(1, 512), new Uint8Array(512).fill(5))
  await driver.close()
  await device.close()
  assert.is(recorder.steps, steps)
  const trace = recorder.trace()
  assert.is(trace.steps.length, steps)
  assert.equal(replay(trace, { until: 1000 }).steps, 1000)
})

test.run()
