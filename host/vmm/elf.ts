// Reads what booting Linux needs from little-endian ELF files: the loadable segments of a kernel, 32-bit or 64-bit;
// and of 32-bit files the dependencies that a kernel module names in its .modinfo section, and the libraries that a
// program asks for.
// Portable. It does not relocate, link or run anything, and trusts its input no further than bounds checks: the
// files come from packages whose digests were verified.

export interface ElfSegment {
  /** physical address to load to */
  readonly address: number
  readonly content: Uint8Array
  /** size in memory; what is past `content` is zero */
  readonly memoryBytes: number
}

const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_NEEDED = 1
const DT_STRTAB = 5

const decoder = new TextDecoder('latin1')

interface ProgramHeader {
  readonly type: number
  readonly offset: number
  readonly virtual: number
  readonly physical: number
  readonly fileBytes: number
  readonly memoryBytes: number
}

/**
 * The same of a 64-bit `vmlinux`. It states its entry as a physical address, and only physical ones are looked at.
 */
export function loadableSegments64(elf: Uint8Array): { entry: number; segments: ElfSegment[] } {
  const isElf64 = elf.length >= 64 && decoder.decode(elf.subarray(1, 4)) === 'ELF' && elf[4] === 2 && elf[5] === 1
  if (!isElf64) throw new RangeError('not a 64-bit little-endian ELF file')
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength)
  const long = (at: number): number => Number(view.getBigUint64(at, true))
  const start = long(0x20)
  const size = view.getUint16(0x36, true)
  const count = view.getUint16(0x38, true)
  const headers = Array.from({ length: count }, (_, i) => start + i * size)
  return {
    entry: long(0x18),
    segments: headers
      .filter((at) => view.getUint32(at, true) === PT_LOAD)
      .map((at) => ({
        address: long(at + 24),
        content: elf.subarray(long(at + 8), long(at + 8) + long(at + 32)),
        memoryBytes: long(at + 40),
      })),
  }
}

/** Physical entry point and loadable segments of an executable such as `vmlinux`. */
export function loadableSegments(elf: Uint8Array): { entry: number; segments: ElfSegment[] } {
  const view = open(elf)
  const headers = programHeaders(view).filter(({ type }) => type === PT_LOAD)
  const virtualEntry = view.getUint32(0x18, true)
  const home = headers.find(({ virtual, memoryBytes }) => (virtualEntry - virtual) >>> 0 < memoryBytes)
  return {
    // vmlinux states its entry as a physical address already, which then lies in no segment's virtual range
    entry: home ? virtualEntry - home.virtual + home.physical : virtualEntry,
    segments: headers.map(({ offset, physical, fileBytes, memoryBytes }) => ({
      address: physical,
      content: elf.subarray(offset, offset + fileBytes),
      memoryBytes,
    })),
  }
}

/** The `key=value` strings of a kernel module's .modinfo section; a key may occur more than once. */
export function moduleInfo(elf: Uint8Array): { key: string; value: string }[] {
  const view = open(elf)
  const info = sectionNamed(view, elf, '.modinfo')
  if (!info) return []
  return decoder
    .decode(info)
    .split('\0')
    .filter((line) => line.includes('='))
    .map((line) => ({ key: line.slice(0, line.indexOf('=')), value: line.slice(line.indexOf('=') + 1) }))
}

/** The names of the shared libraries that a program or library needs itself (not those that they need in turn). */
export function neededLibraries(elf: Uint8Array): string[] {
  const view = open(elf)
  const headers = programHeaders(view)
  const dynamic = headers.find(({ type }) => type === PT_DYNAMIC)
  if (!dynamic) return []
  const needed: number[] = []
  let strings = 0
  for (let at = dynamic.offset; at + 8 <= dynamic.offset + dynamic.fileBytes; at += 8) {
    const tag = view.getUint32(at, true)
    const value = view.getUint32(at + 4, true)
    if (tag === DT_NEEDED) needed.push(value)
    if (tag === DT_STRTAB) strings = value
  }
  const home = headers.find(({ type, virtual, fileBytes }) => type === PT_LOAD && (strings - virtual) >>> 0 < fileBytes)
  if (!home) return []
  const table = strings - home.virtual + home.offset
  return needed.map((offset) => stringAt(elf, table + offset))
}

/** The program interpreter and everything else aside: is this an ELF file that the functions here read? */
export function isElf32(file: Uint8Array): boolean {
  return file.length >= 52 && file[0] === 0x7f && decoder.decode(file.subarray(1, 4)) === 'ELF' && file[4] === 1
}

function open(elf: Uint8Array): DataView {
  if (!isElf32(elf) || elf[5] !== 1) throw new RangeError('not a 32-bit little-endian ELF file')
  return new DataView(elf.buffer, elf.byteOffset, elf.byteLength)
}

function programHeaders(view: DataView): ProgramHeader[] {
  const start = view.getUint32(0x1c, true)
  const size = view.getUint16(0x2a, true)
  const count = view.getUint16(0x2c, true)
  return Array.from({ length: count }, (_, i) => {
    const field = (n: number): number => view.getUint32(start + i * size + 4 * n, true)
    return {
      type: field(0),
      offset: field(1),
      virtual: field(2),
      physical: field(3),
      fileBytes: field(4),
      memoryBytes: field(5),
    }
  })
}

function sectionNamed(view: DataView, elf: Uint8Array, name: string): Uint8Array | undefined {
  const start = view.getUint32(0x20, true)
  const size = view.getUint16(0x2e, true)
  const count = view.getUint16(0x30, true)
  const field = (i: number, n: number): number => view.getUint32(start + i * size + 4 * n, true)
  const names = field(view.getUint16(0x32, true), 4)
  for (let i = 0; i < count; i++) {
    if (stringAt(elf, names + field(i, 0)) === name) return elf.subarray(field(i, 4), field(i, 4) + field(i, 5))
  }
  return undefined
}

function stringAt(elf: Uint8Array, offset: number): string {
  const end = elf.indexOf(0, offset)
  return decoder.decode(elf.subarray(offset, end < 0 ? elf.length : end))
}
