// The Linux half of the package: what needs files, threads and the kernel.

export { FileBackend } from './backend/file.ts'
export { createImage } from './backend/image.ts'
export { KvmError } from './kvm/errors.ts'
export { Kvm } from './kvm/kvm.ts'
export { KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_MMIO } from './kvm/numbers.ts'
export { Vcpu } from './kvm/vcpu.ts'
export { Vm } from './kvm/vm.ts'
export type { FailureKind, Failures } from './loop/control.ts'
export { DiskWorker, type DiskWorkerOptions } from './loop/disk-worker.ts'
export type { BackendSource } from './loop/messages.ts'
export { type DiskHandle, DiskTransport } from './loop/transport.ts'
export type { WorkerDisk, WorkerDiskOptions } from './loop/worker-disk.ts'
export { addressOf } from './sys/libc.ts'
export { BootImageError } from './vmm/boot-params.ts'
export {
  KvmMachine,
  type MachineEnding,
  MachineError,
} from './vmm/kvm-machine.ts'
export type { ExitCounters } from './vmm/machine-control.ts'
export type {
  FlatProgram,
  KvmMachineOptions,
  MachineDisk,
  MachineDiskOptions,
  MachineKernel,
} from './vmm/machine-options.ts'
