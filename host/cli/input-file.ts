// A file that a command is given: its bytes, or one line that names it and says why there are none.

import { readFile } from 'node:fs/promises'
import { UsageError } from './options.ts'

/** `option`: that the file was given with, as it stands in the message: '--engine '. None for FILE itself. */
export async function readInputFile(file: string, option = ''): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`
    throw new UsageError(`${option}${file}: ${reason}`)
  }
}
