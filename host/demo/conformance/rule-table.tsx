// The rules in a table, under the headings of the standard. A rule opens to what was tried and seen, and to what can be
// done with it.

import { Fragment } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { OUTCOMES, type Outcome, totals } from '../../conformance/outcome.ts'
import { ROWS, type Row } from '../../conformance/rows.ts'
import type { Filters } from './filters.ts'
import type { Flavour } from './flavours.ts'
import { outcomeWords } from './outcome-words.ts'
import { RuleDetail } from './rule-detail.tsx'
import { HEADINGS, headingOf, titleOf } from './sections.ts'
import type { Checked, Kit } from './use-kit.ts'

interface Props {
  rows: readonly Row[]
  kit: Kit
  flavour: Flavour
  filters: Filters
}

const COLUMNS = ['Rule', 'Section', 'Level', 'Side', 'Outcome', 'What it asks']
const TAGS: Readonly<Partial<Record<Outcome, string>>> = {
  passed: 'good',
  failed: 'bad',
  skipped: 'wait',
  'not checked yet': 'wait',
}

export function RuleTable({ rows, kit, flavour, filters }: Props) {
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set())
  useEffect(() => {
    // A link to one rule is a link to what was seen.
    if (filters.id !== undefined) setOpened(new Set([filters.id]))
  }, [filters.id])
  const toggle = (id: string): void => {
    const next = new Set(opened)
    if (!next.delete(id)) next.add(id)
    setOpened(next)
  }
  const areAllOpen = rows.every(({ id }) => opened.has(id))
  return (
    <>
      <div class="toolbar center shown">
        <p role="status">{shown(rows.length, filters)}</p>
        {rows.length > 0 && (
          <button type="button" onClick={() => setOpened(new Set(areAllOpen ? [] : rows.map(({ id }) => id)))}>
            {areAllOpen ? 'Close all' : 'Open all'}
          </button>
        )}
      </div>
      <table class="rules">
        <caption class="visually-hidden">The rules, by section of the standard</caption>
        <thead>
          <tr>
            {COLUMNS.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        {HEADINGS.map((heading) => {
          const own = rows.filter(({ section }) => headingOf(section) === heading)
          if (own.length === 0) return null
          return (
            <tbody key={heading}>
              <tr class="heading">
                <th scope="rowgroup" colSpan={COLUMNS.length}>
                  {heading} {titleOf(heading)} <span class="small muted">{summary(own, kit.results)}</span>
                </th>
              </tr>
              {own.map((row) => (
                <Rule
                  key={row.id}
                  row={row}
                  kit={kit}
                  flavour={flavour}
                  isOpen={opened.has(row.id)}
                  onToggle={() => toggle(row.id)}
                />
              ))}
            </tbody>
          )
        })}
      </table>
    </>
  )
}

function shown(count: number, { outcome, id }: Filters): string {
  if (count === 0) return 'No rule is like that: change the filters, or clear them.'
  const all = count === ROWS.length ? `All ${count} rules` : `${count} of ${ROWS.length} rules`
  return [all, ...(outcome ? [`${outcomeWords(outcome)} only`] : []), ...(id ? ['one rule alone'] : [])].join(', ')
}

/** '12 passed, 3 not offered'; of what has run. */
function summary(rows: readonly Row[], results: ReadonlyMap<string, Checked>): string {
  const counts = totals(rows.flatMap(({ id }) => results.get(id)?.result ?? []))
  return OUTCOMES.filter((outcome) => counts[outcome] > 0)
    .map((outcome) => `${counts[outcome]} ${outcomeWords(outcome)}`)
    .join(', ')
}

interface RuleProps {
  row: Row
  kit: Kit
  flavour: Flavour
  isOpen: boolean
  onToggle: () => void
}

function Rule({ row, kit, flavour, isOpen, onToggle }: RuleProps) {
  const { id, section, level, side, requirement } = row
  const checked = kit.results.get(id)
  const detail = `rule-${id}`
  return (
    <Fragment>
      <tr class="rule">
        <th scope="row">
          <button
            type="button"
            class="plain"
            aria-expanded={isOpen}
            aria-controls={isOpen ? detail : undefined}
            onClick={onToggle}
          >
            {id}
          </button>
        </th>
        <td>{section}</td>
        <td class="level">{level}</td>
        <td>{side}</td>
        <td>
          {checked ? (
            <span class={`tag ${TAGS[checked.result.outcome] ?? ''}`}>{outcomeWords(checked.result.outcome)}</span>
          ) : (
            <span class="muted">{kit.doing?.what === 'all' ? 'waiting' : 'not run'}</span>
          )}
        </td>
        <td class="asks">{requirement}</td>
      </tr>
      {isOpen && (
        <tr class="detail" id={detail}>
          <td colSpan={COLUMNS.length}>
            <RuleDetail row={row} checked={checked} kit={kit} flavour={flavour} />
          </td>
        </tr>
      )}
    </Fragment>
  )
}
