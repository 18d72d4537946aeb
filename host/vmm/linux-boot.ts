// Boots Debian's Linux in the v86 machine with one disk, and runs a script in it or gives it a terminal. This is the
// one way in for commands, tests and the page: kernel options, initramfs and the protocol of guest.ts come together
// here. Portable: the images (debian.ts) and v86 (v86-node.ts) are handed in. The disk belongs to the caller, who
// closes it.
//
// The kernel options are chosen for a quick start, see KERNEL_OPTIONS; none concerns the block layer or virtio.

import type { GuestMemory } from '../device/guest-memory.ts'
import { virtioMmioSsdt } from './acpi.ts'
import { bootArchive, bootToken, GuestConsole } from './guest.ts'
import { acpiArchive, concatArchives } from './initramfs.ts'
import { uncompressedImage } from './kernel-image.ts'
import { DEFAULT_IRQ, DEFAULT_WINDOW, type MmioDevice, type V86Ending, V86Machine } from './v86.ts'
import type { V86Runtime } from './v86-types.ts'

/** The files a guest is made of; `guestAssets` in debian.ts fetches them. */
export interface LinuxImages {
  readonly bzImage: Uint8Array
  /** the same kernel, decompressed: saves the guest the work */
  readonly vmlinux?: Uint8Array
  readonly bios: Uint8Array
  /** modules and programs; /init and the script are added to it */
  readonly initramfs: Uint8Array
}

export interface LinuxOptions {
  readonly runtime: V86Runtime
  readonly assets: LinuxImages
  /** makes the disk, /dev/vda, over the guest's RAM */
  readonly disk?: (memory: GuestMemory, onInterrupt: () => void) => Promise<MmioDevice>
  /** shell script to run; without one the guest offers a shell on its serial console */
  readonly script?: string
  /** more kernel options */
  readonly append?: string
  /** default 128 MiB */
  readonly memoryBytes?: number
  /** console output as it comes, without the markers of the protocol */
  readonly onConsole?: (bytes: Uint8Array) => void
  readonly signal?: AbortSignal
  /** real time from power-on to the end of the script; none by default */
  readonly timeoutMs?: number
}

export interface LinuxResult {
  /** of the script or shell; null if the guest powered off without saying */
  readonly exitStatus: number | null
  /** what the script or shell wrote, errors included, LF line ends */
  readonly output: string
  /** from power-on until the script or shell started */
  readonly bootSeconds: number
  /** from power-on to power-off */
  readonly seconds: number
}

/** A guest that did not come to a proper end: kernel panic, timeout. `console` is all it printed. */
export class LinuxGuestError extends Error {
  readonly console: string

  constructor(reason: string, console: string) {
    const lines = console
      .split('\n')
      .map((line) => line.trimEnd())
      .filter(Boolean)
    super(`Linux guest: ${reason}${lines.length ? `; its last lines:\n${lines.slice(-8).join('\n')}` : ''}`)
    this.name = 'LinuxGuestError'
    this.console = console
  }
}

const DEFAULT_MEMORY = 128 << 20
/** After the end marker only a sync'ed power-off is left; a guest that hangs there has nothing more to say. */
const POWER_OFF_MS = 5000

/** Start-up work of the kernel's that a guest for one disk can do without: self-tests, tracing, keys, signatures. */
const SKIPPED_INITCALLS = [
  'init_kprobe_trace',
  'event_trace_init',
  'tracer_init_tracefs',
  'init_blk_tracer',
  'ftrace_check_for_weak_functions',
  'crypto_kdf108_init',
  'load_system_certificate_list',
  'init_encrypted',
  'digsig_init',
  'slab_sysfs_init',
]

/**
 * Measured in instructions from power-on to power-off, which other work on the machine does not disturb: 4,180
 * million with the first three options, 490 without crypto self-tests, 355 without the initcalls above and audit, 288
 * with all. (18 s, 11 s and 5 s of real time between the worst and the best, the compressed kernel included.) Beside
 * the options: a compressed kernel costs 2,300 million more, module signatures 170 to 340, a gzip initramfs 160, an
 * lz4 one 37; twice the memory costs nothing. The firmware needs 0.1 s.
 */
export const KERNEL_OPTIONS: readonly string[] = [
  'console=ttyS0',
  'quiet',
  'panic=-1', // reset at once, which the machine sees
  'cryptomgr.notests',
  `initcall_blacklist=${SKIPPED_INITCALLS.join(',')}`,
  'audit=0',
  'lsm=',
  'init_on_alloc=0',
  'cgroup_disable=memory',
  'mitigations=off',
  'tsc=reliable', // v86's time stamp counter is the host's clock; checking it against the others takes time
  'noisapnp',
  'loglevel=3', // v86's processor has no machine check banks, which the kernel reports as an error
]

