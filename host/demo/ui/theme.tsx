// Light, dark, or as the system has it: one attribute on the root element, which style.css turns into `color-scheme`.
// Kept for the next visit. Whoever draws outside of CSS (charts, the terminal) asks `useScheme`.

import { useEffect, useState } from 'preact/hooks'

const CHOICES = ['system', 'light', 'dark'] as const
type Choice = (typeof CHOICES)[number]
export type Scheme = 'light' | 'dark'

const KEY = 'virtio-blk-wasm.theme'
const CHANGED = 'vblk-theme'
const system = matchMedia('(prefers-color-scheme: dark)')

function stored(): Choice {
  try {
    return CHOICES.find((choice) => choice === localStorage.getItem(KEY)) ?? 'system'
  } catch {
    return 'system' // no storage for this page: a choice lasts as long as it does
  }
}

let chosen = stored()

function choose(choice: Choice): void {
  chosen = choice
  try {
    localStorage.setItem(KEY, choice)
  } catch {}
  apply()
}

function apply(): void {
  document.documentElement.dataset.theme = chosen
  dispatchEvent(new Event(CHANGED))
}

function scheme(): Scheme {
  if (chosen !== 'system') return chosen
  return system.matches ? 'dark' : 'light'
}

/** What is drawn now; the component is drawn anew when it changes. */
export function useScheme(): Scheme {
  const [now, setNow] = useState(scheme)
  useEffect(() => {
    const follow = (): void => setNow(scheme())
    system.addEventListener('change', follow)
    addEventListener(CHANGED, follow)
    return () => {
      system.removeEventListener('change', follow)
      removeEventListener(CHANGED, follow)
    }
  }, [])
  return now
}

export function ThemeSelect() {
  const [choice, setChoice] = useState<Choice>(chosen)
  useEffect(apply, [])
  return (
    <label class="theme">
      <span class="visually-hidden">Colours</span>
      <select
        value={choice}
        onChange={({ currentTarget }) => {
          const next = CHOICES.find((one) => one === currentTarget.value) ?? 'system'
          setChoice(next)
          choose(next)
        }}
      >
        <option value="system">System</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  )
}
