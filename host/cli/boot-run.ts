// Runs the guest of `vblk boot`, in v86 or on KVM, with its disk: inline on this thread in v86, whose memory no other
// thread can use, and on a worker's with KVM. Fetches what the user did not bring, gives the guest the
// terminal, prints the device's counters at the end, and leaves nothing open.

import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import type { FileBackend } from '../backend/file.ts'
import type { ThrottleOptions } from '../device/throttle.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import type { Counters } from '../engine/state.ts'
import { DiskWorker } from '../loop/disk-worker.ts'
import { guestAssets, kvmGuestAssets } from '../vmm/debian.ts'
import { KvmMachine } from '../vmm/kvm-machine.ts'
import type { KvmVerdict } from '../vmm/kvm-probe.ts'
import { type LinuxImages, startLinux } from '../vmm/linux-boot.ts'
import type { KernelImages, LinuxGuest, LinuxResult } from '../vmm/linux-guest.ts'
import { startLinuxOnKvm } from '../vmm/linux-kvm.ts'
import { loadV86 } from '../vmm/v86-node.ts'
import { countersTable } from './counters.ts'
import { attachTerminal } from './terminal.ts'

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
}

const V86_MEMORY = 128 << 20
const KVM_MEMORY = 256 << 20

export function say(message: string): void {
  process.stderr.write(`vblk boot: ${message}\n`)
}

/** The disk runs on this thread, over v86's memory. */
export async function bootInV86(orders: BootOrders, backend: FileBackend): Promise<number> {
  const { own, readOnly, throttle, append, memoryBytes = V86_MEMORY } = orders
  const runtime = await loadV86()
  const assets = await v86Images(own)
  say('booting Linux, which takes some 10 seconds')
  let disk: VirtioBlk | undefined
  const guest = await startLinux({
    runtime,
    assets,
    memoryBytes,
    ...guestOptions(own),
    ...(append !== undefined && { append }),
    disk: async (memory, onInterrupt) => {
      disk = await VirtioBlk.create({ memory, backend, readOnly, throttle, onInterrupt })
      return disk
    },
  })
  return attend(guest, own, async () => {
    // A guest that was left may not have flushed: what it was told is written must not be lost with us.
    backend.flush()
    if (disk) showCounters(disk.counters)
    await disk?.close()
  })
}

/** The disk runs on a worker's thread. A KVM that is not usable is one that a stock kernel does not get far on. */
export async function bootOnKvm(orders: BootOrders, { isUsable }: KvmVerdict): Promise<number> {
  const { file, own, readOnly, throttle, append, vcpus, memoryBytes = KVM_MEMORY } = orders
  const assets = await kvmImages(own)
  const memory = KvmMachine.memory(memoryBytes)
  const worker = await DiskWorker.create({ onFailure: say })
  try {
    const disk = await worker.attach({ memory, backend: { file }, readOnly, throttle })
    const guest = await startLinuxOnKvm({
      assets,
      memory,
      disk,
      isEmulated: !isUsable,
      ...guestOptions(own),
      ...(vcpus !== undefined && { vcpus }),
      ...(append !== undefined && { append }),
    })
    return await attend(guest, own, async () => {
      showCounters(disk.counters)
      await disk.close()
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

function guestOptions({ script }: OwnFiles) {
  const onConsole = (bytes: Uint8Array): void => void process.stdout.write(bytes)
  return { onConsole, ...(script !== undefined && { script }) }
}

/** From power-on to the exit status; `end` releases the disk. */
async function attend(guest: LinuxGuest, { script }: OwnFiles, end: () => Promise<void>): Promise<number> {
  const terminal = attachTerminal(guest, script === undefined)
  let result: LinuxResult
  try {
    result = await guest.finished
  } finally {
    terminal.detach()
    await end()
  }
  if (terminal.signal !== undefined) return 128 + terminal.signal
  if (script !== undefined && result.exitStatus === null) {
    say('the guest powered off before the script ended')
    return 1
  }
  return script === undefined ? 0 : (result.exitStatus ?? 1)
}

function flush(file: string): void {
  const fd = openSync(file, 'r+')
  try {
    fdatasyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function showCounters(counters: Counters): void {
  process.stderr.write(`\n${countersTable(counters)}`)
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
