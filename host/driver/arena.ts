// Guest RAM that a driver hands out to itself. `BumpArena` only goes forward and is rewound as a whole: for raw
// access, where who owns which byte is the test's business. `HeapArena` takes blocks back, joins neighbours and
// finds the first that fits: for the polite driver, whose requests end in any order.
//
// Both count addresses only; neither reads or writes guest memory.

import { DriverError } from './types.ts'

function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align
}

export class BumpArena {
  readonly base: number
  readonly bytes: number
  #next: number

  constructor(base: number, bytes: number) {
    this.base = base
    this.bytes = bytes
    this.#next = base
  }

  /** Address of `bytes` bytes at a multiple of `align`; throws DriverError when the arena is used up. */
  alloc(bytes: number, align = 16): number {
    const at = alignUp(this.#next, align)
    if (at + bytes > this.base + this.bytes) {
      throw new DriverError(
        `driver arena: no room for ${bytes} bytes (${this.base + this.bytes - this.#next} of ${this.bytes} left)`,
      )
    }
    this.#next = at + bytes
    return at
  }

  /** Where the next block would start: hand it to rewind() to give back all that was handed out since. */
  mark(): number {
    return this.#next
  }

  rewind(mark: number = this.base): void {
    this.#next = mark
  }
}

interface Block {
  start: number
  bytes: number
}

const BLOCK_ALIGN = 16

export class HeapArena {
  readonly bytes: number
  /** free blocks, by address, never touching each other */
  readonly #free: Block[]

  /** `base` is a multiple of 16; blocks are too. */
  constructor(base: number, bytes: number) {
    this.bytes = bytes
    this.#free = [{ start: base, bytes }]
  }

  /** Address of a block, a multiple of 16, or undefined if nothing free is large enough now. */
  alloc(bytes: number): number | undefined {
    const wanted = alignUp(bytes, BLOCK_ALIGN)
    const at = this.#free.findIndex((block) => block.bytes >= wanted)
    const block = this.#free[at]
    if (!block) return undefined
    const start = block.start
    block.start += wanted
    block.bytes -= wanted
    if (block.bytes === 0) this.#free.splice(at, 1)
    return start
  }

  /** Takes back what alloc(bytes) gave. */
  release(start: number, bytes: number): void {
    const length = alignUp(bytes, BLOCK_ALIGN)
    let low = 0
    let high = this.#free.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#free[middle]?.start ?? 0) < start) low = middle + 1
      else high = middle
    }
    const before = this.#free[low - 1]
    const after = this.#free[low]
    const joinsBefore = before !== undefined && before.start + before.bytes === start
    const joinsAfter = after !== undefined && start + length === after.start
    if (joinsBefore && joinsAfter) {
      before.bytes += length + after.bytes
      this.#free.splice(low, 1)
    } else if (joinsBefore) {
      before.bytes += length
    } else if (joinsAfter) {
      after.start = start
      after.bytes += length
    } else {
      this.#free.splice(low, 0, { start, bytes: length })
    }
  }
}
