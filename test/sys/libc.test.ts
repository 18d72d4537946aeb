// The C library bindings: that an address is the address of exactly those bytes (asked of /proc/self/mem), that calls
// move what they say, and that failures carry call, number and name. Does not know of back ends.

import * as fs from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as libc from '../../host/sys/libc.ts'

const test = suite('sys/libc')

const folder = fs.mkdtempSync(join(tmpdir(), 'vblk-libc-'))
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))

function withFile(content: Uint8Array, body: (fd: number, path: string) => void): void {
  const path = join(folder, 'file')
  fs.writeFileSync(path, content)
  const fd = fs.openSync(path, 'r+')
  try {
    body(fd, path)
  } finally {
    fs.closeSync(fd)
  }
}

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

function sysErrorOf(work: () => unknown): libc.SysError {
  try {
    work()
  } catch (error) {
    assert.instance(error, libc.SysError)
    return error as libc.SysError
  }
  return assert.unreachable('should have failed') as never
}

const numbers = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 11) & 0xff)

const buffers: [string, () => ArrayBufferLike][] = [
  ['unshared linear memory', () => new WebAssembly.Memory({ initial: 2 }).buffer],
  ['shared linear memory', () => new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true }).buffer],
  ['ArrayBuffer', () => new ArrayBuffer(1 << 17)],
  ['SharedArrayBuffer', () => new SharedArrayBuffer(1 << 17)],
  ['tiny typed array, on the heap until its buffer is asked for', () => new Uint8Array(16).buffer],
]

for (const [name, make] of buffers) {
  test(`addressOf: ${name} -> the address of byte 0, the same every time`, () => {
    const buffer = make()
    const end = Math.min(buffer.byteLength, 70000)
    new Uint8Array(buffer).set([1, 2, 3, 4], end - 8)
    const address = libc.addressOf(buffer)
    assert.equal(memoryAt(address + end - 8, 4), new Uint8Array([1, 2, 3, 4]))
    assert.is(libc.addressOf(buffer), address)
  })

  test(`pread, preadv: into ${name} -> the kernel writes there, nowhere else`, () => {
    const all = new Uint8Array(make())
    withFile(numbers(4096), (fd) => {
      const address = libc.addressOf(all.buffer)
      assert.is(libc.pread(fd, address + 3, 5, 100), 5)
      const vector = new libc.IoVector(4)
      vector.set(0, address + 9, 2)
      vector.set(1, address + all.length - 3, 3)
      vector.set(2, address, all.length)
      assert.is(libc.preadv(fd, vector, 2, 1000), 5)
    })
    const expected = new Uint8Array(all.length)
    expected.set(numbers(4096).subarray(100, 105), 3)
    expected.set(numbers(4096).subarray(1000, 1002), 9)
    expected.set(numbers(4096).subarray(1002, 1005), all.length - 3)
    assert.is(
      all.findIndex((byte, i) => byte !== expected[i]),
      -1,
    )
  })
}

test('addressOf: memory grown -> the new buffer has its own answer', () => {
  const memory = new WebAssembly.Memory({ initial: 1 })
  libc.addressOf(memory.buffer)
  memory.grow(200)
  new Uint8Array(memory.buffer)[13_000_000] = 77
  assert.equal(memoryAt(libc.addressOf(memory.buffer) + 13_000_000, 1), new Uint8Array([77]))
})

test('pwrite, pwritev: pieces -> in the file, in order', () => {
  withFile(new Uint8Array(32), (fd, path) => {
    const data = numbers(20)
    const address = libc.addressOf(data.buffer)
    assert.is(libc.pwrite(fd, address + 1, 2, 3), 2)
    const vector = new libc.IoVector(3)
    vector.set(0, address + 4, 3)
    vector.set(1, address, 0)
    vector.set(2, address + 10, 5)
    assert.is(libc.pwritev(fd, vector, 3, 16), 8)
    const expected = new Uint8Array(32)
    expected.set(data.subarray(1, 3), 3)
    expected.set(data.subarray(4, 7), 16)
    expected.set(data.subarray(10, 15), 19)
    assert.equal(new Uint8Array(fs.readFileSync(path)), expected)
  })
})

