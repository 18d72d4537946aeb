// Vcpu under the real KVM, on this thread: exits and their answers as the guest sees them, registers, failures. The
// guests are snippets of a few instructions in real, protected and long mode. Threads are in threads.test.ts.

import { constants } from 'node:os'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Kvm } from '../../host/kvm/kvm.ts'
import {
  KVM_EXIT_HLT,
  KVM_EXIT_IO,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_MP_STATE_HALTED,
  KVM_MP_STATE_RUNNABLE,
  KVM_MP_STATE_UNINITIALIZED,
} from '../../host/kvm/numbers.ts'
import { Vcpu } from '../../host/kvm/vcpu.ts'
import { CODE, hasKvm, kvmErrorOf, LONG, nextExit, PROTECTED, REAL, startVcpu, withVcpu } from '../support/kvm-guest.ts'

const test = suite('kvm/vcpu')

const { EBADF, EINTR } = constants.errno

const PIO_16 = `
  ba f8 03                         mov dx, 0x3f8
  b0 41                            mov al, 0x41
  ee                               out dx, al
  b8 34 12                         mov ax, 0x1234
  ef                               out dx, ax
  66 b8 ef cd ab 89                mov eax, 0x89abcdef
  66 ef                            out dx, eax
  ec                               in al, dx
  a2 00 60                         mov [0x6000], al
  ed                               in ax, dx
  a3 02 60                         mov [0x6002], ax
  66 ed                            in eax, dx
  66 a3 04 60                      mov [0x6004], eax
  e4 42                            in al, 0x42
  e6 43                            out 0x43, al
  f4                               hlt
`
const PIO_32 = `
  ba f8 03 00 00                   mov edx, 0x3f8
  b0 41                            mov al, 0x41
  ee                               out dx, al
  66 b8 34 12                      mov ax, 0x1234
  66 ef                            out dx, ax
  b8 ef cd ab 89                   mov eax, 0x89abcdef
  ef                               out dx, eax
  ec                               in al, dx
  a2 00 60 00 00                   mov [0x6000], al
  66 ed                            in ax, dx
  66 a3 02 60 00 00                mov [0x6002], ax
  ed                               in eax, dx
  a3 04 60 00 00                   mov [0x6004], eax
  e4 42                            in al, 0x42
  e6 43                            out 0x43, al
  f4                               hlt
`
const STRINGS = `
  fc                               cld
  ba 60 00 00 00                   mov edx, 0x60
  be 00 61 00 00                   mov esi, 0x6100
  b9 04 00 00 00                   mov ecx, 4
  f3 6e                            rep outsb
  b9 03 00 00 00                   mov ecx, 3
  66 f3 6f                         rep outsw
  b9 02 00 00 00                   mov ecx, 2
  f3 6f                            rep outsd
  bf 00 62 00 00                   mov edi, 0x6200
  b9 05 00 00 00                   mov ecx, 5
  f3 6c                            rep insb
  b9 03 00 00 00                   mov ecx, 3
  66 f3 6d                         rep insw
  b9 02 00 00 00                   mov ecx, 2
  f3 6d                            rep insd
  f4                               hlt
`
const MMIO_32 = `
  b8 ef cd ab 89                   mov eax, 0x89abcdef
  a2 01 00 00 d0                   mov [0xd0000001], al
  66 a3 02 00 00 d0                mov [0xd0000002], ax
  a3 04 00 00 d0                   mov [0xd0000004], eax
  a0 11 00 00 d0                   mov al, [0xd0000011]
  a2 00 60 00 00                   mov [0x6000], al
  66 a1 12 00 00 d0                mov ax, [0xd0000012]
  66 a3 02 60 00 00                mov [0x6002], ax
  a1 14 00 00 d0                   mov eax, [0xd0000014]
  a3 04 60 00 00                   mov [0x6004], eax
  81 0d 20 00 00 d0 00 01 00 00    or dword [0xd0000020], 0x100
  f4                               hlt
`
const MMIO_64 = `
  48 b8 88 77 66 55 44 33 22 91    mov rax, 0x9122334455667788
  48 89 04 25 08 00 00 03          mov [0x3000008], rax
  48 8b 1c 25 10 00 00 03          mov rbx, [0x3000010]
  48 89 1c 25 00 60 00 00          mov [0x6000], rbx
  f4                               hlt
`
const HLT = 'f4                       hlt'
const CPUID = `
  0f a2                            cpuid
  f4                               hlt
`
const TRIPLE_FAULT = `
  0f 01 1c 25 00 60 00 00          lidt [0x6000], which is all 0
  0f 0b                            ud2
`

