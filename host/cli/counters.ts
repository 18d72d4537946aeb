// The table of a device's counters that commands end with: what happened, in the words of the device contract.
// Counters that stayed zero are left out.

import type { Counters } from '../engine/state.ts'

const BYTES: ReadonlySet<string> = new Set(['bytesRead', 'bytesWritten'])

/** 1536 -> '1.5 KiB' */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

function text(name: string, value: number): string {
  if (BYTES.has(name)) return `${value}  (${bytesText(value)})`
  if (name === 'throttledNanos') return `${value}  (${(value / 1e9).toFixed(2)} s)`
  return String(value)
}

export function countersTable(counters: Counters): string {
  const rows = Object.entries(counters).filter(([, value]) => value !== 0)
  if (rows.length === 0) return 'device counters: all zero\n'
  const width = Math.max(...rows.map(([name]) => words(name).length))
  const lines = rows.map(([name, value]) => `  ${words(name).padEnd(width)}  ${text(name, value)}`)
  return `device counters\n${lines.join('\n')}\n`
}
