// Sections 2.5, 3.2.1, 4.2.2 (configuration), 5.2.4 and 5.2.5: the configuration space.

import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'

interface Field {
  name: string
  offset: number
  width: 1 | 2 | 4
  feature: string
}

const FIELDS: readonly Field[] = [
  { name: 'size_max', offset: 8, width: 4, feature: 'SIZE_MAX' },
  { name: 'seg_max', offset: 12, width: 4, feature: 'SEG_MAX' },
  { name: 'geometry.cylinders', offset: 16, width: 2, feature: 'GEOMETRY' },
  { name: 'geometry.heads', offset: 18, width: 1, feature: 'GEOMETRY' },
  { name: 'geometry.sectors', offset: 19, width: 1, feature: 'GEOMETRY' },
  { name: 'blk_size', offset: 20, width: 4, feature: 'BLK_SIZE' },
  { name: 'topology.physical_block_exp', offset: 24, width: 1, feature: 'TOPOLOGY' },
  { name: 'topology.alignment_offset', offset: 25, width: 1, feature: 'TOPOLOGY' },
  { name: 'topology.min_io_size', offset: 26, width: 2, feature: 'TOPOLOGY' },
  { name: 'topology.opt_io_size', offset: 28, width: 4, feature: 'TOPOLOGY' },
  { name: 'writeback', offset: 32, width: 1, feature: 'CONFIG_WCE' },
  { name: 'num_queues', offset: 34, width: 2, feature: 'MQ' },
  { name: 'max_discard_sectors', offset: 36, width: 4, feature: 'DISCARD' },
  { name: 'max_discard_seg', offset: 40, width: 4, feature: 'DISCARD' },
  { name: 'discard_sector_alignment', offset: 44, width: 4, feature: 'DISCARD' },
  { name: 'max_write_zeroes_sectors', offset: 48, width: 4, feature: 'WRITE_ZEROES' },
  { name: 'max_write_zeroes_seg', offset: 52, width: 4, feature: 'WRITE_ZEROES' },
  { name: 'write_zeroes_may_unmap', offset: 56, width: 1, feature: 'WRITE_ZEROES' },
]
/** what no device can mean by 0 */
const NON_ZERO = new Set(['size_max', 'seg_max', 'blk_size', 'num_queues'])

function offeredFields(t: Kit): Field[] {
  return FIELDS.filter(({ feature }) => t.offers(feature))
}

function bytewise(t: Kit, offset: number, count: number): number {
  let value = 0
  for (let i = 0; i < count; i++) value += t.reg.config(offset + i, 1) * 2 ** (8 * i)
  return value
}

/** Resizes a live device and waits for it to say so. */
async function resize(t: Kit, bytes: number): Promise<void> {
  t.extra('setCapacity')(bytes)
  await t.wait(() => (t.reg.interruptStatus & 2) !== 0)
}

