// What a command can be given, declared once (declarations.ts): from the declaration come the parser here, the help
// (help.ts) and the shells' completion (completion.ts). Node's parser finds the options; what they hold is read here,
// numbers too; and every mistake is one line that names the option, what was given and what to do.

import { type ParseArgsConfig, parseArgs } from 'node:util'
import { nearest } from './nearest.ts'

/** The command was asked for something it cannot do. The message is one line with the remedy. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** What a shell may complete a word to. */
export type Offer = 'file' | 'folder' | 'nothing' | readonly string[]

export interface Option<T> {
  /** what the help calls its value: 'FILE'; '' for a switch */
  readonly value: string
  readonly help: string
  readonly offer: Offer
  /** `given`: all values that were given, in their order; a switch has '' */
  readonly read: (given: readonly string[], name: string) => T
}

export interface Operand {
  /** 'FILE' */
  readonly name: string
  readonly offer: Offer
  /** what it is, for the message that it is missing; without it, it may be */
  readonly needed?: string
}

export interface Declaration {
  readonly name: string
  /** one line, for the list of commands */
  readonly summary: string
  /** behind `vblk NAME` */
  readonly usage: readonly string[]
  /** paragraphs */
  readonly about: readonly string[]
  readonly operand?: Operand
  readonly options: Readonly<Record<string, Option<unknown>>>
  /** paragraphs below the options; a line that begins with a blank stays as it is */
  readonly notes?: readonly string[]
  /** what status 0 and 1 mean, where it is more than done and failed */
  readonly status?: { readonly 0: string; readonly 1: string }
}

/** The values of a declaration's options. */
export type Values<D extends Declaration> = {
  readonly [Name in keyof D['options']]: D['options'][Name] extends Option<infer T> ? T : never
}

export interface Given<D extends Declaration> {
  readonly values: Values<D>
  /** '' if there is none */
  readonly operand: string
}

// Kinds of options -----------------------------------------------------------------------------------------

export function flag(help: string): Option<boolean> {
  return { value: '', help, offer: 'nothing', read: (given) => given.length > 0 }
}

export function text(value: string, help: string): Option<string | undefined> {
  return { value, help, offer: 'nothing', read: (given) => given.at(-1) }
}

/** May be given several times. */
export function texts(value: string, help: string): Option<readonly string[]> {
  return { value, help, offer: 'nothing', read: (given) => given }
}

/** A path; whether there is a file is for the command to see. */
export function path(value: 'FILE' | 'FOLDER', help: string): Option<string | undefined> {
  const read = (given: readonly string[], name: string): string | undefined => {
    const last = given.at(-1)
    if (last === '') throw new UsageError(`--${name}: the name of a ${value.toLowerCase()} is missing`)
    return last
  }
  return { value, help, offer: value === 'FILE' ? 'file' : 'folder', read }
}

export function oneOf<const T extends readonly string[]>(
  value: string,
  choices: T,
  help: string,
): Option<T[number] | undefined> {
  const read = (given: readonly string[], name: string): T[number] | undefined => {
    const last = given.at(-1)
    if (last === undefined || choices.includes(last)) return last
    throw new UsageError(`--${name} ${last}: it is one of ${choices.join(', ')}`)
  }
  return { value, help, offer: choices, read }
}

/** From 0 at the lowest. `range`: in words, where it is not `from ... to ...`. */
export function whole(
  limits: { readonly value?: string; readonly from: number; readonly to: number; readonly range?: string },
  help: string,
): Option<number | undefined> {
  const { from, to, range = `from ${from} to ${to}` } = limits
  const read = (given: readonly string[], name: string): number | undefined => {
    const last = given.at(-1)
    if (last === undefined) return undefined
    const number = /^[0-9]{1,16}$/.test(last) ? Number(last) : Number.NaN
    if (number >= from && number <= to) return number
    throw new UsageError(`--${name} must be a whole number ${range}, not '${last}'`)
  }
  return { value: limits.value ?? 'N', help, offer: 'nothing', read }
}

/** A limit: positive and exact up to 2^63. */
export function limit(help: string): Option<number | bigint | undefined> {
  const read = (given: readonly string[], name: string): number | bigint | undefined => {
    const last = given.at(-1)
    if (last === undefined) return undefined
    if (!/^[0-9]{1,19}$/.test(last) || BigInt(last) === 0n) {
      throw new UsageError(
        `--${name} must be a whole number from 1 to 2^63, without unit, not '${last}'; leave it out for none`,
      )
    }
    const value = BigInt(last)
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
  }
  return { value: 'N', help, offer: 'nothing', read }
}

// Parsing --------------------------------------------------------------------------------------------------

/** What was given, or 'help' if that was asked for. Throws UsageError. */
export function parse<D extends Declaration>(declaration: D, args: string[]): Given<D> | 'help' {
  const { name, operand, options } = declaration
  const { values, positionals } = split(declaration, args)
  if (values.help !== undefined) return 'help'
  const [first = '', ...stray] = positionals
  const unwanted = operand ? stray[0] : positionals[0]
  if (unwanted !== undefined) {
    const there = operand ? `there is one ${operand.name}, and that is '${first}'` : `vblk ${name} takes no such word`
    throw new UsageError(`'${unwanted}': ${there}; vblk ${name} --help tells more`)
  }
  if (operand?.needed !== undefined && first === '') {
    throw new UsageError(`${operand.name} is missing: vblk ${name} ${operand.name}, ${operand.needed}`)
  }
  if (operand && first !== '' && typeof operand.offer === 'object' && !operand.offer.includes(first)) {
    throw new UsageError(`${operand.name} '${first}': it is one of ${operand.offer.join(', ')}`)
  }
  const read = Object.entries(options).map(([key, option]) => {
    const given = [values[key] ?? []].flat().map((value) => (value === true ? '' : String(value)))
    return [key, option.read(given, key)]
  })
  return { values: Object.fromEntries(read), operand: first }
}

function split({ name, options }: Declaration, args: string[]) {
  const config: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean', short: 'h' } }
  for (const [key, { value }] of Object.entries(options)) {
    config[key] = { type: value === '' ? 'boolean' : 'string', multiple: true }
  }
  try {
    return parseArgs({ args, options: config, strict: true, allowPositionals: true })
  } catch (error) {
    throw new UsageError(`${mistake(error, options)}; vblk ${name} --help lists the options`)
  }
}

/** Node's message, which is long and has another style, in ours. */
function mistake(error: unknown, options: Declaration['options']): string {
  const { code, message } = error as NodeJS.ErrnoException
  const [, given = ''] = /'(?:-\w, )?(-[^\s'=]*)/.exec(message) ?? []
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const word = given.replace(/^-+/, '')
    const [near] = nearest(word, Object.keys(options))
    return `${given}: there is no such option${near === undefined ? '' : `; nearest: --${near}`}`
  }
  if (code !== 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') throw error
  const { value = '' } = options[given.replace(/^--/, '')] ?? {}
  if (value === '') return `${given} takes no value`
  // What follows may be a value that looks like an option.
  if (message.includes('ambiguous')) {
    return `${given}: its value is missing, or begins with a minus sign: then write ${given}=${value}`
  }
  return `${given}: its value is missing: ${given} ${value}`
}
