// One request against a back end, until it is done (device rules 11, 12 and 15): EINTR is retried 16 times, a short
// count is continued at the new offset, and what a back end must not return is a failure. Works for back ends that
// answer at once and for those that promise; nothing here knows rings or guest memory. Portable.

import { BackendError, type BlockBackend } from '../backend/types.ts'

/** The engine takes any negative result for a failed request. */
export const FAILED = -1

const EINTR_RETRIES = 16

type Answer<T> = T | Promise<T>
type Move = (offset: number, buffers: Uint8Array[]) => Answer<number>

export function isPromise<T>(value: Answer<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && typeof (value as Promise<T>).then === 'function'
}

/** Drops the first `bytes` bytes of a buffer list. */
function skip(buffers: Uint8Array[], bytes: number): Uint8Array[] {
  let first = 0
  let left = bytes
  for (const buffer of buffers) {
    if (left < buffer.byteLength) break
    left -= buffer.byteLength
    first++
  }
  const rest = buffers.slice(first)
  if (left > 0) rest[0] = (rest[0] as Uint8Array).subarray(left)
  return rest
}

class Transfer {
  readonly #move: Move
  readonly #offset: number
  readonly #bytes: number
  #rest: Uint8Array[]
  #done = 0
  #interrupted = 0

  constructor(move: Move, offset: number, buffers: Uint8Array[], bytes: number) {
    this.#move = move
    this.#offset = offset
    this.#rest = buffers
    this.#bytes = bytes
  }

  /** Bytes moved in the end, or FAILED. */
  run(): Answer<number> {
    for (;;) {
      try {
        const moved = this.#move(this.#offset + this.#done, this.#rest)
        if (isPromise(moved)) return this.#wait(moved)
        if (!this.#goesOn(moved)) return this.#done
      } catch (error) {
        if (!this.#retries(error)) return FAILED
      }
    }
  }

  #wait(moved: Promise<number>): Promise<number> {
    return moved.then(
      (count) => {
        try {
          return this.#goesOn(count) ? this.run() : this.#done
        } catch {
          return FAILED
        }
      },
      (error) => (this.#retries(error) ? this.run() : FAILED),
    )
  }

  #goesOn(moved: number): boolean {
    const left = this.#bytes - this.#done
    if (!Number.isInteger(moved) || moved < 0 || moved > left) {
      throw new BackendError('EIO', `the back end says it moved ${moved} of ${left} bytes`)
    }
    this.#done += moved
    if (moved === 0 || moved === left) return false
    this.#rest = skip(this.#rest, moved)
    return true
  }

  #retries(error: unknown): boolean {
    return error instanceof BackendError && error.code === 'EINTR' && this.#interrupted++ < EINTR_RETRIES
  }
}

export function read(backend: BlockBackend, offset: number, into: Uint8Array[], bytes: number): Answer<number> {
  return new Transfer((at, buffers) => backend.read(at, buffers), offset, into, bytes).run()
}

export function write(backend: BlockBackend, offset: number, from: Uint8Array[], bytes: number): Answer<number> {
  return new Transfer((at, buffers) => backend.write(at, buffers), offset, from, bytes).run()
}

/** 0 once everything written is durable, or FAILED. */
export function flush(backend: BlockBackend): Answer<number> {
  const none = (): Answer<number> => {
    const done = backend.flush()
    return isPromise(done) ? done.then(() => 0) : 0
  }
  return new Transfer(none, 0, [], 0).run()
}

/** A private buffer, or nothing if the host has no room for it: then the request fails and the device lives. */
export function allocate(bytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    return new Uint8Array(bytes)
  } catch {
    return undefined
  }
}

export function gather(segments: readonly Uint8Array[], into: Uint8Array): void {
  let done = 0
  for (const segment of segments) {
    into.set(segment, done)
    done += segment.byteLength
  }
}

/** The first `bytes` bytes, as far as the segments go. */
export function scatter(from: Uint8Array, bytes: number, segments: readonly Uint8Array[]): void {
  let done = 0
  for (const segment of segments) {
    if (done >= bytes) break
    const part = from.subarray(done, Math.min(done + segment.byteLength, bytes))
    segment.set(part)
    done += part.byteLength
  }
}
