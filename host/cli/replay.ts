// `vblk replay`: the calls of a trace made again on an engine, this package's or another build, and all that comes of
// them compared. Exit status 1 at the first step that differs, with its field.

import { type PlayOptions, replay as play, type Replayed } from '../replay/player.ts'
import type { REPLAY } from './declarations.ts'
import { readEngine } from './engine-file.ts'
import { jsonText } from './json.ts'
import type { Given } from './options.ts'
import { readTrace } from './trace-file.ts'

export async function replay({ values, operand: file }: Given<typeof REPLAY>): Promise<number> {
  const { until } = values
  const trace = await readTrace(file)
  const options: PlayOptions = {
    ...(until !== undefined && { until }),
    ...(values.engine !== undefined && (await readEngine(values.engine))),
  }
  const replayed = play(trace, options)
  const of = trace.steps.length
  process.stdout.write(values.json ? jsonText({ ...replayed, of }) : text(replayed, of))
  return replayed.divergence ? 1 : 0
}

function text({ steps, digest, divergence }: Replayed, of: number): string {
  const lines = [`${steps} of ${of} steps went as recorded, digest ${digest}`]
  if (divergence) lines.unshift(divergence.message)
  return `${lines.join('\n')}\n`
}
