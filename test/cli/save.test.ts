// `vblk boot --save` and `--resume` as a user meets them. What cannot be is refused before anything is booted, and
// leaves every file as it was. One guest is saved in the middle of its writes and resumed, if Debian's packages can
// be had; what the saved file may be like is in test/vmm/saved-machine.test.ts.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createImage } from '../../host/backend/image.ts'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { GuestAssetsError, guestAssets } from '../../host/vmm/debian.ts'
import { packSavedMachine } from '../../host/vmm/saved-machine.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import { assertRefused, vblk } from './run-vblk.ts'

const test = suite<{ folder: string; image: string; file: string }>('vblk boot --save')

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'vblk-save-'))
  context.image = join(context.folder, 'disk.img')
  context.file = join(context.folder, 'saved')
  createImage(context.image, 1 << 20)
})

test.after.each((context) => {
  rmSync(context.folder, { recursive: true, force: true })
})

test('save: no such directory, or no directory -> refused before booting', ({ folder, image }) => {
  const none = join(folder, 'none', 'saved')
  assertRefused(vblk(['boot', '--disk', image, '--save', none]), `--save ${none}`, 'no directory')
  assertRefused(vblk(['boot', '--disk', image, '--save', join(image, 'saved')]), 'no directory')
  assert.equal(readdirSync(folder), ['disk.img'])
})

test('save: onto what is no saved machine -> refused, and left as it is', ({ folder, image, file }) => {
  writeFileSync(file, 'my thesis')
  assertRefused(vblk(['boot', '--disk', image, '--save', file]), file, 'no saved machine')
  assert.is(readFileSync(file, 'utf8'), 'my thesis')
  assertRefused(vblk(['boot', '--disk', image, '--save', image]), 'disk image')
  const link = join(folder, 'link')
  symlinkSync(image, link)
  assertRefused(vblk(['boot', '--disk', image, '--save', link]), 'disk image')
  mkdirSync(join(folder, 'folder'))
  assertRefused(vblk(['boot', '--disk', image, '--save', join(folder, 'folder')]), 'no regular file')
})

test('save: with --accel kvm -> refused, because only v86 can be saved', ({ image, file }) => {
  assertRefused(vblk(['boot', '--disk', image, '--save', file, '--accel', 'kvm']), '--save', 'v86', '--accel kvm')
  assertRefused(vblk(['boot', '--disk', image, '--resume', file, '--accel', 'kvm']), '--resume', 'v86')
})

test('save: accel auto -> v86, and why', ({ folder, image, file }) => {
  const { stderr } = vblk(['boot', '--disk', image, '--save', file], { PATH: folder, XDG_CACHE_HOME: folder })
  assert.match(stderr, 'in v86, because only there it can be saved')
  assert.not.ok(existsSync(file))
})

test('resume: with what the saved guest has already -> refused by name', ({ folder, image, file }) => {
  for (const name of ['script', 'kernel', 'initrd', 'bios', 'memory', 'append', 'cpus']) {
    assertRefused(vblk(['boot', '--disk', image, '--resume', file, `--${name}`, '64']), `--${name}`, '--resume')
  }
  assertRefused(vblk(['boot', '--disk', image, '--resume', file, '--ro']), '--ro', '--resume')
  assertRefused(vblk(['boot', '--disk', image, '--force']), '--force', '--resume')
  assert.equal(readdirSync(folder), ['disk.img'])
})

test('resume: no such file, another kind of file, half a file -> refused, the image unchanged', async ({
  image,
  file,
}) => {
  const before = readFileSync(image)
  assertRefused(vblk(['boot', '--disk', image, '--resume', file]), file, 'no such file')
  assertRefused(vblk(['boot', '--disk', image, '--resume', image]), image, 'another kind of file')
  const whole = await packSavedMachine({ ...SAVED, image: { bytes: 1 << 20, modified: '1', isReadOnly: false } })
  writeFileSync(file, whole.subarray(0, whole.length - 1))
  assertRefused(vblk(['boot', '--disk', image, '--resume', file]), file, 'cut off')
  assert.equal(readFileSync(image), before)
})

test('resume: the image is another one -> refused, with what is different and the remedy', async ({ image, file }) => {
  writeFileSync(file, await packSavedMachine({ ...SAVED, image: { bytes: 512, modified: '1', isReadOnly: false } }))
  const outcome = vblk(['boot', '--disk', image, '--resume', file])
  assertRefused(outcome, image, 'its size was 512 and is 1048576', '1970-01-01', '--force')
})

