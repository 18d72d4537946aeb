// The thread of one vCPU of KvmMachine: sets its registers, waits for the machine to be switched on, and then runs the
// guest until the machine ends. Accesses to a disk's window go to the disk's transport, ports to the machine's devices
// (pc-devices.ts); nothing here waits for IO, but for the main thread to take serial output when 64 KiB of it are
// waiting. Every other address reads as all ones. Entry of a worker thread; kvm-machine.ts starts and stops it.

import { constants } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_QUEUE_NOTIFY } from '../../assembly/spec.ts'
import {
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_IRQ_WINDOW_OPEN,
  KVM_EXIT_MMIO,
  KVM_EXIT_SYSTEM_EVENT,
} from '../kvm/numbers.ts'
import { Vcpu } from '../kvm/vcpu.ts'
import { Vm } from '../kvm/vm.ts'
import { DiskTransport } from '../loop/transport.ts'
import { MachineControl } from './machine-control.ts'
import type { VcpuMessage, VcpuOrders } from './machine-messages.ts'
import { PcDevices } from './pc-devices.ts'
import { DISK_WINDOW_BYTES, SERIAL_PORT } from './pc-layout.ts'

const { EAGAIN, EINTR } = constants.errno
const KVM_SYSTEM_EVENT_SHUTDOWN = 1
const KVM_SYSTEM_EVENT_RESET = 2
const SERIAL_WAIT_MS = 20

const orders = workerData as VcpuOrders
const control = new MachineControl(orders.control)
let ending: VcpuMessage | undefined

function post(message: VcpuMessage): void {
  parentPort?.postMessage(message)
}

const vm = Vm.borrow(orders.vmFd)
const vcpu = Vcpu.open(orders.vcpuFd, orders.mmapBytes)
const devices = new PcDevices(orders.pcState, {
  setInterrupt: (gsi, level) => vm.irqLine(gsi, level),
  onEnd: (how) => {
    ending ??= { kind: 'ended', ending: how }
  },
  onSerial: () => post({ kind: 'serial' }),
})
const disks = orders.disks.map(({ window, handle }) => {
  return { window, transport: DiskTransport.open(handle, (message) => post({ kind: 'disk-failure', message })) }
})

function setUp(): void {
  vcpu.setCpuid(orders.cpuid)
  vcpu.setMsrs(orders.msrs)
  if (orders.start === undefined) return // waits for the first vCPU's start-up interrupt
  vcpu.setSregs(orders.start.sregs)
  vcpu.setRegs(orders.start.regs)
}

function runUntilEnd(): VcpuMessage {
  for (;;) {
    if (control.isStopping) return { kind: 'stopped' }
    const reason = vcpu.run()
    if (reason === KVM_EXIT_MMIO) handleMmio()
    else if (reason === KVM_EXIT_IO) handlePorts()
    else if (reason === KVM_EXIT_SYSTEM_EVENT) return systemEvent()
    else if (reason < 0 && reason !== -EINTR && reason !== -EAGAIN) return failure(`KVM_RUN failed (errno ${-reason})`)
    else if (reason >= 0 && reason !== KVM_EXIT_INTR && reason !== KVM_EXIT_IRQ_WINDOW_OPEN) {
      return failure(vcpu.explain())
    }
    if (ending) return ending
  }
}

function handleMmio(): void {
  const { mmio } = vcpu
  const { address, width, isWrite } = mmio
  const disk = disks.find(({ window }) => address >= window && address + width <= window + DISK_WINDOW_BYTES)
  const offset = address - (disk?.window ?? 0)
  if (disk === undefined || ![1, 2, 4, 8].includes(width)) {
    if (!isWrite) mmio.answer(0xffffffff, 0xffffffff)
    return
  }
  const begun = performance.now()
  const { transport } = disk
  if (width < 8) {
    if (isWrite) transport.mmioWrite(offset, width, mmio.data)
    else mmio.answer(transport.mmioRead(offset, width))
  } else if (!isWrite) {
    // Device rule 1: eight bytes are no width of a register, and two words of config space.
    const word = (at: number): number => (offset < VIRTIO_MMIO_CONFIG ? 0xffffffff : transport.mmioRead(at, 4))
    mmio.answer(word(offset), word(offset + 4))
  }
  control.countMmio(isWrite && offset === VIRTIO_MMIO_QUEUE_NOTIFY, performance.now() - begun)
}

function handlePorts(): void {
  const { io } = vcpu
  const { port, width, count, isOut } = io
  control.countPort()
  for (let i = 0; i < count; i++) {
    if (!isOut) {
      io.answer(devices.read(port, width), i)
    } else if (port === orders.debugPort) {
      post({ kind: 'debug', value: io.data(i), width })
    } else {
      if (port === SERIAL_PORT) waitForSerial()
      devices.write(port, width, io.data(i))
    }
  }
}

/** A ring full of output: what the guest sends now would be lost, so it has to wait until somebody reads. */
function waitForSerial(): void {
  while (devices.isSerialFull() && !control.isStopping) control.waitDrained(SERIAL_WAIT_MS)
}

function systemEvent(): VcpuMessage {
  const type = vcpu.systemEventType
  if (type === KVM_SYSTEM_EVENT_SHUTDOWN) return { kind: 'ended', ending: 'power-off' }
  if (type === KVM_SYSTEM_EVENT_RESET) return { kind: 'ended', ending: 'reset' }
  return failure(vcpu.explain())
}

function failure(what: string): VcpuMessage {
  const regs = vcpu.regs()
  const { cs, cr0, cr2, cr3, cr4, efer } = vcpu.sregs()
  const values = Object.entries({ ...regs, cr0, cr2, cr3, cr4, efer, cs: BigInt(cs.selector) })
  const registers = values.map(([name, value]) => `${name} ${value.toString(16)}`).join(', ')
  return { kind: 'failed', message: `vCPU ${orders.id}: ${what} (${registers})` }
}

try {
  setUp()
  post({ kind: 'ready', threadId: vcpu.threadId })
  control.waitForStart()
  post(runUntilEnd())
} finally {
  vcpu.close()
}
