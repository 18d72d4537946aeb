// A disk on a worker is recorded while the worker, its owner and vCPU threads all call the engine: the trace has one
// order, and replays to the last access, also when the guest changes its memory under the engine.

import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type EngineExports, loadEngine } from '../../host/engine/engine.ts'
import { replay } from '../../host/replay/player.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { Trace } from '../../host/replay/trace.ts'
import type { HammerData } from '../support/hammer.module.ts'
import { builtModule, onWorker, servesOnWorker, setUpWorker, soon, until, used } from '../support/worker.ts'

const test = suite('recording a worker')

for (const late of [false, true]) {
  const name = late ? 'late answers' : 'answers at once'
  test(`replay: a disk on a worker, ${name} -> every step again, on the trace flavour and on release`, async () => {
    const record = new Recorder({ shared: true })
    const fixture = await setUpWorker({ late, disk: { record } })
    try {
      await servesOnWorker(fixture)
      fixture.disk.mmioWrite(0x70, 4, 0)
      const { queue } = fixture.raw.negotiate()
      for (let i = 0; i < 20; i++) {
        queue.run({ type: i % 2, sector: i, ...(i % 2 ? { dataOut: new Uint8Array(512) } : { dataIn: 512 }) })
        await used(queue, i + 1)
      }
      await fixture.disk.setThrottle({ iops: 1000 })
      fixture.disk.setCapacity(32 << 10)
    } finally {
      await fixture.close()
    }
    const trace = await Trace.parse(await record.trace().bytes())
    const expected = { steps: trace.steps.length, digest: trace.digest }
    assert.ok(trace.steps.filter(({ call }) => call === 'complete').length >= 21)
    assert.equal(replay(trace), expected)
    const engine = (memory: WebAssembly.Memory) => loadEngine(memory) as EngineExports
    assert.equal(replay(trace, { engine }), expected)
    assert.equal(replay(trace, { engine, shared: true }), expected)
  })
}

onWorker(test, 'recorder: not shared -> refused by the name of the option', {}, async ({ worker, memory }) => {
  let message = ''
  const disk = { file: '/dev/null' }
  await worker.attach({ memory, backend: disk, record: new Recorder() }).catch((error: Error) => {
    message = error.message
  })
  assert.match(message, /record must be made with \{ shared: true \}/)
})

test('replay: three hostile vCPU threads on a worker -> every access again', async () => {
  const record = new Recorder({ shared: true, maxBytes: 64 << 20 })
  const fixture = await setUpWorker({ disk: { record } })
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const { memory, disk } = fixture
  const ram = { ptr: memory.regions[0]?.ptr ?? 0, bytes: 64 << 10 }
  const threads = [1, 2, 3].map((seed) => {
    const workerData: HammerData = { handle: disk.handle, seed, ram, stop }
    return new Worker(builtModule('hammer'), { workerData })
  })
  const ends = threads.map((thread) => new Promise<void>((resolve) => thread.once('exit', () => resolve())))
  try {
    // A thread that has not begun yet is no storm: on a machine under load that takes a while.
    await until('10,000 steps', () => record.steps > 10_000)
  } finally {
    Atomics.store(stop, 0, 1)
    await soon('the vCPU threads', Promise.all(ends))
    await fixture.close()
  }
  const trace = record.trace()
  assert.ok(trace.steps.length > 1000, `${trace.steps.length} steps`)
  assert.equal(replay(trace), { steps: trace.steps.length, digest: trace.digest })
})

test.run()
