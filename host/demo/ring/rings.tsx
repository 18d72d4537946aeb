// The virtqueue in guest RAM: avail ring, descriptor table and used ring beside each other, as the driver and the
// device see them. Everything that lies in memory is a button that shows its bytes.

import { Descriptors } from './descriptors.tsx'
import { orUnknown, touchedClass, touchedWords } from './kinds.ts'
import type { Cell, ChainPicture, QueuePicture } from './model/walk-types.ts'
import { hex } from './model/words.ts'
import { RingCircle, type Slot } from './ring-circle.tsx'

export type Look = (gpa: number, len: number) => void

interface RingsProps {
  readonly queue: QueuePicture
  readonly chain: ChainPicture | undefined
  readonly usesEventIdx: boolean
  readonly onLook: Look
}

export function Rings({ queue, chain, usesEventIdx, onLook }: RingsProps) {
  return (
    <section class="card rings" aria-label={`Virtqueue ${queue.index}`}>
      <AvailRing queue={queue} chain={chain} usesEventIdx={usesEventIdx} onLook={onLook} />
      <Descriptors queue={queue} chain={chain} onLook={onLook} />
      <UsedRing queue={queue} chain={chain} usesEventIdx={usesEventIdx} onLook={onLook} />
    </section>
  )
}

function AvailRing({ queue, chain, usesEventIdx, onLook }: RingsProps) {
  const { avail, nextAvail } = queue
  if (avail === undefined) return null
  const inHand = slotOf(queue, chain)
  const slots = avail.entries.map((cell, slot): Slot => {
    const isBlank = isNeverUsed(avail.idx.value, slot, queue.size)
    return { ...cell, slot, isInHand: slot === inHand, isBlank, says: 'head' }
  })
  return (
    <div class="ring-part">
      <h2>
        Avail ring <span class="tag driver">driver writes</span>
      </h2>
      <RingCircle
        label="Avail ring, slots"
        slots={slots}
        outer={{ name: 'avail.idx', idx: avail.idx.value, whose: 'driver' }}
        inner={{ name: 'next_avail', idx: nextAvail, whose: 'device' }}
        between={{ from: nextAvail, to: avail.idx.value, word: 'to take' }}
        onLook={onLook}
      />
      <ul class="cells">
        <CellLine mark="outer driver" name="avail.idx" cell={avail.idx} size={queue.size} onLook={onLook} />
        <OwnLine name="next_avail" value={nextAvail} size={queue.size} />
        <CellLine name="avail.flags" cell={avail.flags} says={flagText(avail.flags, 'NO_INTERRUPT')} onLook={onLook} />
        {usesEventIdx && <CellLine name="used_event" cell={avail.usedEvent} onLook={onLook} />}
      </ul>
      {queue.isStalled && <p class="tag wait">the next head waits for tokens</p>}
      <p class="small muted">
        The driver puts the head of each chain here and moves avail.idx on. The device follows with next_avail.
      </p>
    </div>
  )
}

/** Where the head of the chain in hand stands: an entry is left behind once its chain is judged. */
function slotOf({ avail, nextAvail, size }: QueuePicture, chain: ChainPicture | undefined): number | undefined {
  if (chain === undefined || avail === undefined) return undefined
  for (let back = chain.state === 'walking' || chain.state === 'stalled' ? 0 : 1; back <= size; back++) {
    const slot = (nextAvail - back + 2 * size) % size
    if (avail.entries[slot]?.value === chain.head) return slot
  }
  return undefined
}

/** No index has come so far yet. */
function isNeverUsed(idx: number | undefined, slot: number, size: number): boolean {
  return idx !== undefined && idx < size && slot >= idx
}

