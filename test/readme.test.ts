// The README's recipes as a reader tries them: in an empty folder that has the package installed, every program is
// written to the file that its first line names, every command of a `console` block is run, and what it prints has to
// be what the README shows. Where Node does not run TypeScript by itself, esbuild takes the types off. The recipes with
// KVM need one.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { transformSync } from 'esbuild'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { installPackage, run } from './support/installed.ts'
import { hasKvm } from './support/kvm-guest.ts'
import { readSource } from './support/source.ts'

const test = suite<{ folder: string }>('readme')

const EMBED_LINES_MAX = 80
const BACKEND_LINES_MAX = 20
const TITLES = [
  'Embed it in a VMM',
  'Write a block device',
  'Limit a disk',
  'Record and replay a hang',
  'Check your own device',
]

interface Program {
  name: string
  text: string
}

interface Command {
  line: string
  /** what it prints on standard output */
  prints: string
}

const readme = readSource('README.md')

/** The programs and the commands of a recipe, in order. */
function recipe(title: string): (Program | Command)[] {
  const [, rest = ''] = readme.split(`\n### ${title}\n`)
  const [text = ''] = rest.split(/^##/m)
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap<Program | Command>(([, language, block = '']) => {
    if (language === 'console') return commands(block)
    const [, name] = block.match(/^\/\/ ([\w-]+\.(?:mjs|mts))\n/) ?? []
    assert.ok(name, `${title}: a block whose first line names no file`)
    return [{ name, text: block }]
  })
}

function commands(block: string): Command[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n')
      return { line: part.slice(0, end), prints: part.slice(end + 1) }
    })
}

function program(name: string): string {
  const found = TITLES.flatMap(recipe).find((part) => 'name' in part && part.name === name) as Program | undefined
  assert.ok(found, `no program ${name}`)
  return found.text
}

/** Node 22.18 and later take types off themselves. */
const takesTypes = 'typescript' in process.features && Boolean(process.features.typescript)

function writeProgram(folder: string, { name, text }: Program): void {
  writeFileSync(join(folder, name), text)
  if (name.endsWith('.mts') && !takesTypes) {
    writeFileSync(join(folder, `${name}.mjs`), transformSync(text, { loader: 'ts', format: 'esm' }).code)
  }
}

function follow(folder: string, title: string): void {
  const parts = recipe(title)
  assert.ok(
    parts.some((part) => 'line' in part),
    `${title}: nothing is run`,
  )
  for (const part of parts) {
    if ('name' in part) {
      writeProgram(folder, part)
      continue
    }
    const line = takesTypes ? part.line : part.line.replace(/^(node [\w-]+\.mts)\b/, '$1.mjs')
    const { status, stdout, stderr } = spawnSync('sh', ['-c', line], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 240_000,
      env: {
        ...process.env,
        NO_COLOR: '1',
        PATH: `${join(folder, 'node_modules/.bin')}${delimiter}${process.env.PATH}`,
      },
    })
    assert.is(stdout, part.prints, `$ ${part.line}\n${stderr}`)
    assert.is(status, 0, `$ ${part.line}\n${stderr}`)
  }
}

test.before((context) => {
  context.folder = installPackage().folder
  const bin = join(context.folder, 'node_modules/.bin')
  if (existsSync(bin)) return
  mkdirSync(bin)
  symlinkSync('../virtio-blk-wasm/build/vblk.js', join(bin, 'vblk'))
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

test('recipes: those that are tested are all there are', () => {
  const [, recipes = ''] = readme.match(/^## Recipes\n([\s\S]*?)^## /m) ?? []
  const titles = [...recipes.matchAll(/^### (.*)$/gm)].map(([, title = '']) => title)
  // The last one is about C: its lines are in assembly/ABI.md and are run by test/foreign/c-host.test.ts.
  assert.equal(titles, [...TITLES, 'Another language'])
})

test('lengths: a VMM in 80 lines, a back end in 20', () => {
  assert.ok(program('embed.mjs').split('\n').length <= EMBED_LINES_MAX)
  const [backend = ''] = program('overlay.mts').match(/^class Overlay[\s\S]*?^}$/m) ?? []
  const lines = backend.split('\n').length
  assert.ok(lines > 5 && lines <= BACKEND_LINES_MAX, `${lines} lines`)
})

for (const title of TITLES) {
  if (title === 'Embed it in a VMM' && !hasKvm()) continue
  test(`${title}: as it stands -> prints what the README shows`, ({ folder }) => {
    follow(folder, title)
  })
}

test('Write a block device: its types -> no error', ({ folder }) => {
  const tsc = resolve('node_modules/typescript/bin/tsc')
  writeFileSync(join(folder, 'typed.mts'), program('overlay.mts'))
  run(
    process.execPath,
    [tsc, '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', 'typed.mts'],
    folder,
  )
})

test.run()
