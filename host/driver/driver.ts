// A virtio-blk driver (5.2) over virtio-mmio (4.2): what a guest's kernel does, in TypeScript, against any device
// behind `mmioRead`/`mmioWrite` and any guest RAM. Portable. Works with synchronous and asynchronous devices, and
// with or without somebody calling interrupt(): while requests are outstanding it also polls.
//
// Independent of every device on purpose: it knows the standard's numbers only, so a mistake cannot hide on both
// sides. Sends what it is asked to send also past the capacity or to a read-only disk; the device is to answer.
// Does not do packed rings, zones, lifetime or secure erase. Tests that break rules want raw.ts instead.

import {
  VIRTIO_BLK_CFG_WRITEBACK,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_MMIO_INT_CONFIG,
} from '../../assembly/spec.ts'
import { type BringUpOptions, bringUp, identify, type LiveDevice, resetDevice } from './bring-up.ts'
import { type BlkConfig, readConfig } from './config.ts'
import { defaultArena, type RequestLimits } from './limits.ts'
import { Poller } from './poller.ts'
import { Registers } from './registers.ts'
import type { Job, RequestQueue } from './request-queue.ts'
import { rangeRequests } from './segments.ts'
import { DeviceNeedsReset, DriverError, type DriverMemory, type MmioBus } from './types.ts'

export { UNDERSTOOD_FEATURES } from './bring-up.ts'
export type { BlkConfig } from './config.ts'
export type { RequestLimits } from './limits.ts'
export { type Negotiated, type NegotiateOptions, Raw, type RawOptions, type Stage } from './raw.ts'
export { type ChainLink, type Descriptor, RawQueue, type RawQueueOptions, type UsedElement } from './raw-queue.ts'
export { type Piece, RawRequest, type RawRequestOptions, type Span } from './raw-request.ts'
export {
  type Address,
  DeviceMisbehaved,
  DeviceNeedsReset,
  DriverError,
  type DriverMemory,
  type MmioBus,
  type RamRegion,
} from './types.ts'

export interface ProbeOptions {
  /** the device's register window: `VirtioBlk`, or anything with mmioRead and mmioWrite */
  mmio: MmioBus
  /** guest RAM: `GuestMemory`, or anything with view and regions */
  memory: DriverMemory
  /** entries in each ring, a power of two. Default: QueueSizeMax, but at most 256. */
  queueSize?: number
  /** request queues to use; more than 1 needs MQ. Default 1. */
  queues?: number
  /** picks from the offered bit numbers (VERSION_1 is always added). Default: all that this driver understands. */
  features?: (offered: Set<number>) => Iterable<number>
  /** guest-physical address of rings and buffers, a multiple of 16. Default: so that they end with the first region. */
  queueBase?: number
  /** bytes from there that belong to the driver. Default: half of the first region, but at most 16 MiB. */
  arenaBytes?: number
  /** data bytes in one descriptor at most. Default: what size_max allows. */
  segmentBytes?: number
  /** false: tell the device that no interrupts are wanted, and only poll. Default true. */
  interrupts?: boolean
  /** how long a reset may take until Status reads 0. Default 5000. */
  resetTimeoutMs?: number
  /** called from interrupt() when the device has changed its configuration; `config` is already read anew */
  onConfigChange?: (config: BlkConfig) => void
}

type RequestPart = Omit<Job, 'done'>

export class VirtioBlkDriver {
  /** the device's registers, for a look at them; writing behind the driver's back breaks it */
  readonly registers: Registers
  readonly #bringUp: BringUpOptions
  readonly #onConfigChange: ((config: BlkConfig) => void) | undefined
  readonly #poller: Poller
  #live: LiveDevice
  /** why no request can be sent; undefined while all is well */
  #failure: DriverError | undefined
  #closed = false
  /** ends when the last reset() or close() has */
  #control: Promise<void> = Promise.resolve()
  #nextQueue = 0

