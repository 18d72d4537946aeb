// The polite driver against a fake device: initialisation order (3.1.1, 4.2.3.2), requests and how they are split
// (5.2.6, 5.2.4), synchronous and asynchronous devices, interrupts and configuration changes, and life after a reset.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_F_INDIRECT_DESC } from '../../assembly/spec.ts'
import { type ProbeOptions, VirtioBlkDriver } from '../../host/driver/driver.ts'
import { DeviceMisbehaved, DeviceNeedsReset, DriverError } from '../../host/driver/types.ts'
import { FakeDevice, type FakeOptions, FakeRam, pattern, rejection } from '../support/fake-device.ts'

const test = suite('driver')
const CORE = [1, 2, 6, 9, 29, 32]

interface Rig {
  device: FakeDevice
  driver: VirtioBlkDriver
  ram: FakeRam
}

async function rig(options: FakeOptions = {}, probe: Partial<ProbeOptions> = {}): Promise<Rig> {
  const ram = new FakeRam(4 << 20)
  const device = new FakeDevice(ram, options)
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory: ram, ...probe })
  device.log = []
  return { device, driver, ram }
}

test('probe: a good device -> the order of the standard', async () => {
  const ram = new FakeRam(1 << 20)
  const device = new FakeDevice(ram)
  await VirtioBlkDriver.probe({ mmio: device, memory: ram, queueSize: 8, queueBase: 0x10000, arenaBytes: 0x10000 })
  const config = device.log.filter((line) => /^r 1|^r 0fc/.test(line))
  assert.equal(config[0], 'r 0fc')
  assert.equal(config.at(-1), 'r 0fc')
  assert.equal(
    device.log.filter((line) => !config.includes(line)),
    [
      ...['r 000', 'r 004', 'r 008'],
      ...['w 070=0', 'r 070', 'w 070=1', 'w 070=3'],
      ...['w 014=0', 'r 010', 'w 014=1', 'r 010'],
      ...['w 024=0', 'w 020=20000246', 'w 024=1', 'w 020=1'],
      ...['w 070=b', 'r 070'],
      ...['w 030=0', 'r 044', 'r 034', 'w 038=8'],
      ...['w 080=10000', 'w 084=0', 'w 090=10080', 'w 094=0', 'w 0a0=10098', 'w 0a4=0'],
      ...['w 044=1', 'r 044', 'w 070=f', 'r 070', 'r 060'],
    ],
  )
})

test('probe: FEATURES_OK does not stay -> DriverError, FAILED is set', async () => {
  const ram = new FakeRam(1 << 20)
  const device = new FakeDevice(ram)
  device.onWrite = (offset, value) => offset === 0x070 && value === 0x0b
  const error = await rejection(VirtioBlkDriver.probe({ mmio: device, memory: ram }))
  assert.instance(error, DriverError)
  assert.match(error.message, 'refuses the features')
  assert.is(device.status & 0x80, 0x80)
})

test('probe: no VERSION_1, wrong magic, no queue, unready queue -> DriverError', async () => {
  const ram = new FakeRam(1 << 20)
  const probe = (device: FakeDevice): Promise<Error> => rejection(VirtioBlkDriver.probe({ mmio: device, memory: ram }))
  const lie = (offset: number, value: number): FakeDevice => {
    const device = new FakeDevice(ram)
    device.onRead = (at) => (at === offset ? value : undefined)
    return device
  }
  assert.match((await probe(new FakeDevice(ram, { features: [9] }))).message, 'VERSION_1')
  assert.match((await probe(lie(0x000, 0))).message, 'MagicValue')
  assert.match((await probe(lie(0x004, 1))).message, 'Version')
  assert.match((await probe(lie(0x008, 0))).message, 'DeviceID')
  assert.match((await probe(lie(0x034, 0))).message, 'no queue')
  assert.instance(await probe(lie(0x044, 1)), DeviceMisbehaved)
  assert.instance(await probe(lie(0x044, 0)), DeviceMisbehaved)
})

test('probe: Status does not come back to 0 -> waits, then DeviceMisbehaved', async () => {
  const ram = new FakeRam(1 << 20)
  const device = new FakeDevice(ram)
  let reads = 0
  device.onRead = (offset) => (offset === 0x070 && reads++ < 3 ? 0x40 : undefined)
  await VirtioBlkDriver.probe({ mmio: device, memory: ram })
  device.onRead = (offset) => (offset === 0x070 ? 0x40 : undefined)
  const error = await rejection(VirtioBlkDriver.probe({ mmio: device, memory: ram, resetTimeoutMs: 20 }))
  assert.instance(error, DeviceMisbehaved)
})

