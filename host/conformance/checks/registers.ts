// Sections 4.2 and 2.10, virtio-mmio: what each register reads and does. Status and features are in status.ts, the
// configuration space in config.ts.

import { type Check, check } from '../check.ts'
import { type Kit, REG } from '../kit.ts'

/** No device has so many queues. */
const NO_QUEUE = 0xffff
const ALL_ONES = 0xffffffff

/** Queues that the device has: at most `most` are counted. */
function queuesOf(t: Kit, most = 8): number {
  for (let queue = 0; queue < most; queue++) {
    t.reg.selectQueue(queue)
    if (t.reg.queueSizeMax === 0) return queue
  }
  return most
}

function noSharedMemory(t: Kit): void {
  for (const region of [0, 1, 2, 3, 255]) {
    t.reg.write(REG.shmSel, region)
    for (const offset of [REG.shmLenLow, REG.shmLenHigh, REG.shmBaseLow, REG.shmBaseHigh]) {
      t.is(`register 0x${offset.toString(16)} of shared memory ${region}`, t.reg.read(offset) >>> 0, ALL_ONES)
    }
  }
}

export const REGISTERS: readonly Check[] = [
  check('mmio.magic.1', 'a 32-bit read of 0x000', (t) => {
    t.is('MagicValue', t.reg.read(REG.magic), 0x74726976)
  }),

  check('mmio.version.1', 'a 32-bit read of 0x004', (t) => {
    t.is('Version', t.reg.read(REG.version), 2)
  }),

  check('mmio.device-id.1', 'a 32-bit read of 0x008', (t) => {
    t.is('DeviceID', t.reg.read(REG.deviceId), 2)
  }),

  check('blk.id.1', 'DeviceID before and after bring-up', (t) => {
    t.is('DeviceID at power-on', t.reg.deviceId, 2)
    t.live()
    t.is('DeviceID when live', t.reg.deviceId, 2)
  }),

  check('mmio.vendor-id.1', 'read VendorID (0x00c) at power-on and when live', (t) => {
    const first = t.reg.read(REG.vendorId)
    t.ok('VendorID is a 32-bit number', Number.isInteger(first) && first >= 0 && first <= ALL_ONES)
    t.live()
    t.is('VendorID when live', t.reg.read(REG.vendorId), first)
  }),

  check('mmio.endian.1', 'the bytes of MagicValue, least significant first', (t) => {
    const magic = t.reg.read(REG.magic)
    const letters = [0, 8, 16, 24].map((shift) => String.fromCharCode((magic >>> shift) & 0xff)).join('')
    t.is('MagicValue in letters', letters, 'virt')
  }),

  check(
    'mmio.device-features.1',
    'DeviceFeatures with DeviceFeaturesSel 0, 1, 2, 3 and 0xffffffff, and 0 again',
    (t) => {
      const low = t.reg.featureWord(0)
      t.is('bit 0 of word 1 (VERSION_1)', t.reg.featureWord(1) & 1, 1)
      for (const word of [2, 3, ALL_ONES]) t.is(`word ${word}`, t.reg.featureWord(word), 0)
      t.is('word 0 again', t.reg.featureWord(0), low)
    },
  ),

  check(
    'mmio.driver-features.1',
    'DriverFeatures: word 1 before word 0, and bad values overwritten by good ones',
    (t) => {
      const offered = t.reg.offeredFeatures(4)
      const bad = [...Array(32).keys()].find((bit) => !offered.has(bit)) ?? t.skip('every bit of word 0 is offered')
      const low =
        [...t.raw.chooseFeatures()].filter((bit) => bit < 32).reduce((word, bit) => word | (1 << bit), 0) >>> 0
      const attempt = (...writes: [word: number, bits: number][]): number => {
        t.raw.negotiate({ upTo: 'driver' })
        for (const [word, bits] of writes) t.reg.setFeatureWord(word, bits)
        t.reg.status = 0x0b
        return t.reg.status
      }
      t.is('Status after word 1, then 0', attempt([1, 1], [0, low]), 0x0b)
      t.is('Status after a bad word 0 that was overwritten', attempt([0, (1 << bad) >>> 0], [1, 1], [0, low]), 0x0b)
      t.is(
        'Status after a good word 0 overwritten by a bad one',
        attempt([1, 1], [0, low], [0, (1 << bad) >>> 0]),
        0x03,
      )
      t.is(
        'Status after word 1 was overwritten without VERSION_1 and again with',
        attempt([1, 0], [0, low], [1, 1]),
        0x0b,
      )
    },
  ),

  check(
    'mmio.queue-sel.1',
    'set queue 0 up with writes to another queue in between; each register of both read back',
    async (t) => {
      const { queue } = t.raw.negotiate({ upTo: 'queues', queues: [{ size: 8, ready: false }] })
      const other = t.raw.queue({ queue: 1, size: 2 })
      t.reg.selectQueue(1)
      const exists = t.reg.queueSizeMax > 0
      t.reg.queueSize = 2
      t.reg.setQueueAddresses(other.desc, other.avail, other.used)
      t.reg.queueReady = 1
      t.is('QueueReady of queue 1', t.reg.queueReady, exists ? 1 : 0)
      t.reg.selectQueue(0)
      t.is('QueueReady of queue 0', t.reg.queueReady, 0)
      t.reg.queueReady = 1
      t.is('QueueReady of queue 0 after it was set', t.reg.queueReady, 1)
      t.reg.status = 0x0f
      for (let i = 0; i < 9; i++) t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, 'a read on queue 0')
    },
  ),

  check('mmio.queue-size-max.1', 'QueueSizeMax of queue 0, and of queues that do not exist', (t) => {
    t.reg.selectQueue(0)
    const most = t.reg.queueSizeMax
    t.ok(
      `QueueSizeMax ${most} of queue 0 is a power of two up to 32768`,
      most > 0 && most <= 32768 && (most & (most - 1)) === 0,
    )
    const queues = t.target.facts?.queues
    for (const queue of [NO_QUEUE, 0x7fffffff, ...(queues === undefined ? [] : [queues])]) {
      t.reg.selectQueue(queue)
      t.is(`QueueSizeMax of queue ${queue}`, t.reg.queueSizeMax, 0)
    }
  }),

  check('mmio.queue-size.1', 'a queue of 4, though more is possible: eleven requests go round it', async (t) => {
    const { queue } = t.live({ queues: [{ size: 4 }] })
    for (let i = 0; i < 11; i++) {
      const read = await t.read(queue, i % 2)
      t.answered(read, { status: 0, usedLen: 513 }, `read ${i}`)
      t.is(`slot of used element ${i}`, queue.usedElement(i % 4).id, read.head)
    }
  }),

  check('mmio.queue-ready.1', 'requests on a queue that was never ready, and on one that was stopped', async (t) => {
    const { queue } = t.raw.negotiate({ queues: [{ ready: false }] })
    const early = queue.run({ type: 0, dataIn: 512 })
    await t.quiet()
    t.untouched(early, 'a read on a queue that is not ready')
    const live = t.live().queue
    t.answered(await t.read(live, 0), { status: 0, usedLen: 513 }, 'a read on a ready queue')
    t.reg.selectQueue(0)
    t.reg.queueReady = 0
    await t.wait(() => t.reg.queueReady === 0)
    t.is('QueueReady after writing 0', t.reg.queueReady, 0)
    const late = live.run({ type: 0, dataIn: 512 })
    await t.quiet()
    t.untouched(late, 'a read on the stopped queue')
  }),

  check('mmio.queue-ready.2', 'QueueReady: 0 at first, 1 after writing 1, 0 after writing 0', async (t) => {
    t.raw.negotiate({ upTo: 'featuresOk' })
    t.reg.selectQueue(0)
    t.is('QueueReady at first', t.reg.queueReady, 0)
    t.is('QueueReady after writing 1', t.raw.queue({ size: 4 }).program(), 1)
    t.reg.queueReady = 0
    await t.wait(() => t.reg.queueReady === 0)
    t.is('QueueReady after writing 0', t.reg.queueReady, 0)
  }),

  check('mmio.reset.2', 'make every queue ready, reset, read QueueReady of each', async (t) => {
    t.raw.negotiate({ upTo: 'featuresOk' })
    const queues = queuesOf(t)
    for (let queue = 0; queue < queues; queue++) {
      t.is(`QueueReady of queue ${queue}`, t.raw.queue({ queue, size: 4 }).program(), 1)
    }
    t.reg.status = 0
    await t.wait(() => t.reg.status === 0)
    for (let queue = 0; queue < queues; queue++) {
      t.reg.selectQueue(queue)
      t.is(`QueueReady of queue ${queue} after reset`, t.reg.queueReady, 0)
    }
  }),

  check('mmio.queue-notify.1', 'kick queue 0 while QueueSel names another queue', async (t) => {
    const { queue } = t.live()
    const read = queue.request({ type: 0, dataIn: 512 })
    t.reg.selectQueue(NO_QUEUE)
    queue.submit(read.head)
    t.answered(await t.done(read), { status: 0, usedLen: 513 })
  }),

  check(
    'mmio.queue-notify.2',
    'kick with the plain index; with NOTIFICATION_DATA, if offered, with more above it',
    async (t) => {
      const { queue } = t.live()
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, 'a read kicked with 0')
      if (!t.offers('NOTIFICATION_DATA')) return
      const data = t.live({ add: [38] }).queue
      const read = data.request({ type: 0, dataIn: 512 })
      data.publish(read.head)
      data.kick(data.availIdx * 0x10000)
      t.answered(await t.done(read), { status: 0, usedLen: 513 }, 'a read kicked with notification data')
    },
  ),

  check(
    'mmio.queue-addr.1',
    'high halves of the ring addresses before the low ones; a queue above 4 GiB, if there is RAM',
    async (t) => {
      const above = t.target.memory.regions.find(({ gpa, bytes }) => gpa >= 2 ** 32 && bytes >= 12288)
      const base = above?.gpa
      const place = base === undefined ? {} : { desc: base, avail: base + 4096, used: base + 8192 }
      const { queue } = t.raw.negotiate({ upTo: 'queues', queues: [{ size: 8, ready: false, ...place }] })
      const parts = [queue.desc, queue.avail, queue.used].map(BigInt)
      const halves = [0x080, 0x090, 0x0a0]
      t.reg.setQueueAddresses(0, 0, 0)
      halves.forEach((low, i) => {
        t.reg.write(low + 4, Number((parts[i] ?? 0n) >> 32n))
      })
      halves.forEach((low, i) => {
        t.reg.write(low, Number((parts[i] ?? 0n) & 0xffffffffn))
      })
      t.reg.queueReady = 1
      t.reg.status = 0x0f
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, `a read on a queue at ${queue.desc}`)
      // The high half counts: rings 2^40 above this one are another place.
      const far = t.raw.negotiate({ upTo: 'queues', queues: [{ size: 8, ready: false }] }).queue
      for (const low of halves) t.reg.write(low + 4, 0x100)
      t.reg.queueReady = 1
      t.reg.status = 0x0f
      const lost = far.run({ type: 0, dataIn: 512 })
      await t.quiet()
      t.untouched(lost, 'a read on rings that the device was not told of')
    },
  ),

  check('mmio.shm.1', 'SHMLen and SHMBase for several SHMSel', noSharedMemory),

  check('shm.1', 'look for a shared-memory region: a block device has none', noSharedMemory),
]

