// Every preset of the Ring view in a real Chromium: chosen from the list, stepped to its end, and what the result line
// says then is what CONTRACT.md says, typed in here by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PRESETS } from '../../../host/demo/ring/model/presets.ts'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, resultsOf, toLastFrame } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: presets')

const ONE = 'I 1 interrupt'
const TWO = 'I 2 interrupts'
const poisoned = (why: string): string => `! Queue poisoned: ${why} (ring faults). NEEDS_RESET is set`
const ok = (head: number, what: string, usedLen: number): string =>
  `✓ Head ${head}, ${what}: status 0 OK, used length ${usedLen}`
const ioerr = (head: number, what: string, usedLen: number): string =>
  `✗ Head ${head}, ${what}: status 1 IOERR, used length ${usedLen}`
const dropped = (head: string): string => `– Head ${head}: dropped, never answered`
const left = (count: string): string => `– ${count} of the avail ring left as they are`

/** A bad request with its answer, and the good read behind it: one publish for both. */
const fault = (bad: string, next: number): string[] => [bad, ok(next, 'IN', 513), ONE]
/** A good read is answered; the bad head and the one behind it stay. One interrupt for each. */
const poison = (bad: string, why: string): string[] => [
  ok(0, 'IN', 513),
  dropped(bad),
  left('2 entries'),
  poisoned(why),
  TWO,
]

