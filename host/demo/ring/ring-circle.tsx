// A ring of guest RAM drawn as one: its slots in a circle, from the top clockwise, with two cursors and, between them,
// what one side has put there and the other has not taken yet. Large rings are a grid instead. Each slot is a button
// that shows its bytes.

import { useEffect, useRef } from 'preact/hooks'
import { excerptOf, orUnknown, touchedClass, touchedWords } from './kinds.ts'
import type { Touched } from './model/walk-types.ts'

export interface Slot {
  readonly slot: number
  readonly gpa: number
  readonly len: number
  readonly value: number | undefined
  readonly touched: Touched['kind'] | undefined
  /** belongs to the chain in hand */
  readonly isInHand: boolean
  /** nobody has put anything there yet */
  readonly isBlank: boolean
  /** what the number is, for the label */
  readonly says: string
}

export interface Cursor {
  readonly name: string
  /** free-running; undefined: not known */
  readonly idx: number | undefined
  readonly whose: 'driver' | 'device'
}

export interface RingCircleProps {
  readonly label: string
  readonly slots: readonly Slot[]
  /** in shared memory, drawn outside */
  readonly outer: Cursor
  /** the device's own, drawn inside */
  readonly inner: Cursor
  /** from the cursor that lags to the one that leads */
  readonly between: { readonly from: number | undefined; readonly to: number | undefined; readonly word: string }
  onLook(gpa: number, len: number): void
}

/** More slots than this do not fit a circle. */
const CIRCLE_MAX = 16

const SIZE = 208
const CENTRE = SIZE / 2
const BEADS = 76
const ARC = 52

export function RingCircle(props: RingCircleProps) {
  const { slots, label, outer, inner } = props
  const isCircle = slots.length <= CIRCLE_MAX
  const pending = pendingOf(props)
  const at = (cursor: Cursor): number | undefined => (cursor.idx === undefined ? undefined : cursor.idx % slots.length)
  const box = useRef<HTMLDivElement>(null)
  const innerAt = at(inner)
  const excerpt = excerptOf(slots.length, innerAt)
  useEffect(() => {
    const element = box.current
    if (isCircle || !element || innerAt === undefined) return
    const bead = element.querySelector<HTMLElement>(`[data-slot="${innerAt}"]`)
    if (bead) element.scrollTop = bead.offsetTop - element.clientHeight / 2
  }, [isCircle, innerAt])
  const middle = (
    <p class={isCircle ? 'circle-middle' : 'small'}>
      <strong>{pending ?? '?'}</strong> <span>{props.between.word}</span>
      {excerpt.to - excerpt.from < slots.length && (
        <span>
          {' '}
          · slots {excerpt.from} to {excerpt.to - 1} of {slots.length}
        </span>
      )}
    </p>
  )
  const drawing = (
    <div class={isCircle ? 'circle' : 'slot-grid scroll'} ref={box}>
      {isCircle && <Drawing {...props} pending={pending} outerAt={at(outer)} innerAt={innerAt} />}
      <ol aria-label={label}>
        {slots.slice(excerpt.from, excerpt.to).map((slot) => (
          <li key={slot.slot} style={isCircle ? place(slot.slot, slots.length, BEADS) : undefined}>
            <Bead
              slot={slot}
              cursors={[outer, inner].filter((cursor) => at(cursor) === slot.slot).map(({ name }) => name)}
              isPending={isPending(slot.slot, slots.length, props.between.from, pending)}
              onLook={props.onLook}
            />
          </li>
        ))}
      </ol>
      {isCircle && middle}
    </div>
  )
  return isCircle ? (
    drawing
  ) : (
    <div>
      {drawing}
      {middle}
    </div>
  )
}

/** How many slots lie between the cursors; more than there are slots is a fault, and is said as it is. */
function pendingOf({ between: { from, to } }: RingCircleProps): number | undefined {
  return from === undefined || to === undefined ? undefined : (to - from) & 0xffff
}

