// A short life of a device, recorded: bring-up, good and bad requests, a stall, a reset under way, new limits and size.
// The same every time: time and the recorder's clock are counted, nothing is random.

import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { VirtioBlkDriver } from '../../host/driver/driver.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import type { Trace } from '../../host/replay/trace.ts'

export interface RecordOptions {
  readonly recorder?: Recorder
  readonly payload?: 'hash' | 'bytes'
}

export async function recordScript(options: RecordOptions = {}): Promise<Trace> {
  let tick = 0
  const { payload = 'hash' } = options
  const recorder = options.recorder ?? new Recorder({ payload, clock: () => (tick += 1000) })
  let now = 0
  const memory = GuestMemory.create({ ramBytes: 1 << 20 })
  const device = await VirtioBlk.create({
    memory,
    backend: new MemoryBackend(256 << 10),
    engine: recorder.engine,
    serial: 'recorded',
    clock: () => now,
  })
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory })
  await driver.write(0, new Uint8Array(1024).fill(7))
  await driver.read(0, 4096)
  await driver.flush()
  await driver.getId()
  device.setThrottle({ iops: 1, iopsBurst: 1 })
  await driver.read(0, 512)
  const waits = driver.read(8, 512)
  for (let i = 0; i < 4; i++) {
    now += 4e8
    device.poll()
  }
  await waits
  device.setThrottle()
  device.setCapacity(128 << 10)
  await driver.read(300, 512).catch(() => {})
  await driver.close()
  await device.close()
  return recorder.trace()
}
