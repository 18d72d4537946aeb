// The small device of the driver's tests with the features that ours does not have: indirect tables, three queues,
// a cache that the driver controls, topology, discard and write zeroes. For checks that need a device which offers
// them; written from 5.2.4 to 5.2.6.2. A mistake is made by replacing one of its decisions.

import type { Target } from '../../host/conformance/target.ts'
import { type FakeChain, FakeDevice, FakeRam } from './fake-device.ts'

const FEATURES = [1, 2, 6, 9, 10, 11, 12, 13, 14, 28, 29, 32]
const DISCARD = 11
const FLUSH = 9
const CONFIG_WCE = 11
const WRITEBACK = 0x120

export interface Segment {
  sector: number
  sectors: number
  flags: number
}

/** What a device decides, each of which a mistake may replace. */
export interface Decisions {
  features: number[]
  /** writeback when FEATURES_OK is set */
  firstWriteback: (accepted: ReadonlySet<number>) => number
  /** writeback after the driver wrote this */
  setWriteback: (value: number) => number
  /** a completed write is stable at once */
  writesThrough: (accepted: ReadonlySet<number>, writeback: number) => boolean
  flushes: boolean
  /** status of a discard or write zeroes with this segment */
  judge: (type: number, segment: Segment) => number
  /** the sectors that it zeroes */
  zeroes: (type: number, segment: Segment) => { sector: number; sectors: number }
  segmentsMax: number
  physicalBlockExp: number
  chain?: (chain: FakeChain) => number | undefined
}

const RIGHT: Decisions = {
  features: FEATURES,
  firstWriteback: (accepted) => (accepted.has(FLUSH) ? 1 : 0),
  setWriteback: (value) => value & 1,
  writesThrough: (accepted, writeback) => writeback === 0 || !(accepted.has(FLUSH) || accepted.has(CONFIG_WCE)),
  flushes: true,
  judge: (type, { flags }) => (flags > 1 || (type === DISCARD && flags === 1) ? 2 : 0),
  zeroes: (_, { sector, sectors }) => ({ sector, sectors }),
  segmentsMax: 3,
  physicalBlockExp: 3,
}

/** The device as a target, right but for the decisions given. */
export function richTarget(wrong: Partial<Decisions> = {}, change: (device: FakeDevice) => void = () => {}): Target {
  const decisions = { ...RIGHT, ...wrong }
  const ram = new FakeRam(8 << 20)
  const device = new FakeDevice(ram, { features: decisions.features, queues: 3 })
  device.logging = false
  const stable = device.disk.slice()
  const save = (): void => stable.set(device.disk)
  let writeback = 1
  device.onWrite = (offset, value) => {
    if (offset === WRITEBACK && device.accepted.has(CONFIG_WCE)) writeback = decisions.setWriteback(value)
    return undefined
  }
  let wasNegotiated = false
  device.onRead = (offset) => {
    const isNegotiated = (device.status & 8) !== 0
    if (isNegotiated && !wasNegotiated) writeback = decisions.firstWriteback(device.accepted)
    wasNegotiated = isNegotiated
    if (offset === WRITEBACK) return writeback
    if (offset === 0x118) return decisions.physicalBlockExp
    return offset === 0x134 ? decisions.segmentsMax : undefined
  }
  device.answer = (chain) => {
    const code = decisions.chain?.(chain)
    if (code !== undefined) return { code }
    const out = bytesOf(chain.readable).subarray(16)
    if (chain.type === 1) {
      device.disk.set(out, chain.sector * 512)
      if (decisions.writesThrough(device.accepted, writeback)) save()
      return { code: 0 }
    }
    if (chain.type === 4) {
      if (decisions.flushes) save()
      return { code: 0 }
    }
    if (chain.type !== 11 && chain.type !== 13) return undefined
    const segments = segmentsOf(out)
    if (chain.type === 13 && segments.length > RIGHT.segmentsMax) return { code: 1 }
    const bad = segments.map((segment) => decisions.judge(chain.type, segment)).find((status) => status !== 0)
    if (bad !== undefined) return { code: bad }
    for (const segment of segments) {
      const { sector, sectors } = decisions.zeroes(chain.type, segment)
      device.disk.fill(0, sector * 512, (sector + sectors) * 512)
    }
    return { code: 0 }
  }
  change(device)
  return { mmio: device, memory: ram, stable: (offset, bytes) => stable.slice(offset, offset + bytes) }
}

function bytesOf(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

function segmentsOf(bytes: Uint8Array): Segment[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / 16 }, (_, i) => ({
    sector: Number(view.getBigUint64(16 * i, true)),
    sectors: view.getUint32(16 * i + 8, true),
    flags: view.getUint32(16 * i + 12, true),
  }))
}
