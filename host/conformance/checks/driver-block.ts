// Drivers that break the rules of section 5.2, the block device: requests out of range, with wrong data, without
// header or status, of types that were not negotiated. They fail alone: the media does not change, service goes on.

import { readable, writable } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'
import { FEATURES } from '../rows.ts'
import {
  attack,
  BROKEN,
  capacity,
  FAILS,
  FLUSH,
  GET_ID,
  GOES_ON,
  harmless,
  IN,
  judged,
  OK,
  OUT,
  RETURNED,
  sectors,
  seen,
  Watch,
} from './driver-support.ts'

const DISCARD = 11
const WRITE_ZEROES = 13
const SECURE_ERASE = 14
/** GET_LIFETIME, the zoned commands, SCSI, and masks of known types: none is offered by the features of blk I/O */
const OTHERS = [2, 3, 5, 10, 15, 16, 17, 18, 20, 22, 24, 26, 0x100, 0x8000_0000, 0x8000_0001, 0xffff_ffff]

/** A read and a write of `count` sectors at `sector` fail. */
async function outOfRange(t: Kit, sector: number | bigint, count: number): Promise<void> {
  const about = `of ${count} at sector ${sector}`
  await attack(t, `a read ${about}`, { type: IN, sector, dataIn: 512 * count, segments: 512 }, FAILS)
  await attack(t, `a write ${about}`, { type: OUT, sector, dataOut: pattern(512 * count), segments: 512 }, FAILS)
}

/** Segments of the discard family: sector u64, count u32, flags u32. */
function segment(sector: number, count: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16))
  bytes.setBigUint64(0, BigInt(sector), true)
  bytes.setUint32(8, count, true)
  return new Uint8Array(bytes.buffer)
}

