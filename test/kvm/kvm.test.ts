// Kvm: what cannot be opened says what is wrong and what to do; what the real one can do. Errors that need another
// machine (an old kernel, another version) are made by hand.

import * as fs from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { checkVersion, openFailed, requestFailed } from '../../host/kvm/errors.ts'
import { Kvm } from '../../host/kvm/kvm.ts'
import { hasKvm, kernelObjects, kvmErrorOf } from '../support/kvm-guest.ts'

const test = suite('kvm/kvm')

const folder = fs.mkdtempSync(join(tmpdir(), 'vblk-kvm-'))
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))

if (process.platform === 'linux' && process.arch === 'x64') {
  test('open: no such device -> ENOENT, load the module', () => {
    const path = join(folder, 'none')
    const error = kvmErrorOf(() => Kvm.open(path))
    assert.is(error.name, 'KvmError')
    assert.is(error.code, 'ENOENT')
    assert.ok(error.message.startsWith(`KVM: ${path} does not exist; load the module (modprobe kvm_intel or kvm_amd)`))
  })

  test('open: a file, a folder, another device -> not the KVM device, and nothing left open', () => {
    const path = join(folder, 'file')
    fs.writeFileSync(path, 'not a device')
    const before = kernelObjects()
    const error = kvmErrorOf(() => Kvm.open(path))
    assert.is(error.code, 'ENOTTY')
    assert.is(error.message, `KVM: ${path} is not the KVM device; give the path of the device, /dev/kvm`)
    assert.is(kvmErrorOf(() => Kvm.open('/dev/null')).code, 'ENOTTY')
    assert.is(kvmErrorOf(() => Kvm.open(folder)).code, 'EISDIR')
    assert.equal(kernelObjects(), before)
  })

  const user = process.geteuid?.()
  // Root may open everything: become somebody else, for one call.
  const becomeNobody = (): void => process.seteuid?.(user === 0 ? 65534 : (user ?? 0))
  test('open: no permission -> EACCES, add the user to group kvm', () => {
    const path = join(folder, 'locked')
    fs.writeFileSync(path, '', { mode: 0 })
    fs.chmodSync(folder, 0o755)
    becomeNobody()
    try {
      const error = kvmErrorOf(() => Kvm.open(path))
      assert.is(error.code, 'EACCES')
      assert.match(error.message, `no permission to open ${path}; add the user to its group (usermod -aG kvm USER`)
    } finally {
      process.seteuid?.(user ?? 0)
    }
  })

  test('open: not a path -> EINVAL', () => {
    for (const path of ['', 'a\0b', 7 as unknown as string]) assert.is(kvmErrorOf(() => Kvm.open(path)).code, 'EINVAL')
  })
} else {
  console.log('skipped: Kvm.open on files: not Linux on x86-64')
}

test('openFailed: other errors -> a remedy or their name', () => {
  assert.match(openFailed('/dev/kvm', constants.errno.EPERM).message, 'usermod')
  assert.match(openFailed('/dev/kvm', constants.errno.ENODEV).message, 'has no driver behind it; load the module')
  assert.is(openFailed('/dev/kvm', constants.errno.EMFILE).message, 'KVM: cannot open /dev/kvm: EMFILE')
})

test('checkVersion: 12 -> fine; another -> says which; failure -> named', () => {
  checkVersion('/dev/kvm', 12)
  const error = kvmErrorOf(() => checkVersion('/dev/kvm', 10))
  assert.is(error.code, 'KVM_API_VERSION')
  assert.match(error.message, 'speaks version 10 of the interface, not 12')
  assert.is(kvmErrorOf(() => checkVersion('x', -constants.errno.EIO)).code, 'EIO')
})

test('requestFailed: request, subject, code, remedy', () => {
  const { EEXIST, EINVAL, EMFILE } = constants.errno
  assert.is(
    requestFailed('KVM_CREATE_VCPU', EEXIST, 'vCPU 3').message,
    'KVM: KVM_CREATE_VCPU (vCPU 3) failed: EEXIST; the machine has a vCPU of that number',
  )
  assert.is(requestFailed('KVM_SET_REGS', EINVAL, '').message, 'KVM: KVM_SET_REGS failed: EINVAL')
  assert.match(requestFailed('KVM_CREATE_VM', EMFILE, '').message, 'too many files open')
})

if (hasKvm()) {
  test('the real one: version, capabilities, CPUID; closed twice', () => {
    const kvm = Kvm.open()
    assert.ok(kvm.fd >= 0)
    assert.ok(kvm.vcpuMmapBytes >= 4096 && kvm.vcpuMmapBytes % 4096 === 0)
    assert.is(kvm.check('KVM_CAP_IRQFD'), kvm.check(32))
    assert.ok(kvm.check('KVM_CAP_NR_MEMSLOTS') >= 32)
    assert.is(kvm.check(0x7fffffff), 0)
    kvm.require('KVM_CAP_MAX_VCPUS', 'KVM_CAP_USER_MEMORY')
    const cpuid = kvm.supportedCpuid()
    assert.ok(cpuid.length > 5)
    const vendor = cpuid.find((entry) => entry.function === 0)
    assert.ok((vendor?.eax ?? 0) >= 1)
    assert.is(cpuid.find((entry) => entry.function === 0x40000000)?.ebx, 0x4b4d564b)
    kvm.close()
    kvm.close()
    assert.is(kvm.fd, -1)
    assert.is(kvmErrorOf(() => kvm.createVm()).code, 'EBADF')
  })

  test('require: some missing -> the first is the code, all are named', () => {
    const kvm = Kvm.open()
    const real = kvm.check.bind(kvm)
    kvm.check = (capability) => (['KVM_CAP_IRQFD', 'KVM_CAP_PIT2'].includes(`${capability}`) ? 0 : real(capability))
    const error = kvmErrorOf(() => kvm.require('KVM_CAP_IRQCHIP', 'KVM_CAP_IRQFD', 'KVM_CAP_PIT2'))
    kvm.close()
    assert.is(error.code, 'KVM_CAP_IRQFD')
    assert.is(error.message, 'KVM: KVM_CAP_IRQFD, KVM_CAP_PIT2 missing in this kernel; a newer one will have it')
  })
}

test.run()
