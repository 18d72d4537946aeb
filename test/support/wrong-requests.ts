// Mistakes in what block requests do and how they are answered, one per check.

import type { Mistake, WrongDevice } from './wrong-device.ts'

const KICK = 0x050

type Used = ReturnType<WrongDevice['newElements']>[number]

/** Each request is answered otherwise after it was served. */
function eachRequest(id: string, what: string, act: (device: WrongDevice, used: Used) => void): Mistake {
  return {
    id,
    what,
    after: (offset, _, device) => {
      if (offset === KICK) for (const element of device.newElements()) act(device, element)
    },
  }
}

/** Requests of these types, where `when` holds, get this status instead. */
function answers(
  id: string,
  what: string,
  status: number,
  when: (used: Used, device: WrongDevice) => boolean,
): Mistake {
  return eachRequest(id, what, (device, used) => {
    if (when(used, device)) device.mem.setU8(device.statusAt(used.id), status)
  })
}

/** Chains are changed before the device sees them. */
function eachChain(id: string, what: string, act: (device: WrongDevice, head: number) => void): Mistake {
  return {
    id,
    what,
    write: (offset, value, device) => {
      if (offset !== KICK) return value
      const { mem, avail, size } = device
      for (let idx = mem.u16(device.used + 2); idx !== mem.u16(avail + 2); idx = (idx + 1) & 0xffff) {
        act(device, mem.u16(avail + 4 + 2 * (idx % size)))
      }
      return value
    },
  }
}

/** Nothing becomes stable. */
function volatile(id: string, what: string): Mistake {
  return { id, what, target: ({ stable }) => (stable ? { stable: (_, bytes) => stable(0, bytes) } : {}) }
}

export const WRONG_REQUESTS: readonly Mistake[] = [
  eachRequest('blk.req.header.1', 'status is in the first byte of the last descriptor', (device, { id }) => {
    const last = device.chain(id).at(-1)
    if (!last || last.len === 1) return
    const at = device.statusAt(id)
    device.mem.setU8(last.addr, device.mem.u8(at))
    device.mem.setU8(at, 0xe5)
  }),
  answers('blk.req.reserved.1', 'it refuses what has a reserved word', 1, ({ header }, { mem }) => mem.u32(header + 4) !== 0),
  eachChain('blk.req.in.1', 'sector 63 is taken for 62', ({ mem, desc }, head) => {
    const header = Number(mem.u64(desc + 16 * head))
    if (mem.u32(header) === 0 && mem.u64(header + 8) === 63n) mem.setU64(header + 8, 62)
  }),
  eachChain('blk.req.out.1', 'writes go one sector further', ({ mem, desc }, head) => {
    const header = Number(mem.u64(desc + 16 * head))
    if (mem.u32(header) === 1 && mem.u64(header + 8) === 7n) mem.setU64(header + 8, 8)
  }),
  volatile('blk.req.flush.1', 'a flush does nothing'),
  eachRequest('blk.req.getid.1', 'the id is padded with spaces', (device, { id, type }) => {
    if (type !== 8) return
    const buffer = device.chain(id)[1]
    if (buffer) device.mem.setU8(buffer.addr + 19, 0x20)
  }),
  answers('blk.req.unsupp.1', 'type 0x80000001 is answered as a write', 0, ({ type }) => type === 0x80000001),
  answers('blk.req.status.1', 'a refusal of the media is status 3', 3, ({ id }, device) => device.mem.u8(device.statusAt(id)) === 1),
  answers('blk.zone.unneg.1', 'zone reports are errors', 1, ({ type }) => type === 16),
  answers('blk.op.ro.1', 'a write to a read-only disk is OK', 0, ({ type }) => type === 1),
  {
    id: 'blk.op.ro.2',
    what: 'a write to a read-only disk is refused, but done',
    after: (offset, _, device) => {
      if (offset === KICK) device.count += device.newElements().filter(({ type }) => type === 1).length
    },
    target: ({ content }, device) => ({
      content: (at, bytes) => {
        const media = content?.(at, bytes) ?? new Uint8Array(bytes)
        return device.count > 0 ? media.map((byte) => byte ^ 0xff) : media
      },
    }),
  },
  volatile('blk.op.stable.1', 'writes are volatile though the driver cannot flush'),
  volatile('blk.op.stable.3', 'a flush does nothing'),
  eachRequest('blk.cfg.blk-size.1', 'small reads break it', (device, { id }) => {
    if (device.chain(id)[1]?.len === 512) device.mem.setU8(device.statusAt(id), 7)
  }),
]
