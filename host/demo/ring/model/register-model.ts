// The registers of the device as register writes, resets and faults change them: rules 1 to 7 of CONTRACT.md once more,
// for a picture. A test holds it against the engine, step by step, on every golden trace. Portable.

import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import { decodeSnapshot } from '../../../device/snapshot.ts'
import type { InitConfig } from '../../../replay/step.ts'

export interface QueueModel {
  size: number
  ready: boolean
  frozen: boolean
  stalled: boolean
  desc: bigint
  avail: bigint
  used: bigint
  nextAvail: number
  nextUsed: number
  usedIdx: number
  /** used.idx before the last publish */
  usedIdxBefore: number
}

type Region = InitConfig['regions'][number]

export class RegisterModel {
  status = 0
  interruptStatus = 0
  configGeneration = 0
  deviceFeaturesSel = 0
  driverFeaturesSel = 0
  queueSel = 0
  driverFeatures: number[] = [0, 0, 0, 0]
  deviceFeatures = 0n
  capacitySectors = 0
  queueSizeMax = 0
  fault = 0
  queues: QueueModel[] = []
  regions: readonly Region[] = []

  copy(): RegisterModel {
    const other = Object.assign(new RegisterModel(), this)
    other.driverFeatures = [...this.driverFeatures]
    other.queues = this.queues.map((queue) => ({ ...queue }))
    return other
  }

  init({ words, regions }: InitConfig): void {
    const [low = 0, high = 0, capacity = 0, above = 0, queues = 0, queueSizeMax = 0] = words
    this.deviceFeatures = (BigInt(high) << 32n) | BigInt(low)
    this.capacitySectors = above * 2 ** 32 + capacity
    this.queueSizeMax = queueSizeMax
    this.regions = regions
    this.queues = Array.from({ length: queues }, () => resetQueue(queueSizeMax))
  }

  get isLive(): boolean {
    const judged = spec.VIRTIO_CONFIG_S_DRIVER_OK | spec.VIRTIO_CONFIG_S_FAILED | spec.VIRTIO_CONFIG_S_NEEDS_RESET
    return (this.status & judged) === spec.VIRTIO_CONFIG_S_DRIVER_OK
  }

  get eventIdx(): boolean {
    return this.isNegotiated(spec.VIRTIO_F_EVENT_IDX)
  }

  isNegotiated(feature: number): boolean {
    return (this.status & spec.VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && this.isAccepted(feature)
  }

  isAccepted(feature: number): boolean {
    return (((this.driverFeatures[feature >>> 5] ?? 0) >>> (feature & 31)) & 1) !== 0
  }

  /** What a register write does. True: it was a reset. */
  write(offset: number, width: number, value: number): boolean {
    if (offset >= spec.VIRTIO_MMIO_CONFIG || width !== 4) return false
    if (offset === spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL) this.deviceFeaturesSel = value
    else if (offset === spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL) this.driverFeaturesSel = value
    else if (offset === spec.VIRTIO_MMIO_DRIVER_FEATURES) this.#writeFeatures(value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_SEL) this.queueSel = value
    else if (offset === spec.VIRTIO_MMIO_INTERRUPT_ACK) this.interruptStatus = (this.interruptStatus & ~value) >>> 0
    else if (offset === spec.VIRTIO_MMIO_STATUS && value === 0) this.#reset()
    else if (offset === spec.VIRTIO_MMIO_STATUS) this.#writeStatus(value)
    else if (offset !== spec.VIRTIO_MMIO_QUEUE_NOTIFY) {
      const queue = this.queues[this.queueSel]
      if (queue) this.#writeQueue(queue, offset, value)
    }
    return offset === spec.VIRTIO_MMIO_STATUS && value === 0
  }

  #writeFeatures(value: number): void {
    const isOpen =
      (this.status & spec.VIRTIO_CONFIG_S_DRIVER) !== 0 && (this.status & spec.VIRTIO_CONFIG_S_FEATURES_OK) === 0
    if (isOpen && this.driverFeaturesSel < this.driverFeatures.length) {
      this.driverFeatures[this.driverFeaturesSel] = value
    }
  }

  #writeStatus(value: number): void {
    const added = value & ~this.status
    if ((this.status & ~value) === 0 && this.#isAllowed(added)) this.status = value
  }

