// `vblk conformance` as a user meets it: the table, one rule, JSON, and what is said about a name that does not exist.

import { spawnSync } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const test = suite('vblk conformance')

interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

function conformance(...args: string[]): Outcome {
  return spawnSync(process.execPath, ['build/vblk.js', 'conformance', ...args], { encoding: 'utf8', timeout: 120_000 })
}

function assertRefused(outcome: Outcome, ...parts: (string | RegExp)[]): void {
  assert.is(outcome.status, 2, outcome.stderr)
  assert.is(outcome.stderr.trim().split('\n').length, 1, outcome.stderr)
  for (const part of parts) assert.match(outcome.stderr, part)
}

test('help: every option and outcome, status 0', () => {
  const { status, stdout } = conformance('--help')
  assert.is(status, 0)
  for (const word of ['--section', '--id', '--json', 'not offered', 'not checkable']) assert.match(stdout, word)
})

test('section: its rows and those below, with totals, status 0', () => {
  const { status, stdout, stderr } = conformance('--section', '2.7.7')
  assert.is(status, 0, stderr)
  assert.match(stdout, /^section +passed +failed +not offered +not checkable +skipped +not yet$/m)
  assert.match(stdout, /^2\.7\.7\.2 +6 +\. +/m)
  assert.match(stdout, /^all +\d+ +\. +/m)
  assert.match(stdout, 'No check failed.')
  assert.not.match(stdout, /^4\./m)
})

test('id: what was tried and seen', () => {
  const { status, stdout } = conformance('--id', 'mmio.magic.1')
  assert.is(status, 0)
  assert.match(stdout, /passed: mmio\.magic\.1 \(4\.2\.2\.1, device, MUST\)/)
  assert.match(stdout, /tried: .*\n {2}seen: .*0x74726976/)
})

test('json: one result per row, with its fields', () => {
  const results = JSON.parse(conformance('--section', '4.2.2.1', '--json').stdout) as Record<string, string>[]
  assert.ok(results.length >= 8)
  for (const result of results) {
    for (const field of ['id', 'section', 'level', 'side', 'outcome', 'tried', 'seen']) assert.type(result[field], 'string')
  }
})

test('id: unknown -> named, with near ones', () => {
  assertRefused(conformance('--id', 'mmio.magc.1'), "'mmio.magc.1'", 'mmio.magic.1')
})

test('section: unknown -> named, with near ones', () => {
  assertRefused(conformance('--section', '2.77'), "'2.77'", '2.7')
})

test('id and section that do not meet -> both named', () => {
  assertRefused(conformance('--section', '2.7', '--id', 'mmio.magic.1'), 'mmio.magic.1', '4.2.2.1')
})

test('option: unknown -> named', () => {
  assertRefused(conformance('--sections', '2.7'), '--sections')
})

test.run()
