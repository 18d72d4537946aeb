// What a check works with: raw access to a device that was just made, waiting that is bounded, and assertions that
// remember what they saw. Expected values come from the check, which has them from the standard.
//
// Knows no rule itself. Owns the target for the length of one check.

import { type Negotiated, type NegotiateOptions, Raw } from '../driver/raw.ts'
import type { RawQueue } from '../driver/raw-queue.ts'
import type { RawRequest, RawRequestOptions } from '../driver/raw-request.ts'
import { CheckFailed, CheckSkipped } from './check.ts'
import { FEATURES } from './rows.ts'
import type { Extra, Target, TargetFacts } from './target.ts'

/** how often a check waits for something that should come; each time the target settles once */
const PATIENCE = 500
/** how often it lets the target settle before it says that nothing comes */
const QUIET = 5

/** Names of the register offsets (4.2.2) that checks read and write directly. */
export const REG = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSel: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSel: 0x024,
  queueSel: 0x030,
  queueSizeMax: 0x034,
  queueSize: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  shmSel: 0x0ac,
  shmLenLow: 0x0b0,
  shmLenHigh: 0x0b4,
  shmBaseLow: 0x0b8,
  shmBaseHigh: 0x0bc,
  configGeneration: 0x0fc,
  config: 0x100,
} as const

/** An answered request: what the device must have said. */
export interface Answer {
  status: number
  /** used.len; leave it out where the standard leaves it open */
  usedLen?: number
}

export class Kit {
  readonly target: Target
  readonly raw: Raw
  readonly #offered: ReadonlySet<number>
  readonly #seen: string[] = []
  #assertions = 0

  constructor(target: Target, offered: ReadonlySet<number>) {
    this.target = target
    this.raw = new Raw({ mmio: target.mmio, memory: target.memory })
    this.#offered = offered
  }

  get reg(): Raw['reg'] {
    return this.raw.reg
  }

  get mem(): Raw['mem'] {
    return this.raw.mem
  }

  get arena(): Raw['arena'] {
    return this.raw.arena
  }

  // The target -----------------------------------------------------------------------------------------------

  /** The device offers the feature, by its name in FEATURES. */
  offers(feature: string): boolean {
    return this.#offered.has(FEATURES[feature] ?? Number.NaN)
  }

  /** An extra that the check has named in its needs. */
  extra<Name extends Extra>(name: Name): NonNullable<Target[Name]> {
    const value = this.target[name]
    if (value === undefined) throw new CheckSkipped(`the target has no ${name}`)
    return (typeof value === 'function' ? value.bind(this.target) : value) as NonNullable<Target[Name]>
  }

  /** What the target is known to be; skips the check if its maker does not say. */
  fact<Name extends keyof TargetFacts>(name: Name): NonNullable<TargetFacts[Name]> {
    const value = this.target.facts?.[name]
    if (value === undefined) throw new CheckSkipped(`the target does not say its ${name}`)
    return value as NonNullable<TargetFacts[Name]>
  }

  /** Ends the check without a verdict. */
  skip(reason: string): never {
    throw new CheckSkipped(reason)
  }

  // Bringing it up and using it ------------------------------------------------------------------------------

  /** Resets the device, negotiates and sets it up to DRIVER_OK with queue 0; fails the check if it does not come up. */
  live(options: NegotiateOptions = {}): Negotiated {
    const device = this.raw.negotiate(options)
    if (device.status !== 0x0f) this.fail(`Status after bring-up: ${show(device.status)}, expected 0x0f`)
    device.ready.forEach((ready, i) => {
      if (ready !== 1) this.fail(`QueueReady of queue ${device.queues[i]?.queue ?? i}: ${ready}, expected 1`)
    })
    return device
  }

  /** Waits until the condition holds: true, or false if it never does. */
  async wait(condition: () => boolean): Promise<boolean> {
    for (let i = 0; !condition(); i++) {
      if (this.target.settle === undefined || i === PATIENCE) return condition()
      await this.target.settle()
    }
    return true
  }

  /** Lets the device do what it has in mind, before the check says that it did nothing. */
  async quiet(): Promise<void> {
    // A device may finish late answers in a microtask.
    await Promise.resolve()
    for (let i = 0; this.target.settle !== undefined && i < QUIET; i++) await this.target.settle()
  }

  /** Waits until a request is used; fails the check if it never is. */
  async done(request: RawRequest, about = 'the request'): Promise<RawRequest> {
    if (!(await this.wait(() => request.used() !== undefined))) {
      this.fail(`${about} was not used: used.idx ${request.queue.usedIdx}, Status ${show(this.reg.status)}`)
    }
    return request
  }

  /** Builds a request, offers it, kicks and waits until it is used. */
  async run(queue: RawQueue, options: RawRequestOptions, about?: string): Promise<RawRequest> {
    return await this.done(queue.run(options), about)
  }

