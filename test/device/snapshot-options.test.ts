// Restoring a snapshot with options of its own (device rule 26): what must be as in the snapshot, what may differ if it
// is overridden, and what validateSnapshot() tells beforehand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend, VirtioBlk, validateSnapshot } from '../../host/index.ts'
import { answered, each, pattern } from '../support/device.ts'
import { moving } from '../support/moving-device.ts'

const test = suite('device snapshot options')

function read(sector: number): { type: number; sector: number; dataIn: number } {
  return { type: 0, sector, dataIn: 512 }
}

each(
  test,
  'device rule 26: another option than in the snapshot -> refused by name, nothing touched',
  async (flavour) => {
    const f = await moving(flavour, { serial: 'one', throttle: { iops: 50 }, queueSizeMax: 64 })
    f.raw.negotiate()
    const bytes = f.device.snapshot()
    for (const [options, field, offset] of [
      [{ backend: new MemoryBackend(1 << 19) }, 'capacitySectors', 24],
      [{ queues: 2 }, 'queues', 32],
      [{ queueSizeMax: 128 }, 'queueSizeMax', 36],
      [{ segMax: 3 }, 'segMax', 40],
      [{ sizeMax: 4096 }, 'sizeMax', 44],
      [{ blockSize: 4096 }, 'blockSize', 48],
      [{ readOnly: true }, 'readOnly', 52],
      [{ serial: 'two' }, 'serial', 56],
      [{ features: ['FLUSH'] as const }, 'deviceFeatures', 16],
      [{ throttle: { iops: 51 } }, 'opsRate', 120],
      [{ throttle: { iops: 50, iopsBurst: 99 } }, 'opsCapacity', 128],
      [{ throttle: { iops: 50, bytesPerSecond: 512 } }, 'bytesRate', 136],
    ] as const) {
      const target = f.target(flavour, options)
      const ram = target.memory.view(0, 1 << 20).slice()
      let error: unknown
      await VirtioBlk.restore(bytes, target).catch((caught) => {
        error = caught
      })
      const { name, field: found, offset: at } = error as { name: string; field: string; offset: number }
      assert.equal([name, found, at], ['SnapshotError', field, offset])
      assert.equal(target.memory.view(0, 1 << 20), ram)
      assert.is(target.memory.allocate(64), f.target(flavour).memory.allocate(64), 'state was allocated')
    }
    const same = {
      serial: 'one',
      throttle: { iops: 50 },
      queueSizeMax: 64,
      readOnly: false,
      queues: 1,
      features: 'core',
    }
    await f.move(flavour, same as object)
    assert.is(f.raw.reg.status, 0x0f)
  },
)

each(
  test,
  'device rule 26: overridden capacity -> as a change of capacity: generation, CONFIG, one interrupt',
  async (flavour) => {
    const f = await moving(flavour)
    const { queue } = f.raw.negotiate()
    const generation = f.raw.reg.read(0xfc)
    await f.move(flavour, { backend: new MemoryBackend(1 << 19), override: ['capacity'] })
    assert.equal([f.raw.reg.read(0xfc), f.raw.reg.read(0x60), f.interrupts], [generation + 1, 2, 1])
    assert.equal([f.raw.reg.read(0x100), f.device.counters.interrupts], [1024, 1])
    answered(queue.run(read(1024)), 1, 0)
  },
)

each(
  test,
  'device rule 26: overridden serial and readOnly -> the new ones, and again with RO negotiated',
  async (flavour) => {
    const f = await moving(flavour, { serial: 'one' })
    const { queue } = f.raw.negotiate()
    await f.move(flavour, { serial: 'two', readOnly: true, override: ['serial', 'readOnly'] })
    const id = queue.run({ type: 8, dataIn: 20 })
    assert.is(new TextDecoder().decode(id.data()).replace(/\0+$/, ''), 'two')
    answered(queue.run({ type: 1, sector: 0, dataOut: pattern(512) }), 1, 1)
    const again = f.raw.negotiate({ add: [5] })
    answered(again.queue.run(read(1)), 0, 513)
    await f.move(flavour, { readOnly: false, override: ['readOnly'] })
    answered(again.queue.run({ type: 1, sector: 0, dataOut: pattern(512) }), 0, 1)
    await f.move(flavour)
    assert.is(f.raw.reg.status, 0x0f)
  },
)

each(test, 'device rule 26: an override that there is not -> TypeError', async (flavour) => {
  const f = await moving(flavour)
  const target = { ...f.target(flavour), override: ['size'] as unknown as ['serial'] }
  let error: unknown
  await VirtioBlk.restore(f.device.snapshot(), target).catch((caught) => {
    error = caught
  })
  assert.match(String(error), /TypeError: VirtioBlk: override names .*'size'/)
})

each(
  test,
  'device rule 26: rings that are not in the guest RAM there is -> refused, nothing allocated',
  async (flavour) => {
    const f = await moving(flavour)
    f.raw.negotiate()
    const memory = flavour.memory({ regions: [{ gpa: 0, bytes: 4096 }], stateBytes: 1 << 20 })
    let error: unknown
    await VirtioBlk.restore(f.device.snapshot(), { ...f.target(flavour), memory }).catch((caught) => {
      error = caught
    })
    assert.match(
      String(error),
      /SnapshotError: snapshot: queues\[0\]\.descGpa at byte 392 is 0x1000: .* not all guest RAM/,
    )
  },
)

each(test, 'device rule 26: validateSnapshot -> what the snapshot is of', async (flavour) => {
  const f = await moving(flavour, {
    serial: 'abc',
    throttle: { bytesPerSecond: 4096 },
    queueSizeMax: 8,
    readOnly: true,
  })
  assert.equal(validateSnapshot(f.device.snapshot()), {
    version: 1,
    capacityBytes: 1 << 20,
    readOnly: true,
    serial: 'abc',
    queues: 1,
    queueSizeMax: 8,
    segMax: 6,
    sizeMax: 1 << 20,
    blockSize: 512,
    features: ['SIZE_MAX', 'SEG_MAX', 'RO', 'BLK_SIZE', 'FLUSH', 'RING_EVENT_IDX', 'VERSION_1'],
    throttle: { iops: undefined, iopsBurst: undefined, bytesPerSecond: 4096n, bytesBurst: 4096n },
    status: 0,
  })
})

test.run()
