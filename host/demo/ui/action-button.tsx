// A button that may have nothing to do for a while, because of what it has just begun say. It keeps the keyboard's
// focus, which a disabled one loses, and is called unavailable all the same.

import type { ComponentChildren } from 'preact'

interface Props {
  onClick: () => void
  isDisabled: boolean
  class?: string
  /** where what it shows is no name */
  label?: string
  title?: string | undefined
  children: ComponentChildren
}

export function ActionButton({ onClick, isDisabled, class: className, label, title, children }: Props) {
  return (
    <button
      type="button"
      class={className}
      aria-label={label}
      aria-disabled={isDisabled}
      title={title}
      onClick={() => {
        if (!isDisabled) onClick()
      }}
    >
      {children}
    </button>
  )
}
