// Builds the package into build/: the engine (asc), the bundles and their types (esbuild, tsc), the page (esbuild).
// With the argument `test`, the debug engine, the tests and the benches too. Plain JavaScript, because it runs before
// anything is built. Steps whose inputs have not changed are left out, so it is cheap to call always.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const run = promisify(execFile)

/** @param {string} dir @returns {string[]} */
function files(dir) {
  return readdirSync(join(root, dir), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}

/**
 * Runs `make` unless the stamp file says that these inputs were built. @param {string} name @param {string[]} inputs
 */
async function step(name, inputs, make) {
  const hash = createHash('sha256')
  for (const file of [...inputs, 'package-lock.json', 'host/build.mjs']) {
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
  }
  const digest = hash.digest('hex')
  const stamp = join(root, 'build', `.${name}`)
  let built = ''
  try {
    built = readFileSync(stamp, 'utf8')
  } catch {}
  if (built === digest) return
  const start = performance.now()
  process.stderr.write(`build: ${name} ... `)
  rmSync(stamp, { force: true })
  await make()
  writeFileSync(stamp, digest)
  process.stderr.write(`${((performance.now() - start) / 1000).toFixed(1)} s\n`)
}

/** @param {string} script @param {string[]} args */
async function tool(script, ...args) {
  try {
    await run(process.execPath, [join(root, 'node_modules', script), ...args], { cwd: root })
  } catch (error) {
    process.stderr.write(`\n${error.stdout ?? ''}${error.stderr ?? error}\n`)
    throw new Error(`${script} ${args.join(' ')} failed`)
  }
}

/** @param {string[]} targets */
async function engine(targets) {
  await step(`engine-${targets.join('-')}`, [...files('assembly'), 'asconfig.json'], async () => {
    const asc = 'assemblyscript/bin/asc.js'
    await Promise.all(targets.map((target) => tool(asc, '--target', target)))
  })
}

async function bundle(options) {
  const esbuild = await import('esbuild')
  await esbuild.build({
    bundle: true,
    format: 'esm',
    target: 'es2022',
    sourcemap: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    loader: { '.wasm': 'binary' },
    external: [
      'node:*',
      ...builtinModules,
      'virtio-blk-wasm',
      'virtio-blk-wasm/*',
      'koffi',
      'v86',
      'uvu',
      'uvu/*',
      'fast-check',
      '@assemblyscript/loader',
      'esbuild',
      'playwright-core',
    ],
    absWorkingDir: root,
    logLevel: 'warning',
    ...options,
  })
}

async function main() {
  mkdirSync(join(root, 'build'), { recursive: true })
  const host = files('host')
  const golden = files('test/golden').filter((file) => file.endsWith('.trace'))
  const engines = ['engine', 'engine.shared', 'engine.trace', 'engine.trace.shared'].map((name) => `build/${name}.wasm`)
  await engine(['release', 'shared', 'trace', 'trace-shared'])
  await step('bundles', [...host, ...files('assembly'), ...engines], async () => {
    for (const old of ['chunks', 'types']) rmSync(join(root, 'build', old), { recursive: true, force: true })
    await bundle({
      entryPoints: {
        index: 'host/index.ts',
        node: 'host/node.ts',
        conformance: 'host/conformance/index.ts',
        replay: 'host/replay/index.ts',
        vblk: 'host/cli/vblk.ts',
        'disk-thread': 'host/loop/disk-thread.ts',
        'waiter-thread': 'host/loop/waiter.ts',
        'vcpu-thread': 'host/vmm/vcpu-thread.ts',
      },
      outdir: 'build',
      // Browsers too: a wasm file's bytes are decoded without Node's Buffer.
      platform: 'neutral',
    })
    await tool('typescript/bin/tsc', '-p', 'host/tsconfig.json')
  })
  await step('demo', [...host, ...files('assembly'), ...engines, ...golden], async () => {
    rmSync(join(root, 'build/demo'), { recursive: true, force: true })
    await bundle({
      entryPoints: {
        app: 'host/demo/app.tsx',
        style: 'host/demo/style.css',
        'conformance-worker': 'host/demo/conformance/conformance-worker.ts',
        'linux-worker': 'host/demo/linux/linux-worker.ts',
      },
      outdir: 'build/demo',
      // All in one folder: workers are found beside the page.
      chunkNames: '[name]-[hash]',
      platform: 'browser',
      minify: true,
      jsx: 'automatic',
      jsxImportSource: 'preact',
    })
    for (const name of ['index.html', 'icon.svg']) cpSync(join(root, 'host/demo', name), join(root, 'build/demo', name))
    mkdirSync(join(root, 'build/demo/golden'))
    for (const file of golden) cpSync(join(root, file), join(root, 'build/demo/golden', basename(file)))
    const names = golden.map((file) => basename(file, '.trace'))
    writeFileSync(join(root, 'build/demo/golden/index.json'), JSON.stringify(names))
  })
  if (process.argv[2] !== 'test') return
  await engine(['debug'])
  await step('tests', [...files('test'), ...host, ...files('assembly'), ...engines], async () => {
    rmSync(join(root, 'build/test'), { recursive: true, force: true })
    const entryPoints = files('test').filter((file) =>
      /(\.(test|module)\.ts|bench\/\w+\.ts|golden\/make\.ts)$/.test(file),
    )
    await bundle({ entryPoints, outdir: 'build/test', outbase: 'test', platform: 'node' })
  })
}

try {
  await main()
} catch (error) {
  process.stderr.write(`build: ${error.message}\n`)
  process.exitCode = 1
}
