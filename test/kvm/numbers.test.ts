// The numbers of the KVM interface against typed-in ones, as strace prints them. headers.test.ts asks the kernel's
// own headers, where there is a compiler.

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
  REQUESTS,
} from '../../host/kvm/numbers.ts'

const test = suite('kvm/numbers')

test('requests: computed -> the numbers of x86-64', () => {
  assert.equal(REQUESTS, {
    KVM_GET_API_VERSION: 0xae00,
    KVM_CREATE_VM: 0xae01,
    KVM_CHECK_EXTENSION: 0xae03,
    KVM_GET_VCPU_MMAP_SIZE: 0xae04,
    KVM_GET_SUPPORTED_CPUID: 0xc008ae05,
    KVM_CREATE_VCPU: 0xae41,
    KVM_SET_USER_MEMORY_REGION: 0x4020ae46,
    KVM_SET_TSS_ADDR: 0xae47,
    KVM_SET_IDENTITY_MAP_ADDR: 0x4008ae48,
    KVM_CREATE_IRQCHIP: 0xae60,
    KVM_IRQ_LINE: 0x4008ae61,
    KVM_IRQFD: 0x4020ae76,
    KVM_CREATE_PIT2: 0x4040ae77,
    KVM_IOEVENTFD: 0x4040ae79,
    KVM_RUN: 0xae80,
    KVM_GET_REGS: 0x8090ae81,
    KVM_SET_REGS: 0x4090ae82,
    KVM_GET_SREGS: 0x8138ae83,
    KVM_SET_SREGS: 0x4138ae84,
    KVM_GET_MSRS: 0xc008ae88,
    KVM_SET_MSRS: 0x4008ae89,
    KVM_SET_SIGNAL_MASK: 0x4004ae8b,
    KVM_SET_CPUID2: 0x4008ae90,
    KVM_GET_MP_STATE: 0x8004ae98,
    KVM_SET_MP_STATE: 0x4004ae99,
  })
})

test('capabilities and version', () => {
  assert.is(KVM_API_VERSION, 12)
  assert.equal(CAPABILITIES, {
    KVM_CAP_IRQCHIP: 0,
    KVM_CAP_USER_MEMORY: 3,
    KVM_CAP_SET_TSS_ADDR: 4,
    KVM_CAP_EXT_CPUID: 7,
    KVM_CAP_NR_VCPUS: 9,
    KVM_CAP_NR_MEMSLOTS: 10,
    KVM_CAP_MP_STATE: 14,
    KVM_CAP_IRQ_ROUTING: 25,
    KVM_CAP_IRQFD: 32,
    KVM_CAP_PIT2: 33,
    KVM_CAP_IOEVENTFD: 36,
    KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
    KVM_CAP_MAX_VCPUS: 66,
    KVM_CAP_TSC_DEADLINE_TIMER: 72,
  })
})

test('exit reasons', () => {
  assert.equal(
    [KVM_EXIT_UNKNOWN, KVM_EXIT_IO, KVM_EXIT_HLT, KVM_EXIT_MMIO, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_SHUTDOWN],
    [0, 2, 5, 6, 7, 8],
  )
  assert.equal([KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTR, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_SYSTEM_EVENT], [9, 10, 17, 24])
})

test.run()
