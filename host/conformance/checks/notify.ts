// Sections 2.7.7 and 2.7.10, the split ring: when the device interrupts, and when it wants kicks.

import type { RawQueue } from '../../driver/raw-queue.ts'
import { readable, writable } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import type { Kit } from '../kit.ts'

const COUNTED = { extras: ['interrupts'] } as const

/** Two descriptors: sixteen of these fill a queue of 32. */
const READ = { type: 0, layout: [readable(16), writable(513)] }

/** Publishes so many reads at once and waits for them; returns how many interrupts came. */
async function batch(t: Kit, queue: RawQueue, count = 1): Promise<number> {
  const interrupts = t.extra('interrupts')
  const before = interrupts()
  const mark = t.arena.mark()
  const heads = Array.from({ length: count }, () => queue.request(READ).head)
  queue.submit(...heads)
  const goal = queue.nextAvail
  if (!(await t.wait(() => queue.usedIdx === goal))) t.fail(`used.idx: ${queue.usedIdx}, expected ${goal}`)
  await t.wait(() => interrupts() > before)
  t.arena.rewind(mark)
  t.reg.interruptAck(1)
  return interrupts() - before
}

/** As batch(), where no interrupt is expected to come. */
async function silentBatch(t: Kit, queue: RawQueue, count = 1): Promise<number> {
  const interrupts = t.extra('interrupts')
  const before = interrupts()
  const mark = t.arena.mark()
  queue.submit(...Array.from({ length: count }, () => queue.request(READ).head))
  const goal = queue.nextAvail
  if (!(await t.wait(() => queue.usedIdx === goal))) t.fail(`used.idx: ${queue.usedIdx}, expected ${goal}`)
  await t.quiet()
  t.arena.rewind(mark)
  t.reg.interruptAck(1)
  return interrupts() - before
}

/** Reads in batches of up to what fits, with a kick only where the device wants one; fails the check if it stalls. */
async function politeKicks(t: Kit, queue: RawQueue, count: number, wanted: (from: number, to: number) => boolean) {
  const mark = t.arena.mark()
  let kicks = 0
  let seed = 7
  for (let done = 0; done < count; ) {
    t.arena.rewind(mark)
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    const most = queue.size / 2
    const heads = Array.from({ length: 1 + ((seed >> 8) % most) }, () => queue.request(READ).head)
    const from = queue.nextAvail
    queue.publish(...heads)
    if (wanted(from, queue.nextAvail)) {
      kicks++
      queue.kick()
    }
    const goal = queue.nextAvail
    if (!(await t.wait(() => queue.usedIdx === goal))) {
      t.fail(`stalled: avail.idx ${goal}, used.idx ${queue.usedIdx}, after ${kicks} kicks that were asked for`)
    }
    done += heads.length
  }
  t.ok(`${count} requests served with ${kicks} kicks`, true)
}

/** A queue of this size, or the largest. */
function sizeOf(t: Kit, wanted: number): number {
  t.reg.selectQueue(0)
  return Math.min(wanted, t.reg.queueSizeMax)
}

/** vring_need_event of 2.7.10: an index moved from `from` to `to` has passed `event`. */
function passed(event: number, from: number, to: number): boolean {
  return ((to - event - 1) & 0xffff) < ((to - from) & 0xffff)
}

