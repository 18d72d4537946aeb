// Timerfds: one-shot timers that epoll waits for, on CLOCK_MONOTONIC, relative to now. Close-on-exec, non-blocking.
// Owns one itimerspec per thread, filled for each call. Does not clamp to what a caller finds sensible.
//
// struct itimerspec, 64-bit systems: 0 interval sec, 8 interval nsec, 16 value sec, 24 value nsec; 8 bytes each.

import koffi from 'koffi'
import { bind } from './bind.ts'
import { Descriptor, O_CLOEXEC, O_NONBLOCK, takeCount } from './fd.ts'
import { SysError, Words } from './libc.ts'

const CLOCK_MONOTONIC = 1
const TFD_CLOEXEC = O_CLOEXEC
const TFD_NONBLOCK = O_NONBLOCK
const SECOND = 1e9
const NANOS_MAX = Number.MAX_SAFE_INTEGER

const calls = {
  create: bind<(clock: number, flags: number) => number>('timerfd_create', 'int timerfd_create(int clock, int flags)'),
  settime: bind<(fd: number, flags: number, value: number, old: number) => number>(
    'timerfd_settime',
    'int timerfd_settime(int fd, int flags, int64_t value, int64_t old)',
  ),
}

const VALUE_SECONDS = 4
const VALUE_NANOS = 6
const spec = new Words(8)

export class TimerFd extends Descriptor {
  private constructor(fd: number, isOwner: boolean) {
    super(fd, isOwner)
  }

  /** A timer that is not armed. */
  static create(): TimerFd {
    const fd = calls.create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
    if (fd < 0) throw new SysError('timerfd_create', koffi.errno())
    return new TimerFd(fd, true)
  }

  /** A timer that another thread owns. close() forgets it and leaves it open. */
  static borrow(fd: number): TimerFd {
    return new TimerFd(fd, false)
  }

  /**
   * Readable once, `nanos` from now, whatever it was armed for before; an expiry nobody took is forgotten. Fractions
   * are rounded up, what is not above 0 counts as 1 (0 would disarm), the most is 2^53 - 1 (104 days). 0, or -errno.
   */
  arm(nanos: number): number {
    const whole = nanos >= 1 ? Math.min(Math.ceil(nanos), NANOS_MAX) : 1
    const seconds = Math.floor(whole / SECOND)
    return this.#set(seconds, whole - seconds * SECOND)
  }

  /** Never readable until armed again; an expiry nobody took is forgotten. 0, or -errno. */
  disarm(): number {
    return this.#set(0, 0)
  }

  /** 1 if it expired since it was armed and nobody took that, 0 if not (EAGAIN), or -errno. Never blocks. */
  take(): number {
    return takeCount(this.fd)
  }

  #set(seconds: number, nanos: number): number {
    spec.words[VALUE_SECONDS] = seconds
    spec.words[VALUE_NANOS] = nanos
    const result = calls.settime(this.fd, 0, spec.address, 0)
    return result < 0 ? -koffi.errno() : 0
  }
}
