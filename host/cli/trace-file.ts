// The trace file that a command is given: read, checked, and whatever is wrong with it said with its name.

import { readFile } from 'node:fs/promises'
import { TraceError } from '../replay/bytes.ts'
import { Trace } from '../replay/trace.ts'
import { UsageError } from './options.ts'

export async function readTrace(command: string, file: string): Promise<Trace> {
  if (file === '') throw new UsageError(`FILE is missing: vblk ${command} FILE, a trace that a Recorder has made`)
  const bytes = await readOrRefuse(file)
  try {
    return await Trace.parse(bytes)
  } catch (error) {
    if (error instanceof TraceError) throw new UsageError(`${file}: ${error.message}`)
    throw error
  }
}

/** `file` as it stands in the message: with the option before it, if it is an option's. */
export async function readOrRefuse(file: string, option = ''): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`
    throw new UsageError(`${option}${file}: ${reason}`)
  }
}
