// The serial port register by register, in the order in which Linux's 8250 driver touches it: drivers/tty/serial/8250,
// autoconfig() finds the type, serial8250_do_startup() tries the transmitter's interrupt, then bytes go both ways.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SERIAL_STATE_BYTES, Serial16550 } from '../../host/vmm/serial.ts'

const test = suite('serial')

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const FCR = IIR

function port(state = new SharedArrayBuffer(SERIAL_STATE_BYTES)) {
  const levels: boolean[] = []
  const serial = new Serial16550(state, 0, (level) => levels.push(level))
  /** Connected as the driver does it: DTR, RTS, OUT2. */
  const connect = (): void => serial.write(MCR, 0x0b)
  const send = (text: string): void => {
    for (const byte of Buffer.from(text)) serial.write(DATA, byte)
  }
  const sent = (): string => Buffer.from(serial.takeSent()).toString()
  return { serial, levels, connect, send, sent, state }
}

test('reset: every register as a 16550A has it, no interrupt', () => {
  const { serial, levels } = port()
  assert.equal(
    [IER, IIR, LCR, MCR, LSR, MSR, SCR].map((offset) => serial.read(offset)),
    [0, 1, 0, 0, 0x60, 0xb0, 0],
  )
  assert.equal(levels, [])
})

test('scratch: 0 and 0xff -> kept', () => {
  const { serial } = port()
  for (const value of [0xff, 0x55, 0]) {
    serial.write(SCR, value)
    assert.is(serial.read(SCR), value)
  }
})

test('probe: IER has four bits (a fifth or more is another type of port)', () => {
  const { serial } = port()
  serial.write(IER, 0)
  assert.is(serial.read(IER), 0)
  serial.write(IER, 0xff)
  assert.is(serial.read(IER), 0x0f)
})

test('probe: loopback -> the modem status is what the modem control says', () => {
  const { serial, levels } = port()
  const expected: [number, number][] = [
    [0x10, 0x00],
    [0x11, 0x20], // DTR -> DSR
    [0x12, 0x10], // RTS -> CTS
    [0x14, 0x40], // OUT1 -> RI
    [0x18, 0x80], // OUT2 -> DCD
    [0x1a, 0x90], // what autoconfig() asks for
  ]
  for (const [control, status] of expected) {
    serial.write(MCR, control)
    assert.is(serial.read(MSR) & 0xf0, status, `MCR 0x${control.toString(16)}`)
  }
  assert.is(serial.read(MCR), 0x1a)
  serial.write(MCR, 0xff)
  assert.is(serial.read(MCR), 0x1f)
  assert.equal(levels, [])
})

test('modem status: changes are told once; of RI only the fall', () => {
  const { serial } = port()
  serial.write(MCR, 0x10) // DCD, DSR, CTS go away
  assert.is(serial.read(MSR), 0x0b)
  assert.is(serial.read(MSR), 0x00)
  serial.write(MCR, 0x14)
  assert.is(serial.read(MSR), 0x40)
  serial.write(MCR, 0x10)
  assert.is(serial.read(MSR), 0x04)
})

test('probe: FIFOs on -> a 16550A, and nothing newer', () => {
  const { serial } = port()
  assert.is(serial.read(IIR) & 0xc0, 0)
  serial.write(FCR, 0x01)
  assert.is(serial.read(IIR) >> 6, 3)
  // 16650 and later: EFR at offset 2 with DLAB or LCR = 0xbf, which would read as 0.
  for (const line of [0x80, 0xbf]) {
    serial.write(LCR, line)
    assert.is(serial.read(IIR), 0xc1)
  }
  // 16750: bit 5 of IIR with a 64-byte FIFO.
  serial.write(FCR, 0x21)
  assert.is(serial.read(IIR) >> 5, 6)
  serial.write(LCR, 0)
  serial.write(FCR, 0)
  assert.is(serial.read(IIR), 0x01)
})

test('divisor: behind DLAB, both bytes; IER and data are untouched', () => {
  const { serial, sent } = port()
  serial.write(IER, 0x05)
  serial.write(LCR, 0x83)
  serial.write(DATA, 0x0c)
  serial.write(IER, 0x01)
  assert.equal([serial.read(DATA), serial.read(IER), serial.read(LCR)], [0x0c, 0x01, 0x83])
  serial.write(LCR, 0x03)
  assert.is(serial.read(IER), 0x05)
  assert.is(sent(), '')
})

test('send: bytes -> in order; the transmitter is always empty', () => {
  const { serial, send, sent } = port()
  send('hello')
  assert.is(serial.read(LSR), 0x60)
  assert.is(serial.sentBytes, 5)
  assert.is(sent(), 'hello')
  assert.is(sent(), '')
})

