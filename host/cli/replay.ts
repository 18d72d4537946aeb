// `vblk replay`: the calls of a trace made again on an engine, this package's or another build, and all that comes of
// them compared. Exit status 1 at the first step that differs, with its field.

import { type PlayOptions, replay as play, type Replayed } from '../replay/player.ts'
import { readEngine } from './engine-file.ts'
import { parseWithFile, UsageError } from './options.ts'
import { readTrace } from './trace-file.ts'

const HELP = `Usage: vblk replay FILE [--until STEP] [--engine FILE.wasm] [--json]

Makes the engine calls of a trace again, without guest, disk or clock, and compares what comes of them: every load and
store, results, requests, counters. A trace is made by a Recorder of 'virtio-blk-wasm/replay'. Exit status: 0 all went as
recorded, 1 a step differs (the first one is told, with field, expected and seen).

  --until STEP         stop before this step; the first is 0
  --engine FILE.wasm   on this build of the engine, any flavour; default: the trace flavour of this package, which
                       compares access by access; others are compared call by call
  --json               {steps, of, digest, divergence: {step, call, field, expected, seen, message}}

The digest is over all that came in and went out, and the same wherever the trace is replayed.
`

export async function replay(args: string[]): Promise<number> {
  const { values, file } = parseWithFile('replay', args, {
    until: { type: 'string' },
    engine: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const until = untilOf(values.until)
  const trace = await readTrace('replay', file)
  const options: PlayOptions = {
    ...(until !== undefined && { until }),
    ...(values.engine !== undefined && (await readEngine(values.engine))),
  }
  const replayed = play(trace, options)
  const of = trace.steps.length
  process.stdout.write(values.json ? `${JSON.stringify({ ...replayed, of }, null, 2)}\n` : text(replayed, of))
  return replayed.divergence ? 1 : 0
}

function untilOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (!/^[0-9]{1,15}$/.test(given)) throw new UsageError(`--until must be the number of a step, from 0, not '${given}'`)
  return Number(given)
}

function text({ steps, digest, divergence }: Replayed, of: number): string {
  const lines = [`${steps} of ${of} steps went as recorded, digest ${digest}`]
  if (divergence) lines.unshift(divergence.message)
  return `${lines.join('\n')}\n`
}
