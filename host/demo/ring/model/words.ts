// Numbers in the Ring view's sentences. Portable.

/** `digits`: at least so many. */
export function hex(value: number | bigint, digits = 0): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}

/** '1 byte', '2 bytes' */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
