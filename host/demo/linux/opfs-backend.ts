// A disk in the origin's private file system (OPFS): one file behind a synchronous access handle, which exists in
// dedicated workers only and is exclusive, so no other tab can have the disk at the same time. Answers at once and
// keeps no buffer. What was written survives the page; `flush` asks the browser to bring it to the medium.

import { BackendError, type BlockBackend } from '../../backend/types.ts'

/** The part of FileSystemSyncAccessHandle that a disk uses; the library's types for workers are not those of pages. */
export interface SyncHandle {
  read(into: Uint8Array<ArrayBuffer>, options: { at: number }): number
  write(from: Uint8Array<ArrayBuffer>, options: { at: number }): number
  flush(): void
  getSize(): number
  truncate(bytes: number): void
  close(): void
}

export class OpfsBackend implements BlockBackend {
  readonly inPlace = true
  readonly capacityBytes: number
  readonly #handle: SyncHandle
  #isClosed = false

  /** Owns the handle from now on. */
  constructor(handle: SyncHandle) {
    this.#handle = handle
    this.capacityBytes = handle.getSize()
  }

  read(offset: number, into: Uint8Array[]): number {
    return this.#move(offset, into, (piece, at) => this.#handle.read(piece, { at }))
  }

  /** Never past the end: the file does not grow. */
  write(offset: number, from: Uint8Array[]): number {
    return this.#move(offset, from, (piece, at) => this.#handle.write(piece, { at }))
  }

  flush(): void {
    this.#try(() => this.#handle.flush())
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#handle.close()
  }

  #move(offset: number, pieces: Uint8Array[], move: (piece: Uint8Array<ArrayBuffer>, at: number) => number): number {
    if (!Number.isSafeInteger(offset) || offset < 0) throw new BackendError('EINVAL', `not a byte count: ${offset}`)
    let at = offset
    for (const piece of pieces) {
      if (piece.length === 0) continue
      const rest = Math.min(piece.length, this.capacityBytes - at)
      if (rest <= 0) break
      const moved = this.#try(() => move(piece.subarray(0, rest) as Uint8Array<ArrayBuffer>, at))
      at += moved
      if (moved < piece.length) break
    }
    return at - offset
  }

  #try<Result>(work: () => Result): Result {
    if (this.#isClosed) throw new BackendError('EBADF', 'the disk is closed')
    try {
      return work()
    } catch (error) {
      const { name, message } = error as DOMException
      throw new BackendError(name === 'QuotaExceededError' ? 'ENOSPC' : 'EIO', `the browser says: ${name}: ${message}`)
    }
  }
}
