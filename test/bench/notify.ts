// What a vCPU pays for a disk, under real KVM, with the test guest: how long its thread is away for a QueueNotify, with
// a back end that answers at once and one that takes 200 ms a request; and how many exits a request costs, with kicks
// as MMIO exits and by ioeventfd. The device is a disk on a worker's thread; for comparison, one inline.
//
// `node build/test/bench/notify.js`. Needs /dev/kvm.

import { type InlineGuest, inlineGuest } from '../support/inline-guest.ts'
import { hasKvm } from '../support/kvm-guest.ts'
import { assertPassed } from '../support/test-guest.ts'
import { type WorkerGuest, withWorkerGuest } from '../support/worker-guest.ts'

const KICKS = 20
const SLOW_MS = 200

const row = (...cells: (string | number)[]): void => {
  console.log(cells.map((cell, i) => String(cell)[i === 0 ? 'padEnd' : 'padStart'](i === 0 ? 44 : 12)).join(''))
}

const ms = (value: number): string => `${value.toFixed(3)} ms`

function nap(delayMs: number): void {
  if (delayMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs)
}

function probe(guest: InlineGuest | WorkerGuest): number {
  const run = guest.run({ probe: true, requests: KICKS }, { limitMs: 60_000 })
  assertPassed(run, guest.device)
  return run.longestNotifyMs
}

async function notifies(): Promise<void> {
  row(`longest QueueNotify exit of ${KICKS}`, 'back end', '0 ms', `${SLOW_MS} ms`)
  const inline: number[] = []
  for (const delayMs of [0, SLOW_MS]) {
    const guest = await inlineGuest({
      backend: (disk) => ({
        capacityBytes: disk.capacityBytes,
        inPlace: true,
        read: (offset, into) => {
          nap(delayMs)
          return disk.read(offset, into)
        },
        write: (offset, from) => {
          nap(delayMs)
          return disk.write(offset, from)
        },
        flush: () => {},
      }),
    })
    inline.push(probe(guest))
    await guest.close()
  }
  row('inline, MMIO exit', '', ...inline.map(ms))
  const worker: number[] = []
  for (const delayMs of [0, SLOW_MS]) {
    await withWorkerGuest(false, (guest) => {
      guest.script.slowMs = delayMs
      worker.push(probe(guest))
    })
  }
  row('worker, MMIO exit', '', ...worker.map(ms))
  row('worker, ioeventfd', '', 'no exit', 'no exit')
}

async function exits(): Promise<void> {
  console.log('')
  row('MMIO exits per request, worker', 'batch', 'MMIO kicks', 'ioeventfd', 'of them QueueNotify')
  for (const interrupts of [false, true]) {
    for (const batch of [1, 32]) {
      const cells: string[] = []
      const kicks: string[] = []
      for (const ioeventfd of [false, true]) {
        await withWorkerGuest(ioeventfd, (guest) => {
          const run = guest.run({ interrupts, batch, requests: 512 })
          assertPassed(run, guest.device)
          // Bringing the device up costs the same each time.
          const all = run.exits.mmioReads + run.exits.mmioWrites
          cells.push((all / run.results.requests).toFixed(2))
          kicks.push((run.exits.notifies / run.results.requests).toFixed(2))
        })
      }
      row(interrupts ? 'interrupts' : 'polling', batch, ...cells, kicks.join(' / '))
    }
  }
}

if (hasKvm()) {
  await notifies()
  await exits()
}
