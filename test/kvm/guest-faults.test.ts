// The test guest finds faults: for each of its failure codes a device, or a machine, that is wrong in one way, made by
// standing between a correct inline device and the guest. A guest that let one of these pass would prove nothing in
// the tests that it passes. Needs /dev/kvm.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as spec from '../../assembly/spec.ts'
import type { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import type { GuestMemory } from '../../host/device/guest-memory.ts'
import { equates, SOURCE } from '../guest/assemble.ts'
import { FAIL, type FailureName, type GuestParameters, PLACE } from '../guest/protocol.ts'
import { type GuestHooks, type InlineGuest, type InlineOptions, inlineGuest } from '../support/inline-guest.ts'
import { hasKvm } from '../support/kvm-guest.ts'
import type { GuestRun } from '../support/test-guest.ts'

const test = suite('test guest, wrong devices')

interface Fault extends InlineOptions {
  what: string
  parameters?: Partial<GuestParameters>
  prepare?: (memory: GuestMemory) => void
}

const places = equates(readFileSync(SOURCE, 'utf8'))
const place = (name: string): number => places.get(name) as number
const [AVAIL, USED, STATUS, DATA] = [place('AVAIL'), place('USED'), place('STATUS'), place('DATA')]

/** A register reads something else. */
function reads(register: number, answer: (value: number) => number): () => GuestHooks {
  return () => ({ read: (offset, value) => (offset === register ? answer(value) >>> 0 : value) })
}

/** Guest RAM is spoilt right after each kick was carried out. */
function spoils(spoil: (ram: DataView) => void): (guest: InlineGuest) => GuestHooks {
  return ({ memory }) => ({
    write: (offset, value, write) => {
      write(value)
      if (offset === spec.VIRTIO_MMIO_QUEUE_NOTIFY) spoil(ramOf(memory))
    },
  })
}

/** Offsets are guest-physical addresses. */
function ramOf(memory: GuestMemory): DataView {
  const { buffer, byteOffset, byteLength } = memory.view(0, memory.regions[0]?.bytes ?? 0)
  return new DataView(buffer, byteOffset, byteLength)
}

/** The element of the used ring that was pushed last. */
function lastUsed(ram: DataView): number {
  return USED + 4 + 8 * ((ram.getUint16(USED + 2, true) - 1) & 255)
}

/** Something happens after the reset in the middle: at the `nth` read of InterruptStatus, or to any read. */
function afterReset(happens: {
  at?: (guest: InlineGuest) => void
  nth?: number
  read?: (offset: number, value: number) => number
}): (guest: InlineGuest) => GuestHooks {
  return (guest) => {
    let resets = 0
    let looks = 0
    return {
      write: (offset, value, write) => {
        if (offset === spec.VIRTIO_MMIO_STATUS && value === 0) resets++
        write(value)
      },
      read: (offset, value) => {
        // The first reset is the one that every driver begins with.
        if (resets !== 2) return value
        if (offset === spec.VIRTIO_MMIO_INTERRUPT_STATUS && ++looks === happens.nth) happens.at?.(guest)
        return happens.read?.(offset, value) ?? value
      },
    }
  }
}

const poll = { interrupts: false }
/** Polling: an interrupt that the kernel delivers late would be found before what these tests are about. */
const reset = { interrupts: false, resets: 1, batch: 4, requests: 16, graceReads: 40, quietReads: 40 }
const statusWithout = (bit: number) => reads(spec.VIRTIO_MMIO_STATUS, (value) => value & ~bit)

/** Reads every fifth sector wrong in one bit. */
function flips(disk: MemoryBackend): BlockBackend {
  return {
    inPlace: true,
    capacityBytes: disk.capacityBytes,
    read: (offset, into) => {
      const moved = disk.read(offset, into)
      const [first] = into
      if (first && (offset / 512) % 5 === 3) first[first.length - 1] = (first[first.length - 1] ?? 0) ^ 0x40
      return moved
    },
    write: (offset, from) => disk.write(offset, from),
    flush: () => {},
  }
}

function unflushable(disk: MemoryBackend): BlockBackend {
  return {
    inPlace: true,
    capacityBytes: disk.capacityBytes,
    read: (offset, into) => disk.read(offset, into),
    write: (offset, from) => disk.write(offset, from),
    flush: () => {
      throw new Error('no flush today')
    },
  }
}

/** More chains than the ring holds: the real device stops service (rule 7). */
const poisons: Pick<Fault, 'hooks'> = {
  hooks: ({ memory }) => ({
    write: (offset, value, write) => {
      const ram = ramOf(memory)
      if (offset === spec.VIRTIO_MMIO_QUEUE_NOTIFY) ram.setUint16(AVAIL + 2, 1000, true)
      write(value)
    },
  }),
}

const swallowsKicks: Pick<Fault, 'hooks'> = {
  hooks: () => ({
    write: (offset, value, write) => {
      if (offset !== spec.VIRTIO_MMIO_QUEUE_NOTIFY) write(value)
    },
  }),
}

/** An instruction that is none, in place of the first comparison with the magic number. */
function breaksCode(memory: GuestMemory): void {
  const code = memory.view(PLACE.load, PLACE.params - PLACE.load)
  const at = Buffer.from(code).indexOf(Buffer.from('virt')) - 1
  assert.is(code[at], 0xba)
  code.set([0x0f, 0x0b], at)
}

const writesLate = (address: number): Pick<Fault, 'parameters' | 'hooks'> => ({
  parameters: reset,
  hooks: afterReset({ nth: 70, at: ({ memory }) => memory.view(address, 1).fill(0) }),
})

const FAULTS: Record<FailureName, Fault[]> = {
  parameters: [{ what: 'no parameter block', prepare: (memory) => memory.view(PLACE.params, 4).fill(0) }],
  exception: [{ what: 'an invalid instruction', prepare: breaksCode }],
  magic: [{ what: 'MagicValue', hooks: reads(spec.VIRTIO_MMIO_MAGIC_VALUE, (value) => value ^ 1) }],
  version: [{ what: 'Version 1', hooks: reads(spec.VIRTIO_MMIO_VERSION, () => 1) }],
  deviceId: [{ what: 'no device', hooks: reads(spec.VIRTIO_MMIO_DEVICE_ID, () => 0) }],
  notReset: [{ what: 'Status stays FAILED', hooks: reads(spec.VIRTIO_MMIO_STATUS, (value) => value || 0x80) }],
  driver: [{ what: 'DRIVER is lost', hooks: statusWithout(spec.VIRTIO_CONFIG_S_DRIVER) }],
  noVersion1: [
    { what: 'a legacy device', hooks: reads(spec.VIRTIO_MMIO_DEVICE_FEATURES, (value) => (value === 1 ? 0 : value)) },
  ],
  noFlush: [
    {
      what: 'FLUSH not offered',
      hooks: reads(spec.VIRTIO_MMIO_DEVICE_FEATURES, (value) => value & ~(1 << spec.VIRTIO_BLK_F_FLUSH)),
    },
  ],
  noEventIdx: [
    {
      what: 'EVENT_IDX not offered',
      hooks: reads(spec.VIRTIO_MMIO_DEVICE_FEATURES, (value) => value & ~(1 << spec.VIRTIO_F_EVENT_IDX)),
    },
  ],
  featuresOk: [{ what: 'FEATURES_OK does not stick', hooks: statusWithout(spec.VIRTIO_CONFIG_S_FEATURES_OK) }],
  generation: [
    {
      what: 'ConfigGeneration counts reads',
      hooks: () => {
        let count = 0
        return { read: (offset, value) => (offset === spec.VIRTIO_MMIO_CONFIG_GENERATION ? count++ : value) }
      },
    },
  ],
  capacity: [
    { what: 'low half', hooks: reads(spec.VIRTIO_MMIO_CONFIG, (value) => value + 1) },
    { what: 'high half', hooks: reads(spec.VIRTIO_MMIO_CONFIG + 4, (value) => value + 1) },
  ],
  queueInUse: [{ what: 'QueueReady before', hooks: reads(spec.VIRTIO_MMIO_QUEUE_READY, () => 1) }],
  queueSize: [{ what: 'small QueueSizeMax', hooks: reads(spec.VIRTIO_MMIO_QUEUE_SIZE_MAX, () => 128) }],
  queueReady: [{ what: 'QueueReady does not stick', hooks: reads(spec.VIRTIO_MMIO_QUEUE_READY, () => 0) }],
  driverOk: [{ what: 'DRIVER_OK does not stick', hooks: statusWithout(spec.VIRTIO_CONFIG_S_DRIVER_OK) }],
  usedAhead: [
    {
      what: 'used.idx moves twice',
      parameters: poll,
      hooks: spoils((ram) => ram.setUint16(USED + 2, ram.getUint16(USED + 2, true) + 1, true)),
    },
  ],
  usedId: [
    { what: 'not a head', hooks: spoils((ram) => ram.setUint32(lastUsed(ram), 1, true)) },
    { what: 'a head that is not outstanding', hooks: spoils((ram) => ram.setUint32(lastUsed(ram), 30, true)) },
    { what: 'beyond all slots', hooks: spoils((ram) => ram.setUint32(lastUsed(ram), 3 * 1000, true)) },
  ],
  usedLength: [
    {
      what: 'a read one byte short',
      hooks: spoils((ram) => {
        const at = lastUsed(ram) + 4
        if (ram.getUint32(at, true) === 513) ram.setUint32(at, 512, true)
      }),
    },
    { what: 'a write of length 0', hooks: spoils((ram) => ram.setUint32(lastUsed(ram) + 4, 0, true)) },
  ],
  statusNotWritten: [{ what: 'status as it was', hooks: spoils((ram) => ram.setUint8(STATUS, 0xaa)) }],
  statusWrong: [
    { what: 'OK becomes IOERR', hooks: spoils((ram) => ram.setUint8(STATUS, 1)) },
    {
      what: 'IOERR becomes OK',
      hooks: spoils((ram) => {
        if (ram.getUint8(STATUS) === 1) ram.setUint8(STATUS, 0)
      }),
    },
    { what: 'FLUSH fails', backend: unflushable },
  ],
  statusOverrun: [{ what: 'a byte behind the status', hooks: spoils((ram) => ram.setUint8(STATUS + 1, 0)) }],
  data: [
    { what: 'a bit in every fifth sector', backend: flips, parameters: { batch: 32 } },
    { what: 'the first byte', hooks: spoils((ram) => ram.setUint8(DATA, 0)) },
  ],
  dataOverrun: [{ what: 'a byte behind the data', hooks: spoils((ram) => ram.setUint8(DATA + 512, 0)) }],
  serial: [{ what: 'another serial', parameters: { serial: 'test-guest-disc' } }],
  pollTimeout: [{ what: 'kicks are lost', parameters: { ...poll, spinLimit: 1000 }, ...swallowsKicks }],
  needsReset: [
    { what: 'the real device stops, interrupts', ...poisons },
    { what: 'the real device stops, polling', parameters: { ...poll, spinLimit: 1000 }, ...poisons },
  ],
  noCause: [{ what: 'InterruptStatus stays 0', hooks: reads(spec.VIRTIO_MMIO_INTERRUPT_STATUS, () => 0) }],
  resetStatus: [
    {
      what: 'Status keeps its bits',
      parameters: reset,
      hooks: afterReset({ read: (offset, value) => (offset === spec.VIRTIO_MMIO_STATUS ? 0x0f : value) }),
    },
  ],
  resetTimeout: [
    {
      what: 'NEEDS_RESET for ever',
      parameters: { ...reset, resetLimit: 100 },
      hooks: afterReset({ read: (offset, value) => (offset === spec.VIRTIO_MMIO_STATUS ? 0x40 : value) }),
    },
  ],
  lateWrite: [
    { what: 'data', ...writesLate(DATA) },
    { what: 'the last byte of the last buffer', ...writesLate(DATA + 3 * (512 + place('GUARD_BYTES')) + 511) },
    { what: 'a status', ...writesLate(STATUS + 4) },
    { what: 'used.idx', ...writesLate(USED + 2) },
    { what: 'the last element of the used ring', ...writesLate(USED + 4 + 8 * 255 + 7) },
  ],
  lateStatus: [
    {
      what: 'InterruptStatus is not cleared',
      parameters: reset,
      hooks: afterReset({ read: (offset, value) => (offset === spec.VIRTIO_MMIO_INTERRUPT_STATUS ? 1 : value) }),
    },
  ],
  lateInterrupt: [
    {
      what: 'a signal after the reset',
      parameters: { ...reset, interrupts: true, graceReads: 1000, quietReads: 2000 },
      hooks: afterReset({ nth: 1010, at: (guest) => guest.signal() }),
    },
  ],
}

async function runFault(fault: Fault, limitMs: number): Promise<GuestRun> {
  const guest = await inlineGuest(fault)
  try {
    const options = fault.prepare ? { limitMs, prepare: fault.prepare } : { limitMs }
    return guest.run(fault.parameters ?? {}, options)
  } finally {
    await guest.close()
  }
}

if (hasKvm()) {
  for (const failure of Object.keys(FAIL) as FailureName[]) {
    for (const fault of FAULTS[failure]) {
      test(`${failure}: ${fault.what}`, async () => {
        const run = await runFault(fault, 20_000)
        assert.is(run.failure, failure, run.why)
        assert.is(run.outcome, 'failed', run.why)
        assert.is(run.reports.at(-1), `failed ${(run.results.step << 16) | FAIL[failure]}`)
      })
    }
  }

  test('an interrupt that never comes -> the guest sleeps on, the time limit of the host ends it', async () => {
    const run = await runFault({ what: '', hooks: () => ({ interrupt: () => {} }) }, 500)
    assert.is(run.outcome, 'timeout', run.why)
    assert.equal([run.results.interrupts, run.results.requests], [0, 1])
  })

  test('one interrupt among many that does not come -> the same', async () => {
    let count = 0
    const interrupt = (signal: () => void): void => {
      if (++count !== 20) signal()
    }
    const run = await runFault({ what: '', hooks: () => ({ interrupt }) }, 500)
    assert.is(run.outcome, 'timeout', run.why)
    assert.equal([run.results.interrupts, run.results.requests], [19, 20])
  })

  test('code that runs off the machine -> crashed, with what KVM says', async () => {
    const prepare = (memory: GuestMemory): void => {
      // A jump far behind all RAM, before there is a table to take the exception.
      memory.view(PLACE.load, 5).set([0xe9, 0, 0, 0, 0x70])
    }
    const run = await runFault({ what: '', prepare }, 5_000)
    assert.is(run.outcome, 'crashed')
    assert.match(run.why, /KVM_EXIT_\w+.*rip 0x.*not started/)
  })
}

test.run()
