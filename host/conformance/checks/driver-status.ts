// Drivers that break the rules of sections 2.1 to 2.4, 3.1 and 6: device status, features, reset and the order of
// initialisation. What a device may make of them is class ignore, refuse-features or tolerate of the rows.

import { type Check, check } from '../check.ts'
import type { Kit } from '../kit.ts'
import {
  announced,
  attack,
  FAILED,
  FEATURES_OK,
  fitting,
  harmless,
  IN,
  interrupts,
  leavesAlone,
  NEEDS_RESET,
  REFUSES,
  ringSize,
  seen,
  Watch,
} from './driver-support.ts'

const VERSION_1 = 32
const SR_IOV = 37
const ALL_BITS = Array.from({ length: 64 }, (_, bit) => bit)

/** FEATURES_OK does not stay set with these features. */
function refuses(t: Kit, about: string, features: readonly number[]): void {
  const { status } = t.raw.negotiate({ upTo: 'featuresOk', features })
  t.is(`FEATURES_OK with ${about}`, status & FEATURES_OK, 0)
}

/** The same, one after the other, for those of the bits that are not offered. */
function refusesEach(t: Kit, bits: readonly number[]): void {
  const offered = t.reg.offeredFeatures()
  const others = bits.filter((bit) => !offered.has(bit))
  if (others.length === 0) t.skip('the device offers all of them')
  for (const bit of others) refuses(t, `bit ${bit}`, [VERSION_1, bit])
}

