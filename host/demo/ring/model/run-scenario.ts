// Runs a scenario on a real device and records it: a fresh engine of the trace flavour, a disk in memory, and a driver
// without manners. Time is counted, nothing is random: the same scenario gives the same trace. Besides the trace it
// gives guest RAM as it was before the first step and everything that the driver wrote since, so that a walk knows
// every byte. Portable.

import { MemoryBackend } from '../../../backend/memory.ts'
import type { BlockBackend } from '../../../backend/types.ts'
import { GuestMemory } from '../../../device/guest-memory.ts'
import { VirtioBlk } from '../../../device/virtio-blk.ts'
import { Raw } from '../../../driver/raw.ts'
import type { RawQueue } from '../../../driver/raw-queue.ts'
import type { Piece } from '../../../driver/raw-request.ts'
import { DriverError } from '../../../driver/types.ts'
import { Recorder } from '../../../replay/recorder.ts'
import type { Trace } from '../../../replay/trace.ts'
import {
  RAM_BYTES,
  type Scenario,
  type ScenarioAction,
  type ScenarioDevice,
  ScenarioError,
  type ScenarioRequest,
} from './scenario.ts'
import type { GuestChange, GuestImage } from './walk-types.ts'

export interface ScenarioRun {
  readonly trace: Trace
  readonly before: GuestImage
  /** guest RAM in the end: a whole copy of each region */
  readonly after: readonly { readonly gpa: number; readonly bytes: Uint8Array }[]
}

const SECOND = 1e9
/** the recorder's clock goes on by so much with each step */
const STEP_NANOS = 1000

/** What byte `at` of the disk holds: 'sector 00000012 ' in sector 12, over and over, so that a dump can be read. */
function diskBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  const encoder = new TextEncoder()
  for (let at = 0; at < count; at += 16) {
    bytes.set(encoder.encode(`sector ${String(Math.floor(at / 512)).padStart(8, '0')} `).subarray(0, count - at), at)
  }
  return bytes
}

/** Throws ScenarioError for a scenario that no device or no guest RAM has room for. */
export async function runScenario(scenario: Scenario): Promise<ScenarioRun> {
  const run = await Run.start(scenario.device)
  try {
    run.setUp()
    for (const action of scenario.actions) await run.act(action)
    return run.result()
  } finally {
    await run.close()
  }
}

class Run {
  readonly #options: ScenarioDevice
  readonly #memory: GuestMemory
  readonly #recorder: Recorder
  readonly #device: VirtioBlk
  readonly #late: LateBackend | undefined
  readonly #raw: Raw
  readonly #time: { now: number }
  /** guest RAM when the engine last had it */
  readonly #seen: { gpa: number; bytes: Uint8Array }[]
  readonly #changes: GuestChange[] = []
  readonly #before: GuestImage['regions']
  /** as set up last; what an earlier driver left in guest RAM stays there */
  #queue: RawQueue | undefined

  private constructor(
    options: ScenarioDevice,
    parts: { memory: GuestMemory; recorder: Recorder; device: VirtioBlk; late?: LateBackend; time: { now: number } },
  ) {
    this.#options = options
    this.#memory = parts.memory
    this.#recorder = parts.recorder
    this.#device = parts.device
    this.#late = parts.late
    this.#time = parts.time
    this.#seen = this.#copy()
    this.#before = this.#copy()
    const mmio = {
      mmioRead: (offset: number, width: number): number => this.#device.mmioRead(offset, width),
      mmioWrite: (offset: number, width: number, value: number): void =>
        this.#engineHasIt(() => this.#device.mmioWrite(offset, width, value)),
    }
    this.#raw = new Raw({ mmio, memory: this.#memory, arenaBase: 4096, arenaBytes: RAM_BYTES - 4096 })
  }

