// What a disk is doing, made of its recording's steps and its counters: rates, requests in flight, stalls, and the
// latest requests as rows of a list. Portable, and without a clock: times are handed in.

import * as abi from '../../../assembly/abi.ts'
import { decodeSnapshot } from '../../device/snapshot.ts'
import type { Counters } from '../../engine/state.ts'
import { type Listed, type ListedRequest, Lister } from '../../replay/listing.ts'
import type { Step } from '../../replay/step.ts'
import type { RequestRow, Statistics, Totals } from './messages.ts'

/** How many rows are handed over at a time: the list does not show more. */
export const ROWS_MAX = 200

const IDX_MASK = 0xffff
const OPERATIONS: Readonly<Record<number, string>> = {
  [abi.VERDICT_READ]: 'read',
  [abi.VERDICT_WRITE]: 'write',
  [abi.VERDICT_FLUSH]: 'flush',
  [abi.VERDICT_FLUSH_NOTHING]: 'flush',
  [abi.VERDICT_GET_ID]: 'get id',
  [abi.VERDICT_UNSUPPORTED]: 'unsupported',
}

type Rates = Omit<Statistics, 'recording'>

/** What had been done by then. */
interface Mark {
  /** in seconds that were reported */
  readonly time: number
  readonly totals: Totals
}

interface RecordingStart {
  readonly number: number
  /** ms of the wall clock */
  readonly begun: number
}

export class Activity {
  #lister = new Lister()
  #recording = 0
  /** ms of the wall clock when the recording began */
  #begun = 0
  /** taken from the ring and not complete yet, then complete ones that were not handed over */
  #requests: ListedRequest[] = []
  #count = 0
  /** by head, since when, in ms of the wall clock: it may be in the recording before */
  readonly #waits = new Map<number, number>()
  #waited = new Map<ListedRequest, number>()
  /** undefined until it is known where the guest stands */
  #avail: number | undefined
  #used = 0
  #peak = 0
  #first: Counters | undefined
  /** seconds that were reported */
  #time = 0
  /** oldest first: as many as reach back to a second ago */
  #marks: Mark[] = []

  /** requests in the present recording */
  get requests(): number {
    return this.#count
  }

