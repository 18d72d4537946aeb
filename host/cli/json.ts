// Results as JSON, for programs: indented, 64-bit numbers as strings of decimal digits.

export function jsonText(result: unknown): string {
  const plain = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)
  return `${JSON.stringify(result, plain, 2)}\n`
}
