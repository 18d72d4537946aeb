// assembly/ABI.md against the code that it describes: every number of abi.ts is in it once, with its value and its
// type; every export of the binary with its arguments; the imports of each flavour. And the numbers that the C host
// repeats are those.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import { readSource } from '../support/source.ts'
import { WasmBinary } from '../support/wasm-binary.ts'

const test = suite('the document of the ABI')

const text = readSource('assembly/ABI.md')
const NUMBERS: Record<string, number> = { ...abi }

/** Every `NAME` = N, and every row | N | `NAME` |, in order. */
function numbersIn(document: string): [name: string, value: number][] {
  const inline = [...document.matchAll(/`([A-Z][A-Z0-9_]+)` = (-?\d+)/g)].map(([, name = '', value]) => [name, value])
  const rows = [...document.matchAll(/^\| (-?\d+) \| `([A-Z][A-Z0-9_]+)` \|/gm)].map(([, value, name = '']) => [
    name,
    value,
  ])
  return [...inline, ...rows].map(([name = '', value]) => [name, Number(value)])
}

test('numbers: all of abi.ts, each once, with its value', () => {
  const found = numbersIn(text)
  const sorted = (pairs: [string, number][]): [string, number][] => pairs.sort(([a], [b]) => (a < b ? -1 : 1))
  assert.equal(sorted(found), sorted(Object.entries(NUMBERS)))
})

test('names: none that abi.ts does not have', () => {
  const names = [...text.matchAll(/`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`/g)].map(([, name = '']) => name)
  assert.ok(names.length > 150)
  const starts = (name: string): boolean =>
    name.endsWith('_') && Object.keys(NUMBERS).some((one) => one.startsWith(name))
  assert.equal(
    names.filter((name) => !(name in NUMBERS) && !starts(name)),
    [],
  )
})

test('types of fields: as the comments of abi.ts say, which the compiler proves', () => {
  const source = readSource('assembly/abi.ts')
  let seen = 0
  for (const [, name = '', type] of text.matchAll(/^\| \d+ \| `(\w+)` \| ((?:u|i|f)\d+(?:\[\d+\])?) \|/gm)) {
    const [, told, count] =
      source.match(new RegExp(`^export const ${name} = \\d+ // (\\w+)(?:\\[(\\w+)\\])?`, 'm')) ?? []
    // Of three lists abi.ts gives the type in words above them.
    if (told === undefined) {
      assert.ok(['STATE_THROTTLE_CONFIG', 'STATE_COUNTERS', 'STATE_CONFIG_SPACE'].includes(name), name)
      continue
    }
    const size = count === undefined ? '' : `[${NUMBERS[count] ?? count}]`
    assert.is(type, `${told}${size}`, name)
    seen++
  }
  assert.ok(seen > 50, `${seen} fields`)
})

test('exports: all of the binary, with their arguments and results', () => {
  const told: Record<string, string> = {}
  for (const [, name = '', list = '', result = ''] of text.matchAll(/^\| `(\w+)\(([^)]*)\)` \| (.*) \|$/gm)) {
    const types = list.split(', ').filter(Boolean)
    told[name] = `${types.map((one) => (one.endsWith(': f64') ? 'f64' : 'i32')).join(',')} -> ${
      result.startsWith('nothing') ? '' : 'i32'
    }`
  }
  assert.equal(told, new WasmBinary(readFileSync('build/engine.wasm')).exports())
})

test('names of arguments: those of index.ts', () => {
  const source = readSource('assembly/index.ts')
  for (const [, name = '', list = ''] of text.matchAll(/^\| `(\w+)\(([^)]*)\)` \|/gm)) {
    const [, parameters = ''] = source.match(new RegExp(`^export function ${name}\\(([^)]*)\\)`, 'm')) ?? []
    const names = (words: string): string[] => words.split(', ').map((word) => word.replace(/: \w+$/, ''))
    const known: Record<string, string> = { statePtr: 'state', queueIndex: 'queue' }
    assert.equal(
      names(list),
      names(parameters).map((word) => known[word] ?? word),
      name,
    )
  }
})

test('imports: each flavour as the table says', () => {
  for (const [file, ...imports] of [
    ['engine', 'env.memory: memory 0'],
    ['engine.shared', 'env.memory: memory 0 65536 shared'],
    ['engine.trace', 'env.memory: memory 0', 'trace.trace: function i32,i32,i32,i32 -> '],
    ['engine.trace.shared', 'env.memory: memory 0 65536 shared', 'trace.trace: function i32,i32,i32,i32 -> '],
  ] as const) {
    assert.equal([...new WasmBinary(readFileSync(`build/${file}.wasm`)).imports()].sort(), [...imports])
    assert.match(text, `\`${file}.wasm\``)
  }
})

test('the host in C: the numbers that it repeats are those', () => {
  const defines = [...readSource('test/foreign/vmm.c').matchAll(/^#define ([A-Z_]+) (\d+)$/gm)]
  const shared = defines.filter(([, name = '']) => name in NUMBERS)
  assert.ok(shared.length > 30, `${shared.length} numbers`)
  for (const [, name = '', value] of shared) assert.is(Number(value), NUMBERS[name], name)
})

test.run()
