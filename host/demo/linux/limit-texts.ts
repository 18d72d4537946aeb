// The disk's limits as people type them: whole numbers, with blanks, commas or underscores between digits. Portable.

import { type ThrottleOptions, throttleRecord } from '../../device/throttle.ts'

export const FIELDS = [
  { name: 'iops', label: 'Requests a second' },
  { name: 'iopsBurst', label: 'Requests at once' },
  { name: 'bytesPerSecond', label: 'Bytes a second' },
  { name: 'bytesBurst', label: 'Bytes at once' },
] as const
type Field = (typeof FIELDS)[number]['name']
export type Texts = Readonly<Record<Field, string>>

/** Throws an Error with one line for what is no whole number from 1 on, RangeError for what is no limit. */
export function limitsOf(texts: Texts): ThrottleOptions {
  const limits: ThrottleOptions = {}
  for (const { name, label } of FIELDS) {
    const text = texts[name].replace(/[\s_,]/g, '')
    if (text === '') continue
    if (!/^0*[1-9]\d*$/.test(text)) {
      throw new Error(`${label}: a whole number from 1 on, not ${texts[name].trim()}; leave it empty for no limit`)
    }
    limits[name] = BigInt(text)
  }
  throttleRecord(limits)
  return limits
}
