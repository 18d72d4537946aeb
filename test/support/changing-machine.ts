// An engine of the trace flavour over a small guest RAM with one chain in it, run again and again from the same bytes:
// the machine behind changing-memory.test.ts. Told by the engine of every load, it can change guest RAM right after
// one, as another vCPU would. Runs plan, complete and publish without a device around them, so that a run costs
// microseconds; data is not moved, only what the engine decides is looked at.

import * as abi from '../../assembly/abi.ts'
import type { EngineExports } from '../../host/engine/engine.ts'
import { EngineState } from '../../host/engine/state.ts'
import { loadTraceEngine, type TraceListener } from '../../host/engine/trace.ts'
import type { ChainSpec, DeviceOptions, Layout, Rings } from './chains.ts'
import { Arenas, addressFor, ringAddresses } from './placement.ts'

export const QUEUE_SIZE = 32
const STATE = 0x8000
const REGION = 0x10000
const PTRS = [0x20000, 0x40000] as const
const PAGES = 6

/** Two regions that touch, and a hole behind them. */
export const LAYOUT: Layout = {
  name: 'two that touch',
  regions: [
    { gpa: 0, bytes: REGION },
    { gpa: REGION, bytes: REGION },
  ],
  seam: REGION,
}

/** Bytes that each load reads, by event. */
export const LOAD_BYTES: Readonly<Record<number, number>> = {
  [abi.TRACE_AVAIL_FLAGS]: 2,
  [abi.TRACE_AVAIL_IDX]: 2,
  [abi.TRACE_HEAD]: 2,
  [abi.TRACE_USED_EVENT]: 2,
  [abi.TRACE_DESC_ADDR]: 8,
  [abi.TRACE_DESC_REST]: 8,
  [abi.TRACE_TYPE]: 4,
  [abi.TRACE_SECTOR]: 8,
  [abi.TRACE_HEADER_BYTE]: 1,
}

export interface Load {
  event: number
  ptr: number
  low: number
  high: number
}

export interface Run {
  /** loads of plan(), and of publish() */
  plan: Load[]
  publish: Load[]
  /** results of all calls, records of what was planned, stores and decisions, in order */
  outcome: number[]
  /** the state block afterwards, counters and all; overwritten by the run after the next */
  state: Buffer
}

type Instantiate = (memory: WebAssembly.Memory, listener: TraceListener) => EngineExports

export interface Setting {
  options: DeviceOptions
  eventIdx: boolean
  rings: Rings
}

const FEATURES = 0x1_2000_0246n // VERSION_1, EVENT_IDX, FLUSH, BLK_SIZE, SEG_MAX, SIZE_MAX

export class ChangingMachine {
  /** linear memory as bytes, for changes between loads */
  readonly bytes: Buffer
  /** called after each load, with how many were made before it in this run */
  onLoad: ((load: Load, count: number) => void) | undefined
  readonly rings: { desc: number; avail: number; used: number }
  readonly #engine: EngineExports
  readonly #state: EngineState
  readonly #setting: Setting
  readonly #stateBytes: number
  /** the bytes that each run starts from */
  readonly #start: Buffer
  readonly #dirty: { ptr: number; bytes: number }[] = []
  #run: Run = { plan: [], publish: [], outcome: [], state: Buffer.alloc(0) }
  #loads: Load[] = this.#run.plan
  #count = 0
  readonly #copies: readonly Buffer[]
  #turn = 0

  constructor(setting: Setting, instantiate: Instantiate = loadTraceEngine) {
    const memory = new WebAssembly.Memory({ initial: PAGES })
    this.bytes = Buffer.from(memory.buffer as ArrayBuffer)
    this.#setting = setting
    const { options, rings } = setting
    this.rings = ringAddresses(LAYOUT, {
      ...{ flush: true, extra: null, tamper: 'no' },
      ...setting,
      ...NEGOTIATED,
      rings,
    })
    this.#engine = instantiate(memory, (...event) => this.#told(...event))
    this.#state = new EngineState(memory, STATE)
    this.#stateBytes = this.#engine.stateBytes(1, QUEUE_SIZE, options.segMax, 2)
    this.#copies = [Buffer.alloc(this.#stateBytes), Buffer.alloc(this.#stateBytes)]
    this.#bringUp()
    this.#start = Buffer.from(this.bytes)
  }

