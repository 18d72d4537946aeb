// `vblk doctor`: what works on this machine, one line each, with the remedy. doctor-facts.ts looks, doctor-checks.ts
// judges; here it is printed. Exit status 1 if something is missing that the device itself needs.

import { hasColour, painted } from './colour.ts'
import type { DOCTOR } from './declarations.ts'
import { type Check, diagnose, type Report } from './doctor-checks.ts'
import { findFacts } from './doctor-facts.ts'
import { jsonText } from './json.ts'
import type { Given } from './options.ts'

const COLOURS = { ok: 'green', limited: 'yellow', missing: 'red' } as const
const STATE_WIDTH = 'missing'.length

export async function doctor({ values }: Given<typeof DOCTOR>): Promise<number> {
  const report = diagnose(await findFacts())
  process.stdout.write(values.json ? jsonText(report) : text(report))
  return report.verdict === 'ok' ? 0 : 1
}

function text({ checks, verdict }: Report): string {
  const isColoured = hasColour(process.stdout)
  const width = Math.max(...checks.map(({ name }) => name.length))
  const line = ({ state, name, found, use, needed, remedy }: Check): string => {
    // What nobody needs is not red.
    const colour = state === 'missing' && !needed ? 'yellow' : COLOURS[state]
    const mark = painted(state.padEnd(STATE_WIDTH), colour, isColoured)
    const what = `${mark}  ${name.padEnd(width)}  ${found}; for ${use}`
    return remedy === '' ? what : `${what}\n${' '.repeat(STATE_WIDTH + width + 4)}remedy: ${remedy}`
  }
  const missing = checks.filter(({ state, needed }) => state === 'missing' && needed).map(({ name }) => name)
  const without = checks.filter(({ state, needed }) => state === 'missing' && !needed).map(({ name }) => name)
  const rest = without.length === 0 ? '' : ` Some uses are not possible, without: ${without.join(', ')}.`
  const last = verdict === 'ok' ? `The device works here.${rest}` : `Needed, and missing: ${missing.join(', ')}.`
  return `${checks.map(line).join('\n')}\n\n${last}\n`
}
