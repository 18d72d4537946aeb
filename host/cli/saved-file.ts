// The file of `vblk boot --save` and `--resume`: where it may go, which is asked before anything is booted, how it gets
// there whole or not at all, and whether the disk image is still the one the machine was saved with.

import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { FileBackend } from '../backend/file.ts'
import {
  type ImageIdentity,
  isSavedMachine,
  type SavedMachine,
  SavedMachineError,
  unpackSavedMachine,
} from '../vmm/saved-machine.ts'
import { UsageError } from './options.ts'

/** What is there is replaced only if it is a saved machine too: a mistyped name costs nobody a file. */
export function checkSaveFile(path: string, disk: string): void {
  const refuse = (reason: string): never => {
    throw new UsageError(`--save ${path}: ${reason}`)
  }
  const folder = dirname(path)
  try {
    if (!statSync(folder).isDirectory()) refuse(`${folder} is no directory`)
    accessSync(folder, constants.W_OK | constants.X_OK)
  } catch (error) {
    if (error instanceof UsageError) throw error
    const { code } = error as NodeJS.ErrnoException
    refuse(code === 'ENOENT' ? `there is no directory ${folder}` : `${folder} cannot be written to (${code})`)
  }
  const there = statSync(path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isFile()) refuse('there is something that is no regular file')
  if (isSame(there, statSync(disk, { throwIfNoEntry: false }))) refuse('this is the disk image')
  if (there.size > 0 && !isSavedMachine(beginning(path))) {
    refuse('there is a file that is no saved machine; it is left as it is, choose another name')
  }
}

/** Under another name first, and renamed when it is on the disk: never half a file. */
export function writeSaveFile(path: string, bytes: Uint8Array): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  try {
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EEXIST') rmSync(temporary, { force: true })
    throw new UsageError(`--save ${path}: cannot be written: ${code}; the machine is lost, the disk is as it left it`)
  }
}

export async function readSaveFile(path: string): Promise<SavedMachine> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(
      `--resume ${path}: ${code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`}`,
    )
  }
  try {
    return await unpackSavedMachine(bytes)
  } catch (error) {
    if (error instanceof SavedMachineError) throw new UsageError(`--resume ${path}: ${error.message}`)
    throw error
  }
}

export function identityOf({ path, capacityBytes, readOnly }: FileBackend): ImageIdentity {
  const stats = statSync(path, { bigint: true })
  return { bytes: capacityBytes, modified: stats.isFile() ? String(stats.mtimeNs) : '0', isReadOnly: readOnly }
}

/** A guest has parts of its disk in its memory; on a disk that changed meanwhile it would destroy what is there. */
export function checkIdentity(backend: FileBackend, saved: ImageIdentity): void {
  const { bytes, modified } = identityOf(backend)
  const changes = [
    ...(bytes !== saved.bytes ? [`its size was ${saved.bytes} and is ${bytes}`] : []),
    ...(modified !== saved.modified
      ? [`it was written to at ${time(modified)}, last before at ${time(saved.modified)}`]
      : []),
  ]
  if (changes.length === 0) return
  throw new UsageError(
    `--disk ${backend.path}: not as it was when the machine was saved (${changes.join('; ')}); ` +
      'give the image as it was, or --force if a damaged filesystem does not matter',
  )
}

function time(nanos: string): string {
  return nanos === '0' ? 'an unknown time' : new Date(Number(BigInt(nanos) / 1_000_000n)).toISOString()
}

function beginning(path: string): Uint8Array {
  const fd = openSync(path, 'r')
  try {
    const bytes = new Uint8Array(16)
    return bytes.subarray(0, readSync(fd, bytes))
  } finally {
    closeSync(fd)
  }
}

function isSame(a: Stats, b: Stats | undefined): boolean {
  return a.dev === b?.dev && a.ino === b.ino
}
