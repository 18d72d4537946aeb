// The origin's private file system as far as the page's disk uses it, in memory: names, files, and access handles that
// are exclusive. Bytes that are written are there at once, as in browsers. A test can let the next call fail.

import type { StoreFile, StoreFolder } from '../../host/demo/linux/disk-store.ts'
import type { SyncHandle } from '../../host/demo/linux/opfs-backend.ts'

export class FakeFile implements StoreFile {
  bytes: Uint8Array = new Uint8Array()
  isOpen = false
  flushes = 0
  flush = (): void => {
    this.flushes++
  }
  /** thrown by the next call of a handle */
  failure: Error | undefined
  /** at most so many bytes are moved by a call */
  atMost = Number.POSITIVE_INFINITY

  async createSyncAccessHandle(): Promise<SyncHandle> {
    if (this.isOpen) throw named('NoModificationAllowedError', 'Access Handles cannot be created')
    this.isOpen = true
    return new FakeHandle(this)
  }
}

class FakeHandle implements SyncHandle {
  readonly #file: FakeFile
  #isClosed = false

  constructor(file: FakeFile) {
    this.#file = file
  }

  get #open(): FakeFile {
    if (this.#isClosed) throw named('InvalidStateError', 'The access handle was already closed')
    const { failure } = this.#file
    this.#file.failure = undefined
    if (failure) throw failure
    return this.#file
  }

  read(into: Uint8Array, { at }: { at: number }): number {
    const file = this.#open
    const piece = file.bytes.subarray(at, at + Math.min(into.length, file.atMost))
    into.set(piece)
    return piece.length
  }

  write(from: Uint8Array, { at }: { at: number }): number {
    const file = this.#open
    const piece = from.subarray(0, file.atMost)
    if (at + piece.length > file.bytes.length) this.truncate(at + piece.length)
    file.bytes.set(piece, at)
    return piece.length
  }

  flush(): void {
    this.#open.flush()
  }

  getSize(): number {
    return this.#open.bytes.length
  }

  truncate(bytes: number): void {
    const file = this.#open
    const next = new Uint8Array(bytes)
    next.set(file.bytes.subarray(0, bytes))
    file.bytes = next
  }

  close(): void {
    this.#isClosed = true
    this.#file.isOpen = false
  }
}

export class FakeFolder implements StoreFolder {
  readonly files = new Map<string, FakeFile>()

  async *keys(): AsyncGenerator<string> {
    yield* [...this.files.keys()]
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    const file = this.files.get(name) ?? (create ? new FakeFile() : undefined)
    if (file === undefined) throw named('NotFoundError', name)
    this.files.set(name, file)
    return file
  }

  async removeEntry(name: string): Promise<void> {
    if (this.files.get(name)?.isOpen) throw named('NoModificationAllowedError', name)
    if (!this.files.delete(name)) throw named('NotFoundError', name)
  }
}

/** As browsers do it: the name says what it is. */
export function named(name: string, message: string): Error {
  const error = new Error(message)
  error.name = name
  return error
}
