// Draws the picture of one moment from the model: registers, the queue's three parts, the chain in hand, the last
// requests, and which bytes the frame touches. Plain data, made anew each time. Portable.

import * as spec from '../../../../assembly/spec.ts'
import { COUNTER_INDEX, COUNTER_NAMES, type Counters } from '../../../engine/state.ts'
import { decisionText, throttleText } from '../../../replay/names.ts'
import type { InitConfig } from '../../../replay/step.ts'
import { descFlagNames, featureName, INTERRUPT_NAMES, namesOf, STATUS_NAMES } from '../../spec-names.ts'
import { type ChainModel, streams, typeName } from './chain-model.ts'
import type { MachineModel } from './machine-model.ts'
import type { QueueModel } from './register-model.ts'
import {
  type Cell,
  type ChainPicture,
  type DescriptorRow,
  type DevicePicture,
  type Dump,
  type Frame,
  type Picture,
  type QueuePicture,
  type RegistersPicture,
  type Touched,
  UNKNOWN,
} from './walk-types.ts'

const START_BYTES = 16

export function draw(
  model: MachineModel,
  frame: Frame,
  nanos: number,
  config: InitConfig | undefined,
  touched: readonly Touched[],
): Picture {
  const counters: Record<string, number> = {}
  for (const name of COUNTER_NAMES) counters[name] = model.counters[COUNTER_INDEX[name]] ?? 0
  return {
    frame,
    nanos,
    device: drawDevice(model, config),
    registers: drawRegisters(model),
    queue: drawQueue(model, touched),
    chain: model.chain && drawChain(model, model.chain),
    requests: model.requests.map((chain) => drawChain(model, chain)),
    touched,
    counters: counters as unknown as Counters,
  }
}

function drawDevice({ registers, throttle }: MachineModel, config: InitConfig | undefined): DevicePicture {
  const [, , , , queues = 0, queueSizeMax = 0, segMax = 0, sizeMax = 0, blockSize = 0, readOnly = 0] =
    config?.words ?? []
  return {
    capacitySectors: registers.capacitySectors,
    readOnly: readOnly !== 0,
    queues,
    queueSizeMax,
    segMax,
    sizeMax,
    blockSize,
    serial: new TextDecoder('latin1').decode(config?.serial).replace(/\0+$/, ''),
    regions: registers.regions,
    throttle: throttleText(throttle),
  }
}

function drawRegisters({ registers }: MachineModel): RegistersPicture {
  const features = Array.from({ length: 128 }, (_, bit) => ({
    bit,
    name: featureName(bit),
    isOffered: ((registers.deviceFeatures >> BigInt(bit)) & 1n) !== 0n,
    isAccepted: registers.isAccepted(bit),
  })).filter(({ isOffered, isAccepted }) => isOffered || isAccepted)
  return {
    status: registers.status,
    statusNames: namesOf(registers.status, STATUS_NAMES),
    interruptStatus: registers.interruptStatus,
    interruptNames: namesOf(registers.interruptStatus, INTERRUPT_NAMES),
    configGeneration: registers.configGeneration,
    queueSel: registers.queueSel,
    deviceFeaturesSel: registers.deviceFeaturesSel,
    driverFeaturesSel: registers.driverFeaturesSel,
    features,
    negotiated: features.filter(({ bit }) => registers.isNegotiated(bit)).map(({ name }) => name),
    ringFault: registers.fault,
  }
}

// The queue ------------------------------------------------------------------------------------------------

type Touch = (gpa: number, len: number) => Touched['kind'] | undefined

function drawQueue(model: MachineModel, touched: readonly Touched[]): QueuePicture | undefined {
  const { queue, queueIndex } = model
  if (queue === undefined) return undefined
  const touch: Touch = (gpa, len) => touched.find((each) => gpa < each.gpa + each.len && each.gpa < gpa + len)?.kind
  return {
    index: queueIndex,
    size: queue.size,
    isReady: queue.ready,
    descGpa: queue.desc,
    availGpa: queue.avail,
    usedGpa: queue.used,
    isStalled: queue.stalled,
    nextAvail: queue.nextAvail,
    nextUsed: queue.nextUsed,
    publishedUsed: queue.usedIdx,
    descriptors: queue.ready ? drawDescriptors(model, queue, touch) : [],
    avail: queue.ready ? drawAvail(model, queue, touch) : undefined,
    used: queue.ready ? drawUsed(model, queue, touch) : undefined,
  }
}

interface Place {
  readonly chain: ChainModel
  readonly position: number
  readonly roles: DescriptorRow['roles']
}

/** Which descriptor belongs to which chain; the one in hand comes before the others. */
function placesOf(model: MachineModel): Map<number, Place> {
  const places = new Map<number, Place>()
  const inHand = model.chain
  const chains = [...model.taken.values(), ...(inHand && inHand.queue === model.queueIndex ? [inHand] : [])]
  for (const chain of chains) {
    const { roles } = streams(chain)
    chain.descriptors.forEach(({ index }, position) => {
      // In a loop a descriptor has more than one place: the first one is shown.
      if (places.get(index)?.chain !== chain) places.set(index, { chain, position, roles: roles[position] ?? [] })
    })
  }
  return places
}

