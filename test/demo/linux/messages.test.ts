// What the worker with the guest takes for an order: everything else is refused with what is wrong with it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Order, parseOrder } from '../../../host/demo/linux/messages.ts'

const test = suite('linux orders')

const START = { kind: 'start', id: 1, base: 'http://x/linux/', storage: 'opfs', rows: 24, columns: 80 } as const

test('orders: each kind, as the page sends it -> itself', () => {
  const orders: Order[] = [
    START,
    { kind: 'input', bytes: Uint8Array.of(3) },
    { kind: 'shown', bytes: 0 },
    { kind: 'limits', id: 2, limits: {} },
    { kind: 'limits', id: 2, limits: { iops: 10n, iopsBurst: 20 } },
    { kind: 'record', id: 3 },
    { kind: 'trace', id: 4, recording: 1 },
    { kind: 'import', id: 5, file: new File(['x'], 'x') },
    { kind: 'export', id: 6 },
    { kind: 'fresh', id: 7 },
  ]
  for (const order of orders) assert.is(parseOrder(order), order)
})

test('orders: what is none -> refused, with the reason', () => {
  const wrong: [unknown, RegExp][] = [
    [null, /no object/],
    ['start', /no object/],
    [{}, /no id/],
    [{ kind: 'start', id: -1 }, /no id/],
    [{ kind: 'format', id: 1 }, /the kind "format"/],
    [{ kind: 'input', bytes: 'ls' }, /no bytes/],
    [{ kind: 'input', bytes: new Uint8Array((1 << 20) + 1) }, /too many/],
    [{ kind: 'shown', bytes: -1 }, /how many bytes/],
    [{ ...START, base: 'javascript:alert(1)' }, /base/],
    [{ ...START, storage: 'disk' }, /storage/],
    [{ ...START, rows: 0 }, /terminal size/],
    [{ ...START, columns: 1.5 }, /terminal size/],
    [{ kind: 'limits', id: 1 }, /no limits/],
    [{ kind: 'limits', id: 1, limits: { iops: 0 } }, /iops must be a positive integer/],
    [{ kind: 'limits', id: 1, limits: { speed: 1 } }, /speed is not one of/],
    [{ kind: 'trace', id: 1, recording: 0 }, /no recording/],
    [{ kind: 'import', id: 1, file: 'disk.img' }, /no file/],
  ]
  for (const [data, message] of wrong) assert.throws(() => parseOrder(data), message)
})

test.run()
