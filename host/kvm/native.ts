// The calls behind host/kvm: ioctl, the mapping of kvm_run, and the signal that makes a vCPU thread leave the guest.
// Knows no structure of KVM. Calls made at set-up throw KvmError; those made while a guest runs answer with a number,
// or -errno. Structures are typed arrays, which koffi keeps where they are during the call.
//
// How a vCPU is interrupted. The thread that runs it blocks SIGURG for itself, and tells KVM to let SIGURG through
// while the guest runs (KVM_SET_SIGNAL_MASK). A SIGURG sent to that thread then ends KVM_RUN with EINTR, or, when it
// comes earlier, the next KVM_RUN: it stays pending until taken, so none is lost. No handler runs, and nothing of the
// process changes but that thread's mask. SIGURG because a process ignores it by default: one that goes astray to a
// thread that does not block it is dropped by the kernel. Node and V8 do not use it.

import { constants } from 'node:os'
import koffi from 'koffi'
import { bind } from '../sys/bind.ts'
import { O_CLOEXEC } from '../sys/fd.ts'
import { SysError } from '../sys/libc.ts'
import { mapShared, unmap, viewOf } from '../sys/memory.ts'
import { KvmError, requestFailed } from './errors.ts'
import { REQUESTS, type RequestName } from './numbers.ts'

const { SIGURG } = constants.signals
const { EAGAIN, EINTR } = constants.errno
const O_RDWR = 2
const SIG_BLOCK = 0
// x86-64; glibc has functions for these two only from 2.30 on.
const SYS_gettid = 186
const SYS_tgkill = 234
/** A signal set as the C library has it; the kernel's is its first 8 bytes. */
const SIGSET_BYTES = 128
const KERNEL_SIGSET_BYTES = 8

type Structure = Uint8Array | BigUint64Array

const calls = {
  open: bind<(path: string, flags: number) => number>('open', 'int open(const char *path, int flags)'),
  ioctl: bind<(fd: number, request: number, argument: number) => number>(
    'ioctl',
    'int ioctl(int fd, unsigned long request, int64_t argument)',
  ),
  ioctlBuffer: bind<(fd: number, request: number, argument: Structure) => number>(
    'ioctl',
    'int ioctl(int fd, unsigned long request, void *argument)',
  ),
  syscall: bind<(number: number, a: number, b: number, c: number) => number>(
    'syscall',
    'long syscall(long number, int64_t a, int64_t b, int64_t c)',
  ),
  pthread_sigmask: bind<(how: number, set: Structure, old: Structure) => number>(
    'pthread_sigmask',
    'int pthread_sigmask(int how, void *set, void *old)',
  ),
  sigtimedwait: bind<(set: Structure, info: number, timeout: Structure) => number>(
    'sigtimedwait',
    'int sigtimedwait(void *set, int64_t info, void *timeout)',
  ),
}

/**
 * A file descriptor, or -errno. Not through node:fs, which would close it with the worker thread it was opened on, and
 * warn when somebody else does.
 */
export function openDevice(path: string): number {
  const fd = calls.open(path, O_RDWR | O_CLOEXEC)
  return fd < 0 ? -koffi.errno() : fd
}

// ioctl ---------------------------------------------------------------------------------------------------------

/** What the request answers (0 or more). `subject` says in the error what it was about: 'slot 3'. */
export function kvmIoctl(fd: number, name: RequestName, argument: number | Structure, subject = ''): number {
  const result = tryIoctl(fd, name, argument)
  if (result < 0) throw requestFailed(name, -result, subject)
  return result
}

/** As kvmIoctl, with -errno for a failure. */
export function tryIoctl(fd: number, name: RequestName, argument: number | Structure): number {
  const request = REQUESTS[name]
  const result =
    typeof argument === 'number' ? calls.ioctl(fd, request, argument) : calls.ioctlBuffer(fd, request, argument)
  return result < 0 ? -koffi.errno() : result
}

const { KVM_RUN } = REQUESTS

/**
 * 0, or -errno. -EINTR has taken the signal that caused it, if it was ours. A vCPU that stops waiting for its start
 * (EAGAIN) says -EINTR too: either way there is nothing to answer.
 */
export function runVcpu(fd: number): number {
  const result = calls.ioctl(fd, KVM_RUN, 0)
  if (result >= 0) return result
  const errno = koffi.errno()
  if (errno === EINTR) calls.sigtimedwait(KICK, 0, NO_WAIT)
  return errno === EAGAIN ? -EINTR : -errno
}

// The mapping of kvm_run ----------------------------------------------------------------------------------------

/** Maps the vCPU's first `bytes` bytes, and shows them in place. The caller forgets the view, then unmaps. */
export function mapRun(fd: number, bytes: number): { address: number; view: ArrayBuffer } {
  let address: number
  try {
    address = mapShared(fd, bytes, 0)
  } catch (error) {
    const { code } = error as SysError
    throw new KvmError(code, `cannot map kvm_run of file descriptor ${fd}: ${code}; is it a vCPU?`)
  }
  try {
    return { address, view: viewOf(address, bytes) }
  } catch (error) {
    unmap(address, bytes)
    throw error
  }
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
