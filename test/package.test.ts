// The package as npm makes it, installed into an empty project: what is in it, that its entries load, run and have
// types, that the command runs and what publint and are-the-types-wrong say of it. npm
// installs it, and koffi with it, where the registry can be reached; else koffi is linked from this checkout, and that
// is said. package-bundle.test.ts does the bundlers.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { transformSync } from 'esbuild'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Installed, installPackage, run } from './support/installed.ts'

const test = suite<Installed>('package')

const PROGRAM = `
import { GuestMemory, MemoryBackend, VirtioBlk, VirtioBlkDriver } from 'virtio-blk-wasm'
import { type Result, runConformance } from 'virtio-blk-wasm/conformance'
import { createImage, FileBackend } from 'virtio-blk-wasm/node'
import { Recorder, type Replayed, replay, Trace } from 'virtio-blk-wasm/replay'

const memory = GuestMemory.create({ ramBytes: 4 << 20 })
let recorder = new Recorder()
createImage('disk.img', 1 << 20)
for (const backend of [new MemoryBackend(1 << 20), FileBackend.open('disk.img')]) {
  recorder = new Recorder()
  const disk = await VirtioBlk.create({ memory, backend, engine: recorder.engine })
  const driver = await VirtioBlkDriver.probe({ mmio: disk, memory })
  await driver.write(1, new Uint8Array(1024).fill(7))
  await driver.flush()
  const data: Uint8Array = await driver.read(0, 1024)
  const writes: number = disk.counters.writesCompleted
  console.log(data[511], data[512], writes)
  await disk.close()
}
const results: Result[] = await runConformance(
  async () => {
    const ram = GuestMemory.create({ ramBytes: 4 << 20 })
    return { mmio: await VirtioBlk.create({ memory: ram, backend: new MemoryBackend(1 << 20) }), memory: ram }
  },
  { section: '4.2.2.1' },
)
console.log(results.filter(({ outcome }) => outcome === 'passed').length > 5)
const trace = await Trace.parse(await recorder.trace().bytes())
const replayed: Replayed = replay(trace)
console.log(replayed.steps === trace.steps.length && replayed.steps > 20, replayed.divergence)
`

/** Without what is of Node, types included. */
const PORTABLE_PROGRAM = `
import { GuestMemory, type VirtioBlkOptions } from 'virtio-blk-wasm'
import { ROWS_TOTAL } from './rows.js'
import { runConformance, totals } from 'virtio-blk-wasm/conformance'
import { type Listed, list, type Trace } from 'virtio-blk-wasm/replay'

export const memory: VirtioBlkOptions['memory'] = GuestMemory.create({ ramBytes: 4096 })
export const listed = (trace: Trace): readonly Listed[] => list(trace)
export const wanted = ROWS_TOTAL
export { runConformance, totals }
`

/** Entries that are no modules to import: threads, which are started by URL, and files of bytes. */
const NOT_IMPORTED = Object.keys(
  (JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, unknown> }).exports,
).filter((entry) => /-thread$|\.wasm$|\.json$/.test(entry))

/** What the README sends its readers to, but for what is about the tests. */
function linkedDocuments(): string[] {
  const links = [...readFileSync('README.md', 'utf8').matchAll(/\]\(([\w/.-]+\.md)\)/g)].map(([, path = '']) => path)
  return [...new Set([...links, 'host/replay/FORMAT.md'])].filter((path) => !path.startsWith('test/'))
}

test.before((context) => {
  Object.assign(context, installPackage())
  writeFileSync(join(context.folder, 'program.ts'), PROGRAM)
  writeFileSync(join(context.folder, 'portable.ts'), PORTABLE_PROGRAM)
  writeFileSync(join(context.folder, 'rows.ts'), 'export const ROWS_TOTAL = 363\n')
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

test('install: what comes with it -> koffi, and nothing else', ({ folder, byNpm }) => {
  const found = readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))
  assert.equal(byNpm ? found : found.filter((name) => name !== '@types'), ['@koromix', 'koffi', 'virtio-blk-wasm'])
})

