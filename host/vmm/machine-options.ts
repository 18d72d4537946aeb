// What KvmMachine is made with, and what is wrong with it: every mistake has an error of its own, thrown before
// anything is started. Checks numbers and layout only; whether there is a KVM, and what it can do, is asked by
// kvm-machine.ts, and a kernel image is read in boot-params.ts.

import type { GuestMemory } from '../device/guest-memory.ts'
import type { DiskHandle } from '../loop/transport.ts'
import { DISK_GSIS, DISK_WINDOW_BYTES, DISK_WINDOWS, FOUR_GIB, HOLE } from './pc-layout.ts'

/** A disk of DiskWorker.attach(), which stays the caller's, as its worker does. */
export interface MachineDisk {
  readonly handle: DiskHandle
  readonly kickFds: readonly number[]
  readonly interruptFd: number
}

export interface MachineDiskOptions {
  readonly disk: MachineDisk
  /** guest-physical address of its registers, 4 KiB; default 0xd0000000, then 0xd0001000 ... */
  readonly window?: number
  /** its interrupt, 5 to 23 without 8 and 9; default the first that no disk has */
  readonly gsi?: number
  /** false: notifications are exits instead of signals from KVM (ioeventfd). Default true. */
  readonly ioeventfd?: boolean
}

/** A Linux kernel for x86-64. */
export interface MachineKernel {
  readonly bzImage: Uint8Array
  /** the same kernel, decompressed: saves the guest the work, which counts where there is no hardware KVM */
  readonly vmlinux?: Uint8Array
}

/** A program without an operating system. It gets nothing but its image in RAM, and registers. */
export interface FlatProgram {
  readonly image: Uint8Array
  readonly address: number
  readonly entry: number
  /** 'protected' (default): 32-bit, flat, no paging. 'long': 64-bit, as Linux is entered, tables below 1 MiB. */
  readonly mode?: 'protected' | 'long'
}

interface CommonOptions {
  /** shared, from KvmMachine.memory(); the disks are made over it */
  readonly memory: GuestMemory
  readonly disks?: readonly MachineDiskOptions[]
  /** default 1 */
  readonly vcpus?: number
  /** bytes from the guest's serial port, as they come, several at a time */
  readonly onSerial?: (bytes: Uint8Array) => void
  /** each value that the guest writes to this I/O port goes to the function, and nowhere else */
  readonly debugPort?: { readonly port: number; readonly onWrite: (value: number, width: number) => void }
  /** one line for each thing that went wrong in a disk; default console.error */
  readonly onDiskFailure?: (message: string) => void
  /** default /dev/kvm */
  readonly device?: string
}

export interface LinuxMachineOptions extends CommonOptions {
  readonly kernel: MachineKernel
  readonly initrd?: Uint8Array
  readonly cmdline?: string
  readonly flat?: never
}

export interface FlatMachineOptions extends CommonOptions {
  readonly flat: FlatProgram
  readonly kernel?: never
  readonly initrd?: never
  readonly cmdline?: never
}

export type KvmMachineOptions = LinuxMachineOptions | FlatMachineOptions

export interface PlacedDisk {
  readonly disk: MachineDisk
  readonly window: number
  readonly gsi: number
  readonly ioeventfd: boolean
}

const VCPUS_MAX = 64
const SERIAL_PORTS = 8

