// Bytes that are no snapshot, or one that no device can have written: each is refused as a SnapshotError that names
// the field and where it lies, and neither memory nor back end of the target is touched (device rule 26). Offsets are
// typed in by hand from the header of host/device/snapshot.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GuestMemory, SnapshotError, VirtioBlk, validateSnapshot } from '../../host/index.ts'
import { each } from '../support/device.ts'
import { type Flavour, flavours } from '../support/engines.ts'
import { moving } from '../support/moving-device.ts'

const test = suite('device snapshot bytes')

const SECOND = 1_000_000_000
/** 376 + two queues + checksum */
const LENGTH = 376 + 2 * 64 + 4

/** Two queues, the first up and with a head that waits; requests were served. */
async function sample(flavour: Flavour): Promise<Uint8Array> {
  const f = await moving(flavour, { queues: 2, queueSizeMax: 64, serial: 'sample', throttle: { iops: 4 } })
  const { queue } = f.raw.negotiate({ eventIdx: true, queues: [{ size: 16 }] })
  for (let i = 0; i < 5; i++) queue.run({ type: 0, sector: i, dataIn: 512 })
  f.now += 1000
  return f.device.snapshot()
}

/** CRC-32 bit by bit; that of node:zlib is younger than Node 20. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

/** The bytes with a change and a checksum that fits. */
function changed(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = bytes.slice()
  const view = new DataView(copy.buffer)
  change(view)
  view.setUint32(copy.length - 4, crc32(copy.subarray(0, -4)), true)
  return copy
}

function refusal(bytes: Uint8Array): SnapshotError {
  try {
    validateSnapshot(bytes)
  } catch (error) {
    assert.instance(error, SnapshotError)
    assert.ok((error as Error).message.includes(`${(error as SnapshotError).offset}`))
    return error as SnapshotError
  }
  throw new Error('it was taken for a snapshot')
}

/** A restore that must not touch anything. */
async function untouched(flavour: Flavour, bytes: Uint8Array): Promise<SnapshotError> {
  const inner = flavour.memory({ ramBytes: 1 << 20, stateBytes: 1 << 20 })
  const never = (what: string) => (): never => {
    throw new Error(`${what} was touched`)
  }
  const memory = GuestMemory.adopt({
    memory: inner.memory,
    regions: inner.regions,
    allocate: never('allocate'),
    onWrite: never('guest RAM'),
  })
  const backend = { capacityBytes: 1 << 20, read: never('read'), write: never('write'), flush: never('flush') }
  const all = new Uint8Array(memory.memory.buffer)
  all.fill(0x5a, 2 << 20)
  const before = all.slice()
  let caught: unknown
  await VirtioBlk.restore(bytes, {
    memory,
    backend,
    engine: flavour.engine,
    onInterrupt: never('interrupt'),
    onFailure: never('failure'),
  }).catch((error) => {
    caught = error
  })
  assert.instance(caught, SnapshotError)
  assert.ok(Buffer.compare(all, before) === 0, 'memory was touched')
  return caught as SnapshotError
}

each(test, 'past bug 17: truncated at any length, or with bytes behind -> refused', async (flavour) => {
  const bytes = await sample(flavour)
  assert.is(bytes.length, LENGTH)
  assert.is(validateSnapshot(bytes).queues, 2)
  for (let length = 0; length < LENGTH; length++) {
    const { field, offset } = refusal(bytes.slice(0, length))
    assert.equal([field, offset], length < 8 ? ['magic', 0] : ['length', 12], `${length} bytes`)
    // As long as it says, with a checksum that fits: it is still too short for its queues.
    if (length < 20) continue
    const short = changed(bytes.slice(0, length), (view) => view.setUint32(12, length, true))
    assert.is(refusal(short).field, 'length', `${length} bytes that say so`)
  }
  assert.is(refusal(Uint8Array.of(...bytes, 0)).field, 'length')
  await untouched(flavour, bytes.slice(0, 400))
})

each(test, 'past bug 17: every single byte changed -> refused', async (flavour) => {
  const bytes = await sample(flavour)
  for (let at = 0; at < LENGTH; at++) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const copy = bytes.slice()
      copy[at] = (copy[at] as number) ^ flip
      const { field } = refusal(copy)
      const wanted = at < 8 ? 'magic' : at < 10 ? 'version' : at < 12 ? 'reserved' : at < 16 ? 'length' : 'checksum'
      assert.is(field, wanted, `byte ${at} ^ ${flip}`)
    }
  }
  await untouched(
    flavour,
    bytes.map((byte, at) => (at === 100 ? byte ^ 4 : byte)),
  )
})

