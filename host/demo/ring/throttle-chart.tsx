// The charts of the throttle panel: the balance of both buckets with stalls shaded, and what was completed, refused or
// waits. Drawn by uPlot, which is loaded with the first chart. What is drawn stands in the panel's words and table too.

import { useEffect, useRef, useState } from 'preact/hooks'
import type uPlot from 'uplot'
import { useScheme } from '../ui/theme.tsx'
import type { ThrottleSample } from './model/throttle-run.ts'

/** Samples in sight. */
const WINDOW = 400
const BALANCE_HEIGHT = 230
const COUNT_HEIGHT = 150

type Plot = typeof uPlot

export function ThrottleChart({ samples }: { samples: readonly ThrottleSample[] }) {
  const [plot, setPlot] = useState<Plot>()
  const [error, setError] = useState<string>()
  useEffect(() => {
    import('uplot').then(
      (module) => setPlot(() => module.default),
      (reason) => setError(String(reason)),
    )
  }, [])
  if (error) return <p class="notice bad">The charts could not be loaded: {error}. The table below has the numbers.</p>
  if (!plot) return <div class="chart-room" />
  const shown = samples.slice(-WINDOW)
  return (
    <figure class="throttle-charts" aria-label="Charts of the throttle; the same numbers are in the table of samples">
      <Legend />
      <Chart plot={plot} make={balanceOptions} data={balanceData(shown)} samples={shown} height={BALANCE_HEIGHT} />
      <Chart plot={plot} make={countOptions} data={countData(shown)} samples={shown} height={COUNT_HEIGHT} />
    </figure>
  )
}

function Legend() {
  return (
    <figcaption class="chart-keys small">
      <span>
        <i class="chart-key ops" /> balance, requests (left)
      </span>
      <span>
        <i class="chart-key bytes" /> balance, bytes (right)
      </span>
      <span>
        <i class="chart-key stalled" /> the head waits
      </span>
      <span>
        <i class="chart-key done" /> completed in the interval (left)
      </span>
      <span>
        <i class="chart-key waiting" /> waiting (right)
      </span>
    </figcaption>
  )
}

interface Colours {
  readonly text: string
  readonly grid: string
  readonly ops: string
  readonly bytes: string
  readonly stalled: string
  readonly done: string
  readonly waiting: string
}

type Make = (colours: Colours, samples: () => readonly ThrottleSample[], plot: Plot) => Omit<uPlot.Options, 'width'>

interface ChartProps {
  readonly plot: Plot
  readonly make: Make
  readonly data: uPlot.AlignedData
  readonly samples: readonly ThrottleSample[]
  readonly height: number
}

