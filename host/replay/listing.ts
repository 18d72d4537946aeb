// A trace as people read it: its requests, each put together from the loads, the decision, the back end's result and
// the stores of several steps, and between them what else happened: register writes, resets, stalls, ring faults,
// interrupts. For the command line and for pages. Portable.

import * as abi from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import { decisionText, registerName, throttleText } from './names.ts'
import { callText } from './player.ts'
import type { PlannedRequest, Step, TraceEvent } from './step.ts'
import type { Trace } from './trace.ts'

export interface ListedDescriptor {
  addr: bigint
  len: number
  flags: number
  next: number
}

export interface ListedRequest {
  readonly kind: 'request'
  /** of the plan() that took it */
  readonly step: number
  /** the recorder's clock at that step */
  readonly nanos: number
  readonly queue: number
  readonly head: number
  /** in chain order, as the engine loaded them */
  readonly descriptors: ListedDescriptor[]
  /** of the header, where it was read whole */
  type?: number
  sector?: bigint
  /** VERDICT_* or REQUEST_FAULT_*, and in words with the rule it follows */
  decision: number
  text: string
  segments: PlannedRequest['segments']
  /** what the back end answered, last */
  result?: number
  /** status byte and length in the used ring: what the driver saw */
  status?: number
  usedLen?: number
  /** step and nanoseconds until it was answered */
  endStep?: number
  duration?: number
  /** why the driver never saw an answer */
  dropped?: string
}

type Happening = 'init' | 'write' | 'reset' | 'kick' | 'stall' | 'ring fault' | 'interrupt' | 'late' | 'host' | 'trap'

export interface ListedEvent {
  readonly kind: 'event'
  readonly step: number
  readonly nanos: number
  readonly what: Happening
  readonly text: string
}

export type Listed = ListedRequest | ListedEvent

/** In the order of the steps; requests stand where they were taken from the ring. */
export function list(trace: Trace): Listed[] {
  const lister = new Lister()
  for (const [number, step] of trace.steps.entries()) lister.take(number, step)
  return lister.drain()
}

const UNDECIDED = 0

/**
 * Lists step by step, while a device is being recorded too. A request is listed by the plan() that takes it, and what
 * follows is filled in later: `endStep` or `dropped` says that it is complete.
 */
export class Lister {
  #listed: Listed[] = []
  /** by the name of the slot that the host was given */
  readonly #inFlight = new Map<number, ListedRequest>()
  /** step and time of the call that is being listed */
  #number = 0
  #nanos = 0

  /** What was listed since this was asked last. */
  drain(): Listed[] {
    const listed = this.#listed
    this.#listed = []
    return listed
  }

  /** The next step of a device; the first is its init(). */
  take(number: number, step: Step): void {
    this.#number = number
    this.#nanos = step.nanos
    const { call, args, result = 0 } = step
    const [first = 0, second = 0, third = 0] = args
    if (step.result === undefined) this.#say('trap', `${callText(step)} trapped: a bug of the engine`)
    if (call === 'init') this.#init(step)
    else if (call === 'mmioWrite') this.#write(first, second, third, result)
    else if (call === 'plan') this.#plan(step, first)
    else if (call === 'complete') this.#complete(step, first, second)
    else if (call === 'kicked') this.#say('kick', `queue ${first} kicked by eventfd, ${second} times`)
    else if (call === 'setThrottle') this.#say('host', `throttle set: ${throttleText(step.throttle ?? [])}`)
    else if (call === 'setCapacity') this.#say('host', `capacity set: ${second * 2 ** 32 + first} sectors`)
    else if (call === 'thaw') this.#say('host', 'restored from a snapshot')
    else if (call === 'fail') this.#say('host', `the host reports failure ${first}: NEEDS_RESET`)
    const effects = call === 'mmioWrite' || call === 'setCapacity' || call === 'fail'
    if (effects && result & abi.EFFECT_INTERRUPT) this.#say('interrupt', 'interrupt, configuration')
    if (call === 'publish' && result & abi.PUBLISH_INTERRUPT) this.#say('interrupt', `interrupt, queue ${first}`)
  }

