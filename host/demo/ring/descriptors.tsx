// The descriptor table with the chain in hand: one line in the margin from each of its descriptors to the next. Rows
// are as high as ring.css says, so that the lines need no measuring.

import { useEffect, useRef } from 'preact/hooks'
import { excerptOf, orUnknown, touchedClass, touchedWords } from './kinds.ts'
import type { ChainPicture, DescriptorRow, QueuePicture } from './model/walk-types.ts'
import { hex } from './model/words.ts'
import type { Look } from './rings.tsx'
import { ScrollBox } from './scroll-box.tsx'

/** Pixels of a row and of the heading, as ring.css has them. */
const ROW = 25
const HEAD = 27
const MARGIN = 34

interface DescriptorsProps {
  readonly queue: QueuePicture
  readonly chain: ChainPicture | undefined
  readonly onLook: Look
}

export function Descriptors({ queue, chain, onLook }: DescriptorsProps) {
  const box = useRef<HTMLElement>(null)
  const touched = queue.descriptors.find((row) => row.touched)?.index ?? chain?.descriptors.at(-1)
  const excerpt = excerptOf(queue.size, touched)
  useEffect(() => {
    const element = box.current
    if (!element || touched === undefined) return
    const top = (touched - excerpt.from) * ROW
    const seen = element.clientHeight - HEAD
    if (top < element.scrollTop) element.scrollTop = top
    else if (top + ROW > element.scrollTop + seen) element.scrollTop = top + ROW - seen
  }, [touched, excerpt.from])
  return (
    <div class="ring-part table-part">
      <h2>
        Descriptor table <span class="muted small">at {hex(queue.descGpa)}</span>
        {excerpt.to - excerpt.from < queue.size && (
          <span class="muted small">
            , {excerpt.from} to {excerpt.to - 1} of {queue.size}
          </span>
        )}
      </h2>
      <ScrollBox class="descriptors" box={box} label="Descriptor table">
        <Links chain={chain} from={excerpt.from} to={excerpt.to} />
        <table>
          <thead>
            <tr>
              <th class="num" scope="col">
                #
              </th>
              <th scope="col">addr</th>
              <th class="num" scope="col">
                len
              </th>
              <th scope="col">flags</th>
              <th class="num" scope="col">
                next
              </th>
              <th scope="col">holds</th>
            </tr>
          </thead>
          <tbody>
            {queue.descriptors.slice(excerpt.from, excerpt.to).map((row) => (
              <Row key={row.index} row={row} onLook={onLook} />
            ))}
          </tbody>
        </table>
      </ScrollBox>
    </div>
  )
}

function Row({ row, onLook }: { row: DescriptorRow; onLook: Look }) {
  const { index, addr, len, flagNames, flags, next, roles, touched } = row
  const isNext = flags !== undefined && (flags & 1) !== 0
  const state = row.isInHand ? 'in hand' : row.isInFlight ? 'in flight' : undefined
  const isBlank = row.isKnown && addr === 0n && len === 0 && flags === 0 && next === 0
  return (
    <tr
      class={touchedClass('descriptor', touched)}
      data-index={index}
      data-state={state}
      data-blank={isBlank ? '' : undefined}
    >
      <th class="num" scope="row">
        <button
          type="button"
          class="to-bytes mono"
          aria-label={`descriptor ${index}${state ? `, ${state}` : ''}${touchedWords(touched)}: show its bytes`}
          onClick={() => onLook(row.gpa, 16)}
        >
          {index}
        </button>
      </th>
      <td class="mono">{addr === undefined ? '?' : hex(addr)}</td>
      <td class="mono num">{orUnknown(len)}</td>
      <td class="mono flags">{flags === undefined ? '?' : flagNames.join(' ') || '–'}</td>
      <td class="mono num">{isNext ? orUnknown(next) : next === undefined ? '?' : ''}</td>
      <td>
        {roles.map((role) => (
          <span key={role} class={`role ${role}`}>
            {role}
          </span>
        ))}
        {row.isInFlight && !row.isInHand && <span class="muted flight">in flight</span>}
      </td>
    </tr>
  )
}

/** An arch for each link of the chain; a link backwards or into itself is one too. */
function Links({ chain, from: first, to: end }: { chain: ChainPicture | undefined; from: number; to: number }) {
  const indices = chain?.descriptors ?? []
  const all = indices.slice(1).map((to, i) => ({ from: indices[i] ?? 0, to }))
  // A loop goes the same ways again and again; of a very large table only a part is drawn.
  const isDrawn = (index: number): boolean => index >= first && index < end
  const links = [...new Map(all.map((link) => [`${link.from} ${link.to}`, link])).values()].filter(
    ({ from, to }) => isDrawn(from) && isDrawn(to),
  )
  const y = (index: number): number => HEAD + (index - first) * ROW + ROW / 2
  const head = indices.find((index, place) => place === 0 && isDrawn(index))
  return (
    <svg class="links" width={MARGIN} height={HEAD + (end - first) * ROW} aria-hidden="true">
      {head !== undefined && <path class="link head" d={`M0 ${y(head)} H${MARGIN - 5}`} />}
      {head !== undefined && <path class="tip" d={tip(y(head))} />}
      {links.map(({ from, to }) => {
        const depth = MARGIN - 6 - Math.min(8 + Math.abs(to - from) * 3, MARGIN - 10)
        const a = y(from) + 4
        const b = y(to) - (to > from ? 3 : -3)
        return (
          <g key={`${from}-${to}`}>
            <path class="link" d={`M${MARGIN - 2} ${a} C${depth} ${a} ${depth} ${b} ${MARGIN - 6} ${b}`} />
            <path class="tip" d={tip(b)} />
          </g>
        )
      })}
    </svg>
  )
}

function tip(y: number): string {
  return `M${MARGIN - 1} ${y} l-7 -4 v8 z`
}
