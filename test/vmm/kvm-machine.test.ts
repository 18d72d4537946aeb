// KvmMachine with programs of a few bytes, on the real KVM of the machine the tests run on: ports, serial port, ways to
// end, vCPUs, a disk's window, and that nothing is left behind. Without a KVM that may be used the file says so and has
// no tests. Programs are 32-bit without paging, at 0x1000, and hand-assembled; what each line is stands beside it.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createImage } from '../../host/backend/image.ts'
import { KvmError } from '../../host/kvm/errors.ts'
import { Kvm } from '../../host/kvm/kvm.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import { KvmMachine, type MachineError } from '../../host/vmm/kvm-machine.ts'
import type { FlatMachineOptions } from '../../host/vmm/machine-options.ts'
import { sleep, within } from '../support/within.ts'

const test = suite('kvm machine')

const MIB = 1 << 20
const LOAD = 0x1000
const DEBUG_PORT = 0xf4
const WAIT_MS = 20_000

/** mov $value, %eax; out %eax, $0xf4 */
const report = (value: number): number[] => [0xb8, ...u32(value), ...REPORT_EAX]
const REPORT_EAX = [0xe7, DEBUG_PORT]
const REPORT_AL = [0xe6, DEBUG_PORT]
/** mov $port, %edx; mov $value, %al; out %al, %dx */
const outb = (port: number, value: number): number[] => [0xba, ...u32(port), 0xb0, value, 0xee]
/** mov $0x604, %edx; mov $0x3400, %eax; out %ax, %dx */
const POWER_OFF = [0xba, ...u32(0x604), 0xb8, ...u32(0x3400), 0x66, 0xef]
/** mov %eax, value; then store it: mov %eax, (address) */
const store = (address: number, value: number): number[] => [0xb8, ...u32(value), 0xa3, ...u32(address)]
/** mov (address), %eax */
const load = (address: number): number[] => [0xa1, ...u32(address)]
const HALT = [0xf4, 0xeb, 0xfd]
const SPIN = [0xeb, 0xfe]

function u32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}

interface Rig {
  machine: KvmMachine
  values: number[]
  serial: () => string
  /** resolves when the guest has reported `count` values */
  reported: (count: number) => Promise<void>
}

async function start(program: number[], options: Partial<FlatMachineOptions> = {}): Promise<Rig> {
  const values: number[] = []
  let serial = ''
  let wake = (): void => {}
  const machine = await KvmMachine.create({
    memory: KvmMachine.memory(2 * MIB),
    flat: { image: Uint8Array.from(program), address: LOAD, entry: LOAD },
    onSerial: (bytes) => {
      serial += Buffer.from(bytes).toString('latin1')
    },
    debugPort: {
      port: DEBUG_PORT,
      onWrite: (value) => {
        values.push(value)
        wake()
      },
    },
    ...options,
  })
  machine.run()
  const reported = async (count: number): Promise<void> => {
    const all = new Promise<void>((resolve) => {
      wake = () => {
        if (values.length >= count) resolve()
      }
      wake()
    })
    await within(WAIT_MS, Promise.race([all, machine.ended.then(() => {})]), `${count} values`)
  }
  return { machine, values, serial: () => serial, reported }
}

async function failureOf(machine: KvmMachine): Promise<MachineError> {
  try {
    await within(WAIT_MS, machine.ended)
  } catch (error) {
    assert.is((error as Error).name, 'MachineError')
    return error as MachineError
  }
  throw new Error('the machine did not fail')
}

function haveKvm(): boolean {
  try {
    Kvm.open().close()
    return true
  } catch (error) {
    if (!(error instanceof KvmError)) throw error
    console.log(`skipped: KvmMachine: ${error.message}`)
    return false
  }
}

