// The Conformance view as a person finds it, for its tests: opened and run to its end, with words for what is on it.

import * as assert from 'uvu/assert'
import type { Row } from '../../host/conformance/rows.ts'
import type { DemoBrowser, DemoPage, OpenOptions } from './browser.ts'

/** For the whole run on a busy machine. */
const RUN_MS = 120_000

/** Opens the view at the parameters given, and waits for the run that it begins by itself. */
export async function openRules(demo: DemoBrowser, query = '', options: OpenOptions = {}): Promise<DemoPage> {
  const opened = await demo.open(query === '' ? '#conformance' : `#conformance?${query}`, options)
  await runEnds(opened)
  return opened
}

export async function runEnds({ page }: DemoPage, flavour = 'release'): Promise<void> {
  await page.getByText(`All 363 rules checked on the ${flavour} flavour in`).waitFor({ timeout: RUN_MS })
}

/** The totals as they are shown, by the outcomes' own names. */
export async function shownTotals({ page }: DemoPage): Promise<Record<string, number>> {
  const texts = await page.getByRole('group', { name: 'Totals' }).getByRole('button').allTextContents()
  return Object.fromEntries(
    texts.map((text) => {
      const [, count, outcome = ''] = /^(\d+) (.+)$/.exec(text) ?? assert.unreachable(`no total: ${text}`) ?? []
      return [outcome === 'no check written' ? 'not checked yet' : outcome, Number(count)]
    }),
  )
}

/** The rules in the table, in order. */
export async function shownRules({ page }: DemoPage): Promise<string[]> {
  return await page.locator('table.rules [aria-expanded]').allTextContents()
}

/** Opens a rule's row, and gives what is under it. */
export async function openRule({ page }: DemoPage, id: Row['id']) {
  await page.getByRole('button', { name: id, exact: true }).click()
  return page.locator(`[id="rule-${id}"]`)
}
