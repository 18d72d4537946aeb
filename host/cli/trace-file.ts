// The trace file that a command is given: read, checked, and whatever is wrong with it said with its name.

import { TraceError } from '../replay/bytes.ts'
import { Trace } from '../replay/trace.ts'
import { readInputFile } from './input-file.ts'
import { UsageError } from './options.ts'

export async function readTrace(file: string): Promise<Trace> {
  const bytes = await readInputFile(file)
  try {
    return await Trace.parse(bytes)
  } catch (error) {
    if (error instanceof TraceError) throw new UsageError(`${file}: ${error.message}`)
    throw error
  }
}