  /** The steps of another recording follow; what was listed stays. */
  #begin({ number, begun }: RecordingStart): void {
    this.#take() // the last of the one before
    this.#recording = number
    this.#begun = begun
    this.#lister = new Lister()
    this.#count = 0
  }

  step(recording: RecordingStart, number: number, step: Step): void {
    if (recording.number !== this.#recording) this.#begin(recording)
    this.#lister.take(number, step)
    this.#followIndices(step)
    for (const listed of this.#lister.drain()) this.#list(listed)
    for (const { kind, at } of step.events) {
      // Told again each time it is asked: it waits since the first.
      if (kind === abi.TRACE_STALL && !this.#waits.has(at)) this.#waits.set(at, this.#wall(step.nanos))
    }
  }

  /** One queue, as the page's disk has it. */
  #followIndices(step: Step): void {
    if (step.snapshot) {
      const [queue] = decodeSnapshot(step.snapshot).queues
      this.#used = Number(queue?.nextUsed ?? 0) & IDX_MASK
      this.#avail ??= this.#used
    }
    if (step.call === 'mmioWrite' && (step.result ?? 0) & abi.EFFECT_RESET) {
      this.#avail = this.#used = 0
      this.#waits.clear()
    }
    for (const { kind, low } of step.events) {
      if (kind === abi.TRACE_AVAIL_IDX) this.#avail = low
      else if (kind === abi.TRACE_USED_IDX) this.#used = low
      else continue
      this.#peak = Math.max(this.#peak, this.#present)
    }
  }

  #wall(nanos: number): number {
    return this.#begun + nanos / 1e6
  }

  get #present(): number {
    return this.#avail === undefined ? 0 : (this.#avail - this.#used) & IDX_MASK
  }

  #list(listed: Listed): void {
    if (listed.kind !== 'request') return
    this.#count++
    const since = this.#waits.get(listed.head)
    if (since !== undefined) {
      this.#waits.delete(listed.head)
      this.#waited.set(listed, this.#wall(listed.nanos) - since)
    }
    this.#requests.push(listed)
    if (this.#requests.length > 2 * ROWS_MAX) this.#drop(this.#requests.splice(0, this.#requests.length - ROWS_MAX))
  }

  #drop(requests: readonly ListedRequest[]): void {
    for (const request of requests) this.#waited.delete(request)
  }

  readonly #rows: RequestRow[] = []

  /** Makes rows of what is complete. */
  #take(): void {
    const isComplete = ({ endStep, dropped }: ListedRequest): boolean => endStep !== undefined || dropped !== undefined
    for (const request of this.#requests.filter(isComplete)) this.#rows.push(this.#row(request))
    this.#requests = this.#requests.filter((request) => !isComplete(request))
    this.#rows.splice(0, Math.max(0, this.#rows.length - ROWS_MAX))
  }

  #row(request: ListedRequest): RequestRow {
    const { step, head, nanos, decision, text, sector, segments, status, duration } = request
    const waitedMillis = this.#waited.get(request)
    this.#waited.delete(request)
    const moves = decision === abi.VERDICT_READ || decision === abi.VERDICT_WRITE
    return {
      recording: this.#recording,
      step,
      head,
      time: this.#wall(nanos),
      operation: OPERATIONS[decision] ?? 'refused',
      decision: text,
      ...(moves && sector !== undefined && { sector: Number(sector) }),
      bytes: moves ? segments.reduce((sum, { len }) => sum + len, 0) : 0,
      ...(status !== undefined && { status }),
      ...(duration !== undefined && { micros: duration / 1e3 }),
      ...(waitedMillis !== undefined && { waitedMillis }),
    }
  }

  /**
   * A count's sum over the second before now, and not a shorter time scaled up: what a limit lets through at once would
   * look like many times the limit. Of the report that a second ago falls into, the part since then counts.
   */
  #lastSecond(seconds: number, now: Totals): (name: keyof Totals) => number {
    this.#time += seconds
    this.#marks.push({ time: this.#time, totals: now })
    const from = this.#time - 1
    const later = Math.max(
      this.#marks.findIndex(({ time }) => time > from),
      1,
    )
    this.#marks.splice(0, later - 1)
    const [before, after] = this.#marks
    if (before === undefined || after === undefined) return () => 0
    const share = Math.min(Math.max((from - before.time) / (after.time - before.time), 0), 1)
    return (name) => now[name] - before.totals[name] - (after.totals[name] - before.totals[name]) * share
  }

  /**
   * What went on in the last second, and the requests that were completed since this was asked last, `seconds` ago,
   * oldest first. `inFlight`: how many there are now, those included that the engine has not looked at.
   */
  report(seconds: number, counters: Counters, inFlight: number): { rates: Rates; rows: RequestRow[] } {
    this.#take()
    const rows = this.#rows.splice(0)
    this.#first ??= counters
    const now = totals(counters, this.#first)
    const rate = this.#lastSecond(seconds, now)
    const most = Math.max(this.#peak, inFlight)
    this.#peak = 0
    return {
      rates: {
        reads: rate('reads'),
        writes: rate('writes'),
        flushes: rate('flushes'),
        bytesRead: rate('bytesRead'),
        bytesWritten: rate('bytesWritten'),
        stalls: rate('stalls'),
        inFlight: most,
        isWaiting: counters.currentlyThrottled > 0,
        totals: now,
      },
      rows,
    }
  }
}

function totals(now: Counters, first: Counters): Totals {
  const since = (name: keyof Counters): number => now[name] - first[name]
  return {
    reads: since('readsCompleted'),
    writes: since('writesCompleted'),
    flushes: since('flushesCompleted'),
    bytesRead: since('bytesRead'),
    bytesWritten: since('bytesWritten'),
    stalls: since('throttledCount'),
    errors: since('ioErrors') + since('unsupported') + since('ringFaults'),
  }
}
