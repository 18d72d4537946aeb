// Every mistake in a machine's options: named, and before anything is started. Needs no KVM.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { KvmMachine } from '../../host/vmm/kvm-machine.ts'
import {
  checkMachine,
  type KvmMachineOptions,
  type MachineDisk,
  type MachineDiskOptions,
} from '../../host/vmm/machine-options.ts'

const test = suite('machine options')

const MIB = 1 << 20
const GIB = 2 ** 30

const memory = GuestMemory.create({ ramBytes: 2 * MIB, shared: true })
const flat = { image: Uint8Array.of(0xf4), address: 0x1000, entry: 0x1000 }

function disk(over = memory): MachineDisk {
  const handle = {
    memory: over.memory,
    statePtr: 0,
    controlPtr: 0,
    queues: 1,
    wakeFd: 0,
    kickFds: [0],
    interruptFd: 0,
    timerFd: 0,
  }
  return { handle, kickFds: [0], interruptFd: 0 }
}

function check(change: object): ReturnType<typeof checkMachine> {
  return checkMachine({ memory, flat, ...change } as KvmMachineOptions)
}

function withDisks(...disks: Partial<MachineDiskOptions>[]): ReturnType<typeof checkMachine> {
  return check({ disks: disks.map((options) => ({ disk: disk(), ...options })) })
}

test('memory: more than a Wasm memory holds -> refused', () => {
  assert.throws(() => KvmMachine.memory(4 * GIB), /at most 4294967296/)
  assert.throws(() => KvmMachine.memory(4 * GIB - 4096), /at most 4294967296/)
  assert.throws(() => KvmMachine.memory(1000), /multiple of 4096/)
})

test('memory: around the hole for devices', () => {
  const { regions, shared } = KvmMachine.memory(3 * GIB + 64 * MIB)
  assert.ok(shared)
  assert.equal(
    regions.map(({ gpa, bytes }) => [gpa, bytes]),
    [
      [0, 3 * GIB],
      [4 * GIB, 64 * MIB],
    ],
  )
})

test('memory: not shared, or into the hole -> refused', () => {
  assert.throws(() => check({ memory: GuestMemory.create({ ramBytes: MIB }) }), /KvmMachine.memory/)
  assert.throws(() => check({ memory: undefined }), /KvmMachine.memory/)
  for (const gpa of [0xbffff000, 0xd0000000, 0xfffff000]) {
    const regions = [
      { gpa: 0, bytes: MIB },
      { gpa, bytes: 8192 },
    ]
    const over = GuestMemory.create({ regions, shared: true, stateBytes: 0 })
    assert.throws(() => check({ memory: over }), /addresses of devices, 0xc0000000 to 0x100000000/)
  }
})

test("disks: windows and interrupts by default -> one after another, without the clock's and ACPI's", () => {
  const placed = withDisks(...new Array(16).fill({}))
  assert.equal(placed.map(({ gsi }) => gsi).join(), '5,6,7,10,11,12,13,14,15,16,17,18,19,20,21,22')
  assert.equal(
    placed.slice(0, 2).map(({ window }) => window),
    [0xd0000000, 0xd0001000],
  )
  assert.ok(placed.every(({ ioeventfd }) => ioeventfd))
})

test('disks: some interrupts given -> the others avoid them', () => {
  assert.equal(
    withDisks({}, { gsi: 5 }, {}, { gsi: 7, ioeventfd: false }).map(({ gsi, ioeventfd }) => [gsi, ioeventfd]),
    [
      [6, true],
      [5, true],
      [10, true],
      [7, false],
    ],
  )
})

test('disks: one window or interrupt for two, a disk twice -> refused by name', () => {
  assert.throws(() => withDisks({ window: 0xd0003000 }, { window: 0xd0003000 }), /two disks at the window 0xd0003000/)
  assert.throws(() => withDisks({ gsi: 11 }, { gsi: 11 }), /two disks on the interrupt \(gsi\) 11/)
  const one = disk()
  assert.throws(() => check({ disks: [{ disk: one }, { disk: one }] }), /given twice/)
})

test('disks: interrupts that no disk can have -> refused with those it can', () => {
  for (const gsi of [0, 4, 8, 9, 24, -1, 5.5, Number.NaN]) {
    assert.throws(() => withDisks({ gsi }), /5 to 23, but not 8 .* nor 9/)
  }
})

test('disks: windows off a page, in RAM, outside the hole -> refused', () => {
  for (const window of [0xd0000200, -4096, 0.5]) assert.throws(() => withDisks({ window }), /must begin on a page/)
  for (const window of [0, 2 * MIB - 4096]) assert.throws(() => withDisks({ window }), /in guest RAM, 0x0 to 0x200000/)
  for (const window of [2 * MIB, 0xbffff000, 0xfec00000, 0xfee00000, 0x100000000]) {
    assert.throws(() => withDisks({ window }), /not between 0xc0000000 and 0xfec00000/)
  }
  assert.is(withDisks({ window: 0xfebff000 })[0]?.window, 0xfebff000)
})

test('disks: over another memory, or too many -> refused', () => {
  const other = disk(GuestMemory.create({ ramBytes: MIB, shared: true }))
  assert.throws(() => check({ disks: [{ disk: other }] }), /another memory/)
  assert.throws(() => withDisks(...new Array(18).fill({})), /18 disks; there are interrupts for 17/)
})

test('programs: none, two, outside RAM, entered outside itself -> refused', () => {
  const kernel = { bzImage: new Uint8Array() }
  assert.throws(() => check({ flat: undefined }), /either a kernel or a flat program/)
  assert.throws(() => check({ kernel }), /either a kernel or a flat program/)
  assert.throws(() => check({ flat: { ...flat, address: 2 * MIB } }), /not guest RAM/)
  for (const entry of [0xfff, 0x1001]) assert.throws(() => check({ flat: { ...flat, entry } }), /not in the image/)
})

test('vCPUs, debug port: out of range -> refused', () => {
  for (const vcpus of [0, 65, 1.5]) assert.throws(() => check({ vcpus }), /1 to 64/)
  for (const port of [-1, 0x10000, 0x3f8, 0x3ff]) {
    assert.throws(() => check({ debugPort: { port, onWrite: () => {} } }), /debugPort.port/)
  }
})

test('no KVM, not KVM: create -> KvmError with the device and the remedy, nothing started', async () => {
  for (const [device, message] of [
    ['/dev/no-such-kvm', /does not exist.*modprobe/],
    ['/dev/null', /not the KVM device/],
  ] as const) {
    try {
      await KvmMachine.create({ memory, flat, device })
      assert.unreachable()
    } catch (error) {
      assert.is((error as Error).name, 'KvmError')
      assert.match((error as Error).message, message)
    }
  }
})

test.run()
