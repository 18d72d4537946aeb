// A walk through a trace, frame by frame, in any direction: every engine call, load, store, decision and interrupt in
// order, each with a line of text and its references, and the picture of registers, rings, chain and guest RAM after
// it. Works on any trace, also on one that begins with a restore, and on long ones: nothing is made of a step before
// somebody looks at it. Portable.

import {
  QUEUES_MAX,
  TRACE_HEAD,
  TRACE_RING_FAULT,
  TRACE_SERIAL,
  TRACE_VERDICT,
  TRACE_ZERO,
} from '../../../../assembly/abi.ts'
import { VIRTIO_MMIO_QUEUE_NOTIFY, VIRTQUEUE_MAX_SIZE } from '../../../../assembly/spec.ts'
import { decodeSnapshot } from '../../../device/snapshot.ts'
import { TraceError } from '../../../replay/bytes.ts'
import { storedBytes } from '../../../replay/player.ts'
import { isLoad, isStore, type Step, type TraceEvent, WIDTHS } from '../../../replay/step.ts'
import type { Trace } from '../../../replay/trace.ts'
import { say, wasRaised } from './frame-text.ts'
import { MachineModel, type Moment, type Part, partAt, partCount } from './machine-model.ts'
import { draw, dumpAt } from './picture.ts'
import {
  callReferences,
  DATA_REFERENCES,
  DRIVER_REFERENCES,
  eventReferences,
  INTERRUPT_REFERENCES,
  type Reference,
} from './references.ts'
import {
  DRIVERS,
  type Dump,
  type Frame,
  type GuestChange,
  type GuestImage,
  type Picture,
  type Touched,
} from './walk-types.ts'

/** Bytes of a long store that a frame shows. */
const FRAME_BYTES = 64
/** A walk keeps a copy of the model every so many frames, but not more than so many copies. */
const COPY_EVERY = 2000
const COPIES_MAX = 256

const NO_CHANGES: readonly GuestChange[] = []
const NO_REFERENCES: readonly Reference[] = []

/** With `before`, every byte of guest RAM is known. Throws TraceError for a trace that no device can have made. */
export function walkOf(trace: Trace, before?: GuestImage): Walk {
  return new Walk(trace, before)
}

interface Position {
  /** of the next step, and its next part */
  step: number
  part: number
}

interface Kept extends Position {
  readonly model: MachineModel
}

export class Walk {
  readonly trace: Trace
  readonly #before: GuestImage | undefined
  readonly #changes = new Map<number, GuestChange[]>()
  /** number of the first frame of each step, and behind them the number of all frames */
  readonly #firstFrames: Uint32Array
  readonly #copyEvery: number
  /** models as they were before frame 0, copyEvery, 2 * copyEvery ..., as far as somebody has been */
  readonly #kept: Kept[] = []
  /** as after the last frame that was looked at */
  #model: MachineModel
  #next: Position = { step: 0, part: 0 }

  constructor(trace: Trace, before: GuestImage | undefined) {
    checkConfig(trace)
    this.trace = trace
    this.#before = before
    for (const change of before?.changes ?? []) {
      const list = this.#changes.get(change.step)
      if (list) list.push(change)
      else this.#changes.set(change.step, [change])
    }
    this.#firstFrames = new Uint32Array(trace.steps.length + 1)
    trace.steps.forEach((step, number) => {
      this.#firstFrames[number + 1] = (this.#firstFrames[number] as number) + this.#partsOf(number, step)
    })
    this.#copyEvery = Math.max(COPY_EVERY, Math.ceil(this.length / COPIES_MAX))
    this.#model = this.#first()
  }

  /** Number of frames. */
  get length(): number {
    return this.#firstFrames[this.trace.steps.length] as number
  }

  /** The frame to begin at: where the driver fills the ring for its first kick, or kicks it; 0 if it never does. */
  get start(): number {
    const { steps } = this.trace
    const kick = steps.findIndex(
      ({ call, args }) => call === 'kicked' || (call === 'mmioWrite' && args[0] === VIRTIO_MMIO_QUEUE_NOTIFY),
    )
    return kick < 0 ? 0 : this.firstFrameOf(kick)
  }

  /** First frame of the first step that takes a chain from a ring; undefined if none does. */
  get firstTaken(): number | undefined {
    const step = this.trace.steps.findIndex(({ events }) => events.some(({ kind }) => kind === TRACE_HEAD))
    return step < 0 ? undefined : this.firstFrameOf(step)
  }

