// The test guest under real KVM over an inline VirtioBlk, every MMIO access an exit to this thread: polling and
// interrupts, EVENT_IDX on and off, batches of 1 and 32, a reset in the middle of a batch or not; and the same with
// kicks through an ioeventfd. What the guest checks is in test/guest/guest.s; here its counts are held to ours. Needs
// /dev/kvm.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VIRTIO_MMIO_QUEUE_NOTIFY } from '../../assembly/spec.ts'
import { type GuestParameters, writtenPattern } from '../guest/protocol.ts'
import { type InlineGuest, inlineGuest, isResetting } from '../support/inline-guest.ts'
import { hasKvm } from '../support/kvm-guest.ts'
import { assertPassed, type GuestRun } from '../support/test-guest.ts'

const test = suite('test guest, inline device')

/** Disk and counters after a run on a new disk, no request of which a reset has cut. */
function assertStored(guest: InlineGuest, run: GuestRun): void {
  const { parameters, results } = run
  const pattern = writtenPattern(parameters)
  const start = parameters.startSector * 512
  assert.ok(Buffer.from(pattern).equals(guest.content.subarray(start, start + pattern.length)), 'pattern')
  assert.not.ok(
    guest.content.subarray(0, start).some((byte) => byte !== 0),
    'before',
  )
  assert.not.ok(
    guest.content.subarray(start + pattern.length).some((byte) => byte !== 0),
    'behind',
  )
  const { counters } = guest.disk
  // Kicks of an eventfd add up, and one may be left over from before a reset.
  if (!guest.device.kickFds) assert.is(Number(counters.kicks), results.kicks)
  assert.is(Number(counters.writesCompleted), parameters.requests / 2)
  assert.is(Number(counters.ioErrors), 2)
  assert.is(Number(counters.unsupported), 1)
  assert.is(Number(counters.resets), 1 + 2 * parameters.resets)
  if (!parameters.interrupts) assert.is(Number(counters.interrupts), 0)
  assert.equal(guest.failures, [])
}

function name({ interrupts, eventIdx, batch, resets }: Partial<GuestParameters>): string {
  const words = [interrupts ? 'interrupts' : 'polling', `EVENT_IDX ${eventIdx ? 'on' : 'off'}`, `batch ${batch}`]
  return [...words, ...(resets ? ['reset in the middle'] : [])].join(', ')
}

/** The matrix of runs. */
const matrix = [false, true].flatMap((interrupts) =>
  [false, true].flatMap((eventIdx) =>
    [1, 32].flatMap((batch) => [0, 2].map((resets) => ({ interrupts, eventIdx, batch, resets }))),
  ),
)

async function withGuest(body: (guest: InlineGuest) => void, options?: Parameters<typeof inlineGuest>[0]) {
  const guest = await inlineGuest(options)
  try {
    body(guest)
  } finally {
    await guest.close()
  }
}

if (hasKvm()) {
  for (const mode of matrix) {
    test(`${name(mode)} -> every check of the guest passes, exits are its register accesses`, async () => {
      await withGuest((guest) => {
        const run = guest.run({ ...mode, requests: 128, startSector: 8 })
        assertPassed(run, guest.device)
        assertStored(guest, run)
        // An inline device has carried out everything when the kick returns.
        assert.is(run.results.cutRequests, 0)
        assert.is(run.results.suppressedKicks, 0)
      })
    })
  }

  for (const mode of matrix) {
    test(`${name(mode)}, ioeventfd -> QueueNotify never leaves the guest`, async () => {
      const body = (guest: InlineGuest): void => {
        const run = guest.run({ ...mode, requests: 128 }, { tickMs: 1 })
        assertPassed(run, guest.device)
        assertStored(guest, run)
        assert.is(run.exits.notifies, 0)
        assert.ok(run.results.kicks > 0)
        if (mode.interrupts) assert.ok(run.results.wakeups > 0, 'wake-ups')
        assert.is(run.results.cutRequests, mode.resets * mode.batch)
      }
      await withGuest(body, { ioeventfd: true })
    })
  }

  test('requests of 4 KiB, another seed, line 11 of the second 8259, window elsewhere', async () => {
    await withGuest((guest) => {
      const run = guest.run({ dataBytes: 4096, batch: 5, seed: 99, irq: 11, window: 0xfe001000, requests: 44 })
      assertPassed(run, guest.device)
      assertStored(guest, run)
    })
  })

  test('a ring of exactly three descriptors per slot that wraps many times', async () => {
    await withGuest((guest) => {
      const run = guest.run({ batch: 1, queueSize: 4, requests: 200 })
      assertPassed(run, guest.device)
      assertStored(guest, run)
    })
  })

  test('probe: so many kicks, each one QueueNotify exit and one request', async () => {
    for (const interrupts of [false, true]) {
      await withGuest((guest) => {
        const run = guest.run({ interrupts, probe: true, requests: 100 })
        assertPassed(run, guest.device)
        assert.equal([run.exits.notifies, run.results.kicks, run.results.requests], [100, 100, 100])
        assert.ok(run.longestNotifyMs > 0 && run.notifyMs >= run.longestNotifyMs)
      })
    }
  })

  /** A device that looks at a kick only when the next tick comes: then the guest sleeps, and resets find IO. */
  const late = (guest: InlineGuest) => {
    let pending: (() => void)[] = []
    return {
      write(offset: number, value: number, write: (value: number) => void) {
        if (offset === VIRTIO_MMIO_QUEUE_NOTIFY) pending.push(() => write(value))
        else write(value)
      },
      tick() {
        if (isResetting(guest.memory)) return
        const kicks = pending
        pending = []
        for (const kick of kicks) kick()
        assert.equal(guest.failures, [])
      },
    }
  }

  for (const eventIdx of [false, true]) {
    const mode = { eventIdx, batch: 32, requests: 128, resets: 2 }

    test(`${name({ ...mode, interrupts: true })}, late device -> the guest sleeps and is woken`, async () => {
      const body = (guest: InlineGuest): void => {
        const run = guest.run({ ...mode, interrupts: true }, { tickMs: 2 })
        assertPassed(run, guest.device)
        assert.ok(run.results.wakeups > 0)
        assert.is(run.results.cutRequests, mode.resets * mode.batch)
      }
      await withGuest(body, { hooks: late })
    })

    test(`${name({ ...mode, interrupts: false })}, late device -> the guest polls until it is there`, async () => {
      const body = (guest: InlineGuest): void => {
        const run = guest.run({ ...mode, interrupts: false }, { tickMs: 2 })
        assertPassed(run, guest.device)
        assert.ok(run.results.polls > 0)
        assert.is(run.results.cutRequests, mode.resets * mode.batch)
      }
      await withGuest(body, { hooks: late })
    })
  }
}

test.run()
