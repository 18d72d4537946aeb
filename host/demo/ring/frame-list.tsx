// The list of frames: a line each, calls of the engine as headings of what follows. The one that is shown is kept in
// sight. Only the lines near what can be seen are in the document: a recording may have a hundred thousand.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { count, KINDS } from './kinds.ts'
import type { Frame } from './model/walk-types.ts'
import type { Stepper } from './stepper.ts'

/** Pixels of a line, as ring.css has it. */
const LINE = 28
/** Lines in the document above and below those that can be seen. */
const SPARE = 20
/** Of more frames than this they are not counted. */
const TALLY_MAX = 20_000

export function FrameList({ stepper }: { stepper: Stepper }) {
  const { frames, from, length, at, go } = stepper
  const box = useRef<HTMLDivElement>(null)
  const [view, setView] = useState({ top: 0, lines: 20 })
  const look = (): void => {
    const { scrollTop = 0, clientHeight = 0 } = box.current ?? {}
    const top = Math.floor(scrollTop / LINE)
    const lines = Math.ceil(clientHeight / LINE)
    setView((before) => (before.top === top && before.lines === lines ? before : { top, lines }))
  }
  useEffect(() => {
    const element = box.current
    if (!element) return
    const observer = new ResizeObserver(look)
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    const element = box.current
    if (!element) return
    // A heading above and two lines below stay in sight.
    const top = (at - 1) * LINE
    const bottom = (at + 3) * LINE
    if (top < element.scrollTop) element.scrollTop = top
    else if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight
    look()
  }, [at, frames, length])
  // After a jump the box is scrolled only once this is drawn: the lines there are needed already.
  const top = Math.abs(at - view.top) > view.lines + SPARE ? at : view.top
  const first = Math.max(0, top - SPARE)
  const last = Math.min(length, top + view.lines + SPARE)
  const shown = Array.from({ length: Math.max(last - first, 0) }, (_, i) => frames.at(from + first + i))
  return (
    <section class="card frames" aria-label="Frames">
      <header class="frames-head">
        <h2>Frames</h2>
        <Tally stepper={stepper} />
      </header>
      <div class="frames-box" ref={box} onScroll={look}>
        <ol style={{ height: `${length * LINE}px` }}>
          {shown.map(
            (frame, i) =>
              frame && (
                <Line
                  key={frame.index}
                  frame={frame}
                  place={first + i}
                  total={length}
                  isShown={first + i === at}
                  onGo={go}
                />
              ),
          )}
        </ol>
      </div>
      {stepper.setUpFrames > 0 && (
        <label class="check small">
          <input
            type="checkbox"
            checked={stepper.showsSetUp}
            onChange={({ currentTarget }) => stepper.showSetUp(currentTarget.checked)}
          />
          The set-up before it too ({stepper.setUpFrames} frames)
        </label>
      )}
    </section>
  )
}

interface LineProps {
  frame: Frame
  place: number
  total: number
  isShown: boolean
  onGo: (place: number) => void
}

function Line({ frame, place, total, isShown, onGo }: LineProps) {
  const { letter, word } = KINDS[frame.kind]
  return (
    <li style={{ top: `${place * LINE}px` }} aria-setsize={total} aria-posinset={place + 1}>
      <button
        type="button"
        class={`line ${frame.kind}`}
        aria-current={isShown ? 'step' : undefined}
        title={frame.text}
        onClick={() => onGo(place)}
      >
        <b class={`letter ${frame.kind}`} aria-hidden="true">
          {letter}
        </b>
        <span class="visually-hidden">{word}: </span>
        <span class="line-text">{frame.text}</span>
      </button>
    </li>
  )
}

/** How many of each: '9 loads, 3 stores, 1 decision'. */
function Tally({ stepper: { frames, from, length } }: { stepper: Stepper }) {
  const counts = useMemo(() => {
    if (length > TALLY_MAX) return undefined
    const kinds: Partial<Record<Frame['kind'], number>> = {}
    for (let i = 0; i < length; i++) {
      const kind = frames.at(from + i)?.kind
      if (kind) kinds[kind] = (kinds[kind] ?? 0) + 1
    }
    return kinds
  }, [frames, from, length])
  if (!counts) return <p class="small muted">{count(length, 'frame')}</p>
  const of = (kind: Frame['kind']): number => counts[kind] ?? 0
  return (
    <p class="tally small">
      <span class="tag load">{count(of('load'), 'load')}</span>{' '}
      <span class="tag store">{count(of('store'), 'store')}</span>{' '}
      <span class="tag decision">{count(of('decision'), 'decision')}</span>
    </p>
  )
}
