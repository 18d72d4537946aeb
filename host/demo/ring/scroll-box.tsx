// A box that scrolls by itself: with a name, and reached by keyboard, so that what is out of sight can be.

import type { ComponentChildren, Ref } from 'preact'

interface ScrollBoxProps {
  readonly label: string
  readonly class?: string
  readonly box?: Ref<HTMLElement>
  readonly children: ComponentChildren
}

export function ScrollBox({ label, class: name = '', box, children }: ScrollBoxProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keyboard
    <section class={`scroll ${name}`} ref={box ?? null} aria-label={label} tabIndex={0}>
      {children}
    </section>
  )
}
