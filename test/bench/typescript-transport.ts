// The register window of the plain TypeScript device (typescript-device.ts): status machine, features, queue set-up
// and config space of the contract, without BigInt. Off the hot path: a drain only looks at `isLive`, `eventIdx` and
// the queue's addresses. Register widths are the caller's affair: every access here is one of 4 bytes.

import * as spec from '../../assembly/spec.ts'
import type { Limits, Ram } from './typescript-chain.ts'

/** What a register write asks its caller to do. */
export const EFFECT_NONE = 0
export const EFFECT_DRAIN = 1
export const EFFECT_KICK = 2
export const EFFECT_IGNORED_KICK = 3
export const EFFECT_RESET = 4
export const EFFECT_QUEUE_OFF = 5

const HIGH = 2 ** 32
const ALL_ONES = 0xffffffff
const ACK = spec.VIRTIO_CONFIG_S_ACKNOWLEDGE
const DRIVER = ACK | spec.VIRTIO_CONFIG_S_DRIVER
const CONFIGURABLE = DRIVER | spec.VIRTIO_CONFIG_S_FEATURES_OK
const BROKEN = spec.VIRTIO_CONFIG_S_NEEDS_RESET | spec.VIRTIO_CONFIG_S_FAILED
const OFFERED_LOW =
  (1 << spec.VIRTIO_BLK_F_SIZE_MAX) |
  (1 << spec.VIRTIO_BLK_F_SEG_MAX) |
  (1 << spec.VIRTIO_BLK_F_BLK_SIZE) |
  (1 << spec.VIRTIO_BLK_F_FLUSH) |
  (1 << spec.VIRTIO_F_EVENT_IDX)

/** Descriptor table, avail ring or used ring: its guest address, and where it is in the buffer. */
export class RingPart {
  low = 0
  high = 0
  gpa = 0
  /** -1 while unknown, and for a part that spans two regions */
  ptr = -1

  /** Notes the address if all of the part is RAM and it is aligned. */
  settle(ram: Ram, align: number, bytes: number): boolean {
    this.gpa = this.low + this.high * HIGH
    this.ptr = ram.translate(this.gpa, bytes)
    return this.low % align === 0 && ram.contains(this.gpa, bytes)
  }
}

export class Queue {
  size: number
  ready = false
  frozen = false
  readonly desc = new RingPart()
  readonly avail = new RingPart()
  readonly used = new RingPart()
  nextAvail = 0
  nextUsed = 0
  /** used.flags has been written once */
  flagged = false
  /** used.idx as the driver knows it */
  publishedUsed = 0

  constructor(size: number) {
    this.size = size
  }

  settle(ram: Ram, sizeMax: number): boolean {
    const { size } = this
    if (size === 0 || size > sizeMax || (size & (size - 1)) !== 0) return false
    const desc = this.desc.settle(ram, spec.VIRTQ_DESC_ALIGN, size * spec.VIRTQ_DESC_BYTES)
    const avail = this.avail.settle(ram, spec.VIRTQ_AVAIL_ALIGN, 6 + size * spec.VIRTQ_AVAIL_ELEM_BYTES)
    const used = this.used.settle(ram, spec.VIRTQ_USED_ALIGN, 6 + size * spec.VIRTQ_USED_ELEM_BYTES)
    return desc && avail && used
  }
}

export class Transport {
  queue: Queue
  status = 0
  interruptStatus = 0
  capacitySectors: number
  configGeneration = 0
  readonly #ram: Ram
  readonly #limits: Limits
  readonly #queueSizeMax: number
  #deviceFeaturesSel = 0
  #driverFeaturesSel = 0
  #queueSel = 0
  #driverFeatures = [0, 0, 0, 0]

  constructor(ram: Ram, limits: Limits, queueSizeMax: number, capacitySectors: number) {
    this.#ram = ram
    this.#limits = limits
    this.#queueSizeMax = queueSizeMax
    this.capacitySectors = capacitySectors
    this.queue = new Queue(queueSizeMax)
  }

  get deviceIsLive(): boolean {
    return (this.status & (BROKEN | spec.VIRTIO_CONFIG_S_DRIVER_OK)) === spec.VIRTIO_CONFIG_S_DRIVER_OK
  }

  get isLive(): boolean {
    return this.deviceIsLive && this.queue.ready
  }

