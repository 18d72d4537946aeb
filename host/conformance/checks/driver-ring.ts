// Drivers that break the rules of section 2.7, the split virtqueue: where rings lie, what descriptors say, and what
// the available ring holds. What is broken ends in NEEDS_RESET or, where there is a status byte, in an error.

import type { RawQueue } from '../../driver/raw-queue.ts'
import { type Piece, readable, writable } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'
import {
  attack,
  BROKEN,
  bounded,
  breaks,
  fitting,
  harmless,
  IN,
  INDIRECT,
  NEEDS_RESET,
  NEXT,
  OK,
  OUT,
  outside,
  REFUSES,
  RETURNED,
  refusesQueue,
  ringSize,
  SERVES_OR_REFUSES,
  sectors,
  seen,
  Watch,
  WRITE,
} from './driver-support.ts'

const READ = { type: IN, sector: 1, dataIn: 512 }
const PARTS = ['desc', 'avail', 'used'] as const

/** Bytes of each part of a ring of `size` entries. */
function ringBytes(part: (typeof PARTS)[number], size: number): number {
  return { desc: 16 * size, avail: 6 + 2 * size, used: 6 + 8 * size }[part]
}

/** A read whose last of `length` descriptors leads back to descriptor `back`. */
function loop(length: number, back: number): Piece[] {
  return Array.from({ length }, (_, i): Piece => {
    const last = i === length - 1 ? { next: back } : {}
    if (i === 0) return readable(16, { ...last, ...(length === 1 ? { flags: NEXT } : {}) })
    return writable(i === 1 ? 512 : 1, { ...last, ...(i === length - 1 ? { flags: NEXT | WRITE } : {}) })
  })
}

/** Two reads in flight, held in the media; `act` changes what they were made of, and then they end. */
async function whileHeld(t: Kit, act: (queue: RawQueue) => void): Promise<void> {
  const sector = await sectors(t, 1, 1)
  const { queue } = t.live()
  t.extra('hold')()
  const requests = Array.from({ length: fitting(queue, 2) }, () => queue.request(READ))
  queue.submit(...requests.map(({ head }) => head))
  await t.quiet()
  act(queue)
  const watch = new Watch(t)
  t.extra('release')()
  for (const request of requests) {
    if (!(await t.wait(() => request.used() !== undefined))) t.fail('a request in flight was not used')
    t.is('status byte', request.status(), 0)
    t.is('used length', request.usedLen(), 513)
    t.same('data', request.data(), sector)
  }
  t.is('used.idx', queue.usedIdx, requests.length)
  await t.quiet()
  watch.unchanged('after the change', queue, ...requests)
}

