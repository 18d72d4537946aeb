// Form fields of the Ring view: a label, what is typed, and under it what is wrong with it.

import type { ComponentChildren } from 'preact'
import { useEffect, useId, useState } from 'preact/hooks'

interface FieldProps {
  readonly label: string
  readonly value: string
  readonly message?: string | undefined
  /** what an empty field means */
  readonly empty?: string
  readonly hint?: string
  readonly isText?: boolean
  onChange(value: string): void
}

export function Field({ label, value, message, empty, hint, isText, onChange }: FieldProps) {
  const id = useId()
  return (
    <div class="field">
      <label for={`${id}-input`}>{label}</label>
      <input
        id={`${id}-input`}
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
    </div>
  )
}

function Message({ id, text }: { id: string; text: string | undefined }) {
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
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={({ currentTarget }) => onChange(currentTarget.value)}>
        {options.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </select>
    </div>
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

interface FoldProps {
  readonly title: string
  /** something in it is not as it usually is */
  readonly isUsed: boolean
  readonly children: ComponentChildren
}

/** What is rarely needed: opens when something in it is used, and closes only when somebody closes it. */
export function Fold({ title, isUsed, children }: FoldProps) {
  const [isOpen, setOpen] = useState(isUsed)
  useEffect(() => {
    if (isUsed) setOpen(true)
  }, [isUsed])
  return (
    <details class="small" open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{title}</summary>
      {children}
    </details>
  )
}
