// What every back end must do, whatever it stores its bytes in: `backendSuite(name, make)` applies all of it to one
// back end in a line. Works on back ends that answer at once and on those that answer with promises.
// Does not test what one back end alone has (locks, files, faults): add such tests to the suite it returns, then
// call `.run()`.

import { suite, type Test } from 'uvu'
import * as assert from 'uvu/assert'
import { BackendError, type BlockBackend } from '../../host/backend/types.ts'

/** Makes a fresh back end of `bytes` bytes, all zero. */
export type MakeBackend = (bytes: number) => BlockBackend | Promise<BlockBackend>

const SIZE = 64 << 10

/** Bytes that differ from their neighbours and from zero, and between seeds. */
export function pattern(bytes: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => 1 + ((i * 7 + (i >>> 8) * 31 + seed * 13) % 255))
}

/** Calls again after a short count, as the device does, until all is moved or a call moves nothing. */
export async function readAll(backend: BlockBackend, offset: number, into: Uint8Array[]): Promise<number> {
  return moveAll((at, parts) => backend.read(at, parts), offset, into)
}

export async function writeAll(backend: BlockBackend, offset: number, from: Uint8Array[]): Promise<number> {
  return moveAll((at, parts) => backend.write(at, parts), offset, from)
}

/** Runs `work` and returns the BackendError it fails with; any other end fails the test. */
export async function failureOf(work: () => unknown): Promise<BackendError> {
  try {
    await work()
  } catch (error) {
    assert.instance(error, BackendError)
    return error as BackendError
  }
  return assert.unreachable('should have failed') as never
}

type Move = (offset: number, parts: Uint8Array[]) => number | Promise<number>

async function moveAll(move: Move, offset: number, parts: Uint8Array[]): Promise<number> {
  let moved = 0
  for (;;) {
    const rest = skip(parts, moved)
    const left = rest.reduce((sum, part) => sum + part.length, 0)
    if (left === 0) return moved
    const now = await move(offset + moved, rest)
    assert.ok(Number.isInteger(now) && now >= 0 && now <= left, `moved ${now} of ${left} bytes`)
    if (now === 0) return moved
    moved += now
  }
}

function skip(parts: Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes
  return parts.flatMap((part) => {
    const gone = Math.min(left, part.length)
    left -= gone
    return gone === part.length && gone > 0 ? [] : [part.subarray(gone)]
  })
}

function cut(bytes: Uint8Array, lengths: number[]): Uint8Array[] {
  let at = 0
  return lengths.map((length) => {
    at += length
    return bytes.subarray(at - length, at)
  })
}

export function backendSuite(name: string, make: MakeBackend): Test {
  const test = suite(name)
  const check = (title: string, body: (backend: BlockBackend) => Promise<void>): void => {
    test(title, async () => {
      const backend = await make(SIZE)
      try {
        await body(backend)
      } finally {
        await backend.close?.()
      }
    })
  }
  addTransferChecks(check)
  addEdgeChecks(check)
  addControlChecks(check)
  return test
}

type Check = (title: string, body: (backend: BlockBackend) => Promise<void>) => void

function addTransferChecks(check: Check): void {
  check('read: fresh back end -> zeroes, all of the capacity', async (backend) => {
    assert.is(backend.capacityBytes, SIZE)
    const all = new Uint8Array(SIZE).fill(0xee)
    assert.is(await readAll(backend, 0, [all]), SIZE)
    assert.ok(all.every((byte) => byte === 0))
  })

  check('write: at an offset -> read back there, neighbours untouched', async (backend) => {
    const data = pattern(1536)
    assert.is(await writeAll(backend, 4096, [data]), 1536)
    const back = new Uint8Array(512 + 1536 + 512)
    assert.is(await readAll(backend, 4096 - 512, [back]), back.length)
    assert.equal(back, new Uint8Array([...new Uint8Array(512), ...data, ...new Uint8Array(512)]))
  })

  check('write: second write over the first -> the second is seen', async (backend) => {
    await writeAll(backend, 0, [pattern(4096, 1)])
    await writeAll(backend, 512, [pattern(512, 2)])
    const back = new Uint8Array(4096)
    await readAll(backend, 0, [back])
    const expected = pattern(4096, 1)
    expected.set(pattern(512, 2), 512)
    assert.equal(back, expected)
  })

  check('scatter-gather: odd pieces, cut differently for write and read -> the same bytes', async (backend) => {
    const data = pattern(5120)
    assert.is(await writeAll(backend, 1024, cut(data, [1, 511, 3, 4096, 7, 502])), 5120)
    const back = new Uint8Array(5120)
    assert.is(await readAll(backend, 1024, cut(back, [2047, 1, 1, 3000, 71])), 5120)
    assert.equal(back, data)
  })

  check('scatter-gather: 3000 buffers -> every one filled', async (backend) => {
    const data = pattern(9000)
    assert.is(await writeAll(backend, 0, cut(data, new Array(3000).fill(3))), 9000)
    const back = new Uint8Array(9000)
    assert.is(await readAll(backend, 0, cut(back, new Array(2250).fill(4))), 9000)
    assert.equal(back, data)
  })

  for (const shared of [false, true]) {
    const kind = shared ? 'shared' : 'unshared'
    check(`buffers: views on ${kind} linear memory -> exactly those bytes change`, async (backend) => {
      const memory = new WebAssembly.Memory(shared ? { initial: 4, maximum: 4, shared } : { initial: 4 })
      const linear = new Uint8Array(memory.buffer)
      const data = pattern(1024)
      linear.set(data, 70001)
      assert.is(await writeAll(backend, 512, [linear.subarray(70001, 70001 + 1024)]), 1024)
      linear.fill(0xee)
      assert.is(await readAll(backend, 512, [linear.subarray(3, 703), linear.subarray(131000, 131324)]), 1024)
      const expected = new Uint8Array(linear.length).fill(0xee)
      expected.set(data.subarray(0, 700), 3)
      expected.set(data.subarray(700), 131000)
      assert.is(
        linear.findIndex((byte, i) => byte !== expected[i]),
        -1,
      )
    })
  }
}

