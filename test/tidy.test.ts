// House rules that no tool knows: header comments, sizes, what may not be written where, tests that would not run,
// and code that nobody uses. Reads source text only; which folder may import which is imports.test.ts.

import { existsSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, exportsOf, importsOf, readSource, sourceFiles } from './support/source.ts'

const test = suite('tidy')

const FOLDERS = ['assembly', 'host', 'test']
const files = FOLDERS.flatMap(sourceFiles)
const text = new Map(files.map((file) => [file, readSource(file)]))
const code = new Map(files.map((file) => [file, codeOf(text.get(file) ?? '')]))

const COLUMNS_MAX = 120
const LINES_MAX = 500
/** Files that may be longer, with the reason. */
const LONGER = new Map<string, string>()

/** `path:line: text` of every line that the function says is wrong. */
function lines(from: ReadonlyMap<string, string>, isWrong: (line: string, file: string) => boolean): string[] {
  return [...from].flatMap(([file, content]) =>
    content
      .split('\n')
      .flatMap((line, i) => (isWrong(line, file) ? [`${file}:${i + 1}: ${line.trim().slice(0, 100)}`] : [])),
  )
}

function none(found: readonly string[], rule: string): void {
  if (found.length > 0) assert.unreachable(`${rule}\n${found.join('\n')}`)
}

test('there are files to look at', () => {
  for (const folder of FOLDERS) assert.ok(files.filter((file) => file.startsWith(`${folder}/`)).length > 5, folder)
})

