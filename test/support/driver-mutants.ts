// Devices that are wrong on purpose, one for each driver row that the conformance kit checks: a line of the plain
// TypeScript device changed, or its registers wrapped, so that it falls for a driver that breaks just that rule. What
// is wrong is what devices really got wrong: a mask, a missing comparison, a field read twice, a stale index.
//
// Expected results are not here: the check of the row must fail (driver-mutants.test.ts).

import { QUEUE_MUTANTS } from './driver-mutants-queue.ts'
import { echo, type Mutant, registers } from './mutant.ts'

const ALLOW_DRIVER_OK = '(added === spec.VIRTIO_CONFIG_S_DRIVER_OK && status === CONFIGURABLE)'
const QUEUE_GATE = 'return (this.status & gate) === CONFIGURABLE && this.#queueSel === 0'
const LIVE = 'return (this.status & (BROKEN | spec.VIRTIO_CONFIG_S_DRIVER_OK)) === spec.VIRTIO_CONFIG_S_DRIVER_OK'
const CLEARS = 'if ((status & ~value) !== 0) return EFFECT_NONE'
const ACCEPTABLE = 'return subset && this.#driverFeatures[1] === 1'
const SUBSET = '(word & ~(offered[i] as number)) === 0'

const STATUS_MUTANTS: Readonly<Record<string, Mutant>> = {
  'drv.status.1': {
    about: 'DRIVER_OK makes it live, whatever came before',
    patches: [
      ['transport', ALLOW_DRIVER_OK, '(added & spec.VIRTIO_CONFIG_S_DRIVER_OK) !== 0'],
      ['transport', QUEUE_GATE, 'return gate !== 0 && this.#queueSel === 0'],
    ],
  },
  'drv.status.2': {
    about: 'Status takes bits back',
    patches: [['transport', CLEARS, 'if ((status & ~value) !== 0) {\n this.status = value\n return EFFECT_NONE\n }']],
  },
  'drv.status.3': {
    about: 'FAILED goes away without a reset',
    patches: [['transport', CLEARS, `if ((status & 0x80) !== 0) this.status = value\n ${CLEARS}`]],
  },
  'drv.status.4': {
    about: 'goes on although it has asked for a reset',
    patches: [['transport', LIVE, LIVE.replace('BROKEN', 'spec.VIRTIO_CONFIG_S_FAILED')]],
  },
  'drv.status.5': {
    about: 'the driver can set NEEDS_RESET',
    patches: [['transport', 'const added = (value', 'this.status |= value & 0x40\n    const added = (value']],
  },
  'drv.feat.1': {
    about: 'features that are not offered are masked in silence',
    patches: [['transport', SUBSET, 'word >= 0 && offered.length > i']],
  },
  'drv.feat.2': {
    about: 'one feature is enough for FEATURES_OK',
    patches: [['transport', ACCEPTABLE, 'return subset && this.#driverFeatures.some((word) => word !== 0)']],
  },
  'drv.feat.3': {
    about: 'feature words 2 and 3 are not looked at',
    patches: [['transport', 'this.#driverFeaturesSel < 4', 'this.#driverFeaturesSel < 2']],
  },
  'drv.feat.4': {
    about: 'no reset after FAILED',
    patches: [['transport', 'return value === 0 ?', 'return value === 0 && (this.status & 0x80) === 0 ?']],
  },
  'drv.reset.1': {
    about: 'used.idx survives a reset',
    patches: [
      [
        'transport',
        'this.queue = new Queue(this.#queueSizeMax)',
        'const was = this.queue.nextUsed\n    this.queue = new Queue(this.#queueSizeMax)\n    this.queue.nextUsed = was\n',
      ],
    ],
  },
  'drv.init.1': {
    about: 'Status and QueueReady read what was written, whatever came of it',
    wrap: echo((offset) => offset === 0x070 || offset === 0x044),
  },
  'drv.init.2': { about: 'config space is memory', wrap: echo((offset) => offset >= 0x100) },
  'drv.init.3': {
    about: 'DriverFeatures is open at any time',
    patches: [['transport', '(this.status & CONFIGURABLE) === DRIVER && ', '']],
  },
  'drv.init.4': {
    about: 'DRIVER_OK works without FEATURES_OK',
    patches: [
      [
        'transport',
        ALLOW_DRIVER_OK,
        '((added & spec.VIRTIO_CONFIG_S_DRIVER_OK) !== 0 && (status & DRIVER) === DRIVER)',
      ],
      ['transport', QUEUE_GATE, 'return gate !== 0 && this.#queueSel === 0'],
    ],
  },
  'drv.init.5': {
    about: 'serves from FEATURES_OK on',
    patches: [['transport', LIVE, LIVE.replaceAll('DRIVER_OK', 'FEATURES_OK')]],
  },
  'drv.rsv.1': {
    about: 'VERSION_1 may be declined',
    patches: [['transport', ACCEPTABLE, 'return subset']],
  },
  'drv.rsv.2': {
    about: 'the high half of buffer addresses is dropped',
    patches: [['chain', ' + (u32[word + 1] as number) * HIGH', '']],
  },
  'drv.rsv.4': {
    about: 'SR_IOV is let through',
    patches: [
      ['transport', SUBSET, '(word & ~(offered[i] as number) & ~0x20) === 0'],
      ['transport', ACCEPTABLE, 'return subset && ((this.#driverFeatures[1] as number) & 1) === 1'],
    ],
  },
}

