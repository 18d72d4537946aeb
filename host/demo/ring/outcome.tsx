// What came of what was just kicked, said before anybody has stepped: the first fault, or the first decision if there
// is none, and a way to it. Knows nothing of how the requests were built.

import { useMemo } from 'preact/hooks'
import { VERDICT_UNSUPPORTED } from '../../../assembly/abi.ts'
import { decisionText } from '../../replay/names.ts'
import { statusText } from './chain.tsx'
import { count } from './kinds.ts'
import type { Walk } from './model/walk.ts'
import type { ChainPicture, Frame } from './model/walk-types.ts'
import type { Stepper } from './stepper.ts'

export function Outcome({ walk, stepper }: { walk: Walk; stepper: Stepper }) {
  const { text, frame } = useMemo(() => outcomeOf(walk), [walk])
  return (
    <section class="card outcome-line" aria-label="Outcome">
      <p>
        <strong>{text}</strong>
      </p>
      {frame !== undefined && (
        <button type="button" onClick={() => stepper.goToFrame(frame.index)}>
          Go to the decision
        </button>
      )}
    </section>
  )
}

/** The frame is that of the decision; undefined if nothing is decided. */
function outcomeOf(walk: Walk): { text: string; frame: Frame | undefined } {
  const decisions = walk.framesAt(0, walk.length).filter(({ kind, field }) => kind === 'decision' && field !== 'stall')
  const frame = decisions.find(isFault) ?? decisions[0]
  if (frame === undefined)
    return { text: 'No request is decided on.', frame: walk.framesAt(0, walk.length).find(isStall) }
  const { requests, registers } = walk.pictureAt(walk.length - 1)
  if (frame.field === 'ring fault') {
    return { text: `The queue is poisoned: ${decisionText(registers.ringFault)}. NEEDS_RESET is set.`, frame }
  }
  const { chain } = walk.pictureAt(frame.index)
  const end = requests.find(({ frame: begins }) => begins === chain?.frame) ?? chain
  const others = decisions.length > 1 ? ` (one of ${count(decisions.length, 'decision')})` : ''
  return { text: `${answerText(end, frame)}${others}.`, frame }
}

function answerText(chain: ChainPicture | undefined, frame: Frame): string {
  const what = `Head ${chain?.head ?? '?'}, ${chain?.typeName ?? 'a request'}: ${decisionText(frame.code ?? 0)}`
  const status = chain?.status
  return status === undefined || isFault(frame) ? what : `${what}, status ${statusText(status)}`
}

function isStall({ kind, field }: Frame): boolean {
  return kind === 'decision' && field === 'stall'
}

/** Of a request or of the ring. */
function isFault({ field, code = 0 }: Frame): boolean {
  return field === 'ring fault' || (field === 'verdict' && (code < 0 || code === VERDICT_UNSUPPORTED))
}
