// What goes in and out of the Ring view in a real Chromium: links that lead back to a frame, .trace files that replay
// in Node with the same digest, files and recordings that are opened, and addresses that anybody can have written.

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { replay, Trace } from '../../../host/replay/index.ts'
import { type DemoBrowser, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRing, placeOf, resultsOf, sentenceOf, toLastFrame } from '../../support/ring-page.ts'

const test = suite<{ demo: DemoBrowser }>('ring view: share')

const linux = readFileSync('test/golden/linux.trace')
const base64url = (text: string | Uint8Array): string => Buffer.from(text).toString('base64url')

/** A trace whose header says that it is so long when it is unpacked. */
function saysBytes(count: number): Uint8Array {
  const file = Uint8Array.from(linux)
  new DataView(file.buffer).setUint32(20, count, true)
  return file
}

/** Fragment of the address, and how the one message about it begins. */
const HOSTILE: readonly (readonly [fragment: string, message: RegExp])[] = [
  ['#ring?scenario=', /scenario/],
  ['#ring?scenario=%%%', /scenario/],
  ['#ring?scenario=<img src=x onerror=alert(1)>', /no base64url/],
  [`#ring?scenario=${base64url('{')}`, /does not hold a scenario/],
  [`#ring?scenario=${base64url('null')}`, /must be an object/],
  [`#ring?scenario=${base64url('{"v":1,"device":{"sectors":1,"queueSize":3},"actions":[]}')}`, /power of two/],
  [`#ring?scenario=${base64url('{"v":9,"device":{"sectors":1,"queueSize":4},"actions":[]}')}`, /\.v must be/],
  [`#ring?scenario=${'A'.repeat(300_000)}`, /characters, at most/],
  ['#ring?trace=', /no trace/],
  ['#ring?trace=***', /no recording/],
  [`#ring?trace=${base64url('nonsense')}`, /this is no trace/],
  [`#ring?trace=${base64url(linux.subarray(0, 1000))}`, /cut off/],
  [`#ring?trace=${base64url(Uint8Array.from(linux, (byte, i) => (i === 900 ? byte ^ 1 : byte)))}`, /damaged/],
  [`#ring?trace=${base64url(saysBytes(0x7fffffff))}`, /unpacks to 2147483647 bytes/],
  [`#ring?trace=${'A'.repeat(1_100_000)}`, /open the file instead/],
  ['#ring?opened=1234', /handed over within the page and is gone/],
  ['#ring?preset=nothing-of-this-name', /no preset 'nothing-of-this-name'/],
  ['#ring?preset=__proto__', /no preset '__proto__'/],
  ['#ring?preset=read&frame=-1', /frame=-1/],
  ['#ring?preset=read&frame=1e9', /frame=1e9/],
]

