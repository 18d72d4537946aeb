// The form of the Ring view in a real Chromium: requests built by hand, whole and broken with each of its switches,
// lead to what CONTRACT.md says; what is wrong in the form is said at its field, and nothing is kicked until it is
// mended.

import type { Page } from 'playwright-core'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, resultsOf, toLastFrame } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: build')

const ONE = 'I 1 interrupt'

/** A read in three descriptors of a queue of 16, with one switch on. */
const SWITCHES: Readonly<Record<string, readonly string[]>> = {
  'The avail ring names a head outside the table': poisoned('16', 'head outside the queue'),
  // With one request nothing is in flight at head 0: it is the head.
  'The avail ring names head 0, in flight or not': ['✓ Head 0, IN: status 0 OK, used length 513', ONE],
  'The last descriptor goes on outside the table': poisoned('0, IN', 'next outside the queue'),
  'The last descriptor goes on with the first': poisoned('13, IN', 'a chain longer than the queue'),
  'The first descriptor says INDIRECT': poisoned('0', 'INDIRECT, which is not offered'),
  'The header has 15 bytes': refused('IN', 0),
  'The header ends outside guest RAM': refused('IN', 0),
  'The sector is behind the end of the disk': refused('IN', 0),
  'The sector is 2^64 - 1': refused('IN', 0),
  'A type that no device knows (99)': ['✗ Head 0, type 99: status 2 UNSUPP, used length 0', ONE],
  'The data is missing': refused('IN', 1),
  'The data is one byte longer than whole blocks': refused('IN', 0),
  'The data has the wrong direction': refused('IN', 1),
  'The data ends outside guest RAM': refused('IN', 0),
  'A readable byte after the writable ones': refused('IN', 0),
  'No writable byte at all': poisoned('0, IN', 'no writable byte'),
  'The status byte is outside guest RAM': poisoned('0, IN', 'last writable byte not in guest RAM'),
}

function refused(type: string, usedLen: number): string[] {
  return [`✗ Head 0, ${type}: status 1 IOERR, used length ${usedLen}`, ONE]
}

function poisoned(head: string, why: string): string[] {
  return [
    `– Head ${head}: dropped, never answered`,
    '– 1 entry of the avail ring left as they are',
    `! Queue poisoned: ${why} (ring faults). NEEDS_RESET is set`,
    ONE,
  ]
}

async function openForm(demo: DemoBrowser, fragment = '#ring?preset=read&panel=build') {
  const opened = await demo.open(fragment)
  await opened.page.getByRole('form', { name: 'Build a request' }).waitFor()
  // The scenario that is shown is what the form begins with.
  await opened.page.getByRole('region', { name: 'This frame', includeHidden: true }).waitFor({ state: 'attached' })
  return opened
}

