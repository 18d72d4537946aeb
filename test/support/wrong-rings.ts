// Mistakes in rings, descriptors and notifications, one per check.

import type { Mistake, WrongDevice } from './wrong-device.ts'

const KICK = 0x050

/** After a kick this happens. */
function afterKick(id: string, what: string, act: (device: WrongDevice) => void): Mistake {
  return { id, what, after: (offset, _, device) => (offset === KICK ? act(device) : undefined) }
}

/** Each used element is changed after it was written. */
function eachUsed(
  id: string,
  what: string,
  act: (device: WrongDevice, element: ReturnType<WrongDevice['newElements']>[number]) => void,
): Mistake {
  return afterKick(id, what, (device) => {
    for (const element of device.newElements()) act(device, element)
  })
}

const DEVICE_READS = 1 << 1

/** Kicks are lost as long as this holds. */
function deaf(id: string, what: string, when: (device: WrongDevice) => boolean): Mistake {
  return { id, what, write: (offset, value, device) => (offset === KICK && when(device) ? undefined : value) }
}

/** Interrupts come, or stay away, other than they should: `count` is what is added after a kick. */
function interrupts(id: string, what: string, count: (device: WrongDevice) => number): Mistake {
  return afterKick(id, what, (device) => {
    device.interrupts += count(device)
  })
}

export const WRONG_RINGS: readonly Mistake[] = [
  eachUsed('vq.usedlen.1', 'used length leaves the status byte out', ({ mem }, { at, len }) => mem.setU32(at + 4, len - 1)),
  {
    id: 'split.size.1',
    what: 'a queue of 2 is taken for one of 4',
    write: (offset, value) => (offset === 0x038 && value === 2 ? 4 : value),
  },
  eachUsed('frame.1', 'the header must be a descriptor of its own', (device, { id }) => {
    if (device.chain(id)[0]?.len !== 16) device.mem.setU8(device.statusAt(id), 1)
  }),
  eachUsed('frame.2', 'half of seg_max is the limit', (device, { id }) => {
    if (device.chain(id).length > 10) device.mem.setU8(device.statusAt(id), 1)
  }),
  eachUsed('desc.1', 'it marks the headers that it has seen', ({ mem }, { header }) => mem.setU32(header + 4, 1)),
  eachUsed('desc.4', 'it clears the descriptors that it has used', ({ mem, desc }, { id }) => {
    mem.fill(desc + 16 * id, 16, 0)
  }),
  eachUsed('desc.chain.1', 'next is followed without NEXT', (device, { id }) => {
    const last = device.chain(id).at(-1)
    if (last && device.mem.u16(last.at + 14) !== 0) device.mem.setU8(device.statusAt(id), 1)
  }),
  eachUsed('used.2', 'used length is the length of the buffers', (device, { id, at }) => {
    const bytes = device.chain(id).reduce((sum, { flags, len }) => sum + (flags & DEVICE_READS ? len : 0), 0)
    device.mem.setU32(at + 4, bytes)
  }),
  eachUsed('used.3', 'it writes one byte past the status', (device, { id }) => {
    device.mem.setU8(device.statusAt(id) + 1, 0)
  }),
  eachUsed('used.id.1', 'used.id is the last descriptor, not the first', (device, { id, at }) => {
    device.mem.setU32(at, ((device.chain(id).at(-1)?.at ?? 0) - device.desc) / 16)
  }),
  afterKick('avail.idx.1', 'used.idx stops when it has gone round', ({ mem, used }) => {
    if (mem.u16(used + 2) === 0) mem.setU16(used + 2, 0xffff)
  }),
  deaf('avail.access.1', 'kicks are lost', () => true),
  eachUsed('blk.req.order.1', 'now and then a head comes back twice', (device, { id, at }) => {
    if (++device.count % 50 === 0) device.mem.setU32(at, id ^ 1)
  }),

  interrupts('usednot.1', 'used_event counts without EVENT_IDX', ({ mem, avail, size }) => {
    return mem.u16(avail + 4 + 2 * size) === 0x8000 ? -1 : 0
  }),
  interrupts('usednot.2', 'NO_INTERRUPT is ignored', ({ mem, avail }) => mem.u16(avail) & 1),
  interrupts('usednot.3', 'it does not interrupt for a single element', (device) => {
    return device.newElements().length === 1 ? -1 : 0
  }),
  interrupts('usednot.4', 'NO_INTERRUPT counts with EVENT_IDX', ({ mem, avail }) => -(mem.u16(avail) & 1)),
  interrupts('usednot.5', 'only the last element of a batch is compared with used_event', (device) => {
    const batch = device.newElements().length
    const event = device.mem.u16(device.avail + 4 + 2 * device.size)
    const last = (device.mem.u16(device.used + 2) - 1) & 0xffff
    return batch > 1 && event === ((last - 1) & 0xffff) ? -1 : 0
  }),
  interrupts('usednot.6', 'it always interrupts', () => 1),
  afterKick('availnot.1', 'used-ring flags is 3', ({ mem, used }) => mem.setU16(used, 3)),
  {
    id: 'availnot.2',
    what: 'it asks for no kicks and does not look by itself',
    after: (offset, _, { mem, used }) => {
      if (offset === KICK) mem.setU16(used, 1)
    },
  },
  afterKick('avail.suppress.1', 'it asks for kicks later than it needs them', ({ mem, used, size }) => {
    mem.setU16(used + 4 + 8 * size, mem.u16(used + 2) + 5)
  }),
  afterKick('availnot.3', 'used-ring flags is 1 with EVENT_IDX', ({ mem, used }) => mem.setU16(used, 1)),
  afterKick('availnot.4', 'avail_event stands still', ({ mem, used, size }) => mem.setU16(used + 4 + 8 * size, 0)),
  afterKick('availnot.5', 'a kick too many breaks it', (device) => {
    if (++device.count === 500) device.mem.setU16(device.used + 2, 2)
  }),
]
