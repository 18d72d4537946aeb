// A clock that makes a vCPU leave its guest: a POSIX timer that sends SIGURG to one thread, again and again. While
// that thread is in the guest, run() returns -EINTR; at other times the signal stays pending, for the next run()
// (Vcpu.open blocks it on its thread). For time limits and for devices that act later, without a second thread.
//
// x86-64 Linux only, as KVM's bindings are. Does not end anything by itself: whoever runs the vCPU looks at the time.

import { constants } from 'node:os'
import koffi from 'koffi'
import { SysError } from '../../host/sys/libc.ts'

const SYS_TIMER_CREATE = 222
const SYS_TIMER_SETTIME = 223
const SYS_TIMER_DELETE = 226
const CLOCK_MONOTONIC = 1
const SIGEV_THREAD_ID = 4
const SIGEVENT_BYTES = 64
const NANOS_PER_MS = 1e6

const syscall = koffi
  .load(null)
  .func('long syscall(long number, int64_t a, int64_t b, void *c, void *d)') as unknown as (
  number: number,
  a: number,
  b: number,
  c: Uint8Array | null,
  d: Uint8Array | null,
) => number

export class VcpuAlarm {
  readonly #timer: number

  /** Rings every `everyMs` from now on for the thread `threadId` (Vcpu.threadId). The caller cancels it. */
  constructor(threadId: number, everyMs: number) {
    // struct sigevent: value u64, signo i32, notify i32, tid i32
    const event = new Int32Array(SIGEVENT_BYTES / 4)
    event.set([constants.signals.SIGURG, SIGEV_THREAD_ID, threadId], 2)
    const id = new Int32Array(1)
    const at = Number(koffi.address(event))
    const created = syscall(SYS_TIMER_CREATE, CLOCK_MONOTONIC, at, new Uint8Array(id.buffer), null)
    if (created < 0) throw new SysError('timer_create', koffi.errno())
    this.#timer = id[0] as number
    // struct itimerspec: interval and first time, each seconds and nanoseconds
    const nanos = BigInt(Math.round(everyMs * NANOS_PER_MS))
    const time = [nanos / 1_000_000_000n, nanos % 1_000_000_000n]
    const spec = new BigInt64Array([...time, ...time] as bigint[])
    const armed = syscall(SYS_TIMER_SETTIME, this.#timer, 0, new Uint8Array(spec.buffer), null)
    if (armed < 0) throw new SysError('timer_settime', koffi.errno())
  }

  /** Once. A signal sent before may still be pending: it ends the next run() of that thread early. */
  cancel(): void {
    const result = syscall(SYS_TIMER_DELETE, this.#timer, 0, null, null)
    if (result < 0) throw new SysError('timer_delete', koffi.errno())
  }
}
