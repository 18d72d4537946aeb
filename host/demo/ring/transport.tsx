// The stepping controls: buttons, speed, the scrubber with a strip that shows what kind each frame is, and the keys.
// Moves a stepper; draws nothing of the memory.

import { useEffect, useMemo, useRef } from 'preact/hooks'
import { ActionButton } from '../ui/action-button.tsx'
import { KINDS } from './kinds.ts'
import type { FrameKind } from './model/walk-types.ts'
import { SPEEDS, type Stepper } from './stepper.ts'

/** More frames than this would be less than a pixel each. */
const STRIP_MAX = 1000
/** With more frames than this there is no room between them. */
const GAPS_MAX = 200

export function Transport({ stepper, isShown }: { stepper: Stepper; isShown: boolean }) {
  useKeys(stepper, isShown)
  const { isFirst, isLast, isPlaying } = stepper
  return (
    <section class="transport" aria-label="Stepping">
      <p class="transport-now small" aria-hidden="true">
        <b class={`letter ${stepper.frame.kind}`}>{KINDS[stepper.frame.kind].letter}</b>
        <span class="line-text">{stepper.frame.text}</span>
      </p>
      <div class="transport-buttons">
        <Button label="First frame" isDisabled={isFirst} onClick={() => stepper.go(0)} path="M5 4v12M16 4 8 10l8 6z" />
        <Button label="Back" isDisabled={isFirst} onClick={() => stepper.step(-1)} path="M14 4 6 10l8 6z" />
        <button
          type="button"
          class="primary play"
          aria-label={isPlaying ? 'Pause' : 'Play'}
          title={`${isPlaying ? 'Pause' : 'Play'} (Space)`}
          onClick={() => stepper.play(!isPlaying)}
        >
          <Icon path={isPlaying ? 'M6 4h3v12H6zM11 4h3v12h-3z' : 'M6 4l10 6-10 6z'} />
        </button>
        <Button label="Step" isDisabled={isLast} onClick={() => stepper.step(1)} path="M6 4l8 6-8 6z" />
        <Button
          label="Last frame"
          isDisabled={isLast}
          onClick={() => stepper.go(stepper.length - 1)}
          path="M4 4l8 6-8 6zM15 4v12"
        />
      </div>
      <div class="transport-jumps">
        <ActionButton isDisabled={isLast} onClick={() => stepper.toDecision(1)}>
          Next decision
        </ActionButton>
        <ActionButton isDisabled={isLast} onClick={() => stepper.toRequest(1)}>
          Next request
        </ActionButton>
      </div>
      <Scrubber stepper={stepper} />
      <select
        class="speed"
        aria-label="Speed"
        value={stepper.speed}
        onChange={({ currentTarget }) => stepper.setSpeed(Number(currentTarget.value))}
        title="Speed of Play"
      >
        {SPEEDS.map((speed) => (
          <option key={speed} value={speed}>
            {speed} / s
          </option>
        ))}
      </select>
    </section>
  )
}

function Button({ path, ...props }: { label: string; path: string; isDisabled: boolean; onClick: () => void }) {
  return (
    <ActionButton class="icon" title={`${props.label}${KEYS[props.label] ?? ''}`} {...props}>
      <Icon path={path} />
    </ActionButton>
  )
}

const KEYS: Readonly<Record<string, string>> = {
  'First frame': ' (Home)',
  'Last frame': ' (End)',
  Back: ' (←)',
  Step: ' (→)',
}

function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" class="glyph">
      <path d={path} />
    </svg>
  )
}

function Scrubber({ stepper }: { stepper: Stepper }) {
  const { frame, length, at, go } = stepper
  return (
    <div class="scrubber">
      <Strip stepper={stepper} />
      <input
        type="range"
        aria-label="Frame"
        aria-valuetext={`Frame ${at + 1} of ${length}: ${KINDS[frame.kind].word}, ${frame.field}`}
        min={0}
        max={length - 1}
        value={at}
        onInput={({ currentTarget }) => go(Number(currentTarget.value))}
      />
      <output class="position mono">
        {at + 1} / {length}
      </output>
    </div>
  )
}

/**
 * A colour for each frame: where the loads, stores and decisions are can be seen from afar. One picture that takes the
 * width there is: pieces of their own would each ask for some.
 */
function Strip({ stepper: { frames, from, length, at } }: { stepper: Stepper }) {
  const paths = useMemo(() => {
    const found = new Map<FrameKind, string>()
    if (length > STRIP_MAX) return found
    const wide = length > GAPS_MAX ? 1 : 0.9
    for (let i = 0; i < length; i++) {
      const kind = frames.at(from + i)?.kind
      if (kind) found.set(kind, `${found.get(kind) ?? ''}M${i} 0h${wide}v1h-${wide}z`)
    }
    return found
  }, [frames, from, length])
  return (
    <svg class="strip" viewBox={`0 0 ${length} 1`} preserveAspectRatio="none" aria-hidden="true">
      {[...paths].map(([kind, path]) => (
        <path key={kind} class={kind} d={path} />
      ))}
      <rect class="strip-rest" x={at + 1} width={length - at - 1} height="1" />
    </svg>
  )
}

/** What has keys of its own keeps them. */
function isTaken(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof Element)) return false
  if (target.closest('input, select, textarea, [contenteditable], [role=tablist], dialog')) return true
  return key === ' ' && target.closest('button, a, summary, label') !== null
}

function useKeys(stepper: Stepper, isShown: boolean): void {
  const now = useRef(stepper)
  now.current = stepper
  useEffect(() => {
    if (!isShown) return
    const press = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return
      if (isTaken(event.target, event.key)) return
      const { length, isPlaying, ...does } = now.current
      const wide = event.shiftKey
      if (event.key === 'ArrowRight') wide ? does.toDecision(1) : does.step(1)
      else if (event.key === 'ArrowLeft') wide ? does.toDecision(-1) : does.step(-1)
      else if (event.key === 'Home' && !wide) does.go(0)
      else if (event.key === 'End' && !wide) does.go(length - 1)
      else if (event.key === ' ' && !wide) does.play(!isPlaying)
      else return
      event.preventDefault()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [isShown])
}

export function KeyHelp() {
  return (
    <p class="keys small muted">
      Keys: <kbd>←</kbd> <kbd>→</kbd> step, with <kbd>Shift</kbd> to a decision; <kbd>Home</kbd> <kbd>End</kbd> first
      and last frame; <kbd>Space</kbd> play and pause. In a form field they do what they always do.
    </p>
  )
}
