// Sections 5.2.4 to 5.2.6.2 of features that are about the media: CONFIG_WCE, TOPOLOGY, DISCARD and WRITE_ZEROES.

import type { RawQueue } from '../../driver/raw-queue.ts'
import type { RawRequest } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'

const WRITEBACK = 32
const CONFIG_WCE = 11
const DISCARD = { bit: 13, type: 11, maxSectors: 36, maxSegments: 40 }
const WRITE_ZEROES = { bit: 14, type: 13, maxSectors: 48, maxSegments: 52 }

type Range = readonly [sector: number, sectors: number, flags?: number]

/** A discard or write-zeroes request of these ranges. */
async function ranges(t: Kit, queue: RawQueue, type: number, ...list: Range[]): Promise<RawRequest> {
  const dataOut = new Uint8Array(16 * list.length)
  const view = new DataView(dataOut.buffer)
  list.forEach(([sector, sectors, flags = 0], i) => {
    view.setBigUint64(16 * i, BigInt(sector), true)
    view.setUint32(16 * i + 8, sectors, true)
    view.setUint32(16 * i + 12, flags, true)
  })
  return await t.run(queue, { type, dataOut }, `a request of type ${type}`)
}

/** As many single sectors, every second one, as one request may name: at most 8. */
function spread(t: Kit, maxSegments: number): Range[] {
  const most = Math.max(1, Math.min(8, t.reg.config(maxSegments)))
  return Array.from({ length: most }, (_, i) => [4 + 2 * i, 1] as const)
}

/** Sectors 0 to 31 hold a pattern without zeros. */
async function filled(t: Kit, bit: number): Promise<{ queue: RawQueue; data: Uint8Array }> {
  const { queue } = t.live({ add: [bit] })
  const data = pattern(16384).map((byte) => byte | 1)
  for (let i = 0; i < 32; i += 8) await t.write(queue, i, data.subarray(512 * i, 512 * (i + 8)))
  return { queue, data }
}

async function sectors(t: Kit, queue: RawQueue): Promise<Uint8Array> {
  const read = await t.run(queue, { type: 0, dataIn: 16384, segments: 4096 })
  t.answered(read, { status: 0, usedLen: 16385 }, 'the read of sectors 0 to 31')
  return read.data()
}

export const WRITEBACKS: readonly Check[] = [
  check('blk.init.2', 'CONFIG_WCE (11) is not offered without FLUSH (9)', { always: true }, (t) => {
    const offered = t.reg.offeredFeatures()
    t.ok('no CONFIG_WCE without FLUSH', !offered.has(CONFIG_WCE) || offered.has(9))
  }),

  check('blk.init.3', 'accept CONFIG_WCE and not FLUSH; read writeback', (t) => {
    t.raw.negotiate({ upTo: 'featuresOk', add: [CONFIG_WCE], flush: false })
    t.is('Status', t.reg.status, 0x0b)
    t.is('writeback after FEATURES_OK', t.reg.config(WRITEBACK, 1), 0)
  }),

  check('blk.cfg.writeback.1', 'write 0 and 1 to writeback and read each back', (t) => {
    t.live({ add: [CONFIG_WCE], flush: true })
    for (const value of [0, 1, 0, 1]) {
      t.reg.setConfig(WRITEBACK, value, 1)
      t.is('writeback', t.reg.config(WRITEBACK, 1), value)
    }
  }),

  check('blk.op.stable.2', 'writeback 0, write, look at what is stable', { extras: ['stable'] }, async (t) => {
    const { queue } = t.live({ add: [CONFIG_WCE], flush: true })
    t.reg.setConfig(WRITEBACK, 0, 1)
    await t.write(queue, 3, pattern(1024))
    t.same('the stable bytes', t.extra('stable')(1536, 1024), pattern(1024))
  }),

  check('blk.req.wce-race.1', 'change writeback while writes are under way; flush', async (t) => {
    const { queue } = t.live({ add: [CONFIG_WCE], flush: true })
    for (let i = 0; i < 20; i++) {
      const write = queue.run({ type: 1, sector: 3, dataOut: pattern(512, i) })
      t.reg.setConfig(WRITEBACK, i % 2, 1)
      t.answered(await t.done(write), { status: 0, usedLen: 1 }, 'a write')
    }
    t.answered(await t.run(queue, { type: 4 }), { status: 0, usedLen: 1 }, 'the flush')
    if (t.target.stable) t.same('the stable bytes', t.target.stable(1536, 512), pattern(512, 19))
  }),

  check(
    'blk.cfg.topology.1',
    'the topology fields, and a read of one sector where alignment is asked for',
    async (t) => {
      const exponent = t.reg.config(24, 1)
      t.ok(`physical_block_exp ${exponent} is at most 22`, exponent <= 22)
      t.ok('alignment_offset is inside a physical block', t.reg.config(25, 1) < 2 ** exponent)
      const { queue } = t.live({ add: [10] })
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read of sector 1')
    },
  ),
]

