// One boot of a Linux guest, whatever machine runs it: the protocol of guest.ts on its console, how long it takes, and
// how it ends. Made for a machine by linux-boot.ts (v86) and linux-kvm.ts (KVM). Portable. The disk belongs to the
// caller, who closes it; the machine is stopped here.

import { bootArchive, bootToken, GuestConsole } from './guest.ts'

/** The files a guest is made of; debian.ts fetches them. */
export interface KernelImages {
  readonly bzImage: Uint8Array
  /** the same kernel, decompressed: saves the guest the work */
  readonly vmlinux?: Uint8Array
  /** modules and programs; /init and the script are added to it */
  readonly initramfs: Uint8Array
}

/** What a boot needs of a machine: GuestMachine and KvmMachine have it. */
export interface GuestMachine {
  readonly ended: Promise<'power-off' | 'reset' | 'stopped'>
  run(): void
  stop(): Promise<void>
  serialWrite(input: string | Uint8Array): void
}

export interface GuestOptions {
  /** shell script to run; without one the guest offers a shell on its serial console */
  readonly script?: string
  /** console output as it comes, without the markers of the protocol */
  readonly onConsole?: (bytes: Uint8Array) => void
  readonly signal?: AbortSignal
  /** real time from power-on to the end of the script; none by default */
  readonly timeoutMs?: number
}

/** Makes the machine, with the archive of this boot behind the base initramfs. */
export type MakeMachine = (bootArchive: Uint8Array, onSerial: (bytes: Uint8Array) => void) => Promise<GuestMachine>

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

/** After the end marker only a sync'ed power-off is left; a guest that hangs there has nothing more to say. */
const POWER_OFF_MS = 5000

export class LinuxGuest {
  /** Resolves when the guest has powered off; rejects with LinuxGuestError, or with the reason of the abort signal. */
  readonly finished: Promise<LinuxResult>
  /** Resolves when the script or shell has started: what is typed before is lost. */
  readonly up: Promise<void>
  readonly #machine: GuestMachine

  private constructor(machine: GuestMachine, up: Promise<void>, finished: Promise<LinuxResult>) {
    this.up = up
    this.#machine = machine
    this.finished = finished
    finished.catch(() => {}) // who waits for it sees the error; nobody has to wait
  }

  /** Makes the machine and switches it on. */
  static async start(options: GuestOptions, make: MakeMachine): Promise<LinuxGuest> {
    options.signal?.throwIfAborted()
    const token = bootToken()
    const watch = new Watch(token, options.onConsole ?? (() => {}))
    const machine = await make(bootArchive(token, options.script), (bytes) => watch.push(bytes))
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

async function finish(machine: GuestMachine, watch: Watch, options: GuestOptions): Promise<LinuxResult> {
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
  let ending: Awaited<GuestMachine['ended']>
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
