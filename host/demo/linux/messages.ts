// What the page and the worker with the guest say to each other. The page's orders are checked before anything is done:
// the worker believes no message. Portable.

import { type ThrottleOptions, throttleRecord } from '../../device/throttle.ts'

/** 'opfs': kept in this browser; 'memory': gone with the page. */
export type Storage = 'opfs' | 'memory'

/** `id` names the order in its Reply. */
export type Order =
  | ({ readonly kind: 'start'; readonly id: number; readonly base: string; readonly storage: Storage } & Terminal)
  | { readonly kind: 'input'; readonly bytes: Uint8Array }
  /** so many bytes of the console are on the screen: the machine waits for a page that falls behind */
  | { readonly kind: 'shown'; readonly bytes: number }
  | { readonly kind: 'limits'; readonly id: number; readonly limits: ThrottleOptions }
  | { readonly kind: 'record'; readonly id: number }
  | { readonly kind: 'trace'; readonly id: number; readonly recording: number }
  | { readonly kind: 'import'; readonly id: number; readonly file: File }
  | { readonly kind: 'export'; readonly id: number }
  | { readonly kind: 'fresh'; readonly id: number }

interface Terminal {
  readonly rows: number
  readonly columns: number
}

/** What an order brought, or why it was refused, in one line. */
export type Reply =
  | { readonly kind: 'done'; readonly id: number; readonly result?: TraceFile | Blob }
  | { readonly kind: 'refused'; readonly id: number; readonly reason: string }

export interface TraceFile {
  readonly bytes: Uint8Array
  readonly steps: number
  readonly digest: string
}

export type Phase =
  /** files that are missing or are loaded, a disk that is unpacked, the machine that starts */
  | { readonly name: 'loading'; readonly text: string; readonly done: number; readonly total: number }
  | { readonly name: 'running' }
  | { readonly name: 'ended'; readonly text: string }
  /** the files of the Linux view are not there; the server may know why */
  | { readonly name: 'missing'; readonly text: string; readonly reason?: string }
  /** another tab has the disk */
  | { readonly name: 'locked' }
  | { readonly name: 'failed'; readonly text: string }

export interface DiskFacts {
  readonly storage: Storage
  readonly bytes: number
  /** why it is in memory, if nobody asked for that */
  readonly reason?: string
}

/** Counts are sums over the last second, also where these come more often. */
export interface Statistics {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly bytesRead: number
  readonly bytesWritten: number
  /** the most at a time between avail.idx and used.idx */
  readonly inFlight: number
  readonly stalls: number
  /** a request waits for tokens now */
  readonly isWaiting: boolean
  /** since the machine was started */
  readonly totals: Totals
  readonly recording: RecordingFacts
}

export interface Totals {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly stalls: number
  readonly errors: number
}

export interface RecordingFacts {
  readonly number: number
  readonly begun: number
  readonly requests: number
  readonly steps: number
  readonly bytes: number
}

export interface RequestRow {
  readonly recording: number
  /** of the plan() that took it */
  readonly step: number
  readonly head: number
  /** ms of the wall clock */
  readonly time: number
  readonly operation: string
  /** in words, with the rule */
  readonly decision: string
  readonly sector?: number
  readonly bytes: number
  /** virtio's status byte; undefined if the driver never saw one */
  readonly status?: number
  readonly micros?: number
  /** how long it waited for tokens before */
  readonly waitedMillis?: number
}

export type News =
  | { readonly kind: 'phase'; readonly phase: Phase }
  | { readonly kind: 'console'; readonly bytes: Uint8Array }
  | { readonly kind: 'disk'; readonly disk: DiskFacts }
  | { readonly kind: 'statistics'; readonly statistics: Statistics; readonly requests: readonly RequestRow[] }
  /** something that people should know and that changes nothing else */
  | { readonly kind: 'note'; readonly text: string }
  | Reply

const SIZE_MAX = 500
const INPUT_MAX = 1 << 20

/** The order as it was sent, or an Error that names what is wrong with it. */
export function parseOrder(data: unknown): Order {
  const order = data as Partial<Record<string, unknown>> | null
  if (typeof order !== 'object' || order === null) fail('is no object')
  const { kind } = order
  if (kind === 'input') {
    if (!(order.bytes instanceof Uint8Array) || order.bytes.length > INPUT_MAX) fail('has no bytes, or too many')
    return data as Order
  }
  if (kind === 'shown') {
    if (!isWhole(order.bytes, 0, Number.MAX_SAFE_INTEGER)) fail('says not how many bytes are shown')
    return data as Order
  }
  if (!isWhole(order.id, 0, Number.MAX_SAFE_INTEGER)) fail('has no id')
  switch (kind) {
    case 'start':
      if (typeof order.base !== 'string' || !/^https?:/.test(order.base)) fail('has no base address')
      if (order.storage !== 'opfs' && order.storage !== 'memory') fail('has no storage')
      if (!isWhole(order.rows, 1, SIZE_MAX) || !isWhole(order.columns, 1, SIZE_MAX)) fail('has no terminal size')
      break
    case 'limits':
      if (typeof order.limits !== 'object' || order.limits === null) fail('has no limits')
      throttleRecord(order.limits)
      break
    case 'trace':
      if (!isWhole(order.recording, 1, Number.MAX_SAFE_INTEGER)) fail('names no recording')
      break
    case 'import':
      if (!(order.file instanceof Blob)) fail('has no file')
      break
    case 'record':
    case 'export':
    case 'fresh':
      break
    default:
      fail(`has the kind ${JSON.stringify(kind)}`)
  }
  return data as Order
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}

function fail(what: string): never {
  throw new TypeError(`the order ${what}`)
}