const REGISTER_MUTANTS: Readonly<Record<string, Mutant>> = {
  'drv.cfg.1': {
    about: 'what is behind the structure changes from read to read',
    wrap: registers((bus) => {
      let reads = 0
      return { read: (offset, width) => (offset >= 0x160 ? ++reads & 0xff : bus.mmioRead(offset, width)) }
    }),
  },
  'drv.cfg.2': {
    about: 'ConfigGeneration does not change with the capacity',
    patches: [['device', 'this.#transport.configGeneration += 1', '']],
  },
  'drv.mmio.1': { about: 'the legacy QueuePFN is memory', wrap: echo((offset) => offset === 0x040) },
  'drv.mmio.2': {
    about: 'InterruptStatus can be written',
    patches: [['transport', 'case spec.VIRTIO_MMIO_INTERRUPT_ACK:', 'case 0x60:\n case 0x64:']],
  },
  'drv.mmio.3': {
    about: 'a read of InterruptACK acknowledges',
    patches: [
      [
        'transport',
        'case spec.VIRTIO_MMIO_INTERRUPT_STATUS:',
        'case 0x64:\n this.interruptStatus = 0\n return 0\n case 0x60:',
      ],
    ],
  },
  'drv.mmio.4': {
    about: 'a narrow write counts as one of four bytes',
    wrap: registers((bus) => ({
      write: (offset, _width, value) => bus.mmioWrite(offset < 0x100 ? offset & ~3 : offset, 4, value),
    })),
  },
  'drv.mmio.5': {
    about: 'a narrow read of config space gives the low bytes of the word',
    wrap: registers((bus) => ({
      read: (offset, width) =>
        offset < 0x100 || width === 4 ? bus.mmioRead(offset, width) : bus.mmioRead(offset & ~3, 4) % 2 ** (8 * width),
    })),
  },
  'drv.mmio.6': {
    about: 'DeviceFeaturesSel survives a reset',
    patches: [['transport', 'this.#deviceFeaturesSel = 0', '']],
  },
  'drv.mmio.7': {
    about: 'DriverFeaturesSel survives a reset',
    patches: [['transport', 'this.#driverFeaturesSel = 0', '']],
  },
  'drv.mmio.8': {
    about: 'QueueSize keeps 16 bits',
    patches: [['transport', 'queue.size = value', 'queue.size = value & 0xffff']],
  },
  'drv.mmio.9': {
    about: 'QueueSize can be changed while the queue is ready',
    patches: [['transport', ' || queue.frozen', '']],
  },
  'drv.mmio.10': {
    about: 'QueueReady reads 0, and the queue goes on',
    wrap: registers((bus) => {
      let stopped = false
      return {
        read: (offset, width) => (offset === 0x044 && stopped ? 0 : bus.mmioRead(offset, width)),
        write: (offset, width, value) => {
          if (offset === 0x070 && value === 0) stopped = false
          if (offset === 0x044 && value === 0) stopped = true
          else bus.mmioWrite(offset, width, value)
        },
      }
    }),
  },
  'drv.mmio.11': {
    about: 'InterruptACK toggles',
    patches: [['transport', 'this.interruptStatus &= ~value', 'this.interruptStatus ^= value']],
  },
  'drv.mmio.13': {
    about: 'QueueSel keeps 16 bits',
    patches: [['transport', 'this.#queueSel = value', 'this.#queueSel = value & 0xffff']],
  },
  'drv.mmio.14': {
    about: 'QueueNotify keeps 16 bits',
    patches: [['transport', 'return value === 0 && this.isLive', 'return (value & 0xffff) === 0 && this.isLive']],
  },
  'drv.mmio.15': { about: 'QueueReady reads what was written', wrap: echo((offset) => offset === 0x044) },
  'drv.mminit.2': {
    about: 'the shared memory registers read 0',
    patches: [['transport', 'return ALL_ONES', 'return 0 * ALL_ONES']],
  },
  'drv.mmirq.1': {
    about: 'one acknowledgement per completion is due',
    wrap: (target, disk) => {
      let acks = 0
      const counted = registers((bus) => ({
        write: (offset, width, value) => {
          if (offset === 0x070 && value === 0) acks = target.interrupts?.() ?? 0
          if (offset !== 0x064 || ++acks >= (target.interrupts?.() ?? 0)) bus.mmioWrite(offset, width, value)
        },
      }))
      return counted(target, disk)
    },
  },
}

/** By the id of the row whose check must fail. */
export const DRIVER_MUTANTS: Readonly<Record<string, Mutant>> = {
  ...STATUS_MUTANTS,
  ...REGISTER_MUTANTS,
  ...QUEUE_MUTANTS,
}
