// The page's end of the conformance worker: starts it when there is something to do, hands tasks over and what comes of
// them back. Ends it to cancel; the next task starts another.

import { startWorker } from '../ui/worker.ts'
import type { Answer, Reply, Request, Task } from './messages.ts'

interface Job {
  readonly onAnswer: (answer: Answer) => void
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** What a task ends with when it was cancelled. */
export class Cancelled extends Error {}

export class KitWorker {
  #worker: Worker | undefined
  #count = 0
  #isClosed = false
  readonly #jobs = new Map<number, Job>()

  /** Resolves when the task is done; rejects with Cancelled, or with what went wrong. */
  perform(task: Task, onAnswer: (answer: Answer) => void): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Cancelled('closed'))
    this.#worker ??= this.#start()
    const worker = this.#worker
    const job = this.#count++
    return new Promise((resolve, reject) => {
      this.#jobs.set(job, { onAnswer, resolve, reject })
      worker.postMessage({ job, task } satisfies Request)
    })
  }

  cancel(): void {
    this.#end(new Cancelled('cancelled'))
  }

  /** As cancel(), and nothing more is begun. */
  close(): void {
    this.#isClosed = true
    this.cancel()
  }

  #start(): Worker {
    const worker = startWorker('conformance-worker')
    worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => this.#take(data))
    worker.addEventListener('error', (event) => {
      this.#end(new Error(event.message || 'the worker could not be loaded: reload the page to try again'))
    })
    return worker
  }

  #take({ job, answer }: Reply): void {
    const waiting = this.#jobs.get(job)
    if (waiting === undefined) return
    if (answer.kind === 'done' || answer.kind === 'failed') {
      this.#jobs.delete(job)
      if (answer.kind === 'done') waiting.resolve()
      else waiting.reject(new Error(answer.message))
    } else {
      waiting.onAnswer(answer)
    }
  }

  #end(error: Error): void {
    this.#worker?.terminate()
    this.#worker = undefined
    const jobs = [...this.#jobs.values()]
    this.#jobs.clear()
    for (const { reject } of jobs) reject(error)
  }
}
