// A PC in WebAssembly (v86) with one virtio-mmio disk: guest RAM is v86's own memory, the register window is a
// memory-mapped range of its bus, the interrupt a line of its interrupt controllers. Everything else of the PC is
// v86's: processor, firmware, timers, one serial port. Portable: Node and the browser give the v86 runtime and the
// images as bytes. Boot policy (kernel options, initramfs, scripts) is in linux-boot.ts, not here.
//
// Widths. v86 passes 8- and 32-bit accesses to a mapped range as they are; it makes a 16-bit access of two 8-bit
// ones and a 64-bit access of two 32-bit ones, low part first, and never tells. For 16 bits the device gives the same
// answers either way. A 64-bit access below 0x100, which must read as ones, is answered as two registers; no driver
// makes one.

import { VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_STATUS } from '../../assembly/spec.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import type { KernelImage } from './kernel-image.ts'
import { SavedMachineError } from './saved-machine.ts'
import type { V86Cpu, V86Emulator, V86Runtime, V86Settings } from './v86-types.ts'

/** What the machine needs of a device: VirtioBlk has it. */
export interface MmioDevice {
  mmioRead(offset: number, width: number): number
  mmioWrite(offset: number, width: number, value: number): void
}

export interface V86Disk {
  /** guest-physical address of the register window, default 0xc0001000 */
  readonly window?: number
  /** interrupt line, default 5 */
  readonly irq?: number
  /** makes the device over the guest's RAM; called once, before the machine runs */
  readonly create: (memory: GuestMemory, onInterrupt: () => void) => Promise<MmioDevice>
}

interface CommonOptions {
  readonly runtime: V86Runtime
  readonly memoryBytes: number
  readonly disk?: V86Disk
  /** bytes from the guest's first serial port, as they come, several at a time */
  readonly onSerial: (bytes: Uint8Array) => void
}

/** A machine that starts with its firmware. v86 puts the initramfs at 64 MiB, below which the kernel has to fit. */
export interface V86BootOptions extends CommonOptions {
  readonly bios: Uint8Array
  readonly vgaBios?: Uint8Array
  readonly kernel: KernelImage
  readonly initrd: Uint8Array
  readonly cmdline: string
}

/** A machine that goes on where `save` ended another one: the same memory size, window, line and v86. */
export interface V86ResumeOptions extends CommonOptions {
  readonly resume: V86State
}

/** What `save` gives: all of the machine but its disk, whose state is the disk's own (VirtioBlk.snapshot). */
export interface V86State {
  /** v86's own format */
  readonly state: Uint8Array
  /** typed on the serial port and not yet read by the guest, which v86 leaves out */
  readonly typed: Uint8Array
}

/** Why a machine ended: the guest powered off, the guest reset it, `stop` or `save` was called. */
export type V86Ending = 'power-off' | 'reset' | 'stopped' | 'saved'

export const DEFAULT_WINDOW = 0xc0001000
export const DEFAULT_IRQ = 5

const WINDOW_BYTES = 4096
const BUS_BLOCK_BYTES = 128 << 10
/** v86's own frame buffer; what follows it is firmware and interrupt controllers */
const FRAME_BUFFER = 0xe0000000
const VGA_BYTES = 1 << 20
const STATE_ALIGN = 64
const INITRD_ADDRESS = 64 << 20

/** ACPI PM1a control register of v86's chip set, and its bit that puts the machine to sleep. */
const PM1_CONTROL_PORT = 0xb004
const PM1_SLEEP_ENABLE = 0x2000

export class V86Machine {
  /** guest RAM as devices see it */
  readonly memory: GuestMemory
  /** resolves when the machine has ended; rejects with what a device or v86 threw */
  readonly ended: Promise<V86Ending>
  readonly #emulator: V86Emulator
  readonly #onSerial: (bytes: Uint8Array) => void
  #serial: number[] = []
  #over = false
  #isSaving = false
  #end: (ending: V86Ending) => void = () => {}
  #fail: (error: unknown) => void = () => {}

