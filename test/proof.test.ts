// Keeps test/README.md true: every device rule and every past bug has its row, every path in a row has such a test,
// every such test in the tree lies on a path of its row, what is not covered has a reason and no test, and the numbers
// of the standard's rules are those that the conformance kit gives for our device.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ownTarget } from '../host/conformance/own-target.ts'
import { ROWS } from '../host/conformance/rows.ts'
import { PARTS, runConformance } from '../host/conformance/run.ts'
import { codeOf, readSource, sourceFiles } from './support/source.ts'

const test = suite('proof table')

const RULES = 29
const BUGS = 46

interface Named {
  file: string
  kind: 'device rule' | 'past bug'
  numbers: readonly number[]
  /** what follows `device rule N: ` */
  rest: string
}

const NAME = /['"`](device rule|past bug)s? ([\d, toand]+)(?: \([^)]*\))?: ?([^\n]*)/g

/** '4 to 7, 13 and 18' -> 4, 5, 6, 7, 13, 18 */
function numbersOf(list: string): number[] {
  return list.split(/, | and /).flatMap((part) => {
    const [from = Number.NaN, to = from] = part.split(' to ').map(Number)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
}

const named: Named[] = sourceFiles('test')
  .filter((file) => file.endsWith('.test.ts') && file !== 'test/proof.test.ts')
  .flatMap((file) =>
    [...codeOf(readSource(file), { strings: true }).matchAll(NAME)].map(([, kind, list = '', rest = '']) => {
      return { file, kind: kind as Named['kind'], numbers: numbersOf(list), rest }
    }),
  )

/** The cells of the rows below a heading, without the head of the table. */
function tableOf(heading: string): string[][] {
  const [, text = ''] = readFileSync('test/README.md', 'utf8').split(new RegExp(`^#+ ${heading}$`, 'm'))
  const lines = text.split(/^#+ /m)[0]?.split('\n') ?? []
  const rows = lines.filter((line) => line.startsWith('| ')).map((line) => line.slice(2, -2).split(' | '))
  assert.ok(rows.length > 1, heading)
  return rows.slice(1)
}

function pathsOf(cell: string): string[] {
  const paths = [...cell.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path)
  assert.is(paths.map((path) => `\`${path}\``).join(', '), cell, 'paths only')
  return paths
}

function onPath(file: string, path: string): boolean {
  const pattern = path.replace(/[.]/g, '\\.').replaceAll('*', '[^/]*')
  return new RegExp(`^${pattern}$`).test(file)
}

function checkRow(about: string, cell: string, tests: readonly Named[]): void {
  if (cell.startsWith('not covered: ')) {
    assert.ok(cell.length > 40, `${about}: no reason`)
    assert.equal(tests, [], `${about} has tests: say which`)
    return
  }
  const paths = pathsOf(cell)
  for (const path of paths) {
    assert.ok(
      tests.some(({ file }) => onPath(file, path)),
      `${about}: no test of that name in ${path}`,
    )
  }
  const astray = tests.filter(({ file }) => !paths.some((path) => onPath(file, path))).map(({ file }) => file)
  assert.equal([...new Set(astray)], [], `${about}: tests that the row does not tell of`)
}

for (const [heading, kind, count] of [
  ['Rules of the device contract', 'device rule', RULES],
  ['Past bugs', 'past bug', BUGS],
] as const) {
  test(`${kind}: rows 1 to ${count}, each with its tests or the reason why there are none`, () => {
    const rows = tableOf(heading)
    assert.equal(
      rows.map(([number]) => Number(number)),
      Array.from({ length: count }, (_, i) => i + 1),
    )
    for (const [number, about = '', cell = ''] of rows) {
      assert.ok(about.length > 5, `${kind} ${number}: about what?`)
      const tests = named.filter((one) => one.kind === kind && one.numbers.includes(Number(number)))
      checkRow(`${kind} ${number}`, cell, tests)
    }
  })

  test(`${kind}: no test has a number that is none`, () => {
    const own = named.filter((one) => one.kind === kind)
    assert.ok(own.length >= count - 5, `only ${own.length} found`)
    const wrong = own.filter(({ numbers }) => numbers.some((n) => !(n >= 1 && n <= count)))
    assert.equal(wrong, [])
  })
}

test('device rule: the rules of the contract are those of the table', () => {
  const contract = readFileSync('assembly/CONTRACT.md', 'utf8')
  const numbers = [...contract.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number))
  assert.equal(
    numbers.sort((a, b) => a - b),
    Array.from({ length: RULES }, (_, i) => i + 1),
  )
})

test('faults: each row of the contract has tests by the name that the table says', () => {
  const rows = tableOf('Faults')
  const letters = new Set(rows.map(([about = '']) => about.match(/^([a-g]): /)?.[1]))
  for (const letter of 'abcdefg') assert.ok(letters.has(letter), `no row for fault ${letter}`)
  assert.is(rows.filter(([about = '']) => !/^[a-g]: /.test(about)).length, 5, 'ring faults')
  for (const [about = '', name = '', cell = ''] of rows) {
    const [, number, words = ''] = name.match(/^`device rule (\d+): (.+)`$/) ?? []
    assert.ok(words.length > 0, name)
    const tests = named.filter(({ kind, numbers, rest }) => {
      return kind === 'device rule' && numbers.includes(Number(number)) && rest.startsWith(words)
    })
    checkRow(`fault ${about}`, cell, tests)
  }
})

/** '2.7.5.1' -> '2.7' */
function chapter(section: string): string {
  return section.split('.').slice(0, 2).join('.')
}

test('the standard: what the kit says of our device, section by section', async () => {
  const counted = new Map<string, number[]>()
  for (const { section, outcome } of await runConformance(ownTarget())) {
    const column = ['passed', 'not offered', 'not checkable'].indexOf(outcome)
    assert.ok(column >= 0, outcome)
    for (const name of [chapter(section), 'all']) {
      const counts = counted.get(name) ?? [0, 0, 0]
      counts[column] = (counts[column] ?? 0) + 1
      counted.set(name, counts)
    }
  }
  const rows = tableOf('The standard')
  const written = rows.map(([section = '', ...numbers]) => [section, numbers.slice(0, 3).map(Number)])
  const order = (a: string): number => (a === 'all' ? 99 : Number(a.split('.')[0]) + Number(a.split('.')[1] ?? 0) / 100)
  assert.equal(
    written,
    [...counted].sort(([a], [b]) => order(a) - order(b)),
  )
  assert.equal(counted.get('all'), [177, 181, 5])
})

test('the standard: the checks of a section are in the files that its row names', () => {
  const checks = Object.values(PARTS).flatMap((part) => part.checks.map(({ id }) => id))
  const folder = 'host/conformance/checks'
  const sources = sourceFiles(folder).map((file) => [file.slice(folder.length + 1), readSource(file)] as const)
  for (const [section = '', , , , cell = ''] of tableOf('The standard')) {
    if (section === 'all') continue
    const ids = ROWS.filter((row) => chapter(row.section) === section && checks.includes(row.id)).map(({ id }) => id)
    if (cell.startsWith('none: ')) continue
    const files = pathsOf(cell)
    const lost = ids.filter((id) => !sources.some(([file, text]) => files.includes(file) && text.includes(`'${id}'`)))
    assert.equal(lost, [], section)
    for (const file of files) {
      const text = sources.find(([name]) => name === file)?.[1] ?? ''
      assert.ok(
        ids.some((id) => text.includes(`'${id}'`)),
        `${section}: no check in ${file}`,
      )
    }
  }
})

test('the standard: rules that cannot be checked, with the reasons of the kit', () => {
  const reasons = Object.values(PARTS).flatMap((part) => Object.entries(part.notCheckable))
  assert.equal(
    tableOf('Not checkable').map(([id = '', reason = '']) => [id.slice(1, -1), reason]),
    reasons,
  )
})

test.run()
