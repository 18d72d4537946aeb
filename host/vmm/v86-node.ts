// Loads v86 in Node. The package is an optional peer dependency: only who boots guests in software needs it, so it is
// imported when asked for and its absence is one line with the remedy. A page loads v86 in its own way and does not
// use this file.

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { V86Runtime } from './v86-types.ts'

/** v86 is not installed, or not as expected. The message says what to do. */
export class V86MissingError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'V86MissingError'
  }
}

/** Where the files of the installed v86 are. Throws V86MissingError if there is none. */
export function findV86(from: string = import.meta.url): {
  library: string
  wasm: string
  licence: string
  about: string
} {
  let library: string
  try {
    // A variable name keeps bundlers and the type checker from resolving a package that may be absent.
    const name = 'v86'
    library = createRequire(from).resolve(name)
  } catch (error) {
    throw new V86MissingError('v86 is not installed; it runs Linux guests in software: npm install v86@0.5.462', {
      cause: error,
    })
  }
  const folder = dirname(library)
  const root = dirname(folder)
  return {
    library,
    wasm: join(folder, 'v86.wasm'),
    licence: join(root, 'LICENSE'),
    about: join(root, 'package.json'),
  }
}

/**
 * The v86 emulator from node_modules, for `V86Machine.create`. Throws V86MissingError if there is none.
 * `from` is the module whose node_modules folders are searched, this one by default.
 */
export async function loadV86(from: string = import.meta.url): Promise<V86Runtime> {
  const files = findV86(from)
  try {
    const { V86 } = (await import(pathToFileURL(files.library).href)) as Pick<V86Runtime, 'V86'>
    const wasm = new Uint8Array(await readFile(files.wasm))
    if (typeof V86 !== 'function') throw new TypeError('it exports no V86')
    const { version } = JSON.parse(await readFile(files.about, 'utf8'))
    return { V86, wasm, version: String(version) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new V86MissingError(`v86 cannot be used (${reason}); reinstall it: npm install v86@0.5.462`, { cause: error })
  }
}
