// One rule in full: what was tried and seen, what the standard says around it, and what can be done with it.

import type { Result } from '../../conformance/outcome.ts'
import { featureOf, type Row } from '../../conformance/rows.ts'
import { routeHash } from '../route.ts'
import { ActionButton } from '../ui/action-button.tsx'
import type { Flavour } from './flavours.ts'
import { outcomeWords } from './outcome-words.ts'
import type { Checked, Kit } from './use-kit.ts'

interface Props {
  row: Row
  checked: Checked | undefined
  kit: Kit
  flavour: Flavour
}

export function RuleDetail({ row, checked, kit, flavour }: Props) {
  const { id, when, response } = row
  const isBusy = kit.doing !== undefined
  const isMine = kit.doing?.id === id
  const unopened = checked && whyNotOpened(checked.result)
  return (
    <div class="rule-detail">
      <dl class="facts">
        {checked && (
          <>
            <dt>{checked.result.outcome === 'not checkable' ? 'Why not' : 'Tried'}</dt>
            <dd>{checked.result.tried}</dd>
            {checked.result.seen !== '' && (
              <>
                <dt>Seen</dt>
                <dd class={checked.result.outcome === 'failed' ? 'failed' : ''}>{checked.result.seen}</dd>
              </>
            )}
          </>
        )}
        {response !== undefined && (
          <>
            <dt>A robust device</dt>
            <dd>{response}</dd>
          </>
        )}
        {when !== undefined && (
          <>
            <dt>When</dt>
            <dd>{when}</dd>
          </>
        )}
        <dt>In the standard</dt>
        <dd>{provenance(row)}</dd>
        {checked && (
          <>
            <dt>Ran on</dt>
            <dd>the {checked.flavour} flavour of the engine</dd>
          </>
        )}
      </dl>
      <div class="toolbar center">
        <ActionButton isDisabled={isBusy} onClick={() => void kit.runOne(id, flavour)}>
          {isMine && kit.doing?.what === 'one' ? 'Running …' : checked ? 'Run again' : 'Run'}
        </ActionButton>
        {unopened === undefined ? (
          <ActionButton isDisabled={isBusy} onClick={() => void kit.open(id, flavour)}>
            {isMine && kit.doing?.what === 'record' ? 'Recording …' : 'Open in Ring'}
          </ActionButton>
        ) : (
          <span class="small muted">{unopened}</span>
        )}
        <a href={routeHash('conformance', { id })}>Link to this rule</a>
        <span role="status" class="small">
          {kit.said?.id === id && kit.said.text}
        </span>
      </div>
    </div>
  )
}

/** Only what a device did can be opened. */
function whyNotOpened(result: Result): string | undefined {
  const { outcome } = result
  if (outcome === 'passed' || outcome === 'failed') return undefined
  if (outcome === 'not offered') {
    return `Nothing to open in Ring: the device does not offer ${featureOf(result)}, so no check ran.`
  }
  if (outcome === 'not checkable') return 'Nothing to open in Ring: nobody can check this from outside, so nothing ran.'
  return `Nothing to open in Ring: ${outcomeWords(outcome)}.`
}

function provenance(row: Row): string {
  const { section, level, basis, since } = row
  const keyword = basis === 'explicit' ? `it says ${level}` : `it describes this, without the word ${level}`
  const feature = featureOf(row)
  const whom = feature === undefined ? (row.applies === 'transport' ? 'virtio-mmio' : 'every device') : feature
  return `Section ${section}: ${keyword}; since version ${since}; applies to ${whom}.`
}