async function kick(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Kick', exact: true }).click()
  await page.getByRole('region', { name: 'This frame' }).waitFor()
  await toLastFrame(page)
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('each switch that breaks a read -> what the contract says', async ({ demo }) => {
    const { page, errors, context } = await openForm(demo)
    const labels = await page.getByRole('region', { name: 'Break it' }).getByRole('checkbox').count()
    assert.is(labels, Object.keys(SWITCHES).length, 'all switches are tried')
    for (const [label, expected] of Object.entries(SWITCHES)) {
      await page.goto(`${demo.server.url}#ring?preset=write`)
      await page.getByText('The data is readable, only the status byte').waitFor()
      await page.goto(`${demo.server.url}#ring?preset=read`)
      await page.getByText('Header, data and status byte each').waitFor()
      await page.getByRole('link', { name: 'Build a request' }).click()
      await page.getByLabel(label, { exact: true }).check()
      await kick(page)
      assert.equal(await resultsOf(page), expected, label)
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('a write that is built by hand: type, sector, layout, payload -> it is stored', async ({ demo }) => {
    const { page, context } = await openForm(demo)
    await page.getByLabel('Type', { exact: true }).selectOption({ label: 'OUT, write (1)' })
    await page.getByLabel('Sector', { exact: true }).fill('0x7f')
    await page.getByLabel('Bytes of data').fill('512')
    await page.getByLabel('Layout').selectOption({ label: 'Header with readable data' })
    await page.getByLabel('Payload, repeated').fill('by hand ')
    assert.is(await page.getByLabel('Piece 1, bytes').inputValue(), '528')
    await kick(page)
    assert.equal(await resultsOf(page), ['✓ Head 0, OUT: status 0 OK, used length 1', ONE])
    const request = await page.getByRole('region', { name: 'Request', exact: true }).textContent()
    assert.match(request ?? '', 'sector 127')
    assert.match(request ?? '', 'by hand by hand ')
    await context.close()
  })

  test('pieces: direction, bytes, order and exact fields are what the table holds', async ({ demo }) => {
    const { page, context } = await openForm(demo)
    await page.getByRole('button', { name: 'Piece 2: remove' }).click()
    await page.getByRole('button', { name: 'Add a piece' }).click()
    await page.getByLabel('Piece 3, bytes').fill('1024')
    await page.getByRole('button', { name: 'Piece 3: up' }).click()
    await page.getByLabel('exact addr, len, flags and next').check()
    await page.getByLabel('Piece 2, addr').fill('0x20000')
    await kick(page)
    assert.equal(await resultsOf(page), ['✓ Head 0, IN: status 0 OK, used length 1025', ONE])
    const row = page.getByRole('row').filter({ has: page.getByRole('button', { name: /^descriptor 1\b/ }) })
    assert.match((await row.textContent()) ?? '', /0x20000\s*1024\s*NEXT WRITE/)
    await context.close()
  })

  test('several requests in a kick, and what happens then: wait, reset, resize', async ({ demo }) => {
    const { page, context } = await openForm(demo)
    await page.getByRole('button', { name: 'Add a request to this kick' }).click()
    await page
      .getByRole('group', { name: 'Request 2' })
      .getByLabel('Type', { exact: true })
      .selectOption({ label: 'FLUSH (4)' })
    await page.getByLabel('And then').selectOption({ label: 'The host resizes the disk' })
    await page.getByRole('group', { name: '2. The host resizes' }).getByLabel('Sectors', { exact: true }).fill('1')
    await page.getByLabel('And then').selectOption({ label: 'Kick: offer requests' })
    await kick(page)
    assert.equal(await resultsOf(page), [
      '✓ Head 0, IN: status 0 OK, used length 513',
      '✓ Head 3, FLUSH: status 0 OK, used length 1',
      '✗ Head 5, IN: status 1 IOERR, used length 0',
      'I 3 interrupts',
    ])
    await context.close()
  })

  test('device options: read-only, EVENT_IDX, limits -> in the picture', async ({ demo }) => {
    const { page, context } = await openForm(demo)
    await page.getByLabel('Type', { exact: true }).selectOption({ label: 'OUT, write (1)' })
    await page.getByLabel('Read-only disk').check()
    await page.getByLabel('EVENT_IDX accepted').check()
    await page.getByLabel('Queue size').selectOption('4')
    await page.getByLabel('Requests a second').fill('7')
    await kick(page)
    assert.equal((await resultsOf(page))[0], '✗ Head 0, OUT: status 1 IOERR, used length 1')
    const device = await page.getByRole('region', { name: 'Device', exact: true }).textContent()
    for (const words of ['read-only', 'EVENT_IDX', '7 requests a second, bursts of 7'])
      assert.match(device ?? '', words)
    assert.is(await page.getByRole('list', { name: 'Avail ring, slots' }).getByRole('listitem').count(), 4)
    await context.close()
  })

  test('wrong fields: each is told at its place, Kick waits until they are mended', async ({ demo }) => {
    const { page, errors, context } = await openForm(demo)
    const kickButton = page.getByRole('button', { name: 'Kick', exact: true })
    const sector = page.getByLabel('Sector', { exact: true })
    await sector.fill('first')
    await page.getByLabel('Capacity, sectors').fill('')
    await page.getByLabel('Piece 1, bytes').fill('-1')
    assert.is(await kickButton.isDisabled(), true)
    await page.getByText('3 fields to mend').waitFor()
    const described = async (): Promise<string> => {
      const id = await sector.getAttribute('aria-describedby')
      return id === null ? '' : ((await page.locator(`[id="${id}"]`).textContent()) ?? '')
    }
    assert.is(await described(), "A whole number from 0 to 18446744073709551615, decimal or 0x…, not 'first'.")
    await page.getByText('A number from 1 to 4096 is needed here.').waitFor()
    await sector.fill('1')
    assert.is(await described(), '')
    await page.getByLabel('Capacity, sectors').fill('128')
    await page.getByLabel('Piece 1, bytes').fill('16')
    assert.is(await kickButton.isDisabled(), false)
    assert.equal(errors, [])
    await context.close()
  })

  test('fields that do not fit each other: said at one of them; what fits no RAM is said when it is kicked', async ({
    demo,
  }) => {
    const { page, errors, context } = await openForm(demo)
    const kickButton = page.getByRole('button', { name: 'Kick', exact: true })
    await page.getByLabel('Requests a second').fill('10')
    await page.getByLabel('Burst of requests').fill('5')
    await page.getByText(/iopsBurst \(5\) must be >= iops \(10\)/).waitFor()
    assert.is(await page.getByLabel('Burst of requests').getAttribute('aria-invalid'), 'true')
    assert.is(await kickButton.isDisabled(), true)
    await page.getByLabel('Burst of requests').fill('')
    await page.getByText('More of the device').click()
    await page.getByLabel('seg_max').fill('60')
    await page.getByText(/Must be at most 14/).waitFor()
    await page.getByLabel('seg_max').fill('')
    await page.getByLabel('Border between two regions').fill('0x1001')
    await page.getByText(/Must be a multiple of 4096/).waitFor()
    await page.getByLabel('Border between two regions').fill('')
    for (let i = 2; i <= 5; i++) {
      await page.getByRole('button', { name: 'Add a piece' }).click()
      await page.getByLabel(`Piece ${i + 2}, bytes`).fill('65536')
    }
    await kickButton.click()
    await page.getByText(/262144 bytes of guest RAM/).waitFor()
    assert.is(await page.getByRole('form', { name: 'Build a request' }).isVisible(), true)
    assert.equal(errors, [])
    await context.close()
  })

  test('kicked once more without a change -> from the first frame again', async ({ demo }) => {
    const { page, context } = await openForm(demo)
    await kick(page)
    await page.getByRole('link', { name: 'Build a request' }).click()
    await page.getByRole('button', { name: 'Kick', exact: true }).click()
    await page.getByText('frame 1 of 25').waitFor()
    await context.close()
  })

  test('the form begins with what is shown, and a kick leads to a link that leads back', async ({ demo }) => {
    const { page, context } = await openForm(demo, '#ring?preset=fault-f-wrap&panel=build')
    const first = page.getByRole('group', { name: 'Request 1' })
    await page.waitForFunction(`document.querySelector('.request-form input').value === '18446744073709551615'`)
    assert.is(await first.getByLabel('Sector', { exact: true }).inputValue(), '18446744073709551615')
    await first.getByLabel('Sector', { exact: true }).fill('5')
    await kick(page)
    const expected = await resultsOf(page)
    assert.is(expected[0], '✓ Head 0, IN: status 0 OK, used length 513')
    const again = await openRing(demo, new URL(page.url()).hash, { context })
    await toLastFrame(again.page)
    assert.equal(await resultsOf(again.page), expected)
    await context.close()
  })
}

test.run()
