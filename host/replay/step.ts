// One step of a trace: a call of the engine with all that came in and all that went out, and its encoding. The bytes
// are described in FORMAT.md. Portable.

import * as abi from '../../assembly/abi.ts'
import type { ByteReader, ByteWriter } from './bytes.ts'
import type { Digest } from './digest.ts'

/** In the order of their numbers in the file, which start at 1. */
const CALLS = [
  'init',
  'mmioRead',
  'mmioWrite',
  'plan',
  'complete',
  'publish',
  'setCapacity',
  'setThrottle',
  'fail',
  'kicked',
  'thaw',
] as const
export type Call = (typeof CALLS)[number]

/** What the arguments of a call are, the state pointer aside: u32, time in ns, or a number of the back end's. */
export const ARGUMENTS: Readonly<Record<Call, readonly ('u32' | 'time' | 'result')[]>> = {
  init: [],
  mmioRead: ['u32', 'u32'],
  mmioWrite: ['u32', 'u32', 'u32'],
  plan: ['u32', 'time', 'u32'],
  complete: ['u32', 'result'],
  publish: ['u32'],
  setCapacity: ['u32', 'u32'],
  setThrottle: ['time'],
  fail: ['u32'],
  kicked: ['u32', 'u32'],
  thaw: ['time'],
}

/** A load or store of guest RAM: `at` is its guest-physical address. Or a decision: `at` is a head or a queue. */
export interface TraceEvent {
  readonly kind: number
  readonly at: number
  /** the value's halves, unsigned; of TRACE_ZERO and TRACE_SERIAL the length */
  readonly low: number
  readonly high: number
  /** what TRACE_SERIAL stored */
  readonly bytes?: Uint8Array
}

/** A request that plan() handed to the host. */
export interface PlannedRequest {
  readonly slot: number
  readonly op: number
  readonly sectorLow: number
  readonly sectorHigh: number
  readonly dataBytes: number
  readonly head: number
  readonly segments: readonly { readonly gpa: number; readonly len: number }[]
}

/** The configuration that init() takes over. */
export interface InitConfig {
  /**
   * u32 each: device features low, high; capacity in sectors low, high; queues; queueSizeMax; segMax; sizeMax;
   * blockSize; readOnly
   */
  readonly words: readonly number[]
  /** 20 bytes */
  readonly serial: Uint8Array
  readonly regions: readonly { readonly gpa: number; readonly bytes: number }[]
}

export interface Step {
  readonly call: Call
  readonly args: readonly number[]
  readonly config?: InitConfig
  /** of thaw: the snapshot that the host has written into the state */
  readonly snapshot?: Uint8Array
  /** of init and setThrottle: four u64 as eight u32 */
  readonly throttle?: readonly number[]
  readonly events: readonly TraceEvent[]
  /** as an unsigned number; undefined: the call trapped */
  readonly result: number | undefined
  readonly planned: readonly PlannedRequest[]
  /** counters that changed: index and by how much */
  readonly counters: readonly (readonly [index: number, change: number])[]
  /** of complete(), of a request with data: xxHash32 of the data, or the data itself */
  readonly payload?: number | Uint8Array
  /** the recorder's clock in ns; for people, not for the engine */
  readonly nanos: number
}

/** Bytes of a load's or store's value; 0 for what is no such thing. */
export const WIDTHS: readonly number[] = widths()

function widths(): number[] {
  const table = new Array<number>(64).fill(0)
  table[abi.TRACE_AVAIL_FLAGS] = 2
  table[abi.TRACE_AVAIL_IDX] = 2
  table[abi.TRACE_HEAD] = 2
  table[abi.TRACE_USED_EVENT] = 2
  table[abi.TRACE_DESC_ADDR] = 8
  table[abi.TRACE_DESC_REST] = 8
  table[abi.TRACE_TYPE] = 4
  table[abi.TRACE_SECTOR] = 8
  table[abi.TRACE_HEADER_BYTE] = 1
  table[abi.TRACE_USED_ELEMENT] = 8
  table[abi.TRACE_USED_HALF] = 4
  table[abi.TRACE_USED_IDX] = 2
  table[abi.TRACE_USED_FLAGS] = 2
  table[abi.TRACE_AVAIL_EVENT] = 2
  table[abi.TRACE_STATUS] = 1
  return table
}