/** The exit in one word: 'out 0x3f8 4 0x12345678', 'mmio read 0x..'. */
function exitOf(vcpu: Vcpu): string {
  const reason = nextExit(vcpu)
  const hex = (value: number): string => `0x${value.toString(16)}`
  const { io, mmio } = vcpu
  if (reason === KVM_EXIT_IO && io.isOut) return `out ${hex(io.port)} ${io.width} ${hex(io.data())}`
  if (reason === KVM_EXIT_IO) return `in ${hex(io.port)} ${io.width}`
  if (reason === KVM_EXIT_MMIO && mmio.isWrite) return `write ${hex(mmio.address)} ${mmio.width} ${hex(mmio.data)}`
  if (reason === KVM_EXIT_MMIO) return `read ${hex(mmio.address)} ${mmio.width}`
  return vcpu.explain()
}

function portIo(vcpu: Vcpu, ram: DataView, end: number): void {
  assert.is(exitOf(vcpu), 'out 0x3f8 1 0x41')
  assert.is(exitOf(vcpu), 'out 0x3f8 2 0x1234')
  assert.is(exitOf(vcpu), 'out 0x3f8 4 0x89abcdef')
  assert.is(exitOf(vcpu), 'in 0x3f8 1')
  vcpu.io.answer(0x81)
  assert.is(exitOf(vcpu), 'in 0x3f8 2')
  vcpu.io.answer(0x8182)
  assert.is(exitOf(vcpu), 'in 0x3f8 4')
  vcpu.io.answer(0x81828384)
  assert.is(exitOf(vcpu), 'in 0x42 1')
  vcpu.io.answer(0x99)
  assert.is(exitOf(vcpu), 'out 0x43 1 0x99')
  assert.is(exitOf(vcpu), `KVM_EXIT_HLT, at rip 0x${end.toString(16)}`)
  assert.equal([ram.getUint8(0), ram.getUint16(2, true), ram.getUint32(4, true)], [0x81, 0x8182, 0x81828384])
}

function at(machine: { ram: { view(gpa: number, bytes: number): Uint8Array } }, gpa: number, bytes = 64): DataView {
  const view = machine.ram.view(gpa, bytes)
  return new DataView(view.buffer, view.byteOffset, bytes)
}

