// Which frame is shown: a place in the list of frames, moved by buttons, keys, the scrubber or a clock. Frames of the
// set-up before the first kick can be left out. Knows frames, not how they are drawn.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Frames } from './model/frames.ts'
import type { Walk } from './model/walk.ts'
import type { Frame } from './model/walk-types.ts'

/** Frames a second. */
export const SPEEDS = [1, 2, 4, 10, 30] as const

export interface Stepper {
  /** of all, those of the set-up too */
  readonly frames: Frames
  /** index of the first frame that can be stepped to, how many there are from there on, and which of them is shown */
  readonly from: number
  readonly length: number
  readonly at: number
  readonly frame: Frame
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly isPlaying: boolean
  readonly speed: number
  /** frames that are left out unless asked for */
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

/** `first`: index of the frame to begin at. Another walk begins anew. */
export function useStepper(walk: Walk, first: number | undefined): Stepper {
  const frames = useMemo(() => new Frames(walk), [walk])
  const setUpFrames = walk.start
  const begin = Math.min(first ?? setUpFrames, walk.length - 1)
  const [shownSetUp, setShownSetUp] = useState(false)
  const [place, setPlace] = useState({ walk, index: begin })
  const [isPlaying, setPlaying] = useState(false)
  const [speed, setSpeed] = useState<number>(4)
  // A frame of another walk is never asked for, not even while this one is drawn for the first time.
  const index = place.walk === walk ? place.index : begin
  useEffect(() => {
    setPlace((before) => (before.walk === walk ? before : { walk, index: begin }))
    setPlaying(false)
  }, [walk, begin])

  const showsSetUp = shownSetUp || index < setUpFrames
  const from = showsSetUp ? 0 : setUpFrames
  const length = walk.length - from
  const at = index - from
  const goTo = (to: number): void => setPlace({ walk, index: from + Math.max(0, Math.min(to, length - 1)) })
  const go = (to: number): void => {
    setPlaying(false)
    goTo(to)
  }
  const seek = (direction: 1 | -1, is: (frame: Frame) => boolean): void => {
    const found = frames.find(index, direction, is)
    go(found === undefined ? (direction > 0 ? length - 1 : 0) : found - from)
  }

  const tick = useRef(() => {})
  tick.current = () => {
    if (at >= length - 1) setPlaying(false)
    else goTo(at + 1)
  }
  useEffect(() => {
    if (!isPlaying) return
    const timer = setInterval(() => tick.current(), 1000 / speed)
    return () => clearInterval(timer)
  }, [isPlaying, speed])

  return {
    frames,
    from,
    length,
    at,
    frame: frames.at(index) as Frame,
    isFirst: at === 0,
    isLast: at === length - 1,
    isPlaying,
    speed,
    setUpFrames,
    showsSetUp,
    go,
    goToFrame(to) {
      setPlaying(false)
      setPlace({ walk, index: Math.max(0, Math.min(to, walk.length - 1)) })
    },
    step: (by) => go(at + by),
    toDecision: (direction) => seek(direction, ({ kind }) => kind === 'decision'),
    toRequest: (direction) => seek(direction, isHeadLoad),
    play(wanted) {
      if (wanted && at >= length - 1) goTo(0)
      setPlaying(wanted && length > 1)
    },
    setSpeed,
    showSetUp(shows) {
      setShownSetUp(shows)
      if (!shows && index < setUpFrames) setPlace({ walk, index: setUpFrames })
    },
  }
}

/** A chain begins where its head is loaded from the avail ring. */
export function isHeadLoad({ kind, field }: Frame): boolean {
  return kind === 'load' && field.startsWith('avail.ring')
}
