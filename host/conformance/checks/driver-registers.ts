// Drivers that break the rules of sections 2.5 and 4.2: configuration space and the virtio-mmio registers. Wrong
// accesses may read any constant and must have no effect; a live device keeps its queue and serves on.

import type { RawQueue } from '../../driver/raw-queue.ts'
import { type Check, check } from '../check.ts'
import { type Kit, REG } from '../kit.ts'
import {
  announced,
  bounded,
  capacity,
  harmless,
  IN,
  leavesAlone,
  refusesQueue,
  ringSize,
  seen,
  Watch,
} from './driver-support.ts'

const ALL_ONES = 0xffff_ffff
const WINDOW = 0x100

/** Registers that a driver may read at any time, as they are now. */
function registers(t: Kit): string {
  const offsets = [0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x060, 0x070, 0x0fc]
  return offsets.map((offset) => `${offset.toString(16)}:${t.reg.read(offset).toString(16)}`).join(' ')
}

/** The device does nothing without a kick: only then can a check tell that something was not a kick. */
async function waitsForKicks(t: Kit, queue: RawQueue): Promise<boolean> {
  const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
  queue.publish(request.head)
  await t.quiet()
  const waits = request.used() === undefined
  if (waits) queue.kick()
  await t.done(request)
  return waits
}

/** A request that is published, and that none of the accesses in `act` may be taken for a kick of. */
async function noKick(t: Kit, about: string, queue: RawQueue, act: () => void): Promise<void> {
  const waits = await waitsForKicks(t, queue)
  const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
  queue.publish(request.head)
  const before = registers(t)
  const watch = new Watch(t)
  act()
  await t.quiet()
  if (waits) {
    t.untouched(request, `${about}: a request without a kick`)
    watch.unchanged(about)
    t.is(`${about}: registers`, registers(t), before)
  } else watch.unchanged(about, queue, request)
  queue.kick()
  t.answered(await t.done(request), { status: 0, usedLen: 513 }, `${about}: the request after a kick`)
}

/** Unaligned and narrow accesses to each register, with values that would reset, kick, acknowledge or stop. */
function wrongWidths(t: Kit): void {
  for (let offset = 0; offset < WINDOW; offset++) {
    for (const width of [1, 2, 4]) {
      if (width === 4 && offset % 4 === 0) continue
      // A word that runs out of the registers would be an access to config space too.
      if (offset + width > WINDOW) continue
      const value = t.reg.read(offset, width)
      if (!(value >= 0 && value < 2 ** (8 * width))) t.fail(`a read of ${width} bytes at ${offset}: ${value}`)
      for (const written of [0, 1, 0xff, 0x80]) t.reg.write(offset, written, width)
    }
  }
}

