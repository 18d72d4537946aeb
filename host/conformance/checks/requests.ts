// Section 5.2.6: what block requests do, and how they are answered.

import { readable, writable } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'

/** no request types in any version of the standard; 2, 3, 5, 6 and 7 were once, and are no more */
const UNKNOWN = [2, 3, 5, 6, 7, 9, 12, 17, 19, 23, 27, 0x100, 0x80000000, 0x80000001, 0xffffffff]
/** request types that a feature brings (5.2.6) */
const BY_FEATURE: readonly [type: number, feature: string][] = [
  [10, 'LIFETIME'],
  [11, 'DISCARD'],
  [13, 'WRITE_ZEROES'],
  [14, 'SECURE_ERASE'],
]
const ZONE_TYPES = [15, 16, 18, 20, 22, 24, 26]

/** Flushed or written through, the bytes must be there when the power fails. */
function assertStable(t: Kit, sector: number, data: Uint8Array, about: string): void {
  t.same(about, t.extra('stable')(sector * 512, data.length), data)
}

export const REQUESTS: readonly Check[] = [
  check(
    'blk.req.header.1',
    'a read whose header and status are cut in several ways: status is in the last byte',
    async (t) => {
      const { queue } = t.live()
      await t.write(queue, 5, pattern(512))
      const layouts = [
        [readable(16), writable(512), writable(1)],
        [readable(4), readable(4), readable(8), writable(513)],
        [readable(16), writable(500), writable(13)],
        [readable(12), readable(4), writable(1), writable(511), writable(1)],
      ]
      for (const layout of layouts) {
        const read = await t.run(queue, { type: 0, sector: 5, layout })
        t.answered(read, { status: 0, usedLen: 513 }, `a read in ${layout.length} descriptors`)
        t.same('its data', read.data(), pattern(512))
      }
      const far = await t.run(queue, { type: 0, sector: 2n ** 32n + 5n, dataIn: 512 })
      t.isNot('status of a read of sector 2^32 + 5', far.status(), 0)
    },
  ),

  check('blk.req.reserved.1', 'reads and writes with anything in the reserved word', async (t) => {
    const { queue } = t.live()
    for (const [i, reserved] of [0, 1, 0xffff, 0x12345678, 0xffffffff].entries()) {
      const write = await t.run(queue, { type: 1, sector: 5, reserved, dataOut: pattern(512, i) })
      t.answered(write, { status: 0, usedLen: 1 }, `a write with ${reserved}`)
      const read = await t.run(queue, { type: 0, sector: 5, reserved, dataIn: 512 })
      t.answered(read, { status: 0, usedLen: 513 }, `a read with ${reserved}`)
      t.same('what was written', read.data(), pattern(512, i))
    }
  }),

  check('blk.req.in.1', 'reads of 512 bytes to 32 KiB of what was written before, from several sectors', async (t) => {
    const { queue } = t.live()
    const data = pattern(32768)
    for (let i = 0; i < 64; i += 8) await t.write(queue, i, data.subarray(512 * i, 512 * (i + 8)))
    for (const [sector, sectors] of [
      [0, 1],
      [1, 1],
      [63, 1],
      [3, 8],
      [0, 64],
    ] as const) {
      const read = await t.run(queue, { type: 0, sector, dataIn: 512 * sectors, segments: 4096 })
      t.answered(read, { status: 0, usedLen: 512 * sectors + 1 }, `a read of ${sectors} sectors`)
      t.same(
        `sectors ${sector} to ${sector + sectors - 1}`,
        read.data(),
        data.slice(512 * sector, 512 * (sector + sectors)),
      )
      const content = t.target.content?.(512 * sector, 512 * sectors)
      if (content) t.same('what the media holds', content, read.data())
    }
  }),

  check('blk.req.out.1', 'writes of one and of eight sectors: read back, with the sectors around them', async (t) => {
    const { queue } = t.live()
    await t.write(queue, 0, pattern(8192, 1))
    for (const [sector, sectors] of [
      [4, 1],
      [7, 8],
    ] as const) {
      const before = (await t.read(queue, 0, 16)).data()
      const data = pattern(512 * sectors, 2 + sector)
      before.set(data, 512 * sector)
      await t.write(queue, sector, data)
      t.same('sectors 0 to 15', (await t.read(queue, 0, 16)).data(), before)
      const content = t.target.content?.(0, 8192)
      if (content) t.same('what the media holds', content, before)
    }
  }),

  check('blk.req.flush.1', 'write, flush, and look at what is stable', { extras: ['stable'] }, async (t) => {
    const { queue } = t.live({ flush: true })
    await t.write(queue, 3, pattern(1024))
    t.answered(await t.run(queue, { type: 4 }), { status: 0, usedLen: 1 }, 'the flush')
    assertStable(t, 3, pattern(1024), 'the stable bytes after the flush')
  }),

  check('blk.req.getid.1', 'GET_ID into 20 bytes: printable characters, then NULs', async (t) => {
    const { queue } = t.live()
    const request = await t.run(queue, { type: 8, dataIn: 20 })
    t.answered(request, { status: 0, usedLen: 21 }, 'GET_ID')
    const text = String.fromCharCode(...request.data())
    t.ok(`the id is ASCII, padded with NULs: '${text.replaceAll('\0', '.')}'`, /^[\x20-\x7e]*\0*$/.test(text))
    const serial = t.target.facts?.serial
    if (serial !== undefined) t.is('the id', text, serial.padEnd(20, '\0'))
  }),

  check(
    'blk.req.unsupp.1',
    'types that do not exist, and types of features that are not offered; then a read',
    async (t) => {
      const { queue } = t.live()
      const unoffered = BY_FEATURE.filter(([, feature]) => !t.offers(feature)).map(([type]) => type)
      for (const type of [...UNKNOWN, ...unoffered]) {
        t.answered(await t.run(queue, { type }), { status: 2 }, `type ${type}`)
        t.answered(await t.run(queue, { type, dataIn: 512 }), { status: 2 }, `type ${type} with data in`)
      }
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, 'the read after them')
    },
  ),

  check('blk.req.status.1', 'requests of many types, sizes and sectors: the status of each', async (t) => {
    const { queue } = t.live()
    const end = t.reg.config64(0)
    for (const type of [0, 1, 4, 8, 11, 13, 15, 99]) {
      for (const sector of [0n, end - 1n, end, 2n ** 63n]) {
        const mark = t.arena.mark()
        const data = type === 0 || type === 8 ? { dataIn: 1024 } : type === 1 ? { dataOut: pattern(1024) } : {}
        const request = await t.run(queue, { type, sector, ...data })
        t.isOneOf(`status of type ${type} at sector ${sector}`, request.status(), [0, 1, 2])
        t.arena.rewind(mark)
      }
    }
    if (!t.target.failing) return
    t.target.failing(true)
    t.answered(await t.read(queue, 0), { status: 1 }, 'a read that the media refuses')
  }),

  check('blk.zone.unneg.1', 'the seven zone request types, without ZONED negotiated', async (t) => {
    const { queue } = t.live()
    for (const type of ZONE_TYPES) {
      t.answered(await t.run(queue, { type }), { status: 2 }, `type ${type}`)
      t.answered(await t.run(queue, { type, dataIn: 512 }), { status: 2 }, `type ${type} with data in`)
    }
  }),
]

