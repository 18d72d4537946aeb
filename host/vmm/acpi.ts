// The ACPI table that tells a guest where its virtio-mmio disks are: an SSDT with one device node per disk,
// `LNRO0005` (the identifier that Linux's virtio_mmio driver looks for), its register window and its interrupt.
// Only the AML that this needs is written here: names, integers, strings and one resource template. The table goes
// to the guest as a file in front of its initramfs (initramfs.ts). Portable; touches no guest memory.
// ACPI 6.4: tables 5.2.6, resource descriptors 6.4, AML grammar 20.2.

/** One virtio-mmio device as the guest's firmware tables describe it. */
export interface AcpiVirtioMmio {
  /** guest-physical address of the register window */
  readonly base: number
  /** length of the window in bytes; default 4096 */
  readonly bytes?: number
  /** global system interrupt; below 16 it is also the ISA interrupt */
  readonly irq: number
  /** default 'level', which is how the device drives its line: high until InterruptStatus is 0 */
  readonly trigger?: 'level' | 'edge'
}

const AML_ZERO = 0x00
const AML_ONE = 0x01
const AML_NAME = 0x08
const AML_BYTE = 0x0a
const AML_STRING = 0x0d
const AML_SCOPE = 0x10
const AML_BUFFER = 0x11
const AML_EXT = 0x5b
const AML_EXT_DEVICE = 0x82

const HEADER_BYTES = 36
const CHECKSUM_OFFSET = 9
const DEVICES_MAX = 16

/** Returns a complete SSDT, checksum included, that declares `devices` under `\_SB`. */
export function virtioMmioSsdt(devices: readonly AcpiVirtioMmio[]): Uint8Array {
  if (devices.length < 1 || devices.length > DEVICES_MAX) {
    throw new RangeError(`ACPI: 1 to ${DEVICES_MAX} devices, not ${devices.length}`)
  }
  const body = [AML_SCOPE, ...sized([...text('\\_SB_'), ...devices.flatMap(deviceNode)])]
  const bytes = HEADER_BYTES + body.length
  const table = Uint8Array.from([
    ...text('SSDT'),
    ...u32(bytes),
    2, // revision: integers are 64-bit
    0, // checksum, below
    ...text('VBLK  '),
    ...text('VIRTMMIO'),
    ...u32(1), // OEM revision
    ...text('VBLK'),
    ...u32(1), // creator revision
    ...body,
  ])
  table[CHECKSUM_OFFSET] = -checksum(table) & 0xff
  return table
}

/** The sum of all bytes modulo 256: 0 for a valid table. */
export function checksum(table: Uint8Array): number {
  return table.reduce((sum, byte) => (sum + byte) & 0xff, 0)
}

function deviceNode(device: AcpiVirtioMmio, uid: number): number[] {
  const name = `VBK${uid.toString(16).toUpperCase()}`
  return [
    AML_EXT,
    AML_EXT_DEVICE,
    ...sized([
      ...text(name),
      ...[AML_NAME, ...text('_HID'), AML_STRING, ...text('LNRO0005'), 0],
      ...[AML_NAME, ...text('_UID'), ...integer(uid)],
      ...[AML_NAME, ...text('_CRS'), ...buffer(resources(device))],
    ]),
  ]
}

function resources({ base, bytes = 4096, irq, trigger = 'level' }: AcpiVirtioMmio): number[] {
  for (const [name, value] of Object.entries({ base, bytes, irq })) {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw new RangeError(`ACPI: ${name} must be a 32-bit unsigned integer, not ${value}`)
    }
  }
  const consumer = 1 // the device uses the interrupt, it does not provide it
  const flags = consumer | (trigger === 'edge' ? 2 : 0) // active high, not shared
  return [
    ...[0x86, ...u16(9), 1, ...u32(base), ...u32(bytes)], // Memory32Fixed, read-write
    ...[0x89, ...u16(6), flags, 1, ...u32(irq)], // extended interrupt, one
    ...[0x79, 0], // end tag; 0 = checksum not used
  ]
}

function buffer(content: number[]): number[] {
  return [AML_BUFFER, ...sized([...integer(content.length), ...content])]
}

function integer(value: number): number[] {
  if (value === 0) return [AML_ZERO]
  if (value === 1) return [AML_ONE]
  return [AML_BYTE, value]
}

/** PkgLength, which counts itself, and then the content. */
function sized(content: number[]): number[] {
  if (content.length + 1 < 0x40) return [content.length + 1, ...content]
  const total = content.length + 2
  if (total > 0xfff) throw new RangeError('ACPI: package too long')
  return [0x40 | (total & 0x0f), total >> 4, ...content]
}

function text(ascii: string): number[] {
  return Array.from(ascii, (char) => char.charCodeAt(0))
}

function u16(value: number): number[] {
  return [value & 0xff, value >>> 8]
}

function u32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}
