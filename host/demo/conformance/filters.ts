// Which rules are shown: read from the parameters of the address, where a link keeps them, and written back. What an
// address has that no rule has is said, and left out. Portable.

import { OUTCOMES, type Outcome, type Result } from '../../conformance/outcome.ts'
import { type Level, ROWS, type Row, type Side } from '../../conformance/rows.ts'
import { isWithin, SECTIONS } from './sections.ts'

/** A level and its negation are one choice. */
export const LEVELS = ['MUST', 'SHOULD', 'MAY'] as const
export type LevelChoice = (typeof LEVELS)[number]

export const SIDES: readonly Side[] = ['device', 'driver']

export interface Filters {
  /** this section and those below it */
  readonly section?: string
  readonly level?: LevelChoice
  readonly side?: Side
  readonly outcome?: Outcome
  /** words that must all be in a rule's text or result */
  readonly q?: string
  /** one rule alone */
  readonly id?: string
}

const POSSIBLE: Readonly<Record<Exclude<keyof Filters, 'q'>, readonly string[]>> = {
  section: SECTIONS.map(({ section }) => section),
  level: LEVELS,
  side: SIDES,
  outcome: OUTCOMES,
  id: ROWS.map(({ id }) => id),
}
const NAMES: readonly (keyof Filters)[] = ['section', 'level', 'side', 'outcome', 'q', 'id']
const SHOWN_MAX = 60

/** `wrong`: a line for each parameter that means nothing. */
export function filtersOf(params: URLSearchParams): { filters: Filters; wrong: string[] } {
  const filters: Record<string, string> = {}
  const wrong: string[] = []
  for (const name of NAMES) {
    const value = params.get(name)
    if (value === null || value.trim() === '') continue
    if (name === 'q' || POSSIBLE[name].includes(value)) filters[name] = value
    else wrong.push(`The address asks for ${name} “${value.slice(0, SHOWN_MAX)}”, which no rule has: it is left out.`)
  }
  return { filters, wrong }
}

/** What is chosen, in one order. */
export function paramsOf(filters: Filters): Record<string, string> {
  return Object.fromEntries(NAMES.flatMap((name) => (filters[name] ? [[name, filters[name]]] : [])))
}

/** The rows that the filters let through, in the order given. */
export function filtered(
  rows: readonly Row[],
  filters: Filters,
  resultOf: (id: string) => Result | undefined,
): readonly Row[] {
  const { section, level, side, outcome, q = '', id } = filters
  const words = q.toLowerCase().split(/\s+/).filter(Boolean)
  return rows.filter((row) => {
    if (id !== undefined && row.id !== id) return false
    if (section !== undefined && !isWithin(row.section, section)) return false
    if (level !== undefined && levelOf(row.level) !== level) return false
    if (side !== undefined && row.side !== side) return false
    const result = resultOf(row.id)
    if (outcome !== undefined && result?.outcome !== outcome) return false
    if (words.length === 0) return true
    const text = textOf(row, result)
    return words.every((word) => text.includes(word))
  })
}

function levelOf(level: Level): string {
  return level.replace(' NOT', '')
}

function textOf(row: Row, result: Result | undefined): string {
  const { id, section, level, side, applies, requirement, when = '', response = '' } = row
  const { outcome = '', tried = '', seen = '' } = result ?? {}
  return [id, section, level, side, applies, requirement, when, response, outcome, tried, seen].join('\n').toLowerCase()
}
