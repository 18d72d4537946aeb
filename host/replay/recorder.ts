// Records a device while it lives: give `recorder.engine` to it as its engine (inline, v86), or the recorder itself to
// DiskWorker.attach(). Every engine call becomes a step: what came in (arguments, time, the back end's results, the
// guest's bytes as they were loaded) and what went out (stores, requests, results, counters). Payload is hashed. A
// device is recorded from its first call on. Portable.

import * as abi from '../../assembly/abi.ts'
import { captureSnapshot } from '../device/restore.ts'
import type { EngineExports, EngineLoader } from '../engine/engine.ts'
import { EngineState } from '../engine/state.ts'
import { loadTraceEngine } from '../engine/trace.ts'
import { ByteWriter } from './bytes.ts'
import { xxHash32 } from './digest.ts'
import { Log } from './log.ts'
import { Observed } from './observe.ts'
import { ARGUMENTS, type Call, type Step, stepBytesMax, type TraceEvent, WIDTHS, writeStep } from './step.ts'
import { readSteps, Trace } from './trace.ts'

export interface RecorderOptions {
  /** 'hash' (default): of each request's data only its xxHash32 is kept; 'bytes': all of it */
  readonly payload?: 'hash' | 'bytes'
  /** for a device that several threads serve (DiskWorker). Default false. */
  readonly shared?: boolean
  /** what the steps may take in memory, default 1 GiB; the recording ends there, and the device goes on */
  readonly maxBytes?: number
  /** time in ns that is noted with each step. Default: since the start of the recording. */
  readonly clock?: () => number
  /**
   * Told of each step right after it was recorded, while the device's call is still under way: it must not call the
   * device, and may not throw. Only of steps that `engine` makes, not of those of other threads.
   */
  readonly onStep?: StepListener
}

/** `number` is that of the step in the trace, from 0. */
export type StepListener = (number: number, step: Step) => void

/** What another thread needs to take part; it can be posted to one. */
export interface RecorderHandle {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly payload: 'hash' | 'bytes'
  /** when the recording began, in ms of the wall clock, which all threads share */
  readonly start: number
}

const wallMs = (): number => performance.timeOrigin + performance.now()

export class Recorder {
  readonly handle: RecorderHandle
  /** the `engine` option of a device on this thread */
  readonly engine: EngineLoader
  readonly #log: Log

