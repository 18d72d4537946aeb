// What a check is: the id of the row that it checks, one sentence on what is tried, what it needs from the target, and
// a few lines over the kit that fail by throwing CheckFailed (through the kit's assertions).

import type { Kit } from './kit.ts'
import type { Row } from './rows.ts'
import type { Extra, TargetKind } from './target.ts'

export interface Needs {
  /** the device to try it on. Default 'usual'. */
  kind?: TargetKind
  /** what the target must give besides registers and memory; without it the check is skipped */
  extras?: readonly Extra[]
  /** features that the device must offer besides the row's own; without them the check is skipped */
  features?: readonly string[]
  /** the rule is about the offer itself: check devices that do not offer the row's feature too */
  always?: boolean
}

export interface Check {
  /** the row's id */
  readonly id: Row['id']
  /** what is tried, in one sentence */
  readonly tried: string
  readonly needs: Needs
  readonly run: (kit: Kit) => void | Promise<void>
}

/** The checks of one side, and what becomes of the rows that have none. */
export interface Part {
  readonly checks: readonly Check[]
  /** rows that nobody can check from outside, with the reason */
  readonly notCheckable: Readonly<Record<string, string>>
}

type Run = Check['run']

export function check(id: string, tried: string, run: Run): Check
export function check(id: string, tried: string, needs: Needs, run: Run): Check
export function check(id: string, tried: string, needs: Needs | Run, run?: Run): Check {
  if (typeof needs === 'function') return { id, tried, needs: {}, run: needs }
  return { id, tried, needs, run: run as Run }
}

/** The device did not do what the rule says. */
export class CheckFailed extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CheckFailed'
  }
}

/** The target cannot be checked for this rule; the message says why. */
export class CheckSkipped extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CheckSkipped'
  }
}
