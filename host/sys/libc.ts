// The C library calls the package makes, bound with koffi. Knows nothing of virtio.
//
// Calls made once per request (pread, preadv, pwrite, pwritev, fdatasync) answer with a number: what the call
// returned, or -errno. Calls made at set-up throw SysError. Pointers are passed as plain numbers (user addresses have
// 47 bits, numbers hold 53): that is the fastest form koffi has, makes no BigInt and copies nothing. An address is
// valid only while its buffer is reachable, so keep the view in use across the call (see Words).
// Does not open, close or own file descriptors (fd.ts and node:fs do, with one owner each); no retries on EINTR.

import koffi from 'koffi'
import { bind } from './bind.ts'
import { SysError } from './errors.ts'

export { errnoName, SysError } from './errors.ts'

/** The most buffers the kernel takes in one preadv or pwritev. */
export const IOV_MAX = 1024

export const LOCK_SH = 1
export const LOCK_EX = 2
export const LOCK_NB = 4
export const LOCK_UN = 8

const BLKROGET = 0x125e
const BLKGETSIZE64 = 0x80081272
const TWO_32 = 2 ** 32

type Positional = (fd: number, address: number, bytes: number, offset: number) => number
type Vectored = (fd: number, iov: number, count: number, offset: number) => number

const calls = {
  pread: bind<Positional>('pread', 'int64_t pread(int fd, int64_t buffer, int64_t bytes, int64_t offset)'),
  pwrite: bind<Positional>('pwrite', 'int64_t pwrite(int fd, int64_t buffer, int64_t bytes, int64_t offset)'),
  preadv: bind<Vectored>('preadv', 'int64_t preadv(int fd, int64_t iov, int count, int64_t offset)'),
  pwritev: bind<Vectored>('pwritev', 'int64_t pwritev(int fd, int64_t iov, int count, int64_t offset)'),
  fdatasync: bind<(fd: number) => number>('fdatasync', 'int fdatasync(int fd)'),
  flock: bind<(fd: number, operation: number) => number>('flock', 'int flock(int fd, int operation)'),
  ioctl: bind<(fd: number, request: number, argument: Uint32Array) => number>(
    'ioctl',
    'int ioctl(int fd, unsigned long request, void *argument)',
  ),
}

/** Bytes moved (fewer at the end of the file), or -errno. `address` is that of the buffer's first byte. */
export function pread(fd: number, address: number, bytes: number, offset: number): number {
  const moved = calls.pread(fd, address, bytes, offset)
  return moved < 0 ? -koffi.errno() : moved
}

/** Bytes moved, or -errno. */
export function pwrite(fd: number, address: number, bytes: number, offset: number): number {
  const moved = calls.pwrite(fd, address, bytes, offset)
  return moved < 0 ? -koffi.errno() : moved
}

/** Fills the first `count` buffers of `vector` from byte `offset` on. Bytes moved, or -errno. */
export function preadv(fd: number, vector: IoVector, count: number, offset: number): number {
  const moved = calls.preadv(fd, vector.address, count, offset)
  return moved < 0 ? -koffi.errno() : moved
}

/** Stores the first `count` buffers of `vector` at byte `offset`. Bytes moved, or -errno. */
export function pwritev(fd: number, vector: IoVector, count: number, offset: number): number {
  const moved = calls.pwritev(fd, vector.address, count, offset)
  return moved < 0 ? -koffi.errno() : moved
}

/** 0, or -errno. After a failure the kernel may report success although data was lost: the caller remembers. */
export function fdatasync(fd: number): number {
  const result = calls.fdatasync(fd)
  return result < 0 ? -koffi.errno() : result
}

/** Locks or unlocks the open file. With LOCK_NB, a lock held elsewhere throws SysError 'EWOULDBLOCK'. */
export function flock(fd: number, operation: number): void {
  const result = calls.flock(fd, operation)
  if (result < 0) throw new SysError('flock', koffi.errno())
}

/** The size of a block device in bytes. */
export function blockDeviceBytes(fd: number): number {
  const size = new Uint32Array(2)
  const result = calls.ioctl(fd, BLKGETSIZE64, size)
  if (result < 0) throw new SysError('ioctl(BLKGETSIZE64)', koffi.errno())
  return (size[1] ?? 0) * TWO_32 + (size[0] ?? 0)
}

/** True if the block device refuses writes. Opening such a device for writing succeeds: ask. */
export function blockDeviceIsReadOnly(fd: number): boolean {
  const flag = new Uint32Array(1)
  const result = calls.ioctl(fd, BLKROGET, flag)
  if (result < 0) throw new SysError('ioctl(BLKROGET)', koffi.errno())
  return flag[0] !== 0
}

/** An array of struct iovec {base u64, bytes u64}, made once and filled again for each call. */
export class IoVector {
  readonly address: number
  readonly #words: Uint32Array

  /** `capacity`: how many buffers it holds, 16 bytes each. */
  constructor(capacity: number) {
    this.#words = new Uint32Array(new ArrayBuffer(capacity * 16))
    this.address = addressOf(this.#words.buffer)
  }

  /**
   * Entry `index` becomes the `bytes` bytes at `address`. An index past the capacity is ignored, as typed arrays do.
   */
  set(index: number, address: number, bytes: number): void {
    const words = this.#words
    const at = index * 4
    words[at] = address
    words[at + 1] = address / TWO_32
    words[at + 2] = bytes
    words[at + 3] = bytes / TWO_32
  }
}

const addresses = new WeakMap<ArrayBufferLike, number>()

/**
 * Where a buffer's first byte is in this process. Asked of koffi once per buffer: the bytes of an ArrayBuffer, a
 * SharedArrayBuffer or a WebAssembly.Memory stay where they are until the buffer is detached, and then every view on
 * it has length 0. (koffi refuses a SharedArrayBuffer itself, and answers for a view with the view's own first byte.)
 */
export function addressOf(buffer: ArrayBufferLike): number {
  let address = addresses.get(buffer)
  if (address === undefined) {
    address = Number(koffi.address(new Uint8Array(buffer)))
    if (!Number.isSafeInteger(address)) throw new RangeError(`address ${address} does not fit a number`)
    addresses.set(buffer, address)
  }
  return address
}

/**
 * Zeroed 32-bit words at an address, for calls to read and fill: made once, used for every call. What has the address
 * has the words too, and that is the point: V8 does not keep a module's variable that no function mentions, so words
 * that are written once and used by their address alone would be collected, and the address be somebody else's.
 */
export class Words {
  readonly words: Uint32Array
  readonly address: number

  constructor(length: number) {
    this.words = new Uint32Array(new ArrayBuffer(length * 4))
    this.address = addressOf(this.words.buffer)
  }
}
