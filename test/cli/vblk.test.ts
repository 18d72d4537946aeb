// The command line as a user meets it: each test runs build/vblk.js in a process of its own. Bad input gets one line
// that names the cause and the remedy, exit status 2, no stack trace and no half-made file. The one test that boots
// Linux needs Debian's packages and says so when it cannot have them.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FileBackend } from '../../host/backend/file.ts'
import { createImage } from '../../host/backend/image.ts'
import { GuestAssetsError, guestAssets } from '../../host/vmm/debian.ts'
import { assertRefused, vblk } from './run-vblk.ts'

const test = suite<{ folder: string; image: string }>('vblk')

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'vblk-test-'))
  context.image = join(context.folder, 'disk.img')
  createImage(context.image, 1 << 20)
})

test.after.each((context) => {
  rmSync(context.folder, { recursive: true, force: true })
})

test('help: --help -> lists the commands, status 0', () => {
  const { status, stdout } = vblk(['--help'])
  assert.is(status, 0)
  assert.match(stdout, 'boot')
  assert.match(stdout, 'start')
})

test('help: boot --help -> names every option, status 0', () => {
  const { status, stdout } = vblk(['boot', '--help'])
  assert.is(status, 0)
  const options =
    'disk ro script iops iops-burst bps bps-burst memory append accel cpus kernel initrd bios save resume force'.split(
      ' ',
    )
  for (const option of options) assert.match(stdout, `--${option}`)
  assert.match(stdout, 'Ctrl-]')
})

test('version: --version -> the version of the package', () => {
  assert.match(vblk(['--version']).stdout, /^\d+\.\d+\.\d+\n$/)
})

test('command: none -> the help on standard error, status 2', () => {
  const { status, stderr } = vblk([])
  assert.is(status, 2)
  assert.match(stderr, 'Usage')
})

test('command: unknown -> named, with the one that was meant, or those there are', () => {
  assertRefused(vblk(['bot']), "'bot'", 'nearest: boot', 'vblk --help')
  const all = 'boot, completion, conformance, demo, doctor, help, replay, shrink, start, trace'
  assertRefused(vblk(['elephant']), "'elephant'", all)
  assertRefused(vblk(['constructor']), "'constructor'")
})

test('option: unknown -> named', ({ image }) => {
  assertRefused(vblk(['boot', '--disk', image, '--fast']), '--fast', '--help')
})

test('option: value missing -> named', () => {
  assertRefused(vblk(['boot', '--disk']), '--disk')
})

test('option: stray word -> named', ({ image }) => {
  assertRefused(vblk(['boot', '--disk', image, 'please']), 'please')
})

test('disk: not given -> the option and how to make one', () => {
  assertRefused(vblk(['boot']), '--disk', 'truncate')
})

test('disk: missing file -> its name, and it is not made', ({ folder }) => {
  assertRefused(vblk(['boot', '--disk', join(folder, 'none.img')]), 'none.img')
  assert.equal(readdirSync(folder), ['disk.img'])
})

test('disk: a folder -> refused', ({ folder }) => {
  assertRefused(vblk(['boot', '--disk', folder]), folder)
})

test('disk: empty file -> refused with the remedy', ({ folder }) => {
  const empty = join(folder, 'empty.img')
  writeFileSync(empty, '')
  assertRefused(vblk(['boot', '--disk', empty]), 'empty', 'truncate')
})

test('disk: in use by another process -> refused, naming it', ({ image }) => {
  const other = FileBackend.open(image)
  try {
    assertRefused(vblk(['boot', '--disk', image]), image, 'in use')
  } finally {
    other.close()
  }
})

test('throttle: not a number, zero, negative -> the option by its name', ({ image }) => {
  for (const bad of ['ten', '0', '1.5', '99999999999999999999']) {
    assertRefused(vblk(['boot', '--disk', image, '--iops', bad]), '--iops', bad)
  }
  assertRefused(vblk(['boot', '--disk', image, '--bps=-1']), '--bps')
})

test('device rule 24: burst below rate, burst without rate -> both options by name', ({ image }) => {
  const below = ['boot', '--disk', image, '--iops', '10', '--iops-burst', '5']
  assertRefused(vblk(below), '--iops-burst (5)', '--iops (10)')
  assertRefused(vblk(['boot', '--disk', image, '--bps-burst', '5']), '--bps-burst', 'without --bps')
})

test('accel: what there is not -> refused, naming what there is', ({ image }) => {
  assertRefused(vblk(['boot', '--disk', image, '--accel', 'xen']), '--accel xen', 'kvm, v86, auto')
})

test('memory, cpus: out of range -> refused with the range', ({ image }) => {
  assertRefused(vblk(['boot', '--disk', image, '--memory', '5000']), '--memory', '64 to 1024', '128 to 3968')
  assertRefused(vblk(['boot', '--disk', image, '--memory', '1025', '--accel', 'v86']), '--memory', '64 to 1024')
  assertRefused(vblk(['boot', '--disk', image, '--cpus', '65']), '--cpus', '1 to 64')
  for (const wrong of ['0', 'x', '1.5', '']) {
    assertRefused(vblk(['boot', '--disk', image, '--cpus', wrong]), '--cpus', '1 to 64', `'${wrong}'`)
    assertRefused(vblk(['boot', '--disk', image, '--memory', wrong]), '--memory', '64 to 1024', `'${wrong}'`)
  }
  assertRefused(vblk(['boot', '--disk', image, '--cpus', '2', '--accel', 'v86']), '--cpus 2', 'one processor')
})

