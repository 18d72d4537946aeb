// A PC on KVM that carries disks: guest RAM in shared Wasm memory, KVM's irqchip and timer, a serial port, ACPI, and
// Linux's 64-bit entry; or a program without an operating system. Each vCPU has a thread (vcpu-thread.ts); the disks
// are served by a DiskWorker's. Notifications go from KVM to that worker (ioeventfd), interrupts come back (irqfd),
// and neither is seen here. Owns the virtual machine, its vCPUs and their threads; memory and disks are the caller's.
//
// The interrupt of a disk is described and delivered as an edge, although virtio-mmio's line is a level: irqfd raises
// and lowers the line at each signal. Into a level-triggered input that would be a pulse which KVM's IOAPIC forgets if
// the last interrupt is not acknowledged yet; as an edge it is latched. It is safe because the device signals for
// every interrupt it raises, and Linux's handler reads and acknowledges all causes. Firecracker and crosvm do the same.

import { Worker } from 'node:worker_threads'
import { VIRTIO_MMIO_QUEUE_NOTIFY } from '../../assembly/spec.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import { fromThread } from '../kvm/errors.ts'
import { Kvm } from '../kvm/kvm.ts'
import { Vcpu } from '../kvm/vcpu.ts'
import type { Vm } from '../kvm/vm.ts'
import { addressOf } from '../sys/libc.ts'
import { ramRanges } from './boot-params.ts'
import { type CpuState, flatMode, gdt, LINUX_MSRS, longMode, pageTables } from './cpu-state.ts'
import { vcpuCpuid } from './cpuid.ts'
import { loadLinux } from './linux-loader.ts'
import { type ExitCounters, MachineControl } from './machine-control.ts'
import type { VcpuMessage, VcpuOrders } from './machine-messages.ts'
import { checkMachine, type FlatProgram, type KvmMachineOptions, type PlacedDisk } from './machine-options.ts'
import { PC_STATE_BYTES, PcDevices, type PcEnding } from './pc-devices.ts'
import { GDT_ADDRESS, KVM_IDENTITY_MAP_ADDRESS, KVM_TSS_ADDRESS, PAGE_TABLES_ADDRESS } from './pc-layout.ts'

/** Why a machine ended: the guest powered off, the guest reset it, or `stop` was called. */
export type MachineEnding = PcEnding | 'stopped'

/** The guest broke the machine, or KVM gave up on it. The message has the reason and the registers. */
export class MachineError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MachineError'
  }
}

const QUEUE_NOTIFY_BYTES = 4
const STATE_ALIGN = 65536
/** A full receive ring is looked at again after this time. */
const TYPE_AGAIN_MS = 5

/** Machines that run: their threads must leave the guest before the process can end. */
const running = new Set<() => void>()
process.once('exit', () => {
  for (const interrupt of running) interrupt()
})

export class KvmMachine {
  /** guest RAM as devices see it */
  readonly memory: GuestMemory
  /** resolves when the machine has ended and holds nothing any more; rejects with MachineError */
  readonly ended: Promise<MachineEnding>
  readonly #kvm: Kvm
  readonly #vm: Vm
  readonly #options: KvmMachineOptions
  readonly #pcState = new SharedArrayBuffer(Math.ceil(PC_STATE_BYTES / STATE_ALIGN) * STATE_ALIGN)
  readonly #controlState = MachineControl.create()
  readonly #control = new MachineControl(this.#controlState)
  readonly #devices: PcDevices
  readonly #threads: { worker: Worker; exited: Promise<void>; threadId: number }[] = []
  #typed: Uint8Array[] = []
  #ending: MachineEnding | Error | undefined
  #closing: Promise<void> | undefined
  #end: (ending: MachineEnding) => void = () => {}
  #fail: (error: unknown) => void = () => {}

