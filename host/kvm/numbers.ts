// Numbers of the KVM interface on x86-64, spelled as in the kernel's linux/kvm.h: ioctl requests, capabilities, exit
// reasons, flags. Requests are computed as the kernel's headers compute them. Holds nothing else and calls nothing.

const KVMIO = 0xae
const IOC_WRITE = 1
const IOC_READ = 2

/** Bits 0-7 the number, 8-15 the family, 16-29 the argument's size, 30-31 which way the argument is copied. */
function request(direction: number, nr: number, bytes: number): number {
  return ((direction << 30) | (bytes << 16) | (KVMIO << 8) | nr) >>> 0
}
const io = (nr: number): number => request(0, nr, 0)
const ior = (nr: number, bytes: number): number => request(IOC_READ, nr, bytes)
const iow = (nr: number, bytes: number): number => request(IOC_WRITE, nr, bytes)
const iowr = (nr: number, bytes: number): number => request(IOC_READ | IOC_WRITE, nr, bytes)

/** Sizes are those of the structures in structs.ts; of a structure with a list behind it, the head alone counts. */
export const REQUESTS = {
  // of /dev/kvm
  KVM_GET_API_VERSION: io(0x00),
  KVM_CREATE_VM: io(0x01),
  KVM_CHECK_EXTENSION: io(0x03),
  KVM_GET_VCPU_MMAP_SIZE: io(0x04),
  KVM_GET_SUPPORTED_CPUID: iowr(0x05, 8),
  // of a virtual machine
  KVM_CREATE_VCPU: io(0x41),
  KVM_SET_USER_MEMORY_REGION: iow(0x46, 32),
  KVM_SET_TSS_ADDR: io(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: iow(0x48, 8),
  KVM_CREATE_IRQCHIP: io(0x60),
  KVM_IRQ_LINE: iow(0x61, 8),
  KVM_IRQFD: iow(0x76, 32),
  KVM_CREATE_PIT2: iow(0x77, 64),
  KVM_IOEVENTFD: iow(0x79, 64),
  // of a virtual processor
  KVM_RUN: io(0x80),
  KVM_GET_REGS: ior(0x81, 144),
  KVM_SET_REGS: iow(0x82, 144),
  KVM_GET_SREGS: ior(0x83, 312),
  KVM_SET_SREGS: iow(0x84, 312),
  KVM_GET_MSRS: iowr(0x88, 8),
  KVM_SET_MSRS: iow(0x89, 8),
  KVM_SET_SIGNAL_MASK: iow(0x8b, 4),
  KVM_SET_CPUID2: iow(0x90, 8),
  KVM_GET_MP_STATE: ior(0x98, 4),
  KVM_SET_MP_STATE: iow(0x99, 4),
} as const

export type RequestName = keyof typeof REQUESTS

export const KVM_API_VERSION = 12

/** Arguments of KVM_CHECK_EXTENSION. */
export const CAPABILITIES = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_NR_MEMSLOTS: 10,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_IRQ_ROUTING: 25,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
} as const

export type CapabilityName = keyof typeof CAPABILITIES

export const KVM_EXIT_UNKNOWN = 0
export const KVM_EXIT_IO = 2
export const KVM_EXIT_HLT = 5
export const KVM_EXIT_MMIO = 6
export const KVM_EXIT_IRQ_WINDOW_OPEN = 7
export const KVM_EXIT_SHUTDOWN = 8
export const KVM_EXIT_FAIL_ENTRY = 9
export const KVM_EXIT_INTR = 10
export const KVM_EXIT_INTERNAL_ERROR = 17
export const KVM_EXIT_SYSTEM_EVENT = 24

export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1
export const KVM_IOEVENTFD_FLAG_PIO = 2
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4
export const KVM_IRQFD_FLAG_DEASSIGN = 1

/** The kernel answers port 0x61 too, with which Linux measures its clock. */
export const KVM_PIT_SPEAKER_DUMMY = 1

export const KVM_MP_STATE_RUNNABLE = 0
export const KVM_MP_STATE_UNINITIALIZED = 1
export const KVM_MP_STATE_HALTED = 3
