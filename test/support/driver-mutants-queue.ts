// The wrong devices of driver-mutants.ts for the rows about virtqueues and block requests.

import { type Mutant, registers } from './mutant.ts'

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
export const QUEUE_MUTANTS: Readonly<Record<string, Mutant>> = { ...RING_MUTANTS, ...BLOCK_MUTANTS }