  private constructor(kvm: Kvm, vm: Vm, options: KvmMachineOptions) {
    this.#kvm = kvm
    this.#vm = vm
    this.#options = options
    this.memory = options.memory
    this.#devices = new PcDevices(this.#pcState, {
      setInterrupt: (gsi, level) => vm.irqLine(gsi, level),
      onEnd: () => {},
      onSerial: () => {},
    })
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve
      this.#fail = reject
    })
    this.ended.catch(() => {}) // who waits for it sees the error; nobody has to wait
  }

  /**
   * Guest RAM for a machine and its disks: from address 0, around the 32-bit hole for devices if there is more than
   * 3 GiB. Throws RangeError if RAM and device state together exceed 4 GiB, which is all a Wasm memory holds.
   */
  static memory(bytes: number): GuestMemory {
    return GuestMemory.create({ regions: ramRanges(bytes), shared: true })
  }

  /**
   * Makes the machine with everything loaded; `run` starts it. Throws RangeError or TypeError for an option that is
   * wrong, BootImageError for a kernel that cannot be booted, and KvmError for a KVM that is missing, forbidden or too
   * old, all with nothing left behind.
   */
  static async create(options: KvmMachineOptions): Promise<KvmMachine> {
    const disks = checkMachine(options)
    const { vcpus = 1 } = options
    const kvm = Kvm.open(options.device)
    let vm: Vm | undefined
    let machine: KvmMachine | undefined
    try {
      const most = kvm.check('KVM_CAP_MAX_VCPUS')
      if (vcpus > most) throw new RangeError(`KvmMachine: this KVM has ${most} vCPUs for a machine, not ${vcpus}`)
      const start = options.flat ? loadFlat(options.flat, options.memory) : loadLinux(options, disks)
      vm = kvm.createVm()
      machine = new KvmMachine(kvm, vm, options)
      machine.#setUp(disks)
      await machine.#startThreads(disks, start)
      return machine
    } catch (error) {
      if (machine) {
        await machine.#close()
      } else {
        vm?.close()
        kvm.close()
      }
      throw error
    }
  }

  /** Switches the machine on. */
  run(): void {
    this.#control.start()
  }

  /** Ends the machine for good. Safe to call more than once; returns when nothing of it runs. */
  async stop(): Promise<void> {
    await this.#finish('stopped')
  }

  /** Types on the guest's serial port: text as UTF-8, or bytes as they are (3 = Ctrl-C). */
  serialWrite(input: string | Uint8Array): void {
    if (this.#ending !== undefined) return
    const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : Uint8Array.from(input)
    this.#typed.push(bytes)
    if (this.#typed.length === 1) this.#type()
  }

  /** How often, and for how long, the guest left to the machine. */
  get exits(): ExitCounters {
    return this.#control.exits
  }

  /** Makes every vCPU thread leave its loop, without waiting for it. */
  readonly #interrupt = (): void => {
    this.#control.stop()
    for (const { threadId } of this.#threads) if (threadId > 0) Vcpu.interruptVcpu(threadId)
  }

  #setUp(disks: readonly PlacedDisk[]): void {
    const vm = this.#vm
    vm.setTssAddr(KVM_TSS_ADDRESS)
    vm.setIdentityMapAddr(KVM_IDENTITY_MAP_ADDRESS)
    vm.createIrqchip()
    vm.createPit2()
    const base = addressOf(this.memory.memory.buffer)
    for (const [slot, { gpa, bytes, ptr }] of this.memory.regions.entries()) vm.setMemory(slot, gpa, bytes, base + ptr)
    for (const { disk, window, gsi, ioeventfd } of disks) {
      vm.irqfd(disk.interruptFd, gsi)
      if (!ioeventfd) continue
      for (const [queue, fd] of disk.kickFds.entries()) {
        vm.ioeventfd({ fd, gpa: window + VIRTIO_MMIO_QUEUE_NOTIFY, bytes: QUEUE_NOTIFY_BYTES, datamatch: queue })
      }
    }
  }

  /** Returns when every thread has set up its vCPU and waits for `run`. */
  async #startThreads(disks: readonly PlacedDisk[], start: CpuState): Promise<void> {
    const { vcpus = 1, debugPort, flat } = this.#options
    const supported = this.#kvm.supportedCpuid()
    const hasTscDeadline = this.#kvm.check('KVM_CAP_TSC_DEADLINE_TIMER') > 0
    running.add(this.#interrupt)
    const ready = Array.from({ length: vcpus }, (_, id) => {
      return this.#startThread({
        id,
        vmFd: this.#vm.fd,
        vcpuFd: this.#vm.createVcpu(id),
        mmapBytes: this.#kvm.vcpuMmapBytes,
        ...(id === 0 && { start }),
        cpuid: vcpuCpuid(supported, { id, count: vcpus, hasTscDeadline }),
        msrs: flat ? [] : LINUX_MSRS,
        disks: disks.map(({ disk, window }) => ({ window, handle: disk.handle })),
        ...(debugPort && { debugPort: debugPort.port }),
        pcState: this.#pcState,
        control: this.#controlState,
      })
    })
    const failed = (await Promise.allSettled(ready)).find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  #startThread(orders: VcpuOrders): Promise<void> {
    const worker = new Worker(new URL(import.meta.resolve('virtio-blk-wasm/vcpu-thread')), {
      workerData: orders,
      name: `vcpu ${orders.id}`,
      execArgv: [], // a program's own, such as --input-type, need not suit a worker
    })
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', () => {
        resolve()
        // What a thread says last comes before its end: one that said nothing was ended by somebody else.
        if (this.#ending === undefined) {
          void this.#finish(new MachineError(`KvmMachine: the thread of vCPU ${orders.id} has ended by itself`))
        }
      })
    })
    const thread = { worker, exited, threadId: 0 }
    this.#threads.push(thread)
    return new Promise((resolve, reject) => {
      worker.on('message', (message: VcpuMessage) => {
        if (message.kind === 'ready') {
          thread.threadId = message.threadId
          resolve()
        } else {
          this.#take(message)
        }
      })
      worker.once('error', (thrown) => {
        const error = fromThread(thrown)
        reject(error)
        void this.#finish(error)
      })
    })
  }

  #take(message: Exclude<VcpuMessage, { kind: 'ready' }>): void {
    const { onDiskFailure = console.error, debugPort } = this.#options
    switch (message.kind) {
      case 'serial':
        this.#showSerial()
        return
      case 'debug':
        debugPort?.onWrite(message.value, message.width)
        return
      case 'disk-failure':
        onDiskFailure(message.message)
        return
      case 'ended':
        void this.#finish(message.ending)
        return
      case 'failed':
        void this.#finish(new MachineError(`KvmMachine: ${message.message}`))
    }
  }

  #showSerial(): void {
    const bytes = this.#devices.takeSerial()
    this.#control.drained()
    if (bytes.length > 0) this.#options.onSerial?.(bytes)
  }

  #type(): void {
    while (this.#ending === undefined && this.#typed.length > 0) {
      const bytes = this.#typed[0] as Uint8Array
      const taken = this.#devices.type(bytes)
      if (taken < bytes.length) {
        this.#typed[0] = bytes.subarray(taken)
        setTimeout(() => this.#type(), TYPE_AGAIN_MS)
        return
      }
      this.#typed.shift()
    }
  }

  /** The first reason counts. Settles `ended` when everything is closed. */
  async #finish(ending: MachineEnding | Error): Promise<void> {
    this.#ending ??= ending
    await this.#close()
    if (this.#ending instanceof Error) this.#fail(this.#ending)
    else this.#end(this.#ending)
  }

  #close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  async #closeAll(): Promise<void> {
    this.#ending ??= 'stopped'
    this.#interrupt()
    await Promise.all(this.#threads.map(({ exited }) => exited))
    running.delete(this.#interrupt)
    this.#showSerial()
    this.#typed = []
    this.#vm.close()
    this.#kvm.close()
  }
}

function loadFlat({ image, address, entry, mode = 'protected' }: FlatProgram, memory: GuestMemory): CpuState {
  memory.view(address, image.length).set(image)
  if (mode === 'protected') return flatMode(entry)
  for (const [at, bytes] of [
    [GDT_ADDRESS, gdt()],
    [PAGE_TABLES_ADDRESS, pageTables()],
  ] as const) {
    memory.view(at, bytes.length).set(bytes)
  }
  return longMode(entry)
}
