// The form's state: a scenario with its numbers as they are typed. Turns a scenario into a draft, and a draft into a
// scenario or into messages, each with the name of its field. No components.

import { BREAKAGES, type BreakageId } from './model/breakages.ts'
import type {
  Scenario,
  ScenarioAction,
  ScenarioDevice,
  ScenarioLimits,
  ScenarioPiece,
  ScenarioRequest,
} from './model/scenario.ts'
import {
  BLOCK_SIZE_MAX,
  LIMIT_NAMES,
  PIECE_BYTES_MAX,
  QUEUE_SIZE_MAX,
  REQUESTS_MAX,
  ScenarioError,
  SECTORS_MAX,
  WAIT_MILLIS_MAX,
} from './model/scenario.ts'
import { decodeScenario, encodeScenario } from './model/scenario-code.ts'

/** What is typed; '' = not given. */
type Text = string

export type DraftLimits = Readonly<Record<(typeof LIMIT_NAMES)[number], Text>>

export interface DraftPiece {
  readonly writable: boolean
  readonly bytes: Text
  readonly len: Text
  readonly addr: Text
  readonly flags: Text
  readonly next: Text
}

export interface DraftRequest {
  readonly type: Text
  readonly sector: Text
  readonly text: Text
  readonly head: Text
  readonly ringEntry: Text
  readonly pieces: readonly DraftPiece[]
  /** applied when the scenario is made, so that each can be taken back */
  readonly broken: readonly BreakageId[]
}

export type DraftAction =
  | {
      readonly do: 'kick'
      readonly requests: readonly DraftRequest[]
      readonly idxAhead: Text
      readonly availFlags: Text
      readonly usedEvent: Text
    }
  | { readonly do: 'wait'; readonly millis: Text }
  | { readonly do: 'answer'; readonly count: Text }
  | { readonly do: 'reset' }
  | { readonly do: 'register'; readonly offset: Text; readonly value: Text }
  | { readonly do: 'resize'; readonly sectors: Text }
  | { readonly do: 'limit'; readonly limits: DraftLimits }

export interface DraftDevice {
  readonly sectors: Text
  readonly storedSectors: Text
  readonly queueSize: Text
  readonly segMax: Text
  readonly sizeMax: Text
  readonly blockSize: Text
  readonly serial: Text
  readonly border: Text
  readonly desc: Text
  readonly avail: Text
  readonly used: Text
  readonly readOnly: boolean
  readonly eventIdx: boolean
  readonly flush: boolean
  readonly late: boolean
  readonly limits: DraftLimits
}

export interface Draft {
  readonly device: DraftDevice
  readonly actions: readonly DraftAction[]
}

// Scenario to draft ----------------------------------------------------------------------------------------

function textOf(value: number | bigint | undefined, base: 10 | 16 = 10): Text {
  if (value === undefined) return ''
  return base === 16 ? `0x${value.toString(16)}` : String(value)
}

function limitsOf(limits: ScenarioLimits = {}): DraftLimits {
  const { iops, iopsBurst, bytesPerSecond, bytesBurst } = limits
  return {
    iops: textOf(iops),
    iopsBurst: textOf(iopsBurst),
    bytesPerSecond: textOf(bytesPerSecond),
    bytesBurst: textOf(bytesBurst),
  }
}

function pieceOf({ writable, bytes, len, addr, flags, next }: ScenarioPiece): DraftPiece {
  return {
    writable,
    bytes: textOf(bytes),
    len: textOf(len),
    addr: textOf(addr, 16),
    flags: textOf(flags),
    next: textOf(next),
  }
}

function requestOf({ type, sector, pieces, text = '', head, ringEntry }: ScenarioRequest): DraftRequest {
  return {
    type: textOf(type),
    sector: textOf(sector),
    text,
    head: textOf(head),
    ringEntry: textOf(ringEntry),
    pieces: pieces.map(pieceOf),
    broken: [],
  }
}

function actionOf(action: ScenarioAction): DraftAction {
  switch (action.do) {
    case 'kick': {
      const { requests, idxAhead, availFlags, usedEvent } = action
      return {
        do: 'kick',
        requests: requests.map(requestOf),
        idxAhead: textOf(idxAhead),
        availFlags: textOf(availFlags),
        usedEvent: textOf(usedEvent),
      }
    }
    case 'wait':
      return { do: 'wait', millis: textOf(action.millis) }
    case 'answer':
      return { do: 'answer', count: textOf(action.count) }
    case 'reset':
      return action
    case 'register':
      return { do: 'register', offset: textOf(action.offset, 16), value: textOf(action.value) }
    case 'resize':
      return { do: 'resize', sectors: textOf(action.sectors) }
    case 'limit':
      return { do: 'limit', limits: limitsOf(action.limits) }
  }
}