test('preadv: past 2 GiB and at the end -> offsets are 64-bit, counts short, then 0', () => {
  withFile(new Uint8Array(1), (fd) => {
    const offset = 2 ** 33 + 512
    fs.ftruncateSync(fd, offset + 10)
    fs.writeSync(fd, numbers(10), 0, 10, offset)
    const into = new Uint8Array(64)
    const address = libc.addressOf(into.buffer)
    assert.is(libc.pread(fd, address, 64, offset), 10)
    assert.equal(into.subarray(0, 10), numbers(10))
    const vector = new libc.IoVector(1)
    vector.set(0, address, 64)
    assert.is(libc.preadv(fd, vector, 1, offset + 4), 6)
    assert.is(libc.preadv(fd, vector, 1, offset + 10), 0)
  })
})

test('IoVector: a full 1024 entries -> taken; one more -> EINVAL from the kernel', () => {
  withFile(numbers(4096), (fd) => {
    const into = new Uint8Array(2048)
    const vector = new libc.IoVector(libc.IOV_MAX)
    for (let i = 0; i < libc.IOV_MAX; i++) vector.set(i, libc.addressOf(into.buffer) + 2 * (1023 - i), 2)
    assert.is(libc.preadv(fd, vector, libc.IOV_MAX, 0), 2048)
    assert.equal(into.subarray(2046), numbers(2))
    assert.is(libc.preadv(fd, vector, libc.IOV_MAX + 1, 0), -constants.errno.EINVAL)
  })
})

test('per-request calls: failure -> -errno, not an exception', () => {
  const data = new Uint8Array(512)
  const address = libc.addressOf(data.buffer)
  const vector = new libc.IoVector(1)
  vector.set(0, address, 512)
  const { EBADF, EFAULT, EINVAL, EISDIR } = constants.errno
  assert.is(libc.pread(-1, address, 512, 0), -EBADF)
  assert.is(libc.pwrite(-1, address, 512, 0), -EBADF)
  assert.is(libc.preadv(-1, vector, 1, 0), -EBADF)
  assert.is(libc.pwritev(-1, vector, 1, 0), -EBADF)
  assert.is(libc.fdatasync(-1), -EBADF)
  withFile(numbers(512), (fd) => {
    assert.is(libc.fdatasync(fd), 0)
    assert.is(libc.pread(fd, address, 512, -1), -EINVAL)
    assert.is(libc.pread(fd, 4096, 512, 0), -EFAULT)
  })
  const fd = fs.openSync(folder, 'r')
  assert.is(libc.pread(fd, address, 512, 0), -EISDIR)
  fs.closeSync(fd)
})

test('flock: held by another open file -> SysError with call, number and name; free after unlock', () => {
  withFile(numbers(1), (fd, path) => {
    const other = fs.openSync(path, 'r')
    libc.flock(fd, libc.LOCK_EX | libc.LOCK_NB)
    const error = sysErrorOf(() => libc.flock(other, libc.LOCK_SH | libc.LOCK_NB))
    assert.is(error.call, 'flock')
    assert.is(error.errno, constants.errno.EWOULDBLOCK)
    assert.is(error.code, 'EWOULDBLOCK')
    assert.is(error.message, 'flock: EWOULDBLOCK')
    libc.flock(fd, libc.LOCK_UN)
    libc.flock(other, libc.LOCK_SH | libc.LOCK_NB)
    libc.flock(fd, libc.LOCK_SH | libc.LOCK_NB)
    fs.closeSync(other)
  })
})

test('blockDeviceBytes, blockDeviceIsReadOnly: a regular file -> SysError ENOTTY', () => {
  withFile(numbers(1), (fd) => {
    assert.is(sysErrorOf(() => libc.blockDeviceBytes(fd)).code, 'ENOTTY')
    assert.is(sysErrorOf(() => libc.blockDeviceIsReadOnly(fd)).call, 'ioctl(BLKROGET)')
  })
})

test('errnoName: known, doubly named, unknown -> name, the name Linux manuals use for locks, number', () => {
  assert.is(libc.errnoName(constants.errno.EIO), 'EIO')
  assert.is(libc.errnoName(11), 'EWOULDBLOCK')
  assert.is(libc.errnoName(9999), 'E9999')
})

test.run()
