// `vblk boot`: Debian's Linux with a disk image as /dev/vda, on KVM where there is one that can run it, else in v86.
// Interactive (the terminal is the guest's console), or a script whose exit status becomes ours. The image is opened,
// locked and checked before anything is fetched or booted. What is asked for is read here; boot-run.ts does it.

import { FileBackend } from '../backend/file.ts'
import { type ThrottleOptions, throttleRecord } from '../device/throttle.ts'
import { setupHeader } from '../vmm/boot-params.ts'
import { bzImageBytes, isBzImage } from '../vmm/kernel-image.ts'
import { type KvmVerdict, probeKvm } from '../vmm/kvm-probe.ts'
import { type BootOrders, bootInV86, bootOnKvm, type OwnFiles, resumeInV86, say } from './boot-run.ts'
import type { BOOT } from './declarations.ts'
import { readInputFile } from './input-file.ts'
import { type Given, UsageError, type Values } from './options.ts'
import { Recording } from './recording.ts'
import { checkSaveFile, readSaveFile } from './saved-file.ts'

const FLAG_OF: Record<string, string> = {
  iopsBurst: '--iops-burst',
  iops: '--iops',
  bytesPerSecond: '--bps',
  bytesBurst: '--bps-burst',
}

const MIB = 2 ** 20

type BootValues = Values<typeof BOOT>

export async function boot({ values }: Given<typeof BOOT>): Promise<number> {
  if (values.disk === undefined) {
    throw new UsageError('--disk FILE is missing; make an empty disk with: truncate -s 64M disk.img')
  }
  const wanted = values.accel ?? 'auto'
  checkSaving(values, wanted)
  const throttle = throttleOf(values)
  if (values.save !== undefined) checkSaveFile(values.save, values.disk)
  if (values.record !== undefined) Recording.check(values.record, values.disk)
  if (values.resume !== undefined) return resume(values.disk, values.resume, values, throttle)
  const { memory, cpus: vcpus } = values
  const own = await ownFiles(values)
  const backend = FileBackend.open(values.disk, {
    readOnly: values.ro,
    onWarning: (message) => say(`warning: ${message}`),
  })
  const orders = {
    file: values.disk,
    readOnly: values.ro,
    throttle,
    own,
    json: values.json,
    ...(memory !== undefined && { memoryBytes: memory * MIB }),
    ...(vcpus !== undefined && { vcpus }),
    ...(values.append !== undefined && { append: values.append }),
    ...(values.save !== undefined && { save: values.save }),
    ...(values.record !== undefined && { record: values.record }),
  }
  try {
    const choice = await chooseAccel(wanted, orders)
    if (choice.accel === 'v86') {
      checkForV86(orders, wanted === 'auto' ? `; ${choice.why}` : '')
      say(choice.why)
      return await bootInV86(orders, backend)
    }
    checkForKvm(orders)
    say(choice.why)
    backend.close() // the disk worker opens it again, on its own thread
    return await bootOnKvm(orders, choice.verdict)
  } finally {
    backend.close()
  }
}

type Choice = { accel: 'v86'; why: string } | { accel: 'kvm'; why: string; verdict: KvmVerdict }

async function resume(disk: string, file: string, values: BootValues, throttle: ThrottleOptions): Promise<number> {
  const saved = await readSaveFile(file)
  const backend = FileBackend.open(disk, {
    readOnly: saved.image.isReadOnly,
    onWarning: (message) => say(`warning: ${message}`),
  })
  try {
    return await resumeInV86(
      { saved, throttle, save: values.save, record: values.record, force: values.force, json: values.json },
      backend,
    )
  } finally {
    backend.close()
  }
}

const NOT_WITH_RESUME = ['script', 'kernel', 'initrd', 'bios', 'memory', 'append', 'cpus', 'ro'] as const

