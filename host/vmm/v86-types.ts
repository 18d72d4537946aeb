// The parts of v86 that a machine is built from, as far as we use them. The package's own declarations cover the
// public emulator object only; the processor, its ports and its memory map are reachable but not declared. Names
// were checked against v86 0.5.462, release and debug build; `V86Machine.create` checks at run time that they exist.

/** What `import('v86')` and its WebAssembly file give; a page loads them in its way, Node in another (v86-node.ts). */
export interface V86Runtime {
  readonly V86: new (options: V86Settings) => V86Emulator
  /** the bytes of `v86/build/v86.wasm` */
  readonly wasm: Uint8Array<ArrayBuffer>
  /** of the package: a saved machine continues in the version that saved it */
  readonly version: string
}

export interface V86Settings {
  wasm_fn: (imports: WebAssembly.Imports) => Promise<WebAssembly.Exports>
  memory_size: number
  vga_memory_size: number
  /** these five are left out for a machine that is resumed: what they loaded is in its memory */
  bios?: { buffer: ArrayBuffer }
  vga_bios?: { buffer: ArrayBuffer }
  bzimage?: { buffer: ArrayBuffer }
  initrd?: { buffer: ArrayBuffer }
  cmdline?: string
  acpi: boolean
  autostart: boolean
  fastboot: boolean
  disable_keyboard: boolean
  disable_mouse: boolean
  disable_speaker: boolean
  net_device: { type: 'none' }
  log_level: number
}

export interface V86Emulator {
  readonly v86: V86Core
  add_listener(event: 'emulator-loaded' | 'emulator-stopped', listener: () => void): void
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void
  serial_send_bytes(port: number, bytes: Uint8Array): void
  run(): Promise<void> | void
  /** resolves when no tick runs any more */
  stop(): Promise<void> | void
  destroy(): Promise<void> | void
  /** processor, devices and the pages of guest RAM that are not zero */
  save_state(): Promise<ArrayBuffer>
  /** writes guest RAM in place, and forgets compiled code and address translations */
  restore_state(state: ArrayBuffer): Promise<void>
}

export interface V86Core {
  readonly cpu: V86Cpu
  do_tick(): void
}

export interface V86Cpu {
  /** guest RAM, a view on wasm_memory; its offset there never changes, its buffer does when the memory grows */
  readonly mem8: Uint8Array
  readonly wasm_memory: WebAssembly.Memory
  readonly io: V86Io
  /** `input`, of the serial port: typed and not yet read; not in v86's own state */
  readonly devices: { readonly acpi: object; readonly uart0: { readonly input: number[] } }
  readonly wm: { readonly exports: { v86_malloc(bytes: number): number } }
  /** forgets compiled code of a range of guest RAM that something else than the processor has written */
  jit_dirty_cache(start: number, end: number): void
  device_raise_irq(irq: number): void
  device_lower_irq(irq: number): void
  reboot_internal(): void
}

export interface V86Io {
  mmap_register(
    address: number,
    bytes: number,
    read8: (address: number) => number,
    write8: (address: number, value: number) => void,
    read32: (address: number) => number,
    write32: (address: number, value: number) => void,
  ): void
  register_write(
    port: number,
    device: object,
    write8: ((value: number) => void) | undefined,
    write16: ((value: number) => void) | undefined,
    write32?: (value: number) => void,
  ): void
}
