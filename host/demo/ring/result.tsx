// How the requests end, as the driver sees it in the end: a line for each with status, used length, and whether an
// interrupt told of it; a ring fault in its own words. At every frame as far as it has come.

import { decisionText } from '../../replay/names.ts'
import { statusText } from './chain.tsx'
import { count } from './kinds.ts'
import type { ChainPicture, Picture } from './walk-types.ts'

/** Of more requests than this the last are shown. */
const SHOWN = 6

export function Result({ picture, isLast }: { picture: Picture; isLast: boolean }) {
  const { requests, counters, registers } = picture
  const shown = requests.slice(-SHOWN)
  const interrupts = counters.interrupts
  const suppressed = counters.suppressedInterrupts
  return (
    <section class={`card result${isLast ? ' is-last' : ''}`} aria-label="Result">
      <h2>{isLast ? 'Result' : 'So far'}</h2>
      {requests.length > SHOWN && (
        <p class="muted small">
          the last {SHOWN} of {requests.length}
        </p>
      )}
      <ul>
        {shown.map((chain) => (
          <li key={`${chain.step}-${chain.head}-${chain.frame}`}>
            <Mark chain={chain} isLast={isLast} /> <span>{answerText(chain, isLast)}</span>
          </li>
        ))}
        {shown.length === 0 && <li class="muted">No request has been taken.</li>}
        {registers.ringFault !== 0 && (
          <li>
            <b class="end bad">!</b>
            <span>
              The queue is poisoned: {decisionText(registers.ringFault)}. NEEDS_RESET is set; only a reset brings the
              device back.
            </span>
          </li>
        )}
      </ul>
      <p class="small">
        {interrupts === 0 ? 'No interrupt' : count(interrupts, 'interrupt')}
        {suppressed > 0 && `; ${count(suppressed, 'publish', 'publishes')} without one`}
      </p>
    </section>
  )
}

function Mark({ chain, isLast }: { chain: ChainPicture; isLast: boolean }) {
  if (chain.state === 'published')
    return <b class={`end ${chain.status === 0 ? 'good' : 'bad'}`}>{chain.status === 0 ? '✓' : '✗'}</b>
  return <b class={`end ${isLast ? 'bad' : 'wait'}`}>{isLast ? '–' : '…'}</b>
}

function answerText(chain: ChainPicture, isLast: boolean): string {
  const what = `Head ${chain.head}${chain.typeName ? `, ${chain.typeName}` : ''}`
  const { state, status, usedLen } = chain
  if (state === 'published' && status !== undefined) {
    return `${what}: status ${statusText(status)}, used length ${usedLen ?? '?'}`
  }
  if (state === 'dropped') return `${what}: dropped, never answered`
  if (isLast) return `${what}: ${state}, not answered`
  return `${what}: ${state}`
}
