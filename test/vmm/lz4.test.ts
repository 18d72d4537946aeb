// The LZ4 of the build of Linux: sequences typed in from lz4_Block_format.md, random ones made by a small packer here,
// and input that is cut off or lies.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isLegacyLz4, unpackLegacyLz4 } from '../../host/vmm/lz4.ts'

const test = suite('lz4')

const MAGIC = [0x02, 0x21, 0x4c, 0x18]

function frame(...blocks: number[][]): Uint8Array {
  return Uint8Array.from([
    ...MAGIC,
    ...blocks.flatMap((block) => [block.length & 255, (block.length >> 8) & 255, block.length >> 16, 0, ...block]),
  ])
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString()
}

const ascii = (value: string): number[] => [...Buffer.from(value)]

/** Length nibble and the bytes behind it. */
function more(length: number): number[] {
  if (length < 15) return []
  return [...new Array(Math.floor((length - 15) / 255)).fill(255), (length - 15) % 255]
}

function sequence(literals: number[], match?: { offset: number; length: number }): number[] {
  const matched = match ? match.length - 4 : 0
  const token = (Math.min(literals.length, 15) << 4) | Math.min(matched, 15)
  const tail = match ? [match.offset & 255, match.offset >> 8, ...more(matched)] : []
  return [token, ...more(literals.length), ...literals, ...tail]
}

test('literals alone, short and long', () => {
  assert.is(text(unpackLegacyLz4(frame([0x30, ...ascii('abc')]), 3)), 'abc')
  const long = 'x'.repeat(15 + 255 + 7)
  assert.is(text(unpackLegacyLz4(frame([0xf0, 255, 7, ...ascii(long)]), long.length)), long)
})

test('matches: before, overlapping (a run), and with a long length', () => {
  const block = [
    ...sequence(ascii('abcd'), { offset: 4, length: 4 }),
    ...sequence(ascii('z'), { offset: 1, length: 300 }),
  ]
  const expected = `abcdabcdz${'z'.repeat(300)}!`
  assert.is(text(unpackLegacyLz4(frame([...block, ...sequence(ascii('!'))]), expected.length)), expected)
})

test('two blocks: the second does not see the first', () => {
  assert.is(text(unpackLegacyLz4(frame([0x20, 97, 98], [0x20, 99, 100]), 4)), 'abcd')
  const reaching = frame([0x20, 97, 98], sequence(ascii('c'), { offset: 3, length: 4 }))
  assert.throws(() => unpackLegacyLz4(reaching, 7), /points outside/)
})

test('any sequences -> what they mean', () => {
  const sequences = fc.array(
    fc.record({
      literals: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      back: fc.nat(300),
      length: fc.integer({ min: 4, max: 600 }),
    }),
    { maxLength: 20 },
  )
  fc.assert(
    fc.property(sequences, fc.uint8Array({ minLength: 1, maxLength: 20 }), (list, last) => {
      const expected: number[] = []
      const block: number[] = []
      for (const { literals, back, length } of list) {
        expected.push(...literals)
        const offset = 1 + (back % expected.length)
        block.push(...sequence([...literals], { offset, length }))
        for (let i = 0; i < length; i++) expected.push(expected[expected.length - offset] as number)
      }
      block.push(...sequence([...last]))
      expected.push(...last)
      assert.equal([...unpackLegacyLz4(frame(block), expected.length)], expected)
    }),
  )
})

test('input that is cut off or lies -> RangeError, whatever it is', () => {
  const good = frame([...sequence(ascii('abcdef'), { offset: 3, length: 20 }), ...sequence(ascii('gh'))])
  assert.is(unpackLegacyLz4(good, 28).length, 28)
  for (let length = 0; length < good.length; length++) {
    assert.throws(
      () => unpackLegacyLz4(good.subarray(0, length), 28),
      (error: Error) => error.name === 'RangeError',
    )
  }
  for (const bytes of [0, 27, 29]) assert.throws(() => unpackLegacyLz4(good, bytes), /LZ4/)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
      try {
        unpackLegacyLz4(frame([...noise]), 64)
      } catch (error) {
        assert.instance(error, RangeError)
      }
    }),
  )
})

test('magic: the legacy frame and no other', () => {
  assert.ok(isLegacyLz4(frame([0x10, 97])))
  assert.not.ok(isLegacyLz4(Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0, 0, 0, 0)))
  assert.not.ok(isLegacyLz4(Uint8Array.from(MAGIC)))
})

test.run()