export function draftOf({ device, actions }: Scenario): Draft {
  return {
    device: {
      sectors: textOf(device.sectors),
      storedSectors: textOf(device.storedSectors),
      queueSize: textOf(device.queueSize),
      segMax: textOf(device.segMax),
      sizeMax: textOf(device.sizeMax),
      blockSize: textOf(device.blockSize),
      serial: device.serial ?? '',
      border: textOf(device.border, 16),
      desc: textOf(device.desc, 16),
      avail: textOf(device.avail, 16),
      used: textOf(device.used, 16),
      readOnly: device.readOnly ?? false,
      eventIdx: device.eventIdx ?? false,
      flush: device.flush ?? true,
      late: device.late ?? false,
      limits: limitsOf(device.limits),
    },
    actions: actions.map(actionOf),
  }
}

/** What a new action of a kind begins with. */
export function newAction(kind: DraftAction['do'], request: DraftRequest): DraftAction {
  switch (kind) {
    case 'kick':
      return { do: 'kick', requests: [request], idxAhead: '', availFlags: '', usedEvent: '' }
    case 'wait':
      return { do: 'wait', millis: '500' }
    case 'answer':
      return { do: 'answer', count: '' }
    case 'reset':
      return { do: 'reset' }
    case 'register':
      return { do: 'register', offset: '0x50', value: '0' }
    case 'resize':
      return { do: 'resize', sectors: '64' }
    case 'limit':
      return { do: 'limit', limits: limitsOf({ iops: 2 }) }
  }
}

// Draft to scenario ----------------------------------------------------------------------------------------

/** Messages by field: 'device.sectors', 'actions[0].requests[1].pieces[2].addr'; '' for all that belongs to none. */
export type Messages = ReadonlyMap<string, string>

interface Bounds {
  readonly min: number
  readonly max: number | bigint
  readonly isNeeded?: boolean
}

const U16: Bounds = { min: 0, max: 0xffff }
const U32: Bounds = { min: 0, max: 0xffffffff }
const U64: Bounds = { min: 0, max: 2n ** 64n - 1n }
const TOKENS: Bounds = { min: 1, max: Number.MAX_SAFE_INTEGER }

class Reader {
  readonly messages = new Map<string, string>()

  wide(text: Text, name: string, { min, max, isNeeded }: Bounds): bigint | undefined {
    const typed = text.trim()
    if (typed === '') {
      if (isNeeded) this.messages.set(name, `A number from ${min} to ${max} is needed here.`)
      return undefined
    }
    const value = /^(\d{1,20}|0x[\da-f]{1,16})$/i.test(typed) ? BigInt(typed) : undefined
    if (value !== undefined && value >= BigInt(min) && value <= BigInt(max)) return value
    this.messages.set(name, `A whole number from ${min} to ${max}, decimal or 0x…, not '${typed.slice(0, 24)}'.`)
    return undefined
  }

  number(text: Text, name: string, bounds: Bounds): number | undefined {
    const value = this.wide(text, name, bounds)
    return value === undefined ? undefined : Number(value)
  }

  limits(limits: DraftLimits, name: string): ScenarioLimits {
    return present(
      Object.fromEntries(LIMIT_NAMES.map((limit) => [limit, this.number(limits[limit], `${name}.${limit}`, TOKENS)])),
    )
  }

  device(device: DraftDevice): ScenarioDevice {
    const number = (name: keyof DraftDevice & keyof ScenarioDevice, bounds: Bounds): number | undefined =>
      this.number(device[name] as Text, `device.${name}`, bounds)
    const limits = this.limits(device.limits, 'device.limits')
    return {
      sectors: number('sectors', { min: 1, max: SECTORS_MAX, isNeeded: true }) ?? 1,
      queueSize: number('queueSize', { min: 1, max: QUEUE_SIZE_MAX, isNeeded: true }) ?? 1,
      ...present({
        storedSectors: number('storedSectors', { min: 0, max: SECTORS_MAX }),
        segMax: number('segMax', { min: 1, max: QUEUE_SIZE_MAX - 2 }),
        sizeMax: number('sizeMax', { min: 1, max: U32.max }),
        blockSize: number('blockSize', { min: 512, max: BLOCK_SIZE_MAX }),
        border: number('border', U32),
        serial: device.serial === '' ? undefined : device.serial,
        desc: this.wide(device.desc, 'device.desc', U64),
        avail: this.wide(device.avail, 'device.avail', U64),
        used: this.wide(device.used, 'device.used', U64),
        readOnly: device.readOnly || undefined,
        eventIdx: device.eventIdx || undefined,
        flush: device.flush ? undefined : false,
        late: device.late || undefined,
        limits: Object.keys(limits).length > 0 ? limits : undefined,
      }),
    }
  }