export const DRIVER_RING: readonly Check[] = [
  check('drv.vq.1', 'each part of a ring at an address that is not aligned', async (t) => {
    await harmless(t, async () => {
      for (const [part, off] of [
        ['desc', 1],
        ['desc', 4],
        ['desc', 8],
        ['avail', 1],
        ['used', 1],
        ['used', 2],
      ] as const) {
        t.arena.rewind()
        const at = t.arena.alloc(4096, 4096) + off
        await refusesQueue(t, `${part} at ...${off}`, { size: ringSize(t), [part]: at })
      }
    })
  }),

  check('drv.vq.2', 'each part of a ring outside guest RAM, partly outside, and past 2^64', async (t) => {
    await harmless(t, async () => {
      const size = ringSize(t)
      for (const part of PARTS) {
        t.arena.rewind()
        const real = t.arena.alloc(4096, 4096)
        for (const at of outside(t, real, ringBytes(part, size))) {
          await refusesQueue(t, `${part} at 0x${at.toString(16)}`, { size, [part]: at })
        }
      }
    })
  }),

  check('drv.frame.1', 'readable descriptors after writable ones', async (t) => {
    const dataOut = pattern(512)
    await harmless(t, async () => {
      const [head, data] = [readable(16), readable(512)]
      const status = writable(1)
      for (const [about, options] of [
        ['status first, then the header', { type: IN, sector: 1, layout: [status, head, writable(512)] }],
        ['data-in before the header', { type: IN, sector: 1, layout: [writable(512), head, status] }],
        ['status before data-out', { type: OUT, sector: 2, dataOut, layout: [head, status, data] }],
        [
          'status amid data-out',
          { type: OUT, sector: 2, dataOut, layout: [head, readable(256), status, readable(256)] },
        ],
        [
          'a readable byte after the status',
          { type: IN, sector: 1, layout: [head, writable(512), status, readable(1)] },
        ],
      ] as const) {
        await attack(t, about, options, REFUSES)
      }
    })
  }),

  check('drv.frame.2', 'a chain of as many descriptors as the largest queue has, of one byte each', async (t) => {
    const { reg } = t
    reg.selectQueue(0)
    const size = Math.min(reg.queueSizeMax, 16384)
    if (size < 4) t.skip(`the queue has ${size} entries`)
    const bytes = 512 * Math.ceil((size - 2) / 512)
    const expected = await sectors(t, 0, bytes / 512)
    const ones = Array.from({ length: size - 3 }, () => writable(1, { align: 1 }))
    const layout = [readable(16), ...ones, writable(bytes - ones.length), writable(1)]
    await bounded(t, `${size} descriptors`, async () => {
      const request = await attack(t, 'the chain', { type: IN, sector: 0, layout }, SERVES_OR_REFUSES, {
        queues: [{ size }],
      })
      if (seen(t, request) === OK) t.same('the data', request.data(), expected)
    })
    await t.serves()
  }),

  check('drv.desc.1', 'chains that loop, and chains of more than 2^32 bytes', async (t) => {
    await harmless(t, async () => {
      for (const [length, back] of [
        [1, 0],
        [2, 0],
        [3, 0],
        [3, 1],
        [3, 2],
      ] as const) {
        const indices = Array.from({ length }, (_, i) => i)
        const about = `descriptor ${length - 1} leads to ${back}`
        await bounded(t, about, () =>
          attack(t, about, { type: IN, sector: 1, layout: loop(length, back), indices }, REFUSES),
        )
      }
      const huge = (bytes: number): Piece => ({ writable: true, bytes, len: 0xffff_fe00 })
      const wide = { type: IN, sector: 1, layout: [readable(16), huge(512), huge(512), writable(1)] }
      await attack(t, 'data of 2^33 - 1024 bytes', wide, REFUSES)
      // In 32 bits the sum is 512.
      const wraps = [0x8000_0000, 0x8000_0000, 512].map((len): Piece => ({ writable: false, bytes: 512, len }))
      const layout = [readable(16), ...wraps, writable(1)]
      await attack(t, 'data of 2^32 + 512 bytes', { type: OUT, sector: 2, dataOut: pattern(1536), layout }, REFUSES)
    })
  }),

  check('drv.desc.3', 'heads and next fields at and beyond the size of the table', async (t) => {
    await harmless(t, async () => {
      const size = ringSize(t)
      for (const head of [size, size + 1, 256, 0x7fff, 0x8000, 0xffff]) {
        const { queue } = t.live({ queues: [{ size }] })
        // Good requests where a masked index would find them.
        for (let good = 0; good + 3 < size; good += 3) queue.request({ ...READ, head: good })
        queue.request({ ...READ, indices: [size - 1, 1, 2] })
        await breaks(t, `head ${head} of ${size}`, queue, () => queue.publish(head))
      }
      for (const next of [size + 1, size, 256 + 1, 0x8001, 0xffff]) {
        const layout = [readable(16, { flags: NEXT, next }), writable(512), writable(1)]
        const indices = [0, 1, 2]
        const negotiate = { queues: [{ size }] }
        const request = await attack(t, `next ${next} of ${size}`, { ...READ, layout, indices }, [BROKEN], negotiate)
        t.untouched(request, `next ${next} of ${size}`)
      }
    })
  }),

  check('drv.desc.4', 'data, header and status outside guest RAM, straddling its end, and past 2^64', async (t) => {
    await harmless(t, async ({ queue }) => {
      const real = Number(queue.request(READ).pieces[1]?.addr)
      for (const addr of outside(t, real, 512)) {
        const at = `at 0x${addr.toString(16)}`
        const read = { type: IN, sector: 1 }
        await attack(
          t,
          `data-in ${at}`,
          { ...read, layout: [readable(16), writable(512, { addr }), writable(1)] },
          REFUSES,
        )
        const write = { type: OUT, sector: 2, dataOut: pattern(1024) }
        const layout = [readable(16), readable(512), readable(512, { addr }), writable(1)]
        await attack(t, `second half of data-out ${at}`, { ...write, layout }, REFUSES)
      }
      for (const addr of outside(t, real, 16)) {
        const layout = [readable(16, { addr }), writable(512), writable(1)]
        await attack(t, `header at 0x${addr.toString(16)}`, { type: IN, sector: 1, layout }, REFUSES)
      }
      for (const addr of outside(t, real, 1)) {
        const layout = [readable(16), writable(512), writable(1, { addr })]
        await attack(t, `status at 0x${addr.toString(16)}`, { type: IN, sector: 1, layout }, [BROKEN])
      }
      const long = [readable(16), writable(512, { len: 0xffff_fe00 }), writable(1)]
      await attack(t, 'data-in of 4 GiB', { type: IN, sector: 1, layout: long }, REFUSES)
    })
  }),

  check('drv.desc.5', 'descriptors of zero bytes before, between and after header, data and status', async (t) => {
    if (ringSize(t) < 5) t.skip('the queue has fewer than 5 entries')
    const sector = await sectors(t, 1, 1)
    for (const [about, layout] of [
      ['before the header', [readable(0), readable(16), writable(512), writable(1)]],
      ['around the data', [readable(16), writable(0), writable(512), writable(0), writable(1)]],
      ['after the status', [readable(16), writable(512), writable(1), writable(0)]],
    ] as const) {
      const { queue } = t.live()
      const request = await t.run(queue, { type: IN, sector: 1, layout }, about)
      t.answered(request, { status: 0, usedLen: 513 }, about)
      t.same(`${about}: data`, request.data(), sector)
    }
    await t.serves()
  }),

  check(
    'drv.desc.6',
    'changes descriptors and headers of requests in flight',
    { extras: ['hold', 'release'] },
    async (t) => {
      await whileHeld(t, (queue) => {
        const other = t.arena.alloc(4096, 16)
        for (let i = 0; i < queue.size; i++) {
          const { addr, flags, next } = queue.descriptor(i)
          if ((flags & WRITE) === 0) t.mem.fill(addr, 16, 0xff)
          queue.setDescriptor(i, { addr: other, len: 4096, flags: flags ^ NEXT, next: next ^ 1 })
        }
      })
      await t.serves()
    },
  ),

  check('drv.indir.1', 'INDIRECT without INDIRECT_DESC', async (t) => {
    await harmless(t, async () => {
      const whole = await attack(t, 'the whole request in a table', { ...READ, indirect: true }, [BROKEN, RETURNED])
      t.ok('the table was not followed', whole.untouched(), 'the device wrote to buffers of the table')
      const layout = [readable(16), writable(512, { flags: INDIRECT | WRITE | NEXT }), writable(1)]
      await attack(t, 'INDIRECT on the data', { type: IN, sector: 1, layout }, REFUSES)
      const header = [readable(16, { flags: INDIRECT | NEXT }), writable(512), writable(1)]
      await attack(t, 'INDIRECT on the header', { type: IN, sector: 1, layout: header }, REFUSES)
    })
  }),

  check(
    'drv.indir.3',
    'chains longer than the queue: direct over the whole ring and again, or in a table',
    async (t) => {
      t.reg.selectQueue(0)
      const max = Math.min(t.reg.queueSizeMax, 1024)
      await harmless(t, async () => {
        for (const size of new Set([Math.min(4, max), Math.min(16, max), max])) {
          const indices = Array.from({ length: size }, (_, i) => i)
          const layout = loop(size, size >> 1)
          const about = `all of ${size} and on`
          const negotiate = { queues: [{ size }] }
          await bounded(t, about, () => attack(t, about, { type: IN, sector: 1, layout, indices }, REFUSES, negotiate))
        }
        if (!t.offers('INDIRECT_DESC')) return
        const ones = Array.from({ length: 24 }, () => writable(1))
        const layout = [readable(16), ...ones, writable(512 - ones.length), writable(1)]
        const negotiate = { queues: [{ size: 16 }], add: [28] }
        const about = '27 descriptors in a table, 16 in the ring'
        await attack(t, about, { type: IN, sector: 1, layout, indirect: true }, SERVES_OR_REFUSES, negotiate)
      })
    },
  ),

  check('drv.avail.1', 'avail.idx goes backwards', async (t) => {
    await harmless(t, async () => {
      for (const [done, idx] of [
        [4, 2],
        [4, 3],
        [1, 0],
        [20, 1],
      ] as const) {
        const { queue } = t.live({ queues: [{ size: ringSize(t) }] })
        for (let i = 0; i < done; i++) await t.read(queue, 1)
        await breaks(t, `from ${done} to ${idx}`, queue, () => queue.setAvailIdx(idx))
      }
    })
  }),

  check('drv.avail.2', 'avail.idx jumps by more than the size of the queue', async (t) => {
    await harmless(t, async () => {
      const size = ringSize(t)
      for (const idx of [size + 1, size + 2, 2 * size, 0x7fff, 0x8000, 0xffff]) {
        const { queue } = t.live({ queues: [{ size }] })
        const { head } = queue.request(READ)
        // A good head in every slot: a device that clamps the jump would find requests.
        for (let slot = 0; slot < size; slot++) queue.setAvailSlot(slot, head)
        await breaks(t, `by ${idx} of ${size}`, queue, () => queue.setAvailIdx(idx))
      }
    })
  }),

  check('drv.avail.3', 'offers a head twice before it is used', async (t) => {
    const sector = await sectors(t, 1, 1)
    for (const held of t.target.hold === undefined ? [false] : [false, true]) {
      const about = held ? 'while it is in flight' : 'in one batch'
      const { queue } = t.live()
      const request = queue.request(READ)
      if (held) t.target.hold?.()
      queue.publish(request.head)
      if (held) queue.kick()
      await t.quiet()
      queue.publish(request.head)
      const watch = new Watch(t)
      queue.kick()
      await t.quiet()
      t.target.release?.()
      const broken = (): boolean => (t.reg.status & NEEDS_RESET) !== 0
      await t.wait(() => broken() || queue.usedIdx === 2)
      await t.quiet()
      watch.unchanged(about, queue, request)
      if (!broken()) t.is(`${about}: used.idx`, queue.usedIdx, 2)
      for (const { id, len } of queue.takeUsed()) {
        t.is(`${about}: used id`, id, request.head)
        t.is(`${about}: used length`, len, 513)
        t.same(`${about}: data`, request.data(), sector)
      }
    }
    await t.serves()
  }),

  check('drv.updidx.1', 'moves avail.idx before the entry and its descriptors are written', async (t) => {
    await harmless(t, async () => {
      for (const [about, head] of [
        ['a free descriptor', 3],
        ['a request of before', 0],
        ['no descriptor', 0xa5a5],
      ] as const) {
        const { queue } = t.live({ queues: [{ size: ringSize(t) }] })
        const old = await t.run(queue, { ...READ, head: 0 })
        queue.setAvailSlot(1, head)
        const before = queue.usedIdx
        queue.setAvailIdx(2)
        const watch = new Watch(t)
        queue.kick()
        const moved = (): boolean => queue.usedIdx !== before
        await t.wait(() => moved() || (t.reg.status & NEEDS_RESET) !== 0)
        const result = moved() ? 'used' : (t.reg.status & NEEDS_RESET) !== 0 ? BROKEN : 'nothing'
        t.isOneOf(`${about} in the entry`, result, head === 0xa5a5 ? [BROKEN] : ['used', BROKEN])
        await t.quiet()
        watch.unchanged(about, queue, ...(head === 0 ? [old] : []))
      }
    })
  }),

  check('drv.cleanup.1', 'rewrites ring entries and descriptors of requests that are pending', async (t) => {
    const sector = await sectors(t, 1, 1)
    const { queue } = t.live()
    if (queue.size < 6) t.skip('the queue has fewer than 6 entries')
    const first = queue.request(READ)
    const second = queue.request(READ)
    queue.publish(first.head)
    queue.setAvailSlot(0, second.head)
    const watch = new Watch(t)
    queue.kick()
    await t.wait(() => queue.usedIdx === 1)
    t.is('used.idx', queue.usedIdx, 1)
    const taken = queue.usedElement(0).id === first.head ? first : second
    t.is('status of the request that was taken', taken.status(), 0)
    t.same('its data', taken.data(), sector)
    t.ok('the other one was left alone', (taken === first ? second : first).untouched())
    watch.unchanged('one entry, two heads', queue, taken)
    if (t.target.hold !== undefined) {
      await whileHeld(t, (held) => {
        for (let slot = 0; slot < held.size; slot++) held.setAvailSlot(slot, 0xffff)
      })
    }
    await t.serves()
  }),

  check(
    'drv.cleanup.2',
    'takes its buffers back after a reset or a stopped queue, with requests in flight',
    async (t) => {
      for (const stop of ['reset', 'QueueReady'] as const) {
        const { queue } = t.live()
        t.target.hold?.()
        queue.submit(...[1, 2, 3].map((sector) => queue.request({ ...READ, sector }).head))
        if (stop === 'reset') t.reg.status = 0
        else t.reg.queueReady = 0
        const stopped = (): boolean => (stop === 'reset' ? t.reg.status : t.reg.queueReady) === 0
        t.ok(`${stop}: stopped`, await t.wait(stopped), `${stop}: the device does not say that it has stopped`)
        // What was a ring or a buffer is the driver's own again.
        t.mem.fill(t.arena.base, t.arena.mark() - t.arena.base, 0x5a)
        const watch = new Watch(t)
        const events = t.target.interrupts?.()
        t.target.release?.()
        await t.quiet()
        watch.unchanged(`${stop}: afterwards`)
        t.is(`${stop}: interrupts`, t.target.interrupts?.(), events)
        if (stop === 'reset') t.is('InterruptStatus', t.reg.interruptStatus, 0)
      }
      await t.serves()
    },
  ),
]
