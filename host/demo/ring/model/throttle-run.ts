// The throttle at work: a real device with limits, a clock that only goes on when it is told to, and a driver that
// offers requests at a steady rate. Time goes in steps or runs; at the end of each sampling interval the balance of
// both buckets, stalls and completions are noted. The device is asked when its timer would ask it. Portable.

import { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../../../assembly/spec.ts'
import { MemoryBackend } from '../../../backend/memory.ts'
import { GuestMemory } from '../../../device/guest-memory.ts'
import { decodeSnapshot } from '../../../device/snapshot.ts'
import { VirtioBlk } from '../../../device/virtio-blk.ts'
import { Raw } from '../../../driver/raw.ts'
import type { RawQueue } from '../../../driver/raw-queue.ts'
import { readable, writable } from '../../../driver/raw-request.ts'
import type { ScenarioLimits } from './scenario.ts'

/** What the driver offers. */
export interface Load {
  /** requests per second, 0 to 10000; need not be whole */
  readonly requestsPerSecond: number
  /** data bytes of each: a multiple of 512 up to 65536 */
  readonly requestBytes: number
  /** how many of them are reads, 0 to 1; the rest are writes, evenly mixed */
  readonly reads: number
}

export interface ThrottleSetUp {
  readonly limits: ScenarioLimits
  readonly load: Load
  /** virtual time between two samples, 1 to 1000 ms. Default 50. */
  readonly sampleMillis?: number
}

/** How things are at the end of an interval; `completions` is what happened in it. */
export interface ThrottleSample {
  /** virtual time since the start */
  readonly millis: number
  /** tokens, with their fraction; negative = debt; undefined: no limit */
  readonly opsBalance: number | undefined
  readonly bytesBalance: number | undefined
  /** the head waits for tokens */
  readonly isStalled: boolean
  /** how long it still waits, 0 if it does not */
  readonly waitMillis: number
  /** requests that were completed in the interval, and their bytes */
  readonly completions: number
  readonly bytes: number
  /** refusals of a head in the interval */
  readonly refusals: number
  /** since the start */
  readonly offeredTotal: number
  readonly completedTotal: number
  readonly bytesTotal: number
  readonly stalledMillisTotal: number
  /** requests in the ring that wait, and those that did not even fit the ring */
  readonly waiting: number
  readonly backlog: number
}

const RING = 64
const MILLI = 1e6
/** parts of a token that the engine counts in */
const FRACTION = 1e9
const SAMPLES_MAX = 10_000
/** what the driver's callers put up with; then they offer nothing more until something is done */
const BACKLOG_MAX = 1000
const DESCRIPTORS = 3
const CHAINS = Math.floor(RING / DESCRIPTORS)
const REQUEST_BYTES_MAX = 65536
const START = 1e9

export class ThrottleRun {
  /** the last SAMPLES_MAX samples or more, oldest first; the very first is at 0 ms */
  readonly samples: ThrottleSample[] = []
  #taken = 0
  readonly #device: VirtioBlk
  readonly #queue: RawQueue
  readonly #time: { now: number }
  readonly #sampleNanos: number
  #limits: ScenarioLimits
  #load: Load
  /** heads of the chains that the driver may offer: each has buffers of its own, filled anew for each request */
  readonly #free: number[] = []
  #offered = 0
  #backlog = 0
  /** when the load began, and how many requests were due since; when the next one is, infinite without a load */
  #loadStart = START
  #due = 0
  #nextAt = Number.POSITIVE_INFINITY
  #stalledUntil: number | undefined
  #readShare = 0
  /** up to the last sample */
  #refusals = 0

  private constructor(setUp: ThrottleSetUp, device: VirtioBlk, queue: RawQueue, time: { now: number }) {
    this.#device = device
    this.#queue = queue
    this.#time = time
    this.#limits = setUp.limits
    this.#load = setUp.load
    this.#sampleNanos = Math.round((setUp.sampleMillis ?? 50) * MILLI)
    for (let chain = 0; chain < CHAINS; chain++) this.#free.push(chain * DESCRIPTORS)
  }

  /** Throws RangeError naming the limit or the part of the load that is wrong. */
  static async create(setUp: ThrottleSetUp): Promise<ThrottleRun> {
    checkLoad(setUp.load)
    checkRange('sampleMillis', setUp.sampleMillis ?? 50, 1, 1000)
    const memory = GuestMemory.create({ ramBytes: 4 << 20, stateBytes: 1 << 20 })
    const time = { now: START }
    const device = await VirtioBlk.create({
      memory,
      backend: new MemoryBackend(1 << 20),
      clock: () => time.now,
      queueSizeMax: RING,
      throttle: setUp.limits,
      onFailure: () => {},
    })
    const raw = new Raw({ mmio: device, memory, arenaBase: 4096, arenaBytes: (4 << 20) - 4096 })
    const { queue } = raw.negotiate({ queues: [{ size: RING }] })
    const run = new ThrottleRun(setUp, device, queue, time)
    run.#schedule()
    run.#sample()
    return run
  }

  /** virtual time since the start */
  get millis(): number {
    return (this.#time.now - START) / MILLI
  }

  get limits(): ScenarioLimits {
    return this.#limits
  }

  get load(): Load {
    return this.#load
  }

  /** From now on; a head that waits is asked again at once. Throws RangeError, and leaves things as they are. */
  setLimits(limits: ScenarioLimits): void {
    this.#device.setThrottle(limits)
    this.#limits = limits
    this.#takeBack()
    this.#fill()
  }

  /** From now on. Throws RangeError. */
  setLoad(load: Load): void {
    checkLoad(load)
    this.#load = load
    this.#schedule()
  }

  /** Lets so much virtual time pass; returns the samples that were taken. */
  advance(millis: number): readonly ThrottleSample[] {
    checkRange('millis', millis, 0, 60_000)
    const taken: ThrottleSample[] = []
    const end = this.#time.now + Math.round(millis * MILLI)
    for (;;) {
      const sampleAt = START + this.#taken * this.#sampleNanos
      const next = Math.min(end, sampleAt, this.#nextAt, this.#stalledUntil ?? Number.POSITIVE_INFINITY)
      this.#time.now = Math.max(this.#time.now, next)
      // At one instant first the timer, then the driver, then the observer.
      if (next === this.#stalledUntil) this.#poll()
      else if (next === this.#nextAt) this.#offer()
      else if (next === sampleAt) taken.push(this.#sample())
      else return taken
    }
  }

  async close(): Promise<void> {
    await this.#device.close()
  }

  // The driver -----------------------------------------------------------------------------------------------

  #schedule(): void {
    this.#loadStart = this.#time.now
    this.#due = 0
    this.#setNext()
  }

  /** In whole nanoseconds, and without adding up what is rounded. */
  #setNext(): void {
    const { requestsPerSecond } = this.#load
    this.#nextAt =
      requestsPerSecond > 0
        ? this.#loadStart + Math.round(((this.#due + 1) * 1e9) / requestsPerSecond)
        : Number.POSITIVE_INFINITY
  }

  #offer(): void {
    this.#due++
    this.#setNext()
    if (this.#backlog >= BACKLOG_MAX) return
    this.#offered++
    this.#backlog++
    this.#fill()
  }

  /** What waits for a place in the ring is put there, and the device is kicked, as long as there are places. */
  #fill(): void {
    while (this.#backlog > 0 && this.#free.length > 0) {
      const heads = this.#free.splice(0, this.#backlog)
      this.#backlog -= heads.length
      for (const head of heads) this.#build(head)
      this.#queue.submit(...heads)
      this.#takeBack()
    }
  }

  #build(head: number): void {
    const { reads, requestBytes } = this.#load
    this.#readShare += reads
    const isRead = this.#readShare >= 1
    if (isRead) this.#readShare -= 1
    const at = BUFFERS_AT + (head / DESCRIPTORS) * BUFFER_STRIDE
    const data = { addr: at + 64 }
    const layout = [
      readable(16, { addr: at }),
      isRead ? writable(requestBytes, data) : readable(requestBytes, data),
      writable(1, { addr: at + 32 }),
    ]
    this.#queue.request({ type: isRead ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, layout, head })
  }

  #poll(): void {
    this.#device.poll()
    this.#takeBack()
    this.#fill()
  }

  /** The driver takes back what was used; a head that waits is asked again when its time has come. */
  #takeBack(): void {
    for (const { id } of this.#queue.takeUsed()) this.#free.push(id)
    const wait = this.#waitNanos()
    this.#stalledUntil = wait === undefined ? undefined : this.#time.now + wait
  }

  // The observer ---------------------------------------------------------------------------------------------

  /** What is left of the head's wait. A snapshot says it, up to now and to the nanosecond. */
  #waitNanos(): number | undefined {
    const [queue] = decodeSnapshot(this.#device.snapshot()).queues
    return queue?.stalled === 1n ? Number(queue.waitNanos) : undefined
  }

  #sample(): ThrottleSample {
    const { device, queues } = decodeSnapshot(this.#device.snapshot())
    const number = (name: string): number => Number(device[name])
    const balance = (bucket: 'ops' | 'bytes'): number | undefined => {
      if (number(`${bucket}Rate`) === 0) return undefined
      return number(`${bucket}Balance`) + number(`${bucket}Fraction`) / FRACTION
    }
    const completedTotal = number('readsCompleted') + number('writesCompleted')
    const bytesTotal = number('bytesRead') + number('bytesWritten')
    const before = this.samples.at(-1)
    const isStalled = queues[0]?.stalled === 1n
    const sample: ThrottleSample = {
      millis: this.millis,
      opsBalance: balance('ops'),
      bytesBalance: balance('bytes'),
      isStalled,
      waitMillis: isStalled ? Number(queues[0]?.waitNanos) / MILLI : 0,
      completions: completedTotal - (before?.completedTotal ?? 0),
      bytes: bytesTotal - (before?.bytesTotal ?? 0),
      refusals: number('throttledCount') - this.#refusals,
      offeredTotal: this.#offered,
      completedTotal,
      bytesTotal,
      stalledMillisTotal: number('throttledNanos') / MILLI,
      waiting: CHAINS - this.#free.length,
      backlog: this.#backlog,
    }
    this.#refusals = number('throttledCount')
    this.#taken++
    this.samples.push(sample)
    if (this.samples.length >= 2 * SAMPLES_MAX) this.samples.splice(0, SAMPLES_MAX)
    return sample
  }
}

/** Header, status byte and data of a chain; behind the ring. */
const BUFFER_STRIDE = REQUEST_BYTES_MAX + 4096
const BUFFERS_AT = 1 << 16

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new RangeError(`throttle run: ${name} must be from ${min} to ${max}, not ${value}`)
  }
}

function checkLoad({ requestsPerSecond, requestBytes, reads }: Load): void {
  checkRange('requestsPerSecond', requestsPerSecond, 0, 10_000)
  checkRange('requestBytes', requestBytes, 512, REQUEST_BYTES_MAX)
  if (requestBytes % 512 !== 0) {
    throw new RangeError(`throttle run: requestBytes must be a multiple of 512, not ${requestBytes}`)
  }
  checkRange('reads', reads, 0, 1)
}
