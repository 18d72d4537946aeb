// The file of `vblk boot --save` and `--resume`: where it may go, which is asked before anything is booted, and whether
// the disk image is still the one the machine was saved with.

import { statSync } from 'node:fs'
import type { FileBackend } from '../backend/file.ts'
import {
  type ImageIdentity,
  isSavedMachine,
  type SavedMachine,
  SavedMachineError,
  unpackSavedMachine,
} from '../vmm/saved-machine.ts'
import { readInputFile } from './input-file.ts'
import { UsageError } from './options.ts'
import { checkOutputFile, type OutputFile, writeOutputFile } from './output-file.ts'

export function checkSaveFile(path: string, disk: string): void {
  checkOutputFile(fileAt(path), disk)
}

export function writeSaveFile(path: string, bytes: Uint8Array): void {
  writeOutputFile(fileAt(path), bytes, 'the machine is lost, the disk is as it left it')
}

function fileAt(path: string): OutputFile {
  return { option: 'save', path, what: 'saved machine', isOne: isSavedMachine }
}

export async function readSaveFile(path: string): Promise<SavedMachine> {
  const bytes = await readInputFile(path, '--resume ')
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
      ? [`it was written to on ${time(modified)}, and before on ${time(saved.modified)}`]
      : []),
  ]
  if (changes.length === 0) return
  throw new UsageError(
    `--disk ${backend.path}: not as it was when the machine was saved (${changes.join('; ')}); ` +
      'give the image as it was, or --force if a damaged filesystem does not matter',
  )
}

function time(nanos: string): string {
  return nanos === '0' ? 'an unknown day' : new Date(Number(BigInt(nanos) / 1_000_000n)).toISOString()
}
