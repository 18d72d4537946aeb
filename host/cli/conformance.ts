// `vblk conformance`: the device of this package against every rule of the standard. A table of sections with totals,
// the failures with what was tried and seen; or all results as JSON. Exit status 1 if a check failed.

import { OUTCOMES, type Outcome, type Result, totals } from '../conformance/outcome.ts'
import { ownTarget } from '../conformance/own-target.ts'
import { bySection, ROWS } from '../conformance/rows.ts'
import { chosenRows, type RunOptions, runConformance } from '../conformance/run.ts'
import type { CONFORMANCE } from './declarations.ts'
import { jsonText } from './json.ts'
import { nearest } from './nearest.ts'
import { type Given, UsageError } from './options.ts'

const HEADINGS: Readonly<Record<Outcome, string>> = {
  passed: 'passed',
  failed: 'failed',
  'not offered': 'not offered',
  'not checkable': 'not checkable',
  skipped: 'skipped',
  'not checked yet': 'not yet',
}

export async function conformance({ values: options }: Given<typeof CONFORMANCE>): Promise<number> {
  const chosen: RunOptions = {
    ...(options.section === undefined ? {} : { section: options.section }),
    ...(options.id === undefined ? {} : { id: options.id }),
  }
  assertChosen(chosen)
  const results = await runConformance(ownTarget(), chosen)
  if (options.json) process.stdout.write(jsonText(results))
  else if (options.id !== undefined) process.stdout.write(results.map(details).join('\n'))
  else process.stdout.write(report(results))
  return results.some(({ outcome }) => outcome === 'failed') ? 1 : 0
}

function assertChosen(chosen: RunOptions): void {
  const { section, id } = chosen
  const row = ROWS.find((one) => one.id === id)
  if (id !== undefined && row === undefined) {
    throw noSuch(
      `--id: there is no rule '${id}'`,
      id,
      ROWS.map((one) => one.id),
    )
  }
  if (section !== undefined && chosenRows({ section }).length === 0) {
    const sections = [...new Set(ROWS.map((one) => one.section))]
    throw noSuch(`--section: there is no rule in section '${section}'`, section, sections)
  }
  if (chosenRows(chosen).length === 0) {
    throw new UsageError(`--id: rule '${id}' is in section ${row?.section}, not in ${section}`)
  }
}

function noSuch(what: string, word: string, words: readonly string[]): UsageError {
  const near = nearest(word, words)
  const remedy = near.length > 0 ? `nearest: ${near.join(', ')}` : 'vblk conformance --json lists them'
  return new UsageError(`${what}; ${remedy}`)
}

function report(results: readonly Result[]): string {
  const sections = [...new Set(results.map(({ section }) => section))].sort(bySection)
  const lines = [['section', ...OUTCOMES.map((outcome) => HEADINGS[outcome])]]
  for (const section of sections) {
    lines.push([section, ...counts(results.filter((result) => result.section === section))])
  }
  lines.push(['all', ...counts(results)])
  const failures = results.filter(({ outcome }) => outcome === 'failed')
  const verdict = failures.length === 0 ? 'No check failed.\n' : `\n${failures.map(details).join('\n')}`
  return `${table(lines)}\n${verdict}`
}

function counts(results: readonly Result[]): string[] {
  const sum = totals(results)
  return OUTCOMES.map((outcome) => (sum[outcome] === 0 ? '.' : String(sum[outcome])))
}

function table(lines: readonly string[][]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const text = lines.map((line) =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  )
  return `${text.join('\n')}\n`
}

function details({ id, section, level, side, requirement, outcome, tried, seen }: Result): string {
  const lines = [`${outcome}: ${id} (${section}, ${side}, ${level})`, `  rule:  ${requirement}`, `  tried: ${tried}`]
  if (seen !== '') lines.push(`  seen:  ${seen}`)
  return `${lines.join('\n')}\n`
}
