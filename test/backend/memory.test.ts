// MemoryBackend: the shared suite, and that `bytes` is the disk itself. Also FaultyBackend around it, which with an
// empty script must be as good as what it wraps, at once or with promises.

import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { FaultyBackend, repeat } from '../support/faulty-backend.ts'
import { backendSuite, failureOf, pattern, readAll } from './suite.ts'

const test = backendSuite('MemoryBackend', (bytes) => new MemoryBackend(bytes))

test('bytes: given an array -> the disk is that array, not a copy', () => {
  const content = pattern(1024)
  const disk = new MemoryBackend(content)
  disk.write(512, [new Uint8Array(512)])
  assert.is(disk.bytes, content)
  assert.equal(content, pattern(1024).fill(0, 512))
})

test.run()

const faulty = backendSuite('FaultyBackend', (bytes) => new FaultyBackend(new MemoryBackend(bytes)))

faulty('script: steps -> one each per call of that kind, in order, then ok; all calls logged', async () => {
  const bug = new TypeError('a bug')
  const disk = new FaultyBackend(new MemoryBackend(pattern(4096)), {
    read: [...repeat(2, { fail: 'EINTR' }), { short: 100 }, { answer: -5 }, { raise: bug }],
    flush: [{ fail: 'EIO' }],
  })
  const into = [new Uint8Array(60), new Uint8Array(452)]
  const read = (): unknown => disk.read(512, into)
  assert.is((await failureOf(read)).code, 'EINTR')
  assert.is((await failureOf(read)).code, 'EINTR')
  assert.is(read(), 100)
  assert.equal(into[1]?.subarray(39, 41), new Uint8Array([pattern(4096)[611] ?? 0, 0]))
  assert.is(read(), -5)
  assert.throws(read, (error: unknown) => error === bug)
  assert.is(read(), 512)
  assert.is((await failureOf(() => disk.flush())).code, 'EIO')
  disk.flush()
  assert.is(disk.calls.filter(({ operation }) => operation === 'read').length, 6)
  assert.equal(disk.calls[0], { operation: 'read', offset: 512, bytes: 512 })
})

faulty('script: after -> answers when that resolves', async () => {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const disk = new FaultyBackend(new MemoryBackend(512), { read: [{ after: gate }] }, { async: true })
  assert.is(disk.inPlace, false)
  let done = false
  const reading = readAll(disk, 0, [new Uint8Array(512)]).finally(() => {
    done = true
  })
  await new Promise(setImmediate)
  assert.is(done, false)
  open()
  assert.is(await reading, 512)
})

faulty.run()

backendSuite('FaultyBackend, async', (bytes) => new FaultyBackend(new MemoryBackend(bytes), {}, { async: true })).run()
