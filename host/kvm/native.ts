// The calls behind host/kvm: ioctl, mmap of kvm_run, and the signal that makes a vCPU thread leave the guest. Knows no
// structure of KVM. Calls made at set-up throw KvmError; those made while a guest runs answer with a number, or
// -errno. Pointers are plain numbers or typed arrays, as in host/sys/libc.ts.
//
// How a vCPU is interrupted. The thread that runs it blocks SIGURG for itself, and tells KVM to let SIGURG through
// while the guest runs (KVM_SET_SIGNAL_MASK). A SIGURG sent to that thread then ends KVM_RUN with EINTR, or, when it
// comes earlier, the next KVM_RUN: it stays pending until taken, so none is lost. No handler runs, and nothing of the
// process changes but that thread's mask. SIGURG because a process ignores it by default: one that goes astray to a
// thread that does not block it is dropped by the kernel. Node and V8 do not use it.

import { constants } from 'node:os'
import koffi from 'koffi'
import { errnoName, SysError } from '../sys/libc.ts'
import { KvmError, requestFailed } from './errors.ts'
import { REQUESTS, type RequestName } from './numbers.ts'

const { SIGURG } = constants.signals
const { EAGAIN, EINTR } = constants.errno
/** O_RDWR and O_CLOEXEC. */
const OPEN_FLAGS = 0o2000002
const SIG_BLOCK = 0
const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
// x86-64; glibc has functions for these two only from 2.30 on.
const SYS_gettid = 186
const SYS_tgkill = 234
/** A signal set as the C library has it; the kernel's is its first 8 bytes. */
const SIGSET_BYTES = 128
const KERNEL_SIGSET_BYTES = 8

type Buffer = Uint8Array | Int32Array | BigUint64Array

const calls = {
  open: bind<(path: string, flags: number) => number>('open', 'int open(const char *path, int flags)'),
  close: bind<(fd: number) => number>('close', 'int close(int fd)'),
  ioctl: bind<(fd: number, request: number, argument: number) => number>(
    'ioctl',
    'int ioctl(int fd, unsigned long request, int64_t argument)',
  ),
  ioctlBuffer: bind<(fd: number, request: number, argument: Buffer) => number>(
    'ioctl',
    'int ioctl(int fd, unsigned long request, void *argument)',
  ),
  mmap: bind<(at: number, bytes: number, protection: number, flags: number, fd: number, offset: number) => number>(
    'mmap',
    'int64_t mmap(int64_t at, int64_t bytes, int protection, int flags, int fd, int64_t offset)',
  ),
  munmap: bind<(address: number, bytes: number) => number>('munmap', 'int munmap(int64_t address, int64_t bytes)'),
  syscall: bind<(number: number, a: number, b: number, c: number) => number>(
    'syscall',
    'long syscall(long number, int64_t a, int64_t b, int64_t c)',
  ),
  pthread_sigmask: bind<(how: number, set: Buffer, old: Buffer) => number>(
    'pthread_sigmask',
    'int pthread_sigmask(int how, void *set, void *old)',
  ),
  sigtimedwait: bind<(set: Buffer, info: number, timeout: Buffer) => number>(
    'sigtimedwait',
    'int sigtimedwait(void *set, int64_t info, void *timeout)',
  ),
}

// File descriptors ----------------------------------------------------------------------------------------------

/**
 * A file descriptor, or -errno. Not through node:fs, which would close it with the worker thread it was opened on, and
 * warn when somebody else does.
 */
export function openDevice(path: string): number {
  const fd = calls.open(path, OPEN_FLAGS)
  return fd < 0 ? -koffi.errno() : fd
}

export function closeFd(fd: number): void {
  const result = calls.close(fd)
  if (result < 0) throw new SysError('close', koffi.errno())
}

// ioctl ---------------------------------------------------------------------------------------------------------

/** What the request answers (0 or more). `subject` says in the error what it was about: 'slot 3'. */
export function kvmIoctl(fd: number, name: RequestName, argument: number | Buffer, subject = ''): number {
  const result = tryIoctl(fd, name, argument)
  if (result < 0) throw requestFailed(name, -result, subject)
  return result
}

/** As kvmIoctl, with -errno for a failure. */
export function tryIoctl(fd: number, name: RequestName, argument: number | Buffer): number {
  const request = REQUESTS[name]
  const result =
    typeof argument === 'number' ? calls.ioctl(fd, request, argument) : calls.ioctlBuffer(fd, request, argument)
  return result < 0 ? -koffi.errno() : result
}

const { KVM_RUN } = REQUESTS

/** 0, or -errno. -EINTR has taken the signal that caused it; a vCPU that wakes from waiting for its start says so too. */
export function runVcpu(fd: number): number {
  const result = calls.ioctl(fd, KVM_RUN, 0)
  if (result >= 0) return result
  const errno = koffi.errno()
  if (errno === EINTR) calls.sigtimedwait(KICK, 0, NO_WAIT)
  return errno === EAGAIN ? -EINTR : -errno
}

// The mapping of kvm_run ----------------------------------------------------------------------------------------

/** Maps the vCPU's first `bytes` bytes, and shows them in place. The view is dead once unmapped: forget it first. */
export function mapRun(fd: number, bytes: number): { address: number; view: ArrayBuffer } {
  const address = calls.mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
  if (address === -1) {
    const errno = koffi.errno()
    throw new KvmError(errnoName(errno), `cannot map kvm_run of file descriptor ${fd}: is it a vCPU?`)
  }
  try {
    return { address, view: koffi.view(address, bytes) }
  } catch (error) {
    unmap(address, bytes)
    throw error
  }
}

export function unmap(address: number, bytes: number): void {
  const result = calls.munmap(address, bytes)
  if (result < 0) throw new SysError('munmap', koffi.errno())
}

// Signals -------------------------------------------------------------------------------------------------------

const KICK = new Uint8Array(SIGSET_BYTES)
KICK[(SIGURG - 1) >> 3] = 1 << ((SIGURG - 1) & 7)
const NO_WAIT = new BigUint64Array(2)

/** Blocks the kick on this thread. Returns the set that is to be blocked while a guest runs: all as now, but it. */
export function blockKick(): Uint8Array {
  const before = new Uint8Array(SIGSET_BYTES)
  const errno = calls.pthread_sigmask(SIG_BLOCK, KICK, before)
  if (errno !== 0) throw new SysError('pthread_sigmask', errno)
  return before.subarray(0, KERNEL_SIGSET_BYTES).map((byte, i) => byte & ~(KICK[i] ?? 0))
}

/** The kernel's number of this thread. */
export function threadId(): number {
  return calls.syscall(SYS_gettid, 0, 0, 0)
}

/** 0, or -errno: -ESRCH if the process has no such thread (any more). */
export function kickThread(tid: number): number {
  const result = calls.syscall(SYS_tgkill, process.pid, tid, SIGURG)
  return result < 0 ? -koffi.errno() : 0
}

/** On a system that lacks the call, importing this file works and calling it throws ENOSYS. */
function bind<Call extends (...words: never[]) => number>(name: string, definition: string): Call {
  try {
    return koffi.load(null).func(definition) as unknown as Call
  } catch {
    const missing = (): number => {
      throw new SysError(name, constants.errno.ENOSYS)
    }
    return missing as Call
  }
}
