// The engine's exports where no driver can look: sizes of the state block, outcomes of calls that a host must not make,
// and the ends of plan() that a drain of a whole ring never shows.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import type { EngineExports } from '../../host/engine/engine.ts'
import { EngineState } from '../../host/engine/state.ts'
import { BenchGuest, LAYOUTS, type Layout } from '../bench/guest.ts'
import { type Flavour, flavours } from '../support/engines.ts'

const test = suite('engine exports')

const RAM_BYTES = 16 << 20

interface Rig {
  engine: EngineExports
  memory: GuestMemory
  state: EngineState
  bytes: number
}

async function rig(
  flavour: Flavour,
  queues: number,
  queueSizeMax: number,
  segMax: number,
  regions: number,
): Promise<Rig> {
  const pieces = Array.from({ length: regions }, (_, i) => ({ gpa: i * RAM_BYTES, bytes: RAM_BYTES }))
  const memory = flavour.memory({ regions: pieces })
  const engine = await flavour.engine(memory.memory)
  const bytes = engine.stateBytes(queues, queueSizeMax, segMax, regions)
  const state = new EngineState(memory.memory, memory.allocate(bytes))
  state.writeConfig({
    deviceFeatures: 0x1_2000_0246n,
    capacitySectors: 1 << 21,
    queues,
    queueSizeMax,
    segMax,
    sizeMax: 1 << 20,
    blockSize: 512,
    readOnly: false,
    serial: new Uint8Array(0),
    regions: memory.regions,
  })
  assert.is(engine.init(state.ptr), 0)
  return { engine, memory, state, bytes }
}

for (const flavour of flavours) {
  test(`stateBytes: any shape -> the arrays of all queues end where the block ends [${flavour.name}]`, async () => {
    for (const [queues, size, segMax, regions] of [
      [1, 4, 1, 1],
      [1, 256, 128, 1],
      [2, 16, 14, 3],
      [5, 64, 30, 8],
      [64, 8, 6, 2],
    ] as const) {
      const { state, bytes } = await rig(flavour, queues, size, segMax, regions)
      let end = 0
      for (let queue = 0; queue < queues; queue++) {
        const heads = state.queueWord(queue, abi.QUEUE_HEADS)
        const planned = state.queueWord(queue, abi.QUEUE_PLANNED)
        const records = state.queueWord(queue, abi.QUEUE_RECORDS)
        assert.ok(heads >= end && planned >= heads + 8 * size && records >= planned + 4 * size)
        const list = state.record(queue, 1) - state.record(queue, 0)
        assert.ok(list >= 56 + 8 * (segMax + 1) * regions, 'a slot holds its record and its longest list')
        end = state.record(queue, size)
      }
      assert.is(end, state.ptr + bytes)
    }
  })

  test(`plan, complete, publish: what a host must not ask -> an outcome, nothing changes [${flavour.name}]`, async () => {
    const { engine, state } = await rig(flavour, 2, 16, 14, 1)
    for (const queue of [0, 1, 2, 64, 0xffff_ffff]) {
      assert.is(engine.plan(state.ptr, queue, 0, 16) >>> 16, 5)
      assert.is(engine.publish(state.ptr, queue), 0)
    }
    for (const slot of [0, 15, 16, 0x10000, 0x20000, 0xffff_ffff]) assert.is(engine.complete(state.ptr, slot, 0), -1)
    assert.is(
      Object.values(state.readCounters()).reduce((sum, count) => sum + count, 0),
      0,
    )
  })

  test(`plan: max below what is offered -> that many and MORE; slots all out -> BUSY [${flavour.name}]`, async () => {
    const layout = LAYOUTS[0] as Layout
    const { engine, memory, state } = await rig(flavour, 1, 256, 128, 1)
    const reset = (): void => {
      const guest = new BenchGuest(memory.view(0, RAM_BYTES), layout)
      memory.view(0x2000, 4).fill(0)
      guest.start((offset, value) => engine.mmioWrite(state.ptr, offset, 4, value))
      guest.refill()
    }
    reset()
    assert.is(engine.plan(state.ptr, 0, 0, 2), 2 | (1 << 16))
    assert.is(engine.plan(state.ptr, 0, 0, 256), 83)
    // Each session leaves 85 requests with a back end that does not come back.
    reset()
    assert.is(engine.plan(state.ptr, 0, 0, 256), 85)
    reset()
    assert.is(engine.plan(state.ptr, 0, 0, 256), 85)
    reset()
    assert.is(engine.plan(state.ptr, 0, 0, 256), 1 | (4 << 16))
    assert.is(engine.complete(state.ptr, 0, 4096), 2, 'a request of a session that is over only frees its slot')
    assert.is(engine.plan(state.ptr, 0, 0, 256), 1 | (4 << 16))
  })

  test(`device rule 7: two traps before a reset -> one interrupt [${flavour.name}]`, async () => {
    const { engine, state } = await rig(flavour, 1, 16, 14, 1)
    assert.is(engine.fail(state.ptr, 1), 8)
    assert.is(engine.fail(state.ptr, 1), 0)
    const { interrupts, engineTraps } = state.readCounters()
    assert.is(interrupts, 1)
    assert.is(engineTraps, 2)
  })

  test(`device rule 7: a worker that dies -> seen by the driver, who is interrupted once it is up [${flavour.name}]`, async () => {
    const { engine, state } = await rig(flavour, 1, 16, 14, 1)
    const word = (offset: number): number => engine.mmioRead(state.ptr, offset, 4) >>> 0
    assert.is(engine.fail(state.ptr, 2), 0)
    assert.equal([word(0x70), word(0x60), state.readCounters().interrupts], [0x40, 0, 0])
    engine.mmioWrite(state.ptr, 0x70, 4, 0)
    const write = (offset: number, value: number): unknown => engine.mmioWrite(state.ptr, offset, 4, value)
    for (const status of [1, 3]) write(0x70, status)
    write(0x24, 1)
    write(0x20, 1)
    for (const status of [0x0b, 0x0f]) write(0x70, status)
    assert.is(engine.fail(state.ptr, 2), 8)
    assert.is(engine.fail(state.ptr, 2), 0)
    assert.equal([word(0x70), word(0x60), state.readCounters().interrupts], [0x4f, 2, 1])
  })

  test(`device rule 26: thaw of a block that says nothing or what cannot be -> 0, or the queue's name [${flavour.name}]`, async () => {
    const { engine, memory, state } = await rig(flavour, 2, 16, 14, 1)
    const before = memory.view(0, RAM_BYTES).slice()
    assert.is(engine.thaw(state.ptr, 5), 0)
    const view = new DataView(memory.memory.buffer, state.ptr + abi.STATE_QUEUE_TABLE + abi.QUEUE_BYTES)
    view.setUint32(abi.QUEUE_READY, 1, true)
    for (const [size, gpa, result] of [
      [16, 0x1000, 0],
      [16, RAM_BYTES, -2],
      [16, RAM_BYTES - 16, -2],
      [16, 0x1008, -2],
      [0, 0x1000, -2],
      [12, 0x1000, -2],
      [32, 0x1000, -2],
    ] as const) {
      view.setUint32(abi.QUEUE_SIZE, size, true)
      view.setBigUint64(abi.QUEUE_DESC_GPA, BigInt(gpa), true)
      assert.is(engine.thaw(state.ptr, 5), result, `size ${size}, descriptors at ${gpa}`)
    }
    assert.ok(Buffer.compare(memory.view(0, RAM_BYTES), before) === 0, 'guest RAM was touched')
  })
}

test.run()
