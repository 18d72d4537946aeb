// A disk in a raw image file or a block device. Linux.
//
// One koffi call per request and no copy: the kernel reads and writes the caller's buffers, which are guest RAM, so
// the class may promise `inPlace`. It owns its file descriptor and, unless told otherwise, a lock on the file.
// It never looks at the content: an image is raw bytes, whatever a guest has written into sector 0 (probing formats
// is how guests have come to read files of their host). It never creates a file (image.ts does), never makes one
// longer, and does not retry: a short count or EINTR is the device's to handle.

import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs'
import * as libc from '../sys/libc.ts'
import { BackendError, type BlockBackend } from './types.ts'

export interface FileBackendOptions {
  /** refuse writes; the file is opened for reading only. Default false. */
  readOnly?: boolean
  /** lock the file: alone if writable, together with other readers if not. Default true. */
  lock?: boolean
  /** told, in one line, of things that are odd but not wrong. Default: nobody. */
  onWarning?: (message: string) => void
}

const SECTOR_BYTES = 512

/** Filled and used within one call, so one serves all the disks of a thread. */
const vector = new libc.IoVector(libc.IOV_MAX)

let lastBuffer: ArrayBufferLike | undefined
let lastAddress = 0
let lastBytes = 0

export class FileBackend implements BlockBackend {
  readonly inPlace = true
  readonly path: string
  readonly readOnly: boolean
  readonly #warn: (message: string) => void
  /** -1 once closed */
  #fd: number
  #capacityBytes = 0
  /** why data may be lost, once a flush has failed */
  #lost = ''

  private constructor(path: string, fd: number, readOnly: boolean, warn: (message: string) => void) {
    this.path = path
    this.readOnly = readOnly
    this.#fd = fd
    this.#warn = warn
  }

