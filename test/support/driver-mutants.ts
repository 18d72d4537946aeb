// Devices that are wrong on purpose, one for each driver row that the conformance kit checks: a line of the plain
// TypeScript device changed, or its registers wrapped, so that it falls for a driver that breaks just that rule. What
// is wrong is what devices really got wrong: a mask, a missing comparison, a field read twice, a stale index.
//
// Expected results are not here: the check of the row must fail (driver-mutants.test.ts).

import type { MmioBus } from '../../host/driver/types.ts'
import type { Patch, Wrap } from './typescript-target.ts'

export interface Mutant {
  /** what is wrong with it */
  readonly about: string
  readonly patches?: readonly Patch[]
  readonly wrap?: Wrap
}

type Read = (offset: number, width: number) => number
type Write = (offset: number, width: number, value: number) => void

/** Wraps the registers: `make` gives, per device, a read and a write that may use those of the device. */
function registers(make: (bus: MmioBus) => { read?: Read; write?: Write }): Wrap {
  return (target) => {
    const { mmio } = target
    const { read, write } = make(mmio)
    const bus: MmioBus = {
      mmioRead: (offset, width) => (read ? read(offset, width) : mmio.mmioRead(offset, width)),
      mmioWrite: (offset, width, value) => (write ? write(offset, width, value) : mmio.mmioWrite(offset, width, value)),
    }
    // The target's methods are those of its class: only `mmio` is another.
    return new Proxy(target, {
      get: (of, name) => {
        if (name === 'mmio') return bus
        const value: unknown = Reflect.get(of, name)
        return typeof value === 'function' ? value.bind(of) : value
      },
    })
  }
}

/** Reads back what was last written, for the offsets that match. */
function echo(matches: (offset: number) => boolean): Wrap {
  return registers((bus) => {
    const written = new Map<number, number>()
    return {
      read: (offset, width) => written.get(offset) ?? bus.mmioRead(offset, width),
      write: (offset, width, value) => {
        if (matches(offset)) written.set(offset, value)
        bus.mmioWrite(offset, width, value)
      },
    }
  })
}

const ALLOW_DRIVER_OK = '(added === spec.VIRTIO_CONFIG_S_DRIVER_OK && status === CONFIGURABLE)'
const QUEUE_GATE = 'return (this.status & gate) === CONFIGURABLE && this.#queueSel === 0'
const LIVE = 'return (this.status & (BROKEN | spec.VIRTIO_CONFIG_S_DRIVER_OK)) === spec.VIRTIO_CONFIG_S_DRIVER_OK'
const CLEARS = 'if ((status & ~value) !== 0) return EFFECT_NONE'
const ACCEPTABLE = 'return subset && this.#driverFeatures[1] === 1'
const SUBSET = '(word & ~(offered[i] as number)) === 0'
const ALIGNED = 'return this.low % align === 0 && ram.contains(this.gpa, bytes)'
const END_OF_LOOP = 'return CHAIN_BROKEN\n  }\n\n  #addReadable'
const SERVES_WHAT_IT_HAS = END_OF_LOOP.replace(
  'return CHAIN_BROKEN',
  [
    'this.statusPtr = ram.translate(lastGpa + lastLen - 1, 1)',
    'this.#malformed = false',
    'this.outBytes = 0',
    'this.inBytes = 512',
    'this.pieces = 1',
    'return lastLen === 0 ? CHAIN_NO_STATUS : CHAIN_OK',
  ].join('\n'),
)
const LIMITS = 'if (len > limits.sizeMax || this.#dataDescs > limits.segMax) this.#malformed = true'
const TAKE = 'const count = Math.min(pending, max, this.#freeSlots.length)'
const PENDING = 'const pending = (availIdx - queue.nextAvail) & MASK16'
const TOO_FAR = 'if (pending > size) return this.#poison(C.invalidAvailIdx)'
const BAD_HEAD = 'if (head >= size || this.#inFlight[head] === 1) return this.#poison(C.ringFaults)'
const DEFAULT_TYPE = 'default:\n        return ANSWER_UNSUPP'
const FAILED_LEN = 'request.inBytes === 0 ? 1 : 0'
const STALE = 'if (request.generation !== this.#generation) {\n      this.#free(request)\n      return 0\n    }'
const FLUSH_DATA = 'if (bytes !== 0) return ANSWER_IOERR\n'
const RANGE = 'if (bytes / spec.VIRTIO_BLK_SECTOR_BYTES > capacitySectors - sector) return ANSWER_IOERR'
const SHORT_HEADER = ' || this.#headerBytes < spec.VIRTIO_BLK_REQ_HEADER_BYTES'
const READY = 'if (this.queue.ready) this.queue.frozen = true'

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

