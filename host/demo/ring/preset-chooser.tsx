// What is shown, by name, and the list of presets to show another one.

import { navigate } from '../route.ts'
import { PRESETS } from './model/presets.ts'
import type { PresetGroup } from './model/scenario.ts'
import type { Source } from './source.ts'

const GROUPS = [...new Set(PRESETS.map(({ group }) => group))]

export function PresetChooser({ source }: { source: Source }) {
  const { preset, title, description } = source
  const at = preset ? PRESETS.indexOf(preset) : -1
  const go = (to: number): void => {
    const next = PRESETS[(to + PRESETS.length) % PRESETS.length]
    if (next) navigate('ring', { preset: next.id })
  }
  return (
    <div class="preset">
      <div class="preset-line">
        <select
          aria-label="Preset"
          value={preset?.id ?? ''}
          onChange={({ currentTarget }) => navigate('ring', { preset: currentTarget.value })}
        >
          {!preset && (
            <option value="" disabled>
              {title}
            </option>
          )}
          {GROUPS.map((group) => (
            <Group key={group} group={group} />
          ))}
        </select>
        <button type="button" class="icon" aria-label="Preset before" onClick={() => go(at < 0 ? -1 : at - 1)}>
          ‹
        </button>
        <button type="button" class="icon" aria-label="Next preset" onClick={() => go(at + 1)}>
          ›
        </button>
      </div>
      <p class="preset-said">{description ?? 'Built by hand, or from a link.'}</p>
    </div>
  )
}

function Group({ group }: { group: PresetGroup }) {
  return (
    <optgroup label={group}>
      {PRESETS.filter((preset) => preset.group === group).map(({ id, title }) => (
        <option key={id} value={id}>
          {title}
        </option>
      ))}
    </optgroup>
  )
}