  /**
   * Opens an existing raw image or block device, at once. Throws BackendError with a message of one line that names
   * the path, the reason and, where there is one, the remedy; code is an errno name ('ENOENT', 'EWOULDBLOCK', ...).
   */
  static open(path: string, options: FileBackendOptions = {}): FileBackend {
    const { readOnly = false, lock = true, onWarning = () => {} } = options
    const fd = openDisk(path, readOnly)
    try {
      const disk = new FileBackend(path, fd, readOnly, onWarning)
      if (lock) lockDisk(path, fd, readOnly)
      if (!readOnly) checkWritable(path, fd)
      disk.refreshCapacity()
      return disk
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** A multiple of 512: the size of the file or device when it was opened, or last refreshed. */
  get capacityBytes(): number {
    return this.#capacityBytes
  }

  /** Looks again how large the file is, after somebody made it longer or shorter. Returns the new capacity in bytes. */
  refreshCapacity(): number {
    const bytes = sizeOf(this.path, this.#open())
    const capacity = bytes - (bytes % SECTOR_BYTES)
    if (capacity === 0) {
      const size = bytes === 0 ? 'is empty' : `has ${bytes} bytes, less than one 512-byte sector`
      throw new BackendError('EINVAL', `${this.path}: ${size}; make it larger: truncate -s 1G ${this.path}`)
    }
    if (capacity !== bytes) {
      this.#warn(`${this.path}: ${bytes} bytes are not whole 512-byte sectors; the guest sees the first ${capacity}`)
    }
    this.#capacityBytes = capacity
    return capacity
  }

  /** Bytes moved: fewer than asked for at the end of the data, 0 past it. Throws BackendError(errno name). */
  read(offset: number, into: Uint8Array[]): number {
    return this.#move(false, offset, into)
  }

  /** As read. Never makes the file longer than `capacityBytes`. A read-only disk throws 'EROFS'. */
  write(offset: number, from: Uint8Array[]): number {
    if (this.readOnly) throw new BackendError('EROFS', `${this.path}: opened read-only`)
    return this.#move(true, offset, from)
  }

  /**
   * Returns when all writes are on stable storage. Once that has failed, it fails for good: the kernel reports an
   * error of its page cache once, drops the pages, and would call the next flush a success.
   */
  flush(): void {
    const fd = this.#open()
    if (this.readOnly) return
    if (this.#lost !== '') throw new BackendError(this.#lost, `${this.path}: an earlier flush failed: ${this.#lost}`)
    const result = libc.fdatasync(fd)
    if (result >= 0) return
    const code = libc.errnoName(-result)
    if (code !== 'EINTR') this.#lost = code
    throw new BackendError(code, `${this.path}: flush failed: ${code}`)
  }

  /** Gives back the lock and the file descriptor. Does not flush. May be called again. */
  close(): void {
    const fd = this.#fd
    if (fd < 0) return
    this.#fd = -1
    closeSync(fd)
  }

  #open(): number {
    if (this.#fd < 0) throw new BackendError('EBADF', `${this.path}: already closed`)
    return this.#fd
  }

  #move(isWrite: boolean, offset: number, buffers: Uint8Array[]): number {
    const fd = this.#open()
    if (!Number.isSafeInteger(offset) || offset < 0) throw new BackendError('EINVAL', `${this.path}: offset ${offset}`)
    let moved = 0
    let next = 0
    while (next < buffers.length) {
      // What lies past the capacity is not ours: nothing is read from there, and no write makes the file longer.
      const room = this.#capacityBytes - offset - moved
      let count = 0
      let wanted = 0
      let address = 0
      for (; next < buffers.length && count < libc.IOV_MAX && wanted < room; next += 1) {
        const view = buffers[next] as Uint8Array
        const bytes = Math.min(view.length, room - wanted)
        if (bytes === 0) continue
        if (view.buffer !== lastBuffer) useBuffer(view.buffer)
        const start = view.byteOffset
        if (!(start + bytes <= lastBytes)) throw new BackendError('EFAULT', `${this.path}: view outside its buffer`)
        address = lastAddress + start
        vector.set(count, address, bytes)
        count += 1
        wanted += bytes
      }
      if (count === 0) break
      const at = offset + moved
      const result = count === 1 ? transfer(isWrite, fd, address, wanted, at) : transferMany(isWrite, fd, count, at)
      if (result < 0) {
        // What has been moved is reported first; the caller comes again for the rest and then gets the error.
        if (moved > 0) break
        const code = libc.errnoName(-result)
        throw new BackendError(code, `${this.path}: ${wanted} bytes at ${offset} failed: ${code}`)
      }
      moved += result
      if (result < wanted) break
    }
    return moved
  }
}

// Each foreign function has a call site of its own: V8 calls them faster so than through a variable.

function transfer(isWrite: boolean, fd: number, address: number, bytes: number, offset: number): number {
  return isWrite ? libc.pwrite(fd, address, bytes, offset) : libc.pread(fd, address, bytes, offset)
}

function transferMany(isWrite: boolean, fd: number, count: number, offset: number): number {
  return isWrite ? libc.pwritev(fd, vector, count, offset) : libc.preadv(fd, vector, count, offset)
}

/** Most views are on one buffer, guest RAM: its address and length are kept, as asking costs more than the rest. */
function useBuffer(buffer: ArrayBufferLike): void {
  lastAddress = libc.addressOf(buffer)
  lastBytes = buffer.byteLength
  lastBuffer = buffer
}

/** Opens what is a regular file or a block device. Asked before opening, as opening a fifo or a tape has effects. */
function openDisk(path: string, readOnly: boolean): number {
  let fd = -1
  try {
    refuseOtherKinds(path, statSync(path))
    fd = openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NOCTTY)
    refuseOtherKinds(path, fstatSync(fd))
    return fd
  } catch (error) {
    if (fd >= 0) closeSync(fd)
    if (error instanceof BackendError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO'
    throw new BackendError(code, `${path}: ${openFailure(code, path, readOnly)}`)
  }
}

function openFailure(code: string, path: string, readOnly: boolean): string {
  switch (code) {
    case 'ENOENT':
      return `no such file; make one: truncate -s 1G ${path}`
    case 'EROFS':
      return 'is on a read-only filesystem; open it with --ro (readOnly: true)'
    case 'EACCES':
    case 'EPERM':
      return readOnly
        ? `no permission to read it (${code})`
        : `no permission to write it (${code}); if reading is enough, open it with --ro (readOnly: true)`
    default:
      return `cannot be opened: ${code}`
  }
}

function refuseOtherKinds(path: string, stats: Stats): void {
  if (stats.isFile() || stats.isBlockDevice()) return
  const kind = stats.isDirectory()
    ? 'directory'
    : stats.isCharacterDevice()
      ? 'character device'
      : stats.isFIFO()
        ? 'fifo'
        : 'socket'
  throw new BackendError('ENOTBLK', `${path}: is a ${kind}; a disk is a regular file or a block device`)
}

function lockDisk(path: string, fd: number, readOnly: boolean): void {
  try {
    libc.flock(fd, (readOnly ? libc.LOCK_SH : libc.LOCK_EX) | libc.LOCK_NB)
  } catch (error) {
    if (!(error instanceof libc.SysError)) throw error
    const remedy =
      error.code === 'EWOULDBLOCK'
        ? `in use by ${lockHolder(fd)}; stop that one, or open it with --ro (readOnly: true) on both sides`
        : `cannot be locked: ${error.code}; if nothing else uses it, open it with lock: false`
    throw new BackendError(error.code, `${path}: ${remedy}`)
  }
}

/** Who holds a lock on the file, as far as /proc/locks tells (not across pid namespaces, not on every filesystem). */
function lockHolder(fd: number): string {
  try {
    const { dev, ino } = fstatSync(fd)
    const hex = (value: number): string => value.toString(16).padStart(2, '0')
    const device = `${hex((dev >>> 8) & 0xfff)}:${hex((dev & 0xff) | ((dev >>> 12) & 0xfff00))}`
    const held = new RegExp(`FLOCK +ADVISORY +\\w+ +([1-9]\\d*) +${device}:${ino} `)
    const pid = held.exec(readFileSync('/proc/locks', 'utf8'))?.[1]
    if (pid === String(process.pid)) return 'this same process'
    return pid === undefined ? 'another process' : `another process (pid ${pid})`
  } catch {
    return 'another process'
  }
}

/** A block device that refuses writes can be opened for writing; the first write would tell. */
function checkWritable(path: string, fd: number): void {
  if (fstatSync(fd).isBlockDevice() && deviceCall(path, () => libc.blockDeviceIsReadOnly(fd))) {
    throw new BackendError('EROFS', `${path}: is a read-only block device; open it with --ro (readOnly: true)`)
  }
}

function sizeOf(path: string, fd: number): number {
  const stats = fstatSync(fd)
  return stats.isBlockDevice() ? deviceCall(path, () => libc.blockDeviceBytes(fd)) : stats.size
}

function deviceCall<Result>(path: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof libc.SysError)) throw error
    throw new BackendError(error.code, `${path}: ${error.message}`)
  }
}