/** Disks with a window and an interrupt each. Throws TypeError or RangeError naming what is wrong. */
export function checkMachine(options: KvmMachineOptions): PlacedDisk[] {
  const { memory, vcpus = 1, debugPort } = options
  if (memory?.shared !== true) {
    throw new TypeError('KvmMachine: memory must be shared: KvmMachine.memory(bytes) makes it')
  }
  for (const { gpa, bytes } of memory.regions) {
    if (gpa < FOUR_GIB && gpa + bytes > HOLE) {
      throw new RangeError(
        `KvmMachine: RAM from ${hex(gpa)} to ${hex(gpa + bytes)} reaches into the addresses of devices, ${hex(HOLE)} ` +
          `to ${hex(FOUR_GIB)}: KvmMachine.memory(bytes) puts it around them`,
      )
    }
  }
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > VCPUS_MAX) {
    throw new RangeError(`KvmMachine: vcpus must be 1 to ${VCPUS_MAX}, not ${vcpus}`)
  }
  if ((options.kernel === undefined) === (options.flat === undefined)) {
    throw new TypeError('KvmMachine: give either a kernel or a flat program')
  }
  if (debugPort && !(Number.isInteger(debugPort.port) && debugPort.port >= 0 && debugPort.port <= 0xffff)) {
    throw new RangeError(`KvmMachine: debugPort.port must be 0 to 0xffff, not ${debugPort.port}`)
  }
  if (debugPort && debugPort.port >= 0x3f8 && debugPort.port < 0x3f8 + SERIAL_PORTS) {
    throw new RangeError('KvmMachine: debugPort.port is the serial port')
  }
  if (options.flat) checkFlat(options.flat, memory)
  return placeDisks(options.disks ?? [], memory)
}

function checkFlat({ image, address, entry }: FlatProgram, memory: GuestMemory): void {
  memory.view(address, image.length) // throws RangeError: not guest RAM
  if (!Number.isSafeInteger(entry) || entry < address || entry >= address + image.length) {
    throw new RangeError(`KvmMachine: flat.entry ${hex(entry)} is not in the image`)
  }
}

function placeDisks(disks: readonly MachineDiskOptions[], memory: GuestMemory): PlacedDisk[] {
  if (disks.length > DISK_GSIS.length) {
    throw new RangeError(`KvmMachine: ${disks.length} disks; there are interrupts for ${DISK_GSIS.length}`)
  }
  const taken = new Set(disks.map(({ gsi }) => gsi))
  const free = DISK_GSIS.filter((gsi) => !taken.has(gsi))
  const placed: PlacedDisk[] = []
  for (const [i, { disk, window = DISK_WINDOWS + i * DISK_WINDOW_BYTES, gsi, ioeventfd = true }] of disks.entries()) {
    checkWindow(window, memory)
    const line = gsi ?? (free.shift() as number)
    if (!DISK_GSIS.includes(line)) {
      throw new RangeError(`KvmMachine: gsi ${line} cannot be a disk's: it is 5 to 23, but not 8 (clock) nor 9 (ACPI)`)
    }
    if (disk.handle.memory !== memory.memory) {
      throw new TypeError(`KvmMachine: the disk at ${hex(window)} was made over another memory`)
    }
    for (const other of placed) {
      if (other.disk === disk) throw new RangeError('KvmMachine: a disk is given twice')
      if (other.window === window) throw new RangeError(`KvmMachine: two disks at the window ${hex(window)}`)
      if (other.gsi === line) throw new RangeError(`KvmMachine: two disks on the interrupt (gsi) ${line}`)
    }
    placed.push({ disk, window, gsi: line, ioeventfd })
  }
  return placed
}

function checkWindow(window: number, memory: GuestMemory): void {
  if (!Number.isSafeInteger(window) || window < 0 || window % DISK_WINDOW_BYTES !== 0) {
    throw new RangeError(`KvmMachine: a window must begin on a page, ${hex(window)} does not`)
  }
  for (const { gpa, bytes } of memory.regions) {
    if (window < gpa + bytes && window + DISK_WINDOW_BYTES > gpa) {
      throw new RangeError(
        `KvmMachine: the window ${hex(window)} is in guest RAM, ${hex(gpa)} to ${hex(gpa + bytes)}: choose one from ` +
          `${hex(DISK_WINDOWS)} on`,
      )
    }
  }
  // Above 0xfec00000 are the IOAPIC, the local APICs and KVM's own pages; ACPI describes 32-bit windows.
  if (window < HOLE || window >= WINDOWS_END) {
    throw new RangeError(`KvmMachine: the window ${hex(window)} is not between ${hex(HOLE)} and ${hex(WINDOWS_END)}`)
  }
}

const WINDOWS_END = 0xfec00000

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
