// The page as a folder of files for any web server: put together beside its place and renamed when it is whole, so that
// what is there stays as it was until then. Only a folder that was made here, or an empty one, is replaced.

import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { UsageError } from './options.ts'

/** By it a folder is known to be ours. */
const MARK = 'vblk-demo.json'

/** Throws UsageError if a site may not be written there. */
export function checkSite(folder: string): void {
  const parent = dirname(resolve(folder))
  if (!existsSync(parent)) throw new UsageError(`--out ${folder}: there is no directory ${parent}`)
  const there = statSync(folder, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isDirectory()) throw new UsageError(`--out ${folder}: there is a file; name a folder`)
  if (readdirSync(folder).length > 0 && !existsSync(join(folder, MARK))) {
    throw new UsageError(`--out ${folder}: there are other files in it, which are left alone; name a new folder`)
  }
}

/** Returns how many bytes the files have. */
export function writeSite(folder: string, page: string, linux: string | undefined): number {
  const place = resolve(folder)
  const name = `.${basename(place)}.${process.pid}`
  const made = join(dirname(place), `${name}.new`)
  const old = join(dirname(place), `${name}.old`)
  try {
    mkdirSync(made)
    cpSync(page, made, { recursive: true, filter: (path) => !path.endsWith('.map') })
    if (linux !== undefined) cpSync(linux, join(made, 'linux'), { recursive: true })
    const bytes = bytesIn(made)
    writeFileSync(join(made, MARK), `${JSON.stringify({ madeBy: 'vblk demo --out', bytes })}\n`)
    if (existsSync(place)) renameSync(place, old)
    renameSync(made, place)
    return bytes
  } catch (error) {
    if (!existsSync(place) && existsSync(old)) renameSync(old, place)
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`--out ${folder}: cannot be written (${code}); what was there is unchanged`)
  } finally {
    rmSync(made, { recursive: true, force: true })
    rmSync(old, { recursive: true, force: true })
  }
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0)
}
