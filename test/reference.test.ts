// Keeps test/reference.md honest: the table has a row for every test of the reference device, every cell is of a
// known kind, and every test it names is in the file it names. The numbers of rows are typed in by hand.

import { existsSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, readSource } from './support/source.ts'

const test = suite('reference table')

const ROWS: [section: string, rows: number][] = [
  ['Token buckets and their configuration', 25],
  ['Worker', 26],
  ['Drain', 20],
  ['Drain: validation', 31],
  ['Drain: later cases', 19],
  ['Handlers', 15],
  ['Registers, status and reset', 54],
  ['Atomics, gauge and poison', 27],
  ['Poison', 2],
  ['Random chains', 5],
]
const TOTAL = 224
/** Rows that wait for a part that does not exist yet; to be lowered when it does, never raised. */
const LATER_MAX = 0

interface Row {
  section: string
  name: string
  here: string
}

function table(): Row[] {
  const rows: Row[] = []
  let section = ''
  for (const line of readSource('test/reference.md').split('\n')) {
    section = line.match(/^## (.+)$/)?.[1] ?? section
    const [, name, here] = line.match(/^\| `([\w]+)` \| (.+) \|$/) ?? []
    if (name !== undefined && here !== undefined) rows.push({ section, name, here })
    else assert.ok(!line.startsWith('| `'), `not a row of two cells: ${line}`)
  }
  return rows
}

const rows = table()
const NAMED = /`(test\/[\w/.-]+\.test\.ts)` "([^"]+)"/g

test('rows: as many as the reference device has tests, section by section, each once', () => {
  const sections = new Map<string, number>()
  for (const { section } of rows) sections.set(section, (sections.get(section) ?? 0) + 1)
  assert.equal([...sections], ROWS)
  assert.is(rows.length, TOTAL)
  assert.is(new Set(rows.map(({ name }) => name)).size, TOTAL)
})

test('cells: a test, or a difference with its rule and reason, or why there is nothing to test', () => {
  for (const { name, here } of rows) {
    const isTests = here.replace(NAMED, '').replaceAll('; ', '') === ''
    const isDifference = /^differs: rule \d+, because .{10,}: `test\//.test(here) && here.match(NAMED) !== null
    const isReason = /^(not applicable|later): .{10,}$/.test(here) && here.match(NAMED) === null
    assert.ok(isTests || isDifference || isReason, `${name}: ${here}`)
  }
})

test('tests named in the table -> are in the file that it says, as the name of a test', () => {
  const sources = new Map<string, string>()
  const missing: string[] = []
  let named = 0
  for (const { here } of rows) {
    for (const [, file = '', name = ''] of here.matchAll(NAMED)) {
      named++
      if (!sources.has(file)) sources.set(file, existsSync(file) ? namesIn(readSource(file)) : '')
      const quoted = [`'${name}'`, `\`${name}\``, `\`${name} [`].some((form) => sources.get(file)?.includes(form))
      if (!quoted) missing.push(`${file}: ${name}`)
    }
  }
  assert.ok(named > 150)
  if (missing.length > 0) assert.unreachable(`no such test:\n${[...new Set(missing)].join('\n')}`)
})

/** The source without its comments, where a name could outlive its test. */
function namesIn(text: string): string {
  return codeOf(text, { strings: true })
}

test('later: no more rows than when the table was made', () => {
  const later = rows.filter(({ here }) => here.startsWith('later:'))
  assert.ok(later.length <= LATER_MAX, `${later.length} rows`)
})

test.run()
