// cpio archives: the exact bytes of a small one, the rules of paths, and how archives follow each other. That Linux
// unpacks them is shown by linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { acpiArchive, concatArchives, cpio } from '../../host/vmm/initramfs.ts'

const initramfs = suite('initramfs')

interface Found {
  path: string
  mode: string
  body: string
  major: number
  minor: number
}

/** An independent reader of the newc format. */
function list(archive: Uint8Array): Found[] {
  const buffer = Buffer.from(archive)
  const found: Found[] = []
  for (let at = 0; at < buffer.length; ) {
    if (buffer[at] === 0) {
      at += 4
      continue
    }
    assert.is(buffer.toString('latin1', at, at + 6), '070701')
    const field = (n: number): number => Number.parseInt(buffer.toString('latin1', at + 6 + n * 8, at + 14 + n * 8), 16)
    const nameEnd = at + 110 + field(11)
    const body = Math.ceil(nameEnd / 4) * 4
    const path = buffer.toString('utf8', at + 110, nameEnd - 1)
    const end = body + field(6)
    const item = { path, mode: field(1).toString(8), body: buffer.toString('utf8', body, end) }
    if (path !== 'TRAILER!!!') found.push({ ...item, major: field(9), minor: field(10) })
    at = Math.ceil(end / 4) * 4
  }
  return found
}

initramfs('cpio: one file -> exactly these bytes', () => {
  const word = (value: number): string => value.toString(16).padStart(8, '0')
  const header = (...fields: number[]): string => `070701${fields.map(word).join('')}`
  const expected = Buffer.alloc(512)
  // inode, mode, uid, gid, links, time, size, device x2, special device x2, name length, check
  expected.write(`${header(1, 0o100755, 0, 0, 1, 0, 5, 0, 0, 0, 0, 5, 0)}init\0\0hello`, 0, 'latin1')
  expected.write(`${header(0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)}TRAILER!!!\0`, 124, 'latin1')
  assert.is(
    Buffer.from(cpio([{ path: '/init', file: 'hello', mode: 0o755 }])).toString('latin1'),
    expected.toString('latin1'),
  )
})

initramfs('cpio: every kind of entry -> read back as given, parents added before children', () => {
  const archive = cpio([
    { path: 'a/b/file', file: new TextEncoder().encode('x'.repeat(4097)) },
    { path: 'a/b', directory: true },
    { path: 'a/link', symlink: 'b/file' },
    { path: 'dev/console', device: 'char', major: 5, minor: 1 },
    { path: 'dev/vda', device: 'block', major: 254, minor: 0 },
    { path: 'empty', file: '' },
    { path: 'ümlaut', file: 'é' },
  ])
  assert.is(archive.length % 512, 0)
  const plain = { major: 0, minor: 0, body: '' }
  assert.equal(list(archive), [
    { ...plain, path: 'a', mode: '40755' },
    { ...plain, path: 'a/b', mode: '40755' },
    { ...plain, path: 'a/b/file', mode: '100644', body: 'x'.repeat(4097) },
    { ...plain, path: 'a/link', mode: '120777', body: 'b/file' },
    { ...plain, path: 'dev', mode: '40755' },
    { ...plain, path: 'dev/console', mode: '20600', major: 5, minor: 1 },
    { ...plain, path: 'dev/vda', mode: '60600', major: 254, minor: 0 },
    { ...plain, path: 'empty', mode: '100644' },
    { ...plain, path: 'ümlaut', mode: '100644', body: 'é' },
  ])
})

initramfs('cpio: a path twice or outside the archive -> RangeError', () => {
  const file = 'x'
  assert.throws(
    () =>
      cpio([
        { path: 'a', file },
        { path: '/a', file },
      ]),
    /'a' appears twice/,
  )
  for (const path of ['', '/', '../a', 'a/./b', 'a//b']) {
    assert.throws(() => cpio([{ path, file }]), /not a path inside/, path)
  }
})

initramfs('cpio: the same entries -> the same bytes', () => {
  const make = (): string => Buffer.from(cpio([{ path: 'a/b', file: 'c' }])).toString('hex')
  assert.is(make(), make())
})

initramfs('ACPI archive: two tables -> two .aml files where Linux looks', () => {
  const archive = acpiArchive([Uint8Array.of(1), Uint8Array.of(2)])
  assert.equal(
    list(archive)
      .map(({ path }) => path)
      .slice(-2),
    ['kernel/firmware/acpi/ssdt0.aml', 'kernel/firmware/acpi/ssdt1.aml'],
  )
})

initramfs('archives: put one after another -> each starts on a multiple of 512, the last is not padded', () => {
  const whole = concatArchives([new Uint8Array(10).fill(1), new Uint8Array(513).fill(2), new Uint8Array(3).fill(3)])
  assert.is(whole.length, 512 + 1024 + 3)
  assert.equal([whole[0], whole[9], whole[10], whole[511]], [1, 1, 0, 0])
  assert.equal([whole[512], whole[1024], whole[1025]], [2, 2, 0])
  assert.equal([...whole.subarray(1536)], [3, 3, 3])
  const first = cpio([{ path: 'first', file: '1' }])
  const second = cpio([{ path: 'second', file: '2' }])
  assert.equal(
    list(concatArchives([first, second])).map(({ path }) => path),
    ['first', 'second'],
  )
})

initramfs.run()
