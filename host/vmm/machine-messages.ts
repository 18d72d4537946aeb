// What KvmMachine tells a vCPU thread at its start, and what the thread says to it. Both are structured clones; file
// descriptors in them stay the machine's. What both sides look at while the guest runs is in machine-control.ts.

import type { CpuidEntry, MsrEntry } from '../kvm/structs.ts'
import type { DiskHandle } from '../loop/transport.ts'
import type { CpuState } from './cpu-state.ts'
import type { PcEnding } from './pc-devices.ts'

export interface VcpuOrders {
  readonly id: number
  readonly vmFd: number
  readonly vcpuFd: number
  readonly mmapBytes: number
  /** registers to start with; none for a vCPU that another one starts */
  readonly start?: CpuState
  readonly cpuid: readonly CpuidEntry[]
  readonly msrs: readonly MsrEntry[]
  readonly disks: readonly { readonly window: number; readonly handle: DiskHandle }[]
  readonly debugPort?: number
  /** state of PcDevices and of MachineControl */
  readonly pcState: SharedArrayBuffer
  readonly control: SharedArrayBuffer
}

export type VcpuMessage =
  /** set up, and waiting for the start; `threadId` is for Vcpu.interruptVcpu */
  | { readonly kind: 'ready'; readonly threadId: number }
  /** there is serial output to take */
  | { readonly kind: 'serial' }
  | { readonly kind: 'debug'; readonly value: number; readonly width: number }
  | { readonly kind: 'disk-failure'; readonly message: string }
  /** the last message of a thread: the guest ended the machine, broke it, or was told to stop */
  | { readonly kind: 'ended'; readonly ending: PcEnding }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'stopped' }
