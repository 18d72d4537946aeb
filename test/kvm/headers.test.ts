// The numbers and layouts of host/kvm against the headers of the kernel, by a C program compiled here. Skipped where
// there is no compiler or no header: numbers.test.ts and structs.test.ts have typed-in numbers.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  CAPABILITIES,
  KVM_API_VERSION,
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_HLT,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_IRQ_WINDOW_OPEN,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
  KVM_EXIT_UNKNOWN,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD_FLAG_DEASSIGN,
  KVM_MP_STATE_HALTED,
  KVM_MP_STATE_RUNNABLE,
  KVM_MP_STATE_UNINITIALIZED,
  KVM_PIT_SPEAKER_DUMMY,
  REQUESTS,
} from '../../host/kvm/numbers.ts'
import {
  KVM_CPUID_ENTRY2,
  KVM_DTABLE,
  KVM_IOEVENTFD,
  KVM_IRQ_LEVEL,
  KVM_IRQFD,
  KVM_MP_STATE,
  KVM_MSR_ENTRY,
  KVM_PIT_CONFIG,
  KVM_REGS,
  KVM_SEGMENT,
  KVM_SIGNAL_MASK,
  KVM_SREGS,
  KVM_USERSPACE_MEMORY_REGION,
  SREGS_SEGMENTS,
  SREGS_TABLES,
} from '../../host/kvm/structs.ts'

const test = suite('kvm/headers')

const NUMBERS = {
  ...REQUESTS,
  ...CAPABILITIES,
  KVM_API_VERSION,
  KVM_EXIT_UNKNOWN,
  KVM_EXIT_IO,
  KVM_EXIT_HLT,
  KVM_EXIT_MMIO,
  KVM_EXIT_IRQ_WINDOW_OPEN,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_INTR,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_SYSTEM_EVENT,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IRQFD_FLAG_DEASSIGN,
  KVM_PIT_SPEAKER_DUMMY,
  KVM_MP_STATE_RUNNABLE,
  KVM_MP_STATE_UNINITIALIZED,
  KVM_MP_STATE_HALTED,
}

const STRUCTS = {
  kvm_regs: KVM_REGS,
  kvm_sregs: KVM_SREGS,
  kvm_segment: KVM_SEGMENT,
  kvm_dtable: KVM_DTABLE,
  kvm_userspace_memory_region: KVM_USERSPACE_MEMORY_REGION,
  kvm_irqfd: KVM_IRQFD,
  kvm_ioeventfd: KVM_IOEVENTFD,
  kvm_irq_level: KVM_IRQ_LEVEL,
  kvm_pit_config: KVM_PIT_CONFIG,
  kvm_mp_state: KVM_MP_STATE,
  kvm_cpuid_entry2: KVM_CPUID_ENTRY2,
  kvm_msr_entry: KVM_MSR_ENTRY,
  kvm_signal_mask: KVM_SIGNAL_MASK,
}

/** Where run.ts reads and writes kvm_run. */
const RUN: [field: string, offset: number, width: number][] = [
  ['exit_reason', 8, 4],
  ['io.direction', 32, 1],
  ['io.size', 33, 1],
  ['io.port', 34, 2],
  ['io.count', 36, 4],
  ['io.data_offset', 40, 8],
  ['mmio.phys_addr', 32, 8],
  ['mmio.data', 40, 8],
  ['mmio.len', 48, 4],
  ['mmio.is_write', 52, 1],
  ['fail_entry.hardware_entry_failure_reason', 32, 8],
  ['internal.suberror', 32, 4],
  ['internal.ndata', 36, 4],
  ['internal.data', 40, 128],
  ['system_event.type', 32, 4],
]

/** What our side says and the C expression that has to agree. */
function claims(): { what: string; ours: number; c: string }[] {
  const list = Object.entries(NUMBERS).map(([what, ours]) => ({ what, ours, c: what }))
  const field = (struct: string, name: string, offset: number, width: number): void => {
    list.push({ what: `offset of ${struct}.${name}`, ours: offset, c: `offsetof(struct ${struct}, ${name})` })
    list.push({ what: `width of ${struct}.${name}`, ours: width, c: `sizeof(((struct ${struct} *)0)->${name})` })
  }
  for (const [struct, { bytes, fields }] of Object.entries(STRUCTS)) {
    list.push({ what: `size of ${struct}`, ours: bytes, c: `sizeof(struct ${struct})` })
    for (const { name, offset, width } of fields) field(struct, name, offset, width)
  }
  SREGS_SEGMENTS.forEach((name, i) => {
    field('kvm_sregs', name, 24 * i, 24)
  })
  SREGS_TABLES.forEach((name, i) => {
    field('kvm_sregs', name, 192 + 16 * i, 16)
  })
  for (const [name, offset, width] of RUN) field('kvm_run', name, offset, width)
  for (const [struct, entries] of [
    ['kvm_cpuid2', 'entries'],
    ['kvm_msrs', 'entries'],
  ]) {
    list.push({ what: `head of ${struct}`, ours: 8, c: `offsetof(struct ${struct}, ${entries})` })
  }
  list.push({ what: 'head of kvm_signal_mask', ours: 4, c: 'offsetof(struct kvm_signal_mask, sigset)' })
  return list
}

function compile(source: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-kvm-headers-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'claims.c'), source)
  try {
    execFileSync('cc', ['-o', join(folder, 'claims'), join(folder, 'claims.c')], { stdio: 'pipe' })
    return join(folder, 'claims')
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: Buffer }
    const noHeader = /linux\/kvm\.h: No such file/.test(stderr?.toString() ?? '')
    if (code === 'ENOENT' || noHeader) return undefined
    throw error
  }
}

const list = claims()
const lines = list.map(({ c }) => `  printf("%lu\\n", (unsigned long)(${c}));`)
const program =
  process.arch === 'x64'
    ? compile(
        `#include <stddef.h>\n#include <stdio.h>\n#include <linux/kvm.h>\nint main(void) {\n${lines.join('\n')}\n}\n`,
      )
    : undefined

if (program === undefined) {
  console.log('skipped: comparison with linux/kvm.h: no C compiler (cc) or no header for x86-64')
} else {
  const theirs = execFileSync(program, { encoding: 'utf8' }).trim().split('\n').map(Number)
  test('numbers, sizes, offsets and widths -> as in the headers', () => {
    assert.is(theirs.length, list.length)
    const wrong = list.filter(({ ours }, i) => ours !== theirs[i])
    assert.equal(wrong, [])
    assert.ok(list.length > 200)
  })
}

test.run()
