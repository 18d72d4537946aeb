// Linux kernel images for x86: finds the compressed kernel inside a bzImage, and makes an image that boots the
// already decompressed kernel instead. An emulated processor needs four seconds to unpack the kernel, the host a
// third of one, once. The boot protocol is otherwise unchanged: the real-mode part of the same image runs, asks the
// firmware for the memory map, enters protected mode at 1 MiB; there a stub of eleven bytes jumps to the kernel.
// Linux: Documentation/arch/x86/boot.rst. Portable; decompressing is left to the caller.

import { type ElfSegment, loadableSegments } from './elf.ts'
import { isLegacyLz4, unpackLegacyLz4 } from './lz4.ts'

/** An image for the machine's boot loader, and what must lie in guest RAM before it runs. */
export interface KernelImage {
  readonly bzImage: Uint8Array
  readonly segments: readonly ElfSegment[]
}

const SETUP_SECTS = 0x1f1
const SYSSIZE = 0x1f4
const BOOT_FLAG = 0x1fe
const HEADER_MAGIC = 0x202
const VERSION = 0x206
const CODE32_START = 0x214
const PAYLOAD_OFFSET = 0x248
const PAYLOAD_LENGTH = 0x24c

const VERSION_2_04 = 0x0204
const SECTOR = 512
const PARAGRAPH = 16
const PROTECTED_MODE_START = 0x100000

/** The compressed kernel in a bzImage, without the 4 bytes of its size that the build appends. */
export function compressedKernel(bzImage: Uint8Array): Uint8Array {
  const view = checked(bzImage)
  const start = setupBytes(bzImage) + view.getUint32(PAYLOAD_OFFSET, true)
  const end = start + view.getUint32(PAYLOAD_LENGTH, true) - 4
  if (end > bzImage.length || end <= start) throw new RangeError('kernel image: the payload is not in the file')
  return bzImage.subarray(start, end)
}

/** The kernel of a bzImage, decompressed, if its build used LZ4; undefined otherwise. Takes a third of a second. */
export function unpackedKernel(bzImage: Uint8Array): Uint8Array | undefined {
  const packed = compressedKernel(bzImage)
  if (!isLegacyLz4(packed)) return undefined
  const size = new DataView(packed.buffer, packed.byteOffset + packed.length, 4).getUint32(0, true)
  return unpackLegacyLz4(packed, size)
}

/** A kernel image that needs no unpacking in the guest. `vmlinux` is what `compressedKernel` decompresses to. */
export function uncompressedImage(bzImage: Uint8Array, vmlinux: Uint8Array): KernelImage {
  const view = checked(bzImage)
  if (view.getUint32(CODE32_START, true) !== PROTECTED_MODE_START) {
    throw new RangeError('kernel image: it does not start at 1 MiB')
  }
  const { entry, segments } = loadableSegments(vmlinux)
  if (!segments.some(({ address, memoryBytes }) => entry >= address && entry < address + memoryBytes)) {
    throw new RangeError('kernel image: the entry point is in no segment')
  }
  // The stub is entered as the kernel is to be: flat 32-bit segments, interrupts off, boot parameters in ESI.
  const stub = [0xfc, 0xfa, 0xb8, ...u32(entry), 0xff, 0xe0, 0x90, 0x90] // cld; cli; mov eax, entry; jmp eax
  const setup = setupBytes(bzImage)
  const image = new Uint8Array(setup + SECTOR)
  image.set(bzImage.subarray(0, setup))
  image.set(stub, setup)
  return { bzImage: image, segments }
}

function setupBytes(bzImage: Uint8Array): number {
  return ((bzImage[SETUP_SECTS] || 4) + 1) * SECTOR
}

/** True if the file has the boot sector of a Linux kernel (boot protocol: boot_flag, header). */
export function isBzImage(file: Uint8Array): boolean {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  return (
    file.length > 0x260 && view.getUint16(BOOT_FLAG, true) === 0xaa55 && view.getUint32(HEADER_MAGIC) === 0x48647253
  )
}

/**
 * How long the file of a bzImage is at least: set-up part and protected-mode part ("syssize", in paragraphs of 16
 * bytes of which the last may be cut short). A shorter one was cut off on its way here.
 */
export function bzImageBytes(bzImage: Uint8Array): number {
  const view = checked(bzImage)
  const paragraphs = view.getUint16(VERSION, true) < VERSION_2_04 ? 1 : view.getUint32(SYSSIZE, true)
  return setupBytes(bzImage) + Math.max(paragraphs - 1, 0) * PARAGRAPH + 1
}

function checked(bzImage: Uint8Array): DataView {
  if (!isBzImage(bzImage)) throw new RangeError('kernel image: not a bzImage')
  return new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength)
}

function u32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}
