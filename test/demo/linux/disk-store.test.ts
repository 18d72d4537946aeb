// The page's disk between visits, over a file system in memory: the first visit, the next, an import, one that fails in
// the middle, another tab. And what may be imported.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../../host/backend/memory.ts'
import { DiskStore, type ImageSource } from '../../../host/demo/linux/disk-store.ts'
import { bytesSource, checkImage, fileSource, imageOf } from '../../../host/demo/linux/images.ts'
import { pattern } from '../../backend/suite.ts'
import { FakeFolder } from '../../support/fake-opfs.ts'

const test = suite('disk store')

const MIB = 1 << 20

/** The folder's names without that of the lock. */
function disks({ files }: FakeFolder): string[] {
  return [...files.keys()].filter((name) => name !== 'lock')
}

function bytesOf(folder: FakeFolder, name: string): Uint8Array | undefined {
  return folder.files.get(name)?.bytes
}

function never(): Promise<ImageSource> {
  throw new Error('the first image was asked for again')
}

test('first visit: the image is unpacked, and marked complete last; the next visit finds what was written', async () => {
  const folder = new FakeFolder()
  const content = pattern(2 * MIB)
  content.fill(0, 4096, MIB + 4096)
  const visit = new DiskStore(folder)
  const first = await visit.open(async () => bytesSource(content))
  assert.equal(disks(folder), ['disk-1.img', 'disk-1.ready'])
  assert.equal(bytesOf(folder, 'disk-1.img'), content)
  first.write(512, [pattern(512, 9)])
  first.close()
  visit.close()
  const second = await new DiskStore(folder).open(never)
  assert.is(second.capacityBytes, 2 * MIB)
  const back = new Uint8Array(512)
  second.read(512, [back])
  assert.equal(back, pattern(512, 9))
})

test('another tab: the disk is locked -> said so, and nothing is touched; free again -> opened', async () => {
  const folder = new FakeFolder()
  const tab = new DiskStore(folder)
  const first = await tab.open(async () => bytesSource(pattern(4096)))
  await new DiskStore(folder, 2).open(never).then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.name, 'DiskLockedError'),
  )
  const waiting = new DiskStore(folder, 50).open(never)
  first.close()
  tab.close()
  assert.is((await waiting).capacityBytes, 4096)
})

test('two tabs at the first visit: the second waits for the lock, and makes no disk of its own', async () => {
  const folder = new FakeFolder()
  let goOn = (): void => {}
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let hasBegun = (): void => {}
  const begun = new Promise<void>((resolve) => {
    hasBegun = resolve
  })
  async function* slow(): AsyncGenerator<Uint8Array> {
    hasBegun()
    await gate
    yield pattern(4096)
  }
  const opened = new DiskStore(folder).open(async () => ({ bytes: 4096, pieces: slow }))
  await begun
  const error = await new DiskStore(folder, 2).open(async () => bytesSource(pattern(512, 2))).catch((one: Error) => one)
  assert.is((error as Error).name, 'DiskLockedError')
  goOn()
  assert.is((await opened).capacityBytes, 4096)
  assert.equal(disks(folder), ['disk-1.img', 'disk-1.ready'])
})

test('open: what fails -> the lock is free again for the next attempt', async () => {
  const folder = new FakeFolder()
  const failing = async (): Promise<ImageSource> => {
    throw new Error('the image cannot be loaded')
  }
  const error = await new DiskStore(folder).open(failing).catch((one: Error) => one)
  assert.match((error as Error).message, 'cannot be loaded')
  assert.is((await new DiskStore(folder, 1).open(async () => bytesSource(pattern(512)))).capacityBytes, 512)
})

test('tidy: a disk that is open somewhere keeps its mark too', async () => {
  const folder = new FakeFolder()
  // Of a page before this one, which knew of no lock.
  const elsewhere = await (await folder.getFileHandle('disk-1.img', { create: true })).createSyncAccessHandle()
  await folder.getFileHandle('disk-1.ready', { create: true })
  const store = new DiskStore(folder)
  ;(await store.replace(bytesSource(pattern(512)))).close()
  await store.tidy()
  assert.equal(disks(folder).sort(), ['disk-1.img', 'disk-1.ready', 'disk-2.img', 'disk-2.ready'])
  elsewhere.close()
  await store.tidy()
  assert.equal(disks(folder), ['disk-2.img', 'disk-2.ready'])
})

