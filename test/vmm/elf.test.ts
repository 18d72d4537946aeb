// 64-bit ELF files: what is read of a kernel, of a module and of a program, from files that are made here with the
// offsets of the ELF-64 object file format. 32-bit ones are in modules.test.ts, from which the same functions read.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isElf, loadableSegments, moduleInfo, neededLibraries } from '../../host/vmm/elf.ts'

const test = suite('elf')

interface Segment {
  type: number
  virtual: bigint
  physical: number
  body: Uint8Array
}

const HEADERS = 64
const SECTIONS = 1024
const NAMES = 1536

function elf64(entry: number, segments: Segment[], sections: [name: string, content: string][] = []): Uint8Array {
  const file = Buffer.alloc(8192)
  file.write('\x7fELF\x02\x01\x01', 'latin1')
  file.writeBigUInt64LE(BigInt(entry), 0x18)
  file.writeBigUInt64LE(BigInt(HEADERS), 0x20)
  file.writeBigUInt64LE(BigInt(SECTIONS), 0x28)
  file.writeUInt16LE(56, 0x36)
  file.writeUInt16LE(segments.length, 0x38)
  file.writeUInt16LE(64, 0x3a)
  file.writeUInt16LE(sections.length + 1, 0x3c)
  file.writeUInt16LE(sections.length, 0x3e) // the section with the names is the last
  segments.forEach(({ type, virtual, physical, body }, i) => {
    const at = HEADERS + i * 56
    file.writeUInt32LE(type, at)
    file.writeUInt32LE(5, at + 4) // flags
    const words = [4096 + i * 512, virtual, physical, body.length, body.length + 16]
    words.forEach((value, n) => {
      file.writeBigUInt64LE(BigInt(value), at + 8 + n * 8)
    })
    file.set(body, 4096 + i * 512)
  })
  const names = ['', ...sections.map(([name]) => name)]
  let offset = 2048
  const header = (i: number, name: number, start: number, bytes: number): void => {
    file.writeUInt32LE(name, SECTIONS + i * 64)
    file.writeBigUInt64LE(BigInt(start), SECTIONS + i * 64 + 24)
    file.writeBigUInt64LE(BigInt(bytes), SECTIONS + i * 64 + 32)
  }
  sections.forEach(([, content], i) => {
    file.write(content, offset, 'latin1')
    header(i, names.slice(0, i + 1).join('\0').length + 1, offset, content.length)
    offset += content.length
  })
  file.write(names.join('\0'), NAMES, 'latin1')
  header(sections.length, 0, NAMES, names.join('\0').length + 1)
  return new Uint8Array(file)
}

test('kernel: entry and segments by physical address; per-CPU data at virtual 0 does not confuse it', () => {
  const { entry, segments } = loadableSegments(
    elf64(0x1000000, [
      { type: 1, virtual: 0xffffffff81000000n, physical: 0x1000000, body: Uint8Array.of(1, 2) },
      { type: 1, virtual: 0n, physical: 0x301a000, body: Uint8Array.of(3) },
      { type: 4, virtual: 0xffffffff82437e70n, physical: 0x2437e70, body: Uint8Array.of(9) },
    ]),
  )
  assert.is(entry, 0x1000000)
  assert.equal(
    segments.map(({ address, content, memoryBytes }) => [address, [...content], memoryBytes]),
    [
      [0x1000000, [1, 2], 18],
      [0x301a000, [3], 17],
    ],
  )
})

test('module: .modinfo -> keys and values in order', () => {
  const sections: [string, string][] = [
    ['.text', 'code'],
    ['.modinfo', 'license=GPL\0depends=virtio,virtio_ring\0'],
  ]
  assert.equal(moduleInfo(elf64(0, [], sections)), [
    { key: 'license', value: 'GPL' },
    { key: 'depends', value: 'virtio,virtio_ring' },
  ])
  assert.equal(moduleInfo(elf64(0, [], [['.text', 'x']])), [])
})

test('program: the libraries it needs', () => {
  const strings = Buffer.from('\0libc.so.6\0libm.so\0')
  const dynamic = BigUint64Array.of(1n, 1n, 5n, 0x400000n, 1n, 11n, 0n, 0n)
  const file = elf64(0x400000, [
    { type: 1, virtual: 0x400000n, physical: 0x400000, body: strings },
    { type: 2, virtual: 0x401000n, physical: 0x401000, body: new Uint8Array(dynamic.buffer) },
  ])
  assert.equal(neededLibraries(file), ['libc.so.6', 'libm.so'])
})

test('class: 64-bit, 32-bit, other byte order, no ELF', () => {
  const file = elf64(0, [])
  assert.equal([isElf(file, 64), isElf(file, 32)], [true, false])
  file[5] = 2
  assert.is(isElf(file, 64), false)
  assert.throws(() => loadableSegments(file), /not a little-endian ELF file/)
  assert.is(isElf(new Uint8Array(10), 64), false)
})

test.run()