function checkSaving(values: BootValues, accel: string): void {
  const { save, resume, force } = values
  for (const name of NOT_WITH_RESUME) {
    if (resume !== undefined && values[name] !== undefined && values[name] !== false) {
      throw new UsageError(`--${name} cannot be given with --resume: the guest goes on as it was saved`)
    }
  }
  if (accel === 'kvm' && save !== undefined) {
    throw new UsageError('--save: a KVM guest cannot be saved, only one in v86; leave out --accel kvm')
  }
  if (accel === 'kvm' && resume !== undefined) {
    throw new UsageError('--resume: a saved guest is one of v86; leave out --accel kvm')
  }
  if (force && resume === undefined) throw new UsageError('--force means something with --resume only')
}

async function chooseAccel(wanted: 'auto' | 'kvm' | 'v86', { own, save }: BootOrders): Promise<Choice> {
  if (wanted === 'v86') return { accel: 'v86', why: 'running the guest in v86' }
  if (wanted === 'auto') {
    if (save) return { accel: 'v86', why: 'running the guest in v86, because only there it can be saved' }
    if (own.bios) return { accel: 'v86', why: 'running the guest in v86, because KVM guests have no BIOS to be given' }
    if (own.kernel && !is64Bit(own.kernel)) {
      return { accel: 'v86', why: 'running the guest in v86, because the kernel has no 64-bit entry point for KVM' }
    }
  }
  const verdict = await probeKvm()
  if (verdict.isUsable) return { accel: 'kvm', why: `running the guest on KVM (${verdict.reason})`, verdict }
  if (wanted === 'auto') {
    const why = verdict.isThere ? 'this KVM cannot run a stock kernel' : 'there is no KVM to use'
    return { accel: 'v86', why: `running the guest in v86: ${why} (vblk doctor tells more)` }
  }
  if (!verdict.isThere) throw new UsageError(`--accel kvm: ${verdict.reason}`)
  return { accel: 'kvm', why: `warning: running the guest on KVM as asked, but ${verdict.reason}`, verdict }
}

function is64Bit(kernel: Uint8Array): boolean {
  try {
    setupHeader(kernel)
    return true
  } catch {
    return false
  }
}

/** `why`: the reason for v86, where the user has not chosen it. */
function checkForV86({ memoryBytes = 0, vcpus }: BootOrders, why: string): void {
  if (memoryBytes > 1024 * MIB) {
    throw new UsageError(`--memory must be from 64 to 1024 (MiB) in v86, not ${memoryBytes / MIB}${why}`)
  }
  if (vcpus !== undefined && vcpus > 1) throw new UsageError(`--cpus ${vcpus}: v86 has one processor${why}`)
}

function checkForKvm({ own, memoryBytes = 128 * MIB }: BootOrders): void {
  if (own.bios) throw new UsageError('--bios: a KVM guest has no BIOS; leave it out, or use --accel v86')
  if (memoryBytes < 128 * MIB) {
    throw new UsageError(`--memory must be from 128 to 3968 (MiB) with KVM, not ${memoryBytes / MIB}`)
  }
}

function throttleOf(values: BootValues): ThrottleOptions {
  const throttle = {
    iops: values.iops,
    iopsBurst: values['iops-burst'],
    bytesPerSecond: values.bps,
    bytesBurst: values['bps-burst'],
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

/** Reads what the user brings, before the disk is touched. */
async function ownFiles(values: BootValues): Promise<OwnFiles> {
  const files: OwnFiles = {}
  for (const name of ['kernel', 'initrd', 'bios'] as const) {
    const path = values[name]
    if (path !== undefined) files[name] = await readInputFile(path, `--${name} `)
  }
  if (files.kernel && !isBzImage(files.kernel)) {
    throw new UsageError(`--kernel ${values.kernel}: not a bzImage; give a kernel as in /boot/vmlinuz-*`)
  }
  if (files.kernel && bzImageBytes(files.kernel) > files.kernel.length) {
    const { length } = files.kernel
    throw new UsageError(
      `--kernel ${values.kernel}: the file is cut off: ${length} of ${bzImageBytes(files.kernel)} bytes or more`,
    )
  }
  if (values.script !== undefined)
    files.script = new TextDecoder().decode(await readInputFile(values.script, '--script '))
  return files
}
