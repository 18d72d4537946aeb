// What follows a kick in a real Chromium: the result is in sight and said at once, with a way to the decision; and the
// form is still as it was left.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser, screenshot } from '../../support/browser.ts'
import { openRing, resultsOf, sentenceOf, toLastFrame } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: kick')

async function toForm(page: Page): Promise<void> {
  await page.getByRole('link', { name: 'Build a request' }).click()
  await page.getByRole('form', { name: 'Build a request' }).waitFor()
}

/** As a person does, who has scrolled to the button. */
async function kick(page: Page): Promise<void> {
  const button = page.getByRole('button', { name: 'Kick', exact: true })
  await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)')
  assert.ok(Number(await page.evaluate('scrollY')) > 0, 'the form is longer than the window')
  await button.click()
  await page.getByRole('region', { name: 'Outcome' }).waitFor()
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  for (const [width, height] of [
    [1280, 800],
    [390, 844],
  ] as const) {
    test(`${width} px: kick -> the top of the view, what came of it, a way to the decision`, async ({ demo }) => {
      const { page, errors, context } = await openRing(demo, '#ring?preset=read', { width, height })
      await toForm(page)
      await page.getByLabel('The data has the wrong direction').check()
      await kick(page)
      await page.waitForFunction('scrollY === 0')
      const outcome = page.getByRole('region', { name: 'Outcome' })
      const box = await outcome.boundingBox()
      assert.ok(box && box.y >= 0 && box.y + box.height <= height, 'in sight')
      assert.match((await outcome.textContent()) ?? '', /^Head 0, IN: IOERR, data in the wrong direction \(fault d\)\./)
      await screenshot(page, `ring-kicked-${width}`, false)
      await outcome.getByRole('button', { name: 'Go to the decision' }).click()
      assert.match(await sentenceOf(page), /^decision on head 0: IOERR, data in the wrong direction/)
      const bar = page.getByRole('region', { name: 'Stepping' }).getByText(await sentenceOf(page))
      assert.is(await bar.isVisible(), width <= 640, 'the frame in words, beside the controls of a phone')
      assert.equal(errors, [])
      await context.close()
    })
  }

  test('outcome: of what is poisoned, whole, and one of several; none where nobody has kicked', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo, '#ring?preset=read')
    const outcome = page.getByRole('region', { name: 'Outcome' })
    assert.is(await outcome.count(), 0)
    await toForm(page)
    await page.getByLabel('The last descriptor goes on with the first').check()
    await kick(page)
    await outcome.getByText('The queue is poisoned: a chain longer than the queue').waitFor()
    await outcome.getByRole('button', { name: 'Go to the decision' }).click()
    assert.match(await sentenceOf(page), /^ring fault: a chain longer than the queue/)
    await toForm(page)
    await page.getByLabel('The last descriptor goes on with the first').uncheck()
    await kick(page)
    await outcome.getByText('Head 0, IN: read (rule 11), status 0 OK.').waitFor()
    await toForm(page)
    await page.getByRole('button', { name: 'Add a request to this kick' }).click()
    const second = page.getByRole('group', { name: 'Request 2' })
    await second.getByLabel('A type that no device knows (99)').check()
    await kick(page)
    await outcome.getByText('Head 3, type 99: unsupported type (request faults) (one of 2 decisions).').waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('form after a kick: the switch is still on, and can be taken back', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo, '#ring?preset=read')
    const wrong = page.getByLabel('The data has the wrong direction')
    await toForm(page)
    await wrong.check()
    await kick(page)
    const broken = page.url()
    await toForm(page)
    assert.is(await wrong.isChecked(), true)
    assert.is(await page.getByLabel('Piece 2, direction').inputValue(), 'w', 'what was laid out, not what was kicked')
    await wrong.uncheck()
    await kick(page)
    await toLastFrame(page)
    assert.equal((await resultsOf(page))[0], '✓ Head 0, IN: status 0 OK, used length 513')
    // The back button leads to the form of that kick too.
    await page.goto(broken)
    await page.getByRole('region', { name: 'Result' }).getByText('no request has been taken').waitFor()
    await toForm(page)
    assert.is(await wrong.isChecked(), true)
    await page.goto(`${demo.server.url}#ring?preset=write`)
    await page.getByText('The data is readable, only the status byte').waitFor()
    await toForm(page)
    assert.is(await wrong.isChecked(), false, 'of another scenario')
    assert.equal(errors, [])
    await context.close()
  })

  test('layout: the one that the pieces have; changed by hand they have none', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=read&panel=step')
    await toForm(page)
    const layout = page.getByLabel('Layout')
    const chosen = (): Promise<string> =>
      layout.evaluate((select: HTMLSelectElement) => select.selectedOptions[0]?.text ?? '')
    assert.is(await chosen(), 'Header, data, status apart')
    await layout.selectOption({ label: 'Writable data with status' })
    assert.is(await chosen(), 'Writable data with status')
    assert.is(await page.getByLabel('Piece 2, bytes').inputValue(), '513')
    await page.getByLabel('Piece 1, bytes').fill('15')
    assert.is(await chosen(), 'as listed below')
    await page.getByLabel('Piece 1, bytes').fill('16')
    assert.is(await chosen(), 'Writable data with status')
    await context.close()
  })
}

test.run()
