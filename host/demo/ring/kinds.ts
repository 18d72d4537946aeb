// The kinds of frames as the view shows them: a letter and a word each, so that no colour stands alone, and the class
// that ring.css colours. Numbers as they are written everywhere in the view. No components.

import type { FrameKind, Touched } from './model/walk-types.ts'

interface KindLook {
  readonly letter: string
  readonly word: string
  /** of several */
  readonly words: string
}

export const KINDS: Readonly<Record<FrameKind, KindLook>> = {
  driver: { letter: 'W', word: 'Driver writes', words: 'driver' },
  call: { letter: 'C', word: 'Engine call', words: 'calls' },
  data: { letter: 'B', word: 'Back end', words: 'back end' },
  load: { letter: 'L', word: 'Load', words: 'loads' },
  store: { letter: 'S', word: 'Store', words: 'stores' },
  decision: { letter: 'D', word: 'Decision', words: 'decisions' },
  interrupt: { letter: 'I', word: 'Interrupt', words: 'interrupts' },
}

const TOUCH_WORDS: Readonly<Record<Touched['kind'], string>> = {
  driver: 'written by the driver now',
  data: 'moved by the back end now',
  load: 'loaded now',
  store: 'stored now',
}

/** For labels: ', loaded now'; nothing where nothing is touched. */
export function touchedWords(kind: Touched['kind'] | undefined): string {
  return kind === undefined ? '' : `, ${TOUCH_WORDS[kind]}`
}

/** Classes of a cell: `cell touched load`. */
export function touchedClass(name: string, kind: Touched['kind'] | undefined): string {
  return kind === undefined ? name : `${name} touched ${kind}`
}

export function orUnknown(value: number | bigint | undefined): string {
  return value === undefined ? '?' : String(value)
}

/** A byte as text; a dot for what cannot be printed. */
export function printable(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'
}

/** '1 request', '2 requests' */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`
}

/** Nanoseconds in the unit that fits. */
export function duration(nanos: number): string {
  if (nanos < 1e3) return `${nanos} ns`
  if (nanos < 1e6) return `${Number((nanos / 1e3).toFixed(1))} µs`
  if (nanos < 1e9) return `${Number((nanos / 1e6).toFixed(1))} ms`
  return `${Number((nanos / 1e9).toFixed(3))} s`
}

/** Entries of a ring or table that are drawn at once. */
const EXCERPT = 256

/** Of a very large ring or table the part that `focus` lies in. */
export function excerptOf(size: number, focus = 0): { from: number; to: number } {
  const from = size <= EXCERPT ? 0 : Math.floor(focus / EXCERPT) * EXCERPT
  return { from, to: Math.min(from + EXCERPT, size) }
}
