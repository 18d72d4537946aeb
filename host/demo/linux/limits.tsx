// The form with the disk's limits, which hold from the moment they are set, and as long as the page is open.

import { useState } from 'preact/hooks'
import type { ThrottleOptions } from '../../device/throttle.ts'
import { bytesText, count } from './format.ts'
import { FIELDS, limitsOf, type Texts } from './limit-texts.ts'

const NONE: Texts = { iops: '', iopsBurst: '', bytesPerSecond: '', bytesBurst: '' }
const PRESETS: readonly (readonly [name: string, texts: Texts])[] = [
  ['No limits', NONE],
  ['20 requests/s', { ...NONE, iops: '20' }],
  ['1 MiB/s', { ...NONE, bytesPerSecond: '1048576' }],
]

interface LimitsProps {
  /** rejects with the reason if they are refused */
  readonly onSet: (limits: ThrottleOptions) => Promise<unknown>
}

export function Limits({ onSet }: LimitsProps) {
  const [texts, setTexts] = useState(NONE)
  const [present, setPresent] = useState<ThrottleOptions>({})
  const [problem, setProblem] = useState<string>()

  const set = async (given: Texts): Promise<void> => {
    setTexts(given)
    try {
      const limits = limitsOf(given)
      await onSet(limits)
      setPresent(limits)
      setProblem(undefined)
    } catch (error) {
      setProblem((error as Error).message)
    }
  }

  return (
    <section class="card" aria-label="Limits">
      <h2>Limits</h2>
      <form
        class="limits"
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          void set(texts)
        }}
      >
        {FIELDS.map(({ name, label }) => (
          <label key={name} class="field">
            <span>{label}</span>
            <input
              inputMode="numeric"
              placeholder={name.endsWith('Burst') ? 'one second’s worth' : 'no limit'}
              value={texts[name]}
              onInput={({ currentTarget }) => setTexts({ ...texts, [name]: currentTarget.value })}
            />
          </label>
        ))}
        <div class="toolbar">
          <button type="submit" class="primary">
            Set
          </button>
          {PRESETS.map(([name, preset]) => (
            <button key={name} type="button" onClick={() => void set(preset)}>
              {name}
            </button>
          ))}
        </div>
      </form>
      <p class="small" role="status">
        {problem === undefined ? inForce(present) : <span class="problem">{problem}</span>}
      </p>
      <p class="muted small">
        A second can have more than the limit. After a quiet time, as much as “at once” goes through in one piece, and
        the rate comes on top. A request with more data than “Bytes at once” goes through in one piece too, as soon as
        nothing is owed; what it took beyond what was left is owed then, and the next request with data waits at least
        until that is paid. Requests without data, such as a flush, cost no bytes.
      </p>
    </section>
  )
}

function inForce({ iops, iopsBurst, bytesPerSecond, bytesBurst }: ThrottleOptions): string {
  const parts = [
    ...(iops === undefined
      ? []
      : [`${count(Number(iops))} requests a second, ${count(Number(iopsBurst ?? iops))} at once`]),
    ...(bytesPerSecond === undefined
      ? []
      : [`${bytesText(Number(bytesPerSecond))} a second, ${bytesText(Number(bytesBurst ?? bytesPerSecond))} at once`]),
  ]
  return parts.length === 0 ? 'No limits are set.' : `In force: ${parts.join('; ')}.`
}
