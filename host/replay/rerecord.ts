// Runs a choice of a trace's steps again on this package's engine and records what comes of it: a consistent trace,
// whatever was left out. Of each step only what came in is used: its arguments, and the guest's bytes that it loaded,
// which are in memory before the call. What a request carried is not in a trace; its hash is of the bytes that lie
// there now. Portable.

import * as abi from '../../assembly/abi.ts'
import type { EngineExports } from '../engine/engine.ts'
import { TraceError } from './bytes.ts'
import { Observed } from './observe.ts'
import { storedBytes } from './player.ts'
import { Recorder } from './recorder.ts'
import { makeMemory, writeConfig, writeSnapshot } from './set-up.ts'
import { type InitConfig, isLoad, isStore, type Step, stepBytesMax, type TraceEvent } from './step.ts'
import type { Trace } from './trace.ts'

/** What may come of fewer steps than there were, beyond what came of all. */
const MORE_BYTES = 64 << 20

/** Records again and again over one memory: memories are too large to make many of them. */
export class Rerecorder {
  readonly #config: InitConfig
  readonly #steps: readonly Step[]
  readonly #place: ReturnType<typeof makeMemory>
  readonly #maxBytes: number

  /** Throws TraceError for a trace that has no first step, or none that an engine takes. */
  constructor(trace: Trace) {
    const config = trace.steps[0]?.config
    if (config === undefined) throw new TraceError('the trace has no steps')
    this.#config = config
    this.#steps = trace.steps
    this.#place = makeMemory(config, false)
    this.#maxBytes = MORE_BYTES + 2 * trace.steps.reduce((sum, step) => sum + stepBytesMax(step), 0)
  }

  /** `kept`: numbers of steps, rising. The first step, init, is kept in any case. */
  record(kept: readonly number[]): Trace {
    const { memory, ptr, bytes } = this.#place
    const steps = [0, ...kept.filter((number) => number !== 0)].map((number) => this.#steps[number] as Step)
    let nanos = 0
    const recorder = new Recorder({ clock: () => nanos, maxBytes: this.#maxBytes })
    const engine = recorder.engine(memory.memory) as EngineExports
    new Uint8Array(memory.memory.buffer, ptr, bytes).fill(0)
    const observed = new Observed(memory.memory, ptr)
    for (const step of steps) {
      if (step.config) writeConfig(step.config, memory, ptr)
      if (step.snapshot) writeSnapshot(step.snapshot, this.#config, observed)
      if (step.throttle) observed.writeThrottle(step.throttle)
      nanos = step.nanos
      putLoads(observed, step.events)
      const call = engine[step.call] as (...args: number[]) => number | undefined
      try {
        call(ptr, ...step.args)
      } catch (error) {
        // The recorder has noted the trap.
        if (!(error instanceof WebAssembly.RuntimeError)) throw error
      }
    }
    if (recorder.isFull) throw new TraceError(`${steps.length} of the steps make a trace that is too long`)
    const trace = recorder.trace()
    for (const { events } of [...steps, ...trace.steps]) wipe(observed, events)
    return trace
  }
}

/** What the step loads, as it was before the step stored to it. */
function putLoads(observed: Observed, events: readonly TraceEvent[]): void {
  const known = new Set<number>()
  for (const event of events) {
    if (!isLoad(event.kind) && !isStore(event.kind)) continue
    for (const [i, byte] of storedBytes(event).entries()) {
      const at = event.at + i
      if (isLoad(event.kind) && !known.has(at)) byteAt(observed, at)[0] = byte
      known.add(at)
    }
  }
}

/** Zeros again wherever the step has loaded, or stored anything else. */
function wipe(observed: Observed, events: readonly TraceEvent[]): void {
  for (const event of events) {
    if (event.kind > abi.TRACE_STORE_LAST) continue
    for (let i = 0; i < storedBytes(event).length; i++) byteAt(observed, event.at + i)[0] = 0
  }
}

function byteAt(observed: Observed, gpa: number): Uint8Array {
  const ptr = observed.ptrOf(gpa)
  if (ptr === 0) throw new TraceError(`an access to 0x${gpa.toString(16)}, which is not guest RAM`)
  return observed.bytes(ptr, 1)
}
