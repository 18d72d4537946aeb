// The lock between vCPU threads and the main thread, with real threads: no update is lost, and nobody waits for ever.

import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SharedLock } from '../../host/engine/shared-lock.ts'
import { within } from '../support/within.ts'
import { builtModule } from '../support/worker.ts'

const test = suite('shared lock')

const ROUNDS = 20_000

test('alone: what the work returns or throws comes out, and the lock is free again', () => {
  const words = new Int32Array(new SharedArrayBuffer(8))
  const lock = new SharedLock(words, 1)
  assert.is(
    lock.hold(() => 7),
    7,
  )
  assert.throws(
    () =>
      lock.hold(() => {
        throw new Error('inside')
      }),
    'inside',
  )
  assert.equal([...words], [0, 0])
})

test('two threads: plain increments under the lock -> none is lost', async () => {
  const shared = new SharedArrayBuffer(8)
  const words = new Int32Array(shared)
  const lock = new SharedLock(words, 0)
  const worker = new Worker(builtModule('lock'), { workerData: { shared, rounds: ROUNDS } })
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('error', reject)
    worker.once('exit', () => resolve())
  })
  while (Atomics.load(words, 1) === 0) await new Promise((resolve) => setImmediate(resolve))
  for (let i = 0; i < ROUNDS; i++) {
    lock.hold(() => {
      words[1] = (words[1] as number) + 1
    })
  }
  await within(20_000, ended, 'the worker')
  assert.equal([...words], [0, 2 * ROUNDS])
})

test.run()
