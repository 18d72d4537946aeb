// Guest RAM in hexadecimal, any range of it: follows the frames, or stays where one was sent. Tells bytes that the
// driver wrote from those that the device wrote, marks what the frame touches, and shows what is not known as unknown.

import { useEffect, useState } from 'preact/hooks'
import { ActionButton } from '../ui/action-button.tsx'
import { printable } from './kinds.ts'
import { DEVICES, type Dump, type Picture, type Touched, UNKNOWN } from './model/walk-types.ts'
import { hex } from './model/words.ts'

/** What is shown: a place, and how many bytes from there on are meant. */
export interface Range {
  readonly gpa: number
  readonly len: number
}

interface HexViewProps {
  readonly picture: Picture
  readonly range: Range
  readonly isFollowing: boolean
  dump(gpa: number, len: number): Dump
  onLook(gpa: number, len: number): void
  onFollow(follows: boolean): void
}

const ROWS = 8
/** Below this width a row has 8 bytes. */
const NARROW = '(max-width: 600px)'

export function HexView({ picture, range, isFollowing, dump, onLook, onFollow }: HexViewProps) {
  const perRow = useNarrow() ? 8 : 16
  const lead = range.gpa % perRow
  // One row before, so that one sees where it begins.
  const first = Math.max(0, range.gpa - lead - (range.len > (ROWS - 1) * perRow - lead ? 0 : perRow))
  const { bytes, known } = dump(first, ROWS * perRow)
  const page = (direction: number): void => onLook(Math.max(0, first + direction * ROWS * perRow), 1)
  return (
    <section class="card hex" aria-label="Guest RAM">
      <header class="hex-head">
        <h2>Guest RAM</h2>
        <Address at={range.gpa} onLook={onLook} />
        <span class="hex-pages">
          <ActionButton class="icon" label="Lower addresses" isDisabled={first === 0} onClick={() => page(-1)}>
            ↑
          </ActionButton>
          <button type="button" class="icon" aria-label="Higher addresses" onClick={() => page(1)}>
            ↓
          </button>
        </span>
        <label class="check small">
          <input type="checkbox" checked={isFollowing} onChange={(event) => onFollow(event.currentTarget.checked)} />
          follow the frames
        </label>
      </header>
      <div class="hex-body">
        <table class="dump mono">
          <caption class="visually-hidden">
            {ROWS * perRow} bytes from {hex(first)} on
          </caption>
          <tbody>
            {Array.from({ length: ROWS }, (_, row) => {
              const from = row * perRow
              return (
                <DumpRow
                  key={row}
                  gpa={first + from}
                  bytes={bytes.subarray(from, from + perRow)}
                  known={known.subarray(from, from + perRow)}
                  range={range}
                  touched={picture.touched}
                />
              )
            })}
          </tbody>
        </table>
        <Places picture={picture} range={range} onLook={onLook} />
      </div>
      <p class="dump-legend small muted">
        <span class="sample">00</span> as the driver left it <span class="sample devices">00</span> written by the
        device <span class="sample unknown">··</span> not known <TouchedLegend touched={picture.touched} />
      </p>
    </section>
  )
}

function TouchedLegend({ touched }: { touched: readonly Touched[] }) {
  const [first] = touched
  if (!first) return null
  const words = { load: 'loaded', store: 'stored', driver: 'written by the driver', data: 'moved by the back end' }
  return (
    <>
      <span class={`sample touched ${first.kind}`}>00</span> {words[first.kind]} in this frame
    </>
  )
}

interface DumpRowProps {
  gpa: number
  bytes: Uint8Array
  known: Uint8Array
  range: Range
  touched: readonly Touched[]
}

function DumpRow({ gpa, bytes, known, range, touched }: DumpRowProps) {
  return (
    <tr>
      <th scope="row">{gpa.toString(16).padStart(6, '0')}</th>
      {[...bytes].map((byte, i) => {
        const at = gpa + i
        const kind = touched.find((part) => at >= part.gpa && at < part.gpa + part.len)?.kind
        const classes = [
          kind && `touched ${kind}`,
          known[i] === DEVICES && 'devices',
          known[i] === UNKNOWN && 'unknown',
          at >= range.gpa && at < range.gpa + range.len && 'meant',
        ]
        return (
          <td key={i} class={classes.filter(Boolean).join(' ') || undefined}>
            {known[i] === UNKNOWN ? '··' : byte.toString(16).padStart(2, '0')}
          </td>
        )
      })}
      <td class="ascii">{[...bytes].map((byte, i) => (known[i] === UNKNOWN ? '·' : printable(byte))).join('')}</td>
    </tr>
  )
}

interface Place {
  readonly name: string
  readonly gpa: number
  readonly len: number
}

/** The parts that have names. */
function placesOf({ queue, chain }: Picture): Place[] {
  const places: Place[] = []
  if (queue?.isReady) {
    const { size } = queue
    places.push({ name: 'descriptor table', gpa: Number(queue.descGpa), len: 16 * size })
    places.push({ name: 'avail ring', gpa: Number(queue.availGpa), len: 6 + 2 * size })
    places.push({ name: 'used ring', gpa: Number(queue.usedGpa), len: 6 + 8 * size })
  }
  if (chain) {
    const pieces = (name: string, spans: readonly { gpa: bigint; len: number }[]): void => {
      for (const [i, { gpa, len }] of spans.entries()) {
        places.push({ name: spans.length === 1 ? name : `${name}, piece ${i + 1}`, gpa: Number(gpa), len })
      }
    }
    pieces('header', chain.header)
    pieces('data', chain.data)
    if (chain.statusByte) places.push({ name: 'status byte', gpa: Number(chain.statusByte.gpa), len: 1 })
  }
  return places.filter(({ gpa }) => gpa < ADDRESS_MAX)
}

function Places({ picture, range, onLook }: Pick<HexViewProps, 'picture' | 'range' | 'onLook'>) {
  return (
    <ul class="places" aria-label="Parts of guest RAM">
      {placesOf(picture).map(({ name, gpa, len }) => (
        <li key={name}>
          <button type="button" aria-pressed={range.gpa === gpa && range.len === len} onClick={() => onLook(gpa, len)}>
            {name} <span class="mono muted">{hex(gpa)}</span>
          </button>
        </li>
      ))}
    </ul>
  )
}

/** Guest RAM of a page is far below this. */
const ADDRESS_MAX = 2 ** 48

function Address({ at, onLook }: { at: number; onLook: HexViewProps['onLook'] }) {
  const [typed, setTyped] = useState<string>()
  const wanted = typed === undefined ? at : Number(typed.trim() === '' ? Number.NaN : typed)
  const isWrong = !(Number.isInteger(wanted) && wanted >= 0 && wanted < ADDRESS_MAX)
  return (
    <input
      class="mono"
      aria-label="Address"
      size={9}
      spellcheck={false}
      value={typed ?? hex(at)}
      aria-invalid={isWrong}
      title="An address: 0x1000, or decimal"
      onInput={({ currentTarget }) => setTyped(currentTarget.value)}
      onChange={() => {
        if (!isWrong) onLook(wanted, 1)
        setTyped(undefined)
      }}
    />
  )
}

function useNarrow(): boolean {
  const [isNarrow, setNarrow] = useState(() => matchMedia(NARROW).matches)
  useEffect(() => {
    const query = matchMedia(NARROW)
    const follow = (): void => setNarrow(query.matches)
    query.addEventListener('change', follow)
    return () => query.removeEventListener('change', follow)
  }, [])
  return isNarrow
}
