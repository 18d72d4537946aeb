// The device contract as a second, independent program: what the guest may see of a virtio-blk device with the core
// features, written for clarity and from the contract alone, so that a mistake of the engine cannot hide in its own
// test. Guest numbers are BigInt, nothing is cached, each guest field is read once and requests run one at a time in
// ring order. It shares with the device only the numbers of the standard (assembly/spec.ts).
//
// Here: registers, status machine, queues, faults, publishing. A chain becomes a plan in model-request.ts; guest RAM
// and token buckets are in model-parts.ts. Owns no guest memory: the regions given to the constructor are the RAM.
// It does not model asynchronous back ends, pause, snapshots or threads.

import * as spec from '../../assembly/spec.ts'
import { Bucket, ModelMemory, type ModelRegion, type ModelThrottle } from './model-parts.ts'
import { execute, type ModelDisk, type ModelLimits, planRequest, walkChain } from './model-request.ts'

export interface ModelOptions extends ModelLimits {
  regions: readonly ModelRegion[]
  disk: ModelDisk
  capacityBytes: number
  queueSizeMax: number
  throttle?: ModelThrottle
  /** nanoseconds, whole */
  clock: () => number
}

export type ModelPoll = 'idle' | 'more' | { stalledNanos: number }

export const COUNTERS = [
  ...['readsCompleted', 'bytesRead', 'writesCompleted', 'bytesWritten', 'flushesCompleted', 'idsCompleted'],
  ...['discardsCompleted', 'writeZeroesCompleted', 'unsupported', 'ioErrors', 'shortReads', 'throttledCount'],
  ...['throttledNanos', 'currentlyThrottled', 'invalidAvailIdx', 'ringFaults', 'statusWriteFailures', 'kicks'],
  ...['ignoredKicks', 'drains', 'interrupts', 'suppressedInterrupts', 'resets', 'engineTraps'],
] as const

const ACK = spec.VIRTIO_CONFIG_S_ACKNOWLEDGE
const DRIVER = ACK | spec.VIRTIO_CONFIG_S_DRIVER
const FEATURES_OK = DRIVER | spec.VIRTIO_CONFIG_S_FEATURES_OK
const WAIT_MAX = 1_000_000_000n
const MASK16 = 0xffff
const ALL_ONES = 0xffffffff

/** The one queue of the core device. Addresses are whole; the registers write halves of them. */
interface Queue {
  size: number
  desc: bigint
  avail: bigint
  used: bigint
  ready: boolean
  /** set by the first successful QueueReady := 1, cleared by reset only */
  frozen: boolean
  nextAvail: number
  usedIdx: number
  /** used.flags has been written once */
  flagged: boolean
}

interface UsedElement {
  head: number
  len: bigint
}

function bit(feature: number): bigint {
  return 1n << BigInt(feature)
}

export class ModelDevice {
  readonly memory: ModelMemory
  readonly counters: Record<string, bigint> = Object.fromEntries(COUNTERS.map((name) => [name, 0n]))
  readonly #options: ModelOptions
  readonly #ops: Bucket
  readonly #bytes: Bucket
  #capacitySectors: bigint
  #config: DataView
  #status = 0
  #interruptStatus = 0
  #generation = 0
  #deviceFeaturesSel = 0
  #driverFeaturesSel = 0
  #queueSel = 0
  #driverFeatures = [0, 0, 0, 0]
  #queue: Queue
  /** the head of the queue was refused tokens at `since`: no kick drains before `wait` nanoseconds are over */
  #stall: { since: bigint; wait: bigint } | undefined

  constructor(options: ModelOptions) {
    this.#options = options
    this.memory = new ModelMemory(options.regions)
    const now = options.clock()
    this.#capacitySectors = BigInt(Math.floor(options.capacityBytes / spec.VIRTIO_BLK_SECTOR_BYTES))
    const { iops, iopsBurst, bytesPerSecond, bytesBurst } = options.throttle ?? {}
    this.#ops = new Bucket(iops, iopsBurst, now)
    this.#bytes = new Bucket(bytesPerSecond, bytesBurst, now)
    this.#config = this.#makeConfig()
    this.#queue = this.#newQueue()
  }

