// A virtual machine: its memory slots, interrupt controllers, irqfds, ioeventfds, and the descriptors of its vCPUs.
// Owns the machine's descriptor and those of the vCPUs it made; does not own the memory nor the eventfds it is given.
// Guest RAM has to stay where it is until the machine is closed and the last vCPU's mapping too (Vcpu.close).

import { closeFd, Descriptor } from '../sys/fd.ts'
import { badArgument } from './errors.ts'
import { kvmIoctl } from './native.ts'
import {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD_FLAG_DEASSIGN,
  KVM_PIT_SPEAKER_DUMMY,
} from './numbers.ts'
import {
  encodeNew,
  KVM_IOEVENTFD,
  KVM_IRQ_LEVEL,
  KVM_IRQFD,
  KVM_PIT_CONFIG,
  KVM_USERSPACE_MEMORY_REGION,
} from './structs.ts'

const PAGE = 4096

export interface IoEventFd {
  /** the eventfd that is signalled */
  fd: number
  /** where the guest writes: a guest-physical address, or with `pio` a port */
  gpa: number
  /** how wide the write is: 1, 2, 4 or 8 */
  bytes: number
  /** only writes of this value; without it, of any. Others are exits. */
  datamatch?: number
  /** an I/O port, not memory */
  pio?: boolean
}

export class Vm extends Descriptor {
  readonly #vcpus: number[] = []

  /** Takes over what KVM_CREATE_VM answered: Kvm.createVm. */
  static own(fd: number): Vm {
    return new Vm(fd, true)
  }

  /** For other threads: the machine behind a descriptor that stays its owner's. close() only forgets it. */
  static borrow(fd: number): Vm {
    return new Vm(fd, false)
  }

  /**
   * Guest-physical [gpa, gpa + bytes) becomes the memory at `address` of this process. All are multiples of 4096.
   * bytes = 0 removes the slot. A slot can be moved, not resized.
   */
  setMemory(slot: number, gpa: number, bytes: number, address: number): void {
    for (const [name, value] of Object.entries({ gpa, bytes, address })) {
      if (!Number.isSafeInteger(value) || value < 0 || value % PAGE !== 0) {
        throw badArgument(`setMemory: ${name} has to be a multiple of ${PAGE}, not ${value}`)
      }
    }
    const region = encodeNew(KVM_USERSPACE_MEMORY_REGION, {
      slot: slot,
      guest_phys_addr: BigInt(gpa),
      memory_size: BigInt(bytes),
      userspace_addr: BigInt(address),
    })
    kvmIoctl(this.fd, 'KVM_SET_USER_MEMORY_REGION', region, `slot ${slot}, ${bytes} bytes at 0x${gpa.toString(16)}`)
  }

  /** Two 8259s, an IOAPIC, and a local APIC per vCPU, in the kernel. Before the first vCPU. hlt then sleeps there. */
  createIrqchip(): void {
    kvmIoctl(this.fd, 'KVM_CREATE_IRQCHIP', 0)
  }

  /** An 8254 with port 0x61, in the kernel. After createIrqchip. */
  createPit2(): void {
    kvmIoctl(this.fd, 'KVM_CREATE_PIT2', encodeNew(KVM_PIT_CONFIG, { flags: KVM_PIT_SPEAKER_DUMMY }))
  }

  /** Three pages below 4 GiB that are not guest RAM. Intel processors need them for real mode. Before the vCPUs. */
  setTssAddr(gpa: number): void {
    kvmIoctl(this.fd, 'KVM_SET_TSS_ADDR', gpa, `0x${gpa.toString(16)}`)
  }

  /** One page below 4 GiB that is not guest RAM. Intel processors need it for real mode. Before the vCPUs. */
  setIdentityMapAddr(gpa: number): void {
    const address = new BigUint64Array([BigInt(gpa)])
    kvmIoctl(this.fd, 'KVM_SET_IDENTITY_MAP_ADDR', address, `0x${gpa.toString(16)}`)
  }

  /** Raises (true) or lowers an interrupt line of the irqchip. GSI 0-15 reach the 8259s and the IOAPIC. */
  irqLine(gsi: number, level: boolean): void {
    const line = encodeNew(KVM_IRQ_LEVEL, { irq: gsi, level: level ? 1 : 0 })
    kvmIoctl(this.fd, 'KVM_IRQ_LINE', line, `GSI ${gsi}`)
  }

  /** A signal of eventfd `fd` raises and lowers the line: an edge. The kernel takes the counter. */
  irqfd(fd: number, gsi: number, assign = true): void {
    const flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN
    if (!isDescriptor(fd)) throw badArgument(`irqfd: ${fd} is not a file descriptor`)
    kvmIoctl(this.fd, 'KVM_IRQFD', encodeNew(KVM_IRQFD, { fd, gsi, flags }), `eventfd ${fd}, GSI ${gsi}`)
  }

  /** Writes of the guest become signals of the eventfd, without an exit. To unassign, give what was assigned. */
  ioeventfd({ fd, gpa, bytes, datamatch, pio = false }: IoEventFd, assign = true): void {
    if (!isDescriptor(fd)) throw badArgument(`ioeventfd: ${fd} is not a file descriptor`)
    if (![1, 2, 4, 8].includes(bytes)) throw badArgument(`ioeventfd: bytes has to be 1, 2, 4 or 8, not ${bytes}`)
    if (!Number.isSafeInteger(gpa) || gpa < 0) throw badArgument(`ioeventfd: ${gpa} is not an address`)
    if (datamatch !== undefined && !(Number.isSafeInteger(datamatch) && datamatch >= 0 && datamatch < 256 ** bytes)) {
      throw badArgument(`ioeventfd: datamatch ${datamatch} does not fit ${bytes} bytes`)
    }
    const flags =
      (datamatch === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH) |
      (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
      (assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN)
    const event = encodeNew(KVM_IOEVENTFD, {
      fd,
      flags,
      len: bytes,
      addr: BigInt(gpa),
      datamatch: BigInt(datamatch ?? 0),
    })
    kvmIoctl(this.fd, 'KVM_IOEVENTFD', event, `eventfd ${fd}, ${bytes} bytes at 0x${gpa.toString(16)}`)
  }

  /** Descriptor of a new vCPU, for Vcpu.open on the thread that runs it. close() of the machine closes it. */
  createVcpu(id: number): number {
    const fd = kvmIoctl(this.fd, 'KVM_CREATE_VCPU', id, `vCPU ${id}`)
    this.#vcpus.push(fd)
    return fd
  }

  /** After every Vcpu of the machine is closed. Again does nothing. */
  override close(): void {
    for (const fd of this.#vcpus.splice(0)) closeFd(fd)
    super.close()
  }
}

function isDescriptor(fd: number): boolean {
  return Number.isInteger(fd) && fd >= 0 && fd < 2 ** 31
}
