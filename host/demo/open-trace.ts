// Opens a recording in the Ring view, from wherever in the page. It is kept here until the view takes it: a recording
// may be too long for an address. Portable but for the address itself.

import { navigate } from './route.ts'

export interface OpenedTrace {
  /** a .trace file's bytes, or why there are none */
  readonly bytes: Uint8Array | Error
  /** what it is, for the heading */
  readonly title: string
  /** number of the step to begin at, from 0 */
  readonly at: number
  /** head of the request to begin at, of those that this step decides on; undefined: with the step */
  readonly head: number | undefined
}

const opened = new Map<string, OpenedTrace>()
/** Older ones are forgotten: their addresses then lead to a view that says so. */
const KEPT = 8

/** Goes to the Ring view: the recording from its step `at` on, or the request `head` there; or the error. */
export function openTrace(bytes: OpenedTrace['bytes'], options: Partial<Omit<OpenedTrace, 'bytes'>> = {}): void {
  const { title = 'a recording', at = 0, head } = options
  const name = String(Date.now())
  opened.set(name, { bytes, title, at, head })
  for (const old of [...opened.keys()].slice(0, -KEPT)) opened.delete(old)
  navigate('ring', { opened: name })
}

/** What the parameter `opened` of the Ring view's route means; undefined if it is gone, after a reload say. */
export function openedTrace(name: string): OpenedTrace | undefined {
  return opened.get(name)
}
