// A stock Debian kernel for x86-64 on the KVM of this machine, as far as it comes. With hardware it boots to a script
// on a disk that a worker serves. Where KVM emulates the guest's kernel, half a microsecond per instruction, the
// decompressed kernel gets to its banner and the memory map in some ten seconds, and the bzImage's own decompressor to
// its first message in three. Each wait has a limit. Needs a KVM, and Debian's packages (fetched with apt if the cache
// has none); without them the file says so and has no tests.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createImage } from '../../host/backend/image.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import { GuestAssetsError, type KvmGuestAssets, kvmGuestAssets } from '../../host/vmm/debian.ts'
import { unpackedKernel } from '../../host/vmm/kernel-image.ts'
import { KvmMachine } from '../../host/vmm/kvm-machine.ts'
import { probeKvm } from '../../host/vmm/kvm-probe.ts'
import { startLinuxOnKvm } from '../../host/vmm/linux-kvm.ts'
import type { MachineKernel } from '../../host/vmm/machine-options.ts'
import { within } from '../support/within.ts'

const test = suite('linux on kvm')

const RAM_BYTES = 256 << 20
/** On an emulating KVM the banner takes 12 s when nothing else runs. */
const BANNER_MS = 200_000
const BOOT_MS = 60_000

const verdict = await probeKvm()
if (!verdict.isThere) console.log(`skipped: Linux on KVM: ${verdict.reason}`)
const assets = verdict.isThere ? await fetchAssets() : undefined

async function fetchAssets(): Promise<KvmGuestAssets | undefined> {
  try {
    return await kvmGuestAssets()
  } catch (error) {
    if (!(error instanceof GuestAssetsError)) throw error
    console.log(`skipped: Linux on KVM: ${error.message}`)
    return undefined
  }
}

/** Runs the kernel until the serial port has shown what the expression describes; returns all that it showed. */
async function bootUntil(pattern: RegExp, kernel: MachineKernel, cmdline: string): Promise<string> {
  let shown = ''
  let found = (): void => {}
  const seen = new Promise<void>((resolve) => {
    found = resolve
  })
  const machine = await KvmMachine.create({
    memory: KvmMachine.memory(RAM_BYTES),
    kernel,
    cmdline,
    onSerial: (bytes) => {
      shown += Buffer.from(bytes).toString('latin1')
      if (pattern.test(shown)) found()
    },
  })
  try {
    machine.run()
    await within(BANNER_MS, Promise.race([seen, machine.ended]), `${pattern} (the serial port shows: ${shown})`)
    return shown
  } finally {
    await machine.stop()
  }
}

if (assets) {
  const { bzImage } = assets
  const release = Object.keys(assets.packages)
    .find((name) => name.startsWith('linux-image-'))
    ?.replace('linux-image-', '')

  test('decompressed kernel: banner, command line and memory map on the serial port', async () => {
    const vmlinux = unpackedKernel(bzImage)
    assert.ok(vmlinux, 'this kernel is not packed with LZ4')
    const begun = performance.now()
    const cmdline = 'console=ttyS0 earlycon=uart8250,io,0x3f8 nokaslr'
    const shown = await bootUntil(/Hypervisor detected: KVM/, { bzImage, vmlinux }, cmdline)
    console.log(`${((performance.now() - begun) / 1000).toFixed(1)} s to the banner and the memory map`)
    assert.match(shown, `Linux version ${release} `)
    assert.match(shown, `Command line: ${cmdline}`)
    assert.match(shown, /BIOS-e820: \[mem 0x0{16}-0x000000000009fbff\] usable/)
    assert.match(shown, /BIOS-e820: \[mem 0x000000000009fc00-0x00000000000fffff\] reserved/)
    assert.match(shown, /BIOS-e820: \[mem 0x0000000000100000-0x000000000fffffff\] usable/)
    assert.match(shown, 'Hypervisor detected: KVM')
  })

  // Beside the other one, to save time.
  const unpacking = bootUntil(/KASLR disabled.*\./, { bzImage }, 'earlyprintk=serial,ttyS0,115200 nokaslr')
  unpacking.catch(() => {}) // the test sees it
  test('bzImage: its 64-bit entry finds the command line, and says so on the serial port', async () => {
    assert.match(await unpacking, "KASLR disabled: 'nokaslr' on cmdline.")
  })
}

if (assets && verdict.isUsable) {
  test('hardware: two vCPUs, a script writes to the disk and powers off', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vblk-kvm-'))
    const worker = await DiskWorker.create()
    try {
      createImage(join(folder, 'disk.img'), 16 << 20)
      const memory = KvmMachine.memory(RAM_BYTES)
      const disk = await worker.attach({ memory, backend: { file: join(folder, 'disk.img') } })
      const script = 'set -e\nnproc\nmkfs.ext4 -q /dev/vda\nmount /dev/vda /mnt\necho hello >/mnt/file\ncat /mnt/file\n'
      const options = { assets, memory, disk, vcpus: 2, timeoutMs: BOOT_MS, script: `${script}umount /mnt\nexit 5\n` }
      const result = await (await startLinuxOnKvm(options)).finished
      assert.equal([result.exitStatus, result.output], [5, '2\nhello\n'])
      assert.ok(disk.counters.writesCompleted > 0)
    } finally {
      await worker.close()
      rmSync(folder, { recursive: true })
    }
  })
} else if (assets) {
  console.log(`skipped: a whole boot with a disk: ${verdict.reason}`)
}

test.run()
