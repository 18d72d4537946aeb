// What a walk through a trace shows: frames, the picture after each, and the bytes of guest RAM that are known. Types
// only; walk.ts makes them. Everything is plain data, made anew for each picture, and never changed afterwards.

import type { Counters } from '../../../engine/state.ts'
import type { Call } from '../../../replay/step.ts'
import type { Reference } from './references.ts'

/**
 * - 'driver': what the driver wrote to guest RAM before the call; only a scenario knows
 * - 'call': a call of the engine begins; a register write has its effect here
 * - 'data': what the back end did with the data of a request, before complete()
 * - 'load', 'store': one access of the engine to guest RAM
 * - 'decision': the verdict on a chain, a ring fault, a stall
 * - 'interrupt': raised or, after a publish, not raised and why
 */
export type FrameKind = 'driver' | 'call' | 'data' | 'load' | 'store' | 'decision' | 'interrupt'

/** One thing that happens, small enough to look at. */
export interface Frame {
  /** number of the frame, from 0 */
  readonly index: number
  /** number of the step in the trace, and its call */
  readonly step: number
  readonly call: Call
  readonly kind: FrameKind
  /** of a load or store: its address and bytes (of long ones the first 64), length in `len` */
  readonly gpa?: number
  readonly bytes?: Uint8Array
  readonly len?: number
  /** short name of what is touched or decided: 'avail.idx', 'descriptor 3', 'status byte', 'verdict', 'plan' */
  readonly field: string
  /** one line in plain words */
  readonly text: string
  /** what is decided, of a decision: VERDICT_*, REQUEST_FAULT_* or RING_FAULT_* of abi.ts; of a stall undefined */
  readonly code?: number
  readonly references: readonly Reference[]
}

/** What is known of a byte: nothing, that the driver (or the world before) wrote it, or that the device did. */
export const UNKNOWN = 0
export const DRIVERS = 1
export const DEVICES = 2

export interface Dump {
  readonly gpa: number
  readonly bytes: Uint8Array
  /** UNKNOWN, DRIVERS or DEVICES for each byte; what is not guest RAM is UNKNOWN */
  readonly known: Uint8Array
}

/** Bytes that the current frame touches. */
export interface Touched {
  readonly gpa: number
  readonly len: number
  readonly kind: 'load' | 'store' | 'driver' | 'data'
}

/** A number that lies in guest RAM. */
export interface Cell {
  readonly gpa: number
  readonly len: number
  /** undefined: not known from the trace */
  readonly value: number | undefined
  readonly touched: Touched['kind'] | undefined
}

export type Role = 'header' | 'data' | 'status' | 'empty'

export interface DescriptorRow {
  readonly index: number
  readonly gpa: number
  /** undefined: not known */
  readonly addr: bigint | undefined
  readonly len: number | undefined
  readonly flags: number | undefined
  /** 'NEXT', 'WRITE', 'INDIRECT', and other bits as '0x..' */
  readonly flagNames: readonly string[]
  readonly next: number | undefined
  /** all sixteen bytes are known */
  readonly isKnown: boolean
  /** head of the chain that it belongs to, of those in hand or in flight */
  readonly head: number | undefined
  /** its place in that chain, from 0 */
  readonly position: number | undefined
  readonly isInHand: boolean
  readonly isInFlight: boolean
  /** what it carries; more than one where a descriptor has header and data, or data and status */
  readonly roles: readonly Role[]
  readonly touched: Touched['kind'] | undefined
}

export interface UsedElement {
  readonly slot: number
  readonly id: Cell
  readonly len: Cell
}

export interface QueuePicture {
  readonly index: number
  readonly size: number
  readonly isReady: boolean
  readonly descGpa: bigint
  readonly availGpa: bigint
  readonly usedGpa: bigint
  /** the head waits for tokens */
  readonly isStalled: boolean
  /** free-running: the next entry of the avail ring that the device takes */
  readonly nextAvail: number
  /** free-running: elements written, and those that the driver was shown */
  readonly nextUsed: number
  readonly publishedUsed: number
  /** what follows is empty and undefined while the queue is not ready */
  readonly descriptors: readonly DescriptorRow[]
  readonly avail: (RingPicture & { readonly entries: readonly Cell[]; readonly usedEvent: Cell }) | undefined
  readonly used: (RingPicture & { readonly elements: readonly UsedElement[]; readonly availEvent: Cell }) | undefined
}

