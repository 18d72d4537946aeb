// The portable entries, bundled for browsers by esbuild and by Vite from the package as it is installed, without a
// warning and without a Node module; and the bundles run in a context that has what browsers have and nothing of Node.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Installed, installPackage, runScript } from './support/installed.ts'
import { within } from './support/within.ts'

const test = suite<Installed>('package, bundled')

/** Leaves what it has to say in the global `answer`. */
const PROGRAM = `
import { GuestMemory, MemoryBackend, VirtioBlk, VirtioBlkDriver } from 'virtio-blk-wasm'
import { runConformance, totals } from 'virtio-blk-wasm/conformance'
import { list, Recorder, replay, Trace } from 'virtio-blk-wasm/replay'

async function main() {
  const recorder = new Recorder()
  const memory = GuestMemory.create({ ramBytes: 4 << 20 })
  const disk = await VirtioBlk.create({ memory, backend: new MemoryBackend(1 << 20), engine: recorder.engine })
  const driver = await VirtioBlkDriver.probe({ mmio: disk, memory })
  await driver.write(1, new Uint8Array(1024).fill(7))
  const data = await driver.read(0, 1024)
  await disk.close()
  const trace = await Trace.parse(await recorder.trace().bytes())
  const { divergence, steps } = replay(trace)
  const results = await runConformance(
    async () => {
      const ram = GuestMemory.create({ ramBytes: 4 << 20 })
      return { mmio: await VirtioBlk.create({ memory: ram, backend: new MemoryBackend(1 << 20) }), memory: ram }
    },
    { section: '4.2.2.1' },
  )
  const { passed, failed } = totals(results)
  const requests = list(trace).filter((one) => one.kind === 'request').length
  return [data[511], data[512], requests, steps > 20, divergence === undefined, passed > 5, failed].join(' ')
}
globalThis.answer = main()
`

/** What the program may use: every browser has it. JavaScript itself, WebAssembly included, is there anyway. */
const OF_BROWSERS = [
  'AbortController',
  'CompressionStream',
  'DecompressionStream',
  'ReadableStream',
  'Response',
  'TextDecoder',
  'TextEncoder',
  'atob',
  'clearTimeout',
  'crypto',
  'performance',
  'queueMicrotask',
  'setTimeout',
] as const

async function answerOf(script: string): Promise<unknown> {
  const globals = Object.fromEntries(OF_BROWSERS.map((name) => [name, globalThis[name]]))
  const context = createContext({ ...globals })
  assert.is(runInContext('typeof Buffer + typeof process + typeof require', context), 'undefined'.repeat(3))
  runInContext(script, context)
  return await within(60_000, runInContext('answer', context) as Promise<unknown>, 'the bundle')
}

async function assertWorks(path: string): Promise<void> {
  const script = readFileSync(path, 'utf8')
  assert.not.match(script, /["'`]node:|\brequire\(|__vite-browser-external|koffi/)
  assert.is(await answerOf(script), '0 7 2 true true true 0')
}

test.before((context) => {
  Object.assign(context, installPackage())
  writeFileSync(join(context.folder, 'program.js'), PROGRAM)
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

test('esbuild: for browsers -> no warning, nothing of Node, and it works', async ({ folder }) => {
  const outfile = join(folder, 'esbuild.js')
  const { warnings, metafile } = await build({
    absWorkingDir: folder,
    entryPoints: ['program.js'],
    bundle: true,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    metafile: true,
    logLevel: 'silent',
    outfile,
  })
  assert.equal(warnings, [])
  assert.equal(
    Object.keys(metafile.inputs).filter((path) => !/^(program\.js$|node_modules\/virtio-blk-wasm\/build\/)/.test(path)),
    [],
  )
  await assertWorks(outfile)
})

test('esbuild: /node for browsers -> refused, so that the test above means something', async ({ folder }) => {
  const stdin = { contents: "import 'virtio-blk-wasm/node'", resolveDir: folder }
  const options = { stdin, bundle: true, write: false, platform: 'browser', logLevel: 'silent' } as const
  const errors = await build(options).then(
    () => [],
    (error: { errors: { text: string }[] }) => error.errors.map(({ text }) => text),
  )
  assert.ok(errors.some((text) => /Could not resolve "node:/.test(text)))
})

test('Vite: for browsers -> no warning, nothing of Node, and it works', async ({ folder }) => {
  const lib = { entry: 'program.js', formats: ['iife'], name: 'program', fileName: 'program' }
  const config = { configFile: false, root: folder, logLevel: 'warn', build: { outDir: 'vite', minify: true, lib } }
  // In a process of its own: the bundler has native threads, which would keep this one.
  const vite = resolve('node_modules/vite/dist/node/index.js')
  const said = runScript(`(await import(${JSON.stringify(vite)})).build(${JSON.stringify(config)})`, folder)
  assert.is(said.trim(), '')
  await assertWorks(join(folder, 'vite', 'program.iife.js'))
})

test.run()
