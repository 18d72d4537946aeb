// Command-line options: node's parser, and errors that name the option, what was given and what to do.

import { type ParseArgsConfig, parseArgs } from 'node:util'

/** The command was asked for something it cannot do. The message is one line with the remedy. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

type Options = NonNullable<ParseArgsConfig['options']>

/** Options as given; an unknown one, a missing value or a stray word is a UsageError. */
export function parse<T extends Options>(command: string, args: string[], options: T) {
  return parsed(command, args, options, false).values
}

/** As parse, for a command that takes one file; '' if none was given, for --help needs none. */
export function parseWithFile<T extends Options>(command: string, args: string[], options: T) {
  const { values, positionals } = parsed(command, args, options, true)
  const [file = '', stray] = positionals
  if (stray !== undefined) {
    throw new UsageError(`'${stray}': there is one FILE, and that is '${file}'; vblk ${command} --help tells more`)
  }
  return { values, file }
}

function parsed<T extends Options>(command: string, args: string[], options: T, allowPositionals: boolean) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const ambiguous = /^Option '(--[\w-]+)[^']*' argument is ambiguous/.exec(message)?.[1]
    if (ambiguous !== undefined) throw new UsageError(`${ambiguous}: its value may not begin with a minus sign`)
    const reason = message.split(/\.\s/)[0] as string
    throw new UsageError(`${reason.replace(/\n.*/s, '').replace(/\.$/, '')}; vblk ${command} --help lists the options`)
  }
}

/** A positive whole number, exact. */
export function count(name: string, text: string | undefined): number | bigint | undefined {
  if (text === undefined) return undefined
  if (!/^[0-9]{1,19}$/.test(text) || BigInt(text) === 0n) {
    throw new UsageError(
      `--${name} must be a whole number from 1 to 2^63, without unit, not '${text}'; leave it out for none`,
    )
  }
  const value = BigInt(text)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}
