// A virtual processor, on the thread that runs it: registers at set-up, then run() again and again. Owns the mapping
// of kvm_run, not the descriptor, which is the machine's (Vm.createVcpu). Everything but interruptVcpu belongs to the
// thread that called open: KVM wants that, and the signal that interrupts is blocked on that thread alone.
// While a worker is in run() it cannot be terminated, and the process cannot exit, for Node waits for its threads:
// whoever ends either interrupts the vCPU first (in process.on('exit'), for one), and the worker must not run it again.

import { unmap } from '../sys/memory.ts'
import { KvmError } from './errors.ts'
import { blockKick, kickThread, kvmIoctl, mapRun, runVcpu, threadId } from './native.ts'
import { IoExit, MmioExit, RunPage } from './run.ts'
import {
  type CpuidEntry,
  decode,
  decodeList,
  decodeSregs,
  encode,
  encodeList,
  encodeNew,
  encodeSregs,
  fieldsOf,
  KVM_CPUID_ENTRY2,
  KVM_MP_STATE,
  KVM_MSR_ENTRY,
  KVM_REGS,
  KVM_SIGNAL_MASK,
  KVM_SREGS,
  type MsrEntry,
  type Regs,
  type Sregs,
  type SregsChange,
} from './structs.ts'

export class Vcpu {
  /** the thread that runs it, for interruptVcpu */
  readonly threadId: number
  /** the last exit, if it was KVM_EXIT_IO */
  readonly io: IoExit
  /** the last exit, if it was KVM_EXIT_MMIO */
  readonly mmio: MmioExit
  #fd: number
  readonly #page: RunPage
  readonly #address: number
  readonly #mmapBytes: number

  private constructor(fd: number, mmapBytes: number, address: number, view: ArrayBuffer) {
    this.#fd = fd
    this.#address = address
    this.#mmapBytes = mmapBytes
    this.#page = new RunPage(view)
    this.io = new IoExit(this.#page)
    this.mmio = new MmioExit(this.#page)
    this.threadId = threadId()
  }

  /** On the thread that will run it. `fd` from Vm.createVcpu, `mmapBytes` is Kvm.vcpuMmapBytes. */
  static open(fd: number, mmapBytes: number): Vcpu {
    const { address, view } = mapRun(fd, mmapBytes)
    try {
      const set = blockKick()
      const head = encodeNew(KVM_SIGNAL_MASK, { len: set.length })
      kvmIoctl(fd, 'KVM_SET_SIGNAL_MASK', Uint8Array.from([...head, ...set]))
      return new Vcpu(fd, mmapBytes, address, view)
    } catch (error) {
      unmap(address, mmapBytes)
      throw error
    }
  }

  /**
   * From any thread: makes the run() that `threadId` is in, or else its next one, return -EINTR, wherever the guest
   * is. Until then, more of these count as one. 0, or -errno; -ESRCH if the thread is gone.
   */
  static interruptVcpu(threadId: number): number {
    return kickThread(threadId)
  }

  /**
   * Runs the guest until it leaves. KVM_EXIT_*, or -errno. -EINTR: somebody called interruptVcpu, or the kernel wants
   * it; nothing is to be answered, look at your flags and run again. -EBADF once closed.
   */
  run(): number {
    const result = runVcpu(this.#fd)
    return result < 0 ? result : this.#page.exitReason
  }

  /** KVM_EXIT_SYSTEM_EVENT: KVM_SYSTEM_EVENT_* */
  get systemEventType(): number {
    return this.#page.systemEventType
  }

  /** The last exit in words, and where the guest is: for messages. */
  explain(): string {
    return `${this.#page.explain()}, at rip 0x${this.regs().rip.toString(16)}`
  }

  regs(): Regs {
    const bytes = new Uint8Array(KVM_REGS.bytes)
    kvmIoctl(this.#fd, 'KVM_GET_REGS', bytes)
    return decode(KVM_REGS, fieldsOf(bytes))
  }

  /** Registers that are not named stay as they are. */
  setRegs(change: Partial<Regs>): void {
    const bytes = new Uint8Array(KVM_REGS.bytes)
    kvmIoctl(this.#fd, 'KVM_GET_REGS', bytes)
    encode(KVM_REGS, fieldsOf(bytes), change)
    kvmIoctl(this.#fd, 'KVM_SET_REGS', bytes)
  }

  sregs(): Sregs {
    const bytes = new Uint8Array(KVM_SREGS.bytes)
    kvmIoctl(this.#fd, 'KVM_GET_SREGS', bytes)
    return decodeSregs(fieldsOf(bytes))
  }

  /** Registers, and fields of segments, that are not named stay as they are. */
  setSregs(change: SregsChange): void {
    const bytes = new Uint8Array(KVM_SREGS.bytes)
    kvmIoctl(this.#fd, 'KVM_GET_SREGS', bytes)
    encodeSregs(fieldsOf(bytes), change)
    kvmIoctl(this.#fd, 'KVM_SET_SREGS', bytes)
  }

  setCpuid(entries: readonly CpuidEntry[]): void {
    kvmIoctl(this.#fd, 'KVM_SET_CPUID2', encodeList(KVM_CPUID_ENTRY2, entries), `${entries.length} entries`)
  }

  msrs(indices: readonly number[]): MsrEntry[] {
    const list = encodeList(
      KVM_MSR_ENTRY,
      indices.map((index) => ({ index })),
    )
    const done = kvmIoctl(this.#fd, 'KVM_GET_MSRS', list)
    if (done < indices.length) throw msrRefused('KVM_GET_MSRS', indices[done])
    return decodeList(KVM_MSR_ENTRY, list)
  }

  /** In order; throws at the first that KVM refuses. */
  setMsrs(entries: readonly MsrEntry[]): void {
    const done = kvmIoctl(this.#fd, 'KVM_SET_MSRS', encodeList(KVM_MSR_ENTRY, entries))
    if (done < entries.length) throw msrRefused('KVM_SET_MSRS', entries[done]?.index)
  }

  /** KVM_MP_STATE_*. With the irqchip, vCPU 0 starts runnable and the others wait for a start-up interrupt. */
  mpState(): number {
    const bytes = new Uint8Array(KVM_MP_STATE.bytes)
    kvmIoctl(this.#fd, 'KVM_GET_MP_STATE', bytes)
    return decode(KVM_MP_STATE, fieldsOf(bytes)).mp_state
  }

  setMpState(state: number): void {
    kvmIoctl(this.#fd, 'KVM_SET_MP_STATE', encodeNew(KVM_MP_STATE, { mp_state: state }), `state ${state}`)
  }

  /** On its thread, before the machine is closed. Again does nothing. */
  close(): void {
    if (this.#fd === -1) return
    this.#fd = -1
    this.#page.forget()
    unmap(this.#address, this.#mmapBytes)
  }
}

function msrRefused(name: string, index = 0): KvmError {
  return new KvmError('EINVAL', `${name}: MSR 0x${index.toString(16)} is unknown to KVM, or the value is not allowed`)
}
