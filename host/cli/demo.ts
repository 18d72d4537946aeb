// `vblk demo`: serves the page, or writes it as a folder that any web server can host. The page itself is in
// host/demo and was built with the package; what its Linux view needs is made here, once, of Debian's packages and the
// v86 that is installed. Without these the page is served without Linux, and says so.

import { constants } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GuestAssetsError } from '../vmm/debian.ts'
import { demoAssets } from '../vmm/demo-assets.ts'
import { V86MissingError } from '../vmm/v86-node.ts'
import { serveDemo } from './demo-server.ts'
import { checkSite, writeSite } from './demo-site.ts'
import { parse, UsageError } from './options.ts'
import { Progress } from './progress.ts'

const HELP = `Usage: vblk demo [--port N] [--host ADDRESS] [--no-isolation] [--no-linux]
       vblk demo --out FOLDER [--no-linux]

Serves the page: see a ring work, check the standard, boot Linux, all in a browser. The first time, a Linux guest is
booted here and saved for the page, which takes about half a minute.

  --port N         default 8080, or any other if that is taken; 0: any
  --host ADDRESS   where to listen, default 127.0.0.1: nobody else can reach it
  --no-isolation   without the headers for cross-origin isolation, as most web servers serve it
  --no-linux       without Linux: nothing is fetched or booted
  --out FOLDER     write the page as a folder of files for any web server, and serve nothing
`
const PORT = 8080

export async function demo(args: string[]): Promise<number> {
  const options = parse('demo', args, {
    port: { type: 'string' },
    host: { type: 'string' },
    'no-isolation': { type: 'boolean' },
    'no-linux': { type: 'boolean' },
    out: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  })
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const { out, host } = options
  const port = portOf(options.port)
  if (out !== undefined) {
    const stray = (['port', 'host', 'no-isolation'] as const).find((name) => options[name] !== undefined)
    if (stray !== undefined) throw new UsageError(`--${stray} is for serving, and --out only writes files`)
    checkSite(out)
  }
  const page = dirname(fileURLToPath(import.meta.resolve('virtio-blk-wasm/demo/index.html')))
  const linux = options['no-linux'] ? undefined : await linuxFolder()
  if (out !== undefined) {
    const bytes = writeSite(out, page, linux)
    process.stdout.write(`${out}: ${(bytes / 1e6).toFixed(1)} MB, for any web server; index.html is the page\n`)
    return 0
  }
  return await serve(
    { page, linux, isolation: !options['no-isolation'], ...(host === undefined ? {} : { host }) },
    port,
  )
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text) || Number(text) > 0xffff) {
    throw new UsageError(`--port must be a whole number from 0 to 65535, not '${text}'`)
  }
  return Number(text)
}

/** Where the files of the Linux view are; without them the reason is said, and the page works without. */
async function linuxFolder(): Promise<string | undefined> {
  const progress = new Progress()
  const stop = new AbortController()
  const interrupted = (): void => stop.abort()
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    progress.start('a Linux guest for the page')
    const { folder, bytes } = await demoAssets({ progress: (text) => progress.note(text), signal: stop.signal })
    progress.done(`a Linux guest for the page: ${(bytes / 1e6).toFixed(1)} MB in ${folder}`)
    return folder
  } catch (error) {
    progress.end()
    if (stop.signal.aborted) process.exit(130)
    if (!(error instanceof GuestAssetsError || error instanceof V86MissingError)) throw error
    process.stderr.write(`vblk demo: the page will be without Linux: ${error.message}\n`)
    return undefined
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
