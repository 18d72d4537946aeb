// Rates of the Linux view, of counters as a disk would have them at each report; expected values are added up by hand.
// What is made of a recording's steps is in recorded-disk.test.ts.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Activity } from '../../../host/demo/linux/activity.ts'
import { COUNTER_INDEX, type Counters } from '../../../host/engine/state.ts'

const test = suite('linux activity')

const MIB = 1 << 20
const ZERO = Object.fromEntries(Object.keys(COUNTER_INDEX).map((name) => [name, 0])) as unknown as Counters

/** What is shown as bytes written a second, report by report; each is `seconds` and what was written in them. */
function rates(...reports: readonly (readonly [seconds: number, written: number])[]): number[] {
  const activity = new Activity()
  let bytesWritten = 0
  return reports.map(([seconds, written]) => {
    bytesWritten += written
    return activity.report(seconds, { ...ZERO, bytesWritten }, 0).rates.bytesWritten
  })
}

test('rates: 2 MiB at once in a quarter of a second -> 2 MiB a second for four reports, and not 8', () => {
  const quiet = [0.25, 0] as const
  assert.equal(
    rates(quiet, quiet, [0.25, 2 * MIB], quiet, quiet, quiet, quiet).map((rate) => rate / MIB),
    [0, 0, 2, 2, 2, 2, 0],
  )
})

test('rates: the sum of the last four reports of a quarter each', () => {
  assert.equal(rates([0.25, 0], [0.25, 1], [0.25, 2], [0.25, 4], [0.25, 8], [0.25, 16]), [0, 1, 3, 7, 15, 30])
})

test('rates: reports of other lengths -> of the one that began before, the part within the second', () => {
  // Half of the 0.5 s with 100 bytes, then a quarter of it; a report longer than a second is its own average.
  assert.equal(rates([0.25, 0], [0.5, 100], [0.75, 60], [0.125, 8], [2, 300]), [0, 100, 110, 93, 150])
})

test('rates: every count is of the same second, and totals are of all the time', () => {
  const activity = new Activity()
  activity.report(0.5, ZERO, 0)
  const first = { ...ZERO, readsCompleted: 3, writesCompleted: 5, flushesCompleted: 1, bytesRead: 7, throttledCount: 2 }
  activity.report(0.5, first, 0)
  activity.report(0.5, { ...first, readsCompleted: 4 }, 0)
  const { rates: last } = activity.report(0.5, { ...first, readsCompleted: 6, throttledCount: 3 }, 0)
  const { reads, writes, flushes, bytesRead, stalls, totals } = last
  assert.equal([reads, writes, flushes, bytesRead, stalls], [3, 0, 0, 0, 1])
  assert.equal([totals.reads, totals.writes, totals.stalls], [6, 5, 3])
})

test.run()
