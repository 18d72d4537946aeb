// The machine's ACPI tables: bytes typed in from ACPI 6.4, checksums, pointers, and what iasl reads in them where it
// is installed. That Linux takes them is shown by kvm-linux.test.ts.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { acpiTables, type PlacedTable } from '../../host/vmm/acpi-tables.ts'
import { checksum } from '../../host/vmm/aml.ts'

const test = suite('acpi tables')

const DISKS = [
  { base: 0xd0000000, irq: 5, trigger: 'edge' },
  { base: 0xd0001000, irq: 17, trigger: 'edge' },
] as const

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function named(tables: readonly PlacedTable[], signature: string): PlacedTable {
  const table = tables.find(({ bytes }) => Buffer.from(bytes.subarray(0, signature.length)).toString() === signature)
  assert.ok(table, signature)
  return table
}

/** `length` bytes at `offset`, little-endian. */
function field({ bytes }: PlacedTable, offset: number, length: number): number {
  return Buffer.from(bytes).readUIntLE(offset, length)
}

test('RSDP: first, at 0xe0000 -> exactly these bytes', () => {
  const [rsdp] = acpiTables({ vcpus: 1, disks: [] })
  assert.ok(rsdp)
  assert.is(rsdp.address, 0xe0000)
  const expected = [
    '5253442050545220' + '70' + '56424c4b2020' + '02', // "RSD PTR ", checksum of these 20, "VBLK  ", revision
    '00000000' + '24000000', // no RSDT, 36 bytes
    '80020e0000000000' + '4c' + '000000', // XSDT at 0xe0280, checksum of all 36
  ].join('')
  assert.is(hex(rsdp.bytes), expected)
  assert.equal([checksum(rsdp.bytes.subarray(0, 20)), checksum(rsdp.bytes)], [0, 0])
})

test('MADT: two vCPUs -> exactly these bytes', () => {
  const { bytes } = named(acpiTables({ vcpus: 2, disks: [] }), 'APIC')
  const expected = [
    '0000e0fe' + '01000000', // local APICs at 0xfee00000, PCAT_COMPAT
    '00080000' + '01000000', // processor 0, APIC 0, enabled
    '00080101' + '01000000', // processor 1, APIC 1, enabled
    '010c0200' + '0000c0fe' + '00000000', // IOAPIC 2 at 0xfec00000, from interrupt 0
    '020a0009' + '09000000' + '0d00', // ISA 9 is interrupt 9, high, level
    '0406ff' + '0000' + '01', // NMI at LINT1 of all
  ].join('')
  assert.is(hex(bytes.subarray(36)), expected)
})

test('FADT: 276 bytes of revision 6.3, the fields that matter at the offsets of the standard', () => {
  const tables = acpiTables({ vcpus: 1, disks: DISKS })
  const fadt = named(tables, 'FACP')
  const expected: [string, number, number, number][] = [
    ['length', 4, 4, 276],
    ['revision', 8, 1, 6],
    ['FIRMWARE_CTRL', 36, 4, named(tables, 'FACS').address],
    ['DSDT', 40, 4, named(tables, 'DSDT').address],
    ['SCI_INT', 46, 2, 9],
    ['SMI_CMD', 48, 4, 0],
    ['PM1a_EVT_BLK', 56, 4, 0x600],
    ['PM1a_CNT_BLK', 64, 4, 0x604],
    ['PM_TMR_BLK', 76, 4, 0],
    ['PM1_EVT_LEN', 88, 1, 4],
    ['PM1_CNT_LEN', 89, 1, 2],
    ['IAPC_BOOT_ARCH', 109, 2, 0x1d], // legacy devices; no 8042, VGA, MSI
    ['Flags', 112, 4, 0x431], // WBINVD, no fixed buttons, RESET_REG
    ['RESET_REG', 116, 4, 0x01000801], // I/O, 8 bits, byte access
    ['RESET_REG address', 120, 6, 0xcf9],
    ['RESET_VALUE', 128, 1, 6],
    ['minor version', 131, 1, 3],
    ['X_DSDT', 140, 6, named(tables, 'DSDT').address],
    ['X_PM1a_EVT_BLK', 148, 4, 0x03002001], // I/O, 32 bits, dword access
    ['X_PM1a_EVT_BLK address', 152, 6, 0x600],
    ['X_PM1a_CNT_BLK', 172, 4, 0x02001001], // I/O, 16 bits, word access
    ['X_PM1a_CNT_BLK address', 176, 6, 0x604],
  ]
  for (const [name, offset, bytes, value] of expected) assert.is(field(fadt, offset, bytes), value, name)
})

