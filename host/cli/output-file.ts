// A file that a command writes at its end: asked for before anything is done whether it may go there, and there whole
// or not at all.

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
import { basename, dirname, join } from 'node:path'
import { UsageError } from './options.ts'

export interface OutputFile {
  /** the option that names it, without dashes */
  readonly option: string
  readonly path: string
  /** 'saved machine': what is there is replaced only if it is one too: a mistyped name costs nobody a file */
  readonly what: string
  readonly isOne: (beginning: Uint8Array) => boolean
}

/** `input`: a file that must not be the one. */
export function checkOutputFile({ option, path, what, isOne }: OutputFile, input: string): void {
  const refuse = (reason: string): never => {
    throw new UsageError(`--${option} ${path}: ${reason}`)
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
  if (isSame(there, statSync(input, { throwIfNoEntry: false }))) refuse('this is the disk image')
  if (there.size > 0 && !isOne(beginning(path))) {
    refuse(`there is a file that is no ${what}; it is left as it is, choose another name`)
  }
}

/** Under another name first, and renamed when it is on the disk: never half a file. `lost` says what is gone if not. */
export function writeOutputFile(
  { option, path }: Pick<OutputFile, 'option' | 'path'>,
  bytes: Uint8Array,
  lost: string,
): void {
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
    throw new UsageError(`--${option} ${path}: cannot be written: ${code}; ${lost}`)
  }
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