  private constructor(emulator: V86Emulator, memory: GuestMemory, onSerial: (bytes: Uint8Array) => void) {
    this.#emulator = emulator
    this.memory = memory
    this.#onSerial = onSerial
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve
      this.#fail = reject
    })
    this.ended.catch(() => {}) // who waits for it sees the error; nobody has to wait
    this.#hookEnding()
    emulator.add_listener('serial0-output-byte', (byte) => this.#serialByte(byte))
  }

  /** Makes the machine with everything loaded, or as it was when it was saved; `run` starts it. */
  static async create(options: V86BootOptions | V86ResumeOptions): Promise<V86Machine> {
    const { memoryBytes } = options
    if (!Number.isSafeInteger(memoryBytes) || memoryBytes % BUS_BLOCK_BYTES !== 0) {
      throw new RangeError(`v86: memoryBytes must be a multiple of 128 KiB, not ${memoryBytes}`)
    }
    if ('initrd' in options && memoryBytes < INITRD_ADDRESS + options.initrd.length + (16 << 20)) {
      throw new RangeError(`v86: ${memoryBytes} bytes of RAM are too few for this initramfs; 128 MiB usually do`)
    }
    const emulator = await load(options)
    const cpu = emulator.v86.cpu
    if ('resume' in options) {
      await restore(emulator, options.resume)
    } else {
      for (const { address, content } of options.kernel.segments) {
        if (address + content.length > INITRD_ADDRESS) throw new RangeError('v86: the kernel overlaps the initramfs')
        cpu.mem8.set(content, address)
      }
    }
    const machine = new V86Machine(emulator, adoptMemory(cpu), options.onSerial)
    // After the memory is as it was: a disk that is restored may go on at once with what is in its rings.
    if (options.disk) await machine.#attach(options.disk)
    return machine
  }

  /** Switches the machine on. */
  run(): void {
    void this.#emulator.run()
  }

  /** The guest's processor stands still from the end of the tick in which this is called, until `goOn`. */
  pause(): void {
    if (!this.#over && !this.#isSaving) void this.#emulator.stop()
  }

  goOn(): void {
    if (!this.#over && !this.#isSaving) void this.#emulator.run()
  }

  /** Ends the machine for good. Safe to call more than once. */
  async stop(): Promise<void> {
    this.#finish(() => this.#end('stopped'))
    await this.#emulator.destroy()
  }

  /**
   * Saves the machine and ends it. The guest's processor does nothing more from the end of the tick in which this is
   * called. `quiet` then waits until the disk changes no guest byte any more (VirtioBlk.pause); what the disk
   * has published meanwhile, interrupts included, is in the saved machine. Its snapshot is to be taken afterwards.
   */
  async save(quiet: () => Promise<void> = async () => {}): Promise<V86State> {
    if (this.#over || this.#isSaving) throw new Error('v86: the machine has ended, it cannot be saved')
    this.#isSaving = true
    const emulator = this.#emulator
    try {
      await emulator.stop()
      await quiet()
      if (this.#over) throw new Error('v86: the machine was ended while it was being saved')
      const state = new Uint8Array(await emulator.save_state())
      const typed = Uint8Array.from(emulator.v86.cpu.devices.uart0.input)
      this.#finish(() => this.#end('saved'))
      return { state, typed }
    } catch (error) {
      this.#finish(() => this.#fail(error))
      throw error
    }
  }

  /** Types on the guest's serial port: text as UTF-8, or bytes as they are (3 = Ctrl-C). */
  serialWrite(input: string | Uint8Array): void {
    if (this.#over || this.#isSaving) return
    this.#emulator.serial_send_bytes(0, typeof input === 'string' ? new TextEncoder().encode(input) : input)
  }

  #serialByte(byte: number): void {
    // v86 runs for milliseconds without a break, so what it printed meanwhile is handed on in one piece.
    if (this.#serial.push(byte) === 1) queueMicrotask(() => this.#flushSerial())
  }

  #flushSerial(): void {
    const bytes = Uint8Array.from(this.#serial)
    this.#serial = []
    if (bytes.length > 0) this.#onSerial(bytes)
  }

  /** Turns power-off, reset and exceptions, for which v86 has no events, into the end of the machine. */
  #hookEnding(): void {
    const core = this.#emulator.v86
    const { io, devices } = core.cpu
    io.register_write(PM1_CONTROL_PORT, devices.acpi, undefined, (value) => {
      if (value & PM1_SLEEP_ENABLE) this.#finish(() => this.#end('power-off'))
    })
    core.cpu.reboot_internal = () => this.#finish(() => this.#end('reset'))
    const tick = core.do_tick
    core.do_tick = () => {
      try {
        tick.call(core)
      } catch (error) {
        this.#finish(() => this.#fail(error))
        setTimeout(() => tick.call(core)) // the tick in which v86 notices that it was stopped, and says so
      }
    }
  }

  #finish(settle: () => void): void {
    if (this.#over) return
    this.#over = true
    void this.#emulator.stop()
    this.#flushSerial()
    settle()
  }

  async #attach(disk: V86Disk): Promise<void> {
    const { window = DEFAULT_WINDOW, irq = DEFAULT_IRQ } = disk
    const cpu = this.#emulator.v86.cpu
    let made: MmioDevice | undefined
    const raise = (): void => {
      // Acknowledged since: nothing would lower the line again.
      if (made && made.mmioRead(VIRTIO_MMIO_INTERRUPT_STATUS, 4) === 0) return
      cpu.device_raise_irq(irq)
    }
    // Never inside a register write: raised in the middle of the guest's QueueNotify, an interrupt now and then cost
    // Linux a register of the function that wrote (an oops in virtqueue_notify, once in some thousand requests).
    const device = await disk.create(this.memory, () => queueMicrotask(raise))
    made = device
    const block = Math.floor(window / BUS_BLOCK_BYTES) * BUS_BLOCK_BYTES
    if (window % WINDOW_BYTES !== 0 || block + BUS_BLOCK_BYTES > FRAME_BUFFER || block < cpu.mem8.length) {
      throw new RangeError(`v86: no room for a register window at 0x${window.toString(16)}`)
    }
    const read = (address: number, width: number): number => {
      const offset = (address >>> 0) - window
      if (offset < 0 || offset + width > WINDOW_BYTES) return width === 4 ? 0xffffffff : 0xff
      return device.mmioRead(offset, width)
    }
    const write = (address: number, width: number, value: number): void => {
      const offset = (address >>> 0) - window
      if (offset < 0 || offset + width > WINDOW_BYTES) return
      device.mmioWrite(offset, width, value >>> 0)
      // The line is level: it falls when nothing is pending any more. Only these two writes can take a cause away.
      if (offset === VIRTIO_MMIO_INTERRUPT_ACK || offset === VIRTIO_MMIO_STATUS) {
        if (device.mmioRead(VIRTIO_MMIO_INTERRUPT_STATUS, 4) === 0) cpu.device_lower_irq(irq)
      }
    }
    cpu.io.mmap_register(
      block,
      BUS_BLOCK_BYTES,
      (address) => read(address, 1),
      (address, value) => write(address, 1, value),
      (address) => read(address, 4) | 0,
      (address, value) => write(address, 4, value),
    )
  }
}

async function load(options: V86BootOptions | V86ResumeOptions): Promise<V86Emulator> {
  const { V86, wasm } = options.runtime
  const settings: V86Settings = {
    // On the calling thread, for the reason given in engine.ts.
    wasm_fn: async (imports) => new WebAssembly.Instance(new WebAssembly.Module(wasm), imports).exports,
    memory_size: options.memoryBytes,
    vga_memory_size: VGA_BYTES,
    ...('resume' in options ? {} : images(options)),
    acpi: true,
    autostart: false,
    fastboot: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    net_device: { type: 'none' },
    log_level: 0,
  }
  const emulator = new V86(settings)
  await new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', resolve))
  const cpu = emulator.v86?.cpu
  const complete =
    cpu?.mem8?.byteOffset > 0 &&
    cpu.wasm_memory instanceof WebAssembly.Memory &&
    [cpu.wm?.exports?.v86_malloc, cpu.device_raise_irq, cpu.device_lower_irq, cpu.jit_dirty_cache].every(isFunction) &&
    [cpu.io?.mmap_register, cpu.io?.register_write, cpu.reboot_internal, emulator.v86.do_tick].every(isFunction) &&
    [emulator.save_state, emulator.restore_state, cpu.devices?.uart0?.input?.push].every(isFunction)
  if (!complete) throw new Error('v86: this version does not have the interfaces that were there in 0.5.462')
  return emulator
}

function images({ bios, vgaBios, kernel, initrd, cmdline }: V86BootOptions) {
  return {
    bios: { buffer: exactBuffer(bios) },
    ...(vgaBios ? { vga_bios: { buffer: exactBuffer(vgaBios) } } : {}),
    bzimage: { buffer: exactBuffer(kernel.bzImage) },
    initrd: { buffer: exactBuffer(initrd) },
    cmdline,
  }
}

/**
 * v86 writes guest RAM where it is, page by page, and allocates nothing, so neither the region nor the state of a
 * device moves. Its clocks go on by themselves: the time stamp counter from the saved value, and timers whose last
 * tick lies in the future of this process start anew.
 */
async function restore(emulator: V86Emulator, { state, typed }: V86State): Promise<void> {
  const { cpu } = emulator.v86
  const { byteOffset, length } = cpu.mem8
  try {
    await emulator.restore_state(exactBuffer(state))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new SavedMachineError(`v86 does not take the state in it: ${reason}`)
  }
  if (cpu.mem8.byteOffset !== byteOffset || cpu.mem8.length !== length) {
    throw new Error('v86: its guest RAM moved when the state was restored, which no version did so far')
  }
  cpu.devices.uart0.input.push(...typed)
}

/**
 * All of guest RAM is one region, the range 0xA0000-0xFFFFF included. What lies there in v86's memory is the
 * firmware's copy, which the guest's processor can write too, and bytes hidden behind the VGA window, which nothing
 * reads: a guest that points a disk request there harms itself at most.
 *
 * State comes from the allocator inside v86's module. (Its `allocate_memory` is not one: it makes guest RAM, and a
 * second call moves the machine to a new, empty one.)
 */
function adoptMemory(cpu: V86Cpu): GuestMemory {
  const memory = cpu.wasm_memory
  const regions = [{ gpa: 0, bytes: cpu.mem8.length, ptr: cpu.mem8.byteOffset }]
  const allocate = (bytes: number): number => {
    const start = cpu.wm.exports.v86_malloc(bytes + STATE_ALIGN) >>> 0
    const ptr = Math.ceil(start / STATE_ALIGN) * STATE_ALIGN
    new Uint8Array(memory.buffer, ptr, bytes).fill(0)
    return ptr
  }
  // v86 compiles guest code page by page and notices when the processor writes to such a page, but not when a device
  // does: a program read from the disk into a page that held other code would run as the old one.
  const base = cpu.mem8.byteOffset
  const onWrite = (ptr: number, bytes: number): void => cpu.jit_dirty_cache(ptr - base, ptr - base + bytes)
  return GuestMemory.adopt({ memory, regions, allocate, onWrite })
}

/** v86 takes whole ArrayBuffers, reads them in words and changes the kernel's: a private copy, padded. */
function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(Math.ceil(bytes.length / 4) * 4)
  new Uint8Array(copy).set(bytes)
  return copy
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}