  #isAllowed(added: number): boolean {
    const { status } = this
    const driver = spec.VIRTIO_CONFIG_S_ACKNOWLEDGE + spec.VIRTIO_CONFIG_S_DRIVER
    if (added === spec.VIRTIO_CONFIG_S_FAILED) return true
    if (added === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE) return status === 0
    if (added === spec.VIRTIO_CONFIG_S_DRIVER) return status === spec.VIRTIO_CONFIG_S_ACKNOWLEDGE
    if (added === spec.VIRTIO_CONFIG_S_FEATURES_OK) return status === driver && this.#areFeaturesFine()
    if (added === spec.VIRTIO_CONFIG_S_DRIVER_OK) return status === driver + spec.VIRTIO_CONFIG_S_FEATURES_OK
    return false
  }

  #areFeaturesFine(): boolean {
    const [low = 0, high = 0, ...rest] = this.driverFeatures
    const wanted = (BigInt(high) << 32n) | BigInt(low)
    const isSubset = (wanted & ~this.deviceFeatures) === 0n
    return this.isAccepted(spec.VIRTIO_F_VERSION_1) && isSubset && rest.every((word) => word === 0)
  }

  #writeQueue(queue: QueueModel, offset: number, value: number): void {
    const isOpen =
      (this.status & spec.VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && (this.status & spec.VIRTIO_CONFIG_S_DRIVER_OK) === 0
    if (offset === spec.VIRTIO_MMIO_QUEUE_READY) {
      if (value !== 1) stopQueue(queue)
      else if (isOpen && !queue.ready && this.#isRingFine(queue)) {
        queue.ready = true
        queue.frozen = true
      }
      return
    }
    if (!isOpen || queue.frozen) return
    if (offset === spec.VIRTIO_MMIO_QUEUE_SIZE) queue.size = value
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_LOW) queue.desc = withLow(queue.desc, value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_HIGH) queue.desc = withHigh(queue.desc, value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW) queue.avail = withLow(queue.avail, value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH) queue.avail = withHigh(queue.avail, value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW) queue.used = withLow(queue.used, value)
    else if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH) queue.used = withHigh(queue.used, value)
  }

  #isRingFine({ size, desc, avail, used }: QueueModel): boolean {
    if (size === 0 || size > this.queueSizeMax || (size & (size - 1)) !== 0) return false
    const parts: readonly (readonly [gpa: bigint, align: number, bytes: number])[] = [
      [desc, spec.VIRTQ_DESC_ALIGN, spec.VIRTQ_DESC_BYTES * size],
      [avail, spec.VIRTQ_AVAIL_ALIGN, spec.VIRTQ_AVAIL_RING + spec.VIRTQ_AVAIL_ELEM_BYTES * size + 2],
      [used, spec.VIRTQ_USED_ALIGN, spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * size + 2],
    ]
    return parts.every(([gpa, align, bytes]) => gpa % BigInt(align) === 0n && this.isRam(gpa, bytes))
  }

  /** Wholly in guest RAM; across regions that touch, too. */
  isRam(gpa: bigint, bytes: number): boolean {
    const end = gpa + BigInt(bytes)
    for (let at = gpa; at < end; ) {
      const here = at
      const region = this.regions.find((each) => BigInt(each.gpa) <= here && here < BigInt(each.gpa + each.bytes))
      if (region === undefined) return false
      at = BigInt(region.gpa + region.bytes)
    }
    return true
  }

  #reset(): void {
    for (const queue of this.queues) Object.assign(queue, resetQueue(this.queueSizeMax))
    this.status = 0
    this.interruptStatus = 0
    this.configGeneration = (this.configGeneration + 1) >>> 0
    this.deviceFeaturesSel = 0
    this.driverFeaturesSel = 0
    this.queueSel = 0
    this.driverFeatures = [0, 0, 0, 0]
    this.fault = 0
  }

  /** Rule 7: NEEDS_RESET, and the CONFIG bit the first time. */
  end(): void {
    if ((this.status & spec.VIRTIO_CONFIG_S_NEEDS_RESET) === 0) this.interruptStatus |= spec.VIRTIO_MMIO_INT_CONFIG
    this.status |= spec.VIRTIO_CONFIG_S_NEEDS_RESET
  }

  fail(cause: number): void {
    const isUp = (this.status & spec.VIRTIO_CONFIG_S_DRIVER_OK) !== 0
    if (cause === abi.FAIL_QUIETLY || (cause === abi.FAIL_WORKER && !isUp)) {
      this.status |= spec.VIRTIO_CONFIG_S_NEEDS_RESET
    } else this.end()
  }

  setCapacity(low: number, high: number): void {
    this.capacitySectors = high * 2 ** 32 + low
    this.configGeneration = (this.configGeneration + 1) >>> 0
    if (this.isLive) this.interruptStatus |= spec.VIRTIO_MMIO_INT_CONFIG
  }

  /** The counters are in the step. Throws SnapshotError for what no recorder writes. */
  thaw(bytes: Uint8Array): void {
    const { device, queues } = decodeSnapshot(bytes)
    const number = (name: string): number => Number(device[name])
    this.status = number('status')
    this.interruptStatus = number('interruptStatus')
    this.configGeneration = number('configGeneration')
    this.deviceFeaturesSel = number('deviceFeaturesSel')
    this.driverFeaturesSel = number('driverFeaturesSel')
    this.queueSel = number('queueSel')
    this.driverFeatures = [0, 1, 2, 3].map((i) => number(`driverFeatures${i}`))
    this.fault = number('fault')
    queues.forEach((from, i) => {
      const queue = this.queues[i]
      if (queue === undefined) return
      const value = (name: string): number => Number(from[name])
      queue.size = value('size')
      queue.ready = value('ready') === 1
      queue.frozen = value('frozen') === 1
      queue.stalled = value('stalled') === 1
      queue.desc = from.descGpa ?? 0n
      queue.avail = from.availGpa ?? 0n
      queue.used = from.usedGpa ?? 0n
      queue.nextAvail = value('nextAvail')
      queue.nextUsed = value('nextUsed')
      queue.usedIdx = value('nextUsed')
      queue.usedIdxBefore = queue.usedIdx
    })
  }
}

const LOW = 0xffffffffn

function withLow(address: bigint, half: number): bigint {
  return (address & ~LOW) | BigInt(half)
}

function withHigh(address: bigint, half: number): bigint {
  return (address & LOW) | (BigInt(half) << 32n)
}

function resetQueue(size: number): QueueModel {
  return {
    size,
    ready: false,
    frozen: false,
    stalled: false,
    desc: 0n,
    avail: 0n,
    used: 0n,
    nextAvail: 0,
    nextUsed: 0,
    usedIdx: 0,
    usedIdxBefore: 0,
  }
}

function stopQueue(queue: QueueModel): void {
  if (!queue.ready) return
  queue.ready = false
  queue.usedIdx = queue.nextUsed
  queue.stalled = false
}
