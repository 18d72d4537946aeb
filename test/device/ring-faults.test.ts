// Ring faults poison the queue: the ring itself is broken, or there is no byte to put a status in. NEEDS_RESET,
// CONFIG, one counter (or two), requests taken earlier in the drain are published, nothing else is consumed until
// reset, and the used ring never advances for a request without a status byte (device rules 7 to 10).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ChainLink, RawQueue } from '../../host/driver/raw-queue.ts'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, type Fixture, serves, setUp, unanswered } from '../support/device.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device ring faults')

const SIZE = 16

interface Fault {
  about: string
  /** makes one broken chain, returns its head */
  head: (queue: RawQueue) => number
  /** the status byte could not be written */
  status?: boolean
}

const FAULT_COUNTERS = ['invalidAvailIdx', 'ringFaults', 'statusWriteFailures', 'ioErrors', 'unsupported'] as const

/**
 * A good read, the broken chain, another good read, in one drain: the first is published, the others are not
 * consumed, and of guest memory only the first read's bytes and the used ring change. Then a reset heals.
 */
async function poisons(fixture: Fixture, { about, head, status = false }: Fault): Promise<void> {
  const { raw, device } = fixture
  const { queue } = raw.negotiate({ queues: [{ size: SIZE }] })
  const interrupts = fixture.interrupts
  const before = queue.request({ type: 0, sector: 1, dataIn: 512, indices: [0, 1, 2] })
  const after = queue.request({ type: 0, sector: 2, dataIn: 512, indices: [3, 4, 5] })
  queue.nextDesc = 6
  const broken = head(queue)
  queue.publish(before.head, broken, after.head)
  const gain = fixture.gained(FAULT_COUNTERS, () => queue.kick())
  const faults = status ? 1 : 0
  const expected = { invalidAvailIdx: 0, ringFaults: 1, statusWriteFailures: faults, ioErrors: 0, unsupported: 0 }
  assert.equal(gain, expected, about)
  answered(before, 0, 513, `${about}: request before`)
  assert.equal(before.data(), diskBytes(512, 512))
  unanswered(after, `${about}: request after`)
  assert.is(queue.usedIdx, 1, `${about}: used.idx`)
  assert.equal([raw.reg.status, raw.reg.interruptStatus & 2], [0x4f, 2], about)
  const told = fixture.interrupts - interrupts
  assert.ok(told === 1 || told === 2, `${about}: one interrupt for the fault, at most one for the request before it`)
  // Until reset nothing happens, and nothing is counted or raised again.
  const ram = fixture.ram()
  const again = fixture.gained(FAULT_COUNTERS, () => {
    queue.kick()
    device.poll()
  })
  await settle()
  const nothing = { invalidAvailIdx: 0, ringFaults: 0, statusWriteFailures: 0, ioErrors: 0, unsupported: 0 }
  assert.equal(again, nothing, `${about}: again`)
  assert.ok(ram.equals(fixture.ram()), `${about}: guest memory changed after the fault`)
  assert.is(fixture.interrupts - interrupts, told, `${about}: interrupted again`)
  serves(fixture)
}

/** A chain of these links at descriptors 6.. */
const chain =
  (...links: ChainLink[]) =>
  (queue: RawQueue): number =>
    queue.chain(links)

const HEADER = { addr: 0x70000, len: 16 }
const DATA = { addr: 0x71000, len: 512, writable: true }
const STATUS = { addr: 0x72000, len: 1, writable: true }

const HEADS: readonly Fault[] = [SIZE, SIZE + 1, 255, 256, 0x7fff, 0x8000, 0xffff].map((head) => ({
  about: `head ${head}`,
  head: () => head,
}))

const NEXTS: readonly Fault[] = [SIZE, SIZE + 1, 256, 0x8000, 0xffff].flatMap((next) => [
  { about: `next ${next} in the head`, head: chain({ ...HEADER, flags: 1, next }) },
  { about: `next ${next} in the last`, head: chain(HEADER, DATA, { ...STATUS, flags: 3, next }) },
  { about: `next ${next} after an empty one`, head: chain(HEADER, { addr: 0, len: 0, flags: 1, next }) },
])

/** A loop of so many descriptors behind others; chains of these tests start at descriptor 6. */
function loop(before: number, length: number): Fault {
  const links = Array.from({ length: before + length }, (_, i) => (i === 0 ? HEADER : STATUS))
  const last = before + length - 1
  links[last] = Object.assign({}, links[last], { flags: last === 0 ? 1 : 3, next: 6 + before })
  return { about: `loop of ${length} behind ${before}`, head: chain(...links) }
}

