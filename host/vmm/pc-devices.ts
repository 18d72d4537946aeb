// What KvmMachine's guest finds at I/O ports beside KVM's own interrupt controllers and timer: serial port, ACPI
// power management, reset in its three ways, clock, and nothing else. State is in one piece of shared memory; every
// vCPU thread makes a PcDevices over it, and each access holds the machine's lock, so a port behaves the same
// whichever vCPU touches it. Ports that nobody has read as all ones and swallow what is written: that is how a guest
// learns that there is no PCI (0xcf8), and port 0x80 is where firmware writes its progress.

import { SharedLock } from '../engine/shared-lock.ts'
import { PM1_CONTROL_PORT, PM1_EVENT_PORT, RESET_PORT, SERIAL_IRQ, SERIAL_PORT, SLEEP_TYPE_S5 } from './pc-layout.ts'
import { SERIAL_STATE_BYTES, Serial16550 } from './serial.ts'

export type PcEnding = 'power-off' | 'reset'

export interface PcHooks {
  /** sets the level of an interrupt line */
  readonly setInterrupt: (gsi: number, level: boolean) => void
  /** the guest switched itself off or reset itself */
  readonly onEnd: (ending: PcEnding) => void
  /** the first byte lies in the serial port's ring, which was empty: somebody should take it */
  readonly onSerial: () => void
  /** the time of the clock; default: now */
  readonly now?: () => Date
}

interface Device {
  readonly port: number
  readonly bytes: number
  readonly read: (offset: number) => number
  readonly write: (offset: number, value: number) => void
}

const I8042_DATA = 0x60
const I8042_COMMAND = 0x64
const I8042_RESET = 0xfe
const CMOS_INDEX = 0x70
/** Bit 2 of the reset register resets; 0x02 before it only chooses how. */
const RESET_CPU = 0x04
const SCI_ENABLED = 0x01 // PM1 control: ACPI, not SMM, has the events
const SLEEP_ENABLE = 0x20 // PM1 control, second byte
const NMI_DISABLE = 0x80

// State words
const LOCK = 0
const CMOS_SELECTED = 1
const PM1_ENABLE = 2
const PM1_CONTROL = 3
const WORDS = 4

/** Bytes of shared memory, zeroed, that PcDevices needs. */
export const PC_STATE_BYTES = WORDS * 4 + SERIAL_STATE_BYTES

export class PcDevices {
  readonly #words: Int32Array
  readonly #lock: SharedLock
  readonly #serial: Serial16550
  readonly #hooks: PcHooks
  readonly #devices: readonly Device[]

  constructor(state: SharedArrayBuffer, hooks: PcHooks) {
    this.#words = new Int32Array(state, 0, WORDS)
    this.#lock = new SharedLock(this.#words, LOCK)
    this.#serial = new Serial16550(state, WORDS * 4, (level) => hooks.setInterrupt(SERIAL_IRQ, level))
    this.#hooks = hooks
    this.#devices = this.#map()
  }