  // --- registers (rule 1) ---

  mmioRead(offset: number, width: number): number {
    if (offset >= spec.VIRTIO_MMIO_CONFIG) return this.#readConfig(offset - spec.VIRTIO_MMIO_CONFIG, width)
    if (width !== 4) return 2 ** (8 * width) - 1
    switch (offset) {
      case spec.VIRTIO_MMIO_MAGIC_VALUE:
        return spec.VIRTIO_MMIO_MAGIC
      case spec.VIRTIO_MMIO_VERSION:
        return spec.VIRTIO_MMIO_VERSION_2
      case spec.VIRTIO_MMIO_DEVICE_ID:
        return spec.VIRTIO_ID_BLOCK
      case spec.VIRTIO_MMIO_DEVICE_FEATURES:
        return this.#deviceFeaturesSel < 2
          ? Number((this.#offered() >> BigInt(32 * this.#deviceFeaturesSel)) & 0xffffffffn)
          : 0
      case spec.VIRTIO_MMIO_QUEUE_SIZE_MAX:
        return this.#queueSel === 0 ? this.#options.queueSizeMax : 0
      case spec.VIRTIO_MMIO_QUEUE_READY:
        return this.#queueSel === 0 && this.#queue.ready ? 1 : 0
      case spec.VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.#interruptStatus
      case spec.VIRTIO_MMIO_STATUS:
        return this.#status
      case spec.VIRTIO_MMIO_CONFIG_GENERATION:
        return this.#generation
      case spec.VIRTIO_MMIO_SHM_LEN_LOW:
      case spec.VIRTIO_MMIO_SHM_LEN_HIGH:
      case spec.VIRTIO_MMIO_SHM_BASE_LOW:
      case spec.VIRTIO_MMIO_SHM_BASE_HIGH:
        return ALL_ONES
      default:
        return 0
    }
  }

  mmioWrite(offset: number, width: number, value: number): void {
    if (offset >= spec.VIRTIO_MMIO_CONFIG || width !== 4) return
    switch (offset) {
      case spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeaturesSel = value
        return
      case spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeaturesSel = value
        return
      case spec.VIRTIO_MMIO_QUEUE_SEL:
        this.#queueSel = value
        return
      case spec.VIRTIO_MMIO_DRIVER_FEATURES:
        if ((this.#status & FEATURES_OK) === DRIVER && this.#driverFeaturesSel < 4) {
          this.#driverFeatures[this.#driverFeaturesSel] = value
        }
        return
      case spec.VIRTIO_MMIO_QUEUE_READY:
        this.#writeReady(value)
        return
      case spec.VIRTIO_MMIO_QUEUE_NOTIFY:
        this.#kick(value)
        return
      case spec.VIRTIO_MMIO_INTERRUPT_ACK:
        this.#interruptStatus &= ~value
        return
      case spec.VIRTIO_MMIO_STATUS:
        if (value === 0) this.#reset()
        else this.#advanceStatus(value)
        return
      default:
        this.#writeQueueParameter(offset, value)
    }
  }

  #writeQueueParameter(offset: number, value: number): void {
    if (!this.#queueIsConfigurable() || this.#queue.frozen) return
    const queue = this.#queue
    const half = BigInt(value)
    const low = (address: bigint): bigint => (address & ~0xffffffffn) | half
    const high = (address: bigint): bigint => (address & 0xffffffffn) | (half << 32n)
    if (offset === spec.VIRTIO_MMIO_QUEUE_SIZE) queue.size = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_LOW) queue.desc = low(queue.desc)
    if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_HIGH) queue.desc = high(queue.desc)
    if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW) queue.avail = low(queue.avail)
    if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH) queue.avail = high(queue.avail)
    if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW) queue.used = low(queue.used)
    if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH) queue.used = high(queue.used)
  }

  /** Rule 3: a queue is judged when it becomes ready, and then frozen until reset. */
  #writeReady(value: number): void {
    if (this.#queueSel !== 0) return
    if (value !== 1) {
      this.#queue.ready = false
      this.#endStall()
      return
    }
    if (!this.#queueIsConfigurable()) return
    this.#queue.ready = this.#queueIsValid()
    if (this.#queue.ready) this.#queue.frozen = true
  }

  #queueIsConfigurable(): boolean {
    const gate = FEATURES_OK | spec.VIRTIO_CONFIG_S_DRIVER_OK
    return (this.#status & gate) === FEATURES_OK && this.#queueSel === 0
  }

  #queueIsValid(): boolean {
    const { size, desc, avail, used } = this.#queue
    const powerOfTwo = size > 0 && Number.isInteger(Math.log2(size))
    if (!powerOfTwo || size > this.#options.queueSizeMax) return false
    if (desc % 16n !== 0n || avail % 2n !== 0n || used % 4n !== 0n) return false
    const n = BigInt(size)
    return (
      this.memory.contains(desc, 16n * n) &&
      this.memory.contains(avail, 6n + 2n * n) &&
      this.memory.contains(used, 6n + 8n * n)
    )
  }

  #newQueue(): Queue {
    const size = this.#options.queueSizeMax
    return {
      size,
      desc: 0n,
      avail: 0n,
      used: 0n,
      ready: false,
      frozen: false,
      nextAvail: 0,
      usedIdx: 0,
      flagged: false,
    }
  }

  // --- features and config space ---

  #offered(): bigint {
    const always =
      bit(spec.VIRTIO_BLK_F_SIZE_MAX) |
      bit(spec.VIRTIO_BLK_F_SEG_MAX) |
      bit(spec.VIRTIO_BLK_F_BLK_SIZE) |
      bit(spec.VIRTIO_BLK_F_FLUSH) |
      bit(spec.VIRTIO_F_EVENT_IDX) |
      bit(spec.VIRTIO_F_VERSION_1)
    return this.#options.readOnly ? always | bit(spec.VIRTIO_BLK_F_RO) : always
  }

  #accepted(): bigint {
    return this.#driverFeatures.reduceRight((all, word) => (all << 32n) | BigInt(word), 0n)
  }

  #has(feature: number): boolean {
    return (this.#accepted() & bit(feature)) !== 0n
  }

  #readConfig(offset: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) {
      const byte = offset + i < this.#config.byteLength ? this.#config.getUint8(offset + i) : 0
      value += byte * 2 ** (8 * i)
    }
    return value
  }

  #makeConfig(): DataView {
    const config = new DataView(new ArrayBuffer(spec.VIRTIO_BLK_CFG_BYTES))
    config.setBigUint64(spec.VIRTIO_BLK_CFG_CAPACITY, this.#capacitySectors, true)
    config.setUint32(spec.VIRTIO_BLK_CFG_SIZE_MAX, this.#options.sizeMax, true)
    config.setUint32(spec.VIRTIO_BLK_CFG_SEG_MAX, this.#options.segMax, true)
    config.setUint32(spec.VIRTIO_BLK_CFG_BLK_SIZE, this.#options.blockSize, true)
    return config
  }

  /** Rule 27. Before DRIVER_OK there is nobody to tell. */
  setCapacity(bytes: number): void {
    this.#capacitySectors = BigInt(Math.floor(bytes / spec.VIRTIO_BLK_SECTOR_BYTES))
    this.#config = this.#makeConfig()
    this.#generation += 1
    if (this.#deviceIsLive()) this.#raise(spec.VIRTIO_MMIO_INT_CONFIG)
  }

  // --- status machine (rule 2), reset (rule 6) ---

  #advanceStatus(value: number): void {
    const current = this.#status
    if ((current & ~value) !== 0) return
    const added = (value & ~current) >>> 0
    const allowed =
      added === spec.VIRTIO_CONFIG_S_FAILED ||
      (added === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE && current === 0) ||
      (added === spec.VIRTIO_CONFIG_S_DRIVER && current === ACK) ||
      (added === spec.VIRTIO_CONFIG_S_FEATURES_OK && current === DRIVER && this.#featuresAreAcceptable()) ||
      (added === spec.VIRTIO_CONFIG_S_DRIVER_OK && current === FEATURES_OK)
    if (!allowed) return
    this.#status = current | added
    if (added === spec.VIRTIO_CONFIG_S_DRIVER_OK && this.#queue.ready) this.#drain()
  }

  #featuresAreAcceptable(): boolean {
    return this.#has(spec.VIRTIO_F_VERSION_1) && (this.#accepted() & ~this.#offered()) === 0n
  }

  #reset(): void {
    this.#status = 0
    this.#interruptStatus = 0
    this.#deviceFeaturesSel = 0
    this.#driverFeaturesSel = 0
    this.#queueSel = 0
    this.#driverFeatures = [0, 0, 0, 0]
    this.#queue = this.#newQueue()
    this.#endStall()
    this.#generation += 1
    this.#count('resets')
  }

  // --- notifications ---

  #deviceIsLive(): boolean {
    const broken = spec.VIRTIO_CONFIG_S_NEEDS_RESET | spec.VIRTIO_CONFIG_S_FAILED
    return (this.#status & spec.VIRTIO_CONFIG_S_DRIVER_OK) !== 0 && (this.#status & broken) === 0
  }

  #queueIsLive(): boolean {
    return this.#deviceIsLive() && this.#queue.ready
  }

  #kick(value: number): void {
    const served = value === 0 && this.#queueIsLive()
    this.#count(served ? 'kicks' : 'ignoredKicks')
    const waiting = this.#stall !== undefined && BigInt(this.#options.clock()) < this.#stall.since + this.#stall.wait
    if (served && !waiting) this.#drain()
  }

  /** The timer's entry: tries whether or not the wait is over. */
  poll(): ModelPoll {
    if (!this.#queueIsLive()) return 'idle'
    this.#drain()
    return this.#stall === undefined ? 'idle' : { stalledNanos: Number(this.#stall.wait) }
  }

  #raise(interruptBit: number): void {
    this.#interruptStatus |= interruptBit
    this.#count('interrupts')
  }

  /** Rule 7. */
  #needsReset(): void {
    this.#status |= spec.VIRTIO_CONFIG_S_NEEDS_RESET
    this.#raise(spec.VIRTIO_MMIO_INT_CONFIG)
  }

  // --- the drain (rules 4, 16, 17, 18) ---

  #drain(): void {
    const queue = this.#queue
    const eventIdx = this.#has(spec.VIRTIO_F_EVENT_IDX)
    this.#count('drains')
    this.#countStalledTime()
    this.#endStall()
    const finished: UsedElement[] = []
    const intact = this.#consume(finished, eventIdx)
    if (finished.length > 0) this.#publish(finished, eventIdx)
    // A poisoned queue asks for no more kicks: it leaves the drain without enabling notifications again.
    if (!intact) return
    if (eventIdx) this.memory.writeU16(queue.used + 4n + 8n * BigInt(queue.size), queue.nextAvail)
    // With EVENT_IDX flags stays 0, whatever a driver has left there (2.7.10.2).
    if (!eventIdx || !queue.flagged) this.memory.writeU16(queue.used, 0)
    queue.flagged = true
  }

  /** Takes what the driver offered, in order; false if the ring turned out to be broken. */
  #consume(finished: UsedElement[], eventIdx: boolean): boolean {
    const queue = this.#queue
    const availIdx = this.memory.readU16(queue.avail + 2n)
    if (availIdx === undefined) return this.#poison('ringFaults')
    const pending = (availIdx - queue.nextAvail) & MASK16
    if (pending > queue.size) return this.#poison('invalidAvailIdx')
    if (!eventIdx) this.memory.writeU16(queue.used, spec.VIRTQ_USED_F_NO_NOTIFY)
    for (let i = 0; i < pending; i++) {
      const slot = BigInt(queue.nextAvail % queue.size)
      const head = this.memory.readU16(queue.avail + 4n + 2n * slot)
      queue.nextAvail = (queue.nextAvail + 1) & MASK16
      // In flight: taken, and its used element not yet published.
      if (head === undefined || finished.some((element) => element.head === head)) return this.#poison('ringFaults')
      const len = this.#serve(head)
      if (len === 'poison') return false
      if (len === 'stall') {
        queue.nextAvail = (queue.nextAvail - 1) & MASK16
        return true
      }
      finished.push({ head, len })
    }
    return true
  }

  /** One chain from head to status byte. The answer is its used length. */
  #serve(head: number): bigint | 'stall' | 'poison' {
    const chain = walkChain(this.memory, this.#queue.desc, this.#queue.size, head)
    if (chain === undefined) {
      this.#poison('ringFaults')
      return 'poison'
    }
    if (chain.status === undefined || !this.memory.contains(chain.status, 1n)) {
      this.#poison('ringFaults', 'statusWriteFailures')
      return 'poison'
    }
    const plan = planRequest(this.memory, chain, this.#capacitySectors, this.#options)
    if (plan.kind === 'run' && !this.#takeTokens(plan.bytes)) return 'stall'
    const writeThrough = !this.#has(spec.VIRTIO_BLK_F_FLUSH)
    const outcome = plan.kind === 'run' ? execute(this.memory, this.#options, plan, writeThrough) : plan
    for (const [name, amount] of Object.entries(outcome.counts)) this.#count(name, amount)
    this.memory.write(chain.status, Uint8Array.of(outcome.status))
    // A request that did not fill its data part may claim nothing of it, so the status byte after it does not count.
    const failed = outcome.status !== spec.VIRTIO_BLK_S_OK
    return failed ? (chain.dataInBytes === 0n ? 1n : 0n) : outcome.usedLen
  }

  #poison(...counters: string[]): false {
    for (const name of counters) this.#count(name)
    this.#needsReset()
    return false
  }

  /** Rule 18: one store of used.idx, one decision. */
  #publish(finished: readonly UsedElement[], eventIdx: boolean): void {
    const queue = this.#queue
    const old = queue.usedIdx
    for (const { head, len } of finished) {
      const element = queue.used + 4n + 8n * BigInt(queue.usedIdx % queue.size)
      this.memory.writeU32(element, head)
      this.memory.writeU32(element + 4n, Number(len))
      queue.usedIdx = (queue.usedIdx + 1) & MASK16
    }
    this.memory.writeU16(queue.used + 2n, queue.usedIdx)
    this.#interruptStatus |= spec.VIRTIO_MMIO_INT_VRING
    if (this.#wantsInterrupt(old, eventIdx)) this.#raise(spec.VIRTIO_MMIO_INT_VRING)
    else this.#count('suppressedInterrupts')
  }

  #wantsInterrupt(old: number, eventIdx: boolean): boolean {
    const queue = this.#queue
    if (!eventIdx) return ((this.memory.readU16(queue.avail) ?? 0) & spec.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const usedEvent = this.memory.readU16(queue.avail + 4n + 2n * BigInt(queue.size))
    if (usedEvent === undefined) return true
    return ((queue.usedIdx - usedEvent - 1) & MASK16) < ((queue.usedIdx - old) & MASK16)
  }

  // --- throttle (rules 19 to 23) ---

  /** Both buckets are asked before either is charged. */
  #takeTokens(bytes: bigint): boolean {
    const now = this.#options.clock()
    const opsWait = this.#ops.wait(1n, now)
    const bytesWait = this.#bytes.wait(bytes, now)
    if (opsWait === 0n && bytesWait === 0n) {
      this.#ops.take(1n)
      this.#bytes.take(bytes)
      return true
    }
    // At least 1 ns, because one of the two is.
    let wait = opsWait
    if (bytesWait > wait) wait = bytesWait
    if (wait > WAIT_MAX) wait = WAIT_MAX
    this.#stall = { since: BigInt(now), wait }
    this.#count('throttledCount')
    this.counters.currentlyThrottled = 1n
    return false
  }

  /** Rule 23: up to now, as the head is looked at again, however that ends. */
  #countStalledTime(): void {
    if (this.#stall === undefined) return
    const elapsed = BigInt(this.#options.clock()) - this.#stall.since
    if (elapsed > 0n) this.#count('throttledNanos', elapsed)
  }

  /** The head is looked at anew, or never again. */
  #endStall(): void {
    this.#stall = undefined
    this.counters.currentlyThrottled = 0n
  }

  #count(name: string, amount = 1n): void {
    const before = this.counters[name]
    if (before === undefined) throw new Error(`model: no counter ${name}`)
    this.counters[name] = before + amount
  }
}
