// The throttle panel: limits and an offered load, a virtual clock that is stepped or runs, and what comes of it as a
// chart, a sentence and a table. The device behind it is a real one.

import { useEffect, useRef, useState } from 'preact/hooks'
import { Field } from './fields.tsx'
import { count } from './kinds.ts'
import type { ScenarioLimits } from './model/scenario.ts'
import { type Load, ThrottleRun, type ThrottleSample } from './model/throttle-run.ts'
import { ScrollBox } from './scroll-box.tsx'
import { ThrottleChart } from './throttle-chart.tsx'

const FIELDS = [
  ['iops', 'Requests a second', 'no limit'],
  ['iopsBurst', 'Burst of requests', 'one second’s worth'],
  ['bytesPerSecond', 'Bytes a second', 'no limit'],
  ['bytesBurst', 'Burst of bytes', 'one second’s worth'],
] as const
const LOAD_FIELDS = [
  ['requestsPerSecond', 'Requests a second', '0 to 10000'],
  ['requestBytes', 'Bytes of each', 'a multiple of 512'],
  ['readsPercent', 'Reads, percent', '0 to 100'],
] as const

type Name = (typeof FIELDS)[number][0] | (typeof LOAD_FIELDS)[number][0]
type Typed = Readonly<Record<Name, string>>

const BEGIN: Typed = {
  iops: '20',
  iopsBurst: '40',
  bytesPerSecond: '65536',
  bytesBurst: '131072',
  requestsPerSecond: '30',
  requestBytes: '4096',
  readsPercent: '50',
}
/** Of the clock that runs. */
const TICK_MS = 100
const SPEEDS = [1, 5, 20] as const
/** Rows of the table. */
const ROWS = 20
/** A run that nobody watches any more ends there. */
const MILLIS_MAX = 3_600_000

export function Throttle({ isShown }: { isShown: boolean }) {
  const [typed, setTyped] = useState(BEGIN)
  const panel = useRun(typed)
  const { run, messages, isRunning, setRunning } = panel
  const [speed, setSpeed] = useState<number>(1)
  useEffect(() => {
    if (!isRunning || !isShown) return
    const timer = setInterval(() => panel.advance(TICK_MS * speed), TICK_MS)
    return () => clearInterval(timer)
  }, [isRunning, isShown, speed, panel.advance])
  const samples = run?.samples ?? []
  const field = ([name, label, empty]: readonly [Name, string, string]) => (
    <Field
      key={name}
      label={label}
      empty={empty}
      value={typed[name]}
      message={messages[name]}
      onChange={(value) => setTyped({ ...typed, [name]: value })}
    />
  )
  return (
    <div class="throttle">
      <section class="card" aria-label="Throttle, settings">
        <h2>Two token buckets at work</h2>
        <p class="muted small">
          A request costs one operation and its bytes. When a bucket is empty the head of the ring waits, and nothing
          overtakes it. Changes hold at once.
        </p>
        <fieldset>
          <legend>Limits of the disk</legend>
          <div class="form-grid">{FIELDS.map(field)}</div>
        </fieldset>
        <fieldset>
          <legend>What the driver offers</legend>
          <div class="form-grid">{LOAD_FIELDS.map(field)}</div>
        </fieldset>
        <div class="toolbar">
          <button type="button" class="primary" disabled={!run} onClick={() => setRunning(!isRunning)}>
            {isRunning ? 'Pause' : 'Run'}
          </button>
          <button type="button" disabled={!run} onClick={() => panel.step(50)}>
            Step 50 ms
          </button>
          <button type="button" disabled={!run} onClick={() => panel.step(1000)}>
            Step 1 s
          </button>
          <select
            aria-label="Speed of Run"
            value={speed}
            onChange={({ currentTarget }) => setSpeed(Number(currentTarget.value))}
          >
            {SPEEDS.map((times) => (
              <option key={times} value={times}>
                {times === 1 ? 'real time' : `${times} times faster`}
              </option>
            ))}
          </select>
          <button type="button" disabled={!run} onClick={panel.startAnew}>
            Start anew
          </button>
        </div>
      </section>
      <section class="card" aria-label="Throttle, what comes of it">
        <Summary samples={samples} isRunning={isRunning} />
        <ThrottleChart samples={[...samples]} />
        <SampleTable samples={samples} />
      </section>
    </div>
  )
}

