// Runs the test guest (test/guest) on the calling thread under real KVM, over any device that has a register window:
// inline on this thread, or a worker's. The calling thread is blocked until the guest has ended, so a device that
// needs this thread's event loop meanwhile cannot answer; tick() is its chance.
//
// The machine is RAM, the in-kernel irqchip, one vCPU entered in protected mode, the device's window, an irqfd and,
// where the device has kick eventfds, ioeventfds. Owns what it makes of KVM and frees it; owns neither memory nor fds.

import * as assert from 'uvu/assert'
import { VIRTIO_MMIO_QUEUE_NOTIFY } from '../../assembly/spec.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import { Kvm } from '../../host/kvm/kvm.ts'
import { KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../host/kvm/numbers.ts'
import type { Vcpu } from '../../host/kvm/vcpu.ts'
import type { Vm } from '../../host/kvm/vm.ts'
import { addressOf, errnoName } from '../../host/sys/libc.ts'
import { GUEST_IMAGE } from '../guest/image.ts'
import {
  clearResults,
  DEBUG_PORT,
  decodeReport,
  describe,
  type FailureName,
  failureOf,
  type GuestParameters,
  type GuestResults,
  PLACE,
  plannedBatches,
  plannedRequests,
  readResults,
  STATE,
  writeParameters,
} from '../guest/protocol.ts'
import { VcpuAlarm } from './kvm-alarm.ts'
import { PROTECTED, startVcpu } from './kvm-guest.ts'

/** What the guest drives: a disk, or whatever stands in front of one. */
export interface GuestDevice {
  mmioRead(offset: number, width: number): number
  mmioWrite(offset: number, width: number, value: number): void
  /** an eventfd that the device signals for an interrupt: becomes an irqfd */
  readonly interruptFd: number
  /** eventfds, one per queue, for an ioeventfd each: then QueueNotify does not leave the guest */
  readonly kickFds?: readonly number[]
  /** called about every `tickMs` while the guest runs or sleeps */
  tick?(): void
}

export interface GuestOptions {
  memory: GuestMemory
  device: GuestDevice
  /** the others have defaults */
  parameters: Pick<GuestParameters, 'capacitySectors' | 'serial'> & Partial<GuestParameters>
  /** the guest is stopped after that. Default 20 s. */
  limitMs?: number
  /** Default 20. */
  tickMs?: number
  /** called when image and parameters are in RAM, before the first instruction */
  prepare?: (memory: GuestMemory) => void
}

export interface GuestExits {
  all: number
  mmioReads: number
  mmioWrites: number
  /** writes to QueueNotify, among the writes */
  notifies: number
  reports: number
  /** left because of a signal: ticks */
  interrupted: number
}

export interface GuestRun {
  /** crashed: the machine or the emulator gave up, or the guest did what it never does */
  outcome: 'done' | 'failed' | 'timeout' | 'crashed'
  /** one line for people */
  why: string
  failure: FailureName | undefined
  parameters: GuestParameters
  results: GuestResults
  exits: GuestExits
  /** the guest's reports, steps included, in order */
  reports: string[]
  /** how long this thread was in mmioWrite for QueueNotify: the longest, and all together */
  longestNotifyMs: number
  notifyMs: number
  /** from the first instruction to the last report */
  ms: number
}

const DEFAULTS: Omit<GuestParameters, 'capacitySectors' | 'serial'> = {
  window: 0xd0000000,
  irq: 5,
  interrupts: true,
  eventIdx: true,
  probe: false,
  queueSize: 256,
  batch: 1,
  requests: 64,
  dataBytes: 512,
  startSector: 0,
  seed: 0x5eed,
  resets: 0,
  // A minute or so on hardware, and much more where KVM emulates: there the host's limit comes first.
  spinLimit: 1_000_000_000,
  resetLimit: 1_000_000,
  // 75 ms or so: the kernel hands an irqfd's signal to a worker thread first, which has to get a processor.
  graceReads: 5000,
  quietReads: 100,
}

const WINDOW_BYTES = 0x200
/** What Intel processors need for themselves: four pages that are neither RAM nor the window. */
const TSS_ADDR = 0xfffbd000
const IDENTITY_MAP_ADDR = 0xfffbc000

/** Everything but the vCPU. */
function wire(vm: Vm, options: GuestOptions, parameters: GuestParameters): void {
  const { memory, device } = options
  vm.setTssAddr(TSS_ADDR)
  vm.setIdentityMapAddr(IDENTITY_MAP_ADDR)
  vm.createIrqchip()
  memory.regions.forEach(({ gpa, bytes, ptr }, slot) => {
    vm.setMemory(slot, gpa, bytes, addressOf(memory.memory.buffer) + ptr)
  })
  vm.irqfd(device.interruptFd, parameters.irq)
  const gpa = parameters.window + VIRTIO_MMIO_QUEUE_NOTIFY
  device.kickFds?.forEach((fd, queue) => {
    vm.ioeventfd({ fd, gpa, bytes: 4, datamatch: queue })
  })
}

/** Runs the guest to its end. Throws KvmError where there is no KVM; a guest that fails is an outcome. */
export function runGuest(options: GuestOptions): GuestRun {
  const { memory } = options
  const parameters = { ...DEFAULTS, ...options.parameters }
  const kvm = Kvm.open()
  let vm: Vm | undefined
  let vcpu: Vcpu | undefined
  try {
    vm = kvm.createVm()
    wire(vm, options, parameters)
    memory.view(PLACE.load, GUEST_IMAGE.length).set(GUEST_IMAGE)
    clearResults(memory)
    writeParameters(memory, parameters)
    options.prepare?.(memory)
    vcpu = startVcpu(vm.createVcpu(0), kvm.vcpuMmapBytes, PROTECTED, PLACE.load)
    return new Session(options, parameters, vcpu).run()
  } finally {
    vcpu?.close()
    vm?.close()
    kvm.close()
  }
}

/** One run: the loop around KVM_RUN and what it counts. */
class Session {
  readonly #options: GuestOptions
  readonly #parameters: GuestParameters
  readonly #vcpu: Vcpu
  readonly #exits: GuestExits = { all: 0, mmioReads: 0, mmioWrites: 0, notifies: 0, reports: 0, interrupted: 0 }
  readonly #reports: string[] = []
  #longestNotifyMs = 0
  #notifyMs = 0

  constructor(options: GuestOptions, parameters: GuestParameters, vcpu: Vcpu) {
    this.#options = options
    this.#parameters = parameters
    this.#vcpu = vcpu
  }

  run(): GuestRun {
    const { memory, limitMs = 20_000, tickMs = 20 } = this.#options
    const alarm = new VcpuAlarm(this.#vcpu.threadId, tickMs)
    const start = performance.now()
    let end: { outcome: GuestRun['outcome']; why?: string } | undefined
    try {
      while (end === undefined) {
        end = this.#step()
        const late = end === undefined && performance.now() - start > limitMs
        if (late) end = { outcome: 'timeout', why: `stopped after ${limitMs} ms` }
      }
    } finally {
      alarm.cancel()
    }
    const ms = performance.now() - start
    const results = readResults(memory)
    return {
      outcome: end.outcome,
      why: [end.why, describe(results)].filter((part) => part !== undefined).join('; '),
      failure: failureOf(results),
      parameters: this.#parameters,
      results,
      exits: this.#exits,
      reports: this.#reports,
      longestNotifyMs: this.#longestNotifyMs,
      notifyMs: this.#notifyMs,
      ms,
    }
  }

  /** One KVM_RUN and the answer to it. What it returns is how the guest ended. */
  #step(): { outcome: GuestRun['outcome']; why?: string } | undefined {
    const exits = this.#exits
    const reason = this.#vcpu.run()
    if (reason < 0) {
      if (errnoName(-reason) !== 'EINTR') return { outcome: 'crashed', why: `KVM_RUN: ${errnoName(-reason)}` }
      exits.interrupted++
      this.#options.device.tick?.()
      return undefined
    }
    exits.all++
    if (reason === KVM_EXIT_MMIO && this.#mmio()) return undefined
    if (reason === KVM_EXIT_IO && this.#vcpu.io.port === DEBUG_PORT) return this.#report()
    return { outcome: 'crashed', why: this.#vcpu.explain() }
  }

  /** False if the access is not to the window. */
  #mmio(): boolean {
    const { mmio } = this.#vcpu
    const { device } = this.#options
    const exits = this.#exits
    const offset = mmio.address - this.#parameters.window
    if (offset < 0 || offset >= WINDOW_BYTES) return false
    if (!mmio.isWrite) {
      exits.mmioReads++
      mmio.answer(device.mmioRead(offset, mmio.width))
      return true
    }
    exits.mmioWrites++
    const start = performance.now()
    device.mmioWrite(offset, mmio.width, mmio.data)
    if (offset === VIRTIO_MMIO_QUEUE_NOTIFY) {
      const ms = performance.now() - start
      exits.notifies++
      this.#notifyMs += ms
      this.#longestNotifyMs = Math.max(this.#longestNotifyMs, ms)
    }
    return true
  }

  #report(): { outcome: GuestRun['outcome'] } | undefined {
    const { kind, value } = decodeReport(this.#vcpu.io.data())
    this.#exits.reports++
    this.#reports.push(`${kind} ${value}`)
    return kind === 'done' || kind === 'failed' ? { outcome: kind } : undefined
  }
}

/** Asserts what holds of every run that passes, over any device. */
export function assertPassed(run: GuestRun, device: Pick<GuestDevice, 'kickFds'>): void {
  const { parameters, results, exits } = run
  assert.is(run.outcome, 'done', run.why)
  assert.is(results.state, STATE.done)
  assert.is(results.resets, parameters.resets)
  const batches = plannedBatches(parameters)
  assert.is(results.kicks + results.suppressedKicks, batches, 'batches')
  // Requests of the batches that were reset, cut short or not.
  const reset = results.requests + results.cutRequests - plannedRequests(parameters)
  assert.ok(reset >= parameters.resets && reset <= parameters.resets * parameters.batch, `${reset} around resets`)
  // The guest's own count of its register accesses is KVM's count of exits.
  assert.is(exits.mmioReads, results.mmioReads, 'reads')
  assert.is(exits.notifies, device.kickFds ? 0 : results.kicks, 'notifies')
  assert.is(exits.mmioWrites - exits.notifies, results.mmioWrites - results.kicks, 'writes')
  if (parameters.interrupts) {
    assert.ok(results.interrupts >= batches - parameters.resets, `${results.interrupts} interrupts`)
    assert.is(results.polls, 0)
  } else {
    assert.equal([results.interrupts, results.wakeups], [0, 0])
  }
  assert.is(results.configInterrupts, 0)
  const counts = [`interrupts ${results.interrupts}`, `kicks ${results.kicks}`]
  const last = [...counts, `suppressedKicks ${results.suppressedKicks}`, `done ${results.requests}`]
  assert.equal(run.reports.slice(-4), last)
}