  request(request: DraftRequest, name: string): ScenarioRequest {
    return {
      type: this.number(request.type, `${name}.type`, { ...U32, isNeeded: true }) ?? 0,
      sector: this.wide(request.sector, `${name}.sector`, { ...U64, isNeeded: true }) ?? 0n,
      pieces: request.pieces.map((piece, i) => this.piece(piece, `${name}.pieces[${i}]`)),
      ...present({
        text: request.text === '' ? undefined : request.text,
        head: this.number(request.head, `${name}.head`, U16),
        ringEntry: this.number(request.ringEntry, `${name}.ringEntry`, U16),
      }),
    }
  }

  piece(piece: DraftPiece, name: string): ScenarioPiece {
    return {
      writable: piece.writable,
      bytes: this.number(piece.bytes, `${name}.bytes`, { min: 0, max: PIECE_BYTES_MAX, isNeeded: true }) ?? 0,
      ...present({
        len: this.number(piece.len, `${name}.len`, U32),
        addr: this.wide(piece.addr, `${name}.addr`, U64),
        flags: this.number(piece.flags, `${name}.flags`, U16),
        next: this.number(piece.next, `${name}.next`, U16),
      }),
    }
  }

  action(action: DraftAction, name: string, device: ScenarioDevice): ScenarioAction {
    const number = (text: Text, field: string, bounds: Bounds): number =>
      this.number(text, `${name}.${field}`, { ...bounds, isNeeded: true }) ?? bounds.min
    switch (action.do) {
      case 'kick':
        return this.kick(action, name, device)
      case 'wait':
        return { do: 'wait', millis: number(action.millis, 'millis', { min: 1, max: WAIT_MILLIS_MAX }) }
      case 'answer':
        return {
          do: 'answer',
          ...present({ count: this.number(action.count, `${name}.count`, { min: 1, max: REQUESTS_MAX }) }),
        }
      case 'reset':
        return { do: 'reset' }
      case 'register':
        return {
          do: 'register',
          offset: number(action.offset, 'offset', U16),
          value: number(action.value, 'value', U32),
        }
      case 'resize':
        return { do: 'resize', sectors: number(action.sectors, 'sectors', { min: 0, max: SECTORS_MAX }) }
      case 'limit':
        return { do: 'limit', limits: this.limits(action.limits, `${name}.limits`) }
    }
  }

  kick(action: Extract<DraftAction, { do: 'kick' }>, name: string, device: ScenarioDevice): ScenarioAction {
    const requests = action.requests.map((draft, i) => {
      const whole = this.request(draft, `${name}.requests[${i}]`)
      const broken = BREAKAGES.filter(({ id }) => draft.broken.includes(id))
      return broken.reduce((request, { apply }) => apply(request, device), whole)
    })
    return {
      do: 'kick',
      requests,
      ...present({
        idxAhead: this.number(action.idxAhead, `${name}.idxAhead`, U16),
        availFlags: this.number(action.availFlags, `${name}.availFlags`, U16),
        usedEvent: this.number(action.usedEvent, `${name}.usedEvent`, U16),
      }),
    }
  }
}

/** Without what is undefined. */
function present<Value extends object>(value: Value): { [Key in keyof Value]?: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [Key in keyof Value]?: Exclude<Value[Key], undefined>
  }
}

/** The scenario, if there are no messages. */
export function scenarioOf(draft: Draft): { scenario: Scenario | undefined; messages: Messages } {
  const reader = new Reader()
  const device = reader.device(draft.device)
  const actions = draft.actions.map((action, i) => reader.action(action, `actions[${i}]`, device))
  const { messages } = reader
  if (messages.size > 0) return { scenario: undefined, messages }
  try {
    // The same check as for a link, so that every scenario that can be kicked can be shared.
    return { scenario: decodeScenario(encodeScenario({ device, actions })), messages }
  } catch (error) {
    if (!(error instanceof ScenarioError)) throw error
    return { scenario: undefined, messages: placed(error.message) }
  }
}

/** 'scenario: the scenario.device.segMax must be ...' belongs to 'device.segMax'. */
function placed(message: string): Messages {
  const text = message.replace(/^scenario: /, '')
  const [, field, rest] = /^(?:the scenario\.)?((?:device|actions)[\w.[\]]*)[: ]+(.*)$/s.exec(text) ?? []
  if (field === undefined || rest === undefined) return new Map([['', `${text}.`]])
  const limit = /\b(iops|iopsBurst|bytesPerSecond|bytesBurst)\b/.exec(rest)?.[1]
  const name = field.endsWith('limits') && limit ? `${field}.${limit}` : field
  return new Map([[name, `${rest.replace(/^throttle: /, '').replace(/^must/, 'Must')}.`]])
}
