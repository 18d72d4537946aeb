// The Linux x86 boot protocol, 64-bit entry: reads the setup header of a bzImage, refuses what this machine cannot
// boot with the reason, and makes struct boot_params (the "zero page") with the memory map. Section names in the
// comments are those of Documentation/arch/x86/boot.rst; offsets of the zero page are from zero-page.rst. Portable:
// bytes in, bytes out. Where a kernel lands in RAM is decided here; who copies it there is linux-loader.ts.

import { bzImageBytes } from './kernel-image.ts'
import { COMMAND_LINE_ADDRESS, CONVENTIONAL_END, FOUR_GIB, HIGH_RAM, HOLE } from './pc-layout.ts'

/** A kernel or initramfs that cannot be booted. The message says why and, where there is one, the remedy. */
export class BootImageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'BootImageError'
  }
}

/** What the machine uses of a bzImage's setup header ("The Real-Mode Kernel Header"). */
export interface SetupHeader {
  /** the header as it is in the file, from setup_sects (0x1f1) to the end that its jump instruction names */
  readonly bytes: Uint8Array
  /** protocol version, 0x020f is 2.15 */
  readonly version: number
  /** the protected-mode part of the file: what is loaded */
  readonly loaded: Uint8Array
  readonly prefAddress: number
  readonly initSize: number
  readonly initrdAddrMax: number
  /** most characters of a command line, without the zero at its end */
  readonly cmdlineSize: number
}

export interface MemoryRange {
  readonly gpa: number
  readonly bytes: number
}

export interface BootParams {
  readonly header: SetupHeader
  readonly ram: readonly MemoryRange[]
  readonly initrd?: MemoryRange | undefined
  readonly rsdpAddress: number
}

const SETUP_SECTS = 0x1f1
const BOOT_FLAG = 0x1fe
const JUMP = 0x200
const HEADER_MAGIC = 0x202
const VERSION = 0x206
const TYPE_OF_LOADER = 0x210
const LOADFLAGS = 0x211
const RAMDISK_IMAGE = 0x218
const RAMDISK_SIZE = 0x21c
const CMD_LINE_PTR = 0x228
const INITRD_ADDR_MAX = 0x22c
const KERNEL_ALIGNMENT = 0x230
const RELOCATABLE_KERNEL = 0x234
const XLOADFLAGS = 0x236
const CMDLINE_SIZE = 0x238
const PREF_ADDRESS = 0x258
const INIT_SIZE = 0x260

const ZERO_PAGE_BYTES = 4096
const ACPI_RSDP_ADDR = 0x070
const E820_ENTRIES = 0x1e8
const E820_TABLE = 0x2d0
const E820_ENTRY_BYTES = 20
const E820_RAM = 1
const E820_RESERVED = 2

const VERSION_2_12 = 0x020c
const LOADED_HIGH = 1 << 0
const XLF_KERNEL_64 = 1 << 0
const LOADER_UNDEFINED = 0xff
const SECTOR = 512
const PAGE = 4096

