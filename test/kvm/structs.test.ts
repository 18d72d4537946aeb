// The structure codecs: sizes and offsets against typed-in ones, fields that do not overlap, round trips that touch
// every field, and values that do not fit.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  decode,
  decodeList,
  decodeSregs,
  encode,
  encodeList,
  encodeNew,
  encodeSregs,
  fieldsOf,
  KVM_CPUID_ENTRY2,
  KVM_DTABLE,
  KVM_IOEVENTFD,
  KVM_IRQ_LEVEL,
  KVM_IRQFD,
  KVM_MP_STATE,
  KVM_MSR_ENTRY,
  KVM_PIT_CONFIG,
  KVM_REGS,
  KVM_SEGMENT,
  KVM_SIGNAL_MASK,
  KVM_SREGS,
  KVM_USERSPACE_MEMORY_REGION,
  SREGS_SEGMENTS,
  SREGS_TABLES,
} from '../../host/kvm/structs.ts'

const test = suite('kvm/structs')

const STRUCTS = {
  KVM_REGS,
  KVM_SREGS,
  KVM_SEGMENT,
  KVM_DTABLE,
  KVM_USERSPACE_MEMORY_REGION,
  KVM_IRQFD,
  KVM_IOEVENTFD,
  KVM_IRQ_LEVEL,
  KVM_PIT_CONFIG,
  KVM_MP_STATE,
  KVM_CPUID_ENTRY2,
  KVM_MSR_ENTRY,
  KVM_SIGNAL_MASK,
}

test('sizes', () => {
  assert.equal(Object.fromEntries(Object.entries(STRUCTS).map(([name, { bytes }]) => [name, bytes])), {
    KVM_REGS: 144,
    KVM_SREGS: 312,
    KVM_SEGMENT: 24,
    KVM_DTABLE: 16,
    KVM_USERSPACE_MEMORY_REGION: 32,
    KVM_IRQFD: 32,
    KVM_IOEVENTFD: 64,
    KVM_IRQ_LEVEL: 8,
    KVM_PIT_CONFIG: 64,
    KVM_MP_STATE: 4,
    KVM_CPUID_ENTRY2: 40,
    KVM_MSR_ENTRY: 16,
    KVM_SIGNAL_MASK: 4,
  })
})

/** 'name@offset:width', which is all there is to a field. */
const written = (fields: readonly { name: string; offset: number; width: number }[]): string =>
  fields.map(({ name, offset, width }) => `${name}@${offset}:${width}`).join(' ')

test('offsets and widths', () => {
  const registers = 'rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags'.split(' ')
  assert.is(written(KVM_REGS.fields), registers.map((name, i) => `${name}@${8 * i}:8`).join(' '))
  assert.is(
    written(KVM_SEGMENT.fields),
    'base@0:8 limit@8:4 selector@12:2 type@14:1 present@15:1 dpl@16:1 db@17:1 s@18:1 l@19:1 g@20:1 avl@21:1 unusable@22:1',
  )
  assert.is(written(KVM_DTABLE.fields), 'base@0:8 limit@8:2')
  assert.is(written(KVM_SREGS.fields), 'cr0@224:8 cr2@232:8 cr3@240:8 cr4@248:8 cr8@256:8 efer@264:8 apic_base@272:8')
  assert.is(
    written(KVM_USERSPACE_MEMORY_REGION.fields),
    'slot@0:4 flags@4:4 guest_phys_addr@8:8 memory_size@16:8 userspace_addr@24:8',
  )
  assert.is(written(KVM_IRQFD.fields), 'fd@0:4 gsi@4:4 flags@8:4 resamplefd@12:4')
  assert.is(written(KVM_IOEVENTFD.fields), 'datamatch@0:8 addr@8:8 len@16:4 fd@20:4 flags@24:4')
  assert.is(written(KVM_IRQ_LEVEL.fields), 'irq@0:4 level@4:4')
  assert.is(written(KVM_PIT_CONFIG.fields), 'flags@0:4')
  assert.is(written(KVM_MP_STATE.fields), 'mp_state@0:4')
  assert.is(written(KVM_CPUID_ENTRY2.fields), 'function@0:4 index@4:4 flags@8:4 eax@12:4 ebx@16:4 ecx@20:4 edx@24:4')
  assert.is(written(KVM_MSR_ENTRY.fields), 'index@0:4 data@8:8')
  assert.is(written(KVM_SIGNAL_MASK.fields), 'len@0:4')
})

