// Drivers that break the rules of section 2.7 on notifications: suppression flags, kicks left out and kicks too many,
// and a used ring that was not zeroed. None of it may lose a request or an interrupt that the driver has asked for.

import type { RawQueue } from '../../driver/raw-queue.ts'
import type { RawRequestOptions } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import type { Kit } from '../kit.ts'
import { announced, bounded, capacity, fitting, GET_ID, harmless, IN, OUT, ringSize, Watch } from './driver-support.ts'

const READ = { type: IN, sector: 1, dataIn: 512 }
const KICKS = 20_000

/** Bytes from the first writable one on that the device wrote, whatever they held before: two runs tell. */
async function written(t: Kit, queue: RawQueue, options: RawRequestOptions): Promise<{ count: number; len: number }> {
  const runs: Uint8Array[] = []
  let len = 0
  for (const before of [0xe5, 0x1a]) {
    const request = queue.request(options)
    const spans = request.pieces.filter((piece) => piece.writable)
    for (const { addr, bytes } of spans) t.mem.fill(addr, bytes, before)
    queue.submit(request.head)
    await t.done(request)
    len = request.usedLen() ?? 0
    runs.push(Uint8Array.from(spans.flatMap(({ addr, bytes }) => [...t.mem.bytes(addr, bytes)])))
  }
  const [first = new Uint8Array(), second = new Uint8Array()] = runs
  const count = first.findIndex((byte, i) => byte === 0xe5 && second[i] === 0x1a)
  return { count: count < 0 ? first.length : count, len }
}

/** Requests that are published without a kick are served at the next one. */
async function servedAtNextKick(t: Kit, queue: RawQueue): Promise<void> {
  if (queue.size < 6) t.skip('the queue has fewer than 6 entries')
  t.answered(await t.run(queue, READ), { status: 0, usedLen: 513 }, 'a request with a kick')
  const [second, third] = [queue.request(READ), queue.request(READ)]
  queue.publish(second.head)
  await t.quiet()
  queue.submit(third.head)
  t.answered(await t.done(second, 'a request without a kick'), { status: 0, usedLen: 513 }, 'a request without a kick')
  t.answered(await t.done(third, 'the one after it'), { status: 0, usedLen: 513 }, 'the one after it')
  const last = [queue.request({ type: 8, dataIn: 20 }), queue.request(READ)]
  queue.publish(...last.map(({ head }) => head))
  await t.quiet()
  queue.kick()
  for (const request of last) t.answered(await t.done(request), { status: 0 }, 'two without a kick, then one kick')
  t.is('used.idx', queue.usedIdx, 5)
}

/** The device asks for a kick of the entries behind `before`. */
function wantsKick(queue: RawQueue, eventIdx: boolean, before: number): boolean {
  if (!eventIdx) return (queue.usedFlags & 1) === 0
  const now = queue.availIdx
  return ((now - queue.availEvent - 1) & 0xffff) < ((now - before) & 0xffff)
}

