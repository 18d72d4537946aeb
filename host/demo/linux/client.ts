// The page's side of the worker with the guest: starts it, sends orders, and gives the answer to each to who sent it.

import { startWorker } from '../ui/worker.ts'
import type { News, Order, Reply, TraceFile } from './messages.ts'

type WithoutId<Any> = Any extends { id: number } ? Omit<Any, 'id'> : never
export type Command = WithoutId<Order>
type Waiting = { resolve: (result: TraceFile | Blob | undefined) => void; reject: (error: Error) => void }

export class LinuxClient {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #id = 0

  /** `onFailure`: this client is of no use any more, another one has to be made. */
  constructor(onNews: (news: Exclude<News, Reply>) => void, onFailure: (text: string) => void) {
    this.#worker = startWorker('linux-worker')
    this.#worker.onmessage = ({ data }: MessageEvent<News>) => {
      if (data.kind === 'done' || data.kind === 'refused') this.#settle(data)
      else onNews(data)
    }
    this.#worker.onerror = ({ message }) => {
      this.close() // or it would hold the disk
      const text = `the worker with the guest failed: ${message || 'it could not be loaded'}`
      for (const { reject } of this.#waiting.values()) reject(new Error(text))
      this.#waiting.clear()
      onFailure(text)
    }
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.kind === 'done') waiting?.resolve(reply.result)
    else waiting?.reject(new Error(reply.reason))
  }

  /** Rejects with the reason, in one line, if it is refused. */
  order(command: Command): Promise<TraceFile | Blob | undefined> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ ...command, id })
    })
  }

  async trace(recording: number): Promise<TraceFile> {
    return (await this.order({ kind: 'trace', recording })) as TraceFile
  }

  type(text: string | Uint8Array): void {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text
    this.#worker.postMessage({ kind: 'input', bytes } satisfies Order)
  }

  /** So many bytes of the console are on the screen. */
  shown(bytes: number): void {
    this.#worker.postMessage({ kind: 'shown', bytes } satisfies Order)
  }

  close(): void {
    this.#worker.terminate()
  }
}
