// Debian's Linux in v86, saved in the middle of its IO and resumed in a machine of its own, from bytes as a file would
// hold them. The disk is slow on purpose, so heads wait in the ring when the machine is saved. Needs what linux.test.ts
// needs; without it the file says so and has no tests.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { type GuestAssets, guestAssets } from '../../host/vmm/debian.ts'
import { resumeLinux, saveLinux, startLinux } from '../../host/vmm/linux-boot.ts'
import type { LinuxGuest, LinuxResult } from '../../host/vmm/linux-guest.ts'
import { packSavedMachine, type SavedMachine, unpackSavedMachine } from '../../host/vmm/saved-machine.ts'
import type { V86Machine } from '../../host/vmm/v86.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import type { V86Runtime } from '../../host/vmm/v86-types.ts'

const DISK_BYTES = 16 << 20
const WRITES = 96
const TIMEOUT_MS = 120_000

/** Twice saved: with writes under way to the bare disk, then with files that only the guest's memory has. */
const SCRIPT = `
head -c $((${WRITES} * 4096)) /dev/urandom >/tmp/data
dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2>/dev/null &
sleep 1
echo "saving $(sha256sum </tmp/data)"
save
echo "saved $?"
wait
sync
echo 3 >/proc/sys/vm/drop_caches
echo "read $(head -c $((${WRITES} * 4096)) /dev/vda | sha256sum)"
mkfs.ext4 -q /dev/vda
mount -t ext4 /dev/vda /mnt
cp /tmp/data /mnt/data
save
umount /mnt
mount -t ext4 /dev/vda /mnt
echo "file $(sha256sum </mnt/data)"
umount /mnt
exit 23
`

async function prepare(): Promise<{ assets: GuestAssets; runtime: V86Runtime } | undefined> {
  try {
    const runtime = await loadV86()
    return { runtime, assets: await guestAssets() }
  } catch (error) {
    if (!(error instanceof Error) || !/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    console.log(`skipped: saving Linux in v86: ${error.message}`)
    return undefined
  }
}

const linux = suite('linux in v86, saved')
const ready = await prepare()

interface Episode {
  result: LinuxResult
  disk: VirtioBlk
  saved: SavedMachine | undefined
}

/** Runs a guest until it ends or saves itself; what is saved goes through its file format. */
async function episode(backend: MemoryBackend, from?: SavedMachine): Promise<Episode> {
  assert.ok(ready)
  const { runtime, assets } = ready
  let disk: VirtioBlk | undefined
  let guest: LinuxGuest<V86Machine> | undefined
  let saving: Promise<SavedMachine> | undefined
  const onSave = (): void => {
    assert.ok(guest && disk)
    const served = disk
    const image = { bytes: DISK_BYTES, modified: '0', isReadOnly: false }
    const snapshot = () => ({ disk: served.snapshot(), image })
    saving = saveLinux(guest, { runtime, hasScript: true, quiet: () => served.pause(), snapshot })
    saving.catch(() => {})
  }
  const options = { runtime, timeoutMs: TIMEOUT_MS, onSave }
  if (from) {
    guest = await resumeLinux({
      ...options,
      saved: from,
      disk: async (memory, onInterrupt) => {
        disk = await VirtioBlk.restore(from.disk, { memory, backend, onInterrupt })
        return disk
      },
    })
  } else {
    guest = await startLinux({
      ...options,
      assets,
      script: SCRIPT,
      canSave: true,
      disk: async (memory, onInterrupt) => {
        const throttle = { iops: 20, iopsBurst: 20 }
        disk = await VirtioBlk.create({ memory, backend, onInterrupt, throttle, serial: 'moving' })
        return disk
      },
    })
  }
  const result = await guest.finished
  const saved = saving && (await unpackSavedMachine(await packSavedMachine(await saving)))
  assert.ok(disk)
  await disk.close()
  return { result, disk, saved }
}

function word(text: string, label: string): string | undefined {
  return new RegExp(`^${label} (\\w+)`, 'm').exec(text)?.[1]
}

linux('device rule 26: saved with writes in flight, resumed twice -> every byte there, one exit status', async () => {
  const backend = new MemoryBackend(DISK_BYTES)
  const first = await episode(backend)
  assert.ok(first.result.isSaved, first.result.output)
  assert.is(first.result.exitStatus, null)
  assert.not.match(first.result.output, 'saved', 'nothing runs between save and the end of the machine')
  const { writesCompleted, throttledCount } = first.disk.counters
  assert.ok(writesCompleted > 0 && writesCompleted < WRITES && throttledCount > 0, 'heads wait in the ring')
  assert.ok(first.saved)

  const second = await episode(backend, first.saved)
  assert.ok(second.result.isSaved, second.result.output)
  assert.is(word(second.result.output, 'saved'), '0')
  assert.is(word(second.result.output, 'read'), word(first.result.output, 'saving'))
  assert.ok(second.disk.counters.writesCompleted >= WRITES, 'the counters go on')
  assert.ok(second.saved)

  const third = await episode(backend, second.saved)
  assert.is(third.result.exitStatus, 23, third.result.output)
  assert.not.ok(third.result.isSaved)
  assert.is(word(third.result.output, 'file'), word(first.result.output, 'saving'))
  const { ioErrors, ringFaults, engineTraps, unsupported } = third.disk.counters
  assert.equal([ioErrors, ringFaults, engineTraps, unsupported], [0, 0, 0, 0])
})

linux('saved by another v86 -> refused, with the version to install; nothing is made', async () => {
  assert.ok(ready)
  const saved = { version: '0.4.1+gabc' } as SavedMachine
  let isAsked = false
  try {
    await resumeLinux({
      runtime: ready.runtime,
      saved,
      disk: async () => {
        isAsked = true
        throw new Error('not to be made')
      },
    })
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).name, 'SavedMachineError')
    assert.match((error as Error).message, 'npm install v86@0.4.1')
    assert.not.ok(isAsked)
  }
})

if (ready) linux.run()
