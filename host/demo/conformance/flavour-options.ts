// How the kit and the player are told to use a flavour of the engine. For the worker: the page itself loads no engine.

import type { OwnOptions } from '../../conformance/own-target.ts'
import { GuestMemory } from '../../device/guest-memory.ts'
import { type EngineExports, type EngineLoader, loadEngine } from '../../engine/engine.ts'
import { loadTraceEngine } from '../../engine/trace.ts'
import type { PlayOptions } from '../../replay/player.ts'
import { type Flavour, isShared, isTrace } from './flavours.ts'

/** Told of everything, it keeps nothing: the flavour is what is under test. */
const loadDeafTrace: EngineLoader = (memory) => loadTraceEngine(memory, () => {})

/** Our device on the flavour; `engine`: another maker of the same flavour, a recorder's. */
export function ownOptions(flavour: Flavour, engine?: EngineLoader): OwnOptions {
  return {
    engine: engine ?? (isTrace(flavour) ? loadDeafTrace : loadEngine),
    memory: (options) => GuestMemory.create({ ...options, shared: isShared(flavour) }),
  }
}

/** The trace flavours are compared access by access, the others call by call. */
export function playOptions(flavour: Flavour): PlayOptions {
  const shared = isShared(flavour)
  return isTrace(flavour) ? { shared } : { shared, engine: (memory) => loadEngine(memory) as EngineExports }
}
