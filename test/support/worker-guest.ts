// A disk on a worker's thread for the test guest: shared guest RAM, a scripted back end, kicks by exits or by
// ioeventfd. The guest's thread is the caller's; nothing of the disk runs on it but the register window.

import { GuestMemory } from '../../host/device/guest-memory.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import type { WorkerDisk } from '../../host/loop/worker-disk.ts'
import { GUEST_RAM_BYTES, type GuestParameters } from '../guest/protocol.ts'
import { Script } from './script.ts'
import { type GuestDevice, type GuestOptions, type GuestRun, runGuest } from './test-guest.ts'
import { builtModule } from './worker.ts'

const DISK_BYTES = 1 << 20
const SERIAL = 'worker disk'

export interface WorkerGuest {
  readonly disk: WorkerDisk
  readonly script: Script
  readonly device: GuestDevice
  /** one line per failure that was announced */
  readonly failures: readonly string[]
  run(parameters?: Partial<GuestParameters>, options?: Partial<GuestOptions>): GuestRun
}

export async function withWorkerGuest(
  ioeventfd: boolean,
  body: (guest: WorkerGuest) => Promise<void> | void,
): Promise<void> {
  const memory = GuestMemory.create({ ramBytes: GUEST_RAM_BYTES, shared: true, stateBytes: 1 << 20 })
  const failures: string[] = []
  const worker = await DiskWorker.create({ onFailure: (message) => failures.push(message) })
  try {
    const script = Script.create(new Uint8Array(DISK_BYTES))
    const disk = await worker.attach({
      memory,
      serial: SERIAL,
      backend: { module: builtModule('scripted'), options: script.data },
    })
    const device: GuestDevice = {
      interruptFd: disk.interruptFd,
      mmioRead: (offset, width) => disk.mmioRead(offset, width),
      mmioWrite: (offset, width, value) => disk.mmioWrite(offset, width, value),
      ...(ioeventfd && { kickFds: disk.kickFds }),
    }
    const known = { capacitySectors: DISK_BYTES / 512, serial: SERIAL }
    await body({
      disk,
      script,
      device,
      failures,
      run: (parameters, more) => runGuest({ memory, device, parameters: { ...known, ...parameters }, ...more }),
    })
  } finally {
    await worker.close()
  }
}
