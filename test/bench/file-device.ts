// The same file behind a whole device, for test/bench/file.ts: a driver's ring -> VirtioBlk -> FileBackend. Batches
// of reads from BenchGuest, one kick each; and the reads that the back end then sees, to be done without a device, so
// that the difference is what the device costs. Also VirtioBlkDriver with one request at a time.
//
// Makes the contestants and counts their crossings into the engine; measures and prints nothing.

import * as fs from 'node:fs'
import * as spec from '../../assembly/spec.ts'
import { FileBackend } from '../../host/backend/file.ts'
import { createImage } from '../../host/backend/image.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { VirtioBlkDriver } from '../../host/driver/driver.ts'
import { type EngineExports, type EngineLoader, loadEngine } from '../../host/engine/engine.ts'
import { BenchGuest, type Layout } from './guest.ts'

const RAM_BYTES = 64 << 20
const DISK_BYTES = 1 << 30

interface Read {
  offset: number
  into: Uint8Array[]
}

export interface Contestants {
  /** guest RAM and the device's state */
  buffer: ArrayBufferLike
  /** requests in a batch */
  requests: number
  /** one batch through driver, device and back end */
  whole: () => number
  /** the same reads, straight from the back end into the same guest RAM */
  direct: () => number
  close(): void
}

function openImage(): FileBackend {
  const path = `/dev/shm/vblk-bench-${process.pid}-device.img`
  createImage(path, DISK_BYTES)
  const disk = FileBackend.open(path, { lock: false })
  fs.unlinkSync(path)
  return disk
}

function newMemory(): GuestMemory {
  return GuestMemory.create({ ramBytes: RAM_BYTES, shared: true, stateBytes: 8 << 20 })
}

async function start(memory: GuestMemory, backend: BlockBackend, layout: Layout, engine: EngineLoader) {
  const device = await VirtioBlk.create({ memory, backend, engine })
  const guest = new BenchGuest(memory.view(0, RAM_BYTES), layout)
  guest.start((offset, value) => device.mmioWrite(offset, 4, value))
  const kick = (): number => {
    const count = guest.refill()
    device.mmioWrite(spec.VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0)
    return count
  }
  return { device, kick }
}

/** The reads of one batch, as the back end of a device over another memory sees them. */
async function recordBatch(layout: Layout): Promise<Read[]> {
  const reads: Read[] = []
  const recorder: BlockBackend = {
    capacityBytes: DISK_BYTES,
    inPlace: true,
    read: (offset, into) => {
      reads.push({ offset, into })
      return into.reduce((sum, view) => sum + view.length, 0)
    },
    write: () => 0,
    flush: () => {},
  }
  const { kick } = await start(newMemory(), recorder, layout, loadEngine)
  kick()
  return reads
}

export async function contestants(layout: Layout, engine: EngineLoader = loadEngine): Promise<Contestants> {
  const recorded = await recordBatch(layout)
  const disk = openImage()
  const memory = newMemory()
  const { buffer } = memory.memory
  const reads = recorded.map(({ offset, into }) => ({
    offset,
    into: into.map((view) => new Uint8Array(buffer, view.byteOffset, view.length)),
  }))
  // Data, not holes: the kernel serves those faster than a disk ever would.
  for (const { offset, into } of reads) disk.write(offset, into)
  const { device, kick } = await start(memory, disk, layout, engine)
  kick()
  const { readsCompleted, ioErrors, bytesRead } = device.counters
  const expected = layout.chains * layout.segments * 4096
  if (readsCompleted !== layout.chains || ioErrors !== 0 || bytesRead !== expected) {
    throw new Error(`the device did ${readsCompleted} reads, ${bytesRead} bytes, ${ioErrors} errors`)
  }
  return {
    buffer,
    requests: layout.chains,
    whole: kick,
    direct: () => {
      let moved = 0
      for (const { offset, into } of reads) moved += disk.read(offset, into)
      return moved
    },
    close: () => void device.close(),
  }
}

/** A driver with one request outstanding: `count` reads of 4 KiB, one after the other. */
export async function sequentialReads(): Promise<{ run: (count: number) => Promise<void>; close: () => void }> {
  const memory = newMemory()
  let interrupt = (): void => {}
  const device = await VirtioBlk.create({ memory, backend: openImage(), onInterrupt: () => interrupt() })
  await (await VirtioBlkDriver.probe({ mmio: device, memory })).write(0, new Uint8Array(1 << 20).fill(7))
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory })
  interrupt = () => void driver.interrupt()
  return {
    run: async (count) => {
      for (let i = 0; i < count; i++) await driver.read((i & 255) * 8, 4096)
    },
    close: () => void device.close(),
  }
}

/** A loader that counts every call into the engine, by export. */
export function countingLoader(calls: Record<string, number>): EngineLoader {
  return async (memory) => {
    const counted: [string, (...words: number[]) => number][] = Object.entries(await loadEngine(memory)).map(
      ([name, call]: [string, (...words: number[]) => number]) => [
        name,
        (...words) => {
          calls[name] = (calls[name] ?? 0) + 1
          return call(...words)
        },
      ],
    )
    return Object.fromEntries(counted) as unknown as EngineExports
  }
}