export const INTERRUPTS: readonly Check[] = [
  check(
    'mmio.interrupt-status.1',
    'complete a read; read InterruptStatus many times, acknowledge bit 1, then bit 0',
    async (t) => {
      const { queue } = t.live()
      await t.read(queue, 0)
      await t.wait(() => t.reg.interruptStatus !== 0)
      for (let i = 0; i < 10; i++) t.is('InterruptStatus bit 0 after a read', t.reg.interruptStatus & 1, 1)
      t.reg.interruptAck(2)
      t.is('InterruptStatus bit 0 after ACK of the other', t.reg.interruptStatus & 1, 1)
      t.reg.interruptAck(1)
      t.is('InterruptStatus bit 0 after its ACK', t.reg.interruptStatus & 1, 0)
    },
  ),

  check(
    'mmio.interrupt-status.2',
    'InterruptStatus at power-on, when live, after a read, after a change of capacity',
    async (t) => {
      t.is('InterruptStatus at power-on', t.reg.interruptStatus, 0)
      const { queue } = t.live()
      t.is('InterruptStatus when live', t.reg.interruptStatus, 0)
      await t.read(queue, 0)
      await t.wait(() => t.reg.interruptStatus !== 0)
      t.is('InterruptStatus after a read', t.reg.interruptStatus, 1)
      t.reg.interruptAck(3)
      await t.quiet()
      t.is('InterruptStatus after ACK', t.reg.interruptStatus, 0)
      if (!t.target.setCapacity) return
      t.target.setCapacity(8192)
      await t.wait(() => t.reg.interruptStatus !== 0)
      t.is('InterruptStatus after a change of capacity', t.reg.interruptStatus, 2)
    },
  ),

  check(
    'mmio.interrupt-ack.1',
    'pend both bits, acknowledge one, then the other',
    { extras: ['setCapacity'] },
    async (t) => {
      for (const first of [1, 2]) {
        const { queue } = t.live()
        await t.read(queue, 0)
        t.extra('setCapacity')(8192 * first)
        await t.wait(() => t.reg.interruptStatus === 3)
        t.is('InterruptStatus', t.reg.interruptStatus, 3)
        t.reg.interruptAck(first)
        t.is(`InterruptStatus after ACK ${first}`, t.reg.interruptStatus, 3 - first)
        t.reg.interruptAck(3 - first)
        t.is('InterruptStatus after the other ACK', t.reg.interruptStatus, 0)
      }
    },
  ),

  check('mmio.reset.1', 'pend interrupts, reset, read InterruptStatus', async (t) => {
    const { queue } = t.live()
    await t.read(queue, 0)
    t.target.setCapacity?.(8192)
    await t.wait(() => t.reg.interruptStatus !== 0)
    t.isNot('InterruptStatus before the reset', t.reg.interruptStatus, 0)
    t.reg.status = 0
    await t.wait(() => t.reg.status === 0)
    t.is('InterruptStatus after the reset', t.reg.interruptStatus, 0)
  }),

  check('mmio.irq.1', 'complete a read, acknowledge, complete another', { extras: ['interrupts'] }, async (t) => {
    const interrupts = t.extra('interrupts')
    const { queue } = t.live()
    t.is('interrupts when live and idle', interrupts(), 0)
    await t.read(queue, 0)
    await t.wait(() => interrupts() > 0)
    const first = interrupts()
    t.ok('the first read interrupts', first > 0)
    t.reg.interruptAck(1)
    await t.quiet()
    t.is('interrupts after ACK', interrupts(), first)
    await t.read(queue, 1)
    await t.wait(() => interrupts() > first)
    t.ok('the second read interrupts again', interrupts() > first)
  }),
]