test('send: more than the ring holds -> full, the rest is lost, nothing else', () => {
  const { serial, sent } = port()
  for (let i = 0; i < 65536; i++) serial.write(DATA, i & 0xff)
  assert.ok(serial.isFull)
  serial.write(DATA, 0xaa)
  assert.is(serial.takeSent()[65535], 0xff)
  assert.not.ok(serial.isFull)
  serial.write(DATA, 0x41)
  assert.is(sent(), 'A')
})

test('THRE interrupt: enabled while empty -> raised, again after IIR and IER (the driver tests for a bug here)', () => {
  const { serial, levels, connect } = port()
  connect()
  for (let i = 0; i < 2; i++) {
    serial.write(IER, 0x02)
    assert.is(serial.read(IIR) & 0x0f, 0x02)
    assert.is(serial.read(IIR) & 0x0f, 0x01)
    serial.write(IER, 0)
  }
  assert.equal(levels, [true, false, true, false])
})

test('THRE interrupt: a byte sent -> raised again, an edge for each read of IIR', () => {
  const { serial, levels, connect, send } = port()
  connect()
  serial.write(IER, 0x02)
  for (let i = 0; i < 3; i++) {
    assert.is(serial.read(IIR), 0x02)
    send('ab')
  }
  serial.write(IER, 0)
  assert.equal(levels, [true, false, true, false, true, false, true, false])
})

test('receive: bytes -> data ready, interrupt until the last is read', () => {
  const { serial, levels, connect } = port()
  connect()
  serial.write(IER, 0x01)
  assert.is(serial.receive(Buffer.from('xy')), 2)
  assert.equal([serial.read(IIR), serial.read(LSR)], [0x04, 0x61])
  assert.is(serial.read(DATA), 0x78)
  assert.equal(levels, [true])
  assert.is(serial.read(DATA), 0x79)
  assert.equal(levels, [true, false])
  assert.equal([serial.read(IIR), serial.read(LSR), serial.read(DATA)], [0x01, 0x60, 0])
})

test('receive: more than there is room for -> as many as fit are taken', () => {
  const { serial } = port()
  assert.is(serial.receive(new Uint8Array(5000).fill(1)), 4096)
  assert.is(serial.receive(Uint8Array.of(2)), 0)
  serial.read(DATA)
  assert.is(serial.receive(Uint8Array.of(2)), 1)
})

test('receive: FIFO cleared -> the 16 bytes that it held are gone', () => {
  const { serial } = port()
  serial.receive(Uint8Array.from({ length: 18 }, (_, i) => i))
  serial.write(FCR, 0x03)
  assert.equal([serial.read(DATA), serial.read(DATA), serial.read(LSR)], [16, 17, 0x60])
})

test('priority: line status, data, transmitter, modem', () => {
  const { serial, send } = port()
  serial.write(IER, 0x0f)
  serial.write(MCR, 0x13) // loopback; DCD falls
  send('0123456789abcdefX') // one more than the FIFO holds
  assert.is(serial.read(IIR), 0x06)
  assert.is(serial.read(LSR), 0x63)
  assert.is(serial.read(IIR), 0x04)
  for (let i = 0; i < 16; i++) serial.read(DATA)
  assert.is(serial.read(IIR), 0x02)
  assert.is(serial.read(IIR), 0x00)
  serial.read(MSR)
  assert.is(serial.read(IIR), 0x01)
})

test('loopback: what is sent comes back and does not go out, no interrupt leaves', () => {
  const { serial, levels, send, sent } = port()
  serial.write(IER, 0x01)
  serial.write(MCR, 0x1b)
  send('z')
  assert.is(serial.read(DATA), 0x7a)
  assert.is(sent(), '')
  assert.equal(levels, [])
})

test('OUT2 off -> the interrupt does not reach the controller', () => {
  const { serial, levels } = port()
  serial.write(IER, 0x01)
  serial.receive(Uint8Array.of(1))
  assert.equal(levels, [])
  serial.write(MCR, 0x08)
  serial.write(MCR, 0x00)
  assert.equal(levels, [true, false])
})

test('shared state: a second port over it -> the same port', () => {
  const first = port()
  const second = port(first.state)
  first.connect()
  first.serial.write(IER, 0x01)
  second.serial.receive(Uint8Array.of(0x31))
  assert.equal([first.levels, second.levels], [[], [true]])
  assert.is(first.serial.read(DATA), 0x31)
  second.send('!')
  assert.is(first.sent(), '!')
})

test('rings: many times around -> no byte is lost or changed', () => {
  const { serial } = port()
  for (let round = 0; round < 40; round++) {
    const bytes = Uint8Array.from({ length: 4000 }, (_, i) => (i * 7 + round) & 0xff)
    serial.receive(bytes)
    for (const byte of bytes) {
      assert.is(serial.read(DATA), byte)
      serial.write(DATA, byte)
    }
    assert.equal(serial.takeSent(), bytes)
  }
})

test.run()
