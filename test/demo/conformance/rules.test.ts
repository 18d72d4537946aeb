// The rules of the Conformance view as a person uses them, in a real Chromium: filters and their address, a rule
// opened, run again and opened in the Ring view, by keyboard alone too; no barrier that axe-core finds, and nothing
// too wide.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ROWS, type Row } from '../../../host/conformance/rows.ts'
import { replay } from '../../../host/replay/player.ts'
import { Trace } from '../../../host/replay/trace.ts'
import {
  assertAccessible,
  assertFits,
  type DemoBrowser,
  type DemoPage,
  hasChromium,
  openBrowser,
  screenshot,
} from '../../support/browser.ts'
import { openRule, runEnds, shownRules } from '../../support/conformance-page.ts'

const test = suite<{ demo: DemoBrowser; opened: DemoPage }>('conformance view: rules')

const hashOf = ({ page }: DemoPage): string => new URL(page.url()).hash
const idsOf = (isShown: (row: Row) => boolean): string[] =>
  ROWS.filter(isShown)
    .map(({ id }) => id)
    .sort()

/** What the worker gives the page to open, as bytes. */
const SPY = `
window.recordings = []
window.Worker = class extends Worker {
  constructor(...args) {
    super(...args)
    this.addEventListener('message', ({ data: { answer } }) => {
      if (answer.recording) recordings.push({ file: [...answer.recording.file], at: answer.recording.at })
    })
  }
}`

