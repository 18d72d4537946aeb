// The machine's I/O ports: three ways to reset, one to power off, the clock, what is not there, and one state for all
// threads. The serial port's own registers are in serial.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PC_STATE_BYTES, PcDevices, type PcEnding } from '../../host/vmm/pc-devices.ts'

const test = suite('pc devices')

function pc(state = new SharedArrayBuffer(PC_STATE_BYTES), now = new Date('2031-12-24T23:59:58Z')) {
  const endings: PcEnding[] = []
  const interrupts: [number, boolean][] = []
  let told = 0
  const devices = new PcDevices(state, {
    setInterrupt: (gsi, level) => interrupts.push([gsi, level]),
    onEnd: (ending) => endings.push(ending),
    onSerial: () => told++,
    now: () => now,
  })
  return { devices, endings, interrupts, state, told: () => told }
}

test('nobody there: PCI, POST, DMA, game port -> all ones at every width, writes do nothing', () => {
  const { devices, endings } = pc()
  for (const port of [0x80, 0x201, 0x2f8, 0xcf8, 0xcfc, 0xffff]) {
    devices.write(port, 4, 0x80000000)
    assert.equal(
      [1, 2, 4].map((width) => devices.read(port, width)),
      [0xff, 0xffff, 0xffffffff],
    )
  }
  assert.equal(endings, [])
})

test('PCI address: 4 bytes with the reset bit at 0xcf9 -> no reset', () => {
  const { devices, endings } = pc()
  devices.write(0xcf8, 4, 0xffffffff)
  assert.equal(endings, [])
})

test('reset register: 2 and then 6 -> reset', () => {
  const { devices, endings } = pc()
  devices.write(0xcf9, 1, 0x02)
  assert.equal(endings, [])
  devices.write(0xcf9, 1, 0x06)
  assert.equal(endings, ['reset'])
})

test('keyboard controller: always ready; 0xfe -> reset, others not', () => {
  const { devices, endings } = pc()
  assert.equal([devices.read(0x60, 1), devices.read(0x64, 1)], [0, 0])
  for (const command of [0xaa, 0xd1, 0x20]) devices.write(0x64, 1, command)
  devices.write(0x60, 1, 0xfe)
  assert.equal(endings, [])
  devices.write(0x64, 1, 0xfe)
  assert.equal(endings, ['reset'])
})

test('ACPI: SLP_EN with the type of S5 -> power off; with another, or without -> not', () => {
  const { devices, endings } = pc()
  devices.write(0x604, 2, 5 << 10)
  devices.write(0x604, 2, 0x2000)
  devices.write(0x604, 2, 0x2000 | (1 << 10))
  assert.equal(endings, [])
  devices.write(0x604, 2, 0x2000 | (5 << 10))
  assert.equal(endings, ['power-off'])
})

test('ACPI: is on from the start; SLP_EN reads as 0; events never happen; enables are kept', () => {
  const { devices } = pc()
  assert.is(devices.read(0x604, 2), 1)
  devices.write(0x604, 2, 0x3c00)
  assert.is(devices.read(0x604, 2), 0x1c01)
  devices.write(0x600, 2, 0xffff)
  devices.write(0x602, 2, 0x0121)
  assert.equal([devices.read(0x600, 2), devices.read(0x602, 2), devices.read(0x600, 4)], [0, 0x0121, 0x01210000])
})

test('clock: UTC in BCD, 24 hours, valid, never updating', () => {
  const { devices } = pc()
  const register = (index: number): number => {
    devices.write(0x70, 1, 0x80 | index) // with NMI off
    return devices.read(0x71, 1)
  }
  assert.equal(
    [0, 2, 4, 6, 7, 8, 9, 0x32].map((index) => register(index)),
    [0x58, 0x59, 0x23, 4, 0x24, 0x12, 0x31, 0x20],
  )
  assert.equal([0x0a, 0x0b, 0x0c, 0x0d, 0x0f].map(register), [0x26, 0x02, 0, 0x80, 0])
})

test('serial: the first byte into an empty ring is told, the next are not until it is taken', () => {
  const { devices, told } = pc()
  for (const byte of Buffer.from('abc')) devices.write(0x3f8, 1, byte)
  assert.is(told(), 1)
  assert.is(Buffer.from(devices.takeSerial()).toString(), 'abc')
  devices.write(0x3f8, 1, 0x64)
  assert.is(told(), 2)
})

test('serial: its interrupt is 4; 2-byte accesses are two registers', () => {
  const { devices, interrupts } = pc()
  devices.write(0x3fc, 1, 0x08)
  devices.write(0x3f8, 2, 0x0100) // data 0, IER 1
  assert.is(devices.type(Buffer.from('k')), 1)
  assert.equal(interrupts, [[4, true]])
  assert.is(devices.read(0x3f8, 2), 0x016b)
  assert.equal(interrupts, [
    [4, true],
    [4, false],
  ])
})

test('serial: the last register at width 2 -> the byte behind it is nobody', () => {
  assert.is(pc().devices.read(0x3ff, 2), 0xff00)
})

test("state: another thread's devices over it -> the same machine", () => {
  const first = pc()
  const second = pc(first.state)
  first.devices.write(0x70, 1, 0x32)
  assert.is(second.devices.read(0x71, 1), 0x20)
  second.devices.write(0x3f8, 1, 0x41)
  assert.equal([...first.devices.takeSerial()], [0x41])
  assert.not.ok(second.devices.isSerialFull())
})

test.run()