/** The run, kept to what is typed as far as that is right. */
function useRun(typed: Typed) {
  const [run, setRun] = useState<ThrottleRun>()
  const [, setMillis] = useState(0)
  const [isRunning, setRunning] = useState(false)
  const [refusal, setRefusal] = useState<Partial<Record<Name, string>>>({})
  const [began, setBegan] = useState(0)
  const { limits, load, messages } = read(typed)
  const latest = useRef({ limits, load })
  if (Object.keys(messages).length === 0) latest.current = { limits, load }
  useEffect(() => {
    let made: ThrottleRun | undefined
    let isWanted = true
    // What is typed is right at first, and afterwards the last that was.
    ThrottleRun.create(latest.current).then((next) => {
      made = next
      if (isWanted) setRun(next)
      else next.close()
    })
    return () => {
      isWanted = false
      made?.close()
    }
  }, [began])
  const text = JSON.stringify([limits, load])
  useEffect(() => {
    if (!run || Object.keys(messages).length > 0) return
    const [nextLimits, nextLoad] = JSON.parse(text) as [ScenarioLimits, Load]
    const refused: Partial<Record<Name, string>> = {}
    try {
      if (JSON.stringify(run.limits) !== JSON.stringify(nextLimits)) run.setLimits(nextLimits)
    } catch (error) {
      const message = (error as Error).message.replace(/^throttle: /, '')
      refused[FIELDS.find(([name]) => message.startsWith(`${name} `))?.[0] ?? 'iops'] = `${message}.`
    }
    try {
      if (JSON.stringify(run.load) !== JSON.stringify(nextLoad)) run.setLoad(nextLoad)
    } catch (error) {
      const message = (error as Error).message.replace(/^throttle run: /, '')
      refused[LOAD_FIELDS.find(([name]) => message.startsWith(name))?.[0] ?? 'readsPercent'] = `${message}.`
    }
    setRefusal(refused)
  }, [run, text, Object.keys(messages).length])
  const [advance] = useState(() => (millis: number) => {
    setRun((now) => {
      if (now && now.millis + millis <= MILLIS_MAX) {
        now.advance(millis)
        setMillis(now.millis)
      } else {
        setRunning(false)
      }
      return now
    })
  })
  return {
    run,
    messages: { ...refusal, ...messages },
    isRunning,
    setRunning,
    advance,
    step(millis: number): void {
      setRunning(false)
      advance(millis)
    },
    startAnew(): void {
      setRunning(false)
      setRun(undefined)
      setBegan(began + 1)
    },
  }
}

/** Numbers of what is typed; a message for what is none. */
function read(typed: Typed): { limits: ScenarioLimits; load: Load; messages: Partial<Record<Name, string>> } {
  const messages: Partial<Record<Name, string>> = {}
  const number = (name: Name, isNeeded: boolean): number | undefined => {
    const text = typed[name].trim()
    if (text === '' && !isNeeded) return undefined
    const value = text === '' ? Number.NaN : Number(text)
    if (!Number.isFinite(value)) messages[name] = isNeeded ? 'A number is needed here.' : 'A number, or nothing.'
    return value
  }
  const limits: Record<string, number> = {}
  for (const [name] of FIELDS) {
    const value = number(name, false)
    if (value !== undefined) limits[name] = value
  }
  const load = {
    requestsPerSecond: number('requestsPerSecond', true) ?? 0,
    requestBytes: number('requestBytes', true) ?? 512,
    reads: (number('readsPercent', true) ?? 0) / 100,
  }
  return { limits, load, messages }
}

/** Of requests a part is worth showing, of bytes it is not. */
function balanceText(balance: number | undefined, what: string, maximumFractionDigits: number): string | undefined {
  if (balance === undefined) return undefined
  return `${balance.toLocaleString('en', { maximumFractionDigits })} ${what}`.trim()
}

function Summary({ samples, isRunning }: { samples: readonly ThrottleSample[]; isRunning: boolean }) {
  const last = samples.at(-1)
  if (!last) return <p>Starting …</p>
  const waiting = last.waiting + last.backlog
  const balances = [balanceText(last.opsBalance, 'requests', 2), balanceText(last.bytesBalance, 'bytes', 0)].filter(
    Boolean,
  )
  return (
    <p class="summary" role={isRunning ? undefined : 'status'}>
      <strong>At {(last.millis / 1000).toFixed(2)} s</strong>: {last.completedTotal.toLocaleString('en')} of{' '}
      {count(last.offeredTotal, 'request')} completed, {count(last.bytesTotal, 'byte')}; {waiting} waiting.{' '}
      {last.isStalled ? `The head waits another ${Math.round(last.waitMillis)} ms. ` : 'No head waits. '}
      {balances.length > 0 ? `Balance: ${balances.join(', ')}. ` : 'No limits. '}
      Stalled {(last.stalledMillisTotal / 1000).toFixed(2)} s in all.
    </p>
  )
}

function SampleTable({ samples }: { samples: readonly ThrottleSample[] }) {
  return (
    <details class="small">
      <summary>The last {ROWS} samples as a table</summary>
      <ScrollBox label="Samples">
        <table class="samples">
          <thead>
            <tr>
              {['time', 'requests left', 'bytes left', 'head', 'completed', 'bytes', 'refused', 'waiting'].map(
                (name) => (
                  <th key={name} class="num" scope="col">
                    {name}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {samples.slice(-ROWS).map((sample) => (
              <tr key={sample.millis}>
                <td class="num">{(sample.millis / 1000).toFixed(2)} s</td>
                <td class="num">{balanceText(sample.opsBalance, '', 2) ?? '–'}</td>
                <td class="num">{balanceText(sample.bytesBalance, '', 0) ?? '–'}</td>
                <td class="num">{sample.isStalled ? `waits ${Math.round(sample.waitMillis)} ms` : 'free'}</td>
                <td class="num">{sample.completions}</td>
                <td class="num">{sample.bytes}</td>
                <td class="num">{sample.refusals}</td>
                <td class="num">{sample.waiting + sample.backlog}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollBox>
    </details>
  )
}
