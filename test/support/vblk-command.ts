// The command on a trace, as a user runs it: the built program in a process of its own, in a folder of the test's.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { recordScript } from './record.ts'

export interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export function vblk(...args: string[]): Outcome {
  return spawnSync(process.execPath, ['build/vblk.js', ...args], { encoding: 'utf8', timeout: 120_000 })
}

/** One line, status 2, no trace of the stack. */
export function assertRefused(outcome: Outcome, ...parts: (string | RegExp)[]): void {
  assert.is(outcome.status, 2, outcome.stderr)
  assert.is(outcome.stderr.trim().split('\n').length, 1, outcome.stderr)
  assert.not.match(outcome.stderr, /\bat .*:\d+:\d+/)
  for (const part of parts) assert.match(outcome.stderr, part)
}

/** A new folder with the trace of recordScript() in it. The folder is the caller's to remove. */
export async function traceFolder(): Promise<{ folder: string; file: string; bytes: Uint8Array; steps: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-trace-'))
  const file = join(folder, 'device.trace')
  const trace = await recordScript()
  const bytes = await trace.bytes()
  writeFileSync(file, bytes)
  return { folder, file, bytes, steps: trace.steps.length }
}

/** What every command that takes a trace says about files that are none. */
export function assertBadFilesRefused(folder: string, bytes: Uint8Array, run: (file: string) => Outcome): void {
  const bad = join(folder, 'bad')
  assertRefused(run(bad), 'bad: there is no such file')
  assertRefused(run(folder), 'cannot be read (EISDIR)')
  writeFileSync(bad, '')
  assertRefused(run(bad), 'bad: this is no trace')
  writeFileSync(bad, 'a text of somebody, long enough to have a header')
  assertRefused(run(bad), 'bad: this is no trace: it does not begin with VBLKTRC')
  writeFileSync(bad, bytes.subarray(0, bytes.length - 1))
  assertRefused(run(bad), `bad: the trace is cut off: ${bytes.length - 1} bytes`)
  writeFileSync(
    bad,
    bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte)),
  )
  assertRefused(run(bad), 'bad: the trace is damaged')
}
