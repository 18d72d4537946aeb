// The state at the entry, against the sentences of the boot protocol and the manuals: control registers, segments, the
// GDT that the segments are in, and page tables walked as a processor walks them.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { flatMode, gdt, longMode, pageTables } from '../../host/vmm/cpu-state.ts'

const test = suite('cpu state')

test('64-bit entry: long mode with paging, interrupts off, RSI at the boot parameters', () => {
  const { regs, sregs } = longMode(0x1000200)
  assert.equal(regs, { rip: 0x1000200n, rsi: 0x7000n, rsp: 0x8ff0n, rflags: 2n })
  const { cr0, cr3, cr4, efer } = sregs
  assert.equal([cr0, cr3, cr4, efer], [0x80050033n, 0x9000n, 0x20n, 0x500n])
  assert.equal(
    [sregs.gdt, sregs.idt],
    [
      { base: 0x500n, limit: 47 },
      { base: 0n, limit: 0 },
    ],
  )
})

test('64-bit entry: CS is 0x10, 64-bit code; DS, ES, SS are 0x18, writable data; all flat and 4 GiB', () => {
  const { cs, ds, es, ss, tr } = longMode(0).sregs
  assert.equal([cs.selector, cs.type, cs.l, cs.db, cs.s], [0x10, 11, 1, 0, 1])
  for (const data of [ds, es, ss]) assert.equal([data.selector, data.type, data.db, data.s], [0x18, 3, 1, 1])
  for (const flat of [cs, ds])
    assert.equal([flat.base, flat.limit, flat.g, flat.present, flat.dpl], [0n, 0xffffffff, 1, 1, 0])
  assert.equal([tr.selector, tr.type, tr.s, tr.present, tr.unusable], [0x20, 11, 0, 1, 0])
})

test('GDT: the descriptors say what the segment registers say', () => {
  const table = gdt()
  const view = new DataView(table.buffer)
  const { cs, ds } = longMode(0).sregs
  for (const segment of [cs, ds]) {
    const descriptor = view.getBigUint64(segment.selector, true)
    const bits = (from: number, count: number): number =>
      Number((descriptor >> BigInt(from)) & ((1n << BigInt(count)) - 1n))
    assert.is(bits(0, 16) + bits(48, 4) * 65536, 0xfffff)
    assert.is(bits(16, 24) + bits(56, 8), 0)
    assert.equal(
      [bits(40, 4), bits(44, 1), bits(45, 2), bits(47, 1), bits(53, 1), bits(54, 1), bits(55, 1)],
      [segment.type, 1, 0, 1, segment.l, segment.db, 1],
    )
  }
})

test('page tables: any address below 4 GiB -> itself, writable; above -> not present', () => {
  const tables = pageTables()
  const view = new DataView(tables.buffer)
  const entry = (table: bigint, index: bigint): bigint => view.getBigUint64(Number(table - 0x9000n + index * 8n), true)
  const walk = (address: bigint): bigint | undefined => {
    const pml4 = entry(0x9000n, (address >> 39n) & 511n)
    if (!(pml4 & 1n)) return undefined
    const pdpt = entry(pml4 & ~0xfffn, (address >> 30n) & 511n)
    if (!(pdpt & 1n)) return undefined
    const page = entry(pdpt & ~0xfffn, (address >> 21n) & 511n)
    assert.is(page & 0x83n, 0x83n)
    return (page & ~0x1fffffn) | (address & 0x1fffffn)
  }
  for (const address of [0n, 0x7000n, 0x1fffffn, 0x200000n, 0x1000200n, 0x3fffffffn, 0xfec00000n, 0xffffffffn]) {
    assert.is(walk(address), address)
  }
  assert.is(walk(0x100000000n), undefined)
  assert.is(walk(1n << 39n), undefined)
})

test('flat program: protected mode without paging, 32-bit segments, nothing else', () => {
  const { regs, sregs } = flatMode(0x100000)
  assert.equal([regs.rip, regs.rflags, sregs.cr0, sregs.cr4, sregs.efer], [0x100000n, 2n, 0x11n, 0n, 0n])
  assert.equal([sregs.cs.db, sregs.cs.l, sregs.ds.db], [1, 0, 1])
})

test.run()