function isPending(slot: number, size: number, from: number | undefined, pending: number | undefined): boolean {
  if (from === undefined || pending === undefined) return false
  return (slot - (from % size) + size) % size < pending
}

function Bead(props: { slot: Slot; cursors: string[]; isPending: boolean; onLook: RingCircleProps['onLook'] }) {
  const { slot, gpa, len, value, touched, isInHand, isBlank, says } = props.slot
  const where = props.cursors.length > 0 ? `; here: ${props.cursors.join(' and ')}` : ''
  const hand = isInHand ? ', in hand' : ''
  return (
    <button
      type="button"
      class={touchedClass('bead', touched)}
      data-slot={slot}
      data-hand={isInHand ? '' : undefined}
      data-blank={isBlank && !touched ? '' : undefined}
      data-pending={props.isPending ? '' : undefined}
      data-cursor={props.cursors.length > 0 ? props.cursors.join(' ') : undefined}
      aria-label={`slot ${slot}: ${says} ${orUnknown(value)}${hand}${touchedWords(touched)}${where}`}
      title={`slot ${slot}: ${says} ${orUnknown(value)}${where}`}
      onClick={() => props.onLook(gpa, len)}
    >
      {orUnknown(value)}
    </button>
  )
}

function angle(slot: number, size: number): number {
  return (slot / size) * 2 * Math.PI - Math.PI / 2
}

function place(slot: number, size: number, radius: number): { left: string; top: string } {
  const turn = angle(slot, size)
  return { left: `${CENTRE + radius * Math.cos(turn)}px`, top: `${CENTRE + radius * Math.sin(turn)}px` }
}

interface DrawingProps extends RingCircleProps {
  readonly pending: number | undefined
  readonly outerAt: number | undefined
  readonly innerAt: number | undefined
}

function Drawing({ slots, between, pending, outer, inner, outerAt, innerAt }: DrawingProps) {
  const size = slots.length
  return (
    <svg viewBox={`0 0 ${SIZE} ${SIZE}`} width={SIZE} height={SIZE} aria-hidden="true">
      <circle cx={CENTRE} cy={CENTRE} r={BEADS} class="track" />
      {between.from !== undefined && pending !== undefined && pending > 0 && (
        <path class="pending" d={arc(between.from % size, Math.min(pending, size), size)} />
      )}
      {outerAt !== undefined && <Hand slot={outerAt} size={size} whose={outer.whose} d="M92 0 L103 -6 L103 6 Z" />}
      {innerAt !== undefined && <Hand slot={innerAt} size={size} whose={inner.whose} d="M60 0 L48 -6 L48 6 Z" />}
      {Array.from({ length: size }, (_, i) => {
        const turn = angle(i, size)
        const out = outerAt === i ? 0 : 97
        return out === 0 ? null : (
          <text x={CENTRE + out * Math.cos(turn)} y={CENTRE + out * Math.sin(turn)} class="slot-number">
            {i}
          </text>
        )
      })}
    </svg>
  )
}

function Hand({ slot, size, whose, d }: { slot: number; size: number; whose: string; d: string }) {
  const degrees = (slot / size) * 360 - 90
  return <path class={`hand ${whose}`} d={d} transform={`translate(${CENTRE} ${CENTRE}) rotate(${degrees})`} />
}

/** Along the inside of `count` slots from `from` on. */
function arc(from: number, count: number, size: number): string {
  const half = 0.5
  const start = angle(from - half, size)
  const turn = (Math.min(count, size - 0.001) / size) * 2 * Math.PI
  const end = start + turn
  const point = (at: number): string => `${CENTRE + ARC * Math.cos(at)} ${CENTRE + ARC * Math.sin(at)}`
  return `M${point(start)} A${ARC} ${ARC} 0 ${turn > Math.PI ? 1 : 0} 1 ${point(end)}`
}
