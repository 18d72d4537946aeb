// What a machine that compiles guest code needs to know: GuestMemory.onWrite is told of every buffer that a read
// fills, in place or through a private copy, zero-filled ends included, and of nothing that a write sends.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { Raw } from '../../host/driver/driver.ts'

const test = suite('onWrite')

const PTR = 65536
const RAM_BYTES = 1 << 20

async function rig(backend: BlockBackend) {
  const memory = new WebAssembly.Memory({ initial: 64 })
  const told: [gpa: number, bytes: number][] = []
  let free = PTR + RAM_BYTES
  const ram = GuestMemory.adopt({
    memory,
    regions: [{ gpa: 0, bytes: RAM_BYTES, ptr: PTR }],
    allocate: (bytes) => {
      const at = free
      free += bytes + 64 - (bytes % 64)
      return at
    },
    onWrite: (ptr, bytes) => told.push([ptr - PTR, bytes]),
  })
  const disk = await VirtioBlk.create({ memory: ram, backend })
  const raw = new Raw({ mmio: disk, memory: ram })
  return { raw, queue: raw.negotiate().queue, told }
}

const late = (inner: MemoryBackend): BlockBackend => ({
  capacityBytes: inner.capacityBytes,
  read: async (offset, into) => inner.read(offset, into),
  write: async (offset, from) => inner.write(offset, from),
  flush: async () => {},
})

for (const [name, make] of [
  ['in place', (disk: MemoryBackend): BlockBackend => disk],
  ['asynchronous', late],
] as const) {
  test(`${name}: a read into two buffers -> both, whole`, async () => {
    const { raw, queue, told } = await rig(make(new MemoryBackend(4096)))
    const request = queue.run({ type: 0, dataIn: 1024, segments: 512 })
    await raw.until(() => queue.usedIdx === 1)
    assert.is(request.status(), 0)
    assert.equal(
      told,
      request.dataIn.map(({ addr, bytes }) => [Number(addr), bytes]),
    )
  })

  test(`${name}: a write -> nothing`, async () => {
    const { raw, queue, told } = await rig(make(new MemoryBackend(4096)))
    const request = queue.run({ type: 1, dataOut: new Uint8Array(512) })
    await raw.until(() => queue.usedIdx === 1)
    assert.is(request.status(), 0)
    assert.equal(told, [])
  })
}

test.run()
