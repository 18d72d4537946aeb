// /dev/kvm: is there a KVM that we can use, what can it do, and virtual machines from it. Owns the descriptor of the
// device; machines live on when it is closed. Works on any thread.

import { constants } from 'node:os'
import { closeFd, Descriptor } from '../sys/fd.ts'
import { badArgument, checkVersion, KvmError, openFailed, requestFailed } from './errors.ts'
import { kvmIoctl, openDevice, tryIoctl } from './native.ts'
import { CAPABILITIES, type CapabilityName } from './numbers.ts'
import { type CpuidEntry, decodeList, encodeList, KVM_CPUID_ENTRY2 } from './structs.ts'
import { Vm } from './vm.ts'

const { E2BIG } = constants.errno
const CPUID_ENTRIES = 128
const CPUID_ENTRIES_MAX = 4096
/** What the methods of Kvm, Vm and Vcpu use. Linux has had all of it since 2.6.32. */
const NEEDED: readonly CapabilityName[] = [
  'KVM_CAP_USER_MEMORY',
  'KVM_CAP_SET_TSS_ADDR',
  'KVM_CAP_SET_IDENTITY_MAP_ADDR',
  'KVM_CAP_EXT_CPUID',
  'KVM_CAP_MP_STATE',
  'KVM_CAP_IRQCHIP',
  'KVM_CAP_PIT2',
  'KVM_CAP_IRQFD',
  'KVM_CAP_IOEVENTFD',
]

export class Kvm extends Descriptor {
  /** how much of a vCPU's descriptor Vcpu.open has to map */
  readonly vcpuMmapBytes: number

  private constructor(fd: number, path: string) {
    super(fd, true)
    checkVersion(path, tryIoctl(fd, 'KVM_GET_API_VERSION', 0))
    this.vcpuMmapBytes = kvmIoctl(fd, 'KVM_GET_VCPU_MMAP_SIZE', 0)
    this.require(...NEEDED)
  }

  /** Throws a KvmError that says what to do, if there is no KVM here, or none that this process may use. */
  static open(path = '/dev/kvm'): Kvm {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw new KvmError('ENOTSUP', `needs Linux on x86-64, this is ${process.platform} on ${process.arch}`)
    }
    if (typeof path !== 'string' || path === '' || path.includes('\0')) {
      throw badArgument(`the device has to be a path, not ${JSON.stringify(path)}`)
    }
    const fd = openDevice(path)
    if (fd < 0) throw openFailed(path, -fd)
    try {
      return new Kvm(fd, path)
    } catch (error) {
      closeFd(fd)
      throw error
    }
  }

  /** What the capability is worth here: 0 = not there, 1 = there, or an amount. */
  check(capability: CapabilityName | number): number {
    const number = typeof capability === 'number' ? capability : CAPABILITIES[capability]
    return kvmIoctl(this.fd, 'KVM_CHECK_EXTENSION', number, `capability ${capability}`)
  }

  /** Throws KvmError, with the first as its code, if any of these is not there. */
  require(...names: readonly CapabilityName[]): void {
    const missing = names.filter((name) => this.check(name) === 0)
    const [first] = missing
    if (first === undefined) return
    throw new KvmError(first, `${missing.join(', ')} missing in this kernel; a newer one will have it`)
  }

  /** A machine without memory, interrupt controllers and vCPUs. The caller closes it. */
  createVm(): Vm {
    return Vm.own(kvmIoctl(this.fd, 'KVM_CREATE_VM', 0))
  }

  /** What KVM can show a guest, to be passed on to Vcpu.setCpuid, changed or not. */
  supportedCpuid(): CpuidEntry[] {
    for (let capacity = CPUID_ENTRIES; ; capacity *= 2) {
      const list = encodeList(KVM_CPUID_ENTRY2, Array(capacity).fill({}))
      const result = tryIoctl(this.fd, 'KVM_GET_SUPPORTED_CPUID', list)
      if (result === 0) return decodeList(KVM_CPUID_ENTRY2, list)
      if (result !== -E2BIG || capacity === CPUID_ENTRIES_MAX) {
        throw requestFailed('KVM_GET_SUPPORTED_CPUID', -result, `room for ${capacity} entries`)
      }
    }
  }
}
