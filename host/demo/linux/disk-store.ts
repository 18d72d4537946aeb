// Where the page keeps its disk between visits: one image file in the origin's private file system. An image counts
// when the empty file that marks it complete is there too, which is made last: an import that was interrupted leaves
// the old disk. The number of an image rises with each new one. A file with nothing in it is held open as long as the
// store is: so only one tab at a time looks at the images, makes or removes any. Workers only. What is on the disk it
// does not know.

import { OpfsBackend, type SyncHandle } from './opfs-backend.ts'

/** The parts of the file system's handles that are used; the library's types lack those of workers. */
export interface StoreFile {
  createSyncAccessHandle(): Promise<SyncHandle>
}
export interface StoreFolder {
  keys(): AsyncIterable<string>
  getFileHandle(name: string, options?: { create?: boolean }): Promise<StoreFile>
  removeEntry(name: string): Promise<void>
}

/** Another tab has the disk, or this one before it was reloaded. */
export class DiskLockedError extends Error {
  constructor() {
    super('the disk is open in another tab; one at a time can use it')
    this.name = 'DiskLockedError'
  }
}

/** Content for a new disk, piece by piece. */
export interface ImageSource {
  readonly bytes: number
  pieces(): AsyncIterable<Uint8Array>
}

const IMAGE = /^disk-(\d{1,9})\.img$/
const READY = /^disk-(\d{1,9})\.ready$/
const LOCK = 'lock'
/** How long a tab that was reloaded may take to let go of the disk. */
const LOCK_TRIES = 20
const LOCK_WAIT_MS = 100

export class DiskStore {
  readonly #folder: StoreFolder
  readonly #tries: number
  #held: SyncHandle | undefined

  constructor(folder: StoreFolder, tries = LOCK_TRIES) {
    this.#folder = folder
    this.#tries = tries
  }

  /** The disk of the last visit, or a new one with the content given. Throws DiskLockedError. Called once. */
  async open(first: () => Promise<ImageSource>): Promise<OpfsBackend> {
    this.#held = await this.#lock(await this.#folder.getFileHandle(LOCK, { create: true }))
    try {
      const number = await this.#current()
      if (number === undefined) {
        await this.#removeAllBut(0)
        return await this.replace(await first())
      }
      const file = await this.#folder.getFileHandle(imageName(number))
      const backend = new OpfsBackend(await this.#lock(file))
      await this.#removeAllBut(number)
      return backend
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Another tab may have the store. The disk is its owner's to close. */
  close(): void {
    this.#held?.close()
    this.#held = undefined
  }

  /**
   * A new disk. The old one stays as it is, and open if it was, until the new one is complete; then it is removed as
   * soon as nobody has it open, at the latest at the next visit.
   */
  async replace(source: ImageSource, progress: (done: number) => void = () => {}): Promise<OpfsBackend> {
    const number = Math.max(0, ...(await this.#numbers())) + 1
    const handle = await this.#lock(await this.#folder.getFileHandle(imageName(number), { create: true }))
    try {
      await fill(handle, source, progress)
      await this.#folder.getFileHandle(readyName(number), { create: true })
    } catch (error) {
      handle.close()
      await this.#folder.removeEntry(imageName(number)).catch(() => {})
      throw error
    }
    return new OpfsBackend(handle)
  }

  /** Removes the images that the last one has replaced. */
  async tidy(): Promise<void> {
    const number = await this.#current()
    if (number !== undefined) await this.#removeAllBut(number)
  }

  async #names(): Promise<string[]> {
    const names: string[] = []
    for await (const name of this.#folder.keys()) names.push(name)
    return names
  }

  async #numbers(): Promise<number[]> {
    return (await this.#names()).map((name) => Number((IMAGE.exec(name) ?? READY.exec(name))?.[1] ?? 0))
  }

  async #current(): Promise<number | undefined> {
    const names = new Set(await this.#names())
    const complete = [...names].flatMap((name) => {
      const number = Number(READY.exec(name)?.[1] ?? 0)
      return number > 0 && names.has(imageName(number)) ? [number] : []
    })
    return complete.length === 0 ? undefined : Math.max(...complete)
  }

  /** What is still open somewhere stays, its mark too, for the next time. */
  async #removeAllBut(number: number): Promise<void> {
    const names = await this.#names()
    const kept = new Set([number])
    for (const kind of [IMAGE, READY]) {
      for (const name of names) {
        const old = Number(kind.exec(name)?.[1] ?? number)
        if (!kept.has(old)) await this.#folder.removeEntry(name).catch(() => kept.add(old))
      }
    }
  }

  async #lock(file: StoreFile): Promise<SyncHandle> {
    for (let left = this.#tries; ; left--) {
      try {
        return await file.createSyncAccessHandle()
      } catch (error) {
        if ((error as Error).name !== 'NoModificationAllowedError') throw error
        if (left <= 1) throw new DiskLockedError()
      }
      await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS))
    }
  }
}

/** Zeros are left out: the file is as long before, and browsers keep no room for them where they can. */
async function fill(handle: SyncHandle, source: ImageSource, progress: (done: number) => void): Promise<void> {
  handle.truncate(0)
  handle.truncate(source.bytes)
  let at = 0
  for await (const piece of source.pieces()) {
    if (at + piece.length > source.bytes) throw new Error(`the image has more than ${source.bytes} bytes`)
    if (!piece.every((byte) => byte === 0)) {
      const written = handle.write(piece as Uint8Array<ArrayBuffer>, { at })
      if (written !== piece.length) throw new Error(`the browser took ${written} of ${piece.length} bytes`)
    }
    at += piece.length
    progress(at)
  }
  if (at !== source.bytes) throw new Error(`the image has ${at} bytes instead of ${source.bytes}`)
  handle.flush()
}

function imageName(number: number): string {
  return `disk-${number}.img`
}

function readyName(number: number): string {
  return `disk-${number}.ready`
}
