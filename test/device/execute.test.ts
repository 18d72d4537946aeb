// What a good request does (device rules 11 to 15): one vectored read or write, retries, short counts and zero-fill,
// durability, used lengths, GET_ID, and back ends that throw or answer nonsense. Late back ends: late.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { readable, writable } from '../../host/driver/raw-request.ts'
import { answered, diskBytes, each, type Fixture, pattern, type SetUpOptions, setUp } from '../support/device.ts'
import type { Flavour } from '../support/engines.ts'
import { FaultyBackend, repeat, type Script, type Step } from '../support/faulty-backend.ts'

const test = suite('device execute')

async function scripted(
  flavour: Flavour,
  script: Script,
  options: SetUpOptions = {},
): Promise<{ fixture: Fixture; backend: FaultyBackend }> {
  let backend: FaultyBackend | undefined
  const fixture = await setUp(flavour, {
    ...options,
    backend: (disk) => {
      backend = new FaultyBackend(disk, script)
      return backend
    },
  })
  assert.ok(backend)
  return { fixture, backend }
}

const offsets = (backend: FaultyBackend): string[] =>
  backend.calls.map(({ operation, offset, bytes }) =>
    operation === 'flush' ? 'flush' : `${operation} ${offset}+${bytes}`,
  )

each(test, 'device rule 11: IN: data in five descriptors -> one vectored read into guest RAM itself', async (f) => {
  const seen: { offset: number; lengths: number[]; own: boolean }[] = []
  const fixture = await setUp(f, {
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: (offset, into) => {
        seen.push({
          offset,
          lengths: into.map((buffer) => buffer.length),
          own: into.every((buffer) => buffer.buffer === fixture.memory.memory.buffer),
        })
        return disk.read(offset, into)
      },
      write: () => 0,
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, sector: 6, dataIn: 2048, segments: [100, 412, 512, 1000, 24] })
  answered(read, 0, 2049)
  assert.equal(read.data(), diskBytes(3072, 2048))
  assert.equal(seen, [{ offset: 3072, lengths: [100, 412, 512, 1000, 24], own: true }])
  assert.equal([fixture.counter('readsCompleted'), fixture.counter('bytesRead')], [1, 2048])
})

each(test, 'device rule 11: buffers: back end without inPlace -> private copies', async (f) => {
  const kept: Uint8Array[] = []
  const fixture = await setUp(f, {
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      read: (offset, into) => {
        kept.push(...into)
        return disk.read(offset, into)
      },
      write: (offset, from) => {
        kept.push(...from)
        return disk.write(offset, from)
      },
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  const data = pattern(1024)
  const read = queue.run({ type: 0, sector: 1, dataIn: 1024, segments: 300 })
  answered(read, 0, 1025)
  assert.equal(read.data(), diskBytes(512, 1024))
  answered(queue.run({ type: 1, sector: 4, dataOut: data, segments: 300 }), 0, 1)
  assert.equal(fixture.disk.bytes.slice(2048, 3072), data)
  assert.ok(kept.length > 0 && kept.every((buffer) => buffer.buffer !== fixture.memory.memory.buffer))
  // What it does to its buffers later reaches nobody.
  const before = fixture.ram()
  for (const buffer of kept) buffer.fill(0)
  assert.ok(before.equals(fixture.ram()))
})

for (const [operation, type] of [
  ['read', 0],
  ['write', 1],
] as const) {
  each(test, `device rule 11: EINTR: 16 times from ${operation} -> retried; 17 times -> IOERR`, async (f) => {
    for (const [times, status, usedLen] of [
      [16, 0, type === 0 ? 513 : 1],
      [17, 1, type === 0 ? 0 : 1],
    ] as const) {
      const { fixture, backend } = await scripted(f, { [operation]: repeat(times, { fail: 'EINTR' }) })
      const { queue } = fixture.raw.negotiate()
      const options = type === 0 ? { type, dataIn: 512 } : { type, dataOut: pattern(512) }
      answered(queue.run(options), status, usedLen, `${times} times`)
      assert.is(backend.calls.length, 17)
      // The next request starts anew.
      answered(queue.run(options), 0, type === 0 ? 513 : 1)
    }
  })
}

each(test, 'device rule 11: EINTR: flush, 16 and 17 times -> OK and IOERR', async (f) => {
  const { fixture, backend } = await scripted(f, {
    flush: [...repeat(16, { fail: 'EINTR' }), 'ok', ...repeat(17, { fail: 'EINTR' })],
  })
  const { queue } = fixture.raw.negotiate()
  answered(queue.run({ type: 4 }), 0, 1)
  answered(queue.run({ type: 4 }), 1, 1)
  assert.is(backend.calls.length, 34)
})

each(test, 'device rule 11: short read: continued at the new offset -> whole data, no shortReads', async (f) => {
  const short = [1, 99, 512, 300].map((bytes): Step => ({ short: bytes }))
  const { fixture, backend } = await scripted(f, { read: short })
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, sector: 2, dataIn: 1024, segments: [50, 450, 524] })
  answered(read, 0, 1025)
  assert.equal(read.data(), diskBytes(1024, 1024))
  const calls = ['read 1024+1024', 'read 1025+1023', 'read 1124+924', 'read 1636+412', 'read 1936+112']
  assert.equal([offsets(backend), fixture.counter('shortReads')], [calls, 0])
})

