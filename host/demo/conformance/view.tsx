// The Conformance view: every rule of the standard checked in this browser, with totals, filters and what was seen; and
// the golden traces. What is shown is in the address; the run itself is use-kit.ts.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { OUTCOMES, type Outcome, totals } from '../../conformance/outcome.ts'
import { ROWS } from '../../conformance/rows.ts'
import type { ViewProps } from '../app.tsx'
import { replaceParams, routeHash } from '../route.ts'
import { download } from '../ui/files.ts'
import { FilterForm } from './filter-form.tsx'
import { type Filters, filtered, filtersOf, paramsOf } from './filters.ts'
import { FlavourSelect } from './flavour-select.tsx'
import { FLAVOURS, type Flavour } from './flavours.ts'
import { GoldenTraces } from './golden.tsx'
import { outcomeWords } from './outcome-words.ts'
import { RuleTable } from './rule-table.tsx'
import { type Kit, useKit } from './use-kit.ts'

const GOLDEN = 'golden'

export default function ConformanceView({ params, isShown }: ViewProps) {
  const kit = useKit()
  const [flavour, setFlavour] = useState<Flavour>(FLAVOURS[0])
  const { filters, wrong } = filtersOf(params)
  const isGolden = params.get('show') === GOLDEN
  // It starts by itself: what this page claims is that the rules hold here, in this browser, and a table without
  // results shows nothing of it. It takes seconds, beside the page, and no network.
  useEffect(() => {
    kit.runAll(flavour)
  }, [])
  return (
    <>
      <div class="conformance-head">
        <h1>Conformance</h1>
        <nav aria-label="Parts of this view">
          <a href={routeHash('conformance', paramsOf(filters))} aria-current={isGolden ? undefined : 'true'}>
            Rules of the standard
          </a>
          <a
            href={routeHash('conformance', { ...paramsOf(filters), show: GOLDEN })}
            aria-current={isGolden ? 'true' : undefined}
          >
            Golden traces
          </a>
        </nav>
      </div>
      {isGolden ? (
        <GoldenTraces />
      ) : (
        <Rules
          params={params}
          isShown={isShown}
          kit={kit}
          filters={filters}
          wrong={wrong}
          flavour={flavour}
          onFlavour={setFlavour}
        />
      )}
    </>
  )
}

interface RulesProps extends ViewProps {
  kit: Kit
  filters: Filters
  wrong: readonly string[]
  flavour: Flavour
  onFlavour: (flavour: Flavour) => void
}

function Rules({ params, isShown, kit, filters, wrong, flavour, onFlavour }: RulesProps) {
  const [text, setText, choose] = useAddress(params, isShown, filters)
  const chosen = { ...filters, q: text }
  const rows = filtered(ROWS, chosen, (id) => kit.results.get(id)?.result)
  return (
    <>
      <p>
        What OASIS VIRTIO 1.3 (for SUSPEND the draft of 1.4) asks of a block device on virtio-mmio and of its driver,
        rule by rule. Each rule is checked here, in this browser, on a device of its own, by the same kit as{' '}
        <code>vblk conformance</code>. Where the rule is the driver’s, the kit breaks it and looks at what the device
        does.
      </p>
      <Run kit={kit} flavour={flavour} onFlavour={onFlavour} filters={chosen} onFilters={choose} />
      {wrong.map((line) => (
        <p key={line} role="alert" class="notice bad">
          {line}
        </p>
      ))}
      <section class="card" aria-label="Rules">
        <FilterForm filters={chosen} onText={setText} onFilters={choose} />
        <RuleTable rows={rows} kit={kit} flavour={flavour} filters={chosen} />
      </section>
    </>
  )
}

/**
 * The text as it is typed, and a way to choose filters. Typing is seen at once; the address follows when it pauses,
 * because browsers limit how often it may change, and only while it is this view's.
 */
function useAddress(
  params: URLSearchParams,
  isShown: boolean,
  filters: Filters,
): [string, (text: string) => void, (filters: Filters) => void] {
  const { q = '' } = filters
  const [text, setText] = useState(q)
  const isOurs = useRef(false)
  const choose = (next: Filters): void => {
    isOurs.current = true
    replaceParams('conformance', paramsOf(next))
  }
  const followed = useRef(params)
  // A link or the back button to other filters, not what was typed since. These run with the drawing and not some time
  // after it: a timer that went off in between would know the filters of before.
  useLayoutEffect(() => {
    if (!isOurs.current && String(params) !== String(followed.current)) setText(q)
    isOurs.current = false
    followed.current = params
  }, [params])
  useLayoutEffect(() => {
    if (text === q || !isShown) return
    const timer = setTimeout(() => choose({ ...filters, q: text }), 300)
    return () => clearTimeout(timer)
  }, [text, params, isShown])
  return [text, setText, choose]
}

function Run(props: Omit<RulesProps, keyof ViewProps | 'wrong'> & { onFilters: (filters: Filters) => void }) {
  const { kit, flavour, onFlavour, filters, onFilters } = props
  const isRunning = kit.doing?.what === 'all'
  const results = ROWS.flatMap(({ id }) => kit.results.get(id)?.result ?? [])
  const counts = totals(results)
  const isComplete = results.length === ROWS.length
  const save = (): void => {
    download('conformance.json', [`${JSON.stringify(results, null, 2)}\n`], 'application/json')
  }
  const toggle = (outcome: Outcome): void => {
    const { outcome: before, ...others } = filters
    onFilters(before === outcome ? others : { ...others, outcome })
  }
  return (
    <section class="card" aria-label="Run">
      <div class="toolbar">
        <FlavourSelect flavour={flavour} onFlavour={onFlavour} isDisabled={kit.doing !== undefined} />
        {isRunning ? (
          <button type="button" class="danger" onClick={kit.cancel}>
            Stop
          </button>
        ) : (
          <button
            type="button"
            class="primary"
            disabled={kit.doing !== undefined}
            onClick={() => void kit.runAll(flavour)}
          >
            Run all
          </button>
        )}
        <button type="button" disabled={isRunning || !isComplete} onClick={save}>
          Download JSON
        </button>
      </div>
      <div class="run-state">
        <p role="status">{isRunning ? `Checking on the ${kit.doing?.flavour} flavour …` : kit.verdict}</p>
        {isRunning && (
          <>
            <progress aria-label="Rules checked" max={ROWS.length} value={results.length} />
            <span class="small muted">
              {results.length} of {ROWS.length}, {ROWS.length - results.length} waiting for their turn
            </span>
          </>
        )}
      </div>
      {kit.error !== undefined && (
        <p role="alert" class="notice bad">
          {kit.error}
        </p>
      )}
      <fieldset class="outcomes">
        <legend>Totals; press one to see its rules only</legend>
        {OUTCOMES.map((outcome) => (
          <button
            key={outcome}
            type="button"
            class={`outcome ${classOf(outcome, counts[outcome])}`}
            aria-pressed={filters.outcome === outcome}
            onClick={() => toggle(outcome)}
          >
            <strong>{counts[outcome]}</strong> {outcomeWords(outcome)}
          </button>
        ))}
      </fieldset>
    </section>
  )
}

function classOf(outcome: Outcome, count: number): string {
  if (count === 0) return 'none'
  if (outcome === 'passed') return 'good'
  return outcome === 'failed' ? 'bad' : ''
}
