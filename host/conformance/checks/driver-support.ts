// What the checks of driver rows share: one request or chain that breaks a rule, what the device made of it, and the
// proof that nothing else happened. The standard says little about broken drivers, so a check accepts every reaction
// that the class of its row allows, but never harm: guest memory outside the driver's writable buffers and the used
// ring does not change, media does not change, and after a reset the device serves.
//
// Knows no rule itself. Of each region of guest RAM it watches the first MiB, where the rings and buffers of the checks
// are, and the last 256 KiB, where a device ends up that runs over the end.

import type { Negotiated, NegotiateOptions } from '../../driver/raw.ts'
import { RawQueue, type RawQueueOptions } from '../../driver/raw-queue.ts'
import { type RawRequest, type RawRequestOptions, WRITABLE_SENTINEL } from '../../driver/raw-request.ts'
import type { Address } from '../../driver/types.ts'
import type { Kit } from '../kit.ts'

export const NEXT = 1
export const WRITE = 2
export const INDIRECT = 4

export const IN = 0
export const OUT = 1
export const FLUSH = 4
export const GET_ID = 8

export const FEATURES_OK = 0x08
export const NEEDS_RESET = 0x40
export const FAILED = 0x80

/** What became of a request. */
export const OK = 'OK'
const IOERR = 'IOERR'
const UNSUPP = 'UNSUPP'
/** used, but its status byte was not written, or there is none */
export const RETURNED = 'returned without status'
export const BROKEN = 'NEEDS_RESET'
const NOTHING = 'nothing'

/** class fail-request */
export const FAILS: readonly string[] = [IOERR, UNSUPP]
/** class fail-request, or a device that gives up */
export const REFUSES: readonly string[] = [IOERR, UNSUPP, BROKEN]
/** served, or refused */
export const SERVES_OR_REFUSES: readonly string[] = [OK, IOERR, UNSUPP, BROKEN]
/** an error or not, but service goes on */
export const GOES_ON: readonly string[] = [OK, IOERR, UNSUPP]

const WATCHED_HEAD = 1 << 20
const WATCHED_TAIL = 256 << 10
const BOUND_MS = 5000

// Guest memory -------------------------------------------------------------------------------------------------

/** Guest RAM as it was, to say later that nothing else has changed. */
export class Watch {
  readonly #t: Kit
  readonly #before: { gpa: number; bytes: Uint8Array }[]