each(
  test,
  'past bug 17: every byte changed and the checksum made to fit -> refused, or a device that is up',
  async (flavour) => {
    const bytes = await sample(flavour)
    const f = await moving(flavours[0] as Flavour)
    const ram = f.ram()
    let taken = 0
    for (let at = 16; at < LENGTH - 4; at++) {
      for (const flip of [0x01, 0xff]) {
        const hostile = changed(bytes, (view) => view.setUint8(at, view.getUint8(at) ^ flip))
        try {
          validateSnapshot(hostile)
          const target = f.target(flavour, { override: ['capacity', 'serial', 'readOnly'] }, ram)
          const disk = await VirtioBlk.restore(hostile, target)
          taken++
          disk.poll()
          disk.mmioWrite(0x70, 4, 0)
          assert.is(disk.mmioRead(0x70, 4), 0)
          assert.is(f.failures.filter((line) => line.includes('trapped')).length, 0)
          await disk.close()
        } catch (error) {
          assert.instance(error, SnapshotError, `byte ${at} ^ ${flip}: ${error}`)
        }
      }
    }
    assert.ok(taken > 100, 'some fields can be anything')
  },
)

test('device rule 26: what is no bytes at all -> TypeError', () => {
  for (const value of [undefined, null, 'VBLKSNAP', [1, 2, 3], new ArrayBuffer(500)]) {
    assert.throws(() => validateSnapshot(value as unknown as Uint8Array), /a Uint8Array is wanted/)
  }
})

test('device rule 26: bytes in the middle of a larger buffer, and in a shared one -> read as well', async () => {
  const bytes = await sample(flavours[0] as Flavour)
  const large = new Uint8Array(LENGTH + 20)
  large.set(bytes, 7)
  assert.is(validateSnapshot(large.subarray(7, 7 + LENGTH)).serial, 'sample')
  assert.is(validateSnapshot(Buffer.from(large.buffer, 7, LENGTH)).serial, 'sample')
  const shared = new Uint8Array(new SharedArrayBuffer(LENGTH))
  shared.set(bytes)
  assert.is(validateSnapshot(shared).serial, 'sample')
})

const Q0 = 376
const Q1 = 376 + 64

type Hostile = readonly [why: string, field: string, offset: number, change: (view: DataView) => void]

const u32 =
  (at: number, value: number) =>
  (view: DataView): void =>
    view.setUint32(at, value, true)
const u64 =
  (at: number, value: bigint) =>
  (view: DataView): void =>
    view.setBigUint64(at, BigInt.asUintN(64, value), true)
const both =
  (...changes: readonly ((view: DataView) => void)[]) =>
  (view: DataView): void => {
    for (const change of changes) change(view)
  }

