// What a frame says: the name of what is touched or decided, and one line in plain words, both from the state of things
// right after it. Portable.

import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import { decisionText, registerName, throttleText } from '../../../replay/names.ts'
import type { Step, TraceEvent } from '../../../replay/step.ts'
import { descFlagNames, INTERRUPT_NAMES, namesOf, STATUS_BYTE_NAMES, STATUS_NAMES } from '../../spec-names.ts'
import { typeName } from './chain-model.ts'
import { faultDetail } from './fault-text.ts'
import type { MachineModel, Moment, Part } from './machine-model.ts'
import { eventReferences } from './references.ts'
import type { FrameKind } from './walk-types.ts'
import { count, hex } from './words.ts'

export interface Said {
  readonly kind: FrameKind
  readonly field: string
  readonly text: string
}

export function say(model: MachineModel, moment: Moment, part: Part): Said {
  const { step } = moment
  if (part.kind === 'driver') return { kind: 'driver', field: 'driver', text: driverText(model, moment) }
  if (part.kind === 'call') return { kind: 'call', field: callField(step), text: callText(model, step) }
  if (part.kind === 'data') return { kind: 'data', field: 'data', text: dataText(model, step) }
  if (part.kind === 'interrupt') return { kind: 'interrupt', field: 'interrupt', text: interruptText(model, step) }
  if (part.kind === 'trap') return { kind: 'decision', field: 'trap', text: 'the engine trapped: a bug of the engine' }
  return eventSaid(model, step, step.events[part.at] as TraceEvent)
}

// The driver -----------------------------------------------------------------------------------------------

function driverText(model: MachineModel, { changes }: Moment): string {
  const bytes = changes.reduce((sum, change) => sum + change.bytes.length, 0)
  const where = new Set(changes.map(({ gpa }) => placeOf(model, gpa)))
  return `the driver writes ${count(bytes, 'byte')}: ${[...where].join(', ')}`
}

function placeOf(model: MachineModel, gpa: number): string {
  for (const { ready, size, desc, avail, used } of model.registers.queues) {
    if (!ready) continue
    const isIn = (start: bigint, bytes: number): boolean => BigInt(gpa) >= start && BigInt(gpa) < start + BigInt(bytes)
    if (isIn(desc, spec.VIRTQ_DESC_BYTES * size)) return 'descriptors'
    if (isIn(avail, spec.VIRTQ_AVAIL_RING + spec.VIRTQ_AVAIL_ELEM_BYTES * size + 2)) return 'avail ring'
    if (isIn(used, spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * size + 2)) return 'used ring'
  }
  return 'buffers'
}

// Calls ----------------------------------------------------------------------------------------------------

function callField({ call, args }: Step): string {
  return call === 'mmioRead' || call === 'mmioWrite' ? registerName(args[0] ?? 0) : call
}

function callText(model: MachineModel, step: Step): string {
  const { call, args, result = 0 } = step
  const [first = 0, second = 0, third = 0] = args
  switch (call) {
    case 'init':
      return initText(model, result)
    case 'mmioRead':
      return `read ${registerName(first)}${widthText(second)}: ${readText(first, result)}`
    case 'mmioWrite':
      return writeText(model, step)
    case 'plan':
      return `plan: look what is new in queue ${first}`
    case 'complete':
      return completeText(model, first, second, result)
    case 'publish':
      return `publish: show the driver what was used in queue ${first}`
    case 'setCapacity':
      return `the host sets the capacity: ${count(model.registers.capacitySectors, 'sector')}`
    case 'setThrottle':
      return `the host sets the throttle: ${throttleText(step.throttle ?? [])}`
    case 'fail':
      return `the host reports a failure: Status is now ${statusText(model.registers.status)}`
    case 'kicked':
      return `queue ${first} was kicked by eventfd, ${second === 1 ? 'once' : `${second} times`}${ignored(result)}`
    case 'thaw':
      return `the device goes on from a snapshot: Status ${statusText(model.registers.status)}`
    default:
      return `${call}(${args.join(', ')}), ${third}`
  }
}