test('accel: auto without packages -> decided within 2 s, says which and why, before anything is fetched', ({
  folder,
  image,
}) => {
  const env = { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') }
  const { status, stderr } = vblk(['boot', '--disk', image], env)
  assert.is(status, 2)
  assert.match(stderr, /running the guest (in v86: .*vblk doctor|on KVM \(KVM: \S+)/)
})

test('accel: auto with what only v86 can use -> v86, and why', ({ folder, image }) => {
  const bios = join(folder, 'bios')
  writeFileSync(bios, 'bios')
  const env = { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') }
  assert.match(vblk(['boot', '--disk', image, '--bios', bios], env).stderr, /in v86, because .* BIOS/)
  // A boot sector and a header that say i386: no XLF_KERNEL_64.
  const kernel = new Uint8Array(4096)
  kernel.set([0x55, 0xaa], 0x1fe)
  kernel.set(Buffer.from('HdrS'), 0x202)
  kernel.set([0x0f, 0x02], 0x206)
  kernel[0x211] = 1
  writeFileSync(bios, kernel)
  assert.match(vblk(['boot', '--disk', image, '--kernel', bios], env).stderr, /in v86, because .* 64-bit/)
})

test('script, kernel: missing file -> refused', ({ folder, image }) => {
  for (const option of ['script', 'kernel', 'initrd', 'bios']) {
    assertRefused(vblk(['boot', '--disk', image, `--${option}`, join(folder, 'none')]), `--${option}`, 'no such file')
  }
})

test('kernel: not a kernel -> refused', ({ folder, image }) => {
  const kernel = join(folder, 'kernel')
  writeFileSync(kernel, 'no kernel '.repeat(1000))
  assertRefused(vblk(['boot', '--disk', image, '--kernel', kernel]), '--kernel', 'not a bzImage')
})

test('kernel: half of a file -> refused, whatever machine', ({ folder, image }) => {
  const kernel = join(folder, 'kernel')
  const half = Buffer.alloc(4096)
  half.set([0x55, 0xaa], 0x1fe)
  half.write('HdrS', 0x202)
  half.set([0x0f, 0x02], 0x206)
  half.writeUInt32LE(4096, 0x1f4) // 64 KiB, in paragraphs
  writeFileSync(kernel, half)
  for (const accel of ['auto', 'kvm', 'v86']) {
    assertRefused(vblk(['boot', '--disk', image, '--accel', accel, '--kernel', kernel]), '--kernel', 'cut off', '4096')
  }
})

test('kernel: no apt-get and nothing cached -> one line with the remedy, image unlocked', ({ folder, image }) => {
  const env = { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') }
  const { status, stderr } = vblk(['boot', '--disk', image, '--accel', 'v86'], env)
  assert.is(status, 2)
  assert.equal(stderr.trim().split('\n').length, 2, stderr) // which machine, and what is missing
  assert.match(stderr, 'apt-get')
  FileBackend.open(image).close()
})

test('node: too old -> one line that names the version needed', ({ folder }) => {
  const old = join(folder, 'old.cjs')
  writeFileSync(old, "Object.defineProperty(process.versions, 'node', { value: '18.20.0' })")
  assertRefused(vblk(['--help'], {}, ['--require', old]), '18.20.0', 'Node 20')
  const setup = spawnSync(process.execPath, ['--require', old, 'host/setup.mjs'], { encoding: 'utf8' })
  assert.is(setup.status, 2)
  assert.match(setup.stderr, /18\.20\.0.*version 20/)
})

test('start: no apt-get and nothing cached -> the same work by the driver, marked as such, status 0', ({ folder }) => {
  const { status, stdout, stderr } = vblk(['start'], { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') })
  assert.is(status, 0, stderr)
  assert.match(stderr, 'WITHOUT LINUX')
  assert.match(stderr, 'apt-get')
  assert.match(stderr, 'checksums equal')
  assert.match(stdout, 'WITHOUT LINUX')
  assert.match(stdout, /writes completed +\d+/)
})

test('start: --json -> the same as one document', ({ folder }) => {
  const env = { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') }
  const { status, stdout, stderr } = vblk(['start', '--json'], env)
  assert.is(status, 0, stderr)
  const { linux, seconds, counters, report } = JSON.parse(stdout)
  assert.equal([linux, typeof seconds, counters.flushesCompleted > 0], [false, 'number', true])
  assert.match(report.join(), 'WITHOUT LINUX')
})

const linux = await guestAssets().catch((error: unknown) => {
  if (!(error instanceof GuestAssetsError)) throw error
  console.log(`skipped: vblk boot --script: ${error.message}`)
})

if (linux) {
  test('boot: --script -> its output, its exit status, and the counters at the end', ({ folder, image }) => {
    const script = join(folder, 'script')
    writeFileSync(script, 'echo size $(cat /sys/block/vda/size)\ndd if=/dev/vda of=/dev/null bs=64k count=4\nexit 7\n')
    const options = ['--accel', 'v86', '--script', script, '--ro', '--iops', '500']
    const { status, stdout, stderr } = vblk(['boot', '--disk', image, ...options])
    assert.is(status, 7, stderr)
    assert.match(stdout, 'size 2048')
    assert.match(stderr, /reads completed +[1-9]/)
    assert.match(stderr, /bytes read +[1-9]/)
  })

  test('boot: piped input -> typed when the shell is up; its end powers the guest off', ({ image }) => {
    const { status, stdout, stderr } = vblk(['boot', '--disk', image, '--json'], {}, [], 'echo answer $((6 * 7))\n')
    assert.is(status, 0)
    assert.match(stdout, 'answer 42')
    const lines = stderr.split('\n').filter((line) => line.startsWith('{'))
    assert.is(lines.length, 1)
    const { counters } = JSON.parse(lines[0] ?? '')
    assert.ok(counters.readsCompleted > 0)
  })
}

test.run()
