// Sections 2.6, 2.7.1 to 2.7.6, 2.7.8 and 2.7.13, the split ring: its size and place, descriptors and chains, what the
// device takes from the available ring and what it writes into the used ring.

import type { RawQueue } from '../../driver/raw-queue.ts'
import {
  type RawRequest,
  type RawRequestOptions,
  readable,
  WRITABLE_SENTINEL,
  writable,
} from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'

/** A read in two descriptors: header; data and status. */
function compactRead(bytes = 512): RawRequestOptions {
  return { type: 0, layout: [readable(16), writable(bytes + 1)] }
}

/** Of each kind one, some of them wrong: read, write, id, flush, unknown types, a read and a write past the end. */
function assorted(t: Kit): RawRequestOptions[] {
  const end = t.reg.config64(0)
  return [
    { type: 0, sector: 1, dataIn: 1024 },
    { type: 1, sector: 2, dataOut: pattern(1024) },
    { type: 8, dataIn: 20 },
    { type: 4 },
    { type: 99, dataIn: 512 },
    { type: 99, dataOut: pattern(512) },
    { type: 0, sector: end, dataIn: 512 },
    { type: 1, sector: end, dataOut: pattern(512) },
  ]
}

/** The largest queue 0, full of two-descriptor reads, again and again until `count` are done; looks at each answer. */
async function goRound(t: Kit, count: number): Promise<void> {
  t.reg.selectQueue(0)
  const size = Math.min(t.reg.queueSizeMax, 256)
  const { queue } = t.live({ queues: [{ size }] })
  const heads = Array.from({ length: size / 2 }, () => queue.request(compactRead()).head)
  for (let done = 0; done < count; done += heads.length) {
    queue.submit(...heads)
    const goal = (done + heads.length) & 0xffff
    if (!(await t.wait(() => queue.usedIdx === goal))) t.fail(`used.idx: ${queue.usedIdx}, expected ${goal}`)
    const ids = queue.takeUsed().map(({ id }) => id)
    const missing = heads.find((head) => !ids.includes(head))
    if (missing !== undefined) t.fail(`head ${missing} did not come back before used.idx ${goal}: ${ids}`)
  }
  t.is('used.idx at the end', queue.usedIdx, (Math.ceil(count / heads.length) * heads.length) & 0xffff)
}

/** The first `len` bytes of the writable stream; true if any of them still holds the sentinel. */
function claimsTooMuch(request: RawRequest): boolean {
  const stream = [...request.data(), request.status() ?? WRITABLE_SENTINEL]
  return stream.slice(0, request.usedLen()).includes(WRITABLE_SENTINEL)
}