  #say(what: Happening, text: string): void {
    this.#listed.push({ kind: 'event', step: this.#number, nanos: this.#nanos, what, text })
  }

  #init({ config, result = 0 }: Step): void {
    const [low = 0, high = 0, capacity = 0, above = 0, queues = 0, size = 0] = config?.words ?? []
    const features = ((BigInt(high) << 32n) | BigInt(low)).toString(16)
    const sectors = above * 2 ** 32 + capacity
    const ram = (config?.regions ?? []).map(({ gpa, bytes }) => `0x${gpa.toString(16)}+0x${bytes.toString(16)}`)
    const verdict = result === 0 ? '' : `, refused (${result | 0})`
    const text = `features 0x${features}, ${sectors} sectors, ${queues} queues of up to ${size}, RAM ${ram.join(' ')}`
    this.#say('init', text + verdict)
  }

  #write(offset: number, width: number, value: number, effects: number): void {
    const bytes = width === 4 ? '' : `, ${width} bytes wide`
    this.#say('write', `${registerName(offset)} = 0x${value.toString(16)}${bytes}`)
    if (!(effects & abi.EFFECT_RESET)) return
    const lost = this.#inFlight.size
    this.#say('reset', lost === 0 ? 'reset' : `reset; requests in flight: ${lost}`)
    for (const request of this.#inFlight.values()) request.dropped ??= `the device was reset (step ${this.#number})`
  }

  // plan() -------------------------------------------------------------------------------------------------

  #plan(step: Step, queue: number): void {
    const planned = new Map(step.planned.map((request) => [request.head, request]))
    let request: ListedRequest | undefined
    let header = new Header()
    for (const event of step.events) {
      if (event.kind === abi.TRACE_HEAD) {
        request = this.#begin(queue, event.low)
        header = new Header()
      } else if (event.kind === abi.TRACE_RING_FAULT) {
        // The head that it was found at, if it was found there, has no verdict.
        const at = request?.decision === UNDECIDED ? `, at head ${request.head}${chainText(request)}` : ''
        this.#say('ring fault', `queue ${queue}: ${decisionText(event.low | 0)}${at}`)
      } else if (event.kind === abi.TRACE_STALL) {
        this.#say('stall', `queue ${queue}: head ${event.at} waits ${event.low / 1e6} ms for tokens`)
        if (this.#listed.at(-2) === request) this.#listed.splice(-2, 1)
        request = undefined
      } else if (request) {
        loaded(request, header, event)
        if (event.kind !== abi.TRACE_VERDICT) continue
        request.decision = event.low | 0
        request.text = decisionText(request.decision)
        if (request.type !== undefined || header.seen >= 4) request.type = event.high
        this.#listed.push(request)
        const handed = planned.get(request.head)
        if (handed) this.#submit(request, handed)
        else this.#end(request)
      }
    }
  }

  #begin(queue: number, head: number): ListedRequest {
    const place = { kind: 'request', step: this.#number, nanos: this.#nanos } as const
    return { ...place, queue, head, descriptors: [], decision: UNDECIDED, text: '', segments: [] }
  }

  #submit(request: ListedRequest, { slot, segments }: PlannedRequest): void {
    const before = this.#inFlight.get(slot)
    if (before) before.dropped ??= `its record was given to another request (step ${this.#number})`
    request.segments = segments
    this.#inFlight.set(slot, request)
  }

  #end(request: ListedRequest): void {
    request.endStep = this.#number
    request.duration = this.#nanos - request.nanos
  }

  // complete() ---------------------------------------------------------------------------------------------

  #complete({ events, result = 0 }: Step, slot: number, answer: number): void {
    const request = this.#inFlight.get(slot)
    if (request) request.result = answer
    if (result === abi.COMPLETE_FLUSH) return
    if ((result | 0) === abi.COMPLETE_BAD_SLOT) {
      this.#say('late', `an answer for slot 0x${slot.toString(16)}, which has no request`)
      return
    }
    if (result === abi.COMPLETE_STALE) {
      const whose = request ? `of head ${request.head} (step ${request.step}) ` : ''
      this.#say('late', `the answer ${whose}comes after a reset and goes nowhere`)
    }
    if (request === undefined) return
    for (const event of events) loaded(request, undefined, event)
    this.#inFlight.delete(slot)
    if (result === abi.COMPLETE_DONE) this.#end(request)
  }
}

/** The bytes of a header that is cut into pieces. */
class Header {
  readonly bytes = new Uint8Array(16)
  seen = 0

  get sector(): bigint {
    return new DataView(this.bytes.buffer).getBigUint64(8, true)
  }
}

/** What the event tells of the request. */
function loaded(request: ListedRequest, header: Header | undefined, { kind, low, high }: TraceEvent): void {
  const value = (BigInt(high) << 32n) | BigInt(low)
  const last = request.descriptors.at(-1)
  if (kind === abi.TRACE_DESC_ADDR) {
    request.descriptors.push({ addr: value, len: 0, flags: 0, next: 0 })
  } else if (kind === abi.TRACE_DESC_REST && last) {
    last.len = low
    last.flags = high & 0xffff
    last.next = high >>> 16
  } else if (kind === abi.TRACE_TYPE) {
    request.type = low
  } else if (kind === abi.TRACE_SECTOR) {
    request.sector = value
  } else if (kind === abi.TRACE_HEADER_BYTE && header) {
    header.bytes[header.seen++ % 16] = low
    if (header.seen === 16) request.sector = header.sector
  } else if (kind === abi.TRACE_STATUS) {
    request.status = low
  } else if (kind === abi.TRACE_USED_ELEMENT) {
    request.usedLen = high
  } else if (kind === abi.TRACE_USED_HALF) {
    request.usedLen = low // the second half is the length
  }
}

const FLAGS: readonly (readonly [flag: number, letter: string])[] = [
  [spec.VIRTQ_DESC_F_NEXT, 'n'],
  [spec.VIRTQ_DESC_F_WRITE, 'w'],
  [spec.VIRTQ_DESC_F_INDIRECT, 'i'],
]

/** '0x1000+16(n)': address, length, flags NEXT, WRITE, INDIRECT and any others as a number. */
export function descriptorText({ addr, len, flags }: ListedDescriptor): string {
  const others = flags & ~(spec.VIRTQ_DESC_F_NEXT | spec.VIRTQ_DESC_F_WRITE | spec.VIRTQ_DESC_F_INDIRECT)
  const letters = FLAGS.map(([flag, letter]) => (flags & flag ? letter : '')).join('')
  return `0x${addr.toString(16)}+${len}(${letters}${others === 0 ? '' : `+0x${others.toString(16)}`})`
}

function chainText({ descriptors }: ListedRequest): string {
  return descriptors.length === 0 ? '' : `, chain ${descriptors.map(descriptorText).join(' ')}`
}