/** A page whose time is ours: that nothing happens can be seen without waiting. The run goes on, in its worker. */
async function openTyping(demo: DemoBrowser) {
  const opened = await demo.open('#conformance')
  const { page, context } = opened
  await page.clock.install()
  await page.getByRole('searchbox').waitFor()
  return {
    page,
    context,
    hash: () => page.evaluate(() => location.hash),
    passes: (millis: number) => page.clock.runFor(millis),
  }
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
    context.opened = await context.demo.open('#conformance')
    await context.opened.page.addInitScript(SPY)
    await context.opened.page.reload()
    await runEnds(context.opened)
  })

  test.before.each(async ({ opened: { page } }) => {
    // As by a link: the page stays as it is.
    await page.evaluate("location.hash = '#conformance'")
    await page.getByText('All 363 rules', { exact: true }).waitFor()
  })

  test.after(async ({ demo, opened }) => {
    assert.equal(opened.errors, [])
    await demo.close()
  })

  test('filters: each chosen -> its rules, and its address', async ({ opened }) => {
    const { page } = opened
    await page.getByLabel('Section').selectOption('2.7')
    await page.getByLabel('Level').selectOption('MUST')
    assert.is(hashOf(opened), '#conformance?section=2.7&level=MUST')
    await page.getByLabel('Who must follow it').selectOption('driver')
    const expected = (row: Row): boolean =>
      /^2\.7(\.|$)/.test(row.section) && /^MUST/.test(row.level) && row.side === 'driver'
    assert.equal((await shownRules(opened)).sort(), idsOf(expected))
    await page.getByRole('searchbox').fill('descriptor')
    await page.waitForURL(({ hash }) => hash.endsWith('&side=driver&q=descriptor'))
    const shown = await shownRules(opened)
    assert.ok(shown.length > 0 && shown.length < idsOf(expected).length)
    await page.getByText(`${shown.length} of 363 rules`, { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Clear filters' }).click()
    assert.is(hashOf(opened), '#conformance')
    assert.is((await shownRules(opened)).length, 363)
    assert.is(await page.getByRole('searchbox').inputValue(), '')
    assert.is(await page.locator(':focus').getAttribute('type'), 'search')
  })

  test('total: pressed -> its rules only; pressed again -> all', async ({ opened }) => {
    const { page } = opened
    const total = page.getByRole('button', { name: 'not checkable' })
    await total.click()
    assert.is(await total.getAttribute('aria-pressed'), 'true')
    assert.is(hashOf(opened), '#conformance?outcome=not+checkable')
    assert.is((await shownRules(opened)).length, 5)
    await total.click()
    assert.is((await shownRules(opened)).length, 363)
  })

  test('address: a link while text is being typed -> the link counts', async ({ demo }) => {
    const { page, hash, passes, context } = await openTyping(demo)
    await page.getByRole('searchbox').fill('reset')
    await page.evaluate("location.hash = '#conformance?section=2.4'")
    await page.waitForFunction(() => document.querySelector<HTMLInputElement>('input[type=search]')?.value === '')
    await passes(1000)
    assert.is(await hash(), '#conformance?section=2.4')
    await context.close()
  })

  test('address: another view while text is being typed -> that view stays; back -> the text too', async ({ demo }) => {
    const { page, hash, passes, context } = await openTyping(demo)
    await page.getByRole('searchbox').fill('reset')
    await page.getByRole('link', { name: 'Ring', exact: true }).click()
    await page.getByRole('region', { name: 'Ring', exact: true }).waitFor()
    await passes(1000)
    assert.is(await hash(), '#ring')
    await page.getByRole('link', { name: 'Conformance', exact: true }).click()
    assert.is(await page.getByRole('searchbox').inputValue(), 'reset')
    await passes(1000)
    assert.is(await hash(), '#conformance?q=reset')
    await context.close()
  })

  test('filters that let nothing through -> said', async ({ opened }) => {
    await opened.page.getByRole('searchbox').fill('no rule has this word')
    await opened.page.getByText('No rule is like that').waitFor()
    await opened.page.getByRole('button', { name: 'Clear filters' }).click()
  })

  test('address: a link with filters -> these rules; the back button -> those before', async ({ opened }) => {
    const { page } = opened
    await page.evaluate("location.hash = '#conformance?section=2.4&q=reset'")
    await page.waitForFunction(() => document.querySelector<HTMLInputElement>('input[type=search]')?.value === 'reset')
    assert.is(await page.getByLabel('Section').inputValue(), '2.4')
    const shown = await shownRules(opened)
    assert.ok(shown.length > 0 && shown.length < 10)
    await page.goBack()
    await page.getByText('All 363 rules', { exact: true }).waitFor()
  })

  test('address: what no rule has -> one line, and all rules', async ({ opened }) => {
    const { page } = opened
    await page.evaluate("location.hash = '#conformance?section=9.9&outcome=%3Cb%3E'")
    const lines = await page.getByRole('alert').allTextContents()
    assert.is(lines.length, 2)
    assert.match(lines[0] ?? '', 'section “9.9”, which no rule has')
    assert.is((await shownRules(opened)).length, 363)
  })

  test('rule: opened -> what was tried and seen; closed -> gone', async ({ opened }) => {
    const { page } = opened
    const detail = await openRule(opened, 'mmio.magic.1')
    assert.match((await detail.textContent()) ?? '', /Tried.*Seen.*0x74726976.*Section 4\.2\.2\.1: it says MUST/)
    const button = page.getByRole('button', { name: 'mmio.magic.1', exact: true })
    assert.is(await button.getAttribute('aria-expanded'), 'true')
    assert.is(await button.getAttribute('aria-controls'), await detail.getAttribute('id'))
    await button.click()
    assert.is(await detail.count(), 0)
    assert.is(await button.getAttribute('aria-expanded'), 'false')
  })

  test('rule: of the driver -> what a robust device does, too', async ({ opened }) => {
    const detail = await openRule(opened, 'drv.status.1')
    assert.match((await detail.textContent()) ?? '', 'A robust deviceDo not go live')
    await openRule(opened, 'drv.status.1')
  })

  test('link to one rule -> it alone, open', async ({ opened }) => {
    const { page } = opened
    const detail = await openRule(opened, 'drv.status.2')
    await detail.getByRole('link', { name: 'Link to this rule' }).click()
    await page.getByText('1 of 363 rules, one rule alone').waitFor()
    assert.is(hashOf(opened), '#conformance?id=drv.status.2')
    assert.equal(await shownRules(opened), ['drv.status.2'])
    await detail.getByText('Tried').waitFor()
    await page.getByRole('button', { name: 'Close all' }).click()
    assert.is(await detail.count(), 0)
  })

  test('run again: on another flavour -> said, and the row says which', async ({ opened }) => {
    const { page } = opened
    await page.getByLabel('Flavour of the engine').selectOption('trace-shared')
    const detail = await openRule(opened, 'split.size.1')
    assert.match((await detail.textContent()) ?? '', 'Ran onthe release flavour')
    await detail.getByRole('button', { name: 'Run again' }).click()
    await detail.getByRole('status').getByText('On the trace-shared flavour: passed.').waitFor()
    assert.match((await detail.textContent()) ?? '', 'Ran onthe trace-shared flavour')
    await page.getByLabel('Flavour of the engine').selectOption('release')
    await openRule(opened, 'split.size.1')
  })

  test('nothing to open: not offered, not checkable -> the reason instead of a button', async ({ opened }) => {
    for (const [outcome, reason] of [
      ['not offered', /Nothing to open in Ring: the device does not offer \w+, so no check ran/],
      ['not checkable', /Nothing to open in Ring: nobody can check this from outside/],
    ] as const) {
      const { page } = opened
      await page.getByRole('button', { name: outcome }).click()
      const [id = ''] = await shownRules(opened)
      const detail = await openRule(opened, id)
      assert.match((await detail.textContent()) ?? '', reason)
      assert.is(await detail.getByRole('button', { name: 'Open in Ring' }).count(), 0)
      await page.getByRole('button', { name: outcome }).click()
      await openRule(opened, id)
    }
  })

  test('open in Ring: by keyboard alone -> a recording of the check that replays in Node', async ({ opened }) => {
    const { page } = opened
    await page.evaluate("location.hash = '#conformance?section=2.7.5.2'")
    await page.getByRole('button', { name: 'Clear filters' }).focus()
    const focused = async (): Promise<string> => (await page.locator(':focus').textContent()) ?? ''
    const tabTo = async (text: string): Promise<void> => {
      for (let i = 0; i < 30 && (await focused()) !== text; i++) await page.keyboard.press('Tab')
      assert.is(await focused(), text)
    }
    const [id = ''] = await shownRules(opened)
    await tabTo(id)
    await page.keyboard.press('Enter')
    await tabTo('Run again')
    await page.keyboard.press('Space')
    await page.getByRole('status').getByText('On the release flavour: passed.').waitFor()
    assert.is(await focused(), 'Run again', 'the focus stays where it was')
    await tabTo('Open in Ring')
    await page.keyboard.press('Enter')
    await page.getByRole('region', { name: 'Ring', exact: true }).waitFor()
    assert.match(hashOf(opened), /^#ring\?opened=\d+/)
    assert.is(await page.locator(':focus').getAttribute('id'), 'content', 'the focus comes along')
    const [{ file, at }] = (await page.evaluate('recordings')) as [{ file: number[]; at: number }]
    const trace = await Trace.parse(Uint8Array.from(file))
    assert.is(replay(trace).divergence?.message, undefined)
    assert.ok((trace.steps[at]?.events.length ?? 0) > 0, 'it begins at an access to guest memory')
    assert.ok(trace.steps.slice(0, at).every(({ events }) => events.length === 0))
    await page.goBack()
    await page.getByRole('region', { name: 'Conformance', exact: true }).waitFor()
    assert.equal((await shownRules(opened))[0], id)
  })

  test('table: rows, headers and groups for screen readers, at both widths', async ({ opened }) => {
    const { page } = opened
    await page.evaluate("location.hash = '#conformance?section=2.4'")
    const shown = await shownRules(opened)
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 })
      const table = page.getByRole('table', { name: 'The rules, by section of the standard' })
      assert.is(await table.getByRole('columnheader').count(), 6, `${width} px`)
      // One head, one heading, one row each.
      assert.is(await table.getByRole('row').count(), 2 + shown.length, `${width} px`)
      assert.is(await table.getByRole('rowheader').count(), 1 + shown.length, `${width} px`)
    }
    await page.setViewportSize({ width: 1280, height: 800 })
  })

  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      test(`look: ${scheme} at ${width} px -> nothing too wide, no barrier`, async ({ opened }) => {
        const { page } = opened
        await page.emulateMedia({ colorScheme: scheme })
        await page.setViewportSize({ width, height: width === 390 ? 844 : 800 })
        await assertFits(page, 'all rules')
        await page.evaluate('scrollTo(0, 0)')
        await page.mouse.move(0, 0)
        await screenshot(page, `conformance-${width}-${scheme}`, false)
        // Of all the rules axe-core would look at thousands of cells that are alike.
        await page.getByLabel('Section').selectOption('2.4')
        const [first = ''] = await shownRules(opened)
        await openRule(opened, first)
        await assertFits(page, 'some rules')
        await assertAccessible(page, 'some rules')
        await screenshot(page, `conformance-rule-${width}-${scheme}`)
        await openRule(opened, first)
      })
    }
  }
}

test.run()
