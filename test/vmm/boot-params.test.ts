// The Linux boot protocol: headers of kernels that cannot be booted are refused with the reason, and the zero page is
// looked at byte by byte. The images are made here; a real one is booted in kvm-linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import {
  checkKernelFits,
  commandLine,
  placeInitrd,
  ramRanges,
  setupHeader,
  zeroPage,
} from '../../host/vmm/boot-params.ts'
import { loadLinux } from '../../host/vmm/linux-loader.ts'

const test = suite('boot parameters')

const MIB = 1 << 20
const GIB = 1 << 30

/** A bzImage with the fields of Debian 12's, 1024 bytes of set-up and 4096 of 0x90, unless changed. */
function bzImage(change: (view: DataView) => void = () => {}): Uint8Array {
  const image = new Uint8Array(1024 + 4096).fill(0x90, 1024)
  const view = new DataView(image.buffer)
  view.setUint8(0x1f1, 1) // setup_sects
  view.setUint32(0x1f4, 4096 / 16, true) // syssize
  view.setUint16(0x1fe, 0xaa55, true)
  view.setUint16(0x200, 0x6aeb, true) // jump over 0x6a bytes: the header ends at 0x26c
  view.setUint32(0x202, 0x48647253) // HdrS
  view.setUint16(0x206, 0x020f, true)
  view.setUint8(0x211, 0x01) // LOADED_HIGH
  view.setUint32(0x214, 0x100000, true) // code32_start
  view.setUint32(0x22c, 0x7fffffff, true) // initrd_addr_max
  view.setUint32(0x230, 0x200000, true) // kernel_alignment
  view.setUint8(0x234, 1) // relocatable
  view.setUint16(0x236, 0x7f, true) // xloadflags
  view.setUint32(0x238, 2047, true) // cmdline_size
  view.setBigUint64(0x258, 0x1000000n, true) // pref_address
  view.setUint32(0x260, 0x3378000, true) // init_size
  change(view)
  return image
}

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    assert.is((error as Error).name, 'BootImageError')
    return (error as Error).message
  }
  throw new Error('it was not refused')
}

test('header: a kernel as Debian builds it -> its fields', () => {
  const { bytes, version, loaded, prefAddress, initSize, initrdAddrMax, cmdlineSize } = setupHeader(bzImage())
  assert.equal([bytes.length, version, loaded.length], [0x26c - 0x1f1, 0x020f, 4096])
  assert.equal([prefAddress, initSize, initrdAddrMax, cmdlineSize], [0x1000000, 0x3378000, 0x7fffffff, 2047])
})

test('header: what cannot be booted -> refused with the reason', () => {
  const cases: [(view: DataView) => void, RegExp][] = [
    [(view) => view.setUint16(0x1fe, 0, true), /not a bzImage.*vmlinuz/],
    [(view) => view.setUint32(0x202, 0), /not a bzImage/],
    [(view) => view.setUint16(0x206, 0x020b, true), /boot protocol 2\.11; 2\.12/],
    [(view) => view.setUint8(0x211, 0), /zImage/],
    [(view) => view.setUint16(0x236, 0x7e, true), /XLF_KERNEL_64.*x86-64/],
    [(view) => view.setUint8(0x1f1, 64), /cut off/],
    [(view) => view.setUint32(0x1f4, 4096 / 16 + 1, true), /cut off.*5120 bytes, by its header 5121/],
    [(view) => view.setBigUint64(0x258, 0x1001000n, true), /0x1001000.*alignment/],
    [(view) => view.setUint32(0x230, 0, true), /alignment/],
    [(view) => view.setBigUint64(0x258, 0n, true), /0x0/],
  ]
  for (const [change, message] of cases)
    assert.match(
      refusal(() => setupHeader(bzImage(change))),
      message,
    )
  for (const file of [new Uint8Array(), new Uint8Array(600), Buffer.from('\x7fELF'.padEnd(5000))]) {
    assert.match(
      refusal(() => setupHeader(file)),
      /not a bzImage/,
    )
  }
})