  /** A read of `sectors` sectors. */
  async read(queue: RawQueue, sector: number, sectors = 1): Promise<RawRequest> {
    return await this.run(queue, { type: 0, sector, dataIn: 512 * sectors }, `the read of sector ${sector}`)
  }

  /** A write of whole sectors; fails the check if the device does not store it. */
  async write(queue: RawQueue, sector: number, dataOut: Uint8Array): Promise<RawRequest> {
    const request = await this.run(queue, { type: 1, sector, dataOut }, `the write of sector ${sector}`)
    this.answered(request, { status: 0, usedLen: 1 }, `the write of sector ${sector}`)
    return request
  }

  /** Brings the device up from anywhere, and it serves a read of sector 0. */
  async serves(about = 'after all that'): Promise<void> {
    const { queue } = this.live()
    this.answered(await this.read(queue, 0), { status: 0, usedLen: 513 }, `a read ${about}`)
  }

  // Assertions -----------------------------------------------------------------------------------------------

  /** Remembers what was seen, for the report. */
  saw(what: string): void {
    this.#seen.push(what)
  }

  fail(message: string): never {
    throw new CheckFailed(message)
  }

  is(about: string, actual: unknown, expected: unknown): void {
    this.#assertions++
    if (!Object.is(actual, expected)) this.fail(`${about}: ${show(actual)}, expected ${show(expected)}`)
    this.saw(`${about} ${show(actual)}`)
  }

  isNot(about: string, actual: unknown, forbidden: unknown): void {
    this.#assertions++
    if (Object.is(actual, forbidden)) this.fail(`${about}: ${show(actual)}, which it must not be`)
    this.saw(`${about} ${show(actual)}`)
  }

  isOneOf(about: string, actual: unknown, allowed: readonly unknown[]): void {
    this.#assertions++
    if (!allowed.includes(actual))
      this.fail(`${about}: ${show(actual)}, expected one of ${allowed.map(show).join(', ')}`)
    this.saw(`${about} ${show(actual)}`)
  }

  /** `claim` is what must hold; `otherwise` what is reported when it does not. */
  ok(claim: string, holds: boolean, otherwise = `not so: ${claim}`): void {
    this.#assertions++
    if (!holds) this.fail(otherwise)
    this.saw(claim)
  }

  /** The same bytes. */
  same(about: string, actual: Uint8Array, expected: Uint8Array): void {
    this.#assertions++
    if (actual.length !== expected.length) this.fail(`${about}: ${actual.length} bytes, expected ${expected.length}`)
    const at = actual.findIndex((byte, i) => byte !== expected[i])
    if (at >= 0) this.fail(`${about}: byte ${at} is ${show(actual[at])}, expected ${show(expected[at])}`)
    this.saw(`${about} as expected (${actual.length} bytes)`)
  }

  /** The request was used, with this answer, and nothing but its writable bytes has changed. */
  answered(request: RawRequest, { status, usedLen }: Answer, about = 'the request'): void {
    const used = request.used()
    if (used === undefined) this.fail(`${about} was not used: Status ${show(this.reg.status)}`)
    this.is(`${about}: status byte`, request.status(), status)
    if (usedLen !== undefined) this.is(`${about}: used length`, used.len, usedLen)
    if (!request.intact()) this.fail(`${about}: bytes of or around its buffers changed that the device may not write`)
  }

  /** The request was left alone: no used element for it, no byte of it changed. */
  untouched(request: RawRequest, about = 'the request'): void {
    this.#assertions++
    const used = request.used()
    if (used !== undefined) this.fail(`${about} was used (length ${used.len}), expected to be left alone`)
    if (!request.untouched()) this.fail(`${about}: its writable bytes changed, expected to be left alone`)
    if (!request.intact()) this.fail(`${about}: bytes of or around its buffers changed`)
    this.saw(`${about} left alone`)
  }

  /** All that was seen, in one line. A check that looked at nothing has not checked anything. */
  conclude(): string {
    if (this.#assertions === 0) this.fail('the check made no assertion: a mistake of the kit')
    const distinct = [...new Set(this.#seen)]
    const more = distinct.length > 6 ? `; and ${distinct.length - 6} more` : ''
    return distinct.slice(0, 6).join('; ') + more
  }
}

/** Numbers as a driver writer would have them. */
function show(value: unknown): string {
  if (typeof value === 'number' && Number.isInteger(value)) {
    return value > 9 || value < 0 ? `${value} (0x${(value >>> 0).toString(16)})` : String(value)
  }
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** `count` bytes unlike those of a fresh disk, a different sequence per seed. */
export function pattern(count: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 31 + (i >> 8) * 17 + seed * 89 + 7) & 0xff)
}
