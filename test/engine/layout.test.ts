// The numbers that host and engine share, as text and as values: in the dialect that means the same to both
// compilers, and laid out without overlap. The types in the comments of abi.ts are taken at their word, so they
// cannot be wrong either; that the engine's structs lie there is proved when it is compiled (assembly/layout.ts).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import * as spec from '../../assembly/spec.ts'
import { codeOf, readSource } from '../support/source.ts'

const test = suite('engine layout')

const NUMBERS: Record<string, number> = { ...abi }
const BYTES: Record<string, number> = { u8: 1, u32: 4, i32: 4, u64: 8, i64: 8, f64: 8 }

/** Tables and records whose size is no single type, by hand. */
const SIZES: Record<string, number> = {
  STATE_THROTTLE_CONFIG: 4 * 8,
  STATE_OPS_BUCKET: abi.BUCKET_BYTES,
  STATE_BYTES_BUCKET: abi.BUCKET_BYTES,
  STATE_COUNTERS: 8 * abi.COUNTERS,
  STATE_CONFIG_SPACE: spec.VIRTIO_BLK_CFG_BYTES,
  STATE_REGION_TABLE: abi.REGIONS_MAX * abi.REGION_BYTES,
  STATE_QUEUE_TABLE: abi.QUEUE_BYTES,
}

interface Field {
  name: string
  at: number
  bytes: number
  align: number
}

/** `export const STATE_X = 8 // u32[4], ...` */
const LINE = /^export const (\w+) = (-?\w+)(?:\s*\/\/ ((?:u|i|f)\d+)(?:\[(\w+)\])?(?:[,; ].*)?)?/

/** The fields of a struct: constants with its prefix and a type behind them. */
function fieldsOf(prefix: string): Field[] {
  const fields: Field[] = []
  for (const line of readSource('assembly/abi.ts').split('\n')) {
    const [, name = '', , type, count = '1'] = line.match(LINE) ?? []
    if (!name.startsWith(prefix)) continue
    const at = NUMBERS[name] as number
    const known = SIZES[name]
    if (known !== undefined) fields.push({ name, at, bytes: known, align: 8 })
    else if (type !== undefined) {
      const align = BYTES[type] ?? Number.NaN
      fields.push({ name, at, bytes: align * (NUMBERS[count] ?? Number(count)), align })
    }
  }
  return fields.sort((a, b) => a.at - b.at)
}

const STRUCTS: [prefix: string, fields: number, bytes: number][] = [
  ['STATE_', 25, Number.POSITIVE_INFINITY],
  ['BUCKET_', 5, abi.BUCKET_BYTES],
  ['REGION_', 3, abi.REGION_BYTES],
  ['QUEUE_', 20, abi.QUEUE_BYTES],
  ['REQ_', 12, abi.REQ_SEGMENT_LIST + abi.SEGMENT_BYTES],
  ['SEGMENT_', 2, abi.SEGMENT_BYTES],
]

for (const [prefix, atLeast, bytes] of STRUCTS) {
  test(`abi.ts: ${prefix}* -> aligned, without overlap, inside the struct`, () => {
    const fields = fieldsOf(prefix)
    assert.ok(fields.length >= atLeast, `only ${fields.length} fields found`)
    let end = 0
    let before = 'the start'
    for (const field of fields) {
      assert.ok(field.at >= end, `${field.name} at ${field.at} overlaps ${before}, which ends at ${end}`)
      assert.is(field.at % field.align, 0, `${field.name} is not aligned to ${field.align}`)
      end = field.at + field.bytes
      before = field.name
    }
    assert.ok(end <= bytes, `${before} ends at ${end}, the struct at ${bytes}`)
  })
}

test('abi.ts: every offset has a type, every struct a size that keeps the next one aligned', () => {
  const untyped = Object.keys(NUMBERS).filter((name) => {
    const isOffset =
      /^(STATE|BUCKET|REGION|QUEUE|REQ|SEGMENT)_/.test(name) && !/_(BYTES|ALIGN|LIST)$|^REQ_OP_/.test(name)
    return isOffset && !fieldsOf(name).some((field) => field.name === name)
  })
  assert.equal(untyped, [])
  for (const size of [abi.BUCKET_BYTES, abi.REGION_BYTES, abi.QUEUE_BYTES, abi.REQ_SEGMENT_LIST, abi.SEGMENT_BYTES]) {
    assert.is(size % 8, 0)
  }
})

test('abi.ts: counters -> 0 to COUNTERS - 1, each once; those of requests come first', () => {
  const counters = Object.entries(NUMBERS).filter(([name]) => name.startsWith('COUNTER_'))
  assert.equal(
    counters.map(([, index]) => index).sort((a, b) => a - b),
    Array.from({ length: abi.COUNTERS }, (_, i) => i),
  )
  assert.is(abi.COUNTER_SHORT_READS, abi.COUNTERS_PER_REQUEST - 1)
})

test('abi.ts: codes and bits of one group -> each once', () => {
  const groups = ['PLAN_', 'COMPLETE_', 'PUBLISH_', 'EFFECT_', 'INIT_', 'REQ_OP_', 'RING_FAULT_|REQUEST_FAULT_']
  for (const group of groups) {
    const values = Object.entries(NUMBERS)
      .filter(([name]) => new RegExp(`^(${group})`).test(name) && !/_(SHIFT|MASK)$/.test(name))
      .map(([, value]) => value)
    assert.ok(values.length >= 2, group)
    assert.is(new Set(values).size, values.length, `${group}: ${values}`)
  }
  for (const bits of [
    [1, 2, 4, 8, 16],
    [1, 2],
  ]) {
    const group = bits.length === 5 ? 'EFFECT_' : 'PUBLISH_'
    const values = Object.entries(NUMBERS).flatMap(([name, value]) => (name.startsWith(group) ? [value] : []))
    assert.equal(
      values.sort((a, b) => a - b),
      bits,
    )
  }
})

for (const [file, numbers] of [
  ['assembly/abi.ts', NUMBERS],
  ['assembly/spec.ts', { ...spec } as Record<string, number>],
] as const) {
  test(`${file}: values -> integers that are the same in both compilers`, () => {
    for (const [name, value] of Object.entries(numbers)) {
      assert.ok(Number.isInteger(value) && Math.abs(value) < 2 ** 31, `${name} = ${value}`)
    }
    assert.ok(Object.keys(numbers).length > 60)
  })

  test(`${file}: text -> constants only, literals or sums of earlier names`, () => {
    const earlier = new Set<string>()
    for (const line of codeOf(readSource(file)).split('\n')) {
      if (line.trim() === '') continue
      const [, name = '', value = ''] = line.match(/^export const (\w+) = (.+?)\s*$/) ?? []
      assert.ok(name, `not a constant: ${line}`)
      const terms = value.split(/ [+-] /)
      for (const term of terms) assert.ok(/^-?(0x[\da-f]+|\d+)$/i.test(term) || earlier.has(term), `${line}: ${term}`)
      earlier.add(name)
    }
    assert.equal([...earlier].sort(), Object.keys(numbers).sort())
  })
}

test.run()
