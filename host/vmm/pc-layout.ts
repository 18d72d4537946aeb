// Where things are in KvmMachine's PC: guest-physical addresses, I/O ports and interrupts, in one place because the
// firmware tables, the boot parameters and the devices must agree on them. Numbers only; portable.
//
//   0x00000500  GDT                      0x0009fc00  end of conventional memory
//   0x00007000  boot parameters          0x000e0000  ACPI tables ("BIOS area", RSDP first)
//   0x00008000  stack of the entry       0x00100000  RAM again; the kernel at the address that it prefers
//   0x00009000  page tables (6 pages)    0xc0000000  hole: device windows, IOAPIC, local APIC; RAM goes on at 4 GiB
//   0x00020000  command line

export const GDT_ADDRESS = 0x500
export const BOOT_PARAMS_ADDRESS = 0x7000
export const STACK_TOP = 0x8ff0
export const PAGE_TABLES_ADDRESS = 0x9000
export const COMMAND_LINE_ADDRESS = 0x20000
export const CONVENTIONAL_END = 0x9fc00
export const BIOS_AREA = 0xe0000
export const BIOS_AREA_BYTES = 0x20000
export const HIGH_RAM = 0x100000

/** RAM below 4 GiB ends here at the latest. */
export const HOLE = 0xc0000000
export const FOUR_GIB = 0x100000000
export const DISK_WINDOWS = 0xd0000000
export const DISK_WINDOW_BYTES = 0x1000
export const IOAPIC_ADDRESS = 0xfec00000
export const LOCAL_APIC_ADDRESS = 0xfee00000
/** Three pages that KVM needs on Intel hardware for real mode, and one for its identity map. */
export const KVM_TSS_ADDRESS = 0xfffbd000
export const KVM_IDENTITY_MAP_ADDRESS = 0xfffbc000

export const SERIAL_PORT = 0x3f8
export const SERIAL_IRQ = 4
export const SCI_IRQ = 9
/** ACPI's fixed registers: status and enable, two bytes each, then control. */
export const PM1_EVENT_PORT = 0x600
export const PM1_CONTROL_PORT = 0x604
/** The chip set's reset register, which is ACPI's too, and the value that resets. */
export const RESET_PORT = 0xcf9
export const RESET_VALUE = 0x06
/** SLP_TYP of S5 in the control register: the tables say it, the register understands it. */
export const SLEEP_TYPE_S5 = 5

/** Interrupts a disk may have. 8 and 9 are the clock's and ACPI's; 0 to 4 belong to the PC; the IOAPIC ends at 23. */
export const DISK_GSIS: readonly number[] = [5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]
