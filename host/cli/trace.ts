// `vblk trace`: what happened in a recorded trace, request by request, for people, or as JSON. host/replay/listing.ts
// puts the requests together; here they are chosen and printed.

import { VERDICT_UNSUPPORTED } from '../../assembly/abi.ts'
import { descriptorText, type Listed, type ListedRequest, list } from '../replay/listing.ts'
import type { TRACE } from './declarations.ts'
import { jsonText } from './json.ts'
import { type Given, UsageError } from './options.ts'
import { readTrace } from './trace-file.ts'

const TYPES: Readonly<Record<string, number>> = { read: 0, write: 1, flush: 4, id: 8 }
const STATUSES: readonly string[] = ['ok', 'ioerr', 'unsupp']
type Test = (listed: Listed) => boolean

export async function trace({ values, operand: file }: Given<typeof TRACE>): Promise<number> {
  const tests = values.filter.map(testOf)
  const recorded = await readTrace(file)
  const chosen = list(recorded).filter((one) => tests.every((test) => test(one)))
  process.stdout.write(values.json ? jsonText(chosen) : chosen.map(text).join(''))
  return 0
}

// Filters --------------------------------------------------------------------------------------------------

const requests = (test: (request: ListedRequest) => boolean): Test => {
  return (one) => one.kind === 'request' && test(one)
}

const FILTERS: Readonly<Record<string, (value: string) => Test>> = {
  type: (value) => {
    const type = TYPES[value] ?? Number(whole('type', value, Object.keys(TYPES)))
    return requests((request) => request.type === type)
  },
  status: (value) => {
    const status = STATUSES.indexOf(value)
    if (value === 'none') return requests((request) => request.status === undefined)
    if (status < 0) throw new UsageError(`--filter status=${value}: it is one of ${STATUSES.join(', ')}, none`)
    return requests((request) => request.status === status)
  },
  head: (value) => numbered('head', value, (request) => BigInt(request.head)),
  queue: (value) => numbered('queue', value, (request) => BigInt(request.queue)),
  sector: (value) => numbered('sector', value, (request) => request.sector),
}

const WORDS: Readonly<Record<string, Test>> = {
  fault: (one) => {
    if (one.kind === 'event') return one.what === 'ring fault' || one.what === 'trap'
    return one.decision < 0 || one.decision === VERDICT_UNSUPPORTED
  },
  requests: requests(() => true),
}

function testOf(expression: string): Test {
  const [key = '', ...rest] = expression.split('=')
  if (rest.length === 0 && Object.hasOwn(WORDS, key)) return WORDS[key] as Test
  if (rest.length === 0 || !Object.hasOwn(FILTERS, key)) {
    const keys = [...Object.keys(FILTERS).map((name) => `${name}=`), ...Object.keys(WORDS)]
    throw new UsageError(`--filter ${expression}: it is one of ${keys.join(', ')}; vblk trace --help tells more`)
  }
  return (FILTERS[key] as (value: string) => Test)(rest.join('='))
}

function numbered(key: string, value: string, of: (request: ListedRequest) => bigint | undefined): Test {
  const wanted = whole(key, value)
  return requests((request) => of(request) === wanted)
}

function whole(key: string, value: string, words: readonly string[] = []): bigint {
  if (/^([0-9]{1,20}|0x[0-9a-fA-F]{1,16})$/.test(value)) return BigInt(value)
  const choice = words.length === 0 ? 'a whole number' : `one of ${words.join(', ')}, or a whole number`
  throw new UsageError(`--filter ${key}=${value}: it is ${choice}`)
}

// Text -----------------------------------------------------------------------------------------------------

function text(one: Listed): string {
  const place = `${String(one.step).padStart(6)} ${ms(one.nanos).padStart(12)}  `
  if (one.kind === 'event') return `${place}${one.what === 'init' ? 'init: ' : marked(one.what)}${one.text}\n`
  const indent = ' '.repeat(place.length + 2)
  const sector = one.sector === undefined ? '' : ` sector ${one.sector}`
  const lines = [`${place}queue ${one.queue} head ${one.head}: ${typeText(one.type)}${sector}: ${one.text}`]
  lines.push(`${indent}chain    ${one.descriptors.map(descriptorText).join(' ')}`)
  if (one.segments.length > 0) {
    lines.push(`${indent}data     ${one.segments.map(({ gpa, len }) => `0x${gpa.toString(16)}+${len}`).join(' ')}`)
  }
  if (one.result !== undefined) lines.push(`${indent}back end ${one.result}`)
  lines.push(`${indent}answer   ${answer(one)}`)
  return `${lines.join('\n')}\n`
}

/** What must not be overlooked. */
function marked(what: string): string {
  return what === 'stall' || what === 'ring fault' || what === 'trap' ? `[${what}] ` : ''
}

function answer({ status, usedLen, endStep, duration = 0, dropped }: ListedRequest): string {
  if (status === undefined) return dropped ? `none: ${dropped}` : 'none: still in flight at the end'
  const name = STATUSES[status]?.toUpperCase() ?? 'of no meaning'
  return `status ${status} (${name}), used length ${usedLen}, step ${endStep}, after ${ms(duration)}`
}

function typeText(type: number | undefined): string {
  if (type === undefined) return 'type not readable'
  return Object.keys(TYPES).find((name) => TYPES[name] === type) ?? `type ${type}`
}

function ms(nanos: number): string {
  return `${(nanos / 1e6).toFixed(3)} ms`
}
