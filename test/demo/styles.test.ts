// The page's style sheet is one file for three views, so a class of one view must not reach another: whatever a view
// styles by a bare class is a name that no other view uses. Reads the source text.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readSource } from '../support/source.ts'

const test = suite('demo styles')

const VIEWS = ['ring', 'conformance', 'linux']

function filesOf(folder: string, end: string): string[] {
  return readdirSync(join('host/demo', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end))
    .map((name) => join('host/demo', folder, name))
}

/** Selectors of rules that are nested in no other one. */
function outerSelectors(css: string): string[] {
  const found: string[] = []
  const around: string[] = []
  for (const [, text = '', mark] of css.matchAll(/([^{};]*)([{};])/g)) {
    if (mark === '}') around.pop()
    if (mark !== '{') continue
    if (around.every((outer) => outer.startsWith('@'))) found.push(text)
    around.push(text.trim())
  }
  return found
}

/** Classes that a view's style sheets begin a selector with, where that is not the view's own class. */
function bareClasses(view: string): Set<string> {
  const bare = new Set<string>()
  for (const file of filesOf(view, '.css')) {
    const rules = readSource(file).replace(/\/\*[\s\S]*?\*\//g, '')
    for (const selectors of outerSelectors(rules)) {
      for (const selector of selectors.split(',')) {
        const [, first] = /^\s*\.([\w-]+)/.exec(selector) ?? []
        if (first !== undefined && first !== view) bare.add(first)
      }
    }
  }
  return bare
}

for (const view of VIEWS) {
  test(`${view}: a class that it styles anywhere -> is used by no other view`, () => {
    const bare = bareClasses(view)
    const others = ['ui', ...VIEWS.filter((other) => other !== view)].flatMap((other) => filesOf(other, '.tsx'))
    const leaks = others.flatMap((file) => {
      const classes = [...readSource(file).matchAll(/class=(?:"([^"]*)"|\{`([^`]*)`\})/g)].flatMap(
        ([, plain = '', template = '']) => `${plain} ${template}`.match(/[\w-]+/g) ?? [],
      )
      return classes.filter((name) => bare.has(name)).map((name) => `${file}: ${name}`)
    })
    assert.equal([...new Set(leaks)], [])
  })
}

test.run()