test('FACS: 64 bytes on a multiple of 64', () => {
  const facs = named(acpiTables({ vcpus: 1, disks: [] }), 'FACS')
  assert.equal([facs.address % 64, facs.bytes.length, field(facs, 4, 4), facs.bytes[32]], [0, 64, 64, 2])
})

test('XSDT: points at the FADT and the MADT', () => {
  const tables = acpiTables({ vcpus: 3, disks: DISKS })
  const xsdt = named(tables, 'XSDT')
  assert.equal(
    [field(xsdt, 4, 4), field(xsdt, 36, 6), field(xsdt, 44, 6)],
    [52, named(tables, 'FACP').address, named(tables, 'APIC').address],
  )
})

test('DSDT: a disk and the S5 package -> exactly these bytes', () => {
  const { bytes } = named(acpiTables({ vcpus: 1, disks: DISKS.slice(0, 1) }), 'DSDT')
  const expected = [
    '10' + '4304' + '5c5f53425f' + '5b82' + '3a' + '56424b30', // Scope (\_SB) { Device (VBK0)
    '08' + '5f484944' + '0d' + '4c4e524f3030303500', // Name (_HID, "LNRO0005")
    '08' + '5f554944' + '00' + '08' + '5f435253' + '11' + '1a' + '0a17', // Name (_UID, Zero) Name (_CRS, Buffer (0x17)
    '860900' + '01' + '000000d0' + '00100000', // Memory32Fixed (ReadWrite, 0xD0000000, 0x1000)
    '890600' + '03' + '01' + '05000000' + '7900', // Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {5}
    '08' + '5c5f53355f' + '12' + '07' + '04' + '0a05' + '00' + '00' + '00', // Name (\_S5, Package (4) {5, 0, 0, 0})
  ].join('')
  assert.is(hex(bytes.subarray(36)), expected)
})

test('any machine: no two tables overlap, all are below 1 MiB, all sums are 0', () => {
  for (const vcpus of [1, 2, 64]) {
    for (const count of [0, 1, 16]) {
      const disks = Array.from({ length: count }, (_, i) => ({ base: 0xd0000000 + i * 4096, irq: 5 + i }))
      const tables = acpiTables({ vcpus, disks })
      let end = 0xe0000
      for (const { address, bytes } of tables) {
        assert.ok(address >= end)
        end = address + bytes.length
        if (Buffer.from(bytes.subarray(0, 4)).toString() !== 'FACS') assert.is(checksum(bytes), 0)
      }
      assert.ok(end <= 0x100000)
    }
  }
})

if (spawnSync('iasl', ['-v']).status === 0) {
  test('iasl: every table -> disassembled, with what we meant', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vblk-acpi-'))
    try {
      const disassembled = new Map<string, string>()
      for (const { bytes } of acpiTables({ vcpus: 2, disks: DISKS }).slice(1)) {
        const name = Buffer.from(bytes.subarray(0, 4)).toString()
        writeFileSync(join(folder, `${name}.dat`), bytes)
        const { status, stdout, stderr } = spawnSync('iasl', ['-d', `${name}.dat`], { cwd: folder, encoding: 'utf8' })
        assert.is(status, 0, stdout + stderr)
        assert.not.match(stdout + stderr, /checksum|invalid|error/i)
        disassembled.set(name, readFileSync(join(folder, `${name}.dsl`), 'latin1'))
      }
      const has = (name: string, ...parts: RegExp[]): void => {
        for (const part of parts) assert.match(disassembled.get(name) ?? '', part)
      }
      has('DSDT', /Device \(VBK1\)/, /"LNRO0005"/, /0xD0001000/, /ResourceConsumer, Edge, ActiveHigh, Exclusive/)
      has('DSDT', /0x00000011,/, /Name \(\\?_S5, Package/)
      has('FACP', /PM1A Control Block Address : 00000604/, /Reset Register Supported \(V2\) : 1/)
      has('FACP', /Hardware Reduced \(V5\) : 0/, /Value to cause reset : 06/, /8042 Present on ports 60\/64 \(V2\) : 0/)
      has('APIC', /I\/O Apic ID : 02/, /Local Apic ID : 01/, /Trigger Mode : 3/)
      // What it read, it can write again: the same AML.
      const again = spawnSync('iasl', ['-p', 'again', 'DSDT.dsl'], { cwd: folder, encoding: 'utf8' })
      assert.is(again.status, 0, again.stdout + again.stderr)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
} else {
  console.log('skipped: disassembling the tables: there is no iasl')
}

test.run()