  #bringUp(): void {
    const { options, eventIdx } = this.#setting
    this.#state.writeConfig({
      ...{ deviceFeatures: FEATURES | (options.readOnly ? 32n : 0n), capacitySectors: options.diskBytes / 512 },
      ...{ queues: 1, queueSizeMax: QUEUE_SIZE, segMax: options.segMax, sizeMax: options.sizeMax },
      ...{ blockSize: options.blockSize, readOnly: options.readOnly, serial: Buffer.from(options.serial) },
      regions: LAYOUT.regions.map((region, i) => ({ ...region, ptr: PTRS[i] ?? 0 })),
    })
    const bad = this.#engine.init(STATE)
    if (bad !== 0) throw new Error(`init: ${bad}`)
    const { desc, avail, used } = this.rings
    const accepted = Number((FEATURES & 0xffff_ffffn) - (eventIdx ? 0n : 1n << 29n))
    for (const [offset, value] of [
      ...[[0x70, 1] as const, [0x70, 3] as const, [0x20, accepted] as const, [0x24, 1] as const, [0x20, 1] as const],
      ...[[0x70, 11] as const, [0x38, QUEUE_SIZE] as const, [0x80, desc] as const, [0x90, avail] as const],
      ...[[0xa0, used] as const, [0x44, 1] as const, [0x70, 15] as const],
    ]) {
      this.#engine.mmioWrite(STATE, offset, 4, value)
    }
    const ready = this.#engine.mmioRead(STATE, 0x44, 4)
    const status = this.#engine.mmioRead(STATE, 0x70, 4)
    if (ready !== 1 || status !== 15) throw new Error(`bring-up: QueueReady ${ready}, Status ${status}`)
  }

  /** Where in linear memory a guest-physical address lies; undefined in the hole. */
  ptrOf(gpa: bigint): number | undefined {
    if (gpa < 0n || gpa >= BigInt(2 * REGION)) return undefined
    const at = Number(gpa)
    return (PTRS[Math.floor(at / REGION)] ?? 0) + (at % REGION)
  }

  /** The chain in descriptors 0, 1, 2 ... and offered; the next runs start from it. */
  place({ type, sector, descs, fault }: ChainSpec): void {
    this.bytes.set(this.#start.subarray(PTRS[0]), PTRS[0])
    for (const { ptr, bytes } of this.#placed.splice(0)) this.#start.fill(0, ptr, ptr + bytes)
    const arenas = new Arenas(LAYOUT)
    const header = Buffer.alloc(16)
    header.writeUInt32LE(type)
    header.writeBigUInt64LE(sector, 8)
    let written = 0
    descs.forEach((desc, i) => {
      const addr = addressFor(desc, LAYOUT, arenas, this.rings)
      if (!desc.write) {
        for (let at = 0; at < desc.len && written < 16; at++) this.#put(addr + BigInt(at), header, written++, 1)
      }
      const last = i === descs.length - 1
      const follows = !last || fault === 'badNext' || fault === 'loop'
      const entry = Buffer.alloc(16)
      entry.writeBigUInt64LE(BigInt.asUintN(64, addr))
      entry.writeUInt32LE(desc.len, 8)
      entry.writeUInt16LE((follows ? 1 : 0) | (desc.write ? 2 : 0) | (fault === 'indirect' && i === 0 ? 4 : 0), 12)
      entry.writeUInt16LE(last ? (fault === 'badNext' ? QUEUE_SIZE : 0) : i + 1, 14)
      this.#put(BigInt(this.rings.desc + 16 * i), entry, 0, 16)
    })
    const words = Buffer.alloc(6)
    words.writeUInt16LE(fault === 'availJump' ? QUEUE_SIZE + 1 : 1, 2)
    words.writeUInt16LE(fault === 'badHead' ? QUEUE_SIZE : 0, 4)
    this.#put(BigInt(this.rings.avail), words, 0, 6)
    this.#start.copy(this.bytes, PTRS[0], PTRS[0])
  }

  readonly #placed: { ptr: number; bytes: number }[] = []

  #put(gpa: bigint, from: Buffer, at: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const ptr = this.ptrOf(gpa + BigInt(i))
      if (ptr === undefined) continue
      this.#start[ptr] = from[at + i] ?? 0
      this.#placed.push({ ptr, bytes: 1 })
    }
  }

  /** Changes guest RAM until the end of the run. */
  change(ptr: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, ptr)
    this.#dirty.push({ ptr, bytes: bytes.length })
  }

  /**
   * One drain from the start. `before` and `between` put bytes into guest RAM before plan() and before publish().
   */
  run(before?: readonly Load[], between?: readonly Load[]): Run {
    this.#start.copy(this.bytes, STATE, STATE, STATE + this.#stateBytes)
    for (const { ptr, bytes } of this.#dirty.splice(0)) this.#start.copy(this.bytes, ptr, ptr, ptr + bytes)
    this.#run = { plan: [], publish: [], outcome: [], state: this.bytes }
    this.#loads = this.#run.plan
    this.#count = 0
    this.#hold(before)
    const { outcome } = this.#run
    const planned = this.#engine.plan(STATE, 0, 1e9, 1)
    outcome.push(planned)
    for (let i = 0; i < (planned & abi.PLAN_COUNT_MASK); i++) this.#carryOut(i, outcome)
    this.#loads = this.#run.publish
    this.#hold(between)
    outcome.push(this.#engine.publish(STATE, 0), this.#state.fault)
    this.#run.state = this.#copies[this.#turn++ % 2] as Buffer
    this.bytes.copy(this.#run.state, 0, STATE, STATE + this.#stateBytes)
    return this.#run
  }

  #hold(loads: readonly Load[] = []): void {
    // Backwards, so that of several loads of a byte the first counts.
    for (const load of loads.toReversed()) this.change(load.ptr, bytesOf(load))
  }

  /** Notes the record of a planned request, and answers it; every third read is short. */
  #carryOut(index: number, outcome: number[]): void {
    const { words } = this.#state
    const slot = words[(this.#state.queueWord(0, abi.QUEUE_PLANNED) >>> 2) + index] ?? 0
    const at = this.#state.record(0, slot) >>> 2
    const [op = 0, segments = 0, sector = 0, high = 0, data = 0] = words.subarray(at)
    outcome.push(slot, op, segments, sector, high, data)
    outcome.push(...words.subarray(at + abi.REQ_SEGMENT_LIST / 4, at + abi.REQ_SEGMENT_LIST / 4 + 2 * segments))
    const isShort = op === abi.REQ_OP_READ && sector % 3 === 0
    outcome.push(this.#engine.complete(STATE, slot, isShort ? data - 1 : data))
  }

  #told(event: number, at: number, low: number, high: number): void {
    if (event > abi.TRACE_LOAD_LAST) {
      if (event <= abi.TRACE_STORE_LAST) this.#dirty.push({ ptr: at, bytes: storeBytes(event, low) })
      this.#run.outcome.push(event, at, low, high)
      return
    }
    const load = { event, ptr: at, low, high }
    this.#loads.push(load)
    this.onLoad?.(load, this.#count++)
  }
}

const NEGOTIATED = { queueSize: QUEUE_SIZE, flush: true, extra: null, tamper: 'no' } as const

function storeBytes(event: number, low: number): number {
  return event === abi.TRACE_ZERO || event === abi.TRACE_SERIAL ? low : 8
}

/** The bytes that a load saw. */
function bytesOf({ event, low, high }: Load): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32LE(low | 0)
  bytes.writeInt32LE(high | 0, 4)
  return bytes.subarray(0, LOAD_BYTES[event])
}
