// Stepping through a virtqueue in a real Chromium: buttons, keys, scrubber, list and clock lead to the same frames;
// what a frame touches is marked where it lies and in words; backwards everything looks as it did forwards.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, placeOf, sentenceOf, toLastFrame, waitForSentence } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: steps')

/** The read in three descriptors, by CONTRACT.md: what is loaded and stored, in order. */
const READ_FRAMES: readonly RegExp[] = [
  /^the driver writes \d+ bytes: descriptors, avail ring, buffers/,
  /^write QueueNotify = 0: a kick/,
  /^plan/,
  /^load avail\.idx = 1/,
  /^store used\.flags = 1/,
  /^load avail\.ring\[0\] = 0/,
  /^load descriptor 0: addr 0x11c0/,
  /^load descriptor 0: len 16, NEXT, next 1/,
  /^load header type = 0: IN/,
  /^load header sector = 1/,
  /^load descriptor 1: addr/,
  /^load descriptor 1: len 512, NEXT\W+WRITE, next 2/,
  /^load descriptor 2: addr/,
  /^load descriptor 2: len 1, WRITE/,
  /^decision on head 0: read/,
  /^complete: the back end answers 512 for head 0/,
  /^the back end read 512 of 512 bytes at sector 1/,
  /^store status byte = 0 \(OK\)/,
  /^store used\.ring\[0\] = \{id 0, len 513\}/,
  /^publish/,
  /^store used\.idx = 1/,
  /^load avail\.flags = 0/,
  /^store used\.flags = 0/,
  /^load avail\.idx = 1: nothing new/,
  /^interrupt raised/,
]

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('first visit: a read that has been run, at its first frame; Step -> every load and store in order', async ({
    demo,
  }) => {
    const { page, errors, context } = await openRing(demo, '')
    assert.is(await placeOf(page), '1 of 25')
    for (const [i, expected] of READ_FRAMES.entries()) {
      assert.is(await placeOf(page), `${i + 1} of 25`)
      assert.match(await sentenceOf(page), expected)
      if (i < 24) await page.getByRole('button', { name: 'Step', exact: true }).click()
    }
    assert.is(await page.getByRole('button', { name: 'Step', exact: true }).isDisabled(), true)
    assert.equal(errors, [])
    await context.close()
  })

  test('back: memory looks at each frame as it did on the way there', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=event-idx')
    const look = async (): Promise<string> => {
      const parts = ['Virtqueue 0', 'Request', 'Device'].map((name) => page.getByRole('region', { name, exact: true }))
      return (await Promise.all(parts.map((part) => part.ariaSnapshot()))).join('')
    }
    const frames = Number((await placeOf(page)).split(' ').at(-1))
    const forwards: string[] = []
    for (let i = 0; i < frames; i++) {
      forwards.push(await look())
      await page.keyboard.press('ArrowRight')
    }
    assert.ok(new Set(forwards).size > frames / 2, 'pictures differ')
    for (let i = frames - 1; i > 0; i--) {
      assert.ok((await look()) === forwards[i], `frame ${i + 1} looks different on the way back`)
      await page.keyboard.press('ArrowLeft')
    }
    await context.close()
  })

  test('keys: arrows, Shift with them, Home, End; not in form fields', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=batch')
    const press = async (key: string): Promise<string> => {
      await page.keyboard.press(key)
      return await sentenceOf(page)
    }
    await press('End')
    assert.is(await placeOf(page), '64 of 64')
    await press('Home')
    assert.is(await placeOf(page), '1 of 64')
    for (const head of [0, 3, 6, 9]) assert.match(await press('Shift+ArrowRight'), `decision on head ${head}`)
    assert.match(await press('Shift+ArrowLeft'), 'decision on head 6')
    const before = await placeOf(page)
    await page.getByLabel('Address', { exact: true }).focus()
    for (const key of ['ArrowLeft', 'Home', 'End', 'Shift+ArrowRight']) await press(key)
    assert.is(await placeOf(page), before, 'in a text field')
    await page.getByLabel('Preset', { exact: true }).focus()
    await press('Shift+ArrowLeft')
    assert.is(await placeOf(page), before, 'in a select')
    await context.close()
  })

  test('next request -> where the head of the next chain is loaded; past the last one -> the end', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=batch')
    const next = page.getByRole('button', { name: 'Next request' })
    for (const [slot, head] of [0, 3, 6, 9].entries()) {
      await next.click()
      assert.match(await sentenceOf(page), `load avail.ring[${slot}] = ${head}`)
    }
    await next.click()
    assert.is(await placeOf(page), '64 of 64')
    await context.close()
  })

  test('scrubber and list -> the frame that is meant; the list keeps it in sight', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=single-bytes')
    await page.getByRole('slider', { name: 'Frame' }).fill('60')
    assert.is(await placeOf(page), '61 of 125')
    const current = page.locator('[aria-current=step]')
    assert.match((await current.textContent()) ?? '', await sentenceOf(page))
    const isInSight = (): Promise<boolean> =>
      current.evaluate((line) => {
        const box = line.closest('.frames-box')?.getBoundingClientRect()
        const { top, bottom } = line.getBoundingClientRect()
        return box !== undefined && top >= box.top && bottom <= box.bottom
      })
    assert.is(await isInSight(), true)
    const slider = page.getByRole('slider', { name: 'Frame' })
    assert.match((await slider.getAttribute('aria-valuetext')) ?? '', 'Frame 61 of 125: Load')
    await slider.focus()
    await page.keyboard.press('End')
    assert.is(await placeOf(page), '125 of 125')
    assert.is(await isInSight(), true)
    await page.getByRole('region', { name: 'Frames' }).getByRole('button', { name: 'store used.idx = 1' }).click()
    assert.match(await sentenceOf(page), 'store used.idx = 1')
    await context.close()
  })

  test('play: runs to the end and stops; Space pauses', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    await page.getByLabel('Speed', { exact: true }).selectOption('30')
    await page.getByRole('button', { name: 'Play' }).click()
    await page.getByRole('heading', { name: 'Result', exact: true }).waitFor()
    await page.getByRole('button', { name: 'Play' }).waitFor()
    assert.is(await placeOf(page), '25 of 25')
    await page.getByLabel('Speed', { exact: true }).selectOption('2')
    await page.locator('body').click({ position: { x: 5, y: 400 } })
    await page.keyboard.press('Space')
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    await page.keyboard.press('Space')
    await page.getByRole('button', { name: 'Play' }).waitFor()
    const [place] = (await placeOf(page)).split(' ')
    assert.ok(Number(place) < 25, 'began anew')
    await context.close()
  })

  test('highlight: the bytes that a frame touches, where they lie and in words', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    const touched = (): Promise<string[]> => page.locator('.dump td.touched').allTextContents()
    const goTo = async (sentence: string): Promise<void> => {
      await page.getByRole('region', { name: 'Frames' }).getByRole('button', { name: sentence }).click()
    }
    await goTo('load avail.idx = 1: one new chain')
    await page.getByRole('button', { name: 'avail.idx: 1, slot 1, loaded now' }).waitFor()
    assert.equal(await touched(), ['01', '00'])
    await goTo('load avail.ring[0] = 0')
    await page.getByRole('button', { name: 'slot 0: head 0, in hand, loaded now; here: next_avail' }).waitFor()
    assert.is(await page.getByRole('button', { name: /loaded now/ }).count(), 1, 'the one before is no longer marked')
    assert.equal(await touched(), ['00', '00'])
    await goTo('load descriptor 1: len 512')
    await page.getByRole('button', { name: 'descriptor 1, in hand, loaded now: show its bytes' }).waitFor()
    // len 512, flags NEXT and WRITE, next 2, little-endian
    assert.equal(await touched(), ['00', '02', '00', '00', '03', '00', '02', '00'])
    await goTo('store used.ring[0] = {id 0, len 513}')
    await page.getByRole('button', { name: 'slot 0: len 513, id 0, in hand, stored now' }).waitFor()
    assert.equal(await touched(), ['00', '00', '00', '00', '01', '02', '00', '00'])
    await goTo('store status byte = 0')
    assert.equal(await touched(), ['00'])
    await page.getByRole('region', { name: 'Request', exact: true }).getByText('0 OK').waitFor()
    await context.close()
  })

  test('why: the rule of the contract and the section of the standard stand at the decision', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=fault-f')
    await page.getByRole('button', { name: 'Next decision' }).click()
    const text = await page.getByRole('region', { name: 'This frame' }).textContent()
    for (const words of [/Decision/, /request fault f/i, /VIRTIO 1\.3, 5\.2\.6/]) assert.match(text ?? '', words)
    await context.close()
  })

  test('set-up: left out at first, shown when asked for', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    const setUp = page.getByLabel('The set-up before it too')
    await setUp.check()
    assert.is(await placeOf(page), '39 of 63')
    await page.keyboard.press('Home')
    await setUp.focus()
    await page.getByRole('button', { name: 'First frame' }).click()
    await waitForSentence(page, 'init: a disk of 128 sectors, 1 queue of up to 16 entries')
    await page.getByRole('heading', { name: 'No queue is ready yet' }).waitFor()
    await setUp.uncheck()
    assert.is(await placeOf(page), '1 of 25')
    await context.close()
  })

  test('live region: says where the frames come to rest, and is silent while they run', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    const said = page.locator('p[role=status].visually-hidden')
    await page.keyboard.press('ArrowRight')
    await said.getByText('Frame 2 of 25. Engine call: write QueueNotify = 0: a kick').waitFor()
    await page.evaluate(() => {
      const region = document.querySelector('p[role=status].visually-hidden') as Node
      const texts: string[] = []
      Object.assign(window, { texts })
      new MutationObserver(() => texts.push(region.textContent ?? '')).observe(region, {
        subtree: true,
        characterData: true,
        childList: true,
      })
    })
    await page.getByLabel('Speed', { exact: true }).selectOption('10')
    await page.getByRole('button', { name: 'Play' }).click()
    await said.getByText('Frame 25 of 25. Interrupt').waitFor()
    const texts = (await page.evaluate('window.texts')) as string[]
    assert.is(texts.length, 1, texts.join('\n'))
    await context.close()
  })

  test('hex view: a part that is clicked, an address that is typed; follows again when asked', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    await toLastFrame(page)
    const ram = page.getByRole('region', { name: 'Guest RAM' })
    await ram.getByRole('button', { name: 'data 0x11f0' }).click()
    await ram.getByRole('row', { name: '0011f0' }).getByText('sector 00000001 ').waitFor()
    const address = ram.getByLabel('Address', { exact: true })
    await address.fill('0x1128')
    await address.press('Enter')
    await ram.getByRole('rowheader', { name: '001120' }).waitFor()
    await address.fill('nonsense')
    assert.is(await address.getAttribute('aria-invalid'), 'true')
    await address.press('Tab')
    assert.is(await address.inputValue(), '0x1128')
    assert.is(await ram.getByLabel('follow the frames').isChecked(), false)
    await ram.getByLabel('follow the frames').check()
    await page.getByRole('region', { name: 'Frames' }).getByRole('button', { name: 'store used.idx = 1' }).click()
    assert.is(await address.inputValue(), '0x112a')
    await context.close()
  })
}

test.run()