  private constructor(options: BringUpOptions, live: LiveDevice, onConfigChange: ProbeOptions['onConfigChange']) {
    this.registers = options.reg
    this.#bringUp = options
    this.#live = live
    this.#onConfigChange = onConfigChange
    this.#poller = new Poller((byTimer) => this.#poll(byTimer))
  }

  /**
   * Finds the device, resets it and brings it to DRIVER_OK (3.1.1). Rejects with DriverError, and leaves FAILED in
   * Status, if there is no such device, it refuses the features, or a queue cannot be set up.
   */
  static async probe(options: ProbeOptions): Promise<VirtioBlkDriver> {
    const { mmio, memory, queues = 1, interrupts = true, resetTimeoutMs = 5000 } = options
    const reg = new Registers(mmio)
    const arena = defaultArena(memory, options.arenaBytes)
    arena.gpa = options.queueBase ?? arena.gpa
    if (arena.gpa % 16 !== 0) throw new RangeError(`probe: queueBase must be a multiple of 16, not ${arena.gpa}`)
    memory.view(arena.gpa, arena.bytes)
    identify(reg)
    const { queueSize, segmentBytes, features } = options
    const how = { reg, memory, arena, queueSize, queues, segmentBytes, interrupts, features, resetTimeoutMs }
    const driver = new VirtioBlkDriver(how, await bringUp(how), options.onConfigChange)
    driver.interrupt()
    return driver
  }

  /** size in sectors of 512 bytes, as of the last configuration read */
  get capacitySectors(): number {
    return this.#live.config.capacitySectors
  }

  /** the device offers VIRTIO_BLK_F_RO: writes fail */
  get readOnly(): boolean {
    return this.#live.offered.has(VIRTIO_BLK_F_RO)
  }

  /** the negotiated feature bits */
  get features(): ReadonlySet<number> {
    return this.#live.features
  }

  /** the configuration space as of the last read */
  get config(): Readonly<BlkConfig> {
    return this.#live.config
  }

  /** how large one request may be; larger reads and writes are split */
  get limits(): Readonly<RequestLimits> {
    return this.#live.limits
  }

  /** entries of each ring */
  get queueSize(): number {
    return this.#live.queues[0]?.ring.size ?? 0
  }

  /** requests not finished, with the device or waiting for room in a ring */
  get outstanding(): number {
    return this.#live.queues.reduce((sum, queue) => sum + queue.load, 0)
  }

  /** Reads `bytes` (a positive multiple of 512) from `sector` on. Rejects with DriverError if any part fails. */
  async read(sector: number, bytes: number): Promise<Uint8Array> {
    checkSpan(sector, bytes)
    const data = new Uint8Array(bytes)
    await this.#send(this.#split(VIRTIO_BLK_T_IN, sector, data))
    return data
  }

  /** Writes `data` (a positive multiple of 512 bytes) from `sector` on; not to be changed until this resolves. */
  async write(sector: number, data: Uint8Array): Promise<void> {
    checkSpan(sector, data.length)
    await this.#send(this.#split(VIRTIO_BLK_T_OUT, sector, data))
  }

  /** Makes all writes that resolved before durable (5.2.6.2). Sends nothing if FLUSH was not negotiated. */
  async flush(): Promise<void> {
    if (!this.features.has(VIRTIO_BLK_F_FLUSH)) {
      if (this.#failure) throw this.#failure
      return
    }
    await this.#send([{ type: VIRTIO_BLK_T_FLUSH, sector: 0 }])
  }

  /** The device's id, at most 20 characters (GET_ID), up to the first NUL. */
  async getId(): Promise<string> {
    const id = new Uint8Array(VIRTIO_BLK_ID_BYTES)
    await this.#send([{ type: VIRTIO_BLK_T_GET_ID, sector: 0, into: id }])
    const end = id.indexOf(0)
    return new TextDecoder().decode(end < 0 ? id : id.subarray(0, end))
  }

  /** Says that nobody needs these sectors any more. Throws DriverError if DISCARD was not negotiated. */
  async discard(sector: number, sectors: number): Promise<void> {
    checkSpan(sector, sectors * VIRTIO_BLK_SECTOR_BYTES)
    const limits = this.config.discard
    if (!limits) throw notNegotiated('DISCARD', VIRTIO_BLK_F_DISCARD)
    await this.#send(
      rangeRequests(VIRTIO_BLK_T_DISCARD, { sector, sectors, flags: 0 }, limits, this.limits.requestBytes),
    )
  }

