// A small virtio-blk device over virtio-mmio, written from the standard (2.1, 2.7, 4.2, 5.2) for the driver's tests
// and nothing else: it shares no code with the device of this package, and it can be told to misbehave.
//
// Keeps a log of every register access. Trusts the driver: a broken chain throws out of the kick.

import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from '../../assembly/spec.ts'

export interface FakeQueue {
  size: number
  ready: number
  desc: number
  avail: number
  used: number
  lastAvail: number
  usedIdx: number
  signalled: number
}

/** A chain as the device took it; in `taken`, `readable` is a copy. */
export interface FakeChain {
  queue: number
  head: number
  type: number
  sector: number
  readable: Uint8Array[]
  writable: Uint8Array[]
}

export interface FakeOptions {
  features?: number[]
  sizeMax?: number
  segMax?: number
  capacitySectors?: number
  queueSizeMax?: number
  queues?: number
  /** when chains are taken: inside the kick, in a microtask, after a timer, or only by serve() */
  serve?: 'kick' | 'microtask' | 'timer' | 'never'
  onInterrupt?: () => void
}

const CORE = [
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
]

export class FakeRam {
  readonly bytes: Uint8Array
  readonly regions: readonly { gpa: number; bytes: number }[]
  readonly gpa: number

  constructor(bytes: number, gpa = 0) {
    this.bytes = new Uint8Array(bytes)
    this.gpa = gpa
    this.regions = [{ gpa, bytes }]
  }

  view(gpa: number, bytes: number): Uint8Array {
    const at = gpa - this.gpa
    if (at < 0 || at + bytes > this.bytes.length) throw new RangeError(`no RAM at ${gpa}, ${bytes} bytes`)
    return this.bytes.subarray(at, at + bytes)
  }

  data(gpa: number, bytes: number): DataView {
    const view = this.view(gpa, bytes)
    return new DataView(view.buffer, view.byteOffset, bytes)
  }
}

export class FakeDevice {
  readonly ram: FakeRam
  readonly options: Required<FakeOptions>
  readonly disk: Uint8Array
  /** 'r 070' and 'w 070=1', in order; only while `logging` */
  log: string[] = []
  logging = true
  status = 0
  interruptStatus = 0
  generation = 0
  queues: FakeQueue[] = []
  accepted = new Set<number>()
  kicks: number[] = []
  interrupts = 0
  taken: FakeChain[] = []
  flushes = 0
  noNotify = false
  /** replaces the execution of a chain; code undefined leaves the status byte alone; undefined executes as usual */
  answer: ((chain: FakeChain) => { code: number | undefined; data?: Uint8Array } | undefined) | undefined
  /** replaces a used element before it is written */
  element: ((id: number, len: number) => { id: number; len: number }) | undefined
  /** runs before each register read is answered; a number is the answer */
  onRead: ((offset: number) => number | undefined) | undefined
  /** runs before each register write is executed; true swallows it */
  onWrite: ((offset: number, value: number) => boolean | undefined) | undefined
  #deviceSel = 0
  #driverSel = 0
  #queueSel = 0
  #driverWords = [0, 0]

  constructor(ram: FakeRam, options: FakeOptions = {}) {
    this.ram = ram
    this.options = {
      features: options.features ?? CORE,
      sizeMax: options.sizeMax ?? 65536,
      segMax: options.segMax ?? 14,
      capacitySectors: options.capacitySectors ?? 2048,
      queueSizeMax: options.queueSizeMax ?? 256,
      queues: options.queues ?? 1,
      serve: options.serve ?? 'kick',
      onInterrupt: options.onInterrupt ?? ((): void => {}),
    }
    this.disk = new Uint8Array(this.options.capacitySectors * 512)
    this.#reset()
  }

  mmioRead(offset: number, width: number): number {
    if (this.logging) this.log.push(`r ${offset.toString(16).padStart(3, '0')}`)
    const answer = this.onRead?.(offset)
    if (answer !== undefined) return answer
    if (offset >= 0x100) return this.#config(offset - 0x100, width)
    return this.#register(offset)
  }