function UsedRing({ queue, chain, usesEventIdx, onLook }: RingsProps) {
  const { used, nextUsed, publishedUsed } = queue
  if (used === undefined) return null
  const slots = used.elements.map(({ slot, id, len }): Slot => {
    const isLast = slot === (nextUsed + queue.size - 1) % queue.size
    const isInHand = isLast && chain?.usedLen !== undefined && id.value === chain.head
    const touched = id.touched ?? len.touched
    const isBlank = isNeverUsed(nextUsed, slot, queue.size)
    const says = `len ${orUnknown(len.value)}, id`
    return { slot, gpa: id.gpa, len: 8, value: id.value, touched, isInHand, isBlank, says }
  })
  return (
    <div class="ring-part">
      <h2>
        Used ring <span class="tag device">device writes</span>
      </h2>
      <RingCircle
        label="Used ring, slots"
        slots={slots}
        outer={{ name: 'used.idx', idx: used.idx.value, whose: 'device' }}
        inner={{ name: 'next_used', idx: nextUsed, whose: 'device' }}
        between={{ from: publishedUsed, to: nextUsed, word: 'to publish' }}
        onLook={onLook}
      />
      <ul class="cells">
        <CellLine mark="outer device" name="used.idx" cell={used.idx} size={queue.size} onLook={onLook} />
        <OwnLine name="next_used" value={nextUsed} size={queue.size} />
        <CellLine name="used.flags" cell={used.flags} says={flagText(used.flags, 'NO_NOTIFY')} onLook={onLook} />
        {usesEventIdx && <CellLine name="avail_event" cell={used.availEvent} onLook={onLook} />}
      </ul>
      <LastUsed queue={queue} />
      <p class="small muted">
        The device puts each finished chain here, its head and how much it wrote, and shows them by moving used.idx.
      </p>
    </div>
  )
}

/** The elements written last, with their lengths, which the circle has no room for. */
function LastUsed({ queue: { used, nextUsed, size } }: { queue: QueuePicture }) {
  const last = used?.elements[(nextUsed + size - 1) % size]
  if (nextUsed === 0 || last === undefined) return null
  return (
    <p class="small last-used">
      Last element: id <b class="mono">{orUnknown(last.id.value)}</b>, len{' '}
      <b class="mono">{orUnknown(last.len.value)}</b>
    </p>
  )
}

function flagText({ value }: Cell, name: string): string {
  if (!value) return ''
  return value === 1 ? name : hex(value)
}

interface CellLineProps {
  name: string
  cell: Cell
  mark?: string
  /** of the ring, for what is an index */
  size?: number
  says?: string
  onLook: Look
}

function CellLine({ name, cell, mark, size, says, onLook }: CellLineProps) {
  const slot = size !== undefined && cell.value !== undefined ? `slot ${cell.value % size}` : says
  return (
    <li>
      <button
        type="button"
        class={touchedClass('cell', cell.touched)}
        aria-label={`${name}: ${orUnknown(cell.value)}${slot ? `, ${slot}` : ''}${touchedWords(cell.touched)}`}
        title={`${name} at ${hex(cell.gpa)}`}
        onClick={() => onLook(cell.gpa, cell.len)}
      >
        <Mark kind={mark} />
        <span class="mono">{name}</span> <strong class="mono">{orUnknown(cell.value)}</strong>{' '}
        <span class="muted small">{slot}</span>
      </button>
    </li>
  )
}

/** A number that the device keeps to itself: no bytes of guest RAM. */
function OwnLine({ name, value, size }: { name: string; value: number; size: number }) {
  return (
    <li class="own" title="Kept by the device, not in guest RAM">
      <Mark kind="inner device" />
      <span class="mono">{name}</span> <strong class="mono">{value}</strong>{' '}
      <span class="muted small">slot {value % size}</span>
    </li>
  )
}

function Mark({ kind }: { kind: string | undefined }) {
  return (
    <svg viewBox="0 0 12 12" width="11" height="11" aria-hidden="true" class="mark">
      {kind && (
        <path class={`hand ${kind}`} d={kind.startsWith('outer') ? 'M6 11 L0 1 L12 1 Z' : 'M6 1 L12 11 L0 11 Z'} />
      )}
    </svg>
  )
}
