// What the disk is doing, in four charts of the last minute, and the same as text: the present value stands above each
// chart, and a table has all of them for who cannot see the lines. Colours are the page's, light or dark. The numbers
// are chart-data.ts's.

import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { useScheme } from '../ui/theme.tsx'
import {
  CHARTS,
  type Chart,
  dataOf,
  figuresOf,
  LIMIT_LABEL,
  limitAt,
  type Sample,
  WINDOW_SECONDS,
} from './chart-data.ts'

export function Charts({ samples }: { samples: readonly Sample[] }) {
  return (
    <section class="card charts" aria-label="Activity of the disk">
      <h2>
        Activity <span class="muted small">of the last minute</span>
      </h2>
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
  const limit = limitAt(chart, samples.at(-1))

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
          {limit !== null && (
            <span>
              <i class="limit" aria-hidden="true" />
              {LIMIT_LABEL} <b class="num">{chart.unit(limit)}</b>
            </span>
          )}
          {chart.waits && last?.isWaiting && <span class="tag wait">a request waits</span>}
        </span>
      </figcaption>
      <div ref={place} class="chart" aria-hidden="true" />
    </figure>
  )
}

function Figures({ samples }: { samples: readonly Sample[] }) {
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
        {figuresOf(samples).map(({ name, now, most }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="num">{now}</td>
            <td class="num">{most}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** The style sheet's colour as a canvas knows it: custom properties with light-dark() are resolved by being used. */
function colourOf(name: string, element: HTMLElement): string {
  const probe = element.appendChild(document.createElement('span'))
  probe.style.color = `var(${name})`
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

function optionsOf({ lines, unit, scale, limit }: Chart, element: HTMLElement): uPlot.Options {
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
      ...(limit
        ? [
            {
              label: LIMIT_LABEL,
              stroke: colourOf('--bad', element),
              width: 1.5,
              dash: [6, 4],
              points: { show: false },
            },
          ]
        : []),
    ],
  }
}
