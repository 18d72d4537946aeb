// Which calls of the kernel work here, found by making each of them once and giving back what it gave: for
// `vblk doctor`. io_uring is asked for too, although nothing uses it yet.

import koffi from 'koffi'
import { bind } from './bind.ts'
import { Epoll } from './epoll.ts'
import { EventFd } from './eventfd.ts'
import { closeFd } from './fd.ts'
import { SysError, Words } from './libc.ts'
import { TimerFd } from './timerfd.ts'

/** The same number on every architecture since io_uring came. */
const SYS_IO_URING_SETUP = 425
/** struct io_uring_params */
const PARAMS_BYTES = 120

const syscall = bind<(number: number, a: number, b: number) => number>(
  'syscall',
  'int64_t syscall(int64_t number, int64_t a, int64_t b)',
)

export interface SystemProbe {
  /** version of koffi */
  readonly koffi: string
  /** for each call '', or the name of the error: 'EPERM' */
  readonly calls: Readonly<Record<'eventfd' | 'epoll' | 'timerfd' | 'io_uring', string>>
}

export function probeSystem(): SystemProbe {
  return {
    koffi: koffi.version,
    calls: {
      eventfd: tried(() => EventFd.create().close()),
      epoll: tried(() => Epoll.create().close()),
      timerfd: tried(() => TimerFd.create().close()),
      io_uring: tried(setUpIoUring),
    },
  }
}

function setUpIoUring(): void {
  const params = new Words(PARAMS_BYTES / 4)
  const fd = syscall(SYS_IO_URING_SETUP, 1, params.address)
  if (fd < 0) throw new SysError('io_uring_setup', koffi.errno())
  closeFd(fd)
}

function tried(call: () => void): string {
  try {
    call()
    return ''
  } catch (error) {
    if (error instanceof SysError) return error.code
    throw error
  }
}