const RING_MUTANTS: Readonly<Record<string, Mutant>> = {
  'drv.vq.1': {
    about: 'misaligned rings are rounded down',
    patches: [['transport', ALIGNED, 'return ram.contains(this.gpa, bytes)']],
  },
  'drv.vq.2': {
    about: 'the high half of ring addresses is dropped',
    patches: [['transport', 'this.gpa = this.low + this.high * HIGH', 'this.gpa = this.low + this.high * 0 * HIGH']],
  },
  'drv.frame.1': {
    about: 'readable after writable is sorted out in silence',
    patches: [['chain', 'if (lastLen !== 0) this.#malformed = true', '']],
  },
  'drv.frame.2': {
    about: 'what does not fit into the list of pieces is forgotten',
    patches: [['chain', LIMITS, '']],
  },
  'drv.desc.1': {
    about: 'a loop is served as far as it went',
    patches: [['chain', END_OF_LOOP, SERVES_WHAT_IT_HAS]],
  },
  'drv.desc.3': {
    about: 'next is masked',
    patches: [['chain', 'if (index >= size) return CHAIN_BROKEN', 'index &= size - 1']],
  },
  'drv.desc.4': {
    about: 'data outside guest RAM is left out',
    patches: [['chain', 'this.#unmapped = true', '']],
  },
  'drv.desc.5': {
    about: 'a descriptor of no bytes can be the status',
    patches: [['chain', 'if (len !== 0) {', 'if (len >= 0) {']],
  },
  'drv.desc.6': {
    about: 'the address of the status byte is read again at the end',
    patches: [
      [
        'device',
        'u8[request.statusPtr] = status',
        'const third = (queue.desc.ptr + 16 * ((request.head + 2) % queue.size)) >>> 2\n u8[this.#ram.translate(u32[third], 1)] = status',
      ],
    ],
  },
  'drv.indir.1': {
    about: 'INDIRECT is not looked at',
    patches: [['chain', 'if ((flagsAndNext & spec.VIRTQ_DESC_F_INDIRECT) !== 0) return CHAIN_BROKEN', '']],
  },
  'drv.indir.3': {
    about: 'a chain is cut after eight descriptors, and served as far as it went',
    patches: [
      ['chain', 'let budget = size', 'let budget = Math.min(size, 8)'],
      ['chain', END_OF_LOOP, SERVES_WHAT_IT_HAS],
    ],
  },
  'drv.avail.1': {
    about: 'avail.idx that went backwards counts as nothing new',
    patches: [['device', TOO_FAR, `if (pending > 0x7fff) return 0\n ${TOO_FAR}`]],
  },
  'drv.avail.2': {
    about: 'avail.idx that is too far ahead is clamped',
    patches: [['device', PENDING, 'const pending = Math.min((availIdx - queue.nextAvail) & MASK16, size)']],
  },
  'drv.avail.3': {
    about: 'a head that is in flight is skipped',
    patches: [
      [
        'device',
        BAD_HEAD,
        [
          'if (head >= size) return this.#poison(C.ringFaults)',
          'if (this.#inFlight[head] === 1) {',
          'queue.nextAvail = (queue.nextAvail + 1) & MASK16',
          'continue',
          '}',
        ].join('\n'),
      ],
    ],
  },
  'drv.updidx.1': {
    about: 'a chain without a writable byte has its status at address 0',
    patches: [
      [
        'chain',
        'if (lastLen === 0) return CHAIN_NO_STATUS',
        'if (lastLen === 0) {\n this.statusPtr = ram.translate(0, 1)\n return CHAIN_OK\n }',
      ],
    ],
  },
  'drv.cleanup.1': {
    about: 'used.id is read from the available ring at the end',
    patches: [
      [
        'device',
        '>>> 2] = request.head',
        '>>> 2] = this.#load16(queue.avail, 4 + 2 * (queue.nextUsed & (queue.size - 1)))',
      ],
    ],
  },
  'drv.cleanup.2': {
    about: 'requests of before a reset end after it',
    patches: [['device', STALE, '']],
  },
  'drv.usednot.1': {
    about: 'any flag suppresses interrupts',
    patches: [['device', ' & spec.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0', ') === 0']],
  },
  'drv.usednot.2': {
    about: 'NO_INTERRUPT counts with EVENT_IDX too',
    patches: [
      [
        'device',
        'const usedEvent = ',
        'if ((this.#load16(avail, spec.VIRTQ_AVAIL_FLAGS) & 1) === 1) return false\n    const usedEvent = ',
      ],
    ],
  },
  'drv.usednot.3': {
    about: 'used_event is one off',
    patches: [['device', '((nextUsed - usedEvent - 1) & MASK16)', '((nextUsed - usedEvent) & MASK16)']],
  },
  'drv.used.1': {
    about: 'a failed request claims all of its buffers',
    patches: [['device', FAILED_LEN, 'request.inBytes + 1']],
  },
  'drv.availnot.1': {
    about: 'used.idx starts with what is in memory',
    patches: [
      [
        'transport',
        READY,
        `${READY}\n    if (this.queue.ready) this.queue.nextUsed = this.#ram.u16[(this.queue.used.ptr >>> 1) + 1]`,
      ],
    ],
  },
  'drv.availnot.2': {
    about: 'one kick, one request',
    patches: [['device', TAKE, 'const count = Math.min(pending, eventIdx ? max : 1)']],
  },
  'drv.availnot.3': {
    about: 'gives up after ten thousand kicks',
    patches: [
      [
        'device',
        'this.#count(C.kicks, 1)',
        'this.#count(C.kicks, 1)\n        if (this.#counters[C.kicks] > 10000) this.#transport.status |= 0x40',
      ],
    ],
  },
  'drv.availnot.4': {
    about: 'one kick, one request, with EVENT_IDX',
    patches: [['device', TAKE, 'const count = Math.min(pending, eventIdx ? 1 : max)']],
  },
  'drv.notify.1': {
    about: 'kicks are not wanted again after a drain',
    patches: [['device', 'if (!eventIdx || !queue.flagged) this.#store16', 'if (!queue.flagged) this.#store16']],
  },
}

