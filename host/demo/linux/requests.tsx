// The latest requests, newest first. The list stands still while the pointer or the keyboard is in it, or when it is
// paused, and says how many came meanwhile. A request opens the recording in the Ring view, where it was taken.

import { useRef, useState } from 'preact/hooks'
import { STATUS_BYTE_NAMES } from '../spec-names.ts'
import { bytesText, microsText, timeText } from './format.ts'
import type { RequestRow } from './messages.ts'

interface RequestsProps {
  /** newest first */
  readonly rows: readonly RequestRow[]
  /** numbers below are no longer kept */
  readonly oldestRecording: number
  readonly onOpen: (row: RequestRow) => void
}

const TOOK = 'from when the disk took the request from the ring until it was complete'
const WAITED = 'in the ring before that, for a limit'

export function Requests({ rows, oldestRecording, onOpen }: RequestsProps) {
  const [isPaused, setPaused] = useState(false)
  const [hasPointer, setPointer] = useState(false)
  const [hasFocus, setFocus] = useState(false)
  const shown = useRef(rows)
  if (!isPaused && !hasPointer && !hasFocus) shown.current = rows
  const newest = shown.current[0]
  const more = newest === undefined ? rows.length : rows.indexOf(newest)
  return (
    <section class="card" aria-label="Latest requests">
      <div class="toolbar center">
        <h2>Latest requests</h2>
        <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? 'Go on' : 'Pause'}
        </button>
        <span class="muted small">
          {more === 0 ? 'Choose one to see it in the Ring view.' : more < 0 ? 'many newer' : `${more} newer`}
        </span>
      </div>
      <p class="muted small">
        Took: {TOOK}. Waited: {WAITED}.
      </p>
      <div
        class="scroll requests"
        onPointerEnter={() => setPointer(true)}
        onPointerLeave={() => setPointer(false)}
        onFocusCapture={() => setFocus(true)}
        onBlurCapture={() => setFocus(false)}
      >
        <table>
          <thead>
            <tr>
              <th scope="col">Request</th>
              <th scope="col" class="num">
                Sector
              </th>
              <th scope="col" class="num">
                Data
              </th>
              <th scope="col">Status</th>
              <th scope="col" class="num" title={TOOK}>
                Took
              </th>
              <th scope="col" class="num" title={WAITED}>
                Waited
              </th>
              <th scope="col" class="num">
                At
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.current.map((row) => (
              <Row
                key={`${row.recording}:${row.step}:${row.head}`}
                row={row}
                isKept={row.recording >= oldestRecording}
                onOpen={onOpen}
              />
            ))}
          </tbody>
        </table>
        {rows.length === 0 && <p class="muted">None yet: the guest has not asked its disk for anything.</p>}
      </div>
    </section>
  )
}

const TAGS: Readonly<Record<string, string>> = { read: 'load', write: 'store', flush: 'decision' }

interface RowProps {
  readonly row: RequestRow
  readonly isKept: boolean
  readonly onOpen: (row: RequestRow) => void
}

function Row({ row, isKept, onOpen }: RowProps) {
  const { operation, decision, sector, bytes, status, micros, waitedMillis, time } = row
  const what = `${operation}${sector === undefined ? '' : ` at sector ${sector}`}`
  return (
    <tr class={isKept ? 'opens' : ''} title={decision} onClick={() => isKept && onOpen(row)}>
      <td>
        <button
          type="button"
          class={`tag ${TAGS[operation] ?? 'bad'}`}
          aria-disabled={!isKept} // and not disabled: it would lose the keyboard's focus
          aria-label={`Open ${what}`}
        >
          {operation}
        </button>
      </td>
      <td class="num">{sector ?? ''}</td>
      <td class="num">{bytes === 0 ? '' : bytesText(bytes)}</td>
      <td>
        {status === undefined ? (
          'dropped'
        ) : status === 0 ? (
          'OK'
        ) : (
          <span class="problem">{STATUS_BYTE_NAMES[status] ?? status}</span>
        )}
      </td>
      <td class="num">{micros === undefined ? '' : microsText(micros)}</td>
      <td class="num">{waitedMillis === undefined ? '' : microsText(waitedMillis * 1000)}</td>
      <td class="num">{timeText(time)}</td>
    </tr>
  )
}
