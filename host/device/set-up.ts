// From options to a device in its reset state: checks them, loads the engine, allocates and fills the state block.
// The same for a device that is served inline and for one that a worker thread serves. Portable.

import { checkAbi, type EngineExports, loadEngine } from '../engine/engine.ts'
import { EngineState } from '../engine/state.ts'
import type { GuestMemory } from './guest-memory.ts'
import { stateConfig, type VirtioBlkOptions } from './options.ts'
import { applySnapshot } from './restore.ts'
import type { Snapshot } from './snapshot.ts'
import { throttleRecord } from './throttle.ts'

export interface Device {
  readonly engine: EngineExports
  readonly state: EngineState
  readonly memory: GuestMemory
  readonly queues: number
  readonly queueSizeMax: number
}

/**
 * Throws RangeError or TypeError naming the option that is wrong, before anything is allocated. With a snapshot that
 * was checked against these options the device is as it was then, but for a new capacity, which it is told of (rules
 * 26 and 27).
 */
export async function setUp(options: VirtioBlkOptions, clock: () => number, snapshot?: Snapshot): Promise<Device> {
  const config = stateConfig(options)
  const throttle = throttleRecord(options.throttle)
  const { memory } = options
  const engine = checkAbi(await (options.engine ?? loadEngine)(memory.memory))
  const bytes = engine.stateBytes(config.queues, config.queueSizeMax, config.segMax, config.regions.length) >>> 0
  if (bytes === 0) throw new RangeError('VirtioBlk: queues x queueSizeMax x segMax need more state than 4 GiB')
  const state = new EngineState(memory.memory, memory.allocate(bytes))
  state.writeConfig(config)
  state.writeThrottle(throttle)
  const refused = engine.init(state.ptr)
  if (refused !== 0) throw new Error(`VirtioBlk: the engine refuses its configuration (${refused})`)
  const now = clock()
  engine.setThrottle(state.ptr, now)
  if (snapshot !== undefined) {
    applySnapshot(state, snapshot)
    if (engine.thaw(state.ptr, now) !== 0) throw new Error('VirtioBlk: the engine refuses a ring of the snapshot')
    const sectors = config.capacitySectors
    if (snapshot.device.capacitySectors !== BigInt(sectors)) {
      engine.setCapacity(state.ptr, sectors >>> 0, Math.floor(sectors / 2 ** 32))
    }
  }
  return { engine, state, memory, queues: config.queues, queueSizeMax: config.queueSizeMax }
}
