// Bounds that a hostile guest leans on: memory held for a slow back end, timers that are set anew, a device that ends
// in the middle of a call, and the edges of the engine's tables. Found by review and by mutants that no test noticed.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, each, serves, setUp } from '../support/device.ts'
import { LateBackend, setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device bounds')

const MIB = 1 << 20

each(test, 'device rule 20: interrupts acknowledged during a stall -> do not put its end off', async (f) => {
  const { raw, device } = await setUp(f, { realTime: true, device: { throttle: { iops: 4 } } })
  const { queue } = raw.negotiate()
  queue.submit(...Array.from({ length: 5 }, () => queue.request({ type: 4 }).head))
  assert.is(queue.usedIdx, 4)
  const acknowledging = setInterval(() => raw.reg.interruptAck(3), 20)
  try {
    assert.ok(await raw.until(() => queue.usedIdx === 5, 10_000), 'the stalled request is still waiting')
  } finally {
    clearInterval(acknowledging)
    await device.close()
  }
})

each(
  test,
  'past bug 10 (CVE-2016-5403): gigabytes described with one MiB -> private copies stay bounded',
  async (f) => {
    let late: LateBackend | undefined
    let held = 0
    let most = 0
    const counting = (disk: MemoryBackend): BlockBackend => {
      late = new LateBackend(disk)
      const inner = late
      const hold = async (buffers: Uint8Array[], answer: Promise<number>): Promise<number> => {
        const bytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0)
        held += bytes
        most = Math.max(most, held)
        return answer.finally(() => {
          held -= bytes
        })
      }
      return {
        capacityBytes: inner.capacityBytes,
        read: (offset, into) => hold(into, inner.read(offset, into)),
        write: (offset, from) => hold(from, inner.write(offset, from)),
        flush: () => inner.flush(),
      }
    }
    const fixture = await setUp(f, { backend: counting, diskBytes: 16 * MIB, regions: [{ gpa: 0, bytes: 4 * MIB }] })
    const { queue } = fixture.raw.negotiate({ queues: [{ size: 256 }] })
    const addr = 2 * MIB
    // 16 reads of 12 MiB, every MiB of them the same one.
    const requests = Array.from({ length: 16 }, () => {
      const layout = Array.from({ length: 12 }, () => writable(MIB, { addr }))
      return queue.request({ type: 0, sector: 0, layout: [readable(16), ...layout, writable(1)] })
    })
    queue.submit(...requests.map(({ head }) => head))
    for (let i = 0; i < 40 && queue.usedIdx < 16; i++) {
      late?.finishAll()
      await settle()
    }
    assert.is(queue.usedIdx, 16)
    assert.ok(most <= 64 * MIB, `${most / MIB} MiB were held at a time`)
    for (const request of requests) assert.is(request.status(), 0)
  },
)

each(
  test,
  'device rule 8: far more buffers than segMax -> IOERR, and the request in the next slot is whole',
  async (f) => {
    const { fixture, backend: late } = await setUpLate(f, {
      device: { queueSizeMax: 64, segMax: 4 },
    })
    const { queue } = fixture.raw.negotiate({ queues: [{ size: 64 }] })
    const first = queue.request({ type: 0, sector: 1, dataIn: 512 })
    const second = queue.request({ type: 0, sector: 2, dataIn: 512 })
    queue.submit(first.head, second.head)
    late?.pending[0]?.finish()
    await settle()
    answered(first, 0, 513)
    // Takes the slot that the first one left, in front of the second one's.
    const layout = Array.from({ length: 50 }, () => writable(8))
    const hostile = queue.run({ type: 0, sector: 3, layout: [readable(16), ...layout, writable(1)] })
    answered(hostile, 1, 0)
    late?.finishAll()
    await settle()
    answered(second, 0, 513)
    assert.equal(second.data(), fixture.disk.bytes.slice(1024, 1536))
  },
)