const NO_STATUS: readonly Fault[] = [
  { about: 'header only', head: chain(HEADER), status: true },
  { about: 'readable only', head: chain(HEADER, { addr: 0x71000, len: 512 }, { addr: 0x72000, len: 1 }), status: true },
  { about: 'empty descriptor', head: chain({ addr: 0, len: 0 }), status: true },
  {
    about: 'empty writable descriptors only',
    head: chain(HEADER, { ...DATA, len: 0 }, { ...STATUS, len: 0 }),
    status: true,
  },
]

const OUTSIDE = [1 << 20, 0x8000_0000, 0xc000_1000, 2 ** 32, 0x1_0007_2000, 1n << 63n, (1n << 64n) - 1n]
const LOST_STATUS: readonly Fault[] = [
  ...OUTSIDE.map((addr) => ({ about: `status at ${addr}`, head: chain(HEADER, DATA, { ...STATUS, addr }) })),
  {
    about: 'data and status that run out of RAM',
    head: chain(HEADER, { addr: (1 << 20) - 512, len: 513, writable: true }),
  },
  { about: 'status past 2^64', head: chain(HEADER, { addr: (1n << 64n) - 512n, len: 600, writable: true }) },
  { about: 'status of 4 GiB', head: chain(HEADER, { addr: 0x72000, len: 0xffffffff, writable: true }) },
  { about: 'short header and lost status', head: chain({ ...HEADER, len: 4 }, { ...STATUS, addr: 1 << 20 }) },
].map((fault) => ({ ...fault, status: true }))

const INDIRECT: readonly Fault[] = [0, 8, 16, 17, 48, 4096, 0xffffffff].flatMap((len) => [
  { about: `indirect table of ${len}`, head: chain({ addr: 0x73000, len, flags: 4 }) },
  { about: `indirect with WRITE, ${len}`, head: chain({ addr: 0x73000, len, flags: 6 }) },
  { about: `indirect with NEXT, ${len}`, head: chain({ addr: 0x73000, len, flags: 5, next: 7 }, STATUS) },
  { about: `indirect behind the header, ${len}`, head: chain(HEADER, { addr: 0x73000, len, flags: 4 }) },
  { about: `indirect in place of the status, ${len}`, head: chain(HEADER, DATA, { ...STATUS, len, flags: 6 }) },
])

const groups: readonly [string, readonly Fault[]][] = [
  ['head >= size', HEADS],
  ['next >= size', NEXTS],
  ['loop', [loop(0, 1), loop(0, 2), loop(1, 1), loop(2, 3), loop(0, 9), loop(1, 8)]],
  ['no writable byte', NO_STATUS],
  ['last writable byte not in RAM', LOST_STATUS],
  ['INDIRECT, which is not offered', INDIRECT],
]

for (const [subject, faults] of groups) {
  each(test, `device rule 8: ring fault: ${subject} -> poisoned, earlier requests published`, async (f) => {
    const fixture = await setUp(f)
    for (const fault of faults) await poisons(fixture, fault)
  })
}

each(test, 'device rule 8: ring fault: loops over the whole ring -> poisoned, bounded', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  for (const size of [1, 2, 4, 256]) {
    for (const length of new Set([1, Math.max(1, size - 1), size])) {
      for (const back of new Set([0, length - 1])) {
        const { queue } = raw.negotiate({ queues: [{ size }] })
        const links = Array.from({ length }, (_, i) => (i === 0 ? HEADER : STATUS))
        queue.chain(links, { head: 0 })
        queue.setDescriptor(length - 1, { ...queue.descriptor(length - 1), flags: 3, next: back })
        const gain = fixture.gained(['ringFaults', 'drains'], () => queue.submit(0))
        assert.equal(gain, { ringFaults: 1, drains: 1 }, `${length} of ${size} back to ${back}`)
        assert.equal([raw.reg.status, queue.usedIdx], [0x4f, 0])
      }
    }
  }
  serves(fixture)
})

each(test, 'device rule 8: ring fault: avail.idx too far ahead -> invalidAvailIdx, nothing consumed', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  for (const size of [1, 2, 16, 256]) {
    for (const ahead of [size + 1, size + 2, 0x7fff, 0x8000, 0xfffe, 0xffff]) {
      const { queue } = raw.negotiate({ queues: [{ size }] })
      const { interrupts } = fixture
      queue.setAvailIdx(ahead)
      const gain = fixture.gained(FAULT_COUNTERS, () => queue.kick())
      const expected = { invalidAvailIdx: 1, ringFaults: 0, statusWriteFailures: 0, ioErrors: 0, unsupported: 0 }
      assert.equal(gain, expected, `${ahead} ahead of ${size}`)
      assert.equal([raw.reg.status, raw.reg.interruptStatus, queue.usedIdx], [0x4f, 2, 0])
      assert.is(fixture.interrupts, interrupts + 1)
    }
  }
  serves(fixture)
})

