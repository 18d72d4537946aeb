// Two devices over two equal guest memories and disks, and one driver that does everything to both: it negotiates,
// places chains, moves the clock, and after each step compares whatever the guest or the host can see. One of the two
// is the model (model.ts); the other is anything with the same surface. What is done comes from chains.ts.
//
// Buffers of chains that may be served in the same drain never overlap, and no buffer touches a ring: in which order
// two requests of one drain read and write guest memory is no part of the contract.

import * as spec from '../../assembly/spec.ts'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { ChainSpec, Desc, DeviceOptions, Hiccup, Layout, Negotiation, Step } from './chains.ts'
import { type Step as BackendStep, FaultyBackend, repeat } from './faulty-backend.ts'
import { COUNTERS, ModelDevice } from './model.ts'
import type { ModelDisk } from './model-request.ts'
import { Arenas, addressFor, ringAddresses } from './placement.ts'

/** What both devices have in common. Counters may be numbers or bigints. */
export interface Device {
  mmioRead(offset: number, width: 1 | 2 | 4): number
  mmioWrite(offset: number, width: 1 | 2 | 4, value: number): void
  poll(): unknown
  setCapacity(bytes: number): void
  readonly counters: object
}

export interface Surroundings {
  options: DeviceOptions
  backend: BlockBackend
  clock: () => number
  onInterrupt: () => void
}

/** Makes the other device; `ram` are its regions in the order of the layout, to be written by the driver. */
export type MakeDevice = (around: Surroundings) => Promise<{ device: Device; ram: Uint8Array[] }>

interface Outstanding {
  descs: number[]
}

const START_OF_TIME = 1_000_000_000
const END_OF_TIME = 9e15
const STALE = 0xee
/** registers and config space with some of what follows */
const WINDOW = 0x128
const R = spec

/** Bytes that look random and are always the same. */
const NOISE = new Uint8Array(1 << 19)
for (let i = 0, state = 1; i < NOISE.length; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  NOISE[i] = state >>> 24
}

function scripted(step: Hiccup['does']): { data: BackendStep; flush: BackendStep } {
  switch (step) {
    case 'short':
      return { data: { short: 300 }, flush: 'ok' }
    case 'zero':
      return { data: { answer: 0 }, flush: 'ok' }
    case 'eintr':
      return { data: { fail: 'EINTR' }, flush: { fail: 'EINTR' } }
    case 'eio':
      return { data: { fail: 'EIO' }, flush: { fail: 'EIO' } }
    case 'negative':
      return { data: { answer: -1 }, flush: { raise: 'no error object' } }
    case 'nan':
      return { data: { answer: Number.NaN }, flush: { raise: undefined } }
    case 'tooMuch':
      return { data: { answer: 2 ** 33 }, flush: 'ok' }
  }
}

class Side {
  readonly disk: MemoryBackend
  readonly backend: FaultyBackend
  readonly ram: Uint8Array[]
  readonly device: Device
  readonly interrupts: () => number

  constructor(
    disk: MemoryBackend,
    backend: FaultyBackend,
    ram: Uint8Array[],
    device: Device,
    interrupts: () => number,
  ) {
    this.disk = disk
    this.backend = backend
    this.ram = ram
    this.device = device
    this.interrupts = interrupts
  }
}

export class Rig {
  readonly #options: DeviceOptions
  readonly #model: Side
  readonly #other: Side
  readonly #arenas: Arenas
  readonly #clock: { now: number }
  /** chains offered to the devices so far */
  offered = 0
  #rings = { desc: 0, avail: 0, used: 0 }
  #size = 0
  #availIdx = 0
  #seenUsed = 0
  #free: number[] = []
  #outstanding = new Map<number, Outstanding>()

