// Which modules are loaded and in which order, from .modinfo sections that are made here; and what an ELF file has to
// say. The real modules are loaded in linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadableSegments, moduleInfo, neededLibraries } from '../../host/vmm/elf.ts'
import { compressedKernel, uncompressedImage } from '../../host/vmm/kernel-image.ts'
import { type ModuleTree, resolveModules, withoutSignature } from '../../host/vmm/modules.ts'

const modules = suite('kernel modules')

/** A 32-bit ELF file with one section .modinfo, or with program headers. */
function elf(info: string, segments: { type: number; virtual: number; physical: number; body: number[] }[] = []) {
  const names = '\0.modinfo\0.shstrtab\0'
  const file = Buffer.alloc(8192)
  file.write('\x7fELF\x01\x01\x01', 'latin1')
  file.writeUInt32LE(segments[0]?.virtual ?? 0, 0x18)
  file.writeUInt32LE(64, 0x1c)
  file.writeUInt32LE(1024, 0x20)
  file.writeUInt16LE(32, 0x2a)
  file.writeUInt16LE(segments.length, 0x2c)
  file.writeUInt16LE(40, 0x2e)
  file.writeUInt16LE(3, 0x30)
  file.writeUInt16LE(2, 0x32)
  segments.forEach(({ type, virtual, physical, body }, i) => {
    const offset = 4096 + i * 256
    const fields = [type, offset, virtual, physical, body.length, body.length + 16]
    fields.forEach((value, n) => {
      file.writeUInt32LE(value, 64 + i * 32 + n * 4)
    })
    file.set(body, offset)
  })
  const section = (i: number, name: number, offset: number, content: string): void => {
    file.writeUInt32LE(name, 1024 + i * 40)
    file.writeUInt32LE(offset, 1024 + i * 40 + 16)
    file.writeUInt32LE(content.length, 1024 + i * 40 + 20)
    file.write(content, offset, 'latin1')
  }
  section(1, 1, 2048, info)
  section(2, 10, 1536, names)
  return new Uint8Array(file)
}

function tree(depends: Record<string, string>, builtin: string[] = []): ModuleTree {
  const paths = Object.keys(depends)
  return {
    paths,
    builtin,
    read: (path) => elf(`license=GPL\0depends=${depends[path]}\0name=x\0softdep=pre: crypto-crc32c\0`),
  }
}

const REAL = {
  'kernel/drivers/block/virtio_blk.ko': 'virtio_ring,virtio',
  'kernel/drivers/virtio/virtio.ko': '',
  'kernel/drivers/virtio/virtio_ring.ko': 'virtio',
  'kernel/drivers/virtio/virtio_mmio.ko': 'virtio,virtio_ring',
  'kernel/fs/ext4/ext4.ko': 'mbcache,jbd2,crc16',
  'kernel/fs/mbcache.ko': '',
  'kernel/fs/jbd2/jbd2.ko': '',
  'kernel/lib/crc16.ko': '',
}

modules('dependencies: three modules wanted -> each once, after what it depends on', () => {
  const names = resolveModules(['virtio_mmio', 'virtio_blk', 'ext4'], tree(REAL)).map(({ name }) => name)
  assert.equal(names, ['virtio', 'virtio_ring', 'virtio_mmio', 'virtio_blk', 'mbcache', 'jbd2', 'crc16', 'ext4'])
})

modules('dependencies: built into the kernel -> no file', () => {
  const names = resolveModules(['ext4', 'unix'], tree(REAL, ['kernel/lib/crc16.ko', 'kernel/net/unix.ko']))
  assert.equal(
    names.map(({ name }) => name),
    ['mbcache', 'jbd2', 'ext4'],
  )
})