export const CONFIG: readonly Check[] = [
  check('cfg.1', 'read capacity at Status 3, and again when live', (t) => {
    t.raw.negotiate({ upTo: 'driver' })
    t.is('Status', t.reg.status, 3)
    const early = t.reg.config64(0)
    const bytes = t.target.facts?.capacityBytes
    if (bytes !== undefined) t.is('capacity at Status 3', early, BigInt(Math.floor(bytes / 512)))
    t.live()
    t.is('capacity when live, as at Status 3', t.reg.config64(0), early)
    t.isNot('capacity', early, 0n)
  }),

  check('cfg.2', 'read the field of every offered feature at Status 3, and again when live with all of them', (t) => {
    const fields = offeredFields(t)
    if (fields.length === 0) t.skip('no feature with a configuration field is offered')
    t.raw.negotiate({ upTo: 'driver' })
    const early = fields.map(({ offset, width }) => t.reg.config(offset, width))
    t.raw.negotiate({ upTo: 'featuresOk', features: t.reg.offeredFeatures() })
    fields.forEach(({ name, offset, width }, i) => {
      if (NON_ZERO.has(name)) t.isNot(`${name} at Status 3`, early[i], 0)
      // It starts at a value that depends on what is accepted (5.2.5.2).
      if (name !== 'writeback') t.is(`${name} after FEATURES_OK, as at Status 3`, t.reg.config(offset, width), early[i])
    })
  }),

  check('cfg.le.1', 'read capacity and every offered field byte by byte and whole', (t) => {
    t.is('low half of capacity', t.reg.config(0), bytewise(t, 0, 4))
    t.is('high half of capacity', t.reg.config(4), bytewise(t, 4, 4))
    for (const { name, offset, width } of offeredFields(t))
      t.is(name, t.reg.config(offset, width), bytewise(t, offset, width))
  }),

  check(
    'cfg.gen.1',
    'ConfigGeneration: twice in a row, and on both sides of a change',
    { extras: ['setCapacity'] },
    async (t) => {
      t.live()
      const before = t.reg.configGeneration
      t.is('ConfigGeneration without a change', t.reg.configGeneration, before)
      await resize(t, 8192)
      t.isNot('ConfigGeneration after a change', t.reg.configGeneration, before)
    },
  ),

  check(
    'mmio.config-generation.1',
    'capacity goes from 0xffffffff to 0x100000000 sectors between the reads of its two halves',
    { extras: ['setCapacity'] },
    async (t) => {
      t.live()
      await resize(t, 0xffffffff * 512)
      t.reg.interruptAck(2)
      const generation = t.reg.configGeneration
      const low = t.reg.config(0)
      await resize(t, 2 ** 32 * 512)
      const torn = low + t.reg.config(4) * 2 ** 32
      t.is('the torn value', torn, 0x1ffffffff)
      t.isNot('ConfigGeneration after it', t.reg.configGeneration, generation)
      t.is('capacity read again', t.reg.config64(0), 0x100000000n)
    },
  ),

  check(
    'mmio.config-generation.2',
    'a thousand reads of ConfigGeneration, with reads of the disk in between',
    async (t) => {
      const { queue } = t.live()
      const first = t.reg.configGeneration
      for (let i = 0; i < 1000; i++) {
        if (i % 100 === 0) await t.read(queue, 0)
        t.is('ConfigGeneration', t.reg.configGeneration, first)
      }
    },
  ),

  check('cfgchg.1', 'change the capacity of a live device', { extras: ['setCapacity'] }, async (t) => {
    t.live()
    const generation = t.reg.configGeneration
    const interrupts = t.target.interrupts?.() ?? 0
    await resize(t, 8192)
    t.is('InterruptStatus', t.reg.interruptStatus, 2)
    t.is('capacity', t.reg.config64(0), 16n)
    t.isNot('ConfigGeneration', t.reg.configGeneration, generation)
    if (t.target.interrupts) t.ok('an interrupt came', t.target.interrupts() > interrupts)
  }),

  check(
    'blk.op.capacity.1',
    'shrink the disk to four sectors and grow it again while it is in use',
    { extras: ['setCapacity'] },
    async (t) => {
      const { queue } = t.live()
      const whole = Number(t.reg.config64(0)) * 512
      await t.write(queue, 3, pattern(512))
      for (const bytes of [2048, whole]) {
        t.reg.interruptAck(2)
        await resize(t, bytes)
        t.is('capacity', t.reg.config64(0), BigInt(bytes / 512))
        const read = await t.read(queue, 3)
        t.answered(read, { status: 0, usedLen: 513 }, `a read with ${bytes} bytes`)
        t.same('sector 3', read.data(), pattern(512))
      }
    },
  ),

  check(
    'blk.op.capacity.2',
    'grow the disk of a live device: the configuration interrupt',
    { extras: ['setCapacity'] },
    async (t) => {
      t.live()
      await resize(t, (Number(t.reg.config64(0)) + 8) * 512)
      t.is('InterruptStatus bit 1', t.reg.interruptStatus & 2, 2)
    },
  ),

  check('mmio.config.1', 'read every field with its own width, and byte by byte', (t) => {
    t.is('capacity in halves', t.reg.config(0) + t.reg.config(4) * 2 ** 32, bytewise(t, 0, 8))
    for (const { name, offset, width } of offeredFields(t)) {
      const value = t.reg.config(offset, width)
      t.is(`${name}, ${8 * width} bits`, value, bytewise(t, offset, width))
      if (NON_ZERO.has(name)) t.isNot(name, value, 0)
    }
  }),

  check(
    'blk.cfg.capacity.1',
    'capacity of a disk with blocks of 4096 bytes',
    { kind: 'largeBlocks', extras: ['facts'] },
    (t) => {
      t.is('capacity', t.reg.config64(0), BigInt(t.fact('capacityBytes') / 512))
    },
  ),

  check('blk.cfg.fields.1', 'compare the fields with what the disk was made with', { extras: ['facts'] }, (t) => {
    const { capacityBytes, sizeMax, segMax, blockSize, queues } = t.extra('facts')
    const expected: [name: string, offset: number, width: number, value: number | undefined][] = [
      ['SIZE_MAX', 8, 4, sizeMax],
      ['SEG_MAX', 12, 4, segMax],
      ['BLK_SIZE', 20, 4, blockSize],
      ['MQ', 34, 2, queues],
    ]
    if (capacityBytes !== undefined) t.is('capacity', t.reg.config64(0), BigInt(Math.floor(capacityBytes / 512)))
    for (const [feature, offset, width, value] of expected) {
      if (value !== undefined && t.offers(feature)) t.is(`the field of ${feature}`, t.reg.config(offset, width), value)
    }
  }),

  check(
    'blk.cfg.size-max.1',
    'a read whose one data descriptor has size_max bytes, and one with a sector more',
    async (t) => {
      const sizeMax = t.reg.config(8)
      const { queue } = t.live()
      const most = Math.floor(sizeMax / 512) * 512
      const capacity = Number(t.reg.config64(0)) * 512
      if (most > capacity || most > t.arena.bytes / 4)
        t.skip(`size_max (${sizeMax}) is more than the disk or the guest has`)
      t.isNot('size_max in whole sectors', most, 0)
      t.answered(await t.read(queue, 0, most / 512), { status: 0, usedLen: most + 1 }, `a read of ${most} bytes`)
      const more = await t.read(queue, 0, most / 512 + 1)
      t.isOneOf('status of a longer read (served, or refused)', more.status(), [0, 1])
      t.ok('nothing outside its buffers changed', more.intact())
      await t.serves()
    },
  ),

  check('blk.cfg.seg-max.1', 'a read of seg_max data descriptors; and seg_max + 2 fits the queue', async (t) => {
    const segMax = t.reg.config(12)
    t.reg.selectQueue(0)
    const size = t.reg.queueSizeMax
    t.ok(`seg_max ${segMax} is 1 to ${size - 2}`, segMax >= 1 && segMax <= size - 2)
    if (segMax * 512 > Number(t.reg.config64(0)) * 512) t.skip('the disk has fewer sectors than seg_max')
    const { queue } = t.live({ queues: [{ size }] })
    const read = await t.run(queue, { type: 0, dataIn: 512 * segMax, segments: 512 })
    t.answered(read, { status: 0, usedLen: 512 * segMax + 1 }, `a read of ${segMax} segments`)
  }),

  check(
    'blk.cfg.blk-size.1',
    'blocks of 4096 bytes: sectors are still 512 bytes',
    { kind: 'largeBlocks' },
    async (t) => {
      t.is('blk_size', t.reg.config(20), 4096)
      const { queue } = t.live()
      await t.write(queue, 8, pattern(4096, 1))
      await t.write(queue, 16, pattern(4096, 2))
      const both = await t.read(queue, 8, 16)
      t.answered(both, { status: 0, usedLen: 8193 }, 'a read of 16 sectors')
      t.same('sectors 8 to 23', both.data(), Uint8Array.of(...pattern(4096, 1), ...pattern(4096, 2)))
      const small = await t.read(queue, 1)
      t.isOneOf('status of a read of one sector (served, or refused)', small.status(), [0, 1])
      t.answered(await t.read(queue, 0, 8), { status: 0, usedLen: 4097 }, 'a read of one block')
    },
  ),

  check('blk.init.1', 'look for FLUSH (9) among the offered features', { always: true }, (t) => {
    t.is('FLUSH offered', t.reg.offeredFeatures().has(9), true)
  }),

  check('blk.init.4', 'an 8-bit read of the padding at offset 33', (t) => {
    t.is('unused0', t.reg.config(33, 1), 0)
  }),

  check('blk.init.5', '8-bit reads of the padding at offsets 57 to 59', (t) => {
    for (const offset of [57, 58, 59]) t.is(`unused1, offset ${offset}`, t.reg.config(offset, 1), 0)
  }),
]
