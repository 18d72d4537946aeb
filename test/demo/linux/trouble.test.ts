// The Linux view when something is in the way: a worker that fails, another tab, a view out of sight, a keyboard whose
// place on the page must not be lost. Needs Chromium, v86 and the guest's files; without them the file says so and has
// no tests.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, type DemoPage, openBrowser } from '../../support/browser.ts'
import { answer, button, confirm, linuxFolder, prompt, screen, TIMEOUT_MS } from '../../support/linux-page.ts'

const test = suite('linux view in trouble')

const linux = await linuxFolder()
let demo: DemoBrowser
/** The visit that the tests share; each leaves the guest at a prompt. */
let visit: DemoPage

test.before(async () => {
  demo = await openBrowser({ linux: linux ?? '' })
  visit = await demo.open('#linux')
  await prompt(visit.page)
})

test.after(async () => {
  await demo.close()
})

/** What has the keyboard's focus, by what it says. */
function focused(page: Page): Promise<string | null> {
  return page.locator(':focus').textContent({ timeout: 1000 })
}

test('two tabs: the second starts over with its disk in memory -> the kept disk of the first is as it was', async () => {
  await answer(visit.page, 'echo precious >/mnt/precious; sync; ls /mnt', /precious/)
  const second = await demo.open('#linux', { context: visit.context })
  await button(second.page, 'Use a fresh disk in memory').click({ timeout: TIMEOUT_MS })
  await prompt(second.page)
  await answer(second.page, 'echo mine >/mnt/mine; ls /mnt', /mine/)
  await button(second.page, 'Start over with a fresh disk').click()
  await confirm(second.page, 'Start over')
  await screen(second.page).filter({ hasText: '/dev/vda, 32 MiB, is mounted' }).waitFor({ timeout: TIMEOUT_MS })
  await prompt(second.page)
  await second.page.getByText('in memory: it is gone with this page').waitFor()
  assert.equal(second.errors, [])
  await second.page.close()
  await visit.page.reload()
  await prompt(visit.page)
  await answer(visit.page, 'cat /mnt/precious', /precious/)
})

test('focus: stays with a button that has nothing to do for a while, and goes to the heading with one that goes', async () => {
  const { page } = visit
  await button(page, 'Start over with a fresh disk').focus()
  await page.keyboard.press('Enter')
  await confirm(page, 'Start over')
  await screen(page).filter({ hasText: '/dev/vda, 32 MiB, is mounted' }).waitFor({ timeout: TIMEOUT_MS })
  assert.match((await focused(page)) ?? '', 'Start over with a fresh disk')
  await prompt(page)
  await button(page, 'Power off').focus()
  await page.keyboard.press('Enter')
  await page.getByText('The guest powered off.').waitFor({ timeout: TIMEOUT_MS })
  assert.is(await focused(page), 'Power off')
  await button(page, 'Start again').focus()
  await page.keyboard.press('Enter')
  await prompt(page)
  assert.is(await focused(page), 'Linux')
})

test('requests: the list stands still under the keyboard, whatever the pointer does, and keeps it when a row grows old', async () => {
  const { page } = visit
  const list = page.getByRole('region', { name: 'Latest requests' })
  const read = 'dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null'
  await answer(page, `(while :; do ${read}; sleep 0.1; done) & echo begun`, /begun/)
  const row = list.getByRole('button', { name: 'Open read at sector' }).first()
  await row.focus()
  const first = await list.locator('tbody tr').first().textContent()
  await list.locator('thead').hover()
  await page.getByRole('heading', { name: 'Linux' }).hover()
  await list.getByText(/[1-9]\d* newer|many newer/).waitFor()
  assert.is(await list.locator('tbody tr').first().textContent(), first)
  assert.is(await focused(page), 'read')
  // Without the pointer and the keyboard, which stay where they are.
  const present = Number.parseInt((await page.getByText(/^\d+, since/).textContent()) ?? '', 10)
  for (const number of [present + 1, present + 2]) {
    await button(page, 'New recording').evaluate((one: HTMLElement) => one.click())
    await page.getByText(new RegExp(`^${number}, since`)).waitFor()
  }
  await page.locator(':focus[aria-disabled="true"]').waitFor()
  await page.keyboard.press('Enter')
  assert.is(await focused(page), 'read')
  await answer(page, 'kill %1; echo over', /over/)
})

test('out of sight: nothing is drawn, and what was missed is there when the view is back', async () => {
  const { page } = visit
  await page.addInitScript(() => {
    const counts = { reports: 0, changes: 0 }
    const Original = globalThis.Worker
    const Counted = class extends Original {
      constructor(...given: ConstructorParameters<typeof Worker>) {
        super(...given)
        this.addEventListener('message', ({ data }) => {
          if (data.kind === 'statistics') counts.reports++
        })
      }
    }
    Object.assign(globalThis, { Worker: Counted, counts })
  })
  await page.reload()
  await prompt(page)
  await answer(page, '(sleep 1; echo 3 >/proc/sys/vm/drop_caches; ls -lR / >/dev/null 2>&1) & echo begun', /begun/)
  await page.getByRole('link', { name: 'Ring' }).click()
  await page.locator('.view.linux').waitFor({ state: 'hidden' })
  const reports = (): Promise<number> => page.evaluate('counts.reports')
  const until = await reports()
  await page.evaluate(() => {
    const { counts } = globalThis as unknown as { counts: { changes: number } }
    const observer = new MutationObserver((changes) => {
      counts.changes += changes.length
    })
    const view = document.querySelector('.view.linux') as Element
    observer.observe(view, { childList: true, characterData: true, subtree: true })
  })
  await page.waitForFunction((enough) => {
    const { counts } = globalThis as unknown as { counts: { reports: number } }
    return counts.reports >= enough
  }, until + 10)
  assert.is(await page.evaluate('counts.changes'), 0)
  await page.getByRole('link', { name: 'Linux' }).click()
  await answer(page, 'echo here $((6 * 7))', /here 42/)
})

test('the worker fails while the guest runs -> said so, and the disk is there when it is tried again', async () => {
  const { page, errors } = await demo.open('#linux')
  await prompt(page)
  await answer(page, 'echo kept >/mnt/kept; sync; ls /mnt', /kept/)
  await page.workers()[0]?.evaluate(() => {
    setTimeout(() => {
      throw new Error('out of luck')
    })
  })
  await page.getByRole('alert').getByText('the worker with the guest failed: Uncaught Error: out of luck').waitFor()
  await button(page, 'Try again').click()
  await prompt(page)
  await answer(page, 'cat /mnt/kept', /kept/)
  assert.equal(errors, [])
  await page.context().close()
})

test('the worker cannot be loaded -> said so; tried again when it can -> a prompt', async () => {
  const page = await (await demo.browser.newContext()).newPage()
  await page.route('**/linux-worker.js', (route) => route.abort())
  await page.goto(`${demo.server.url}#linux`)
  await page.getByRole('alert').getByText('it could not be loaded').waitFor()
  await page.unroute('**/linux-worker.js')
  await button(page, 'Try again').click()
  await prompt(page)
  await page.context().close()
})

test('errors: none was logged in all of this', () => {
  assert.equal(visit.errors, [])
})

if (linux !== undefined) test.run()
