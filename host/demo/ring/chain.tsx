// The request in hand, from its header to its answer: what the chain of descriptors means once the two byte streams
// are put together. A box for each part, in chain order, each a button that shows its bytes.

import { STATUS_BYTE_NAMES } from '../spec-names.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { orUnknown, printable } from './kinds.ts'
import type { ChainPicture, DataSpan, Touched } from './model/walk-types.ts'
import { DEVICES, UNKNOWN } from './model/walk-types.ts'
import { hex } from './model/words.ts'
import type { Look } from './rings.tsx'

interface ChainProps {
  readonly chain: ChainPicture | undefined
  /** shown when no chain is in hand */
  readonly last: ChainPicture | undefined
  readonly touched: readonly Touched[]
  readonly onLook: Look
}

export function Chain({ chain: inHand, last, touched, onLook }: ChainProps) {
  const chain = inHand ?? last
  return (
    <section class="card chain" aria-label="Request">
      {chain === undefined ? (
        <>
          <h2>Request</h2>
          <p class="muted">No chain in hand: the device has not taken a head from the avail ring yet.</p>
        </>
      ) : (
        <>
          <header class="chain-head">
            <h2>
              {inHand ? 'Request' : 'Last request,'} at head {chain.head}
              {chain.descriptors.length > 1 && <span class="muted small mono"> {chain.descriptors.join(' → ')}</span>}
            </h2>
            <StateTag chain={chain} />
          </header>
          <Parts chain={chain} touched={touched} onLook={onLook} />
          {chain.decision && (
            <p class="verdict">
              <span class="tag decision">D verdict</span> {chain.decision}
            </p>
          )}
        </>
      )}
    </section>
  )
}

function StateTag({ chain }: { chain: ChainPicture }) {
  const look = { published: 'good', dropped: 'bad', stalled: 'wait', 'in flight': 'wait' } as Record<string, string>
  return <span class={`tag ${look[chain.state] ?? ''}`}>{chain.state}</span>
}

function Parts({ chain, touched, onLook }: Pick<ChainProps, 'touched' | 'onLook'> & { chain: ChainPicture }) {
  const { header, data, statusByte } = chain
  const kindAt = (gpa: bigint, len: number): Touched['kind'] | undefined => {
    return touched.find((part) => overlaps(part, gpa, len))?.kind
  }
  const readable = data.filter((span) => !span.writable)
  const writable = data.filter((span) => span.writable)
  return (
    <ol class="parts">
      <Part
        title="header"
        where={header[0] && { gpa: header[0].gpa, len: header.reduce((sum, piece) => sum + piece.len, 0) }}
        touched={header.map(({ gpa, len }) => kindAt(gpa, len)).find((kind) => kind)}
        onLook={onLook}
      >
        <b class="mono">{chain.typeName ?? 'type ?'}</b>
        <span class="mono">sector {chain.sector === undefined ? '?' : sectorText(chain.sector)}</span>
      </Part>
      {[...readable, ...writable].slice(0, SPANS_SHOWN).map((span, i) => (
        <Data key={i} span={span} touched={kindAt(span.gpa, span.len)} onLook={onLook} />
      ))}
      {data.length > SPANS_SHOWN && <li class="more muted">and {data.length - SPANS_SHOWN} more pieces of data</li>}
      <Part
        title="status"
        direction="writable"
        where={statusByte && { gpa: statusByte.gpa, len: 1 }}
        touched={statusByte && kindAt(statusByte.gpa, 1)}
        onLook={onLook}
      >
        {chain.status === undefined ? (
          <span class="muted">not written yet</span>
        ) : (
          <b class={`mono ${chain.status === 0 ? 'is-good' : 'is-bad'}`}>{statusText(chain.status)}</b>
        )}
        {chain.usedLen !== undefined && <span class="mono">used len {chain.usedLen}</span>}
      </Part>
    </ol>
  )
}

const SPANS_SHOWN = 8

function overlaps({ gpa, len }: Touched, at: bigint, count: number): boolean {
  return BigInt(gpa) < at + BigInt(count) && at < BigInt(gpa + len)
}

function Data({ span, touched, onLook }: { span: DataSpan; touched: Touched['kind'] | undefined; onLook: Look }) {
  const { bytes, known } = span.start
  const text = [...bytes].map((byte, i) => (known[i] === UNKNOWN ? '·' : printable(byte))).join('')
  const isDevices = known.includes(DEVICES)
  return (
    <Part
      title={`data, ${span.len} B`}
      direction={span.writable ? 'writable' : 'readable'}
      where={{ gpa: span.gpa, len: span.len }}
      touched={touched}
      onLook={onLook}
    >
      <span class="mono preview" data-devices={isDevices ? '' : undefined}>
        {known.every((one) => one === UNKNOWN) ? 'unknown' : text}
      </span>
    </Part>
  )
}

interface PartProps {
  title: string
  direction?: 'readable' | 'writable'
  where: { gpa: bigint; len: number } | undefined
  touched: Touched['kind'] | undefined
  onLook: Look
  children: preact.ComponentChildren
}

function Part({ title, direction = 'readable', where, touched, onLook, children }: PartProps) {
  const isInReach = where !== undefined && where.gpa <= BigInt(Number.MAX_SAFE_INTEGER)
  return (
    <li class={`part ${direction}${touched ? ` touched ${touched}` : ''}`}>
      <ActionButton
        class="part-button"
        isDisabled={!isInReach}
        title={where && `Show the bytes from ${hex(where.gpa)} on`}
        onClick={() => where && onLook(Number(where.gpa), where.len)}
      >
        <span class="part-title">
          {title} <span class="way">{direction}</span>
        </span>
        {children}
        <span class="muted small mono">{where ? hex(where.gpa) : 'not found yet'}</span>
      </ActionButton>
    </li>
  )
}

export function statusText(status: number): string {
  return `${status} ${STATUS_BYTE_NAMES[status] ?? ''}`.trim()
}

/** Sectors at the end of the 64-bit numbers are easier to recognise in hexadecimal. */
function sectorText(sector: bigint): string {
  return sector > 0xffffffffffffn ? hex(sector) : orUnknown(sector)
}
