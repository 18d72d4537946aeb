// One virtio-blk device, inline: the caller's thread runs the engine and the back end. What the guest sees is decided
// by the engine; this file carries register accesses in, interrupts out, and owns the one timer. How requests get to
// the back end and back is in service.ts. It never reads a descriptor. Portable: no Node import.

import * as abi from '../../assembly/abi.ts'
import { VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import type { EngineExports } from '../engine/engine.ts'
import type { Counters, EngineState } from '../engine/state.ts'
import { sectorsOf, type VirtioBlkOptions } from './options.ts'
import { captureSnapshot, checkCapacity, planRestore, type RestoreOptions } from './restore.ts'
import { QueueService, type ServiceParts } from './service.ts'
import { setUp } from './set-up.ts'
import { type ThrottleOptions, throttleRecord } from './throttle.ts'
import { isWindowWrite, readWindow } from './window.ts'

/** What a drain of every queue left behind: nothing, more chains, or a head that waits for tokens. */
export type PollResult = 'idle' | 'more' | { stalledNanos: number }

const nowNanos = (): number => performance.now() * 1e6

export class VirtioBlk {
  readonly #engine: EngineExports
  readonly #state: EngineState
  readonly #service: QueueService
  readonly #closeBackend: () => void | Promise<void>
  readonly #clock: () => number
  readonly #ownsTimer: boolean
  readonly #onInterrupt: () => void
  #closed = false
  #timer: ReturnType<typeof setTimeout> | undefined
  #woken = false
  #paused = false
  /** who waits for the device to be quiet */
  #pausing: (() => void)[] = []

  private constructor(options: VirtioBlkOptions, parts: ServiceParts, clock: () => number) {
    this.#engine = parts.engine
    this.#state = parts.state
    this.#closeBackend = () => options.backend.close?.()
    this.#clock = clock
    this.#ownsTimer = options.clock === undefined
    this.#onInterrupt = options.onInterrupt ?? (() => {})
    this.#service = new QueueService(parts, {
      clock,
      interrupt: this.#onInterrupt,
      failed: options.onFailure ?? ((message) => console.error(message)),
      wake: () => this.#wake(),
    })
  }

  /** Makes a device in its reset state. Throws RangeError or TypeError naming the option that is wrong. */
  static async create(options: VirtioBlkOptions): Promise<VirtioBlk> {
    const clock = options.clock ?? nowNanos
    const parts = await setUp(options, clock)
    return new VirtioBlk(options, { ...parts, backend: options.backend }, clock)
  }

  /**
   * Rule 26: makes the device of a snapshot again, over guest RAM that is as it was then. What the options leave out
   * comes from the snapshot. Throws SnapshotError before anything is allocated. The device goes on at once: it drains
   * without a kick, and calls onInterrupt if an interrupt has not been acknowledged, before the promise resolves.
   */
  static async restore(bytes: Uint8Array, options: RestoreOptions): Promise<VirtioBlk> {
    const plan = planRestore(bytes, options)
    checkCapacity(plan, options.backend.capacityBytes)
    const clock = options.clock ?? nowNanos
    const parts = await setUp(plan.options, clock, plan.snapshot)
    const disk = new VirtioBlk(plan.options, { ...parts, backend: options.backend }, clock)
    disk.#goOn()
    return disk
  }

  #goOn(): void {
    if (this.mmioRead(VIRTIO_MMIO_INTERRUPT_STATUS, 4) !== 0) this.#onInterrupt()
    this.#service.kickAll()
    this.#serve()
  }

  // The register window ------------------------------------------------------------------------------------

  /**
   * Reads `width` bytes (1, 2, 4 or 8) at `offset` of the window, as an unsigned number (4.2.2, rule 1). Eight bytes
   * are two words of config space; of registers, like every width but four, all ones.
   */
  mmioRead(offset: number, width: number): number {
    try {
      return readWindow(this.#engine, this.#state.ptr, offset, width)
    } catch (error) {
      this.#service.trapped(error)
      return 0
    }
  }

  /**
   * Writes `value`, 32 bits, to the window; what is no u32 (or its signed twin) is dropped. A QueueNotify drains the
   * queue before it returns, as far as the back end is synchronous.
   */
  mmioWrite(offset: number, width: number, value: number): void {
    if (this.#closed || !isWindowWrite(offset, value)) return
    let effects = 0
    try {
      effects = this.#engine.mmioWrite(this.#state.ptr, offset, width, value)
    } catch (error) {
      this.#service.trapped(error)
      return
    }
    // An acknowledged interrupt matters to machines with a level-triggered line; they see it in InterruptStatus.
    if ((effects & ~abi.EFFECT_ACK) === 0) return
    if (effects & abi.EFFECT_RESET) this.#service.reset()
    if (effects & abi.EFFECT_KICK) this.#service.kick(value)
    if (effects & abi.EFFECT_DRIVER_OK) this.#service.wantAll()
    this.#serve()
  }

  // Draining -----------------------------------------------------------------------------------------------

  /** Drains every live queue once: the entry of the timer and of whoever owns the clock. */
  poll(): PollResult {
    if (this.#closed) return 'idle'
    this.#service.wantAll()
    const more = this.#serve()
    const { stalledNanos } = this.#service
    if (more) return 'more'
    return stalledNanos === undefined ? 'idle' : { stalledNanos }
  }

  #serve(): boolean {
    let more = false
    try {
      more = this.#service.serve()
      if (this.#service.isResetDue) {
        this.#engine.mmioWrite(this.#state.ptr, VIRTIO_MMIO_STATUS, 4, 0)
        this.#service.reset()
      }
    } finally {
      // Also when an interrupt handler throws: no wake-up is lost with it.
      this.#arm()
      if (this.#service.isQuiet) this.#settlePauses()
    }
    return more
  }

  /** Late answers that come together are served together. */
  #wake(): void {
    if (this.#woken) return
    this.#woken = true
    queueMicrotask(() => {
      this.#woken = false
      if (!this.#closed) this.#serve()
    })
  }

  /** The one timer: at once if there is more to do, at the end of the first stall otherwise (rule 20, at most 1 s). */
  #arm(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#closed) return
    let nanos = Number.POSITIVE_INFINITY
    if (this.#service.isWanted) nanos = 0
    else if (this.#ownsTimer) nanos = this.#service.nanosToWake()
    if (nanos === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#onTimer(), Math.ceil(nanos / 1e6))
  }

  #onTimer(): void {
    this.#timer = undefined
    if (this.#ownsTimer) this.#service.wantStalled()
    this.#serve()
  }

  // Pause and snapshot -------------------------------------------------------------------------------------

  /**
   * Rule 25: resolves when what was taken from the rings has been answered, and no guest byte changes any more until
   * resume(). Kicks are remembered. Waits for a late back end, however long that takes.
   */
  pause(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#paused = true
    this.#service.setDraining(true)
    return new Promise((resolve) => {
      this.#pausing.push(resolve)
      this.#serve()
    })
  }

  /** Goes on, with all that was kicked meanwhile. */
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#settlePauses()
    this.#service.setDraining(false)
    if (!this.#closed) this.#serve()
  }

  get isPaused(): boolean {
    return this.#paused
  }

  #settlePauses(): void {
    for (const resolve of this.#pausing.splice(0)) resolve()
  }

  /**
   * Rule 26: the device as bytes, for VirtioBlk.restore(). Guest RAM and the disk's content are not in it. Nothing may
   * be in flight: with a back end that answers at once that is so between any two calls, with any other after pause().
   */
  snapshot(): Uint8Array {
    if (this.#closed) throw new Error('VirtioBlk: the disk is closed, there is nothing to take a snapshot of')
    if (!this.#service.isQuiet) {
      throw new Error('VirtioBlk: requests are in flight: await disk.pause() before snapshot(), resume() after it')
    }
    return captureSnapshot(this.#state, this.#clock())
  }

  // Control ------------------------------------------------------------------------------------------------

  /** What the device has counted: names and meanings are in assembly/CONTRACT.md. */
  get counters(): Counters {
    return this.#state.readCounters()
  }

  /** Rule 27: a new size in bytes, rounded down to whole sectors; the driver gets a configuration interrupt. */
  setCapacity(bytes: number): void {
    const sectors = sectorsOf('capacity', bytes)
    const high = Math.floor(sectors / 2 ** 32)
    if (this.#closed) return
    try {
      const effects = this.#engine.setCapacity(this.#state.ptr, sectors >>> 0, high)
      if (effects & abi.EFFECT_INTERRUPT) this.#onInterrupt()
    } catch (error) {
      this.#service.trapped(error)
    }
  }

  /** Rule 22: new limits from now on, none without an argument. A head that waits is asked again at once. */
  setThrottle(options?: ThrottleOptions): void {
    this.#state.writeThrottle(throttleRecord(options))
    if (this.#closed) return
    try {
      this.#engine.setThrottle(this.#state.ptr, this.#clock())
    } catch (error) {
      this.#service.trapped(error)
    }
    this.#service.wantStalled()
    this.#serve()
  }

  /** Ends the device: no timer, no interrupt and no guest byte changes after this; closes the back end. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#service.close()
    this.#arm()
    this.#settlePauses()
    await this.#closeBackend()
  }
}
