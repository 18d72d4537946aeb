// What a vCPU says of itself: what KVM supports, without what the machine does not have, and who it is among N.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CpuidRow, vcpuCpuid } from '../../host/vmm/cpuid.ts'

const test = suite('cpuid')

const AMD = [0x68747541, 0x69746e65, 0x444d4163] as const // AuthenticAMD: EBX, EDX, ECX
const INTEL = [0x756e6547, 0x49656e69, 0x6c65746e] as const

type Numbers = Partial<Pick<CpuidRow, 'eax' | 'ebx' | 'ecx' | 'edx'>>

function row(leaf: number, values: Numbers = {}, index = 0): CpuidRow {
  return { function: leaf, index, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0, ...values }
}

function table([ebx, edx, ecx]: typeof AMD | typeof INTEL, rows: readonly CpuidRow[]): CpuidRow[] {
  return [row(0, { eax: 0x1f, ebx, ecx, edx }), ...rows]
}

function leaf(rows: readonly CpuidRow[], name: number, index = 0): CpuidRow {
  const found = rows.filter((candidate) => candidate.function === name && candidate.index === index)
  assert.is(found.length, 1, `leaf 0x${name.toString(16)}`)
  return found[0] as CpuidRow
}

const ONE = { id: 0, count: 1, hasTscDeadline: true }

test('unknown leaves: passed on as they are', () => {
  const rows = table(INTEL, [row(0x40000001, { eax: 0x01007efb }), row(7, { ebx: 0xffffffff })])
  const out = vcpuCpuid(rows, ONE)
  assert.equal([leaf(out, 0x40000001), leaf(out, 7)], [rows[1], rows[2]])
})

test('leaf 1: APIC id and count; no VMX, MONITOR, counters; hypervisor and TSC deadline as they are here', () => {
  const rows = table(INTEL, [row(1, { ebx: 0xff123456, ecx: 0x7fffffff, edx: 0xffffffff })])
  const one = leaf(vcpuCpuid(rows, { id: 3, count: 4, hasTscDeadline: false }), 1)
  assert.is(one.ebx, 0x03043456)
  assert.is(one.ecx, 0xfeff7fd7)
  assert.is(one.edx, 0xffffffff)
  const alone = leaf(vcpuCpuid(table(INTEL, [row(1, { edx: 0xffffffff })]), ONE), 1)
  assert.equal([alone.ebx, alone.ecx, alone.edx], [0x00010000, 0x81000000, 0xefffffff])
})

test('topology leaves: one thread per core, cores numbered by as many bits as it takes, our own APIC id', () => {
  for (const [count, bits] of [
    [1, 0],
    [2, 1],
    [3, 2],
    [64, 6],
  ] as const) {
    const out = vcpuCpuid(table(INTEL, [row(0x0b, { eax: 99 }), row(0x0b, { eax: 99 }, 1)]), {
      id: count - 1,
      count,
      hasTscDeadline: true,
    })
    for (const name of [0x0b, 0x1f]) {
      const [thread, core, end] = [0, 1, 2].map((index) => leaf(out, name, index)) as [CpuidRow, CpuidRow, CpuidRow]
      assert.equal([thread.eax, thread.ebx, thread.ecx, thread.edx, thread.flags], [0, 1, 0x100, count - 1, 1])
      assert.equal([core.eax, core.ebx, core.ecx, core.edx], [bits, count, 0x201, count - 1])
      assert.equal([end.eax, end.ebx, end.ecx, end.edx], [0, 0, 2, count - 1])
    }
  }
})

test('topology leaves: above the highest leaf -> left out', () => {
  const rows = [row(0, { eax: 0x0d, ebx: AMD[0] })]
  const names = new Set(vcpuCpuid(rows, ONE).map((entry) => entry.function))
  assert.equal([...names], [0, 0x0b])
})

test("Intel: caches of a core are its own, the last level everybody's", () => {
  const rows = table(INTEL, [
    row(4, { eax: 0xffffc121 }, 0),
    row(4, { eax: 0xffffc163 }, 3),
    row(4, {}, 4),
    row(0x80000008, { eax: 0x3030, ecx: 0 }),
  ])
  const out = vcpuCpuid(rows, { id: 0, count: 4, hasTscDeadline: true })
  assert.equal([leaf(out, 4, 0).eax, leaf(out, 4, 3).eax, leaf(out, 4, 4).eax], [0x0c000121, 0x0c00c163, 0])
  assert.is(leaf(out, 0x80000008).ecx, 0)
})

test('AMD: count, id, caches, several cores; no SVM', () => {
  const rows = table(AMD, [
    row(0x80000001, { ecx: 0xffffffff }),
    row(0x80000008, { ecx: 0x00037fff }),
    row(0x8000001d, { eax: 0xffffc163 }, 3),
    row(0x8000001e, { eax: 77, ebx: 77, ecx: 77 }),
  ])
  const out = vcpuCpuid(rows, { id: 2, count: 3, hasTscDeadline: true })
  assert.is(leaf(out, 0x80000001).ecx, 0xfffffffb)
  assert.is(leaf(out, 0x80000008).ecx, 0x00032f02)
  assert.is(leaf(out, 0x8000001d, 3).eax, 0x00008163)
  const { eax, ebx, ecx, edx } = leaf(out, 0x8000001e)
  assert.equal([eax, ebx, ecx, edx], [2, 2, 0, 0])
  assert.is(leaf(vcpuCpuid(rows, ONE), 0x80000001).ecx, 0xfffffff9)
})

test('counters: none', () => {
  const out = vcpuCpuid(table(INTEL, [row(0x0a, { eax: 0x07300805, edx: 0x603 })]), ONE)
  assert.equal([leaf(out, 0x0a).eax, leaf(out, 0x0a).edx], [0, 0])
})

test.run()
