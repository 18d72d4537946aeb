// What the kit asks of a device under test: a register window, guest RAM, and, for some rules, more that only the
// owner of the device can give: a count of its interrupts, a grip on its media, a way to resize it. A check that needs
// what a target lacks is skipped with the reason, never passed.
//
// Every check gets a target of its own from the factory, so no check sees what another one did. The kit writes to the
// disk and to guest RAM as it likes.

import type { DriverMemory, MmioBus } from '../driver/types.ts'

/**
 * `usual`: the device as it is sold. `readOnly`: the same with a read-only disk. `largeBlocks`: a writable one whose
 * block size is 4096.
 */
export type TargetKind = 'usual' | 'readOnly' | 'largeBlocks'

/** A fresh device of the kind, after power-on; undefined if it cannot be had. */
export type TargetFactory = (kind: TargetKind) => Target | undefined | Promise<Target | undefined>

/** What the target was made with, for rules that say "the value that it has". */
export interface TargetFacts {
  capacityBytes?: number
  /** what GET_ID answers, without padding */
  serial?: string
  blockSize?: number
  sizeMax?: number
  segMax?: number
  queues?: number
}

export interface Target {
  /** the register window (4.2.2): width 1, 2 or 4 */
  readonly mmio: MmioBus
  /** guest RAM: the first region should have at least 4 MiB, or the checks of large rings are skipped */
  readonly memory: DriverMemory
  /**
   * Lets an asynchronous device work for a moment, some milliseconds say. Absent: the device has done everything when
   * mmioWrite returns.
   */
  settle?(): void | Promise<void>
  /** Called when the check is over. */
  close?(): void | Promise<void>

  // Extras ---------------------------------------------------------------------------------------------------
  readonly facts?: TargetFacts
  /** how often the device has asked for an interrupt so far */
  interrupts?(): number
  /** resizes the disk while it is in use */
  setCapacity?(bytes: number): void
  /** what the media holds now, seen from behind the device */
  content?(offset: number, bytes: number): Uint8Array
  /** what it would hold if the power failed now */
  stable?(offset: number, bytes: number): Uint8Array
  /** from now on requests wait in the media, until release() lets them all end */
  hold?(): void
  release?(): void
  /** from now on the media refuses (or serves again) all it is asked */
  failing?(fails: boolean): void
}

/** Names of what a target may lack. */
export type Extra = Exclude<keyof Target, 'mmio' | 'memory' | 'settle' | 'close'>
