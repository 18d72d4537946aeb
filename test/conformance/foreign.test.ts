// The kit on a device that is not ours: the small one that the driver's tests use, which shares no code with ours. It
// is handed over as registers and memory alone, first without any extra, then with features that ours does not have.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Result, totals } from '../../host/conformance/outcome.ts'
import { runConformance } from '../../host/conformance/run.ts'
import type { Target } from '../../host/conformance/target.ts'
import { FakeDevice, FakeRam } from '../support/fake-device.ts'
import { type Decisions, richTarget } from '../support/rich-device.ts'

const test = suite('conformance of another device')

const CORE = [1, 2, 6, 9, 29, 32]

function fake(): Target {
  const ram = new FakeRam(8 << 20)
  const mmio = new FakeDevice(ram, { features: CORE })
  mmio.logging = false
  return { mmio, memory: ram }
}

function outcomeOf(results: readonly Result[], id: string): string {
  const result = results.find((one) => one.id === id)
  return `${result?.outcome}: ${result?.seen}`
}

test('registers and memory alone -> what they show is checked, what needs more is skipped', async () => {
  const results = await runConformance((kind) => (kind === 'usual' ? fake() : undefined))
  for (const id of ['mmio.magic.1', 'used.id.1', 'availnot.4', 'blk.req.in.1', 'frame.2', 'feat.3']) {
    assert.match(outcomeOf(results, id), /^passed/, id)
  }
  // It has no registers for shared memory.
  assert.match(outcomeOf(results, 'mmio.shm.1'), /^failed: .* expected 4294967295/)
  for (const id of ['usednot.2', 'reset.2', 'cfgchg.1', 'blk.op.stable.1']) {
    assert.match(outcomeOf(results, id), /^skipped: the target has no/, id)
  }
  assert.match(outcomeOf(results, 'blk.cfg.blk-size.1'), /^skipped: there is no target of the kind/)
  assert.match(outcomeOf(results, 'indir.1'), /^not offered/)
  assert.match(outcomeOf(results, 'blk.op.ro.1'), /^not offered/)
  const sum = totals(results)
  assert.is(
    Object.values(sum).reduce((a, b) => a + b),
    363,
  )
  for (const { outcome, tried } of results) if (outcome !== 'not checked yet') assert.ok(tried.length > 0)
})

/** For each rule of a feature that ours does not have: a device that breaks it. */
const MISTAKES: readonly [
  id: string,
  what: string,
  wrong: Partial<Decisions>,
  change?: (device: FakeDevice) => void,
][] = [
  [
    'indir.1',
    'WRITE on an indirect descriptor is refused',
    {},
    (device) => spoil(device, (flags) => (flags & 6) === 6),
  ],
  [
    'indir.2',
    'an indirect descriptor must be the first',
    {},
    (device) => spoil(device, (flags, first) => (flags & 4) !== 0 && !first),
  ],
  ['indir.sem.1', 'tables are read from top to bottom', {}, linear],
  ['blk.vq.1', 'only queue 0 answers', { chain: ({ queue }) => (queue === 0 ? undefined : 1) }],
  ['blk.init.2', 'CONFIG_WCE is offered without FLUSH', { features: [1, 2, 6, 11, 32] }],
  ['blk.init.3', 'writeback starts at 1 for a driver without FLUSH', { firstWriteback: () => 1 }],
  ['blk.cfg.writeback.1', 'writeback cannot be switched off', { setWriteback: () => 1 }],
  ['blk.op.stable.2', 'writes are volatile with writeback 0', { writesThrough: () => false }],
  ['blk.req.wce-race.1', 'a flush does nothing', { flushes: false, writesThrough: () => false }],
  ['blk.cfg.topology.1', 'physical_block_exp is a size', { physicalBlockExp: 255 }],
  [
    'blk.req.dwz.1',
    'a discard takes the next sector too',
    { zeroes: (_, { sector, sectors }) => ({ sector, sectors: sectors + 1 }) },
  ],
  ['blk.req.dwz.2', 'write zeroes takes fewer segments than it says', { segmentsMax: 4 }],
  [
    'blk.op.dwz-flags.1',
    'a discard with flag 4 is served',
    { judge: (_, { flags }) => (flags === 2 || flags > 4 ? 2 : 0) },
  ],
  ['blk.op.dwz-flags.3', 'write zeroes with flag 2 is an error', { judge: (_, { flags }) => (flags > 1 ? 1 : 0) }],
  ['blk.op.discard.1', 'a discard with unmap is served', { judge: (_, { flags }) => (flags > 1 ? 2 : 0) }],
  [
    'blk.op.discard.2',
    'a discard rounds its end up',
    { zeroes: (_, { sector, sectors }) => ({ sector, sectors: sectors + 1 }) },
  ],
  [
    'blk.op.wz.1',
    'unmap leaves the range as it is',
    { zeroes: (_, { sector, flags }) => ({ sector, sectors: flags ? 0 : 8 }) },
  ],
  [
    'blk.op.wz.2',
    'write zeroes rounds inwards to blocks',
    { zeroes: (_, { sector, sectors }) => ({ sector: sector + 1, sectors: sectors - 1 }) },
  ],
]

/** Requests are refused if any descriptor of their chain has such flags. */
function spoil(device: FakeDevice, isBad: (flags: number, first: boolean) => boolean): void {
  const usual = device.answer
  device.answer = (chain) => {
    const { desc } = device.queues[chain.queue] ?? { desc: 0 }
    const table = device.ram.data(desc, 16 * 16)
    for (let index = chain.head, first = true; ; first = false) {
      const flags = table.getUint16(16 * index + 12, true)
      if (isBad(flags, first)) return { code: 1 }
      if ((flags & 1) === 0) return usual?.(chain)
      index = table.getUint16(16 * index + 14, true)
    }
  }
}

/** Before a kick is served, every table is relinked in the order of its entries. */
function linear(device: FakeDevice): void {
  device.onWrite = (offset) => {
    const queue = device.queues[0]
    if (offset !== 0x050 || !queue) return undefined
    const table = device.ram.data(queue.desc, 16 * queue.size)
    for (let i = 0; i < queue.size; i++) {
      if ((table.getUint16(16 * i + 12, true) & 4) === 0) continue
      const bytes = table.getUint32(16 * i + 8, true)
      const entries = device.ram.data(Number(table.getBigUint64(16 * i, true)), bytes)
      for (let at = 0; at < bytes; at += 16) {
        const last = at + 16 === bytes
        entries.setUint16(at + 12, (entries.getUint16(at + 12, true) & 2) | (last ? 0 : 1), true)
        entries.setUint16(at + 14, at / 16 + 1, true)
      }
    }
    return undefined
  }
}

for (const [id, what, wrong, change] of MISTAKES) {
  test(`conformance ${id}: a device that offers it -> passed; ${what} -> failed`, async () => {
    const [right] = await runConformance(() => richTarget(), { id })
    assert.is(right?.outcome, 'passed', right?.seen)
    const [other] = await runConformance(() => richTarget(wrong, change), { id })
    assert.is(other?.outcome, 'failed', other?.seen)
    assert.not.match(other?.seen ?? '', 'the check ended with')
  })
}

test.run()
