// Raw access: what it writes is what it was told, wherever and however wrong; and the request builder's streams,
// sentinels and guards.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Raw } from '../../host/driver/raw.ts'
import { readable, WRITABLE_SENTINEL, writable } from '../../host/driver/raw-request.ts'
import { FakeDevice, type FakeOptions, FakeRam, pattern } from '../support/fake-device.ts'

const test = suite('driver raw')

function rig(options: FakeOptions = {}): { raw: Raw; device: FakeDevice; ram: FakeRam } {
  const ram = new FakeRam(1 << 20)
  const device = new FakeDevice(ram, options)
  return { raw: new Raw({ mmio: device, memory: ram }), device, ram }
}

test('registers: any offset, any width -> passed on as they are', () => {
  const seen: number[][] = []
  const mmio = {
    mmioRead: (offset: number, width: number): number => {
      seen.push([offset, width])
      return -1
    },
    mmioWrite: (offset: number, width: number, value: number): void => {
      seen.push([offset, width, value])
    },
  }
  const raw = new Raw({ mmio, memory: new FakeRam(65536) })
  assert.is(raw.reg.read(0x33, 2), -1)
  raw.reg.write(0x71, 0xffffffff, 1)
  raw.reg.setQueueAddresses(0x1_2345_6789_abcdn, 0xffff_ffff_ffff_ffffn, 5)
  assert.equal(seen, [
    [0x33, 2],
    [0x71, 1, 0xffffffff],
    [0x080, 4, 0x6789abcd],
    [0x084, 4, 0x12345],
    [0x090, 4, 0xffffffff],
    [0x094, 4, 0xffffffff],
    [0x0a0, 4, 5],
    [0x0a4, 4, 0],
  ])
})

test('negotiate: default -> DRIVER_OK with one queue, and a request runs', () => {
  const { raw, device } = rig()
  const { queue, status, statusSeen, ready } = raw.negotiate()
  assert.equal([status, statusSeen, ready], [0x0f, [0, 1, 3, 0x0b, 0x0f], [1]])
  device.disk.set(pattern(1024, 4))
  const request = queue.run({ type: 0, sector: 0, dataIn: 1024, segments: 512 })
  assert.is(request.status(), 0)
  assert.is(request.usedLen(), 1025)
  assert.equal(request.data(), pattern(1024, 4))
  assert.ok(request.intact())
  assert.equal(queue.takeUsed(), [{ id: request.head, len: 1025 }])
})

test('negotiate: stages and feature choices -> the device is left exactly there', () => {
  const { raw, device } = rig()
  assert.is(raw.negotiate({ upTo: 'reset' }).status, 0)
  assert.is(raw.negotiate({ upTo: 'driver' }).status, 3)
  assert.is(raw.negotiate({ upTo: 'features' }).status, 3)
  assert.equal(raw.negotiate({ upTo: 'featuresOk' }).queues, [])
  const queues = raw.negotiate({ upTo: 'queues' })
  assert.equal([queues.status, queues.ready], [0x0b, [1]])
  assert.equal([...raw.negotiate({ eventIdx: true, flush: false, drop: [1] }).features].sort(), [2, 29, 32, 6])
  assert.equal([...device.accepted].sort(), [2, 29, 32, 6])
  assert.is(raw.negotiate({ features: [9] }).status & 8, 8 & raw.reg.status)
  assert.equal(device.accepted, new Set())
  assert.is(raw.negotiate({ upTo: 'driver', status: { driver: 0x82 } }).status, 0x82)
})

test('queues: any index, any size, any place, misaligned or outside RAM -> registers say so, stores get lost', () => {
  const { raw, device } = rig({ queues: 4 })
  const place = { queue: 3, size: 8, desc: 0x5001, avail: 0x6003, used: 0xffff_0000_0000n }
  const { queue } = raw.negotiate({ queues: [place] })
  assert.equal(
    [device.queues[3]?.desc, device.queues[3]?.avail, device.queues[3]?.used],
    [0x5001, 0x6003, 0xffff_0000_0000],
  )
  assert.ok(raw.mem.lostBytes > 0)
  const head = queue.chain([
    { addr: 0xffff_ffff_ffff_fff0n, len: 0xffffffff },
    { addr: 16, len: 1, writable: true },
  ])
  queue.publish(head)
  assert.equal(queue.descriptor(head), { addr: 0xffff_ffff_ffff_fff0n, len: 0xffffffff, flags: 1, next: 1 })
  assert.equal(queue.descriptor(1), { addr: 16n, len: 1, flags: 2, next: 0 })
  assert.is(queue.availIdx, 1)
  assert.is(raw.mem.u16(0x6005), 1)
  assert.is(queue.usedIdx, 0xffff)
  raw.reg.write(0x070, 0)
  queue.kick()
  queue.kick(0x10003)
  assert.equal(device.kicks, [3, 0x10003])
})

test('chain: exact indices, flags and next -> a loop can be written', () => {
  const { raw } = rig()
  const queue = raw.queue({ size: 4 })
  const link = { addr: 0, len: 1 }
  assert.is(queue.chain([link, { ...link, flags: 3, next: 2 }], { indices: [2, 0] }), 2)
  assert.equal(queue.descriptor(2), { addr: 0n, len: 1, flags: 1, next: 0 })
  assert.equal(queue.descriptor(0), { addr: 0n, len: 1, flags: 3, next: 2 })
  assert.is(queue.chain([link, link, link], { head: 3 }), 3)
  assert.is(queue.descriptor(3).next, 0)
  assert.is(queue.nextDesc, 2)
})

