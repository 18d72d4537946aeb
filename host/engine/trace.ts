// Loads the trace flavour of the engine, which tells a listener of every load and store of guest RAM, right after it
// was made, and of every decision on a chain (TRACE_* in abi.ts). The listener runs in the middle of an engine call:
// it may look at the state block and at guest RAM, and change guest RAM before the next load, but must not call the
// engine. Same source as the other flavours, several times slower. Portable.

import traceShared from '../../build/engine.trace.shared.wasm'
import trace from '../../build/engine.trace.wasm'
import type { EngineExports } from './engine.ts'

/** `at`, `low` and `high` arrive as signed 32-bit numbers: apply `>>> 0` where the top bit can be set. */
export type TraceListener = (event: number, at: number, low: number, high: number) => void

const modules = new Map<Uint8Array<ArrayBuffer>, WebAssembly.Module>()

/** An instance of its own over the memory, with one listener for all devices that use it. */
export function loadTraceEngine(memory: WebAssembly.Memory, listener: TraceListener): EngineExports {
  const bytes = memory.buffer instanceof ArrayBuffer ? trace : traceShared
  let module = modules.get(bytes)
  if (module === undefined) {
    module = new WebAssembly.Module(bytes)
    modules.set(bytes, module)
  }
  return new WebAssembly.Instance(module, { env: { memory }, trace: { trace: listener } })
    .exports as unknown as EngineExports
}
