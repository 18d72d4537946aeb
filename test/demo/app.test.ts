// The page's shell in a real Chromium: navigation, history, colours, keyboard, without errors, with and without
// cross-origin isolation, at both widths. The views have tests of their own.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser } from '../support/browser.ts'

const test = suite<{ demo: DemoBrowser }>('demo app')

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('navigation: each link -> its view, title and address; back -> the one before', async ({ demo }) => {
    const { page, errors, context } = await demo.open('')
    await page.getByRole('heading', { level: 1 }).waitFor()
    for (const name of ['Conformance', 'Linux', 'Ring']) {
      await page.getByRole('link', { name, exact: true }).click()
      await page.getByRole('region', { name, exact: true }).waitFor()
      assert.is(new URL(page.url()).hash, `#${name.toLowerCase()}`)
      await page.waitForFunction((title) => document.title === title, `${name} · virtio-blk-wasm`)
      assert.is(await page.locator('nav [aria-current=page]').textContent(), name)
    }
    await page.goBack()
    await page.getByRole('region', { name: 'Linux', exact: true }).waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('addresses: what is no view -> the first one', async ({ demo }) => {
    const { page, errors, context } = await demo.open('#%00<script>?x=%')
    await page.getByRole('region', { name: 'Ring', exact: true }).waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('keyboard: Tab from the top -> skip link, then the links; Enter on the skip link -> the content', async ({
    demo,
  }) => {
    const { page, context } = await demo.open('#conformance')
    await page.getByRole('region', { name: 'Conformance' }).waitFor()
    await page.keyboard.press('Tab')
    assert.is(await page.locator(':focus').textContent(), 'Skip to the content')
    await page.keyboard.press('Enter')
    assert.is(await page.locator(':focus').getAttribute('id'), 'content')
    await context.close()
  })

  test('colours: dark chosen -> dark after a reload too', async ({ demo }) => {
    const { page, context } = await demo.open('#conformance')
    const background = (): Promise<string> =>
      page.locator('body').evaluate((body) => getComputedStyle(body).backgroundColor)
    const light = await background()
    await page.getByLabel('Colours').selectOption('dark')
    const dark = await background()
    assert.is.not(dark, light)
    await page.reload()
    assert.is(await background(), dark)
    await context.close()
  })

  test('isolation: said as it is, and the page works without', async ({ demo }) => {
    const isolated = await demo.open('')
    await isolated.page.getByText('Cross-origin isolated: every flavour').waitFor()
    await isolated.context.close()
    const other = await openBrowser({ isolation: false })
    try {
      const { page, errors } = await other.open('')
      await page.getByText('Not cross-origin isolated').waitFor()
      await page.getByRole('heading', { level: 1 }).waitFor()
      assert.equal(errors, [])
    } finally {
      await other.close()
    }
  })

  test('narrow: 390 px -> nothing is wider than the screen', async ({ demo }) => {
    for (const name of ['Ring', 'Conformance', 'Linux']) {
      const { page, context } = await demo.open(`#${name.toLowerCase()}`, { width: 390, height: 844 })
      await page.getByRole('region', { name, exact: true }).getByRole('heading', { level: 1 }).waitFor()
      const width = await page.evaluate('document.documentElement.scrollWidth')
      assert.ok(Number(width) <= 390, `${name}: ${width} px`)
      await context.close()
    }
  })
}

test.run()
