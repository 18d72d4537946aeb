// `vblk start` when it is told to stop: it leaves no image behind and says by its status what ended it. The tour itself
// is in vblk.test.ts.

import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const test = suite('vblk start')

for (const [signal, status] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} in the middle -> its files are gone, status ${status}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vblk-start-test-'))
    try {
      const child = spawn(process.execPath, ['build/vblk.js', 'start'], { env: { ...process.env, TMPDIR: folder } })
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
      // The first line says where the image is.
      await new Promise((resolve) => child.stderr.once('data', resolve))
      assert.is(readdirSync(folder).length, 1)
      child.kill(signal)
      assert.is(await ended, status)
      assert.equal(readdirSync(folder), [])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
}

test.run()
