// Eventfds in counter mode: how threads and the kernel wake each other (kicks, interrupts, stop). The counter adds up
// signals until somebody takes them all at once. The functions work on a number that another thread owns; EventFd is
// for the owner. All are close-on-exec and non-blocking. Does not wait: that is epoll.ts.

import koffi from 'koffi'
import { bind } from './bind.ts'
import { Descriptor, O_CLOEXEC, O_NONBLOCK, takeCount } from './fd.ts'
import { SysError, Words } from './libc.ts'

const EFD_CLOEXEC = O_CLOEXEC
const EFD_NONBLOCK = O_NONBLOCK
const COUNTER_BYTES = 8

const calls = {
  eventfd: bind<(initial: number, flags: number) => number>('eventfd', 'int eventfd(unsigned int initial, int flags)'),
  write: bind<(fd: number, address: number, bytes: number) => number>(
    'write',
    'int64_t write(int fd, int64_t buffer, int64_t bytes)',
  ),
}

/** The number 1 as the kernel reads it. */
const one = new Words(COUNTER_BYTES / 4)
one.words[0] = 1

/**
 * Adds 1 to the counter and wakes whoever waits. 0, or -errno. -EAGAIN: the counter is full (2^64 - 2), so whoever
 * waits has been woken already and nothing is lost. Does not block, so EINTR cannot happen.
 */
export function signalEventFd(fd: number): number {
  const moved = calls.write(fd, one.address, COUNTER_BYTES)
  return moved < 0 ? -koffi.errno() : 0
}

/** Takes all signals: the counter, which is 0 afterwards; 0 if it was 0 already (EAGAIN); or -errno. Never blocks. */
export function takeEventFd(fd: number): number {
  return takeCount(fd)
}

export class EventFd extends Descriptor {
  private constructor(fd: number) {
    super(fd, true)
  }

  /** `initial`: what the counter starts with, below 2^32. */
  static create(initial = 0): EventFd {
    if (initial >>> 0 !== initial) throw new RangeError(`an eventfd cannot start with ${initial}`)
    const fd = calls.eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK)
    if (fd < 0) throw new SysError('eventfd', koffi.errno())
    return new EventFd(fd)
  }

  /** As signalEventFd; -EBADF after close. */
  signal(): number {
    return signalEventFd(this.fd)
  }

  /** As takeEventFd; -EBADF after close. */
  take(): number {
    return takeEventFd(this.fd)
  }
}
