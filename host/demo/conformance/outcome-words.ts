// Outcomes as the view calls them. In JSON and in the address they keep their names.

import type { Outcome } from '../../conformance/outcome.ts'

/** 'not checked yet' would read as if its turn were still to come. */
export function outcomeWords(outcome: Outcome): string {
  return outcome === 'not checked yet' ? 'no check written' : outcome
}
