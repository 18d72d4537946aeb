// What goes wrong with KVM, said so that a user can mend it: the error class, and the remedy for each failure that has
// one. Makes no calls.

import { constants } from 'node:os'
import { errnoName } from '../sys/libc.ts'
import { KVM_API_VERSION, type RequestName } from './numbers.ts'

/** A failure of KVM or a wrong argument. The message names what is wrong and, where there is one, the remedy. */
export class KvmError extends Error {
  /** the name of an error number ('ENOENT', 'EINVAL'), 'KVM_API_VERSION', or the missing capability 'KVM_CAP_IRQFD' */
  readonly code: string

  constructor(code: string, message: string) {
    super(`KVM: ${message}`)
    this.name = 'KvmError'
    this.code = code
  }
}

/** An error of another thread: Node carries its name and code over, but not its class. */
export function fromThread(error: Error & { code?: unknown }): Error {
  if (error.name !== 'KvmError' || error instanceof KvmError) return error
  return new KvmError(String(error.code), error.message.replace(/^KVM: /, ''))
}

const { EACCES, EBUSY, EEXIST, EINVAL, EMFILE, ENODEV, ENOENT, ENOMEM, ENOTTY, ENXIO, EPERM } = constants.errno

export function openFailed(path: string, errno: number): KvmError {
  const code = errnoName(errno)
  switch (errno) {
    case ENOENT:
      return new KvmError(
        code,
        `${path} does not exist; load the module (modprobe kvm_intel or kvm_amd), and see that virtualization is on in the firmware, or, inside a virtual machine, that nested virtualization is`,
      )
    case EACCES:
    case EPERM:
      return new KvmError(
        code,
        `no permission to open ${path}; add the user to its group (usermod -aG kvm USER, then log in again)`,
      )
    case ENODEV:
    case ENXIO:
      return new KvmError(
        code,
        `${path} has no driver behind it; load the module (modprobe kvm_intel or kvm_amd), which needs a processor with virtualization`,
      )
    default:
      return new KvmError(code, `cannot open ${path}: ${code}`)
  }
}

/** `version` as KVM_GET_API_VERSION answered, -errno included. */
export function checkVersion(path: string, version: number): void {
  if (version === KVM_API_VERSION) return
  if (version === -ENOTTY) {
    throw new KvmError('ENOTTY', `${path} is not the KVM device; give the path of the device, /dev/kvm`)
  }
  if (version < 0) throw new KvmError(errnoName(-version), `${path} does not tell its version: ${errnoName(-version)}`)
  throw new KvmError(
    'KVM_API_VERSION',
    `${path} speaks version ${version} of the interface, not ${KVM_API_VERSION}; it takes Linux 2.6.22 or later`,
  )
}

export function badArgument(message: string): KvmError {
  return new KvmError('EINVAL', message)
}

export function requestFailed(name: RequestName, errno: number, subject: string): KvmError {
  const code = errnoName(errno)
  const what = subject === '' ? name : `${name} (${subject})`
  const remedy = REMEDIES[name]?.[errno] ?? COMMON[errno]
  return new KvmError(code, remedy === undefined ? `${what} failed: ${code}` : `${what} failed: ${code}; ${remedy}`)
}

const COMMON: Record<number, string> = {
  [EMFILE]: 'the process has too many files open (ulimit -n)',
  [ENOMEM]: 'the system is out of memory, or of memory the process may lock (ulimit -l)',
  [ENOTTY]: 'this KVM does not know the request, or the file descriptor is of another kind',
}

const REMEDIES: Partial<Record<RequestName, Record<number, string>>> = {
  KVM_CREATE_VM: { [EBUSY]: 'another hypervisor (VirtualBox, VMware) holds the processor: stop it' },
  KVM_SET_USER_MEMORY_REGION: {
    [EEXIST]: 'it overlaps another slot',
    [EINVAL]: 'the number may be too high (KVM_CAP_NR_MEMSLOTS), or a slot that exists may not change its size',
  },
  KVM_CREATE_IRQCHIP: {
    [EEXIST]: 'the machine has one',
    [EINVAL]: 'it has to come before the first vCPU',
  },
  KVM_CREATE_PIT2: {
    [EEXIST]: 'the machine has one',
    [ENOENT]: 'it needs the irqchip: call createIrqchip first',
    [ENXIO]: 'it needs the irqchip: call createIrqchip first',
  },
  KVM_IRQ_LINE: { [ENXIO]: 'it needs the irqchip: call createIrqchip first' },
  KVM_IRQFD: {
    [EBUSY]: 'the eventfd is assigned already',
    [EINVAL]: 'it needs the irqchip, and a GSI that it has',
  },
  KVM_IOEVENTFD: { [EEXIST]: 'an ioeventfd is assigned there', [ENOENT]: 'no such ioeventfd is assigned' },
  KVM_CREATE_VCPU: {
    [EEXIST]: 'the machine has a vCPU of that number',
    [EINVAL]: 'the number is too high (KVM_CAP_MAX_VCPUS)',
  },
}
