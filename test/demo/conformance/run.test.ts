// The conformance kit in a real Chromium: it starts by itself and the page stays live, every row comes out as in Node,
// the download is what `vblk conformance --json` writes, on every flavour that the browser allows.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { totals } from '../../../host/conformance/outcome.ts'
import { ownTarget } from '../../../host/conformance/own-target.ts'
import { runConformance } from '../../../host/conformance/run.ts'
import { vblk } from '../../cli/run-vblk.ts'
import { type DemoBrowser, type DemoPage, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRules, runEnds, shownRules, shownTotals } from '../../support/conformance-page.ts'

const test = suite<{ demo: DemoBrowser; opened: DemoPage }>('conformance view: run')

async function downloaded({ page }: DemoPage): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download JSON' }).click(),
  ])
  assert.is(download.suggestedFilename(), 'conformance.json')
  return readFileSync(await download.path(), 'utf8')
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
    context.opened = await openRules(context.demo)
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('whole run -> every row as in Node; totals and download are those of vblk conformance', async ({ opened }) => {
    const text = await downloaded(opened)
    const rows = JSON.parse(text) as Awaited<ReturnType<typeof runConformance>>
    const expected = await runConformance(ownTarget())
    assert.is(rows.length, 363)
    for (const [i, { id, outcome, tried, seen }] of expected.entries()) {
      const row = rows[i]
      assert.equal(
        { id: row?.id, outcome: row?.outcome, tried: row?.tried, seen: row?.seen },
        { id, outcome, tried, seen },
      )
    }
    const command = vblk(['conformance', '--json'])
    assert.is(command.status, 0, command.stderr)
    assert.equal(await shownTotals(opened), totals(JSON.parse(command.stdout)))
    assert.ok(text === command.stdout, 'the download differs from what vblk conformance --json writes')
    assert.equal(opened.errors, [])
  })

  test('while it runs -> what waits is counted as waiting, and not as a rule without a check', async ({ demo }) => {
    const opened = await demo.open('#conformance')
    const { page } = opened
    const waits = page.getByText(/^\d+ of 363, \d+ waiting for their turn$/)
    const said = (await waits.textContent()) ?? ''
    const [, checked, waiting] = /^(\d+) of 363, (\d+) waiting/.exec(said) ?? []
    assert.is(Number(checked) + Number(waiting), 363)
    await page.getByRole('button', { name: 'no check written' }).waitFor()
    assert.is(await page.getByText('not checked yet').count(), 0)
    await opened.context.close()
  })

  test('another view and back -> the results and the filters are still there', async ({ opened }) => {
    const { page } = opened
    await page.getByLabel('Section').selectOption('2.4')
    const before = await page.getByText('All 363 rules checked').textContent()
    await page.getByRole('link', { name: 'Linux', exact: true }).click()
    await page.getByRole('region', { name: 'Linux', exact: true }).waitFor()
    await page.getByRole('link', { name: 'Conformance', exact: true }).click()
    assert.is(await page.getByText('All 363 rules checked').textContent(), before)
    assert.is(new URL(page.url()).hash, '#conformance?section=2.4')
  })

  test('isolated -> four flavours, and nothing fails on any', async ({ opened }) => {
    const { page } = opened
    const expected = await shownTotals(opened)
    for (const flavour of ['trace', 'shared', 'trace-shared']) {
      await page.getByLabel('Flavour of the engine').selectOption(flavour)
      await page.getByRole('button', { name: 'Run all' }).click()
      await runEnds(opened, flavour)
      assert.equal(await shownTotals(opened), expected, flavour)
    }
    assert.equal(opened.errors, [])
  })

  test('start: the view opened -> rules are there before results, and can be filtered while it runs', async ({
    demo,
  }) => {
    const opened = await demo.open('#conformance')
    const { page } = opened
    await page.getByText('Checking on the release flavour').waitFor()
    assert.is((await shownRules(opened)).length, 363)
    assert.is(await page.getByRole('button', { name: 'Download JSON' }).isDisabled(), true)
    await page.getByLabel('Section').selectOption('4.2')
    await page.getByText(/^\d+ of 363 rules$/).waitFor()
    assert.ok(await page.getByRole('progressbar', { name: 'Rules checked' }).isVisible(), 'it still runs')
    // The last of them have not been reached yet.
    assert.ok((await page.getByText('waiting', { exact: true }).count()) > 0)
    await runEnds(opened)
    assert.is(await page.getByText('waiting', { exact: true }).count(), 0)
    assert.is(await page.getByRole('progressbar').count(), 0)
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  test('stop -> what was checked stays; run all -> all of it anew', async ({ demo }) => {
    const opened = await demo.open('#conformance')
    const { page } = opened
    await page.getByText('passed', { exact: true }).nth(10).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    const said = (await page.getByText(/^Stopped after \d+ of 363 rules/).textContent()) ?? ''
    const count = Number(/\d+/.exec(said)?.[0])
    const sum = Object.values(await shownTotals(opened)).reduce((a, b) => a + b)
    assert.ok(count > 10 && count < 363, said)
    assert.is(sum, count)
    assert.is(await page.getByRole('button', { name: 'Download JSON' }).isDisabled(), true)
    await page.getByRole('button', { name: 'Run all' }).click()
    await runEnds(opened)
    assert.is((await shownTotals(opened)).failed, 0)
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  test('not isolated -> two flavours, the others say what they need', async () => {
    const other = await openBrowser({ isolation: false })
    try {
      const opened = await openRules(other)
      const options = opened.page.getByLabel('Flavour of the engine').locator('option')
      assert.equal(await options.allTextContents(), [
        'release: as it is shipped',
        'trace: tells of every load and store',
        'shared: needs cross-origin isolation',
        'trace-shared: needs cross-origin isolation',
      ])
      const disabled = await options.evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).disabled))
      assert.equal(disabled, [false, false, true, true])
      assert.is((await shownTotals(opened)).failed, 0)
      assert.equal(opened.errors, [])
    } finally {
      await other.close()
    }
  })
}

test.run()
