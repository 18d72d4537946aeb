// `vblk trace` as a user meets it: the listing, filters, JSON, and what is said about filters and files that are none.

import { rmSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { assertBadFilesRefused, assertRefused, traceFolder, vblk } from '../support/vblk-command.ts'

const test = suite('vblk trace')
const { folder, file, bytes } = await traceFolder()

test.after(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('help: options and every filter, status 0', () => {
  const { status, stdout } = vblk('trace', '--help')
  assert.is(status, 0)
  for (const word of ['--filter', '--json', 'type=', 'status=', 'head=', 'queue=', 'sector=', 'fault', 'requests']) {
    assert.match(stdout, word)
  }
})

test('a trace -> register writes by name, requests with chain, decision and answer', () => {
  const { status, stdout, stderr } = vblk('trace', file)
  assert.is(status, 0, stderr)
  assert.match(stdout, /^ +\d+ +[\d.]+ ms {2}init: features 0x[0-9a-f]+, 512 sectors, 1 queues of up to \d+, RAM /)
  assert.match(stdout, /QueueReady = 0x1$/m)
  assert.match(stdout, /queue 0 head \d+: write sector 0: write \(rule 11\)$/m)
  assert.match(stdout, /chain +0x[0-9a-f]+\+16\(n\) 0x[0-9a-f]+\+1024\(n\) 0x[0-9a-f]+\+1\(w\)$/m)
  assert.match(stdout, /back end 1024$/m)
  assert.match(stdout, /answer +status 0 \(OK\), used length 1, step \d+, after 0\.001 ms$/m)
  assert.match(stdout, /\[stall\] queue 0: head \d+ waits 600 ms for tokens/)
})

interface Row {
  kind: string
  type?: number
  sector?: string
}

function chosen(...filters: string[]): Row[] {
  const options = filters.flatMap((filter) => ['--filter', filter])
  const { status, stdout, stderr } = vblk('trace', file, '--json', ...options)
  assert.is(status, 0, stderr)
  return JSON.parse(stdout)
}

test('filter: each keeps what fits, several must all fit', () => {
  assert.is(chosen('requests').length, 7)
  assert.is(chosen('type=read').length, 4)
  assert.is(chosen('type=8').length, 1)
  assert.is(chosen('type=read', 'status=ok').length, 3)
  assert.is(chosen('status=ioerr').length, 1)
  assert.is(chosen('status=none').length, 0)
  assert.is(chosen('head=0').length, 7)
  assert.is(chosen('queue=1').length, 0)
  assert.equal(
    chosen('sector=0x8').map(({ sector }) => sector),
    ['8'],
  )
  assert.equal(
    chosen('fault').map(({ sector }) => sector),
    ['300'],
  )
  assert.ok(chosen().length > 40)
})

test('filter: unknown key, value that is none -> named with those there are', () => {
  assertRefused(vblk('trace', file, '--filter', 'kind=read'), 'kind=read', 'type=, status=, head=', 'fault')
  assertRefused(vblk('trace', file, '--filter', 'constructor'), 'constructor')
  assertRefused(vblk('trace', file, '--filter', 'type=trim'), 'type=trim', 'read, write, flush, id')
  assertRefused(vblk('trace', file, '--filter', 'status=1'), 'status=1', 'ok, ioerr, unsupp, none')
  assertRefused(vblk('trace', file, '--filter', 'sector=x'), 'sector=x', 'whole number')
})

test('file: none, two, not a trace, cut off, damaged -> refused', () => {
  assertRefused(vblk('trace'), 'FILE is missing', 'vblk trace FILE')
  assertRefused(vblk('trace', file, file), 'one FILE')
  assertBadFilesRefused(folder, bytes, (bad) => vblk('trace', bad))
})

test.run()
