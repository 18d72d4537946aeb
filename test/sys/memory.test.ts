// Mappings and holes against the real kernel: a mapping and its file are the same bytes, on any thread, until it is
// unmapped (asked of /proc/self/mem, which fails where a look would end the process), and fallocate by mode.

import * as fs from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { pread, SysError } from '../../host/sys/libc.ts'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  fallocate,
  mapShared,
  unmap,
  viewOf,
} from '../../host/sys/memory.ts'
import { openDescriptors } from '../support/descriptors.ts'
import { serveThread, startThread } from '../support/thread.ts'

const { EBADF, EFBIG, EINVAL, EOPNOTSUPP } = constants.errno
const PAGE = 4096
const BYTES = 16 * PAGE

const test = suite('sys/memory')

const content = Uint8Array.from({ length: BYTES }, (_, i) => ((i * 7) ^ (i >>> 8)) | 1)

/** A file of BYTES bytes, none of them 0. */
async function withFile(body: (fd: number, path: string) => void | Promise<void>, parent = tmpdir()): Promise<void> {
  const folder = fs.mkdtempSync(join(parent, 'vblk-memory-'))
  const path = join(folder, 'file')
  fs.writeFileSync(path, content)
  const fd = fs.openSync(path, 'r+')
  try {
    await body(fd, path)
  } finally {
    fs.closeSync(fd)
    fs.rmSync(folder, { recursive: true })
  }
}

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.instance(error, SysError)
    return `${(error as SysError).call} ${(error as SysError).code}`
  }
  return assert.unreachable('should have failed') as never
}

/** What the kernel finds at an address. Throws where nothing is mapped. */
function memoryAt(address: number, bytes: number): Uint8Array {
  const fd = fs.openSync('/proc/self/mem', 'r')
  try {
    const found = new Uint8Array(bytes)
    assert.is(fs.readSync(fd, found, 0, bytes, address), bytes)
    return found
  } finally {
    fs.closeSync(fd)
  }
}

test('mapShared: a file -> its bytes at the address; stores reach the file, writes reach the mapping', () =>
  withFile((fd, path) => {
    const address = mapShared(fd, BYTES, 0)
    assert.is(address % PAGE, 0)
    assert.equal(memoryAt(address, BYTES), content)
    const bytes = new Uint8Array(viewOf(address, BYTES))
    assert.equal(bytes, content)
    bytes.set([1, 2, 3], BYTES - 3)
    assert.equal(new Uint8Array(fs.readFileSync(path)).subarray(BYTES - 3), new Uint8Array([1, 2, 3]))
    fs.writeSync(fd, new Uint8Array([9, 8]), 0, 2, PAGE)
    assert.equal(bytes.slice(PAGE, PAGE + 2), new Uint8Array([9, 8]))
    unmap(address, BYTES)
  }))

test('mapShared: an offset, a part -> that part; two mappings -> one memory', () =>
  withFile((fd) => {
    const part = mapShared(fd, 100, 3 * PAGE)
    const whole = mapShared(fd, BYTES, 0)
    assert.equal(memoryAt(part, 100), content.subarray(3 * PAGE, 3 * PAGE + 100))
    new Uint8Array(viewOf(part, 100))[99] = 200
    assert.is(new Uint8Array(viewOf(whole, BYTES))[3 * PAGE + 99], 200)
    unmap(part, 100)
    unmap(whole, BYTES)
  }))

test('mapShared: the descriptor closed -> the mapping stays; calls may read into it', () =>
  withFile((fd, path) => {
    const other = fs.openSync(path, 'r+')
    const address = mapShared(other, BYTES, 0)
    fs.closeSync(other)
    assert.equal(memoryAt(address, 100), content.subarray(0, 100))
    assert.is(pread(fd, address, PAGE, 2 * PAGE), PAGE)
    assert.equal(memoryAt(address, PAGE), content.subarray(2 * PAGE, 3 * PAGE))
    unmap(address, BYTES)
  }))

test('viewOf: transferred -> a copy, the view is not detached; a look through several views is one memory', () =>
  withFile((fd) => {
    const address = mapShared(fd, BYTES, 0)
    const view = viewOf(address, BYTES)
    const copy = new Uint8Array(structuredClone(view, { transfer: [view] }))
    assert.is(view.byteLength, BYTES)
    const words = new DataView(viewOf(address + PAGE, 8))
    words.setUint32(4, 0x12345678, true)
    assert.is(new DataView(view).getUint32(PAGE + 4, true), 0x12345678)
    assert.equal(copy, content)
    unmap(address, BYTES)
  }))

test('unmap: -> nothing is mapped there, the file keeps what was stored', () =>
  withFile((fd, path) => {
    const address = mapShared(fd, BYTES, 0)
    new Uint8Array(viewOf(address, BYTES)).fill(5)
    unmap(address, BYTES)
    assert.throws(() => memoryAt(address, 1), /EIO/)
    assert.ok(fs.readFileSync(path).every((byte) => byte === 5))
  }))

