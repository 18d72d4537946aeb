// The driver's side of the split ring (2.7): wrap, sizes from 1 to 32768, suppression both ways with and without
// EVENT_IDX (2.7.7, 2.7.10), a full ring, and a device that lies about what it returned.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VIRTIO_F_INDIRECT_DESC } from '../../assembly/spec.ts'
import { type ProbeOptions, VirtioBlkDriver } from '../../host/driver/driver.ts'
import { needEvent } from '../../host/driver/ring.ts'
import { DeviceMisbehaved } from '../../host/driver/types.ts'
import { FakeDevice, type FakeOptions, FakeRam, pattern, rejection } from '../support/fake-device.ts'

const test = suite('driver ring')
const EVENT_IDX = [1, 2, 6, 9, 29, 32]
const FLAGS = [1, 2, 6, 9, 32]

interface Rig {
  device: FakeDevice
  driver: VirtioBlkDriver
  ram: FakeRam
}

async function rig(options: FakeOptions = {}, probe: Partial<ProbeOptions> = {}): Promise<Rig> {
  const ram = new FakeRam(4 << 20)
  const device = new FakeDevice(ram, { queueSizeMax: 32768, ...options })
  device.logging = false
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory: ram, ...probe })
  return { device, driver, ram }
}

/** The ring's words outside the elements, as they lie in guest RAM. */
function words({ device, ram }: Rig): { flags: number; usedEvent: number; availIdx: number; usedIdx: number } {
  const queue = device.queues[0]
  if (!queue) throw new Error('no queue')
  const avail = ram.data(queue.avail, 6 + 2 * queue.size)
  return {
    flags: avail.getUint16(0, true),
    usedEvent: avail.getUint16(4 + 2 * queue.size, true),
    availIdx: avail.getUint16(2, true),
    usedIdx: queue.usedIdx,
  }
}

test('needEvent: all cases of a small ring -> the formula means "event passed"', () => {
  for (let old = 65530; old < 65530 + 12; old++) {
    for (let moved = 0; moved < 6; moved++) {
      for (let event = old - 8; event < old + 8; event++) {
        const passed = event >= old && event < old + moved
        assert.is(needEvent(event & 0xffff, (old + moved) & 0xffff, old & 0xffff), passed)
      }
    }
  }
})

for (const [features, name] of [
  [EVENT_IDX, 'EVENT_IDX'],
  [FLAGS, 'flags'],
] as const) {
  test(`ring: 70000 requests on a ring of 4, ${name} -> indices wrap, every answer is right`, async () => {
    const made = await rig({ features: [...features] }, { queueSize: 4 })
    const { driver, device } = made
    device.disk.set(pattern(device.disk.length, 1))
    for (let batch = 0; batch < 70; batch++) {
      const reads = Array.from({ length: 1000 }, (_, i) => driver.read((batch * 1000 + i) % 2048, 512))
      const data = await Promise.all(reads)
      const sector = (batch * 1000 + 500) % 2048
      assert.equal(data[500], device.disk.slice(sector * 512, sector * 512 + 512))
      device.taken.length = 0
    }
    assert.is(words(made).availIdx, 70000 & 0xffff)
    assert.is(words(made).usedIdx, 70000 & 0xffff)
  })
}

for (const queueSize of [2, 4, 8, 1024, 32768]) {
  test(`ring: size ${queueSize} -> many requests outstanding, all come back`, async () => {
    const { driver, device } = await rig({ serve: 'microtask' }, { queueSize })
    assert.is(driver.queueSize, queueSize)
    await Promise.all(Array.from({ length: 300 }, (_, i) => driver.write(i, pattern(512, i))))
    await Promise.all([driver.flush(), driver.getId()])
    for (let i = 0; i < 300; i++) assert.equal(device.disk.slice(i * 512, i * 512 + 512), pattern(512, i))
    const data = await driver.read(0, 300 * 512)
    assert.equal(data, device.disk.slice(0, 300 * 512))
  })
}

test('ring: size 1 -> a clear error without INDIRECT_DESC, requests with it', async () => {
  const direct = await rig({}, { queueSize: 1 })
  assert.match((await rejection(direct.driver.read(0, 512))).message, 'does not fit: ring of 1')
  assert.match((await rejection(direct.driver.flush())).message, 'does not fit')
  const { driver } = await rig({ features: [...EVENT_IDX, VIRTIO_F_INDIRECT_DESC] }, { queueSize: 1 })
  await Promise.all(Array.from({ length: 20 }, (_, i) => driver.write(i, pattern(512, i))))
  assert.equal(await driver.read(7, 512), pattern(512, 7))
})

test('ring: default size -> QueueSizeMax, at most 256', async () => {
  assert.is((await rig()).driver.queueSize, 256)
  assert.is((await rig({ queueSizeMax: 64 })).driver.queueSize, 64)
  assert.is((await rig({ queueSizeMax: 100 })).driver.queueSize, 64)
})

test('ring: full -> callers wait, and are served in order when the device returns', async () => {
  const { driver, device } = await rig({ serve: 'never' }, { queueSize: 8 })
  const order: number[] = []
  const reads = Array.from({ length: 5 }, (_, i) => driver.read(i, 512).then(() => order.push(i)))
  device.serve()
  assert.equal(
    device.taken.map(({ sector }) => sector),
    [0, 1],
  )
  device.options.serve = 'kick'
  await Promise.all(reads)
  assert.equal(order, [0, 1, 2, 3, 4])
})

