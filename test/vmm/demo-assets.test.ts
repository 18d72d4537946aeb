// The files of the page's Linux view: made with one boot of Debian in v86, found again in the cache, left out when the
// making is broken off; and the saved machine resumed with its own disk, with what it left there, and with another
// disk. Needs what linux.test.ts needs; without it the file says so, and only the list of the files is tested.

import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { guestAssets } from '../../host/vmm/debian.ts'
import { type DemoAssets, demoAssets } from '../../host/vmm/demo-assets.ts'
import { demoGreeting } from '../../host/vmm/demo-guest.ts'
import { makeManifest, readManifest } from '../../host/vmm/demo-manifest.ts'
import { resumeLinux } from '../../host/vmm/linux-boot.ts'
import { type SavedMachine, unpackSavedMachine } from '../../host/vmm/saved-machine.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import type { V86Runtime } from '../../host/vmm/v86-types.ts'
import { sleep } from '../support/within.ts'

const list = suite('list of the demo files')

const FILE = { name: 'a-1.save', bytes: 5 }
const PACKED = { ...FILE, unpackedBytes: 9 }
const PARTS = {
  v86: '0.5',
  packages: {},
  files: { machine: FILE, image: PACKED, wasm: PACKED, library: FILE, licence: FILE },
}

list('a list as it is made -> read back; whatever is wrong with it -> one line that says what', () => {
  const good = makeManifest(PARTS)
  assert.equal(readManifest(JSON.stringify(good)), good)
  const wrong: [unknown, RegExp][] = [
    [undefined, /is not JSON/],
    [null, /has format undefined/],
    [{ ...good, format: 9 }, /has format 9, this page reads 1/],
    [{ ...good, v86: 1 }, /which v86/],
    [{ ...good, files: undefined }, /no file for "machine"/],
    [{ ...good, files: { ...good.files, library: { ...FILE, name: '../x.mjs' } } }, /no file for "library"/],
    [{ ...good, files: { ...good.files, library: { ...FILE, name: 'http://x/x.mjs' } } }, /no file for "library"/],
    [{ ...good, files: { ...good.files, wasm: { ...PACKED, bytes: -1 } } }, /no size for "wasm"/],
    [{ ...good, files: { ...good.files, image: FILE } }, /no unpacked size of image/],
  ]
  for (const [value, message] of wrong) assert.throws(() => readManifest(JSON.stringify(value) ?? '{'), message)
})

list.run()

const TIMEOUT_MS = 120_000

interface Ready {
  readonly runtime: V86Runtime
  /** a cache of our own with the guest's files in it */
  readonly cacheFolder: string
}

async function prepare(): Promise<Ready | undefined> {
  try {
    const runtime = await loadV86()
    const { folder } = await guestAssets()
    const cacheFolder = await mkdtemp(join(tmpdir(), 'vblk-demo-'))
    await symlink(folder, join(cacheFolder, basename(folder)))
    return { runtime, cacheFolder }
  } catch (error) {
    if (!(error instanceof Error) || !/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    console.log(`skipped: the files of the Linux view: ${error.message}`)
    return undefined
  }
}

const demo = suite('demo files')
const ready = await prepare()

demo.after(async () => {
  if (ready) await rm(ready.cacheFolder, { recursive: true, force: true })
})

let made: Promise<DemoAssets> | undefined
function assets(): Promise<DemoAssets> {
  assert.ok(ready)
  made ??= demoAssets({ cacheFolder: ready.cacheFolder })
  return made
}

demo('broken off while the guest boots -> the reason, and nothing in the cache', async () => {
  assert.ok(ready)
  const { cacheFolder } = ready
  const stop = new AbortController()
  const progress = (text: string): void => {
    if (text.startsWith('booting')) setTimeout(() => stop.abort(new Error('enough')), 300)
  }
  await demoAssets({ cacheFolder, progress, signal: stop.signal }).then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'enough'),
  )
  assert.equal(
    (await readdir(cacheFolder)).filter((name) => !name.startsWith('guest-')),
    [],
  )
})