const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  // Rule 13: data read + 1, without data-in 1.
  read: [ok(0, 'IN', 513), ONE],
  write: [ok(0, 'OUT', 1), ONE],
  'header-and-data': [ok(0, 'OUT', 1), ONE],
  'data-and-status': [ok(0, 'IN', 513), ONE],
  'many-pieces': [ok(0, 'IN', 1025), ONE],
  'single-bytes': [ok(0, 'GET_ID', 21), ONE],
  'empty-descriptors': [ok(0, 'IN', 513), ONE],
  'header-across-regions': [ok(0, 'IN', 513), ONE],
  flush: [ok(0, 'OUT', 1), ok(3, 'FLUSH', 1), TWO],
  'write-through': [ok(0, 'OUT', 1), ONE],
  'get-id': [ok(0, 'GET_ID', 21), ONE],
  'get-id-long': [ok(0, 'GET_ID', 20), ONE],
  unsupported: [
    '✗ Head 0, type 99: status 2 UNSUPP, used length 0',
    '✗ Head 3, DISCARD: status 2 UNSUPP, used length 1',
    ONE,
  ],
  'short-read': [ok(0, 'IN', 1025), ONE],
  'full-back-end': [ioerr(0, 'OUT', 1), ok(3, 'IN', 513), ONE],
  'flush-read-only': [ok(0, 'FLUSH', 1), ONE],
  // Rule 18: one interrupt for a batch; none that the driver does not want.
  batch: [ok(0, 'IN', 513), ok(3, 'OUT', 1), ok(6, 'IN', 513), ok(9, 'FLUSH', 1), ONE],
  'event-idx': [ok(0, 'IN', 513), ok(3, 'IN', 513), ok(6, 'IN', 513), 'I 1 interrupt, 1 publish without one'],
  'no-interrupt': [ok(0, 'IN', 513), 'I no interrupt, 1 publish without one'],
  wrap: [
    '… earlier requests',
    ok(0, 'FLUSH', 1),
    ok(2, 'FLUSH', 1),
    ok(0, 'FLUSH', 1),
    ok(2, 'FLUSH', 1),
    'I 3 interrupts',
  ],
  'ring-across-regions': [ok(0, 'IN', 513), ONE],
  'kick-in-vain': [ok(0, 'IN', 513), ONE],
  'fault-a-order': fault(ioerr(0, 'IN', 0), 4),
  'fault-a-short': fault(ioerr(0, 'FLUSH', 1), 2),
  'fault-a-unmapped': fault(ioerr(0, 'FLUSH', 1), 2),
  'fault-b-size': fault(ioerr(0, 'IN', 0), 3),
  'fault-b-segments': fault(ioerr(0, 'IN', 0), 5),
  'fault-b-total': fault(ioerr(0, 'IN', 0), 4),
  'fault-c-no-data': fault(ioerr(0, 'IN', 1), 2),
  'fault-c-flush-data': fault(ioerr(0, 'FLUSH', 1), 3),
  'fault-d-blocks': fault(ioerr(0, 'IN', 0), 3),
  'fault-d-direction': fault(ioerr(0, 'IN', 1), 3),
  'fault-d-unmapped': fault(ioerr(0, 'IN', 0), 3),
  'fault-e': fault(ioerr(0, 'OUT', 1), 3),
  'fault-f': fault(ioerr(0, 'IN', 0), 3),
  'fault-f-wrap': fault(ioerr(0, 'IN', 0), 3),
  'fault-g': fault(ioerr(0, 'GET_ID', 0), 3),
  'ring-avail-idx': [
    'no request has been taken',
    left('17 entries'),
    poisoned('avail.idx more than the queue size ahead'),
    ONE,
  ],
  'ring-head': poison('16', 'head outside the queue'),
  'ring-head-in-flight': poison('0', 'a head that is in flight'),
  'ring-next': poison('3, IN', 'next outside the queue'),
  'ring-loop': poison('3, IN', 'a chain longer than the queue'),
  'ring-indirect': poison('3', 'INDIRECT, which is not offered'),
  'ring-no-status': poison('3, OUT', 'no writable byte'),
  'ring-status-unmapped': poison('3, IN', 'last writable byte not in guest RAM'),
  'ring-healed': [dropped('16'), ok(0, 'IN', 513), TWO],
  // Rule 20: what is refused waits in the ring; each time that something is answered it is published.
  throttled: [ok(0, 'IN', 513), ok(3, 'IN', 513), ok(6, 'IN', 513), ok(9, 'IN', 513), 'I 3 interrupts'],
  'throttled-bytes': [ok(0, 'IN', 1025), '– Head 3, IN: stalled, not answered', left('1 entry'), ONE],
  'limits-lifted': [ok(0, 'IN', 513), ok(3, 'IN', 513), ok(6, 'IN', 513), TWO],
  late: [ok(0, 'IN', 513), ok(3, 'OUT', 1), TWO],
  // Rule 6: nothing of the old driver's requests comes after the reset.
  'reset-in-flight': [dropped('0, IN'), dropped('3, OUT'), dropped('6, FLUSH'), ok(0, 'IN', 513), ONE],
  // Rule 27: an interrupt tells of the new size.
  resized: [ok(0, 'IN', 513), ioerr(3, 'IN', 0), 'I 3 interrupts'],
}

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('each preset, chosen and stepped to its end -> status, used length, interrupts', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    const select = page.getByLabel('Preset', { exact: true })
    const offered = await select
      .locator('option')
      .evaluateAll((options) => options.map((one) => one.getAttribute('value') ?? ''))
    assert.equal([...offered].sort(), Object.keys(EXPECTED).sort(), 'the list')
    for (const { id, title, description } of PRESETS) {
      await select.selectOption({ label: title })
      await page.getByText(description, { exact: true }).waitFor()
      await toLastFrame(page)
      assert.equal(await resultsOf(page), EXPECTED[id], id)
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('next preset, and the one before -> around the list', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    const select = page.getByLabel('Preset', { exact: true })
    await page.getByRole('button', { name: 'Preset before' }).click()
    await page.waitForFunction(`location.hash === '#ring?preset=${PRESETS.at(-1)?.id}'`)
    await page.getByText(PRESETS.at(-1)?.description ?? '').waitFor()
    await page.getByRole('button', { name: 'Next preset' }).click()
    await page.getByText(PRESETS[0]?.description ?? '').waitFor()
    assert.is(await select.inputValue(), 'read')
    await context.close()
  })

  test('back in the browser -> the preset before', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    await page.getByLabel('Preset', { exact: true }).selectOption('flush')
    await page.getByText('every write that was completed before').waitFor()
    await page.goBack()
    await page.getByText('Header, data and status byte each').waitFor()
    assert.is(await page.getByLabel('Preset', { exact: true }).inputValue(), 'read')
    await context.close()
  })
}

test.run()
