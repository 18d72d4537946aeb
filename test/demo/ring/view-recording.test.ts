// Recordings that come from elsewhere, in a real Chromium: where they are opened, what is said of bytes that they do
// not hold, and what stays when one cannot be opened.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { list } from '../../../host/replay/listing.ts'
import { Trace } from '../../../host/replay/trace.ts'
import { type DemoBrowser, hasChromium, openBrowser, screenshot } from '../../support/browser.ts'
import { openRing, placeOf, sentenceOf } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: recordings')

const NOTE = '? = not known: a recording holds only the bytes that the engine has loaded or stored so far.'

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('a recording -> begins where its first request is taken, and says what its question marks mean', async ({
    demo,
  }) => {
    const { page, errors, context } = await openRing(demo)
    assert.is(await page.getByText(NOTE).count(), 0, 'of a scenario every byte is known')
    for (const name of ['linux', 'request-f', 'throttled']) {
      await page.locator('input[type=file]').setInputFiles(`test/golden/${name}.trace`)
      await page.getByLabel('Preset', { exact: true }).getByText(`${name}.trace`).waitFor({ state: 'attached' })
      assert.match(await sentenceOf(page), /^plan: look what is new in queue 0/, name)
      await page.keyboard.press('ArrowRight')
      assert.match(await sentenceOf(page), /^load avail\.idx = \d+: (?!nothing)/, name)
      await page.getByText(NOTE).waitFor()
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('each of several requests of one plan -> its own decision, from the list', async ({ demo }) => {
    const bytes = readFileSync('test/golden/throttled.trace')
    const requests = list(await Trace.parse(bytes)).filter((one) => one.kind === 'request')
    const steps = requests.map(({ step }) => step)
    const step = steps.find((one, i) => steps.indexOf(one) !== i)
    assert.ok(step !== undefined, 'a plan that takes several')
    const { page, errors, context } = await openRing(demo)
    await page.locator('input[type=file]').setInputFiles('test/golden/throttled.trace')
    await page.getByLabel('Preset', { exact: true }).getByText('throttled.trace').waitFor({ state: 'attached' })
    for (const { head } of requests.filter((one) => one.step === step)) {
      await page.getByRole('button', { name: `Go to the request of step ${step}, head ${head}`, exact: true }).click()
      assert.match(await sentenceOf(page), new RegExp(`^decision on head ${head}: `))
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('a file that is no trace -> named, and what was shown stays where it was', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo, '#ring?preset=batch')
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight')
    const place = await placeOf(page)
    assert.match(place, /^5 of/)
    const file = { name: 'holiday.png', mimeType: 'image/png', buffer: Buffer.from('no trace') }
    await page.locator('input[type=file]').setInputFiles(file)
    await page.getByRole('alert').getByText('holiday.png cannot be opened: this is no trace').waitFor()
    assert.is(await placeOf(page), place)
    assert.is(await page.getByLabel('Preset', { exact: true }).inputValue(), 'batch')
    await screenshot(page, 'ring-no-trace', false)
    await page.locator('input[type=file]').first().setInputFiles('test/golden/request-g.trace')
    await page.getByLabel('Preset', { exact: true }).getByText('request-g.trace').waitFor({ state: 'attached' })
    assert.is(await page.getByRole('alert').count(), 0)
    assert.equal(errors, [])
    await context.close()
  })

  test('opened from another view that was scrolled down -> the top of this one', async ({ demo }) => {
    const { page, errors, context } = await demo.open('#conformance?show=golden')
    const name = 'linux'
    const open = page.getByRole('button', { name: /Ring view|Open|Step/ }).last()
    await open.waitFor()
    await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)')
    assert.ok(Number(await page.evaluate('scrollY')) > 0, name)
    await open.click()
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    await page.waitForFunction('scrollY === 0')
    assert.equal(errors, [])
    await context.close()
  })

  test('an address that names no view -> the Ring view, and its address', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo, '#nonsense?x=1')
    assert.is(new URL(page.url()).hash, '#ring')
    await page.evaluate("location.hash = '#linux-or-so'")
    await page.waitForFunction("location.hash === '#ring'")
    assert.equal(errors, [])
    await context.close()
  })
}

test.run()
