// Runs named tasks of threads.module.ts on real threads: what they are given goes by structured clone, what they
// return comes back as the promise's value. A thread that dies rejects. Holds no state.

import { Worker } from 'node:worker_threads'
import { GO, READY, SHARED_WORDS, type TaskData, type TaskName } from './threads.module.ts'
import { builtModule, type ScriptedDisk, until } from './worker.ts'

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

export interface Running<Result> extends Thread<Result> {
  readonly shared: Int32Array
}

/** Starts a vCPU's task on a thread, and lets it go when it is there. */
export async function startVcpu<Result>(
  { disk, memory }: Pick<ScriptedDisk, 'disk' | 'memory'>,
  task: TaskName,
  more: Partial<TaskData>,
): Promise<Running<Result>> {
  const shared = new Int32Array(new SharedArrayBuffer(4 * SHARED_WORDS))
  const data: TaskData = { shared, rounds: 1, handle: disk.handle, regions: memory.regions, ...more }
  const thread = startThread<Result>(task, data)
  await until('the thread', () => Atomics.load(shared, READY) === 1)
  Atomics.store(shared, GO, 1)
  Atomics.notify(shared, GO)
  return { ...thread, shared }
}
