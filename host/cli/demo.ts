// `vblk demo`: serves the page, or writes it as a folder that any web server can host. The page itself is in
// host/demo and was built with the package; what its Linux view needs is made here, once, of Debian's packages and the
// v86 that is installed. Without these the page is served without Linux, and says so.

import { constants } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GuestAssetsError } from '../vmm/debian.ts'
import { demoAssets } from '../vmm/demo-assets.ts'
import { V86MissingError } from '../vmm/v86-node.ts'
import type { DEMO } from './declarations.ts'
import { serveDemo } from './demo-server.ts'
import { checkSite, writeSite } from './demo-site.ts'
import { type Given, UsageError } from './options.ts'
import { Progress } from './progress.ts'

const PORT = 8080

export async function demo({ values: options }: Given<typeof DEMO>): Promise<number> {
  const { out, host, port } = options
  if (out !== undefined) {
    const stray = (['port', 'host', 'no-isolation'] as const).find(
      (name) => options[name] !== undefined && options[name] !== false,
    )
    if (stray !== undefined) throw new UsageError(`--${stray} is for serving, and --out only writes files`)
    checkSite(out)
  }
  const page = dirname(fileURLToPath(import.meta.resolve('virtio-blk-wasm/demo/index.html')))
  const found: Found = options['no-linux']
    ? { linuxMissing: 'served with --no-linux' }
    : await findLinux(out !== undefined)
  if (out !== undefined) {
    const bytes = writeSite(out, page, found.linux)
    process.stdout.write(`${out}: ${(bytes / 1e6).toFixed(1)} MB, for any web server; index.html is the page\n`)
    return 0
  }
  return await serve(
    { page, ...found, isolation: !options['no-isolation'], ...(host === undefined ? {} : { host }) },
    port,
  )
}

type Found = Pick<Parameters<typeof serveDemo>[0], 'linux' | 'linuxMissing'>

/**
 * Where the files of the Linux view are; without them the reason is said, here and in the page, which works without. If
 * it must be, as for a folder that is to be published, that is an error.
 */
async function findLinux(mustBe: boolean): Promise<Found> {
  const progress = new Progress()
  const stop = new AbortController()
  let status = 0
  const interrupted = (signal: NodeJS.Signals): void => {
    status = 128 + constants.signals[signal]
    stop.abort()
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    progress.start('a Linux guest for the page')
    const { folder, bytes } = await demoAssets({ progress: (text) => progress.note(text), signal: stop.signal })
    stop.signal.throwIfAborted()
    progress.done(`a Linux guest for the page: ${(bytes / 1e6).toFixed(1)} MB in ${folder}`)
    return { linux: folder }
  } catch (error) {
    progress.end()
    if (stop.signal.aborted) process.exit(status)
    const isLacking = error instanceof GuestAssetsError || error instanceof V86MissingError
    if (isLacking && mustBe) throw new UsageError(`${error.message}; --no-linux makes the page without Linux`)
    if (!isLacking) throw error
    process.stderr.write(`vblk demo: the page will be without Linux: ${error.message}\n`)
    return { linuxMissing: error.message }
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
  }
}

async function serve(folders: Parameters<typeof serveDemo>[0], port: number | undefined): Promise<number> {
  const server = await listen(folders, port)
  process.stdout.write(`${server.url}\n`)
  process.stderr.write('Open this address in a browser; Ctrl-C ends the server.\n')
  const name = await new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await server.close()
  return name === 'SIGINT' ? 0 : 128 + constants.signals[name]
}

async function listen(folders: Parameters<typeof serveDemo>[0], port: number | undefined) {
  try {
    return await serveDemo({ ...folders, port: port ?? PORT })
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (syscall !== 'listen' && syscall !== 'getaddrinfo') throw error
    if (port === undefined && code === 'EADDRINUSE') return await serveDemo({ ...folders, port: 0 })
    const where = `${folders.host ?? '127.0.0.1'}:${port ?? PORT}`
    const remedy =
      code === 'EADDRINUSE' ? 'it is taken: choose another with --port, 0 for any' : `not possible (${code})`
    throw new UsageError(`listening on ${where}: ${remedy}`)
  }
}
