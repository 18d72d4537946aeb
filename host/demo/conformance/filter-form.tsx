// The filters of the rules. Whoever uses it keeps them.

import { useRef } from 'preact/hooks'
import { ROWS } from '../../conformance/rows.ts'
import { type Filters, LEVELS, paramsOf, SIDES } from './filters.ts'
import { headingOf, SECTIONS } from './sections.ts'

interface Props {
  filters: Filters
  onText: (text: string) => void
  onFilters: (filters: Filters) => void
}

export function FilterForm({ filters, onText, onFilters }: Props) {
  /** An empty value is no filter. */
  const choose = (part: Partial<Record<keyof Filters, string>>): void => onFilters({ ...filters, ...part } as Filters)
  const text = useRef<HTMLInputElement>(null)
  const isFiltered = Object.keys(paramsOf(filters)).length > 0
  return (
    <search>
      <form class="toolbar filters" aria-label="Filter the rules" onSubmit={(event) => event.preventDefault()}>
        <label class="field section">
          <span>Section</span>
          <select
            value={filters.section ?? ''}
            onChange={({ currentTarget }) => choose({ section: currentTarget.value })}
          >
            <option value="">All ({ROWS.length})</option>
            {SECTIONS.map(({ section, title, count }) => (
              <option key={section} value={section}>
                {headingOf(section) === section ? `${section} ${title}` : `\u2003${section}`} ({count})
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Level</span>
          <select value={filters.level ?? ''} onChange={({ currentTarget }) => choose({ level: currentTarget.value })}>
            <option value="">All</option>
            {LEVELS.map((level) => (
              <option key={level} value={level}>
                {level === 'MAY' ? level : `${level}, ${level} NOT`}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Who must follow it</span>
          <select value={filters.side ?? ''} onChange={({ currentTarget }) => choose({ side: currentTarget.value })}>
            <option value="">Both sides</option>
            {SIDES.map((side) => (
              <option key={side} value={side}>
                the {side}
              </option>
            ))}
          </select>
        </label>
        <label class="field text">
          <span>Text: name, rule, tried, seen</span>
          <input
            ref={text}
            type="search"
            value={filters.q ?? ''}
            placeholder="used.idx, QueueReady …"
            autocomplete="off"
            spellcheck={false}
            onInput={({ currentTarget }) => onText(currentTarget.value)}
          />
        </label>
        <button
          type="button"
          disabled={!isFiltered}
          onClick={() => {
            onText('')
            onFilters({})
            // The button has nothing more to do, and would take the focus with it.
            text.current?.focus()
          }}
        >
          Clear filters
        </button>
      </form>
    </search>
  )
}