function drawDescriptors(model: MachineModel, queue: QueueModel, touch: Touch): DescriptorRow[] {
  const places = placesOf(model)
  const table = Number(queue.desc)
  const { memory } = model
  return Array.from({ length: queue.size }, (_, index) => {
    const gpa = table + index * spec.VIRTQ_DESC_BYTES
    const low = memory.number(gpa, 4)
    const high = memory.number(gpa + 4, 4)
    const len = memory.number(gpa + spec.VIRTQ_DESC_LEN, 4)
    const flags = memory.number(gpa + spec.VIRTQ_DESC_FLAGS, 2)
    const next = memory.number(gpa + spec.VIRTQ_DESC_NEXT, 2)
    const addr = low === undefined || high === undefined ? undefined : (BigInt(high) << 32n) | BigInt(low)
    const place = places.get(index)
    return {
      index,
      gpa,
      addr,
      len,
      flags,
      flagNames: flags === undefined ? [] : descFlagNames(flags),
      next,
      isKnown: addr !== undefined && len !== undefined && flags !== undefined && next !== undefined,
      head: place?.chain.head,
      position: place?.position,
      isInHand: place !== undefined && place.chain === model.chain,
      isInFlight: place !== undefined && model.taken.get(place.chain.head) === place.chain,
      roles: place?.roles ?? [],
      touched: touch(gpa, spec.VIRTQ_DESC_BYTES),
    }
  })
}

function cell(model: MachineModel, gpa: number, len: number, touch: Touch): Cell {
  return { gpa, len, value: model.memory.number(gpa, len), touched: touch(gpa, len) }
}

function drawAvail(model: MachineModel, queue: QueueModel, touch: Touch): NonNullable<QueuePicture['avail']> {
  const base = Number(queue.avail)
  const slotAt = (slot: number): number => base + spec.VIRTQ_AVAIL_RING + spec.VIRTQ_AVAIL_ELEM_BYTES * slot
  return {
    flags: cell(model, base + spec.VIRTQ_AVAIL_FLAGS, 2, touch),
    idx: cell(model, base + spec.VIRTQ_AVAIL_IDX, 2, touch),
    nextSlot: queue.nextAvail % queue.size,
    entries: Array.from({ length: queue.size }, (_, slot) => cell(model, slotAt(slot), 2, touch)),
    usedEvent: cell(model, slotAt(queue.size), 2, touch),
  }
}

function drawUsed(model: MachineModel, queue: QueueModel, touch: Touch): NonNullable<QueuePicture['used']> {
  const base = Number(queue.used)
  const slotAt = (slot: number): number => base + spec.VIRTQ_USED_RING + spec.VIRTQ_USED_ELEM_BYTES * slot
  return {
    flags: cell(model, base + spec.VIRTQ_USED_FLAGS, 2, touch),
    idx: cell(model, base + spec.VIRTQ_USED_IDX, 2, touch),
    nextSlot: queue.nextUsed % queue.size,
    elements: Array.from({ length: queue.size }, (_, slot) => ({
      slot,
      id: cell(model, slotAt(slot) + spec.VIRTQ_USED_ELEM_ID, 4, touch),
      len: cell(model, slotAt(slot) + spec.VIRTQ_USED_ELEM_LEN, 4, touch),
    })),
    availEvent: cell(model, slotAt(queue.size), 2, touch),
  }
}

// Chains ---------------------------------------------------------------------------------------------------

/** Bytes at any 64-bit address; past what a number holds nothing is known. */
export function dumpAt({ memory }: MachineModel, gpa: bigint, count: number): Dump {
  if (gpa + BigInt(count) <= BigInt(Number.MAX_SAFE_INTEGER)) return memory.dump(Number(gpa), count)
  return { gpa: Number(gpa), bytes: new Uint8Array(count), known: new Uint8Array(count) }
}

function drawChain(model: MachineModel, chain: ChainModel): ChainPicture {
  const { header, data, status } = streams(chain)
  const value = status === undefined ? undefined : dumpAt(model, status, 1)
  return {
    queue: chain.queue,
    head: chain.head,
    step: chain.step,
    frame: chain.frame,
    state: chain.state,
    descriptors: chain.descriptors.map(({ index }) => index),
    type: chain.type,
    typeName: chain.type === undefined ? undefined : typeName(chain.type),
    sector: chain.sector,
    header,
    data: data.map((span) => ({ ...span, start: dumpAt(model, span.gpa, Math.min(span.len, START_BYTES)) })),
    statusByte:
      status === undefined || value === undefined
        ? undefined
        : { gpa: status, value: value.known[0] === UNKNOWN ? undefined : value.bytes[0] },
    code: chain.code,
    decision: chain.code === undefined ? undefined : decisionText(chain.code),
    status: chain.status,
    usedLen: chain.usedLen,
  }
}
