// Entry of a worker's thread (built to build/disk-thread.js): opens back ends, serves disks, ends at the stop event.
// An error that is nobody's request ends the thread, which its owner sees (device rule 7).

import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { FileBackend } from '../backend/file.ts'
import type { BlockBackend } from '../backend/types.ts'
import { Epoll } from '../sys/epoll.ts'
import { signalEventFd } from '../sys/eventfd.ts'
import { CONTROL, STOP, tokenOf } from './decisions.ts'
import { limited } from './log-limit.ts'
import { Loop } from './loop.ts'
import type { Answer, BackendSource, RemoteError, Request, ThreadData } from './messages.ts'
import { monotonicNanos, ServedDisk } from './served-disk.ts'
import { WaiterThread } from './waiter.ts'

const { controlFd, epollFd, outerEpollFd, port, stopFd } = workerData as ThreadData
const epoll = Epoll.borrow(epollFd)
const backends = new Map<number, BlockBackend>()
let waiter: WaiterThread | undefined

const loop = new Loop({
  epoll,
  controlFd,
  onControl: takeRequests,
  waiter: (onReady) => {
    waiter = new WaiterThread(new URL(import.meta.resolve('virtio-blk-wasm/waiter-thread')), outerEpollFd, onReady)
    return waiter
  },
})

function post(answer: Answer): void {
  port.postMessage(answer)
}

function takeRequests(): void {
  for (;;) {
    const received = receiveMessageOnPort(port as never) as { message: Request } | undefined
    if (received === undefined) return
    // Runs as far as it can without waiting; the loop goes on meanwhile.
    void loop.during(answer(received.message))
  }
}

async function answer(request: Request): Promise<void> {
  const { call } = request
  try {
    await carryOut(request)
  } catch (error) {
    post({ call, error: remoteError(error) })
  }
}

async function carryOut(request: Request): Promise<void> {
  const { call } = request
  switch (request.kind) {
    case 'open': {
      const backend = await open(request.id, request.backend)
      backends.set(request.id, backend)
      post({ call, capacityBytes: backend.capacityBytes })
      return
    }
    case 'serve':
      serve(request)
      // Said before the disk's first turn, which may be the thread's last: that would be a request's fault.
      post({ call })
      return
    case 'drain': {
      const disk = loop.find(request.id)
      disk?.setDraining(request.on)
      if (disk !== undefined) loop.want(disk)
      post({ call })
      return
    }
    case 'settle':
      await loop.find(request.id)?.whenSettled()
      post({ call })
      return
    case 'close': {
      const disk = loop.remove(request.id)
      const backend = backends.get(request.id)
      backends.delete(request.id)
      await (disk ?? backend)?.close?.()
      post({ call })
    }
  }
}

function serve({ disk: message }: Request & { kind: 'serve' }): void {
  const { id } = message
  const backend = backends.get(id) as BlockBackend
  const disk: ServedDisk = new ServedDisk(
    message,
    backend,
    limited((failure) => post({ id, failure }), monotonicNanos),
    () => loop.want(disk),
  )
  loop.add(disk)
}

async function open(id: number, source: BackendSource): Promise<BlockBackend> {
  if ('file' in source) {
    const { file, ...options } = source
    return FileBackend.open(file, { ...options, onWarning: (failure) => post({ id, failure }) })
  }
  const module = (await import(String(source.module))) as { default?: unknown }
  const backend = typeof module.default === 'function' ? await module.default(source.options) : undefined
  if (!isBackend(backend)) {
    throw new TypeError(`${source.module}: its default export must be a function that returns a BlockBackend`)
  }
  return backend
}

function isBackend(value: unknown): value is BlockBackend {
  const backend = value as Partial<BlockBackend> | null | undefined
  return [backend?.read, backend?.write, backend?.flush].every((method) => typeof method === 'function')
}

function remoteError(error: unknown): RemoteError {
  const { name = 'Error', message = String(error), code = '' } = error as Partial<RemoteError>
  return { name, message, code: String(code) }
}

epoll.add(controlFd, tokenOf(CONTROL))
epoll.add(stopFd, tokenOf(STOP))
// Whatever ends the thread before its time (an error of a back end's own, process.exit), the guests are told.
const lastWords = (): void => {
  loop.abandon()
  // The waiter is in a system call, and this thread ends only after it.
  if (waiter !== undefined) signalEventFd(stopFd)
}
process.once('exit', lastWords)
try {
  await loop.run()
  process.off('exit', lastWords)
} finally {
  await waiter?.close()
  port.close()
}
