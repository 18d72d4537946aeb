// Writes ACPI tables and the little AML that this package's tables need: names, integers, strings, packages and
// resource templates. Everything is a list of byte values, put together by spreading. What the tables say is in
// acpi.ts (the disks) and acpi-tables.ts (the machine). Portable; touches no guest memory.
// ACPI 6.4: table header 5.2.6, AML grammar 20.2.

const AML_ZERO = 0x00
const AML_ONE = 0x01
const AML_NAME = 0x08
const AML_BYTE = 0x0a
const AML_STRING = 0x0d
const AML_SCOPE = 0x10
const AML_BUFFER = 0x11
const AML_PACKAGE = 0x12
const AML_EXT = 0x5b
const AML_EXT_DEVICE = 0x82

const CHECKSUM_OFFSET = 9

/** A system description table: its header, the body, and the checksum that makes the sum of all bytes 0. */
export function systemTable(
  signature: string,
  revision: number,
  oemTableId: string,
  body: readonly number[],
): Uint8Array {
  const header = [
    ...text(signature),
    ...u32(0), // length, below
    revision,
    0, // checksum, below
    ...text('VBLK  '),
    ...text(oemTableId),
    ...u32(1), // OEM revision
    ...text('VBLK'),
    ...u32(1), // creator revision
  ]
  const table = Uint8Array.from([...header, ...body])
  new DataView(table.buffer).setUint32(4, table.length, true)
  table[CHECKSUM_OFFSET] = -checksum(table) & 0xff
  return table
}

/** The sum of all bytes modulo 256: 0 for a valid table. */
export function checksum(table: Uint8Array): number {
  return table.reduce((sum, byte) => (sum + byte) & 0xff, 0)
}

export function scope(path: string, content: number[]): number[] {
  return [AML_SCOPE, ...sized([...text(path), ...content])]
}

export function device(name: string, content: number[]): number[] {
  return [AML_EXT, AML_EXT_DEVICE, ...sized([...text(name), ...content])]
}

/** `Name (name, value)`; the value is AML already: `integer`, `string`, `buffer`, `packageOf`. */
export function named(name: string, value: number[]): number[] {
  return [AML_NAME, ...text(name), ...value]
}

export function string(ascii: string): number[] {
  return [AML_STRING, ...text(ascii), 0]
}

export function buffer(content: number[]): number[] {
  return [AML_BUFFER, ...sized([...integer(content.length), ...content])]
}

export function packageOf(elements: number[][]): number[] {
  return [AML_PACKAGE, ...sized([elements.length, ...elements.flat()])]
}

/** 0 to 255, which is all that is needed. */
export function integer(value: number): number[] {
  if (value === 0) return [AML_ZERO]
  if (value === 1) return [AML_ONE]
  return [AML_BYTE, value]
}

/** PkgLength, which counts itself, and then the content. */
function sized(content: number[]): number[] {
  if (content.length + 1 < 0x40) return [content.length + 1, ...content]
  const total = content.length + 2
  if (total > 0xfff) throw new RangeError('ACPI: package too long')
  return [0x40 | (total & 0x0f), total >> 4, ...content]
}

export function text(ascii: string): number[] {
  return Array.from(ascii, (char) => char.charCodeAt(0))
}

export function u16(value: number): number[] {
  return [value & 0xff, value >>> 8]
}

export function u32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}
