// Runs named tasks of threads.module.ts on real threads: what they are given goes by structured clone, what they
// return comes back as the promise's value. A thread that dies rejects. Holds no state.

import { Worker } from 'node:worker_threads'
import type { TaskData, TaskName } from './threads.module.ts'
import { builtModule } from './worker.ts'

export interface Thread<Result> {
  readonly result: Promise<Result>
  /** stops the thread wherever it is */
  end(): Promise<unknown>
}

/** Starts the task; the thread says when it runs only by what it does to shared memory. */
export function startThread<Result = void>(task: TaskName, data: TaskData): Thread<Result> {
  const thread = new Worker(builtModule('threads'), { workerData: { task, data } })
  const result = new Promise<Result>((resolve, reject) => {
    thread.once('message', (value: Result) => resolve(value))
    thread.once('error', reject)
    thread.once('exit', (code) => reject(new Error(`${task}: the thread ended with ${code} and no result`)))
  })
  result.catch(() => {})
  return { result, end: () => thread.terminate() }
}
