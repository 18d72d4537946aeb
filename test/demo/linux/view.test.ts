// The Linux view in a real Chromium, as a person uses it: a prompt, a file that survives a reload, charts, limits, a
// request opened, a trace downloaded and replayed here, images in and out, two tabs. Needs Chromium, v86 and the
// guest's files; without them the file says so and has no tests. The pictures are for people to look at.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { list } from '../../../host/replay/listing.ts'
import { replay } from '../../../host/replay/player.ts'
import { Trace } from '../../../host/replay/trace.ts'
import { type DemoBrowser, type DemoPage, openBrowser, screenshot } from '../../support/browser.ts'
import { answer, button, confirm, linuxFolder, prompt, screen, TIMEOUT_MS } from '../../support/linux-page.ts'

const test = suite('linux view')

const linux = await linuxFolder()
const folder = mkdtempSync(join(tmpdir(), 'vblk-view-'))
let demo: DemoBrowser
/** The visit that the tests share; each leaves the guest at a prompt. */
let visit: DemoPage

/** What the browser saves when `act` is done. */
async function saved(page: Page, act: () => Promise<void>): Promise<Uint8Array> {
  const [download] = await Promise.all([page.waitForEvent('download', { timeout: TIMEOUT_MS }), act()])
  return new Uint8Array(readFileSync((await download.path()) ?? ''))
}

async function openLinux(context?: BrowserContext): Promise<DemoPage> {
  return demo.open('#linux', context ? { context } : {})
}

test.before(async () => {
  demo = await openBrowser({ linux: linux ?? '' })
  visit = await openLinux()
  await prompt(visit.page)
})

test.after(async () => {
  await demo.close()
  rmSync(folder, { recursive: true, force: true })
})

test('first visit: the disk is unpacked and mounted, a prompt comes, nothing is logged as an error', async () => {
  const { page, errors } = visit
  await page.getByText('kept', { exact: false }).first().waitFor()
  await screen(page).filter({ hasText: '/dev/vda, 32 MiB, is mounted on /mnt.' }).waitFor()
  await page.getByText('in this browser, for this site (OPFS)').waitFor()
  await page.locator('.phase').getByText('running').waitFor()
  assert.equal(errors, [])
})

test('reload: a synced file is there, the journal was replayed, and the guest has the time', async () => {
  const { page } = visit
  await answer(page, 'echo kept >/mnt/kept; sync; ls /mnt', /README\s.*kept\s+lost\+found/s)
  await page.reload()
  await prompt(page)
  await screen(page).filter({ hasText: 'ext4 found a disk that was not unmounted' }).waitFor()
  await answer(page, 'cat /mnt/kept', /kept/)
  await answer(page, 'echo year=$(date +%Y)', new RegExp(`year=${new Date().getUTCFullYear()}`))
})

test('charts: what the guest writes is in the figures', async () => {
  const { page } = visit
  await page.getByText('As a table').click()
  const most = (name: string): Promise<string | null> =>
    page.getByRole('row', { name }).getByRole('cell').nth(1).textContent()
  await button(page, 'Write 8 MiB').click()
  await page.getByRole('row', { name: /^Bytes a second: written .* [\d.]+ [KM]iB$/ }).waitFor({ timeout: TIMEOUT_MS })
  assert.is.not(await most('Requests a second: writes'), '0')
  assert.is.not(await most('Requests in flight'), '0')
  assert.ok((await page.locator('.chart canvas').count()) === 4)
  await prompt(page)
})

test('limits: set while it runs -> requests wait and stalls are counted; wrong ones are refused with the reason', async () => {
  const { page } = visit
  const form = page.getByRole('region', { name: 'Limits' })
  await form.getByLabel('Requests a second').fill('-3')
  await button(page, 'Set').click()
  await form.getByText('Requests a second: a whole number from 1 on, not -3').waitFor()
  await form.getByLabel('Requests a second').fill('5')
  await form.getByLabel('Requests at once').fill('3')
  await button(page, 'Set').click()
  await form.getByText('iopsBurst (3) must be >= iops (5)').waitFor()
  await form.getByLabel('Requests at once').fill('')
  await button(page, 'Set').click()
  await form.getByText('In force: 5 requests a second, 5 at once.').waitFor()
  await form.getByText('goes through in one piece too, as soon as nothing is owed').waitFor()
  await page.getByRole('row', { name: 'Requests a second: limit, all together 5 5' }).waitFor()
  await page.locator('.charts .legend').first().getByText('limit, all together 5').waitFor()
  await button(page, 'Read it back').click()
  await page.getByRole('row', { name: /^Stalls a second [\d.]+ [1-9]/ }).waitFor({ timeout: TIMEOUT_MS })
  await form.getByRole('button', { name: 'No limits' }).click()
  await form.getByText('No limits are set.').waitFor()
  await page.getByRole('row', { name: 'Requests a second: limit, all together none 5' }).waitFor()
  assert.is(await page.locator('.charts .legend .limit').count(), 0)
  await page
    .getByRole('region', { name: 'Latest requests' })
    .getByText(/^[\d.]+ ms$/)
    .first()
    .waitFor()
  await prompt(page)
})

