// Runs the Linux guest beside the page: a dedicated worker, because only there a browser gives synchronous access to
// its files, and a guest that is busy must not hold up the page. What it does is in session.ts, what it is told and
// tells in messages.ts.

import type { StoreFolder } from './disk-store.ts'
import { loadFiles } from './load.ts'
import { type News, parseOrder } from './messages.ts'
import { Session } from './session.ts'

/** The library's types have a page's global object only. */
const worker = globalThis as unknown as {
  postMessage(news: News, transfer: Transferable[]): void
  onmessage: ((event: MessageEvent<unknown>) => void) | null
}

const FOLDER = 'virtio-blk-wasm'

const session = new Session({
  post: (news, transfer = []) => worker.postMessage(news, transfer),
  async folder() {
    // Absent where the page came by http from another machine.
    if (navigator.storage?.getDirectory === undefined) {
      throw new Error('this browser keeps no files for pages that are not served by https or from this machine')
    }
    const root = await navigator.storage.getDirectory()
    const folder = (await root.getDirectoryHandle(FOLDER, { create: true })) as unknown as StoreFolder
    return folder
  },
  load: loadFiles,
  async room() {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate()
    return quota - usage
  },
})

worker.onmessage = ({ data }) => {
  try {
    void session.take(parseOrder(data))
  } catch (error) {
    const id = Number((data as { id?: unknown } | null)?.id ?? 0)
    worker.postMessage({ kind: 'refused', id, reason: (error as Error).message }, [])
  }
}
