// Saving and resuming the machine itself, over the emulator that runs nothing (fake-emulator.ts), with a real device
// whose back end answers late: what is stopped, waited for and written, in which order. A real guest is in
// save.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { VirtioBlkDriver } from '../../host/driver/driver.ts'
import { V86Machine, type V86State } from '../../host/vmm/v86.ts'
import { within } from '../support/within.ts'
import { FAKE_RAM, type FakeEmulator, fakeRuntime } from './fake-emulator.ts'

const save = suite('v86 machine, saved')

const DISK_BYTES = 1 << 20
/** of a queue in a snapshot, at its end but for a checksum of four bytes */
const QUEUE_BYTES = 64

/** Answers each write when the test says so. */
class LateBackend implements BlockBackend {
  readonly capacityBytes = DISK_BYTES
  readonly content = new MemoryBackend(DISK_BYTES)
  readonly waiting: (() => void)[] = []

  read(offset: number, into: Uint8Array[]): number {
    return this.content.read(offset, into)
  }

  write(offset: number, from: Uint8Array[]): Promise<number> {
    return new Promise((resolve) => this.waiting.push(() => resolve(this.content.write(offset, from))))
  }

  flush(): void {}
}

interface Rig {
  machine: V86Machine
  emulator: FakeEmulator
  disk: VirtioBlk
}

async function rig(backend: BlockBackend, resume?: { machine: V86State; disk: Uint8Array }): Promise<Rig> {
  const { runtime, emulator } = fakeRuntime()
  let disk: VirtioBlk | undefined
  const common = { runtime, memoryBytes: FAKE_RAM, onSerial: () => {} }
  const blank = { bios: new Uint8Array(16), initrd: new Uint8Array(5), cmdline: '' }
  const machine = await V86Machine.create({
    ...common,
    ...(resume ? { resume: resume.machine } : { ...blank, kernel: { bzImage: Uint8Array.of(1, 2, 3), segments: [] } }),
    disk: {
      create: async (memory, onInterrupt) => {
        emulator().events.push('disk')
        const options = { memory, backend, onInterrupt }
        disk = resume ? await VirtioBlk.restore(resume.disk, options) : await VirtioBlk.create(options)
        return disk
      },
    },
  })
  assert.ok(disk)
  return { machine, emulator: emulator(), disk }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

save(
  'device rule 26: a back end that is late -> stopped first, its answer waited for, then saved with it',
  async () => {
    const backend = new LateBackend()
    const { machine, emulator, disk } = await rig(backend)
    const driver = await VirtioBlkDriver.probe({ mmio: disk, memory: machine.memory })
    const written = driver.write(3, new Uint8Array(512).fill(0x77))
    await turn()
    assert.is(backend.waiting.length, 1)
    emulator.events.length = 0
    const saving = machine.save(() => disk.pause())
    machine.serialWrite('lost, and not half of it saved')
    await turn()
    await turn()
    assert.equal(emulator.events, ['stop'], 'nothing is saved while a request is in the back end')
    backend.waiting.shift()?.()
    const state = await within(2000, saving)
    assert.is(await within(1000, machine.ended), 'saved')
    const snapshot = disk.snapshot()
    await within(2000, written)
    assert.is(disk.counters.writesCompleted, 1)
    await disk.close()

    const again = await rig(backend, { machine: state, disk: snapshot })
    assert.equal(again.emulator.events.slice(0, 2), ['restore', 'disk'], 'guest RAM is there before the disk goes on')
    const ram = again.machine.memory.view(0, FAKE_RAM)
    assert.is(Buffer.compare(ram, state.state), 0)
    // The used ring, where the snapshot says that it is: one element was published into it before the state was taken.
    const bytes = Buffer.from(snapshot)
    const used = Number(bytes.readBigUInt64LE(bytes.length - 4 - QUEUE_BYTES + 32))
    assert.is(ram[used + 2], 1, 'the used index')
    assert.is(again.disk.counters.writesCompleted, 1)
    assert.equal(backend.waiting, [], 'the write is not made twice')
    assert.is(backend.content.bytes[3 * 512], 0x77)
    await again.disk.close()
  },
)

save('resume: settings -> nothing to boot from, the window and the ports there; typed text is kept', async () => {
  const first = await rig(new MemoryBackend(DISK_BYTES))
  first.emulator.v86.cpu.devices.uart0.input.push(104, 105)
  first.machine.memory.view(5000, 1)[0] = 99
  const machine = await first.machine.save()
  const second = await rig(new MemoryBackend(DISK_BYTES), { machine, disk: first.disk.snapshot() })
  const { bios, bzimage, initrd, cmdline } = second.emulator.settings
  assert.equal([bios, bzimage, initrd, cmdline], [undefined, undefined, undefined, undefined])
  assert.equal(second.emulator.v86.cpu.devices.uart0.input, [104, 105])
  assert.is(second.machine.memory.view(5000, 1)[0], 99)
  assert.is(second.emulator.window?.read32(0xc0001000), 0x74726976)
  second.emulator.pm1?.(0x2000)
  assert.is(await within(1000, second.machine.ended), 'power-off')
})

save('save: of a machine that ended, twice, or stopped meanwhile -> an error, and the machine has ended', async () => {
  const message = async (promise: Promise<unknown>): Promise<string> => {
    return within(2000, promise).then(
      () => 'it did not fail',
      (error) => String(error),
    )
  }
  const off = await rig(new MemoryBackend(DISK_BYTES))
  off.emulator.pm1?.(0x2000)
  assert.match(await message(off.machine.save()), 'has ended')
  const twice = await rig(new MemoryBackend(DISK_BYTES))
  const saving = twice.machine.save()
  assert.match(await message(twice.machine.save()), 'cannot be saved')
  await saving
  const stopped = await rig(new MemoryBackend(DISK_BYTES))
  const lost = stopped.machine.save(() => stopped.machine.stop())
  assert.match(await message(lost), 'ended while it was being saved')
  assert.is(await within(1000, stopped.machine.ended), 'stopped')
  const broken = await rig(new MemoryBackend(DISK_BYTES))
  assert.match(await message(broken.machine.save(() => Promise.reject(new Error('no pause')))), 'no pause')
  assert.match(await message(broken.machine.ended), 'no pause')
})

save.run()
