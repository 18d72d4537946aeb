// What the charts of the Linux view are given, and the table that says the same, of samples written by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CHARTS, dataOf, figuresOf, type Sample } from '../../../host/demo/linux/chart-data.ts'
import type { Statistics } from '../../../host/demo/linux/messages.ts'
import type { ThrottleOptions } from '../../../host/device/throttle.ts'

const test = suite('linux chart data')

function sample(time: number, given: Partial<Statistics>, limits: ThrottleOptions): Sample {
  const rates = { reads: 0, writes: 0, flushes: 0, bytesRead: 0, bytesWritten: 0, stalls: 0, inFlight: 0 }
  return { time, statistics: { ...rates, ...given } as Statistics, limits }
}

const SAMPLES = [
  sample(1, { bytesWritten: 2 << 20, writes: 5, inFlight: 3 }, {}),
  sample(1.25, { bytesWritten: 1 << 20, writes: 2 }, { bytesPerSecond: 1048576n, iops: 20 }),
  sample(1.5, { bytesRead: 512, reads: 1, stalls: 4 }, { bytesPerSecond: 524288n }),
]

function chart(title: string) {
  const found = CHARTS.find((one) => one.title === title)
  assert.ok(found)
  return found
}

test('lines: the limit in force at each sample comes last; none -> a gap', () => {
  assert.equal(dataOf(chart('Bytes a second'), SAMPLES), [
    [1, 1.25, 1.5],
    [0, 0, 512],
    [2097152, 1048576, 0],
    [null, 1048576, 524288],
  ])
  assert.equal(dataOf(chart('Requests a second'), SAMPLES).at(-1), [null, 20, null])
  assert.equal(dataOf(chart('Stalls a second'), SAMPLES), [
    [1, 1.25, 1.5],
    [0, 0, 4],
  ])
})

test('table: every line, and the limits there were', () => {
  assert.equal(
    figuresOf(SAMPLES).map(({ name, now, most }) => `${name}: ${now}, ${most}`),
    [
      'Requests a second: reads: 1, 1',
      'Requests a second: writes: 0, 5',
      'Requests a second: flushes: 0, 0',
      'Requests a second: limit, all together: none, 20',
      'Bytes a second: read: 512 B, 512 B',
      'Bytes a second: written: 0 B, 2 MiB',
      'Bytes a second: limit, all together: 512 KiB, 1 MiB',
      'Requests in flight, at most: 0, 3',
      'Stalls a second: 4, 4',
    ],
  )
})

test('table: no limits, or nothing yet -> no rows of limits', () => {
  for (const samples of [[], SAMPLES.slice(0, 1)]) {
    const names = figuresOf(samples).map(({ name }) => name)
    assert.is(names.length, 7)
    assert.not.ok(names.some((name) => name.includes('limit')))
  }
})

test.run()