export const DRIVER_STATUS: readonly Check[] = [
  check('drv.status.1', 'DRIVER_OK without FEATURES_OK (0x04, 0x07), then a queue, a request and a kick', async (t) => {
    await harmless(t, async () => {
      for (const [acknowledge, driver, featuresOk, driverOk] of [
        [0x04, 0x04, 0x04, 0x04],
        [0x07, 0x07, 0x07, 0x07],
        [0x01, 0x03, 0x03, 0x07],
      ] as const) {
        const { queue } = t.raw.negotiate({ status: { acknowledge, driver, featuresOk, driverOk } })
        await leavesAlone(t, `DRIVER_OK by ${[acknowledge, driver, featuresOk, driverOk].join(', ')}`, queue)
      }
    })
  }),

  check('drv.status.2', 'clears bits of a live device: 0x03, 0x0b, 0x07 and 0x01 from 0x0f', async (t) => {
    for (const value of [0x03, 0x0b, 0x07, 0x01]) {
      const { queue } = t.live()
      t.reg.status = value
      t.is(`Status after 0x0${value.toString(16)}`, t.reg.status, 0x0f)
      t.reg.acceptFeatures([])
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read afterwards')
    }
  }),

  check('drv.status.3', 'sets FAILED, goes on with kicks, and writes Status without a reset', async (t) => {
    await harmless(t, async ({ queue }) => {
      t.reg.status = 0x8f
      t.is('FAILED', t.reg.status & FAILED, FAILED)
      const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
      queue.publish(request.head)
      const watch = new Watch(t)
      queue.kick()
      await t.quiet()
      t.isOneOf('a request under FAILED', seen(t, request), ['OK', 'nothing'])
      watch.unchanged('under FAILED', queue, request)
      for (const value of [0x0f, 0x0b, 0x03, 0x01]) {
        t.reg.status = value
        t.is(`FAILED after 0x0${value.toString(16)}`, t.reg.status & FAILED, FAILED)
      }
    })
  }),

  check('drv.status.4', 'publishes and kicks after DEVICE_NEEDS_RESET', async (t) => {
    await harmless(t, async ({ queue }) => {
      queue.submit(0xffff)
      await t.wait(() => (t.reg.status & NEEDS_RESET) !== 0)
      if ((t.reg.status & NEEDS_RESET) === 0) t.skip('an invalid head does not make the device ask for a reset')
      t.reg.interruptAck(t.reg.interruptStatus)
      queue.setAvailIdx(0)
      await leavesAlone(t, 'a request after NEEDS_RESET', queue)
      queue.setAvailIdx(0)
      queue.kick()
      await t.quiet()
      t.is('NEEDS_RESET', t.reg.status & NEEDS_RESET, NEEDS_RESET)
      t.is('used events', t.reg.interruptStatus & 1, 0)
    })
  }),

  check('drv.status.5', 'writes DEVICE_NEEDS_RESET and undefined bits to Status', async (t) => {
    const undefinedBits = t.offers('SUSPEND') ? 0xffff_ff60 : 0xffff_ff70
    const foreign = (value: number): number => (value & undefinedBits) >>> 0
    const { queue } = t.live()
    for (const value of [0x4f, 0x2f, 0x7f, 0x10f, 0xffff_ff4f]) {
      t.reg.status = value
      t.is(`undefined bits after 0x${value.toString(16)}`, foreign(t.reg.status), 0)
    }
    t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read afterwards')
    for (const value of [0x40, 0x41, 0x61, 0x7f]) {
      t.raw.negotiate({ upTo: 'reset' })
      t.reg.status = value
      t.is(`undefined bits after reset and 0x${value.toString(16)}`, foreign(t.reg.status), 0)
    }
    await t.serves()
  }),

  check('drv.feat.1', 'accepts features that are not offered, all at once and each alone', async (t) => {
    refuses(t, 'all 64 bits', ALL_BITS)
    refusesEach(t, ALL_BITS)
    await t.serves()
  }),

  check('drv.feat.2', 'accepts each offered feature without VERSION_1, which all of them need', async (t) => {
    const bits = [...t.reg.offeredFeatures()].filter((bit) => bit !== VERSION_1)
    if (bits.length === 0) t.skip('the device offers nothing but VERSION_1')
    for (const bit of bits) refuses(t, `bit ${bit} without VERSION_1`, [bit])
    await t.serves()
  }),

  check('drv.feat.3', 'accepts reserved bits, those of other transports and devices, and words 2 and 3', async (t) => {
    const ofOthers = [0, 3, 7, 8, 18, 23, 24, 25, 26, 27, 30, 31, 37, 39, 41, 42, 49, 50, 63]
    refusesEach(t, [...ofOthers, 64, 65, 95, 96, 97, 127])
    await t.serves()
  }),

  check('drv.feat.4', 'gives up with FAILED before FEATURES_OK', async (t) => {
    await harmless(t, async () => {
      t.raw.negotiate({ upTo: 'features' })
      t.reg.status = 0x83
      t.is('FAILED', t.reg.status & FAILED, FAILED)
      const queue = t.raw.queue({ size: 4 })
      queue.program()
      await leavesAlone(t, 'a queue and a kick after FAILED', queue)
      t.reg.status = 0
      t.ok('a later reset works', await t.wait(() => t.reg.status === 0), 'Status does not read 0 after a reset')
    })
  }),

  check('drv.reset.1', 'resets with requests in flight and sets everything up again without waiting', async (t) => {
    const { queue: old } = t.live()
    await t.read(old, 0)
    t.target.hold?.()
    const sectors = [1, 2, 3].slice(0, fitting(old, 3))
    old.submit(...sectors.map((sector) => old.request({ type: IN, sector, dataIn: 512 }).head))
    const { queue, status } = t.raw.negotiate({ keepArena: true })
    const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
    queue.publish(request.head)
    const watch = new Watch(t)
    queue.kick()
    t.target.release?.()
    if (status === 0x0f) {
      t.answered(await t.done(request), { status: 0, usedLen: 513 }, 'the first request of the new session')
      t.is('used.idx of the new session', queue.usedIdx, 1)
    }
    await t.quiet()
    watch.unchanged('the old session', queue, request)
    await t.serves()
  }),

  check('drv.init.1', 'queue before FEATURES_OK, features before DRIVER, several bits at once', async (t) => {
    const { reg } = t
    await harmless(t, async () => {
      const features = t.raw.chooseFeatures()
      const orders: [string, readonly (number | 'queue' | 'features')[]][] = [
        ['queue before FEATURES_OK', [0, 1, 3, 'features', 'queue', 0x0b, 0x0f]],
        ['features before DRIVER', [0, 1, 'features', 3, 0x0b, 'queue', 0x0f]],
        ['three bits at once', [0, 'features', 0x0b, 'queue', 0x0f]],
        ['two bits at once', [0, 3, 'features', 0x0b, 'queue', 0x0f]],
        ['FEATURES_OK and DRIVER_OK at once', [0, 1, 3, 'features', 'queue', 0x0f]],
        ['four bits at once', [0, 'features', 'queue', 0x0f]],
      ]
      for (const [about, steps] of orders) {
        t.arena.rewind()
        const queue = t.raw.queue({ size: ringSize(t, 8) })
        for (const step of steps) {
          if (step === 'features') reg.acceptFeatures(features)
          else if (step === 'queue') queue.program()
          else reg.status = step
        }
        reg.selectQueue(0)
        if (reg.status === 0x0f && reg.queueReady === 1) {
          t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `${about}: a read`)
        } else await leavesAlone(t, about, queue)
      }
    })
  }),

  check('drv.init.2', 'writes all of config space before FEATURES_OK', async (t) => {
    const read = (): Uint8Array => Uint8Array.from({ length: 96 }, (_, at) => t.reg.config(at, 1))
    t.raw.negotiate({ upTo: 'driver' })
    const before = read()
    for (let at = 0; at < 96; at++) {
      for (const value of [0xff, 0]) t.reg.setConfig(at, value, 1)
      if (at % 4 === 0) t.reg.setConfig(at, 0x5a5a_5a5a)
    }
    t.same('config space', read(), before)
    await t.serves()
  }),

  check('drv.init.3', 'rewrites DriverFeatures after FEATURES_OK and on the live device', async (t) => {
    const { reg } = t
    const { queue } = t.live()
    for (const features of [ALL_BITS, []]) {
      reg.acceptFeatures(features)
      t.is('Status', reg.status, 0x0f)
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, 'a read afterwards')
    }
    if (!t.offers('EVENT_IDX')) return
    // The driver is told by the suppression that was negotiated: each of these would hide the event under the other.
    for (const accepted of [false, true]) {
      for (const live of [false, true]) {
        const negotiated = t.raw.negotiate({ eventIdx: accepted, ...(live ? {} : { upTo: 'featuresOk' }) })
        reg.acceptFeatures(t.raw.chooseFeatures({ eventIdx: !accepted }))
        const rings = negotiated.queues[0] ?? t.raw.queue({ size: ringSize(t, 8) })
        if (!live) {
          rings.program()
          reg.status = 0x0f
        }
        rings.availFlags = accepted ? 1 : 0
        rings.usedEvent = accepted ? 0 : 100
        const was = accepted ? 'with EVENT_IDX' : 'without EVENT_IDX'
        await announced(t, `negotiated ${was}, rewritten ${live ? 'live' : 'after FEATURES_OK'}`, rings)
      }
    }
  }),

  check('drv.init.4', 'goes on to DRIVER_OK, a request and a kick although FEATURES_OK was refused', async (t) => {
    await harmless(t, async () => {
      const { queue, statusSeen } = t.raw.negotiate({ features: ALL_BITS })
      t.is('FEATURES_OK', (statusSeen[3] ?? 0) & FEATURES_OK, 0)
      await leavesAlone(t, 'a request after the refusal', queue)
      t.is('used events', t.reg.interruptStatus & 1, 0)
    })
  }),

  check('drv.init.5', 'kicks before DRIVER_OK', async (t) => {
    const { queue } = t.raw.negotiate({ upTo: 'queues' })
    const request = queue.request({ type: IN, sector: 1, dataIn: 512 })
    const events = interrupts(t)
    queue.publish(request.head)
    const watch = new Watch(t)
    queue.kick()
    await t.quiet()
    t.untouched(request, 'a request before DRIVER_OK')
    watch.unchanged('before DRIVER_OK')
    t.is('interrupts before DRIVER_OK', interrupts(t), events)
    t.reg.status = 0x0f
    await t.quiet()
    if (request.used() === undefined) queue.kick()
    t.answered(await t.done(request), { status: 0, usedLen: 513 }, 'the request after DRIVER_OK')
  }),

  check('drv.rsv.1', 'declines VERSION_1', async (t) => {
    const offered = [...t.reg.offeredFeatures()].filter((bit) => bit !== VERSION_1)
    refuses(t, 'nothing at all', [])
    refuses(t, 'all that is offered but VERSION_1', offered)
    await t.serves()
  }),

  check('drv.rsv.2', 'passes virtual addresses instead of guest-physical ones', async (t) => {
    await harmless(t, async ({ queue }) => {
      const real = queue.request({ type: IN, sector: 1, dataIn: 512 })
      const [header = 0, data = 0] = real.pieces.map(({ addr }) => Number(addr))
      for (const base of [0xffff_8880_0000_0000n, 0x7f00_0000_0000n]) {
        const at = (addr: number): bigint => base + BigInt(addr)
        const pieces = [
          { writable: false, bytes: 16 },
          { writable: true, bytes: 512 },
          { writable: true, bytes: 1 },
        ]
        const layout = (virtual: number, addr: bigint) =>
          pieces.map((piece, i) => (i === virtual ? { ...piece, addr } : piece))
        const about = `base 0x${base.toString(16)}`
        await attack(t, `data at ${about}`, { type: IN, sector: 1, layout: layout(1, at(data)) }, REFUSES)
        await attack(t, `header at ${about}`, { type: IN, sector: 1, layout: layout(0, at(header)) }, REFUSES)
      }
    })
  }),

  check('drv.rsv.4', 'accepts SR_IOV', async (t) => {
    refusesEach(t, [SR_IOV])
    await t.serves()
  }),
]
