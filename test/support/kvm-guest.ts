// Small guests under the real KVM, for the tests of host/kvm: is there one, a machine with RAM out of a shared
// WebAssembly memory, a vCPU in real, protected or long mode at the start of a snippet of machine code.

import * as fs from 'node:fs'
import { constants } from 'node:os'
import * as assert from 'uvu/assert'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { KvmError } from '../../host/kvm/errors.ts'
import { Kvm } from '../../host/kvm/kvm.ts'
import type { SregsChange } from '../../host/kvm/structs.ts'
import { Vcpu } from '../../host/kvm/vcpu.ts'
import type { Vm } from '../../host/kvm/vm.ts'
import { addressOf } from '../../host/sys/libc.ts'

/** Where snippets are put and begin. */
export const CODE = 0x1000
export const STACK = 0x8000
export const RAM_BYTES = 1 << 20

/** The bytes of a listing: hexadecimal bytes, then two spaces or the end of the line; the rest is for the reader. */
export function bytesOf(listing: string): number[] {
  return listing
    .split('\n')
    .map((line) => line.trim().split('  ')[0] ?? '')
    .filter((line) => line !== '')
    .flatMap((line) => line.split(' '))
    .map((byte) => {
      if (!/^[0-9a-f]{2}$/.test(byte)) throw new SyntaxError(`not a byte: ${byte}`)
      return Number.parseInt(byte, 16)
    })
}

/** What Kvm.open says of a machine without a KVM for us. Anything else is a failure of the tests. */
const NO_KVM = ['ENOENT', 'EACCES', 'EPERM', 'ENODEV', 'ENXIO', 'ENOTSUP']

/** True if the tests that need KVM can run; prints the line that the runner reports if not. */
export function hasKvm(): boolean {
  try {
    Kvm.open().close()
    return true
  } catch (error) {
    if (!(error instanceof KvmError && NO_KVM.includes(error.code))) throw error
    console.log(`skipped: tests on a real KVM: ${error.message}`)
    return false
  }
}

export interface Machine {
  kvm: Kvm
  vm: Vm
  ram: GuestMemory
  close(): void
}

/** 1 MiB of RAM at 0, with the listing at CODE, and the tables for PROTECTED and LONG. */
export function createMachine(listing: string, { irqchip = false } = {}): Machine {
  const ram = GuestMemory.create({ ramBytes: RAM_BYTES, stateBytes: 0, shared: true })
  const code = bytesOf(listing)
  ram.view(CODE, code.length).set(code)
  putTables(ram)
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  vm.setTssAddr(0xfffbd000)
  vm.setIdentityMapAddr(0xfffbc000)
  if (irqchip) vm.createIrqchip()
  const [region] = ram.regions
  if (region === undefined) throw new Error('no RAM')
  vm.setMemory(0, region.gpa, region.bytes, addressOf(ram.memory.buffer) + region.ptr)
  const close = (): void => {
    vm.close()
    kvm.close()
  }
  return { kvm, vm, ram, close }
}

const GDT = 0x500
const PAGES = 0x10000
const PAGE = 0x1000

/** Descriptors of PROTECTED, and pages of 2 MiB that map the first GiB to itself, for ring 3 too. */
function putTables(ram: GuestMemory): void {
  const gdt = [0n, 0n, 0x00cf9b000000ffffn, 0x00cf93000000ffffn]
  const view = ram.view(GDT, gdt.length * 8)
  new BigUint64Array(view.buffer, view.byteOffset, gdt.length).set(gdt)
  const tables = ram.view(PAGES, 3 * PAGE)
  const entries = new BigUint64Array(tables.buffer, tables.byteOffset, (3 * PAGE) / 8)
  const [present, large] = [0x7n, 0x87n]
  entries[0] = BigInt(PAGES + PAGE) | present
  entries[512] = BigInt(PAGES + 2 * PAGE) | present
  for (let i = 0; i < 512; i++) entries[1024 + i] = (BigInt(i) << 21n) | large
}

const flat = { base: 0n, limit: 0xffffffff, present: 1, s: 1, g: 1, db: 1, l: 0, dpl: 0 }

function segments(code: object, data: object): SregsChange {
  const other = { ...flat, selector: 0x18, type: 3, ...data }
  const cs = { ...flat, selector: 0x10, type: 11, ...code }
  return { cs, ds: other, es: other, fs: other, gs: other, ss: other, gdt: { base: BigInt(GDT), limit: 31 } }
}

