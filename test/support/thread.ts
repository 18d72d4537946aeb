// Runs part of a test file on another thread: the file is started again as a worker, where it calls serveThread
// instead of running its tests. Owns the thread until it has answered.

import { parentPort, Worker, workerData } from 'node:worker_threads'
import { within } from './within.ts'

/** What the other thread can do: a name and one argument in, an answer out, all of them structured-cloneable. */
export type Tasks = Record<string, (argument: never) => unknown>

/** A thread that has begun the task; the promise is its answer, once the thread is gone. */
export function startThread(file: string, task: string, argument: unknown): Promise<unknown> {
  const worker = new Worker(new URL(file), { workerData: { task, argument } })
  const answer = new Promise<unknown>((resolve, reject) => {
    let answer: unknown
    worker.on('message', (message) => {
      answer = message
    })
    worker.once('error', reject)
    worker.once('exit', () => resolve(answer))
  })
  return within(20_000, answer, `the thread for ${task}`)
}

/** On the other thread: does what it was started for. */
export function serveThread(tasks: Tasks): void {
  const { task, argument } = workerData as { task: string; argument: never }
  const answer = tasks[task]?.(argument)
  parentPort?.postMessage(answer)
}
