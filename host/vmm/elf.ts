// Reads what booting Linux needs from little-endian ELF files, 32-bit and 64-bit: the loadable segments of a kernel,
// the dependencies that a kernel module names in its .modinfo section, and the libraries that a program asks for.
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
const TWO_32 = 2 ** 32

const decoder = new TextDecoder('latin1')

interface ProgramHeader {
  readonly type: number
  readonly offset: number
  readonly virtual: number
  readonly physical: number
  readonly fileBytes: number
  readonly memoryBytes: number
}

/** An opened file: where its fields are depends on the class alone. */
interface Elf {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly is64: boolean
}

/**
 * Physical entry point and loadable segments of an executable such as `vmlinux`. A kernel's virtual addresses of 64
 * bits are rounded, which does no harm: its entry is a physical one.
 */
export function loadableSegments(file: Uint8Array): { entry: number; segments: ElfSegment[] } {
  const elf = open(file)
  const headers = programHeaders(elf).filter(({ type }) => type === PT_LOAD)
  const virtualEntry = word(elf, 0x18)
  const home = headers.find(({ virtual, memoryBytes }) => isWithin(virtualEntry, virtual, memoryBytes))
  return {
    // vmlinux states its entry as a physical address already, which then lies in no segment's virtual range
    entry: home ? virtualEntry - home.virtual + home.physical : virtualEntry,
    segments: headers.map(({ offset, physical, fileBytes, memoryBytes }) => ({
      address: physical,
      content: file.subarray(offset, offset + fileBytes),
      memoryBytes,
    })),
  }
}

/** The `key=value` strings of a kernel module's .modinfo section; a key may occur more than once. */
export function moduleInfo(file: Uint8Array): { key: string; value: string }[] {
  const info = sectionNamed(open(file), '.modinfo')
  if (!info) return []
  return decoder
    .decode(info)
    .split('\0')
    .filter((line) => line.includes('='))
    .map((line) => ({ key: line.slice(0, line.indexOf('=')), value: line.slice(line.indexOf('=') + 1) }))
}

/** The names of the shared libraries that a program or library needs itself (not those that they need in turn). */
export function neededLibraries(file: Uint8Array): string[] {
  const elf = open(file)
  const headers = programHeaders(elf)
  const dynamic = headers.find(({ type }) => type === PT_DYNAMIC)
  if (!dynamic) return []
  const needed: number[] = []
  let strings = 0
  const bytes = wordBytes(elf)
  for (let at = dynamic.offset; at + 2 * bytes <= dynamic.offset + dynamic.fileBytes; at += 2 * bytes) {
    const tag = word(elf, at)
    const value = word(elf, at + bytes)
    if (tag === DT_NEEDED) needed.push(value)
    if (tag === DT_STRTAB) strings = value
  }
  const home = headers.find(({ type, virtual, fileBytes }) => type === PT_LOAD && isWithin(strings, virtual, fileBytes))
  if (!home) return []
  const table = strings - home.virtual + home.offset
  return needed.map((offset) => stringAt(file, table + offset))
}

/** The program interpreter and everything else aside: is this an ELF file, and of this class? */
export function isElf(file: Uint8Array, bits: 32 | 64): boolean {
  const isOne = file.length >= 64 && file[0] === 0x7f && decoder.decode(file.subarray(1, 4)) === 'ELF'
  return isOne && file[4] === bits / 32 && file[5] === 1
}

function open(bytes: Uint8Array): Elf {
  const is64 = isElf(bytes, 64)
  if (!is64 && !isElf(bytes, 32)) throw new RangeError('not a little-endian ELF file')
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), is64 }
}

/** An address, offset or size: as wide as the class says. */
function word({ view, is64 }: Elf, at: number): number {
  const low = view.getUint32(at, true)
  return is64 ? view.getUint32(at + 4, true) * TWO_32 + low : low
}

function wordBytes({ is64 }: Elf): number {
  return is64 ? 8 : 4
}

function isWithin(address: number, start: number, bytes: number): boolean {
  return address >= start && address < start + bytes
}

function programHeaders(elf: Elf): ProgramHeader[] {
  const { view, is64 } = elf
  const start = word(elf, is64 ? 0x20 : 0x1c)
  const size = view.getUint16(is64 ? 0x36 : 0x2a, true)
  const count = view.getUint16(is64 ? 0x38 : 0x2c, true)
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * size
    // Behind the type the classes differ: the 64-bit one has its flags there.
    const field = (n: number): number => word(elf, is64 ? at + 8 * n : at + 4 * n)
    return {
      type: view.getUint32(at, true),
      offset: field(1),
      virtual: field(2),
      physical: field(3),
      fileBytes: field(4),
      memoryBytes: field(5),
    }
  })
}

function sectionNamed(elf: Elf, name: string): Uint8Array | undefined {
  const { view, is64, bytes } = elf
  const start = word(elf, is64 ? 0x28 : 0x20)
  const size = view.getUint16(is64 ? 0x3a : 0x2e, true)
  const count = view.getUint16(is64 ? 0x3c : 0x30, true)
  const header = (i: number): number => start + i * size
  const offset = (i: number): number => word(elf, header(i) + (is64 ? 24 : 16))
  const length = (i: number): number => word(elf, header(i) + (is64 ? 32 : 20))
  const names = offset(view.getUint16(is64 ? 0x3e : 0x32, true))
  for (let i = 0; i < count; i++) {
    if (stringAt(bytes, names + view.getUint32(header(i), true)) !== name) continue
    return bytes.subarray(offset(i), offset(i) + length(i))
  }
  return undefined
}

function stringAt(elf: Uint8Array, offset: number): string {
  const end = elf.indexOf(0, offset)
  return decoder.decode(elf.subarray(offset, end < 0 ? elf.length : end))
}
