// The lock between vCPU threads and the main thread, with real threads: no update is lost, and nobody waits for ever.

import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SharedLock } from '../../host/vmm/shared-lock.ts'
import { within } from '../support/within.ts'

const test = suite('shared lock')

const ROUNDS = 20_000

/** The same algorithm in the worker, from its source: a test file is no module that a worker could import. */
const PROGRAM = `
  const { workerData } = require('node:worker_threads')
  ${SharedLock.toString().replace(/^class \w+/, 'class SharedLock')}
  const FREE = 0, HELD = 1, CONTENDED = 2
  const words = new Int32Array(workerData)
  const lock = new SharedLock(words, 0)
  for (let i = 0; i < ${ROUNDS}; i++) lock.hold(() => { words[1] = words[1] + 1 })
`

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
  const worker = new Worker(PROGRAM, { eval: true, workerData: shared, execArgv: [] })
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
