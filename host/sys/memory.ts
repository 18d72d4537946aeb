// Mappings of files into this process, and holes in files. Addresses are plain numbers, as in libc.ts. A mapping has
// one owner, who unmaps it. Whoever looks at a mapping after that ends the process (SIGSEGV), and so does whoever
// looks past the end of a file that shrank (SIGBUS): JavaScript cannot notice.

import koffi from 'koffi'
import { bind } from './bind.ts'
import { SysError } from './libc.ts'

export const FALLOC_FL_KEEP_SIZE = 0x1
/** Only with FALLOC_FL_KEEP_SIZE. */
export const FALLOC_FL_PUNCH_HOLE = 0x2
export const FALLOC_FL_ZERO_RANGE = 0x10

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1

const calls = {
  mmap: bind<(at: number, bytes: number, protection: number, flags: number, fd: number, offset: number) => number>(
    'mmap',
    'int64_t mmap(int64_t at, int64_t bytes, int protection, int flags, int fd, int64_t offset)',
  ),
  munmap: bind<(address: number, bytes: number) => number>('munmap', 'int munmap(int64_t address, int64_t bytes)'),
  fallocate: bind<(fd: number, mode: number, offset: number, bytes: number) => number>(
    'fallocate',
    'int fallocate(int fd, int mode, int64_t offset, int64_t bytes)',
  ),
}

/**
 * Maps a file or a device for reading and writing, shared with everyone who has it. Returns the address. `offset` is
 * a multiple of the page size. Throws EACCES if `fd` is not open for both. `fd` may be closed afterwards.
 */
export function mapShared(fd: number, bytes: number, offset: number): number {
  const address = calls.mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)
  if (address === -1) throw new SysError('mmap', koffi.errno())
  return address
}

/** Ends the mapping; every view on it has to be forgotten before. Not idempotent: the address may be somebody's. */
export function unmap(address: number, bytes: number): void {
  const result = calls.munmap(address, bytes)
  if (result < 0) throw new SysError('munmap', koffi.errno())
}

/**
 * The bytes of a mapping in place, as an ArrayBuffer that V8 does not own. It cannot be detached: transferring it
 * copies and leaves it as it is. So it stays with the mapping's owner, who forgets it, and what was made from it,
 * before unmap. Made once per mapping, not per access.
 */
export function viewOf(address: number, bytes: number): ArrayBuffer {
  return koffi.view(address, bytes)
}

/**
 * Punches a hole into a file, zeroes a part of it or sets space aside, by `mode`. 0, or -errno. -EOPNOTSUPP: the
 * file system cannot do this. -EINTR: a signal came first, part may be done; doing it again is safe.
 */
export function fallocate(fd: number, mode: number, offset: number, bytes: number): number {
  const result = calls.fallocate(fd, mode, offset, bytes)
  return result < 0 ? -koffi.errno() : 0
}
