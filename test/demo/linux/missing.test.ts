// The Linux view of a page that was served without the guest's files, in a real Chromium: what is said of the reason,
// and that nothing is shown that cannot work. Needs Chromium; without it the file says so and has no tests.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { hasChromium, openBrowser } from '../../support/browser.ts'

const test = suite('linux view without its files')

async function visit(linuxMissing: string | undefined, work: (page: Page) => Promise<void>): Promise<void> {
  const demo = await openBrowser({ ...(linuxMissing !== undefined && { linuxMissing }) })
  try {
    const { page } = await demo.open('#linux')
    await page.getByRole('alert').waitFor()
    assert.is(await page.locator('.linux-grid').isVisible(), false)
    for (const name of ['Console', 'Activity of the disk', 'Latest requests', 'Limits', 'Recording', 'Disk']) {
      assert.is(await page.getByRole('region', { name, exact: true }).count(), 0, name)
    }
    await work(page)
  } finally {
    await demo.close()
  }
}

test('the server says why -> shown, and no word of a command that was just used; no dead panels', async () => {
  const reason = 'v86 is not installed; it runs Linux guests in software: npm install v86@0.5.462'
  await visit(reason, async (page) => {
    const text = (await page.getByRole('alert').textContent()) ?? ''
    assert.match(text, `This page was served without Linux: ${reason}.`)
    assert.not.match(text, 'npx vblk demo')
  })
})

test('the server has no reason but "not found" -> what to run; no dead panels', async () => {
  await visit(undefined, async (page) => {
    const text = (await page.getByRole('alert').textContent()) ?? ''
    assert.match(text, 'The saved machine is not here')
    assert.match(text, 'npx vblk demo')
    assert.not.match(text, 'served without Linux')
  })
})

if (hasChromium()) test.run()