const BLOCK_MUTANTS: Readonly<Record<string, Mutant>> = {
  'drv.blk.init.1': {
    about: 'a reset drops what was not flushed',
    wrap: (target, disk) => {
      const dropping = registers((bus) => ({
        write: (offset, width, value) => {
          if (offset === 0x070 && value === 0) disk.volatile.set(disk.stable)
          bus.mmioWrite(offset, width, value)
        },
      }))
      return dropping(target, disk)
    },
  },
  'drv.blk.op.1': { about: 'only the first sector is compared', patches: [['chain', RANGE, '']] },
  'drv.blk.op.2': {
    about: 'a driver that declines RO may write',
    patches: [['chain', 'if (out && limits.readOnly) return ANSWER_IOERR', '']],
  },
  'drv.blk.op.3': {
    about: 'a flush must have sector 0',
    patches: [['chain', FLUSH_DATA, 'if (bytes !== 0 || sector !== 0) return ANSWER_IOERR\n']],
  },
  'drv.blk.op.4': { about: 'a flush with data-in claims a byte of it', patches: [['chain', FLUSH_DATA, '\n']] },
  'drv.blk.op.5': {
    about: 'the length need not be whole sectors',
    patches: [['chain', 'if ((bytes & (blockSize - 1)) !== 0) return ANSWER_IOERR', '']],
  },
  'drv.blk.op.6': {
    about: 'discards always succeed',
    patches: [['chain', DEFAULT_TYPE, `case 11:\n case 13:\n case 14:\n return ANSWER_FLUSHED\n ${DEFAULT_TYPE}`]],
  },
  'drv.blk.op.7': {
    about: 'the id is 20 bytes, whatever the buffer holds',
    patches: [
      ['chain', 'this.inBytes < spec.VIRTIO_BLK_ID_BYTES', 'this.inBytes === 0'],
      ['device', 'this.#id.subarray(done, done + (lens[i] as number))', 'lens[i] && this.#id.subarray(done)'],
    ],
  },
  'drv.blk.op.14': {
    about: 'a header that is too short is filled with zeros',
    patches: [['chain', SHORT_HEADER, '']],
  },
  'drv.blk.op.15': {
    about: 'a write takes its data from writable descriptors too',
    patches: [['chain', '(out ? this.inBytes : this.outBytes) !== 0 || ', '']],
  },
  'drv.blk.op.17': {
    about: 'the upper bit of the type is masked',
    patches: [['chain', 'switch (type) {', 'switch (type & 0x7fffffff) {']],
  },
  'drv.blk.op.18': {
    about: 'a request beyond the limits is fatal',
    patches: [
      ['chain', LIMITS, LIMITS.replace('#malformed', 'fatal')],
      ['chain', 'this.#malformed = false', 'this.fatal = false\n    this.#malformed = false'],
      ['chain', 'return CHAIN_OK', 'return this.fatal ? CHAIN_BROKEN : CHAIN_OK'],
    ],
  },
  'drv.blk.op.19': {
    about: 'requests are compared with the first capacity',
    patches: [
      ['device', 'request.judge(this.#transport.capacitySectors,', 'request.judge(this.#options.capacityBytes / 512,'],
    ],
  },
}

/** By the id of the row whose check must fail. */
export const DRIVER_MUTANTS: Readonly<Record<string, Mutant>> = {
  ...STATUS_MUTANTS,
  ...REGISTER_MUTANTS,
  ...RING_MUTANTS,
  ...BLOCK_MUTANTS,
}
