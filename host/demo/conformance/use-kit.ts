// The state of a run: results by rule as they come, what is going on, and the ways to start, cancel and repeat.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Result } from '../../conformance/outcome.ts'
import { ROWS } from '../../conformance/rows.ts'
import { openTrace } from '../open-trace.ts'
import type { Flavour } from './flavours.ts'
import { Cancelled, KitWorker } from './kit-worker.ts'
import { outcomeWords } from './outcome-words.ts'

export interface Checked {
  readonly result: Result
  readonly flavour: Flavour
}

export interface KitState {
  readonly results: ReadonlyMap<string, Checked>
  /** what is being done */
  readonly doing:
    | { readonly what: 'all' | 'one' | 'record'; readonly flavour: Flavour; readonly id?: string }
    | undefined
  /** how the last run of all rules ended */
  readonly verdict: string
  /** how the last thing done with one rule ended */
  readonly said: { readonly id: string; readonly text: string } | undefined
  readonly error: string | undefined
}

export interface Kit extends KitState {
  runAll(flavour: Flavour): Promise<void>
  cancel(): void
  runOne(id: string, flavour: Flavour): Promise<void>
  /** Checks the rule again on a recorded device, and opens the recording in the Ring view. */
  open(id: string, flavour: Flavour): Promise<void>
}

const NOTHING_SAID = { verdict: '', said: undefined, error: undefined }

/** Results come by the hundred: the table is drawn at most so often. */
const DRAW_MS = 80

export function useKit(): Kit {
  const [state, setState] = useState<KitState>({ results: new Map(), doing: undefined, ...NOTHING_SAID })
  const worker = useMemo(() => new KitWorker(), [])
  const results = useRef(new Map<string, Checked>())
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const change = (part: Partial<KitState>): void => setState((before) => ({ ...before, ...part }))

  const draw = (): void => {
    clearTimeout(timer.current)
    timer.current = undefined
    change({ results: new Map(results.current) })
  }
  const take = (result: Result, flavour: Flavour): void => {
    results.current.set(result.id, { result, flavour })
    timer.current ??= setTimeout(draw, DRAW_MS)
  }
  useEffect(
    () => () => {
      clearTimeout(timer.current)
      worker.close()
    },
    [worker],
  )

  /** One thing at a time; `work` says how it ended. */
  const perform = async (doing: NonNullable<KitState['doing']>, work: () => Promise<string>): Promise<void> => {
    const { id } = doing
    change({ doing, said: undefined, error: undefined, ...(id === undefined && NOTHING_SAID) })
    let text = ''
    let error: string | undefined
    try {
      text = await work()
    } catch (reason) {
      if (reason instanceof Cancelled) text = stopped(results.current.size)
      else error = reason instanceof Error ? reason.message : String(reason)
    }
    draw()
    change({ doing: undefined, error, ...(id === undefined ? { verdict: text } : { said: { id, text } }) })
  }

  return {
    ...state,
    cancel: () => worker.cancel(),
    runAll: (flavour) =>
      perform({ what: 'all', flavour }, async () => {
        const start = performance.now()
        results.current.clear()
        await worker.perform({ kind: 'run', flavour }, (answer) => {
          if (answer.kind === 'result') take(answer.result, flavour)
        })
        return verdict([...results.current.values()], flavour, (performance.now() - start) / 1000)
      }),
    runOne: (id, flavour) =>
      perform({ what: 'one', flavour, id }, async () => {
        let outcome = ''
        await worker.perform({ kind: 'run', flavour, id }, (answer) => {
          if (answer.kind !== 'result') return
          take(answer.result, flavour)
          outcome = outcomeWords(answer.result.outcome)
        })
        return `On the ${flavour} flavour: ${outcome}.`
      }),
    open: (id, flavour) =>
      perform({ what: 'record', flavour, id }, async () => {
        let text = 'The check used no device: there is nothing to open.'
        await worker.perform({ kind: 'record', flavour, id }, (answer) => {
          if (answer.kind !== 'recorded') return
          const { result, recording } = answer
          take(result, flavour)
          if (recording === undefined) return
          text = 'It is open in the Ring view.'
          openTrace(recording.file, { title: `Check ${id}: ${result.outcome}`, at: recording.at })
        })
        return text
      }),
  }
}

function verdict(all: readonly Checked[], flavour: Flavour, seconds: number): string {
  const failed = all.filter(({ result }) => result.outcome === 'failed').length
  const end = failed === 0 ? 'Nothing failed.' : `${failed} failed.`
  return `All ${all.length} rules checked on the ${flavour} flavour in ${seconds.toFixed(1)} s. ${end}`
}

function stopped(count: number): string {
  return `Stopped after ${count} of ${ROWS.length} rules. What was checked stays.`
}