export const RING: readonly Check[] = [
  check('vq.usedlen.1', 'used length of a read of 4096 bytes, of a write, and of a flush if offered', async (t) => {
    const { queue } = t.live()
    t.answered(await t.read(queue, 0, 8), { status: 0, usedLen: 4097 }, 'a read of 4096 bytes')
    t.answered(await t.run(queue, { type: 1, dataOut: pattern(512) }), { status: 0, usedLen: 1 }, 'a write')
    if (t.offers('FLUSH')) t.answered(await t.run(queue, { type: 4 }), { status: 0, usedLen: 1 }, 'a flush')
  }),

  check(
    'split.size.1',
    'queues of every size up to QueueSizeMax, parts far apart and in any order, past their end',
    async (t) => {
      t.reg.selectQueue(0)
      const most = t.reg.queueSizeMax
      for (let size = 2; size <= most; size *= 2) {
        t.arena.rewind()
        const used = t.arena.alloc(6 + 8 * size, 4)
        const afterUsed = t.arena.alloc(65536, 1)
        const avail = t.arena.alloc(6 + 2 * size, 2)
        const afterAvail = t.arena.alloc(65536, 1)
        const desc = t.arena.alloc(16 * size, 16)
        t.mem.fill(afterUsed, 64, 0x99)
        t.mem.fill(afterAvail, 64, 0x99)
        const { queue } = t.live({ keepArena: true, queues: [{ size, desc, avail, used }] })
        // Where the slots of a larger ring would go on.
        queue.usedEvent = 0x7777
        const mark = t.arena.mark()
        for (let i = 0; i < Math.min(size, 512) + 2; i++) {
          t.arena.rewind(mark)
          const read = await t.run(queue, compactRead(), `read ${i} on a queue of ${size}`)
          t.answered(read, { status: 0, usedLen: 513 }, `a read on a queue of ${size}`)
        }
        t.same(`what follows a used ring of ${size}`, t.mem.bytes(afterUsed, 64), new Uint8Array(64).fill(0x99))
        t.same(`what follows an available ring of ${size}`, t.mem.bytes(afterAvail, 64), new Uint8Array(64).fill(0x99))
      }
    },
  ),

  check('frame.1', 'one read and one write, cut into descriptors in many ways', async (t) => {
    const { queue } = t.live({ queues: [{ size: 32 }] })
    const data = pattern(1024, 5)
    const writes = [
      [readable(16), readable(1024), writable(1)],
      [readable(1040), writable(1)],
      [...Array.from({ length: 16 }, () => readable(1)), readable(1024), writable(1)],
      [readable(10), readable(300), readable(730), writable(1)],
    ]
    for (const [i, layout] of writes.entries()) {
      const sector = 4 + 2 * i
      const write = await t.run(queue, { type: 1, sector, dataOut: data, layout }, `write ${i}`)
      t.answered(write, { status: 0, usedLen: 1 }, `a write in ${layout.length} descriptors`)
      t.same(`what write ${i} stored`, (await t.read(queue, sector, 2)).data(), data)
    }
    const reads = [
      [readable(16), writable(1025)],
      [readable(7), readable(9), writable(511), writable(513), writable(1)],
      [...Array.from({ length: 16 }, () => readable(1)), writable(1000), writable(25)],
    ]
    for (const layout of reads) {
      const read = await t.run(queue, { type: 0, sector: 4, layout })
      t.answered(read, { status: 0, usedLen: 1025 }, `a read in ${layout.length} descriptors`)
      t.same('what it read', read.data(), data)
    }
  }),

  check('frame.2', 'a chain with seg_max data descriptors, and one with one more', async (t) => {
    t.reg.selectQueue(0)
    const size = t.reg.queueSizeMax
    const most = t.offers('SEG_MAX') ? t.reg.config(12) : size - 2
    const { queue } = t.live({ queues: [{ size }] })
    t.ok(`${most} data descriptors fit a queue of ${size}`, most + 2 <= size)
    const data = { type: 0, dataIn: 512 * most, segments: 512 }
    if (BigInt(most) >= t.reg.config64(0)) t.skip('the disk is too small')
    t.answered(await t.run(queue, data), { status: 0, usedLen: 512 * most + 1 }, `${most} data descriptors`)
    if (most + 3 <= size) {
      const more = await t.run(queue, { ...data, dataIn: 512 * (most + 1) }, 'one more')
      t.isOneOf('status with one more', more.status(), [0, 1])
      t.ok('nothing outside its buffers changed', more.intact())
    }
    await t.serves()
  }),

  check('desc.1', 'requests of every kind, good and bad: their readable bytes', async (t) => {
    for (const options of assorted(t)) {
      const { queue } = t.live()
      const request = await t.run(queue, options, `a request of type ${options.type}`)
      t.ok(`readable bytes of type ${options.type}, sector ${options.sector ?? 0} unchanged`, request.intact())
    }
  }),

  check('desc.4', 'requests of every kind, good and bad: descriptor table and available ring', async (t) => {
    const { queue } = t.live({ queues: [{ size: 64 }] })
    const requests = assorted(t).map((options) => queue.request(options))
    queue.publish(...requests.map(({ head }) => head))
    const table = t.mem.bytes(queue.desc, 16 * 64)
    const ring = t.mem.bytes(queue.avail, 6 + 2 * 64)
    queue.kick()
    for (const request of requests) await t.done(request)
    t.same('descriptor table', t.mem.bytes(queue.desc, 16 * 64), table)
    t.same('available ring', t.mem.bytes(queue.avail, 6 + 2 * 64), ring)
  }),

  check('desc.chain.1', 'garbage in next where NEXT is not set; a buffer 2^40 above a good one', async (t) => {
    const { queue } = t.live()
    for (const next of [0, 5, 0xffff]) {
      const layout = [readable(16), writable(512), writable(1, { next })]
      t.answered(await t.run(queue, { type: 0, layout }), { status: 0, usedLen: 513 }, `a read with last next ${next}`)
    }
    const addr = t.arena.alloc(512)
    t.mem.fill(addr, 512, 0x77)
    const layout = [readable(16), writable(512, { addr: 2n ** 40n + BigInt(addr) }), writable(1)]
    const far = queue.run({ type: 0, layout })
    await t.wait(() => far.used() !== undefined)
    await t.quiet()
    t.same('the bytes at the low half of the address', t.mem.bytes(addr, 512), new Uint8Array(512).fill(0x77))
  }),

  check('used.2', 'used length of good and bad requests against the bytes that were really written', async (t) => {
    const { queue } = t.live()
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i % 200)
    await t.write(queue, 0, data)
    const end = t.reg.config64(0)
    const requests: RawRequestOptions[] = [
      { type: 0, dataIn: 1024 },
      { type: 0, dataIn: 1024, segments: [100, 924] },
      { type: 0, sector: end, dataIn: 512 },
      { type: 0, dataIn: 100 },
      { type: 99, dataIn: 512 },
      { type: 8, dataIn: 20 },
      { type: 8, dataIn: 5 },
      { type: 1, sector: end, dataOut: pattern(512) },
      { type: 4, dataIn: 64 },
    ]
    for (const options of requests) {
      const request = await t.run(queue, options)
      const about = `type ${options.type}, ${options.dataIn ?? 0} bytes in, status ${request.status()}`
      t.ok(`${about}: the first ${request.usedLen()} bytes were written`, !claimsTooMuch(request))
    }
  }),

  check('used.3', 'requests of every kind, good and bad: the bytes around their writable buffers', async (t) => {
    const { queue } = t.live()
    for (const options of assorted(t)) {
      const request = await t.run(queue, options)
      const writableBytes = request.pieces.reduce((sum, piece) => sum + (piece.writable ? piece.bytes : 0), 0)
      t.ok(`type ${options.type}: nothing written outside its buffers`, request.intact())
      t.ok(`type ${options.type}: used length within ${writableBytes}`, (request.usedLen() ?? 0) <= writableBytes)
    }
  }),

  check(
    'used.id.1',
    'a queue of 4: id and slot of each used element; then the largest one until used.idx wraps',
    async (t) => {
      const { queue } = t.live({ queues: [{ size: 4 }] })
      t.is('used.idx at first', queue.usedIdx, 0)
      for (let i = 0; i < 20; i++) {
        const head = (i * 3) % 4
        const read = queue.request({ ...compactRead(), indices: [head, (head + 1) % 4] })
        queue.submit(read.head)
        await t.wait(() => queue.usedIdx !== i)
        t.is('used.idx', queue.usedIdx, i + 1)
        t.is(`id in slot ${i % 4}`, queue.usedElement(i % 4).id, head)
      }
      await goRound(t, 65536 + 200)
    },
  ),

  check('avail.idx.1', 'the largest ring, full each time, until avail.idx has gone from 65535 to 0', async (t) => {
    await goRound(t, 65536 + 256)
  }),

  check('avail.access.1', 'publish a read without a kick, wait, kick', async (t) => {
    const { queue } = t.live()
    const read = queue.request({ type: 0, dataIn: 512 })
    queue.publish(read.head)
    await t.quiet()
    if (read.used() === undefined) t.untouched(read, 'the read before the kick')
    else t.answered(read, { status: 0, usedLen: 513 }, 'the read before the kick')
    queue.kick()
    t.answered(await t.done(read), { status: 0, usedLen: 513 }, 'the read after the kick')
    t.is('used.idx', queue.usedIdx, 1)
  }),
]