/** 32 bits, flat, without paging. */
export const PROTECTED: SregsChange = { ...segments({}, {}), cr0: 0x11n }

const paging = { cr0: 0x80000031n, cr3: BigInt(PAGES), cr4: 0x20n, efer: 0x500n }
/** 64 bits, the first GiB mapped to itself. */
export const LONG: SregsChange = { ...segments({ l: 1, db: 0 }, {}), ...paging }
/** As LONG, in ring 3. */
export const USER: SregsChange = {
  ...segments({ l: 1, db: 0, dpl: 3, selector: 0x13 }, { dpl: 3, selector: 0x1b }),
  ...paging,
}

const zero = { base: 0n, selector: 0 }
export const REAL: SregsChange = { cs: zero, ds: zero, es: zero, ss: zero }

/** The line that INTERRUPTS lets through. */
export const IRQ = 5
/**
 * For PROTECTED with the irqchip: sets up the 8259s and waits. Port 0x80: about to halt. Port 0x81: an interrupt, the
 * count of them. It returns from the interrupt without iret, which a KVM that emulates may not know.
 */
export const INTERRUPTS = `
  b0 11                            mov al, 0x11
  e6 20                            out 0x20, al
  b0 20                            mov al, 0x20
  e6 21                            out 0x21, al
  b0 04                            mov al, 4
  e6 21                            out 0x21, al
  b0 01                            mov al, 1
  e6 21                            out 0x21, al
  b0 df                            mov al, 0xdf
  e6 21                            out 0x21, al
  0f 01 1d 33 10 00 00             lidt [0x1033]
  31 db                            xor ebx, ebx
  fb                               sti
  e6 80                            0x101e: out 0x80, al
  f4                               hlt
  eb fb                            jmp 0x101e
  43                               0x1023: inc ebx
  b0 20                            mov al, 0x20
  e6 20                            out 0x20, al
  88 d8                            mov al, bl
  e6 81                            out 0x81, al
  58                               pop eax
  83 c4 04                         add esp, 4
  9d                               popf
  ff e0                            jmp eax
  ff 07 00 70 00 00                0x1033: 256 gates at 0x7000
`
/** Of interrupt 0x20 + IRQ: to 0x1023. */
export const INTERRUPT_GATE = {
  at: [0x7000 + (0x20 + IRQ) * 8, 8] as const,
  bytes: bytesOf('23 10 10 00 00 8e 00 00'),
}

/** A vCPU at `start`, on this thread. The caller closes it. */
export function startVcpu(fd: number, mmapBytes: number, mode: SregsChange, start = CODE, stack = STACK): Vcpu {
  const vcpu = Vcpu.open(fd, mmapBytes)
  vcpu.setSregs(mode)
  vcpu.setRegs({ rip: BigInt(start), rsp: BigInt(stack), rflags: 2n })
  return vcpu
}

/** Runs `body` on vCPU 0 of a new machine and closes all of it. */
export function withVcpu(
  mode: SregsChange,
  listing: string,
  body: (vcpu: Vcpu, machine: Machine) => void,
  options: { irqchip?: boolean } = {},
): void {
  const machine = createMachine(listing, options)
  try {
    const vcpu = startVcpu(machine.vm.createVcpu(0), machine.kvm.vcpuMmapBytes, mode)
    try {
      body(vcpu, machine)
    } finally {
      vcpu.close()
    }
  } finally {
    machine.close()
  }
}

/** Runs to the next exit; interruptions that nobody asked for do not count. */
export function nextExit(vcpu: Vcpu): number {
  let reason = vcpu.run()
  while (reason === -constants.errno.EINTR) reason = vcpu.run()
  return reason
}

export function kvmErrorOf(work: () => unknown): KvmError {
  try {
    work()
  } catch (error) {
    assert.instance(error, KvmError)
    return error as KvmError
  }
  return assert.unreachable('should have failed') as never
}

/** The descriptors of this process and what is mapped of KVM, for leaks. */
export function kernelObjects(): { descriptors: string[]; mappings: string[] } {
  const descriptors = fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd} ${fs.readlinkSync(`/proc/self/fd/${fd}`)}`]
    } catch {
      // The descriptor that lists the folder is gone by now.
      return []
    }
  })
  const maps = fs.readFileSync('/proc/self/maps', 'utf8').split('\n')
  return { descriptors, mappings: maps.filter((line) => line.includes('kvm')) }
}