export const DRIVER_REGISTERS: readonly Check[] = [
  check('drv.cfg.1', 'reads fields of features that are not offered, and past the end of the structure', async (t) => {
    const fields: readonly (readonly [string, number, number])[] = [
      ['SIZE_MAX', 8, 4],
      ['SEG_MAX', 12, 4],
      ['GEOMETRY', 16, 4],
      ['BLK_SIZE', 20, 4],
      ['TOPOLOGY', 24, 8],
      ['CONFIG_WCE', 32, 1],
      ['MQ', 34, 2],
      ['DISCARD', 36, 12],
      ['WRITE_ZEROES', 48, 9],
      ['SECURE_ERASE', 60, 12],
      ['ZONED', 72, 24],
    ]
    const ranges = [...fields.filter(([name]) => !t.offers(name)), ['the end', 96, 64], ['the end', 0xe00, 64]] as const
    const read = (): string =>
      ranges
        .flatMap(([, at, bytes]) => Array.from({ length: bytes }, (_, i) => t.reg.config(at + i, 1)))
        .concat(t.reg.config(96), t.reg.config(0xe00))
        .join(' ')
    const constant = read()
    const { queue } = t.live()
    t.is('fields that are not offered, on a live device', read(), constant)
    await t.read(queue, 1)
    t.is('fields that are not offered, after a request', read(), constant)
    t.is('fields that are not offered, at once again', read(), constant)
    t.is('Status', t.reg.status, 0x0f)
    await t.serves()
  }),

  check('drv.cfg.2', 'reads the halves of capacity in reverse order, alone, and with a resize between', async (t) => {
    t.live()
    const whole = t.reg.config64(0)
    const [low, high] = [Number(whole & 0xffff_ffffn), Number(whole >> 32n)]
    t.is('the high half first', t.reg.config(4), high)
    t.is('the low half alone', t.reg.config(0), low)
    t.is('the low half again', t.reg.config(0), low)
    t.is('the high half again', t.reg.config(4), high)
    const { setCapacity } = t.target
    if (setCapacity === undefined || low < 16) return
    const generation = t.reg.configGeneration
    t.target.setCapacity?.(512 * (low - 8))
    t.is('the low half after a resize', t.reg.config(0), low - 8)
    t.isNot('ConfigGeneration after the resize', t.reg.configGeneration, generation)
    t.target.setCapacity?.(512 * low)
    await t.serves()
  }),

  check('drv.mmio.1', 'reads and writes offsets that are no register', async (t) => {
    const { queue } = t.live()
    const before = registers(t)
    for (const offset of [0x018, 0x01c, 0x028, 0x02c, 0x03c, 0x040, 0x048, 0x054, 0x058, 0x068, 0x074, 0x0c4, 0x0f8]) {
      const constant = t.reg.read(offset)
      for (const value of [ALL_ONES, 0x1000, 0]) {
        t.reg.write(offset, value)
        t.is(`0x${offset.toString(16)}`, t.reg.read(offset), constant)
      }
    }
    t.is('registers', registers(t), before)
    t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
  }),

  check('drv.mmio.2', 'writes read-only registers', async (t) => {
    const { queue } = t.live()
    await t.read(queue, 1)
    const readOnly = [0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x060, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0fc]
    for (const offset of readOnly) {
      const before = t.reg.read(offset)
      for (const value of [ALL_ONES, 3, 0]) {
        t.reg.write(offset, value)
        t.is(`0x${offset.toString(16)}`, t.reg.read(offset), before)
      }
    }
    t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read on the same queue')
  }),

  check('drv.mmio.3', 'reads write-only registers', async (t) => {
    const { queue } = t.live()
    const writeOnly = [0x014, 0x020, 0x024, 0x030, 0x038, 0x050, 0x064, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac]
    const read = (): string => writeOnly.map((offset) => t.reg.read(offset).toString(16)).join(' ')
    await noKick(t, 'reads of write-only registers', queue, read)
    t.is('a used event that is pending', t.reg.interruptStatus & 1, 1)
    const constant = read()
    t.is('what they read', read(), constant)
    t.is('the used event afterwards', t.reg.interruptStatus & 1, 1)
  }),

  check('drv.mmio.4', 'accesses registers with 1, 2 and unaligned 4 bytes', async (t) => {
    const { queue } = t.live()
    await noKick(t, 'wrong widths', queue, () => wrongWidths(t))
    t.is('Status', t.reg.status, 0x0f)
    t.raw.negotiate({ upTo: 'reset' })
    wrongWidths(t)
    t.is('Status after reset', t.reg.status, 0)
    await t.serves()
  }),

  check('drv.mmio.5', 'reads fields of config space with other widths than theirs', async (t) => {
    t.live()
    for (let at = 0; at < 24; at += 4) {
      const word = t.reg.config(at)
      for (let i = 0; i < 4; i++) t.is(`byte ${at + i}`, t.reg.config(at + i, 1), (word >>> (8 * i)) & 0xff)
      for (let i = 0; i < 4; i += 2) t.is(`half word ${at + i}`, t.reg.config(at + i, 2), (word >>> (8 * i)) & 0xffff)
    }
    const before = [0, 4, 8, 12, 16, 20].map((at) => t.reg.config(at)).join(' ')
    for (let at = 0; at < 24; at++) for (const width of [1, 2, 4]) t.reg.setConfig(at, 0xa5, width)
    t.is('the fields after writes', [0, 4, 8, 12, 16, 20].map((at) => t.reg.config(at)).join(' '), before)
    await t.serves()
  }),

  check(
    'drv.mmio.6',
    'reads DeviceFeatures without DeviceFeaturesSel, after a session that left it at 1',
    async (t) => {
      const word = t.reg.featureWord(0)
      if (word === t.reg.featureWord(1)) t.skip('feature words 0 and 1 are the same')
      t.reg.status = 0
      await t.wait(() => t.reg.status === 0)
      t.is('DeviceFeatures after reset', t.reg.read(REG.deviceFeatures), word)
    },
  ),

  check(
    'drv.mmio.7',
    'writes DriverFeatures without DriverFeaturesSel, after a session that left it at 1',
    async (t) => {
      const word = t.reg.featureWord(0)
      const bit = [30, 24, 27, 3].find((each) => ((word >>> each) & 1) === 0) ?? t.skip('all of word 0 is offered')
      t.raw.negotiate({ upTo: 'features' })
      t.reg.write(REG.driverFeaturesSel, 1)
      t.raw.negotiate({ upTo: 'driver' })
      // A bit that is not offered: it counts in word 0, and would be overwritten in word 1.
      t.reg.write(REG.driverFeatures, 1 << bit)
      t.reg.setFeatureWord(1, 1)
      t.reg.status = 0x0b
      t.is(`FEATURES_OK with bit ${bit} in word 0`, t.reg.status & 0x08, 0)
      await t.serves()
    },
  ),

  check('drv.mmio.8', 'QueueSize of 0, 3, more than QueueSizeMax, and beyond 16 bits', async (t) => {
    t.reg.selectQueue(0)
    const max = t.reg.queueSizeMax
    const packed = t.offers('RING_PACKED')
    await harmless(t, async () => {
      for (const sizeRegister of [0, packed ? 0 : 3, max + 1, 2 * max, 65536, 65536 + 8, 2 ** 31, ALL_ONES]) {
        t.arena.rewind()
        await refusesQueue(t, `QueueSize ${sizeRegister}`, { size: 8, sizeRegister })
      }
    })
  }),

  check('drv.mmio.9', 'rewrites QueueSize and the addresses while QueueReady is 1', async (t) => {
    for (const live of [false, true]) {
      const { queue } = t.raw.negotiate(live ? {} : { upTo: 'queues' })
      const other = t.raw.queue({ size: queue.size })
      const decoy = other.request({ type: IN, sector: 1, dataIn: 512 })
      other.publish(decoy.head)
      t.reg.queueSize = 2
      t.reg.setQueueAddresses(other.desc, other.avail, other.used)
      if (!live) t.reg.status = 0x0f
      const about = live ? 'live' : 'before DRIVER_OK'
      for (let i = 0; i < 6; i++) {
        t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `${about}: a read on the old rings`)
      }
      t.untouched(decoy, `${about}: a request on the new rings`)
      t.is(`${about}: used.idx of the old rings`, queue.usedIdx, 6)
      t.is(`${about}: used.idx of the new rings`, other.usedIdx, 0)
    }
    await t.serves()
  }),

  check('drv.mmio.10', 'stops a queue and uses its memory for something else', async (t) => {
    await harmless(t, async ({ queue }) => {
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read before')
      t.reg.queueReady = 0
      t.ok('QueueReady reads 0', await t.wait(() => t.reg.queueReady === 0), 'QueueReady does not read 0')
      await leavesAlone(t, 'a request on the stopped queue', queue)
      t.mem.fill(queue.avail, 6 + 2 * queue.size, 0x5a)
      t.mem.fill(queue.used, 6 + 8 * queue.size, 0x5a)
      const watch = new Watch(t)
      queue.kick()
      await t.quiet()
      watch.unchanged('memory that was a ring')
      t.is('Status', t.reg.status, 0x0f)
    })
  }),

  check('drv.mmio.11', 'acknowledges undefined bits and bits that are not pending', async (t) => {
    const { queue } = t.live()
    t.reg.interruptAck(t.reg.interruptStatus)
    await t.read(queue, 1)
    t.is('InterruptStatus after a request', t.reg.interruptStatus, 1)
    for (const bits of [2, 0x8000_0000, 0xffff_fffc]) {
      t.reg.interruptAck(bits)
      t.is(`InterruptStatus after an ACK of 0x${bits.toString(16)}`, t.reg.interruptStatus, 1)
    }
    for (const bits of [ALL_ONES, 1, ALL_ONES]) {
      t.reg.interruptAck(bits)
      t.is(`InterruptStatus after an ACK of 0x${bits.toString(16)}`, t.reg.interruptStatus, 0)
    }
    t.is('Status', t.reg.status, 0x0f)
    await announced(t, 'the next request', queue)
  }),

  check('drv.mmio.13', 'selects queues that do not exist and sets them up', async (t) => {
    const { reg } = t
    const queues = t.offers('MQ') ? reg.config(34, 2) : 1
    for (const selector of [queues, 0xffff, 0x10000, 0x8000_0000, ALL_ONES]) {
      const about = `QueueSel ${selector}`
      t.raw.negotiate({ upTo: 'featuresOk' })
      const queue = t.raw.queue({ size: ringSize(t, 8), ready: false })
      const other = t.raw.queue({ size: 4, queue: selector })
      queue.program()
      reg.selectQueue(selector)
      t.is(`${about}: QueueSizeMax`, reg.queueSizeMax, 0)
      t.is(`${about}: QueueReady after 1`, other.program(), 0)
      reg.selectQueue(0)
      t.is(`${about}: QueueReady of queue 0`, reg.queueReady, 0)
      reg.queueReady = 1
      t.is(`${about}: QueueReady of queue 0 after 1`, reg.queueReady, 1)
      reg.status = 0x0f
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `${about}: a read on queue 0`)
    }
  }),

  check('drv.mmio.14', 'kicks queues that do not exist or are not ready', async (t) => {
    const { queue } = t.live()
    const queues = t.offers('MQ') ? t.reg.config(34, 2) : 1
    for (const index of [queues, 0xffff, 0x10000, 0x8000_0000, ALL_ONES]) {
      await noKick(t, `QueueNotify ${index}`, queue, () => queue.kick(index))
    }
    t.live({ queues: [] })
    t.reg.notify(0)
    await leavesAlone(t, 'a kick of a queue that is not ready', t.raw.queue({ size: 4 }))
    t.is('Status', t.reg.status, 0x0f)
    await t.serves()
  }),

  check('drv.mmio.15', 'writes values other than 0 and 1 to QueueReady', async (t) => {
    for (const value of [2, 3, 0x100, 0x8000_0000, ALL_ONES]) {
      const { queue, ready } = t.raw.negotiate({ queues: [{ ready: value }] })
      t.isOneOf(`QueueReady after ${value}`, ready[0], [0, 1])
      if (ready[0] === 0) await leavesAlone(t, `a request after QueueReady ${value}`, queue)
      else t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `a read after QueueReady ${value}`)
    }
    await t.serves()
  }),

  check('drv.mminit.2', 'selects shared memory regions, which a block device does not have', async (t) => {
    t.live()
    for (const region of [0, 1, 255, ALL_ONES]) {
      t.reg.write(REG.shmSel, region)
      for (const offset of [REG.shmLenLow, REG.shmLenHigh, REG.shmBaseLow, REG.shmBaseHigh]) {
        t.is(`0x${offset.toString(16)} of region ${region}`, t.reg.read(offset), ALL_ONES)
      }
    }
    await t.serves()
  }),

  check('drv.mmirq.1', 'never acknowledges, 300 requests long', async (t) => {
    const { queue } = t.live()
    const mark = t.arena.mark()
    await bounded(t, '300 requests', async () => {
      for (let i = 0; i < 300; i++) {
        t.arena.rewind(mark)
        const request = await t.read(queue, i % Math.min(8, capacity(t)))
        if (seen(t, request) !== 'OK') t.fail(`request ${i}: ${seen(t, request)}`)
      }
    })
    t.is('used.idx', queue.usedIdx, 300)
    t.is('InterruptStatus', t.reg.interruptStatus & 1, 1)
    t.reg.interruptAck(1)
    t.is('InterruptStatus after one ACK', t.reg.interruptStatus & 1, 0)
    await announced(t, 'the next request', queue)
  }),
]