const HOSTILE: readonly Hostile[] = [
  ['a newer version', 'version', 8, (view) => view.setUint16(8, 2, true)],
  ['version 0', 'version', 8, (view) => view.setUint16(8, 0, true)],
  ['reserved', 'reserved', 10, (view) => view.setUint16(10, 1, true)],
  ['an unknown feature', 'deviceFeatures', 16, u64(16, 0x1_2000_0246n | (1n << 40n))],
  ['no VERSION_1', 'deviceFeatures', 16, u64(16, 0x246n)],
  ['RO on a disk that can be written', 'deviceFeatures', 16, u64(16, 0x1_2000_0266n)],
  ['more sectors than a number holds', 'capacitySectors', 24, u64(24, 1n << 44n)],
  ['no queue', 'queues', 32, u32(32, 0)],
  ['too many queues', 'queues', 32, u32(32, 65)],
  ['all queues there can be', 'length', 12, u32(32, 64)],
  ['2^32 - 1 queues', 'queues', 32, u32(32, 0xffffffff)],
  ['queueSizeMax no power of two', 'queueSizeMax', 36, u32(36, 96)],
  ['queueSizeMax 0', 'queueSizeMax', 36, u32(36, 0)],
  ['queueSizeMax 65536', 'queueSizeMax', 36, u32(36, 65536)],
  ['segMax 0', 'segMax', 40, u32(40, 0)],
  ['segMax above queueSizeMax - 2', 'segMax', 40, u32(40, 63)],
  ['sizeMax 0', 'sizeMax', 44, u32(44, 0)],
  ['blockSize 256', 'blockSize', 48, u32(48, 256)],
  ['blockSize 1000', 'blockSize', 48, u32(48, 1000)],
  ['readOnly 2', 'readOnly', 52, u32(52, 2)],
  ['a serial that is no text', 'serial', 56, (view) => view.setUint8(60, 0xff)],
  ['DRIVER_OK without FEATURES_OK', 'status', 76, u32(76, 7)],
  ['a bit that Status does not have', 'status', 76, u32(76, 0x1f)],
  ['DRIVER without ACKNOWLEDGE', 'status', 76, u32(76, 2)],
  ['a cause that there is not', 'interruptStatus', 80, u32(80, 4)],
  ['an interrupt of a device that is not up', 'interruptStatus', 80, both(u32(76, 0), u32(80, 1))],
  ['features of no driver', 'driverFeatures0', 100, both(u32(76, 1), u32(80, 0))],
  ['a feature that is not offered', 'driverFeatures0', 100, u32(100, 0x2000_0246 | 1)],
  ['a high feature that is not offered', 'driverFeatures1', 104, u32(104, 3)],
  ['a driver without VERSION_1', 'driverFeatures1', 104, u32(104, 0)],
  ['a third word of features', 'driverFeatures2', 108, u32(108, 1)],
  ['a fourth word of features', 'driverFeatures3', 112, u32(112, 1)],
  ['a fault that there is not', 'fault', 116, both(u32(76, 0x4f), u32(116, -9 >>> 0))],
  ['a fault without NEEDS_RESET', 'fault', 116, u32(116, -1 >>> 0)],
  ['a rate above 2^63', 'opsRate', 120, u64(120, (1n << 63n) + 1n)],
  ['a burst below the rate', 'opsCapacity', 128, u64(128, 3n)],
  ['a burst without a rate', 'bytesCapacity', 144, u64(144, 1n)],
  ['a balance above the burst', 'opsBalance', 152, u64(152, 5n)],
  ['a balance of no bucket', 'bytesBalance', 168, u64(168, -1n)],
  ['a whole token as a fraction', 'opsFraction', 160, u64(160, 1_000_000_000n)],
  ['a fraction of no bucket', 'bytesFraction', 176, u64(176, 1n)],
  ['a gauge of heads that do not wait', 'currentlyThrottled', 288, u64(288, 0n)],
  ['ready 2', 'queues[0].ready', Q0 + 4, u32(Q0 + 4, 2)],
  ['ready and never frozen', 'queues[1].ready', Q1 + 4, u32(Q1 + 4, 1)],
  ['frozen 2', 'queues[0].frozen', Q0 + 8, u32(Q0 + 8, 2)],
  ['size 0 of a ready queue', 'queues[0].size', Q0, u32(Q0, 0)],
  ['size 12 of a ready queue', 'queues[0].size', Q0, u32(Q0, 12)],
  ['size 128 of a ready queue of at most 64', 'queues[0].size', Q0, u32(Q0, 128)],
  ['stalled and not ready', 'queues[1].stalled', Q1 + 12, u32(Q1 + 12, 1)],
  ['stalled without a wait', 'queues[0].waitNanos', Q0 + 56, u64(Q0 + 56, 0n)],
  ['a wait of more than a second', 'queues[0].waitNanos', Q0 + 56, u64(Q0 + 56, BigInt(SECOND + 1))],
  ['a wait that is over and not asked', 'queues[1].waitNanos', Q1 + 56, u64(Q1 + 56, 1n)],
  ['descriptors unaligned', 'queues[0].descGpa', Q0 + 16, u64(Q0 + 16, 0x1008n)],
  ['available ring unaligned', 'queues[0].availGpa', Q0 + 24, u64(Q0 + 24, 0x1001n)],
  ['used ring unaligned', 'queues[0].usedGpa', Q0 + 32, u64(Q0 + 32, 0x1002n)],
  ['nextAvail of 17 bits', 'queues[0].nextAvail', Q0 + 40, u32(Q0 + 40, 0x10004)],
  ['a request taken and not answered', 'queues[0].nextUsed', Q0 + 44, u32(Q0 + 44, 3)],
  ['nextUsed of 17 bits', 'queues[0].nextUsed', Q0 + 44, u32(Q0 + 44, 0x10004)],
  ['indices of a queue that never was', 'queues[1].nextAvail', Q1 + 40, u32(Q1 + 40, 1)],
  ['availEvent beyond "never"', 'queues[0].availEvent', Q0 + 48, u32(Q0 + 48, 0x10001)],
  ['used.flags 2', 'queues[0].usedFlags', Q0 + 52, u32(Q0 + 52, 2)],
  ['used.flags beyond "never"', 'queues[0].usedFlags', Q0 + 52, u32(Q0 + 52, 0xffffffff)],
]

/** What only the guest RAM of the target can tell. */
const OUTSIDE: readonly Hostile[] = [
  ['descriptors outside RAM', 'queues[0].descGpa', Q0 + 16, u64(Q0 + 16, 0x10_0000n)],
  ['descriptors half outside RAM', 'queues[0].descGpa', Q0 + 16, u64(Q0 + 16, 0xf_ff10n)],
  ['available ring at the end of all addresses', 'queues[0].availGpa', Q0 + 24, u64(Q0 + 24, -2n)],
  ['used ring at 2^32', 'queues[0].usedGpa', Q0 + 32, u64(Q0 + 32, 1n << 32n)],
  ['event slot outside RAM', 'queues[0].usedGpa', Q0 + 32, u64(Q0 + 32, BigInt(0x10_0000 - 4 - 8 * 16))],
]

for (const [why, field, offset, change] of [...HOSTILE, ...OUTSIDE]) {
  each(test, `past bug 17: ${why}, with a checksum that fits -> ${field}`, async (flavour) => {
    const bytes = changed(await sample(flavour), change)
    const isOutside = OUTSIDE.some(([name]) => name === why)
    if (!isOutside) assert.equal([refusal(bytes).field, refusal(bytes).offset], [field, offset])
    const error = await untouched(flavour, bytes)
    assert.equal([error.field, error.offset], [field, offset])
  })
}

test.run()
