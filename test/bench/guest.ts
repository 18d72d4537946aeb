// The driver's side of the engine bench: a ring of 256 filled once with read requests, then offered again and again.
// Refilling writes what a driver writes per batch: the ring slots, used_event and avail.idx.

import * as spec from '../../assembly/spec.ts'

export interface Layout {
  name: string
  title: string
  /** 4 KiB buffers per request */
  segments: number
  /** requests that fit the ring */
  chains: number
}

export const LAYOUTS: readonly Layout[] = [
  { name: 'a', title: 'one 4 KiB segment', segments: 1, chains: 85 },
  { name: 'b', title: '16 x 4 KiB', segments: 16, chains: 14 },
]

const SIZE = 256
const DESC = 0x1000
const AVAIL = 0x2000
const USED = 0x3000
const HEADERS = 0x100000
const DATA = 0x400000

export class BenchGuest {
  readonly layout: Layout
  readonly #ring: Uint16Array
  readonly #heads: number[] = []
  #availIdx = 0

  constructor(ram: Uint8Array, layout: Layout) {
    this.layout = layout
    this.#ring = new Uint16Array(ram.buffer, ram.byteOffset + AVAIL, 2 + SIZE + 1)
    const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength)
    const pages = shuffled(layout.chains * layout.segments)
    const perChain = layout.segments + 2
    for (let chain = 0; chain < layout.chains; chain++) {
      const header = HEADERS + chain * 512
      const first = chain * perChain
      view.setBigUint64(header + 8, BigInt((chain * 7919) % 16000) * 128n, true)
      for (let i = 0; i < perChain; i++) {
        const at = DESC + (first + i) * spec.VIRTQ_DESC_BYTES
        const last = i === perChain - 1
        const page = pages[chain * layout.segments + i - 1] ?? 0
        view.setBigUint64(at, BigInt(i === 0 ? header : last ? header + 16 : DATA + page * 4096), true)
        view.setUint32(at + spec.VIRTQ_DESC_LEN, i === 0 ? 16 : last ? 1 : 4096, true)
        const write = i === 0 ? 0 : spec.VIRTQ_DESC_F_WRITE
        view.setUint16(at + spec.VIRTQ_DESC_FLAGS, write | (last ? 0 : spec.VIRTQ_DESC_F_NEXT), true)
        view.setUint16(at + spec.VIRTQ_DESC_NEXT, last ? 0 : first + i + 1, true)
      }
      this.#heads.push(first)
    }
  }

  /** Brings the device to DRIVER_OK with EVENT_IDX and FLUSH accepted. */
  start(write: (offset: number, value: number) => void): void {
    for (const status of [0, 1, 3]) write(spec.VIRTIO_MMIO_STATUS, status)
    write(spec.VIRTIO_MMIO_DRIVER_FEATURES, 0x20000246)
    write(spec.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1)
    write(spec.VIRTIO_MMIO_DRIVER_FEATURES, 1)
    write(spec.VIRTIO_MMIO_STATUS, 0x0b)
    write(spec.VIRTIO_MMIO_QUEUE_SIZE, SIZE)
    write(spec.VIRTIO_MMIO_QUEUE_DESC_LOW, DESC)
    write(spec.VIRTIO_MMIO_QUEUE_DRIVER_LOW, AVAIL)
    write(spec.VIRTIO_MMIO_QUEUE_DEVICE_LOW, USED)
    write(spec.VIRTIO_MMIO_QUEUE_READY, 1)
    write(spec.VIRTIO_MMIO_STATUS, 0x0f)
  }

  /** Offers every chain once more and asks for an interrupt. Returns their number. */
  refill(): number {
    const ring = this.#ring
    const heads = this.#heads
    const { chains } = this.layout
    for (let i = 0; i < chains; i++) ring[2 + ((this.#availIdx + i) & (SIZE - 1))] = heads[i] as number
    ring[2 + SIZE] = this.#availIdx
    this.#availIdx = (this.#availIdx + chains) & 0xffff
    Atomics.store(ring, 1, this.#availIdx)
    return chains
  }
}

/** 0..count-1 in an order that does not depend on the run. */
function shuffled(count: number): number[] {
  const list = Array.from({ length: count }, (_, i) => i)
  let seed = 0x9e3779b9
  for (let i = count - 1; i > 0; i--) {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    const j = (seed >>> 0) % (i + 1)
    ;[list[i], list[j]] = [list[j] as number, list[i] as number]
  }
  return list
}