function initText({ registers }: MachineModel, result: number): string {
  if (result !== 0) return `init: the engine refuses this configuration (${result | 0})`
  const { capacitySectors, queues, queueSizeMax } = registers
  return `init: a disk of ${count(capacitySectors, 'sector')}, ${count(queues.length, 'queue')} of up to ${queueSizeMax} entries`
}

function widthText(width: number): string {
  return width === 4 ? '' : `, ${count(width, 'byte')} wide`
}

function readText(offset: number, result: number): string {
  if (offset === spec.VIRTIO_MMIO_STATUS) return statusText(result)
  return offset === spec.VIRTIO_MMIO_INTERRUPT_STATUS ? interruptBits(result) : hex(result)
}

function statusText(status: number): string {
  return status === 0 ? '0' : `${hex(status)} (${namesOf(status, STATUS_NAMES).join(', ')})`
}

function interruptBits(bits: number): string {
  return bits === 0 ? '0' : `${hex(bits)} (${namesOf(bits, INTERRUPT_NAMES).join(', ')})`
}

function ignored(effects: number): string {
  return effects & abi.EFFECT_KICK ? '' : ': ignored, no such queue is live'
}

function writeText(model: MachineModel, { args, result = 0 }: Step): string {
  const [offset = 0, width = 0, value = 0] = args
  const { registers } = model
  const what = `write ${registerName(offset)}${widthText(width)}`
  if (offset < spec.VIRTIO_MMIO_CONFIG && width !== 4) return `${what}: dropped, registers are four bytes wide`
  if (offset >= spec.VIRTIO_MMIO_CONFIG) return `${what} = ${hex(value)}: dropped`
  switch (offset) {
    case spec.VIRTIO_MMIO_STATUS: {
      if (value === 0) return `${what} = 0: reset`
      const refused = registers.status === value ? '' : `: refused, Status stays ${statusText(registers.status)}`
      return `${what} = ${statusText(value)}${refused}`
    }
    case spec.VIRTIO_MMIO_QUEUE_READY: {
      const queue = registers.queues[registers.queueSel]
      if (value !== 1) return `${what} = ${value}: queue ${registers.queueSel} is stopped`
      const verdict = queue?.ready ? `queue ${registers.queueSel} is ready, ${queue.size} entries` : 'refused'
      return `${what} = 1: ${verdict}`
    }
    case spec.VIRTIO_MMIO_QUEUE_NOTIFY:
      return `${what} = ${value}: a kick${ignored(result)}`
    case spec.VIRTIO_MMIO_INTERRUPT_ACK:
      return `${what} = ${interruptBits(value)}: InterruptStatus is now ${registers.interruptStatus}`
    default:
      return `${what} = ${hex(value)}`
  }
}

function completeText({ chain }: MachineModel, slot: number, answer: number, result: number): string {
  if ((result | 0) === abi.COMPLETE_BAD_SLOT) return `complete: no request is in flight in slot ${hex(slot)}`
  const whose = chain ? `head ${chain.head}` : `slot ${hex(slot)}`
  if (result === abi.COMPLETE_STALE) return `complete: the answer for ${whose} comes after a reset and goes nowhere`
  const next = result === abi.COMPLETE_FLUSH ? '; it must be made durable first' : ''
  return `complete: the back end answers ${answer} for ${whose}${next}`
}

function dataText({ chain }: MachineModel, { args, payload }: Step): string {
  const answer = args[1] ?? 0
  const bytes = payload instanceof Uint8Array ? payload.length : chain?.segments.reduce((sum, { len }) => sum + len, 0)
  const total = bytes ?? 0
  if (!(answer >= 0 && answer <= total)) return `the back end could not move the ${count(total, 'byte')}`
  const at = chain?.sector === undefined ? '' : ` at sector ${chain.sector}`
  const places = count(chain?.segments.length ?? 0, 'piece')
  const content = payload instanceof Uint8Array ? '' : ', not in the trace'
  if (chain?.isWrite) return `the back end stored ${answer} of ${count(total, 'byte')}${at}, from ${places}${content}`
  return `the back end read ${answer} of ${count(total, 'byte')}${at}, into ${places}${content}`
}