test('header: not relocatable -> its address alone counts; setup_sects 0 -> 4', () => {
  const { prefAddress } = setupHeader(
    bzImage((view) => {
      view.setUint8(0x234, 0)
      view.setBigUint64(0x258, 0x1001000n, true)
    }),
  )
  assert.is(prefAddress, 0x1001000)
  const five = bzImage((view) => {
    view.setUint8(0x1f1, 0)
    view.setUint32(0x1f4, (5120 - 5 * 512) / 16, true)
  })
  assert.is(setupHeader(five).loaded.length, 5120 - 5 * 512)
})

test("header: init_size below the file's size -> the file's size", () => {
  assert.is(setupHeader(bzImage((view) => view.setUint32(0x260, 1, true))).initSize, 4096)
})

test('RAM: up to 3 GiB in one piece, the rest from 4 GiB on', () => {
  assert.equal(ramRanges(512 * MIB), [{ gpa: 0, bytes: 512 * MIB }])
  assert.equal(ramRanges(3 * GIB), [{ gpa: 0, bytes: 3 * GIB }])
  assert.equal(ramRanges(3 * GIB + 4096), [
    { gpa: 0, bytes: 3 * GIB },
    { gpa: 4 * GIB, bytes: 4096 },
  ])
})

test('fit: too little RAM for the kernel -> refused with what it needs', () => {
  const header = setupHeader(bzImage())
  checkKernelFits(header, 0x1000000 + 0x3378000)
  assert.match(
    refusal(() => checkKernelFits(header, 64 * MIB)),
    /at least 68 MiB/,
  )
})

test('initrd: as high as RAM and initrd_addr_max allow, on a page, above the kernel', () => {
  const header = setupHeader(bzImage())
  assert.equal(placeInitrd(header, 256 * MIB, 5000), { gpa: 256 * MIB - 8192, bytes: 5000 })
  assert.equal(placeInitrd(header, 3 * GIB, 4096), { gpa: 2 * GIB - 4096, bytes: 4096 })
  assert.match(
    refusal(() => placeInitrd(header, 128 * MIB, 100 * MIB)),
    /104857600 bytes.*at least 168 MiB/,
  )
})

test('command line: zero at its end; too long, or with a zero in it -> refused', () => {
  const header = setupHeader(bzImage())
  assert.equal(commandLine(header, 'a b'), new Uint8Array([97, 32, 98, 0]))
  assert.is(commandLine(header, 'x'.repeat(2047)).length, 2048)
  assert.match(
    refusal(() => commandLine(header, 'x'.repeat(2048))),
    /2048 bytes, this kernel takes 2047/,
  )
  assert.match(
    refusal(() => commandLine(header, 'a\0b')),
    /zero byte/,
  )
})

test('zero page: header copied, obligatory fields written, memory map, everything else zero', () => {
  const file = bzImage((view) => view.setUint8(0x270, 0xee)) // behind the header: code, which is not copied
  const header = setupHeader(file)
  const ram = ramRanges(3 * GIB + 64 * MIB)
  const initrd = { gpa: 0x7ff00000, bytes: 0x1234 }
  const page = zeroPage({ header, ram, initrd, rsdpAddress: 0xe0000 })
  const expected = new Uint8Array(4096)
  const view = new DataView(expected.buffer)
  expected.set(file.subarray(0x1f1, 0x26c), 0x1f1)
  view.setBigUint64(0x70, 0xe0000n, true)
  view.setUint8(0x1e8, 4)
  view.setUint8(0x210, 0xff)
  view.setUint32(0x218, 0x7ff00000, true)
  view.setUint32(0x21c, 0x1234, true)
  view.setUint32(0x228, 0x20000, true)
  const map: [number, number, number][] = [
    [0, 0x9fc00, 1],
    [0x9fc00, 0x60400, 2],
    [0x100000, 3 * GIB - MIB, 1],
    [4 * GIB, 64 * MIB, 1],
  ]
  map.forEach(([start, bytes, type], i) => {
    view.setBigUint64(0x2d0 + i * 20, BigInt(start), true)
    view.setBigUint64(0x2d8 + i * 20, BigInt(bytes), true)
    view.setUint32(0x2e0 + i * 20, type, true)
  })
  assert.is(Buffer.from(page).toString('hex'), Buffer.from(expected).toString('hex'))
})