each(
  test,
  'device rule 8: ring fault: avail.idx too far ahead after some requests -> measured from the cursor',
  async (f) => {
    const fixture = await setUp(f)
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: 4 }] })
    for (let i = 0; i < 10; i++) queue.run({ type: 4 })
    queue.setAvailIdx(9)
    queue.kick()
    assert.equal([raw.reg.status, fixture.counter('invalidAvailIdx'), queue.usedIdx], [0x4f, 1, 10])
  },
)

each(test, 'device rule 8: ring full: avail.idx exactly the size ahead -> all served', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate({ queues: [{ size: 4 }] })
  // Four chains of one writable byte each: no header, so IOERR, but they fill the ring.
  const single = Array.from({ length: 4 }, (_, i) => queue.chain([{ ...STATUS, addr: 0x72000 + i }], { head: i }))
  queue.submit(...single)
  assert.equal([raw.reg.status, queue.usedIdx], [0x0f, 4])
  assert.equal(raw.mem.bytes(0x72000, 4), Uint8Array.of(1, 1, 1, 1))
})

each(test, 'device rule 8: ring fault: head in flight at a late back end -> poisoned, one execution', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const { queue } = raw.negotiate()
  const read = queue.run({ type: 0, sector: 1, dataIn: 512 })
  const gain = fixture.gained(FAULT_COUNTERS, () => queue.submit(read.head))
  const expected = { invalidAvailIdx: 0, ringFaults: 1, statusWriteFailures: 0, ioErrors: 0, unsupported: 0 }
  assert.equal([gain, raw.reg.status, backend?.calls], [expected, 0x4f, ['read 512+512']])
  backend?.finishAll()
  await settle()
  assert.ok(queue.usedIdx <= 1)
  raw.negotiate().queue.run({ type: 4 })
  backend?.finishAll()
  await settle()
  assert.equal([raw.reg.status, raw.reg.interruptStatus], [0x0f, 1])
})

each(test, 'device rule 8: head returned: offered again after its used element -> served', async (f) => {
  const { raw } = await setUp(f)
  const { queue } = raw.negotiate({ queues: [{ size: 4 }] })
  const flush = queue.request({ type: 4, head: 2 })
  for (let i = 1; i <= 50; i++) {
    raw.mem.setU8(Number(flush.statusAddr), 0xe5)
    queue.submit(2)
    assert.equal([flush.status(), queue.usedIdx, raw.reg.status], [0, i, 0x0f])
  }
})

each(
  test,
  'device rule 8: ring fault: in a hole, behind a border -> status must be in RAM, borders do not matter',
  async (f) => {
    const fixture = await setUp(f, {
      regions: [
        { gpa: 0, bytes: 0x80000 },
        { gpa: 0x80000, bytes: 0x1000 },
        { gpa: 0x90000, bytes: 0x1000 },
      ],
    })
    const { raw } = fixture
    for (const [addr, bytes] of [
      [0x7ffff, 2],
      [0x80fff, 1],
      [0x90000, 1],
    ] as const) {
      const { queue } = raw.negotiate()
      const layout =
        bytes === 2 ? [readable(16), writable(513, { addr: 0x80001 - 513 })] : [readable(16), writable(512)]
      if (bytes === 1) layout.push(writable(1, { addr }))
      answered(queue.run({ type: 0, layout }), 0, 513, `status at ${addr}`)
    }
    for (const addr of [0x81000, 0x8ffff, 0x91000]) {
      const { queue } = raw.negotiate()
      const read = queue.run({ type: 0, layout: [readable(16), writable(512), writable(1, { addr })] })
      assert.equal([raw.reg.status, queue.usedIdx, read.used()], [0x4f, 0, undefined], `status at ${addr}`)
      assert.ok(read.data().every((byte) => byte === 0xe5))
    }
    // Data that spans the hole, with the status byte in RAM behind it, is a request fault, not a ring fault.
    const { queue } = raw.negotiate()
    const spanning = queue.run({ type: 0, layout: [readable(16), writable(0, { addr: 0x80fff, len: 0xf002 })] })
    assert.equal([raw.reg.status, queue.usedElement(0)], [0x0f, { id: spanning.head, len: 0 }])
    assert.is(raw.mem.u8(0x90000), 1)
  },
)

test.run()
