// Where the driver of the side-by-side test (rig.ts) puts rings and buffers in a layout of guest RAM. Rings get the
// start of the first region or an edge, ordinary buffers the middle of each region, and the bytes at the edges of
// regions are for the odd places: across a seam, into or out of a hole. An odd place inside RAM is given out once,
// until all chains are back, so that no two requests of a drain share bytes.

import type { Desc, Layout, Negotiation } from './chains.ts'

/** Kept free of ordinary buffers at both ends of each region. */
const EDGE = 0x2000
/** A longer descriptor is never wholly RAM here; it gets this many bytes of its own, for a header. */
const LONG = 0xffff
const LONG_OWN = 64

type Spot = 'seam' | 'intoHole' | 'outOfHole'

export class Arenas {
  readonly #spans: readonly { start: number; end: number }[]
  #used: number[]
  readonly #taken = new Set<Spot>()

  constructor(layout: Layout) {
    this.#spans = layout.regions.map(({ gpa, bytes }) => ({ start: gpa + EDGE, end: gpa + bytes - EDGE }))
    this.#used = this.#spans.map(() => 0)
  }

  reset(): void {
    this.#used = this.#spans.map(() => 0)
    this.#taken.clear()
  }

  /** True if a chain of so many bytes finds room, however its buffers are spread. */
  fits(bytes: number): boolean {
    return this.#spans.some(({ start, end }, i) => end - start - (this.#used[i] ?? 0) >= bytes)
  }

  /** Fresh bytes; the regions take turns as they fill up. */
  take(len: number): bigint {
    const own = len > LONG ? LONG_OWN : len
    for (const [i, { start, end }] of this.#spans.entries()) {
      const used = this.#used[i] ?? 0
      if (end - start - used < own) continue
      this.#used[i] = used + own
      return BigInt(start + used)
    }
    throw new Error(`no room for ${len} bytes: Arenas.fits was not asked`)
  }

  /** True once for each spot. */
  claim(spot: Spot): boolean {
    if (this.#taken.has(spot)) return false
    this.#taken.add(spot)
    return true
  }
}

function endOfRam(layout: Layout): number {
  const last = layout.regions.at(-1)
  return last ? last.gpa + last.bytes : 0
}

/** The start of a region that has a hole before it and no rings in it. */
function startAfterHole(layout: Layout): number | undefined {
  const [, ...others] = layout.regions
  return others.find(({ gpa }) => gpa !== layout.seam)?.gpa
}

export function addressFor(
  desc: Desc,
  layout: Layout,
  arenas: Arenas,
  rings: { desc: number; avail: number; used: number },
): bigint {
  const { len } = desc
  const half = Math.floor(len / 2)
  const small = len > 0 && len <= EDGE
  const nowhere = BigInt(endOfRam(layout) + 0x10000)
  const after = startAfterHole(layout)
  const { seam } = layout
  switch (desc.place) {
    case 'hole':
      return nowhere
    case 'top':
      return 2n ** 64n - BigInt(Math.max(1, half))
    case 'seam': {
      const free = seam !== null && Object.values(rings).every((ring) => Math.abs(ring - seam) > EDGE)
      return free && small && arenas.claim('seam') ? BigInt(seam - half) : arenas.take(len)
    }
    case 'intoHole':
      return small && arenas.claim('intoHole') ? BigInt(endOfRam(layout) - (len - half)) : nowhere
    case 'outOfHole':
      return after !== undefined && small && arenas.claim('outOfHole') ? BigInt(after - half) : nowhere
    default: {
      const at = arenas.take(len)
      // Where touching regions are large enough for it after all, its end is put outside them.
      const fits = len > LONG && Number(at) + len <= endOfRam(layout)
      return fits ? BigInt(endOfRam(layout) - LONG_OWN) : at
    }
  }
}

/** Ring addresses for a negotiation; some of them no device may accept. */
export function ringAddresses(layout: Layout, { rings }: Negotiation): { desc: number; avail: number; used: number } {
  const base = layout.regions[0]?.gpa ?? 0
  const end = endOfRam(layout)
  const seam = layout.seam ?? base + EDGE
  const plain = { desc: base, avail: base + 0x1000, used: base + 0x1400 }
  switch (rings) {
    case 'plain':
      return plain
    case 'availFirst':
      return { desc: base + 0x1000, avail: base, used: base + 0x400 }
    case 'descAcrossSeam':
      return { ...plain, desc: seam - 16 }
    case 'availAcrossSeam':
      return { ...plain, avail: seam - 6 }
    // A used element whose id and length are in different regions.
    case 'usedAcrossSeam':
      return { ...plain, used: seam - 8 }
    case 'descMisaligned':
      return { ...plain, desc: base + 8 }
    case 'availMisaligned':
      return { ...plain, avail: base + 0x1001 }
    case 'usedMisaligned':
      return { ...plain, used: base + 0x1402 }
    case 'descIntoHole':
      return { ...plain, desc: end - 16 }
    case 'availIntoHole':
      return { ...plain, avail: end - 8 }
    case 'usedIntoHole':
      return { ...plain, used: end - 12 }
  }
}
