// What the page and its conformance worker say to each other. A task is answered by any number of results, then `done`
// or `failed`; tasks are done one after the other. To cancel, the page ends the worker: a check cannot be interrupted,
// and one that hangs need not be waited for.

import type { Result } from '../../conformance/outcome.ts'
import { ROWS } from '../../conformance/rows.ts'
import type { Replayed } from '../../replay/player.ts'
import { FLAVOURS, type Flavour } from './flavours.ts'

export type Task =
  /** check every rule, or the one named */
  | { readonly kind: 'run'; readonly flavour: Flavour; readonly id?: string }
  /** check one rule on a device that is recorded */
  | { readonly kind: 'record'; readonly flavour: Flavour; readonly id: string }
  /** replay a .trace file on each of the flavours */
  | { readonly kind: 'replay'; readonly flavours: readonly Flavour[]; readonly file: Uint8Array }

export interface Request {
  readonly job: number
  readonly task: Task
}

export type Answer =
  | { readonly kind: 'result'; readonly result: Result }
  | { readonly kind: 'recorded'; readonly result: Result; readonly recording: Recording | undefined }
  | { readonly kind: 'read'; readonly steps: number; readonly digest: string; readonly at: number }
  | { readonly kind: 'replayed'; readonly flavour: Flavour; readonly replayed: Replayed }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly message: string }

export interface Reply {
  readonly job: number
  readonly answer: Answer
}

/** A .trace file, and the step to begin at. */
export interface Recording {
  readonly file: Uint8Array
  readonly at: number
}

/** Throws with one line on what is wrong. */
export function parseRequest(message: unknown): Request {
  const { job, task } = fields(message)
  if (!Number.isSafeInteger(job)) throw new TypeError('a request needs the number of its job')
  const { kind, flavour, flavours, id, file } = fields(task)
  if (kind === 'run' || kind === 'record') {
    const isNamed = id !== undefined || kind === 'record'
    if (isNamed && !ROWS.some((row) => row.id === id)) throw new TypeError(`there is no rule '${String(id)}'`)
    assertFlavour(flavour)
  } else if (kind === 'replay') {
    if (!(file instanceof Uint8Array)) throw new TypeError('a trace is replayed from the bytes of its file')
    if (!Array.isArray(flavours)) throw new TypeError('a trace is replayed on a list of flavours')
    for (const one of flavours) assertFlavour(one)
  } else {
    throw new TypeError(`there is no task '${String(kind)}'`)
  }
  return message as Request
}

function fields(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new TypeError('a request is an object with a job and a task')
  return value as Record<string, unknown>
}

function assertFlavour(value: unknown): void {
  if (!FLAVOURS.some((flavour) => flavour === value)) {
    throw new TypeError(`there is no flavour '${String(value)}' of the engine, but ${FLAVOURS.join(', ')}`)
  }
}
