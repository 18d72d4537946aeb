// The test guest under real KVM over a disk on a worker's thread, the way a VMM embeds it: the guest's thread makes
// register accesses only, the worker does the IO, interrupts come by irqfd, and kicks by MMIO exits or by ioeventfd.
// Polling and interrupts, EVENT_IDX on and off, batches of 1 and 32, a reset in the middle of a batch or not. Needs
// /dev/kvm.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { writtenPattern } from '../guest/protocol.ts'
import { hasKvm } from '../support/kvm-guest.ts'
import { assertPassed, type GuestRun } from '../support/test-guest.ts'
import { type WorkerGuest, withWorkerGuest } from '../support/worker-guest.ts'

const test = suite('test guest, disk on a worker')

/** What the worker did is what the guest asked for. */
function assertServed({ disk, failures, script }: WorkerGuest, { parameters, results }: GuestRun): void {
  const pattern = writtenPattern(parameters)
  const start = parameters.startSector * 512
  assert.ok(Buffer.from(pattern).equals(script.data.disk.subarray(start, start + pattern.length)), 'the disk')
  const { counters } = disk
  // The one after the end, the malformed one and the unknown type; reads and writes that a reset cut are not counted.
  assert.equal([counters.ioErrors, counters.unsupported], [2, 1])
  assert.is(counters.resets, 1 + 2 * parameters.resets)
  assert.is(counters.kicks + counters.ignoredKicks, results.kicks)
  assert.equal(failures, [])
  assert.equal(disk.failures, { workerDeaths: 0, fullEventfds: 0, eventfdErrors: 0, timerErrors: 0 })
}

const matrix = [false, true].flatMap((interrupts) =>
  [false, true].flatMap((eventIdx) =>
    [1, 32].flatMap((batch) =>
      [0, 2].flatMap((resets) =>
        [false, true].map((ioeventfd) => ({ interrupts, eventIdx, batch, resets, ioeventfd })),
      ),
    ),
  ),
)

if (hasKvm()) {
  for (const { ioeventfd, ...mode } of matrix) {
    const words = [
      mode.interrupts ? 'interrupts' : 'polling',
      `EVENT_IDX ${mode.eventIdx ? 'on' : 'off'}`,
      `batch ${mode.batch}`,
      ...(mode.resets > 0 ? ['reset in the middle'] : []),
      ioeventfd ? 'ioeventfd' : 'exits',
    ]
    test(`device rules 4 to 7, 13, 18: ${words.join(', ')} -> every check of the guest passes`, async () => {
      await withWorkerGuest(ioeventfd, (guest) => {
        const run = guest.run({ ...mode, requests: 128, startSector: 8 })
        assertPassed(run, guest.device)
        assertServed(guest, run)
        if (ioeventfd) assert.is(run.exits.notifies, 0)
        else assert.is(run.exits.notifies, run.results.kicks)
      })
    })
  }

  test('back end that takes 20 ms a request -> the guest sleeps meanwhile, and every check passes', async () => {
    await withWorkerGuest(true, (guest) => {
      guest.script.slowMs = 20
      const run = guest.run({ batch: 4, requests: 16 })
      assertPassed(run, guest.device)
      assertServed(guest, run)
      assert.ok(run.results.wakeups > 0)
    })
  })
}

test.run()
