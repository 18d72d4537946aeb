// Loads a flavour of the engine and types its exports; the meaning of every call is in assembly/index.ts. One
// instance per memory serves any number of devices: all state is behind the pointer that each call takes first.
// Portable.

import { ABI_VERSION } from '../../assembly/abi.ts'
import shared from '../../build/engine.shared.wasm'
import release from '../../build/engine.wasm'

/** u32 results arrive signed: apply `>>> 0` where the top bit can be set. */
export interface EngineExports {
  abiVersion(): number
  stateBytes(queues: number, queueSizeMax: number, segMax: number, regions: number): number
  init(state: number): number
  mmioRead(state: number, offset: number, width: number): number
  mmioWrite(state: number, offset: number, width: number, value: number): number
  plan(state: number, queue: number, nowNanos: number, max: number): number
  complete(state: number, slot: number, result: number): number
  publish(state: number, queue: number): number
  setCapacity(state: number, sectorsLow: number, sectorsHigh: number): number
  setThrottle(state: number, nowNanos: number): void
  fail(state: number, cause: number): number
  kicked(state: number, queue: number, kicks: number): number
  thaw(state: number, nowNanos: number): number
}

/** Makes an engine over a memory: the hook through which tests run other flavours. */
export type EngineLoader = (memory: WebAssembly.Memory) => EngineExports | Promise<EngineExports>

const modules = new Map<Uint8Array<ArrayBuffer>, WebAssembly.Module>()
const engines = new WeakMap<WebAssembly.Memory, EngineExports>()

/**
 * The flavour that links to the memory: `shared` for a shared one, `release` otherwise. One instance per memory.
 * Compiled on the calling thread on purpose: it takes a millisecond, and Node 20 can wait for ever when compiling in
 * the background is all that keeps its event loop busy (its main thread waits for the compiler, a compiler thread for
 * the garbage collection that only the main thread can do).
 */
export const loadEngine: EngineLoader = (memory) => {
  let engine = engines.get(memory)
  if (engine === undefined) {
    const bytes = memory.buffer instanceof ArrayBuffer ? release : shared
    let module = modules.get(bytes)
    if (module === undefined) {
      module = new WebAssembly.Module(bytes)
      modules.set(bytes, module)
    }
    engine = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as EngineExports
    engines.set(memory, engine)
  }
  return engine
}

/** Refuses an engine built for another state block. */
export function checkAbi(engine: EngineExports): EngineExports {
  const version = engine.abiVersion()
  if (version !== ABI_VERSION) {
    throw new Error(`the engine speaks ABI version ${version}, this host speaks ${ABI_VERSION}: rebuild both together`)
  }
  return engine
}