if (hasChromium()) {
  test.before(async (context) => {
    context.demo = await openBrowser()
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('copy link: opened in a new page it shows the same frame', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=throttled')
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    for (let i = 0; i < 3; i++) await page.keyboard.press('Shift+ArrowRight')
    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('Link copied').waitFor()
    const link = await page.evaluate(() => navigator.clipboard.readText())
    assert.match(link, /#ring\?scenario=[\w-]+&frame=\d+$/)
    const other = await openRing(demo, new URL(link).hash)
    assert.is(await placeOf(other.page), await placeOf(page))
    assert.is(await sentenceOf(other.page), await sentenceOf(page))
    assert.is(await other.page.getByLabel('Preset', { exact: true }).inputValue(), 'throttled')
    assert.equal(other.errors, [])
    await other.context.close()
    await context.close()
  })

  test('copy link of a recording: the recording itself, if it is short', async ({ demo }) => {
    const { page, context } = await openRing(demo)
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.locator('input[type=file]').setInputFiles('test/golden/request-f.trace')
    await page.getByLabel('Preset', { exact: true }).getByText('request-f.trace').waitFor({ state: 'attached' })
    await page.keyboard.press('Shift+ArrowRight')
    const expected = await sentenceOf(page)
    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('Link copied').waitFor()
    const link = await page.evaluate(() => navigator.clipboard.readText())
    const other = await openRing(demo, new URL(link).hash)
    assert.is(await sentenceOf(other.page), expected)
    await other.context.close()
    await page.locator('input[type=file]').setInputFiles({ ...FILE, name: 'long.trace', buffer: await longTrace() })
    await page.getByLabel('Preset', { exact: true }).getByText('long.trace').waitFor({ state: 'attached' })
    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('Too long for a link').waitFor()
    await context.close()
  })

  test('addresses that anybody can have written -> one message, no error, and a way on', async ({ demo }) => {
    for (const [fragment, message] of HOSTILE) {
      const { page, errors, context } = await demo.open(fragment)
      const alert = page.getByRole('alert')
      await alert.waitFor()
      assert.is(await alert.count(), 1, fragment.slice(0, 80))
      assert.match((await alert.textContent()) ?? '', message, fragment.slice(0, 80))
      assert.ok(((await alert.textContent()) ?? '').length < 400, 'not a wall of text')
      await page.getByRole('button', { name: 'Show the first preset' }).click()
      await page.getByRole('region', { name: 'This frame' }).waitFor()
      assert.equal(errors, [], fragment.slice(0, 80))
      await context.close()
    }
  })

  test('a frame behind the end -> the last one', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=read&frame=999999')
    assert.is(await placeOf(page), '25 of 25')
    await context.close()
  })

  test('download: the file replays in Node, with the digest that it says', async ({ demo }) => {
    const { page, context } = await openRing(demo, '#ring?preset=ring-loop')
    const waiting = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Download .trace' }).click()
    const download = await waiting
    assert.is(download.suggestedFilename(), 'ring-loop.trace')
    const trace = await Trace.parse(readFileSync(await download.path()))
    const { digest, divergence } = replay(trace)
    assert.is(divergence, undefined)
    assert.is(digest, trace.digest)
    await context.close()
  })

  test('open a file: Linux’s recording, a request chosen from its list; what is not recorded is unknown', async ({
    demo,
  }) => {
    const { page, errors, context } = await openRing(demo)
    await page.locator('input[type=file]').setInputFiles('test/golden/linux.trace')
    await page.getByRole('heading', { name: '58 requests' }).waitFor()
    await page.getByRole('button', { name: 'Go to the request of step 121, head 0' }).click()
    assert.match(await sentenceOf(page), 'decision on head 0: read')
    const request = page.getByRole('region', { name: 'Request', exact: true })
    const text = (await request.textContent()) ?? ''
    for (const words of ['sector 104', 'data, 4096 B', 'unknown', 'read (rule 11)']) assert.match(text, words)
    await page.getByRole('button', { name: 'slot 11: head ?' }).first().waitFor()
    assert.ok((await page.getByRole('region', { name: 'Guest RAM' }).getByText('··').count()) > 50)
    await page.getByRole('button', { name: 'Later' }).click()
    await page.getByText('51 to 58').waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('every golden trace opens, and its last frame is drawn', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    for (const name of ['kvm-guest', 'reset-under-load', 'ring-head-in-flight', 'throttled', 'request-a']) {
      await page.locator('input[type=file]').setInputFiles(`test/golden/${name}.trace`)
      await page.getByLabel('Preset', { exact: true }).getByText(`${name}.trace`).waitFor({ state: 'attached' })
      await toLastFrame(page)
      assert.ok((await resultsOf(page)).length > 1, name)
    }
    assert.equal(errors, [])
    await context.close()
  })

  test('a long recording: to its end, back, into its middle; only lines that can be seen are in the page', async ({
    demo,
  }) => {
    const { page, errors, context } = await openRing(demo)
    const { steps } = await Trace.parse(linux)
    // What the driver does after its reset may come any number of times.
    const [init, ...rest] = steps
    const many = Array.from({ length: 40 }, () => rest).flat()
    const buffer = Buffer.from(await new Trace(init ? [init, ...many] : []).bytes())
    await page.locator('input[type=file]').setInputFiles({ ...FILE, buffer })
    await page.getByRole('heading', { name: '2,320 requests' }).waitFor()
    const lines = page.getByRole('region', { name: 'Frames' }).getByRole('listitem')
    for (const [key, place] of [
      ['End', /^(\d{5}) of \1$/],
      ['ArrowLeft', /^\d{5} of \d{5}$/],
      ['Home', /^1 of \d{5}$/],
    ] as const) {
      await page.keyboard.press(key)
      assert.match(await placeOf(page), place)
      assert.ok((await lines.count()) < 100, key)
    }
    await page.getByRole('slider', { name: 'Frame' }).fill('30000')
    assert.match(await placeOf(page), /^30001 of/)
    assert.ok((await lines.count()) < 100)
    assert.equal(errors, [])
    await context.close()
  })

  test('drop a file on the page -> opened; what is no trace -> what is wrong with it', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    const drop = (name: string, content: string): Promise<void> =>
      page.evaluate(
        ({ name, content }) => {
          const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0))
          const dataTransfer = new DataTransfer()
          dataTransfer.items.add(new File([bytes], name))
          for (const type of ['dragover', 'drop']) {
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }))
          }
        },
        { name, content },
      )
    await drop('dropped.trace', readFileSync('test/golden/request-g.trace').toString('base64'))
    await page.getByLabel('Preset', { exact: true }).getByText('dropped.trace').waitFor({ state: 'attached' })
    await drop('picture.png', 'iVBORw0KGgo=')
    await page.getByRole('alert').getByText('this is no trace: it does not begin with VBLKTRC').waitFor()
    assert.equal(errors, [])
    await context.close()
  })

  test('files that cannot be read -> one message with the name and what to do; back -> what was shown', async ({
    demo,
  }) => {
    const { page, errors, context } = await openRing(demo, '#ring?preset=batch')
    const folder = mkdtempSync(join(tmpdir(), 'vblk-'))
    const long = join(folder, 'long.trace')
    const gone = join(folder, 'gone.trace')
    for (const file of [long, gone]) writeFileSync(file, '')
    truncateSync(long, 2 ** 30 + 1)
    try {
      // As a file manager does; a folder is dropped as a file too.
      const devTools = await context.newCDPSession(page)
      const drop = async (path: string): Promise<void> => {
        const data = { items: [], files: [path], dragOperationsMask: 1 }
        for (const type of ['dragEnter', 'dragOver', 'dragOver', 'drop'] as const) {
          // What the page has not allowed yet cannot be dropped.
          if (type === 'drop') await page.getByText('Drop the .trace file to open it').waitFor()
          await devTools.send('Input.dispatchDragEvent', { type, x: 600, y: 400, data })
        }
      }
      const choose = async (path: string): Promise<void> => {
        // The page sees the file before it is gone, and reads it afterwards.
        await page.evaluate(() => {
          const read = File.prototype.arrayBuffer
          Object.assign(window, { go: undefined })
          File.prototype.arrayBuffer = async function () {
            await new Promise((resolve) => Object.assign(window, { go: resolve }))
            return await read.call(this)
          }
        })
        await page.locator('input[type=file]').setInputFiles(path)
        await page.waitForFunction('window.go')
        rmSync(path)
        await page.evaluate('window.go()')
      }
      for (const [open, path, message] of [
        [drop, folder, /^vblk-\w+ could not be read \(.+\): is it a file, and still there\?/],
        [drop, long, /^long\.trace has 1,073,741,825 bytes: more than 1,073,741,824 cannot be opened here/],
        [choose, gone, /^gone\.trace could not be read \(.+\): is it a file, and still there\?/],
      ] as const) {
        await open(path)
        const alert = page.getByRole('alert')
        await alert.waitFor()
        assert.is(await alert.count(), 1)
        assert.match((await alert.textContent()) ?? '', message)
        await page.goBack()
        await page.getByRole('region', { name: 'This frame' }).waitFor()
        assert.is(await page.getByLabel('Preset', { exact: true }).inputValue(), 'batch')
      }
      assert.equal(errors, [])
    } finally {
      rmSync(folder, { recursive: true })
      await context.close()
    }
  })

  test('a recording that was handed over is gone after a reload: said, with what to do', async ({ demo }) => {
    const { page, errors, context } = await openRing(demo)
    await page.locator('input[type=file]').setInputFiles('test/golden/request-g.trace')
    await page.getByLabel('Preset', { exact: true }).getByText('request-g.trace').waitFor({ state: 'attached' })
    await page.reload()
    await page.getByRole('alert').getByText('open it again where it came from').waitFor()
    await page.getByRole('button', { name: 'Open .trace' }).waitFor()
    assert.equal(errors, [])
    await context.close()
  })
}

const FILE = { name: 'a.trace', mimeType: 'application/octet-stream' }

/** Linux's recording with times that cannot be packed: too long for a link. */
async function longTrace(): Promise<Buffer> {
  let nanos = 0
  const steps = (await Trace.parse(linux)).steps.map((step, i) => {
    nanos += (i * 2654435761) % 2 ** 31
    return { ...step, nanos }
  })
  return Buffer.from(await new Trace(steps).bytes())
}

test.run()
