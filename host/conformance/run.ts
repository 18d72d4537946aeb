// Runs the checks against a target, one row after the other, each on a device of its own. Whatever a check or the
// device does, every row gets an outcome, and only a check that ran to its end with all its assertions passes.

import { DriverError } from '../driver/types.ts'
import { type Check, CheckFailed, CheckSkipped, type Part } from './check.ts'
import { DEVICE } from './checks/device.ts'
import { DRIVER } from './checks/driver.ts'
import { Kit } from './kit.ts'
import type { Result } from './outcome.ts'
import { FEATURES, featureOf, ROWS, type Row } from './rows.ts'
import type { Target, TargetFactory, TargetKind } from './target.ts'

export interface RunOptions {
  /** only rows of this section and those below it ('2.7' has '2.7.4.1' too) */
  section?: string
  /** only this row */
  id?: string
  /** told of each result as it comes */
  onResult?: (result: Result) => void
}

/** Who checks what: the kit's own tests look at it. */
export const PARTS: Readonly<Record<Row['side'], Part>> = { device: DEVICE, driver: DRIVER }

/** for one check; the longest take a second or two */
const LIMIT_MS = 60_000

type Verdict = Pick<Result, 'outcome' | 'tried' | 'seen'>

/** The rows that the options choose, in the standard's order. */
export function chosenRows({ section, id }: RunOptions = {}): Row[] {
  return ROWS.filter((row) => {
    if (id !== undefined && row.id !== id) return false
    return section === undefined || row.section === section || row.section.startsWith(`${section}.`)
  })
}

/**
 * Checks a device against the standard. The factory makes a fresh device for every check (see TargetFactory); what it
 * can give besides `mmio` and `memory` decides how many rules can be checked.
 */
export async function runConformance(make: TargetFactory, options: RunOptions = {}): Promise<Result[]> {
  const runner = new Runner(make)
  const results: Result[] = []
  for (const row of chosenRows(options)) {
    const result = { ...row, ...(await runner.verdict(row)) }
    results.push(result)
    options.onResult?.(result)
  }
  return results
}

class Runner {
  readonly #make: TargetFactory
  readonly #offers = new Map<TargetKind, ReadonlySet<number> | undefined>()

  constructor(make: TargetFactory) {
    this.#make = make
  }

  async verdict(row: Row): Promise<Verdict> {
    const part = PARTS[row.side]
    const check = part.checks.find(({ id }) => id === row.id)
    const feature = featureOf(row)
    const kind = check?.needs.kind ?? (feature === 'RO' ? 'readOnly' : 'usual')
    const offered = (await this.#offered(kind)) ?? (await this.#offered('usual'))
    if (feature !== undefined && !check?.needs.always && !offered?.has(FEATURES[feature] ?? Number.NaN)) {
      return { outcome: 'not offered', tried: `the device does not offer ${feature}`, seen: '' }
    }
    if (check !== undefined) return { tried: check.tried, ...(await this.#run(check, kind)) }
    const reason = part.notCheckable[row.id]
    if (reason !== undefined) return { outcome: 'not checkable', tried: reason, seen: '' }
    return { outcome: 'not checked yet', tried: 'the kit has no check for this rule yet', seen: '' }
  }

  /** Features that a device of the kind offers; undefined if there is no such device. */
  async #offered(kind: TargetKind): Promise<ReadonlySet<number> | undefined> {
    if (!this.#offers.has(kind)) {
      const target = await this.#make(kind)
      try {
        this.#offers.set(kind, target && new Kit(target, new Set()).reg.offeredFeatures())
      } finally {
        await target?.close?.()
      }
    }
    return this.#offers.get(kind)
  }

  async #run(check: Check, kind: TargetKind): Promise<Pick<Verdict, 'outcome' | 'seen'>> {
    const offered = await this.#offered(kind)
    const target = await this.#make(kind)
    if (offered === undefined || target === undefined) return skipped(`there is no target of the kind '${kind}'`)
    try {
      const lacking = missing(check, target, offered)
      if (lacking !== undefined) return skipped(lacking)
      const kit = new Kit(target, offered)
      await inTime(check.run(kit))
      return { outcome: 'passed', seen: kit.conclude() }
    } catch (error) {
      if (error instanceof CheckSkipped) return skipped(error.message)
      // The arena, which is ours: no guest byte is to be had any more.
      if (error instanceof DriverError && error.message.startsWith('driver arena'))
        return skipped('guest RAM is too small')
      return { outcome: 'failed', seen: error instanceof CheckFailed ? error.message : `the check ended with ${error}` }
    } finally {
      await target.close?.()
    }
  }
}

/** A settle() that never resolves is the target's failure, and the end of its check. */
async function inTime(running: void | Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new CheckFailed(`the check did not end within ${LIMIT_MS / 1000} s`)), LIMIT_MS)
  })
  try {
    await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}

function skipped(reason: string): Pick<Verdict, 'outcome' | 'seen'> {
  return { outcome: 'skipped', seen: reason }
}

function missing({ needs }: Check, target: Target, offered: ReadonlySet<number>): string | undefined {
  const extra = needs.extras?.find((name) => target[name] === undefined)
  if (extra !== undefined) return `the target has no ${extra}`
  const feature = needs.features?.find((name) => !offered.has(FEATURES[name] ?? Number.NaN))
  return feature && `the device does not offer ${feature}, which the check needs`
}
