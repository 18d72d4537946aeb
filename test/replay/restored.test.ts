// A device that came from a snapshot is recorded from its restore on: the snapshot is in the trace, and the replay
// begins with it.

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

const test = suite('replay of a restored device')

test('replay: restored with a head that waits for tokens -> the same on the trace flavour and on release', async () => {
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const backend = new MemoryBackend(64 << 10)
  let now = 5e9
  const clock = (): number => now
  const device = await VirtioBlk.create({ memory, backend, clock, throttle: { iops: 1, iopsBurst: 1 } })
  const mmio = {
    device,
    mmioRead: (offset: number, width: number): number => mmio.device.mmioRead(offset, width),
    mmioWrite: (offset: number, width: number, value: number): void => mmio.device.mmioWrite(offset, width, value),
  }
  const driver = await VirtioBlkDriver.probe({ mmio, memory })
  await driver.write(1, new Uint8Array(512).fill(9))
  const waits = driver.read(1, 512)
  now += 25e7
  const snapshot = device.snapshot()
  await device.close()
  const recorder = new Recorder()
  now = 77e9
  mmio.device = await VirtioBlk.restore(snapshot, { memory, backend, clock, engine: recorder.engine })
  for (let i = 0; i < 4; i++) {
    now += 25e7
    mmio.device.poll()
  }
  assert.equal(await waits, new Uint8Array(512).fill(9))
  await driver.close()
  await mmio.device.close()
  const trace = await Trace.parse(await recorder.trace().bytes())
  assert.equal(
    trace.steps.slice(0, 3).map(({ call }) => call),
    ['init', 'setThrottle', 'thaw'],
  )
  const expected = { steps: trace.steps.length, digest: trace.digest }
  assert.equal(replay(trace), expected)
  assert.equal(replay(trace, { engine: (linear) => loadEngine(linear) as EngineExports }), expected)
})

test.run()
