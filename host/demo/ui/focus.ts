// Where the keyboard's focus goes when what had it goes away: to the content, not to the top of the page.

import type { RefObject } from 'preact'
import { useLayoutEffect } from 'preact/hooks'

export function focusContent(): void {
  document.getElementById('content')?.focus()
}

/** For what is drawn anew: what is hidden by it has the focus no longer. */
export function useFocusOutOfHidden(): void {
  useLayoutEffect(() => {
    if (document.activeElement?.closest('[hidden]')) focusContent()
  })
}

/** For what is taken away with the focus in it. */
export function useFocusOnLeaving(box: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    return () => {
      if (box.current?.contains(document.activeElement)) focusContent()
    }
  }, [])
}
