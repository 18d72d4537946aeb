// How a boot is put together and how it ends, with an emulator that runs nothing: the test prints on the serial port
// what a guest would. Real boots are in linux.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bootLinux, KERNEL_OPTIONS, type LinuxOptions, startLinux } from '../../host/vmm/linux-boot.ts'
import type { LinuxGuest } from '../../host/vmm/linux-guest.ts'
import { within } from '../support/within.ts'
import { type FakeEmulator, fakeRuntime } from './fake-emulator.ts'

const boot = suite('linux boot')

interface Rig {
  guest: LinuxGuest
  emulator: FakeEmulator
  token: string
  shown: () => string
  print: (text: string) => Promise<void>
  powerOff: () => void
}

const ASSETS = { bzImage: Uint8Array.of(1), bios: Uint8Array.of(2), initramfs: new Uint8Array(3).fill(0xaa) }

async function start(options: Partial<LinuxOptions> = {}): Promise<Rig> {
  const { runtime, emulator } = fakeRuntime()
  let shown = ''
  const onConsole = (bytes: Uint8Array): void => {
    shown += Buffer.from(bytes).toString()
  }
  const memoryBytes = 96 << 20
  const guest = await startLinux({ runtime, assets: ASSETS, script: 'true', onConsole, memoryBytes, ...options })
  const token = /@@vblk:([0-9a-f]{32}):/.exec(
    Buffer.from(emulator().settings.initrd?.buffer ?? new ArrayBuffer(0)).toString('latin1'),
  )?.[1]
  assert.ok(token)
  return {
    guest,
    emulator: emulator(),
    token,
    shown: () => shown,
    print: async (text) => {
      for (const byte of Buffer.from(text)) emulator().listeners.get('serial0-output-byte')?.(byte)
      await Promise.resolve()
    },
    powerOff: () => emulator().pm1?.(0x2000),
  }
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await within(2000, promise)
  } catch (error) {
    assert.instance(error, Error)
    return error as Error
  }
  throw new Error('it did not fail')
}

boot('a whole boot -> status, output and times; the markers are not shown', async () => {
  const { guest, token, print, powerOff, shown } = await start()
  await print(`early\r\n\r\n@@vblk:${token}:begin@@\r\nhello\r\n\r\n@@vblk:${token}:exit:3@@\r\n`)
  powerOff()
  const result = await within(2000, guest.finished)
  assert.equal([result.exitStatus, result.output], [3, 'hello\n'])
  assert.ok(result.bootSeconds > 0 && result.seconds >= result.bootSeconds)
  assert.is(shown(), 'early\r\nhello\r\n')
})

boot(
  'settings: kernel options, initramfs without and with a disk -> base, boot archive, and ACPI table first',
  async () => {
    const plain = await start({ append: 'debug x=1' })
    const { cmdline, initrd } = plain.emulator.settings
    assert.is(cmdline, `${KERNEL_OPTIONS.join(' ')} debug x=1`)
    assert.is(new Uint8Array(initrd?.buffer ?? [])[0], 0xaa)
    await plain.guest.stop()
    const disk = async (): Promise<{ mmioRead: () => number; mmioWrite: () => void }> => {
      return { mmioRead: () => 0, mmioWrite: () => {} }
    }
    const withDisk = await start({ disk })
    const bytes = Buffer.from(withDisk.emulator.settings.initrd?.buffer ?? new ArrayBuffer(0))
    const table = bytes.indexOf('LNRO0005')
    assert.ok(table > 0 && table < bytes.indexOf(Buffer.of(0xaa, 0xaa, 0xaa)))
    assert.is(bytes.toString('latin1', 0, 6), '070701', 'not compressed')
    await withDisk.guest.stop()
  },
)

boot('kernel panic: the guest resets itself -> an error with its last lines', async () => {
  const { guest, print, emulator } = await start()
  await print('Kernel panic - not syncing: no init\r\n')
  emulator.v86.cpu.reboot_internal()
  const error = await rejection(guest.finished)
  assert.is(error.name, 'LinuxGuestError')
  assert.match(error.message, /kernel panic; its last lines:\nKernel panic - not syncing: no init$/)
})

boot('time limit: no end marker in time -> an error that says how long', async () => {
  const { guest, emulator } = await start({ timeoutMs: 20 })
  assert.match((await rejection(guest.finished)).message, /no end within 0.02 s$/)
  assert.ok(emulator.events.includes('stop'))
})

boot('abort: before and during the boot -> the reason of the signal', async () => {
  const controller = new AbortController()
  const { guest } = await start({ signal: controller.signal })
  controller.abort(new Error('user gave up'))
  assert.is((await rejection(guest.finished)).message, 'user gave up')
  const { runtime } = fakeRuntime()
  const early = bootLinux({ runtime, assets: ASSETS, signal: controller.signal })
  assert.is((await rejection(early)).message, 'user gave up')
})

boot('power-off without the end marker -> exit status null', async () => {
  const { guest, powerOff } = await start()
  powerOff()
  assert.is((await within(2000, guest.finished)).exitStatus, null)
})

boot.run()
