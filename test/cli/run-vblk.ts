// Runs build/vblk.js in a process of its own, as a user does, and says what a refusal looks like: one line that names
// the cause and the remedy, exit status 2, no stack trace.

import { spawnSync } from 'node:child_process'
import * as assert from 'uvu/assert'

export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

export function vblk(args: string[], env: NodeJS.ProcessEnv = {}, node: string[] = [], input = ''): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...node, 'build/vblk.js', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    input,
    timeout: 300_000,
  })
  return { status, stdout, stderr }
}

/** One line, status 2, no trace. */
export function assertRefused(outcome: Outcome, ...parts: (string | RegExp)[]): void {
  assert.is(outcome.status, 2, outcome.stderr)
  assert.is(outcome.stderr.trim().split('\n').length, 1, outcome.stderr)
  assert.not.match(outcome.stderr, /^ +at .*:\d+:\d+/m)
  for (const part of parts) assert.match(outcome.stderr, part)
}