  get eventIdx(): boolean {
    return ((this.#driverFeatures[0] as number) & (1 << spec.VIRTIO_F_EVENT_IDX)) !== 0
  }

  /** The driver never flushes, so a write is durable before it is answered. */
  get writeThrough(): boolean {
    return ((this.#driverFeatures[0] as number) & (1 << spec.VIRTIO_BLK_F_FLUSH)) === 0
  }

  get #offered(): number[] {
    return [this.#limits.readOnly ? OFFERED_LOW | (1 << spec.VIRTIO_BLK_F_RO) : OFFERED_LOW, 1, 0, 0]
  }

  read(offset: number): number {
    switch (offset) {
      case spec.VIRTIO_MMIO_MAGIC_VALUE:
        return spec.VIRTIO_MMIO_MAGIC
      case spec.VIRTIO_MMIO_VERSION:
        return spec.VIRTIO_MMIO_VERSION_2
      case spec.VIRTIO_MMIO_DEVICE_ID:
        return spec.VIRTIO_ID_BLOCK
      case spec.VIRTIO_MMIO_DEVICE_FEATURES:
        return this.#offered[this.#deviceFeaturesSel] ?? 0
      case spec.VIRTIO_MMIO_QUEUE_SIZE_MAX:
        return this.#queueSel === 0 ? this.#queueSizeMax : 0
      case spec.VIRTIO_MMIO_QUEUE_READY:
        return this.#queueSel === 0 && this.queue.ready ? 1 : 0
      case spec.VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.interruptStatus
      case spec.VIRTIO_MMIO_STATUS:
        return this.status
      case spec.VIRTIO_MMIO_CONFIG_GENERATION:
        return this.configGeneration
      case spec.VIRTIO_MMIO_SHM_LEN_LOW:
      case spec.VIRTIO_MMIO_SHM_LEN_HIGH:
      case spec.VIRTIO_MMIO_SHM_BASE_LOW:
      case spec.VIRTIO_MMIO_SHM_BASE_HIGH:
        return ALL_ONES
      case spec.VIRTIO_MMIO_CONFIG + spec.VIRTIO_BLK_CFG_CAPACITY:
        return this.capacitySectors % HIGH
      case spec.VIRTIO_MMIO_CONFIG + spec.VIRTIO_BLK_CFG_CAPACITY + 4:
        return Math.floor(this.capacitySectors / HIGH)
      case spec.VIRTIO_MMIO_CONFIG + spec.VIRTIO_BLK_CFG_SIZE_MAX:
        return this.#limits.sizeMax
      case spec.VIRTIO_MMIO_CONFIG + spec.VIRTIO_BLK_CFG_SEG_MAX:
        return this.#limits.segMax
      case spec.VIRTIO_MMIO_CONFIG + spec.VIRTIO_BLK_CFG_BLK_SIZE:
        return this.#limits.blockSize
      default:
        return 0
    }
  }

  /** Returns an effect. */
  write(offset: number, value: number): number {
    switch (offset) {
      case spec.VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeaturesSel = value
        return EFFECT_NONE
      case spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeaturesSel = value
        return EFFECT_NONE
      case spec.VIRTIO_MMIO_DRIVER_FEATURES:
        if ((this.status & CONFIGURABLE) === DRIVER && this.#driverFeaturesSel < 4) {
          this.#driverFeatures[this.#driverFeaturesSel] = value
        }
        return EFFECT_NONE
      case spec.VIRTIO_MMIO_QUEUE_SEL:
        this.#queueSel = value
        return EFFECT_NONE
      case spec.VIRTIO_MMIO_QUEUE_READY:
        return this.#writeReady(value)
      case spec.VIRTIO_MMIO_QUEUE_NOTIFY:
        return value === 0 && this.isLive ? EFFECT_KICK : EFFECT_IGNORED_KICK
      case spec.VIRTIO_MMIO_INTERRUPT_ACK:
        this.interruptStatus &= ~value
        return EFFECT_NONE
      case spec.VIRTIO_MMIO_STATUS:
        return value === 0 ? this.#reset() : this.#advanceStatus(value)
      default:
        this.#writeQueue(offset, value)
        return EFFECT_NONE
    }
  }

  get #queueIsConfigurable(): boolean {
    const gate = CONFIGURABLE | spec.VIRTIO_CONFIG_S_DRIVER_OK
    return (this.status & gate) === CONFIGURABLE && this.#queueSel === 0
  }

  #writeReady(value: number): number {
    if (this.#queueSel !== 0) return EFFECT_NONE
    if (value !== 1) {
      this.queue.ready = false
      return EFFECT_QUEUE_OFF
    }
    if (!this.#queueIsConfigurable) return EFFECT_NONE
    this.queue.ready = this.queue.settle(this.#ram, this.#queueSizeMax)
    if (this.queue.ready) this.queue.frozen = true
    return EFFECT_NONE
  }

  #writeQueue(offset: number, value: number): void {
    const { queue } = this
    if (!this.#queueIsConfigurable || queue.frozen) return
    if (offset === spec.VIRTIO_MMIO_QUEUE_SIZE) queue.size = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_LOW) queue.desc.low = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DESC_HIGH) queue.desc.high = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW) queue.avail.low = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DRIVER_HIGH) queue.avail.high = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW) queue.used.low = value
    if (offset === spec.VIRTIO_MMIO_QUEUE_DEVICE_HIGH) queue.used.high = value
  }

  #advanceStatus(value: number): number {
    const { status } = this
    if ((status & ~value) !== 0) return EFFECT_NONE
    const added = (value & ~status) >>> 0
    const allowed =
      added === spec.VIRTIO_CONFIG_S_FAILED ||
      (added === ACK && status === 0) ||
      (added === spec.VIRTIO_CONFIG_S_DRIVER && status === ACK) ||
      (added === spec.VIRTIO_CONFIG_S_FEATURES_OK && status === DRIVER && this.#featuresAreAcceptable()) ||
      (added === spec.VIRTIO_CONFIG_S_DRIVER_OK && status === CONFIGURABLE)
    if (!allowed) return EFFECT_NONE
    this.status |= added
    return added === spec.VIRTIO_CONFIG_S_DRIVER_OK && this.queue.ready ? EFFECT_DRAIN : EFFECT_NONE
  }

  #featuresAreAcceptable(): boolean {
    const offered = this.#offered
    const subset = this.#driverFeatures.every((word, i) => (word & ~(offered[i] as number)) === 0)
    return subset && this.#driverFeatures[1] === 1
  }

  #reset(): number {
    this.status = 0
    this.interruptStatus = 0
    this.configGeneration += 1
    this.#deviceFeaturesSel = 0
    this.#driverFeaturesSel = 0
    this.#queueSel = 0
    this.#driverFeatures = [0, 0, 0, 0]
    this.queue = new Queue(this.#queueSizeMax)
    return EFFECT_RESET
  }
}
