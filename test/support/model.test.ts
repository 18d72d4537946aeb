// The model device (model.ts) against answers worked out by hand: it is the judge of the engine, so it must be right
// for reasons of its own. One small guest: 64 KiB of RAM, rings of 8, header, data and status at fixed addresses.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { ModelDevice, type ModelOptions } from './model.ts'
import { Bucket } from './model-parts.ts'

const test = suite('model')

const DESC = 0x0000
const AVAIL = 0x1000
const USED = 0x2000
const HEADER = 0x3000
const DATA = 0x4000
const STATUS = 0x8000
const RAM = 0x10000
const SIZE = 8
const NEXT = 1
const WRITE = 2
const SECOND = 1_000_000_000

class Guest {
  readonly ram = new DataView(new ArrayBuffer(RAM))
  readonly disk = new MemoryBackend(8 * 512)
  readonly device: ModelDevice
  now = 0
  #avail = 0

  constructor(options: Partial<ModelOptions> = {}, features = 1 << 9) {
    this.device = new ModelDevice({
      ...{ readOnly: false, serial: 'disk0', sizeMax: 4096, segMax: 6, blockSize: 512, queueSizeMax: SIZE },
      regions: [{ gpa: 0, bytes: new Uint8Array(this.ram.buffer) }],
      disk: this.disk,
      capacityBytes: this.disk.capacityBytes,
      clock: () => this.now,
      ...options,
    })
    this.disk.bytes.fill(0xab)
    this.start(features)
  }

  write(offset: number, value: number): void {
    this.device.mmioWrite(offset, 4, value)
  }

  start(features: number): void {
    for (const status of [0, 1, 3]) this.write(0x70, status)
    this.write(0x20, features)
    this.write(0x24, 1)
    this.write(0x20, 1)
    this.write(0x70, 0x0b)
    this.write(0x80, DESC)
    this.write(0x90, AVAIL)
    this.write(0xa0, USED)
    this.write(0x44, 1)
    this.write(0x70, 0x0f)
  }

