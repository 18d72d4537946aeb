// Makes disk images: sparse raw files, every byte zero, that take no room until they are written to.
// Never replaces or truncates anything: the file is created with O_EXCL, which also refuses a dangling symbolic link.
// Does not know formats (an image is raw bytes) and does not open what it made; see file.ts.

import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs'
import { BackendError } from './types.ts'

const SECTOR_BYTES = 512

/**
 * Makes a new image of `bytes` bytes, a multiple of 512. Throws BackendError: 'EINVAL' for a bad size, 'EEXIST' if
 * there is something at `path`, or what the system said. After a failure no new file is left behind.
 */
export function createImage(path: string, bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % SECTOR_BYTES !== 0) {
    throw new BackendError('EINVAL', `${path}: an image size is a multiple of 512 bytes above 0, not ${bytes}`)
  }
  const fd = attempt(path, () => openSync(path, 'wx'))
  try {
    attempt(path, () => ftruncateSync(fd, bytes))
  } catch (error) {
    closeSync(fd)
    unlinkSync(path)
    throw error
  }
  closeSync(fd)
}

function attempt<Result>(path: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO'
    if (code === 'EEXIST') throw new BackendError(code, `${path}: already exists, and is left as it is`)
    if (code === 'ENOENT') throw new BackendError(code, `${path}: the folder to put it in does not exist`)
    throw new BackendError(code, `${path}: cannot make the image: ${code}`)
  }
}
