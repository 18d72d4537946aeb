// A vCPU of a guest that means no good, until it is told to stop: writes one value to Status as fast as it can, or any
// register, any byte of RAM and any doorbell, at random. Posts a message when it begins, and how often it went round.

import { parentPort, workerData } from 'node:worker_threads'
import { VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import { type DiskHandle, DiskTransport } from '../../host/loop/transport.ts'
import { signalEventFd } from '../../host/sys/eventfd.ts'

export interface HammerData {
  readonly handle: DiskHandle
  /** what is written to Status; without it, anything is written anywhere */
  readonly value?: number
  readonly seed?: number
  /** of the guest's RAM, which begins at address 0 */
  readonly ram?: { readonly ptr: number; readonly bytes: number }
  /** word 0: not 0 = stop */
  readonly stop: Int32Array
}

const { handle, value, seed = 1, ram = { ptr: 0, bytes: 0 }, stop } = workerData as HammerData
const transport = DiskTransport.open(handle, () => {})
const ramBytes = new Uint8Array(handle.memory.buffer, ram.ptr, ram.bytes)
const ramWords = new Uint16Array(handle.memory.buffer, ram.ptr, ram.bytes / 2)
let state = seed

function below(end: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % end
}

const write = (offset: number, word: number): void => transport.mmioWrite(offset, 4, word)

const DESC = 0x1000
const AVAIL = 0x1100
const USED = 0x1200
const DATA = 0x2000
const SIZE = 8

/** A queue whose rings are where all threads have theirs, by a driver that may stop half way. */
function bringUp(): void {
  const steps: [number, number][] = [
    ...[0, 1, 3].map((status): [number, number] => [VIRTIO_MMIO_STATUS, status]),
    ...[0x24, 0x20].map((offset): [number, number] => [offset, offset === 0x20 ? 0x246 : 0]),
    ...[0x24, 0x20].map((offset): [number, number] => [offset, 1]),
    [VIRTIO_MMIO_STATUS, 0x0b],
    ...[0x30, 0x84, 0x94, 0xa4].map((offset): [number, number] => [offset, 0]),
    ...[
      [0x38, SIZE],
      [0x80, DESC],
      [0x90, AVAIL],
      [0xa0, USED],
      [0x44, 1],
    ].map(([a, b]) => [a, b] as [number, number]),
    [VIRTIO_MMIO_STATUS, 0x0f],
  ]
  ramWords.fill(0, AVAIL >> 1, (USED + 0x100) >> 1)
  const end = below(8) === 0 ? below(steps.length) : steps.length
  for (const [offset, word] of steps.slice(0, end)) write(offset, word)
}

/** A read or a write of one sector with its three descriptors, offered in the next slot of the ring. */
function offer(): void {
  const words = new DataView(ramBytes.buffer, ram.ptr, ram.bytes)
  const first = below(SIZE - 2)
  const chain = [
    [DATA, 16, 1],
    [DATA + 0x1000, 512, 1 | (below(2) << 1)],
    [DATA + 0x800, 1, 2],
  ] as const
  chain.forEach(([address, bytes, flags], i) => {
    const at = DESC + 16 * (first + i)
    words.setBigUint64(at, BigInt(address), true)
    words.setUint32(at + 8, bytes, true)
    words.setUint16(at + 12, flags, true)
    words.setUint16(at + 14, first + i + 1, true)
  })
  words.setUint32(DATA, below(2), true)
  words.setBigUint64(DATA + 8, BigInt(below(8)), true)
  const idx = ramWords[(AVAIL >> 1) + 1] as number
  ramWords[(AVAIL >> 1) + 2 + (idx % SIZE)] = first
  ramWords[(AVAIL >> 1) + 1] = idx + 1
}

/** Mostly IO, and now and then what no driver does. */
function anything(): void {
  const what = below(400)
  if (what < 10) bringUp()
  else if (what < 14) write(VIRTIO_MMIO_STATUS, [0, 0x8f, 0x4f, 0xff, 0x0f][below(5)] as number)
  else if (what < 18) write(0x44, below(3))
  else if (what < 24) transport.mmioWrite(4 * below(0x48), [1, 2, 4, 8, 3][below(5)] as number, state >>> 0)
  else if (what < 30) ramBytes[DESC + below(0x400)] = below(256)
  else if (what < 60) transport.mmioRead(below(0x140), [1, 2, 4, 8][below(4)] as number)
  else if (what < 100) signalEventFd(handle.kickFds[0] as number)
  else if (what < 130) write(0x64, 3)
  else if (what < 150) write(0x50, state >>> 0)
  else if (what < 200)
    Atomics.wait(stop, 0, 0, 1) // lets the worker have its turn
  else {
    // No further ahead than the ring is long, most of the time.
    const ahead = (ramWords[(AVAIL >> 1) + 1] as number) - (ramWords[(USED >> 1) + 1] as number)
    if ((ahead & 0xffff) < SIZE - 2 || below(64) === 0) offer()
    write(0x50, 0)
  }
}

parentPort?.postMessage('begun')
let rounds = 0
for (; Atomics.load(stop, 0) === 0; rounds++) {
  if (value === undefined) anything()
  else write(VIRTIO_MMIO_STATUS, value)
}
parentPort?.postMessage(rounds)
