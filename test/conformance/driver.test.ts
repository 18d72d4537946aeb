// The checks of driver rows on devices unlike the one that they were written with: small queues, guest RAM in pieces
// and far up, few features, tight limits, and nothing but registers and memory to go by. What cannot be tried is
// skipped; a device that is right never fails.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CachedDisk } from '../../host/conformance/own-target.ts'
import { ROWS } from '../../host/conformance/rows.ts'
import { runConformance } from '../../host/conformance/run.ts'
import type { Target, TargetFactory } from '../../host/conformance/target.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import type { DeviceOptions } from '../support/device.ts'

const test = suite('conformance of driver rows')

type Regions = readonly { gpa: number; bytes: number }[]

/** Our device as a stranger: registers and memory only. */
function stranger(options: DeviceOptions, regions: Regions): TargetFactory {
  return async (kind): Promise<Target> => {
    const memory = GuestMemory.create({ regions, stateBytes: 16 << 20 })
    const backend = new CachedDisk(1 << 18)
    const readOnly = kind === 'readOnly'
    const device = await VirtioBlk.create({ ...options, memory, backend, readOnly, onFailure: () => {} })
    return { mmio: device, memory, close: () => device.close() }
  }
}

const PIECES: Regions = [
  { gpa: 0x8000_0000, bytes: 4 << 20 },
  { gpa: 0x1_0000_0000, bytes: 1 << 20 },
]
const TOUCHING: Regions = [
  { gpa: 0x4000_0000, bytes: 4 << 20 },
  { gpa: 0x4040_0000, bytes: 1 << 20 },
]

for (const [about, options, regions, skipped] of [
  [
    'queue of 4, no features, RAM in pieces',
    { queueSizeMax: 4, segMax: 2, features: [] },
    PIECES,
    [...['drv.feat.2', 'drv.desc.5', 'drv.desc.6', 'drv.availnot.2', 'drv.cleanup.1', 'drv.blk.op.19']],
  ],
  [
    'queue of 8, FLUSH, RAM in touching pieces',
    { queueSizeMax: 8, segMax: 6, features: ['FLUSH'] },
    TOUCHING,
    ['drv.desc.6', 'drv.blk.op.19'],
  ],
  ['limits of one sector', { segMax: 1, sizeMax: 512 }, TOUCHING, ['drv.desc.6', 'drv.blk.op.19']],
] as const) {
  test(`conformance kit: driver rows: ${about} -> passed or skipped`, async () => {
    const make = stranger(options as DeviceOptions, regions)
    const left: string[] = []
    for (const { id, side } of ROWS) {
      if (side !== 'driver') continue
      const [result] = await runConformance(make, { id })
      assert.is.not(result?.outcome, 'failed', `${id}: ${result?.tried}\n${result?.seen}`)
      if (result?.outcome === 'skipped') left.push(id)
    }
    assert.equal(left.sort(), [...skipped].sort())
  })
}

test.run()
