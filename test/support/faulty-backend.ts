// A back end with scripted faults around another one, for tests of what the device does about them.
// Each kind of call takes the next step of its own script; a script that has ended means 'ok'. All calls are logged,
// those that fail too. Passes on `inPlace` of the inner back end unless told otherwise; with `async` it answers with
// promises (and promises nothing in place). Does not invent faults: for random ones make the script from a seed.

import { BackendError, type BlockBackend } from '../../host/backend/types.ts'

/** What one call does. */
export type Step =
  | 'ok'
  /** throws BackendError of this code; nothing is moved */
  | { fail: string }
  /** moves at most so many bytes, and says so (read and write only) */
  | { short: number }
  /** moves nothing and answers with this, sense or nonsense (read and write only) */
  | { answer: unknown }
  /** throws this, as a back end with a bug would */
  | { raise: unknown }
  /** carries on when this resolves (makes the answer a promise) */
  | { after: Promise<unknown> }

export type Operation = 'read' | 'write' | 'flush' | 'discard' | 'writeZeroes'
export type Script = Partial<Record<Operation, Step[]>>

export interface Call {
  operation: Operation
  offset: number
  /** bytes asked for */
  bytes: number
}

/** So many steps of a kind: `repeat(17, { fail: 'EINTR' })`. */
export function repeat(count: number, step: Step): Step[] {
  return new Array<Step>(count).fill(step)
}

export class FaultyBackend implements BlockBackend {
  readonly inPlace: boolean
  /** every call so far, in order */
  readonly calls: Call[] = []
  /** the steps still to come; may be changed between calls */
  readonly script: Required<Script>
  readonly discard?: (offset: number, bytes: number) => void | Promise<void>
  readonly writeZeroes?: (offset: number, bytes: number, mayUnmap: boolean) => void | Promise<void>
  readonly #inner: BlockBackend
  readonly #async: boolean

  constructor(inner: BlockBackend, script: Script = {}, options: { async?: boolean } = {}) {
    this.#inner = inner
    this.#async = options.async ?? false
    this.inPlace = inner.inPlace === true && !this.#async
    this.script = { read: [], write: [], flush: [], discard: [], writeZeroes: [], ...script }
    if (inner.discard) {
      this.discard = (offset, bytes) => this.#take('discard', offset, bytes, () => inner.discard?.(offset, bytes))
    }
    if (inner.writeZeroes) {
      this.writeZeroes = (offset, bytes, mayUnmap) =>
        this.#take('writeZeroes', offset, bytes, () => inner.writeZeroes?.(offset, bytes, mayUnmap))
    }
  }

  get capacityBytes(): number {
    return this.#inner.capacityBytes
  }

  read(offset: number, into: Uint8Array[]): number | Promise<number> {
    return this.#take('read', offset, total(into), (limit) => this.#inner.read(offset, first(into, limit)))
  }

  write(offset: number, from: Uint8Array[]): number | Promise<number> {
    return this.#take('write', offset, total(from), (limit) => this.#inner.write(offset, first(from, limit)))
  }

  flush(): void | Promise<void> {
    return this.#take('flush', 0, 0, () => this.#inner.flush())
  }

  close(): void | Promise<void> {
    return this.#inner.close?.()
  }

  #take<Result>(
    operation: Operation,
    offset: number,
    bytes: number,
    work: (limit: number) => Result | Promise<Result>,
  ): Result | Promise<Result> {
    this.calls.push({ operation, offset, bytes })
    const step = this.script[operation].shift() ?? 'ok'
    const act = (): Result | Promise<Result> => {
      if (step === 'ok' || 'after' in step) return work(bytes)
      if ('fail' in step) throw new BackendError(step.fail, `scripted ${step.fail}`)
      if ('raise' in step) throw step.raise
      if ('answer' in step) return step.answer as Result
      return work(Math.min(step.short, bytes))
    }
    const wait = step !== 'ok' && 'after' in step ? step.after : undefined
    if (wait === undefined && !this.#async) return act()
    return Promise.resolve(wait).then(act)
  }
}

function total(buffers: Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0)
}

/** The buffers, cut off after `bytes` bytes. Whole buffers are passed on as they are. */
function first(buffers: Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes
  return buffers.map((buffer) => {
    const piece = buffer.length <= left ? buffer : buffer.subarray(0, left)
    left -= piece.length
    return piece
  })
}
