// What tests have other threads do: take the device lock, be a worker or a holder of a disk, call a second instance
// of the engine over the same memory, be a vCPU that drives a disk through its handle. One task per thread; its result
// is posted. Spins where a guest would, with an end in time for each spin.

import { parentPort, workerData } from 'node:worker_threads'
import { GuestMemory, type Region } from '../../host/device/guest-memory.ts'
import { Raw } from '../../host/driver/raw.ts'
import { type EngineExports, loadEngine } from '../../host/engine/engine.ts'
import { DiskControl } from '../../host/loop/control.ts'
import { type DiskHandle, DiskTransport } from '../../host/loop/transport.ts'
import { signalEventFd } from '../../host/sys/eventfd.ts'

export interface TaskData {
  readonly memory?: WebAssembly.Memory
  readonly ptr?: number
  /** words shared by the threads of a test, see below */
  readonly shared: Int32Array
  readonly rounds: number
  readonly seed?: number
  /** for the engine: what to call, over and over */
  readonly call?: 'mmioWrite' | 'setCapacity' | 'kicked' | 'fail'
  readonly args?: readonly number[]
  /** for a vCPU */
  readonly handle?: DiskHandle
  readonly regions?: readonly Region[]
  readonly arenaBase?: number
  readonly eventIdx?: boolean
  readonly doorbell?: boolean
}

/** Words of `shared`. */
export const READY = 0 // threads that are about to begin
export const GO = 1 // 1: begin
export const VALUE = 2 // what the lock guards
export const IN_WORKER = 3 // 1: the worker is inside
export const IN_HOLDER = 4 // holders that are inside
export const BOTH = 5 // how often somebody saw both
export const BELL = 6 // goes up with each wake-up of the worker
export const STOP = 7 // 1: end
export const WORK = 8 // work given to the worker
export const DONE = 9 // the last of it that the worker saw while it was inside
export const RUNS = 10 // how often the worker was inside
export const SHARED_WORDS = 16

const SPIN_MS = 10_000

/** Blocks until the condition holds; false if it takes too long. */
function spin(condition: () => boolean): boolean {
  const end = performance.now() + SPIN_MS
  for (let i = 1; !condition(); i++) if (i % 1024 === 0 && performance.now() > end) return false
  return true
}

function begin({ shared }: TaskData): void {
  Atomics.add(shared, READY, 1)
  Atomics.wait(shared, GO, 0, SPIN_MS)
}

function controlOf({ memory, ptr }: TaskData): DiskControl {
  return new DiskControl(memory as WebAssembly.Memory, ptr as number)
}

