// FileBackend and createImage: the shared suite on a file, then what only files have: kinds, permissions, locks,
// sizes, block devices, truncation and write-back errors. Needs root for loop devices and mounts; where those do not
// work the test prints `skipped: <reason>`. Runs this same file as a child process for the tests of locks.

import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { FileBackend, type FileBackendOptions } from '../../host/backend/file.ts'
import { createImage } from '../../host/backend/image.ts'
import type { BackendError } from '../../host/backend/types.ts'
import { backendSuite, failureOf, pattern, readAll, writeAll } from './suite.ts'

const CHILD = 'VBLK_TEST_OPEN'

if (process.env[CHILD] !== undefined) {
  const { path, options } = JSON.parse(process.env[CHILD]) as { path: string; options: FileBackendOptions }
  try {
    FileBackend.open(path, options).close()
    process.stdout.write('opened')
  } catch (error) {
    process.stdout.write(`${(error as BackendError).code} ${(error as Error).message}`)
  }
  process.exit(0)
}

const folder = fs.mkdtempSync(join(tmpdir(), 'vblk-file-'))
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
let images = 0

function newImage(bytes = 64 << 10): string {
  const path = join(folder, `${++images}.img`)
  createImage(path, bytes)
  return path
}

/** Opens in a process of its own and says what came of it. */
function openInChild(path: string, options: FileBackendOptions = {}): string {
  const env = { ...process.env, [CHILD]: JSON.stringify({ path, options }) }
  return spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { env, encoding: 'utf8' }).stdout
}

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`)
  return stdout.trim()
}

/** Runs `attempt`; on failure prints why the test is skipped and returns undefined. */
function orSkip<Result>(subject: string, attempt: () => Result): Result | undefined {
  try {
    return attempt()
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    console.log(`\nskipped: ${subject}: ${reason}`)
    return undefined
  }
}

function withMount(options: string, body: (at: string) => Promise<void>, prepare?: (at: string) => void) {
  return async () => {
    const at = fs.mkdtempSync(join(folder, 'mount-'))
    if (orSkip('tmpfs', () => run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'vblk-test', at)) === undefined) return
    try {
      prepare?.(at)
      if (options !== '') run('mount', '-o', `remount,${options}`, at)
      await body(at)
    } finally {
      run('umount', '-l', at)
    }
  }
}

async function withLoop(path: string, flags: string[], body: (device: string) => Promise<void>): Promise<void> {
  const device = orSkip('block device', () => run('losetup', ...flags, '-f', '--show', path))
  if (device === undefined) return
  try {
    await body(device)
  } finally {
    run('losetup', '-d', device)
  }
}

async function refusal(path: string, options: FileBackendOptions = {}): Promise<BackendError> {
  const descriptors = openDescriptors()
  const error = await failureOf(() => FileBackend.open(path, options))
  assert.not.match(error.message, /\n/)
  assert.ok(error.message.startsWith(`${path}: `), error.message)
  assert.is(openDescriptors(), descriptors, 'no descriptor is left open')
  return error
}

const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length

const test = backendSuite('FileBackend', (bytes) => FileBackend.open(newImage(bytes)))

test('write: any -> the bytes are in the file at that offset', async () => {
  const path = newImage()
  const disk = FileBackend.open(path)
  await writeAll(disk, 1024, [pattern(700), pattern(324, 2)])
  disk.close()
  const expected = new Uint8Array(64 << 10)
  expected.set(pattern(700), 1024)
  expected.set(pattern(324, 2), 1724)
  assert.equal(new Uint8Array(fs.readFileSync(path)), expected)
})

test('past bug 3 (GHSA-jmr4-g2hv-mjj6): qcow2 header in sector 0 -> just bytes, at open and at every read', async () => {
  const header = new Uint8Array(512)
  const secret = newImage()
  fs.writeFileSync(secret, pattern(64 << 10, 5))
  const fields = new DataView(header.buffer)
  fields.setUint32(0, 0x514649fb)
  fields.setUint32(4, 3)
  fields.setUint32(12, 104) // backing file name at 104 ...
  fields.setUint32(16, secret.length)
  fields.setUint32(20, 16)
  fields.setUint32(28, 1 << 20) // ... and a virtual size of 1 MiB
  header.set(new TextEncoder().encode(secret), 104)
  const path = newImage()
  const disk = FileBackend.open(path)
  await writeAll(disk, 0, [header])
  disk.close()
  for (const readOnly of [false, true]) {
    const again = FileBackend.open(path, { readOnly })
    assert.is(again.capacityBytes, 64 << 10)
    const back = new Uint8Array(64 << 10)
    await readAll(again, 0, [back])
    assert.equal(back.subarray(0, 512), header)
    assert.ok(back.subarray(512).every((byte) => byte === 0))
    again.close()
  }
})

test('open: missing file -> ENOENT, and none is made', async () => {
  const path = join(folder, 'missing.img')
  const error = await refusal(path)
  assert.is(error.code, 'ENOENT')
  assert.match(error.message, /no such file/)
  assert.not.ok(fs.existsSync(path))
})

test('open: directory, character device, fifo -> ENOTBLK naming the kind', async () => {
  const fifo = join(folder, 'fifo')
  run('mkfifo', fifo)
  for (const [path, kind] of [
    [folder, /is a directory/],
    ['/dev/null', /is a character device/],
    [fifo, /is a fifo/],
  ] as const) {
    for (const readOnly of [false, true]) {
      const error = await refusal(path, { readOnly })
      assert.is(error.code, 'ENOTBLK')
      assert.match(error.message, kind)
    }
  }
})

test('open: no permission -> EACCES naming --ro when writing was asked for', async () => {
  const path = newImage()
  fs.chmodSync(path, 0o444)
  fs.chmodSync(folder, 0o755)
  if (process.getuid?.() === 0) process.seteuid?.(65534)
  try {
    const error = await refusal(path)
    assert.is(error.code, 'EACCES')
    assert.match(error.message, /no permission to write.*--ro/)
    FileBackend.open(path, { readOnly: true }).close()
  } finally {
    if (process.getuid?.() === 0) process.seteuid?.(0)
  }
  fs.chmodSync(path, 0)
  if (process.getuid?.() === 0) process.seteuid?.(65534)
  try {
    assert.match((await refusal(path, { readOnly: true })).message, /no permission to read it/)
  } finally {
    if (process.getuid?.() === 0) process.seteuid?.(0)
  }
})

test('open: empty or below one sector -> EINVAL with the size', async () => {
  const path = join(folder, 'empty.img')
  fs.writeFileSync(path, '')
  assert.match((await refusal(path)).message, /is empty/)
  fs.writeFileSync(path, 'x'.repeat(100))
  const error = await refusal(path)
  assert.is(error.code, 'EINVAL')
  assert.match(error.message, /100 bytes/)
})

test('open: size not a multiple of 512 -> rounded down, warned of with both sizes, tail untouched', async () => {
  const path = newImage()
  fs.truncateSync(path, 4096 + 100)
  const warnings: string[] = []
  const disk = FileBackend.open(path, { onWarning: (message) => warnings.push(message) })
  assert.is(disk.capacityBytes, 4096)
  assert.is(warnings.length, 1)
  assert.match(warnings[0] ?? '', /4196.*4096/)
  assert.is(disk.write(4096, [pattern(512)]), 0)
  assert.is(await readAll(disk, 3584, [new Uint8Array(1024)]), 512)
  disk.close()
  assert.is(fs.statSync(path).size, 4196)
})

test('lock: open elsewhere -> EWOULDBLOCK naming the holder and the remedy, free again after close', () => {
  const path = newImage()
  const disk = FileBackend.open(path)
  for (const readOnly of [false, true]) {
    const answer = openInChild(path, { readOnly })
    assert.match(answer, /^EWOULDBLOCK .*in use by another process/)
    assert.match(answer, /--ro/)
    assert.match(answer, `pid ${process.pid}`)
  }
  assert.is(openInChild(path, { lock: false }), 'opened')
  disk.close()
  assert.is(openInChild(path), 'opened')
})

test('lock: open twice in one process -> refused, and says so', async () => {
  const path = newImage()
  const disk = FileBackend.open(path)
  assert.match((await refusal(path)).message, /in use by this same process/)
  disk.close()
})

test('lock: readers -> coexist, and keep writers out', () => {
  const path = newImage()
  const reader = FileBackend.open(path, { readOnly: true })
  assert.is(openInChild(path, { readOnly: true }), 'opened')
  assert.match(openInChild(path), /^EWOULDBLOCK /)
  reader.close()
})

test('read-only: write -> EROFS and the file as it was; read and flush work', async () => {
  const path = newImage()
  const disk = FileBackend.open(path, { readOnly: true })
  assert.is((await failureOf(() => disk.write(0, [pattern(512)]))).code, 'EROFS')
  assert.is(await readAll(disk, 0, [new Uint8Array(512)]), 512)
  disk.flush()
  disk.close()
  assert.ok(fs.readFileSync(path).every((byte) => byte === 0))
})

test(
  'read-only filesystem: opened for writing -> EROFS naming --ro; for reading -> opens',
  withMount(
    'ro',
    async (at) => {
      const path = join(at, 'ro.img')
      const error = await refusal(path)
      assert.is(error.code, 'EROFS')
      assert.match(error.message, /read-only filesystem.*--ro/)
      FileBackend.open(path, { readOnly: true }).close()
    },
    (at) => createImage(join(at, 'ro.img'), 4096),
  ),
)

test(
  'full filesystem: write -> what fits, then ENOSPC; the disk goes on',
  withMount('', async (at) => {
    const path = join(at, 'sparse.img')
    createImage(path, 4 << 20)
    const disk = FileBackend.open(path)
    let moved = 0
    const error = await failureOf(async () => {
      for (;;) moved += disk.write(moved, [pattern(64 << 10), pattern(64 << 10, 2)])
    })
    assert.is(error.code, 'ENOSPC')
    assert.ok(moved > 512 << 10 && moved <= 1 << 20, `${moved} bytes fit`)
    assert.is(disk.read(0, [new Uint8Array(512)]), 512)
    disk.close()
  }),
)

test(
  'full filesystem: write of 2048 buffers that fails half-way -> what was written, then the error',
  withMount('', async (at) => {
    const path = join(at, 'sparse.img')
    createImage(path, 4 << 20)
    const disk = FileBackend.open(path)
    await writeAll(disk, 0, [pattern(512 << 10)])
    const filler = fs.openSync(join(at, 'filler'), 'w')
    assert.throws(() => {
      for (;;) fs.writeSync(filler, new Uint8Array(4096))
    }, /ENOSPC/)
    const buffers = Array.from({ length: 2048 }, (_, i) => pattern(512, i))
    assert.is(disk.write(0, buffers), 512 << 10)
    assert.is((await failureOf(() => disk.write(512 << 10, buffers.slice(1024)))).code, 'ENOSPC')
    fs.closeSync(filler)
    disk.close()
  }),
)

test(
  'flush: write-back lost -> EIO, and every later flush fails too',
  withMount('', async (at) => {
    const path = join(at, 'sparse.img')
    createImage(path, 8 << 20)
    await withLoop(path, [], async (device) => {
      const disk = FileBackend.open(device)
      await writeAll(disk, 0, [new Uint8Array(6 << 20).fill(1)])
      const first = await failureOf(() => disk.flush())
      assert.ok(['EIO', 'ENOSPC'].includes(first.code), first.code)
      const second = await failureOf(() => disk.flush())
      assert.is(second.code, first.code)
      assert.match(second.message, /earlier flush/)
      disk.close()
    })
  }),
)

test('block device: loop device -> size from the device, reads and writes reach the file behind it', async () => {
  const path = newImage(1 << 20)
  await withLoop(path, [], async (device) => {
    const disk = FileBackend.open(device)
    assert.is(disk.capacityBytes, 1 << 20)
    assert.is(await writeAll(disk, (1 << 20) - 1024, [pattern(3), pattern(2000)]), 1024)
    disk.flush()
    assert.equal(new Uint8Array(fs.readFileSync(path).subarray(-1024, -1021)), pattern(3))
    const back = new Uint8Array(2048)
    assert.is(await readAll(disk, (1 << 20) - 1024, [back]), 1024)
    assert.equal(back.subarray(3, 1024), pattern(2000).subarray(0, 1021))
    assert.match(openInChild(device), /^EWOULDBLOCK /)
    disk.close()
  })
})

test('block device: 5 GiB -> the size has more than 32 bits, the last sector is reached', async () => {
  await withLoop(newImage(5 * 2 ** 30), [], async (device) => {
    const disk = FileBackend.open(device)
    assert.is(disk.capacityBytes, 5 * 2 ** 30)
    assert.is(await writeAll(disk, 5 * 2 ** 30 - 512, [pattern(1024)]), 512)
    disk.close()
  })
})

test('block device: read-only -> EROFS naming --ro at open, not at the first write', async () => {
  await withLoop(newImage(), ['-r'], async (device) => {
    const error = await refusal(device)
    assert.is(error.code, 'EROFS')
    assert.match(error.message, /--ro/)
    const disk = FileBackend.open(device, { readOnly: true })
    assert.is(await readAll(disk, 0, [new Uint8Array(512)]), 512)
    disk.close()
  })
})

test('truncated while open: read -> short, then 0; grown and refreshed -> the new capacity', async () => {
  const path = newImage()
  const disk = FileBackend.open(path)
  await writeAll(disk, 0, [pattern(8192)])
  fs.truncateSync(path, 4096 + 10)
  const back = new Uint8Array(8192).fill(0xee)
  assert.is(disk.read(0, [back.subarray(0, 4096), back.subarray(4096)]), 4106)
  assert.equal(back.subarray(0, 4106), pattern(8192).subarray(0, 4106))
  assert.ok(back.subarray(4106).every((byte) => byte === 0xee))
  assert.is(disk.read(4106, [back]), 0)
  fs.truncateSync(path, 128 << 10)
  assert.is(disk.refreshCapacity(), 128 << 10)
  assert.is(await writeAll(disk, (128 << 10) - 512, [pattern(512)]), 512)
  disk.close()
})

test('close: 1000 times after open, also when opening fails -> no descriptor is left', async () => {
  const path = newImage()
  const before = openDescriptors()
  for (let i = 0; i < 1000; i++) {
    const disk = FileBackend.open(path)
    if (i % 10 === 0) await failureOf(() => FileBackend.open(path))
    disk.close()
    disk.close()
  }
  assert.is(openDescriptors(), before)
})

test('close: then any use -> EBADF', async () => {
  const disk = FileBackend.open(newImage())
  disk.close()
  for (const use of [
    () => disk.read(0, [new Uint8Array(512)]),
    () => disk.write(0, [pattern(512)]),
    () => disk.flush(),
    () => disk.refreshCapacity(),
  ]) {
    assert.is((await failureOf(use)).code, 'EBADF')
  }
})

test('createImage: new path -> sparse zeroes; existing path -> EEXIST and left alone', async () => {
  const path = newImage(1 << 30)
  assert.is(fs.statSync(path).size, 1 << 30)
  assert.ok(fs.statSync(path).blocks * 512 < 1 << 20)
  const taken = join(folder, 'taken.img')
  fs.writeFileSync(taken, 'precious')
  assert.is((await failureOf(() => createImage(taken, 512))).code, 'EEXIST')
  assert.is(fs.readFileSync(taken, 'utf8'), 'precious')
  fs.symlinkSync(join(folder, 'nowhere.img'), join(folder, 'dangling.img'))
  assert.is((await failureOf(() => createImage(join(folder, 'dangling.img'), 512))).code, 'EEXIST')
  assert.not.ok(fs.existsSync(join(folder, 'nowhere.img')))
})

test('createImage: bad size, or a size the filesystem refuses -> error, no file left', async () => {
  const path = join(folder, 'never.img')
  for (const bytes of [0, -512, 511, 513, 512.5, Number.NaN, 2 ** 63]) {
    assert.is((await failureOf(() => createImage(path, bytes))).code, 'EINVAL')
    assert.not.ok(fs.existsSync(path))
  }
  assert.is((await failureOf(() => createImage(path, 2 ** 52))).code, 'EFBIG')
  assert.not.ok(fs.existsSync(path))
  assert.is((await failureOf(() => createImage(join(folder, 'no', 'x.img'), 512))).code, 'ENOENT')
})

test.run()
