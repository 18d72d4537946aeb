// `vblk shrink`: the shortest trace for which a command of the user's still fails. Candidates are files in a folder of
// our own; the result is written in one go at the end, and the trace that was given is never touched.

import { accessSync, constants, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type ShrinkProgress, shrink as shrinkTrace } from '../replay/shrink.ts'
import type { Trace } from '../replay/trace.ts'
import { type CheckOutcome, runCheck, stopChecks } from './check-command.ts'
import { parseWithFile, UsageError } from './options.ts'
import { writeOutputFile } from './output-file.ts'
import { Progress } from './progress.ts'
import { readTrace } from './trace-file.ts'

const HELP = `Usage: vblk shrink FILE --check CMD [--out FILE] [--timeout S]

Looks for the shortest trace for which CMD still fails: the shortest prefix first, then every step is left out that CMD
can do without. Each candidate is run anew on the engine of this package with what came in, and recorded, so it is a
trace like any other. FILE is not touched.

  --check CMD     run with sh -c; {} is replaced by the path of a trace, or the path is appended. An exit status other
                  than 0 is a failure. A build of the engine against this one:
                  vblk replay {} --engine other.wasm
  --out FILE      where the shortest trace goes; default: FILE.min.trace
  --timeout S     a CMD that runs longer is stopped, and has not failed; default 60
`

const NOT_EXECUTABLE = 126
const NOT_FOUND = 127

export async function shrink(args: string[]): Promise<number> {
  const { values, file } = parseWithFile('shrink', args, {
    check: { type: 'string' },
    out: { type: 'string' },
    timeout: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const { check = '', timeout = '60' } = values
  if (check.trim() === '') throw new UsageError('--check CMD is missing: the command that fails for the trace')
  if (!/^[0-9]{1,6}$/.test(timeout) || Number(timeout) === 0) {
    throw new UsageError(`--timeout must be a whole number of seconds from 1 to 999999, not '${timeout}'`)
  }
  const trace = await readTrace('shrink', file)
  const out = values.out ?? `${file}.min.trace`
  assertWritable(out, file)
  const run = (path: string): Promise<CheckOutcome> => runCheck(check, path, Number(timeout) * 1000)
  return await work(trace, file, out, run, (outcome) => assertFails(outcome, check, timeout))
}

/** Said now, not after an hour. */
function assertWritable(out: string, file: string): void {
  try {
    accessSync(dirname(out), constants.W_OK)
  } catch (error) {
    throw new UsageError(`--out ${out}: the folder cannot be written (${(error as NodeJS.ErrnoException).code})`)
  }
  try {
    if (realpathSync(out) !== realpathSync(file)) return
  } catch {
    return // there is none yet
  }
  throw new UsageError(`--out ${out}: that is the trace to be shrunk; name another file`)
}

function assertFails({ status, words }: CheckOutcome, check: string, timeout: string): void {
  if (status === undefined) throw new UsageError(`--check: '${check}' took longer than ${timeout} s; raise --timeout`)
  if (status === 0) throw new UsageError(`--check: '${check}' exits with 0 for the whole trace: nothing to shrink`)
  if (status !== NOT_FOUND && status !== NOT_EXECUTABLE) return
  const reason = status === NOT_FOUND ? 'is not found' : 'cannot be executed'
  throw new UsageError(`--check: '${check}' ${reason} (exit status ${status}${words === '' ? '' : `: ${words}`})`)
}

async function work(
  trace: Trace,
  file: string,
  out: string,
  check: (path: string) => Promise<CheckOutcome>,
  assertFirst: (outcome: CheckOutcome) => void,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-shrink-'))
  const candidate = join(folder, 'candidate.trace')
  const clean = (): void => rmSync(folder, { recursive: true, force: true })
  const interrupted = (): void => {
    stopChecks()
    clean()
    process.stderr.write('\nvblk shrink: interrupted, nothing was written\n')
    process.exit(130)
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  const progress = new Progress()
  let last: ShrinkProgress = { phase: 'prefix', steps: trace.steps.length, runs: 0 }
  const tell = (now: ShrinkProgress): void => {
    const isNews = now.steps < last.steps || now.phase !== last.phase
    if (process.stderr.isTTY || isNews) progress.note(`${now.steps} steps left, ${now.runs} runs`)
    last = now
  }
  try {
    assertFirst(await check(file))
    progress.start(`shrinking ${file}, ${trace.steps.length} steps`)
    const shortest = await shrinkTrace(
      trace,
      async (one) => {
        writeFileSync(candidate, await one.bytes())
        const { status } = await check(candidate)
        return status !== undefined && status !== 0
      },
      tell,
    )
    if (shortest === undefined) {
      progress.end()
      process.stderr.write(
        'vblk shrink: CMD fails for the trace, but not once it is recorded anew on this engine: not to be shrunk\n',
      )
      return 1
    }
    writeOutputFile({ option: 'out', path: out }, await shortest.bytes(), 'the shortest trace is lost')
    progress.done(`${trace.steps.length} steps shrunk to ${shortest.steps.length} in ${last.runs} runs`)
    process.stdout.write(`${out}: ${shortest.steps.length} steps, digest ${shortest.digest}\n`)
    return 0
  } finally {
    progress.end()
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    clean()
  }
}
