// Which rules the Conformance view shows for an address: every filter by itself, some together, and addresses that ask
// for what is not there. Expected counts are taken from the rows by hand-written conditions.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Result } from '../../../host/conformance/outcome.ts'
import { ROWS, type Row } from '../../../host/conformance/rows.ts'
import { filtered, filtersOf, paramsOf } from '../../../host/demo/conformance/filters.ts'
import { HEADINGS, headingOf, SECTIONS, titleOf } from '../../../host/demo/conformance/sections.ts'

const test = suite('conformance view: filters')

const none = (): undefined => undefined

function ids(query: string, resultOf: (id: string) => Result | undefined = none): string[] {
  const { filters, wrong } = filtersOf(new URLSearchParams(query))
  assert.equal(wrong, [])
  return filtered(ROWS, filters, resultOf).map(({ id }) => id)
}

function idsOf(isShown: (row: Row) => boolean): string[] {
  const found = ROWS.filter(isShown).map(({ id }) => id)
  assert.ok(found.length > 0 && found.length < ROWS.length, 'a filter that filters')
  return found
}

test('no filter -> all rows, in the order of the standard', () => {
  assert.is(ids('').length, 363)
  assert.equal(
    ids(''),
    ROWS.map(({ id }) => id),
  )
})

test('section -> it and those below it, not its namesakes', () => {
  assert.equal(
    ids('section=2.7'),
    idsOf(({ section }) => /^2\.7(\.|$)/.test(section)),
  )
  assert.equal(
    ids('section=5.2.6'),
    idsOf(({ section }) => /^5\.2\.6(\.|$)/.test(section)),
  )
  assert.ok(ids('section=5.2.6').length > ids('section=5.2.6.2').length)
  assert.equal(
    ids('section=6'),
    idsOf(({ section }) => section[0] === '6'),
  )
})

test('level -> it and its negation', () => {
  assert.equal(
    ids('level=MUST'),
    idsOf(({ level }) => level === 'MUST' || level === 'MUST NOT'),
  )
  assert.equal(
    ids('level=SHOULD'),
    idsOf(({ level }) => level === 'SHOULD' || level === 'SHOULD NOT'),
  )
  assert.equal(
    ids('level=MAY'),
    idsOf(({ level }) => level === 'MAY'),
  )
})

test('side -> its rows', () => {
  assert.equal(
    ids('side=driver'),
    idsOf(({ side }) => side === 'driver'),
  )
})

test('text -> rows with every word, in whatever case, in the rule or its result', () => {
  assert.equal(ids('q=MMIO.MAGIC.1'), ['mmio.magic.1'])
  const both = ids('q=flush%20driver')
  assert.ok(both.length > 0)
  assert.equal(both, ids('q=DRIVER++Flush+'))
  assert.ok(ids('q=flush').length > both.length)
  const seen = { ...(ROWS[7] as Row), outcome: 'passed', tried: 'a', seen: 'Xyzzy' } as const
  assert.equal(ids('q=xyzzy'), [])
  assert.equal(
    ids('q=xyzzy', (id) => (id === seen.id ? seen : undefined)),
    [seen.id],
  )
})

test('outcome -> rows that have it; none before they have run', () => {
  const result = { ...(ROWS[3] as Row), outcome: 'failed', tried: '', seen: '' } as const
  assert.equal(ids('outcome=failed'), [])
  assert.equal(
    ids('outcome=failed', (id) => (id === result.id ? result : undefined)),
    [result.id],
  )
})

test('several -> rows that all let through', () => {
  assert.equal(
    ids('section=2.7&level=MUST&side=driver&q=descriptor'),
    idsOf(
      (row) =>
        /^2\.7(\.|$)/.test(row.section) &&
        row.level.startsWith('MUST') &&
        row.side === 'driver' &&
        JSON.stringify(row).toLowerCase().includes('descriptor'),
    ),
  )
})

test('one rule -> it alone', () => {
  assert.equal(ids('id=status.3'), ['status.3'])
})

test('address: what no rule has -> named, cut short, and left out', () => {
  const { filters, wrong } = filtersOf(
    new URLSearchParams({ section: '9.9', level: 'MUST', side: '<b>', id: 'x'.repeat(5000), outcome: '' }),
  )
  assert.equal(filters, { level: 'MUST' })
  assert.is(wrong.length, 3)
  assert.match(wrong[0] ?? '', 'section “9.9”')
  assert.match(wrong[1] ?? '', 'side “<b>”')
  assert.ok(wrong.every((line) => line.length < 200))
})

test('address: read and written -> the same; other parameters are not ours', () => {
  const query = 'section=2.7&level=MUST&side=device&outcome=not+offered&q=a+b%26c%3D%22&id=status.3'
  const { filters } = filtersOf(new URLSearchParams(`show=golden&${query}`))
  assert.is(new URLSearchParams(paramsOf(filters)).toString(), query)
  assert.equal(paramsOf({ q: '' }), {})
})

test('sections: every rule is under one heading, every heading has a title, and the counts add up', () => {
  for (const { section } of ROWS) assert.ok(HEADINGS.includes(headingOf(section)), section)
  for (const heading of HEADINGS) assert.ok(titleOf(heading), heading)
  const count = SECTIONS.filter(({ section }) => HEADINGS.includes(section)).reduce((sum, one) => sum + one.count, 0)
  assert.is(count, 363)
  assert.equal(HEADINGS.slice(0, 3), ['2.1', '2.2', '2.4'])
  assert.equal(HEADINGS.slice(-2), ['5.2', '6'])
  assert.ok(HEADINGS.indexOf('2.10') > HEADINGS.indexOf('2.9'))
})

test.run()
