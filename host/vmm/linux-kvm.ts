// Boots Debian's Linux for x86-64 on KVM with one disk, and runs a script in it or gives it a terminal: kernel options,
// initramfs and KvmMachine come together here, as for v86 in linux-boot.ts; what happens then is in linux-guest.ts. The
// images come from debian.ts; memory and disk are the caller's, made before.

import type { GuestMemory } from '../device/guest-memory.ts'
import { BootImageError, setupHeader } from './boot-params.ts'
import { concatArchives } from './initramfs.ts'
import { unpackedKernel } from './kernel-image.ts'
import { KvmMachine } from './kvm-machine.ts'
import { type GuestOptions, type KernelImages, LinuxGuest } from './linux-guest.ts'
import type { MachineDisk } from './machine-options.ts'

export interface KvmLinuxOptions extends GuestOptions {
  readonly assets: KernelImages
  /** from KvmMachine.memory() */
  readonly memory: GuestMemory
  /** /dev/vda */
  readonly disk?: MachineDisk
  /** more kernel options */
  readonly append?: string
  readonly vcpus?: number
  /**
   * For a KVM that emulates the guest's kernel: it gets the kernel decompressed, which saves it a minute, and says
   * from the first moment what it does, because it will not get far.
   */
  readonly isEmulated?: boolean
}

/** With hardware there is no hurry: nothing is left out, but for self-tests that take longer than all the rest. */
const KERNEL_OPTIONS: readonly string[] = [
  'console=ttyS0',
  'panic=-1', // reset at once, which the machine sees
  'cryptomgr.notests',
  '8250.nr_uarts=1', // there is one
]
const EMULATED_OPTIONS: readonly string[] = ['earlycon=uart8250,io,0x3f8', 'nokaslr', 'mitigations=off']

/** Makes the machine and switches it on. Throws what KvmMachine.create throws. */
export async function startLinuxOnKvm(options: KvmLinuxOptions): Promise<LinuxGuest> {
  const { assets, memory, disk, vcpus, append, isEmulated = false } = options
  setupHeader(assets.bzImage) // throws for what no unpacking helps
  const vmlinux = isEmulated ? (assets.vmlinux ?? unpacked(assets.bzImage)) : undefined
  return LinuxGuest.start(options, (archive, onSerial) =>
    KvmMachine.create({
      memory,
      kernel: { bzImage: assets.bzImage, ...(vmlinux && { vmlinux }) },
      initrd: concatArchives([assets.initramfs, archive]),
      cmdline: [...KERNEL_OPTIONS, ...(isEmulated ? EMULATED_OPTIONS : ['quiet']), ...(append ? [append] : [])].join(
        ' ',
      ),
      ...(vcpus !== undefined && { vcpus }),
      ...(disk && { disks: [{ disk }] }),
      onSerial,
    }),
  )
}

function unpacked(bzImage: Uint8Array): Uint8Array | undefined {
  try {
    return unpackedKernel(bzImage)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new BootImageError(`the kernel image is damaged: ${error.message}`)
  }
}