each(test, 'device rule 11: short read: then 0 -> missing bytes are zero, shortReads +1, status OK', async (f) => {
  for (const [first, kept] of [
    [{ short: 700 }, 700],
    [{ short: 512 }, 512],
    [{ short: 1 }, 1],
    [{ answer: 0 }, 0],
  ] as const) {
    const { fixture } = await scripted(f, { read: [first, { answer: 0 }] })
    const { queue } = fixture.raw.negotiate()
    const read = queue.run({ type: 0, sector: 2, dataIn: 1024, segments: [500, 300, 224] })
    answered(read, 0, 1025, `${kept} bytes`)
    assert.equal(read.data(), Uint8Array.of(...diskBytes(1024, kept), ...new Uint8Array(1024 - kept)))
    const { readsCompleted, shortReads, ioErrors } = fixture.device.counters
    assert.equal([readsCompleted, shortReads, ioErrors], [1, 1, 0])
  }
})

each(test, 'device rule 11: short read: backing shorter than the disk says -> zeros past its end', async (f) => {
  const fixture = await setUp(f, {
    diskBytes: 700,
    backend: (disk: MemoryBackend): BlockBackend => ({
      capacityBytes: 4096,
      inPlace: true,
      read: (offset, into) => disk.read(offset, into),
      write: (offset, from) => disk.write(offset, from),
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, sector: 0, dataIn: 1024 })
  answered(read, 0, 1025)
  assert.equal(read.data(), Uint8Array.of(...diskBytes(0, 700), ...new Uint8Array(324)))
  const past = queue.run({ type: 0, sector: 4, dataIn: 512 })
  answered(past, 0, 513)
  assert.equal([past.data(), fixture.counter('shortReads')], [new Uint8Array(512), 2])
  // Writes do not make up bytes: no progress is a failure.
  answered(queue.run({ type: 1, sector: 1, dataOut: new Uint8Array(512) }), 1, 1)
})

each(test, 'device rule 11: short write: continued until all is written; no progress -> IOERR', async (f) => {
  const { fixture, backend } = await scripted(f, { write: [{ short: 100 }, { short: 500 }, { fail: 'EINTR' }] })
  const { queue } = fixture.raw.negotiate()
  const data = pattern(1024)
  answered(queue.run({ type: 1, sector: 1, dataOut: data, segments: [90, 800, 134] }), 0, 1)
  assert.equal(fixture.disk.bytes.slice(512, 1536), data)
  assert.equal(offsets(backend), ['write 512+1024', 'write 612+924', 'write 1112+424', 'write 1112+424'])
  for (const script of [[{ answer: 0 }], [{ short: 500 }, { answer: 0 }], [{ short: 512 }, { fail: 'ENOSPC' }]]) {
    backend.script.write.push(...(script as Step[]))
    answered(queue.run({ type: 1, sector: 1, dataOut: data }), 1, 1)
  }
  const { writesCompleted, bytesWritten, ioErrors } = fixture.device.counters
  assert.equal([writesCompleted, bytesWritten, ioErrors], [1, 1024, 3])
})

// Durability --------------------------------------------------------------------------------------------------

each(test, 'device rule 12: FLUSH: -> one durability call; failing -> IOERR', async (f) => {
  const { fixture, backend } = await scripted(f, {
    flush: ['ok', { fail: 'EIO' }, { raise: 'text' }, { raise: undefined }],
  })
  const { queue } = fixture.raw.negotiate()
  answered(queue.run({ type: 4 }), 0, 1)
  for (let i = 0; i < 3; i++) answered(queue.run({ type: 4 }), 1, 1)
  answered(queue.run({ type: 4 }), 0, 1)
  assert.equal(offsets(backend), ['flush', 'flush', 'flush', 'flush', 'flush'])
  assert.equal([fixture.counter('flushesCompleted'), fixture.counter('ioErrors')], [2, 3])
})

each(
  test,
  'device rule 12: write: FLUSH accepted -> no flush; not accepted -> one flush per write, before used',
  async (f) => {
    for (const flush of [true, false]) {
      const { fixture, backend } = await scripted(f, {})
      const { queue } = fixture.raw.negotiate({ flush })
      for (let i = 0; i < 3; i++) answered(queue.run({ type: 1, sector: i, dataOut: pattern(512) }), 0, 1)
      answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
      const write = (sector: number): string[] => [`write ${sector * 512}+512`, ...(flush ? [] : ['flush'])]
      assert.equal(offsets(backend), [...write(0), ...write(1), ...write(2), 'read 0+512'])
      assert.equal([fixture.counter('writesCompleted'), fixture.counter('flushesCompleted')], [3, 0])
    }
  },
)

each(test, 'device rule 12: write-through: flush fails -> the write is IOERR', async (f) => {
  const { fixture, backend } = await scripted(f, { flush: [{ fail: 'EIO' }, { fail: 'EINTR' }, 'ok'] })
  const { queue } = fixture.raw.negotiate({ flush: false })
  answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1)
  answered(queue.run({ type: 1, dataOut: pattern(512) }), 0, 1)
  assert.equal(offsets(backend), ['write 0+512', 'flush', 'write 0+512', 'flush', 'flush'])
  const { writesCompleted, bytesWritten, ioErrors } = fixture.device.counters
  assert.equal([writesCompleted, bytesWritten, ioErrors], [1, 512, 1])
})

each(test, 'device rule 12: write-through: write fails -> IOERR, no flush', async (f) => {
  const { fixture, backend } = await scripted(f, { write: [{ fail: 'EIO' }] })
  const { queue } = fixture.raw.negotiate({ flush: false })
  answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1)
  assert.equal(offsets(backend), ['write 0+512'])
})