  static async start(options: ScenarioDevice): Promise<Run> {
    const { border, sectors, storedSectors = sectors } = options
    const regions =
      border === undefined
        ? [{ gpa: 0, bytes: RAM_BYTES }]
        : [
            { gpa: 0, bytes: border },
            { gpa: border, bytes: RAM_BYTES - border },
          ]
    const time = { now: SECOND }
    let ticks = 0
    const recorder = new Recorder({ payload: 'bytes', clock: () => time.now - SECOND + ++ticks * STEP_NANOS })
    try {
      const memory = GuestMemory.create({ regions, stateBytes: 1 << 22 })
      const disk = new Disk(sectors, storedSectors)
      const late = options.late ? new LateBackend(disk) : undefined
      const { readOnly, serial, segMax, sizeMax, blockSize, limits } = options
      const device = await VirtioBlk.create({
        memory,
        backend: late ?? disk,
        engine: recorder.engine,
        clock: () => time.now,
        queueSizeMax: Math.max(options.queueSize, 4),
        onFailure: () => {},
        ...(readOnly === undefined ? {} : { readOnly }),
        ...(serial === undefined ? {} : { serial }),
        ...(segMax === undefined ? {} : { segMax }),
        ...(sizeMax === undefined ? {} : { sizeMax }),
        ...(blockSize === undefined ? {} : { blockSize }),
        ...(limits === undefined ? {} : { throttle: limits }),
      })
      return new Run(options, { memory, recorder, device, time, ...(late && { late }) })
    } catch (error) {
      throw asScenarioError(error)
    }
  }

  async close(): Promise<void> {
    await this.#device.close()
  }

  result(): ScenarioRun {
    return {
      trace: this.#recorder.trace(),
      before: { regions: this.#before, changes: this.#changes },
      after: this.#copy(),
    }
  }

  // What the driver wrote ------------------------------------------------------------------------------------

  #copy(): { gpa: number; bytes: Uint8Array }[] {
    return this.#memory.regions.map(({ gpa, bytes }) => ({ gpa, bytes: this.#memory.view(gpa, bytes).slice() }))
  }

  /** What is different before the engine is called, the driver has written. */
  #engineHasIt(work: () => void): void {
    this.#note()
    work()
    this.#forget()
  }

  #note(): void {
    const step = this.#recorder.steps
    for (const { gpa, bytes } of this.#seen) {
      const now = this.#memory.view(gpa, bytes.length)
      for (const { from, to } of differences(bytes, now)) {
        this.#changes.push({ step, gpa: gpa + from, bytes: now.slice(from, to) })
      }
    }
  }

  #forget(): void {
    for (const { gpa, bytes } of this.#seen) bytes.set(this.#memory.view(gpa, bytes.length))
  }

  // Actions --------------------------------------------------------------------------------------------------

  setUp(): void {
    const { queueSize, eventIdx = false, flush = true, desc, avail, used } = this.#options
    const place = {
      size: queueSize,
      ...(desc === undefined ? {} : { desc }),
      ...(avail === undefined ? {} : { avail }),
      ...(used === undefined ? {} : { used }),
    }
    try {
      this.#queue = this.#raw.negotiate({ eventIdx, flush, queues: [place], keepArena: true }).queue
    } catch (error) {
      throw asScenarioError(error)
    }
  }

  async act(action: ScenarioAction): Promise<void> {
    switch (action.do) {
      case 'kick':
        this.#kick(action)
        break
      case 'wait':
        this.#time.now += action.millis * 1e6
        this.#engineHasIt(() => this.#device.poll())
        break
      case 'answer':
        await this.#answer(action.count)
        break
      case 'reset':
        this.setUp()
        break
      case 'register':
        this.#raw.reg.write(action.offset, action.value)
        break
      case 'resize':
        this.#engineHasIt(() => this.#device.setCapacity(action.sectors * 512))
        break
      case 'limit':
        this.#engineHasIt(() => this.#device.setThrottle(action.limits))
        break
    }
  }

  #kick(action: Extract<ScenarioAction, { do: 'kick' }>): void {
    const queue = this.#queue
    if (queue === undefined) return
    try {
      for (const request of action.requests) this.#offer(queue, request)
    } catch (error) {
      throw asScenarioError(error)
    }
    if (action.availFlags !== undefined) queue.availFlags = action.availFlags
    if (action.usedEvent !== undefined) queue.usedEvent = action.usedEvent
    queue.setAvailIdx(queue.nextAvail + (action.idxAhead ?? 0))
    queue.kick()
  }

  #offer(queue: RawQueue, request: ScenarioRequest): void {
    const { type, sector, pieces, text = 'Hello, disk. ', head, ringEntry } = request
    const readableBytes = pieces.reduce((sum, piece) => sum + (piece.writable ? 0 : piece.bytes), 0)
    const layout = pieces.map(({ writable, bytes, addr, len, flags, next }): Piece => {
      return {
        writable,
        bytes,
        ...(addr === undefined ? {} : { addr }),
        ...(len === undefined ? {} : { len }),
        ...(flags === undefined ? {} : { flags }),
        ...(next === undefined ? {} : { next }),
      }
    })
    const dataOut = repeated(text, Math.max(readableBytes - 16, 0))
    const built = queue.request({ type, sector, dataOut, layout, ...(head === undefined ? {} : { head }) })
    queue.offer(ringEntry ?? built.head)
  }

  /** Late answers come to the device as microtasks of their own. */
  async #answer(count = Number.POSITIVE_INFINITY): Promise<void> {
    this.#note()
    for (let left = count; left > 0 && this.#late?.finishOne(); left--) {
      // A promise of the back end, those that wait for it, and the device's own wake-up.
      for (let i = 0; i < 20; i++) await Promise.resolve()
    }
    this.#forget()
  }
}

