// Whether the machine's interrupts arrive where its MADT says: what the firmware tables promise of ISA interrupts, the
// timer's above all, must be how KVM routes lines to the pins of its IOAPIC. Skips without KVM.

import koffi from 'koffi'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Kvm } from '../../host/kvm/kvm.ts'
import { acpiTables } from '../../host/vmm/acpi-tables.ts'
import { DISK_GSIS, SCI_IRQ, SERIAL_IRQ } from '../../host/vmm/pc-layout.ts'
import { hasKvm } from '../support/kvm-guest.ts'

const test = suite('irq routing')

const KVM_GET_IRQCHIP = 0xc208ae62
const IRQCHIP_BYTES = 520
const KVM_IRQCHIP_IOAPIC = 2
const IRR = 24 // of kvm_ioapic_state in kvm_irqchip: pins that are asserted
const INTERRUPT_OVERRIDE = 2
const PIT_IRQ = 0

const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long request, void *argument)')

/** The pins of the IOAPIC that are high. */
function pins(vmFd: number): number {
  const chip = new DataView(new ArrayBuffer(IRQCHIP_BYTES))
  chip.setUint32(0, KVM_IRQCHIP_IOAPIC, true)
  assert.is(ioctl(vmFd, KVM_GET_IRQCHIP, new Uint8Array(chip.buffer)), 0, 'KVM_GET_IRQCHIP')
  return chip.getUint32(IRR, true)
}

/** Where an ISA interrupt is, by the MADT: at its own number unless the table says otherwise. */
function promised(irq: number): number {
  const madt = acpiTables({ vcpus: 1, disks: [] }).find(
    ({ bytes }) => Buffer.from(bytes.subarray(0, 4)).toString() === 'APIC',
  )
  assert.ok(madt)
  const table = new DataView(madt.bytes.buffer, madt.bytes.byteOffset, madt.bytes.byteLength)
  for (let at = 44; at < table.byteLength; at += table.getUint8(at + 1)) {
    const isOverride = table.getUint8(at) === INTERRUPT_OVERRIDE && table.getUint8(at + 3) === irq
    if (isOverride) return table.getUint32(at + 4, true)
  }
  return irq
}

if (hasKvm()) {
  test('each line that the machine uses -> high at the pin that the MADT names', () => {
    const kvm = Kvm.open()
    const vm = kvm.createVm()
    try {
      vm.createIrqchip()
      for (const irq of [PIT_IRQ, SERIAL_IRQ, SCI_IRQ, ...DISK_GSIS]) {
        vm.irqLine(irq, true)
        assert.is(pins(vm.fd), 1 << promised(irq), `interrupt ${irq}`)
        vm.irqLine(irq, false)
      }
    } finally {
      vm.close()
      kvm.close()
    }
  })
}

test.run()
