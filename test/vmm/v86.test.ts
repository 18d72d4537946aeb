// The machine's own part: register window, interrupt line, guest RAM and endings, over an emulator that has
// v86's interfaces and runs nothing (fake-emulator.ts). What only the real v86 can show is in linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import { type MmioDevice, V86Machine } from '../../host/vmm/v86.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import { within } from '../support/within.ts'
import { type FakeEmulator, fakeRuntime, FAKE_RAM as RAM, FAKE_RAM_AT as RAM_AT } from './fake-emulator.ts'

const machine = suite('v86 machine')

const MIB = 1 << 20
const WINDOW = 0xc0001000

interface Rig {
  emulator: FakeEmulator
  machine: V86Machine
  interrupt: () => void
  memory: GuestMemory
  calls: string[]
  serial: string[]
}

async function rig(device: Partial<MmioDevice> = {}): Promise<Rig> {
  const { runtime, emulator } = fakeRuntime()
  let interrupt = (): void => {}
  let memory: GuestMemory | undefined
  const calls: string[] = []
  const serial: string[] = []
  const made = await V86Machine.create({
    runtime,
    bios: new Uint8Array(16),
    kernel: {
      bzImage: Uint8Array.of(1, 2, 3),
      segments: [{ address: MIB, content: Uint8Array.of(7), memoryBytes: 1 }],
    },
    initrd: new Uint8Array(5),
    cmdline: 'quiet',
    memoryBytes: RAM,
    onSerial: (bytes) => serial.push(Buffer.from(bytes).toString()),
    disk: {
      create: async (ram, onInterrupt) => {
        memory = ram
        interrupt = onInterrupt
        const mmioRead = (offset: number, width: number): number => {
          calls.push(`r${width} ${offset.toString(16)}`)
          return 0x80000000
        }
        const mmioWrite = (offset: number, width: number, value: number): void => {
          calls.push(`w${width} ${offset.toString(16)} ${value.toString(16)}`)
        }
        return { mmioRead, mmioWrite, ...device }
      },
    },
  })
  assert.ok(memory)
  return { emulator: emulator(), machine: made, interrupt, memory, calls, serial }
}

machine('register window: 8 and 32 bits -> the device sees offset, width and unsigned value', async () => {
  const { emulator, calls } = await rig()
  assert.ok(emulator.window)
  assert.equal(emulator.events, ['map c0000000+20000'])
  // v86 gives addresses as signed numbers and takes 32-bit results as signed
  assert.is(emulator.window.read32((WINDOW + 0x100) | 0), -0x80000000)
  assert.is(emulator.window.read8(WINDOW + 0x101) & 0xff, 0)
  emulator.window.write32((WINDOW + 0x20) | 0, -1)
  emulator.window.write8(WINDOW + 0xfff, 0x7f)
  assert.equal(calls, ['r4 100', 'r1 101', 'w4 20 ffffffff', 'w1 fff 7f'])
})

machine('register window: outside of it -> all ones, writes dropped, the device not asked', async () => {
  const { emulator, calls } = await rig()
  assert.ok(emulator.window)
  for (const address of [WINDOW - 4, WINDOW + 0x1000, WINDOW + 0xffd, WINDOW - 2]) {
    assert.is(emulator.window.read32(address), -1)
    emulator.window.write32(address, 1)
  }
  assert.is(emulator.window.read8(WINDOW - 1), 0xff)
  assert.equal(calls, [])
})

machine('interrupt: raised by the device -> lowered only when an acknowledge leaves nothing pending', async () => {
  let pending = 3
  const { emulator, interrupt } = await rig({
    mmioRead: (offset) => (offset === 0x60 ? pending : 0),
    mmioWrite: (offset, _width, value) => {
      if (offset === 0x64) pending &= ~value
      if (offset === 0x70 && value === 0) pending = 0
    },
  })
  assert.ok(emulator.window)
  const { write32 } = emulator.window
  emulator.events.length = 0
  interrupt()
  await Promise.resolve()
  write32(WINDOW + 0x50, 0)
  write32(WINDOW + 0x64, 1)
  assert.equal(emulator.events, ['raise 5'])
  write32(WINDOW + 0x64, 2)
  assert.equal(emulator.events, ['raise 5', 'lower 5'])
  pending = 1
  interrupt()
  await Promise.resolve()
  write32(WINDOW + 0x70, 0)
  assert.equal(emulator.events, ['raise 5', 'lower 5', 'raise 5', 'lower 5'])
})

