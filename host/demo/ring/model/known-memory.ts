// Guest RAM as far as it is known: bytes, and of each who was seen to write it. In pages, which are copied only when
// they change after a copy was kept: a walk keeps many. Portable.

import { DEVICES, DRIVERS, type Dump, UNKNOWN } from './walk-types.ts'

const PAGE = 4096
const ZEROS_MAX = 1 << 20

interface Page {
  readonly bytes: Uint8Array
  readonly known: Uint8Array
  /** the memory that may change it */
  owner: object
}

export class KnownMemory {
  readonly #pages: Map<number, Page>
  #owner = {}

  constructor(pages: Map<number, Page> = new Map()) {
    this.#pages = pages
  }

  /** Another memory with the same bytes; from now on they change apart. */
  copy(): KnownMemory {
    this.#owner = {}
    return new KnownMemory(new Map(this.#pages))
  }

  #forWriting(number: number): Page {
    const page = this.#pages.get(number)
    if (page?.owner === this.#owner) return page
    const own = page
      ? { bytes: page.bytes.slice(), known: page.known.slice(), owner: this.#owner }
      : { bytes: new Uint8Array(PAGE), known: new Uint8Array(PAGE), owner: this.#owner }
    this.#pages.set(number, own)
    return own
  }

  /** Bytes that somebody wrote. */
  write(gpa: number, bytes: Uint8Array, by: typeof DRIVERS | typeof DEVICES): void {
    for (let done = 0; done < bytes.length; ) {
      const at = (gpa + done) % PAGE
      const count = Math.min(bytes.length - done, PAGE - at)
      const page = this.#forWriting(Math.floor((gpa + done) / PAGE))
      page.bytes.set(bytes.subarray(done, done + count), at)
      page.known.fill(by, at, at + count)
      done += count
    }
  }

  /** Bytes that were seen: what is as it was stays whose it was, anything else the driver has written. */
  see(gpa: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = (gpa + done) % PAGE
      const count = Math.min(bytes.length - done, PAGE - at)
      const number = Math.floor((gpa + done) / PAGE)
      let page = this.#pages.get(number)
      for (let i = 0; i < count; i++) {
        const byte = bytes[done + i] as number
        if (page && page.known[at + i] !== UNKNOWN && page.bytes[at + i] === byte) continue
        page = this.#forWriting(number)
        page.bytes[at + i] = byte
        page.known[at + i] = DRIVERS
      }
      done += count
    }
  }

  /** Zeros that the device wrote; of very many, which a file can claim, the first are kept. */
  zero(gpa: number, count: number): void {
    const kept = Math.min(count, ZEROS_MAX)
    for (let done = 0; done < kept; done += PAGE) {
      this.write(gpa + done, new Uint8Array(Math.min(PAGE, kept - done)), DEVICES)
    }
    if (kept < count) this.forget(gpa + kept, count - kept)
  }

  /** Somebody wrote here, and nobody knows what. */
  forget(gpa: number, count: number): void {
    if (count / PAGE > this.#pages.size) {
      // A range of gigabytes, with few pages in it.
      for (const number of this.#pages.keys()) {
        const from = Math.max(gpa, number * PAGE)
        const to = Math.min(gpa + count, (number + 1) * PAGE)
        if (from < to) this.#forWriting(number).known.fill(UNKNOWN, from - number * PAGE, to - number * PAGE)
      }
      return
    }
    for (let done = 0; done < count; ) {
      const at = (gpa + done) % PAGE
      const part = Math.min(count - done, PAGE - at)
      const number = Math.floor((gpa + done) / PAGE)
      if (this.#pages.has(number)) this.#forWriting(number).known.fill(UNKNOWN, at, at + part)
      done += part
    }
  }

  dump(gpa: number, count: number): Dump {
    const bytes = new Uint8Array(count)
    const known = new Uint8Array(count)
    for (let done = 0; done < count; ) {
      const at = (gpa + done) % PAGE
      const part = Math.min(count - done, PAGE - at)
      const page = this.#pages.get(Math.floor((gpa + done) / PAGE))
      if (page) {
        bytes.set(page.bytes.subarray(at, at + part), done)
        known.set(page.known.subarray(at, at + part), done)
      }
      done += part
    }
    return { gpa, bytes, known }
  }

  /** A little-endian number of 1 to 4 bytes; undefined unless all of them are known. */
  number(gpa: number, count: number): number | undefined {
    let value = 0
    for (let i = count - 1; i >= 0; i--) {
      const page = this.#pages.get(Math.floor((gpa + i) / PAGE))
      const at = (gpa + i) % PAGE
      if (!page || page.known[at] === UNKNOWN) return undefined
      value = value * 256 + (page.bytes[at] as number)
    }
    return value
  }
}
