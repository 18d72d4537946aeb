// Runs the guest of `vblk boot`, in v86 or on KVM, with its disk: inline on this thread in v86, whose memory no other
// thread can use, and on a worker's with KVM. Fetches what the user did not bring, gives the guest the
// terminal, prints the device's counters at the end, and leaves nothing open. In v86 it also goes on with a saved
// machine, and saves one.

import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import type { FileBackend } from '../backend/file.ts'
import type { GuestMemory } from '../device/guest-memory.ts'
import type { VirtioBlkOptions } from '../device/options.ts'
import { validateSnapshot } from '../device/snapshot.ts'
import type { ThrottleOptions } from '../device/throttle.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import type { Counters } from '../engine/state.ts'
import { DiskWorker } from '../loop/disk-worker.ts'
import { guestAssets, kvmGuestAssets } from '../vmm/debian.ts'
import { KvmMachine } from '../vmm/kvm-machine.ts'
import type { KvmVerdict } from '../vmm/kvm-probe.ts'
import { type LinuxImages, resumeLinux, saveLinux, startLinux } from '../vmm/linux-boot.ts'
import type { AttendOptions, KernelImages, LinuxGuest, LinuxResult } from '../vmm/linux-guest.ts'
import { startLinuxOnKvm } from '../vmm/linux-kvm.ts'
import { type ImageIdentity, packSavedMachine, type SavedMachine } from '../vmm/saved-machine.ts'
import type { V86Machine } from '../vmm/v86.ts'
import { loadV86 } from '../vmm/v86-node.ts'
import type { V86Runtime } from '../vmm/v86-types.ts'
import { countersTable } from './counters.ts'
import { Recording } from './recording.ts'
import { checkIdentity, identityOf, writeSaveFile } from './saved-file.ts'
import { attachTerminal, type TerminalOptions } from './terminal.ts'

/** What the user brings. */
export interface OwnFiles {
  kernel?: Uint8Array
  initrd?: Uint8Array
  bios?: Uint8Array
  script?: string
}

export interface BootOrders {
  readonly file: string
  readonly readOnly: boolean
  readonly throttle: ThrottleOptions
  readonly own: OwnFiles
  readonly memoryBytes?: number
  readonly vcpus?: number
  readonly append?: string
  /** where the machine is saved when the guest asks for it */
  readonly save?: string
  /** where the trace goes */
  readonly record?: string
  /** the counters as JSON */
  readonly json: boolean
}

export interface ResumeOrders {
  readonly saved: SavedMachine
  /** none of it: as it was saved */
  readonly throttle: ThrottleOptions
  readonly save: string | undefined
  readonly record: string | undefined
  /** also on an image that has changed since */
  readonly force: boolean
  readonly json: boolean
}

const V86_MEMORY = 128 << 20
const KVM_MEMORY = 256 << 20

export function say(message: string): void {
  process.stderr.write(`vblk boot: ${message}\n`)
}

/** The disk runs on this thread, over v86's memory. */
export async function bootInV86(orders: BootOrders, backend: FileBackend): Promise<number> {
  const { own, readOnly, throttle, append, save, record, json, memoryBytes = V86_MEMORY } = orders
  const { script } = own
  const runtime = await loadV86()
  const assets = await v86Images(own)
  say('booting Linux, which takes some 10 seconds')
  return runInV86(backend, {
    runtime,
    memoryBytes,
    hasScript: script !== undefined,
    save,
    record,
    json,
    makeDisk: (parts) => VirtioBlk.create({ ...parts, backend, readOnly, throttle }),
    begin: (options, disk) =>
      startLinux({
        ...options,
        runtime,
        assets,
        memoryBytes,
        disk,
        canSave: save !== undefined,
        ...(script !== undefined && { script }),
        ...(append !== undefined && { append }),
      }),
  })
}

/** Goes on with a saved machine, its disk with it. A limit that is given replaces the saved one. */
export async function resumeInV86(orders: ResumeOrders, backend: FileBackend): Promise<number> {
  const { saved, throttle, save, record, force, json } = orders
  if (!force) checkIdentity(backend, saved.image)
  validateSnapshot(saved.disk)
  const runtime = await loadV86()
  return runInV86(backend, {
    runtime,
    memoryBytes: saved.memoryBytes,
    hasScript: saved.hasScript,
    save,
    record,
    json,
    makeDisk: async (parts) => {
      const override = force ? (['capacity'] as const) : []
      const disk = await VirtioBlk.restore(saved.disk, { ...parts, backend, override })
      if (Object.values(throttle).some((limit) => limit !== undefined)) disk.setThrottle(throttle)
      return disk
    },
    begin: (options, disk) => resumeLinux({ ...options, runtime, saved, disk }),
  })
}

type Connect = (memory: GuestMemory, onInterrupt: () => void) => Promise<VirtioBlk>
/** What the machine and the recording give to a disk. */
type DiskParts = Pick<VirtioBlkOptions, 'memory' | 'onInterrupt' | 'engine'>

interface V86Run {
  readonly runtime: V86Runtime
  readonly memoryBytes: number
  readonly hasScript: boolean
  readonly save: string | undefined
  readonly record: string | undefined
  readonly json: boolean
  readonly makeDisk: (parts: DiskParts) => Promise<VirtioBlk>
  readonly begin: (options: AttendOptions, disk: Connect) => Promise<LinuxGuest<V86Machine>>
}