  constructor(t: Kit) {
    this.#t = t
    const { memory } = t.target
    this.#before = memory.regions.flatMap(({ gpa, bytes }) => {
      const head = Math.min(bytes, WATCHED_HEAD)
      const tail = Math.min(bytes - head, WATCHED_TAIL)
      return [
        { gpa, bytes: memory.view(gpa, head).slice() },
        { gpa: gpa + bytes - tail, bytes: memory.view(gpa + bytes - tail, tail).slice() },
      ]
    })
  }

  /** Fails if a byte changed other than those of used rings and writable buffers. */
  unchanged(about: string, ...may: readonly (RawQueue | RawRequest)[]): void {
    for (const one of may) {
      if (one instanceof RawQueue) this.#allow(one.used, 6 + 8 * one.size)
      else for (const piece of one.pieces) if (piece.writable) this.#allow(piece.addr, piece.bytes)
    }
    for (const { gpa, bytes } of this.#before) {
      const at = firstDifference(bytes, this.#t.target.memory.view(gpa, bytes.length))
      if (at >= 0) this.#t.fail(`${about}: the device changed guest memory at 0x${(gpa + at).toString(16)}`)
    }
    this.#t.ok(`${about}: no other guest memory changed`, true)
  }

  #allow(addr: Address, count: number): void {
    const start = Number(addr)
    for (const { gpa, bytes } of this.#before) {
      const from = Math.max(start, gpa)
      const to = Math.min(start + count, gpa + bytes.length)
      if (from < to) bytes.set(this.#t.target.memory.view(from, to - from), from - gpa)
    }
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let at = 0
  if (a.byteOffset % 4 === 0 && b.byteOffset % 4 === 0) {
    const words = a.length >> 2
    const left = new Uint32Array(a.buffer, a.byteOffset, words)
    const right = new Uint32Array(b.buffer, b.byteOffset, words)
    while (at < words && left[at] === right[at]) at++
    at *= 4
  }
  while (at < a.length && a[at] === b[at]) at++
  return at < a.length ? at : -1
}

/** The first address behind all guest RAM. */
function endOfRam(t: Kit): number {
  return Math.max(...t.target.memory.regions.map(({ gpa, bytes }) => gpa + bytes))
}

/** Addresses where `bytes` bytes are not all RAM, multiples of 16 if more than 16; `real` is one where they are. */
export function outside(t: Kit, real: number, bytes: number): Address[] {
  const end = Math.ceil(endOfRam(t) / 16) * 16
  const inside = bytes > 16 ? (bytes >> 5) * 16 : bytes >> 1
  const straddling = bytes > 1 ? [end - inside, (1n << 64n) - BigInt(inside)] : []
  return [end, 0xffff_ffff_0000_0000n + BigInt(real), (1n << 52n) + BigInt(real), 1n << 63n, ...straddling]
}

// Requests -----------------------------------------------------------------------------------------------------

/** What became of a request so far. */
export function seen(t: Kit, request: RawRequest): string {
  if (request.used() === undefined) return (t.reg.status & NEEDS_RESET) !== 0 ? BROKEN : NOTHING
  const status = request.status()
  if (status === undefined || status === WRITABLE_SENTINEL) return RETURNED
  return [OK, IOERR, UNSUPP][status] ?? `status byte ${status}`
}

/** What becomes of a request that was offered. */
async function reaction(t: Kit, request: RawRequest): Promise<string> {
  await t.wait(() => seen(t, request) !== NOTHING)
  return seen(t, request)
}

/** Offers a request of a live queue; the reaction must be among those allowed, and nothing else may change. */
export async function judged(t: Kit, about: string, request: RawRequest, allowed: readonly string[]): Promise<string> {
  const { queue } = request
  queue.publish(request.head)
  const watch = new Watch(t)
  queue.kick()
  const result = await reaction(t, request)
  // A device that gives up may still have work in hand; one that has answered has shown what it does.
  if (result === BROKEN) await t.quiet()
  t.isOneOf(about, result, allowed)
  watch.unchanged(about, queue, request)
  const used = request.used()
  const room = request.pieces.reduce((sum, piece) => sum + (piece.writable ? piece.bytes : 0), 0)
  if (used !== undefined && used.len > room) t.fail(`${about}: used length ${used.len} of ${room} writable bytes`)
  return result
}

/** The same on a device just brought up. Returns the request, answered or not. */
export async function attack(
  t: Kit,
  about: string,
  options: RawRequestOptions | ((queue: RawQueue) => RawRequestOptions),
  allowed: readonly string[],
  negotiate: NegotiateOptions = {},
): Promise<RawRequest> {
  const { queue } = t.live(negotiate)
  const request = queue.request(typeof options === 'function' ? options(queue) : options)
  await judged(t, about, request, allowed)
  return request
}

/** Offers ring entries, kicks: the device must ask for a reset, push nothing to the used ring, and write nothing. */
export async function breaks(t: Kit, about: string, queue: RawQueue, offer: () => void): Promise<void> {
  offer()
  const watch = new Watch(t)
  const before = queue.usedIdx
  queue.kick()
  await t.wait(() => (t.reg.status & NEEDS_RESET) !== 0)
  t.is(`${about}: NEEDS_RESET`, t.reg.status & NEEDS_RESET, NEEDS_RESET)
  await t.quiet()
  t.is(`${about}: used.idx`, queue.usedIdx, before)
  // The used ring's flags or avail_event may be rewritten.
  watch.unchanged(about, queue)
}

/** Kicks for a read that the device must leave alone; it writes nothing and raises no used event. */
export async function leavesAlone(t: Kit, about: string, queue: RawQueue): Promise<void> {
  const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
  const events = interrupts(t)
  queue.publish(request.head)
  const watch = new Watch(t)
  queue.kick()
  await t.quiet()
  t.untouched(request, about)
  watch.unchanged(about)
  t.is(`${about}: interrupts`, interrupts(t), events)
}

/** How many interrupts there were, or where the target does not count, whether a used event is pending. */
export function interrupts(t: Kit): number {
  return t.target.interrupts?.() ?? t.reg.interruptStatus & 1
}

/** Runs a read; it must be served and announced by an interrupt. */
export async function announced(t: Kit, about: string, queue: RawQueue): Promise<void> {
  t.reg.interruptAck(t.reg.interruptStatus)
  const before = interrupts(t)
  t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, about)
  await t.wait(() => (t.reg.interruptStatus & 1) === 1 && interrupts(t) > before)
  t.is(`${about}: InterruptStatus bit 0`, t.reg.interruptStatus & 1, 1)
  t.ok(`${about}: interrupt`, interrupts(t) > before, `${about}: no interrupt came`)
}

