// Makes the golden traces again and says of each whether it is as it was: `npm run golden`. It writes nothing unless
// told to: `npm run golden -- --write`, all of them or `npm run golden -- --write NAME...`. The traces of live guests
// differ each time, in their times at least; whether theirs still play is what golden.test.ts finds out.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Trace } from '../../host/replay/trace.ts'
import { CannotRecord, LIVE } from '../support/golden-live.ts'
import { SCRIPTED } from '../support/golden-scripts.ts'
import { difference } from '../support/trace-difference.ts'

const FOLDER = 'test/golden'
const words = process.argv.slice(2)
const write = words.includes('--write')
const names = words.filter((word) => word !== '--write')
const makers = { ...SCRIPTED, ...LIVE }
const unknown = names.filter((name) => !(name in makers))
if (unknown.length > 0) {
  console.error(`golden: there is no ${unknown.join(', ')}; there are ${Object.keys(makers).join(', ')}`)
  process.exit(2)
}

function existing(name: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(join(FOLDER, `${name}.trace`)))
  } catch {
    return undefined
  }
}

/** One line about what was made, against what was there. */
async function compare(made: Trace, bytes: Uint8Array, old: Uint8Array | undefined): Promise<string> {
  const size = `${bytes.length} bytes, ${made.steps.length} steps, digest ${made.digest}`
  if (old === undefined) return `new: ${size}`
  if (Buffer.from(old).equals(bytes)) return 'unchanged'
  const before = await Trace.parse(old).catch((error: Error) => error)
  if (before instanceof Error) return `the old one cannot be read (${before.message}); now ${size}`
  return `changed: ${before.steps.length} steps, digest ${before.digest}; now ${size}; ${difference(before, made)}`
}

const folder = mkdtempSync(join(tmpdir(), 'vblk-golden-'))
let changed = 0
try {
  for (const [name, make] of Object.entries(makers)) {
    if (names.length > 0 && !names.includes(name)) continue
    try {
      const made = await make()
      const bytes = await made.bytes()
      // Read back before it counts.
      await Trace.parse(bytes)
      writeFileSync(join(folder, `${name}.trace`), bytes)
      const line = await compare(made, bytes, existing(name))
      const isLive = name in LIVE
      console.log(`${name}: ${line}${isLive && line !== 'unchanged' ? ' (a live guest)' : ''}`)
      if (line !== 'unchanged' && !isLive) changed++
      if (write && line !== 'unchanged') writeFileSync(join(FOLDER, `${name}.trace`), bytes)
    } catch (error) {
      if (!(error instanceof CannotRecord)) throw error
      console.log(`${name}: not made: ${error.message}`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (changed > 0 && !write) {
  console.log(`${changed} changed; npm run golden -- --write takes them over, and golden.test.ts wants their digests`)
  process.exitCode = 1
}