/** A cheap generator of numbers below `below`. */
function random(seed: number): (below: number) => number {
  let state = seed | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

// The lock -------------------------------------------------------------------------------------------------------

/** Adds 1 to VALUE in two steps, under the lock. */
function increment(data: TaskData): void {
  const { shared, rounds } = data
  const control = controlOf(data)
  begin(data)
  for (let i = 0; i < rounds; i++) {
    control.lock()
    const value = shared[VALUE] as number
    if (i % 16 === 0) for (let j = 0; j < 50; j++) shared[VALUE] = value
    shared[VALUE] = value + 1
    control.unlock()
  }
}

// Worker and holders -------------------------------------------------------------------------------------------

/** As a worker's loop: sleeps until the bell, enters, does what work there is, leaves. */
function serve(data: TaskData): void {
  const { shared } = data
  const control = controlOf(data)
  begin(data)
  let heard = 0
  while (Atomics.load(shared, STOP) === 0) {
    Atomics.wait(shared, BELL, heard, SPIN_MS)
    heard = Atomics.load(shared, BELL)
    if (!control.enter()) continue
    Atomics.store(shared, IN_WORKER, 1)
    if (Atomics.load(shared, IN_HOLDER) !== 0) Atomics.add(shared, BOTH, 1)
    Atomics.store(shared, DONE, Atomics.load(shared, WORK))
    Atomics.add(shared, RUNS, 1)
    if (Atomics.load(shared, IN_HOLDER) !== 0) Atomics.add(shared, BOTH, 1)
    Atomics.store(shared, IN_WORKER, 0)
    control.leave()
  }
}

function ring(shared: Int32Array): void {
  Atomics.add(shared, BELL, 1)
  Atomics.notify(shared, BELL)
}

/** Holds, is alone, gives work, rings, releases; then the work must be done without another ring. Returns the hangs. */
function hold(data: TaskData): number {
  const { shared, rounds, seed = 1 } = data
  const control = controlOf(data)
  const below = random(seed)
  let hangs = 0
  begin(data)
  for (let i = 0; i < rounds && hangs === 0; i++) {
    // So that the worker is anywhere between its bell and its sleep when the hold comes.
    ring(shared)
    for (let j = below(200); j > 0; j--) Atomics.load(shared, STOP)
    control.hold()
    if (!control.waitQuiet(SPIN_MS)) hangs++
    Atomics.add(shared, IN_HOLDER, 1)
    if (Atomics.load(shared, IN_WORKER) !== 0) Atomics.add(shared, BOTH, 1)
    const work = Atomics.add(shared, WORK, 1) + 1
    ring(shared)
    for (let j = below(300); j > 0; j--) Atomics.load(shared, STOP)
    if (Atomics.load(shared, IN_WORKER) !== 0) Atomics.add(shared, BOTH, 1)
    Atomics.sub(shared, IN_HOLDER, 1)
    if (control.release()) ring(shared)
    if (!spin(() => Atomics.load(shared, DONE) >= work)) hangs++
  }
  return hangs
}

// The engine -----------------------------------------------------------------------------------------------------

/** The same call, over and over; returns the sum of what it answered. */
function engine(data: TaskData): number {
  const { memory, ptr, rounds, call = 'kicked', args = [] } = data
  const exports = loadEngine(memory as WebAssembly.Memory) as EngineExports
  const act = exports[call] as (...words: number[]) => number
  let sum = 0
  begin(data)
  for (let i = 0; i < rounds; i++) sum += act(ptr as number, ...args) ?? 0
  return sum
}

// vCPUs ----------------------------------------------------------------------------------------------------------

export interface Driven {
  rounds: number
  /** the round that was not answered, or -1 */
  hungAt: number
  /** answers with a status other than OK */
  bad: number
  kicks: number
}

function vcpu(data: TaskData): { raw: Raw; handle: DiskHandle } {
  const { handle, regions = [], arenaBase } = data as TaskData & { handle: DiskHandle }
  const allocate = (): number => {
    throw new Error('not here')
  }
  const memory = GuestMemory.adopt({ memory: handle.memory, regions, allocate })
  const mmio = DiskTransport.open(handle)
  return { raw: new Raw({ mmio, memory, ...(arenaBase === undefined ? {} : { arenaBase }) }), handle }
}

/**
 * Depth 1, spinning on used.idx as a polling guest: offers the same read again the moment it is answered, and kicks
 * only if the device has asked for it.
 */
function drive(data: TaskData): Driven {
  const { rounds, eventIdx = false, doorbell = false } = data
  const { raw, handle } = vcpu(data)
  const { queue } = raw.negotiate({ eventIdx })
  const read = queue.request({ type: 0, sector: 3, dataIn: 512 })
  const driven: Driven = { rounds: 0, hungAt: -1, bad: 0, kicks: 0 }
  begin(data)
  for (let i = 0; i < rounds; i++) {
    raw.mem.setU8(read.statusAddr as number, 0xe5)
    queue.publish(read.head)
    // The index is stored before the device's word is read.
    const wanted = eventIdx ? queue.availEvent === (i & 0xffff) : (queue.usedFlags & 1) === 0
    if (wanted) {
      driven.kicks++
      if (doorbell) signalEventFd(handle.kickFds[0] as number)
      else queue.kick()
    }
    if (!spin(() => queue.usedIdx === ((i + 1) & 0xffff))) {
      driven.hungAt = i
      return driven
    }
    if (read.status() !== 0) driven.bad++
    driven.rounds++
  }
  return driven
}

/** Brings the device up, does a little IO without waiting for its end, resets it, over and over: Status is 0. */
function storm(data: TaskData): Driven {
  const { rounds, seed = 1 } = data
  const { raw } = vcpu(data)
  const below = random(seed)
  const driven: Driven = { rounds: 0, hungAt: -1, bad: 0, kicks: 0 }
  begin(data)
  for (let i = 0; i < rounds; i++) {
    const { queue } = raw.negotiate()
    const requests = [0, 1, 2].map(() => queue.request({ type: 0, sector: 3, dataIn: 512 }))
    queue.submit(...requests.map(({ head }) => head))
    for (let j = below(400); j > 0; j--) Atomics.load(data.shared, STOP)
    raw.reg.status = 0
    if (raw.reg.status !== 0) driven.bad++
    const after = raw.mem.bytes(queue.used, 64).join()
    const statuses = requests.map((request) => request.status()).join()
    for (let j = below(400); j > 0; j--) Atomics.load(data.shared, STOP)
    if (raw.mem.bytes(queue.used, 64).join() !== after) driven.bad++
    if (requests.map((request) => request.status()).join() !== statuses) driven.bad++
    driven.rounds++
  }
  return driven
}

/** Reads and kicks all the time, on a device that another thread resets. */
function pester(data: TaskData): number {
  const { raw } = vcpu(data)
  let accesses = 0
  begin(data)
  while (Atomics.load(data.shared, STOP) === 0) {
    raw.reg.notify(accesses % 3 === 0 ? 1 : 0)
    raw.reg.read(0x60)
    raw.reg.write(0x64, 1)
    raw.reg.read(0x100, 8)
    accesses++
  }
  return accesses
}

/** One write to Status := 0, however long it takes; returns Status right after it. */
function reset(data: TaskData): number {
  const { raw } = vcpu(data)
  begin(data)
  raw.reg.status = 0
  return raw.reg.status
}

const TASKS = { increment, serve, hold, engine, drive, storm, pester, reset }
export type TaskName = keyof typeof TASKS

if (workerData !== null && typeof workerData === 'object' && 'task' in workerData) {
  const { task, data } = workerData as { task: TaskName; data: TaskData }
  parentPort?.postMessage(TASKS[task](data))
}
