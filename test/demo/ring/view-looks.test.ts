// The Ring view for everybody, in a real Chromium: nothing that axe-core calls serious, in light and dark; nothing
// wider than a small screen; all of it by keyboard. And screenshots in build/screenshots, to be looked at.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  assertAccessible,
  assertFits,
  type DemoBrowser,
  hasChromium,
  openBrowser,
  screenshot,
} from '../../support/browser.ts'
import { openRing, placeOf, resultsOf, sentenceOf, toLastFrame } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: looks')

const SCHEMES = ['light', 'dark'] as const
const WIDTHS = [1280, 390] as const

/** What is looked at: a name for the picture, where it is, and what is done there first. */
const PLACES: readonly (readonly [name: string, fragment: string, act: (page: Page) => Promise<void>])[] = [
  ['ring', '#ring?preset=read', (page) => page.getByRole('slider', { name: 'Frame' }).fill('11')],
  ['ring-batch', '#ring?preset=batch', (page) => page.getByRole('slider', { name: 'Frame' }).fill('48')],
  ['ring-fault-loop', '#ring?preset=ring-loop', (page) => page.getByRole('slider', { name: 'Frame' }).fill('50')],
  ['ring-fault-sector', '#ring?preset=fault-f', toLastFrame],
  ['ring-throttled', '#ring?preset=throttled', (page) => page.getByRole('slider', { name: 'Frame' }).fill('36')],
  ['ring-recording', '#ring', openLinux],
  ['ring-build', '#ring?preset=read&panel=build', breakIt],
  ['ring-throttle', '#ring?panel=throttle', stepTime],
  ['ring-failed', '#ring?trace=bm9uc2Vuc2U', (page) => page.getByRole('alert').waitFor()],
]

async function openLinux(page: Page): Promise<void> {
  await page.locator('input[type=file]').first().setInputFiles('test/golden/linux.trace')
  await page.getByRole('button', { name: 'Go to the request of step 121, head 0' }).click()
  await page.getByRole('button', { name: 'Next decision' }).click()
}

async function breakIt(page: Page): Promise<void> {
  await page.getByLabel('The header has 15 bytes').check()
  await page.getByLabel('exact addr, len, flags and next').check()
  await page.getByLabel('Sector', { exact: true }).fill('first')
}

async function stepTime(page: Page): Promise<void> {
  for (let i = 0; i < 6; i++) await page.getByRole('button', { name: 'Step 1 s' }).click()
  await page.locator('.throttle-chart canvas').nth(1).waitFor()
  await page.getByText('samples as a table').click()
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  for (const scheme of SCHEMES) {
    test(`${scheme}: accessible, fits both widths, no errors; screenshots`, async ({ demo }) => {
      const wrong: string[] = []
      for (const width of WIDTHS) {
        // Colours are the same at both widths, and nothing is wider in the dark.
        const isNew = width === 1280 || scheme === 'light'
        for (const [name, fragment, act] of isNew ? PLACES : PLACES.slice(0, 1)) {
          const about = `${name}, ${width} px, ${scheme}`
          const { page, errors, context } = await demo.open(fragment, {
            width,
            height: width > 400 ? 800 : 844,
            scheme,
          })
          await page.getByRole('heading', { level: 1 }).waitFor()
          await act(page)
          await screenshot(page, `${name}-${width}-${scheme}`)
          for (const check of [assertFits, assertAccessible]) {
            await check(page, about).catch((error: Error) => wrong.push(error.message))
          }
          wrong.push(...errors.map((error) => `${about}: ${error}`))
          await context.close()
        }
      }
      if (wrong.length > 0) assert.unreachable(wrong.join('\n'))
    })
  }

  test('small screen: the stepping controls are in sight wherever one has scrolled to', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring', { width: 390, height: 844 })
    const step = page.getByRole('button', { name: 'Step', exact: true })
    for (const top of [0, 600, 100_000]) {
      await page.evaluate((y) => scrollTo(0, y), top)
      const box = await step.boundingBox()
      assert.ok(box && box.y > 700 && box.y + box.height <= 844, `${top}: ${JSON.stringify(box)}`)
    }
    await step.click()
    assert.is(await placeOf(page), '2 of 25')
    await context.close()
  })

  test('keyboard alone: a preset, a step, a jump in the list, a request built and kicked', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    const tabTo = async (name: RegExp): Promise<void> => {
      for (let i = 0; i < 150; i++) {
        await page.keyboard.press('Tab')
        const label = await page.evaluate(() => {
          const focused = document.activeElement
          const [field] = (focused instanceof HTMLInputElement && focused.labels) || []
          return focused?.getAttribute('aria-label') ?? (field ?? focused)?.textContent ?? ''
        })
        if (name.test(label.trim())) return
      }
      assert.unreachable(`${name} is not reached`)
    }
    await tabTo(/^Preset$/)
    await page.keyboard.press('ArrowDown')
    await page.getByText('The data is readable, only the status byte').waitFor()
    await tabTo(/^Step$/)
    await page.keyboard.press('Enter')
    assert.is((await placeOf(page)).split(' ')[0], '2')
    await tabTo(/^Next decision$/)
    await page.keyboard.press('Space')
    assert.match(await sentenceOf(page), 'decision on head 0: write')
    await tabTo(/^slot 0: head 0/)
    await page.keyboard.press('Enter')
    assert.is(await page.getByLabel('Address', { exact: true }).inputValue(), '0x1104')
    await tabTo(/store used\.idx = 1/)
    await page.keyboard.press('Enter')
    assert.match(await sentenceOf(page), 'store used.idx = 1')
    await page.getByRole('link', { name: 'Build a request' }).focus()
    await page.keyboard.press('Enter')
    await tabTo(/^The sector is behind the end/)
    await context.close()
    assert.equal(errors, [])
  })

  test('keyboard alone: a switch, Kick, the end', async ({ demo }) => {
    const { page, context } = await demo.open('#ring?preset=read&panel=build')
    await page.getByLabel('The sector is behind the end of the disk').focus()
    await page.keyboard.press('Space')
    await page.keyboard.press('Enter')
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    await page.keyboard.press('End')
    assert.equal(await resultsOf(page), ['✗ Head 0, IN: status 1 IOERR, used length 0', 'I 1 interrupt'])
    await context.close()
  })
}

test.run()