export const DRIVER_NOTIFY: readonly Check[] = [
  check('drv.usednot.1', 'avail.flags other than 0 and 1, without EVENT_IDX', async (t) => {
    const { queue } = t.live()
    for (const flags of [0xfffe, 2, 0x8000]) {
      queue.availFlags = flags
      await announced(t, `flags 0x${flags.toString(16)}`, queue)
    }
    queue.availFlags = 0xffff
    t.answered(await t.run(queue, READ), { status: 0, usedLen: 513 }, 'a request with flags 0xffff')
  }),

  check('drv.usednot.2', 'avail.flags 1 with EVENT_IDX, where used_event decides', async (t) => {
    const { queue } = t.live({ eventIdx: true })
    for (const flags of [1, 0xffff, 0]) {
      queue.availFlags = flags
      queue.usedEvent = queue.usedIdx
      await announced(t, `flags ${flags}`, queue)
    }
  }),

  check('drv.usednot.3', 'copes with no interrupt left out: acknowledges each and waits for the next', async (t) => {
    for (const eventIdx of t.offers('EVENT_IDX') ? [false, true] : [false]) {
      const { queue } = t.live({ eventIdx })
      for (let i = 0; i < 20; i++) {
        queue.usedEvent = queue.usedIdx
        await announced(t, eventIdx ? 'with EVENT_IDX' : 'without EVENT_IDX', queue)
      }
    }
  }),

  check('drv.used.1', 'takes the used length for what was written', async (t) => {
    const { queue } = t.live()
    const sectors = capacity(t)
    for (const [about, options] of [
      ['a read', READ],
      ['a read in pieces', { ...READ, segments: 256 }],
      ['a read past the end', { ...READ, sector: sectors }],
      ['a read of 100 bytes', { ...READ, dataIn: 100 }],
      ['a write past the end', { type: OUT, sector: sectors, dataOut: new Uint8Array(512) }],
      ['the id', { type: GET_ID, dataIn: 20 }],
      ['the id in 64 bytes', { type: GET_ID, dataIn: 64 }],
      ['the id in 10 bytes', { type: GET_ID, dataIn: 10 }],
      ['no such request', { type: 0x1234, dataIn: 512 }],
    ] as const) {
      const { count, len } = await written(t, queue, options)
      const otherwise = `${about}: used length ${len}, but only ${count} bytes from the first on were written`
      t.ok(`${about}: used length is not too long`, len <= count, otherwise)
    }
  }),

  check('drv.availnot.1', 'leaves garbage in the used ring', async (t) => {
    const size = ringSize(t, 8)
    for (const [flags, idx] of [
      [1, 7],
      [0xa5a5, 0xa5a5],
      [1, 0xffff],
    ] as const) {
      t.arena.rewind()
      const [desc, avail, used] = [
        t.arena.alloc(16 * size),
        t.arena.alloc(6 + 2 * size),
        t.arena.alloc(6 + 8 * size, 4),
      ]
      t.mem.fill(desc, 16 * size, 0)
      t.mem.fill(avail, 6 + 2 * size, 0)
      t.mem.fill(used, 6 + 8 * size, 0xa5)
      t.mem.setU16(used, flags)
      t.mem.setU16(used + 2, idx)
      const { queue } = t.live({ keepArena: true, queues: [{ size, desc, avail, used, zero: false }] })
      for (let i = 0; i < 3; i++) {
        const request = queue.request(READ)
        queue.submit(request.head)
        await t.wait(() => queue.usedIdx === i + 1)
        t.is(`request ${i}: used.idx`, queue.usedIdx, i + 1)
        t.is(`request ${i}: id of its element`, queue.usedElement(i).id, request.head)
        t.is(`request ${i}: length of its element`, queue.usedElement(i).len, 513)
        t.is(`request ${i}: status`, request.status(), 0)
      }
      t.isOneOf('used.flags', queue.usedFlags, [0, 1])
      t.is('the first element that is free', queue.usedElement(3).id, 0xa5a5_a5a5)
    }
    await t.serves()
  }),

  check('drv.availnot.2', 'leaves out kicks that the device has asked for', async (t) => {
    await servedAtNextKick(t, t.live().queue)
  }),

  check('drv.availnot.3', `${KICKS} kicks with nothing to do`, async (t) => {
    await harmless(t, async ({ queue }) => {
      t.answered(await t.run(queue, READ), { status: 0, usedLen: 513 }, 'a request before')
      await t.quiet()
      const watch = new Watch(t)
      await bounded(t, 'the kicks', async () => {
        for (let i = 0; i < KICKS; i++) queue.kick()
        await t.quiet()
      })
      t.is('used.idx', queue.usedIdx, 1)
      t.is('Status', t.reg.status, 0x0f)
      watch.unchanged('the kicks', queue)
      t.answered(await t.run(queue, READ), { status: 0, usedLen: 513 }, 'a request afterwards')
      t.is('used.idx afterwards', queue.usedIdx, 2)
    })
  }),

  check('drv.availnot.4', 'leaves out kicks that avail_event has asked for', async (t) => {
    await servedAtNextKick(t, t.live({ eventIdx: true }).queue)
  }),

  check('drv.notify.1', 'kicks only when the device has asked for it, as read after publishing', async (t) => {
    for (const eventIdx of t.offers('EVENT_IDX') ? [false, true] : [false]) {
      const { queue } = t.live({ eventIdx })
      const mark = t.arena.mark()
      const about = eventIdx ? 'by avail_event' : 'by used.flags'
      for (let i = 0; i < 100; i++) {
        t.arena.rewind(mark)
        const before = queue.availIdx
        const requests = Array.from({ length: fitting(queue, 1 + (i % 3)) }, () => queue.request(READ))
        queue.publish(...requests.map(({ head }) => head))
        if (wantsKick(queue, eventIdx, before)) queue.kick()
        for (const request of requests) {
          t.answered(await t.done(request, `request ${i} ${about}`), { status: 0, usedLen: 513 }, about)
        }
      }
    }
  }),
]