test('features: chosen by the caller -> those and VERSION_1; not offered or unknown -> DriverError', async () => {
  const { driver, device } = await rig({}, { features: () => [VIRTIO_BLK_F_FLUSH] })
  assert.equal([...driver.features].sort(), [32, 9])
  assert.equal([...device.accepted].sort(), [32, 9])
  assert.match((await rejection(rig({}, { features: () => [VIRTIO_BLK_F_RO] }))).message, 'not offered')
  assert.match((await rejection(rig({ features: [...CORE, 34] }, { features: () => [34] }))).message, 'implemented')
})

for (const serve of ['kick', 'microtask', 'timer'] as const) {
  for (const features of [CORE, [1, 2, 6, 9, 32], [...CORE, VIRTIO_F_INDIRECT_DESC], [32]]) {
    test(`requests: device answers by ${serve}, features ${features} -> data, id and flush come back`, async () => {
      const { driver, device } = await rig({ serve, features })
      const data = pattern(3 * 512, 7)
      await driver.write(5, data)
      assert.equal(await driver.read(5, 3 * 512), data)
      assert.equal(device.disk.slice(5 * 512, 8 * 512), data)
      assert.equal(await driver.read(0, 512), new Uint8Array(512))
      assert.is(await driver.getId(), 'fake-disk')
      await driver.flush()
      assert.is(device.flushes, features.includes(9) ? 1 : 0)
      assert.is(driver.capacitySectors, 2048)
      assert.is(driver.outstanding, 0)
    })
  }
}

test('read, write: more than size_max and seg_max -> segments and requests within them, right sectors', async () => {
  const { driver, device } = await rig({ sizeMax: 1024, segMax: 3 })
  assert.equal({ ...driver.limits }, { segmentBytes: 1024, segments: 3, requestBytes: 3072 })
  const data = pattern(8 * 1024 + 512, 3)
  await driver.write(10, data)
  assert.equal(await driver.read(10, data.length), data)
  const shape = device.taken.map(({ type, sector, readable, writable }) => ({
    type,
    sector,
    data: (type === 1 ? readable.slice(1) : writable.slice(0, -1)).map((part) => part.length),
  }))
  const pieces = [
    { sector: 10, data: [1024, 1024, 1024] },
    { sector: 16, data: [1024, 1024, 1024] },
    { sector: 22, data: [1024, 1024, 512] },
  ]
  assert.equal(shape, [...pieces.map((p) => ({ type: 1, ...p })), ...pieces.map((p) => ({ type: 0, ...p }))])
})

test('read: SEG_MAX and SIZE_MAX not negotiated -> one segment a request', async () => {
  const { driver, device } = await rig({ features: [32] }, { segmentBytes: 2048 })
  await driver.read(0, 8192)
  assert.is(device.taken.length, 4)
})

test('discard, write zeroes: not offered -> DriverError; offered -> split by the limits of each', async () => {
  const plain = await rig()
  assert.match((await rejection(plain.driver.discard(0, 8))).message, 'DISCARD')
  assert.match((await rejection(plain.driver.writeZeroes(0, 8))).message, 'WRITE_ZEROES')
  const { driver, device } = await rig({ features: [...CORE, 13, 14] })
  await driver.discard(100, 64 * 4 + 1)
  await driver.writeZeroes(7, 150, { mayUnmap: true })
  const segments = device.taken.map(({ type, readable }) => [
    type,
    ...readable.slice(1).flatMap((part) => ranges(part)),
  ])
  assert.equal(segments, [
    [11, [100, 64, 0], [164, 64, 0], [228, 64, 0]],
    [11, [292, 64, 0], [356, 1, 0]],
    [13, [7, 100, 1]],
    [13, [107, 50, 1]],
  ])
})

function ranges(part: Uint8Array): number[][] {
  const view = new DataView(part.buffer, part.byteOffset, part.length)
  return Array.from({ length: part.length / 16 }, (_, i) => [
    Number(view.getBigUint64(i * 16, true)),
    view.getUint32(i * 16 + 8, true),
    view.getUint32(i * 16 + 12, true),
  ])
}

