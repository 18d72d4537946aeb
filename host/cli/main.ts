// Finds the command and runs it with what it was given; turns what goes wrong into one line and a status: no stack
// trace for a mistake that the user can mend. A command's code is loaded when it is run, so that help, completion and
// doctor work where the native library does not.

import {
  BOOT,
  COMPLETION,
  CONFORMANCE,
  type CommandName,
  DECLARATIONS,
  DEMO,
  DOCTOR,
  HELP,
  REPLAY,
  SHRINK,
  START,
  TRACE,
} from './declarations.ts'
import { commandHelp, programHelp } from './help.ts'
import { nearest } from './nearest.ts'
import { type Declaration, type Given, parse, UsageError } from './options.ts'

type Run<D extends Declaration> = (given: Given<D>) => Promise<number>

function command<D extends Declaration>(declaration: D, load: () => Promise<Run<D>>) {
  return async (args: string[]): Promise<number> => {
    const given = parse(declaration, args)
    if (given !== 'help') return (await load())(given)
    process.stdout.write(commandHelp(declaration))
    return 0
  }
}

const COMMANDS: Readonly<Record<CommandName | 'help', (args: string[]) => Promise<number>>> = {
  boot: command(BOOT, async () => (await import('./boot.ts')).boot),
  completion: command(COMPLETION, async () => (await import('./completion.ts')).completion),
  conformance: command(CONFORMANCE, async () => (await import('./conformance.ts')).conformance),
  demo: command(DEMO, async () => (await import('./demo.ts')).demo),
  doctor: command(DOCTOR, async () => (await import('./doctor.ts')).doctor),
  help: command(HELP, async () => help),
  replay: command(REPLAY, async () => (await import('./replay.ts')).replay),
  shrink: command(SHRINK, async () => (await import('./shrink.ts')).shrink),
  start: command(START, async () => (await import('./start.ts')).start),
  trace: command(TRACE, async () => (await import('./trace.ts')).trace),
}

/** What is said in one line, by the name of the error's class: the classes themselves would load their commands. */
const EXPECTED: Readonly<Record<string, number>> = {
  BackendError: 2,
  BootImageError: 2,
  GuestAssetsError: 2,
  KvmError: 2,
  SavedMachineError: 2,
  SnapshotError: 2,
  TraceError: 2,
  UsageError: 2,
  V86MissingError: 2,
  LinuxGuestError: 1,
  MachineError: 1,
}

export async function main(args: string[]): Promise<number> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (EPIPE) is no mistake; nothing can be said to it anyway.
    if (error.code !== 'EPIPE') process.stderr.write(`vblk: standard output cannot be written: ${error.code}\n`)
    process.exit(1)
  })
  const [name, ...rest] = args
  if (name === undefined) {
    process.stderr.write(programHelp(DECLARATIONS))
    return 2
  }
  if (name === '--version') {
    const { version } = (await import('../../package.json', { with: { type: 'json' } })).default
    process.stdout.write(`${version}\n`)
    return 0
  }
  const known = name === '--help' || name === '-h' ? 'help' : name
  if (!isCommand(known)) {
    const names = Object.keys(COMMANDS)
    const [near] = nearest(name, names)
    const remedy = near ? `nearest: ${near}` : `it is one of ${names.join(', ')}`
    return complain('vblk', `there is no command '${name}'; ${remedy} (vblk --help)`, 2)
  }
  try {
    return await COMMANDS[known](rest)
  } catch (error) {
    return explain(`vblk ${known}`, error)
  }
}

function isCommand(name: string): name is keyof typeof COMMANDS {
  return Object.hasOwn(COMMANDS, name)
}

async function help({ operand }: Given<typeof HELP>): Promise<number> {
  const declaration = DECLARATIONS.find(({ name }) => name === operand)
  process.stdout.write(declaration ? commandHelp(declaration) : programHelp(DECLARATIONS))
  return 0
}

function explain(who: string, error: unknown): number {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  const status = error instanceof UsageError ? 2 : EXPECTED[name]
  if (status !== undefined) return complain(who, message, status)
  if (/\bkoffi\b/i.test(message)) {
    const reason = message.split('\n')[0]
    return complain(who, `the native library koffi cannot be loaded (${reason}); vblk doctor tells what to do`, 2)
  }
  return complain(who, `this is a bug of ours, please report it:\n${stack ?? message}`, 1)
}

function complain(who: string, message: string, status: number): number {
  process.stderr.write(`${who}: ${message}\n`)
  return status
}