  /** Makes these sectors zero. Throws DriverError if WRITE_ZEROES was not negotiated. */
  async writeZeroes(sector: number, sectors: number, options: { mayUnmap?: boolean } = {}): Promise<void> {
    checkSpan(sector, sectors * VIRTIO_BLK_SECTOR_BYTES)
    const limits = this.config.writeZeroes
    if (!limits) throw notNegotiated('WRITE_ZEROES', VIRTIO_BLK_F_WRITE_ZEROES)
    const flags = options.mayUnmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0
    await this.#send(
      rangeRequests(VIRTIO_BLK_T_WRITE_ZEROES, { sector, sectors, flags }, limits, this.limits.requestBytes),
    )
  }

  /** Switches the device's write cache (5.2.5). Throws DriverError if CONFIG_WCE was not negotiated. */
  setWriteback(on: boolean): void {
    if (!this.features.has(VIRTIO_BLK_F_CONFIG_WCE)) throw notNegotiated('CONFIG_WCE', VIRTIO_BLK_F_CONFIG_WCE)
    if (this.#failure) throw this.#failure
    this.registers.setConfig(VIRTIO_BLK_CFG_WRITEBACK, on ? 1 : 0, 1)
    this.refreshConfig()
  }

  /**
   * What the owner calls when the device raised its interrupt: acknowledges first, then looks at the configuration
   * and at every used ring. Never throws for what the device did: requests reject instead.
   * @returns the InterruptStatus bits that were set; 0: the interrupt was not this device's
   */
  interrupt(): number {
    const bits = this.registers.interruptStatus
    if (bits === 0) return 0
    this.registers.interruptAck(bits)
    if (this.#failure) return bits
    if (bits & VIRTIO_MMIO_INT_CONFIG) this.#configChanged()
    this.#serve()
    return bits
  }

  /** Reads the configuration anew, as after a configuration change. Throws DeviceMisbehaved if it never settles. */
  refreshConfig(): void {
    this.#live.config = readConfig(this.registers, this.features)
  }

  /**
   * Resets the device and brings it up again with the same options; whatever was outstanding rejects. Brings a
   * device back that asked for it (DEVICE_NEEDS_RESET) or misbehaved. Rejects with DriverError after close().
   */
  reset(): Promise<void> {
    if (this.#closed) return Promise.reject(new DriverError('the driver is closed'))
    this.#fail((details) => new DriverError('the driver reset the device', details))
    return this.#inTurn(async () => {
      try {
        this.#live = await bringUp(this.#bringUp)
      } catch (error) {
        this.#failure = new DriverError('the device did not come back after a reset', { cause: error })
        throw error
      }
      this.#failure = this.#closed ? new DriverError('the driver is closed') : undefined
      this.interrupt()
    })
  }

  /** Resets the device and lets go of it; whatever was outstanding rejects. The driver's guest RAM is free then. */
  close(): Promise<void> {
    this.#closed = true
    this.#fail((details) => new DriverError('the driver is closed', details))
    return this.#inTurn(() => resetDevice(this.registers, this.#bringUp.resetTimeoutMs))
  }

  /** One reset at a time: two at once would each undo what the other brings up. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const run = this.#control.then(work)
    this.#control = run.catch(() => {})
    return run
  }

  // One request to the device for each piece --------------------------------------------------------------

  #split(type: number, sector: number, data: Uint8Array): RequestPart[] {
    const { requestBytes } = this.#live.limits
    const pieces: RequestPart[] = []
    for (let at = 0; at < data.length; at += requestBytes) {
      const part = data.subarray(at, at + requestBytes)
      const from = sector + at / VIRTIO_BLK_SECTOR_BYTES
      pieces.push(type === VIRTIO_BLK_T_IN ? { type, sector: from, into: part } : { type, sector: from, out: part })
    }
    return pieces
  }

  /** Sends all pieces; ends when all have, with the first failure if there is one. */
  #send(pieces: readonly RequestPart[]): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      let left = pieces.length
      let failure: DriverError | undefined
      const done = (error?: DriverError): void => {
        failure ??= error
        if (--left > 0) return
        if (failure) reject(failure)
        else resolve()
      }
      for (const piece of pieces) this.#pickQueue().add({ ...piece, done })
      this.#serve()
    })
  }

  #pickQueue(): RequestQueue {
    const { queues } = this.#live
    this.#nextQueue = (this.#nextQueue + 1) % queues.length
    return queues[this.#nextQueue] as RequestQueue
  }

  /** Finishes what is finished and starts what fits, on every queue. */
  #serve(): void {
    let busy = false
    try {
      for (const queue of this.#live.queues) {
        queue.scan()
        queue.pump()
        busy ||= queue.busy
      }
    } catch (error) {
      const failure = error instanceof DriverError ? error : new DriverError('the driver failed', { cause: error })
      this.#fail(() => failure)
      return
    }
    if (busy) this.#poller.start()
  }

  /** One look at the rings; whether to go on looking. */
  #poll(byTimer: boolean): 'idle' | 'progress' | 'nothing' {
    if (this.#failure) return 'idle'
    const before = this.outstanding
    if (byTimer) this.#checkStatus()
    if (!this.#failure) this.#serve()
    const after = this.outstanding
    if (after === 0) return 'idle'
    return after < before ? 'progress' : 'nothing'
  }

  #configChanged(): void {
    this.#checkStatus()
    if (this.#failure) return
    try {
      this.refreshConfig()
    } catch (error) {
      const failure = error as DriverError
      this.#fail(() => failure)
      return
    }
    this.#onConfigChange?.(this.config)
  }

  /** 2.1.2: a device that needs a reset, or was reset behind our back, returns nothing any more. */
  #checkStatus(): void {
    const { status } = this.registers
    if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
      this.#serveLast()
      this.#fail((details) => new DeviceNeedsReset(undefined, details))
    } else if (!(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
      const text = `0x${status.toString(16)}`
      this.#fail((details) => new DriverError(`the device left DRIVER_OK: Status reads ${text}`, details))
    }
  }

  /** What the device returned before it stopped is still good. */
  #serveLast(): void {
    try {
      for (const queue of this.#live.queues) queue.scan()
    } catch {
      // The device is lost in any case, and the reset says more than what is wrong with its ring.
    }
  }

  /** Ends all requests and refuses new ones, until reset(). */
  #fail(makeError: (details: { type?: number; sector?: number }) => DriverError): void {
    this.#failure = makeError({})
    for (const queue of this.#live.queues) queue.fail(({ type, sector }) => makeError({ type, sector }))
  }
}

function checkSpan(sector: number, bytes: number): void {
  if (!Number.isSafeInteger(sector) || sector < 0) {
    throw new RangeError(`driver: sector must be a whole number from 0, not ${sector}`)
  }
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % VIRTIO_BLK_SECTOR_BYTES !== 0) {
    throw new RangeError(`driver: the length must be a positive multiple of 512 bytes, not ${bytes}`)
  }
}

function notNegotiated(name: string, bit: number): DriverError {
  return new DriverError(`driver: ${name} (feature ${bit}) was not negotiated`)
}
