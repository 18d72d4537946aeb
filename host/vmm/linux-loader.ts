// Puts Linux into a KvmMachine's RAM: kernel, initramfs, command line, boot parameters, page tables and ACPI tables,
// each where pc-layout.ts or the kernel's own header says. Everything is checked before the first byte is written.
// Portable; knows nothing of KVM.

import type { GuestMemory } from '../device/guest-memory.ts'
import { acpiTables } from './acpi-tables.ts'
import {
  BootImageError,
  checkKernelFits,
  commandLine,
  placeInitrd,
  type SetupHeader,
  setupHeader,
  zeroPage,
} from './boot-params.ts'
import { type CpuState, gdt, longMode, pageTables } from './cpu-state.ts'
import { loadableSegments } from './elf.ts'
import type { LinuxMachineOptions, MachineKernel, PlacedDisk } from './machine-options.ts'
import {
  BIOS_AREA,
  BOOT_PARAMS_ADDRESS,
  COMMAND_LINE_ADDRESS,
  GDT_ADDRESS,
  HIGH_RAM,
  PAGE_TABLES_ADDRESS,
} from './pc-layout.ts'

interface Piece {
  readonly gpa: number
  readonly bytes: Uint8Array
}

/** boot.rst, "64-bit BOOT PROTOCOL": the entry point is at 0x200 of the loaded kernel. */
const ENTRY_64 = 0x200

/** Loads everything and returns the registers of the entry. Throws BootImageError, with RAM untouched. */
export function loadLinux(options: LinuxMachineOptions, disks: readonly PlacedDisk[]): CpuState {
  const { memory, kernel, initrd, cmdline = '', vcpus = 1 } = options
  const lowRam = memory.regions.find(({ gpa }) => gpa === 0)?.bytes ?? 0
  if (lowRam <= HIGH_RAM) throw new BootImageError('Linux needs RAM from address 0 on, and more than 1 MiB of it')
  const header = setupHeader(kernel.bzImage)
  checkKernelFits(header, lowRam)
  const initrdAt = initrd && initrd.length > 0 ? placeInitrd(header, lowRam, initrd.length) : undefined
  const { entry, pieces } = kernelPieces(kernel, header, memory)
  const tables = acpiTables({
    vcpus,
    disks: disks.map(({ window, gsi }) => ({ base: window, irq: gsi, trigger: 'edge' })),
  })
  pieces.push(
    {
      gpa: BOOT_PARAMS_ADDRESS,
      bytes: zeroPage({ header, ram: memory.regions, initrd: initrdAt, rsdpAddress: BIOS_AREA }),
    },
    { gpa: COMMAND_LINE_ADDRESS, bytes: commandLine(header, cmdline) },
    { gpa: GDT_ADDRESS, bytes: gdt() },
    { gpa: PAGE_TABLES_ADDRESS, bytes: pageTables() },
    ...tables.map(({ address, bytes }) => ({ gpa: address, bytes })),
  )
  if (initrd && initrdAt) pieces.push({ gpa: initrdAt.gpa, bytes: initrd })
  for (const { gpa, bytes } of pieces) memory.view(gpa, bytes.length).set(bytes)
  return longMode(entry)
}

/** The kernel's bytes: those of the bzImage, which unpacks itself, or of the kernel that is unpacked already. */
function kernelPieces(kernel: MachineKernel, header: SetupHeader, memory: GuestMemory) {
  const { prefAddress, initSize, loaded } = header
  if (kernel.vmlinux === undefined) {
    return { entry: prefAddress + ENTRY_64, pieces: [{ gpa: prefAddress, bytes: loaded }] as Piece[] }
  }
  const { entry, segments } = loadableSegments(kernel.vmlinux)
  for (const { address, memoryBytes } of segments) {
    if (address < prefAddress || address + memoryBytes > prefAddress + initSize) {
      throw new BootImageError(
        'the decompressed kernel does not lie where its bzImage says: they do not belong together',
      )
    }
  }
  if (!segments.some(({ address, content }) => entry >= address && entry < address + content.length)) {
    throw new BootImageError('the decompressed kernel has its entry point outside itself')
  }
  memory.view(prefAddress, initSize) // throws if it were not RAM; what is past a segment's content is zero already
  return { entry, pieces: segments.map(({ address, content }): Piece => ({ gpa: address, bytes: content })) }
}