function Chart({ plot, make, data, samples, height }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot>(undefined)
  const latest = useRef(samples)
  latest.current = samples
  const first = useRef(data)
  first.current = data
  const scheme = useScheme()
  useEffect(() => {
    const element = box.current
    if (!element) return
    const options = make(coloursOf(element), () => latest.current, plot)
    const made = new plot({ ...options, width: element.clientWidth, height }, first.current, element)
    chart.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [plot, make, height, scheme])
  useEffect(() => chart.current?.setData(data), [data])
  return <div class="throttle-chart" ref={box} style={{ height: `${height}px` }} aria-hidden="true" />
}

/** A canvas knows no custom properties. */
function coloursOf(element: Element): Colours {
  const probe = element.appendChild(document.createElement('span'))
  const colour = (name: string): string => {
    probe.style.color = `var(${name})`
    return getComputedStyle(probe).color
  }
  const colours = {
    text: colour('--muted'),
    grid: colour('--line'),
    ops: colour('--load'),
    bytes: colour('--store'),
    stalled: colour('--wait-soft'),
    done: colour('--good'),
    waiting: colour('--decision'),
  }
  probe.remove()
  return colours
}

function axis(colours: Colours, more: uPlot.Axis = {}): uPlot.Axis {
  const line = { stroke: colours.grid, width: 1 }
  return { stroke: colours.text, grid: line, ticks: line, font: '12px system-ui', ...more }
}

const seconds: uPlot.Axis.Values = (_, values) => values.map((value) => `${Number(value.toFixed(2))} s`)

function compact(value: number): string {
  return new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(value)
}

/** There are no parts of a request. */
const WHOLE = [1, 10, 100, 1000, 10_000, 100_000].flatMap((ten) => [ten, 2 * ten, 5 * ten])

/** Before anything has run the first second is in sight. */
const timeScale: uPlot.Scale = {
  time: false,
  // What uPlot hands over of a single sample is a hundred seconds wide already.
  range: ({ data: [times] }) => {
    const first = times[0] ?? 0
    return [first, Math.max(times.at(-1) ?? 0, first + 1)]
  },
}

const balanceOptions: Make = (colours, samples) => ({
  height: BALANCE_HEIGHT,
  legend: { show: false },
  cursor: { show: false },
  scales: { x: timeScale, ops: { range: withZero }, bytes: { range: withZero } },
  axes: [
    axis(colours, { values: seconds }),
    axis(colours, { scale: 'ops', size: 54, values: (_, values) => values.map(compact) }),
    axis(colours, { scale: 'bytes', side: 1, size: 54, grid: { show: false }, values: (_, all) => all.map(compact) }),
  ],
  series: [
    {},
    { scale: 'ops', stroke: colours.ops, width: 2, points: { show: false } },
    { scale: 'bytes', stroke: colours.bytes, width: 2, dash: [6, 4], points: { show: false } },
  ],
  hooks: { drawClear: [(chart) => shadeStalls(chart, samples(), colours.stalled)] },
})

const countOptions: Make = (colours, samples, plot) => ({
  height: COUNT_HEIGHT,
  legend: { show: false },
  cursor: { show: false },
  scales: { x: timeScale, y: { range: withZero }, waiting: { range: withZero } },
  axes: [
    axis(colours, { values: seconds }),
    axis(colours, { scale: 'y', size: 54, incrs: WHOLE }),
    axis(colours, {
      scale: 'waiting',
      side: 1,
      size: 54,
      incrs: WHOLE,
      grid: { show: false },
      values: (_, all) => all.map(compact),
    }),
  ],
  series: [
    {},
    {
      scale: 'y',
      stroke: colours.done,
      fill: colours.done,
      points: { show: false },
      ...(plot.paths.bars && { paths: plot.paths.bars({ size: [0.8], align: -1 }) }),
    },
    { scale: 'waiting', stroke: colours.waiting, width: 2, dash: [2, 3], points: { show: false } },
  ],
  hooks: { drawClear: [(chart) => shadeStalls(chart, samples(), colours.stalled)] },
})

/** The zero of a balance is what matters about it. */
function withZero(_: uPlot, min: number | null, max: number | null): [number, number] {
  const low = Math.min(0, min ?? 0)
  const high = Math.max(low < 0 ? 0 : 1, max ?? 0)
  const room = (high - low) * 0.06
  return [low < 0 ? low - room : 0, high + room]
}

/** A sample says what was so at its end: the interval before it is shaded. */
function shadeStalls({ ctx, bbox, valToPos }: uPlot, samples: readonly ThrottleSample[], colour: string): void {
  ctx.save()
  ctx.fillStyle = colour
  samples.forEach(({ isStalled, millis }, i) => {
    const before = samples[i - 1]
    if (!isStalled || !before) return
    const left = Math.max(valToPos(before.millis / 1000, 'x', true), bbox.left)
    ctx.fillRect(left, bbox.top, valToPos(millis / 1000, 'x', true) - left + 0.5, bbox.height)
  })
  ctx.restore()
}

function times(samples: readonly ThrottleSample[]): number[] {
  return samples.map(({ millis }) => millis / 1000)
}

function balanceData(samples: readonly ThrottleSample[]): uPlot.AlignedData {
  return [
    times(samples),
    samples.map(({ opsBalance }) => opsBalance ?? null),
    samples.map(({ bytesBalance }) => bytesBalance ?? null),
  ]
}

function countData(samples: readonly ThrottleSample[]): uPlot.AlignedData {
  return [
    times(samples),
    samples.map(({ completions }) => completions),
    samples.map(({ waiting, backlog }) => waiting + backlog),
  ]
}
