// What the kernel says about this process's file descriptors (/proc/self), and pipes for tests that need one end to
// hang up. No fcntl: the flags are read from fdinfo. Holds no state.

import * as fs from 'node:fs'
import { bind } from '../../host/sys/bind.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000

const pipe2 = bind<(ends: Int32Array, flags: number) => number>('pipe2', 'int pipe2(void *ends, int flags)')

/** The lines of /proc/self/fdinfo about a descriptor; throws if it is not open. */
export function descriptorInfo(fd: number): Map<string, string> {
  const lines = fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').trim().split('\n')
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
}

export function isCloseOnExec(fd: number): boolean {
  return (Number.parseInt(descriptorInfo(fd).get('flags') ?? '', 8) & O_CLOEXEC) !== 0
}

export function isNonBlocking(fd: number): boolean {
  return (Number.parseInt(descriptorInfo(fd).get('flags') ?? '', 8) & O_NONBLOCK) !== 0
}

export function isOpen(fd: number): boolean {
  return fs.existsSync(`/proc/self/fdinfo/${fd}`)
}

/** How many descriptors the process has. */
export function openDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length
}

/** A pipe, close-on-exec and non-blocking. The caller closes both ends. */
export function openPipe(): { reader: number; writer: number } {
  const ends = new Int32Array(2)
  const result = pipe2(ends, O_CLOEXEC | O_NONBLOCK)
  if (result < 0) throw new Error('no pipe')
  return { reader: ends[0] ?? -1, writer: ends[1] ?? -1 }
}