export const ORDER: readonly Check[] = [
  check('blk.req.order.1', 'two thousand requests of all kinds in batches: each head comes back once', async (t) => {
    const { queue } = t.live({ queues: [{ size: 64 }] })
    const mark = t.arena.mark()
    const kinds = assorted(t)
    let next = 1
    for (let done = 0; done < 2000; ) {
      t.arena.rewind(mark)
      next = (next * 1103515245 + 12345) % 2 ** 31
      const batch = Array.from({ length: 1 + (next % 16) }, (_, i) => kinds[(next + i * 7) % kinds.length])
      const requests = batch.map((options) => queue.request(options as RawRequestOptions))
      await submitAll(t, queue, requests)
      done += requests.length
    }
    t.is('chains left over', queue.takeUsed().length, 0)
  }),
]

async function submitAll(t: Kit, queue: RawQueue, requests: readonly RawRequest[]): Promise<void> {
  queue.submit(...requests.map(({ head }) => head))
  const goal = queue.nextAvail
  if (!(await t.wait(() => queue.usedIdx === goal))) t.fail(`used.idx: ${queue.usedIdx}, expected ${goal}`)
  const sorted = (heads: number[]): string => heads.sort((a, b) => a - b).join(' ')
  t.is('heads that came back', sorted(queue.takeUsed().map(({ id }) => id)), sorted(requests.map(({ head }) => head)))
}
