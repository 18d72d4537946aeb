// Runs a program of worker-child.module.ts in a process of its own. Holds no state.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { builtModule, soon } from './worker.ts'

export interface Ended {
  code: number | null
  /** the signal that ended it, if one did */
  signal: NodeJS.Signals | null
  /** what it said, undefined if nothing */
  said: Record<string, unknown> | undefined
  errors: string
}

export async function runChild(program: string): Promise<Ended> {
  const child = spawn(process.execPath, [fileURLToPath(builtModule('worker-child')), program])
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => {
      const line = output.trim()
      resolve({ code, signal, said: line === '' ? undefined : JSON.parse(line), errors })
    })
  })
  try {
    return await soon(`the process '${program}'`, ended)
  } finally {
    child.kill('SIGKILL')
  }
}