export class LinuxGuest {
  /** Resolves when the guest has powered off; rejects with LinuxGuestError, or with the reason of the abort signal. */
  readonly finished: Promise<LinuxResult>
  /** Resolves when the script or shell has started: what is typed before is lost. */
  readonly up: Promise<void>
  readonly #machine: V86Machine

  private constructor(machine: V86Machine, up: Promise<void>, finished: Promise<LinuxResult>) {
    this.up = up
    this.#machine = machine
    this.finished = finished
    finished.catch(() => {}) // who waits for it sees the error; nobody has to wait
  }

  /** Makes the machine and switches it on. */
  static async start(options: LinuxOptions): Promise<LinuxGuest> {
    const { runtime, assets, disk, signal } = options
    signal?.throwIfAborted()
    const token = bootToken()
    const watch = new Watch(token, options.onConsole ?? (() => {}))
    const ssdt = virtioMmioSsdt([{ base: DEFAULT_WINDOW, irq: DEFAULT_IRQ }])
    const machine = await V86Machine.create({
      runtime,
      bios: assets.bios,
      kernel: assets.vmlinux
        ? uncompressedImage(assets.bzImage, assets.vmlinux)
        : { bzImage: assets.bzImage, segments: [] },
      initrd: concatArchives([
        ...(disk ? [acpiArchive([ssdt])] : []),
        assets.initramfs,
        bootArchive(token, options.script),
      ]),
      cmdline: [...KERNEL_OPTIONS, ...(options.append ? [options.append] : [])].join(' '),
      memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY,
      onSerial: (bytes) => watch.push(bytes),
      ...(disk ? { disk: { create: disk } } : {}),
    })
    watch.powerOn()
    machine.run()
    return new LinuxGuest(machine, watch.up, finish(machine, watch, options))
  }

  /** Types on the guest's console: text, or bytes as they are (3 = Ctrl-C). */
  serialWrite(input: string | Uint8Array): void {
    this.#machine.serialWrite(input)
  }

  /** Pulls the plug. `finished` then resolves with what there is. */
  async stop(): Promise<void> {
    await this.#machine.stop()
  }
}

/** Boots, waits for the power-off and returns what the script wrote and its exit status. */
export async function bootLinux(options: LinuxOptions): Promise<LinuxResult> {
  const guest = await LinuxGuest.start(options)
  return guest.finished
}

/** Console and stop-watch of one boot. */
class Watch {
  readonly console: GuestConsole
  readonly #show: (bytes: Uint8Array) => void
  readonly #text: string[] = []
  readonly #decoder = new TextDecoder()
  #start = 0
  bootSeconds = 0
  onExit: () => void = () => {}
  readonly up: Promise<void>
  #isUp: () => void = () => {}

  constructor(token: string, show: (bytes: Uint8Array) => void) {
    this.console = new GuestConsole(token)
    this.#show = show
    this.up = new Promise((resolve) => {
      this.#isUp = resolve
    })
  }

  powerOn(): void {
    this.#start = performance.now()
  }

  seconds(): number {
    return (performance.now() - this.#start) / 1000
  }

  text(): string {
    return this.#text.join('')
  }

  push(bytes: Uint8Array): void {
    const { begun, exitStatus } = this.console
    const shown = this.console.push(bytes)
    if (!begun && this.console.begun) {
      this.bootSeconds = this.seconds()
      this.#isUp()
    }
    this.#text.push(this.#decoder.decode(shown, { stream: true }))
    if (shown.length > 0) this.#show(shown)
    if (exitStatus === undefined && this.console.exitStatus !== undefined) this.onExit()
  }
}

async function finish(machine: V86Machine, watch: Watch, options: LinuxOptions): Promise<LinuxResult> {
  const { signal, timeoutMs } = options
  let timedOut = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const stop = (): void => void machine.stop()
  const expire = (): void => {
    timedOut = true
    stop()
  }
  if (timeoutMs !== undefined) timer = setTimeout(expire, timeoutMs)
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  watch.onExit = () => {
    clearTimeout(timer)
    timer = setTimeout(stop, POWER_OFF_MS)
  }
  let ending: V86Ending
  try {
    ending = await machine.ended
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
    await machine.stop()
  }
  signal?.throwIfAborted()
  if (timedOut) throw new LinuxGuestError(`no end within ${(timeoutMs ?? 0) / 1000} s`, watch.text())
  if (ending === 'reset') throw new LinuxGuestError('it reset itself, which means a kernel panic', watch.text())
  return {
    exitStatus: watch.console.exitStatus ?? null,
    output: watch.console.output,
    bootSeconds: watch.bootSeconds,
    seconds: watch.seconds(),
  }
}
