// The AML that tells a guest where its virtio-mmio disks are: one device node per disk, `LNRO0005` (the identifier
// that Linux's virtio_mmio driver looks for), its register window and its interrupt. A machine whose firmware has
// tables of its own gets the nodes as an SSDT, in a file in front of its initramfs (initramfs.ts); a machine whose
// tables are ours (acpi-tables.ts) has them in its DSDT. Portable; touches no guest memory.
// ACPI 6.4: resource descriptors 6.4.

import { buffer, device, integer, named, scope, string, systemTable, u16, u32 } from './aml.ts'

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

const DEVICES_MAX = 16
/** Integers are 64-bit. */
const AML_REVISION = 2

/** Returns a complete SSDT, checksum included, that declares `devices` under `\_SB`. */
export function virtioMmioSsdt(devices: readonly AcpiVirtioMmio[]): Uint8Array {
  if (devices.length < 1) throw new RangeError(`ACPI: 1 to ${DEVICES_MAX} devices, not 0`)
  return systemTable('SSDT', AML_REVISION, 'VIRTMMIO', virtioMmioScope(devices))
}

/** The AML of `Scope (\_SB)` with a node for each device. */
export function virtioMmioScope(devices: readonly AcpiVirtioMmio[]): number[] {
  if (devices.length > DEVICES_MAX) {
    throw new RangeError(`ACPI: 1 to ${DEVICES_MAX} devices, not ${devices.length}`)
  }
  return scope('\\_SB_', devices.flatMap(deviceNode))
}

function deviceNode(disk: AcpiVirtioMmio, uid: number): number[] {
  return device(`VBK${uid.toString(16).toUpperCase()}`, [
    ...named('_HID', string('LNRO0005')),
    ...named('_UID', integer(uid)),
    ...named('_CRS', buffer(resources(disk))),
  ])
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