function addEdgeChecks(check: Check): void {
  check('write: last sector -> read back', async (backend) => {
    assert.is(await writeAll(backend, SIZE - 512, [pattern(512)]), 512)
    const back = new Uint8Array(512)
    assert.is(await readAll(backend, SIZE - 512, [back]), 512)
    assert.equal(back, pattern(512))
  })

  check('read: across the end -> short, bytes past it untouched', async (backend) => {
    await writeAll(backend, SIZE - 512, [pattern(512)])
    const back = new Uint8Array(2048).fill(0xee)
    assert.is(await readAll(backend, SIZE - 512, cut(back, [100, 500, 1448])), 512)
    assert.equal(back.subarray(0, 512), pattern(512))
    assert.ok(back.subarray(512).every((byte) => byte === 0xee))
  })

  check('read: at and past the end -> 0', async (backend) => {
    for (const offset of [SIZE, SIZE + 512, SIZE + 2 ** 40]) {
      assert.is(await backend.read(offset, [new Uint8Array(512)]), 0)
    }
  })

  check('write: across and past the end -> what fits, the capacity stays', async (backend) => {
    assert.is(await writeAll(backend, SIZE - 512, cut(pattern(2048), [300, 300, 1448])), 512)
    assert.is(await backend.write(SIZE, [pattern(512)]), 0)
    assert.is(await backend.write(SIZE + 2 ** 40, [pattern(512)]), 0)
    assert.is(backend.capacityBytes, SIZE)
    const back = new Uint8Array(1024)
    assert.is(await readAll(backend, SIZE - 512, [back]), 512)
    assert.equal(back.subarray(0, 512), pattern(512))
  })

  check('buffers: none, or of length 0 -> nothing moves, the others are served', async (backend) => {
    const none = new Uint8Array(0)
    assert.is(await backend.read(0, []), 0)
    assert.is(await backend.write(0, [none, none]), 0)
    const data = pattern(512)
    assert.is(await writeAll(backend, 0, [none, data.subarray(0, 5), none, none, data.subarray(5), none]), 512)
    const back = new Uint8Array(512)
    assert.is(await readAll(backend, 0, [none, back, none]), 512)
    assert.equal(back, data)
  })

  check('offset: negative, fractional or NaN -> BackendError', async (backend) => {
    for (const offset of [-512, 0.5, Number.NaN, 2 ** 60]) {
      await failureOf(() => backend.read(offset, [new Uint8Array(512)]))
      await failureOf(() => backend.write(offset, [new Uint8Array(512)]))
    }
  })
}

function addControlChecks(check: Check): void {
  check('flush: after writes, twice -> no failure', async (backend) => {
    await writeAll(backend, 0, [pattern(4096)])
    await backend.flush()
    await backend.flush()
  })

  check('inPlace: promised -> answers are numbers, not promises', async (backend) => {
    if (backend.inPlace !== true) return
    assert.type(backend.write(0, [pattern(512)]), 'number')
    assert.type(backend.read(0, [new Uint8Array(512)]), 'number')
    assert.is(backend.flush(), undefined)
  })

  check('writeZeroes: a range, if there is such a call -> zeroes there, neighbours untouched', async (backend) => {
    if (!backend.writeZeroes) return
    for (const mayUnmap of [false, true]) {
      await writeAll(backend, 0, [pattern(SIZE)])
      await backend.writeZeroes(4608, 8192, mayUnmap)
      const back = new Uint8Array(SIZE)
      await readAll(backend, 0, [back])
      assert.equal(back, pattern(SIZE).fill(0, 4608, 4608 + 8192))
    }
  })

  check('discard: a range, if there is such a call -> neighbours untouched', async (backend) => {
    if (!backend.discard) return
    await writeAll(backend, 0, [pattern(SIZE)])
    await backend.discard(4608, 8192)
    const back = new Uint8Array(SIZE)
    await readAll(backend, 0, [back])
    assert.equal(back.subarray(0, 4608), pattern(SIZE).subarray(0, 4608))
    assert.equal(back.subarray(4608 + 8192), pattern(SIZE).subarray(4608 + 8192))
  })

  check('close: twice -> no failure', async (backend) => {
    await backend.close?.()
    await backend.close?.()
  })
}
