// A button that may have nothing to do for a while, because of what it has just begun say. It keeps the keyboard's
// focus, which a disabled one loses, and is called unavailable all the same.

import type { ComponentChildren } from 'preact'

interface Props {
  onClick: () => void
  isDisabled: boolean
  class?: string
  children: ComponentChildren
}

export function ActionButton({ onClick, isDisabled, class: className, children }: Props) {
  return (
    <button
      type="button"
      class={className}
      aria-disabled={isDisabled}
      onClick={() => {
        if (!isDisabled) onClick()
      }}
    >
      {children}
    </button>
  )
}
