// The test guest over an inline VirtioBlk on the same thread: guest RAM, a disk in memory, and an eventfd for the
// interrupt. `hooks` stand between the guest and the device, for devices that are late or wrong. With `ioeventfd` kicks
// go to an eventfd and are looked at once per tick, but not while the guest resets: so every reset finds requests in
// flight. The guest's thread is blocked while it runs, so back ends must be synchronous. Owns what it makes; close()
// frees it.

import { VIRTIO_MMIO_QUEUE_NOTIFY } from '../../assembly/spec.ts'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import type { EngineLoader } from '../../host/engine/engine.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { GUEST_RAM_BYTES, type GuestParameters, readResults, STEP } from '../guest/protocol.ts'
import { type GuestDevice, type GuestOptions, type GuestRun, runGuest } from './test-guest.ts'

const SERIAL = 'test-guest-disk'
const DISK_BYTES = 1 << 20

/** What may stand between guest and device. */
export interface GuestHooks {
  /** the answer to a read, given the device's */
  read?(offset: number, value: number): number
  /** instead of the device; `write` passes it on */
  write?(offset: number, value: number, write: (value: number) => void): void
  /** instead of the signal; `signal` passes it on */
  interrupt?(signal: () => void): void
  tick?(): void
}

export interface InlineGuest {
  device: GuestDevice
  memory: GuestMemory
  disk: VirtioBlk
  /** what the disk holds */
  content: Uint8Array
  /** sends the guest an interrupt */
  signal(): void
  /** one line per failure the device announced */
  failures: string[]
  run(parameters?: Partial<GuestParameters>, options?: Partial<GuestOptions>): GuestRun
  close(): Promise<void>
}

export interface InlineOptions {
  backend?: (disk: MemoryBackend) => BlockBackend
  hooks?: (guest: InlineGuest) => GuestHooks
  ioeventfd?: boolean
  /** the device's */
  engine?: EngineLoader
  clock?: () => number
}

/** The guest has begun a reset in the middle of a batch and not yet found Status 0. */
export function isResetting(memory: GuestMemory): boolean {
  return readResults(memory).step === STEP.reset
}

export async function inlineGuest(options: InlineOptions = {}): Promise<InlineGuest> {
  const memory = GuestMemory.create({ ramBytes: GUEST_RAM_BYTES, shared: true })
  const store = new MemoryBackend(DISK_BYTES)
  const event = EventFd.create()
  const kick = options.ioeventfd ? EventFd.create() : undefined
  const failures: string[] = []
  let hooks: GuestHooks = {}
  const signal = (): void => {
    const result = event.signal()
    if (result < 0) throw new Error(`the interrupt's eventfd: ${result}`)
  }
  const disk = await VirtioBlk.create({
    memory,
    backend: options.backend?.(store) ?? store,
    serial: SERIAL,
    ...(options.engine && { engine: options.engine }),
    ...(options.clock && { clock: options.clock }),
    onInterrupt: () => (hooks.interrupt ? hooks.interrupt(signal) : signal()),
    onFailure: (message) => failures.push(message),
  })
  const device: GuestDevice = {
    interruptFd: event.fd,
    mmioRead: (offset, width) => {
      const value = disk.mmioRead(offset, width)
      return hooks.read ? hooks.read(offset, value) : value
    },
    mmioWrite: (offset, width, value) => {
      const write = (value: number): void => disk.mmioWrite(offset, width, value)
      if (hooks.write) hooks.write(offset, value, write)
      else write(value)
    },
    tick: () => {
      if (kick && !isResetting(memory) && kick.take() > 0) disk.mmioWrite(VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0)
      hooks.tick?.()
    },
    ...(kick && { kickFds: [kick.fd] }),
  }
  const guest: InlineGuest = {
    device,
    memory,
    disk,
    content: store.bytes,
    signal,
    failures,
    run: (parameters, more) => {
      const known = { capacitySectors: DISK_BYTES / 512, serial: SERIAL }
      return runGuest({ memory, device, parameters: { ...known, ...parameters }, ...more })
    },
    close: async () => {
      await disk.close()
      event.close()
      kick?.close()
    },
  }
  hooks = options.hooks?.(guest) ?? {}
  return guest
}
