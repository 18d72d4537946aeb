// `vblk shrink` as a user meets it: a trace shortened for a wrong engine, commands that do not fail, that are not there
// or do not end, and files that are no traces.

import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { assertBadFilesRefused, assertRefused, traceFolder, vblk } from '../support/vblk-command.ts'
import { sleep, within } from '../support/within.ts'

const test = suite('vblk shrink')
const { folder, file, bytes, steps } = await traceFolder()

/** The release engine with another magic number. */
const engine = join(folder, 'wrong.wasm')
const wasm = readFileSync('build/engine.wasm')
wasm[wasm.indexOf(Uint8Array.of(0x41, 0xf6, 0xd2, 0xc9, 0xa3, 0x07)) + 1] = 0xf7
writeFileSync(engine, wasm)
const CHECK = `${process.execPath} build/vblk.js replay {} --engine ${engine}`

test.after(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('help: every option, status 0', () => {
  const { status, stdout } = vblk('shrink', '--help')
  assert.is(status, 0)
  for (const word of ['--check', '--out', '--timeout', '{}', 'min.trace']) assert.match(stdout, word)
})

test('a trace for which a wrong engine differs -> init and the one read, in FILE.min.trace; FILE as it was', () => {
  const { status, stdout, stderr } = vblk('shrink', file, '--check', CHECK)
  assert.is(status, 0, stderr)
  assert.is(stdout.split(' steps')[0], `${file}.min.trace: 2`)
  assert.match(stderr, /2 steps left, \d+ runs/)
  assert.match(stderr, `${steps} steps shrunk to 2`)
  assert.equal(new Uint8Array(readFileSync(file)), bytes)
  assert.is(vblk('replay', `${file}.min.trace`).status, 0)
  const { stdout: seen } = vblk('replay', `${file}.min.trace`, '--engine', engine)
  assert.match(seen, 'step 1, mmioRead(0, 4): result: expected 0x74726976, seen 0x74726977')
})

test('check without {}: the path is appended; out: goes there, even if there is a file, and quoting holds', () => {
  const sub = join(folder, "it's a $folder")
  mkdirSync(sub)
  const mine = join(sub, 'my trace')
  writeFileSync(mine, bytes)
  const out = join(sub, 'out')
  writeFileSync(out, 'old')
  const { status, stderr } = vblk('shrink', mine, '--check', '! test -s', '--out', out)
  assert.is(status, 0, stderr)
  assert.is(vblk('replay', out).stdout.split(' steps')[0], '1 of 1')
  assert.equal(readdirSync(sub).sort(), ['my trace', 'out'])
})

test('check: exits with 0 -> nothing to shrink', () => {
  assertRefused(vblk('shrink', file, '--check', 'true'), "'true' exits with 0", 'nothing to shrink')
})

test('check: not there, not executable, too long -> said', () => {
  assertRefused(vblk('shrink', file, '--check', 'no-such-program'), "'no-such-program' is not found", '127')
  const program = join(folder, 'program')
  writeFileSync(program, '#!/bin/sh\n')
  chmodSync(program, 0o644)
  assertRefused(vblk('shrink', file, '--check', program), 'cannot be executed', '126')
  assertRefused(vblk('shrink', file, '--check', 'sleep 60; :', '--timeout', '1'), 'longer than 1 s', '--timeout')
})

test('check: fails for this very file only -> said, status 1, nothing is written', () => {
  const out = join(folder, 'nothing')
  const { status, stderr } = vblk('shrink', file, '--check', `! test {} -ef '${file}'`, '--out', out)
  assert.is(status, 1)
  assert.match(stderr, 'not once it is recorded anew')
  assert.not(existsSync(out))
})

/** The process has ended; whether somebody has asked for its status is not our concern. */
async function gone(pid: string): Promise<void> {
  const isThere = (): boolean => {
    try {
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  while (isThere()) await sleep(20)
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} -> the command is ended with us, nothing is written, status ${status}`, () =>
    interrupt(signal, status))
}

async function interrupt(signal: NodeJS.Signals, expected: number): Promise<void> {
  rmSync(join(folder, 'pid'), { force: true })
  const out = join(folder, 'interrupted')
  const pidFile = join(folder, 'pid')
  const check = `echo $$ > '${pidFile}.part'; mv '${pidFile}.part' '${pidFile}'; exec sleep 60; :`
  const child = spawn(process.execPath, ['build/vblk.js', 'shrink', file, '--check', check, '--out', out])
  const status = new Promise((resolve) => child.once('exit', resolve))
  while (!existsSync(pidFile)) await sleep(20)
  child.kill(signal)
  assert.is(await within(20_000, status, 'the command'), expected)
  await within(20_000, gone(readFileSync(pidFile, 'utf8').trim()), 'the check')
  assert.not(existsSync(out))
}

test('out: the trace itself, a folder that is not there -> refused before anything runs', () => {
  assertRefused(vblk('shrink', file, '--check', 'false', '--out', file), 'that is the trace to be shrunk')
  assertRefused(vblk('shrink', file, '--check', 'false', '--out', join(folder, 'none', 'out')), '--out', 'ENOENT')
  assert.equal(new Uint8Array(readFileSync(file)), bytes)
})

test('options: check missing, timeout that is none -> named', () => {
  assertRefused(vblk('shrink', file), '--check CMD is missing')
  for (const bad of ['0', 'x', '1.5']) {
    assertRefused(vblk('shrink', file, '--check', 'false', '--timeout', bad), '--timeout', `'${bad}'`)
  }
})

test('file: none, two, not a trace, cut off, damaged -> refused', () => {
  assertRefused(vblk('shrink', '--check', 'false'), 'FILE is missing', 'vblk shrink FILE')
  assertRefused(vblk('shrink', file, file, '--check', 'false'), 'one FILE')
  assertBadFilesRefused(folder, bytes, (bad) => vblk('shrink', bad, '--check', 'false'))
})

test.run()