test('zero page: no initrd -> address and size are 0, whatever the file says', () => {
  const header = setupHeader(bzImage((view) => view.setUint32(0x218, 0x55, true)))
  const page = zeroPage({ header, ram: ramRanges(128 * MIB), rsdpAddress: 0 })
  assert.equal([...page.subarray(0x218, 0x220)], [0, 0, 0, 0, 0, 0, 0, 0])
})

// The whole, in guest RAM ---------------------------------------------------------------------------------------

/** A 64-bit ELF file with one segment and its entry at the segment's beginning. */
function vmlinux(address: number, body: number[], memoryBytes = body.length): Uint8Array {
  const file = new Uint8Array(4096)
  const view = new DataView(file.buffer)
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  const words: [number, number][] = [
    [0x18, address], // entry
    [0x20, 64], // program headers
    [64 + 8, 1024], // offset
    [64 + 16, 0xffffffff81000000],
    [64 + 24, address],
    [64 + 32, body.length],
    [64 + 40, memoryBytes],
  ]
  for (const [at, value] of words) view.setBigUint64(at, BigInt(value), true)
  view.setUint16(0x36, 56, true)
  view.setUint16(0x38, 1, true)
  view.setUint32(64, 1, true)
  file.set(body, 1024)
  return file
}

function memory(bytes = 96 * MIB): GuestMemory {
  return GuestMemory.create({ ramBytes: bytes, shared: true })
}

test('load: a bzImage -> kernel, initramfs, command line and tables where the registers and the zero page say', () => {
  const ram = memory()
  const initrd = new Uint8Array(5000).fill(0x33)
  const { regs } = loadLinux({ memory: ram, kernel: { bzImage: bzImage() }, initrd, cmdline: 'quiet' }, [])
  assert.equal([regs.rip, regs.rsi], [0x1000200n, 0x7000n])
  assert.equal([...ram.view(0x1000000, 2)], [0x90, 0x90])
  assert.is(Buffer.from(ram.view(0x20000, 6)).toString(), 'quiet\0')
  assert.is(Buffer.from(ram.view(0xe0000, 8)).toString(), 'RSD PTR ')
  const at = new DataView(ram.memory.buffer, ram.view(0x7000, 1).byteOffset).getUint32(0x218, true)
  assert.is(at, 96 * MIB - 8192)
  assert.equal(Buffer.from(ram.view(at, 5000)), Buffer.from(initrd))
})

test('load: a decompressed kernel with its bzImage -> its segments, its entry', () => {
  const ram = memory()
  const kernel = { bzImage: bzImage(), vmlinux: vmlinux(0x1000000, [1, 2, 3], 4096) }
  assert.is(loadLinux({ memory: ram, kernel }, []).regs.rip, 0x1000000n)
  assert.equal([...ram.view(0x1000000, 4)], [1, 2, 3, 0])
})

test('load: what does not fit together -> refused, and RAM is untouched', () => {
  const image = bzImage()
  const cases: [() => unknown, RegExp, GuestMemory][] = []
  const refuse = (options: object, message: RegExp, ram = memory()): void => {
    cases.push([() => loadLinux({ memory: ram, kernel: { bzImage: image }, ...options }, []), message, ram])
  }
  refuse({ kernel: { bzImage: image, vmlinux: vmlinux(0x100000, [1]) } }, /do not belong together/)
  refuse({ kernel: { bzImage: image, vmlinux: vmlinux(0x1000000, [1], 0x4000000) } }, /do not belong together/)
  refuse({ kernel: { bzImage: image, vmlinux: vmlinux(0x1000000, []) } }, /entry point/)
  refuse({ initrd: new Uint8Array(40 * MIB) }, /initramfs/)
  refuse({ cmdline: 'x'.repeat(4000) }, /4000 bytes/)
  refuse({}, /at least 68 MiB/, memory(64 * MIB))
  refuse({}, /more than 1 MiB/, memory(MIB))
  for (const [act, message, ram] of cases) {
    assert.match(refusal(act), message)
    assert.ok(ram.view(0, MIB).every((byte) => byte === 0))
  }
})

test.run()
