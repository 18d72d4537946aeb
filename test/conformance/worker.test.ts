// Our device on a thread of its own, as a VMM has it: the same rules, seen from the vCPU's thread. Nothing fails. What
// needs a grip on the disk's media is checked inline (own.test.ts).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runConformance } from '../../host/conformance/run.ts'
import type { Target, TargetKind } from '../../host/conformance/target.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import { diskBytes } from '../support/device.ts'
import { Script } from '../support/script.ts'
import { sleep } from '../support/within.ts'
import { builtModule, soon } from '../support/worker.ts'

const test = suite('conformance of our device on a worker')

const DISK_BYTES = 1 << 20
const worker = await DiskWorker.create({ onFailure: () => {} })

async function make(kind: TargetKind): Promise<Target> {
  const memory = GuestMemory.create({ ramBytes: 8 << 20, shared: true, stateBytes: 4 << 20 })
  const { data } = Script.create(diskBytes(0, DISK_BYTES))
  const disk = await worker.attach({
    memory,
    backend: { module: builtModule('scripted'), options: { ...data, late: false } },
    readOnly: kind === 'readOnly',
    blockSize: kind === 'largeBlocks' ? 4096 : 512,
    segMax: 16,
    sizeMax: 65536,
    serial: 'worker',
  })
  return {
    mmio: disk,
    memory,
    settle: () => sleep(1),
    close: () => soon('the disk to close', disk.close()),
    facts: { capacityBytes: DISK_BYTES, serial: 'worker', segMax: 16, sizeMax: 65536, queues: 1 },
    interrupts: () => disk.counters.interrupts,
    setCapacity: (bytes) => disk.setCapacity(bytes),
    content: (offset, bytes) => Uint8Array.from(data.disk.subarray(offset, offset + bytes)),
  }
}

for (const result of await runConformance(make)) {
  if (!['passed', 'failed'].includes(result.outcome)) continue
  test(`conformance ${result.id}: ${result.requirement} [worker]`, () => {
    assert.is(result.outcome, 'passed', `tried: ${result.tried}\nseen: ${result.seen}`)
  })
}

test.after(() => worker.close())

test.run()