  mmioWrite(offset: number, _width: number, value: number): void {
    if (this.logging) this.log.push(`w ${offset.toString(16).padStart(3, '0')}=${value.toString(16)}`)
    if (this.onWrite?.(offset, value)) return
    const queue = this.queues[this.#queueSel]
    switch (offset) {
      case 0x014:
        this.#deviceSel = value
        break
      case 0x020:
        this.#driverWords[this.#driverSel] = value
        break
      case 0x024:
        this.#driverSel = value
        break
      case 0x030:
        this.#queueSel = value
        break
      case 0x038:
        if (queue) queue.size = value
        break
      case 0x044:
        if (queue) queue.ready = value
        break
      case 0x050:
        this.kicks.push(value)
        this.#kicked()
        break
      case 0x064:
        this.interruptStatus &= ~value
        break
      case 0x070:
        this.#setStatus(value)
        break
      default:
        if (queue) this.#address(queue, offset, value)
    }
  }

  /** Takes and executes what is available, on every ready queue. */
  serve(): void {
    if ((this.status & 0x44) !== 0x04) return
    this.queues.forEach((queue, index) => {
      if (queue.ready === 1) this.#serveQueue(queue, index)
    })
  }

  needReset(): void {
    this.status |= 0x40
    this.interrupt(2)
  }

  interrupt(bits: number): void {
    this.interruptStatus |= bits
    this.interrupts++
    this.options.onInterrupt()
  }

  #reset(): void {
    this.status = 0
    this.interruptStatus = 0
    this.accepted = new Set()
    this.#driverWords = [0, 0]
    this.queues = Array.from({ length: this.options.queues }, () => ({
      size: 0,
      ready: 0,
      desc: 0,
      avail: 0,
      used: 0,
      lastAvail: 0,
      usedIdx: 0,
      signalled: 0,
    }))
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.#reset()
      return
    }
    let status = value | (this.status & 0x40)
    if (value & 8 && !(this.status & 8)) {
      const accepted = bitsOf(this.#driverWords)
      const offered = new Set(this.options.features)
      if (!accepted.has(VIRTIO_F_VERSION_1) || [...accepted].some((bit) => !offered.has(bit))) status &= ~8
      else this.accepted = accepted
    }
    this.status = status
  }

  #register(offset: number): number {
    const queue = this.queues[this.#queueSel]
    switch (offset) {
      case 0x000:
        return 0x74726976
      case 0x004:
        return 2
      case 0x008:
        return 2
      case 0x010:
        return wordOf(this.options.features, this.#deviceSel)
      case 0x034:
        return queue ? this.options.queueSizeMax : 0
      case 0x044:
        return queue?.ready ?? 0
      case 0x060:
        return this.interruptStatus
      case 0x070:
        return this.status
      case 0x0fc:
        return this.generation
      default:
        return 0
    }
  }

  #config(offset: number, width: number): number {
    const space = new DataView(new ArrayBuffer(96))
    const { capacitySectors, sizeMax, segMax, queues } = this.options
    space.setBigUint64(0, BigInt(capacitySectors), true)
    space.setUint32(8, sizeMax, true)
    space.setUint32(12, segMax, true)
    space.setUint32(20, 512, true)
    space.setUint16(34, queues, true)
    space.setUint32(36, 64, true)
    space.setUint32(40, 3, true)
    space.setUint32(48, 100, true)
    space.setUint32(52, 1, true)
    if (width === 1) return space.getUint8(offset)
    return width === 2 ? space.getUint16(offset, true) : space.getUint32(offset, true)
  }

