// Replays a trace on an engine, with no guest, no disk and no clock: each step's call is made again with what came in,
// and what goes out is compared. It stops at the first step that differs and says which field of it did. On the trace
// flavour every load and store is compared as it happens; on any other the guest's bytes are put in place before each
// call, and the stores are looked for after it. Portable.

import * as abi from '../../assembly/abi.ts'
import { checkAbi, type EngineExports } from '../engine/engine.ts'
import { loadTraceEngine } from '../engine/trace.ts'
import { TraceError } from './bytes.ts'
import { Digest } from './digest.ts'
import { counterName, eventName, eventText, resultText } from './names.ts'
import { Observed } from './observe.ts'
import { makeMemory, writeConfig, writeSnapshot } from './set-up.ts'
import {
  digestStep,
  type InitConfig,
  isLoad,
  isStore,
  lastingStores,
  type PlannedRequest,
  type Step,
  type TraceEvent,
  WIDTHS,
} from './step.ts'
import type { Trace } from './trace.ts'

export interface Divergence {
  /** number of the step, from 0 */
  readonly step: number
  readonly call: string
  readonly field: string
  readonly expected: string
  readonly seen: string
  /** all of it in a sentence */
  readonly message: string
}

export interface Replayed {
  /** steps that went as recorded */
  readonly steps: number
  /** over these; that of the trace if all did */
  readonly digest: string
  readonly divergence?: Divergence
}

export interface PlayOptions {
  /** makes the engine; default: the trace flavour */
  readonly engine?: (memory: WebAssembly.Memory) => EngineExports
  /** the engine wants a shared memory. Default false. */
  readonly shared?: boolean
  /** stop before this step */
  readonly until?: number
}

/** Throws TraceError for a trace that no engine can be given: it says what no recorder writes. */
export function replay(trace: Trace, options: PlayOptions = {}): Replayed {
  const [first] = trace.steps
  const digest = new Digest()
  if (first?.config === undefined) return { steps: 0, digest: digest.hex }
  const player = new Player(first.config, options)
  const until = Math.min(options.until ?? Number.POSITIVE_INFINITY, trace.steps.length)
  for (let number = 0; number < until; number++) {
    const step = trace.steps[number] as Step
    try {
      digestStep(digest, player.play(step))
    } catch (error) {
      if (!(error instanceof Differs)) throw error
      const { field, expected, seen } = error
      const call = step.call
      const message = `step ${number}, ${callText(step)}: ${field}: expected ${expected}, seen ${seen}`
      return { steps: number, digest: digest.hex, divergence: { step: number, call, field, expected, seen, message } }
    }
  }
  return { steps: until, digest: digest.hex }
}

/** The call as it stands in messages and listings. */
export function callText({ call, args }: Step): string {
  return `${call}(${args.join(', ')})`
}

class Differs extends Error {
  readonly field: string
  readonly expected: string
  readonly seen: string

  constructor(field: string, expected: string, seen: string) {
    super(field)
    this.field = field
    this.expected = expected
    this.seen = seen
  }
}

function same(field: string, expected: string | number, seen: string | number): void {
  if (expected !== seen) throw new Differs(field, String(expected), String(seen))
}

class Player {
  readonly #config: InitConfig
  readonly #engine: EngineExports
  readonly #observed: Observed
  /** the trace flavour tells us itself */
  readonly #isTold: boolean
  readonly #counters = new Array<number>(abi.COUNTERS).fill(0)
  /** the loads and stores of the step, and how many have been met */
  #events: readonly TraceEvent[] = []
  #met = 0
  #isPlaying = false

  constructor(config: InitConfig, options: PlayOptions) {
    const { engine } = options
    this.#config = config
    this.#isTold = engine === undefined
    const { memory, ptr } = makeMemory(config, options.shared ?? false)
    const listener = (...event: [number, number, number, number]): void => this.#told(...event)
    this.#engine = checkAbi(engine ? engine(memory.memory) : loadTraceEngine(memory.memory, listener))
    writeConfig(config, memory, ptr)
    this.#observed = new Observed(memory.memory, ptr)
  }

