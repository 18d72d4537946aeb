// Which frame is shown: a place in the list of frames, moved by buttons, keys, the scrubber or a clock. Frames of the
// set-up before the first kick can be left out. Knows frames, not how they are drawn.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Frame } from './walk-types.ts'

/** Frames a second. */
export const SPEEDS = [1, 2, 4, 10, 30] as const

export interface Stepper {
  /** the frames that can be stepped to, and which of them is shown */
  readonly frames: readonly Frame[]
  readonly at: number
  readonly frame: Frame | undefined
  readonly isPlaying: boolean
  readonly speed: number
  /** of frames that are left out unless asked for */
  readonly setUpFrames: number
  readonly showsSetUp: boolean
  go(at: number): void
  /** to a frame by its own index, a set-up frame too */
  goToFrame(index: number): void
  step(by: number): void
  toDecision(direction: 1 | -1): void
  toRequest(direction: 1 | -1): void
  play(isPlaying: boolean): void
  setSpeed(speed: number): void
  showSetUp(shows: boolean): void
}

/** Index of the first frame that is no longer the first set-up: what the driver does after DRIVER_OK. */
export function firstAfterSetUp(frames: readonly Frame[]): number {
  const kick = frames.findIndex(({ call, kind }) => call === 'plan' || kind === 'load')
  if (kick < 0) return 0
  const step = frames[kick]?.step ?? 0
  // The writes of the driver and the register write that led to it are part of the kick.
  let at = kick
  for (let steps = 0; at > 0; at--) {
    const before = frames[at - 1] as Frame
    if (before.step !== (frames[at] as Frame).step && ++steps > 1) break
    if (before.call !== 'plan' && before.call !== 'mmioWrite' && before.call !== 'kicked' && before.step < step) break
  }
  return at
}

/** `first`: index of the frame to begin at. A new array of frames begins anew. */
export function useStepper(all: readonly Frame[], first: number | undefined): Stepper {
  const setUpFrames = useMemo(() => firstAfterSetUp(all), [all])
  const [shownSetUp, setShownSetUp] = useState(false)
  const [index, setIndex] = useState(first ?? setUpFrames)
  const [isPlaying, setPlaying] = useState(false)
  const [speed, setSpeed] = useState<number>(4)

  const begun = useRef(all)
  if (begun.current !== all) {
    // Before the first drawing of these frames, so that no frame of the others is ever asked of them.
    begun.current = all
    setIndex(first ?? setUpFrames)
    setPlaying(false)
  }

  const showsSetUp = shownSetUp || index < setUpFrames
  const frames = useMemo(() => (showsSetUp ? all : all.slice(setUpFrames)), [all, showsSetUp, setUpFrames])
  const offset = showsSetUp ? 0 : setUpFrames
  const last = frames.length - 1
  const at = Math.max(0, Math.min(index - offset, last))

  const goTo = (to: number): void => setIndex(offset + Math.max(0, Math.min(to, last)))
  const go = (to: number): void => {
    setPlaying(false)
    goTo(to)
  }
  const seek = (direction: 1 | -1, is: (frame: Frame) => boolean): void => {
    for (let i = at + direction; i >= 0 && i <= last; i += direction) {
      if (is(frames[i] as Frame)) return go(i)
    }
    go(direction > 0 ? last : 0)
  }

  const tick = useRef(() => {})
  tick.current = () => {
    if (at >= last) setPlaying(false)
    else goTo(at + 1)
  }
  useEffect(() => {
    if (!isPlaying) return
    const timer = setInterval(() => tick.current(), 1000 / speed)
    return () => clearInterval(timer)
  }, [isPlaying, speed])

  return {
    frames,
    at,
    frame: frames[at],
    isPlaying,
    speed,
    setUpFrames,
    showsSetUp,
    go,
    goToFrame(to) {
      setPlaying(false)
      setIndex(Math.max(0, Math.min(to, all.length - 1)))
    },
    step: (by) => go(at + by),
    toDecision: (direction) => seek(direction, ({ kind }) => kind === 'decision'),
    toRequest: (direction) => seek(direction, isHeadLoad),
    play(wanted) {
      if (wanted && at >= last) goTo(0)
      setPlaying(wanted && last > 0)
    },
    setSpeed,
    showSetUp(shows) {
      setShownSetUp(shows)
      if (!shows && index < setUpFrames) setIndex(setUpFrames)
    },
  }
}

/** A chain begins where its head is loaded from the avail ring. */
export function isHeadLoad({ kind, field }: Frame): boolean {
  return kind === 'load' && field.startsWith('avail.ring')
}
