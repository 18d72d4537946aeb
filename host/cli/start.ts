// `vblk start`, what `npm start` runs: the whole way in one go. Linux boots on a new 64 MiB disk, makes a filesystem,
// writes files, drops its caches, reads them back; then the same bytes are looked for in the image file from outside.
// Where Linux cannot be had, the same work is done by VirtioBlkDriver and says so. The image is removed at the end.

import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileBackend } from '../backend/file.ts'
import { createImage } from '../backend/image.ts'
import { GuestAssetsError, guestAssets } from '../vmm/debian.ts'
import { loadV86, V86MissingError } from '../vmm/v86-node.ts'
import { bytesText, countersTable } from './counters.ts'
import type { START } from './declarations.ts'
import { jsonText } from './json.ts'
import type { Given } from './options.ts'
import { Progress } from './progress.ts'
import { tourWithDriver } from './tour-driver.ts'
import { tourWithLinux } from './tour-linux.ts'

const DISK_BYTES = 64 << 20
/** Ctrl-C, kill, and the end of the terminal */
const ENDINGS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export async function start({ values }: Given<typeof START>): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-start-'))
  const clean = (): void => rmSync(folder, { recursive: true, force: true })
  const stop = new AbortController()
  const interrupted = (signal: NodeJS.Signals): void => {
    stop.abort()
    // What is being fetched removes its half-made files meanwhile.
    setTimeout(() => {
      clean()
      process.stderr.write('\nvblk start: interrupted\n')
      process.exit(128 + constants.signals[signal])
    }, 500)
  }
  for (const signal of ENDINGS) process.once(signal, interrupted)
  try {
    return await tour(join(folder, 'disk.img'), stop.signal, values.json)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    return await new Promise<never>(() => {})
  } finally {
    for (const signal of ENDINGS) process.off(signal, interrupted)
    clean()
  }
}

async function tour(path: string, signal: AbortSignal, json: boolean): Promise<number> {
  const began = performance.now()
  const progress = new Progress()
  createImage(path, DISK_BYTES)
  progress.done(`new disk: ${path}, ${bytesText(DISK_BYTES)}`)
  const backend = FileBackend.open(path)
  try {
    const linux = await linuxOrReason(progress, signal)
    const { report, device } =
      typeof linux === 'string'
        ? await tourWithDriver(backend, path, progress, linux)
        : await tourWithLinux(backend, path, progress, linux)
    const { counters } = device
    await device.close()
    const seconds = (performance.now() - began) / 1000
    if (json) process.stdout.write(jsonText({ linux: typeof linux !== 'string', seconds, counters, report }))
    else {
      const lines = [countersTable(counters), ...report, '', `all of it took ${seconds.toFixed(1)} s`]
      process.stdout.write(`\n${lines.join('\n')}\n`)
    }
    return 0
  } finally {
    progress.end()
    backend.close()
  }
}

/** What a Linux guest needs, or in one line why it cannot be had. */
async function linuxOrReason(progress: Progress, signal: AbortSignal) {
  try {
    progress.start('Linux guest, from Debian')
    const runtime = await loadV86()
    const assets = await guestAssets({ progress: (message) => progress.note(message), signal })
    const versions = Object.entries(assets.packages)
    const kernel = versions.find(([name]) => name.startsWith('linux-image-'))
    progress.done(`Linux guest: ${kernel?.join(' ')} and ${versions.length - 1} more Debian packages`)
    return { runtime, assets }
  } catch (error) {
    if (error instanceof GuestAssetsError || error instanceof V86MissingError) return error.message
    throw error
  }
}