  #address(queue: FakeQueue, offset: number, value: number): void {
    const shift = offset % 8 === 4 ? 2 ** 32 : 1
    if (offset >= 0x080 && offset < 0x088) queue.desc += value * shift
    if (offset >= 0x090 && offset < 0x098) queue.avail += value * shift
    if (offset >= 0x0a0 && offset < 0x0a8) queue.used += value * shift
  }

  #kicked(): void {
    const { serve } = this.options
    if (serve === 'kick') this.serve()
    if (serve === 'microtask') void Promise.resolve().then(() => this.serve())
    if (serve === 'timer') setTimeout(() => this.serve(), 2)
  }

  #serveQueue(queue: FakeQueue, index: number): void {
    const avail = this.ram.data(queue.avail, 6 + 2 * queue.size)
    const used = this.ram.data(queue.used, 6 + 8 * queue.size)
    const eventIdx = this.accepted.has(VIRTIO_F_EVENT_IDX)
    for (;;) {
      const idx = avail.getUint16(2, true)
      if (((idx - queue.lastAvail) & 0xffff) > queue.size) throw new Error(`avail.idx ${idx} after ${queue.lastAvail}`)
      while (queue.lastAvail !== idx) {
        const head = avail.getUint16(4 + 2 * (queue.lastAvail % queue.size), true)
        queue.lastAvail = (queue.lastAvail + 1) & 0xffff
        this.#execute(queue, index, head, used)
      }
      if (eventIdx) used.setUint16(4 + 8 * queue.size, queue.lastAvail, true)
      else used.setUint16(0, this.noNotify ? 1 : 0, true)
      if (avail.getUint16(2, true) === queue.lastAvail) break
    }
    this.signal(queue)
  }

  /** 2.7.7, 2.7.10: interrupts for what was returned since the last time, if the driver wants that. */
  signal(queue: FakeQueue): void {
    const old = queue.signalled
    queue.signalled = queue.usedIdx
    if (old === queue.usedIdx) return
    const avail = this.ram.data(queue.avail, 6 + 2 * queue.size)
    const event = avail.getUint16(4 + 2 * queue.size, true)
    const passed = ((queue.usedIdx - event - 1) & 0xffff) < ((queue.usedIdx - old) & 0xffff)
    const wanted = this.accepted.has(VIRTIO_F_EVENT_IDX) ? passed : (avail.getUint16(0, true) & 1) === 0
    this.interruptStatus |= 1
    if (wanted) this.interrupt(1)
  }

  #execute(queue: FakeQueue, index: number, head: number, used: DataView): void {
    const { readable, writable } = this.#chain(queue, head)
    const stream = concat(readable)
    const header = new DataView(stream.buffer, 0, 16)
    const type = header.getUint32(0, true)
    const chain = { queue: index, head, type, sector: Number(header.getBigUint64(8, true)), readable, writable }
    this.taken.push({ ...chain, readable: readable.map((part) => part.slice()) })
    const status = this.answer?.(chain) ?? this.#perform(chain, stream.subarray(16))
    const last = writable.at(-1)
    if (!last) throw new Error('no status byte')
    if (status.data) scatter(writable, status.data)
    if (status.code !== undefined) last[last.length - 1] = status.code
    const len = status.data ? status.data.length + 1 : 1
    this.complete(queue, head, len, used)
  }

  /** Writes a used element and moves used.idx. */
  complete(queue: FakeQueue, id: number, len: number, used = this.ram.data(queue.used, 6 + 8 * queue.size)): void {
    const element = this.element?.(id, len) ?? { id, len }
    const at = 4 + 8 * (queue.usedIdx % queue.size)
    used.setUint32(at, element.id, true)
    used.setUint32(at + 4, element.len, true)
    queue.usedIdx = (queue.usedIdx + 1) & 0xffff
    used.setUint16(2, queue.usedIdx, true)
  }

  #perform(chain: FakeChain, out: Uint8Array): { code: number | undefined; data?: Uint8Array } {
    const { type, sector, writable } = chain
    const inBytes = writable.reduce((sum, part) => sum + part.length, -1)
    const at = sector * 512
    const { sizeMax, segMax } = this.options
    const segments = [...chain.readable, ...chain.writable]
    if (segments.length > segMax + 2 || segments.some((part) => part.length > sizeMax + 16)) return { code: 1 }
    if (type === 0) {
      return at + inBytes > this.disk.length ? { code: 1 } : { code: 0, data: this.disk.slice(at, at + inBytes) }
    }
    if (type === 1) {
      if (at + out.length > this.disk.length) return { code: 1 }
      this.disk.set(out, at)
      return { code: 0 }
    }
    if (type === 4) this.flushes++
    if (type === 8) return { code: 0, data: idBytes('fake-disk').slice(0, inBytes) }
    return { code: type === 4 || type === 11 || type === 13 ? 0 : 2 }
  }

  #chain(queue: FakeQueue, head: number): { readable: Uint8Array[]; writable: Uint8Array[] } {
    const readable: Uint8Array[] = []
    const writable: Uint8Array[] = []
    let table = this.ram.data(queue.desc, 16 * queue.size)
    let index = head
    let left = queue.size
    for (;;) {
      if (left-- === 0) throw new Error('the chain is longer than the queue')
      const at = index * 16
      const flags = table.getUint16(at + 12, true)
      const gpa = Number(table.getBigUint64(at, true))
      const len = table.getUint32(at + 8, true)
      if (flags & 4) {
        if (!this.accepted.has(VIRTIO_F_INDIRECT_DESC)) throw new Error('INDIRECT was not negotiated')
        table = this.ram.data(gpa, len)
        index = 0
        left = len / 16
        continue
      }
      if (!(flags & 2) && writable.length > 0) throw new Error('readable after writable')
      ;(flags & 2 ? writable : readable).push(this.ram.view(gpa, len))
      if (!(flags & 1)) return { readable, writable }
      index = table.getUint16(at + 14, true)
    }
  }
}

function idBytes(id: string): Uint8Array {
  const padded = new Uint8Array(20)
  padded.set(new TextEncoder().encode(id))
  return padded
}

function bitsOf(words: number[]): Set<number> {
  const bits = new Set<number>()
  words.forEach((word, i) => {
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) bits.add(32 * i + bit)
  })
  return bits
}

function wordOf(features: number[], word: number): number {
  let bits = 0
  for (const bit of features) if (bit >> 5 === word) bits |= 1 << (bit & 31)
  return bits >>> 0
}

function concat(parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function scatter(parts: Uint8Array[], data: Uint8Array): void {
  let at = 0
  for (const part of parts) {
    part.set(data.subarray(at, at + part.length))
    at += part.length
  }
}

/** Bytes that differ from sector to sector and from seed to seed. */
export function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 9) * 13 + seed * 31) & 0xff)
}

/** What a promise rejects with; throws if it does not within two seconds, or resolves. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('neither resolved nor rejected within 2 s')), 2000)
  })
  const outcome = promise.then(
    () => {
      throw new Error('resolved, but a rejection was expected')
    },
    (error: unknown) => error as Error,
  )
  try {
    return await Promise.race([outcome, late])
  } finally {
    clearTimeout(timer)
  }
}