  /** Makes the call; returns the step as it was seen. Throws Differs. */
  play(step: Step): Step {
    const accesses = step.events.filter(({ kind }) => kind <= abi.TRACE_STORE_LAST)
    // Decisions are for those who can be told of them.
    this.#events = this.#isTold ? step.events : accesses
    this.#met = 0
    if (step.throttle) this.#observed.writeThrottle(step.throttle)
    if (step.snapshot) writeSnapshot(step.snapshot, this.#config, this.#observed)
    if (this.#isTold) this.#prime()
    else this.#primeAll(accesses)
    const result = this.#call(step)
    if (this.#isTold && this.#met < this.#events.length) {
      const missed = this.#events[this.#met] as TraceEvent
      throw new Differs(`access ${this.#met}`, eventText(missed), 'the end of the call')
    }
    same('result', resultText(step.call, step.result), resultText(step.call, result))
    const planned = step.call === 'plan' ? this.#planned(step, result) : []
    if (!this.#isTold) this.#compareStores(accesses)
    this.#compareCounters(step)
    return { ...step, result, planned }
  }

  #call(step: Step): number | undefined {
    const call = this.#engine[step.call] as (...args: number[]) => number | undefined
    this.#isPlaying = true
    try {
      return (call(this.#observed.ptr, ...step.args) ?? 0) >>> 0
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) return undefined
      throw error
    } finally {
      this.#isPlaying = false
    }
  }

  // The trace flavour --------------------------------------------------------------------------------------

  /** The guest's bytes for the next load, which may differ from those of the last. */
  #prime(): void {
    const next = this.#events[this.#met]
    if (next !== undefined && isLoad(next.kind)) this.#put(next)
  }

  #told(kind: number, at: number, low: number, high: number): void {
    if (!this.#isPlaying) return
    const observed = this.#observed
    const isAccess = kind <= abi.TRACE_STORE_LAST
    const width = WIDTHS[kind] as number
    const seen = {
      kind,
      at: isAccess ? observed.gpaOf(at >>> 0) : at >>> 0,
      low: low >>> 0,
      high: isAccess && width === 0 ? 0 : high >>> 0,
      ...(kind === abi.TRACE_SERIAL && { bytes: observed.bytes(high >>> 0, low >>> 0).slice() }),
    }
    const expected = this.#events[this.#met]
    const text = eventText(seen)
    if (expected === undefined) throw new Differs(`access ${this.#met}`, 'the end of the call', text)
    same(`access ${this.#met}, ${eventName(expected.kind)}`, eventText(expected), text)
    this.#met++
    this.#prime()
  }

  // Other flavours -----------------------------------------------------------------------------------------

  /** All bytes that the call loads before it stores to them, and others where it stores first. */
  #primeAll(accesses: readonly TraceEvent[]): void {
    const known = new Map<number, number>()
    const zeroed: TraceEvent[] = []
    // Where it stores, anything but what is to be stored: a store that is missing must not go unseen.
    for (const zeros of accesses) if (zeros.kind === abi.TRACE_ZERO) this.#bytesOf(zeros).fill(0xff)
    for (const access of accesses) {
      if (access.kind === abi.TRACE_ZERO) zeroed.push(access)
      const bytes = storedBytes(access)
      for (let i = 0; i < bytes.length; i++) {
        const at = access.at + i
        const byte = bytes[i] as number
        const isZeroed = zeroed.some((zeros) => at >= zeros.at && at < zeros.at + zeros.low)
        const before = known.get(at) ?? (isZeroed ? 0 : undefined)
        if (isLoad(access.kind) && before !== undefined && before !== byte) {
          throw new TraceError('the guest changed its memory in the middle of a call: replay this on the trace flavour')
        }
        if (before === undefined) this.#putByte(at, isLoad(access.kind) ? byte : byte ^ 0xff)
        known.set(at, byte)
      }
    }
  }

  /** The guest's bytes that a store covers. */
  #bytesOf(store: TraceEvent): Uint8Array {
    const count = store.kind === abi.TRACE_ZERO ? store.low : storedBytes(store).length
    const ptr = this.#observed.ptrOf(store.at)
    const last = this.#observed.ptrOf(store.at + count - 1)
    if (count === 0) return new Uint8Array(0)
    if (ptr === 0 || last - ptr !== count - 1) {
      throw new TraceError(`${eventText(store)} is not wholly in one region of guest RAM`)
    }
    return this.#observed.bytes(ptr, count)
  }