export const OPERATION: readonly Check[] = [
  check('blk.op.ro.1', 'write to a read-only disk, with RO accepted and without', { kind: 'readOnly' }, async (t) => {
    for (const drop of [[], [5]]) {
      const { queue, features } = t.live({ drop })
      const write = await t.run(queue, { type: 1, sector: 2, dataOut: pattern(512) })
      t.answered(write, { status: 1 }, `a write with RO ${features.has(5) ? 'accepted' : 'declined'}`)
    }
  }),

  check(
    'blk.op.ro.2',
    'write to a read-only disk, then read the sector, and the media if it can be seen',
    { kind: 'readOnly' },
    async (t) => {
      for (const drop of [[], [5]]) {
        const { queue } = t.live({ drop })
        const before = (await t.read(queue, 2)).data()
        const media = t.target.content?.(1024, 512)
        await t.run(queue, { type: 1, sector: 2, dataOut: before.map((byte) => byte ^ 0xff) })
        t.same('sector 2 after the write', (await t.read(queue, 2)).data(), before)
        if (media && t.target.content) t.same('the media after the write', t.target.content(1024, 512), media)
      }
    },
  ),

  check(
    'blk.op.stable.1',
    'accept neither FLUSH nor CONFIG_WCE, write, and look at what is stable when the write is used',
    { extras: ['stable'] },
    async (t) => {
      const { queue } = t.live({ drop: [9, 11], flush: false })
      await t.write(queue, 3, pattern(1024))
      assertStable(t, 3, pattern(1024), 'the stable bytes when the write is used')
    },
  ),

  check(
    'blk.op.stable.3',
    'write twice, flush, and look at what is stable when the flush is used',
    { extras: ['stable'] },
    async (t) => {
      const { queue } = t.live({ flush: true })
      await t.write(queue, 3, pattern(512, 1))
      await t.write(queue, 9, pattern(512, 2))
      t.answered(await t.run(queue, { type: 4 }), { status: 0, usedLen: 1 }, 'the flush')
      assertStable(t, 3, pattern(512, 1), 'the first write')
      assertStable(t, 9, pattern(512, 2), 'the second write')
    },
  ),
]
