// A scenario as text for a URL and back: JSON in base64url, 64-bit numbers as strings. The text may come from anybody,
// so every field is checked: what comes out is a scenario of bounded size, or a ScenarioError that says in one line
// which field is wrong and what is possible. Portable.

import { throttleRecord } from '../../../device/throttle.ts'
import { fromBase64Url, toBase64Url } from '../../base64url.ts'
import {
  ACTIONS_MAX,
  BLOCK_SIZE_MAX,
  LIMIT_NAMES,
  PIECE_BYTES_MAX,
  PIECES_MAX,
  QUEUE_SIZE_MAX,
  RAM_BYTES,
  REQUESTS_MAX,
  type Scenario,
  type ScenarioAction,
  type ScenarioDevice,
  ScenarioError,
  type ScenarioLimits,
  type ScenarioPiece,
  type ScenarioRequest,
  SECTORS_MAX,
  WAIT_MILLIS_MAX,
} from './scenario.ts'

/** Format of the text; raised when an old text would mean something else. */
const VERSION = 1
/** Of the text; the largest scenarios are far below. */
const TEXT_MAX = 1 << 17

const U16 = 0xffff
const U32 = 0xffffffff
const U64 = 2n ** 64n - 1n

// Writing --------------------------------------------------------------------------------------------------

/** For a URL: letters, digits, - and _ only. */
export function encodeScenario(scenario: Scenario): string {
  const json = JSON.stringify({ v: VERSION, ...scenario }, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  return toBase64Url(new TextEncoder().encode(json))
}

// Reading --------------------------------------------------------------------------------------------------

/** Throws ScenarioError for anything but a text of encodeScenario(), or one that could be. */
export function decodeScenario(text: string): Scenario {
  return checkScenario(parse(text))
}

function parse(text: string): unknown {
  if (text.length > TEXT_MAX) throw new ScenarioError(`scenario: ${text.length} characters, at most ${TEXT_MAX}`)
  const bytes = fromBase64Url(text)
  if (bytes === undefined)
    throw new ScenarioError('scenario: this is no base64url text, or not all of it: copy the whole link')
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw new ScenarioError('scenario: this does not hold a scenario, or not all of one: copy the whole link')
  }
}

type Check<Value> = (value: unknown, name: string) => Value

function refuse(name: string, wanted: string, value: unknown): never {
  const seen = JSON.stringify(value) ?? 'nothing'
  throw new ScenarioError(
    `scenario: ${name} must be ${wanted}, not ${seen.length > 40 ? `${seen.slice(0, 40)}…` : seen}`,
  )
}

function whole(min: number, max: number): Check<number> {
  return (value, name) => {
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number
    return refuse(name, `a whole number from ${min} to ${max}`, value)
  }
}

function powerOfTwo(min: number, max: number): Check<number> {
  return (value, name) => {
    const number = value as number
    if (Number.isInteger(value) && number >= min && number <= max && (number & (number - 1)) === 0) return number
    return refuse(name, `a power of two from ${min} to ${max}`, value)
  }
}

const flag: Check<boolean> = (value, name) =>
  typeof value === 'boolean' ? value : refuse(name, 'true or false', value)

const wide: Check<bigint> = (value, name) => {
  if (typeof value === 'string' && /^\d{1,20}$/.test(value) && BigInt(value) <= U64) return BigInt(value)
  return refuse(name, 'a string of digits, below 2^64', value)
}

function ascii(max: number): Check<string> {
  return (value, name) => {
    if (typeof value === 'string' && value.length <= max && /^[\x20-\x7e]*$/.test(value)) return value
    return refuse(name, `at most ${max} printable ASCII characters`, value)
  }
}

function items<Value>(check: Check<Value>, max: number): Check<Value[]> {
  return (value, name) => {
    if (!Array.isArray(value)) return refuse(name, 'a list', value)
    if (value.length > max) throw new ScenarioError(`scenario: ${name} has ${value.length} entries, at most ${max}`)
    return value.map((item, i) => check(item, `${name}[${i}]`))
  }
}

/** An object with these fields and no others; what is not there stays away. */
function fields<Value>(checks: Readonly<Record<string, Check<unknown>>>, needed: readonly string[]): Check<Value> {
  return (value, name) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(name, 'an object', value)
    const given = value as Record<string, unknown>
    for (const key of Object.keys(given)) {
      if (!Object.hasOwn(checks, key)) {
        const known = Object.keys(checks).join(', ')
        throw new ScenarioError(`scenario: ${name} has a field '${key.slice(0, 40)}'; it may have ${known}`)
      }
    }
    const made: Record<string, unknown> = {}
    for (const [key, check] of Object.entries(checks)) {
      if (given[key] !== undefined) made[key] = check(given[key], `${name}.${key}`)
      else if (needed.includes(key)) throw new ScenarioError(`scenario: ${name}.${key} is missing`)
    }
    return made as Value
  }
}

