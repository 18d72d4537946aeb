// vCPUs on worker threads: two of one machine at once, and that whoever runs is interrupted wherever the guest is,
// without harm to Node. The worker is this file again.

import { once } from 'node:events'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_SHUTDOWN } from '../../host/kvm/numbers.ts'
import type { SregsChange } from '../../host/kvm/structs.ts'
import { Vcpu } from '../../host/kvm/vcpu.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import {
  createMachine,
  hasKvm,
  INTERRUPT_GATE,
  INTERRUPTS,
  IRQ,
  kernelObjects,
  LONG,
  type Machine,
  PROTECTED,
  REAL,
  startVcpu,
  USER,
} from '../support/kvm-guest.ts'
import { sleep, within } from '../support/within.ts'

const { EINTR } = constants.errno
const WAIT_MS = 20_000

// The worker ----------------------------------------------------------------------------------------------------

interface Task {
  fd: number
  mmapBytes: number
  mode: SregsChange
  ebx: bigint
  /** not 0: leave run() for good at the next interruption */
  stop: Int32Array
}

/** What the worker says: first its thread, then each exit ('out 0x80 0', 'interrupted'), last why it stopped. */
type Report = { threadId: number } | { exit: string } | { ended: string }

function runTask({ fd, mmapBytes, mode, ebx, stop }: Task): void {
  const report = (message: Report): void => parentPort?.postMessage(message)
  const vcpu = startVcpu(fd, mmapBytes, mode)
  vcpu.setRegs({ rbx: ebx })
  report({ threadId: vcpu.threadId })
  let ended = ''
  while (ended === '') {
    const reason = vcpu.run()
    if (reason === -EINTR && Atomics.load(stop, 0) !== 0) ended = 'stopped'
    else if (reason === -EINTR) report({ exit: 'interrupted' })
    else if (reason === KVM_EXIT_IO) report({ exit: `out 0x${vcpu.io.port.toString(16)} ${vcpu.io.data() & 0xff}` })
    else if (reason === KVM_EXIT_HLT) ended = 'hlt'
    else if (reason === KVM_EXIT_SHUTDOWN) ended = 'shutdown'
    else ended = vcpu.explain()
  }
  vcpu.close()
  report({ ended })
}

// The tests -----------------------------------------------------------------------------------------------------

/** A vCPU on a thread of its own. */
class Thread {
  readonly #worker: Worker
  readonly #stop = new Int32Array(new SharedArrayBuffer(4))
  readonly #exits: string[] = []
  readonly #started: Promise<number>
  readonly #ended: Promise<string>
  #wake = (): void => {}