test('interrupted at the first visit: what is left is gone before the next disk is made', async () => {
  const folder = new FakeFolder()
  await folder.getFileHandle('disk-3.img', { create: true })
  await folder.getFileHandle('disk-4.ready', { create: true })
  let seen: string[] = []
  await new DiskStore(folder).open(async () => {
    seen = disks(folder)
    return bytesSource(pattern(512))
  })
  assert.equal(seen, [], 'it would take the room that the new one needs')
  assert.equal(disks(folder), ['disk-1.img', 'disk-1.ready'])
})

test('replace: the old disk stays until the new one is complete, and goes then', async () => {
  const folder = new FakeFolder()
  const store = new DiskStore(folder)
  const old = await store.open(async () => bytesSource(pattern(4096)))
  const seen: number[] = []
  const next = await store.replace(bytesSource(pattern(3 * MIB, 2)), (done) => seen.push(done))
  assert.equal(seen, [MIB, 2 * MIB, 3 * MIB])
  await store.tidy()
  assert.ok(folder.files.has('disk-1.img'), 'it is open still')
  old.close()
  await store.tidy()
  assert.equal(disks(folder), ['disk-2.img', 'disk-2.ready'])
  next.close()
  store.close()
  assert.is((await new DiskStore(folder).open(never)).capacityBytes, 3 * MIB)
})

test('replace: the source fails, ends early or late -> the old disk is the disk, nothing of the new one stays', async () => {
  const folder = new FakeFolder()
  const store = new DiskStore(folder)
  const old = await store.open(async () => bytesSource(pattern(4096)))
  const broken: [ImageSource, RegExp][] = [
    [{ bytes: 1024, pieces: () => pieces([512], new Error('the file went away')) }, /went away/],
    [{ bytes: 1024, pieces: () => pieces([512]) }, /has 512 bytes instead of 1024/],
    [{ bytes: 1024, pieces: () => pieces([512, 1024]) }, /more than 1024 bytes/],
  ]
  for (const [source, message] of broken) {
    await store.replace(source).then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, message),
    )
    assert.equal(disks(folder), ['disk-1.img', 'disk-1.ready'])
  }
  old.close()
  store.close()
  assert.is((await new DiskStore(folder).open(never)).capacityBytes, 4096)
})

async function* pieces(lengths: number[], error?: Error): AsyncGenerator<Uint8Array> {
  for (const length of lengths) yield pattern(length)
  if (error) throw error
}

test('interrupted: an image without its mark -> not the disk, and removed at the next visit', async () => {
  const folder = new FakeFolder()
  const visit = new DiskStore(folder)
  ;(await visit.open(async () => bytesSource(pattern(4096)))).close()
  visit.close()
  await folder.getFileHandle('disk-7.img', { create: true })
  await folder.getFileHandle('not-ours.txt', { create: true })
  const disk = await new DiskStore(folder).open(never)
  assert.is(disk.capacityBytes, 4096)
  assert.equal(disks(folder), ['disk-1.img', 'disk-1.ready', 'not-ours.txt'])
})

function file(bytes: Uint8Array<ArrayBuffer>, name = 'my.img'): File {
  return new File([bytes], name)
}

async function refusal(given: File, room = 1 << 30): Promise<string> {
  return checkImage(given, room).then(
    () => '',
    (error: Error) => error.message,
  )
}

test('import: what is no raw image, or has no room -> one line with the remedy', async () => {
  const sector = new Uint8Array(512)
  assert.is(await refusal(file(sector)), '')
  assert.is(await refusal(file(new Uint8Array())), 'my.img has 0 bytes: a raw disk image is a multiple of 512 above 0')
  assert.match(await refusal(file(new Uint8Array(513))), '513 bytes')
  assert.match(
    await refusal(file(Uint8Array.from([0x51, 0x46, 0x49, 0xfb, ...new Uint8Array(508)]))),
    'qemu-img convert',
  )
  assert.match(await refusal(file(Uint8Array.from([0x1f, 0x8b, ...new Uint8Array(510)]))), 'gunzip')
  assert.is(await refusal(file(sector), 100), 'my.img has 512 B, and there is room for 100 B')
})

test('export: a disk of some pieces -> the same bytes as a file, and back', async () => {
  const content = new Uint8Array(2 * MIB + 4096)
  content.set(pattern(content.length))
  const blob = imageOf(new MemoryBackend(content))
  assert.equal(new Uint8Array(await blob.arrayBuffer()), content)
  const back = new MemoryBackend(content.length)
  let at = 0
  for await (const piece of fileSource(blob).pieces()) at += back.write(at, [piece])
  assert.equal(back.bytes, content)
})

test.run()
