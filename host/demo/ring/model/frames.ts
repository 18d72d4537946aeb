// The frames of a walk as a list that can be looked at anywhere, in any order: what was made once is kept, as long as
// it is not very much. A walk itself is quick forwards only.

import type { Walk } from './walk.ts'
import type { Frame } from './walk-types.ts'

/** Frames that are made together. */
const BLOCK = 64
/** Blocks that are kept. */
const BLOCKS_MAX = 400

export class Frames {
  readonly walk: Walk
  readonly #blocks = new Map<number, readonly Frame[]>()

  constructor(walk: Walk) {
    this.walk = walk
  }

  get length(): number {
    return this.walk.length
  }

  /** undefined outside of the list */
  at(index: number): Frame | undefined {
    if (index < 0 || index >= this.length) return undefined
    const number = Math.floor(index / BLOCK)
    let block = this.#blocks.get(number)
    if (block === undefined) {
      if (this.#blocks.size >= BLOCKS_MAX) this.#blocks.clear()
      block = this.walk.framesAt(number * BLOCK, (number + 1) * BLOCK)
      this.#blocks.set(number, block)
    }
    return block[index % BLOCK]
  }

  /** The nearest one that is so, from the one beside `from` on, in a direction; undefined if there is none. */
  find(from: number, direction: 1 | -1, is: (frame: Frame) => boolean): number | undefined {
    for (let i = from + direction; i >= 0 && i < this.length; i += direction) {
      const frame = this.at(i)
      if (frame && is(frame)) return i
    }
    return undefined
  }
}