export const NOTIFY: readonly Check[] = [
  check('usednot.1', 'without EVENT_IDX: flags 0 and anything in used_event', COUNTED, async (t) => {
    const { queue } = t.live()
    for (const event of [0, 1, 2, 7, 0x8000, 0xfffe, 0xffff]) {
      queue.usedEvent = event
      t.ok(`interrupt with used_event ${event}`, (await batch(t, queue)) > 0)
    }
  }),

  check('usednot.2', 'without EVENT_IDX: available-ring flags 1, then 0 again', COUNTED, async (t) => {
    const { queue } = t.live()
    queue.availFlags = 1
    t.is('interrupts with flags 1', await silentBatch(t, queue, 3), 0)
    queue.availFlags = 0
    t.ok('an interrupt with flags 0', (await batch(t, queue)) > 0)
  }),

  check('usednot.3', 'without EVENT_IDX: available-ring flags 0, a read and a batch', async (t) => {
    const { queue } = t.live()
    for (const count of [1, 5]) {
      const heads = Array.from({ length: count }, () => queue.request(READ).head)
      const before = t.target.interrupts?.() ?? 0
      queue.submit(...heads)
      await t.wait(() => queue.usedIdx === queue.nextAvail && t.reg.interruptStatus !== 0)
      t.is('InterruptStatus bit 0', t.reg.interruptStatus & 1, 1)
      const { interrupts } = t.target
      if (interrupts) t.ok(`an interrupt for ${count}`, await t.wait(() => interrupts() > before))
      t.reg.interruptAck(1)
    }
  }),

  check('usednot.4', 'with EVENT_IDX: available-ring flags 1, used_event at the next element', COUNTED, async (t) => {
    const { queue } = t.live({ eventIdx: true })
    queue.availFlags = 1
    queue.usedEvent = 0
    t.ok('an interrupt with flags 1', (await batch(t, queue)) > 0)
  }),

  check(
    'usednot.5',
    'with EVENT_IDX: used_event at the end of, in and at the start of a batch, also at 65535 and 0',
    COUNTED,
    async (t) => {
      const { queue } = t.live({ eventIdx: true, queues: [{ size: 32 }] })
      const near: [from: number, count: number, event: number][] = [
        [0, 1, 0],
        [1, 3, 3],
        [4, 5, 6],
        [9, 4, 9],
        [13, 3, 13],
      ]
      for (const [from, count, event] of near) {
        t.is('used.idx', queue.usedIdx, from)
        queue.usedEvent = event
        t.ok(
          `an interrupt for ${from}..${from + count - 1} with used_event ${event}`,
          (await batch(t, queue, count)) > 0,
        )
      }
      queue.usedEvent = 0x7fff
      const mark = t.arena.mark()
      const heads = Array.from({ length: 16 }, () => queue.request(READ).head)
      for (; queue.nextAvail !== 0xfff0; ) {
        // used_event is passed once on the way; it is moved to where the round ends.
        if (queue.nextAvail === 0x4000) queue.usedEvent = 0xffff
        queue.submit(...heads)
        if (!(await t.wait(() => queue.usedIdx === queue.nextAvail))) t.fail(`stalled at used.idx ${queue.usedIdx}`)
      }
      t.arena.rewind(mark)
      t.ok('an interrupt for 65520..65535 with used_event 65535', (await batch(t, queue, 16)) > 0)
      queue.usedEvent = 0
      t.ok('an interrupt for 0..1 with used_event 0', (await batch(t, queue, 2)) > 0)
    },
  ),

  check('usednot.6', 'with EVENT_IDX: used_event ahead of and behind what is completed', COUNTED, async (t) => {
    const { queue } = t.live({ eventIdx: true })
    for (const event of [5, 0x4000, 0xffff]) {
      queue.usedEvent = event
      t.is(`interrupts for one element with used_event ${event}`, await silentBatch(t, queue), 0)
    }
    queue.usedEvent = 5
    t.is('interrupts for 3..4 with used_event 5', await silentBatch(t, queue, 2), 0)
    t.ok('an interrupt for 5 with used_event 5', (await batch(t, queue)) > 0)
    t.is('interrupts for 6 with used_event 5', await silentBatch(t, queue), 0)
  }),

  check('availnot.1', 'without EVENT_IDX: used-ring flags, before and after each of a hundred reads', async (t) => {
    const { queue } = t.live()
    const mark = t.arena.mark()
    for (let i = 0; i < 100; i++) {
      t.arena.rewind(mark)
      t.isOneOf('used-ring flags', queue.usedFlags, [0, 1])
      await t.run(queue, READ)
    }
    t.isOneOf('used-ring flags', queue.usedFlags, [0, 1])
  }),

  check('availnot.2', 'without EVENT_IDX: a driver that kicks only while used-ring flags is 0', async (t) => {
    const { queue } = t.live({ queues: [{ size: 32 }] })
    await politeKicks(t, queue, 1000, () => (queue.usedFlags & 1) === 0)
  }),

  check('avail.suppress.1', 'a driver that kicks only when asked to, with EVENT_IDX if it is offered', async (t) => {
    const eventIdx = t.offers('EVENT_IDX')
    const { queue } = t.live({ eventIdx, queues: [{ size: 32 }] })
    await politeKicks(t, queue, 1000, (from, to) => {
      return eventIdx ? passed(queue.availEvent, from, to) : (queue.usedFlags & 1) === 0
    })
  }),

  check('availnot.3', 'with EVENT_IDX: used-ring flags, before and after each of a hundred reads', async (t) => {
    const { queue } = t.live({ eventIdx: true })
    const mark = t.arena.mark()
    for (let i = 0; i < 100; i++) {
      t.arena.rewind(mark)
      t.is('used-ring flags', queue.usedFlags, 0)
      await t.run(queue, READ)
    }
    t.is('used-ring flags', queue.usedFlags, 0)
  }),

  check(
    'availnot.4',
    'with EVENT_IDX: a driver that kicks only when avail.idx passes avail_event, past 65536',
    async (t) => {
      const { queue } = t.live({ eventIdx: true, queues: [{ size: sizeOf(t, 128) }] })
      await politeKicks(t, queue, 70000, (from, to) => passed(queue.availEvent, from, to))
    },
  ),

  check('availnot.5', 'a hundred kicks of an idle queue, then a thousand for one read', async (t) => {
    const { queue } = t.live()
    for (let i = 0; i < 100; i++) queue.kick()
    await t.quiet()
    t.is('used.idx of the idle queue', queue.usedIdx, 0)
    const read = queue.request({ type: 0, dataIn: 512 })
    queue.publish(read.head)
    for (let i = 0; i < 1000; i++) queue.kick()
    t.answered(await t.done(read), { status: 0, usedLen: 513 })
    await t.quiet()
    t.is('used.idx', queue.usedIdx, 1)
    t.is('Status', t.reg.status, 0x0f)
  }),
]