test('errors: the device answers IOERR, UNSUPP or nothing -> DriverError with status, type and sector', async () => {
  const { driver, device } = await rig({ capacitySectors: 16 })
  const past = (await rejection(driver.read(16, 512))) as DriverError
  assert.instance(past, DriverError)
  assert.equal([past.status, past.type, past.sector], [1, 0, 16])
  device.answer = () => ({ code: 2 })
  const unsupported = (await rejection(driver.write(3, new Uint8Array(512)))) as DriverError
  assert.equal([unsupported.status, unsupported.type, unsupported.sector], [2, 1, 3])
  device.answer = () => ({ code: undefined })
  const silent = (await rejection(driver.flush())) as DriverError
  assert.instance(silent, DeviceMisbehaved)
  assert.is(silent.status, undefined)
  device.answer = undefined
  assert.is((await driver.read(15, 512)).length, 512)
})

test('errors: one part of a split read fails -> rejects with that sector, the driver goes on', async () => {
  const { driver, device } = await rig({ sizeMax: 512, segMax: 1 })
  device.answer = ({ sector }) => (sector === 2 ? { code: 1 } : undefined)
  const error = (await rejection(driver.read(0, 4 * 512))) as DriverError
  assert.is(error.sector, 2)
  assert.is(driver.outstanding, 0)
  await driver.read(4, 512)
})

test('arguments: lengths and sectors that make no sense -> RangeError, nothing is sent', async () => {
  const { driver, device } = await rig()
  for (const [sector, bytes] of [
    [0, 0],
    [0, 100],
    [-1, 512],
    [0.5, 512],
    [0, Number.NaN],
  ] as const) {
    assert.instance(await rejection(driver.read(sector, bytes)), RangeError)
  }
  assert.is(device.taken.length, 0)
})

test('read: the device returns OK without writing data -> old data does not pass for an answer', async () => {
  const { driver, device } = await rig()
  const data = pattern(512, 1)
  await driver.write(0, data)
  device.answer = () => ({ code: 0 })
  assert.not.equal(await driver.read(0, 512), data)
})

test('interrupt: nothing pending -> 0 and no ACK; pending -> ACK before the used ring is looked at', async () => {
  const { driver, device } = await rig({ serve: 'never' })
  assert.is(driver.interrupt(), 0)
  assert.equal(device.log, ['r 060'])
  const read = driver.read(0, 512)
  device.serve()
  device.log = []
  let ackedWith = 0
  device.onWrite = (offset) => {
    if (offset === 0x064) ackedWith = driver.outstanding
    return false
  }
  assert.is(driver.interrupt(), 1)
  assert.is(ackedWith, 1)
  assert.is(driver.outstanding, 0)
  assert.equal(device.log.slice(0, 2), ['r 060', 'w 064=1'])
  await read
})

test('interrupt: delivered from inside the kick -> all complete in order, without deep recursion', async () => {
  const ram = new FakeRam(4 << 20)
  let driver: VirtioBlkDriver | undefined
  const options = { capacitySectors: 20000, sizeMax: 512, segMax: 1, onInterrupt: () => driver?.interrupt() }
  const device = new FakeDevice(ram, options)
  device.logging = false
  device.disk.set(pattern(device.disk.length, 2))
  driver = await VirtioBlkDriver.probe({ mmio: device, memory: ram, queueSize: 4 })
  const data = await driver.read(0, 20000 * 512)
  assert.ok(data.every((byte, i) => byte === device.disk[i]))
  assert.ok(device.taken.every(({ sector }, i) => sector === i))
  assert.is(device.taken.length, 20000)
  assert.is(device.interruptStatus, 0)
})

test('configuration: capacity changes -> interrupt() reads it and tells the owner', async () => {
  const seen: number[] = []
  const { driver, device } = await rig({}, { onConfigChange: (config) => seen.push(config.capacitySectors) })
  device.options.capacitySectors = 4096
  device.generation++
  device.interruptStatus |= 2
  assert.is(driver.interrupt(), 2)
  assert.is(driver.capacitySectors, 4096)
  assert.equal(seen, [4096])
})

test('configuration: generation changes between the two words of the capacity -> read again, not torn', async () => {
  const { driver, device } = await rig({ capacitySectors: 100 })
  let times = 0
  device.onRead = (offset) => {
    if (offset === 0x104 && times++ === 0) {
      device.options.capacitySectors = 2 ** 33 + 5
      device.generation++
    }
    return undefined
  }
  driver.refreshConfig()
  assert.is(driver.capacitySectors, 2 ** 33 + 5)
  assert.is(times, 2)
})