export const DRIVER_BLOCK: readonly Check[] = [
  check('drv.blk.init.1', 'accepts FLUSH, writes, resets, and never flushes', async (t) => {
    const before = await sectors(t, 1, 1)
    const { queue } = t.live({ flush: true })
    const data = pattern(512, 3)
    await t.write(queue, 1, data)
    t.same('the sector, before a reset', (await t.read(queue, 1)).data(), data)
    t.same('the sector, after a reset', await sectors(t, 1, 1), data)
    await t.write(t.live({ flush: true }).queue, 1, before)
    t.same('the sector, written again', await sectors(t, 1, 1), before)
  }),

  check('drv.blk.op.1', 'reads and writes past the end of the disk, by one sector and by 2^64 bytes', async (t) => {
    const end = capacity(t)
    await harmless(t, async () => {
      await outOfRange(t, end, 1)
      await outOfRange(t, end - 1, 2)
      await outOfRange(t, end + 1, 1)
      for (const sector of [1n << 32n, 1n << 55n, 1n << 63n, (1n << 64n) - 1n]) {
        await outOfRange(t, sector, 1)
        await outOfRange(t, sector, 2)
      }
    })
  }),

  check('drv.blk.op.2', 'declines RO, then writes', async (t) => {
    await harmless(t, async () => {
      const { queue, status } = t.raw.negotiate({ drop: [FEATURES.RO ?? 5] })
      if (status !== 0x0f) {
        t.is('DRIVER_OK', status & 0x04, 0)
        return
      }
      await judged(t, 'a write', queue.request({ type: OUT, sector: 1, dataOut: pattern(512) }), FAILS)
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
    })
  }),

  check('drv.blk.op.3', 'flushes with a sector that is not 0', async (t) => {
    const { queue } = t.live({ flush: true })
    for (const sector of [1, 12345, capacity(t), (1n << 64n) - 1n]) {
      t.answered(await t.run(queue, { type: FLUSH, sector }), { status: 0, usedLen: 1 }, `FLUSH with sector ${sector}`)
    }
  }),

  check('drv.blk.op.4', 'flushes with data', async (t) => {
    await harmless(t, async ({ queue }) => {
      const dataIn = queue.request({ type: FLUSH, dataIn: 512 })
      await judged(t, 'a flush with data-in', dataIn, GOES_ON)
      t.ok(
        'its data is left alone',
        dataIn.data().every((byte) => byte === 0xe5),
      )
      t.is('its used length', dataIn.usedLen(), 0)
      const dataOut = queue.request({ type: FLUSH, dataOut: pattern(512) })
      await judged(t, 'a flush with data-out', dataOut, GOES_ON)
      t.isOneOf('its used length', dataOut.usedLen(), [0, 1])
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
    })
  }),

  check('drv.blk.op.5', 'reads and writes 0, 100, 511 and 513 bytes', async (t) => {
    await harmless(t, async () => {
      for (const bytes of [1, 100, 511, 513, 1023]) {
        const read = await attack(t, `a read of ${bytes} bytes`, { type: IN, sector: 1, dataIn: bytes }, FAILS)
        t.is(`a read of ${bytes} bytes: used`, read.used() !== undefined, true)
        await attack(t, `a write of ${bytes} bytes`, { type: OUT, sector: 1, dataOut: pattern(bytes) }, FAILS)
      }
      for (const type of [IN, OUT]) await attack(t, `type ${type} without data`, { type, sector: 1 }, GOES_ON)
    })
  }),

  check('drv.blk.op.6', 'discards, erases and zeroes with 0, 8, 17 and 24 bytes of segments', async (t) => {
    const offered = ['DISCARD', 'WRITE_ZEROES', 'SECURE_ERASE'].filter((name) => t.offers(name))
    const add = offered.map((name) => FEATURES[name] ?? 0)
    await harmless(t, async () => {
      for (const type of [DISCARD, WRITE_ZEROES, SECURE_ERASE]) {
        for (const bytes of [0, 8, 17, 24]) {
          const dataOut = Uint8Array.from({ length: bytes }, (_, i) => segment(1, 1)[i % 16] ?? 0)
          await attack(t, `type ${type} with ${bytes} bytes`, { type, dataOut }, FAILS, { add })
        }
      }
    })
  }),

  check('drv.blk.op.7', 'asks for the id with 0, 1, 10, 19, 21 and 64 bytes', async (t) => {
    const { queue } = t.live()
    const id = (await t.run(queue, { type: GET_ID, dataIn: 20 })).data()
    for (const bytes of [0, 1, 10, 19, 21, 64]) {
      for (const segments of [bytes, Math.max(7, Math.ceil(bytes / (queue.size - 2)))]) {
        const about = `the id in ${bytes} bytes`
        const request = queue.request({ type: GET_ID, dataIn: bytes, ...(bytes > 0 ? { segments } : {}) })
        const result = await judged(t, about, request, GOES_ON)
        if (!request.intact()) t.fail(`${about}: bytes around its buffers changed`)
        if (result !== OK) continue
        const share = Math.min(bytes, 20)
        t.same(about, request.data().subarray(0, share), id.subarray(0, share))
      }
    }
    t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
    await t.serves()
  }),

  check('drv.blk.op.14', 'sends headers that are too short, and chains without a writable byte', async (t) => {
    const data = readable(512)
    await harmless(t, async () => {
      for (const bytes of [0, 1, 8, 15]) {
        const about = `a header of ${bytes} bytes`
        const layout = bytes === 0 ? [writable(512), writable(1)] : [readable(bytes), writable(512), writable(1)]
        // Before, a good request of the same shape: nothing of it may be used again.
        const { queue } = t.live()
        await t.read(queue, 1)
        await judged(t, about, queue.request({ type: IN, sector: 1, layout }), FAILS)
        t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `${about}: a read on the same queue`)
      }
      for (const [about, options] of [
        ['a header alone', { type: FLUSH, layout: [readable(16)] }],
        ['data-out without status', { type: OUT, sector: 1, dataOut: pattern(512), layout: [readable(16), data] }],
        ['a descriptor of no bytes', { type: IN, layout: [readable(0)] }],
        ['a status of no bytes', { type: OUT, sector: 1, dataOut: pattern(512), layout: [readable(528), writable(0)] }],
      ] as const) {
        const request = await attack(t, about, options, [BROKEN, RETURNED])
        if (seen(t, request) === RETURNED) t.is(`${about}: used length`, request.usedLen(), 0)
      }
    })
  }),

  check('drv.blk.op.15', 'reads into readable and writes from writable descriptors', async (t) => {
    await harmless(t, async () => {
      const dataOut = pattern(512)
      const wrongIn = await attack(t, 'a read with data-out', { type: IN, sector: 1, dataOut }, GOES_ON)
      t.ok('the data-out of a read is whole', wrongIn.intact(), 'a read wrote to readable descriptors')
      const both = { type: IN, sector: 1, dataOut, dataIn: 512 }
      const mixed = await attack(t, 'a read with both', both, GOES_ON)
      t.ok('the data-out of the mixed read is whole', mixed.intact(), 'a read wrote to readable descriptors')
      const wrongOut = await attack(t, 'a write with data-in', { type: OUT, sector: 1, dataIn: 512 }, GOES_ON)
      t.ok(
        'the data-in of a write is left alone',
        wrongOut.data().every((byte) => byte === 0xe5),
      )
    })
  }),

  check('drv.blk.op.17', 'sends commands that were not negotiated', async (t) => {
    await harmless(t, async () => {
      for (const type of [DISCARD, WRITE_ZEROES, SECURE_ERASE, ...OTHERS]) {
        const { queue } = t.live()
        await judged(t, `type ${type} with data-out`, queue.request({ type, sector: 1, dataOut: segment(1, 1) }), FAILS)
        const dataOut = pattern(512)
        await judged(t, `type ${type} with a sector`, queue.request({ type, sector: 1, dataOut }), FAILS)
        await judged(t, `type ${type} with data-in`, queue.request({ type, sector: 1, dataIn: 512 }), FAILS)
        t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
      }
      const { queue } = t.live({ flush: false })
      await judged(t, 'FLUSH that was not negotiated', queue.request({ type: FLUSH }), GOES_ON)
    })
  }),

  check('drv.blk.op.18', 'more descriptors than seg_max, a longer one than size_max', async (t) => {
    const segMax = t.reg.config(12)
    const sizeMax = t.offers('SIZE_MAX') ? t.reg.config(8) : 0
    t.reg.selectQueue(0)
    const size = t.reg.queueSizeMax
    const room = t.arena.bytes / 2
    const tried: (readonly [string, number, number])[] = []
    if (segMax + 3 <= size && 1024 * segMax < room) tried.push(['seg_max + 1 descriptors', 512 * (segMax + 1), 512])
    if (sizeMax > 0 && sizeMax + 512 < room) {
      const bytes = 512 * (Math.floor(sizeMax / 512) + 1)
      tried.push(['a descriptor longer than size_max', bytes, bytes])
    }
    if (tried.length === 0) t.skip('neither limit can be passed in this queue and this guest RAM')
    const expected = await sectors(t, 0, 1)
    for (const [about, bytes, segments] of tried) {
      const { queue } = t.live({ queues: [{ size }] })
      const request = queue.request({ type: IN, sector: 0, dataIn: bytes, segments })
      const result = await judged(t, about, request, GOES_ON)
      if (result === OK) t.same(`${about}: data`, request.data().subarray(0, 512), expected)
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
    }
    await t.serves()
  }),

  check('drv.blk.op.19', 'uses the old capacity after the disk has shrunk', { extras: ['setCapacity'] }, async (t) => {
    const resize = t.extra('setCapacity')
    const before = capacity(t)
    if (before < 32) t.skip(`the disk has ${before} sectors`)
    const half = before >> 1
    const gone = await sectors(t, half, 2)
    await harmless(t, async ({ queue }) => {
      const watch = new Watch(t)
      resize(512 * half)
      await t.quiet()
      watch.unchanged('the resize')
      for (const [sector, count] of [
        [half, 1],
        [half - 1, 2],
        [before - 1, 1],
      ] as const) {
        const about = `of ${count} at ${sector} of ${half}`
        await judged(t, `a read ${about}`, queue.request({ type: IN, sector, dataIn: 512 * count }), FAILS)
        await judged(t, `a write ${about}`, queue.request({ type: OUT, sector, dataOut: pattern(512 * count) }), FAILS)
      }
      t.answered(await t.read(queue, half - 1), { status: 0, usedLen: 513 }, 'a read of the last sector')
      resize(512 * before)
    })
    t.same('the sectors that were gone', await sectors(t, half, 2), gone)
  }),
]