  /** What the guest reads from a port: `width` bytes, 1, 2 or 4. */
  read(port: number, width: number): number {
    const device = this.#find(port)
    if (device === undefined) return width === 4 ? 0xffffffff : 2 ** (8 * width) - 1
    return this.#lock.hold(() => {
      let value = 0
      for (let i = 0; i < width; i++) {
        const offset = port - device.port + i
        value += (offset < device.bytes ? device.read(offset) : 0xff) * 2 ** (8 * i)
      }
      return value
    })
  }

  write(port: number, width: number, value: number): void {
    const device = this.#find(port)
    if (device === undefined) return
    const wasEmpty = this.#lock.hold(() => {
      const sent = this.#serial.sentBytes
      for (let i = 0; i < width; i++) {
        const offset = port - device.port + i
        if (offset < device.bytes) device.write(offset, (value >>> (8 * i)) & 0xff)
      }
      return sent === 0 && this.#serial.sentBytes > 0
    })
    if (wasEmpty) this.#hooks.onSerial()
  }

  /** Types on the serial port; returns how many of the bytes there was room for. */
  type(bytes: Uint8Array): number {
    return this.#lock.hold(() => this.#serial.receive(bytes))
  }

  /** What the guest has sent since the last call. */
  takeSerial(): Uint8Array {
    return this.#lock.hold(() => this.#serial.takeSent())
  }

  /** A byte that the guest sends now would be lost: wait until somebody has called takeSerial. */
  isSerialFull(): boolean {
    return this.#lock.hold(() => this.#serial.isFull)
  }

  /** By the first port of an access, so that a 4-byte write to PCI's 0xcf8 does not reach the reset register. */
  #find(port: number): Device | undefined {
    return this.#devices.find((device) => port >= device.port && port < device.port + device.bytes)
  }

  #map(): Device[] {
    const serial = this.#serial
    const words = this.#words
    const { onEnd } = this.#hooks
    const word = (index: number): number => words[index] as number
    return [
      {
        port: SERIAL_PORT,
        bytes: 8,
        read: (offset) => serial.read(offset),
        write: (offset, value) => serial.write(offset, value),
      },
      {
        // No event ever happens: status is 0, and what is enabled is only remembered.
        port: PM1_EVENT_PORT,
        bytes: 4,
        read: (offset) => (offset < 2 ? 0 : byteOf(word(PM1_ENABLE), offset - 2)),
        write: (offset, value) => {
          if (offset >= 2) words[PM1_ENABLE] = withByte(word(PM1_ENABLE), offset - 2, value)
        },
      },
      {
        port: PM1_CONTROL_PORT,
        bytes: 2,
        read: (offset) => byteOf(word(PM1_CONTROL) | SCI_ENABLED, offset),
        write: (offset, value) => {
          if (offset === 1 && value & SLEEP_ENABLE && ((value >> 2) & 7) === SLEEP_TYPE_S5) onEnd('power-off')
          const kept = offset === 1 ? value & ~SLEEP_ENABLE : value // write-only, reads as 0
          words[PM1_CONTROL] = withByte(word(PM1_CONTROL), offset, kept)
        },
      },
      {
        port: RESET_PORT,
        bytes: 1,
        read: () => 0,
        write: (_, value) => {
          if (value & RESET_CPU) onEnd('reset')
        },
      },
      // The keyboard controller as far as resetting through it goes: nothing to read, always ready for a command.
      { port: I8042_DATA, bytes: 1, read: () => 0, write: () => {} },
      {
        port: I8042_COMMAND,
        bytes: 1,
        read: () => 0,
        write: (_, value) => {
          if (value === I8042_RESET) onEnd('reset')
        },
      },
      {
        port: CMOS_INDEX,
        bytes: 2,
        read: (offset) => (offset === 0 ? 0xff : this.#clock(word(CMOS_SELECTED))),
        write: (offset, value) => {
          if (offset === 0) words[CMOS_SELECTED] = value & ~NMI_DISABLE
        },
      },
    ]
  }

  /** MC146818: the time of day in UTC, BCD, 24 hours; never in the middle of an update, no alarm, battery good. */
  #clock(register: number): number {
    const now = this.#hooks.now?.() ?? new Date()
    const fields = new Map<number, () => number>([
      [0x00, () => now.getUTCSeconds()],
      [0x02, () => now.getUTCMinutes()],
      [0x04, () => now.getUTCHours()],
      [0x06, () => now.getUTCDay() + 1],
      [0x07, () => now.getUTCDate()],
      [0x08, () => now.getUTCMonth() + 1],
      [0x09, () => now.getUTCFullYear() % 100],
      [0x32, () => Math.floor(now.getUTCFullYear() / 100)],
    ])
    const field = fields.get(register)
    if (field) return Math.floor(field() / 10) * 16 + (field() % 10)
    if (register === 0x0a) return 0x26 // 32768 Hz, the usual rate
    if (register === 0x0b) return 0x02 // 24 hours
    return register === 0x0d ? 0x80 : 0
  }
}

function byteOf(value: number, index: number): number {
  return (value >> (8 * index)) & 0xff
}

function withByte(word: number, index: number, value: number): number {
  return (word & ~(0xff << (8 * index))) | (value << (8 * index))
}
