// Guest RAM for raw access: little-endian loads and stores at any guest-physical address, aligned or not, across
// regions that touch. 16-bit accesses are Atomics where alignment allows, so a ring index is published in order
// also to a device on another thread (2.7.13).
//
// Like a bus with nobody there, an address outside RAM swallows stores and reads all ones; `lostBytes` counts the
// stores, so that a test can tell a mistake of its own from an intended one. Validates nothing. Owns no memory.

import type { Address, DriverMemory } from './types.ts'

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

export class GuestBytes {
  readonly memory: DriverMemory
  /** bytes stored so far to addresses that are not RAM */
  lostBytes = 0

  constructor(memory: DriverMemory) {
    this.memory = memory
  }

  /** true if all `bytes` at `at` are guest RAM, in one region or in several that touch */
  isRam(at: Address, bytes: number): boolean {
    return this.#each(at, bytes, () => {}) === bytes
  }

  u8(at: Address): number {
    return this.#load(at, 1).getUint8(0)
  }

  /** atomic if aligned */
  u16(at: Address): number {
    const cell = this.#cell16(at)
    return cell ? Atomics.load(cell, 0) : this.#load(at, 2).getUint16(0, true)
  }

  u32(at: Address): number {
    return this.#load(at, 4).getUint32(0, true)
  }

  u64(at: Address): bigint {
    return this.#load(at, 8).getBigUint64(0, true)
  }

  setU8(at: Address, value: number): void {
    this.write(at, Uint8Array.of(value))
  }

  /** atomic if aligned; the low 16 bits of `value` */
  setU16(at: Address, value: number): void {
    const cell = this.#cell16(at)
    if (cell) {
      Atomics.store(cell, 0, value & 0xffff)
      return
    }
    this.write(at, Uint8Array.of(value, value >>> 8))
  }

  /** the low 32 bits of `value` */
  setU32(at: Address, value: number): void {
    const bytes = new DataView(new ArrayBuffer(4))
    bytes.setUint32(0, value, true)
    this.write(at, new Uint8Array(bytes.buffer))
  }

  /** the low 64 bits of `value` */
  setU64(at: Address, value: Address): void {
    const bytes = new DataView(new ArrayBuffer(8))
    bytes.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true)
    this.write(at, new Uint8Array(bytes.buffer))
  }

  /** a copy; 0xff where there is no RAM */
  bytes(at: Address, count: number): Uint8Array {
    const copy = new Uint8Array(count).fill(0xff)
    this.#each(at, count, (view, offset) => copy.set(view, offset))
    return copy
  }

  write(at: Address, data: Uint8Array): void {
    const stored = this.#each(at, data.length, (view, offset) => {
      view.set(data.subarray(offset, offset + view.length))
    })
    this.lostBytes += data.length - stored
  }

  fill(at: Address, count: number, value: number): void {
    this.lostBytes += count - this.#each(at, count, (view) => view.fill(value))
  }

  #load(at: Address, count: number): DataView {
    return new DataView(this.bytes(at, count).buffer)
  }

  #cell16(at: Address): Uint16Array | undefined {
    let cell: Uint16Array | undefined
    if (LITTLE_ENDIAN) {
      this.#each(at, 2, (view) => {
        if (view.length === 2 && view.byteOffset % 2 === 0) cell = new Uint16Array(view.buffer, view.byteOffset, 1)
      })
    }
    return cell
  }

  /** Visits what of the range is RAM, region by region; returns how many bytes that was. */
  #each(at: Address, count: number, visit: (view: Uint8Array, offset: number) => void): number {
    const start = Number(at)
    if (!Number.isSafeInteger(start) || start < 0) return 0
    let found = 0
    for (const region of this.memory.regions) {
      const from = Math.max(start, region.gpa)
      const to = Math.min(start + count, region.gpa + region.bytes)
      if (from >= to) continue
      visit(this.memory.view(from, to - from), from - start)
      found += to - from
    }
    return found
  }
}

/** `at + offset`, wrapping at 2^64 as the device's address arithmetic would see it. */
export function addressAdd(at: Address, offset: number): Address {
  if (typeof at === 'number' && Number.isSafeInteger(at + offset)) return at + offset
  return BigInt.asUintN(64, BigInt(at) + BigInt(offset))
}