async function runInV86(backend: FileBackend, run: V86Run): Promise<number> {
  const { save, record, hasScript, json } = run
  const recording = record === undefined ? undefined : new Recording(record, false)
  let disk: VirtioBlk | undefined
  let guest: LinuxGuest<V86Machine> | undefined
  let saving: Promise<SavedMachine> | undefined
  const startSaving = (): void => {
    if (!guest || !disk || saving) return
    const served = disk
    const snapshot = (): { disk: Uint8Array; image: ImageIdentity } => {
      backend.flush()
      return { disk: served.snapshot(), image: identityOf(backend) }
    }
    saving = saveLinux(guest, { ...run, quiet: () => served.pause(), snapshot })
    saving.catch(() => {}) // reported below
  }
  const onSave = (): void => {
    if (save !== undefined) startSaving()
    else say('the guest ran `save`, and goes on, because --save FILE was not given')
  }
  guest = await run.begin({ onConsole, onSave }, async (memory, onInterrupt) => {
    disk = await run.makeDisk({ memory, onInterrupt, ...(recording && { engine: recording.recorder.engine }) })
    return disk
  })
  const end = async (): Promise<void> => {
    await saving?.catch(() => {})
    // A guest that was left may not have flushed: what it was told is written must not be lost with us.
    backend.flush()
    if (disk) showCounters(disk.counters, json)
    await disk?.close()
    if (recording) say(await recording.write())
  }
  const status = await attend(guest, { keyboard: !hasScript, save: save === undefined ? undefined : startSaving }, end)
  if (save === undefined) return status
  const { isSaved } = await guest.finished
  if (!isSaved || !saving) {
    say(`the guest ended without having been saved; ${save} was not written`)
    return status
  }
  const bytes = await packSavedMachine(await saving)
  writeSaveFile(save, bytes)
  const size = (bytes.length / 1e6).toFixed(1)
  say(`saved to ${save}, ${size} MB; go on with: vblk boot --disk ${backend.path} --resume ${save}`)
  return status
}

/** The disk runs on a worker's thread. A KVM that is not usable is one that a stock kernel does not get far on. */
export async function bootOnKvm(orders: BootOrders, { isUsable }: KvmVerdict): Promise<number> {
  const { file, own, readOnly, throttle, append, vcpus, record, json, memoryBytes = KVM_MEMORY } = orders
  const recording = record === undefined ? undefined : new Recording(record, true)
  const assets = await kvmImages(own)
  const memory = KvmMachine.memory(memoryBytes)
  const worker = await DiskWorker.create({ onFailure: say })
  try {
    const recorded = recording && { record: recording.recorder }
    const disk = await worker.attach({ memory, backend: { file }, readOnly, throttle, ...recorded })
    const guest = await startLinuxOnKvm({
      assets,
      memory,
      disk,
      isEmulated: !isUsable,
      onConsole,
      ...(own.script !== undefined && { script: own.script }),
      ...(vcpus !== undefined && { vcpus }),
      ...(append !== undefined && { append }),
    })
    return await attend(guest, { keyboard: own.script === undefined }, async () => {
      showCounters(disk.counters, json)
      await disk.close()
      if (recording) say(await recording.write())
      if (!readOnly) flush(file) // as in v86
    })
  } catch (error) {
    if (!isUsable && error instanceof Error) {
      error.message += '\nThis KVM was found unable to run a stock kernel (the warning above); use --accel v86'
    }
    throw error
  } finally {
    await worker.close()
  }
}

function onConsole(bytes: Uint8Array): void {
  process.stdout.write(bytes)
}

/** From power-on to the exit status; `end` releases the disk. A guest without a keyboard runs a script. */
async function attend(guest: LinuxGuest, options: TerminalOptions, end: () => Promise<void>): Promise<number> {
  const terminal = attachTerminal(guest, options)
  let result: LinuxResult
  try {
    result = await guest.finished
  } finally {
    terminal.detach()
    await end()
  }
  if (terminal.signal !== undefined) return 128 + terminal.signal
  if (options.keyboard || result.isSaved) return 0
  if (result.exitStatus !== null) return result.exitStatus
  say('the guest powered off before the script ended')
  return 1
}

function flush(file: string): void {
  const fd = openSync(file, 'r+')
  try {
    fdatasyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Standard output is the guest's. */
function showCounters(counters: Counters, json: boolean): void {
  process.stderr.write(json ? `${JSON.stringify({ counters })}\n` : `\n${countersTable(counters)}`)
}

/** The user's own files, and Debian's for the rest. */
async function v86Images({ kernel, initrd, bios }: OwnFiles): Promise<LinuxImages> {
  if (kernel && initrd && bios) return { bzImage: kernel, initramfs: initrd, bios }
  const debian = await guestAssets({ progress: say })
  return {
    bios: bios ?? debian.bios,
    initramfs: initrd ?? debian.initramfs,
    ...(kernel ? { bzImage: kernel } : { bzImage: debian.bzImage, ...(debian.vmlinux && { vmlinux: debian.vmlinux }) }),
  }
}

async function kvmImages({ kernel, initrd }: OwnFiles): Promise<KernelImages> {
  if (kernel && initrd) return { bzImage: kernel, initramfs: initrd }
  const debian = await kvmGuestAssets({ progress: say })
  return { bzImage: kernel ?? debian.bzImage, initramfs: initrd ?? debian.initramfs }
}
