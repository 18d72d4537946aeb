// Sections 2.1 to 2.4, 3 and 6: the status field, feature negotiation, reset, and what holds from one to the next.

import type { RawQueue } from '../../driver/raw-queue.ts'
import { type Check, check } from '../check.ts'
import { type Kit, REG } from '../kit.ts'

const NEEDS_RESET = 0x40
/** bits of block devices and of rings that the standard defines for a device without legacy interface on MMIO */
const DEFINED = new Set([1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 32, 33, 34, 35, 36, 38, 40, 43])
/** ring features that a device with a legacy interface knows nothing of */
const MODERN_ONLY = [33, 34, 35, 36, 38, 40, 43]
/** a device may refuse to work without these, if it offers them (6.2, 5.2.5.2) */
const REFUSABLE = new Set([17, 32, 33])

/** An avail.idx that is more than the queue size ahead: the device cannot know which chains are meant. */
async function breakRing(t: Kit): Promise<RawQueue> {
  const { queue } = t.live()
  queue.setAvailIdx(queue.size + 1)
  queue.kick()
  await t.wait(() => (t.reg.status & NEEDS_RESET) !== 0)
  return queue
}

/** Status after an attempt to negotiate exactly these features. */
function statusWith(t: Kit, features: Iterable<number>): number {
  return t.raw.negotiate({ upTo: 'featuresOk', features }).status
}

/** Live, with eight reads that wait in the media. */
function liveWithReads(t: Kit) {
  const { queue } = t.live({ queues: [{ size: 32 }] })
  t.extra('hold')()
  const reads = Array.from({ length: 8 }, (_, i) => queue.request({ type: 0, sector: i, dataIn: 512 }))
  queue.submit(...reads.map(({ head }) => head))
  return { queue, reads }
}

async function reset(t: Kit, from: string): Promise<void> {
  t.reg.status = 0
  await t.wait(() => t.reg.status === 0)
  t.is(`Status after reset ${from}`, t.reg.status, 0)
}

