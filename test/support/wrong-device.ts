// A device that is wrong on purpose: ours, with one rule broken by whoever stands between it and the driver. Register
// accesses go through hooks, which may change what is read, what is written, and what lies in guest memory afterwards.
//
// Follows the driver's writes, so that a hook knows where queue 0 is. Checks nothing itself.

import { ownTarget } from '../../host/conformance/own-target.ts'
import type { Target, TargetFactory, TargetKind } from '../../host/conformance/target.ts'
import { GuestBytes } from '../../host/driver/bytes.ts'
import type { MmioBus } from '../../host/driver/types.ts'

export interface Mistake {
  /** the id of the row that it breaks */
  id: string
  what: string
  /** what the driver reads instead of `value` */
  read?: (offset: number, value: number, device: WrongDevice, width: number) => number
  /** what is written instead; undefined: nothing */
  write?: (offset: number, value: number, device: WrongDevice) => number | undefined
  /** runs after a write was done */
  after?: (offset: number, value: number, device: WrongDevice) => void
  /** changes what the target gives besides registers */
  target?: (target: Target, device: WrongDevice) => Partial<Target>
}

/** A used element, before and after a mistake. */
interface Element {
  id: number
  len: number
}

const SEL = 0x030
const SIZE = 0x038
const STATUS = 0x070

export class WrongDevice implements MmioBus {
  readonly inner: MmioBus
  readonly mem: GuestBytes
  /** the last value written to each register, since power-on */
  readonly written = new Map<number, number>()
  /** for mistakes that happen once, or after so many times */
  count = 0
  /** interrupts that it adds (or, negative, hides) */
  interrupts = 0
  readonly #mistake: Mistake
  readonly #queue0 = new Map<number, number>()
  #usedSeen = 0

  constructor(target: Target, mistake: Mistake) {
    this.inner = target.mmio
    this.mem = new GuestBytes(target.memory)
    this.#mistake = mistake
  }

  mmioRead(offset: number, width: number): number {
    const value = this.inner.mmioRead(offset, width)
    return this.#mistake.read?.(offset, value, this, width) ?? value
  }

  mmioWrite(offset: number, width: number, value: number): void {
    if (offset === STATUS && value === 0) this.#usedSeen = 0
    this.written.set(offset, value)
    if (this.written.get(SEL) === 0 || !this.written.has(SEL)) this.#queue0.set(offset, value)
    const instead = this.#mistake.write ? this.#mistake.write(offset, value, this) : value
    if (instead !== undefined) this.inner.mmioWrite(offset, width, instead)
    this.#mistake.after?.(offset, value, this)
  }

  get status(): number {
    return this.inner.mmioRead(STATUS, 4)
  }

  get size(): number {
    return this.#queue0.get(SIZE) ?? 0
  }

  get desc(): number {
    return this.#address(0x080)
  }

  get avail(): number {
    return this.#address(0x090)
  }

  get used(): number {
    return this.#address(0x0a0)
  }

  /** Every used element of queue 0 that has come since the last call, oldest first. */
  newElements(): (Element & { at: number; header: number; type: number })[] {
    const now = this.mem.u16(this.used + 2)
    const found = []
    for (; this.#usedSeen !== now; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.#usedSeen % this.size)
      const id = this.mem.u32(at)
      const header = Number(this.mem.u64(this.desc + 16 * id))
      found.push({ at, id, len: this.mem.u32(at + 4), header, type: this.mem.u32(header) })
    }
    return found
  }

  /** Descriptors of a chain in the table of queue 0. */
  chain(head: number): { at: number; addr: number; len: number; flags: number }[] {
    const links = []
    for (let index = head; links.length < this.size; index = this.mem.u16(this.desc + 16 * index + 14)) {
      const at = this.desc + 16 * index
      const flags = this.mem.u16(at + 12)
      links.push({ at, addr: Number(this.mem.u64(at)), len: this.mem.u32(at + 8), flags })
      if ((flags & 1) === 0) break
    }
    return links
  }

  /** Where the status byte of a chain is. */
  statusAt(head: number): number {
    const last = this.chain(head).findLast(({ flags, len }) => (flags & 2) !== 0 && len > 0)
    return last ? last.addr + last.len - 1 : 0
  }

  #address(low: number): number {
    return (this.#queue0.get(low) ?? 0) + (this.#queue0.get(low + 4) ?? 0) * 2 ** 32
  }
}

/** Our device with a mistake, as a target of the kit. */
export function wrongTarget(mistake: Mistake): TargetFactory {
  const make = ownTarget()
  return async (kind: TargetKind) => {
    const target = await make(kind)
    if (target === undefined) return undefined
    const device = new WrongDevice(target, mistake)
    const interrupts = target.interrupts?.bind(target)
    const wrong: Target = {
      ...target,
      mmio: device,
      ...(interrupts ? { interrupts: () => interrupts() + device.interrupts } : {}),
    }
    return { ...wrong, ...mistake.target?.(target, device) }
  }
}