  constructor({ vm, kvm }: Machine, id: number, mode: SregsChange) {
    const task: Task = {
      fd: vm.createVcpu(id),
      mmapBytes: kvm.vcpuMmapBytes,
      mode,
      ebx: BigInt(id),
      stop: this.#stop,
    }
    this.#worker = new Worker(fileURLToPath(import.meta.url), { workerData: task })
    const { promise: started, resolve: start } = withResolvers<number>()
    const { promise: ended, resolve: end, reject } = withResolvers<string>()
    this.#started = started
    this.#ended = ended
    this.#worker.on('message', (report: Report) => {
      if ('threadId' in report) start(report.threadId)
      else if ('ended' in report) end(report.ended)
      else {
        this.#exits.push(report.exit)
        this.#wake()
      }
    })
    this.#worker.on('error', reject)
  }

  threadId(): Promise<number> {
    return within(WAIT_MS, this.#started, 'the start of the vCPU')
  }

  /** The next exit that the worker reported. */
  async next(): Promise<string> {
    const arrival = (): Promise<void> => new Promise((resolve) => (this.#wake = resolve))
    while (this.#exits.length === 0) await within(WAIT_MS, Promise.race([arrival(), this.#ended]), 'an exit')
    return this.#exits.shift() ?? ''
  }

  /** Waits for the guest to end, and the thread with it. */
  async end(): Promise<string> {
    const reason = await within(WAIT_MS, this.#ended, 'the end of the vCPU')
    await within(WAIT_MS, this.#worker.terminate(), 'the end of the worker')
    return reason
  }

  async stop(): Promise<string> {
    Atomics.store(this.#stop, 0, 1)
    assert.is(Vcpu.interruptVcpu(await this.threadId()), 0)
    return this.end()
  }
}

function withResolvers<Value>(): {
  promise: Promise<Value>
  resolve: (value: Value) => void
  reject: (error: Error) => void
} {
  let resolve: (value: Value) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

const SPIN = 'eb fe  jmp $'
const HALT = `
  fa                               cli
  f4                               hlt
`
const COUNT = `
  b9 e8 03 00 00                   mov ecx, 1000
  f0 ff 05 04 60 00 00             0x1005: lock inc dword [0x6004]
  e2 f7                            loop 0x1005
  c7 04 9d 08 60 00 00 11 00 00 00  mov dword [ebx * 4 + 0x6008], 0x11
  f4                               hlt
`

/** Signals that a handler of this process catches, and those that are ignored. */
function signalHandlers(): string[] {
  return fs
    .readFileSync('/proc/self/status', 'utf8')
    .split('\n')
    .filter((line) => /^Sig(Cgt|Ign|Blk):/.test(line))
}

const test = suite('kvm/threads')

if (!isMainThread) {
  runTask(workerData)
} else if (hasKvm()) {
  test('two vCPUs on two threads: 1000 locked increments each -> 2000, in memory that all threads share', async () => {
    const machine = createMachine(COUNT)
    const threads = [0, 1].map((id) => new Thread(machine, id, PROTECTED))
    assert.is.not(await threads[0]?.threadId(), await threads[1]?.threadId())
    for (const thread of threads) assert.is(await thread.end(), 'hlt')
    const ram = new DataView(machine.ram.memory.buffer, machine.ram.regions[0]?.ptr)
    assert.equal(
      [0x6004, 0x6008, 0x600c].map((gpa) => ram.getUint32(gpa, true)),
      [2000, 0x11, 0x11],
    )
    machine.close()
  })

  const places: [name: string, mode: SregsChange, code: string, irqchip: boolean][] = [
    ['a loop in real mode', REAL, SPIN, false],
    ['a loop in protected mode', PROTECTED, SPIN, false],
    ['a loop in long mode', LONG, SPIN, false],
    ['a loop in ring 3', USER, SPIN, false],
    ['hlt in the kernel, interrupts off', PROTECTED, HALT, true],
  ]
  for (const [name, mode, code, irqchip] of places) {
    test(`interruptVcpu: ${name} -> -EINTR, runs on, again, stopped; Node's signals as before`, async () => {
      const handlers = signalHandlers()
      const objects = kernelObjects()
      const machine = createMachine(code, { irqchip })
      const thread = new Thread(machine, 0, mode)
      const threadId = await thread.threadId()
      for (let i = 0; i < 3; i++) {
        await sleep(30)
        assert.is(Vcpu.interruptVcpu(threadId), 0)
        assert.is(await thread.next(), 'interrupted')
      }
      assert.is(await thread.stop(), 'stopped')
      machine.close()
      assert.equal(signalHandlers(), handlers)
      assert.equal(kernelObjects(), objects)
    })
  }

  test('interruptVcpu: a vCPU that waits for its start-up interrupt -> -EINTR', async () => {
    const machine = createMachine(SPIN, { irqchip: true })
    const [first, second] = [new Thread(machine, 0, PROTECTED), new Thread(machine, 1, PROTECTED)]
    await sleep(30)
    assert.is(Vcpu.interruptVcpu(await second.threadId()), 0)
    assert.is(await second.next(), 'interrupted')
    assert.is(await second.stop(), 'stopped')
    assert.is(await first.stop(), 'stopped')
    machine.close()
  })

  test('interruptVcpu: 200 times, each awaited -> none is lost', async () => {
    const machine = createMachine(SPIN)
    const thread = new Thread(machine, 0, PROTECTED)
    const threadId = await thread.threadId()
    for (let i = 0; i < 200; i++) {
      assert.is(Vcpu.interruptVcpu(threadId), 0)
      await thread.next()
    }
    assert.is(await thread.stop(), 'stopped')
    machine.close()
  })

  test('irqfd: signalled from this thread while the vCPU is in hlt on another -> it wakes, each time', async () => {
    const event = EventFd.create()
    const machine = createMachine(INTERRUPTS, { irqchip: true })
    machine.ram.view(...INTERRUPT_GATE.at).set(INTERRUPT_GATE.bytes)
    machine.vm.irqfd(event.fd, IRQ)
    const thread = new Thread(machine, 0, PROTECTED)
    for (let count = 1; count <= 5; count++) {
      if (count === 1) assert.match(await thread.next(), 'out 0x80')
      await sleep(20)
      event.signal()
      let exit = await thread.next()
      while (exit.startsWith('out 0x80')) exit = await thread.next()
      assert.is(exit, `out 0x81 ${count}`)
    }
    assert.is(await thread.stop(), 'stopped')
    machine.close()
    event.close()
  })

  test('interruptVcpu: every thread of the process, which run no vCPU -> the process does not notice', async () => {
    const worker = new Worker('require("node:worker_threads").parentPort.once("message", () => {})', { eval: true })
    await within(WAIT_MS, once(worker, 'online'), 'the worker')
    for (const tid of fs.readdirSync('/proc/self/task')) assert.is(Vcpu.interruptVcpu(Number(tid)), 0)
    await within(WAIT_MS, worker.terminate(), 'the end of the worker')
  })
}

if (isMainThread) test.run()
