// The keyboard's focus in the Ring view, in a real Chromium: what is pressed keeps it, also when there is nothing more
// to press it for; where what had it goes away, it is at the content and not nowhere.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, placeOf } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: focus')

/** Of what has the focus: its id, label or text; '' if nothing has. */
async function focused(page: Page): Promise<string> {
  return await page.evaluate(() => {
    const element = document.activeElement
    if (!element || element === document.body) return ''
    return element.id || element.ariaLabel || (element.textContent ?? '').trim()
  })
}

async function press(page: Page, button: string, times = 1): Promise<void> {
  await page.getByRole('button', { name: button, exact: true }).focus()
  for (let i = 0; i < times; i++) await page.keyboard.press('Enter')
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('stepping: at an end each button is unavailable, does nothing and keeps the focus', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    for (const [button, times, place] of [
      ['Step', 24, '25 of 25'],
      ['Back', 24, '1 of 25'],
      ['Next decision', 2, '25 of 25'],
      ['First frame', 1, '1 of 25'],
      ['Next request', 2, '25 of 25'],
      ['Back', 24, '1 of 25'],
      ['Last frame', 1, '25 of 25'],
    ] as const) {
      await press(page, button, times)
      assert.is(await placeOf(page), place, button)
      await page.keyboard.press('Enter')
      assert.is(await placeOf(page), place, button)
      assert.is(await focused(page), button)
      assert.ok(await page.getByRole('button', { name: button, exact: true }).isDisabled(), button)
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('lists: pages at an end, an address of 0, a part that is not found yet -> the focus stays', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    await press(page, 'Lower addresses', 40)
    await page.getByRole('rowheader', { name: '000000', exact: true }).waitFor()
    assert.is(await focused(page), 'Lower addresses')
    const request = page.getByRole('region', { name: 'Request', exact: true })
    await page.keyboard.press('Shift+ArrowRight')
    await request.getByRole('button', { name: /^status/ }).focus()
    const status = await focused(page)
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowLeft')
    assert.match(await focused(page), /^status.*not found yet$/)
    assert.match(status, /^status.*0x1410$/)
    await page.locator('input[type=file]').setInputFiles('test/golden/linux.trace')
    await page.getByRole('heading', { name: '58 requests' }).waitFor()
    for (const button of ['Earlier', 'Later']) {
      await press(page, button, 5)
      assert.is(await focused(page), button)
      assert.ok(await page.getByRole('button', { name: button }).isDisabled())
    }
    await page.getByText('51 to 58').waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('builder: a piece at the top keeps the focus; Kick -> the content', async ({ demo }) => {
    const { page, errors, context } = await demo.open('#ring?panel=build')
    await page.getByRole('button', { name: 'Kick', exact: true }).waitFor()
    await press(page, 'Piece 1: up')
    assert.is(await focused(page), 'Piece 1: up')
    await press(page, 'Kick')
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    assert.is(await focused(page), 'content')
    assert.equal(errors, [])
    await context.close()
  })

  test('message about an address: its button goes with it -> the content', async ({ demo }) => {
    const { page, context } = await demo.open('#ring?preset=none')
    await page.getByRole('alert').waitFor()
    await press(page, 'Show the first preset')
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    assert.is(await focused(page), 'content')
    await page.keyboard.press('ArrowRight')
    assert.is(await placeOf(page), '2 of 25')
    await context.close()
  })
}

test.run()
