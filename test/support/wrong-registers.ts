// Mistakes in registers, status, features, reset, interrupts and the configuration space, one per check.

import type { Mistake, WrongDevice } from './wrong-device.ts'

const FEATURES = 0x010
const STATUS = 0x070
const CONFIG = 0x100

/** The register reads this. */
function reads(
  id: string,
  what: string,
  offset: number,
  change: (value: number, device: WrongDevice) => number,
): Mistake {
  return { id, what, read: (at, value, device) => (at === offset ? change(value, device) : value) }
}

/** A write to the register has this happen after it. */
function afterWrite(
  id: string,
  what: string,
  offset: number,
  act: (device: WrongDevice, value: number) => void,
): Mistake {
  return { id, what, after: (at, value, device) => (at === offset ? act(device, value) : undefined) }
}

/** The word of DeviceFeatures reads this. */
function offers(id: string, what: string, word: number, change: (bits: number) => number): Mistake {
  return reads(id, what, FEATURES, (bits, device) => {
    return (device.written.get(0x014) ?? 0) === word ? change(bits) >>> 0 : bits
  })
}

/** It is live as soon as its queue is ready. */
function liveTooEarly(id: string): Mistake {
  return {
    id,
    what: 'it serves its queue before DRIVER_OK',
    after: (offset, value, device) => {
      if (offset === 0x044 && value === 1) device.inner.mmioWrite(STATUS, 4, 0x0f)
    },
    read: (offset, value, device) => (offset === STATUS ? (device.written.get(STATUS) ?? 0) : value),
  }
}

/** Once asked to, and only then. */
const resets = (device: WrongDevice): boolean => device.written.get(STATUS) === 0