const checkPiece = fields<ScenarioPiece>(
  {
    writable: flag,
    bytes: whole(0, PIECE_BYTES_MAX),
    len: whole(0, U32),
    addr: wide,
    flags: whole(0, U16),
    next: whole(0, U16),
  },
  ['writable', 'bytes'],
)

const checkRequest = fields<ScenarioRequest>(
  {
    type: whole(0, U32),
    sector: wide,
    pieces: items(checkPiece, PIECES_MAX),
    text: ascii(64),
    head: whole(0, U16),
    ringEntry: whole(0, U16),
  },
  ['type', 'sector', 'pieces'],
)

const checkPlainLimits = fields<ScenarioLimits>(
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, whole(1, Number.MAX_SAFE_INTEGER)])),
  [],
)

const checkLimits: Check<ScenarioLimits> = (value, name) => {
  const limits = checkPlainLimits(value, name)
  try {
    throttleRecord(limits)
  } catch (error) {
    throw new ScenarioError(`scenario: ${name}: ${(error as Error).message}`)
  }
  return limits
}

const said: Check<string> = (value) => value as string

const ACTIONS: Readonly<Record<ScenarioAction['do'], Check<ScenarioAction>>> = {
  kick: fields(
    {
      do: said,
      requests: items(checkRequest, REQUESTS_MAX),
      idxAhead: whole(0, U16),
      availFlags: whole(0, U16),
      usedEvent: whole(0, U16),
    },
    ['requests'],
  ),
  wait: fields({ do: said, millis: whole(1, WAIT_MILLIS_MAX) }, ['millis']),
  answer: fields({ do: said, count: whole(1, REQUESTS_MAX) }, []),
  reset: fields({ do: said }, []),
  register: fields({ do: said, offset: whole(0, U16), value: whole(0, U32) }, ['offset', 'value']),
  resize: fields({ do: said, sectors: whole(0, SECTORS_MAX) }, ['sectors']),
  limit: fields({ do: said, limits: checkLimits }, ['limits']),
}

const checkAction: Check<ScenarioAction> = (value, name) => {
  const what = (value as { do?: unknown } | null)?.do
  if (typeof what === 'string' && Object.hasOwn(ACTIONS, what))
    return ACTIONS[what as ScenarioAction['do']](value, name)
  return refuse(`${name}.do`, `one of ${Object.keys(ACTIONS).join(', ')}`, what)
}

const checkDevice = fields<ScenarioDevice>(
  {
    sectors: whole(1, SECTORS_MAX),
    storedSectors: whole(0, SECTORS_MAX),
    readOnly: flag,
    queueSize: powerOfTwo(1, QUEUE_SIZE_MAX),
    eventIdx: flag,
    flush: flag,
    segMax: whole(1, QUEUE_SIZE_MAX - 2),
    sizeMax: whole(1, U32),
    blockSize: powerOfTwo(512, BLOCK_SIZE_MAX),
    serial: ascii(20),
    limits: checkLimits,
    late: flag,
    border: whole(4096, RAM_BYTES - 4096),
    desc: wide,
    avail: wide,
    used: wide,
  },
  ['sectors', 'queueSize'],
)

const checkAll = fields<Scenario & { v: number }>(
  { v: whole(VERSION, VERSION), device: checkDevice, actions: items(checkAction, ACTIONS_MAX) },
  ['v', 'device', 'actions'],
)

function checkScenario(value: unknown): Scenario {
  const { device, actions } = checkAll(value, 'the scenario')
  const most = Math.max(device.queueSize, 4) - 2
  if ((device.segMax ?? 1) > most) {
    throw new ScenarioError(`scenario: device.segMax must be at most ${most} for a queue of ${device.queueSize}`)
  }
  if ((device.border ?? 0) % 4096 !== 0) refuse('device.border', 'a multiple of 4096', device.border)
  const requests = actions.flatMap((action) => (action.do === 'kick' ? action.requests : []))
  const pieces = requests.reduce((sum, request) => sum + request.pieces.length, 0)
  for (const [count, max, what] of [
    [requests.length, REQUESTS_MAX, 'requests'],
    [pieces, PIECES_MAX, 'pieces'],
  ] as const) {
    if (count > max) throw new ScenarioError(`scenario: ${count} ${what} in all actions together, at most ${max}`)
  }
  return { device, actions }
}
