// What the disk is doing, in four charts of the last minute, and the same as text: the present value stands above each
// chart, and a table has all of them for who cannot see the lines. Colours are the page's, light or dark.

import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { useScheme } from '../ui/theme.tsx'
import { bytesText, count } from './format.ts'
import type { Statistics } from './messages.ts'

interface Line {
  readonly label: string
  /** a custom property of the style sheet */
  readonly colour: string
  readonly value: (statistics: Statistics) => number
}

interface Chart {
  readonly title: string
  /** says so while a request waits for tokens */
  readonly waits?: boolean
  readonly unit: (value: number) => string
  /** the scale's end, at or above a value: one that can be read, and its half too */
  readonly scale: (value: number) => number
  readonly lines: readonly Line[]
}

function countScale(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 2)))
  return ([1, 2, 4, 6, 8, 10].find((digit) => digit * power >= Math.max(value, 2)) ?? 10) * power
}

function bytesScale(value: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(value, 2048)))
}

const CHARTS: readonly Chart[] = [
  {
    title: 'Requests a second',
    unit: count,
    scale: countScale,
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

export interface Sample {
  /** seconds */
  readonly time: number
  readonly statistics: Statistics
}

export function Charts({ samples }: { samples: readonly Sample[] }) {
  return (
    <section class="card charts" aria-label="Activity of the disk">
      <h2>Activity</h2>
      <div class="chart-grid">
        {CHARTS.map((chart) => (
          <ChartFigure key={chart.title} chart={chart} samples={samples} />
        ))}
      </div>
      <details>
        <summary>As a table</summary>
        <Figures samples={samples} />
      </details>
    </section>
  )
}

function ChartFigure({ chart, samples }: { chart: Chart; samples: readonly Sample[] }) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const scheme = useScheme()
  const last = samples.at(-1)?.statistics

  // Once more for other colours.
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const made = new uPlot(optionsOf(chart, element), dataOf(chart, samples), element)
    plot.current = made
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height: element.clientHeight })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [scheme])

  useEffect(() => {
    plot.current?.setData(dataOf(chart, samples))
  }, [samples])

  return (
    <figure>
      <figcaption>
        <span>{chart.title}</span>
        <span class="legend">
          {chart.lines.map(({ label, colour, value }) => (
            <span key={label}>
              <i style={{ background: `var(${colour})` }} aria-hidden="true" />
              {label} <b class="num">{last ? chart.unit(value(last)) : '–'}</b>
            </span>
          ))}
          {chart.waits && last?.isWaiting && <span class="tag wait">a request waits</span>}
        </span>
      </figcaption>
      <div ref={place} class="chart" aria-hidden="true" />
    </figure>
  )
}

function Figures({ samples }: { samples: readonly Sample[] }) {
  const last = samples.at(-1)?.statistics
  const rows = CHARTS.flatMap(({ title, unit, lines }) =>
    lines.map(({ label, value }) => {
      const most = samples.reduce((max, { statistics }) => Math.max(max, value(statistics)), 0)
      return { name: lines.length > 1 ? `${title}: ${label}` : title, now: last ? value(last) : 0, most, unit }
    }),
  )
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">What</th>
          <th scope="col" class="num">
            Now
          </th>
          <th scope="col" class="num">
            Most in {WINDOW_SECONDS} s
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ name, now, most, unit }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="num">{unit(now)}</td>
            <td class="num">{unit(most)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function dataOf({ lines }: Chart, samples: readonly Sample[]): uPlot.AlignedData {
  return [
    samples.map(({ time }) => time),
    ...lines.map(({ value }) => samples.map(({ statistics }) => value(statistics))),
  ]
}

/** The style sheet's colour as a canvas knows it: custom properties with light-dark() are resolved by being used. */
function colourOf(name: string, element: HTMLElement): string {
  const probe = element.appendChild(document.createElement('span'))
  probe.style.color = `var(${name})`
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

function optionsOf({ lines, unit, scale }: Chart, element: HTMLElement): uPlot.Options {
  const muted = colourOf('--muted', element)
  const grid = { stroke: colourOf('--line', element), width: 1 }
  return {
    width: Math.max(element.clientWidth, 200),
    height: Math.max(element.clientHeight, 60),
    padding: [8, 4, 8, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: (_, __, max) => [(max ?? 0) - WINDOW_SECONDS, max ?? 0] },
      y: { range: (_, __, max) => [0, scale(max ?? 0)] },
    },
    axes: [
      { show: false },
      {
        stroke: muted,
        grid,
        ticks: { show: false },
        size: 58,
        gap: 4,
        font: '11px system-ui, sans-serif',
        splits: (_, __, min, max) => [min, max / 2, max],
        values: (_, splits) => splits.map((value) => unit(value)),
      },
    ],
    series: [
      {},
      ...lines.map(({ label, colour }) => ({
        label,
        stroke: colourOf(colour, element),
        width: 1.5,
        points: { show: false },
      })),
    ],
  }
}
