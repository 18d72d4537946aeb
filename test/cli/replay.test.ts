// `vblk replay` as a user meets it: a trace that replays, an engine that is wrong by one byte, an engine that is none,
// and files that are no traces.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { assertBadFilesRefused, assertRefused, traceFolder, vblk } from '../support/vblk-command.ts'

const test = suite('vblk replay')
const { folder, file, bytes, steps } = await traceFolder()

test.after(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('help: every option, status 0', () => {
  const { status, stdout } = vblk('replay', '--help')
  assert.is(status, 0)
  for (const word of ['--until', '--engine', '--json', 'digest']) assert.match(stdout, word)
})

test('a trace -> steps and digest, status 0', () => {
  const { status, stdout, stderr } = vblk('replay', file)
  assert.is(status, 0, stderr)
  assert.match(stdout, new RegExp(`^${steps} of ${steps} steps went as recorded, digest [0-9a-f]{16}\n$`))
})

test('until: stops before that step', () => {
  const { status, stdout } = vblk('replay', file, '--until', '7')
  assert.is(status, 0)
  assert.match(stdout, `7 of ${steps} steps went as recorded`)
})

for (const flavour of ['engine', 'engine.shared', 'engine.trace', 'engine.trace.shared', 'engine.debug']) {
  test(`engine: build/${flavour}.wasm -> the same digest`, () => {
    const own = vblk('replay', file)
    const other = vblk('replay', file, '--engine', `build/${flavour}.wasm`)
    assert.is(other.status, 0, other.stderr + other.stdout)
    assert.is(other.stdout, own.stdout)
  })
}

/** A copy of the release engine in which one byte sequence, that occurs once at least, is another. */
function patched(name: string, from: readonly number[], to: readonly number[]): string {
  const wasm = readFileSync('build/engine.wasm')
  const at = wasm.indexOf(Uint8Array.from(from))
  assert.ok(at >= 0, 'the engine has these bytes')
  wasm.set(to, at)
  const path = join(folder, name)
  writeFileSync(path, wasm)
  return path
}

// i32.const 0x74726976, the magic of virtio-mmio: the last byte of its LEB128 is the highest.
const MAGIC = [0x41, 0xf6, 0xd2, 0xc9, 0xa3, 0x07]

test('engine: another constant in it -> the step, the field, expected and seen, status 1', () => {
  const engine = patched('wrong.wasm', MAGIC, [0x41, 0xf7, 0xd2, 0xc9, 0xa3, 0x07])
  const { status, stdout } = vblk('replay', file, '--engine', engine)
  assert.is(status, 1)
  assert.match(stdout, /^step 2, mmioRead\(0, 4\): result: expected 0x74726976, seen 0x74726977\n2 of /)
  const outcome = vblk('replay', file, '--engine', engine, '--json')
  assert.is(outcome.status, 1)
  const { divergence, ...rest } = JSON.parse(outcome.stdout)
  assert.is(rest.steps, 2)
  assert.is(rest.of, steps)
  assert.is(divergence.field, 'result')
  assert.is(divergence.expected, '0x74726976')
  assert.is(vblk('replay', file, '--engine', engine, '--until', '2').status, 0)
})

test('engine: no file, no module, no engine -> refused', () => {
  assertRefused(vblk('replay', file, '--engine', join(folder, 'none')), '--engine', 'no such file')
  assertRefused(vblk('replay', file, '--engine', file), '--engine', 'no WebAssembly module')
  const empty = join(folder, 'empty.wasm')
  writeFileSync(empty, Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))
  assertRefused(vblk('replay', file, '--engine', empty), 'no engine', 'abiVersion')
})

/** A module that imports env.memory, or what is given instead, and whose abiVersion() is 7. */
function tiny(imported = 'memory'): number[] {
  const ascii = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)]
  const section = (id: number, content: number[]): number[] => [id, content.length, ...content]
  return [
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 0, 1, 0x7f]),
    ...section(2, [1, ...ascii('env'), ...ascii(imported), 2, 0, 0]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...ascii('abiVersion'), 0, 0]),
    ...section(10, [1, 4, 0, 0x41, 7, 0x0b]),
  ]
}

test('engine: another ABI, other imports -> refused', () => {
  const other = join(folder, 'other.wasm')
  writeFileSync(other, Uint8Array.from(tiny()))
  assertRefused(vblk('replay', file, '--engine', other), '--engine', /ABI version 7, this program speaks \d+/)
  writeFileSync(other, Uint8Array.from(tiny('table')))
  assertRefused(vblk('replay', file, '--engine', other), 'no engine of virtio-blk-wasm: it imports env.table')
})

test('json: steps, digest, no divergence', () => {
  const result = JSON.parse(vblk('replay', file, '--json').stdout)
  assert.equal(Object.keys(result).sort(), ['digest', 'of', 'steps'])
})

test('file: none, two, not a trace, cut off, damaged -> refused', () => {
  assertRefused(vblk('replay'), 'FILE is missing', 'vblk replay FILE')
  assertRefused(vblk('replay', file, file), 'one FILE')
  assertBadFilesRefused(folder, bytes, (bad) => vblk('replay', bad))
})

test('option: unknown, until that is no number -> named', () => {
  assertRefused(vblk('replay', file, '--fast'), '--fast')
  for (const bad of ['x', '-1', '1.5']) assertRefused(vblk('replay', file, `--until=${bad}`), '--until', `'${bad}'`)
})

test.run()
