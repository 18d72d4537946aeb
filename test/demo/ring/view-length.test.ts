// Recordings of any length in a real Chromium: the stepping controls stay inside their card and nothing makes the page
// wider than its window, on a desktop and on a phone.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Trace } from '../../../host/replay/trace.ts'
import { assertFits, type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, placeOf } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: lengths')

/** Where the colour strip is left out there are more frames than this. */
const STRIP_MAX = 1000

/** Linux's recording up to the step with which it has about so many frames. */
async function traceOf(frames: number): Promise<Buffer> {
  const { steps } = await Trace.parse(readFileSync('test/golden/linux.trace'))
  let sum = 0
  const end = steps.findIndex(({ events }) => {
    sum += events.length + 1
    return sum >= frames
  })
  return Buffer.from(await new Trace(steps.slice(0, end)).bytes())
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
    test(`${width} px: 250 to 1,500 frames -> slider, place and speed beside each other, inside the card`, async ({
      demo,
    }) => {
      const { page, errors, context } = await openRing(demo, '#ring', { width, height })
      for (const frames of [250, 500, 750, 1000, 1250, 1500]) {
        const file = { name: `${frames}.trace`, mimeType: '', buffer: await traceOf(frames + 100) }
        await page.locator('input[type=file]').first().setInputFiles(file)
        await page.getByLabel('Preset', { exact: true }).getByText(file.name).waitFor({ state: 'attached' })
        await assertFits(page, file.name)
        const length = Number((await placeOf(page)).split(' ').at(-1))
        const stepping = page.getByRole('region', { name: 'Stepping' })
        assert.is(await stepping.locator('.strip path').count().then(Boolean), length <= STRIP_MAX, `${length} frames`)
        const card = await stepping.boundingBox()
        const parts = [
          page.getByRole('slider', { name: 'Frame' }),
          stepping.locator('output'),
          stepping.locator('.strip'),
        ]
        const boxes = await Promise.all(parts.map((part) => part.boundingBox()))
        for (const box of boxes) {
          assert.ok(
            card && box && box.x >= card.x && box.x + box.width <= card.x + card.width,
            `${length}: in the card`,
          )
        }
        const [slider, place] = boxes
        assert.ok(slider && place && slider.width > 80 && slider.x + slider.width <= place.x, `${length}: apart`)
        if (width > 640) {
          const speed = await page.getByLabel('Speed', { exact: true }).boundingBox()
          assert.ok(speed && place && place.x + place.width <= speed.x, `${length}: speed apart`)
        }
      }
      assert.equal(errors, [])
      await context.close()
    })
  }
}

test.run()