/** Reads and checks the header. Throws BootImageError for a file that this machine cannot boot. */
export function setupHeader(bzImage: Uint8Array): SetupHeader {
  const view = new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength)
  // "boot_flag" 0xAA55 and "header" "HdrS"; the last field read is init_size, 4 bytes.
  const isKernel =
    bzImage.length >= INIT_SIZE + 4 &&
    view.getUint16(BOOT_FLAG, true) === 0xaa55 &&
    view.getUint32(HEADER_MAGIC) === 0x48647253
  if (!isKernel) throw new BootImageError('the kernel is not a bzImage: give a file like /boot/vmlinuz-*')
  // "version": xloadflags came with 2.12 (Linux 3.8); init_size and pref_address with 2.10.
  const version = view.getUint16(VERSION, true)
  if (version < VERSION_2_12) {
    throw new BootImageError(
      `the kernel speaks boot protocol ${version >> 8}.${version & 0xff}; 2.12 (Linux 3.8) or later is needed`,
    )
  }
  // "loadflags" LOADED_HIGH: the protected-mode code is made for 1 MiB and above.
  if (!(view.getUint8(LOADFLAGS) & LOADED_HIGH)) {
    throw new BootImageError('the kernel is a zImage, loaded below 1 MiB: build a bzImage')
  }
  // "xloadflags" XLF_KERNEL_64: it has the 64-bit entry point at 0x200.
  if (!(view.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64)) {
    throw new BootImageError('the kernel has no 64-bit entry point (XLF_KERNEL_64): give one built for x86-64')
  }
  // "setup_sects": 0 means 4, and the boot sector comes before them.
  const setupBytes = ((bzImage[SETUP_SECTS] || 4) + 1) * SECTOR
  // "syssize": how much comes after them.
  const bytes = bzImageBytes(bzImage)
  if (bytes > bzImage.length) {
    throw new BootImageError(
      `the kernel image is cut off: it has ${bzImage.length} bytes, by its header ${bytes} or more`,
    )
  }
  // "pref_address", "kernel_alignment", "relocatable_kernel": a relocatable kernel may be put on any multiple of the
  // alignment, but moves itself up if that is below pref_address; any other must be at pref_address. So it always is.
  const prefAddress = Number(view.getBigUint64(PREF_ADDRESS, true))
  const alignment = view.getUint32(KERNEL_ALIGNMENT, true)
  const isMovable = (bzImage[RELOCATABLE_KERNEL] ?? 0) !== 0
  if (prefAddress < HIGH_RAM || (isMovable && (alignment === 0 || prefAddress % alignment !== 0))) {
    throw new BootImageError(`the kernel wants to be at 0x${prefAddress.toString(16)}, which breaks its own alignment`)
  }
  const loaded = bzImage.subarray(setupBytes)
  return {
    // "The header ends at 0x202 + the byte at 0x201", the offset of the jump instruction.
    bytes: bzImage.subarray(SETUP_SECTS, HEADER_MAGIC + view.getUint8(JUMP + 1)),
    version,
    loaded,
    prefAddress,
    // "init_size": memory from the load address that the kernel needs before it has looked at the memory map.
    initSize: Math.max(view.getUint32(INIT_SIZE, true), loaded.length),
    // "initrd_addr_max": the highest address of the initrd's last byte.
    initrdAddrMax: view.getUint32(INITRD_ADDR_MAX, true),
    cmdlineSize: view.getUint32(CMDLINE_SIZE, true),
  }
}

/** RAM as a PC has it: from 0, around the 32-bit hole, and on at 4 GiB. */
export function ramRanges(memoryBytes: number): MemoryRange[] {
  const low = Math.min(memoryBytes, HOLE)
  return [{ gpa: 0, bytes: low }, ...(memoryBytes > low ? [{ gpa: FOUR_GIB, bytes: memoryBytes - low }] : [])]
}

/**
 * Where an initramfs goes: as high in low RAM as initrd_addr_max allows, on a page ("ramdisk_image"). Throws
 * BootImageError if it does not fit above the kernel.
 */
export function placeInitrd(header: SetupHeader, lowRamBytes: number, bytes: number): MemoryRange {
  const kernelEnd = header.prefAddress + header.initSize
  const top = Math.min(lowRamBytes, header.initrdAddrMax + 1)
  const gpa = Math.floor((top - bytes) / PAGE) * PAGE
  if (gpa < kernelEnd) {
    const needed = Math.ceil((kernelEnd + bytes) / 2 ** 20)
    throw new BootImageError(
      `the initramfs (${bytes} bytes) does not fit between the kernel's end at 0x${kernelEnd.toString(16)} and ` +
        `0x${top.toString(16)}: give the guest at least ${needed} MiB of RAM, or a smaller initramfs`,
    )
  }
  return { gpa, bytes }
}

