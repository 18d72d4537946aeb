// OpfsBackend against an access handle in memory: what every back end must do, and what this one makes of a browser's
// refusals. A real handle is met in view.test.ts.

import * as assert from 'uvu/assert'
import { OpfsBackend } from '../../../host/demo/linux/opfs-backend.ts'
import { backendSuite, failureOf, pattern, readAll } from '../../backend/suite.ts'
import { FakeFile, named } from '../../support/fake-opfs.ts'

async function make(bytes: number, file = new FakeFile()): Promise<{ backend: OpfsBackend; file: FakeFile }> {
  file.bytes = new Uint8Array(bytes)
  return { backend: new OpfsBackend(await file.createSyncAccessHandle()), file }
}

const test = backendSuite('OpfsBackend', async (bytes) => (await make(bytes)).backend)

test('write: across the end -> short, and the file is as long as before', async () => {
  const { backend, file } = await make(4096)
  assert.is(backend.write(3584, [pattern(256), pattern(1024)]), 512)
  assert.is(backend.write(4096, [pattern(512)]), 0)
  assert.is(file.bytes.length, 4096)
})

test('handle: moves less than asked -> a short count, not a hole', async () => {
  const { backend, file } = await make(4096)
  file.atMost = 100
  assert.is(backend.write(0, [pattern(512), pattern(512, 2)]), 100)
  assert.is(backend.read(0, [new Uint8Array(512)]), 100)
  const back = new Uint8Array(100)
  assert.is(await readAll(backend, 0, [back]), 100)
  assert.equal(back, pattern(512).subarray(0, 100))
})

test('failure: the quota is used up -> ENOSPC; anything else -> EIO; both say what the browser said', async () => {
  const { backend, file } = await make(4096)
  file.failure = named('QuotaExceededError', 'full')
  const full = await failureOf(() => backend.write(0, [pattern(512)]))
  assert.equal([full.code, full.message], ['ENOSPC', 'the browser says: QuotaExceededError: full'])
  file.failure = named('InvalidStateError', 'gone')
  assert.is((await failureOf(() => backend.flush())).code, 'EIO')
  backend.flush()
  assert.is(file.flushes, 1)
})

test('close: the file can be opened again, and the disk answers nothing any more', async () => {
  const { backend, file } = await make(4096)
  backend.close()
  assert.not.ok(file.isOpen)
  assert.is((await failureOf(() => backend.read(0, [new Uint8Array(512)]))).code, 'EBADF')
})

test.run()
