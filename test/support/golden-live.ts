// The golden traces of real guests: the KVM test guest, and Debian's Linux in v86 from power-on to power-off, with a
// file system made, mounted and written. A guest that cannot run here says why.

import { MemoryBackend } from '../../host/backend/memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import type { EngineLoader } from '../../host/engine/engine.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import type { Trace } from '../../host/replay/trace.ts'
import { guestAssets } from '../../host/vmm/debian.ts'
import { bootLinux } from '../../host/vmm/linux-boot.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import { inlineGuest } from './inline-guest.ts'
import { hasKvm } from './kvm-guest.ts'
import { assertPassed } from './test-guest.ts'

/** Why a trace cannot be made on this machine. */
export class CannotRecord extends Error {}

const DISK_BYTES = 2 << 20
const SCRIPT = `
set -e
mkfs.ext4 -q -O ^has_journal /dev/vda
mount -t ext4 /dev/vda /mnt
echo golden >/mnt/file
sync
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 -o ro /dev/vda /mnt
cat /mnt/file
umount /mnt
`

async function kvmGuest(): Promise<Trace> {
  if (!hasKvm()) throw new CannotRecord('there is no /dev/kvm to use')
  let nanos = 0
  const recorder = new Recorder({ shared: true, clock: () => (nanos += 1000) })
  const guest = await inlineGuest({ engine: recorder.engine, clock: () => 0 })
  try {
    const run = guest.run({ interrupts: true, eventIdx: true, batch: 8, resets: 1, requests: 64, startSector: 8 })
    assertPassed(run, guest.device)
  } finally {
    await guest.close()
  }
  return recorder.trace()
}

/** Boots Linux with a disk and returns what it said, how long it took and the requests of its disk. */
export async function bootWithDisk(
  script: string,
  engine?: EngineLoader,
  onConsole?: (bytes: Uint8Array) => void,
): Promise<{ output: string; seconds: number; requests: number }> {
  const [runtime, assets] = await Promise.all([loadV86(), guestAssets()]).catch((error: Error) => {
    if (!/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    throw new CannotRecord(error.message)
  })
  let disk: VirtioBlk | undefined
  const result = await bootLinux({
    runtime,
    assets,
    script,
    timeoutMs: 120_000,
    ...(onConsole && { onConsole }),
    disk: async (memory, onInterrupt) => {
      const backend = new MemoryBackend(DISK_BYTES)
      disk = await VirtioBlk.create({ memory, backend, onInterrupt, serial: 'golden', ...(engine && { engine }) })
      return disk
    },
  })
  if (disk === undefined || result.exitStatus !== 0) throw new Error(`the guest's script failed:\n${result.output}`)
  const { readsCompleted, writesCompleted, flushesCompleted, idsCompleted } = disk.counters
  await disk.close()
  const requests = readsCompleted + writesCompleted + flushesCompleted + idsCompleted
  return { output: result.output, seconds: result.seconds, requests }
}

async function linux(): Promise<Trace> {
  const recorder = new Recorder()
  const { output, requests } = await bootWithDisk(SCRIPT, recorder.engine)
  if (!output.includes('golden\n')) throw new Error(`the guest read something else:\n${output}`)
  console.log(`linux: ${requests} requests`)
  return recorder.trace()
}

/** By name: makes the trace, or throws CannotRecord. A live guest is never the same twice. */
export const LIVE: Readonly<Record<string, () => Promise<Trace>>> = { 'kvm-guest': kvmGuest, linux }
