// The ACPI tables of KvmMachine: RSDP, XSDT, FADT, MADT and DSDT, laid out for the BIOS area below 1 MiB, where
// Linux looks for the RSDP when its boot parameters do not say. Makes bytes; who puts them into guest RAM is
// linux-loader.ts. ACPI 6.4, section 5.2 (tables) and 4.8.3 (fixed registers). Portable.
//
// Full hardware ACPI with PM1a registers, not hardware-reduced. Linux, told that the hardware is reduced, switches
// off the legacy interrupt controller and timer (acpi_reduced_hw_init): interrupts 0 to 15 then have no mapping, so a
// serial port on IRQ 4 needs a node of its own, and the local APIC timer has nothing to be calibrated with. KVM's
// in-kernel irqchip has all of it (PIC, IOAPIC, PIT), so the ordinary way costs two 16-bit registers
// (pc-devices.ts) and is the one that Linux runs on every PC. No SMI command port means that ACPI is on from the start.

import { type AcpiVirtioMmio, virtioMmioScope } from './acpi.ts'
import { checksum, integer, named, packageOf, systemTable, text, u16, u32 } from './aml.ts'
import {
  BIOS_AREA,
  BIOS_AREA_BYTES,
  IOAPIC_ADDRESS,
  LOCAL_APIC_ADDRESS,
  PM1_CONTROL_PORT,
  PM1_EVENT_PORT,
  RESET_PORT,
  RESET_VALUE,
  SCI_IRQ,
  SLEEP_TYPE_S5,
} from './pc-layout.ts'

export interface AcpiMachine {
  readonly vcpus: number
  readonly disks: readonly AcpiVirtioMmio[]
}

/** A table and the guest-physical address it was made for; the tables point at each other. */
export interface PlacedTable {
  readonly address: number
  readonly bytes: Uint8Array
}

const OEM_TABLE_ID = 'VBLKPC  '
const TABLE_ALIGN = 64

const LEGACY_DEVICES = 1 << 0 // IAPC_BOOT_ARCH: there is a serial port on ISA
const VGA_NOT_PRESENT = 1 << 2
const MSI_NOT_SUPPORTED = 1 << 3
const PCIE_ASPM_CONTROLS = 1 << 4

const WBINVD = 1 << 0 // FADT flags
const PWR_BUTTON = 1 << 4 // no fixed power button
const SLP_BUTTON = 1 << 5 // no fixed sleep button
const RESET_REG_SUP = 1 << 10

/** All tables with the RSDP first, at the beginning of the BIOS area. */
export function acpiTables(machine: AcpiMachine): PlacedTable[] {
  const placed: PlacedTable[] = []
  let at = BIOS_AREA + TABLE_ALIGN // the RSDP comes first and points at a table that comes last
  const place = (bytes: Uint8Array): number => {
    const address = at
    placed.push({ address, bytes })
    at = Math.ceil((address + bytes.length) / TABLE_ALIGN) * TABLE_ALIGN
    return address
  }
  const dsdtAddress = place(dsdt(machine.disks))
  const fadtAddress = place(fadt(dsdtAddress, place(facs())))
  const madtAddress = place(madt(machine.vcpus))
  const xsdtAddress = place(systemTable('XSDT', 1, OEM_TABLE_ID, [...u64(fadtAddress), ...u64(madtAddress)]))
  if (at > BIOS_AREA + BIOS_AREA_BYTES) throw new RangeError('ACPI: the tables do not fit below 1 MiB')
  return [{ address: BIOS_AREA, bytes: rsdp(xsdtAddress) }, ...placed]
}

/** 5.2.5.3: revision 2, which has a second checksum over all 36 bytes. */
function rsdp(xsdtAddress: number): Uint8Array {
  const table = Uint8Array.from([
    ...text('RSD PTR '),
    0, // checksum of the first 20 bytes
    ...text('VBLK  '),
    2, // revision
    ...u32(0), // there is no RSDT
    ...u32(36),
    ...u64(xsdtAddress),
    0, // checksum of everything
    ...[0, 0, 0],
  ])
  table[8] = -checksum(table.subarray(0, 20)) & 0xff
  table[32] = -checksum(table) & 0xff
  return table
}