test('kick: EVENT_IDX, avail_event ahead -> no kick until it is passed', async () => {
  const { driver, device, ram } = await rig({ serve: 'never', features: EVENT_IDX }, { queueSize: 16 })
  const queue = device.queues[0]
  if (!queue) throw new Error('no queue')
  ram.data(queue.used, 6 + 8 * 16).setUint16(4 + 8 * 16, 2, true)
  const reads = [0, 1].map((sector) => driver.read(sector, 512))
  assert.equal(device.kicks, [])
  reads.push(driver.read(2, 512))
  assert.equal(device.kicks, [0])
  reads.push(driver.read(3, 512))
  assert.equal(device.kicks, [0])
  device.serve()
  await Promise.all(reads)
})

test('kick: NO_NOTIFY without EVENT_IDX -> none; with EVENT_IDX the flag means nothing', async () => {
  for (const [features, kicks] of [
    [FLAGS, 0],
    [EVENT_IDX, 1],
  ] as const) {
    const { driver, device, ram } = await rig({ serve: 'never', features: [...features] }, { queueSize: 16 })
    const queue = device.queues[0]
    if (!queue) throw new Error('no queue')
    ram.data(queue.used, 4).setUint16(0, 1, true)
    const read = driver.read(0, 512)
    assert.is(device.kicks.length, kicks)
    ram.data(queue.used, 4).setUint16(0, 0, true)
    device.serve()
    await read
  }
})

test('kick: a read in many parts -> one store of avail.idx, one kick', async () => {
  const { driver, device } = await rig({ serve: 'microtask', sizeMax: 512, segMax: 1 }, { queueSize: 256 })
  await driver.read(0, 50 * 512)
  assert.is(device.taken.length, 50)
  assert.is(device.kicks.length, 1)
})

test('interrupts: wanted, EVENT_IDX -> used_event is what was taken, flags stay 0', async () => {
  const made = await rig({ features: EVENT_IDX })
  assert.equal([words(made).flags, words(made).usedEvent], [0, 0])
  for (let i = 1; i <= 3; i++) {
    await made.driver.read(0, 512)
    assert.equal([words(made).flags, words(made).usedEvent], [0, i])
    assert.is(made.device.interrupts, i)
  }
})

test('interrupts: wanted, no EVENT_IDX -> flags are 0 between requests, used_event is not touched', async () => {
  const made = await rig({ features: FLAGS })
  await made.driver.read(0, 512)
  assert.equal([words(made).flags, words(made).usedEvent], [0, 0])
  assert.is(made.device.interrupts, 1)
})

for (const features of [EVENT_IDX, FLAGS]) {
  test(`interrupts: not wanted, features ${features} -> the device raises none, everything completes`, async () => {
    const made = await rig({ features }, { interrupts: false })
    for (let i = 0; i < 10; i++) await made.driver.read(i, 512)
    assert.is(made.device.interrupts, 0)
    assert.is(words(made).flags, features === FLAGS ? 1 : 0)
  })
}

const LIES: [string, (device: FakeDevice) => void][] = [
  [
    'used.id of a free descriptor',
    (device) => {
      device.element = (id, len) => ({ id: id + 1, len })
    },
  ],
  [
    'used.id past the ring',
    (device) => {
      device.element = (_, len) => ({ id: 0xffffffff, len })
    },
  ],
  [
    'used.len above the writable bytes',
    (device) => {
      device.element = (id) => ({ id, len: 514 })
    },
  ],
]

for (const [name, lie] of LIES) {
  test(`hostile device: ${name} -> DeviceMisbehaved, reset() helps`, async () => {
    const { driver, device } = await rig()
    lie(device)
    assert.instance(await rejection(driver.read(0, 512)), DeviceMisbehaved)
    assert.instance(await rejection(driver.read(0, 512)), DeviceMisbehaved)
    device.element = undefined
    await driver.reset()
    assert.is((await driver.read(0, 512)).length, 512)
  })
}

test('hostile device: the same head twice -> DeviceMisbehaved for what is still outstanding', async () => {
  const { driver, device } = await rig({ serve: 'never' })
  const [first, second] = [driver.read(0, 512), rejection(driver.read(1, 512))]
  let head: number | undefined
  device.element = (id, len) => {
    head ??= id
    return { id: head, len }
  }
  device.serve()
  await first
  assert.instance(await second, DeviceMisbehaved)
})

test('hostile device: used.idx ahead of what is outstanding -> DeviceMisbehaved', async () => {
  const { driver, device, ram } = await rig({ serve: 'never' })
  const read = rejection(driver.read(0, 512))
  const queue = device.queues[0]
  if (!queue) throw new Error('no queue')
  ram.data(queue.used, 4).setUint16(2, 2, true)
  assert.instance(await read, DeviceMisbehaved)
  assert.match((await read).message, 'used.idx is 2')
})

test('hostile device: scribbles over the descriptor table -> the free list is not harmed', async () => {
  const { driver, device, ram } = await rig({}, { queueSize: 8 })
  const queue = device.queues[0]
  if (!queue) throw new Error('no queue')
  device.answer = () => {
    ram.view(queue.desc, 16 * 8).fill(0xff)
    return undefined
  }
  for (let i = 0; i < 20; i++) {
    await driver.write(i, pattern(512, i))
    assert.equal(await driver.read(i, 512), pattern(512, i))
  }
})

test.run()