test('available ring: offer, setAvailIdx, events and flags -> each store by itself', () => {
  const { raw } = rig()
  const queue = raw.queue({ size: 4 })
  queue.offer(3)
  assert.equal([queue.availIdx, raw.mem.u16(queue.availSlotAddress(0))], [0, 3])
  queue.publish(1, 2)
  assert.is(queue.availIdx, 3)
  queue.setAvailIdx(0xffff)
  queue.publish(7)
  assert.equal([queue.availIdx, raw.mem.u16(queue.availSlotAddress(3))], [0, 7])
  queue.availFlags = 1
  queue.usedEvent = 0xabcd
  queue.availEvent = 0x1234
  queue.usedFlags = 1
  queue.usedIdx = 9
  const seen = [queue.availFlags, queue.usedEvent, queue.availEvent, queue.usedFlags, queue.usedIdx]
  assert.equal(seen, [1, 0xabcd, 0x1234, 1, 9])
})

test('request: streams cut at odd places -> header and data are right, every address is known', () => {
  const { raw, device } = rig()
  const { queue } = raw.negotiate()
  const data = pattern(512, 8)
  const layout = [readable(3), readable(0), readable(20), readable(505), writable(1)]
  const write = queue.run({ type: 1, sector: 2, dataOut: data, layout })
  assert.is(write.status(), 0)
  assert.equal(device.disk.slice(1024, 1536), data)
  assert.equal(
    [write.header, write.dataOut].map((spans) => spans.map(({ bytes }) => bytes)),
    [
      [3, 13],
      [7, 505],
    ],
  )
  const read = queue.run({ type: 0, sector: 2, layout: [readable(16), writable(500), writable(13)] })
  assert.equal(read.data(), data)
  assert.equal(
    read.dataIn.map(({ bytes }) => bytes),
    [500, 12],
  )
  assert.is(raw.mem.u8(read.statusAddr ?? 0), 0)
  assert.ok(read.intact())
  assert.not(read.untouched())
})

test('request: not answered -> sentinels, no used element; no writable byte -> no status', () => {
  const { raw } = rig({ serve: 'never' })
  const { queue } = raw.negotiate()
  const read = queue.run({ type: 0, dataIn: 512 })
  assert.is(read.status(), WRITABLE_SENTINEL)
  assert.is(read.usedLen(), undefined)
  assert.ok(read.untouched())
  const bare = queue.request({ type: 0, layout: [readable(8)] })
  assert.equal([bare.status(), bare.statusAddr, bare.header.length], [undefined, undefined, 1])
})

test('request: bytes outside the pieces are written -> intact() is false', () => {
  const { raw } = rig({ serve: 'never' })
  const { queue } = raw.negotiate()
  const read = queue.run({ type: 0, dataIn: 512 })
  assert.ok(read.intact())
  raw.mem.setU8(Number(read.statusAddr) + 1, 0)
  assert.not(read.intact())
})

test('request: header of 64-bit sector, reserved word, indirect after direct -> as told', () => {
  const { raw, device } = rig({ features: [1, 2, 6, 9, 28, 29, 32] })
  const { queue } = raw.negotiate({ add: [28] })
  const options = { type: 0x80000001, sector: 0xffff_ffff_ffff_fffen, reserved: 7, dataIn: 512 }
  const request = queue.run({ ...options, indirect: 1 })
  assert.is(raw.mem.u64(request.headerAddr ?? 0), 0x7_8000_0001n)
  assert.is(raw.mem.u64(Number(request.headerAddr) + 8), 0xffff_ffff_ffff_fffen)
  assert.is(queue.descriptor(request.head).flags, 1)
  assert.is(queue.descriptor(queue.descriptor(request.head).next).flags, 4)
  assert.is(request.status(), 2)
  assert.is(device.taken[0]?.type, 0x80000001)
  const whole = queue.run({ type: 8, dataIn: 20, indirect: true })
  assert.equal([queue.descriptor(whole.head).flags, whole.status(), whole.usedLen()], [4, 0, 21])
})

test('startAt: before the queue is live -> all indices begin there and wrap', () => {
  const { raw, device } = rig()
  const { queue } = raw.negotiate({ upTo: 'queues', queues: [{ size: 4 }] })
  const ring = device.queues[0]
  if (!ring) throw new Error('no queue')
  queue.startAt(0xfffe)
  ring.lastAvail = 0xfffe
  ring.usedIdx = 0xfffe
  ring.signalled = 0xfffe
  raw.reg.status = 0x0f
  const ids = Array.from({ length: 5 }, () => queue.run({ type: 8, dataIn: 20 }).usedLen())
  assert.equal(ids, [21, 21, 21, 21, 21])
  assert.is(queue.usedIdx, 3)
})

test('memory: two regions that touch, a hole, all 64 bits -> reads across, all ones and lostBytes outside', () => {
  const bytes = new Uint8Array(8192)
  const regions = [
    { gpa: 0x1000, bytes: 4096 },
    { gpa: 0x2000, bytes: 4096 },
  ]
  const view = (gpa: number, count: number): Uint8Array => bytes.subarray(gpa - 0x1000, gpa - 0x1000 + count)
  const raw = new Raw({ mmio: { mmioRead: () => 0, mmioWrite: () => {} }, memory: { regions, view } })
  raw.mem.setU64(0x1ffd, 0x1122_3344_5566_7788n)
  assert.is(raw.mem.u64(0x1ffdn), 0x1122_3344_5566_7788n)
  assert.ok(raw.mem.isRam(0x1ffd, 8))
  assert.is(raw.mem.lostBytes, 0)
  raw.mem.setU32(0x2fff, 0xaabbccdd)
  assert.is(raw.mem.lostBytes, 3)
  assert.is(raw.mem.u32(0x2fff), 0xffffffdd)
  assert.is(raw.mem.u16(0xffff_ffff_ffff_ffffn), 0xffff)
  assert.not(raw.mem.isRam(0x2fff, 2))
})

test.run()