demo('made once: all files of the list, and no boot the second time', async () => {
  assert.ok(ready)
  const first = await assets()
  const names = Object.values(first.manifest.files).map(({ name }) => name)
  assert.equal((await readdir(first.folder)).sort(), [...names, 'manifest.json'].sort())
  const again = await demoAssets({
    cacheFolder: ready.cacheFolder,
    progress: (text) => assert.unreachable(`the second time: ${text}`),
  })
  assert.equal(again, first)
  console.log(`\n  ${first.bytes} bytes, ${first.manifest.files.machine.bytes} of them the saved machine`)
})

async function savedMachine(): Promise<SavedMachine> {
  const { folder, manifest } = await assets()
  return unpackSavedMachine(await readFile(join(folder, manifest.files.machine.name)))
}

async function firstImage(): Promise<Uint8Array> {
  const { folder, manifest } = await assets()
  return gunzipSync(await readFile(join(folder, manifest.files.image.name)))
}

/** Resumes the machine with the disk, types the lines at its prompt and pulls the plug; gives all that was printed. */
async function session(image: Uint8Array, lines: readonly string[]): Promise<string> {
  assert.ok(ready)
  const saved = await savedMachine()
  const backend = new MemoryBackend(image)
  let text = ''
  const guest = await resumeLinux({
    runtime: ready.runtime,
    saved,
    onConsole: (bytes) => {
      text += Buffer.from(bytes).toString()
    },
    disk: (memory, onInterrupt) =>
      VirtioBlk.restore(saved.disk, { memory, backend, onInterrupt, override: ['capacity'] }),
  })
  guest.serialWrite(demoGreeting(30, 100, Date.UTC(2033, 1, 3)))
  const prompt = async (): Promise<void> => {
    for (const end = performance.now() + TIMEOUT_MS; performance.now() < end; await sleep(20)) {
      // The shell asks the terminal where it stands, with an escape sequence.
      if (/guest:\/(mnt)?# (.\[6n)?$/.test(text)) return
    }
    throw new Error(`no prompt:\n${text}`)
  }
  try {
    await prompt()
    for (const line of lines) {
      guest.serialWrite(`${line}\n`)
      text += '\n' // no longer at a prompt
      await prompt()
    }
  } finally {
    await guest.stop()
    await guest.finished.catch(() => {})
  }
  return text
}

demo('resumed: its disk is mounted; size of the terminal and time are what it was told', async () => {
  const text = await session(await firstImage(), ['stty size; date -u +%Y; ls; echo more >/mnt/more'])
  assert.match(text, '/dev/vda, 32 MiB, is mounted on /mnt.')
  assert.match(text, /\n30 100\r\n2033\r\n/)
  assert.match(text, /README/)
  assert.not.match(text, 'journal')
})

demo(
  'resumed again with the disk it left without a power-off -> the journal is replayed, what was synced is there',
  async () => {
    const image = await firstImage()
    await session(image, ['echo kept >/mnt/kept; sync'])
    const text = await session(image, ['cat /mnt/kept'])
    assert.match(text, 'ext4 found a disk that was not unmounted')
    assert.match(text, /\nkept\r\n/)
  },
)

demo('resumed with a disk of another size and nothing on it -> says what to do, and that works', async () => {
  const text = await session(new Uint8Array(8 << 20), [
    'mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo size=$(cat /sys/block/vda/size)',
    'grep -c vda /proc/mounts',
  ])
  assert.match(text, '/dev/vda has no ext4 filesystem')
  assert.match(text, 'mkfs.ext4 /dev/vda && mount /dev/vda /mnt')
  assert.match(text, 'size=16384\r\n')
  assert.match(text, /\n1\r\n/)
})

if (ready) demo.run()
