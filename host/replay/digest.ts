// Two hashes for comparing, not for secrets: xxHash32 over bytes (payloads, and the check of a whole file), and a
// running digest of 64 bits over numbers. Both give the same on every machine. Portable.

const P1 = 0x9e3779b1
const P2 = 0x85ebca77
const P3 = 0xc2b2ae3d
const P4 = 0x27d4eb2f
const P5 = 0x165667b1

function rotl(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function round(lane: number, word: number): number {
  return Math.imul(rotl((lane + Math.imul(word, P2)) | 0, 13), P1)
}

function mix(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 15), P2)
  mixed = Math.imul(mixed ^ (mixed >>> 13), P3)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** xxHash32 of the bytes, an unsigned number. A change within any four aligned bytes changes it. */
export function xxHash32(bytes: Uint8Array, seed = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const { length } = bytes
  let at = 0
  let hash = (seed + P5) | 0
  if (length >= 16) {
    let a = (seed + P1 + P2) | 0
    let b = (seed + P2) | 0
    let c = seed | 0
    let d = (seed - P1) | 0
    for (; at <= length - 16; at += 16) {
      a = round(a, view.getInt32(at, true))
      b = round(b, view.getInt32(at + 4, true))
      c = round(c, view.getInt32(at + 8, true))
      d = round(d, view.getInt32(at + 12, true))
    }
    hash = (rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)) | 0
  }
  hash = (hash + length) | 0
  for (; at <= length - 4; at += 4) {
    hash = Math.imul(rotl((hash + Math.imul(view.getInt32(at, true), P3)) | 0, 17), P4)
  }
  for (; at < length; at++) hash = Math.imul(rotl((hash + Math.imul(bytes[at] as number, P5)) | 0, 11), P1)
  return mix(hash)
}

/** Takes numbers in, one after the other; `hex` is the digest so far, 16 digits. */
export class Digest {
  #a = P1 | 0
  #b = P4 | 0
  #count = 0

  /** 32 bits of `value` */
  u32(value: number): void {
    this.#a = round(this.#a, value)
    this.#b = Math.imul(rotl((this.#b + Math.imul(value, P3)) | 0, 17), P4) ^ this.#a
    this.#count++
  }

  /** A whole number up to 2^53 */
  number(value: number): void {
    this.u32(value)
    this.u32(Math.floor(value / 2 ** 32))
  }

  bytes(bytes: Uint8Array): void {
    this.u32(bytes.length)
    this.u32(xxHash32(bytes))
  }

  get hex(): string {
    const hex = (value: number): string =>
      mix(value + this.#count)
        .toString(16)
        .padStart(8, '0')
    return hex(this.#a) + hex(this.#b)
  }
}
