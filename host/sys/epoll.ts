// Epoll: one thread waits for many descriptors. Level-triggered and for reading only: what stays readable is reported
// again by the next wait. Each object owns the array that wait() fills, so a thread that borrows an epoll descriptor
// has its own. Does not retry, loop or call back.
//
// struct epoll_event: 0 events u32, then the token in the low word of data u64: at 4 on x86 (packed, 12 bytes), at 8
// elsewhere (16 bytes).

import koffi from 'koffi'
import { bind } from './bind.ts'
import { Descriptor, O_CLOEXEC } from './fd.ts'
import { SysError, Words } from './libc.ts'

export const EPOLLIN = 0x1
export const EPOLLERR = 0x8
export const EPOLLHUP = 0x10

/** The most events one wait reports; the kernel takes turns, so the next wait begins with the others. */
export const EPOLL_EVENTS_MAX = 64

const EPOLLET = 0x80000000
const EPOLL_CLOEXEC = O_CLOEXEC
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2

const calls = {
  create: bind<(flags: number) => number>('epoll_create1', 'int epoll_create1(int flags)'),
  ctl: bind<(epoll: number, operation: number, fd: number, event: number) => number>(
    'epoll_ctl',
    'int epoll_ctl(int epoll, int operation, int fd, int64_t event)',
  ),
  wait: bind<(epoll: number, events: number, eventsMax: number, timeoutMs: number) => number>(
    'epoll_wait',
    'int epoll_wait(int epoll, int64_t events, int eventsMax, int timeoutMs)',
  ),
}

/** struct epoll_event in 32-bit words: how many, and which one is the token. */
export function epollEventLayout(arch: NodeJS.Architecture): { words: number; token: number } {
  return arch === 'x64' || arch === 'ia32' ? { words: 3, token: 1 } : { words: 4, token: 2 }
}

const { words: EVENT_WORDS, token: TOKEN_WORD } = epollEventLayout(process.arch)

const added = new Words(EVENT_WORDS)

export class Epoll extends Descriptor {
  readonly #events = new Words(EPOLL_EVENTS_MAX * EVENT_WORDS)

  private constructor(fd: number, isOwner: boolean) {
    super(fd, isOwner)
  }

  static create(): Epoll {
    const fd = calls.create(EPOLL_CLOEXEC)
    if (fd < 0) throw new SysError('epoll_create1', koffi.errno())
    return new Epoll(fd, true)
  }

  /** One that another thread owns. close() forgets it and leaves it open. */
  static borrow(fd: number): Epoll {
    return new Epoll(fd, false)
  }

  /**
   * Waits for `fd` to be readable, and for EPOLLERR and EPOLLHUP, from now on. `token`, a u32, says which it was.
   * With `onEdge`, each write to an eventfd is reported once, and the eventfd need not be read for that; otherwise
   * `fd` is reported as long as it is readable. Throws EEXIST if `fd` is in already, EPERM if it cannot be waited for
   * (a regular file).
   */
  add(fd: number, token: number, onEdge = false): void {
    if (token >>> 0 !== token) throw new RangeError(`an epoll token has 32 bits, ${token} does not`)
    added.words[0] = onEdge ? EPOLLIN | EPOLLET : EPOLLIN
    added.words[TOKEN_WORD] = token
    const result = calls.ctl(this.fd, EPOLL_CTL_ADD, fd, added.address)
    if (result < 0) throw new SysError('epoll_ctl(EPOLL_CTL_ADD)', koffi.errno())
  }

  /** To be done before `fd` is closed. Throws ENOENT if it is not in. */
  remove(fd: number): void {
    const result = calls.ctl(this.fd, EPOLL_CTL_DEL, fd, 0)
    if (result < 0) throw new SysError('epoll_ctl(EPOLL_CTL_DEL)', koffi.errno())
  }

  /**
   * Blocks the thread until a descriptor is ready or `timeoutMs` (whole; 0: look only; -1: for ever) have passed.
   * Returns how many are ready, 0 at the timeout, or -errno. -EINTR: a signal was handled; it is not retried, because
   * only the caller knows what is left of the timeout.
   */
  wait(timeoutMs: number): number {
    const count = calls.wait(this.fd, this.#events.address, EPOLL_EVENTS_MAX, timeoutMs)
    return count < 0 ? -koffi.errno() : count
  }

  /** The token of event `i`, below what the last wait returned. */
  token(i: number): number {
    return this.#events.words[i * EVENT_WORDS + TOKEN_WORD] ?? 0
  }

  /** EPOLLIN, EPOLLERR, EPOLLHUP of event `i`, below what the last wait returned. */
  flags(i: number): number {
    return this.#events.words[i * EVENT_WORDS] ?? 0
  }
}