export function isLoad(kind: number): boolean {
  return kind <= abi.TRACE_LOAD_LAST
}

export function isStore(kind: number): boolean {
  return kind > abi.TRACE_LOAD_LAST && kind <= abi.TRACE_STORE_LAST
}

/** What one step is written against; both sides keep one, and it starts at zeros. */
export interface Previous {
  gpa: number
  time: number
  nanos: number
}

const HAS_EVENTS = 0x20
const HAS_COUNTERS = 0x40
const TRAPPED = 0x80
const CALL_MASK = 0x1f

const WHOLE = 0
const RAW = 1
const PAYLOAD_NONE = 0
const PAYLOAD_HASH = 1
const PAYLOAD_BYTES = 2

const CONFIG_WORDS = 10
const THROTTLE_WORDS = 8
const SERIAL_BYTES = 20

/** Upper bound of a step's size in bytes. */
export function stepBytesMax(step: Step): number {
  let bytes = 1024 + step.counters.length * 12 + (step.snapshot?.length ?? 0)
  for (const event of step.events) bytes += 20 + (event.bytes?.length ?? 0)
  for (const { segments } of step.planned) bytes += 60 + segments.length * 16
  if (step.payload instanceof Uint8Array) bytes += step.payload.length
  return bytes
}

export function writeStep(to: ByteWriter, step: Step, previous: Previous): void {
  const { call, events, counters, result } = step
  const flags = (events.length && HAS_EVENTS) | (counters.length && HAS_COUNTERS) | (result === undefined ? TRAPPED : 0)
  to.u8((CALLS.indexOf(call) + 1) | flags)
  to.zigzag(step.nanos - previous.nanos)
  previous.nanos = step.nanos
  for (const [i, type] of ARGUMENTS[call].entries()) {
    const value = step.args[i] as number
    if (type === 'u32') to.varint(value)
    else writeNumber(to, value, type === 'time' ? previous : undefined)
  }
  if (step.config) writeConfig(to, step.config)
  for (const word of step.throttle ?? []) to.varint(word)
  if (step.snapshot) {
    to.varint(step.snapshot.length)
    to.take(step.snapshot)
  }
  if (events.length > 0) {
    to.varint(events.length)
    for (const event of events) writeEvent(to, event, previous)
  }
  if (result !== undefined) to.varint(result)
  if (call === 'plan' && result !== undefined) for (const request of step.planned) writePlanned(to, request, previous)
  if (counters.length > 0) {
    to.varint(counters.length)
    for (const [index, change] of counters) {
      to.u8(index)
      to.zigzag(change)
    }
  }
  if (call === 'complete') writePayload(to, step.payload)
}

/** A whole number that a varint holds, of time the difference to the last one; any other as it is. */
function writeNumber(to: ByteWriter, value: number, previous: Previous | undefined): void {
  const whole = value - (previous?.time ?? 0)
  if (Number.isSafeInteger(value) && Math.abs(whole) < 2 ** 52) {
    to.u8(WHOLE)
    to.zigzag(whole)
    if (previous) previous.time = value
  } else {
    to.u8(RAW)
    to.f64(value)
  }
}

function readNumber(from: ByteReader, previous: Previous | undefined): number {
  const tag = from.u8()
  if (tag === RAW) return from.f64()
  if (tag !== WHOLE) from.fail(`${tag} is no kind of number`)
  const value = from.zigzag() + (previous?.time ?? 0)
  if (previous) previous.time = value
  return value
}

