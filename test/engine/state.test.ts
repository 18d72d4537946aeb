// The host's view on the state block against the block itself: what the accessors write and read lies where abi.ts
// says, and the engine of every flavour understands it. Sentinels go in at the offsets of abi.ts, names are derived
// here and not taken from the table under test.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_QUEUE_SIZE_MAX } from '../../assembly/spec.ts'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { checkAbi, type EngineExports, loadEngine } from '../../host/engine/engine.ts'
import { type Counters, EngineState, type StateConfig } from '../../host/engine/state.ts'
import { flavours } from '../support/engines.ts'

const test = suite('engine state')

const NUMBERS: Record<string, number> = { ...abi }
const PTR = 65_536 - 64

/** The contract's names, typed in by hand. */
const COUNTER_NAMES = [
  ...['readsCompleted', 'bytesRead', 'writesCompleted', 'bytesWritten', 'flushesCompleted', 'idsCompleted'],
  ...['discardsCompleted', 'writeZeroesCompleted', 'unsupported', 'ioErrors', 'shortReads', 'throttledCount'],
  ...['throttledNanos', 'currentlyThrottled', 'invalidAvailIdx', 'ringFaults', 'statusWriteFailures', 'kicks'],
  ...['ignoredKicks', 'drains', 'interrupts', 'suppressedInterrupts', 'resets', 'engineTraps'],
] as const satisfies readonly (keyof Counters)[]

