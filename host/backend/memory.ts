// A disk in memory, and the smallest whole example of a back end: what BlockBackend asks for and nothing else.
// Portable. Answers at once and keeps no buffer, so it may promise `inPlace` and is handed guest RAM itself.
// Does not check that requests are whole sectors or inside the capacity: the device has done so. It only makes
// sure that no offset reaches bytes other than those asked for.

import { BackendError, type BlockBackend } from './types.ts'

export class MemoryBackend implements BlockBackend {
  readonly inPlace = true
  /** the disk's content; tests look at it and change it */
  readonly bytes: Uint8Array

  /** A zeroed disk of so many bytes, or one that uses the given bytes (not a copy of them). */
  constructor(content: number | Uint8Array) {
    this.bytes = typeof content === 'number' ? new Uint8Array(content) : content
  }

  get capacityBytes(): number {
    return this.bytes.length
  }

  read(offset: number, into: Uint8Array[]): number {
    let at = checked(offset)
    for (const buffer of into) {
      const piece = this.bytes.subarray(at, at + buffer.length)
      buffer.set(piece)
      at += piece.length
    }
    return at - offset
  }

  write(offset: number, from: Uint8Array[]): number {
    let at = checked(offset)
    for (const buffer of from) {
      const piece = this.bytes.subarray(at, at + buffer.length)
      piece.set(buffer.subarray(0, piece.length))
      at += piece.length
    }
    return at - offset
  }

  flush(): void {}

  discard(offset: number, bytes: number): void {
    this.bytes.fill(0, checked(offset), offset + checked(bytes))
  }

  writeZeroes(offset: number, bytes: number): void {
    this.bytes.fill(0, checked(offset), offset + checked(bytes))
  }
}

function checked(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new BackendError('EINVAL', `not a byte count: ${value}`)
  return value
}