test('header: the first thing in every file is a comment that says what it is for', () => {
  const bare = files.filter((file) => !/^(#![^\n]*\n)?\/\/ \S/.test(text.get(file) ?? ''))
  none(bare, 'files without a header comment:')
})

test('lines: at most 120 columns, what is inside quotes not counted', () => {
  const long = files.flatMap((file) => {
    const content = text.get(file) ?? ''
    const bare = (code.get(file) ?? '').split('\n')
    const withStrings = codeOf(content, { strings: true }).split('\n')
    return content.split('\n').flatMap((line, i) => {
      if (line.length <= COLUMNS_MAX) return []
      // The formatter cannot break a test's name or a message; comments have no such excuse.
      const isCode = (withStrings[i] ?? '').trim() !== ''
      const fits = (bare[i] ?? '').replace(/\s{2,}/g, ' ').length <= COLUMNS_MAX - 20
      return isCode && fits ? [] : [`${file}:${i + 1}: ${line.length}`]
    })
  })
  none(long, 'lines that are too long:')
})

test('files: at most 500 lines', () => {
  const count = (file: string): number => (text.get(file) ?? '').split('\n').length - 1
  none(
    files.filter((file) => count(file) > LINES_MAX && !LONGER.has(file)).map((file) => `${file}: ${count(file)}`),
    'files that are too long:',
  )
  none(
    [...LONGER.keys()].filter((file) => !existsSync(file) || count(file) <= LINES_MAX),
    'no exception is needed for:',
  )
})

// What may not be written -------------------------------------------------------------------------------------

const engine = new Map([...code].filter(([file]) => file.startsWith('assembly/')))

test('assembly: atomic.fence is nowhere (it does not survive the compiler)', () => {
  none(
    lines(engine, (line) => /\batomic\s*\.\s*fence\b/.test(line)),
    'use an atomic access instead:',
  )
})

test('assembly: loads and stores of raw addresses are in memory.ts only', () => {
  // Atomics of the transport words have their helpers in layout.ts.
  const raw = /\b(load|store)\s*<|\bmemory\s*\.\s*(copy|fill)\b|\batomic\s*\.\s*\w+\s*</
  none(
    lines(engine, (line, file) => {
      if (file === 'assembly/memory.ts') return false
      return file === 'assembly/layout.ts' ? /(?<!atomic\.)\b(load|store)\s*</.test(line) : raw.test(line)
    }),
    'use a function of memory.ts or layout.ts:',
  )
})

test('host, test: modules are compiled on the calling thread (Node 20 can wait for ever for a background thread)', () => {
  const others = new Map([...code].filter(([file]) => !file.startsWith('assembly/')))
  none(
    lines(others, (line) => /\bWebAssembly\s*\.\s*(compile|instantiate)\w*\s*\(/.test(line)),
    'use new WebAssembly.Module and new WebAssembly.Instance:',
  )
})

test('assembly: nothing is allocated, no non-null assertions', () => {
  none(
    lines(engine, (line) => /\bnew\s+\w/.test(line)),
    'there is no allocator:',
  )
  none(
    lines(engine, (line) => /[\w)\]]!(?!=)/.test(line)),
    'a non-null assertion brings in a message string:',
  )
})

test('assembly: the top level holds nothing that needs memory, a global or a start function', () => {
  none(
    lines(engine, (line) => /^(export\s+)?let\s/.test(line)),
    'top-level variables:',
  )
  none(
    lines(engine, (line) => /^(export\s+)?const\s+\w+(\s*:\s*\w+)?\s*=\s*[[{]/.test(line)),
    'top-level arrays and objects:',
  )
})

test('no enums, namespaces or any', () => {
  none(
    lines(code, (line) => /^\s*(export\s+)?(declare\s+)?(const\s+)?(enum|namespace)\s+\w+\s*\{/.test(line)),
    'write constants or a union of strings:',
  )
  none(
    lines(code, (line) => /(:|\bas|<|,|\|)\s*any\b(?!\s*[:(])|\bany\[\]/.test(line)),
    'write unknown and narrow it:',
  )
})

test('unfinished business names its issue', () => {
  const marks = new RegExp(`\\b(${['TO', 'DO'].join('')}|FIX${'ME'}|XX${'X'})\\b(?!\\s*\\(#\\d+\\))`)
  none(
    lines(text, (line) => marks.test(line)),
    'write (#issue) behind it:',
  )
})

test('nothing refers to places outside the repository', () => {
  const outside = new RegExp(`/work${'/'}|\\bDEVICE\\.m${'d'}\\b|reference-${'device'}`)
  none(
    lines(text, (line) => outside.test(line)),
    'users do not have these:',
  )
})

// Tests that run ------------------------------------------------------------------------------------------------

test('every suite of every test file is run', () => {
  const silent = files
    .filter((file) => file.endsWith('.test.ts'))
    .flatMap((file) => {
      const content = code.get(file) ?? ''
      const suites = [...content.matchAll(/\bconst\s+(\w+)\s*=\s*suite\(/g)].map(([, name = '']) => name)
      const missing = suites.filter((name) => !new RegExp(`\\b${name}\\.run\\(\\)`).test(content))
      // A file may also run suites through a helper that takes the test's name (the suite of back ends).
      const runsNone = suites.length === 0 && !/\.run\(\)/.test(content) && !runsThroughHelper(file)
      return [...missing.map((name) => `${file}: ${name}`), ...(runsNone ? [file] : [])]
    })
  none(silent, 'suites without .run():')
})

function runsThroughHelper(file: string): boolean {
  return importsOf(file).some(({ path }) => path?.startsWith('test/') && /\.run\(\)/.test(code.get(path) ?? ''))
}

test('no test is left out or singled out', () => {
  none(
    lines(code, (line, file) => file.startsWith('test/') && /\b(test|each)\.(only|skip)\(/.test(line)),
    'remove only and skip:',
  )
})

// Code that nobody uses -----------------------------------------------------------------------------------------

const ENTRIES = [
  'host/index.ts',
  'host/node.ts',
  'host/conformance/index.ts',
  'host/replay/index.ts',
  'host/cli/vblk.ts',
  'host/vmm/vcpu-thread.ts',
  'host/loop/disk-thread.ts',
  'host/loop/waiter.ts',
  'host/demo/app.tsx',
  'host/demo/conformance/conformance-worker.ts',
  'host/demo/linux/linux-worker.ts',
  'host/build.mjs',
  'host/setup.mjs',
  'test/run.mjs',
  'test/foreign/name-atomics.mjs',
]

/** Programs that package.json or another program starts, and ambient types. */
function isEntry(file: string): boolean {
  if (ENTRIES.includes(file) || file.endsWith('.d.ts') || file === 'assembly/index.ts') return true
  return /\.(test|module)\.ts$/.test(file) || /^test\/(bench\/\w+|golden\/make)\.ts$/.test(file)
}

const imports = new Map(files.map((file) => [file, importsOf(file)]))

test('every file is reachable from an entry', () => {
  const seen = new Set<string>()
  const queue = files.filter(isEntry)
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const { path } of imports.get(file) ?? []) if (path) queue.push(path)
  }
  none(
    files.filter((file) => !seen.has(file)),
    'dead files:',
  )
  none(
    [...seen].filter((path) => !path.startsWith('build/') && !existsSync(path)),
    'imported, but not there:',
  )
})

test('every export of host/ is imported by another file or exported by the package', () => {
  const used = new Map<string, Set<string>>()
  for (const list of imports.values()) {
    for (const { path, names } of list) {
      if (!path) continue
      const known = used.get(path) ?? new Set()
      for (const name of names) known.add(name)
      used.set(path, known)
    }
  }
  const dead = files
    .filter(
      (file) =>
        file.startsWith('host/') &&
        !['host/index.ts', 'host/node.ts', 'host/conformance/index.ts', 'host/replay/index.ts'].includes(file),
    )
    .flatMap((file) => {
      const names = used.get(file) ?? new Set()
      if (names.has('*')) return []
      const content = code.get(file) ?? ''
      return exportsOf(text.get(file) ?? '')
        .filter((name) => !names.has(name) && !isInSignature(content, name))
        .map((name) => `${file}: ${name}`)
    })
  none(dead, 'exports that nobody imports:')
})

/** A type that the file itself uses must be exported with what mentions it; a value need not. */
function isInSignature(content: string, name: string): boolean {
  const isType = new RegExp(`^export\\s+(interface|type)\\s+${name}\\b`, 'm').test(content)
  return isType && (content.match(new RegExp(`\\b${name}\\b`, 'g')) ?? []).length > 1
}

test.run()
