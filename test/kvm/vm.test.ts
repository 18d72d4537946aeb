// Vm under the real KVM: ioeventfds, interrupts through the irqchip, wrong arguments, and that machines leave nothing
// behind. The guests are snippets of a few instructions.

import * as fs from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../host/kvm/numbers.ts'
import type { Vcpu } from '../../host/kvm/vcpu.ts'
import { Vm } from '../../host/kvm/vm.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import {
  createMachine,
  hasKvm,
  INTERRUPT_GATE,
  INTERRUPTS,
  IRQ,
  kernelObjects,
  kvmErrorOf,
  nextExit,
  PROTECTED,
  REAL,
  startVcpu,
  withVcpu,
} from '../support/kvm-guest.ts'

const test = suite('kvm/vm')

const MMIO_WRITES = `
  b8 07 00 00 00                   mov eax, 7
  a3 50 00 00 d0                   mov [0xd0000050], eax
  b8 08 00 00 00                   mov eax, 8
  a3 50 00 00 d0                   mov [0xd0000050], eax
  b8 07 00 00 00                   mov eax, 7
  66 a3 50 00 00 d0                mov [0xd0000050], ax
  a3 50 00 00 d0                   mov [0xd0000050], eax
  a3 54 00 00 d0                   mov [0xd0000054], eax
  f4                               hlt
`
const PORT_WRITES = `
  ba 00 05                         mov dx, 0x500
  b8 03 00                         mov ax, 3
  ef                               out dx, ax
  b8 04 00                         mov ax, 4
  ef                               out dx, ax
  ee                               out dx, al
  f4                               hlt
`

/** The writes that reach us, up to hlt: 'address width value'. */
function writesOf(vcpu: Vcpu): string[] {
  const writes: string[] = []
  let reason = nextExit(vcpu)
  for (; reason !== KVM_EXIT_HLT; reason = nextExit(vcpu)) {
    const { io, mmio } = vcpu
    if (reason === KVM_EXIT_MMIO) writes.push(`0x${mmio.address.toString(16)} ${mmio.width} ${mmio.data}`)
    else if (reason === KVM_EXIT_IO) writes.push(`0x${io.port.toString(16)} ${io.width} ${io.data()}`)
    else assert.unreachable(vcpu.explain())
  }
  return writes
}