/** 5.2.9, table 5.9: FADT revision 6.3, 276 bytes. Offsets in the comments are those of the standard. */
function fadt(dsdtAddress: number, facsAddress: number): Uint8Array {
  return systemTable('FACP', 6, OEM_TABLE_ID, [
    ...u32(facsAddress), // 36 FIRMWARE_CTRL
    ...u32(dsdtAddress), // 40 DSDT
    ...[0, 0], // 44 reserved, 45 preferred profile: unspecified
    ...u16(SCI_IRQ), // 46
    ...u32(0), // 48 SMI_CMD: none, ACPI is always on
    ...[0, 0, 0, 0], // 52 ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT
    ...u32(PM1_EVENT_PORT), // 56 PM1a_EVT_BLK
    ...u32(0), // 60 PM1b_EVT_BLK
    ...u32(PM1_CONTROL_PORT), // 64 PM1a_CNT_BLK
    ...[...u32(0), ...u32(0), ...u32(0), ...u32(0), ...u32(0)], // 68 PM1b_CNT, PM2_CNT, PM_TMR, GPE0, GPE1: none
    ...[4, 2, 0, 0], // 88 PM1_EVT_LEN, PM1_CNT_LEN, PM2_CNT_LEN, PM_TMR_LEN
    ...[0, 0, 0, 0], // 92 GPE0_BLK_LEN, GPE1_BLK_LEN, GPE1_BASE, CST_CNT
    ...u16(0xffff), // 96 P_LVL2_LAT: no C2
    ...u16(0xffff), // 98 P_LVL3_LAT: no C3
    ...[...u16(0), ...u16(0)], // 100 FLUSH_SIZE, FLUSH_STRIDE: WBINVD works
    ...[0, 0], // 104 DUTY_OFFSET, DUTY_WIDTH
    ...[0, 0, 0], // 106 DAY_ALRM, MON_ALRM, CENTURY
    ...u16(LEGACY_DEVICES | VGA_NOT_PRESENT | MSI_NOT_SUPPORTED | PCIE_ASPM_CONTROLS), // 109 no 8042 either
    0, // 111
    ...u32(WBINVD | PWR_BUTTON | SLP_BUTTON | RESET_REG_SUP), // 112
    ...ioRegister(RESET_PORT, 1), // 116 RESET_REG
    RESET_VALUE, // 128
    ...u16(0), // 129 ARM_BOOT_ARCH
    3, // 131 minor version
    ...u64(0), // 132 X_FIRMWARE_CTRL: the field at 36 is used
    ...u64(dsdtAddress), // 140 X_DSDT
    ...ioRegister(PM1_EVENT_PORT, 4), // 148
    ...none(), // 160 X_PM1b_EVT_BLK
    ...ioRegister(PM1_CONTROL_PORT, 2), // 172
    ...[...none(), ...none(), ...none(), ...none(), ...none()], // 184 X_PM1b_CNT, X_PM2_CNT, X_PM_TMR, X_GPE0, X_GPE1
    ...none(), // 244 SLEEP_CONTROL_REG: for reduced hardware only
    ...none(), // 256 SLEEP_STATUS_REG
    ...u64(0), // 268 hypervisor vendor
  ])
}

/** 5.2.10: 64 bytes with a global lock that nobody else takes. It has no checksum. */
function facs(): Uint8Array {
  const table = new Uint8Array(64)
  table.set([...text('FACS'), ...u32(64)])
  table[32] = 2 // version
  return table
}

/**
 * 5.2.12: one local APIC per vCPU, one IOAPIC, and the one ISA interrupt that is not as ISA has it. The PIT's IRQ 0 is
 * interrupt 0: on a PC it is 2, but KVM's own routing, which this machine leaves as it is, has every GSI on the IOAPIC
 * pin of its number.
 */
function madt(vcpus: number): Uint8Array {
  const enabled = 1
  const level = 0x000d // active high, level-triggered
  const lapics = Array.from({ length: vcpus }, (_, id) => [0, 8, id, id, ...u32(enabled)])
  return systemTable('APIC', 5, OEM_TABLE_ID, [
    ...u32(LOCAL_APIC_ADDRESS),
    ...u32(1), // PCAT_COMPAT: there are 8259s too
    ...lapics.flat(),
    ...[1, 12, vcpus, 0, ...u32(IOAPIC_ADDRESS), ...u32(0)], // IOAPIC: its id, first interrupt 0
    ...[2, 10, 0, SCI_IRQ, ...u32(SCI_IRQ), ...u16(level)],
    ...[4, 6, 0xff, ...u16(0), 1], // NMI at LINT1 of every processor
  ])
}

/** The disks, and the S5 package that names the value for power-off. */
function dsdt(disks: readonly AcpiVirtioMmio[]): Uint8Array {
  const sleep = packageOf([integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0)])
  return systemTable('DSDT', 2, OEM_TABLE_ID, [...virtioMmioScope(disks), ...named('\\_S5_', sleep)])
}

/** Generic address structure (5.2.3.2) of an I/O port. */
function ioRegister(port: number, bytes: number): number[] {
  return [1, bytes * 8, 0, bytes === 4 ? 3 : bytes, ...u64(port)]
}

function none(): number[] {
  return new Array(12).fill(0)
}

function u64(value: number): number[] {
  return [...u32(value % 2 ** 32), ...u32(Math.floor(value / 2 ** 32))]
}