test('requests: what Took and Waited are is to be read, and said of their columns', async () => {
  const list = visit.page.getByRole('region', { name: 'Latest requests' })
  await list.getByText('Took: from when the disk took the request from the ring until it was complete.').waitFor()
  for (const [name, title] of [
    ['Took', 'until it was complete'],
    ['Waited', 'for a limit'],
  ] as const) {
    const given = await list.getByRole('columnheader', { name, exact: true }).getAttribute('title')
    assert.match(given ?? '', title)
  }
})

test('requests: one opened -> the Ring view with the recording at its step; the guest goes on meanwhile', async () => {
  const { page } = visit
  await button(page, 'Open read at sector').first().click()
  await page.waitForURL(/#ring\?opened=\d+$/)
  const frame = page.getByRole('region', { name: 'This frame' })
  await frame.getByText(/^decision on head \d+: read/).waitFor()
  await page
    .getByLabel('Preset', { exact: true })
    .getByText(/^Head \d+, IN at sector \d+: a read of Linux/)
    .waitFor({ state: 'attached' })
  await page.goBack()
  await answer(page, 'echo still $((6 * 7))', /still 42/)
  await button(page, 'Open write at sector').first().focus()
  await page.keyboard.press('Enter')
  await page.waitForURL(/#ring\?opened=\d+$/)
  await page.goBack()
  await prompt(page)
})

test('recording: downloaded -> replays here with the same digest; begun anew -> the next number, and it replays too', async () => {
  const { page } = visit
  const panel = page.getByRole('region', { name: 'Recording' })
  const first = await Trace.parse(await saved(page, () => panel.getByRole('button', { name: 'Download' }).click()))
  assert.equal(replay(first), { steps: first.steps.length, digest: first.digest })
  await panel.getByRole('button', { name: 'New recording' }).click()
  await panel.getByText(/^2, since/).waitFor()
  await answer(page, 'dd if=/dev/vda of=/dev/null bs=4k count=40 iflag=direct 2>/dev/null; echo all read', /all read/)
  const second = await Trace.parse(await saved(page, () => panel.getByRole('button', { name: 'Download' }).click()))
  assert.equal(replay(second), { steps: second.steps.length, digest: second.digest })
  assert.is(second.steps[2]?.call, 'thaw')
  const reads = list(second).filter((one) => one.kind === 'request' && one.type === 0 && one.status === 0)
  assert.ok(reads.length >= 40, `${reads.length} reads`)
})

test('import: an image of another size without a filesystem -> the guest says so; exported -> the same bytes', async () => {
  const { page } = visit
  const image = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 31 + (i >>> 9)) & 0xff)
  const path = join(folder, 'mine.img')
  writeFileSync(path, image)
  await page.getByLabel('Disk image to import').setInputFiles(path)
  await confirm(page, 'Import')
  await screen(page).filter({ hasText: '/dev/vda has no ext4 filesystem' }).waitFor({ timeout: TIMEOUT_MS })
  await prompt(page)
  await answer(page, 'echo size=$(cat /sys/block/vda/size)', /size=2048/)
  const back = await saved(page, () => button(page, 'Export the image').click())
  assert.equal(back, image)
  await page.reload()
  await prompt(page)
  await screen(page).filter({ hasText: '/dev/vda has no ext4 filesystem' }).waitFor()
})

test('import: what is no raw image -> refused, and the machine goes on', async () => {
  const { page } = visit
  const path = join(folder, 'disk.img.gz')
  writeFileSync(path, Uint8Array.from([0x1f, 0x8b, ...new Uint8Array(510)]))
  await page.getByLabel('Disk image to import').setInputFiles(path)
  await confirm(page, 'Import')
  await page.getByRole('alert').getByText('disk.img.gz is compressed with gzip').waitFor()
  await answer(page, 'echo on $((1 + 1))', /on 2/)
})