each(test, 'device rule 12: write-through: FLUSH not offered at all -> each write is durable', async (f) => {
  const { fixture, backend } = await scripted(f, {}, { device: { features: ['SEG_MAX'] } })
  const { queue } = fixture.raw.negotiate()
  answered(queue.run({ type: 1, dataOut: pattern(512) }), 0, 1)
  assert.equal(offsets(backend), ['write 0+512', 'flush'])
})

each(
  test,
  'device rule 12: write-through: ends with the negotiation -> a reset and FLUSH accepted, no flush',
  async (f) => {
    const { fixture, backend } = await scripted(f, {})
    fixture.raw.negotiate({ flush: false })
    answered(fixture.raw.negotiate({ flush: true }).queue.run({ type: 1, dataOut: pattern(512) }), 0, 1)
    assert.equal(offsets(backend), ['write 0+512'])
  },
)

// Used lengths and GET_ID ---------------------------------------------------------------------------------------

each(
  test,
  'device rule 13: used length: by type and outcome -> bytes written from the first writable one on',
  async (f) => {
    const { fixture, backend } = await scripted(f, {})
    const { raw } = fixture
    const { queue } = raw.negotiate({ queues: [{ size: 64 }] })
    answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
    answered(queue.run({ type: 0, dataIn: 65536, segments: 4096 }), 0, 65537)
    answered(queue.run({ type: 1, dataOut: pattern(4096) }), 0, 1)
    answered(queue.run({ type: 4 }), 0, 1)
    answered(queue.run({ type: 8, dataIn: 20 }), 0, 21)
    for (const bytes of [21, 22, 512, 4096])
      answered(queue.run({ type: 8, dataIn: bytes }), 0, 20, `GET_ID of ${bytes}`)
    backend.script.read.push({ fail: 'EIO' })
    answered(queue.run({ type: 0, dataIn: 512 }), 1, 0)
    backend.script.read.push({ short: 100 }, { fail: 'EIO' })
    const partial = queue.run({ type: 0, dataIn: 512 })
    assert.equal([partial.status(), partial.usedLen()], [1, 0])
    backend.script.write.push({ fail: 'EIO' })
    answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1)
  },
)

