// Disk images on their way in and out: what may be imported, a file or bytes as the content of a new disk, and a disk's
// content as a file. Images are raw: the disk's bytes, one after the other.

import type { BlockBackend } from '../../backend/types.ts'
import type { ImageSource } from './disk-store.ts'
import { bytesText } from './format.ts'

const SECTOR_BYTES = 512
const PIECE_BYTES = 1 << 20
/** A disk in memory is held twice while it is imported. */
export const MEMORY_DISK_MAX = 512 << 20

/** Beginnings of files that hold a disk in a way of their own. */
const FORMATS: readonly (readonly [name: string, magic: readonly number[], remedy: string])[] = [
  ['a qcow2 image', [0x51, 0x46, 0x49, 0xfb], 'convert it: qemu-img convert -O raw'],
  ['compressed with gzip', [0x1f, 0x8b], 'unpack it: gunzip'],
  ['compressed with xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a], 'unpack it: unxz'],
  ['compressed with zstd', [0x28, 0xb5, 0x2f, 0xfd], 'unpack it: unzstd'],
  ['a zip archive', [0x50, 0x4b, 0x03, 0x04], 'unpack it'],
  ['a VMDK image', [0x4b, 0x44, 0x4d, 0x56], 'convert it: qemu-img convert -O raw'],
]

/** Throws an Error with one line for a file that is no raw image or has no room. */
export async function checkImage(file: Blob & { name?: string }, room: number): Promise<void> {
  const name = file.name ?? 'the image'
  if (file.size === 0 || file.size % SECTOR_BYTES !== 0) {
    throw new Error(`${name} has ${file.size} bytes: a raw disk image is a multiple of ${SECTOR_BYTES} above 0`)
  }
  const beginning = new Uint8Array(await file.slice(0, 8).arrayBuffer())
  for (const [what, magic, remedy] of FORMATS) {
    if (magic.every((byte, i) => beginning[i] === byte)) {
      throw new Error(`${name} is ${what}, and a raw image is needed; ${remedy}`)
    }
  }
  if (file.size > room) {
    throw new Error(`${name} has ${bytesText(file.size)}, and there is room for ${bytesText(room)}`)
  }
}

export function fileSource(file: Blob): ImageSource {
  return {
    bytes: file.size,
    async *pieces() {
      for (let at = 0; at < file.size; at += PIECE_BYTES) {
        yield new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer())
      }
    },
  }
}

export function bytesSource(bytes: Uint8Array): ImageSource {
  return {
    bytes: bytes.length,
    async *pieces() {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
    },
  }
}

/** All of a disk as it is at this moment. In one go: what the guest writes while it is read would be half in it. */
export function imageOf(backend: BlockBackend): Blob {
  const parts: Blob[] = []
  for (let at = 0; at < backend.capacityBytes; at += PIECE_BYTES) {
    const piece = new Uint8Array(Math.min(PIECE_BYTES, backend.capacityBytes - at))
    for (let done = 0; done < piece.length; ) {
      const moved = backend.read(at + done, [piece.subarray(done)])
      if (typeof moved !== 'number' || moved <= 0) throw new Error(`the disk cannot be read at byte ${at + done}`)
      done += moved
    }
    parts.push(new Blob([piece]))
  }
  return new Blob(parts, { type: 'application/octet-stream' })
}
