// The golden traces in a real Chromium: on every flavour that the browser allows they come to the digests that are
// typed in for Node; what a bad file, a changed recording and a missing one look like; opened in the Ring view.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Trace } from '../../../host/replay/trace.ts'
import { DIGESTS } from '../../golden/digests.ts'
import {
  assertAccessible,
  assertFits,
  type DemoBrowser,
  type DemoPage,
  hasChromium,
  openBrowser,
  screenshot,
} from '../../support/browser.ts'

const test = suite<{ demo: DemoBrowser }>('conformance view: golden traces')

const ROUTE = '#conformance?show=golden'
const load = (name: string): Uint8Array => new Uint8Array(readFileSync(`test/golden/${name}.trace`))

async function replayed({ page }: DemoPage, count = 19): Promise<string> {
  const verdict = page.getByText(`${count} of 19 traces replay as recorded`)
  await verdict.waitFor({ timeout: 60_000 })
  return (await verdict.textContent()) ?? ''
}

/** Name, steps, digest and what each flavour came to. */
async function rows({
  page,
}: DemoPage): Promise<Record<string, { steps: number; digest: string; flavours: string[] }>> {
  const found = await page.locator('table.golden tbody tr').evaluateAll((all) =>
    all.map((row) => {
      const text = (part: string): string => row.querySelector(part)?.textContent ?? ''
      const flavours = [...row.querySelectorAll('[data-label]')].map(
        (cell) => `${cell.getAttribute('data-label')} ${cell.textContent}`,
      )
      return [text('th'), { steps: Number(text('.steps')), digest: text('.digest'), flavours }] as const
    }),
  )
  return Object.fromEntries(found)
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('isolated -> the digests typed in, on all four flavours', async ({ demo }) => {
    const opened = await demo.open(ROUTE)
    assert.match(await replayed(opened), 'on each of 4 flavours')
    const found = await rows(opened)
    assert.equal(Object.keys(found).sort(), Object.keys(DIGESTS).sort())
    for (const [name, digest] of Object.entries(DIGESTS)) {
      const { steps } = await Trace.parse(load(name))
      const flavours = ['release same', 'trace same', 'shared same', 'trace-shared same']
      assert.equal(found[name], { steps: steps.length, digest, flavours }, name)
    }
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  test('not isolated -> the digests typed in, on two flavours, and why no others', async () => {
    const other = await openBrowser({ isolation: false })
    try {
      const opened = await other.open(ROUTE)
      assert.match(await replayed(opened), 'on each of 2 flavours')
      for (const [name, { digest, flavours }] of Object.entries(await rows(opened))) {
        assert.is(digest, DIGESTS[name], name)
        assert.equal(flavours, ['release same', 'trace same'], name)
      }
      await opened.page.getByText('need cross-origin isolation, which this page does not have').waitFor()
      assert.equal(opened.errors, [])
    } finally {
      await other.close()
    }
  })

  test('a recording of another engine -> differs, with step and field, on each flavour', async ({ demo }) => {
    const { steps } = await Trace.parse(load('ring-loop'))
    const at = steps.findLastIndex(({ call }) => call === 'mmioRead')
    const changed = new Trace(steps.map((step, i) => (i === at ? { ...step, result: 77 } : step)))
    const opened = await demo.open('')
    await opened.page.route('**/golden/ring-loop.trace', async (route) => {
      await route.fulfill({ body: Buffer.from(await changed.bytes()) })
    })
    await opened.page.goto(demo.server.url + ROUTE)
    await replayed(opened, 18)
    const found = await rows(opened)
    assert.is(found['ring-loop']?.digest, changed.digest)
    for (const text of found['ring-loop']?.flavours ?? []) {
      assert.match(text, new RegExp(`differs step ${at}, mmioRead\\(.*\\): result: expected 0x4d, seen 0xf$`))
    }
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  test('a damaged file and a missing one -> said in their rows, the others replay', async ({ demo }) => {
    const opened = await demo.open('')
    const { page } = opened
    await page.route('**/golden/linux.trace', async (route) => {
      await route.fulfill({ body: Buffer.from(load('linux').map((byte, i) => (i === 99 ? byte ^ 1 : byte))) })
    })
    await page.route('**/golden/throttled.trace', (route) => route.fulfill({ status: 404 }))
    await page.goto(demo.server.url + ROUTE)
    await replayed(opened, 17)
    await page.getByText('the trace is damaged: its check').waitFor()
    await page.getByText('golden/throttled.trace could not be fetched (404)').waitFor()
    assert.is(await page.getByRole('button', { name: 'Open in Ring' }).count(), 17)
    // The browser's own line about the 404, and no other.
    assert.is(opened.errors.length, 1, opened.errors.join('\n'))
    await opened.context.close()
  })

  test('no list of traces -> said, and tried again with the button', async ({ demo }) => {
    const opened = await demo.open('')
    const { page } = opened
    await page.route('**/golden/index.json', (route) => route.fulfill({ body: '["../../secret"]' }))
    await page.goto(demo.server.url + ROUTE)
    await page.getByRole('alert').getByText('golden/index.json is no list of traces').waitFor()
    await page.unroute('**/golden/index.json')
    await page.getByRole('button', { name: 'Replay all' }).click()
    await replayed(opened)
    assert.is(await page.getByRole('alert').count(), 0)
    await opened.context.close()
  })

  test('open in Ring -> there; back -> the traces', async ({ demo }) => {
    const opened = await demo.open(ROUTE)
    const { page } = opened
    await replayed(opened)
    await page.getByRole('button', { name: 'Open in Ring: ring-loop' }).click()
    await page.getByRole('region', { name: 'Ring', exact: true }).waitFor()
    assert.match(new URL(page.url()).hash, /^#ring\?opened=\d+/)
    await page.goBack()
    await page.getByRole('heading', { level: 1, name: 'Conformance' }).waitFor()
    await page.getByRole('link', { name: 'Rules of the standard' }).click()
    await page.getByRole('searchbox').waitFor()
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      test(`look: ${scheme} at ${width} px -> nothing too wide, no barrier`, async ({ demo }) => {
        const opened = await demo.open(ROUTE, { scheme, width })
        await replayed(opened)
        await assertFits(opened.page, 'golden traces')
        await assertAccessible(opened.page, 'golden traces')
        await screenshot(opened.page, `golden-${width}-${scheme}`, false)
        await opened.context.close()
      })
    }
  }
}

test.run()