/** Throws BootImageError if the kernel does not fit into low RAM. */
export function checkKernelFits(header: SetupHeader, lowRamBytes: number): void {
  const end = header.prefAddress + header.initSize
  if (end > lowRamBytes) {
    throw new BootImageError(
      `the kernel needs RAM up to 0x${end.toString(16)}: give the guest at least ${Math.ceil(end / 2 ** 20)} MiB`,
    )
  }
}

/** The command line as it lies in memory, zero at its end. Throws BootImageError if the kernel cannot take it. */
export function commandLine(header: SetupHeader, cmdline: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${cmdline}\0`)
  if (cmdline.includes('\0')) throw new BootImageError('the kernel command line has a zero byte in it')
  // "cmdline_size": the maximum size of the command line without the terminating zero.
  if (bytes.length - 1 > header.cmdlineSize) {
    throw new BootImageError(
      `the kernel command line has ${bytes.length - 1} bytes, this kernel takes ${header.cmdlineSize}`,
    )
  }
  return bytes
}

/** The zero page: all zero ("64-bit BOOT PROTOCOL"), then the header of the file, then what the loader fills in. */
export function zeroPage({ header, ram, initrd, rsdpAddress }: BootParams): Uint8Array {
  const page = new Uint8Array(ZERO_PAGE_BYTES)
  const view = new DataView(page.buffer)
  page.set(header.bytes, SETUP_SECTS)
  // "type_of_loader" (obligatory write): 0xFF, no assigned number. "loadflags" stays as the file has it: CAN_USE_HEAP
  // and heap_end_ptr concern the real-mode code, which does not run. "code32_start" and "setup_data" stay too.
  page[TYPE_OF_LOADER] = LOADER_UNDEFINED
  // "cmd_line_ptr" (obligatory write); ext_cmd_line_ptr is 0, the address is below 4 GiB.
  view.setUint32(CMD_LINE_PTR, COMMAND_LINE_ADDRESS, true)
  // "ramdisk_image", "ramdisk_size" (obligatory write): both 0 without one; ext_ramdisk_* stay 0.
  view.setUint32(RAMDISK_IMAGE, initrd?.gpa ?? 0, true)
  view.setUint32(RAMDISK_SIZE, initrd?.bytes ?? 0, true)
  // zero-page.rst 070/008 acpi_rsdp_addr (since 2.14; older kernels look for it in the BIOS area).
  view.setBigUint64(ACPI_RSDP_ADDR, BigInt(rsdpAddress), true)
  // zero-page.rst 1E8/001 e820_entries, 2D0/A00 e820_table.
  const map = memoryMap(ram)
  page[E820_ENTRIES] = map.length
  map.forEach(({ gpa, bytes, type }, i) => {
    const at = E820_TABLE + i * E820_ENTRY_BYTES
    view.setBigUint64(at, BigInt(gpa), true)
    view.setBigUint64(at + 8, BigInt(bytes), true)
    view.setUint32(at + 16, type, true)
  })
  return page
}

/** What int 15h, ax=e820h would say: conventional memory, the BIOS area reserved, the rest of RAM. */
function memoryMap(ram: readonly MemoryRange[]): (MemoryRange & { type: number })[] {
  const [low, ...high] = ram
  if (low === undefined || low.gpa !== 0 || low.bytes <= HIGH_RAM) {
    throw new RangeError('boot parameters: there must be more than 1 MiB of RAM at 0')
  }
  return [
    { gpa: 0, bytes: CONVENTIONAL_END, type: E820_RAM },
    { gpa: CONVENTIONAL_END, bytes: HIGH_RAM - CONVENTIONAL_END, type: E820_RESERVED },
    { gpa: HIGH_RAM, bytes: low.bytes - HIGH_RAM, type: E820_RAM },
    ...high.map((range) => ({ ...range, type: E820_RAM })),
  ]
}
