// Fetching the guest's files: what happens without apt, without a network, without the package, and with a filled
// cache. Programs called apt-get, apt-cache and dpkg-deb are shell scripts here; the real ones run in linux.test.ts
// if the cache is empty.

import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseRecord, publishFolder } from '../../host/vmm/apt.ts'
import { defaultCacheFolder, guestAssets, haveGuestAssets, kvmGuestAssets } from '../../host/vmm/debian.ts'

const debian = suite('guest assets')
const path = process.env.PATH
let work = ''

debian.before.each(async () => {
  work = await mkdtemp(join(tmpdir(), 'vblk-assets-'))
})

debian.after.each(async () => {
  process.env.PATH = path
  await rm(work, { recursive: true, force: true })
})

/** Makes PATH one folder with these shell scripts. */
async function fakePath(programs: Record<string, string>): Promise<void> {
  const bin = join(work, 'bin')
  await mkdir(bin)
  for (const [name, body] of Object.entries(programs)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`)
    await chmod(join(bin, name), 0o755)
  }
  process.env.PATH = bin
}

/** The message with which fetching fails; the cache must be left without a trace. */
async function failure(fetch: typeof guestAssets | typeof kvmGuestAssets = guestAssets): Promise<string> {
  const cacheFolder = join(work, 'cache')
  try {
    await fetch({ cacheFolder })
  } catch (error) {
    assert.is((error as Error).name, 'GuestAssetsError')
    assert.not.ok((error as Error).message.includes('\n'), 'one line')
    assert.equal(await readdir(cacheFolder), [])
    return (error as Error).message
  }
  throw new Error('it did not fail')
}

/** A filled cache with contents of our own. */
async function fill(cache: string, name: string, seconds: number): Promise<string> {
  const folder = join(cache, name)
  await mkdir(folder, { recursive: true })
  const files = { bzImage: 3, 'bios.bin': 2, 'initramfs.cpio': 4 }
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(folder, file), Buffer.alloc(bytes, name))
  const manifest = join(folder, 'manifest.json')
  await writeFile(manifest, JSON.stringify({ packages: { seabios: name }, files }))
  await utimes(manifest, seconds, seconds)
  return folder
}

debian('no apt: a PATH without apt-get -> says so, and where it works', async () => {
  await fakePath({})
  assert.match(await failure(), /^apt-get is not installed: .*Debian 12/)
  await rm(join(work, 'bin'), { recursive: true })
  await fakePath({ 'apt-get': 'exit 0', 'apt-cache': 'exit 0' })
  assert.match(await failure(), /^dpkg-deb is not installed/)
})

debian('no network: apt cannot fetch its lists -> the reason and "check the network"', async () => {
  await fakePath({
    'apt-get': `echo "W: Failed to fetch http://deb.debian.org/x  Temporary failure resolving 'deb.debian.org'" >&2`,
    'apt-cache': 'echo "N: Unable to locate package" >&2; exit 100',
    'dpkg-deb': 'exit 0',
  })
  assert.match(await failure(), /^cannot reach the Debian archive \(Failed to fetch .*\): check the network$/)
})

debian('no such package: lists without an i386 kernel -> which package, and what to add', async () => {
  await fakePath({ 'apt-get': 'exit 0', 'apt-cache': 'exit 100', 'dpkg-deb': 'exit 0' })
  assert.match(await failure(), /^apt has no package linux-image-686 for i386: add Debian 12 \(bookworm\)/)
  const forKvm = /^apt has no package linux-image-cloud-amd64 for amd64: add Debian 12 \(bookworm\)/
  assert.match(await failure(kvmGuestAssets), forKvm)
})

debian('downloaded file: another digest than the signed list has -> refused', async () => {
  const record = (name: string, depends: string): string =>
    `Package: ${name}\\nVersion: 1\\nDepends: ${depends}\\nSHA256: ${'0'.repeat(64)}\\nSize: 5\\n`
  await fakePath({
    'apt-get': 'case "$*" in *download*) echo evil > x_1_i386.deb;; esac',
    'apt-cache': `for last; do :; done; printf "Package: $last\\n${record('x', 'linux-image-6.1.0-1-686 (= 1)').slice(12)}"`,
    'dpkg-deb': 'echo must not run >&2; exit 1',
  })
  assert.match(await failure(), /^cannot download linux-image-6\.1\.0-1-686, .*digests/)
})

debian('cache: filled -> used without any program, the newest complete folder, in less than 0.3 s', async () => {
  process.env.PATH = join(work, 'nothing')
  const cacheFolder = join(work, 'cache')
  assert.not.ok(await haveGuestAssets(cacheFolder))
  await fill(cacheFolder, 'guest-1-old', 1000)
  const good = await fill(cacheFolder, 'guest-1-new', 2000)
  await writeFile(join(await fill(cacheFolder, 'guest-1-torn', 3000), 'bzImage'), 'x')
  await fill(cacheFolder, 'guest-0-format', 4000)
  await mkdir(join(cacheFolder, 'work-abandoned'))
  assert.ok(await haveGuestAssets(cacheFolder))
  const start = performance.now()
  const assets = await guestAssets({ cacheFolder })
  assert.ok(performance.now() - start < 300)
  assert.is(assets.folder, good)
  assert.equal(assets.packages, { seabios: 'guest-1-new' })
  assert.equal([assets.bzImage.length, assets.bios.length, assets.initramfs.length], [3, 2, 4])
  assert.is(assets.vmlinux, undefined)
})

debian('cache: guests for v86 and for KVM -> each its own folder', async () => {
  process.env.PATH = join(work, 'nothing')
  const cacheFolder = join(work, 'cache')
  const forKvm = await fill(cacheFolder, 'guest-amd64-1-x', 1000)
  assert.not.ok(await haveGuestAssets(cacheFolder))
  const forV86 = await fill(cacheFolder, 'guest-1-x', 2000)
  const assets = await kvmGuestAssets({ cacheFolder })
  assert.is(assets.folder, forKvm)
  assert.not.ok('bios' in assets)
  assert.is((await guestAssets({ cacheFolder })).folder, forV86)
})

debian('cache: a folder that cannot be written -> says which and what to set', async () => {
  await writeFile(join(work, 'file'), '')
  try {
    await guestAssets({ cacheFolder: join(work, 'file', 'cache') })
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, /^cannot write the cache folder .*set XDG_CACHE_HOME$/)
  }
})

debian('cache: two processes finish at the same time -> one result stays, no error', async () => {
  const place = join(work, 'guest')
  for (const name of ['first', 'second']) {
    await mkdir(join(work, name))
    await writeFile(join(work, name, 'who'), name)
    await publishFolder(join(work, name), place)
  }
  assert.equal(await readdir(work), ['guest'])
})

debian('cache folder: XDG_CACHE_HOME -> used; without it ~/.cache', () => {
  assert.is(defaultCacheFolder({ XDG_CACHE_HOME: '/x' }), '/x/virtio-blk-wasm')
  assert.match(defaultCacheFolder({}), /\/\.cache\/virtio-blk-wasm$/)
})

debian('apt-cache show: a record -> the fields, dependencies by name, Pre-Depends first', () => {
  const text = `Package: e2fsprogs
Version: 1.47.0-2+b2
Depends: logsave, a:any | b
Pre-Depends: libblkid1 (>= 2.36), libc6 (>= 2.34)
Description: ext2/ext3/ext4 file system utilities
 Depends: not a field
SHA256: abc
Size: 610912

Package: other
`
  assert.equal(parseRecord(text), {
    name: 'e2fsprogs',
    version: '1.47.0-2+b2',
    sha256: 'abc',
    bytes: 610912,
    depends: ['libblkid1', 'libc6', 'logsave', 'a'],
  })
  assert.is(parseRecord('Package: x\nVersion: 1\n'), undefined)
})

debian.run()