export const WRONG_REGISTERS: readonly Mistake[] = [
  reads('status.init.1', 'Status is 1 at power-on', STATUS, (value, device) => (device.written.size === 0 ? 1 : value)),
  liveTooEarly('status.1'),
  liveTooEarly('status.2'),
  reads('status.3', 'it never shows DEVICE_NEEDS_RESET', STATUS, (value) => value & ~0x40),
  reads('status.4', 'it never shows the configuration event', 0x060, (value) => value & ~2),
  reads('reset.1', 'Status stays 4 after a reset of a broken device', STATUS, (value, device) => {
    if (value & 0x40) device.count = 1
    return value === 0 && device.count === 1 ? 4 : value
  }),
  {
    id: 'reset.2',
    what: 'late completions interrupt after a reset',
    target: ({ release }, device) => ({
      release: () => {
        release?.()
        device.interrupts++
      },
    }),
  },
  {
    id: 'reset.3',
    what: 'late completions go into the used ring after a reset',
    target: ({ release }, device) => ({
      release: () => {
        release?.()
        device.mem.setU16(device.used + 2, 8)
      },
    }),
  },
  {
    id: 'live.1',
    what: 'a queue stays set up through a reset',
    after: (offset, value, device) => {
      if (offset === STATUS && value === 0x0f) device.count++
      if (offset !== 0x050 || device.count < 2) return
      const idx = device.mem.u16(device.avail + 2) - 1
      const head = device.mem.u16(device.avail + 4 + 2 * (idx % device.size))
      device.mem.setU8(device.statusAt(head), 0)
    },
  },
  offers('feat.1', 'CONFIG_WCE is offered without FLUSH', 0, (bits) => (bits & ~(1 << 9)) | (1 << 11)),
  {
    id: 'feat.2',
    what: 'it refuses drivers that take EVENT_IDX without FLUSH',
    write: (offset, value, device) => {
      const bits = device.count
      if (offset === 0x020 && device.written.get(0x024) === 0) device.count = value
      return offset === STATUS && value === 0x0b && bits & (1 << 29) && !(bits & (1 << 9)) ? undefined : value
    },
  },
  {
    id: 'feat.3',
    what: 'bits that it does not offer are dropped silently',
    write: (offset, value) => (offset === 0x020 ? (value & 0x20000246) >>> 0 || (value & 1) : value),
  },
  offers('feat.4', 'bit 41 (ADMIN_VQ) is offered', 1, (bits) => bits | (1 << 9)),
  {
    id: 'feat.5',
    what: 'it refuses the same features the sixtieth time',
    write: (offset, value, device) => {
      return offset === STATUS && value === 0x0b && ++device.count >= 60 ? undefined : value
    },
  },
  {
    id: 'feat.sem.1',
    what: 'EVENT_IDX written after FEATURES_OK counts',
    after: (offset, value, device) => {
      if (offset === 0x020 && value & (1 << 29) && device.status & 8) device.count = 1
      if (offset === 0x050 && device.count === 1) device.interrupts = -1
    },
  },
  offers('rsv.1', 'VERSION_1 is not offered', 1, (bits) => bits & ~1),
  reads('rsv.2', 'Status is 7 without VERSION_1', STATUS, (value) => (value === 3 ? 7 : value)),
  offers('rsv.8', 'SR_IOV is offered', 1, (bits) => bits | (1 << 5)),
  offers('mmio.rsv.1', 'ADMIN_VQ is offered', 1, (bits) => bits | (1 << 9)),
  {
    id: 'rsv.ring.1',
    what: 'EVENT_IDX breaks reads',
    after: (offset, _, device) => {
      if (offset === 0x020 && device.written.get(0x024) === 0) device.count = device.written.get(0x020) ?? 0
      if (offset !== 0x050 || !(device.count & (1 << 29))) return
      for (const { id } of device.newElements()) device.mem.setU8(device.statusAt(id), 1)
    },
  },
  reads('mmio.status.1', 'FEATURES_OK does not read back', STATUS, (value) => (value === 0x0b ? 3 : value)),

  reads('mmio.magic.1', 'MagicValue is another', 0x000, () => 0x74726977),
  reads('mmio.version.1', 'Version is 1', 0x004, () => 1),
  reads('mmio.device-id.1', 'DeviceID is 1', 0x008, () => 1),
  reads('blk.id.1', 'DeviceID is 0 until it is live', 0x008, (value, device) => (device.status & 4 ? value : 0)),
  reads('mmio.vendor-id.1', 'VendorID changes with Status', 0x00c, (_, device) => device.status),
  reads('mmio.endian.1', 'MagicValue is big-endian', 0x000, () => 0x76697274),
  reads('mmio.device-features.1', 'words above 1 repeat word 1', FEATURES, (bits, device) => {
    return (device.written.get(0x014) ?? 0) > 1 ? 1 : bits
  }),
  {
    id: 'mmio.driver-features.1',
    what: 'a second write of a word does not replace the first',
    write: (offset, value, device) => {
      if (offset === STATUS && value === 0) device.count = 0
      if (offset !== 0x020) return value
      if (device.written.get(0x024) === 0) device.count = (device.count | value) >>> 0
      return device.written.get(0x024) === 0 ? device.count : value
    },
  },
  {
    id: 'mmio.queue-sel.1',
    what: 'QueueSel is ignored for QueueReady',
    write: (offset, value, device) => {
      if (offset === 0x044) device.inner.mmioWrite(0x030, 4, 0)
      return value
    },
  },
  reads('mmio.queue-size-max.1', 'queues that do not exist have a size', 0x034, (value) => value || 8),
  {
    id: 'mmio.queue-size.1',
    what: 'QueueSize is ignored',
    write: (offset, value) => (offset === 0x038 ? undefined : value),
  },
  {
    id: 'mmio.queue-ready.1',
    what: 'the addresses are enough for a queue to be live',
    write: (offset, value, device) => {
      if (offset === 0x0a4) device.count = 1
      if (offset === STATUS && value === 0x0f && device.count === 1) device.inner.mmioWrite(0x044, 4, 1)
      return value
    },
  },
  reads('mmio.queue-ready.2', 'QueueReady stays 1', 0x044, (value, device) => {
    return device.written.get(0x044) === 0 ? 1 : value
  }),
  reads('mmio.reset.2', 'QueueReady stays 1 through a reset', 0x044, (value, device) => (resets(device) ? 1 : value)),
  {
    id: 'mmio.queue-notify.1',
    what: 'a kick goes to the queue that QueueSel names',
    write: (offset, value, device) => (offset === 0x050 ? (device.written.get(0x030) ?? 0) : value),
  },
  {
    id: 'mmio.queue-notify.2',
    what: 'kicks of queue 0 are taken for kicks of queue 1',
    write: (offset, value) => (offset === 0x050 ? value + 1 : value),
  },
  {
    id: 'mmio.queue-addr.1',
    what: 'the high halves of the addresses are ignored',
    write: (offset, value) => ([0x084, 0x094, 0x0a4].includes(offset) ? 0 : value),
  },
  reads('mmio.shm.1', 'SHMLen reads 0', 0x0b0, () => 0),
  reads('shm.1', 'SHMBase reads 0', 0x0bc, () => 0),

  {
    id: 'mmio.interrupt-status.1',
    what: 'reading InterruptStatus clears it',
    read: (offset, value, device) => {
      if (offset === 0x060) device.inner.mmioWrite(0x064, 4, value)
      return value
    },
  },
  reads('mmio.interrupt-status.2', 'bit 1 comes with bit 0', 0x060, (value) => (value & 1 ? 3 : value)),
  {
    id: 'mmio.interrupt-ack.1',
    what: 'any acknowledgement clears both bits',
    write: (offset, value) => (offset === 0x064 ? 3 : value),
  },
  reads('mmio.reset.1', 'InterruptStatus survives a reset', 0x060, (value, device) => {
    device.count |= value
    return resets(device) ? device.count : value
  }),
  {
    id: 'mmio.irq.1',
    what: 'an acknowledgement asserts the line once more',
    after: (offset, _, device) => {
      if (offset === 0x064) device.interrupts++
    },
  },

  {
    id: 'cfg.1',
    what: 'capacity is 0 until FEATURES_OK',
    read: (offset, value, device) => (offset >= CONFIG && offset < CONFIG + 8 && !(device.status & 8) ? 0 : value),
  },
  {
    id: 'cfg.2',
    what: 'seg_max is 0 until FEATURES_OK',
    read: (offset, value, device) => (offset === CONFIG + 12 && !(device.status & 8) ? 0 : value),
  },
  {
    id: 'cfg.le.1',
    what: 'capacity is big-endian',
    read: (offset, value, device, width) => {
      if (offset < CONFIG || offset >= CONFIG + 8 || width !== 1) return value
      return device.inner.mmioRead(CONFIG + 7 - (offset - CONFIG), 1)
    },
  },
  reads('cfg.gen.1', 'ConfigGeneration stands still', 0x0fc, () => 7),
  reads('mmio.config-generation.1', 'ConfigGeneration stands still', 0x0fc, () => 7),
  reads('mmio.config-generation.2', 'ConfigGeneration moves with every read', 0x0fc, (_, device) => device.count++),
  reads('cfgchg.1', 'a change of capacity is not announced', 0x060, (value) => value & ~2),
  {
    id: 'blk.op.capacity.1',
    what: 'capacity keeps its first value',
    read: (offset, value, device) => {
      if (offset !== CONFIG) return value
      device.count ||= value
      return device.count
    },
  },
  reads('blk.op.capacity.2', 'a change of capacity is not announced', 0x060, (value) => value & ~2),
  {
    id: 'mmio.config.1',
    what: '8-bit reads give the first byte of the word',
    read: (offset, value, device, width) => {
      return offset >= CONFIG && width === 1 ? device.inner.mmioRead(offset & ~3, 1) : value
    },
  },
  reads('blk.cfg.capacity.1', 'capacity counts blocks', CONFIG, (value) => value / 8),
  reads('blk.cfg.fields.1', 'seg_max is another', CONFIG + 12, (value) => value + 1),
  reads('blk.cfg.size-max.1', 'size_max is twice what is served', CONFIG + 8, (value) => 2 * value),
  reads('blk.cfg.seg-max.1', 'seg_max is one more than what is served', CONFIG + 12, (value) => value + 1),
  reads('blk.init.1', 'FLUSH is not offered', FEATURES, (value) => value & ~(1 << 9)),
  reads('blk.init.4', 'unused0 is 1', CONFIG + 33, () => 1),
  reads('blk.init.5', 'unused1 is not 0', CONFIG + 58, () => 0xff),
]
