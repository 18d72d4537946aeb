// `vblk doctor`: from facts of a machine that has everything, each thing taken away in turn, to the verdict; and run
// once for what this machine is, and once without koffi.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Check, diagnose, type Facts, type Report } from '../../host/cli/doctor-checks.ts'
import { vblk } from '../support/vblk-command.ts'

const test = suite('vblk doctor')

const MIB = 2 ** 20

/** A machine that has everything. */
const ALL: Facts = {
  node: '20.11.0',
  platform: 'linux',
  arch: 'x64',
  system: { koffi: '3.3.4', calls: { eventfd: '', epoll: '', timerfd: '', io_uring: '' } },
  engine: { abi: 3, wanted: 3 },
  hasSharedMemory: true,
  kvm: { isThere: true, isUsable: true, reason: 'KVM: it runs what a stock kernel needs' },
  ioUringDisabled: '0',
  v86: { version: '0.5.462+g5f9a90f', wanted: '0.5.462' },
  missingTools: [],
  mirror: { url: 'http://deb.debian.org/debian/', trouble: '' },
  cache: { folder: '/home/me/.cache/virtio-blk-wasm', isWritable: true, freeBytes: 4096 * MIB },
  guests: { v86: true, kvm: true },
  chromium: '/usr/bin/chromium',
  memoryBytes: 4096 * MIB,
  limits: { openFiles: 1024, lockedBytes: 8 * MIB, addressBytes: Number.POSITIVE_INFINITY },
  shmBytes: 1024 * MIB,
}

/** The one check that the change makes other than ok, and the verdict. */
function changed(change: Partial<Facts>): { check: Check; report: Report } {
  const report = diagnose({ ...ALL, ...change })
  const [check, ...others] = report.checks.filter(({ state }) => state !== 'ok')
  assert.ok(check, `all is ok: ${JSON.stringify(change)}`)
  assert.equal(
    others.map(({ name }) => name),
    [],
  )
  return { check, report }
}

function expect(change: Partial<Facts>, name: string, state: Check['state'], ...parts: string[]): void {
  const { check, report } = changed(change)
  assert.equal([check.name, check.state], [name, state])
  for (const part of parts) assert.match(`${check.found}; ${check.remedy}`, part)
  assert.ok(check.remedy !== '', 'there is a remedy')
  assert.is(report.verdict, check.needed && state === 'missing' ? 'missing' : 'ok')
}

test('a machine that has everything -> all ok, and every check says what it is for', () => {
  const { checks, verdict } = diagnose(ALL)
  assert.is(verdict, 'ok')
  assert.ok(checks.length > 15)
  for (const { name, state, use, found } of checks) {
    assert.is(state, 'ok', name)
    assert.ok(use !== '' && found !== '', name)
  }
  assert.is(new Set(checks.map(({ name }) => name)).size, checks.length)
})

test('needed: taken away -> missing, and so is the verdict', () => {
  expect({ node: '18.20.0' }, 'Node', 'missing', '18.20.0', 'Node 20')
  expect({ platform: 'darwin' }, 'system', 'missing', 'darwin x64', 'Linux')
  expect({ engine: { abi: 2, wanted: 3 } }, 'engine', 'missing', 'ABI version 2', 'speaks 3')
  expect({ engine: { failure: 'no such module' } }, 'engine', 'missing', 'no such module')
  expect({ engine: { failure: 'could not allocate memory' } }, 'engine', 'missing', 'see memory and address space')
  expect({ hasSharedMemory: false }, 'shared memory', 'missing', 'SharedArrayBuffer')
  const calls = { eventfd: '', epoll: '', timerfd: 'EMFILE', io_uring: '' }
  expect(
    { system: { koffi: '3.3.4', calls } },
    'eventfd, epoll, timerfd',
    'missing',
    'timerfd fails (EMFILE)',
    'ulimit -n',
  )
  assert.is(changed({ platform: 'win32' }).report.verdict, 'missing')
})

test('needed: another processor -> limited, which is no reason to fail', () => {
  expect({ arch: 'arm64' }, 'system', 'limited', 'arm64')
})

