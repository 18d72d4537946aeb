// What the charts of the Linux view show, as numbers and words: lines, the limit in force, and the rows of the table
// that says the same. Portable; how it is drawn is in charts.tsx.

import type { ThrottleOptions } from '../../device/throttle.ts'
import { bytesText, count } from './format.ts'
import type { Statistics } from './messages.ts'

interface Line {
  readonly label: string
  /** a custom property of the style sheet */
  readonly colour: string
  readonly value: (statistics: Statistics) => number
}

export interface Chart {
  readonly title: string
  /** says so while a request waits for tokens */
  readonly waits?: boolean
  readonly unit: (value: number) => string
  /** the scale's end, at or above a value: one that can be read, and its half too */
  readonly scale: (value: number) => number
  readonly lines: readonly Line[]
  /** what all lines together are held to; undefined: nothing */
  readonly limit?: (limits: ThrottleOptions) => ThrottleOptions[keyof ThrottleOptions]
}

function countScale(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 2)))
  return ([1, 2, 4, 6, 8, 10].find((digit) => digit * power >= Math.max(value, 2)) ?? 10) * power
}

function bytesScale(value: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(value, 2048)))
}

export const CHARTS: readonly Chart[] = [
  {
    title: 'Requests a second',
    unit: count,
    scale: countScale,
    limit: ({ iops }) => iops,
    lines: [
      { label: 'reads', colour: '--load', value: ({ reads }) => reads },
      { label: 'writes', colour: '--store', value: ({ writes }) => writes },
      { label: 'flushes', colour: '--decision', value: ({ flushes }) => flushes },
    ],
  },
  {
    title: 'Bytes a second',
    unit: bytesText,
    scale: bytesScale,
    limit: ({ bytesPerSecond }) => bytesPerSecond,
    lines: [
      { label: 'read', colour: '--load', value: ({ bytesRead }) => bytesRead },
      { label: 'written', colour: '--store', value: ({ bytesWritten }) => bytesWritten },
    ],
  },
  {
    title: 'Requests in flight, at most',
    unit: count,
    scale: countScale,
    lines: [{ label: 'in flight', colour: '--accent', value: ({ inFlight }) => inFlight }],
  },
  {
    title: 'Stalls a second',
    waits: true,
    unit: count,
    scale: countScale,
    lines: [{ label: 'stalls', colour: '--wait', value: ({ stalls }) => stalls }],
  },
]

export const WINDOW_SECONDS = 60

/** Of the sum: no line of its own reaches it while there are others. */
export const LIMIT_LABEL = 'limit, all together'

export interface Sample {
  /** seconds */
  readonly time: number
  readonly statistics: Statistics
  /** in force then */
  readonly limits: ThrottleOptions
}

/** The limit in force when a sample was taken, for a line; null: none. */
export function limitAt({ limit }: Chart, sample: Sample | undefined): number | null {
  const value = sample && limit?.(sample.limits)
  return value === undefined ? null : Number(value)
}

/** For uPlot: times, then each line, then the limit if there can be one. */
export function dataOf(chart: Chart, samples: readonly Sample[]): [number[], ...(number | null)[][]] {
  return [
    samples.map(({ time }) => time),
    ...chart.lines.map(({ value }) => samples.map(({ statistics }) => value(statistics))),
    ...(chart.limit ? [samples.map((sample) => limitAt(chart, sample))] : []),
  ]
}

interface Figure {
  readonly name: string
  readonly now: string
  readonly most: string
}

/** All lines of all charts; limits, where there was one. */
export function figuresOf(samples: readonly Sample[]): Figure[] {
  const last = samples.at(-1)
  return CHARTS.flatMap((chart) => {
    const { title, unit, lines } = chart
    const figures = lines.map(({ label, value }) => ({
      name: lines.length > 1 ? `${title}: ${label}` : title,
      now: unit(last ? value(last.statistics) : 0),
      most: unit(samples.reduce((max, { statistics }) => Math.max(max, value(statistics)), 0)),
    }))
    const limits = samples.map((sample) => limitAt(chart, sample)).filter((limit) => limit !== null)
    if (limits.length === 0) return figures
    const present = limitAt(chart, last)
    const now = present === null ? 'none' : unit(present)
    return [...figures, { name: `${title}: ${LIMIT_LABEL}`, now, most: unit(limits.reduce((a, b) => Math.max(a, b))) }]
  })
}
