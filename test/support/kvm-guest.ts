// Small guests under the real KVM, for the tests of host/kvm: is there one, a machine with RAM out of a shared
// WebAssembly memory, and a vCPU in real or 32-bit protected mode at the start of a snippet of machine code.

import * as fs from 'node:fs'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { Kvm } from '../../host/kvm/kvm.ts'
import type { SregsChange } from '../../host/kvm/structs.ts'
import { Vcpu } from '../../host/kvm/vcpu.ts'
import type { Vm } from '../../host/kvm/vm.ts'
import { addressOf } from '../../host/sys/libc.ts'

/** Where snippets are put and begin. */
export const CODE = 0x1000
export const STACK = 0x8000
export const RAM_BYTES = 1 << 20

/** True if the tests that need KVM can run; prints the line that the runner reports if not. */
export function hasKvm(): boolean {
  try {
    Kvm.open().close()
    return true
  } catch (error) {
    console.log(`skipped: tests on a real KVM: ${(error as Error).message}`)
    return false
  }
}

export interface Machine {
  kvm: Kvm
  vm: Vm
  ram: GuestMemory
  close(): void
}

/** 1 MiB of RAM at 0, with `code` at CODE. */
export function createMachine(code: readonly number[], { irqchip = false } = {}): Machine {
  const ram = GuestMemory.create({ ramBytes: RAM_BYTES, stateBytes: 0, shared: true })
  ram.view(CODE, code.length).set(code)
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

const flat = { base: 0n, limit: 0xffffffff, present: 1, s: 1, g: 1, db: 1, l: 0, dpl: 0 }
const data = { ...flat, selector: 0x18, type: 3 }
/** 32 bits, flat, without paging. The selectors are those of GDT below. */
export const PROTECTED: SregsChange = {
  cs: { ...flat, selector: 0x10, type: 11 },
  ds: data,
  es: data,
  fs: data,
  gs: data,
  ss: data,
  cr0: 0x11n,
}

const zero = { base: 0n, selector: 0 }
export const REAL: SregsChange = { cs: zero, ds: zero, es: zero, ss: zero }

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
  code: readonly number[],
  body: (vcpu: Vcpu, machine: Machine) => void,
  options: { irqchip?: boolean } = {},
): void {
  const machine = createMachine(code, options)
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
