// What a failed system call is called: the error class of host/sys and the names of error numbers. Users import both
// from libc.ts. Holds no state and makes no calls.

import { constants } from 'node:os'

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]))

/** The name of an error number ('EIO'), or 'E<number>'. 11 is 'EWOULDBLOCK', which Linux also calls EAGAIN. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `E${errno}`
}

/** A system call that failed. */
export class SysError extends Error {
  /** the call, as in section 2 of the manual: 'flock', 'ioctl(BLKGETSIZE64)' */
  readonly call: string
  readonly errno: number
  /** the name of `errno`: 'EIO', 'EWOULDBLOCK' */
  readonly code: string

  constructor(call: string, errno: number) {
    const code = errnoName(errno)
    super(`${call}: ${code}`)
    this.name = 'SysError'
    this.call = call
    this.errno = errno
    this.code = code
  }
}