  constructor(options: RecorderOptions = {}) {
    const { payload = 'hash', shared = false, maxBytes = 1 << 30, clock, onStep } = options
    this.#log = Log.create(shared, maxBytes)
    this.handle = { buffer: this.#log.buffer, payload, start: wallMs() }
    this.engine = (memory) => recordingEngine(memory, this.handle, clock, onStep)
  }

  /** Engines on several threads can take part. */
  get isShared(): boolean {
    return !(this.handle.buffer instanceof ArrayBuffer)
  }

  get steps(): number {
    return this.#log.stepCount
  }

  /** What the steps take in memory so far. */
  get bytes(): number {
    return this.#log.stepBytes
  }

  /** The recording has ended before its time: it has reached `maxBytes`. */
  get isFull(): boolean {
    return this.#log.isFull
  }

  /** What was recorded so far. The recording goes on. */
  trace(): Trace {
    return new Trace(readSteps(this.#log.hold(() => this.#log.steps())))
  }
}

/** The trace flavour over a memory, with every call of the recorded device written to the log. */
export function recordingEngine(
  memory: WebAssembly.Memory,
  handle: RecorderHandle,
  clock: () => number = () => Math.round((wallMs() - handle.start) * 1e6),
  onStep: StepListener = () => {},
): EngineExports {
  const recording = new Recording(memory, new Log(handle.buffer), handle.payload, clock, onStep)
  return recording.exports
}

class Recording {
  readonly exports: EngineExports
  readonly #memory: WebAssembly.Memory
  readonly #log: Log
  readonly #payload: 'hash' | 'bytes'
  readonly #clock: () => number
  readonly #onStep: StepListener
  #events: TraceEvent[] = []
  #observed: Observed | undefined

  constructor(
    memory: WebAssembly.Memory,
    log: Log,
    payload: 'hash' | 'bytes',
    clock: () => number,
    onStep: StepListener,
  ) {
    this.#memory = memory
    this.#log = log
    this.#payload = payload
    this.#clock = clock
    this.#onStep = onStep
    const real = loadTraceEngine(memory, (event, at, low, high) => this.#seen(event, at >>> 0, low >>> 0, high >>> 0))
    const calls = real as unknown as Record<Call, (...args: number[]) => number>
    const wrapped: Record<string, unknown> = { ...real }
    for (const call of Object.keys(ARGUMENTS) as Call[]) {
      wrapped[call] = (state: number, ...args: number[]) => {
        return log.hold(() => this.#record(call, state, args, () => calls[call](state, ...args)))
      }
    }
    this.exports = wrapped as unknown as EngineExports
  }

  #seen(kind: number, at: number, low: number, high: number): void {
    const observed = this.#observed
    if (observed === undefined) return
    if (kind > abi.TRACE_STORE_LAST) this.#events.push({ kind, at, low, high })
    else if (WIDTHS[kind]) this.#events.push({ kind, at: observed.gpaOf(at), low, high })
    else if (kind === abi.TRACE_ZERO) this.#events.push({ kind, at: observed.gpaOf(at), low, high: 0 })
    else this.#events.push({ kind, at: observed.gpaOf(at), low, high: 0, bytes: observed.bytes(high, low).slice() })
  }

  #record(call: Call, state: number, args: number[], run: () => number): number {
    const log = this.#log
    if (call === 'init') {
      if (log.statePtr !== 0) throw new Error('a recorder records one device; make another one for the next')
      log.statePtr = state
    }
    if (state !== log.statePtr || log.isFull) {
      // What is not recorded is not kept either.
      this.#observed = undefined
      return run()
    }
    const observed = this.#observed ?? new Observed(this.#memory, state)
    this.#observed = observed
    this.#events = []
    const nanos = Math.floor(this.#clock())
    const config = call === 'init' ? observed.config() : undefined
    const throttle = call === 'init' || call === 'setThrottle' ? observed.throttle() : undefined
    // As written, whatever the time: what has run out since is the engine's to say.
    const snapshot = call === 'thaw' ? captureSnapshot(new EngineState(this.#memory, state), 0) : undefined
    const data = call === 'complete' ? observed.payload(args[0] as number) : undefined
    let result: number | undefined
    try {
      const returned = run()
      // setThrottle() returns nothing.
      result = (returned ?? 0) >>> 0
      return returned
    } finally {
      const counted = (result ?? 0) & abi.PLAN_COUNT_MASK
      this.#write({
        call,
        args: args.map((value, i) => plain(value, ARGUMENTS[call][i])),
        ...(config && { config }),
        ...(throttle && { throttle }),
        ...(snapshot && { snapshot }),
        events: this.#events,
        result,
        planned: call === 'plan' ? observed.planned(args[0] as number, counted) : [],
        counters: this.#changes(observed),
        ...(data && { payload: this.#payload === 'bytes' ? data : xxHash32(data) }),
        nanos,
      })
    }
  }

  #changes(observed: Observed): [number, number][] {
    const changes: [number, number][] = []
    for (let index = 0; index < abi.COUNTERS; index++) {
      const change = this.#log.counterChange(index, observed.counter(index))
      if (change !== 0) changes.push([index, change])
    }
    return changes
  }

  #write(step: Step): void {
    const log = this.#log
    if (!log.reserve(stepBytesMax(step))) return
    const writer = new ByteWriter(log.bytes, log.end)
    writeStep(writer, step, log.previous)
    log.end = writer.at
    log.countStep()
    this.#onStep(log.stepCount - 1, step)
  }
}

/** As the step keeps it: the engine takes u32s whatever their sign, and whole nanoseconds. */
function plain(value: number, type: 'u32' | 'time' | 'result' | undefined): number {
  if (type === 'u32') return value >>> 0
  return type === 'time' && Number.isSafeInteger(Math.trunc(value)) ? Math.trunc(value) : value
}