function writeConfig(to: ByteWriter, { words, serial, regions }: InitConfig): void {
  for (const word of words) to.varint(word)
  to.take(serial)
  to.varint(regions.length)
  for (const { gpa, bytes } of regions) {
    to.varint(gpa)
    to.varint(bytes)
  }
}

function readConfig(from: ByteReader): InitConfig {
  const words = Array.from({ length: CONFIG_WORDS }, () => from.u32())
  const serial = from.take(SERIAL_BYTES)
  const regions = Array.from({ length: from.count() }, () => ({ gpa: from.varint(), bytes: from.varint() }))
  return { words, serial, regions }
}

function writeEvent(to: ByteWriter, event: TraceEvent, previous: Previous): void {
  const { kind, at, low, high, bytes } = event
  to.u8(kind)
  if (kind > abi.TRACE_STORE_LAST) {
    to.varint(at)
    to.varint(low)
    to.varint(high)
    return
  }
  to.zigzag(at - previous.gpa)
  previous.gpa = at
  const width = WIDTHS[kind] as number
  if (width > 0) to.fixed(width, low, high)
  else to.varint(low)
  if (bytes) to.take(bytes)
}

function readEvent(from: ByteReader, previous: Previous): TraceEvent {
  const kind = from.u8()
  if (kind >= abi.TRACE_VERDICT && kind <= abi.TRACE_STALL) {
    return { kind, at: from.u32(), low: from.u32(), high: from.u32() }
  }
  if (kind === 0 || !(isLoad(kind) || (kind >= abi.TRACE_USED_ELEMENT && isStore(kind)))) from.fail(`no event ${kind}`)
  const at = from.zigzag() + previous.gpa
  if (!(at >= 0 && at <= Number.MAX_SAFE_INTEGER)) from.fail(`${at} is no address`)
  previous.gpa = at
  const width = WIDTHS[kind] as number
  if (width > 0) return { kind, at, ...from.fixed(width) }
  const low = from.u32()
  return kind === abi.TRACE_SERIAL ? { kind, at, low, high: 0, bytes: from.take(low) } : { kind, at, low, high: 0 }
}

function writePlanned(to: ByteWriter, request: PlannedRequest, previous: Previous): void {
  const { slot, op, sectorLow, sectorHigh, dataBytes, head, segments } = request
  for (const value of [slot, op, sectorLow, sectorHigh, dataBytes, head, segments.length]) to.varint(value)
  for (const { gpa, len } of segments) {
    to.zigzag(gpa - previous.gpa)
    previous.gpa = gpa
    to.varint(len)
  }
}

function readPlanned(from: ByteReader, previous: Previous): PlannedRequest {
  const slot = from.u32()
  const op = from.u32()
  const sectorLow = from.u32()
  const sectorHigh = from.u32()
  const dataBytes = from.u32()
  const head = from.u32()
  const segments = Array.from({ length: from.count() }, () => {
    previous.gpa += from.zigzag()
    return { gpa: previous.gpa, len: from.u32() }
  })
  return { slot, op, sectorLow, sectorHigh, dataBytes, head, segments }
}

function writePayload(to: ByteWriter, payload: number | Uint8Array | undefined): void {
  if (payload === undefined) {
    to.u8(PAYLOAD_NONE)
  } else if (typeof payload === 'number') {
    to.u8(PAYLOAD_HASH)
    to.fixed(4, payload)
  } else {
    to.u8(PAYLOAD_BYTES)
    to.varint(payload.length)
    to.take(payload)
  }
}

function readPayload(from: ByteReader): number | Uint8Array | undefined {
  const tag = from.u8()
  if (tag === PAYLOAD_NONE) return undefined
  if (tag === PAYLOAD_HASH) return from.fixed(4).low
  if (tag !== PAYLOAD_BYTES) from.fail(`${tag} is no kind of payload`)
  return from.take(from.count())
}

