// A web server for the page and nothing else: files of given folders, on this machine only unless told otherwise, with
// the two headers that make a page cross-origin isolated unless told otherwise. Any other web server does as well.

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import sirv from 'sirv'
import { MANIFEST_NAME } from '../vmm/demo-manifest.ts'

export interface DemoServerOptions {
  /** folders, looked through in this order; the files of the second begin with `linux/` in an address */
  readonly page: string
  readonly linux?: string | undefined
  /** why there is no such folder: the Linux view shows it */
  readonly linuxMissing?: string | undefined
  /** send COOP and COEP, default true: the page may use shared memory */
  readonly isolation?: boolean
  /** default 127.0.0.1 */
  readonly host?: string
  /** 0, the default: any that is free */
  readonly port?: number
}

export interface DemoServer {
  readonly url: string
  close(): Promise<void>
}

const LINUX = '/linux/'

/** Rejects with the system's error (EADDRINUSE, EACCES ...) if it cannot listen there. */
export async function serveDemo(options: DemoServerOptions): Promise<DemoServer> {
  const { page, linux, linuxMissing, isolation = true, host = '127.0.0.1', port = 0 } = options
  const setHeaders = (response: ServerResponse): void => {
    response.setHeader('X-Content-Type-Options', 'nosniff')
    if (!isolation) return
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
  }
  // A file that has changed is fetched anew, one that has not is not.
  const settings = { etag: true, maxAge: 0, setHeaders }
  const pageFiles = sirv(page, settings)
  const linuxFiles = linux === undefined ? undefined : sirv(linux, settings)
  const server = createServer((request, response) => {
    const refuse = (status: number, text: string): void => {
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD')
      refuse(405, 'this server has files to read, and that is all')
    } else if (linuxFiles !== undefined && request.url?.startsWith(LINUX)) {
      request.url = request.url.slice(LINUX.length - 1)
      linuxFiles(request, response, () => refuse(404, 'not found'))
    } else if (linuxMissing !== undefined && request.url?.replace(/\?.*/, '') === LINUX + MANIFEST_NAME) {
      refuse(404, linuxMissing.replace(/\s+/g, ' '))
    } else {
      pageFiles(request, response, () => refuse(404, 'not found'))
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const { address, family, port: bound } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
