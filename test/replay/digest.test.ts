// The hash of payloads and files is xxHash32 as published: the vectors of the reference implementation's sanity check,
// and a plain reading of the specification beside it for lengths and seeds.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Digest, xxHash32 } from '../../host/replay/digest.ts'

const test = suite('replay digest')

const text = (words: string): Uint8Array => new TextEncoder().encode(words)

test('xxHash32: published vectors -> these', () => {
  assert.is(xxHash32(text('')), 0x02cc5d05)
  assert.is(xxHash32(text('a')), 0x550d7456)
  assert.is(xxHash32(text('abc')), 0x32d153ff)
  assert.is(xxHash32(text('Nobody inspects the spammish repetition')), 0xe2293b2f)
})

const PRIME = 2654435761
const MASK = 0xffffffffn

/** The reference implementation's sanity buffer: bytes of a running product. */
function sanityBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  let product = BigInt(PRIME)
  for (let i = 0; i < count; i++) {
    bytes[i] = Number((product >> 24n) & 0xffn)
    product = (product * product) & MASK
  }
  return bytes
}

// XSUM of xxHash r35 and later, testdata of XXH32: length, seed, hash.
test('xxHash32: the reference sanity check, with and without a seed -> these', () => {
  const bytes = sanityBytes(101)
  const vectors: [number, number, number][] = [
    [0, 0, 0x02cc5d05],
    [0, PRIME, 0x36b78ae7],
    [1, 0, 0xb85cbee5],
    [1, PRIME, 0xd5845d64],
    [14, 0, 0xe5aa0ab4],
    [14, PRIME, 0x4481951d],
    [101, 0, 0x1f1aa412],
    [101, PRIME, 0x498ec8e2],
  ]
  for (const [length, seed, hash] of vectors) {
    assert.is(xxHash32(bytes.subarray(0, length), seed), hash, `${length} bytes, seed ${seed}`)
  }
})

/** The specification word for word, in BigInt. */
function specified(bytes: Uint8Array, seed: bigint): number {
  const [p1, p2, p3, p4, p5] = [2654435761n, 2246822519n, 3266489917n, 668265263n, 374761393n]
  const rotl = (x: bigint, r: bigint): bigint => ((x << r) | ((x & MASK) >> (32n - r))) & MASK
  const lane = (at: number): bigint =>
    BigInt((bytes[at] as number) + (bytes[at + 1] as number) * 2 ** 8 + (bytes[at + 2] as number) * 2 ** 16) +
    (BigInt(bytes[at + 3] as number) << 24n)
  let accumulators = [seed + p1 + p2, seed + p2, seed, seed - p1].map((x) => x & MASK)
  let at = 0
  for (; bytes.length >= 16 && at + 16 <= bytes.length; at += 16) {
    accumulators = accumulators.map((x, i) => (rotl((x + lane(at + 4 * i) * p2) & MASK, 13n) * p1) & MASK)
  }
  const turns = [1n, 7n, 12n, 18n]
  let hash = bytes.length < 16 ? seed + p5 : accumulators.reduce((sum, x, i) => sum + rotl(x, turns[i] as bigint), 0n)
  hash = (hash + BigInt(bytes.length)) & MASK
  for (; at + 4 <= bytes.length; at += 4) hash = (rotl((hash + lane(at) * p3) & MASK, 17n) * p4) & MASK
  for (; at < bytes.length; at++) hash = (rotl((hash + BigInt(bytes[at] as number) * p5) & MASK, 11n) * p1) & MASK
  hash = ((hash ^ (hash >> 15n)) * p2) & MASK
  hash = ((hash ^ (hash >> 13n)) * p3) & MASK
  return Number(hash ^ (hash >> 16n))
}

test('xxHash32: any length and seed, anywhere in a buffer -> as specified', () => {
  const bytes = sanityBytes(203)
  for (let length = 0; length <= 200; length++) {
    for (const seed of [0, 1, PRIME, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const part = bytes.subarray(length % 3, (length % 3) + length)
      assert.is(xxHash32(part, seed), specified(part, BigInt(seed)), `${length} bytes, seed ${seed}`)
    }
  }
})

test('Digest: numbers and bytes -> 16 digits that order, count and every bit change', () => {
  const of = (...values: number[]): string => {
    const digest = new Digest()
    for (const value of values) digest.number(value)
    return digest.hex
  }
  const seen = [of(), of(0), of(0, 0), of(1, 2), of(2, 1), of(2 ** 32), of(1), of(2 ** 53 - 1), of(-1)]
  assert.is(new Set(seen).size, seen.length)
  for (const hex of seen) assert.match(hex, /^[0-9a-f]{16}$/)
  for (let bit = 0; bit < 53; bit++) assert.is.not(of(2 ** bit), of(0), `bit ${bit}`)
})

test.run()
