// Boots Debian's Linux in the v86 machine with one disk, and runs a script in it or gives it a terminal. This is the
// one way in for commands, tests and the page: kernel options, initramfs and machine come together here; what happens
// then is in linux-guest.ts; a guest can be saved and resumed, in a file with saved-machine.ts. Portable: the images
// (debian.ts) and v86 (v86-node.ts) are handed in. The disk belongs to the caller, who closes it.
//
// The kernel options are chosen for a quick start, see KERNEL_OPTIONS; none concerns the block layer or virtio.

import type { GuestMemory } from '../device/guest-memory.ts'
import { virtioMmioSsdt } from './acpi.ts'
import { acpiArchive, concatArchives } from './initramfs.ts'
import { uncompressedImage } from './kernel-image.ts'
import {
  type AttendOptions,
  type GuestOptions,
  type KernelImages,
  LinuxGuest,
  type LinuxResult,
} from './linux-guest.ts'
import { type ImageIdentity, type SavedMachine, SavedMachineError } from './saved-machine.ts'
import { DEFAULT_IRQ, DEFAULT_WINDOW, type MmioDevice, V86Machine } from './v86.ts'
import type { V86Runtime } from './v86-types.ts'

/** `guestAssets` in debian.ts fetches them. */
export interface LinuxImages extends KernelImages {
  readonly bios: Uint8Array
}

export interface LinuxOptions extends GuestOptions {
  readonly runtime: V86Runtime
  readonly assets: LinuxImages
  /** makes the disk, /dev/vda, over the guest's RAM */
  readonly disk?: (memory: GuestMemory, onInterrupt: () => void) => Promise<MmioDevice>
  /** more kernel options */
  readonly append?: string
  /** default 128 MiB */
  readonly memoryBytes?: number
}

const DEFAULT_MEMORY = 128 << 20

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

/** Makes the machine and switches it on. */
export function startLinux(options: LinuxOptions): Promise<LinuxGuest<V86Machine>> {
  const { runtime, assets, disk } = options
  const ssdt = virtioMmioSsdt([{ base: DEFAULT_WINDOW, irq: DEFAULT_IRQ }])
  return LinuxGuest.start(options, (archive, onSerial) =>
    V86Machine.create({
      runtime,
      bios: assets.bios,
      kernel: assets.vmlinux
        ? uncompressedImage(assets.bzImage, assets.vmlinux)
        : { bzImage: assets.bzImage, segments: [] },
      initrd: concatArchives([...(disk ? [acpiArchive([ssdt])] : []), assets.initramfs, archive]),
      cmdline: [...KERNEL_OPTIONS, ...(options.append ? [options.append] : [])].join(' '),
      memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY,
      onSerial,
      ...(disk ? { disk: { create: disk } } : {}),
    }),
  )
}

/** What a saved guest consists of beside its disk: what the disk and its image are like, the caller knows. */
export interface SavingParts {
  readonly runtime: V86Runtime
  readonly memoryBytes?: number
  readonly hasScript: boolean
  /** waits until the disk changes no guest byte any more: VirtioBlk.pause */
  readonly quiet: () => Promise<void>
  /** taken when the machine has been saved */
  readonly snapshot: () => { disk: Uint8Array; image: ImageIdentity }
}

/** Saves a guest and ends it: `finished` resolves, with isSaved. What it was doing goes on in `resumeLinux`. */
export async function saveLinux(guest: LinuxGuest<V86Machine>, parts: SavingParts): Promise<SavedMachine> {
  const { runtime, memoryBytes = DEFAULT_MEMORY, hasScript, quiet, snapshot } = parts
  const machine = await guest.machine.save(quiet)
  return {
    version: runtime.version,
    memoryBytes,
    window: DEFAULT_WINDOW,
    irq: DEFAULT_IRQ,
    console: guest.consoleState,
    hasScript,
    machine,
    ...snapshot(),
  }
}

export interface ResumeOptions extends AttendOptions {
  readonly runtime: V86Runtime
  readonly saved: SavedMachine
  /** makes the disk as it was, with VirtioBlk.restore, over the guest's RAM as it was */
  readonly disk: (memory: GuestMemory, onInterrupt: () => void) => Promise<MmioDevice>
}

/** Makes the machine of a saved guest and lets it go on. Throws SavedMachineError if this v86 is another. */
export async function resumeLinux({
  runtime,
  saved,
  disk,
  ...options
}: ResumeOptions): Promise<LinuxGuest<V86Machine>> {
  const { version, memoryBytes, window, irq, machine } = saved
  if (version !== runtime.version) {
    const remedy = `npm install v86@${version.replace(/\+.*/, '')}`
    throw new SavedMachineError(`it was saved with v86 ${version}, and this is ${runtime.version}: ${remedy}`)
  }
  return LinuxGuest.resume(options, saved.console, (onSerial) =>
    V86Machine.create({ runtime, resume: machine, memoryBytes, onSerial, disk: { window, irq, create: disk } }),
  )
}

/** Boots, waits for the power-off and returns what the script wrote and its exit status. */
export async function bootLinux(options: LinuxOptions): Promise<LinuxResult> {
  const guest = await startLinux(options)
  return guest.finished
}