  #compareStores(accesses: readonly TraceEvent[]): void {
    const isShort = new Set<number>()
    for (const { kind, at } of accesses) {
      if (isStore(kind)) for (let i = 0; i < (WIDTHS[kind] as number); i++) isShort.add(at + i)
    }
    for (const store of lastingStores(accesses)) {
      const seen = this.#bytesOf(store)
      const text = eventText(store)
      if (store.kind === abi.TRACE_ZERO) {
        const wrong = seen.findIndex((byte, i) => byte !== 0 && !isShort.has(store.at + i))
        if (wrong >= 0) throw new Differs(eventName(store.kind), text, `${seen[wrong]} at byte ${wrong} of it`)
        continue
      }
      const expected = storedBytes(store)
      if (expected.every((byte, i) => byte === seen[i])) continue
      const view = new DataView(Uint8Array.from([...seen.subarray(0, 8), 0, 0, 0, 0, 0, 0, 0, 0]).buffer)
      const low = store.kind === abi.TRACE_SERIAL ? store.low : lowOf(view, expected.length)
      const high = expected.length === 8 ? view.getUint32(4, true) : 0
      const found = { ...store, low, high, ...(store.bytes && { bytes: seen.slice() }) }
      throw new Differs(eventName(store.kind), text, eventText(found))
    }
  }

  #put(access: TraceEvent): void {
    storedBytes(access).forEach((byte, i) => {
      this.#putByte(access.at + i, byte)
    })
  }

  #putByte(gpa: number, byte: number): void {
    const ptr = this.#observed.ptrOf(gpa)
    if (ptr === 0) throw new TraceError(`a load from 0x${gpa.toString(16)}, which is not guest RAM`)
    this.#observed.bytes(ptr, 1)[0] = byte
  }

  // What went out ------------------------------------------------------------------------------------------

  #planned(step: Step, result: number | undefined): PlannedRequest[] {
    const seen = this.#observed.planned(step.args[0] as number, (result ?? 0) & abi.PLAN_COUNT_MASK)
    for (const [i, request] of step.planned.entries()) {
      const other = seen[i] as PlannedRequest
      for (const field of ['slot', 'op', 'sectorLow', 'sectorHigh', 'dataBytes', 'head'] as const) {
        same(`request ${i}, ${field}`, request[field], other[field])
      }
      const segments = (one: PlannedRequest): string => {
        return one.segments.map(({ gpa, len }) => `0x${gpa.toString(16)}+${len}`).join(' ')
      }
      same(`request ${i}, segments`, segments(request), segments(other))
    }
    return seen
  }

  #compareCounters(step: Step): void {
    const changes = new Map(step.counters)
    for (let index = 0; index < abi.COUNTERS; index++) {
      const value = this.#observed.counter(index)
      const before = this.#counters[index] as number
      same(`counter ${counterName(index)}`, before + (changes.get(index) ?? 0), value)
      this.#counters[index] = value
    }
  }
}

function lowOf(view: DataView, width: number): number {
  if (width === 1) return view.getUint8(0)
  return width === 2 ? view.getUint16(0, true) : view.getUint32(0, true)
}

/** The bytes of a load or store; none of zeros, which may be very many. */
export function storedBytes({ kind, low, high, bytes }: TraceEvent): Uint8Array {
  if (bytes) return bytes
  const width = WIDTHS[kind] as number
  const value = new DataView(new ArrayBuffer(8))
  value.setUint32(0, low, true)
  value.setUint32(4, high, true)
  return new Uint8Array(value.buffer, 0, width)
}
