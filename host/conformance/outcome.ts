// What can come of checking a rule, as data: whoever shows results needs no check. Portable.

import type { Row } from './rows.ts'

/**
 * `not offered`: the rule is of a feature that this device does not offer. `not checkable`: nobody can see from outside
 * whether it is followed. `skipped`: the target lacks what the check needs. `not checked yet`: the kit has no check.
 */
export type Outcome = 'passed' | 'failed' | 'not offered' | 'not checkable' | 'skipped' | 'not checked yet'

export const OUTCOMES: readonly Outcome[] = [
  'passed',
  'failed',
  'not offered',
  'not checkable',
  'skipped',
  'not checked yet',
]

export interface Result extends Row {
  readonly outcome: Outcome
  /** what the check does, or the reason why there is none */
  readonly tried: string
  /** what came of it */
  readonly seen: string
}

/** How many rows had each outcome. */
export function totals(results: readonly Result[]): Record<Outcome, number> {
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>
  for (const { outcome } of results) counts[outcome]++
  return counts
}
