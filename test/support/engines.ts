// The engine's flavours, for tests that run against each: release and shared as they are shipped, debug from build/
// with AssemblyScript's own loader, whose abort() prints message, file and line.

import { readFileSync } from 'node:fs'
import { instantiateSync } from '@assemblyscript/loader'
import { type CreateOptions, GuestMemory } from '../../host/device/guest-memory.ts'
import { type EngineExports, type EngineLoader, loadEngine } from '../../host/engine/engine.ts'

export interface Flavour {
  name: 'release' | 'shared' | 'debug'
  engine: EngineLoader
  memory(options: CreateOptions): GuestMemory
}

const debugModule = new WebAssembly.Module(readFileSync('build/engine.debug.wasm'))

const loadDebug: EngineLoader = (memory) => {
  const { exports } = instantiateSync(debugModule, { env: { memory } })
  return exports as unknown as EngineExports
}

export const flavours: readonly Flavour[] = [
  { name: 'release', engine: loadEngine, memory: (options) => GuestMemory.create(options) },
  { name: 'shared', engine: loadEngine, memory: (options) => GuestMemory.create({ ...options, shared: true }) },
  { name: 'debug', engine: loadDebug, memory: (options) => GuestMemory.create(options) },
]