export const STATUS: readonly Check[] = [
  check('status.init.1', 'read Status at power-on, and after a reset of the live device', async (t) => {
    t.is('Status at power-on', t.reg.status, 0)
    t.live()
    await reset(t, 'of the live device')
  }),

  check('status.1', 'a read published and kicked at Status 0x0b, then DRIVER_OK', async (t) => {
    const { queue } = t.raw.negotiate({ upTo: 'queues' })
    const read = queue.run({ type: 0, dataIn: 512 })
    await t.quiet()
    t.untouched(read, 'the read before DRIVER_OK')
    t.is('used.idx before DRIVER_OK', queue.usedIdx, 0)
    t.reg.status = 0x0f
    queue.kick()
    t.answered(await t.done(read), { status: 0, usedLen: 513 }, 'the read after DRIVER_OK')
  }),

  check(
    'status.2',
    'a read published and kicked at Status 0x0b: InterruptStatus, and interrupts if counted',
    async (t) => {
      const { queue } = t.raw.negotiate({ upTo: 'queues' })
      queue.run({ type: 0, dataIn: 512 })
      await t.quiet()
      t.is('InterruptStatus bit 0 before DRIVER_OK', t.reg.interruptStatus & 1, 0)
      if (t.target.interrupts) t.is('interrupts before DRIVER_OK', t.target.interrupts(), 0)
    },
  ),

  check('status.3', 'avail.idx jumps by more than the queue size; then a good read is offered', async (t) => {
    const queue = await breakRing(t)
    t.is('Status bit 0x40', t.reg.status & NEEDS_RESET, NEEDS_RESET)
    queue.setAvailIdx(queue.usedIdx)
    const late = queue.run({ type: 0, dataIn: 512 })
    await t.quiet()
    t.untouched(late, 'a good read after the fault')
  }),

  check('status.4', 'avail.idx jumps by more than the queue size while DRIVER_OK is set', async (t) => {
    const before = t.target.interrupts?.() ?? 0
    await breakRing(t)
    if ((t.reg.status & NEEDS_RESET) === 0) t.skip('the device does not set DEVICE_NEEDS_RESET for this fault')
    t.is('InterruptStatus bit 1', t.reg.interruptStatus & 2, 2)
    if (t.target.interrupts) t.ok('an interrupt came', t.target.interrupts() > before)
  }),

  check(
    'reset.1',
    'write 0 to Status at 0x0b, when live, with DEVICE_NEEDS_RESET, and with reads under way',
    async (t) => {
      t.raw.negotiate({ upTo: 'featuresOk' })
      await reset(t, 'at FEATURES_OK')
      t.live()
      await reset(t, 'of the live device')
      await breakRing(t)
      await reset(t, 'of the broken device')
      if (t.target.hold && t.target.release) {
        liveWithReads(t)
        await reset(t, 'with reads under way')
        t.target.release()
      }
      await t.serves('after the resets')
    },
  ),

  check(
    'reset.2',
    'reset with eight reads under way, then let the media finish them',
    { extras: ['hold', 'release', 'interrupts'] },
    async (t) => {
      liveWithReads(t)
      await reset(t, 'with reads under way')
      const before = t.extra('interrupts')()
      t.extra('release')()
      await t.quiet()
      t.is('InterruptStatus', t.reg.interruptStatus, 0)
      t.is('interrupts since the reset', t.extra('interrupts')() - before, 0)
    },
  ),

  check(
    'reset.3',
    'reset with eight reads under way, overwrite rings and buffers, then let the media finish the reads',
    { extras: ['hold', 'release'] },
    async (t) => {
      const { reads } = liveWithReads(t)
      await reset(t, 'with reads under way')
      const bytes = t.arena.mark() - t.arena.base
      t.mem.fill(t.arena.base, bytes, 0x99)
      t.extra('release')()
      t.reg.notify(0)
      await t.quiet()
      t.same('rings and buffers after the reset', t.mem.bytes(t.arena.base, bytes), new Uint8Array(bytes).fill(0x99))
      t.is('reads that were under way', reads.length, 8)
    },
  ),

  check(
    'live.1',
    'a queue that is ready before DRIVER_OK works after; after a reset it has to be set up again',
    async (t) => {
      const { queue } = t.live()
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, 'a read after DRIVER_OK')
      await reset(t, 'of the live device')
      t.raw.negotiate({ queues: [], keepArena: true })
      const late = queue.run({ type: 0, dataIn: 512 })
      await t.quiet()
      t.untouched(late, 'a read on the ring from before the reset')
    },
  ),
]

