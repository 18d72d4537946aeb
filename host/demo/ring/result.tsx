// How the requests end, as the driver sees it in the end: a line for each with status, used length, and whether an
// interrupt told of it; a ring fault in its own words. At every frame as far as it has come.

import { decisionText } from '../../replay/names.ts'
import { statusText } from './chain.tsx'
import { count } from './kinds.ts'
import type { ChainPicture, Picture } from './model/walk-types.ts'

/** Of more requests than this the last are shown. */
const SHOWN = 4

export function Result({ picture, isLast }: { picture: Picture; isLast: boolean }) {
  const { requests, counters, registers } = picture
  const shown = requests.slice(-SHOWN)
  const left = leftOf(picture)
  const interrupts = counters.interrupts
  return (
    <section class={`card result${isLast ? ' is-last' : ''}`} aria-label="Result">
      <h2>{isLast ? 'Result' : 'So far'}</h2>
      <ul>
        {shown.length === 0 && <li class="muted">no request has been taken</li>}
        {requests.length > SHOWN && <li class="muted">… earlier requests</li>}
        {shown.map((chain) => (
          <li key={`${chain.step}-${chain.head}-${chain.frame}`}>
            <Mark chain={chain} isLast={isLast} /> <span>{answerText(chain, isLast)}</span>
          </li>
        ))}
        {isLast && left > 0 && (
          <li>
            <b class="end bad">–</b> <span>{count(left, 'entry', 'entries')} of the avail ring left as they are</span>
          </li>
        )}
        {registers.ringFault !== 0 && (
          <li>
            <b class="end bad">!</b>{' '}
            <span>Queue poisoned: {decisionText(registers.ringFault)}. NEEDS_RESET is set</span>
          </li>
        )}
        <li>
          <b class={`end ${interrupts === 0 ? 'wait' : 'good'}`}>I</b> <span>{interruptsText(picture)}</span>
        </li>
      </ul>
    </section>
  )
}

function interruptsText({ counters: { interrupts, suppressedInterrupts } }: Picture): string {
  const raised = interrupts === 0 ? 'no interrupt' : count(interrupts, 'interrupt')
  if (suppressedInterrupts === 0) return raised
  return `${raised}, ${count(suppressedInterrupts, 'publish', 'publishes')} without one`
}

/** Entries that the driver has offered and the device has not taken. */
function leftOf({ queue }: Picture): number {
  const idx = queue?.avail?.idx.value
  return queue === undefined || idx === undefined ? 0 : (idx - queue.nextAvail) & 0xffff
}

function Mark({ chain, isLast }: { chain: ChainPicture; isLast: boolean }) {
  if (chain.state === 'published')
    return <b class={`end ${chain.status === 0 ? 'good' : 'bad'}`}>{chain.status === 0 ? '✓' : '✗'}</b>
  const isOver = isLast || chain.state === 'dropped'
  return <b class={`end ${isOver ? 'bad' : 'wait'}`}>{isOver ? '–' : '…'}</b>
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