test('koffi: not to be loaded -> missing, with all that cannot be asked without it', () => {
  const { checks, verdict } = diagnose({ ...ALL, system: { failure: "Cannot find package 'koffi'" } })
  assert.is(verdict, 'missing')
  const lost = checks.filter(({ state }) => state !== 'ok').map(({ name, needed }) => [name, needed])
  assert.equal(lost, [
    ['koffi', true],
    ['eventfd, epoll, timerfd', true],
    ['io_uring', false],
  ])
  assert.match(checks.find(({ name }) => name === 'koffi')?.remedy ?? '', 'npm install')
})

test('KVM: absent, not permitted, emulated -> the difference, the remedy, and no failure', () => {
  const absent = 'KVM: /dev/kvm does not exist; load the module (modprobe kvm_intel or kvm_amd), and see that'
  expect({ kvm: { isThere: false, isUsable: false, reason: absent } }, 'KVM', 'missing', 'does not exist', 'modprobe')
  const denied = 'KVM: no permission to open /dev/kvm; add the user to its group (usermod -aG kvm USER)'
  expect({ kvm: { isThere: false, isUsable: false, reason: denied } }, 'KVM', 'missing', 'no permission', 'usermod')
  const slow = "KVM: it emulates the guest's kernel (561 ns per instruction), which is slower than v86"
  expect(
    { kvm: { isThere: true, isUsable: false, reason: slow } },
    'KVM',
    'limited',
    'emulated: ',
    '561 ns',
    'virtualization',
  )
  expect({ kvm: { failure: 'koffi' } }, 'KVM', 'missing', 'see koffi')
  assert.match(diagnose(ALL).checks.find(({ name }) => name === 'KVM')?.found ?? '', 'hardware')
})

test('v86: not installed, another version -> the command that installs it', () => {
  const failure = 'v86 is not installed; it runs Linux guests in software: npm install v86@0.5.462'
  const { check } = changed({ v86: { failure } })
  assert.equal([check.found, check.remedy], ['not installed', 'npm install v86@0.5.462'])
  expect({ v86: { version: '0.6.1', wanted: '0.5.462' } }, 'v86', 'limited', '0.6.1', 'npm install v86@0.5.462')
})

test('guest files: not in the cache -> ok if they can be fetched, else missing or limited', () => {
  const none = { guests: { v86: false, kvm: false } }
  assert.is(diagnose({ ...ALL, ...none }).verdict, 'ok')
  assert.ok(diagnose({ ...ALL, ...none }).checks.every(({ state }) => state === 'ok'))
  const stateWith = (change: Partial<Facts>): string => {
    const report = diagnose({ ...ALL, ...change })
    assert.is(report.verdict, 'ok', 'guests are not needed')
    return report.checks.find(({ name }) => name === 'guest files')?.state ?? ''
  }
  const offline = { mirror: { url: 'http://mirror/', trouble: 'Could not resolve' } }
  assert.is(stateWith({ ...none, ...offline }), 'missing')
  assert.is(stateWith({ ...none, missingTools: ['apt-get'] }), 'missing')
  assert.is(stateWith({ guests: { v86: true, kvm: false }, ...offline }), 'limited')
  assert.is(stateWith(offline), 'ok')
})

test('apt, mirror, cache folder: each trouble -> named', () => {
  expect({ missingTools: ['apt-get', 'dpkg-deb'] }, 'apt', 'missing', 'apt-get, dpkg-deb')
  expect({ mirror: undefined }, 'Debian mirror', 'missing', 'sources.list')
  const without = diagnose({ ...ALL, missingTools: ['apt-get'], mirror: undefined })
  const asked = without.checks.find(({ name }) => name === 'Debian mirror')
  assert.match(`${asked?.found}; ${asked?.remedy}`, 'that takes apt; see apt')
  expect({ mirror: { url: 'http://x/', trouble: 'timed out' } }, 'Debian mirror', 'missing', 'timed out', 'proxy')
  const { cache } = ALL
  expect({ cache: { ...cache, isWritable: false } }, 'cache folder', 'missing', cache.folder, 'XDG_CACHE_HOME')
  expect({ cache: { ...cache, freeBytes: 5 * MIB } }, 'cache folder', 'limited', '5 MiB', 'make room')
})