export const RANGES: readonly Check[] = [
  check('blk.req.dwz.1', 'a discard of as many single sectors as one request may name', async (t) => {
    const { queue, data } = await filled(t, DISCARD.bit)
    const list = spread(t, DISCARD.maxSegments)
    t.answered(await ranges(t, queue, DISCARD.type, ...list), { status: 0, usedLen: 1 }, `${list.length} segments`)
    const after = await sectors(t, queue)
    const kept = Array.from({ length: 32 }, (_, i) => i).filter((i) => !list.some(([sector]) => sector === i))
    for (const i of kept)
      t.same(`sector ${i}`, after.subarray(512 * i, 512 * i + 512), data.subarray(512 * i, 512 * i + 512))
  }),

  check('blk.req.dwz.2', 'write zeroes of as many single sectors as one request may name, unmap 0 and 1', async (t) => {
    for (const flags of [0, 1]) {
      const { queue, data } = await filled(t, WRITE_ZEROES.bit)
      const list = spread(t, WRITE_ZEROES.maxSegments)
      const flagged = list.map(([sector, count]) => [sector, count, flags] as const)
      t.answered(await ranges(t, queue, WRITE_ZEROES.type, ...flagged), { status: 0, usedLen: 1 }, `flags ${flags}`)
      for (const [sector] of list) data.fill(0, 512 * sector, 512 * sector + 512)
      t.same(`sectors 0 to 31, flags ${flags}`, await sectors(t, queue), data)
    }
  }),

  check('blk.op.dwz-flags.1', 'discards with flags 2, 4 and 0x80000000', async (t) => {
    const { queue } = t.live({ add: [DISCARD.bit] })
    for (const flags of [2, 4, 0x80000000]) {
      t.answered(await ranges(t, queue, DISCARD.type, [4, 1, flags]), { status: 2 }, `flags ${flags}`)
    }
  }),

  check('blk.op.dwz-flags.3', 'write zeroes with flags 2, 3 and 0x80000000; then read', async (t) => {
    const { queue, data } = await filled(t, WRITE_ZEROES.bit)
    for (const flags of [2, 3, 0x80000000]) {
      t.answered(await ranges(t, queue, WRITE_ZEROES.type, [4, 1, flags]), { status: 2 }, `flags ${flags}`)
    }
    t.same('sectors 0 to 31', await sectors(t, queue), data)
  }),

  check('blk.op.discard.1', 'a discard with unmap set', async (t) => {
    const { queue } = t.live({ add: [DISCARD.bit] })
    t.answered(await ranges(t, queue, DISCARD.type, [4, 1, 1]), { status: 2 }, 'a discard with unmap')
  }),

  check('blk.op.discard.2', 'discard eight sectors, read them', async (t) => {
    const { queue, data } = await filled(t, DISCARD.bit)
    t.answered(await ranges(t, queue, DISCARD.type, [8, 8]), { status: 0, usedLen: 1 }, 'the discard')
    const after = await sectors(t, queue)
    t.same('the sectors before', after.subarray(0, 4096), data.subarray(0, 4096))
    t.same('the sectors behind', after.subarray(8192), data.subarray(8192))
  }),

  check('blk.op.wz.1', 'write zeroes with unmap, read', async (t) => {
    const { queue, data } = await filled(t, WRITE_ZEROES.bit)
    t.answered(await ranges(t, queue, WRITE_ZEROES.type, [8, 8, 1]), { status: 0, usedLen: 1 }, 'write zeroes')
    t.same('sectors 0 to 31', await sectors(t, queue), data.fill(0, 4096, 8192))
  }),

  check(
    'blk.op.wz.2',
    'write zeroes of seven sectors from the third, with and without unmap; read with borders',
    async (t) => {
      for (const flags of [0, 1]) {
        const { queue, data } = await filled(t, WRITE_ZEROES.bit)
        t.answered(
          await ranges(t, queue, WRITE_ZEROES.type, [3, 7, flags]),
          { status: 0, usedLen: 1 },
          `flags ${flags}`,
        )
        t.same(`sectors 0 to 31, flags ${flags}`, await sectors(t, queue), data.fill(0, 1536, 5120))
      }
    },
  ),
]
