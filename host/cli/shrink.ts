// `vblk shrink`: the shortest trace for which a command of the user's still fails. Candidates are files in a folder of
// our own; the result is written in one go at the end, and the trace that was given is never touched.

import { accessSync, constants as fsConstants, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type ShrinkProgress, shrink as shrinkTrace } from '../replay/shrink.ts'
import type { Trace } from '../replay/trace.ts'
import { type CheckOutcome, runCheck, stopChecks } from './check-command.ts'
import type { SHRINK } from './declarations.ts'
import { jsonText } from './json.ts'
import { type Given, UsageError } from './options.ts'
import { writeOutputFile } from './output-file.ts'
import { Progress } from './progress.ts'
import { readTrace } from './trace-file.ts'

const NOT_EXECUTABLE = 126
const NOT_FOUND = 127

interface Shrunk {
  readonly file: string
  readonly steps: number
  readonly of: number
  readonly runs: number
  readonly digest: string
}

export async function shrink({ values, operand: file }: Given<typeof SHRINK>): Promise<number> {
  const { check = '', timeout = 60, json } = values
  if (check.trim() === '') throw new UsageError('--check CMD is missing: the command that fails for the trace')
  const trace = await readTrace(file)
  const out = values.out ?? `${file}.min.trace`
  assertWritable(out, file)
  const run = (path: string): Promise<CheckOutcome> => runCheck(check, path, timeout * 1000)
  const shrunk = await work(trace, file, out, run, (outcome) => assertFails(outcome, check, timeout))
  if (shrunk === undefined) return 1
  process.stdout.write(json ? jsonText(shrunk) : `${out}: ${shrunk.steps} steps, digest ${shrunk.digest}\n`)
  return 0
}

/** Said now, not after an hour. */
function assertWritable(out: string, file: string): void {
  try {
    accessSync(dirname(out), fsConstants.W_OK)
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

function assertFails({ status, words }: CheckOutcome, check: string, timeout: number): void {
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
): Promise<Shrunk | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-shrink-'))
  const candidate = join(folder, 'candidate.trace')
  const clean = (): void => rmSync(folder, { recursive: true, force: true })
  const interrupted = (signal: NodeJS.Signals): void => {
    stopChecks()
    clean()
    process.stderr.write('\nvblk shrink: interrupted, nothing was written\n')
    process.exit(128 + constants.signals[signal])
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
      return undefined
    }
    writeOutputFile({ option: 'out', path: out }, await shortest.bytes(), 'the shortest trace is lost')
    progress.done(`${trace.steps.length} steps shrunk to ${shortest.steps.length} in ${last.runs} runs`)
    return { file: out, steps: shortest.steps.length, of: trace.steps.length, runs: last.runs, digest: shortest.digest }
  } finally {
    progress.end()
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    clean()
  }
}