/** 'bytesRead' -> COUNTER_BYTES_READ */
function counterIndex(name: string): number {
  const constant = `COUNTER_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
  const index = NUMBERS[constant]
  if (index === undefined) throw new Error(`abi.ts has no ${constant}`)
  return index
}

function block(): { memory: WebAssembly.Memory; view: DataView; state: EngineState } {
  const memory = new WebAssembly.Memory({ initial: 8 })
  return { memory, view: new DataView(memory.buffer, PTR), state: new EngineState(memory, PTR) }
}

const CONFIG: StateConfig = {
  deviceFeatures: 0x1_2000_0246n,
  capacitySectors: 2 ** 33 + 5,
  queues: 3,
  queueSizeMax: 64,
  segMax: 33,
  sizeMax: 0x12345,
  blockSize: 4096,
  readOnly: false,
  serial: new TextEncoder().encode('twenty bytes, no NUL'),
  regions: [
    { gpa: 0, bytes: 0x2000, ptr: 0x20_0000 },
    { gpa: 0x1_2345_6000, bytes: 0x1000, ptr: 0x21_0000 },
  ],
}

test('counters: a sentinel at each offset of abi.ts -> read under its own name, and no other name', () => {
  const { view, state } = block()
  COUNTER_NAMES.forEach((name, i) => {
    view.setBigUint64(abi.STATE_COUNTERS + 8 * counterIndex(name), BigInt(1000 + i), true)
  })
  const expected = Object.fromEntries(COUNTER_NAMES.map((name, i) => [name, 1000 + i]))
  assert.equal(state.readCounters(), expected)
  assert.is(COUNTER_NAMES.length, abi.COUNTERS)
})

test('counters: above 32 bits -> whole up to 2^53', () => {
  const { view, state } = block()
  view.setBigUint64(abi.STATE_COUNTERS + 8 * abi.COUNTER_BYTES_READ, 2n ** 53n - 1n, true)
  assert.is(state.readCounters().bytesRead, 2 ** 53 - 1)
})

for (const flavour of flavours) {
  test(`counters: a device of this flavour -> shows the sentinels, one by one [${flavour.name}]`, async () => {
    const inner = flavour.memory({ ramBytes: 1 << 20, stateBytes: 1 << 20 })
    let ptr = 0
    const memory = GuestMemory.adopt({
      memory: inner.memory,
      regions: inner.regions,
      allocate: (bytes) => {
        ptr = inner.allocate(bytes)
        return ptr
      },
    })
    const { engine } = flavour
    const disk = await VirtioBlk.create({ memory, backend: new MemoryBackend(512), engine, clock: () => 0 })
    const zero = Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0]))
    assert.equal(disk.counters, zero)
    COUNTER_NAMES.forEach((name, i) => {
      const view = new DataView(memory.memory.buffer, ptr + abi.STATE_COUNTERS + 8 * counterIndex(name))
      view.setBigUint64(0, BigInt(i + 1), true)
      assert.equal(disk.counters, { ...zero, [name]: i + 1 })
      view.setBigUint64(0, 0n, true)
    })
  })

  test(`configuration record: init() takes it, and serves its values [${flavour.name}]`, async () => {
    const memory = flavour.memory({ ramBytes: 1 << 20, stateBytes: 4 << 20 })
    const engine = checkAbi(await flavour.engine(memory.memory))
    const ptr = memory.allocate(engine.stateBytes(CONFIG.queues, CONFIG.queueSizeMax, CONFIG.segMax, 2))
    new EngineState(memory.memory, ptr).writeConfig(CONFIG)
    assert.is(engine.init(ptr), 0)
    const config = (offset: number): number => engine.mmioRead(ptr, VIRTIO_MMIO_CONFIG + offset, 4) >>> 0
    assert.equal([config(0), config(4), config(8), config(12), config(20)], [5, 2, 0x12345, 33, 4096])
    assert.is(engine.mmioRead(ptr, VIRTIO_MMIO_QUEUE_SIZE_MAX, 4), 64)
  })

  test(`configuration record: one field wrong -> init() says which [${flavour.name}]`, async () => {
    const memory = flavour.memory({ ramBytes: 1 << 20, stateBytes: 16 << 20 })
    const engine = await flavour.engine(memory.memory)
    const region = { gpa: 0, bytes: 4096, ptr: 4096 }
    const wrong: [Partial<StateConfig>, number][] = [
      [{ queues: 0 }, abi.INIT_BAD_QUEUES],
      [{ queues: abi.QUEUES_MAX + 1 }, abi.INIT_BAD_QUEUES],
      [{ queueSizeMax: 0 }, abi.INIT_BAD_QUEUE_SIZE_MAX],
      [{ queueSizeMax: 48 }, abi.INIT_BAD_QUEUE_SIZE_MAX],
      [{ queueSizeMax: 65_536 }, abi.INIT_BAD_QUEUE_SIZE_MAX],
      [{ segMax: 0 }, abi.INIT_BAD_SEG_MAX],
      [{ segMax: 63 }, abi.INIT_BAD_SEG_MAX],
      [{ segMax: 0xffff_ffff }, abi.INIT_BAD_SEG_MAX],
      [{ sizeMax: 0 }, abi.INIT_BAD_SIZE_MAX],
      [{ blockSize: 256 }, abi.INIT_BAD_BLOCK_SIZE],
      [{ blockSize: 1536 }, abi.INIT_BAD_BLOCK_SIZE],
      [{ deviceFeatures: 0x2000_0246n }, abi.INIT_BAD_FEATURES],
      [{ deviceFeatures: 0x1_2000_0266n }, abi.INIT_BAD_FEATURES],
      [{ readOnly: true }, abi.INIT_BAD_FEATURES],
      [{ deviceFeatures: 0x8000_0001_2000_0246n }, abi.INIT_BAD_FEATURES],
      [{ regions: [] }, abi.INIT_BAD_REGIONS],
      [{ regions: new Array(abi.REGIONS_MAX + 1).fill(region) }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, ptr: 0 }] }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, bytes: 0 }] }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, bytes: 4095 }] }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, gpa: 512 }] }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, ptr: 4100 }] }, abi.INIT_BAD_REGIONS],
      [{ regions: [{ ...region, bytes: 2 ** 32 }] }, abi.INIT_BAD_REGIONS],
    ]
    for (const [change, code] of wrong) {
      const ptr = memory.allocate(engine.stateBytes(3, 64, 33, 2))
      new EngineState(memory.memory, ptr).writeConfig({ ...CONFIG, ...change })
      const about = JSON.stringify(change, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))
      assert.is(engine.init(ptr), code, about)
    }
  })

  test(`stateBytes: what no memory holds or the limits forbid -> 0 [${flavour.name}]`, async () => {
    const engine = await flavour.engine(flavour.memory({ ramBytes: 4096, stateBytes: 0 }).memory)
    assert.is(engine.stateBytes(abi.QUEUES_MAX, 32_768, 32_766, abi.REGIONS_MAX), 0)
    assert.is(engine.stateBytes(abi.QUEUES_MAX + 1, 16, 14, 1), 0)
    assert.is(engine.stateBytes(1, 65_536, 14, 1), 0)
    assert.is(engine.stateBytes(1, 16, 65_536, 1), 0)
    assert.is(engine.stateBytes(1, 16, 14, abi.REGIONS_MAX + 1), 0)
    const one = engine.stateBytes(1, 256, 128, 1)
    assert.ok(one > abi.STATE_QUEUE_TABLE && one < 1 << 20, `${one}`)
    assert.ok(engine.stateBytes(2, 256, 128, 1) > one && engine.stateBytes(1, 256, 128, 2) > one)
  })
}

test('configuration record: written -> each field at its offset, nothing else', () => {
  const { memory, view, state } = block()
  state.writeConfig(CONFIG)
  assert.is(view.getBigUint64(abi.STATE_DEVICE_FEATURES, true), CONFIG.deviceFeatures)
  assert.is(view.getBigUint64(abi.STATE_CAPACITY_SECTORS, true), 2n ** 33n + 5n)
  const words = ['QUEUES', 'QUEUE_SIZE_MAX', 'SEG_MAX', 'SIZE_MAX', 'BLOCK_SIZE', 'READ_ONLY', 'REGIONS']
  assert.equal(
    words.map((name) => view.getUint32(NUMBERS[`STATE_${name}`] ?? -1, true)),
    [3, 64, 33, 0x12345, 4096, 0, 2],
  )
  assert.equal(new Uint8Array(memory.buffer, PTR + abi.STATE_SERIAL, 20), CONFIG.serial)
  const second = abi.STATE_REGION_TABLE + abi.REGION_BYTES
  assert.is(view.getBigUint64(second + abi.REGION_GPA, true), 0x1_2345_6000n)
  assert.is(view.getBigUint64(second + abi.REGION_SIZE, true), 0x1000n)
  assert.is(view.getUint32(second + abi.REGION_PTR, true), 0x21_0000)
  const bytes = new Uint8Array(memory.buffer)
  assert.ok(bytes.subarray(0, PTR).every((byte) => byte === 0))
  assert.ok(bytes.subarray(PTR, PTR + abi.STATE_DEVICE_FEATURES).every((byte) => byte === 0))
  assert.ok(bytes.subarray(PTR + abi.STATE_QUEUE_TABLE).every((byte) => byte === 0))
  state.writeConfig({ ...CONFIG, readOnly: true })
  assert.is(view.getUint32(abi.STATE_READ_ONLY, true), 1)
})

test('throttle record: written -> four u64s in their order', () => {
  const { view, state } = block()
  state.writeThrottle({ opsRate: 1n, opsCapacity: 2n ** 63n, bytesRate: 3n, bytesCapacity: 2n ** 62n + 1n })
  const at = (i: number): bigint => view.getBigUint64(abi.STATE_THROTTLE_CONFIG + 8 * i, true)
  assert.equal([at(0), at(1), at(2), at(3)], [1n, 2n ** 63n, 3n, 2n ** 62n + 1n])
})

test('queue fields, stall and fault: read where abi.ts says', () => {
  const { view, state } = block()
  const queue = abi.STATE_QUEUE_TABLE + 2 * abi.QUEUE_BYTES
  view.setUint32(queue + abi.QUEUE_RECORDS, 0xfedc_ba98, true)
  view.setFloat64(queue + abi.QUEUE_STALL_NANOS, 123_456_789.5, true)
  view.setInt32(abi.STATE_FAULT, abi.RING_FAULT_LOOP, true)
  assert.is(state.queueWord(2, abi.QUEUE_RECORDS), 0xfedc_ba98)
  assert.is(state.queueWord(1, abi.QUEUE_RECORDS), 0)
  assert.is(state.stallNanos(2), 123_456_789.5)
  assert.is(state.fault, abi.RING_FAULT_LOOP)
})

test('words: the memory grows -> the view is on the new buffer', () => {
  const { memory, state } = block()
  const before = state.words
  memory.grow(1)
  assert.is(before.length, 0)
  assert.is(state.words.length, (9 * 65_536) / 4)
})

test('ABI version: another one -> refused with both numbers, before anything is allocated', async () => {
  const engine = await loadEngine(new WebAssembly.Memory({ initial: 1 }))
  assert.is(checkAbi(engine), engine)
  const foreign: EngineExports = { ...engine, abiVersion: () => abi.ABI_VERSION + 41 }
  const both = new RegExp(`\\b${abi.ABI_VERSION + 41}\\b.*\\b${abi.ABI_VERSION}\\b`)
  assert.throws(() => checkAbi(foreign), both)
  const inner = GuestMemory.create({ ramBytes: 4096 })
  let allocations = 0
  const allocate = (bytes: number): number => {
    allocations++
    return inner.allocate(bytes)
  }
  const memory = GuestMemory.adopt({ memory: inner.memory, regions: inner.regions, allocate })
  const made = VirtioBlk.create({ memory, backend: new MemoryBackend(512), engine: () => foreign })
  const message = await made.then(
    () => 'accepted',
    (error: Error) => error.message,
  )
  assert.match(message, both)
  assert.is(allocations, 0)
})

test.run()
