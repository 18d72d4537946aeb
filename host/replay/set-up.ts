// A device as a trace configures it: memory with the trace's regions, and a state block with its configuration, ready
// for init(), or with a snapshot, ready for thaw(). The player and whoever records a trace anew both start here.
// Portable.

import { GuestMemory } from '../device/guest-memory.ts'
import { applySnapshot } from '../device/restore.ts'
import { decodeSnapshot, type Snapshot } from '../device/snapshot.ts'
import { type EngineExports, loadEngine } from '../engine/engine.ts'
import { EngineState } from '../engine/state.ts'
import { TraceError } from './bytes.ts'
import type { Observed } from './observe.ts'
import type { InitConfig } from './step.ts'

/** Throws TraceError for a configuration that no engine has room for. */
export function makeMemory(config: InitConfig, shared: boolean): { memory: GuestMemory; ptr: number; bytes: number } {
  const [, , , , queues = 0, queueSizeMax = 0, segMax = 0] = config.words
  const scratch = new WebAssembly.Memory({ initial: 1 })
  const sizes = loadEngine(scratch) as EngineExports
  const bytes = sizes.stateBytes(queues, queueSizeMax, segMax, config.regions.length) >>> 0
  if (bytes === 0) throw new TraceError('step 0: no engine has room for the queues that the trace says')
  try {
    const memory = GuestMemory.create({ regions: config.regions, stateBytes: bytes + 64, shared })
    return { memory, ptr: memory.allocate(bytes), bytes }
  } catch (error) {
    throw new TraceError(`step 0: the trace's guest RAM cannot be made: ${(error as Error).message}`)
  }
}

export function writeConfig(config: InitConfig, memory: GuestMemory, ptr: number): void {
  const [featuresLow = 0, featuresHigh = 0, capacityLow = 0, capacityHigh = 0, ...rest] = config.words
  const [queues = 0, queueSizeMax = 0, segMax = 0, sizeMax = 0, blockSize = 0, readOnly = 0] = rest
  new EngineState(memory.memory, ptr).writeConfig({
    deviceFeatures: (BigInt(featuresHigh) << 32n) | BigInt(featuresLow),
    capacitySectors: capacityHigh * 2 ** 32 + capacityLow,
    queues,
    queueSizeMax,
    segMax,
    sizeMax,
    blockSize,
    readOnly: readOnly !== 0,
    serial: config.serial,
    regions: memory.regions,
  })
}

/** thaw() is given a state that the host has filled. */
export function writeSnapshot(bytes: Uint8Array, config: InitConfig, observed: Observed): void {
  let snapshot: Snapshot
  try {
    snapshot = decodeSnapshot(bytes)
  } catch (error) {
    throw new TraceError(`a snapshot that cannot be restored: ${(error as Error).message}`)
  }
  const { queues, queueSizeMax } = snapshot.info
  if (queues !== config.words[4] || queueSizeMax !== config.words[5]) {
    throw new TraceError('a snapshot of another device than the one that step 0 makes')
  }
  applySnapshot(new EngineState(observed.memory, observed.ptr), snapshot)
}
