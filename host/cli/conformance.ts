// `vblk conformance`: the device of this package against every rule of the standard. A table of sections with totals,
// the failures with what was tried and seen; or all results as JSON. Exit status 1 if a check failed.

import { OUTCOMES, type Outcome, type Result, totals } from '../conformance/outcome.ts'
import { ownTarget } from '../conformance/own-target.ts'
import { bySection, ROWS } from '../conformance/rows.ts'
import { chosenRows, type RunOptions, runConformance } from '../conformance/run.ts'
import { nearest } from './nearest.ts'
import { parse, UsageError } from './options.ts'

const HELP = `Usage: vblk conformance [--section S] [--id ID] [--json]

Checks the device of this package, in memory, against the rules of the virtio standard (OASIS VIRTIO 1.3 numbering) for
a block device on virtio-mmio: what the device must do, and what it does when the driver breaks a rule. Every check has
a device of its own. Exit status: 0 none failed, 1 some failed.

  --section S   only the rules of this section and those below it: 2.7, 5.2.6.2
  --id ID       only this rule, with what was tried and seen
  --json        one array of {id, section, level, side, requirement, outcome, tried, seen} instead of the table

Outcomes: passed; failed; not offered (a rule of a feature that the device does not offer); not checkable (nobody can see
from outside); skipped (the target lacks what the check needs); not checked yet. Your own device can be checked with
runConformance() of 'virtio-blk-wasm/conformance'.
`

const HEADINGS: Readonly<Record<Outcome, string>> = {
  passed: 'passed',
  failed: 'failed',
  'not offered': 'not offered',
  'not checkable': 'not checkable',
  skipped: 'skipped',
  'not checked yet': 'not yet',
}

export async function conformance(args: string[]): Promise<number> {
  const options = parse('conformance', args, {
    section: { type: 'string' },
    id: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  })
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const chosen: RunOptions = {
    ...(options.section === undefined ? {} : { section: options.section }),
    ...(options.id === undefined ? {} : { id: options.id }),
  }
  assertChosen(chosen)
  const results = await runConformance(ownTarget(), chosen)
  if (options.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
  else if (options.id !== undefined) process.stdout.write(results.map(details).join('\n'))
  else process.stdout.write(report(results))
  return results.some(({ outcome }) => outcome === 'failed') ? 1 : 0
}

function assertChosen(chosen: RunOptions): void {
  const { section, id } = chosen
  const row = ROWS.find((one) => one.id === id)
  if (id !== undefined && row === undefined) {
    const ids = ROWS.map((one) => one.id)
    const near = nearest(id, ids)
    throw new UsageError(`--id: there is no rule '${id}'; nearest: ${near.join(', ')}`)
  }
  if (section !== undefined && chosenRows({ section }).length === 0) {
    const near = nearest(section, [...new Set(ROWS.map((one) => one.section))])
    throw new UsageError(`--section: there is no rule in section '${section}'; nearest: ${near.join(', ')}`)
  }
  if (chosenRows(chosen).length === 0) {
    throw new UsageError(`--id: rule '${id}' is in section ${row?.section}, not in ${section}`)
  }
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