  private constructor(options: DeviceOptions, model: Side, other: Side, clock: { now: number }) {
    this.#options = options
    this.#model = model
    this.#other = other
    this.#clock = clock
    this.#arenas = new Arenas(options.layout)
    for (const [i, { bytes }] of options.layout.regions.entries()) {
      for (const { ram } of this.#sides) ram[i]?.set(NOISE.subarray(i, i + bytes))
    }
  }

  static async create(options: DeviceOptions, make: MakeDevice): Promise<Rig> {
    const clock = { now: START_OF_TIME }
    const disks = [0, 1].map(() => {
      const disk = new MemoryBackend(options.diskBytes)
      disk.bytes.set(NOISE.subarray(99, 99 + disk.bytes.length))
      return { disk, backend: new FaultyBackend(disk) }
    })
    const [mine, others] = disks
    if (!mine || !others) throw new Error('two disks')
    const ram = modelRam(options.layout)
    const regions = options.layout.regions.map(({ gpa }, i) => ({ gpa, bytes: ram[i] ?? new Uint8Array() }))
    const model = new ModelDevice({
      ...options,
      regions,
      disk: mine.backend as ModelDisk,
      capacityBytes: options.diskBytes,
      clock: () => clock.now,
    })
    let interrupts = 0
    const made = await make({
      options,
      backend: others.backend,
      clock: () => clock.now,
      onInterrupt: () => {
        interrupts += 1
      },
    })
    const one = new Side(mine.disk, mine.backend, ram, model, () => Number(model.counters.interrupts))
    const two = new Side(others.disk, others.backend, made.ram, made.device, () => interrupts)
    return new Rig(options, one, two, clock)
  }

  get #sides(): [Side, Side] {
    return [this.#model, this.#other]
  }

  get counters(): ReadonlyMap<string, unknown> {
    return new Map(Object.entries(this.#model.device.counters))
  }

  /** Does one step to both devices and compares. */
  async run(step: Step): Promise<void> {
    switch (step.op) {
      case 'publish':
        if (!this.#isLive()) this.negotiate(step.heal, [], false)
        this.#publish(step.chains)
        if (step.kick) this.#write(R.VIRTIO_MMIO_QUEUE_NOTIFY, 0)
        break
      case 'kick':
        this.#write(R.VIRTIO_MMIO_QUEUE_NOTIFY, step.value)
        break
      case 'poll': {
        this.#advance(step.advance)
        const [expected, actual] = await Promise.all(this.#sides.map(({ device }) => device.poll()))
        same(JSON.stringify(actual), JSON.stringify(expected), 'poll()')
        break
      }
      case 'wait':
        this.#advance(step.advance)
        break
      case 'usedEvent':
        this.#pokeU16(this.#rings.avail + 4 + 2 * this.#size, this.#seenUsed + step.delta)
        break
      case 'availFlags':
        this.#pokeU16(this.#rings.avail, step.value)
        break
      case 'ack':
        this.#write(R.VIRTIO_MMIO_INTERRUPT_ACK, step.value)
        break
      case 'reset':
        this.negotiate(step.negotiation, step.early, step.unready)
        break
      case 'setCapacity':
        for (const { device } of this.#sides) device.setCapacity(step.bytes)
        break
      case 'hiccup':
        for (const { backend } of this.#sides) this.#scriptHiccups(backend, step.hiccups)
        break
      case 'read':
        this.#compareRead(step.offset, step.width)
        break
      case 'write':
        this.#write(step.offset, step.value, step.width)
        break
    }
    this.#collect()
    this.compare()
  }

  /** Nanoseconds are doubles: beyond the end of time they could not tell two moments apart. */
  #advance(nanos: number): void {
    this.#clock.now = Math.min(Math.max(0, this.#clock.now + nanos), END_OF_TIME)
  }

  /** The driver's start-up from reset on, right or wrong as asked for. */
  negotiate(how: Negotiation, early: readonly ChainSpec[], unready: boolean): void {
    this.#write(R.VIRTIO_MMIO_STATUS, 0)
    this.#rings = ringAddresses(this.#options.layout, how)
    this.#size = how.queueSize
    this.#startOver()
    for (const status of [1, 3]) this.#write(R.VIRTIO_MMIO_STATUS, status)
    const words = [0, 1, 0, 0, 0]
    if (how.flush) words[0] = 1 << R.VIRTIO_BLK_F_FLUSH
    if (how.eventIdx) words[0] = (words[0] ?? 0) | (1 << R.VIRTIO_F_EVENT_IDX)
    if (how.extra !== null) words[how.extra >> 5] = ((words[how.extra >> 5] ?? 0) | (1 << (how.extra & 31))) >>> 0
    words.forEach((word, i) => {
      if (word === 0 && i > 1) return
      this.#write(R.VIRTIO_MMIO_DRIVER_FEATURES_SEL, i)
      this.#write(R.VIRTIO_MMIO_DRIVER_FEATURES, word)
    })
    this.#write(R.VIRTIO_MMIO_STATUS, 0x0b)
    this.#write(R.VIRTIO_MMIO_QUEUE_SIZE, how.queueSize)
    const halves: [number, number][] = [
      [R.VIRTIO_MMIO_QUEUE_DESC_LOW, this.#rings.desc],
      [R.VIRTIO_MMIO_QUEUE_DRIVER_LOW, this.#rings.avail],
      [R.VIRTIO_MMIO_QUEUE_DEVICE_LOW, this.#rings.used],
    ]
    for (const [register, address] of halves) {
      this.#write(register, address % 2 ** 32)
      this.#write(register + 4, Math.floor(address / 2 ** 32))
    }
    this.#write(R.VIRTIO_MMIO_QUEUE_READY, 1)
    this.#compareRead(R.VIRTIO_MMIO_QUEUE_READY, 4)
    if (how.tamper === 'again') this.#write(R.VIRTIO_MMIO_QUEUE_READY, 0)
    if (how.tamper !== 'no') {
      this.#write(R.VIRTIO_MMIO_QUEUE_SIZE, 2)
      for (const [register, address] of halves) this.#write(register, (address + 0x40) % 2 ** 32)
    }
    if (how.tamper === 'again') this.#write(R.VIRTIO_MMIO_QUEUE_READY, 1)
    this.#publish(early)
    if (early.length > 0) this.#write(R.VIRTIO_MMIO_QUEUE_NOTIFY, 0)
    this.#write(R.VIRTIO_MMIO_STATUS, 0x0f)
    if (unready) this.#write(R.VIRTIO_MMIO_QUEUE_READY, 0)
  }

  #startOver(): void {
    this.#availIdx = 0
    this.#seenUsed = 0
    this.#outstanding.clear()
    this.#arenas.reset()
    const size = Math.min(this.#size, this.#options.queueSizeMax)
    this.#free = Array.from({ length: size }, (_, i) => i)
    this.#poke(this.#rings.avail, new Uint8Array(6 + 2 * size))
    this.#poke(this.#rings.used, new Uint8Array(6 + 8 * size))
  }

  #isLive(): boolean {
    const { device } = this.#model
    const broken = R.VIRTIO_CONFIG_S_FAILED | R.VIRTIO_CONFIG_S_NEEDS_RESET
    const status = device.mmioRead(R.VIRTIO_MMIO_STATUS, 4)
    return (status & (broken | R.VIRTIO_CONFIG_S_DRIVER_OK)) === R.VIRTIO_CONFIG_S_DRIVER_OK && this.#isReady()
  }

  #isReady(): boolean {
    this.#write(R.VIRTIO_MMIO_QUEUE_SEL, 0)
    return this.#model.device.mmioRead(R.VIRTIO_MMIO_QUEUE_READY, 4) === 1
  }

  // --- chains into guest memory ---

  #publish(chains: readonly ChainSpec[]): void {
    if (!this.#isReady()) return
    for (const chain of chains) {
      if (chain.descs.length === 0 || chain.descs.length > this.#free.length) continue
      if (!this.#arenas.fits(chain.descs.reduce((sum, { len }) => sum + (len > 0xffff ? 64 : len), 0))) continue
      this.#publishOne(chain)
      this.offered += 1
    }
    this.#pokeU16(this.#rings.avail + 2, this.#availIdx)
  }

  #publishOne(chain: ChainSpec): void {
    const descs = this.#free.splice(0, chain.descs.length)
    const head = descs[0] ?? 0
    const addresses = chain.descs.map((desc) => addressFor(desc, this.#options.layout, this.#arenas, this.#rings))
    for (const [i, desc] of chain.descs.entries()) this.#writeDesc(chain, descs, i, addresses[i] ?? 0n, desc)
    this.#prepareBuffers(chain, addresses)
    this.#offer(chain.fault === 'badHead' ? this.#size + head : head)
    if (chain.fault === 'sameHead') this.#offer(head)
    const last = (this.#seenUsed + this.#size) & 0xffff
    if (chain.fault === 'availFull') while (this.#availIdx !== last) this.#offer(head)
    if (chain.fault === 'availJump') this.#availIdx += this.#size + 1
    this.#outstanding.set(head, { descs })
  }

  #offer(head: number): void {
    this.#pokeU16(this.#rings.avail + 4 + 2 * (this.#availIdx % this.#size), head)
    this.#availIdx = (this.#availIdx + 1) & 0xffff
  }

  #writeDesc(chain: ChainSpec, indices: readonly number[], i: number, address: bigint, desc: Desc): void {
    const last = i === indices.length - 1
    let flags = desc.write ? R.VIRTQ_DESC_F_WRITE : 0
    let next = indices[i + 1] ?? 0
    if (!last || chain.fault === 'badNext' || chain.fault === 'loop') flags |= R.VIRTQ_DESC_F_NEXT
    if (last && chain.fault === 'badNext') next = this.#size + i
    if (last && chain.fault === 'loop') next = indices[i >> 1] ?? 0
    if (chain.fault === 'indirect' && i === indices.length >> 1) flags |= R.VIRTQ_DESC_F_INDIRECT
    const bytes = new DataView(new ArrayBuffer(R.VIRTQ_DESC_BYTES))
    bytes.setBigUint64(R.VIRTQ_DESC_ADDR, address, true)
    bytes.setUint32(R.VIRTQ_DESC_LEN, desc.len, true)
    bytes.setUint16(R.VIRTQ_DESC_FLAGS, flags, true)
    bytes.setUint16(R.VIRTQ_DESC_NEXT, next, true)
    this.#poke(this.#rings.desc + R.VIRTQ_DESC_BYTES * (indices[i] ?? 0), new Uint8Array(bytes.buffer))
  }

  /** The header where the readable stream begins, stale bytes wherever the device may write. */
  #prepareBuffers(chain: ChainSpec, addresses: readonly bigint[]): void {
    const header = new DataView(new ArrayBuffer(R.VIRTIO_BLK_REQ_HEADER_BYTES))
    header.setUint32(R.VIRTIO_BLK_REQ_TYPE, chain.type, true)
    header.setUint32(4, 0xdeadbeef, true)
    header.setBigUint64(R.VIRTIO_BLK_REQ_SECTOR, BigInt.asUintN(64, chain.sector), true)
    let rest = new Uint8Array(header.buffer)
    chain.descs.forEach(({ len, write }, i) => {
      const address = Number(addresses[i])
      if (write) {
        this.#poke(address, new Uint8Array(Math.min(len, 0x8000)).fill(STALE))
      } else {
        this.#poke(address, rest.subarray(0, len))
        rest = rest.subarray(Math.min(len, rest.length))
      }
    })
  }

  /** Frees what the used ring gives back, as a driver would. */
  #collect(): void {
    if (this.#size === 0 || this.#size > this.#options.queueSizeMax) return
    const usedIdx = this.#peekU16(this.#rings.used + 2) ?? 0
    this.#adoptUsedOrder(this.#seenUsed, usedIdx)
    for (; this.#seenUsed !== usedIdx; this.#seenUsed = (this.#seenUsed + 1) & 0xffff) {
      const head = this.#peekU16(this.#usedSlot(this.#seenUsed)) ?? 0
      this.#free.push(...(this.#outstanding.get(head)?.descs ?? []))
      this.#outstanding.delete(head)
    }
    if (this.#outstanding.size === 0) this.#arenas.reset()
  }

  /**
   * In which order the requests of one drain come back is the device's choice. If the other device's new used
   * elements are the model's in another order, the model's ring takes that order.
   */
  #adoptUsedOrder(from: number, to: number): void {
    const [mine, others] = this.#sides.map(({ ram }) => {
      const elements: string[] = []
      for (let idx = from; idx !== to; idx = (idx + 1) & 0xffff) elements.push(this.#peek(ram, this.#usedSlot(idx), 8))
      return elements
    })
    if (!mine || !others || mine.toSorted().join() !== others.toSorted().join()) return
    others.forEach((element, i) => {
      this.#poke(this.#usedSlot((from + i) & 0xffff), Uint8Array.from(Buffer.from(element, 'hex')))
    })
  }

  #usedSlot(idx: number): number {
    return this.#rings.used + R.VIRTQ_USED_RING + R.VIRTQ_USED_ELEM_BYTES * (idx % this.#size)
  }

  #peek(ram: readonly Uint8Array[], gpa: number, bytes: number): string {
    let hex = ''
    for (let at = gpa; at < gpa + bytes; at++) {
      const i = this.#options.layout.regions.findIndex(({ gpa, bytes }) => at >= gpa && at < gpa + bytes)
      const byte = ram[i]?.[at - (this.#options.layout.regions[i]?.gpa ?? 0)] ?? 0
      hex += byte.toString(16).padStart(2, '0')
    }
    return hex
  }

  // --- both at once ---

  /** Writes those of the bytes that are RAM, in both memories. */
  #poke(gpa: number, bytes: Uint8Array): void {
    this.#options.layout.regions.forEach((region, i) => {
      const from = Math.max(gpa, region.gpa)
      const to = Math.min(gpa + bytes.length, region.gpa + region.bytes)
      if (from >= to) return
      for (const { ram } of this.#sides) ram[i]?.set(bytes.subarray(from - gpa, to - gpa), from - region.gpa)
    })
  }

  #pokeU16(gpa: number, value: number): void {
    this.#poke(gpa, Uint8Array.of(value & 0xff, (value >> 8) & 0xff))
  }

  #peekU16(gpa: number): number | undefined {
    return (this.#model.device as ModelDevice).memory.readU16(BigInt(gpa))
  }

  #write(offset: number, value: number, width: 1 | 2 | 4 = 4): void {
    for (const { device } of this.#sides) device.mmioWrite(offset, width, value)
  }

  #compareRead(offset: number, width: 1 | 2 | 4): void {
    const expected = this.#model.device.mmioRead(offset, width)
    const actual = this.#other.device.mmioRead(offset, width)
    if (actual !== expected) same(actual, expected, `read of ${width} bytes at 0x${offset.toString(16)}`)
  }

  #scriptHiccups({ script }: FaultyBackend, hiccups: readonly Hiccup[]): void {
    for (const { does, count } of hiccups) {
      const { data, flush } = scripted(does)
      script.read.push(...repeat(count, data))
      script.write.push(...repeat(count, data))
      script.flush.push(...repeat(count, flush))
    }
  }

  /** Everything that can be seen of the two devices is equal. */
  compare(): void {
    const [model, other] = this.#sides
    const actual = new Map<string, unknown>(Object.entries(other.device.counters))
    const expected = this.counters
    for (const name of COUNTERS) same(Number(actual.get(name)), Number(expected.get(name)), `counter ${name}`)
    for (let offset = 0; offset < WINDOW; offset += 4) this.#compareRead(offset, 4)
    same(other.interrupts(), model.interrupts(), 'interrupts raised')
    if (other.backend.calls.length + model.backend.calls.length > 0) {
      same(JSON.stringify(other.backend.calls), JSON.stringify(model.backend.calls), 'calls of the back end')
      for (const { backend } of this.#sides) backend.calls.length = 0
    }
    sameBytes(other.disk.bytes, model.disk.bytes, 'disk')
    this.#options.layout.regions.forEach(({ gpa }, i) => {
      sameBytes(other.ram[i], model.ram[i], 'guest memory', gpa)
    })
  }
}

const ramOfLayout = new Map<string, Uint8Array[]>()

/** One rig at a time: the memory of a layout is used again. */
function modelRam(layout: Layout): Uint8Array[] {
  const ram = ramOfLayout.get(layout.name) ?? layout.regions.map(({ bytes }) => new Uint8Array(bytes))
  ramOfLayout.set(layout.name, ram)
  return ram
}

function same<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: device has ${actual}, model has ${expected}`)
}

function sameBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined, what: string, base = 0): void {
  if (!expected || !actual) throw new Error(`${what} is missing`)
  if (Buffer.compare(expected, actual) === 0) return
  const at = expected.findIndex((byte, i) => byte !== actual[i])
  same(actual[at], expected[at], `${what} at 0x${(base + at).toString(16)}`)
}
