// Counts foreign calls, in a child process of a benchmark: wraps every function that koffi gives out from now on, so
// it must be imported before host/sys. Without `VBLK_BENCH_CHILD=count` in the environment it changes nothing.
//
// Also looks at the addresses handed to the kernel: those outside the memory being watched belong to a copy. Counts
// calls really made, by name, koffi.errno and koffi.address included. Does not measure time: wrapping costs some.

import koffi from 'koffi'

/** The environment variable that makes a benchmark a child with a task: 'count', or one of the benchmark's own. */
export const CHILD = 'VBLK_BENCH_CHILD'

export interface Counts {
  calls: Record<string, number>
  /** buffers handed to the kernel that were not in the memory being watched */
  outside: number
}

let calls: Record<string, number> = {}
let outside = 0
let watched = { start: 0, end: 0 }

const { load, errno, address } = koffi

/** Buffers are expected to be in here. */
export function watch(buffer: ArrayBufferLike): void {
  const start = Number(address(new Uint8Array(buffer)))
  watched = { start, end: start + buffer.byteLength }
}

export function reset(): void {
  calls = {}
  outside = 0
}

export function counts(): Counts {
  return { calls: { ...calls }, outside }
}

function count(name: string): void {
  calls[name] = (calls[name] ?? 0) + 1
}

function look(start: number, bytes: number): void {
  if (start < watched.start || start + bytes > watched.end) outside += 1
}

function wrap(call: (...words: number[]) => number, name: string): (...words: number[]) => number {
  return (...words) => {
    count(name)
    const [, start = 0, size = 0] = words
    if (name === 'pread' || name === 'pwrite') look(start, size)
    if (name === 'preadv' || name === 'pwritev') {
      const iov: number[] = Array.from(koffi.decode(start, 'uint64_t', 2 * size), Number)
      for (let i = 0; i < iov.length; i += 2) look(iov[i] ?? 0, iov[i + 1] ?? 0)
    }
    return call(...words)
  }
}

if (process.env[CHILD] === 'count') {
  koffi.load = (...options) => {
    const library = load(...options)
    const func = (definition: string): unknown => {
      const call = library.func(definition)
      return wrap(call, call.info.name)
    }
    return { ...library, func } as typeof library
  }
  koffi.errno = (...words: []) => {
    count('errno')
    return errno(...words)
  }
  koffi.address = (value) => {
    count('address')
    return address(value)
  }
}