machine(
  'interrupt: raised inside a register write -> the line goes up after it, unless acknowledged by then',
  async () => {
    let pending = 0
    let raise = (): void => {}
    const { emulator, interrupt } = await rig({
      mmioRead: (offset) => (offset === 0x60 ? pending : 0),
      mmioWrite: (offset, _width, value) => {
        if (offset === 0x64) pending &= ~value
        if (offset !== 0x50) return
        pending |= 1
        raise()
      },
    })
    raise = interrupt
    const write32 = emulator.window?.write32
    assert.ok(write32)
    emulator.events.length = 0
    write32(WINDOW + 0x50, 0)
    assert.equal(emulator.events, [])
    await Promise.resolve()
    assert.equal(emulator.events, ['raise 5'])
    write32(WINDOW + 0x64, 1)
    write32(WINDOW + 0x50, 0)
    write32(WINDOW + 0x64, 1)
    await Promise.resolve()
    assert.equal(emulator.events, ['raise 5', 'lower 5', 'lower 5'])
  },
)

machine('guest RAM: adopted -> all of it, state outside, zeroed and aligned', async () => {
  const { memory, emulator } = await rig()
  assert.equal(memory.regions, [{ gpa: 0, bytes: RAM, ptr: RAM_AT }])
  assert.is(memory.view(MIB, 1)[0], 7, 'the kernel is where its segment says')
  const state = memory.allocate(1000)
  assert.is(state % 64, 0)
  assert.ok(new Uint8Array(emulator.memory.buffer, state, 1000).every((byte) => byte === 0))
  emulator.memory.grow(16)
  memory.view(4096, 1)[0] = 9
  assert.is(new Uint8Array(emulator.memory.buffer)[RAM_AT + 4096], 9, 'v86 may let its memory grow')
})

machine('guest RAM: a range that the device filled -> compiled code there is dropped', async () => {
  const { memory, emulator } = await rig()
  emulator.events.length = 0
  memory.onWrite?.(RAM_AT + 4096, 512)
  assert.equal(emulator.events, ['dirty 4096-4608'])
})

machine('serial port: bytes of one tick -> handed on in one piece; typed text -> UTF-8', async () => {
  const { emulator, machine, serial } = await rig()
  for (const byte of Buffer.from('héllo')) emulator.listeners.get('serial0-output-byte')?.(byte)
  await Promise.resolve()
  assert.equal(serial, ['héllo'])
  emulator.events.length = 0
  machine.serialWrite('é')
  machine.serialWrite(Uint8Array.of(3, 255))
  assert.equal(emulator.events, ['type 0 195,169', 'type 0 3,255'])
})

machine('endings: sleep request, reset, stop -> told apart; the machine stops', async () => {
  const off = await rig()
  off.emulator.pm1?.(0x0001)
  off.emulator.pm1?.(0x2000)
  assert.is(await within(1000, off.machine.ended), 'power-off')
  assert.ok(off.emulator.events.includes('stop'))
  const reset = await rig()
  reset.emulator.v86.cpu.reboot_internal()
  assert.is(await within(1000, reset.machine.ended), 'reset')
  const stopped = await rig()
  await stopped.machine.stop()
  assert.is(await within(1000, stopped.machine.ended), 'stopped')
  await stopped.machine.stop()
})

machine('endings: the device throws -> the machine ends with that error, not the process', async () => {
  const { emulator, machine } = await rig({
    mmioRead: () => {
      throw new Error('broken device')
    },
  })
  emulator.tick = () => void emulator.window?.read32(WINDOW)
  emulator.v86.do_tick()
  emulator.tick = () => {}
  try {
    await within(1000, machine.ended)
    assert.unreachable()
  } catch (error) {
    assert.match(String(error), 'broken device')
  }
  await within(1000, machine.stop())
})

machine('RAM: too little for the initramfs, or not whole blocks -> RangeError', async () => {
  const make = (memoryBytes: number): Promise<V86Machine> => {
    return V86Machine.create({
      runtime: fakeRuntime().runtime,
      bios: new Uint8Array(1),
      kernel: { bzImage: new Uint8Array(4), segments: [] },
      initrd: new Uint8Array(1),
      cmdline: '',
      memoryBytes,
      onSerial: () => {},
    })
  }
  for (const [bytes, message] of [
    [64 * MIB, /too few/],
    [96 * MIB + 1, /multiple of 128 KiB/],
  ] as const) {
    try {
      await make(bytes)
      assert.unreachable()
    } catch (error) {
      assert.instance(error, RangeError)
      assert.match(String(error), message)
    }
  }
})

machine('v86 not installed -> one line with the remedy', async () => {
  try {
    await loadV86('file:///nowhere/at/all.js')
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).name, 'V86MissingError')
    assert.match((error as Error).message, /^v86 is not installed.*npm install v86@[\d.]+$/)
  }
})

machine.run()
