// The page as a folder of files for any web server: put together beside its place and renamed when it is whole, so that
// what is there stays as it was until then. A folder that was made here is replaced, if nothing else is in it: the file
// MARK lists what was written.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { UsageError } from './options.ts'

/** By it a folder is known to be ours: the files in it, one path a line. */
const MARK = 'vblk-demo.txt'

/** Throws UsageError if a site may not be written there. */
export function checkSite(folder: string): void {
  const parent = dirname(resolve(folder))
  if (!existsSync(parent)) throw new UsageError(`--out ${folder}: there is no directory ${parent}`)
  const there = statSync(folder, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isDirectory()) throw new UsageError(`--out ${folder}: there is a file; name a folder`)
  const ours = new Set(existsSync(join(folder, MARK)) ? readFileSync(join(folder, MARK), 'utf8').split('\n') : [])
  const others = filesIn(folder).filter((path) => path !== MARK && !ours.has(path))
  if (others.length > 0) {
    const some = others.slice(0, 2).join(', ') + (others.length > 2 ? ' ...' : '')
    throw new UsageError(`--out ${folder}: there are other files in it (${some}), left alone; name a new folder`)
  }
}

/** Returns how many bytes the files have. */
export function writeSite(folder: string, page: string, linux: string | undefined): number {
  const place = resolve(folder)
  const name = `.${basename(place)}.${process.pid}`
  const made = join(dirname(place), `${name}.new`)
  const old = join(dirname(place), `${name}.old`)
  try {
    checkSite(folder) // once more: making the guest takes a while
    mkdirSync(made)
    cpSync(page, made, { recursive: true, filter: (path) => !path.endsWith('.map') })
    if (linux !== undefined) cpSync(linux, join(made, 'linux'), { recursive: true })
    const paths = filesIn(made)
    writeFileSync(join(made, MARK), `${paths.join('\n')}\n`)
    if (existsSync(place)) renameSync(place, old)
    renameSync(made, place)
    return paths.reduce((sum, path) => sum + statSync(join(place, path)).size, 0)
  } catch (error) {
    if (error instanceof UsageError) throw error
    if (!existsSync(place) && existsSync(old)) renameSync(old, place)
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`--out ${folder}: cannot be written (${code}); what was there is unchanged`)
  } finally {
    rmSync(made, { recursive: true, force: true })
    rmSync(old, { recursive: true, force: true })
  }
}

/** Paths from the folder. An empty folder counts for nothing. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}
