// Whether a KVM can run Linux, decided by running a program: the program is what its source says, the decision comes
// in time, and what is no KVM is named with the remedy. What the verdict is depends on the machine; it is printed.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PROBE_PROGRAM, probeKvm } from '../../host/vmm/kvm-probe.ts'
import { within } from '../support/within.ts'

const test = suite('kvm probe')

function canAssemble(): boolean {
  const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0
  return process.arch === 'x64' && has('as') && has('ld')
}

if (canAssemble()) {
  test('program: assembled again -> the same bytes', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vblk-probe-'))
    try {
      const object = join(folder, 'probe.o')
      const binary = join(folder, 'probe.bin')
      const as = spawnSync('as', ['--64', '-mx86-used-note=no', '-o', object, 'host/vmm/kvm-probe.s'])
      assert.is(as.status, 0, String(as.stderr))
      const link = ['-Ttext=0x100000', '-Tbss=0x101000', '--oformat=binary', '-o', binary, object]
      const ld = spawnSync('ld', link)
      assert.is(ld.status, 0, String(ld.stderr))
      assert.is(readFileSync(binary).toString('hex'), PROBE_PROGRAM.replaceAll('\n', ''))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
} else {
  console.log('skipped: assembling kvm-probe.s: there is no as or ld')
}

test('verdict: this machine -> an answer with a reason', async () => {
  const { isUsable, reason } = await within(10_000, probeKvm(), 'the probe')
  console.log(`this KVM ${isUsable ? 'can' : 'cannot'} run a stock kernel: ${reason}`)
  assert.match(reason, /^KVM: \S/)
  assert.is(reason.split('\n').length, 1)
})

test('verdict: no such device, not KVM -> not usable, with the name', async () => {
  for (const device of ['/dev/no-such-kvm', '/dev/null']) {
    const { isUsable, reason } = await within(10_000, probeKvm(device), 'the probe')
    assert.is(isUsable, false)
    assert.match(reason, device)
  }
})

test.run()