for (const [name, { bytes, fields }] of Object.entries(STRUCTS)) {
  test(`${name}: every byte set -> no field overlaps, none runs off the end`, () => {
    const owner = Array<string>(bytes).fill('')
    for (const field of fields) {
      assert.is(field.offset % field.width, 0, field.name)
      assert.ok(field.offset + field.width <= bytes, field.name)
      for (let i = field.offset; i < field.offset + field.width; i++) {
        assert.is(owner[i], '', field.name)
        owner[i] = field.name
      }
    }
  })
}

test('decode, encode: bytes 0..143 as kvm_regs -> little-endian, and back', () => {
  const bytes = Uint8Array.from({ length: 144 }, (_, i) => i)
  const regs = decode(KVM_REGS, fieldsOf(bytes))
  assert.is(regs.rax, 0x0706050403020100n)
  assert.is(regs.rflags, 0x8f8e8d8c8b8a8988n)
  assert.equal(encodeNew(KVM_REGS, regs), bytes)
})

test('encode: some fields -> the others stay', () => {
  const bytes = new Uint8Array(32).fill(0xff)
  encode(KVM_IRQFD, fieldsOf(bytes), { gsi: 5, flags: 0x01020304 })
  assert.equal([...bytes.subarray(0, 16)], [255, 255, 255, 255, 5, 0, 0, 0, 4, 3, 2, 1, 255, 255, 255, 255])
})

test('encodeSregs, decodeSregs: every byte that has a name -> at its place, and back', () => {
  const bytes = Uint8Array.from({ length: 312 }, (_, i) => (i * 7 + 1) & 0xff)
  const sregs = decodeSregs(fieldsOf(bytes))
  assert.equal(Object.keys(sregs).length, 8 + 2 + 7)
  SREGS_SEGMENTS.forEach((name, i) => {
    assert.is(sregs[name].selector, fieldsOf(bytes).getUint16(24 * i + 12, true), name)
  })
  SREGS_TABLES.forEach((name, i) => {
    assert.is(sregs[name].limit, fieldsOf(bytes).getUint16(192 + 16 * i + 8, true), name)
  })
  const again = new Uint8Array(312)
  encodeSregs(fieldsOf(again), sregs)
  // Without a name: byte 23 of each segment, 6 of each table, and the interrupt from 280 on.
  const padding = (i: number): boolean => (i < 192 ? i % 24 === 23 : i < 224 ? i % 16 >= 10 : i >= 280)
  assert.equal(
    again,
    bytes.map((byte, i) => (padding(i) ? 0 : byte)),
  )
  encodeSregs(fieldsOf(bytes), { cs: { selector: 0xbeef }, cr4: 0n, idt: { limit: 1 } })
  const changed = decodeSregs(fieldsOf(bytes))
  assert.equal(changed, {
    ...sregs,
    cs: { ...sregs.cs, selector: 0xbeef },
    cr4: 0n,
    idt: { ...sregs.idt, limit: 1 },
  })
})

test('encodeList, decodeList: entries -> behind a head of 8 bytes that counts them, and back', () => {
  const entries = [
    { index: 0x10, data: 1n },
    { index: 0xc0000080, data: 0xffffffffffffffffn },
  ]
  const list = encodeList(KVM_MSR_ENTRY, entries)
  assert.is(list.length, 8 + 2 * 16)
  assert.is(fieldsOf(list).getUint32(0, true), 2)
  assert.is(fieldsOf(list).getUint32(8 + 16, true), 0xc0000080)
  assert.equal(decodeList(KVM_MSR_ENTRY, list), entries)
})

test('encode: unknown field, wrong kind, too large, negative -> refused by name', () => {
  const bytes = new Uint8Array(144)
  const wrong = (values: object): (() => void) => {
    return () => encode(KVM_REGS, fieldsOf(bytes), values)
  }
  assert.throws(wrong({ eip: 1n }), /no field eip, but rax,/)
  assert.throws(wrong({ rip: 1 }), /rip is a bigint, not 1/)
  assert.throws(wrong({ rip: 1n << 64n }), /rip holds 8 bytes/)
  assert.throws(wrong({ rip: -1n }), /rip holds 8 bytes/)
  assert.throws(() => encodeNew(KVM_SEGMENT, { selector: 0x10000 }), /selector holds 2 bytes/)
  assert.throws(() => encodeNew(KVM_IRQ_LEVEL, { irq: 1.5 }), RangeError)
  assert.throws(() => encodeNew(KVM_IRQ_LEVEL, { irq: 1n as unknown as number }), /irq is a number/)
  assert.equal(bytes, new Uint8Array(144))
})

test.run()