interface RingPicture {
  readonly flags: Cell
  readonly idx: Cell
  /** slot that is taken or written next */
  readonly nextSlot: number
}

/**
 * - 'walking': its descriptors are being read       - 'judged': the verdict is there
 * - 'in flight': handed to the back end             - 'stalled': it waits for tokens and stays in the avail ring
 * - 'answered': status and used element are written - 'published': the driver was shown them
 * - 'dropped': the device was reset or poisoned; the driver never sees an answer
 */
export type ChainState = 'walking' | 'judged' | 'in flight' | 'stalled' | 'answered' | 'published' | 'dropped'

export interface DataSpan {
  readonly gpa: bigint
  readonly len: number
  readonly writable: boolean
  /** the first 16 bytes, or as many as there are */
  readonly start: Dump
}

export interface ChainPicture {
  readonly queue: number
  readonly head: number
  /** step that took it from the avail ring, and frame of the load of its head */
  readonly step: number
  readonly frame: number
  readonly state: ChainState
  /** indices in the table, in chain order, as far as they have been loaded */
  readonly descriptors: readonly number[]
  readonly type: number | undefined
  /** 'IN', 'OUT', 'FLUSH', 'GET_ID', 'type 99' */
  readonly typeName: string | undefined
  readonly sector: bigint | undefined
  /** where the first 16 readable bytes lie */
  readonly header: readonly { readonly gpa: bigint; readonly len: number }[]
  readonly data: readonly DataSpan[]
  /** the last writable byte; undefined if there is none yet. Its value is undefined until it is known. */
  readonly statusByte: { readonly gpa: bigint; readonly value: number | undefined } | undefined
  /** VERDICT_* or REQUEST_FAULT_*, and in words */
  readonly code: number | undefined
  readonly decision: string | undefined
  /** what the device wrote, not what lay there before */
  readonly status: number | undefined
  readonly usedLen: number | undefined
}

export interface FeaturePicture {
  readonly bit: number
  readonly name: string
  readonly isOffered: boolean
  readonly isAccepted: boolean
}

export interface RegistersPicture {
  readonly status: number
  /** 'ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK', 'DRIVER_OK', 'NEEDS_RESET', 'FAILED' */
  readonly statusNames: readonly string[]
  readonly interruptStatus: number
  /** 'VRING', 'CONFIG' */
  readonly interruptNames: readonly string[]
  readonly configGeneration: number
  readonly queueSel: number
  readonly deviceFeaturesSel: number
  readonly driverFeaturesSel: number
  /** those that are offered or accepted, by bit */
  readonly features: readonly FeaturePicture[]
  /** names of those in force: accepted, once FEATURES_OK is set */
  readonly negotiated: readonly string[]
  /** RING_FAULT_* since the last reset, 0 = none */
  readonly ringFault: number
}

export interface DevicePicture {
  readonly capacitySectors: number
  readonly readOnly: boolean
  readonly queues: number
  readonly queueSizeMax: number
  readonly segMax: number
  readonly sizeMax: number
  readonly blockSize: number
  readonly serial: string
  readonly regions: readonly { readonly gpa: number; readonly bytes: number }[]
  /** in words: 'no limits', '10 requests a second, bursts of 20' */
  readonly throttle: string
}

/** How everything is once the frame has happened. */
export interface Picture {
  readonly frame: Frame
  /** the recorder's clock at the step, ns */
  readonly nanos: number
  readonly device: DevicePicture
  readonly registers: RegistersPicture
  /** the queue that the frame is about, or was last about */
  readonly queue: QueuePicture | undefined
  /** the chain that the frame is about */
  readonly chain: ChainPicture | undefined
  /** the last requests, oldest first: all that are not finished, and at most 32 that are */
  readonly requests: readonly ChainPicture[]
  readonly touched: readonly Touched[]
  readonly counters: Readonly<Record<keyof Counters, number>>
}

/** What the driver wrote to guest RAM, before the step with that number. */
export interface GuestChange {
  readonly step: number
  readonly gpa: number
  readonly bytes: Uint8Array
}

/** Guest RAM as it was before the first step, and what the driver changed since: with it every byte is known. */
export interface GuestImage {
  readonly regions: readonly { readonly gpa: number; readonly bytes: Uint8Array }[]
  readonly changes: readonly GuestChange[]
}
