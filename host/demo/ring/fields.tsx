// Form fields of the Ring view: a label, what is typed, and under it what is wrong with it.

import { useId } from 'preact/hooks'

interface FieldProps {
  readonly label: string
  readonly value: string
  readonly message?: string | undefined
  /** what an empty field means */
  readonly empty?: string
  readonly hint?: string
  readonly isText?: boolean
  readonly wide?: boolean
  onChange(value: string): void
}

export function Field({ label, value, message, empty, hint, isText, wide, onChange }: FieldProps) {
  const id = useId()
  return (
    <label class={`field${wide ? ' wide' : ''}`}>
      <span>{label}</span>
      <input
        class={isText ? undefined : 'mono'}
        value={value}
        placeholder={empty}
        title={hint}
        spellcheck={false}
        autocomplete="off"
        inputMode={isText ? 'text' : undefined}
        aria-invalid={message !== undefined}
        aria-describedby={message === undefined ? undefined : id}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
      <Message id={id} text={message} />
    </label>
  )
}

export function Message({ id, text }: { id?: string; text: string | undefined }) {
  if (text === undefined) return null
  return (
    <small class="message" id={id}>
      {text}
    </small>
  )
}

interface SelectProps {
  readonly label: string
  readonly value: string
  readonly options: readonly (readonly [value: string, text: string])[]
  onChange(value: string): void
}

export function Select({ label, value, options, onChange }: SelectProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={({ currentTarget }) => onChange(currentTarget.value)}>
        {options.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </select>
    </label>
  )
}

interface CheckProps {
  readonly label: string
  readonly isOn: boolean
  onChange(isOn: boolean): void
}

export function Check({ label, isOn, onChange }: CheckProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={isOn} onChange={({ currentTarget }) => onChange(currentTarget.checked)} />
      {label}
    </label>
  )
}