// Interrupts -----------------------------------------------------------------------------------------------

export function wasRaised({ counters }: Step): boolean {
  return counters.some(([index]) => index === abi.COUNTER_INTERRUPTS)
}

function interruptText(model: MachineModel, step: Step): string {
  const { queue, registers } = model
  if (step.call === 'setCapacity') return 'interrupt raised: configuration change, a new capacity'
  if (step.call !== 'publish') return 'interrupt raised: configuration change, NEEDS_RESET'
  const loaded = (kind: number): number => step.events.find((event) => event.kind === kind)?.low ?? 0
  if (!registers.eventIdx) {
    const flags = loaded(abi.TRACE_AVAIL_FLAGS)
    return wasRaised(step) ? `interrupt raised: avail.flags is ${flags}` : `no interrupt: avail.flags is NO_INTERRUPT`
  }
  const event = loaded(abi.TRACE_USED_EVENT)
  const went = `used.idx went from ${queue?.usedIdxBefore ?? 0} to ${queue?.usedIdx ?? 0}`
  return wasRaised(step)
    ? `interrupt raised: used_event is ${event}, ${went}`
    : `no interrupt: used_event is ${event}, ${went}`
}

// Loads, stores, decisions ---------------------------------------------------------------------------------

function eventSaid(model: MachineModel, step: Step, event: TraceEvent): Said {
  const { kind, at, low } = event
  if (kind === abi.TRACE_VERDICT) return { kind: 'decision', field: 'verdict', text: verdictText(model, event) }
  if (kind === abi.TRACE_RING_FAULT) {
    const text = `ring fault: ${withSection(decisionText(low | 0), event)}; the queue is poisoned, NEEDS_RESET is set`
    return { kind: 'decision', field: 'ring fault', text }
  }
  if (kind === abi.TRACE_STALL) {
    const text = `head ${at} waits ${low / 1e6} ms for tokens (rule 20); it stays in the avail ring`
    return { kind: 'decision', field: 'stall', text }
  }
  const [field, text] = accessText(model, step, event)
  const isLoad = kind <= abi.TRACE_LOAD_LAST
  return { kind: isLoad ? 'load' : 'store', field, text: `${isLoad ? 'load' : 'store'} ${text}` }
}

function verdictText({ chain, registers }: MachineModel, event: TraceEvent): string {
  const code = event.low | 0
  const detail = chain && faultDetail(code, chain, registers)
  const text = `decision on head ${event.at}: ${withSection(decisionText(code), event)}`
  return detail === undefined ? text : `${text}: ${detail}`
}

/** 'IOERR, past the end of the disk (fault f)' with the section of the standard in the brackets. */
function withSection(text: string, event: TraceEvent): string {
  const section = eventReferences(event)[0]?.section
  return section === undefined ? text : text.replace(/\)$/, `; ${section})`)
}