modules('names: hyphens, underscores and compressed files -> the same module', () => {
  const found = resolveModules(['crc32c-generic'], tree({ 'kernel/crypto/crc32c_generic.ko': 'a-b', 'x/a_b.ko': '' }))
  assert.equal(
    found.map(({ name, path }) => [name, path]),
    [
      ['a_b', 'x/a_b.ko'],
      ['crc32c_generic', 'kernel/crypto/crc32c_generic.ko'],
    ],
  )
})

modules('dependencies: a module that is nowhere, a loop -> an error that shows the way to it', () => {
  assert.throws(() => resolveModules(['a'], tree({ 'a.ko': 'b', 'b.ko': 'c' })), /there is no a -> b -> c/)
  assert.throws(() => resolveModules(['a'], tree({ 'a.ko': 'b', 'b.ko': 'a' })), /a -> b -> a is a loop/)
})

modules('signature: appended -> cut off; absent or impossible -> the file as it is', () => {
  const signed = (bytes: number, body = 'module'): Buffer => {
    const record = Buffer.alloc(12)
    record.writeUInt32BE(bytes, 8)
    return Buffer.concat([Buffer.from(`${body}sig!`), record, Buffer.from('~Module signature appended~\n')])
  }
  assert.is(Buffer.from(withoutSignature(signed(4))).toString(), 'module')
  assert.is(withoutSignature(signed(400)).length, signed(400).length)
  assert.is(Buffer.from(withoutSignature(Buffer.from('module'))).toString(), 'module')
})

modules('ELF: .modinfo -> keys and values in order', () => {
  assert.equal(moduleInfo(elf('a=1\0b=x=y\0a=2\0')), [
    { key: 'a', value: '1' },
    { key: 'b', value: 'x=y' },
    { key: 'a', value: '2' },
  ])
  assert.throws(() => moduleInfo(new Uint8Array(100)), /not a little-endian ELF/)
})

modules('ELF: a program -> the libraries it needs', () => {
  const strings = [...Buffer.from('\0libc.so.6\0libm.so\0')]
  const word = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24]
  const dynamic = [1, 1, 5, 0x08048000, 1, 11, 0, 0].flatMap(word)
  const file = elf('', [
    { type: 1, virtual: 0x08048000, physical: 0, body: strings },
    { type: 2, virtual: 0x08049000, physical: 0, body: dynamic },
  ])
  assert.equal(neededLibraries(file), ['libc.so.6', 'libm.so'])
})

/** A bzImage with one setup sector and `payload` in its protected-mode part. */
function bzImage(payload: string): Uint8Array {
  const file = Buffer.alloc(2048)
  file[0x1f1] = 1
  file.writeUInt16LE(0xaa55, 0x1fe)
  file.write('HdrS', 0x202)
  file.writeUInt32LE(0x100000, 0x214)
  file.writeUInt32LE(16, 0x248)
  file.writeUInt32LE(payload.length + 4, 0x24c)
  file.write(payload, 1024 + 16)
  return new Uint8Array(file)
}

modules('kernel image: a bzImage -> its payload without the size at the end', () => {
  assert.is(Buffer.from(compressedKernel(bzImage('payload'))).toString(), 'payload')
  assert.throws(() => compressedKernel(new Uint8Array(4096)), /not a bzImage/)
})

modules('kernel image: decompressed -> setup code, a jump to the entry point, and the segments', () => {
  const vmlinux = elf('', [{ type: 1, virtual: 0xc1000000, physical: 0x1000000, body: [1, 2, 3] }])
  assert.is(loadableSegments(vmlinux).entry, 0x1000000)
  const { bzImage: image, segments } = uncompressedImage(bzImage('x'), vmlinux)
  assert.is(Buffer.from(image.subarray(1024, 1035)).toString('hex'), 'fcfab800000001ffe09090')
  assert.is(image.length, 1024 + 512)
  assert.equal(
    segments.map(({ address, content, memoryBytes }) => [address, [...content], memoryBytes]),
    [[0x1000000, [1, 2, 3], 19]],
  )
})

modules.run()
