// The guest's terminal: xterm.js in the page's colours. Keys go to the guest, Tab too, for it completes names; so
// Shift+Tab leaves the terminal, and a button before it leads past it.

import { FitAddon } from '@xterm/addon-fit'
import { type ITheme, Terminal as XTerm } from '@xterm/xterm'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type Scheme, useScheme } from '../ui/theme.tsx'

/** What the view does with the terminal. */
export interface TerminalHandle {
  readonly rows: number
  readonly columns: number
  /** `done`: it is on the screen */
  write(bytes: Uint8Array, done: () => void): void
  clear(): void
}

interface TerminalProps {
  readonly onReady: (terminal: TerminalHandle) => void
  readonly onInput: (bytes: Uint8Array) => void
}

const THEMES: Readonly<Record<Scheme, ITheme>> = {
  dark: { background: '#101216', foreground: '#e7e9ee', cursor: '#8ea4ff', selectionBackground: '#3c4766' },
  light: {
    background: '#fbfcfd',
    foreground: '#1b1f26',
    cursor: '#3451c6',
    selectionBackground: '#c5d0f5',
    // The usual bright ones cannot be read on white.
    yellow: '#7d5700',
    brightYellow: '#7d5700',
    green: '#19713a',
    brightGreen: '#19713a',
    cyan: '#0b62a8',
    brightCyan: '#0b62a8',
    white: '#566072',
    brightWhite: '#1b1f26',
  },
}
const NARROW = '(max-width: 640px)'
const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace'

export function Terminal({ onReady, onInput }: TerminalProps) {
  const place = useRef<HTMLDivElement>(null)
  const after = useRef<HTMLDivElement>(null)
  const terminal = useRef<XTerm | undefined>(undefined)
  const [isRead, setRead] = useState(false)
  const scheme = useScheme()

  useEffect(() => {
    const element = place.current
    if (element === null) return
    const fontSize = matchMedia(NARROW).matches ? 12 : 14
    const made = new XTerm({ fontFamily: FONT, fontSize, scrollback: 5000, theme: THEMES[scheme], cursorBlink: false })
    terminal.current = made
    const fit = new FitAddon()
    made.loadAddon(fit)
    made.open(element)
    fit.fit()
    made.attachCustomKeyEventHandler((event) => !(event.key === 'Tab' && event.shiftKey))
    made.onData((text) => onInput(new TextEncoder().encode(text)))
    made.onBinary((text) => onInput(Uint8Array.from(text, (char) => char.charCodeAt(0))))
    // Nothing is fitted while another view is shown.
    const observer = new ResizeObserver(() => element.clientWidth > 0 && fit.fit())
    observer.observe(element)
    // Whoever types sees it: xterm draws nothing while it is out of sight, and focuses without scrolling.
    made.textarea?.addEventListener('focus', () => element.scrollIntoView({ block: 'nearest' }))
    onReady({
      rows: made.rows,
      columns: made.cols,
      write: (bytes, done) => made.write(bytes, done),
      clear: () => made.reset(),
    })
    return () => {
      observer.disconnect()
      made.dispose()
    }
  }, [])

  useEffect(() => {
    if (terminal.current) terminal.current.options.theme = THEMES[scheme]
  }, [scheme])
  useEffect(() => {
    if (terminal.current) terminal.current.options.screenReaderMode = isRead
  }, [isRead])

  return (
    <div class="terminal">
      <button type="button" class="skip-terminal" onClick={() => after.current?.focus()}>
        Skip the terminal
      </button>
      <div ref={place} class="terminal-screen" />
      <div class="toolbar center small" ref={after} tabIndex={-1}>
        <label class="check">
          <input type="checkbox" checked={isRead} onChange={({ currentTarget }) => setRead(currentTarget.checked)} />
          Read aloud by screen readers
        </label>
        <span class="muted">
          <kbd>Shift</kbd>+<kbd>Tab</kbd> leaves the terminal. After a change of its size type <code>resize</code>.
        </span>
      </div>
    </div>
  )
}
