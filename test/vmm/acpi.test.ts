// The SSDT, byte for byte: what `iasl -d` shows for these bytes is in the comments. That Linux takes it is shown by
// linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { virtioMmioSsdt } from '../../host/vmm/acpi.ts'
import { checksum } from '../../host/vmm/aml.ts'

const acpi = suite('acpi')

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

acpi('SSDT: one level-triggered disk -> exactly these bytes', () => {
  const expected = [
    '53534454' + '68000000' + '02' + '65' + '56424c4b2020', // "SSDT", 104 bytes, revision 2, checksum, "VBLK  "
    '564952544d4d494f' + '01000000' + '56424c4b' + '01000000', // "VIRTMMIO", 1, "VBLK", 1
    '10' + '4304' + '5c5f53425f', // Scope (\_SB)
    '5b82' + '3a' + '56424b30', // Device (VBK0)
    '08' + '5f484944' + '0d' + '4c4e524f3030303500', // Name (_HID, "LNRO0005")
    '08' + '5f554944' + '00', // Name (_UID, Zero)
    '08' + '5f435253' + '11' + '1a' + '0a17', // Name (_CRS, ResourceTemplate)
    '860900' + '01' + '001000c0' + '00100000', // Memory32Fixed (ReadWrite, 0xC0001000, 0x1000)
    '890600' + '01' + '01' + '05000000', // Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) {5}
    '7900',
  ].join('')
  assert.is(hex(virtioMmioSsdt([{ base: 0xc0001000, irq: 5 }])), expected)
})

acpi('SSDT: any table -> its length is right and its bytes sum to 0', () => {
  for (const count of [1, 2, 3, 16]) {
    const devices = Array.from({ length: count }, (_, i) => ({ base: 0xc0001000 + i * 0x1000, irq: 5 + i }))
    const table = virtioMmioSsdt(devices)
    assert.is(new DataView(table.buffer).getUint32(4, true), table.length)
    assert.is(checksum(table), 0)
  }
})

acpi('SSDT: edge trigger -> bit 1 of the interrupt flags', () => {
  const level = virtioMmioSsdt([{ base: 0x1000, irq: 7 }])
  const edge = virtioMmioSsdt([{ base: 0x1000, irq: 7, trigger: 'edge' }])
  const differences = [...level.keys()].filter((i) => level[i] !== edge[i] && i !== 9)
  assert.equal(
    differences.map((i) => [level[i], edge[i]]),
    [[1, 3]],
  )
})

acpi('SSDT: two disks -> names, unique ids and windows of their own', () => {
  const text = hex(
    virtioMmioSsdt([
      { base: 0xc0001000, irq: 5 },
      { base: 0xc0002000, bytes: 0x200, irq: 10 },
    ]),
  )
  assert.ok(text.includes('56424b30') && text.includes('56424b31'))
  assert.ok(text.includes('085f55494400') && text.includes('085f55494401'))
  assert.ok(text.includes('002000c000020000'))
  assert.ok(text.includes('0a000000'))
})

acpi('SSDT: numbers that do not fit -> RangeError naming them', () => {
  assert.throws(() => virtioMmioSsdt([]), /1 to 16 devices/)
  assert.throws(() => virtioMmioSsdt([{ base: 2 ** 32, irq: 5 }]), /base/)
  assert.throws(() => virtioMmioSsdt([{ base: 0, irq: -1 }]), /irq/)
})

acpi.run()