  /** Frame of the decision on the chain with that head in a step; undefined if that step makes none. */
  verdictOf(step: number, head: number): number | undefined {
    for (let frame = this.firstFrameOf(step); frame < this.firstFrameOf(step + 1); frame++) {
      const { moment, part } = this.#at(frame)
      const event = part.kind === 'event' ? moment.step.events[part.at] : undefined
      if (event?.kind === TRACE_VERDICT && event.at === head) return frame
    }
    return undefined
  }

  /** First frame of a step. */
  firstFrameOf(step: number): number {
    return this.#firstFrames[Math.min(Math.max(step, 0), this.trace.steps.length)] as number
  }

  /** Step that a frame belongs to. */
  stepOf(frame: number): number {
    let low = 0
    let high = this.trace.steps.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((this.#firstFrames[middle] as number) <= frame) low = middle
      else high = middle
    }
    return low
  }

  /** Throws RangeError outside 0 .. length - 1. */
  frameAt(frame: number): Frame {
    this.#goTo(frame)
    return this.#frame(frame)
  }

  /** Frames from..to-1: for a list; consecutive ones cost little. */
  framesAt(from: number, to: number): Frame[] {
    const frames: Frame[] = []
    for (let i = Math.max(from, 0); i < Math.min(to, this.length); i++) frames.push(this.frameAt(i))
    return frames
  }

  /** How everything is once the frame has happened. Throws RangeError outside 0 .. length - 1. */
  pictureAt(frame: number): Picture {
    this.#goTo(frame)
    const { moment, part } = this.#at(frame)
    const { config } = this.trace.steps[0] as Step
    return draw(this.#model, this.#frame(frame), moment.step.nanos, config, this.#touched(moment, part))
  }

  /** Guest RAM after the frame: `count` bytes at any guest-physical address, at most 1 MiB. */
  dump(frame: number, gpa: number | bigint, count: number): Dump {
    this.#goTo(frame)
    return dumpAt(this.#model, BigInt(gpa), Math.min(Math.max(count, 0), 1 << 20))
  }

  // Going ----------------------------------------------------------------------------------------------------

  #changesOf(step: number): readonly GuestChange[] {
    return this.#changes.get(step) ?? NO_CHANGES
  }

  #partsOf(number: number, step: Step): number {
    return partCount(step, this.#changes.has(number))
  }

  #moment(number: number): Moment {
    return {
      number,
      step: this.trace.steps[number] as Step,
      changes: this.#changesOf(number),
      firstFrame: this.#firstFrames[number] as number,
    }
  }

  #at(frame: number): { moment: Moment; part: Part } {
    const moment = this.#moment(this.stepOf(frame))
    return { moment, part: partAt(moment.step, moment.changes.length > 0, frame - moment.firstFrame) }
  }

  #first(): MachineModel {
    const model = new MachineModel()
    for (const { gpa, bytes } of this.#before?.regions ?? []) model.memory.write(gpa, bytes, DRIVERS)
    return model
  }

  /** Number of the frame that the model comes to next. */
  get #nextFrame(): number {
    return (this.#firstFrames[this.#next.step] as number) + this.#next.part
  }

  #goTo(frame: number): void {
    if (!(Number.isInteger(frame) && frame >= 0 && frame < this.length)) {
      throw new RangeError(`walk: there is no frame ${frame}; there are ${this.length}`)
    }
    const kept = this.#keptBefore(frame)
    const isBehind = this.#nextFrame > frame + 1
    const saves = kept !== undefined && this.#frameOf(kept) > this.#nextFrame
    if (isBehind || saves) {
      this.#model = kept ? kept.model.copy() : this.#first()
      this.#next = kept ? { step: kept.step, part: kept.part } : { step: 0, part: 0 }
    }
    while (this.#nextFrame <= frame) this.#advance(frame)
  }

