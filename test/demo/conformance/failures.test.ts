// What the Conformance view makes of a device that fails, a worker that reports an error and one that breaks down: the
// worker's program is replaced by one that answers so.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ROWS } from '../../../host/conformance/rows.ts'
import { type DemoBrowser, type DemoPage, hasChromium, openBrowser } from '../../support/browser.ts'
import { openRule, runEnds, shownRules, shownTotals } from '../../support/conformance-page.ts'

const test = suite<{ demo: DemoBrowser }>('conformance view: failures')

/** The view with another program in place of its worker; `worker` has the ROWS. */
async function openWith(demo: DemoBrowser, worker: string): Promise<DemoPage> {
  const opened = await demo.open('')
  await opened.page.route('**/conformance-worker.js', async (route) => {
    await route.fulfill({
      contentType: 'text/javascript',
      body: `const ROWS = ${JSON.stringify(ROWS)}\n${worker}`,
    })
  })
  await opened.page.goto(`${demo.server.url}#conformance`)
  return opened
}

if (hasChromium()) {
  test.before(async (context) => {
    // An isolated page refuses a worker without the server's headers.
    context.demo = await openBrowser({ isolation: false })
  })

  test.after(async ({ demo }) => {
    await demo.close()
  })

  test('checks that fail -> counted, named, with what was seen; they alone at the press of a button', async ({
    demo,
  }) => {
    const opened = await openWith(
      demo,
      `addEventListener('message', ({ data: { job } }) => {
        for (const [i, row] of ROWS.entries()) {
          const outcome = i === 7 || i === 300 ? 'failed' : i === 20 ? 'skipped' : 'passed'
          const result = { ...row, outcome, tried: 'this', seen: 'nothing <b>good</b>' }
          postMessage({ job, answer: { kind: 'result', result } })
        }
        postMessage({ job, answer: { kind: 'done' } })
      })`,
    )
    await runEnds(opened)
    await opened.page.getByText('2 failed.', { exact: false }).waitFor()
    const { failed, skipped, passed } = await shownTotals(opened)
    assert.equal({ failed, skipped, passed }, { failed: 2, skipped: 1, passed: 360 })
    await opened.page.getByRole('button', { name: '2 failed' }).click()
    const ids = [ROWS[7]?.id ?? '', ROWS[300]?.id ?? '']
    assert.equal((await shownRules(opened)).sort(), ids.sort())
    const detail = await openRule(opened, ids[0] ?? '')
    await detail.getByText('nothing <b>good</b>').waitFor()
    assert.is(await detail.getByRole('button', { name: 'Open in Ring' }).count(), 1)
    assert.equal(opened.errors, [])
    await opened.context.close()
  })

  test('a task that cannot be done -> its message, and another try', async ({ demo }) => {
    const opened = await openWith(
      demo,
      `addEventListener('message', ({ data: { job } }) => {
        postMessage({ job, answer: { kind: 'failed', message: 'WebAssembly.Memory(): could not allocate memory' } })
      })`,
    )
    await opened.page.getByRole('alert').getByText('could not allocate memory').waitFor()
    assert.is(await opened.page.getByRole('button', { name: 'Run all' }).isEnabled(), true)
    assert.is(await opened.page.getByText('not run', { exact: true }).count(), 363)
    await opened.context.close()
  })

  test('a worker that breaks down -> its error; the next run starts another one', async ({ demo }) => {
    const opened = await openWith(demo, `addEventListener('message', () => { throw new Error('out of order') })`)
    await opened.page.getByRole('alert').getByText('out of order').waitFor()
    await opened.page.unroute('**/conformance-worker.js')
    await opened.page.getByRole('button', { name: 'Run all' }).click()
    await runEnds(opened)
    assert.is(await opened.page.getByRole('alert').count(), 0)
    await opened.context.close()
  })

  test('a worker that cannot be loaded -> said', async ({ demo }) => {
    const opened = await openWith(demo, 'this is no program')
    await opened.page.getByRole('alert').waitFor()
    await opened.context.close()
  })
}

test.run()