if (hasKvm()) {
  test('ioeventfd, datamatch: the value and width -> a signal and no exit; anything else -> an exit', () => {
    const [seven, every] = [EventFd.create(), EventFd.create()]
    withVcpu(PROTECTED, MMIO_WRITES, (vcpu, { vm }) => {
      vm.ioeventfd({ fd: seven.fd, gpa: 0xd0000050, bytes: 4, datamatch: 7 })
      vm.ioeventfd({ fd: every.fd, gpa: 0xd0000054, bytes: 4 })
      assert.equal(writesOf(vcpu), ['0xd0000050 4 8', '0xd0000050 2 7'])
      assert.is(seven.take(), 2)
      assert.is(every.take(), 1)
    })
    seven.close()
    every.close()
  })

  test('ioeventfd: two values of one register -> each its own eventfd', () => {
    const [seven, eight] = [EventFd.create(), EventFd.create()]
    withVcpu(PROTECTED, MMIO_WRITES, (vcpu, { vm }) => {
      vm.ioeventfd({ fd: seven.fd, gpa: 0xd0000050, bytes: 4, datamatch: 7 })
      vm.ioeventfd({ fd: eight.fd, gpa: 0xd0000050, bytes: 4, datamatch: 8 })
      assert.equal(writesOf(vcpu), ['0xd0000050 2 7', '0xd0000054 4 7'])
      assert.equal([seven.take(), eight.take()], [2, 1])
    })
    seven.close()
    eight.close()
  })

  test('ioeventfd: unassigned -> exits again; what was not assigned -> ENOENT, twice the same -> EEXIST', () => {
    const event = EventFd.create()
    withVcpu(PROTECTED, MMIO_WRITES, (vcpu, { vm }) => {
      const seven = { fd: event.fd, gpa: 0xd0000050, bytes: 4, datamatch: 7 }
      vm.ioeventfd(seven)
      assert.is(kvmErrorOf(() => vm.ioeventfd(seven)).code, 'EEXIST')
      vm.ioeventfd(seven, false)
      assert.is(kvmErrorOf(() => vm.ioeventfd(seven, false)).code, 'ENOENT')
      assert.is(writesOf(vcpu).length, 5)
      assert.is(event.take(), 0)
    })
    event.close()
  })

  test('ioeventfd on a port: the value and width -> a signal and no exit', () => {
    const event = EventFd.create()
    withVcpu(REAL, PORT_WRITES, (vcpu, { vm }) => {
      vm.ioeventfd({ fd: event.fd, gpa: 0x500, bytes: 2, datamatch: 3, pio: true })
      assert.equal(writesOf(vcpu), ['0x500 2 4', '0x500 1 4'])
      assert.is(event.take(), 1)
    })
    event.close()
  })

  test('irqfd, irqLine: a guest with a PIC and an IDT -> one interrupt for each; unassigned -> none', () => {
    const event = EventFd.create()
    withVcpu(
      PROTECTED,
      INTERRUPTS,
      (vcpu, { vm, ram }) => {
        ram.view(...INTERRUPT_GATE.at).set(INTERRUPT_GATE.bytes)
        vm.irqfd(event.fd, IRQ)
        const nextOut = (): string => {
          assert.is(nextExit(vcpu), KVM_EXIT_IO, vcpu.explain())
          return `0x${vcpu.io.port.toString(16)} ${vcpu.io.data() & (vcpu.io.port === 0x81 ? 0xff : 0)}`
        }
        assert.is(nextOut(), '0x80 0')
        event.signal()
        assert.is(nextOut(), '0x81 1')
        const lent = Vm.borrow(vm.fd)
        lent.irqLine(IRQ, true)
        lent.irqLine(IRQ, false)
        lent.close()
        let out = nextOut()
        while (out === '0x80 0') out = nextOut()
        assert.is(out, '0x81 2')
        vm.irqfd(event.fd, IRQ, false)
        event.signal()
        assert.is(event.take(), 1)
      },
      { irqchip: true },
    )
    event.close()
  })

  test('wrong arguments -> KvmError EINVAL that names them', () => {
    const { vm, close } = createMachine('')
    const nothing = fs.openSync('/dev/null', 'r')
    const wrong: [() => void, RegExp][] = [
      [() => vm.setMemory(1, 1, 4096, 4096), /gpa has to be a multiple of 4096, not 1/],
      [() => vm.setMemory(1, 1 << 20, 100, 4096), /bytes has to be a multiple/],
      [() => vm.setMemory(1, 1 << 20, 4096, 4097), /address has to be a multiple/],
      [() => vm.setMemory(1, -4096, 4096, 4096), /gpa has to be/],
      [() => vm.setMemory(1, 1 << 20, Number.NaN, 4096), /bytes has to be/],
      [
        () => vm.setMemory(0xffff, 1 << 20, 4096, 1 << 20),
        /KVM_SET_USER_MEMORY_REGION \(slot 65535, 4096 bytes at 0x100000\)/,
      ],
      [() => vm.irqfd(-1, 5), /-1 is not a file descriptor/],
      [() => vm.irqfd(Number.NaN, 5), /not a file descriptor/],
      [() => vm.ioeventfd({ fd: -1, gpa: 0, bytes: 4 }), /not a file descriptor/],
      [() => vm.ioeventfd({ fd: 0, gpa: 0, bytes: 3 }), /1, 2, 4 or 8, not 3/],
      [() => vm.ioeventfd({ fd: 0, gpa: -1, bytes: 4 }), /-1 is not an address/],
      [() => vm.ioeventfd({ fd: 0, gpa: 0, bytes: 1, datamatch: 256 }), /datamatch 256 does not fit 1 bytes/],
      [() => vm.ioeventfd({ fd: 0, gpa: 0, bytes: 2, datamatch: -1 }), /datamatch -1 does not fit/],
      [() => vm.ioeventfd({ fd: nothing, gpa: 0, bytes: 2 }), /KVM_IOEVENTFD \(eventfd \d+/],
    ]
    for (const [work, message] of wrong) {
      const error = kvmErrorOf(work)
      assert.is(error.code, 'EINVAL', error.message)
      assert.match(error.message, message)
    }
    fs.closeSync(nothing)
    close()
  })

  test('the wrong order -> KvmError says what comes first', () => {
    const { vm, close } = createMachine('')
    assert.match(kvmErrorOf(() => vm.createPit2()).message, 'call createIrqchip first')
    assert.match(kvmErrorOf(() => vm.irqLine(5, true)).message, /KVM_IRQ_LINE \(GSI 5\) failed: ENXIO; .*createIrqchip/)
    vm.createVcpu(0)
    assert.match(kvmErrorOf(() => vm.createIrqchip()).message, 'before the first vCPU')
    assert.match(kvmErrorOf(() => vm.createVcpu(0)).message, 'KVM_CREATE_VCPU (vCPU 0) failed: EEXIST')
    assert.is(kvmErrorOf(() => vm.setMemory(1, 0, 4096, 1 << 20)).code, 'EEXIST')
    close()
    assert.is(vm.fd, -1)
    assert.is(kvmErrorOf(() => vm.createIrqchip()).code, 'EBADF')
    vm.close()
  })

  test('borrowed: close -> the machine lives', () => {
    const { vm, close } = createMachine('')
    const lent = Vm.borrow(vm.fd)
    lent.createIrqchip()
    lent.createPit2()
    lent.close()
    assert.is(lent.fd, -1)
    vm.irqLine(5, false)
    close()
  })

  test('100 machines with everything, closed -> no descriptor and no mapping left', () => {
    const event = EventFd.create()
    const cycle = (): void => {
      const { kvm, vm, close } = createMachine('f4  hlt', { irqchip: true })
      vm.createPit2()
      vm.irqfd(event.fd, 5)
      vm.ioeventfd({ fd: event.fd, gpa: 0xd0000050, bytes: 4, datamatch: 0 })
      const vcpus = [0, 1].map((id) => startVcpu(vm.createVcpu(id), kvm.vcpuMmapBytes, PROTECTED))
      for (const vcpu of vcpus) vcpu.close()
      close()
    }
    cycle()
    const before = kernelObjects()
    assert.equal(before.mappings, [])
    for (let i = 0; i < 100; i++) cycle()
    assert.equal(kernelObjects(), before)
    event.close()
  })
}

test.run()