test('configuration: the generation never settles -> DeviceMisbehaved, not a hang', async () => {
  const { driver, device } = await rig()
  device.onRead = (offset) => (offset === 0x0fc ? device.generation++ : undefined)
  assert.throws(
    () => driver.refreshConfig(),
    (error: unknown) => error instanceof DeviceMisbehaved,
  )
  device.interruptStatus |= 2
  driver.interrupt()
  assert.instance(await rejection(driver.read(0, 512)), DeviceMisbehaved)
})

for (const told of [true, false]) {
  test(`NEEDS_RESET: ${told ? 'interrupt' : 'nobody tells'} -> outstanding rejects, reset() helps`, async () => {
    const { driver, device } = await rig({ serve: 'never' })
    const outcomes = Promise.all([rejection(driver.read(3, 512)), rejection(driver.flush())])
    device.needReset()
    if (told) driver.interrupt()
    const [first, second] = await outcomes
    assert.instance(first, DeviceNeedsReset)
    assert.is((first as DriverError).sector, 3)
    assert.instance(second, DeviceNeedsReset)
    assert.instance(await rejection(driver.getId()), DeviceNeedsReset)
    device.options.serve = 'kick'
    await driver.reset()
    assert.is(await driver.getId(), 'fake-disk')
  })
}

test('NEEDS_RESET: requests that were returned before -> still resolve', async () => {
  const { driver, device } = await rig({ serve: 'never' }, { queueSize: 4 })
  const first = driver.read(0, 512)
  const second = rejection(driver.read(1, 512))
  device.serve()
  device.needReset()
  driver.interrupt()
  assert.is((await first).length, 512)
  assert.instance(await second, DeviceNeedsReset)
})

test('status: the device is reset behind the driver -> outstanding rejects', async () => {
  const { driver, device } = await rig({ serve: 'never' })
  const read = rejection(driver.read(0, 512))
  device.mmioWrite(0x070, 4, 0)
  assert.match((await read).message, 'left DRIVER_OK')
})

test('reset: with requests outstanding -> they reject, the ring starts anew', async () => {
  const { driver, device } = await rig({ serve: 'never' })
  const read = rejection(driver.read(9, 512))
  const both = [driver.reset(), driver.reset()]
  assert.is(((await read) as DriverError).sector, 9)
  await Promise.all(both)
  device.options.serve = 'kick'
  await driver.write(0, pattern(512, 9))
  assert.is(device.taken.length, 1)
})

test('close: with requests outstanding -> they reject, Status is 0, later calls reject', async () => {
  const { driver, device } = await rig({ serve: 'never' })
  const read = rejection(driver.read(0, 512))
  await driver.close()
  assert.match((await read).message, 'closed')
  assert.is(device.status, 0)
  assert.match((await rejection(driver.read(0, 512))).message, 'closed')
  assert.match((await rejection(driver.reset())).message, 'closed')
  assert.is(driver.interrupt(), 0)
})

test('queues: MQ and two queues -> requests go to both, kicks carry the index', async () => {
  const { driver, device } = await rig({ features: [...CORE, 12], queues: 2 }, { queues: 2 })
  await Promise.all(Array.from({ length: 8 }, (_, i) => driver.read(i, 512)))
  assert.equal(new Set(device.kicks), new Set([0, 1]))
  assert.is(device.taken.filter(({ queue }) => queue === 1).length, 4)
  assert.match((await rejection(rig({}, { queues: 2 }))).message, 'queues is 2')
})

test('notification: NOTIFICATION_DATA negotiated -> the kick carries avail.idx', async () => {
  const { driver, device } = await rig({ features: [...CORE, 38] })
  await driver.read(0, 512)
  await driver.read(0, 512)
  assert.equal(device.kicks, [0x10000, 0x20000])
})

test('memory: no room for one block, ring outside RAM -> clear errors', async () => {
  const small = await rejection(rig({}, { queueSize: 256, arenaBytes: 7168 }))
  assert.match(small.message, 'no request can carry')
  assert.instance(await rejection(rig({}, { queueBase: 1 << 30 })), RangeError)
  assert.match((await rejection(rig({}, { queueSize: 3 }))).message, 'queueSize')
  assert.match((await rejection(rig({ queueSizeMax: 8 }, { queueSize: 16 }))).message, 'queueSize')
})

test('memory: buffers for two requests only -> the others wait, nothing is lost', async () => {
  const { driver, device } = await rig({ serve: 'timer' }, { queueSize: 64, arenaBytes: 3072 })
  const data = pattern(64 * 512, 5)
  await driver.write(0, data)
  assert.equal(await driver.read(0, data.length), data)
  assert.equal(device.disk.slice(0, data.length), data)
})

test.run()