test('resume: a disk snapshot that is none, a state that is none -> refused, also with --force', async ({
  image,
  file,
}) => {
  const { version } = await loadV86()
  const saved = { ...SAVED, version, image: { bytes: 1 << 20, modified: '1', isReadOnly: false } }
  writeFileSync(file, await packSavedMachine(saved))
  assertRefused(vblk(['boot', '--disk', image, '--resume', file, '--force']), 'snapshot')
  const disk = await VirtioBlk.create({
    memory: GuestMemory.create({ ramBytes: 1 << 20 }),
    backend: new MemoryBackend(1 << 20),
  })
  writeFileSync(file, await packSavedMachine({ ...saved, disk: disk.snapshot() }))
  await disk.close()
  assertRefused(vblk(['boot', '--disk', image, '--resume', file, '--force']), 'v86 does not take the state')
})

/** Whole as a file, and nothing that a machine could go on with. */
const SAVED = {
  version: '0.0.1',
  memoryBytes: 96 << 20,
  window: 0xc0001000,
  irq: 5,
  console: { token: '0123456789abcdef'.repeat(2), begun: true, held: '' },
  hasScript: true,
  machine: { state: new Uint8Array(100), typed: new Uint8Array() },
  disk: new Uint8Array(3),
}

const linux = await guestAssets().catch((error: unknown) => {
  if (!(error instanceof GuestAssetsError)) throw error
  console.log(`skipped: vblk boot --save, with a guest: ${error.message}`)
})

if (linux) {
  test('save, resume: a script in the middle of its writes -> goes on, its exit status ours; then only with --force', ({
    folder,
    image,
    file,
  }) => {
    const script = join(folder, 'script')
    const lines = [
      'head -c 262144 /dev/urandom >/tmp/data',
      'dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2>/dev/null &',
      'sleep 1',
      'echo saving',
      'save',
      'echo "rc $?"',
      'wait; sync; echo 3 >/proc/sys/vm/drop_caches',
      'head -c 262144 /dev/vda | cmp - /tmp/data && echo same',
      'exit 9',
    ]
    writeFileSync(script, `${lines.join('\n')}\n`)
    const saved = vblk(['boot', '--disk', image, '--save', file, '--script', script, '--iops', '25'])
    assert.is(saved.status, 0, saved.stderr)
    assert.match(saved.stdout, 'saving')
    assert.not.match(saved.stdout, /rc/)
    assert.match(saved.stderr, `--resume ${file}`)
    assert.equal(readdirSync(folder).sort(), ['disk.img', 'saved', 'script'], 'and no temporary file')

    const start = performance.now()
    const resumed = vblk(['boot', '--disk', image, '--resume', file])
    console.log(`\n  resumed, wrote the rest and ended in ${((performance.now() - start) / 1000).toFixed(1)} s`)
    assert.is(resumed.status, 9, resumed.stderr)
    assert.match(resumed.stdout, /rc 0\r?\nsame/)
    assert.match(resumed.stderr, /writes completed +[1-9]/)

    assertRefused(vblk(['boot', '--disk', image, '--resume', file]), image, 'was written to', '--force')
    assert.is(vblk(['boot', '--disk', image, '--resume', file, '--force', '--iops', '5000']).status, 9)
  })

  test('save: a guest that ends without it -> its exit status, no file, and a line that says so', ({
    folder,
    image,
    file,
  }) => {
    const script = join(folder, 'script')
    writeFileSync(script, 'exit 4\n')
    const { status, stderr } = vblk(['boot', '--disk', image, '--save', file, '--script', script])
    assert.is(status, 4, stderr)
    assert.match(stderr, `${file} was not written`)
    assert.not.ok(existsSync(file))
  })

  test('save, resume: a shell, saved at the end of piped input -> goes on in the state it was in', ({
    image,
    file,
  }) => {
    const saved = vblk(['boot', '--disk', image, '--save', file], {}, [], 'kept=$((6 * 7))\n')
    assert.is(saved.status, 0, saved.stderr)
    const { status, stdout } = vblk(['boot', '--disk', image, '--resume', file], {}, [], 'echo answer $kept\n')
    assert.is(status, 0)
    assert.match(stdout, 'answer 42')
  })
}

test.run()
