// The throttle panel in a real Chromium: what the sentence and the table say after so much virtual time is what the
// limits allow, reckoned here by hand; wrong limits are told at their field; the charts are drawn in both schemes.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: throttle')

async function openPanel(demo: DemoBrowser, scheme: 'light' | 'dark' = 'light') {
  const opened = await demo.open('#ring?panel=throttle', { scheme })
  await opened.page.getByText('At 0.00 s').waitFor()
  return opened
}

const LIMITS = ['Requests a second', 'Burst of requests', 'Bytes a second', 'Burst of bytes'] as const

async function setLimits(page: Page, values: readonly string[]): Promise<void> {
  const group = page.getByRole('group', { name: 'Limits of the disk' })
  for (const [i, name] of LIMITS.entries()) await group.getByLabel(name).fill(values[i] ?? '')
}

async function setLoad(page: Page, perSecond: string, bytes: string): Promise<void> {
  const group = page.getByRole('group', { name: 'What the driver offers' })
  await group.getByLabel('Requests a second').fill(perSecond)
  await group.getByLabel('Bytes of each').fill(bytes)
}

/** The sentence, once so much time has gone. */
async function summaryAt(page: Page, time: string): Promise<string> {
  const summary = page.locator('.summary')
  await summary.getByText(`At ${time} s`).waitFor()
  return (await summary.textContent()) ?? ''
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('requests a second: burst first, then the rate; the rest waits', async ({ demo }) => {
    const { page, errors, context } = await openPanel(demo)
    await setLimits(page, ['10', '10', '', ''])
    await setLoad(page, '20', '512')
    await page.getByRole('button', { name: 'Start anew' }).click()
    await page.getByText('At 0.00 s').waitFor()
    for (let i = 0; i < 5; i++) await page.getByRole('button', { name: 'Step 1 s' }).click()
    const text = await summaryAt(page, '5.00')
    // 10 tokens at first and 10 a second for 5 s; one of them is left to a request at 5 s sharp.
    assert.match(text, /(59|60) of 100 requests completed/)
    assert.match(text, /(40|41) waiting/)
    assert.match(text, /The head waits another \d+ ms/)
    assert.match(text, /Balance: -?[\d.]+ requests\./)
    await page.getByText('samples as a table').click()
    const rows = page.getByRole('region', { name: 'Samples' }).getByRole('row')
    assert.is(await rows.count(), 21, '20 samples and the heading')
    // Two samples of 50 ms each for a token: every other interval completes one.
    const completed = await rows.locator('td:nth-child(5)').allTextContents()
    assert.is(
      completed.reduce((sum, number) => sum + Number(number), 0),
      10,
      'in the last second',
    )
    assert.equal(errors, [])
    await context.close()
  })

  test('bytes a second: the bytes that pass are the burst and the rate', async ({ demo }) => {
    const { page, context } = await openPanel(demo)
    await setLimits(page, ['', '', '40960', '40960'])
    await setLoad(page, '50', '4096')
    await page.getByRole('button', { name: 'Start anew' }).click()
    await page.getByText('At 0.00 s').waitFor()
    for (let i = 0; i < 3; i++) await page.getByRole('button', { name: 'Step 1 s' }).click()
    const text = await summaryAt(page, '3.00')
    // 40960 bytes of burst and three times as many: 40 requests of 4096 bytes, or one less.
    assert.match(text, /(39|40) of 150 requests completed, (159,744|163,840) bytes/)
    assert.match(text, /Balance: -?[\d.,]+ bytes\./)
    await context.close()
  })

  test('no limits: nothing waits; limits while it goes on: at once', async ({ demo }) => {
    const { page, context } = await openPanel(demo)
    await setLimits(page, ['', '', '', ''])
    await setLoad(page, '10', '512')
    await page.getByRole('button', { name: 'Start anew' }).click()
    await page.getByText('At 0.00 s').waitFor()
    await page.getByRole('button', { name: 'Step 1 s' }).click()
    assert.match(await summaryAt(page, '1.00'), /10 of 10 requests completed.* 0 waiting\. No head waits\. No limits\./)
    await setLimits(page, ['1', '1', '', ''])
    await page.getByRole('button', { name: 'Step 1 s' }).click()
    assert.match(await summaryAt(page, '2.00'), /(11|12) of 20 requests completed/)
    await context.close()
  })

  test('charts: axes make sense before anything has run, the legend says which axis; bytes are whole', async ({
    demo,
  }) => {
    const { page, errors, context } = await demo.open('#ring')
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    await page.evaluate(() => {
      const texts: string[] = []
      const draw = CanvasRenderingContext2D.prototype.fillText
      CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
        texts.push(text)
        draw.call(this, text, ...at)
      }
      Object.assign(window, { texts })
    })
    await page.getByRole('link', { name: 'Throttle' }).click()
    await page.waitForFunction(() => (window as unknown as { texts: string[] }).texts.length > 12)
    const texts = (await page.evaluate('window.texts')) as string[]
    const times = texts.filter((text) => text.endsWith(' s')).map((text) => Number.parseFloat(text))
    assert.ok(Math.max(...times) <= 1, `times up to ${Math.max(...times)} s`)
    assert.equal(
      texts.filter((text) => /^0\.\d/.test(text) && !text.endsWith(' s')),
      [],
      'no parts of a request',
    )
    const legend = page.getByRole('figure')
    for (const words of ['waiting (right)', 'completed in the interval (left)']) await legend.getByText(words).waitFor()
    for (let i = 0; i < 5; i++) await page.getByRole('button', { name: 'Step 50 ms' }).click()
    assert.match(await summaryAt(page, '0.25'), /Balance: [\d.,]+ requests, -?[\d,]+ bytes\./)
    assert.equal(errors, [])
    await context.close()
  })

  test('run and pause: time goes on by itself, and stops', async ({ demo }) => {
    const { page, errors, context } = await openPanel(demo)
    // The page's time is ours from here on: 3 s and more of the disk's in a fifth of a second.
    await page.clock.install()
    await page.getByLabel('Speed of Run').selectOption('20')
    await page.getByRole('button', { name: 'Run' }).click()
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    const time = async (): Promise<number> =>
      Number(/At ([\d.]+) s/.exec((await page.locator('.summary').textContent()) ?? '')?.[1])
    await page.clock.runFor(300)
    assert.ok((await time()) >= 3)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('button', { name: 'Run' }).waitFor()
    await page.clock.runFor(100)
    const paused = await time()
    await page.clock.runFor(1000)
    assert.is(await time(), paused)
    assert.equal(errors, [])
    await context.close()
  })

  test('another panel and back -> time is where it was', async ({ demo }) => {
    const { page, context } = await openPanel(demo)
    await page.getByRole('button', { name: 'Step 1 s' }).click()
    await summaryAt(page, '1.00')
    await page.getByRole('link', { name: 'Step through' }).click()
    await page.getByRole('region', { name: 'This frame' }).waitFor()
    await page.getByRole('link', { name: 'Throttle' }).click()
    await page.getByRole('button', { name: 'Step 1 s' }).click()
    await summaryAt(page, '2.00')
    await context.close()
  })

  test('wrong limits and loads: told at their field, and what holds goes on holding', async ({ demo }) => {
    const { page, errors, context } = await openPanel(demo)
    const limits = page.getByRole('group', { name: 'Limits of the disk' })
    const load = page.getByRole('group', { name: 'What the driver offers' })
    await limits.getByLabel('Burst of requests').fill('3')
    await limits.getByText(/iopsBurst \(3\) must be >= iops \(20\)/).waitFor()
    assert.is(await limits.getByLabel('Burst of requests').getAttribute('aria-invalid'), 'true')
    await limits.getByLabel('Burst of requests').fill('many')
    await limits.getByText('A number, or nothing.').waitFor()
    await limits.getByLabel('Burst of requests').fill('40')
    await load.getByLabel('Bytes of each').fill('100')
    await load.getByText(/requestBytes must be/).waitFor()
    await load.getByLabel('Bytes of each').fill('4096')
    await load.getByLabel('Reads, percent').fill('101')
    await load.getByText(/reads must be from 0 to 1/).waitFor()
    await page.getByRole('button', { name: 'Step 1 s' }).click()
    assert.match(await summaryAt(page, '1.00'), /30 requests completed/)
    assert.equal(errors, [])
    await context.close()
  })

  test('charts: both are drawn, with the colours of the scheme', async ({ demo }) => {
    const pictures = []
    for (const scheme of ['light', 'dark'] as const) {
      const { page, errors, context } = await openPanel(demo, scheme)
      for (let i = 0; i < 4; i++) await page.getByRole('button', { name: 'Step 1 s' }).click()
      await page.locator('.throttle-chart canvas').nth(1).waitFor()
      const colours = await page.locator('.throttle-chart canvas').evaluateAll((canvases) =>
        canvases.map((canvas) => {
          const { width, height } = canvas as HTMLCanvasElement
          const pixels = (canvas as HTMLCanvasElement).getContext('2d')?.getImageData(0, 0, width, height).data ?? []
          const seen = new Set<string>()
          for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i + 3] === 255) seen.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`)
          }
          return [...seen]
        }),
      )
      // --load and --wait-soft of style.css in the first, --good in the second
      const expected =
        scheme === 'light' ? ['11,98,168', '250,239,208', '25,113,58'] : ['108,184,245', '67,52,15', '111,212,147']
      assert.ok(colours[0]?.includes(expected[0] ?? ''), `${scheme}: the balance`)
      assert.ok(colours[0]?.includes(expected[1] ?? ''), `${scheme}: the stall`)
      assert.ok(colours[1]?.includes(expected[2] ?? ''), `${scheme}: the completions`)
      pictures.push(colours)
      assert.equal(errors, [])
      await context.close()
    }
  })
}

test.run()
