// Bugs that devices of this kind have had, rows 30 and 45 of the list: partners that give less than they were asked
// for, and a hostile driver that tries everything the standard forbids, one thing at a time. For each of those the
// answer is typed in: which status byte, or NEEDS_RESET; and the device is never wedged by it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { type Piece, readable, writable } from '../../host/driver/raw-request.ts'
import { answered, each, type Fixture, pattern, serves, setUp } from '../support/device.ts'
import { FaultyBackend, type Step } from '../support/faulty-backend.ts'

const test = suite('device past bugs 30 and 45')

const H = readable(16)
const S = writable(1)
/** outside the 1 MiB of RAM */
const NOWHERE = 0x200000

each(test, 'past bug 30 (CVE-2023-41051): back end that moves less than asked -> never taken for more', async (f) => {
  let backend: FaultyBackend | undefined
  const { raw, disk, device } = await setUp(f, {
    backend: (inner) => {
      backend = new FaultyBackend(inner)
      return backend
    },
  })
  const { queue } = raw.negotiate()
  const first = disk.bytes.slice(0, 1024)
  const read = (...steps: Step[]) => {
    backend?.script.read.push(...steps)
    return queue.run({ type: 0, dataIn: 1024, segments: 342 })
  }
  // In pieces: all of it, in the right places.
  for (const steps of [[{ short: 1 }], [{ short: 511 }, { short: 1 }], [{ short: 342 }, { short: 1 }]]) {
    const request = read(...steps)
    answered(request, 0, 1025, JSON.stringify(steps))
    assert.equal(request.data(), first)
  }
  // It stops for good: what is missing is zero, never what lay there.
  for (const short of [0, 1, 511, 1023]) {
    const request = short === 0 ? read({ short }) : read({ short }, { short: 0 })
    answered(request, 0, 1025, `${short} bytes`)
    assert.equal(request.data(), Uint8Array.from([...first.slice(0, short), ...new Uint8Array(1024 - short)]))
  }
  assert.is(device.counters.shortReads, 4)
  // It claims to have moved more than it was asked for, or what is no number.
  for (const answer of [1025, 2 ** 32, 2 ** 53, -1, 0.5, Number.NaN, undefined, '1024']) {
    answered(read({ answer }), 1, 0, `${String(answer)}`)
  }
  backend?.script.write.push({ short: 100 }, { short: 0 })
  answered(queue.run({ type: 1, dataOut: pattern(1024) }), 1, 1, 'write that stops')
})

each(test, 'past bug 30 (CVE-2023-41051): memory that is less than was promised -> refused at once', async (f) => {
  const memory = f.memory({ ramBytes: 1 << 20, stateBytes: 1 << 20 }).memory
  const bytes = memory.buffer.byteLength
  const adopt = (region: number, at: number): GuestMemory =>
    GuestMemory.adopt({ memory, regions: [{ gpa: 0, bytes: region, ptr: 2 << 20 }], allocate: () => at })
  assert.throws(() => adopt(bytes, 0), /past the linear memory/)
  const backend = new MemoryBackend(4096)
  for (const at of [0, bytes, bytes - 64, 2 << 20, (3 << 20) - 64, 64.5, Number.NaN]) {
    const message = await VirtioBlk.create({ memory: adopt(1 << 20, at), backend, engine: f.engine }).then(
      () => 'accepted',
      (error: Error) => error.message,
    )
    assert.match(message, /allocate\(\d+\) gave/, `state at ${at}`)
  }
})

type Verdict = 'ok' | 'IOERR' | 'UNSUPP' | 'NEEDS_RESET' | 'nothing'

/** What a hostile driver offers or writes, and what it gets. */
type Vector = readonly [about: string, verdict: Verdict, does: (queue: RawQueue, fixture: Fixture) => void]

function request(type: number, layout: Piece[], sector: number | bigint = 0): Vector[2] {
  return (queue) => void queue.submit(queue.request({ type, sector: BigInt(sector), layout }).head)
}

function links(...chain: Parameters<RawQueue['chain']>[0]): Vector[2] {
  return (queue) => void queue.submit(queue.chain(chain, { head: 0 }))
}

const header = { addr: 0x80000, len: 16 }
const status = { addr: 0x81000, len: 1, writable: true }