  /** Puts [gpa, len, writable] descriptors at `first` and offers them. */
  offer(first: number, ...descs: [number, number, boolean][]): void {
    descs.forEach(([gpa, len, writable], i) => {
      const at = DESC + 16 * (first + i)
      this.ram.setBigUint64(at, BigInt(gpa), true)
      this.ram.setUint32(at + 8, len, true)
      this.ram.setUint16(at + 12, (writable ? WRITE : 0) | (i + 1 < descs.length ? NEXT : 0), true)
      this.ram.setUint16(at + 14, first + i + 1, true)
    })
    this.ram.setUint16(AVAIL + 4 + 2 * (this.#avail % SIZE), first, true)
    this.#avail += 1
    this.ram.setUint16(AVAIL + 2, this.#avail, true)
  }

  header(type: number, sector: bigint, at = HEADER): void {
    this.ram.setUint32(at, type, true)
    this.ram.setBigUint64(at + 8, sector, true)
  }

  /** A request in the usual layout at descriptor 0, served. */
  request(type: number, sector: bigint, bytes: number, writable: boolean): void {
    this.header(type, sector)
    this.ram.setUint8(STATUS, 0xee)
    const data: [number, number, boolean][] = bytes > 0 ? [[DATA, bytes, writable]] : []
    this.offer(0, [HEADER, 16, false], ...data, [STATUS, 1, true])
    this.write(0x50, 0)
  }

  get status(): number {
    return this.ram.getUint8(STATUS)
  }

  get usedIdx(): number {
    return this.ram.getUint16(USED + 2, true)
  }

  usedLen(i: number): number {
    return this.ram.getUint32(USED + 4 + 8 * (i % SIZE) + 4, true)
  }

  /** The counters that are not 0. */
  get counters(): Record<string, number> {
    const set = Object.entries(this.device.counters).filter(([, value]) => value !== 0n)
    return Object.fromEntries(set.map(([name, value]) => [name, Number(value)]))
  }
}

const QUIET = { resets: 1, drains: 2, kicks: 1, interrupts: 1 }

test('read: one sector -> data, status, used length 513, one interrupt', () => {
  const guest = new Guest()
  guest.request(0, 1n, 512, true)
  assert.is(guest.status, 0)
  assert.is(guest.ram.getUint8(DATA + 511), 0xab)
  assert.is(guest.ram.getUint8(DATA + 512), 0)
  assert.is(guest.usedIdx, 1)
  assert.is(guest.usedLen(0), 513)
  assert.equal(guest.counters, { ...QUIET, readsCompleted: 1, bytesRead: 512 })
  assert.is(guest.device.mmioRead(0x60, 4), 1)
})

test('write: header and data in one descriptor -> stored, used length 1', () => {
  const guest = new Guest()
  guest.header(1, 7n)
  guest.offer(0, [HEADER, 16 + 512, false], [STATUS, 1, true])
  guest.ram.setUint8(HEADER + 16, 0x11)
  guest.write(0x50, 0)
  assert.is(guest.disk.bytes[7 * 512], 0x11)
  assert.is(guest.usedLen(0), 1)
  assert.equal(guest.counters, { ...QUIET, writesCompleted: 1, bytesWritten: 512 })
})

test('faults: each answers IOERR, 0 for data-in and 1 without', () => {
  const cases: [string, number, bigint, number, boolean, number][] = [
    ['past the end', 0, 8n, 512, true, 0],
    ['sector times 512 wraps', 1, 1n << 55n, 512, false, 1],
    ['not whole sectors', 0, 0n, 513, true, 0],
    ['wrong direction', 1, 0n, 512, true, 0],
    ['more than sizeMax', 0, 0n, 4097, true, 0],
    ['no data', 0, 0n, 0, true, 1],
    ['flush with data', 4, 0n, 512, false, 1],
    ['small id buffer', 8, 0n, 19, true, 0],
  ]
  for (const [name, type, sector, bytes, writable, usedLen] of cases) {
    const guest = new Guest()
    guest.request(type, sector, bytes, writable)
    assert.is(guest.status, 1, name)
    assert.is(guest.usedLen(0), usedLen, name)
    assert.equal(guest.counters, { ...QUIET, ioErrors: 1 }, name)
  }
})

test('unknown type: UNSUPP, whatever the direction of its data', () => {
  const guest = new Guest()
  guest.request(0x80000001, 0n, 512, false)
  assert.is(guest.status, 2)
  assert.is(guest.usedLen(0), 1)
  assert.equal(guest.counters, { ...QUIET, unsupported: 1 })
})

test('GET_ID: 20 bytes -> used length 21, larger buffer -> 20 and the rest untouched', () => {
  for (const [bytes, usedLen] of [
    [20, 21],
    [64, 20],
  ] as const) {
    const guest = new Guest()
    guest.ram.setUint8(DATA + 19, 0xee)
    guest.ram.setUint8(DATA + 20, 0xee)
    guest.request(8, 0n, bytes, true)
    assert.is(new TextDecoder().decode(guest.ram.buffer.slice(DATA, DATA + 6)), 'disk0\0')
    assert.is(guest.ram.getUint8(DATA + 19), 0)
    assert.is(guest.ram.getUint8(DATA + 20), 0xee)
    assert.is(guest.usedLen(0), usedLen)
    assert.equal(guest.counters, { ...QUIET, idsCompleted: 1 })
  }
})

test('short back end: zeros and one shortRead', () => {
  const guest = new Guest()
  guest.device.setCapacity(16 * 512)
  guest.ram.setUint8(DATA + 512, 0xee)
  guest.request(0, 7n, 1024, true)
  assert.is(guest.ram.getUint8(DATA + 511), 0xab)
  assert.is(guest.ram.getUint8(DATA + 512), 0)
  assert.is(guest.usedLen(0), 1025)
  assert.equal(guest.counters, { ...QUIET, interrupts: 2, readsCompleted: 1, bytesRead: 512, shortReads: 1 })
  assert.is(guest.device.mmioRead(0xfc, 4), 2)
  assert.is(guest.device.mmioRead(0x100, 4), 16)
})

test('ring faults: poison, earlier requests published, nothing more until reset', () => {
  const guest = new Guest()
  guest.header(4, 0n)
  guest.offer(0, [HEADER, 16, false], [STATUS, 1, true])
  guest.offer(2, [HEADER, 16, false])
  guest.write(0x50, 0)
  assert.is(guest.usedIdx, 1)
  assert.is(guest.device.mmioRead(0x70, 4), 0x4f)
  assert.is(guest.device.mmioRead(0x60, 4), 3)
  const before = { ...QUIET, interrupts: 2, ringFaults: 1, statusWriteFailures: 1, flushesCompleted: 1 }
  assert.equal(guest.counters, before)
  guest.write(0x50, 0)
  assert.equal(guest.counters, { ...before, ignoredKicks: 1 })
})

test('avail.idx: size ahead is fine, one more is not', () => {
  const guest = new Guest()
  guest.ram.setUint16(AVAIL + 2, SIZE + 1, true)
  guest.write(0x50, 0)
  assert.equal(guest.counters, { ...QUIET, invalidAvailIdx: 1 })
})

test('EVENT_IDX: an interrupt only when used_event is passed, avail_event follows', () => {
  const guest = new Guest({}, (1 << 29) | (1 << 9))
  guest.ram.setUint16(AVAIL + 4 + 2 * SIZE, 1, true)
  guest.request(4, 0n, 0, false)
  assert.is(guest.counters.suppressedInterrupts, 1)
  assert.is(guest.device.mmioRead(0x60, 4), 1)
  guest.request(4, 0n, 0, false)
  assert.is(guest.counters.interrupts, 1)
  assert.is(guest.ram.getUint16(USED + 4 + 8 * SIZE, true), 2)
})

test('NO_INTERRUPT: honoured without EVENT_IDX', () => {
  const guest = new Guest()
  guest.ram.setUint16(AVAIL, 1, true)
  guest.request(4, 0n, 0, false)
  assert.is(guest.counters.interrupts, undefined)
  assert.is(guest.counters.suppressedInterrupts, 1)
})

test('throttle: a stall keeps the chain, kicks wait, a poll in time serves it', () => {
  const guest = new Guest({ throttle: { iops: 2 } })
  for (let i = 0; i < 3; i++) guest.request(4, 0n, 0, false)
  assert.is(guest.usedIdx, 2)
  assert.is(guest.counters.currentlyThrottled, 1)
  guest.now = SECOND / 4
  guest.write(0x50, 0)
  assert.is(guest.counters.throttledCount, 1)
  assert.equal(guest.device.poll(), { stalledNanos: SECOND / 4 })
  guest.now = SECOND / 2
  assert.is(guest.device.poll(), 'idle')
  assert.is(guest.usedIdx, 3)
  assert.is(guest.counters.throttledNanos, SECOND / 2)
  assert.is(guest.counters.currentlyThrottled, undefined)
})

test('bucket: the reference answers, and no tokens lost to polling', () => {
  const debt = new Bucket(100, 100, 0)
  assert.is(debt.wait(150n, 0), 0n)
  debt.take(150n)
  assert.is(debt.balance, -50n)
  assert.is(debt.wait(150n, 0), 500_000_000n)
  assert.is(debt.wait(10n, 0), 600_000_000n)
  const polled = new Bucket(3, 3, 0)
  let granted = 0
  for (let now = 0; now <= 60 * SECOND; now += 7_777_777) {
    if (polled.wait(1n, now) > 0n) continue
    polled.take(1n)
    granted += 1
  }
  assert.is(granted, 3 + 60 * 3 - 1)
  const huge = new Bucket(2 ** 63, 2 ** 63, 0)
  huge.take(2n ** 63n)
  assert.is(huge.wait(2n ** 63n, 1), 999_999_999n)
})

test('status machine: one bit at a time, no bit cleared, FAILED from anywhere', () => {
  const guest = new Guest()
  const status = (value: number): number => {
    guest.write(0x70, value)
    return guest.device.mmioRead(0x70, 4)
  }
  assert.equal([0, 2, 3, 1, 0x11, 3, 0x0f, 0x0b].map(status), [0, 0, 0, 1, 1, 3, 3, 3])
  guest.write(0x24, 1)
  guest.write(0x20, 1)
  assert.equal([0x0b, 0x4b, 0x8b, 0x8f, 0].map(status), [0x0b, 0x0b, 0x8b, 0x8b, 0])
})

test.run()
