// A thread for shared-lock.test.ts: adds 1 to a word, under the lock, as often as it is told.

import { workerData } from 'node:worker_threads'
import { SharedLock } from '../../host/engine/shared-lock.ts'

const { shared, rounds } = workerData as { shared: SharedArrayBuffer; rounds: number }
const words = new Int32Array(shared)
const lock = new SharedLock(words, 0)
for (let i = 0; i < rounds; i++) {
  lock.hold(() => {
    words[1] = (words[1] as number) + 1
  })
}