test('limits: too low -> limited, with the command', () => {
  const { limits } = ALL
  expect({ memoryBytes: 300 * MIB }, 'memory', 'limited', '300 MiB', '512 MiB')
  expect({ limits: { ...limits, openFiles: 64 } }, 'open files', 'limited', '64', 'ulimit -n')
  expect({ limits: { ...limits, addressBytes: 4096 * MIB } }, 'address space', 'limited', '4096 MiB', 'ulimit -v')
  const none = Number.POSITIVE_INFINITY
  const report = diagnose({ ...ALL, limits: { openFiles: none, lockedBytes: none, addressBytes: none } })
  assert.ok(report.checks.every(({ state }) => state === 'ok'))
})

test('io_uring: refused by the setting, by a sandbox, not in the kernel -> why; nothing uses it, and that is said', () => {
  const failing = (code: string): Facts['system'] => ({
    koffi: '3.3.4',
    calls: { eventfd: '', epoll: '', timerfd: '', io_uring: code },
  })
  expect({ system: failing('EPERM'), ioUringDisabled: '2' }, 'io_uring', 'missing', 'io_uring_disabled is 2')
  expect({ system: failing('EPERM') }, 'io_uring', 'missing', 'seccomp')
  expect({ system: failing('ENOSYS'), ioUringDisabled: undefined }, 'io_uring', 'missing', 'the kernel has none')
  assert.match(diagnose(ALL).checks.find(({ name }) => name === 'io_uring')?.use ?? '', 'nothing in this version')
})

test("the page's tests: no Chromium, a small /dev/shm -> said, and no failure", () => {
  expect({ chromium: undefined }, 'Chromium', 'missing', 'apt-get install chromium')
  expect({ shmBytes: 64 * MIB }, '/dev/shm', 'limited', '64 MiB', '--shm-size')
  expect({ shmBytes: undefined }, '/dev/shm', 'missing', 'tmpfs')
})

// This machine ---------------------------------------------------------------------------------------------

test('run here -> what is needed is there (the tests run), a line for each check, remedies below, status 0', () => {
  const { status, stdout, stderr } = vblk('doctor')
  assert.is(status, 0, stdout + stderr)
  const lines = stdout.trim().split('\n')
  assert.match(lines.at(-1) ?? '', /^The device works here\./)
  assert.is(lines.at(-2), '')
  for (const line of lines.slice(0, -2))
    assert.match(line, /^((ok|limited|missing) +\S.* {2}\S.*; for \S| {20,}remedy: \S)/)
  assert.match(stdout, new RegExp(`^ok +Node +${process.versions.node.replaceAll('.', '\\.')}`, 'm'))
  assert.not.match(stdout, '\u001b')
})

test('run here: --json -> the same checks, with their fields', () => {
  const { status, stdout } = vblk('doctor', '--json')
  assert.is(status, 0)
  const { verdict, checks } = JSON.parse(stdout) as Report
  assert.is(verdict, 'ok')
  assert.equal(
    checks.map(({ name }) => name),
    diagnose(ALL).checks.map(({ name }) => name),
  )
  for (const check of checks) assert.equal(Object.keys(check), ['name', 'state', 'found', 'use', 'needed', 'remedy'])
})

test('without koffi: doctor says so with status 1, help works, and another command sends there', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-doctor-'))
  try {
    for (const path of ['package.json', 'build/vblk.js', 'build/chunks']) {
      cpSync(path, join(folder, path), { recursive: true })
    }
    const run = (...args: string[]) => {
      const env = { ...process.env, PATH: folder, XDG_CACHE_HOME: folder }
      return spawnSync(process.execPath, [join(folder, 'build/vblk.js'), ...args], { encoding: 'utf8', env })
    }
    const { status, stdout, stderr } = run('doctor')
    assert.is(status, 1, stderr)
    assert.match(stdout, /^missing +koffi +Cannot find package 'koffi'; .*\n +remedy: npm install/m)
    assert.match(stdout, /^missing +apt +not there: apt-get, apt-cache, dpkg-deb;/m)
    assert.match(stdout, /^ok +engine/m)
    assert.match(stdout, 'Needed, and missing: koffi')
    assert.match(stdout, /^missing +apt .*\n +remedy: /m)
    assert.is(run('--help').status, 0)
    assert.is(run('completion', 'bash').status, 0)
    const boot = run('boot', '--disk', 'disk.img')
    assert.is(boot.status, 2)
    assert.is(boot.stderr.trim().split('\n').length, 1)
    assert.match(boot.stderr, /^vblk boot: the native library koffi cannot be loaded .*vblk doctor/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