export function readStep(from: ByteReader, previous: Previous): Step {
  const first = from.u8()
  const call = CALLS[(first & CALL_MASK) - 1]
  if (call === undefined) from.fail(`there is no call ${first & CALL_MASK}`)
  previous.nanos += from.zigzag()
  const { nanos } = previous
  const args = ARGUMENTS[call].map((type) =>
    type === 'u32' ? from.u32() : readNumber(from, type === 'time' ? previous : undefined),
  )
  const config = call === 'init' ? readConfig(from) : undefined
  const takesThrottle = call === 'init' || call === 'setThrottle'
  const throttle = takesThrottle ? Array.from({ length: THROTTLE_WORDS }, () => from.u32()) : undefined
  const snapshot = call === 'thaw' ? from.take(from.count()) : undefined
  const events = first & HAS_EVENTS ? Array.from({ length: from.count() }, () => readEvent(from, previous)) : []
  const result = first & TRAPPED ? undefined : from.u32()
  const requests = call === 'plan' ? (result ?? 0) & abi.PLAN_COUNT_MASK : 0
  const planned: PlannedRequest[] = []
  while (planned.length < requests) planned.push(readPlanned(from, previous))
  const changed = first & HAS_COUNTERS ? from.count() : 0
  const counters = Array.from({ length: changed }, () => [readIndex(from), from.zigzag()] as const)
  const payload = call === 'complete' ? readPayload(from) : undefined
  return {
    call,
    args,
    ...(config && { config }),
    ...(throttle && { throttle }),
    ...(snapshot && { snapshot }),
    events,
    result,
    planned,
    counters,
    ...(payload !== undefined && { payload }),
    nanos,
  }
}

function readIndex(from: ByteReader): number {
  const index = from.u8()
  if (index >= abi.COUNTERS) from.fail(`there is no counter ${index}`)
  return index
}

/** The stores that no later store of the call touches: what the guest sees in the end. Long ones hide nothing. */
export function lastingStores(events: readonly TraceEvent[]): TraceEvent[] {
  const lasting: TraceEvent[] = []
  const later = new Set<number>()
  for (let i = events.length - 1; i >= 0; i--) {
    const event = events[i] as TraceEvent
    if (!isStore(event.kind)) continue
    const end = event.at + (WIDTHS[event.kind] as number)
    let isHidden = false
    for (let at = event.at; at < end; at++) {
      isHidden ||= later.has(at)
      later.add(at)
    }
    if (!isHidden) lasting.push(event)
  }
  return lasting.reverse()
}

/** Adds to the digest what every flavour of the engine can be seen to do in this step, and what came in. */
export function digestStep(digest: Digest, step: Step): void {
  digest.u32(CALLS.indexOf(step.call) + 1)
  for (const value of step.args) {
    if (Number.isSafeInteger(value)) digest.number(value)
    else digest.bytes(new Uint8Array(Float64Array.of(value).buffer))
  }
  if (step.snapshot) digest.bytes(step.snapshot)
  for (const { kind, at, low, high } of step.events) {
    if (!isLoad(kind)) continue
    digest.number(at)
    digest.u32(low)
    digest.u32(high)
  }
  digest.u32(step.result === undefined ? -1 : step.result)
  for (const { kind, at, low, high, bytes } of lastingStores(step.events)) {
    digest.number(at)
    if (bytes) digest.bytes(bytes)
    digest.u32(low)
    digest.u32(kind === abi.TRACE_SERIAL ? 0 : high)
  }
  for (const request of step.planned) {
    const { slot, op, sectorLow, sectorHigh, dataBytes, head, segments } = request
    for (const value of [slot, op, sectorLow, sectorHigh, dataBytes, head]) digest.u32(value)
    for (const { gpa, len } of segments) {
      digest.number(gpa)
      digest.u32(len)
    }
  }
  for (const [index, change] of step.counters) {
    digest.u32(index)
    digest.number(change)
  }
}
