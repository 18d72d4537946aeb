// The views of kvm_run over memory of our own, laid out as the kernel does: exits that a test cannot bring about, and
// what is left of old exits. Exits of real guests are in vcpu.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { IoExit, MmioExit, RunPage } from '../../host/kvm/run.ts'

const test = suite('kvm/run')

/** A mapping with these bytes from offset 32 on. */
function pageOf(reason: number, ...union: number[]): { page: RunPage; bytes: Uint8Array; view: DataView } {
  const mapping = new ArrayBuffer(12288)
  const bytes = new Uint8Array(mapping)
  bytes[8] = reason
  bytes.set(union, 32)
  return { page: new RunPage(mapping), bytes, view: new DataView(mapping) }
}

test('mmio: widths 1 to 8 over old bytes -> only what was written', () => {
  for (let width = 1; width <= 8; width++) {
    const { page } = pageOf(
      6,
      0x10,
      0,
      0,
      0xd0,
      1,
      0,
      0,
      0,
      0x11,
      0x22,
      0x33,
      0x84,
      0x55,
      0x66,
      0x77,
      0x88,
      width,
      0,
      0,
      0,
      1,
    )
    const mmio = new MmioExit(page)
    assert.is(mmio.address, 0x1d0000010)
    assert.is(mmio.width, width)
    assert.ok(mmio.isWrite)
    assert.is(mmio.data, [0, 0x11, 0x2211, 0x332211][width] ?? 0x84332211)
    assert.is(mmio.dataHigh, [0, 0, 0, 0, 0, 0x55, 0x6655, 0x776655, 0x88776655][width])
  }
})

test('mmio: answer -> in the 8 bytes of data', () => {
  const { page, bytes } = pageOf(6)
  new MmioExit(page).answer(0x89abcdef, 0xfedcba98)
  assert.equal([...bytes.subarray(40, 50)], [0xef, 0xcd, 0xab, 0x89, 0x98, 0xba, 0xdc, 0xfe, 0, 0])
  new MmioExit(page).answer(-1)
  assert.equal([...bytes.subarray(40, 49)], [255, 255, 255, 255, 0, 0, 0, 0, 0])
})

for (const width of [1, 2, 4]) {
  test(`io: ${width} bytes, several elements -> read and answered where data_offset says`, () => {
    const { page, view } = pageOf(2, 1, width, 0xf8, 0x03, 3, 0, 0, 0, 0, 0x10)
    const io = new IoExit(page)
    assert.equal([io.port, io.width, io.count, io.isOut], [0x3f8, width, 3, true])
    const load = (i: number): number => {
      const at = 4096 + i * width
      return width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
    }
    for (let i = 0; i < 3; i++) io.answer(0x81828384 + i, i)
    const expected = (0x81828384 & (2 ** (8 * width) - 1)) >>> 0
    for (let i = 0; i < 3; i++) {
      assert.is(load(i), expected + i)
      assert.is(io.data(i), expected + i)
    }
    assert.is(io.data(), expected)
    assert.is(view.getUint32(4096 + 3 * width), 0)
  })
}

test('explain: each exit -> its name and what is known', () => {
  assert.is(pageOf(5).page.explain(), 'KVM_EXIT_HLT')
  assert.is(pageOf(0).page.explain(), 'KVM_EXIT_UNKNOWN')
  assert.is(pageOf(38).page.explain(), 'exit 38')
  assert.is(pageOf(9, 0x21, 0, 0, 0x80).page.explain(), 'KVM_EXIT_FAIL_ENTRY: hardware reason 0x80000021')
  assert.is(pageOf(24, 2).page.explain(), 'KVM_EXIT_SYSTEM_EVENT: type 2')
  assert.is(pageOf(24, 2).page.systemEventType, 2)
  assert.is(
    pageOf(17, 1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1).page.explain(),
    'KVM_EXIT_INTERNAL_ERROR: suberror 1 (emulation), data 0x7 0x100',
  )
  assert.is(pageOf(17, 9).page.explain(), 'KVM_EXIT_INTERNAL_ERROR: suberror 9 (unknown), data ')
})

test('explain: more words of data than there is room for -> 16', () => {
  assert.is(pageOf(17, 1, 0, 0, 0, 255, 255, 255, 255).page.explain().match(/0x0/g)?.length, 16)
})

test('forget -> everything reads as 0, nothing is written', () => {
  const { page, bytes } = pageOf(6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255)
  const before = bytes.slice()
  page.forget()
  const [io, mmio] = [new IoExit(page), new MmioExit(page)]
  mmio.answer(1)
  io.answer(1)
  assert.equal(
    [page.exitReason, mmio.address, mmio.width, mmio.data, mmio.dataHigh, io.port, io.data()],
    Array(7).fill(0),
  )
  assert.not(mmio.isWrite || io.isOut)
  assert.equal(bytes, before)
})

test.run()