if (hasKvm()) {
  test('port IO in real mode: 1, 2, 4 bytes out and in -> exits, and the guest sees the answers', () => {
    withVcpu(REAL, PIO_16, (vcpu, machine) => portIo(vcpu, at(machine, 0x6000), CODE + 37))
  })

  test('port IO in protected mode: the same', () => {
    withVcpu(PROTECTED, PIO_32, (vcpu, machine) => portIo(vcpu, at(machine, 0x6000), CODE + 45))
  })

  test('string IO: outs and ins with rep, 1, 2, 4 bytes -> every element, in as many exits as KVM likes', () => {
    withVcpu(PROTECTED, STRINGS, (vcpu, machine) => {
      const source = Uint8Array.from({ length: 18 }, (_, i) => 0x80 + i)
      machine.ram.view(0x6100, 18).set(source)
      const out: number[] = []
      const widths = { out: '', in: '' }
      let given = 0
      let reason = nextExit(vcpu)
      for (; reason === KVM_EXIT_IO; reason = nextExit(vcpu)) {
        const { io } = vcpu
        assert.is(io.port, 0x60)
        for (let i = 0; i < io.count; i++) {
          if (io.isOut) for (let byte = 0; byte < io.width; byte++) out.push((io.data(i) >>> (8 * byte)) & 0xff)
          else io.answer(0x11223300 + given++, i)
          widths[io.isOut ? 'out' : 'in'] += io.width
        }
      }
      assert.is(reason, KVM_EXIT_HLT)
      assert.equal(out, [...source])
      assert.equal(widths, { out: '111122244', in: '1111122244' })
      const into = at(machine, 0x6200)
      assert.equal(
        [0, 1, 2, 3, 4].map((i) => into.getUint8(i)),
        [0, 1, 2, 3, 4],
      )
      assert.equal(
        [5, 7, 9].map((i) => into.getUint16(i, true)),
        [0x3305, 0x3306, 0x3307],
      )
      assert.equal(
        [11, 15].map((i) => into.getUint32(i, true)),
        [0x11223308, 0x11223309],
      )
      assert.is(into.getUint32(19), 0)
    })
  })

  test('MMIO: 1, 2, 4 bytes written and read, and both at once -> exits, and the guest sees the answers', () => {
    withVcpu(PROTECTED, MMIO_32, (vcpu, machine) => {
      assert.is(exitOf(vcpu), 'write 0xd0000001 1 0xef')
      assert.is(exitOf(vcpu), 'write 0xd0000002 2 0xcdef')
      assert.is(exitOf(vcpu), 'write 0xd0000004 4 0x89abcdef')
      assert.is(exitOf(vcpu), 'read 0xd0000011 1')
      vcpu.mmio.answer(0x91)
      assert.is(exitOf(vcpu), 'read 0xd0000012 2')
      vcpu.mmio.answer(0x9192)
      assert.is(exitOf(vcpu), 'read 0xd0000014 4')
      vcpu.mmio.answer(0x91929394)
      assert.is(exitOf(vcpu), 'read 0xd0000020 4')
      vcpu.mmio.answer(0x80000001)
      assert.is(exitOf(vcpu), 'write 0xd0000020 4 0x80000101')
      assert.match(exitOf(vcpu), 'KVM_EXIT_HLT')
      const ram = at(machine, 0x6000)
      assert.equal([ram.getUint8(0), ram.getUint16(2, true), ram.getUint32(4, true)], [0x91, 0x9192, 0x91929394])
    })
  })

  test('MMIO in long mode: 8 bytes -> two halves, either way', () => {
    withVcpu(LONG, MMIO_64, (vcpu, machine) => {
      assert.is(exitOf(vcpu), 'write 0x3000008 8 0x55667788')
      assert.is(vcpu.mmio.dataHigh, 0x91223344)
      assert.is(exitOf(vcpu), 'read 0x3000010 8')
      vcpu.mmio.answer(0x89abcdef, 0xfedcba98)
      assert.match(exitOf(vcpu), 'KVM_EXIT_HLT')
      assert.is(at(machine, 0x6000).getBigUint64(0, true), 0xfedcba9889abcdefn)
      assert.is(vcpu.regs().rbx, 0xfedcba9889abcdefn)
    })
  })

  test('regs, setRegs: all different -> as set, and the others stay', () => {
    withVcpu(LONG, HLT, (vcpu) => {
      const names = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'r8', 'r9', 'r14', 'r15'] as const
      const change = Object.fromEntries(names.map((name, i) => [name, 0x8000000000000000n + BigInt(i)]))
      vcpu.setRegs(change)
      const regs = vcpu.regs()
      for (const name of names) assert.is(regs[name], change[name])
      assert.is(regs.rip, BigInt(CODE))
      vcpu.setRegs({ r9: 7n })
      assert.equal(vcpu.regs(), { ...regs, r9: 7n })
    })
  })

  test('sregs, setSregs: a field of a segment, a table, a control register -> those, and the others stay', () => {
    withVcpu(PROTECTED, HLT, (vcpu) => {
      const before = vcpu.sregs()
      assert.is(before.cs.selector, 0x10)
      assert.is(before.cr0 & 1n, 1n)
      vcpu.setSregs({ fs: { base: 0x12345n }, idt: { base: 0x7000n, limit: 0x7ff }, cr2: 0xabcn })
      assert.equal(vcpu.sregs(), {
        ...before,
        fs: { ...before.fs, base: 0x12345n },
        idt: { base: 0x7000n, limit: 0x7ff },
        cr2: 0xabcn,
      })
    })
  })

  test('setCpuid: what KVM supports, changed -> the guest sees it', () => {
    withVcpu(PROTECTED, CPUID, (vcpu, { kvm }) => {
      const entries = kvm.supportedCpuid()
      const leaf = entries.find((entry) => entry.function === 0x40000000)
      assert.ok(leaf)
      vcpu.setCpuid(entries.map((entry) => (entry === leaf ? { ...leaf, ecx: 0x12345678 } : entry)))
      vcpu.setRegs({ rax: 0x40000000n, rcx: 0n })
      assert.is(nextExit(vcpu), KVM_EXIT_HLT)
      const regs = vcpu.regs()
      assert.equal([regs.rbx, regs.rcx], [BigInt(leaf.ebx), 0x12345678n])
    })
  })

  test('msrs, setMsrs -> as set; one that does not exist -> KvmError names it', () => {
    withVcpu(LONG, HLT, (vcpu) => {
      const entries = [
        { index: 0xc0000081, data: 0x0018001000000000n },
        { index: 0xc0000082, data: 0xffffffff81000000n },
      ]
      vcpu.setMsrs(entries)
      assert.equal(vcpu.msrs([0xc0000081, 0xc0000082]), entries)
      const unknown = { index: 0x12345, data: 0n }
      const error = kvmErrorOf(() => vcpu.setMsrs([...entries, unknown]))
      assert.match(error.message, 'KVM_SET_MSRS: MSR 0x12345 is unknown')
      assert.match(kvmErrorOf(() => vcpu.msrs([0x12345])).message, 'KVM_GET_MSRS: MSR 0x12345')
    })
  })

  test('mpState: with the irqchip -> 0 runs, 1 waits until it is told to run', () => {
    withVcpu(
      PROTECTED,
      HLT,
      (vcpu, { vm, kvm }) => {
        assert.is(vcpu.mpState(), KVM_MP_STATE_RUNNABLE)
        const second = startVcpu(vm.createVcpu(1), kvm.vcpuMmapBytes, PROTECTED)
        assert.is(second.mpState(), KVM_MP_STATE_UNINITIALIZED)
        second.setMpState(KVM_MP_STATE_HALTED)
        assert.is(second.mpState(), KVM_MP_STATE_HALTED)
        second.setMpState(KVM_MP_STATE_RUNNABLE)
        assert.is(kvmErrorOf(() => second.setMpState(99)).code, 'EINVAL')
        second.close()
      },
      { irqchip: true },
    )
  })

  test('triple fault -> KVM_EXIT_SHUTDOWN', () => {
    withVcpu(LONG, TRIPLE_FAULT, (vcpu) => {
      assert.is(nextExit(vcpu), KVM_EXIT_SHUTDOWN)
    })
  })

  test('interruptVcpu: before run, twice -> one -EINTR, then the guest goes on', () => {
    withVcpu(PROTECTED, HLT, (vcpu) => {
      assert.is(Vcpu.interruptVcpu(vcpu.threadId), 0)
      assert.is(Vcpu.interruptVcpu(vcpu.threadId), 0)
      assert.is(vcpu.run(), -EINTR)
      assert.is(vcpu.run(), KVM_EXIT_HLT)
    })
  })

  test('interruptVcpu: no such thread -> -ESRCH', () => {
    assert.is(Vcpu.interruptVcpu(0x3fffff), -constants.errno.ESRCH)
  })

  test('closed: run, registers, exit fields -> -EBADF, KvmError, 0; closing again does nothing', () => {
    withVcpu(REAL, PIO_16, (vcpu) => {
      assert.is(nextExit(vcpu), KVM_EXIT_IO)
      const { io, mmio } = vcpu
      vcpu.close()
      vcpu.close()
      assert.is(vcpu.run(), -EBADF)
      assert.equal([io.port, io.data(), mmio.address, mmio.data], [0, 0, 0, 0])
      io.answer(1)
      mmio.answer(1)
      assert.is(kvmErrorOf(() => vcpu.regs()).code, 'EBADF')
    })
  })

  test('open: a descriptor that is no vCPU -> KvmError', () => {
    const kvm = Kvm.open()
    const error = kvmErrorOf(() => Vcpu.open(kvm.fd, kvm.vcpuMmapBytes))
    assert.match(error.message, 'is it a vCPU?')
    kvm.close()
  })
}

test.run()