test('start over: cancelled -> nothing; confirmed -> a fresh disk; image out and in again -> its files are there', async () => {
  const { page } = visit
  await button(page, 'Start over with a fresh disk').click()
  await confirm(page, 'Cancel')
  await answer(page, 'echo size=$(cat /sys/block/vda/size)', /size=2048/)
  await button(page, 'Start over with a fresh disk').click()
  await confirm(page, 'Start over')
  await screen(page).filter({ hasText: '/dev/vda, 32 MiB, is mounted on /mnt.' }).waitFor({ timeout: TIMEOUT_MS })
  await prompt(page)
  await answer(page, 'echo round trip >/mnt/trip; sync; ls /mnt', /trip/)
  const image = await saved(page, () => button(page, 'Export the image').click())
  assert.is(image.length, 32 << 20)
  const path = join(folder, 'trip.img')
  writeFileSync(path, image)
  await page.getByLabel('Disk image to import').setInputFiles(path)
  await confirm(page, 'Import')
  await screen(page).filter({ hasText: 'replayed its journal' }).waitFor({ timeout: TIMEOUT_MS })
  await prompt(page)
  await answer(page, 'cat /mnt/trip', /round trip/)
})

test('two tabs: the second is told, and can have a disk in memory; the first goes on', async () => {
  const second = await openLinux(visit.context)
  await second.page.getByText('The disk is open in another tab').waitFor({ timeout: TIMEOUT_MS })
  await button(second.page, 'Use a fresh disk in memory').click()
  await prompt(second.page)
  await second.page.getByText('in memory: it is gone with this page').waitFor()
  assert.equal(second.errors, [])
  await second.page.close()
  await answer(visit.page, 'cat /mnt/trip', /round trip/)
})

test('power off: said so; started again -> a prompt, and no journal to replay', async () => {
  const { page } = visit
  await button(page, 'Power off').click()
  await page.getByText('The guest powered off.').waitFor({ timeout: TIMEOUT_MS })
  await button(page, 'Start again').click()
  await prompt(page)
  assert.not.match((await screen(page).textContent()) ?? '', 'journal')
})

test('keyboard: Shift+Tab leaves the terminal, Tab stays in it; Ctrl-C reaches the guest', async () => {
  const { page } = visit
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.press('Tab')
  assert.ok(await page.locator('.xterm-helper-textarea').evaluate((element) => element === document.activeElement))
  await page.keyboard.press('Control+c')
  await prompt(page)
  await page.keyboard.type('clear; echo sleeping; sleep 1000\n')
  await screen(page)
    .filter({ hasText: /^sleeping/ })
    .waitFor()
  await page.keyboard.press('Control+c')
  await prompt(page)
  await answer(page, 'echo rc=$?', /rc=\d/)
  await page.keyboard.press('Shift+Tab')
  assert.is(await page.locator(':focus').textContent(), 'Skip the terminal')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  assert.ok(await page.getByLabel('Read aloud by screen readers').evaluate((one) => one === document.activeElement))
})

test('accessibility: axe finds nothing, with the table of figures open', async () => {
  const { page } = visit
  await page.getByText('As a table').click()
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'))
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string }[] }> } }
    return (await axe.run()).violations.map(({ id }) => id)
  })
  assert.equal(found, [])
})

test('errors: none was logged in all of this', () => {
  assert.equal(visit.errors, [])
})

test('pictures: both widths, light and dark; nothing is wider than the screen', async () => {
  await visit.page.close()
  for (const [width, height] of [
    [1280, 800],
    [390, 844],
  ] as const) {
    for (const scheme of ['light', 'dark'] as const) {
      const { page, context, errors } = await demo.open('#linux', { width, height, scheme })
      await prompt(page)
      await button(page, 'Write 8 MiB').click()
      await page.getByText(/[1-9]\d* requests,/).waitFor()
      await prompt(page)
      // The peak, and what follows it, are in the charts.
      const written = page.locator('.charts tbody tr', { hasText: /written0 B[\d.]+ [KM]iB$/ })
      await written.waitFor({ state: 'attached', timeout: TIMEOUT_MS })
      await screenshot(page, `linux-${width}-${scheme}`)
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width)
      assert.equal(errors, [])
      await context.close()
    }
  }
})

test('without the files: the view says what is missing and what to do', async () => {
  const bare = await openBrowser()
  try {
    const { page } = await bare.open('#linux')
    await page.getByText('The saved machine is not here').waitFor()
    await page.getByText('npx vblk demo', { exact: true }).waitFor()
    await screenshot(page, 'linux-missing')
  } finally {
    await bare.close()
  }
})

if (linux !== undefined) test.run()
