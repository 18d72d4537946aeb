// The scanner that the tidy and import tests stand on: comments, strings, regular expressions, imports, exports.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, exportsOf, importsOf } from './source.ts'

const test = suite('source scanner')

test('codeOf: comments, strings, templates, regular expressions -> blanks of the same length', () => {
  const text = [
    "const a = 'x // y' // new Thing",
    `const b = \`t $\{ f('\`') } /* u */\` /* new */ + 1`,
    'const c = /[/"]/g.test(s) ? a / b / c : "\\"new"',
    '/** any */ new Real()',
  ].join('\n')
  const code = codeOf(text)
  assert.is(code.length, text.length)
  assert.not.match(code, /Thing|any|[^ ]new|u \*/)
  assert.match(code, /new Real\(\)/)
  assert.match(code, /a \/ b \/ c/)
  assert.match(codeOf(text, { strings: true }), /'x \/\/ y'\s+\n/)
})

test('importsOf: every form -> specifier, path and names', () => {
  const text = `
import * as abi from '../../assembly/abi.ts'
import type { One } from './one.ts'
import { type Two, three as four } from '../two.ts'
import five, { six } from 'five'
import 'seven'
// import { not } from 'not'
export { nine } from './nine.ts'
export * from './ten.ts'
const late = await import('./late.ts')
const worker = new URL('./worker.ts', import.meta.url)
const text = "import { no } from 'no'"
`
  const found = importsOf('host/device/x.ts', text)
  assert.equal(
    found.filter(({ typeOnly }) => typeOnly).map(({ path }) => path),
    ['host/device/one.ts'],
  )
  assert.equal(
    found.map(({ specifier, path, names }) => [specifier, path, names]),
    [
      ['../../assembly/abi.ts', 'assembly/abi.ts', ['*']],
      ['./one.ts', 'host/device/one.ts', ['One']],
      ['../two.ts', 'host/two.ts', ['Two', 'three']],
      ['five', undefined, ['six']],
      ['./nine.ts', 'host/device/nine.ts', ['nine']],
      ['./ten.ts', 'host/device/ten.ts', ['*']],
      ['seven', undefined, ['*']],
      ['./late.ts', 'host/device/late.ts', ['*']],
      ['./worker.ts', 'host/device/worker.ts', ['*']],
    ],
  )
})

test('exportsOf: declarations and lists -> names', () => {
  const text = `
export const A = 1
export async function b(): Promise<void> {}
export class C {}
export interface D {}
export type E = 1
export { f, g as h }
export { not } from './other.ts'
`
  assert.equal(exportsOf(text), ['A', 'b', 'C', 'D', 'E', 'f', 'h'])
})

test.run()