function repeated(text: string, count: number): Uint8Array {
  const bytes = new TextEncoder().encode(text || ' ')
  return Uint8Array.from({ length: count }, (_, i) => bytes[i % bytes.length] as number)
}

/** Runs of bytes that differ. Both begin at a multiple of 8, and are as long as one. */
function differences(before: Uint8Array, now: Uint8Array): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = []
  const words = (bytes: Uint8Array): Int32Array => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  const [old, fresh] = [words(before), words(now)]
  for (let word = 0; word < fresh.length; word++) {
    if (old[word] === fresh[word]) continue
    for (let at = 4 * word; at < 4 * word + 4; at++) {
      if (before[at] === now[at]) continue
      const last = runs.at(-1)
      if (last?.to === at) last.to = at + 1
      else runs.push({ from: at, to: at + 1 })
    }
  }
  return runs
}

function asScenarioError(error: unknown): unknown {
  if (error instanceof DriverError) {
    return new ScenarioError(
      `scenario: the rings and buffers do not fit ${RAM_BYTES} bytes of guest RAM: make them smaller`,
    )
  }
  if (error instanceof RangeError || error instanceof TypeError) return new ScenarioError(`scenario: ${error.message}`)
  return error
}

// The disk -------------------------------------------------------------------------------------------------

/** Offers `sectors`, has the first `stored` of them. */
class Disk extends MemoryBackend {
  readonly #capacity: number

  constructor(sectors: number, stored: number) {
    super(diskBytes(Math.min(sectors, stored) * 512))
    this.#capacity = sectors * 512
  }

  override get capacityBytes(): number {
    return this.#capacity
  }
}

/** Answers when it is told to, oldest first. */
class LateBackend implements BlockBackend {
  readonly #disk: Disk
  readonly #pending: (() => void)[] = []

  constructor(disk: Disk) {
    this.#disk = disk
  }

  get capacityBytes(): number {
    return this.#disk.capacityBytes
  }

  read(offset: number, into: Uint8Array[]): Promise<number> {
    return this.#later(() => this.#disk.read(offset, into))
  }

  write(offset: number, from: Uint8Array[]): Promise<number> {
    return this.#later(() => this.#disk.write(offset, from))
  }

  flush(): Promise<void> {
    return this.#later(() => undefined)
  }

  /** False if nothing is pending. */
  finishOne(): boolean {
    const finish = this.#pending.shift()
    finish?.()
    return finish !== undefined
  }

  #later<Value>(work: () => Value): Promise<Value> {
    return new Promise((resolve) => this.#pending.push(() => resolve(work())))
  }
}