test('contents: all that package.json names is there, and no tests, stamps, debug builds or sources', ({
  files,
  place,
}) => {
  const { exports, bin, main } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'))
  assert.is(main, undefined)
  const named = [...Object.values(exports), ...Object.values(bin)].flatMap((entry) =>
    typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, string>),
  )
  assert.equal(
    named
      .map((path) => path.replace(/^\.\//, ''))
      .filter(
        (path) => !files.some((file) => file === path || (path.endsWith('*') && file.startsWith(path.slice(0, -1)))),
      ),
    [],
  )
  const top = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json', ...linkedDocuments()]
  const ours = /^build\/([\w-]+\.js(\.map)?|chunks\/[\w.-]+\.js(\.map)?|engine(\.trace)?(\.shared)?\.wasm(\.map)?)$/
  assert.equal(
    top.filter((path) => !files.includes(path)),
    [],
  )
  assert.equal(
    files.filter((path) => !top.includes(path) && !ours.test(path) && !/^build\/(types|demo)\//.test(path)),
    [],
  )
  assert.equal(
    files.filter((path) => /\.wat$|debug|(^|\/)test\/|\.test\.|(^|\/)\./.test(path)),
    [],
  )
  assert.equal(
    files.filter((path) => path.startsWith('build/types/') && !path.endsWith('.d.ts')),
    [],
  )
})

test('source maps: every program and every engine -> names its map, which holds the sources', ({ files, place }) => {
  const programs = files.filter((path) => /^build\/(chunks\/)?[\w.-]+\.js$/.test(path))
  const engines = files.filter((path) => path.endsWith('.wasm'))
  assert.ok(programs.length > 8)
  assert.is(engines.length, 4)
  for (const path of [...programs, ...engines]) {
    const text = readFileSync(join(place, path), 'latin1')
    const url = /sourceMappingURL\W?((?:\.\/)?[\w.-]+\.map)\s*$/.exec(text)?.[1]
    assert.ok(url, `${path} names no source map`)
    const map = JSON.parse(readFileSync(join(place, dirname(path), url), 'utf8'))
    assert.is(map.sources.length, map.sourcesContent.length, path)
    assert.ok(
      map.sourcesContent.every((source: unknown) => typeof source === 'string'),
      path,
    )
  }
  const [engine] = engines
  const { sources } = JSON.parse(readFileSync(join(place, `${engine}.map`), 'utf8'))
  assert.ok(sources.includes('assembly/virtqueue.ts'))
})

test('entries: a program over all of them -> it runs', ({ folder }) => {
  writeFileSync(join(folder, 'program.js'), transformSync(PROGRAM, { loader: 'ts', format: 'esm' }).code)
  assert.is(run(process.execPath, ['program.js'], folder), '0 7 1\n0 7 1\ntrue\ntrue undefined\n')
})

test('types: the same program, all libraries checked, as Node and as bundlers resolve -> no error', ({ folder }) => {
  // An empty project has no @types/node of its own; a program for Node has.
  const types = ['--typeRoots', resolve('node_modules/@types'), '--types', 'node']
  const common = ['--noEmit', '--strict', '--target', 'es2022', 'program.ts']
  const tsc = resolve('node_modules/typescript/bin/tsc')
  run(process.execPath, [tsc, '--module', 'nodenext', ...types, ...common], folder)
  run(process.execPath, [tsc, '--module', 'esnext', '--moduleResolution', 'bundler', ...types, ...common], folder)
})

test('types: the portable entries, in a project without those of Node -> no error', ({ folder }) => {
  const tsc = resolve('node_modules/typescript/bin/tsc')
  const lib = ['--lib', 'es2022,dom', '--types', '']
  const common = ['--noEmit', '--strict', '--target', 'es2022', ...lib, 'portable.ts']
  run(process.execPath, [tsc, '--module', 'esnext', '--moduleResolution', 'bundler', ...common], folder)
})

test('types: wrong use -> an error, so types are found at all', ({ folder }) => {
  writeFileSync(join(folder, 'wrong.ts'), "import { GuestMemory } from 'virtio-blk-wasm'\nGuestMemory.create(7)\n")
  const tsc = resolve('node_modules/typescript/bin/tsc')
  const args = [tsc, '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', 'wrong.ts']
  assert.match(run(process.execPath, args, folder, 'fails'), /^wrong\.ts\(2,20\): error TS2/)
})

test('command: npx vblk -> the one in node_modules/.bin', ({ folder, byNpm }) => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const vblk = byNpm
    ? (args: string[]) => run('npx', ['--no', '--', 'vblk', ...args], folder)
    : (args: string[]) => run(process.execPath, [join('node_modules/virtio-blk-wasm/build/vblk.js'), ...args], folder)
  assert.is(vblk(['--version']), `${version}\n`)
  assert.match(vblk(['--help']), /Usage: vblk COMMAND/)
  assert.match(vblk(['conformance', '--section', '4.2.2.1']), 'No check failed.')
})

test('publint --strict: no error, no warning, no suggestion', ({ tarball, folder }) => {
  const publint = resolve('node_modules/publint/src/cli.js')
  const said = run(process.execPath, [publint, '--strict', tarball], folder)
  assert.match(said, 'All good!')
})

test('are-the-types-wrong: ES modules only, no rule ignored -> no problem', ({ tarball, folder }) => {
  const attw = resolve('node_modules/@arethetypeswrong/cli/dist/index.js')
  const args = [attw, tarball, '--profile', 'esm-only', '--no-emoji', '--exclude-entrypoints', ...NOT_IMPORTED]
  const said = run(process.execPath, args, folder)
  assert.match(said, 'virtio-blk-wasm/replay')
  assert.not.match(said, 'virtio-blk-wasm/engine.wasm')
})

test.run()
