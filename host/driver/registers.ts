// The registers of a virtio-mmio device, version 2 (4.2.2), from the driver's side: raw access of any width at any
// offset, and names for what a driver does with them. Used by the polite driver and by hostile tests alike.
//
// Checks nothing, retries nothing, remembers nothing: each call is the register accesses that its docstring says.

import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_SIZE,
  VIRTIO_MMIO_QUEUE_SIZE_MAX,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VERSION,
} from '../../assembly/spec.ts'
import type { Address, MmioBus } from './types.ts'

const WORD_BITS = 32
/** words that carry the features a driver of today may know: bits 0..63 */
const FEATURE_WORDS = 2

export class Registers {
  readonly mmio: MmioBus

  constructor(mmio: MmioBus) {
    this.mmio = mmio
  }

  /** One access of `width` bytes; the value exactly as the device gave it. */
  read(offset: number, width = 4): number {
    return this.mmio.mmioRead(offset, width)
  }

  /** One access of `width` bytes; the value goes out as given. */
  write(offset: number, value: number, width = 4): void {
    this.mmio.mmioWrite(offset, width, value)
  }

  get magic(): number {
    return this.read(VIRTIO_MMIO_MAGIC_VALUE)
  }

  get version(): number {
    return this.read(VIRTIO_MMIO_VERSION)
  }

  get deviceId(): number {
    return this.read(VIRTIO_MMIO_DEVICE_ID)
  }

  /** Status (2.1). Setting it is one write of exactly that value; 0 resets. */
  get status(): number {
    return this.read(VIRTIO_MMIO_STATUS)
  }

  set status(value: number) {
    this.write(VIRTIO_MMIO_STATUS, value)
  }

  get interruptStatus(): number {
    return this.read(VIRTIO_MMIO_INTERRUPT_STATUS)
  }

  /** Clears the given bits of InterruptStatus. */
  interruptAck(bits: number): void {
    this.write(VIRTIO_MMIO_INTERRUPT_ACK, bits)
  }

  /** The 32 offered feature bits of one word: selector write, then read. */
  featureWord(word: number): number {
    this.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, word)
    return this.read(VIRTIO_MMIO_DEVICE_FEATURES)
  }

  /** The 32 accepted feature bits of one word: selector write, then write. */
  setFeatureWord(word: number, bits: number): void {
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word)
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, bits)
  }

  /** The bit numbers offered in the first `words` words. */
  offeredFeatures(words = FEATURE_WORDS): Set<number> {
    const offered = new Set<number>()
    for (let word = 0; word < words; word++) {
      const bits = this.featureWord(word)
      for (let bit = 0; bit < WORD_BITS; bit++) {
        if ((bits >>> bit) & 1) offered.add(word * WORD_BITS + bit)
      }
    }
    return offered
  }

  /** Writes these bit numbers: words 0 and 1 always, further words as needed. */
  acceptFeatures(features: Iterable<number>): void {
    const words = new Array<number>(FEATURE_WORDS).fill(0)
    for (const feature of features) {
      const word = Math.floor(feature / WORD_BITS)
      while (words.length <= word) words.push(0)
      words[word] = ((words[word] ?? 0) | (1 << (feature % WORD_BITS))) >>> 0
    }
    words.forEach((bits, word) => {
      this.setFeatureWord(word, bits)
    })
  }

  /** QueueSel: all queue registers below act on that queue afterwards. */
  selectQueue(queue: number): void {
    this.write(VIRTIO_MMIO_QUEUE_SEL, queue)
  }

  get queueSizeMax(): number {
    return this.read(VIRTIO_MMIO_QUEUE_SIZE_MAX)
  }

  set queueSize(size: number) {
    this.write(VIRTIO_MMIO_QUEUE_SIZE, size)
  }

  get queueReady(): number {
    return this.read(VIRTIO_MMIO_QUEUE_READY)
  }

  set queueReady(value: number) {
    this.write(VIRTIO_MMIO_QUEUE_READY, value)
  }

  /** Low word, then high word, of each of the three ring addresses of the selected queue. */
  setQueueAddresses(desc: Address, avail: Address, used: Address): void {
    this.#write64(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, desc)
    this.#write64(VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DRIVER_HIGH, avail)
    this.#write64(VIRTIO_MMIO_QUEUE_DEVICE_LOW, VIRTIO_MMIO_QUEUE_DEVICE_HIGH, used)
  }

  /** QueueNotify, with any value. */
  notify(value: number): void {
    this.write(VIRTIO_MMIO_QUEUE_NOTIFY, value)
  }

  get configGeneration(): number {
    return this.read(VIRTIO_MMIO_CONFIG_GENERATION)
  }

  /** One access to the configuration space, `offset` from its start. */
  config(offset: number, width = 4): number {
    return this.read(VIRTIO_MMIO_CONFIG + offset, width)
  }

  setConfig(offset: number, value: number, width = 4): void {
    this.write(VIRTIO_MMIO_CONFIG + offset, value, width)
  }

  /** A 64-bit configuration field as two 32-bit reads, low word first. Torn unless inside a generation loop. */
  config64(offset: number): bigint {
    const low = this.config(offset)
    return BigInt(low) | (BigInt(this.config(offset + 4)) << 32n)
  }

  #write64(low: number, high: number, value: Address): void {
    const bits = BigInt.asUintN(64, BigInt(value))
    this.write(low, Number(bits & 0xffff_ffffn))
    this.write(high, Number(bits >> 32n))
  }
}
