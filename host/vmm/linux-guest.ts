// One boot of a Linux guest, whatever machine runs it: the protocol of guest.ts on its console, how long it takes, and
// how it ends. Made for a machine by linux-boot.ts (v86) and linux-kvm.ts (KVM). Portable. The disk belongs to the
// caller, who closes it; the machine is stopped here.

import { bootArchive, bootToken, type ConsoleState, GuestConsole, Tail } from './guest.ts'

/** The files a guest is made of; debian.ts fetches them. */
export interface KernelImages {
  readonly bzImage: Uint8Array
  /** the same kernel, decompressed: saves the guest the work */
  readonly vmlinux?: Uint8Array
  /** modules and programs; /init and the script are added to it */
  readonly initramfs: Uint8Array
}

/** What a boot needs of a machine: V86Machine and KvmMachine have it. */
export interface GuestMachine {
  readonly ended: Promise<'power-off' | 'reset' | 'stopped' | 'saved'>
  run(): void
  stop(): Promise<void>
  serialWrite(input: string | Uint8Array): void
}

export interface GuestOptions extends AttendOptions {
  /** shell script to run; without one the guest offers a shell on its serial console */
  readonly script?: string
  /** gives the guest a command `save`, see onSave */
  readonly canSave?: boolean
}

/** What is wanted of a guest that runs, whether it was booted or resumed. */
export interface AttendOptions {
  /** console output as it comes, without the markers of the protocol */
  readonly onConsole?: (bytes: Uint8Array) => void
  readonly signal?: AbortSignal
  /** real time from power-on to the end of the script; none by default */
  readonly timeoutMs?: number
  /** the guest ran `save`; what runs at once here, runs before the guest does anything more */
  readonly onSave?: () => void
  /** how much of the console's output is kept for the result and for errors, in characters; all by default */
  readonly outputMax?: number
}

/** Makes the machine, with the archive of this boot behind the base initramfs. */
export type MakeMachine<Machine extends GuestMachine> = (
  bootArchive: Uint8Array,
  onSerial: (bytes: Uint8Array) => void,
) => Promise<Machine>

export interface LinuxResult {
  /** of the script or shell; null if the guest powered off without saying, or was saved */
  readonly exitStatus: number | null
  /** the machine was saved, and the guest is to go on in another one */
  readonly isSaved: boolean
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

export class LinuxGuest<Machine extends GuestMachine = GuestMachine> {
  /** Resolves when the guest has powered off; rejects with LinuxGuestError, or with the reason of the abort signal. */
  readonly finished: Promise<LinuxResult>
  /** Resolves when the script or shell has started: what is typed before is lost. */
  readonly up: Promise<void>
  readonly machine: Machine
  readonly #watch: Watch

  private constructor(machine: Machine, watch: Watch, finished: Promise<LinuxResult>) {
    this.up = watch.up
    this.machine = machine
    this.#watch = watch
    this.finished = finished
    finished.catch(() => {}) // who waits for it sees the error; nobody has to wait
  }

  /** Makes the machine and switches it on. */
  static async start<Machine extends GuestMachine>(
    options: GuestOptions,
    make: MakeMachine<Machine>,
  ): Promise<LinuxGuest<Machine>> {
    options.signal?.throwIfAborted()
    const token = bootToken()
    const watch = new Watch(new GuestConsole(token, undefined, options.outputMax), options)
    const machine = await make(bootArchive(token, options), (bytes) => watch.push(bytes))
    return LinuxGuest.#switchOn(machine, watch, options)
  }

  /** Goes on with a guest that was saved: `make` makes its machine as it was. */
  static async resume<Machine extends GuestMachine>(
    options: AttendOptions,
    from: ConsoleState,
    make: (onSerial: (bytes: Uint8Array) => void) => Promise<Machine>,
  ): Promise<LinuxGuest<Machine>> {
    options.signal?.throwIfAborted()
    const watch = new Watch(new GuestConsole(from.token, from, options.outputMax), options)
    const machine = await make((bytes) => watch.push(bytes))
    return LinuxGuest.#switchOn(machine, watch, options)
  }

  static #switchOn<Machine extends GuestMachine>(machine: Machine, watch: Watch, options: AttendOptions) {
    watch.powerOn()
    machine.run()
    return new LinuxGuest(machine, watch, finish(machine, watch, options))
  }

  /** Where the console stands: goes into a saved machine. */
  get consoleState(): ConsoleState {
    return this.#watch.console.state
  }

  /** Types on the guest's console: text, or bytes as they are (3 = Ctrl-C). */
  serialWrite(input: string | Uint8Array): void {
    this.machine.serialWrite(input)
  }

  /** Pulls the plug. `finished` then resolves with what there is. */
  async stop(): Promise<void> {
    await this.machine.stop()
  }
}

/** Console and stop-watch of one boot. */
class Watch {
  readonly console: GuestConsole
  readonly #show: (bytes: Uint8Array) => void
  readonly #onSave: () => void
  readonly #text: Tail
  readonly #decoder = new TextDecoder()
  #start = 0
  bootSeconds = 0
  onExit: () => void = () => {}
  readonly up: Promise<void>
  #isUp: () => void = () => {}

  constructor(console: GuestConsole, { onConsole = () => {}, onSave = () => {}, outputMax }: AttendOptions) {
    this.console = console
    this.#text = new Tail(outputMax)
    this.#show = onConsole
    this.#onSave = onSave
    this.up = new Promise((resolve) => {
      this.#isUp = resolve
    })
    if (console.begun) this.#isUp()
  }

  powerOn(): void {
    this.#start = performance.now()
  }

  seconds(): number {
    return (performance.now() - this.#start) / 1000
  }

  text(): string {
    return this.#text.text
  }

  push(bytes: Uint8Array): void {
    const { begun, exitStatus, saveRequests } = this.console
    const shown = this.console.push(bytes)
    if (!begun && this.console.begun) {
      this.bootSeconds = this.seconds()
      this.#isUp()
    }
    if (this.console.saveRequests > saveRequests) this.#onSave()
    this.#text.push(this.#decoder.decode(shown, { stream: true }))
    if (shown.length > 0) this.#show(shown)
    if (exitStatus === undefined && this.console.exitStatus !== undefined) this.onExit()
  }
}

async function finish(machine: GuestMachine, watch: Watch, options: AttendOptions): Promise<LinuxResult> {
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
    isSaved: ending === 'saved',
    output: watch.console.output,
    bootSeconds: watch.bootSeconds,
    seconds: watch.seconds(),
  }
}
