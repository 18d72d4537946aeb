// Devices that answer bad drivers otherwise than ours, and are right too: the standard leaves it open, and the class
// of the row allows it. The conformance kit must not call them wrong.

import type { Patch } from './typescript-target.ts'

interface Variant {
  readonly id: string
  /** how it answers */
  readonly about: string
  readonly patches: readonly Patch[]
}

const SHORT_ID: readonly Patch[] = [
  ['chain', 'this.inBytes < spec.VIRTIO_BLK_ID_BYTES', 'this.inBytes === 0'],
  ['device', '#writeId({ ptrs, lens }', '#writeId({ ptrs, lens, pieces }'],
  ['device', 'done < this.#id.length; i++', 'i < pieces && done < this.#id.length; i++'],
  ['device', 'request.inBytes === this.#id.length ? 21 : 20', 'Math.min(request.inBytes, 20)'],
]
const LIMITS = 'if (len > limits.sizeMax || this.#dataDescs > limits.segMax)'

export const DRIVER_VARIANTS: readonly Variant[] = [
  {
    id: 'drv.status.3',
    about: 'FAILED changes nothing',
    patches: [['transport', '(this.status & (BROKEN |', '(this.status & (spec.VIRTIO_CONFIG_S_NEEDS_RESET |']],
  },
  {
    id: 'drv.init.1',
    about: 'several status bits in one write are taken',
    patches: [
      [
        'transport',
        'const allowed =\n',
        'const order = (value & 8) === 0 ? (value & 4) === 0 : (status & 8) !== 0 || this.#featuresAreAcceptable()\n' +
          '    const allowed = ((added & ~0x0f) === 0 && order) ||\n',
      ],
    ],
  },
  {
    id: 'drv.mmio.15',
    about: 'any value but 0 makes a queue ready',
    patches: [['transport', 'if (value !== 1) {', 'if (value === 0) {']],
  },
  {
    id: 'drv.frame.1',
    about: 'readable after writable breaks the queue',
    patches: [['chain', 'if (lastLen !== 0) this.#malformed = true', 'if (lastLen !== 0) return CHAIN_BROKEN']],
  },
  {
    id: 'drv.desc.4',
    about: 'data outside guest RAM breaks the queue',
    patches: [['chain', 'return CHAIN_OK', 'return this.#unmapped ? CHAIN_BROKEN : CHAIN_OK']],
  },
  {
    id: 'drv.avail.3',
    about: 'a head that is offered twice is served twice',
    patches: [['device', 'if (head >= size || this.#inFlight[head] === 1)', 'if (head >= size)']],
  },
  {
    id: 'drv.blk.op.4',
    about: 'data of a flush is ignored',
    patches: [
      ['chain', 'if (bytes !== 0) return ANSWER_IOERR\n', '\n'],
      [
        'device',
        'else this.#finish(request, spec.VIRTIO_BLK_S_OK, 1,',
        'else this.#finish(request, spec.VIRTIO_BLK_S_OK, request.inBytes === 0 ? 1 : 0,',
      ],
    ],
  },
  {
    id: 'drv.blk.op.5',
    about: 'a request without data is done at once',
    patches: [['chain', 'if (bytes === 0 || (out', 'if ((out']],
  },
  { id: 'drv.blk.op.7', about: 'a short buffer gets the start of the id', patches: SHORT_ID },
  { id: 'drv.used.1', about: 'a short buffer gets the start of the id', patches: SHORT_ID },
  {
    id: 'drv.blk.op.18',
    about: 'its own caps are twice what it says',
    patches: [
      ['chain', LIMITS, 'if (len > 2 * limits.sizeMax || this.#dataDescs > 2 * limits.segMax)'],
      ['device', 'const piecesMax = options.segMax', 'const piecesMax = 2 * options.segMax'],
    ],
  },
]
