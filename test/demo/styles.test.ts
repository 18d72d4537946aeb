// The page's style sheet is one file for three views, so a rule of one view must not reach another: each begins with
// the view's own class. Reads the source text.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readSource } from '../support/source.ts'

const test = suite('demo styles')

/** Selectors that stand in no other rule; those in @media count as such. */
function outerSelectors(css: string): string[] {
  const rules = css.replace(/\/\*[\s\S]*?\*\//g, '').replace(/@import[^;]*;/g, '')
  const found: string[] = []
  const open: boolean[] = []
  for (const [, before = '', brace] of rules.matchAll(/([^{}]*)([{}])/g)) {
    if (brace === '}') {
      open.pop()
      continue
    }
    const head = (before.split(';').at(-1) ?? '').trim()
    const isAtRule = head.startsWith('@')
    if (!isAtRule && !open.includes(true)) found.push(...head.split(/,(?![^(]*\))/).map((selector) => selector.trim()))
    open.push(!isAtRule)
  }
  return found
}

test('outerSelectors: nested rules are left out, those in @media are not', () => {
  const css = '/* .z { */ .a, .b:is(i, u) { .c { d: e } f: g; & h { } } @media (x) { .d { .e { } } }'
  assert.equal(outerSelectors(css), ['.a', '.b:is(i, u)', '.d'])
})

for (const view of ['ring', 'conformance', 'linux']) {
  const folder = join('host/demo', view)
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.css'))) {
    test(`${view}/${file}: every rule -> is of this view`, () => {
      // Or of the page while this view is shown.
      const own = new RegExp(`^((\\.view)?|body:has\\()\\.${view}(?![\\w-])`)
      const selectors = outerSelectors(readSource(join(folder, file)))
      assert.equal(
        selectors.filter((selector) => !own.test(selector)),
        [],
      )
    })
  }
}

test.run()
