// A guest whose device and RAM can be exchanged under it: for tests of snapshots. The raw driver talks to whatever
// device is there now; move() takes a snapshot, copies guest RAM into a memory of another flavour, and goes on there.

import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import type { RestoreOptions } from '../../host/device/restore.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/raw.ts'
import { type DeviceOptions, diskBytes } from './device.ts'
import { type Flavour, flavours } from './engines.ts'

const RAM = { regions: [{ gpa: 0, bytes: 1 << 20 }], stateBytes: 1 << 20 }

/** The other half of a restore's options. */
export type MoveOptions = Partial<RestoreOptions>

export class MovingDevice {
  memory: GuestMemory
  /** the clock of the device that is there now */
  now = 1_000_000_000
  /** calls of onInterrupt, by the device that is there now */
  interrupts = 0
  onInterrupt: () => void = () => {}
  readonly failures: string[] = []
  readonly disk = new MemoryBackend(diskBytes(0, 1 << 20))
  readonly raw: Raw
  #device: VirtioBlk | undefined
  #life = 0

  constructor(flavour: Flavour) {
    this.memory = flavour.memory(RAM)
    this.raw = new Raw({
      mmio: {
        mmioRead: (offset, width) => this.device.mmioRead(offset, width),
        mmioWrite: (offset, width, value) => this.device.mmioWrite(offset, width, value),
      },
      memory: { regions: RAM.regions, view: (gpa, bytes) => this.memory.view(gpa, bytes) },
    })
  }

  get device(): VirtioBlk {
    assert.ok(this.#device)
    return this.#device
  }

  /** A copy of guest RAM. */
  ram(): Uint8Array {
    return this.memory.view(0, 1 << 20).slice()
  }

  async start(flavour: Flavour, device: DeviceOptions = {}, backend: BlockBackend = this.disk): Promise<this> {
    this.#device = await VirtioBlk.create({
      ...device,
      engine: flavour.engine,
      memory: this.memory,
      backend,
      ...this.#owner(),
    })
    return this
  }

  /** What only the device that is there now may count and ask. */
  #owner(): Pick<RestoreOptions, 'clock' | 'onInterrupt' | 'onFailure'> {
    const life = ++this.#life
    return {
      clock: () => this.now,
      onInterrupt: () => {
        if (life !== this.#life) return
        this.interrupts++
        this.onInterrupt()
      },
      onFailure: (message) => this.failures.push(message),
    }
  }

  /** The options with which `flavour` restores it over the same disk and a copy of the RAM. */
  target(flavour: Flavour, options: MoveOptions = {}, ram: Uint8Array = this.ram()): RestoreOptions {
    const memory = flavour.memory(RAM)
    memory.view(0, 1 << 20).set(ram)
    return { engine: flavour.engine, memory, backend: this.disk, ...this.#owner(), ...options }
  }

  /** Closes the device and goes on with the one that is made from `bytes`, its own snapshot by default. */
  async move(flavour: Flavour, options: MoveOptions = {}, bytes = this.device.snapshot()): Promise<VirtioBlk> {
    const target = this.target(flavour, options)
    await this.device.close()
    // Another machine, whose clock says something else.
    this.now += 12_345_678_901
    this.interrupts = 0
    this.memory = target.memory
    this.#device = await VirtioBlk.restore(bytes, target)
    return this.#device
  }
}

/** Every flavour with itself and with every other. */
export const moves: readonly (readonly [name: string, from: Flavour, to: Flavour])[] = flavours.flatMap((from) =>
  flavours.map((to) => [`${from.name} -> ${to.name}`, from, to] as const),
)

export async function moving(flavour: Flavour, device: DeviceOptions = {}): Promise<MovingDevice> {
  return new MovingDevice(flavour).start(flavour, device)
}