  /** A copy is kept at the beginning of a step, so it may be from behind the frame that it was due at. */
  #keptBefore(frame: number): Kept | undefined {
    let at = Math.min(Math.floor(frame / this.#copyEvery), this.#kept.length - 1)
    while (at > 0 && this.#frameOf(this.#kept[at] as Kept) > frame) at--
    return this.#kept[at]
  }

  #frameOf({ step, part }: Position): number {
    return (this.#firstFrames[step] as number) + part
  }

  /** One part, or a whole step if all of it is to be done. */
  #advance(frame: number): void {
    const { step: number, part } = this.#next
    if (part === 0 && this.#nextFrame >= this.#kept.length * this.#copyEvery) {
      this.#kept.push({ model: this.#model.copy(), step: number, part })
    }
    const moment = this.#moment(number)
    const parts = this.#partsOf(number, moment.step)
    if (part === 0 && moment.firstFrame + parts <= frame + 1) {
      this.#model.applyAll(moment)
      this.#next = { step: number + 1, part: 0 }
      return
    }
    this.#model.apply(moment, partAt(moment.step, moment.changes.length > 0, part))
    if (part + 1 === parts) this.#model.endStep(moment.step)
    this.#next = part + 1 === parts ? { step: number + 1, part: 0 } : { step: number, part: part + 1 }
  }

  // Frames ---------------------------------------------------------------------------------------------------

  #frame(index: number): Frame {
    const { moment, part } = this.#at(index)
    const { step, number } = moment
    const event = part.kind === 'event' ? step.events[part.at] : undefined
    const isDecision = event?.kind === TRACE_VERDICT || event?.kind === TRACE_RING_FAULT
    return {
      index,
      step: number,
      call: step.call,
      ...say(this.#model, moment, part),
      ...(event && (isLoad(event.kind) || isStore(event.kind)) ? accessOf(event) : {}),
      ...(event && isDecision ? { code: event.low | 0 } : {}),
      references: this.#references(moment, part),
    }
  }

  #references({ step }: Moment, part: Part): readonly Reference[] {
    if (part.kind === 'event') return eventReferences(step.events[part.at] as TraceEvent)
    if (part.kind === 'call') return callReferences(step)
    if (part.kind === 'driver') return DRIVER_REFERENCES
    if (part.kind === 'data') return DATA_REFERENCES[this.#model.chain?.isWrite ? 'write' : 'read']
    if (part.kind === 'trap') return NO_REFERENCES
    if (step.call === 'setCapacity') return INTERRUPT_REFERENCES.capacity
    if (step.call !== 'publish') return INTERRUPT_REFERENCES.config
    const { eventIdx } = this.#model.registers
    const raised = wasRaised(step)
    if (raised) return [...INTERRUPT_REFERENCES[eventIdx ? 'event' : 'flags'], ...INTERRUPT_REFERENCES.used]
    return INTERRUPT_REFERENCES[eventIdx ? 'notYet' : 'suppressed']
  }

  #touched({ step, changes }: Moment, part: Part): Touched[] {
    if (part.kind === 'driver') return changes.map(({ gpa, bytes }) => ({ gpa, len: bytes.length, kind: 'driver' }))
    if (part.kind === 'data') {
      return (this.#model.chain?.segments ?? []).map(({ gpa, len }) => ({ gpa, len, kind: 'data' }))
    }
    if (part.kind !== 'event') return []
    const event = step.events[part.at] as TraceEvent
    if (isLoad(event.kind)) return [{ gpa: event.at, len: lengthOf(event), kind: 'load' }]
    return isStore(event.kind) ? [{ gpa: event.at, len: lengthOf(event), kind: 'store' }] : []
  }
}

/** What no engine would have taken would make a picture of any size, or none. */
function checkConfig({ steps }: Trace): void {
  for (const [number, { snapshot }] of steps.entries()) {
    if (snapshot === undefined) continue
    try {
      decodeSnapshot(snapshot)
    } catch (error) {
      throw new TraceError(`step ${number}: a snapshot that cannot be restored: ${(error as Error).message}`)
    }
  }
  const [, , , , queues = 0, queueSizeMax = 0] = steps[0]?.config?.words ?? []
  if (queues > QUEUES_MAX || queueSizeMax > VIRTQUEUE_MAX_SIZE) {
    throw new TraceError(`step 0: no device has ${queues} queues of ${queueSizeMax} entries`)
  }
}

function lengthOf({ kind, low }: TraceEvent): number {
  return kind === TRACE_ZERO || kind === TRACE_SERIAL ? low : (WIDTHS[kind] as number)
}

function accessOf(event: TraceEvent): Pick<Frame, 'gpa' | 'bytes' | 'len'> {
  const len = lengthOf(event)
  const bytes = event.kind === TRACE_ZERO ? new Uint8Array(Math.min(len, FRAME_BYTES)) : storedBytes(event)
  return { gpa: event.at, len, bytes: bytes.slice(0, FRAME_BYTES) }
}
