// The engine as it is shipped: two modules that bring no memory, no state and no code of others, and can be made
// again from the source, byte by byte. Expected exports and signatures are typed in by hand; assembly/index.ts says
// what they do. The binaries are parsed here (support/wasm-binary.ts), not asked for by the JavaScript API.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { instantiateSync } from '@assemblyscript/loader'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ABI_VERSION } from '../../assembly/abi.ts'
import { WasmBinary } from '../support/wasm-binary.ts'
import { within } from '../support/within.ts'

const test = suite('engine artifact')

const SIZE_MAX = 12 << 10
/** The one custom section: 39 bytes that name the source map beside the file. A name section is debug's. */
const SOURCE_MAP = 'sourceMappingURL'

const EXPORTS = {
  abiVersion: ' -> i32',
  stateBytes: 'i32,i32,i32,i32 -> i32',
  init: 'i32 -> i32',
  mmioRead: 'i32,i32,i32 -> i32',
  mmioWrite: 'i32,i32,i32,i32 -> i32',
  plan: 'i32,i32,f64,i32 -> i32',
  complete: 'i32,i32,f64 -> i32',
  publish: 'i32,i32 -> i32',
  setCapacity: 'i32,i32,i32 -> i32',
  setThrottle: 'i32,f64 -> ',
  fail: 'i32,i32 -> i32',
  kicked: 'i32,i32,i32 -> i32',
  thaw: 'i32,f64 -> i32',
}

const load = (name: string): Uint8Array => new Uint8Array(readFileSync(`build/${name}.wasm`))
const release = new WasmBinary(load('engine'))
const shared = new WasmBinary(load('engine.shared'))
const debug = new WasmBinary(load('engine.debug'))
const traces = [new WasmBinary(load('engine.trace')), new WasmBinary(load('engine.trace.shared'))]

for (const [name, binary] of [
  ['release', release],
  ['shared', shared],
] as const) {
  test(`${name}: sections -> types, one import, functions, exports and code, in this order`, () => {
    const custom = binary.sections.filter((section) => section.name === 'custom')
    assert.equal(
      custom.map(({ title }) => title),
      [SOURCE_MAP],
    )
    assert.equal(
      binary.sections.filter((section) => section.name !== 'custom').map((section) => section.name),
      ['type', 'import', 'function', 'export', 'code'],
    )
  })

  test(`${name}: exports -> exactly these, with these signatures`, () => {
    assert.equal(binary.exports(), EXPORTS)
  })
}

test('release: size -> within the budget', () => {
  assert.ok(load('engine').length <= SIZE_MAX, `${load('engine').length} bytes`)
})

test('release: import -> a memory without a maximum, so that it links to any unshared one', () => {
  assert.equal(release.imports(), ['env.memory: memory 0'])
})

test('shared: import -> a shared memory of at most 4 GiB', () => {
  assert.equal(shared.imports(), ['env.memory: memory 0 65536 shared'])
})

test('trace: imports -> those of release and shared, and one function; exports -> the same', () => {
  const [unshared, sharing] = traces.map((binary) => [...binary.imports()].sort())
  assert.equal(unshared, ['env.memory: memory 0', 'trace.trace: function i32,i32,i32,i32 -> '])
  assert.equal(sharing, ['env.memory: memory 0 65536 shared', 'trace.trace: function i32,i32,i32,i32 -> '])
  for (const binary of traces) assert.equal(binary.exports(), EXPORTS)
})

test('release and shared: outside the import section and the name of the source map -> equal', () => {
  const rest = (binary: WasmBinary): string[] =>
    binary.sections
      .filter(({ name, title }) => name !== 'import' && title !== SOURCE_MAP)
      .map(({ name, whole }) => `${name} ${createHash('sha256').update(whole).digest('hex')}`)
  assert.equal(rest(shared), rest(release))
})

test('release: links to a memory with and without a maximum, not to a shared one', () => {
  const module = new WebAssembly.Module(readFileSync('build/engine.wasm'))
  for (const descriptor of [{ initial: 0 }, { initial: 1, maximum: 7 }]) {
    const memory = new WebAssembly.Memory(descriptor)
    const { exports } = new WebAssembly.Instance(module, { env: { memory } })
    assert.is((exports.abiVersion as () => number)(), ABI_VERSION)
    assert.ok(new Uint8Array(memory.buffer).every((byte) => byte === 0))
  }
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  assert.throws(() => new WebAssembly.Instance(module, { env: { memory } }), /shared/)
})

test('debug: the loader of AssemblyScript -> instantiates it, with the same exports', () => {
  const memory = new WebAssembly.Memory({ initial: 64 })
  const { exports } = instantiateSync(readFileSync('build/engine.debug.wasm'), { env: { memory } })
  assert.is((exports as unknown as { abiVersion(): number }).abiVersion(), ABI_VERSION)
  const functions = Object.fromEntries(
    Object.entries(debug.exports()).filter(([name, signature]) => name in EXPORTS || signature !== 'global'),
  )
  assert.equal(functions, EXPORTS)
  // Its messages, if it has any, lie in the pages that belong to nobody, below guest RAM.
  const data = debug.data().flat()
  assert.ok(
    data.every((at) => at >= 1 << 20 && at <= 2 << 20),
    `data at ${data}`,
  )
})

test('release: built again from the source -> the same bytes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-artifact-'))
  try {
    const [outFile, textFile] = [join(folder, 'engine.wasm'), join(folder, 'engine.wat')]
    const asc = ['node_modules/assemblyscript/bin/asc.js', '--target', 'release']
    const run = promisify(execFile)(process.execPath, [...asc, '--outFile', outFile, '--textFile', textFile])
    await within(120_000, run, 'the AssemblyScript compiler')
    assert.ok(Buffer.compare(readFileSync(outFile), readFileSync('build/engine.wasm')) === 0, 'run npm run build first')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test.run()
