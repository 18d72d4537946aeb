// Sections 2.7.5.3 and 5.2.2: indirect tables and more than one queue, for devices that offer them.

import type { RawQueue } from '../../driver/raw-queue.ts'
import { readable, writable } from '../../driver/raw-request.ts'
import { type Check, check } from '../check.ts'
import { type Kit, pattern } from '../kit.ts'

const INDIRECT = 28
const MQ = 12

/** A live queue with INDIRECT, and a known sector 5. */
async function indirectQueue(t: Kit): Promise<RawQueue> {
  const { queue } = t.live({ add: [INDIRECT] })
  await t.write(queue, 5, pattern(1024))
  return queue
}

export const FEATURES_MORE: readonly Check[] = [
  check('indir.1', 'the same read with INDIRECT, and with INDIRECT and WRITE', async (t) => {
    const queue = await indirectQueue(t)
    for (const flags of [4, 4 | 2]) {
      const read = queue.request({ type: 0, sector: 5, dataIn: 1024, indirect: true })
      queue.setDescriptor(read.head, { ...queue.descriptor(read.head), flags })
      queue.submit(read.head)
      t.answered(await t.done(read), { status: 0, usedLen: 1025 }, `a read with flags ${flags}`)
      t.same('its data', read.data(), pattern(1024))
    }
  }),

  check('indir.2', 'reads whose first 0, 1 and 2 descriptors are direct and the rest in a table', async (t) => {
    const queue = await indirectQueue(t)
    for (const direct of [0, 1, 2]) {
      const layout = [readable(10), readable(6), writable(1024), writable(1)]
      const read = await t.run(queue, { type: 0, sector: 5, layout, indirect: direct === 0 ? true : direct })
      t.answered(read, { status: 0, usedLen: 1025 }, `a read with ${direct} direct descriptors`)
      t.same('its data', read.data(), pattern(1024))
    }
  }),

  check('indir.sem.1', 'a table whose entries are linked 0, 3, 1, 2', async (t) => {
    const queue = await indirectQueue(t)
    const layout = [readable(16), writable(500), writable(524), writable(1)]
    const read = queue.request({ type: 0, sector: 5, layout, indirect: true })
    const table = read.tableAddr ?? t.skip('the request has no table')
    const order = [0, 3, 1, 2]
    const entries = order.map((_, i) => queue.descriptorAt(Number(table) + 16 * i))
    order.forEach((slot, i) => {
      const entry = entries[i]
      if (entry) queue.setDescriptorAt(Number(table) + 16 * slot, { ...entry, next: order[i + 1] ?? 0 })
    })
    queue.submit(read.head)
    t.answered(await t.done(read), { status: 0, usedLen: 1025 }, 'the read')
    t.same('its data', read.data(), pattern(1024))
  }),

  check('blk.vq.1', 'the same read on every queue that num_queues promises, and none beyond', async (t) => {
    const count = t.reg.config(34, 2)
    t.isNot('num_queues', count, 0)
    const queues = Array.from({ length: Math.min(count, 16) }, (_, queue) => ({ queue, size: 4 }))
    const live = t.live({ add: [MQ], queues }).queues
    for (const queue of live) {
      t.answered(await t.read(queue, 1), { status: 0, usedLen: 513 }, `a read on queue ${queue.queue}`)
    }
    t.reg.selectQueue(count)
    t.is(`QueueSizeMax of queue ${count}`, t.reg.queueSizeMax, 0)
  }),
]