each(test, 'device rule 14: GET_ID: serial of any length -> NUL-padded to 20, the rest untouched', async (f) => {
  for (const [serial, expected] of [
    ['', '0000000000000000000000000000000000000000'],
    ['abc', '6162630000000000000000000000000000000000'],
    ['nineteen characters', '6e696e657465656e206368617261637465727300'],
    ['twenty characters!!!', '7477656e74792063686172616374657273212121'],
  ] as const) {
    const { raw } = await setUp(f, { device: { serial } })
    const { queue } = raw.negotiate()
    for (const layout of [
      [writable(20), writable(1)],
      [writable(21)],
      [writable(7), writable(13), writable(1)],
      [writable(4096), writable(1)],
      [writable(20), writable(300), writable(1)],
      [...Array.from({ length: 12 }, () => writable(2)), writable(1)],
    ]) {
      const id = queue.run({ type: 8, layout: [readable(16), ...layout] })
      const data = id.data()
      assert.is(id.status(), 0)
      assert.is(Buffer.from(data.subarray(0, 20)).toString('hex'), expected, serial)
      assert.ok(
        data.subarray(20).every((byte) => byte === 0xe5),
        'bytes past the serial',
      )
      assert.ok(id.intact())
    }
  }
  const { raw } = await setUp(f)
  const id = raw.negotiate().queue.run({ type: 8, dataIn: 20 })
  assert.is(Buffer.from(id.data()).toString('latin1'), 'virtio-blk-wasm\0\0\0\0\0')
})

// Back ends that misbehave --------------------------------------------------------------------------------------

const NONSENSE: readonly unknown[] = [
  ...[-1, -0.5, 0.5, 511.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 513, 1024, 2 ** 32],
  ...[2 ** 32 + 512, 2 ** 53, -512, undefined, null, true, '512', 512n, {}, [512], () => 512],
]
const THROWN: readonly unknown[] = [new Error('x'), 'text', undefined, null, 42, { code: 'EINTR' }, new RangeError('y')]

for (const inPlace of [true, false]) {
  const kind = inPlace ? 'in-place' : 'copying'
  each(test, `device rule 15: ${kind} back end: nonsense or an exception -> IOERR, the device goes on`, async (f) => {
    const steps: Step[] = [
      ...NONSENSE.map((answer): Step => ({ answer })),
      ...THROWN.map((raise): Step => ({ raise })),
      ...['EIO', 'ENOSPC', 'EBADF', 'EAGAIN'].map((fail): Step => ({ fail })),
    ]
    let backend: FaultyBackend | undefined
    const fixture = await setUp(f, {
      backend: (disk) => {
        backend = new FaultyBackend(inPlace ? disk : Object.assign(Object.create(disk), { inPlace: false }))
        return backend
      },
    })
    const { raw } = fixture
    const { queue } = raw.negotiate()
    for (const step of steps) {
      const about = `${JSON.stringify(step, (_, value) => (typeof value === 'object' ? value : String(value)))}`
      const mark = raw.arena.mark()
      backend?.script.read.push(step)
      answered(queue.run({ type: 0, dataIn: 512 }), 1, 0, `read: ${about}`)
      backend?.script.write.push(step)
      answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1, `write: ${about}`)
      answered(queue.run({ type: 0, dataIn: 512 }), 0, 513, `after ${about}`)
      raw.arena.rewind(mark)
    }
    const { ioErrors, engineTraps } = fixture.device.counters
    assert.equal([ioErrors, engineTraps, raw.reg.status], [2 * steps.length, 0, 0x0f])
  })
}

each(test, 'device rule 15: back end: nonsense after a short count -> IOERR', async (f) => {
  const { fixture, backend } = await scripted(f, {})
  const { queue } = fixture.raw.negotiate()
  // 413 of the 412 bytes that are left
  backend.script.read.push({ short: 100 }, { answer: 413 })
  const read = queue.run({ type: 0, dataIn: 512 })
  assert.equal([read.status(), read.usedLen()], [1, 0])
  backend.script.write.push({ short: 100 }, { answer: 512 })
  answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1)
})

each(test, 'device rule 15: in-place back end: promises after all -> IOERR, the device goes on', async (f) => {
  for (const promise of [
    () => Promise.resolve(512),
    () => Promise.reject(new Error('late')),
    () => Promise.resolve('x'),
  ]) {
    const { fixture, backend } = await scripted(f, {})
    backend.script.read.push({ answer: promise() })
    backend.script.write.push({ answer: Promise.resolve(512) })
    assert.is(backend.inPlace, true)
    const { queue } = fixture.raw.negotiate()
    answered(queue.run({ type: 0, dataIn: 512 }), 1, 0)
    answered(queue.run({ type: 1, dataOut: pattern(512) }), 1, 1)
    answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  }
})

test.run()