export const FEATURE: readonly Check[] = [
  check('feat.1', 'read the offered features and look for one whose prerequisite is missing', (t) => {
    const offered = t.reg.offeredFeatures()
    t.ok('no CONFIG_WCE (11) without FLUSH (9)', !offered.has(11) || offered.has(9))
    const modern = MODERN_ONLY.filter((bit) => offered.has(bit))
    t.ok('nothing modern without VERSION_1 (32)', modern.length === 0 || offered.has(32), `${modern} without VERSION_1`)
  }),

  check('feat.2', 'negotiate subsets of the offered bits: none, each, all but each, all pairs, all', async (t) => {
    const offered = [...t.reg.offeredFeatures()]
    const always = offered.filter((bit) => REFUSABLE.has(bit))
    const free = offered.filter((bit) => !REFUSABLE.has(bit))
    const pairs = free.flatMap((one) => free.map((other) => [one, other]))
    const subsets = [[], free, ...pairs, ...free.map((bit) => free.filter((other) => other !== bit))]
    for (const subset of subsets) {
      const status = statusWith(t, [...always, ...subset])
      if (status !== 0x0b) t.fail(`Status with features ${[...always, ...subset]}: ${status}, expected 0x0b`)
    }
    t.ok(`${subsets.length} subsets of ${free.length} features accepted`, true)
    await t.serves()
  }),

  check('feat.3', 'accept, besides good features, one bit that is not offered: each of 0 to 127', (t) => {
    const offered = t.reg.offeredFeatures()
    for (let bit = 0; bit < 128; bit++) {
      if (offered.has(bit)) continue
      t.is(`FEATURES_OK with bit ${bit}`, statusWith(t, [...t.raw.chooseFeatures(), bit]) & 8, 0)
    }
    t.is('FEATURES_OK without it', statusWith(t, t.raw.chooseFeatures()) & 8, 8)
  }),

  check('feat.4', 'read words 0 to 3 of DeviceFeatures and look for bits that no block device on MMIO has', (t) => {
    const wrong = [...t.reg.offeredFeatures(4)].filter((bit) => !DEFINED.has(bit))
    t.is('bits that the standard does not define here', wrong.join(', '), '')
  }),

  check('feat.5', 'negotiate the same features a hundred times, with a read in between', async (t) => {
    const features = t.raw.chooseFeatures()
    for (let i = 0; i < 100; i++) {
      const { queue } = t.live({ features })
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 })
    }
  }),

  check(
    'feat.sem.1',
    'negotiate without EVENT_IDX, write it to DriverFeatures after FEATURES_OK, complete a read with used_event far away',
    { extras: ['interrupts'], features: ['EVENT_IDX'] },
    async (t) => {
      const { queue } = t.raw.negotiate({ upTo: 'queues' })
      t.reg.acceptFeatures([...t.raw.chooseFeatures(), 29])
      t.is('FEATURES_OK after the late write', t.reg.status & 8, 8)
      t.reg.status = 0x0f
      queue.usedEvent = 0x8000
      const before = t.extra('interrupts')()
      t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 })
      await t.quiet()
      t.ok('an interrupt came, as without EVENT_IDX', t.extra('interrupts')() > before)
    },
  ),

  check('rsv.1', 'read bit 32 of the offered features', (t) => {
    t.is('VERSION_1 offered', t.reg.featureWord(1) & 1, 1)
  }),

  check('rsv.2', 'negotiate without VERSION_1', (t) => {
    const { status } = t.raw.negotiate({ upTo: 'featuresOk', drop: [32] })
    t.isOneOf('Status without VERSION_1 (refused, or accepted)', status, [0x03, 0x0b])
  }),

  check('rsv.8', 'read bit 37 of the offered features', (t) => {
    t.is('SR_IOV offered', t.reg.offeredFeatures().has(37), false)
  }),

  check('mmio.rsv.1', 'read bit 41 of the offered features, and accept it', (t) => {
    t.is('ADMIN_VQ offered', t.reg.offeredFeatures().has(41), false)
    t.is('FEATURES_OK with ADMIN_VQ', statusWith(t, [...t.raw.chooseFeatures(), 41]) & 8, 0)
  }),

  check(
    'rsv.ring.1',
    'read with each offered ring feature that leaves the split ring as it is, and with none',
    async (t) => {
      const rings = [28, 29, 35, 40, 43].filter((bit) => t.reg.offeredFeatures().has(bit))
      for (const features of [[32], ...rings.map((bit) => [32, bit])]) {
        const { queue } = t.live({ features })
        t.answered(await t.read(queue, 0), { status: 0, usedLen: 513 }, `a read with features ${features}`)
        const write = queue.request({ type: 1, dataOut: new Uint8Array(512) })
        const plain = queue.descriptor(write.head)
        // An INDIRECT flag that was not negotiated is no reason to read a table.
        if (!features.includes(28)) {
          queue.setDescriptor(write.head, { ...plain, flags: 4, len: 16 })
          queue.submit(write.head)
          await t.quiet()
          t.isNot(`status of a request with INDIRECT and features ${features}`, write.status(), 0)
        }
      }
    },
  ),

  check('mmio.status.1', 'walk Status through 1, 3, 0x0b and 0x0f, reading each back, and back to 0', async (t) => {
    const { statusSeen } = t.live()
    t.is('Status as read after 0, 1, 3, 0x0b, 0x0f', statusSeen.join(' '), '0 1 3 11 15')
    t.reg.status = 0
    await t.wait(() => t.reg.status === 0)
    t.is('Status after writing 0', t.reg.read(REG.status), 0)
  }),
]