function accessText(model: MachineModel, step: Step, event: TraceEvent): [field: string, text: string] {
  const { kind, at: gpa, low, high, bytes } = event
  const { queue, chain } = model
  const wide = (BigInt(high) << 32n) | BigInt(low)
  switch (kind) {
    case abi.TRACE_AVAIL_FLAGS:
      return ['avail.flags', `avail.flags = ${low}${low & spec.VIRTQ_AVAIL_F_NO_INTERRUPT ? ' (NO_INTERRUPT)' : ''}`]
    case abi.TRACE_AVAIL_IDX:
      return ['avail.idx', `avail.idx = ${low}: ${offeredText((low - (queue?.nextAvail ?? 0)) & 0xffff, model, step)}`]
    case abi.TRACE_HEAD: {
      const slot = slotOf(gpa, queue?.avail, spec.VIRTQ_AVAIL_RING, spec.VIRTQ_AVAIL_ELEM_BYTES)
      return [`avail.ring[${slot}]`, `avail.ring[${slot}] = ${low}: a chain begins at descriptor ${low}`]
    }
    case abi.TRACE_USED_EVENT:
      return ['used_event', `used_event = ${low}: tell the driver once used.idx has passed it`]
    case abi.TRACE_DESC_ADDR: {
      const index = chain?.descriptors.at(-1)?.index
      return [`descriptor ${index}`, `descriptor ${index}: addr ${hex(wide)}`]
    }
    case abi.TRACE_DESC_REST: {
      const index = chain?.descriptors.at(-1)?.index
      const flags = high & 0xffff
      const names = descFlagNames(flags).join(', ') || 'no flags'
      const next = flags & spec.VIRTQ_DESC_F_NEXT ? `, next ${high >>> 16}` : ''
      return [`descriptor ${index}`, `descriptor ${index}: len ${low}, ${names}${next}`]
    }
    case abi.TRACE_TYPE:
      return ['header type', `header type = ${low}: ${typeName(low)}`]
    case abi.TRACE_SECTOR:
      return ['header sector', `header sector = ${wide}`]
    case abi.TRACE_HEADER_BYTE:
      return ['header byte', `header byte ${(chain?.headerBytes.length ?? 1) - 1} = ${hex(low)}`]
    default:
      return storeText(model, event, bytes)
  }
}

function storeText(model: MachineModel, event: TraceEvent, bytes?: Uint8Array): [field: string, text: string] {
  const { kind, at: gpa, low, high } = event
  const { queue } = model
  const slot = slotOf(gpa, queue?.used, spec.VIRTQ_USED_RING, spec.VIRTQ_USED_ELEM_BYTES)
  switch (kind) {
    case abi.TRACE_USED_ELEMENT:
      return [`used.ring[${slot}]`, `used.ring[${slot}] = {id ${low}, len ${high}}`]
    case abi.TRACE_USED_HALF: {
      const offset = BigInt(gpa) - (queue?.used ?? 0n) - BigInt(spec.VIRTQ_USED_RING)
      const half = offset % BigInt(spec.VIRTQ_USED_ELEM_BYTES) === 0n ? 'id' : 'len'
      return [`used.ring[${slot}].${half}`, `used.ring[${slot}].${half} = ${low}`]
    }
    case abi.TRACE_USED_IDX:
      return ['used.idx', `used.idx = ${low}`]
    case abi.TRACE_USED_FLAGS:
      return ['used.flags', `used.flags = ${low}: ${low ? 'no kicks, please (NO_NOTIFY)' : 'kick again from now on'}`]
    case abi.TRACE_AVAIL_EVENT:
      return ['avail_event', `avail_event = ${low}: kick when avail.idx passes it`]
    case abi.TRACE_STATUS:
      return ['status byte', `status byte = ${low} (${STATUS_BYTE_NAMES[low] ?? 'no status'})`]
    case abi.TRACE_ZERO:
      return ['zero-fill', `${count(low, 'zero byte')} at ${hex(gpa)}: past the end of the data`]
    default: {
      const text = new TextDecoder('latin1').decode(bytes).replace(/[^\x20-\x7e]+/g, '')
      return ['serial', `${count(low, 'byte')} of the serial at ${hex(gpa)}: '${text}'`]
    }
  }
}

function slotOf(gpa: number, ring: bigint | undefined, first: number, bytes: number): number {
  return Math.floor(Number(BigInt(gpa) - (ring ?? 0n) - BigInt(first)) / bytes)
}

function offeredText(offered: number, { queue }: MachineModel, { call }: Step): string {
  const was = `(next_avail ${call === 'publish' ? 'is' : 'was'} ${queue?.nextAvail ?? 0})`
  if (offered === 0) return `nothing new ${was}`
  if (offered > (queue?.size ?? 0)) return `${offered} chains, more than the ring has entries ${was}`
  return `${offered === 1 ? 'one new chain' : `${offered} new chains`} ${was}`
}