/** A queue that must not be enabled: QueueReady reads 0, or DRIVER_OK ends in NEEDS_RESET. It is not used anyway. */
export async function refusesQueue(t: Kit, about: string, place: RawQueueOptions): Promise<void> {
  const { queue, ready } = t.raw.negotiate({ keepArena: true, queues: [place] })
  await t.quiet()
  const refused = ready[0] === 0 || (t.reg.status & NEEDS_RESET) !== 0
  t.ok(`${about}: refused`, refused, `${about}: QueueReady reads ${ready[0]}, Status 0x${t.reg.status.toString(16)}`)
  const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
  queue.publish(request.head)
  const watch = new Watch(t)
  queue.kick()
  await t.quiet()
  watch.unchanged(about)
}

/** Entries of a ring that the device can have: 16, or all it takes. */
export function ringSize(t: Kit, wanted = 16): number {
  t.reg.selectQueue(0)
  return Math.min(wanted, t.reg.queueSizeMax)
}

/** As many requests of three descriptors, of those wanted, as fit into the table. */
export function fitting(queue: RawQueue, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor(queue.size / 3)))
}

/** Takes less than five seconds: on any machine more than enough for work that is bounded. */
export async function bounded(t: Kit, about: string, act: () => Promise<unknown> | unknown): Promise<void> {
  const start = Date.now()
  await act()
  const ms = Date.now() - start
  t.ok(`${about}: in bounded time`, ms < BOUND_MS, `${about}: took ${ms} ms`)
}

// Media and service --------------------------------------------------------------------------------------------

/** Sectors on the disk, by its own word. */
export function capacity(t: Kit): number {
  return Number(t.reg.config64(0))
}

/** Sectors as a driver reads them that has just brought the device up. */
export async function sectors(t: Kit, first: number, count: number): Promise<Uint8Array> {
  const { queue } = t.live()
  const all = new Uint8Array(512 * count)
  for (let i = 0; i < count; i++) {
    const request = await t.read(queue, first + i)
    if (seen(t, request) !== OK) t.fail(`a read of sector ${first + i} after a reset: ${seen(t, request)}`)
    all.set(request.data(), 512 * i)
  }
  return all
}

/** The first and the last sectors of the disk are the same before and after; afterwards the device serves. */
export async function harmless(t: Kit, act: (negotiated: Negotiated) => Promise<void> | void): Promise<void> {
  const last = capacity(t) - 2
  const head = await sectors(t, 0, 8)
  const tail = await sectors(t, last, 2)
  await act(t.live())
  t.same('the first sectors, after a reset', await sectors(t, 0, 8), head)
  t.same('the last sectors, after a reset', await sectors(t, last, 2), tail)
}
