// File descriptors that the package makes itself: who owns one, how it is closed, and the 8-byte read that eventfds
// and timerfds share. A descriptor has one owner, an object on the thread that made it; other threads are lent its
// number, and have to be done with it before the owner closes. Node knows nothing of these descriptors: a thread that
// ends does not close them, and fs.closeSync on a worker thread would warn about them.

import { constants } from 'node:os'
import koffi from 'koffi'
import { bind } from './bind.ts'
import { SysError, Words } from './libc.ts'

/** O_CLOEXEC and O_NONBLOCK; EFD_, TFD_ and EPOLL_ have the same values. */
export const O_CLOEXEC = 0o2000000
export const O_NONBLOCK = 0o4000

const CLOSED = -1
const COUNT_BYTES = 8
const TWO_32 = 2 ** 32
const { EAGAIN } = constants.errno

const calls = {
  close: bind<(fd: number) => number>('close', 'int close(int fd)'),
  read: bind<(fd: number, address: number, bytes: number) => number>(
    'read',
    'int64_t read(int fd, int64_t buffer, int64_t bytes)',
  ),
}

const count = new Words(COUNT_BYTES / 4)

/**
 * Takes the count of a non-blocking eventfd or timerfd and leaves 0. Returns the count (beyond 2^53 the nearest number
 * there is), 0 if there was none (EAGAIN), or -errno. Does not block, so EINTR cannot happen.
 */
export function takeCount(fd: number): number {
  const moved = calls.read(fd, count.address, COUNT_BYTES)
  if (moved < 0) {
    const errno = koffi.errno()
    return errno === EAGAIN ? 0 : -errno
  }
  return (count.words[1] ?? 0) * TWO_32 + (count.words[0] ?? 0)
}

/** Closes a descriptor that no object owns. Throws EBADF if it was not open, which is a mistake of ours. */
export function closeFd(fd: number): void {
  const result = calls.close(fd)
  if (result < 0) throw new SysError('close', koffi.errno())
}

/** A descriptor and whether it is ours to close. */
export class Descriptor {
  #fd: number
  readonly #isOwner: boolean

  protected constructor(fd: number, isOwner: boolean) {
    this.#fd = fd
    this.#isOwner = isOwner
  }

  /** The number to lend to other threads; -1 once closed, which every call answers with EBADF. */
  get fd(): number {
    return this.#fd
  }

  /**
   * The owner's close closes the descriptor, a borrower's only forgets the number. Afterwards calls on this object
   * return -EBADF or throw it, whoever got the number since. Closing again does nothing.
   */
  close(): void {
    const fd = this.#fd
    if (fd === CLOSED) return
    this.#fd = CLOSED
    if (this.#isOwner) closeFd(fd)
  }
}
