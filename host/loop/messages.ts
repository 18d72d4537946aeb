// What the thread that owns a DiskWorker and the worker's thread say to each other, by structured clone. Control only:
// kicks, interrupts and time go by file descriptors. Every request has an answer with the same `call`.

import type { Region } from '../device/guest-memory.ts'
import type { DiskHandle } from './transport.ts'

/** A back end that the worker opens on its own thread. */
export type BackendSource =
  /** a raw image or block device, as FileBackend.open */
  | { readonly file: string; readonly readOnly?: boolean; readonly lock?: boolean }
  /**
   * a module whose default export makes a BlockBackend from `options`, which must be cloneable; one that answers with
   * promises is served too, at the price of a second thread and some 50 us a wake-up
   */
  | { readonly module: string | URL; readonly options?: unknown }

/** Handed to the thread at its start. */
export interface ThreadData {
  readonly epollFd: number
  /** an epoll with the first in it, for the waiter */
  readonly outerEpollFd: number
  readonly controlFd: number
  readonly stopFd: number
  readonly port: MessagePort
}

export interface ServedDiskMessage {
  readonly id: number
  readonly handle: DiskHandle
  readonly queueSizeMax: number
  readonly regions: readonly Region[]
}

export type Request =
  | { readonly call: number; readonly kind: 'open'; readonly id: number; readonly backend: BackendSource }
  | { readonly call: number; readonly kind: 'serve'; readonly disk: ServedDiskMessage }
  | { readonly call: number; readonly kind: 'close'; readonly id: number }
  /** take nothing from the rings of a disk any more, or do so again */
  | { readonly call: number; readonly kind: 'drain'; readonly id: number; readonly on: boolean }
  /** answered when all that was taken from them has been answered */
  | { readonly call: number; readonly kind: 'settle'; readonly id: number }

/** A failure on the worker's thread, to be thrown on the other. */
export interface RemoteError {
  readonly name: string
  readonly message: string
  readonly code: string
}

export type Answer =
  | { readonly call: number; readonly capacityBytes?: number; readonly error?: RemoteError }
  | { readonly id: number; readonly failure: string }