function addTests(): void {
  test('debug port: values at their width, in order; then ACPI power-off', async () => {
    const { machine, values } = await start([...report(0x12345678), 0xb0, 0x41, ...REPORT_AL, ...POWER_OFF])
    assert.is(await within(WAIT_MS, machine.ended), 'power-off')
    assert.equal(values, [0x12345678, 0x41])
  })

  test('reset: keyboard controller, reset register -> reset', async () => {
    for (const program of [outb(0x64, 0xfe), outb(0xcf9, 0x06)]) {
      const { machine } = await start([...program, ...HALT])
      assert.is(await within(WAIT_MS, machine.ended), 'reset')
    }
  })

  test('triple fault -> MachineError with the exit and the registers', async () => {
    const { machine } = await start([0xb8, ...u32(0xabcd1234), 0x0f, 0x0b]) // mov, ud2 without an IDT
    const { message } = await failureOf(machine)
    assert.match(message, /vCPU 0: KVM_EXIT_SHUTDOWN/)
    assert.match(message, /rax abcd1234/)
    assert.match(message, /rip 1005/)
    assert.match(message, /cr0 11/)
  })

  test('nobody there: memory and ports read as all ones, writes are swallowed', async () => {
    const program = [
      ...store(0xe0000000, 0),
      ...[...load(0xe0000000), ...REPORT_EAX],
      ...[0xba, ...u32(0xcf8), 0xed, ...REPORT_EAX], // in %dx, %eax
      ...POWER_OFF,
    ]
    const { machine, values } = await start(program)
    assert.is(await within(WAIT_MS, machine.ended), 'power-off')
    assert.equal(values, [0xffffffff, 0xffffffff])
  })

  test('stop: a guest that halts, one that spins, one not switched on -> stopped, and run does nothing after', async () => {
    for (const program of [[0xfa, ...HALT], SPIN]) {
      const { machine, reported, values } = await start([...report(1), ...program])
      await reported(1)
      await within(WAIT_MS, machine.stop())
      assert.is(await machine.ended, 'stopped')
      await machine.stop()
      machine.run()
      machine.serialWrite('x')
      assert.equal(values, [1])
    }
    const machine = await KvmMachine.create({
      memory: KvmMachine.memory(MIB),
      flat: { image: Uint8Array.from(report(1)), address: LOAD, entry: LOAD },
    })
    await within(WAIT_MS, machine.stop())
    assert.is(await machine.ended, 'stopped')
  })

  test('serial: output -> onSerial, all of it before the end', async () => {
    const bytes = [...Buffer.from('hello\n')]
    const { machine, serial } = await start([...bytes.flatMap((byte) => outb(0x3f8, byte)), ...POWER_OFF])
    assert.is(await within(WAIT_MS, machine.ended), 'power-off')
    assert.is(serial(), 'hello\n')
  })

  test('serial: more output than its ring holds while the main thread is busy -> nothing is lost', async () => {
    const count = 70_000
    const program = [
      ...[0xba, ...u32(0x3f8), 0xb9, ...u32(count)], // mov $0x3f8, %edx; mov $count, %ecx
      ...[0x88, 0xc8, 0xee, 0xe2, 0xfb], // 1: mov %cl, %al; out %al, %dx; loop 1b
      ...POWER_OFF,
    ]
    const { machine, serial } = await start(program)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
    assert.is(await within(60_000, machine.ended), 'power-off')
    assert.is(serial().length, count)
    const expected = Buffer.from(Uint8Array.from({ length: count }, (_, i) => (count - i) & 0xff)).toString('latin1')
    assert.ok(serial() === expected)
  })

  test('serial: a key wakes a guest that halts, by interrupt 4', async () => {
    const { machine, values, reported } = await start(keyProgram())
    await reported(1)
    await sleep(50) // for the guest to reach hlt
    machine.serialWrite('k')
    assert.is(await within(WAIT_MS, machine.ended), 'power-off')
    assert.equal(values, [1, 0x6b])
  })

  test('vCPUs: the first starts the second, which has ports too', async () => {
    const memory = KvmMachine.memory(2 * MIB)
    const second = [0xb0, 0x32, 0xba, 0xf8, 0x03, 0xee, 0xb0, 0x02, ...REPORT_AL, ...HALT] // 16-bit, at 0x8000
    memory.view(0x8000, second.length).set(second)
    const command = 0xfee00300
    const program = [...store(command, 0x000c4500), ...store(command, 0x000c4608), 0xfa, ...HALT] // INIT, start at 8
    const { machine, values, reported, serial } = await start(program, { memory, vcpus: 2 })
    await reported(1)
    await within(WAIT_MS, machine.stop())
    assert.equal([values, serial(), await machine.ended], [[2], '2', 'stopped'])
  })

  test('disk: its registers in the window; a notification is an exit only without ioeventfd', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vblk-machine-'))
    const image = join(folder, 'disk.img')
    createImage(image, MIB)
    const worker = await DiskWorker.create()
    try {
      for (const ioeventfd of [true, false]) {
        const memory = KvmMachine.memory(2 * MIB)
        const disk = await worker.attach({ memory, backend: { file: image } })
        const program = [
          ...[...load(0xd0000000), ...REPORT_EAX, ...load(0xd0000008), ...REPORT_EAX],
          ...[...store(0xd0000050, 0), ...load(0xd0000100), ...REPORT_EAX],
          ...POWER_OFF,
        ]
        const { machine, values } = await start(program, { memory, disks: [{ disk, ioeventfd }] })
        assert.is(await within(WAIT_MS, machine.ended), 'power-off')
        assert.equal(values, [0x74726976, 2, (MIB / 512) & 0xffffffff])
        const { mmio, notifications, longestMmioMs } = machine.exits
        assert.equal([mmio, notifications], ioeventfd ? [3, 0] : [4, 1])
        assert.ok(longestMmioMs > 0)
        await disk.close()
      }
    } finally {
      await worker.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('device rule 1: 8 bytes at once -> two words of config space, all ones of registers, writes dropped', async () => {
    const worker = await DiskWorker.create()
    const folder = mkdtempSync(join(tmpdir(), 'vblk-machine-'))
    try {
      const image = join(folder, 'disk.img')
      createImage(image, MIB)
      const memory = KvmMachine.memory(2 * MIB)
      const disk = await worker.attach({ memory, backend: { file: image } })
      // mov $address, %ebx; mov (%rbx), %rax; out %eax; shr $32, %rax; out %eax
      const load64 = (address: number): number[] => [
        ...[0xbb, ...u32(address), 0x48, 0x8b, 0x03, ...REPORT_EAX],
        ...[0x48, 0xc1, 0xe8, 0x20, ...REPORT_EAX],
      ]
      // xor %eax, %eax; inc %eax; mov $address, %ebx; mov %rax, (%rbx): ACKNOWLEDGE into Status, were it a register
      const store64 = (address: number): number[] => [0x31, 0xc0, 0xff, 0xc0, 0xbb, ...u32(address), 0x48, 0x89, 0x03]
      const program = [
        ...load64(0xd0000000),
        ...load64(0xd0000100),
        ...store64(0xd0000070),
        ...[0xbb, ...u32(0xd0000070), 0x8b, 0x03, ...REPORT_EAX],
        ...POWER_OFF,
      ]
      const flat = { image: Uint8Array.from(program), address: 0x100000, entry: 0x100000, mode: 'long' as const }
      const { machine, values } = await start([], { memory, flat, disks: [{ disk }] })
      assert.is(await within(WAIT_MS, machine.ended), 'power-off')
      assert.equal(values, [0xffffffff, 0xffffffff, MIB / 512, 0, 0])
      await disk.close()
    } finally {
      await worker.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('again and again: no descriptor and no thread is left', async () => {
    const count = (): number[] => ['fd', 'task'].map((kind) => readdirSync(`/proc/self/${kind}`).length)
    const once = async (): Promise<void> => {
      const { machine } = await start([...report(1), ...HALT], { vcpus: 2 })
      await within(WAIT_MS, machine.stop())
    }
    await once()
    const before = count()
    for (let i = 0; i < 15; i++) await once()
    const after = count()
    assert.ok(
      after.every((now, i) => now <= (before[i] as number)),
      `${before} -> ${after}`,
    )
  })

  test('a process that ends while its guest spins -> ends', () => {
    const program = `
      import { KvmMachine } from 'virtio-blk-wasm/node'
      const machine = await KvmMachine.create({
        memory: KvmMachine.memory(1 << 20),
        flat: { image: Uint8Array.of(0xe6, 0xf4, 0xeb, 0xfe), address: 0x1000, entry: 0x1000 },
        debugPort: { port: 0xf4, onWrite: () => process.exit(7) },
      })
      machine.run()`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
      timeout: WAIT_MS,
    })
    assert.is(status, 7, stderr)
  })
}

/** Waits for a key in hlt, reports it, and powers off: a GDT and an IDT at 0x1800, 8259s that let IRQ 4 through. */
function keyProgram(): number[] {
  const gdt = 0x1800
  const idt = 0x1840
  const pointers = 0x1a00
  const handler = 0x1700
  const code = [
    ...[0xbc, ...u32(0x9000)], // mov $0x9000, %esp
    ...[0x0f, 0x01, 0x15, ...u32(pointers), 0x0f, 0x01, 0x1d, ...u32(pointers + 8)], // lgdt, lidt
    ...[outb(0x20, 0x11), outb(0x21, 0x20), outb(0x21, 4), outb(0x21, 1), outb(0x21, 0xef)].flat(), // vectors from 0x20
    ...[outb(0x3f9, 1), outb(0x3fc, 0x0b)].flat(),
    ...report(1),
    ...[0xfb, ...HALT], // sti
  ]
  const image = new Uint8Array(pointers + 16 - LOAD)
  const put = (address: number, bytes: number[]): void => image.set(bytes, address - LOAD)
  put(LOAD, code)
  put(handler, [0xba, ...u32(0x3f8), 0xec, ...REPORT_AL, ...POWER_OFF]) // in %dx, %al
  put(gdt + 0x10, [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0])
  put(idt + 0x24 * 8, [handler & 0xff, handler >> 8, 0x10, 0, 0, 0x8e, 0, 0])
  put(pointers, [0x1f, 0, ...u32(gdt), 0, 0, 0xff, 0x01, ...u32(idt)])
  return [...image]
}

if (haveKvm()) addTests()
test.run()
