// The choice of the engine's flavour; those that this page cannot run are there, and say what they need.

import { ABOUT, FLAVOURS, type Flavour, offeredFlavours } from './flavours.ts'

interface Props {
  flavour: Flavour
  onFlavour: (flavour: Flavour) => void
  isDisabled: boolean
}

export function FlavourSelect({ flavour, onFlavour, isDisabled }: Props) {
  const offered = offeredFlavours()
  return (
    <label class="field">
      <span>Flavour of the engine</span>
      <select
        value={flavour}
        disabled={isDisabled}
        onChange={({ currentTarget }) => {
          const next = FLAVOURS.find((one) => one === currentTarget.value)
          if (next) onFlavour(next)
        }}
      >
        {FLAVOURS.map((name) => (
          <option key={name} value={name} disabled={!offered.includes(name)}>
            {name}: {offered.includes(name) ? ABOUT[name] : 'needs cross-origin isolation'}
          </option>
        ))}
      </select>
    </label>
  )
}