test('mapShared, unmap: mistakes -> SysError with call and name', () =>
  withFile((fd, path) => {
    assert.is(
      codeOf(() => mapShared(-1, PAGE, 0)),
      'mmap EBADF',
    )
    assert.is(
      codeOf(() => mapShared(fd, 0, 0)),
      'mmap EINVAL',
    )
    assert.is(
      codeOf(() => mapShared(fd, PAGE, 1)),
      'mmap EINVAL',
    )
    const reader = fs.openSync(path, 'r')
    assert.is(
      codeOf(() => mapShared(reader, PAGE, 0)),
      'mmap EACCES',
    )
    fs.closeSync(reader)
    assert.is(
      codeOf(() => unmap(1, PAGE)),
      'munmap EINVAL',
    )
  }))

test('mapShared, unmap: 100 times -> no descriptor and no mapping is left', () =>
  withFile((fd, path) => {
    const ours = (): number => fs.readFileSync('/proc/self/maps', 'utf8').split(path).length - 1
    const before = openDescriptors()
    const addresses = Array.from({ length: 100 }, () => mapShared(fd, BYTES, 0))
    assert.is(ours() > 0, true)
    for (const address of addresses) unmap(address, BYTES)
    assert.is(ours(), 0)
    assert.is(openDescriptors(), before)
  }))

test('fallocate: PUNCH_HOLE -> zeros, fewer blocks, the size stays', () =>
  withFile((fd) => {
    fs.fsyncSync(fd)
    const before = fs.fstatSync(fd)
    assert.is(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 8 * PAGE), 0)
    // Not of whole blocks: zeroed all the same.
    assert.is(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 15 * PAGE + 1, 3), 0)
    const expected = content.slice().fill(0, 2 * PAGE, 10 * PAGE)
    expected.fill(0, 15 * PAGE + 1, 15 * PAGE + 4)
    const found = new Uint8Array(BYTES)
    fs.readSync(fd, found, 0, BYTES, 0)
    assert.equal(found, expected)
    const after = fs.fstatSync(fd)
    assert.is(after.size, BYTES)
    assert.ok(after.blocks < before.blocks, `${after.blocks} of ${before.blocks}`)
  }))

for (const parent of new Set([tmpdir(), '/dev/shm'])) {
  test(`fallocate: ZERO_RANGE in ${parent} -> zeros, the size stays; or EOPNOTSUPP and the file as it was`, () =>
    withFile((fd) => {
      const result = fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, PAGE - 5, PAGE)
      const found = new Uint8Array(BYTES)
      fs.readSync(fd, found, 0, BYTES, 0)
      if (result === -EOPNOTSUPP) {
        console.log(`skipped: no FALLOC_FL_ZERO_RANGE in ${parent}, its effect is not tested there`)
        assert.equal(found, content)
      } else {
        assert.is(result, 0)
        assert.equal(found, content.slice().fill(0, PAGE - 5, 2 * PAGE - 5))
      }
      assert.is(fs.fstatSync(fd).size, BYTES)
    }, parent))
}

test('fallocate: past the end -> the file grows, unless KEEP_SIZE; past 4 GiB too', () =>
  withFile((fd) => {
    assert.is(fallocate(fd, FALLOC_FL_KEEP_SIZE, BYTES, PAGE), 0)
    assert.is(fs.fstatSync(fd).size, BYTES)
    assert.is(fallocate(fd, 0, BYTES, PAGE), 0)
    assert.is(fs.fstatSync(fd).size, BYTES + PAGE)
    assert.is(fallocate(fd, 0, 2 ** 33 + PAGE, PAGE), 0)
    assert.is(fs.fstatSync(fd).size, 2 ** 33 + 2 * PAGE)
  }))

test('fallocate: mistakes -> -errno', () =>
  withFile((fd, path) => {
    const reader = fs.openSync(path, 'r')
    assert.is(fallocate(-1, 0, 0, PAGE), -EBADF)
    assert.is(fallocate(reader, 0, 0, PAGE), -EBADF)
    assert.is(fallocate(fd, 0, 0, 0), -EINVAL)
    assert.is(fallocate(fd, 0, -1, PAGE), -EINVAL)
    assert.is(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), -EOPNOTSUPP)
    assert.is(fallocate(fd, 0, 2 ** 62, 2 ** 62), -EFBIG)
    fs.closeSync(reader)
  }))

test('another thread: given the address and the descriptor -> looks, stores and punches as here', () =>
  withFile(async (fd) => {
    const address = mapShared(fd, BYTES, 0)
    const bytes = new Uint8Array(viewOf(address, BYTES))
    bytes[5] = 77
    assert.equal(await startThread(import.meta.url, 'look', { address, fd }), [77, 0])
    assert.is(bytes[6], 78)
    assert.is(bytes[PAGE], 0)
    assert.is(bytes[2 * PAGE], content[2 * PAGE])
    unmap(address, BYTES)
  }))

const tasks = {
  look: ({ address, fd }: { address: number; fd: number }): number[] => {
    const bytes = new Uint8Array(viewOf(address, BYTES))
    bytes[6] = 78
    return [bytes[5] ?? 0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE)]
  },
}

if (isMainThread) test.run()
else serveThread(tasks)
