// An emulator with v86's interfaces that runs nothing: tests play the guest through the functions that a machine has
// registered with it, and read in `events` what the machine did. Guest RAM is 96 MiB at 2 MiB of its memory.

import * as assert from 'uvu/assert'
import type { V86Emulator, V86Runtime, V86Settings } from '../../host/vmm/v86-types.ts'

const MIB = 1 << 20
export const FAKE_RAM = 96 * MIB
export const FAKE_RAM_AT = 2 * MIB

/** v86's interfaces; `events` is what the machine did to it. */
export class FakeEmulator {
  readonly events: string[] = []
  readonly listeners = new Map<string, (value: number) => void>()
  readonly memory = new WebAssembly.Memory({ initial: (FAKE_RAM_AT + FAKE_RAM + 2 * MIB) / 65536 })
  window: { read8: Read; write8: Write; read32: Read; write32: Write } | undefined
  pm1: ((value: number) => void) | undefined
  allocated = FAKE_RAM_AT + FAKE_RAM + 8
  readonly v86 = {
    do_tick: () => this.tick(),
    cpu: {
      mem8: new Uint8Array(this.memory.buffer, FAKE_RAM_AT, FAKE_RAM),
      wasm_memory: this.memory,
      devices: { acpi: {}, uart0: { input: [] as number[] } },
      io: {
        mmap_register: (base: number, bytes: number, read8: Read, write8: Write, read32: Read, write32: Write) => {
          this.events.push(`map ${base.toString(16)}+${bytes.toString(16)}`)
          this.window = { read8, write8, read32, write32 }
        },
        register_write: (port: number, _device: object, _write8: undefined, write16: (value: number) => void) => {
          assert.is(port, 0xb004)
          this.pm1 = write16
        },
      },
      wm: { exports: { v86_malloc: (bytes: number) => this.malloc(bytes) } },
      jit_dirty_cache: (start: number, end: number) => this.events.push(`dirty ${start}-${end}`),
      device_raise_irq: (irq: number) => this.events.push(`raise ${irq}`),
      device_lower_irq: (irq: number) => this.events.push(`lower ${irq}`),
      reboot_internal: () => {},
    },
  }
  tick: () => void = () => {}

  readonly settings: V86Settings

  constructor(settings: V86Settings) {
    this.settings = settings
  }

  malloc(bytes: number): number {
    const at = this.allocated
    new Uint8Array(this.memory.buffer, at, bytes).fill(0xee)
    this.allocated += bytes
    return at
  }

  add_listener(event: string, listener: (value: number) => void): void {
    this.listeners.set(event, listener)
    if (event === 'emulator-loaded') setTimeout(listener)
  }

  serial_send_bytes(port: number, bytes: Uint8Array): void {
    this.events.push(`type ${port} ${[...bytes]}`)
  }

  run(): void {
    this.events.push('run')
  }

  stop(): void {
    this.events.push('stop')
  }

  destroy(): void {}

  /** A state of the fake's own: guest RAM. */
  async save_state(): Promise<ArrayBuffer> {
    this.events.push('save')
    return this.v86.cpu.mem8.slice().buffer
  }

  async restore_state(state: ArrayBuffer): Promise<void> {
    this.events.push('restore')
    this.v86.cpu.mem8.set(new Uint8Array(state))
  }
}

type Read = (address: number) => number
type Write = (address: number, value: number) => void

/** A v86 runtime that makes fake emulators, and the one made last. */
export function fakeRuntime(): { runtime: V86Runtime; emulator: () => FakeEmulator } {
  let made: FakeEmulator | undefined
  class Emulator extends FakeEmulator {
    constructor(settings: V86Settings) {
      super(settings)
      made = this
    }
  }
  const V86 = Emulator as unknown as new (settings: V86Settings) => V86Emulator
  return {
    runtime: { V86, wasm: new Uint8Array(), version: '0.5.0' },
    emulator: () => {
      assert.ok(made, 'no machine was made')
      return made
    },
  }
}