each(test, 'close: from inside a back end -> no guest byte changes any more', async (f) => {
  let device: VirtioBlk | undefined
  const closing = (disk: MemoryBackend): BlockBackend => ({
    inPlace: true,
    capacityBytes: disk.capacityBytes,
    read: () => {
      void device?.close()
      return 0
    },
    write: (offset, from) => disk.write(offset, from),
    flush: () => {},
  })
  const fixture = await setUp(f, { backend: closing })
  device = fixture.device
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, dataIn: 512 })
  assert.ok(read.untouched())
  assert.is(queue.usedIdx, 0)
  device.setCapacity(1 << 20)
  assert.is(fixture.interrupts, 0)
})

each(test, 'device rule 3: queue registers of queues that do not exist -> change nothing', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  raw.negotiate({ upTo: 'featuresOk' })
  for (const selector of [1, 2, 64, 0xffff, 0xffff_ffff]) {
    raw.reg.selectQueue(selector)
    for (const offset of [0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0x44]) raw.reg.write(offset, 0xffff_fffc)
    assert.is(raw.reg.queueReady, 0)
    assert.is(raw.reg.queueSizeMax, 0)
  }
  serves(fixture)
})

each(test, 'device rule 3: a queue stopped with a read in flight -> its end changes no guest byte', async (f) => {
  const { fixture, backend: late } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate({ eventIdx: true })
  const read = queue.run({ type: 0, dataIn: 512 })
  fixture.raw.reg.selectQueue(0)
  fixture.raw.reg.queueReady = 0
  queue.availEvent = 0x5555
  queue.usedFlags = 0x3333
  late?.finishAll()
  await settle()
  assert.ok(read.untouched())
  assert.is(queue.availEvent, 0x5555)
  assert.is(queue.usedFlags, 0x3333)
})

each(
  test,
  'device rule 6: a second session over a ring full of old values -> flags and avail_event anew',
  async (f) => {
    const { raw } = await setUp(f)
    raw.negotiate({ eventIdx: true }).queue.run({ type: 4 })
    const { queue } = raw.negotiate({ eventIdx: true, upTo: 'queues' })
    queue.availEvent = 0x7777
    queue.usedFlags = 1
    raw.reg.status = 0x0f
    assert.is(queue.availEvent, 0)
    assert.is(queue.usedFlags, 0)
    answered(queue.run({ type: 4 }), 0, 1)
  },
)

each(test, 'device rule 6: feature selectors and words -> as new after a reset', async (f) => {
  const fixture = await setUp(f)
  const { raw } = fixture
  raw.negotiate({ upTo: 'driver' })
  raw.reg.write(0x24, 2)
  raw.reg.write(0x20, 1)
  raw.reg.status = 0x0b
  assert.is(raw.reg.status, 0x03, 'word 2 is refused')
  raw.reg.status = 0
  raw.reg.status = 1
  raw.reg.status = 3
  raw.reg.write(0x20, 0x246)
  raw.reg.write(0x24, 1)
  raw.reg.write(0x20, 1)
  raw.reg.status = 0x0b
  assert.is(raw.reg.status, 0x0b, 'the first word was written without selecting it')
})

each(
  test,
  'device rule 8: order fault behind an unmapped buffer, unknown type -> IOERR, for a comes first',
  async (f) => {
    const { raw } = await setUp(f)
    const { queue } = raw.negotiate()
    const header = raw.arena.alloc(16)
    raw.mem.setU32(header, 99)
    const status = raw.arena.alloc(16)
    const head = queue.chain([
      { addr: header, len: 16 },
      { addr: 0x7fff_0000, len: 512, writable: true },
      { addr: header, len: 8 },
      { addr: status, len: 1, writable: true },
    ])
    raw.mem.setU8(status, 0xee)
    queue.submit(head)
    assert.is(raw.mem.u8(status), 1)
  },
)

test.run()