const VECTORS: readonly Vector[] = [
  // The ring.
  ['head beyond the queue', 'NEEDS_RESET', (queue) => queue.submit(16)],
  ['head of 65535', 'NEEDS_RESET', (queue) => queue.submit(0xffff)],
  ['available index one queue too far', 'NEEDS_RESET', (queue) => spoilIdx(queue, 17)],
  ['available index one behind', 'NEEDS_RESET', (queue) => spoilIdx(queue, 0xffff)],
  ['available index unchanged', 'nothing', (queue) => queue.kick()],
  ['next beyond the queue', 'NEEDS_RESET', links({ ...header, flags: 1, next: 16 }, status)],
  ['a chain that loops', 'NEEDS_RESET', links(header, { ...status, flags: 3, next: 1 })],
  ['an indirect table, not negotiated', 'NEEDS_RESET', links({ ...header, flags: 4 })],
  ['an indirect table with NEXT', 'NEEDS_RESET', links({ ...header, flags: 5, next: 1 }, status)],
  ['unknown descriptor flags', 'ok', links({ ...header, flags: 0xfff9, next: 1 }, { ...status, flags: 0xfffa })],
  // The chain.
  ['nothing writable', 'NEEDS_RESET', request(4, [H])],
  ['nothing at all', 'NEEDS_RESET', links({ addr: 0, len: 0 })],
  ['a status of length zero', 'NEEDS_RESET', request(4, [H, writable(0)])],
  ['a status outside RAM', 'NEEDS_RESET', request(4, [H, writable(0, { addr: NOWHERE, len: 1 })])],
  ['a status at the end of the address space', 'NEEDS_RESET', links(header, { ...status, addr: 2n ** 64n - 1n })],
  ['no header', 'IOERR', request(4, [writable(16), S])],
  ['a header of 15 bytes', 'IOERR', request(4, [readable(15), S])],
  ['a header outside RAM', 'IOERR', request(4, [readable(0, { addr: NOWHERE, len: 16 }), S])],
  ['a header behind the status', 'IOERR', request(4, [S, H, S])],
  // The request.
  ['a read without data', 'IOERR', request(0, [H, S])],
  ['a write without data', 'IOERR', request(1, [H, S])],
  ['a read into readable memory', 'IOERR', request(0, [H, readable(512), S])],
  ['a write from writable memory', 'IOERR', request(1, [H, writable(512), S])],
  ['data of 513 bytes', 'IOERR', request(0, [H, writable(513), S])],
  ['data of 4 GiB', 'IOERR', request(0, [H, writable(0, { addr: 0x80000, len: 0xfffffe00 }), S])],
  ['data outside RAM', 'IOERR', request(0, [H, writable(0, { addr: NOWHERE, len: 512 }), S])],
  ['data past the end of RAM', 'IOERR', request(0, [H, writable(0, { addr: 0xfff00, len: 512 }), S])],
  ['a read past the last sector', 'IOERR', request(0, [H, writable(512), S], 2048)],
  ['a read across the last sector', 'IOERR', request(0, [H, writable(1024), S], 2047)],
  ['a sector whose byte offset overflows', 'IOERR', request(0, [H, writable(512), S], 2n ** 55n)],
  ['the last sector there can be', 'IOERR', request(1, [H, readable(512), S], 2n ** 64n - 1n)],
  ['a flush with data', 'IOERR', request(4, [H, writable(512), S])],
  ['an id buffer of 19 bytes', 'IOERR', request(8, [H, writable(19), S])],
  ['a SCSI command', 'UNSUPP', request(2, [H, writable(512), S])],
  ['a discard, not offered', 'UNSUPP', request(11, [H, readable(16), S])],
  ['a write zeroes, not offered', 'UNSUPP', request(13, [H, readable(16), S])],
  ['a secure erase, not offered', 'UNSUPP', request(14, [H, readable(16), S])],
  ['type 0xFFFFFFFF', 'UNSUPP', request(0xffffffff, [H, S])],
  // Registers, of a live device: nothing happens, and it goes on.
  ['a kick of a queue that is not there', 'nothing', (queue) => queue.kick(7)],
  ['bits of Status taken back', 'nothing', (_, { raw }) => raw.reg.write(0x070, 3)],
  ['features changed after FEATURES_OK', 'nothing', (_, { raw }) => raw.reg.write(0x020, 0xffffffff)],
  ['queue size and addresses rewritten', 'nothing', (_, { raw }) => rewrite(raw)],
  ['config space written', 'nothing', (_, { raw }) => raw.reg.setConfig(0, 0xffffffff, 4)],
]

function spoilIdx(queue: RawQueue, idx: number): void {
  queue.setAvailIdx(queue.nextAvail + idx)
  queue.kick()
}

function rewrite(raw: Fixture['raw']): void {
  for (const offset of [0x038, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4]) raw.reg.write(offset, 0xffff_fff1)
}

function verdictOf({ raw, counter }: Fixture, queue: RawQueue, act: () => void, count: typeof counter): Verdict {
  const names = ['ioErrors', 'unsupported', 'flushesCompleted'] as const
  const before = names.map((name) => count(name))
  act()
  if (raw.reg.status === 0x4f) return 'NEEDS_RESET'
  assert.is(raw.reg.status, 0x0f)
  const gained = names.findIndex((name, i) => count(name) !== before[i])
  assert.is(queue.usedIdx, gained < 0 ? 0 : 1)
  return (['IOERR', 'UNSUPP', 'ok'] as const)[gained] ?? 'nothing'
}

each(
  test,
  'past bug 45 (OpenVMM 4045 to 4049): all that a hostile driver tries -> its answer, never a wedge',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, disk } = fixture
    const before = disk.bytes.slice()
    for (const [about, verdict, does] of VECTORS) {
      const { queue } = raw.negotiate({ queues: [{ size: 16 }] })
      raw.mem.fill(header.addr, 16, 0)
      raw.mem.write(header.addr, Uint8Array.of(4))
      const interrupts = fixture.interrupts
      const got = verdictOf(
        fixture,
        queue,
        () => does(queue, fixture),
        (name) => fixture.counter(name),
      )
      assert.is(got, verdict, about)
      assert.is(fixture.interrupts - interrupts, verdict === 'nothing' ? 0 : 1, `${about}: interrupts`)
      assert.is(raw.reg.interruptStatus, { nothing: 0, NEEDS_RESET: 2 }[verdict as string] ?? 1, about)
      // What is alive serves the next request without further ado; what is not is silent, until the reset heals it.
      const next = queue.request({ type: 4 })
      if (verdict === 'NEEDS_RESET') {
        queue.submit(next.head)
        assert.is(queue.usedIdx, 0, `${about}: served although it needs a reset`)
      } else {
        queue.submit(next.head)
        assert.is(next.status(), 0, `${about}: the request behind it`)
      }
      serves(fixture)
    }
    assert.equal([disk.bytes, fixture.counter('engineTraps')], [before, 0])
  },
)

test.run()
