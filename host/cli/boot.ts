// `vblk boot`: Debian's Linux in v86 with a disk image as /dev/vda. Interactive (the terminal is the guest's
// console), or a script whose exit status becomes ours. The image is opened, locked and checked before anything is
// fetched or booted.

import { readFile } from 'node:fs/promises'
import { FileBackend } from '../backend/file.ts'
import { type ThrottleOptions, throttleRecord } from '../device/throttle.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import { guestAssets } from '../vmm/debian.ts'
import { isBzImage } from '../vmm/kernel-image.ts'
import { LinuxGuest, type LinuxImages, type LinuxResult } from '../vmm/linux-boot.ts'
import { loadV86 } from '../vmm/v86-node.ts'
import { countersTable } from './counters.ts'
import { count, parse, UsageError } from './options.ts'
import { attachTerminal } from './terminal.ts'

const HELP = `Usage: vblk boot --disk FILE [OPTIONS]

Boots Debian's i386 Linux in the v86 emulator with FILE as /dev/vda. Without --script the terminal is the guest's
console: exit powers it off, Ctrl-] pulls the plug. The counters of the device are printed at the end.

  --disk FILE         raw image or block device; make one with: truncate -s 64M FILE
  --ro                the guest may not write to it
  --script FILE       run this shell script in the guest and exit with its status
  --iops N            requests per second            --iops-burst N   how many may pass at once after a pause
  --bps N             data bytes per second          --bps-burst N    (default: one second's worth)
  --memory N          guest RAM in MiB, 64 to 1024 (128)
  --append OPTIONS    more kernel options
  --accel v86         how the guest is run; v86 is the only way so far
  --kernel FILE       a bzImage of your own             } default: Debian packages, fetched once
  --initrd FILE       an initramfs of your own, with    } with apt-get into the cache folder
                      busybox at /bin; /init is ours    } ($XDG_CACHE_HOME or ~/.cache)
  --bios FILE         a SeaBIOS image of your own       }
  --help              this text
`

const OPTIONS = {
  disk: { type: 'string' },
  ro: { type: 'boolean' },
  iops: { type: 'string' },
  'iops-burst': { type: 'string' },
  bps: { type: 'string' },
  'bps-burst': { type: 'string' },
  accel: { type: 'string' },
  append: { type: 'string' },
  kernel: { type: 'string' },
  initrd: { type: 'string' },
  bios: { type: 'string' },
  script: { type: 'string' },
  memory: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

const FLAG_OF: Record<string, string> = {
  iopsBurst: '--iops-burst',
  iops: '--iops',
  bytesPerSecond: '--bps',
  bytesBurst: '--bps-burst',
}

type Values = ReturnType<typeof parse<typeof OPTIONS>>

export async function boot(args: string[]): Promise<number> {
  const values = parse('boot', args, OPTIONS)
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (!values.disk) {
    throw new UsageError('--disk FILE is missing; make an empty disk with: truncate -s 64M disk.img')
  }
  if (values.accel !== undefined && values.accel !== 'v86') {
    throw new UsageError(`--accel ${values.accel}: this version runs guests with v86 only`)
  }
  const throttle = throttleOf(values)
  const memoryBytes = memoryOf(values.memory)
  const own = await ownFiles(values)
  const backend = FileBackend.open(values.disk, {
    readOnly: values.ro ?? false,
    onWarning: (message) => process.stderr.write(`vblk boot: warning: ${message}\n`),
  })
  try {
    const runtime = await loadV86()
    const assets = await images(own)
    process.stderr.write('vblk boot: booting Linux, which takes some 10 seconds\n')
    return await run({ values, backend, throttle, memoryBytes, runtime, assets, script: own.script })
  } finally {
    backend.close()
  }
}

function throttleOf(values: Values): ThrottleOptions {
  const throttle = {
    iops: count('iops', values.iops),
    iopsBurst: count('iops-burst', values['iops-burst']),
    bytesPerSecond: count('bps', values.bps),
    bytesBurst: count('bps-burst', values['bps-burst']),
  }
  try {
    throttleRecord(throttle)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const named = message.replace(/\b(iopsBurst|iops|bytesPerSecond|bytesBurst)\b/g, (name) => FLAG_OF[name] ?? name)
    throw new UsageError(named.replace(/^throttle: /, ''))
  }
  return throttle
}

function memoryOf(text: string | undefined): number {
  const mib = count('memory', text) ?? 128
  if (mib < 64 || mib > 1024) throw new UsageError(`--memory must be from 64 to 1024 (MiB), not ${mib}`)
  return Number(mib) * 2 ** 20
}

interface OwnFiles {
  kernel?: Uint8Array
  initrd?: Uint8Array
  bios?: Uint8Array
  script?: string
}

/** Reads what the user brings, before the disk is touched. */
async function ownFiles(values: Values): Promise<OwnFiles> {
  const files: OwnFiles = {}
  for (const name of ['kernel', 'initrd', 'bios'] as const) {
    const path = values[name]
    if (path !== undefined) files[name] = await read(name, path)
  }
  if (files.kernel && !isBzImage(files.kernel)) {
    throw new UsageError(`--kernel ${values.kernel}: not a bzImage; give a kernel as in /boot/vmlinuz-*, for i386`)
  }
  if (values.script !== undefined) files.script = new TextDecoder().decode(await read('script', values.script))
  return files
}

async function read(option: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`
    throw new UsageError(`--${option} ${path}: ${reason}`)
  }
}

/** The user's own files, and Debian's for the rest. */
async function images(own: OwnFiles): Promise<LinuxImages> {
  const { kernel, initrd, bios } = own
  if (kernel && initrd && bios) return { bzImage: kernel, initramfs: initrd, bios }
  const debian = await guestAssets({ progress: (message) => process.stderr.write(`vblk boot: ${message}\n`) })
  return {
    bios: bios ?? debian.bios,
    initramfs: initrd ?? debian.initramfs,
    ...(kernel ? { bzImage: kernel } : { bzImage: debian.bzImage, ...(debian.vmlinux && { vmlinux: debian.vmlinux }) }),
  }
}

interface Run {
  values: Values
  backend: FileBackend
  throttle: ThrottleOptions
  memoryBytes: number
  runtime: Awaited<ReturnType<typeof loadV86>>
  assets: LinuxImages
  script: string | undefined
}

async function run({ values, backend, throttle, memoryBytes, runtime, assets, script }: Run): Promise<number> {
  let disk: VirtioBlk | undefined
  const guest = await LinuxGuest.start({
    runtime,
    assets,
    memoryBytes,
    ...(script !== undefined && { script }),
    ...(values.append !== undefined && { append: values.append }),
    onConsole: (bytes) => process.stdout.write(bytes),
    disk: async (memory, onInterrupt) => {
      disk = await VirtioBlk.create({ memory, backend, readOnly: values.ro ?? false, throttle, onInterrupt })
      return disk
    },
  })
  const terminal = attachTerminal(guest, script === undefined)
  let result: LinuxResult
  try {
    result = await guest.finished
  } finally {
    terminal.detach()
    // A guest that was left may not have flushed: what it was told is written must not be lost with us.
    backend.flush()
    if (disk) process.stderr.write(`\n${countersTable(disk.counters)}`)
    await disk?.close()
  }
  if (terminal.signal !== undefined) return 128 + terminal.signal
  if (script !== undefined && result.exitStatus === null) {
    process.stderr.write('vblk boot: the guest powered off before the script ended\n')
    return 1
  }
  return script === undefined ? 0 : (result.exitStatus ?? 1)
}
