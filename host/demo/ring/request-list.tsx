// The requests of a recording, as `vblk trace` lists them, to choose one and go to its first frame.

import { useMemo, useState } from 'preact/hooks'
import { type ListedRequest, list } from '../../replay/listing.ts'
import type { Trace } from '../../replay/trace.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { statusText } from './chain.tsx'
import { count, duration } from './kinds.ts'
import type { Frame } from './model/walk-types.ts'
import { ScrollBox } from './scroll-box.tsx'
import { isHeadLoad, type Stepper } from './stepper.ts'

/** Rows of one page of the table. */
const PAGE = 50

export function RequestList({ trace, stepper }: { trace: Trace; stepper: Stepper }) {
  const requests = useMemo(() => list(trace).filter((one) => one.kind === 'request'), [trace])
  const [page, setPage] = useState(0)
  const pages = Math.max(1, Math.ceil(requests.length / PAGE))
  const step = stepper.frame.step
  if (requests.length < 2) return null
  const shown = requests.slice(page * PAGE, (page + 1) * PAGE)
  const go = (request: ListedRequest): void => {
    const at = frameOf(stepper, request)
    if (at !== undefined) stepper.goToFrame(at)
  }
  return (
    <section class="card request-table" aria-label="Requests">
      <header class="frames-head">
        <h2>{count(requests.length, 'request')}</h2>
        {pages > 1 && (
          <p class="toolbar center small">
            <ActionButton isDisabled={page === 0} onClick={() => setPage(page - 1)}>
              Earlier
            </ActionButton>
            <span>
              {page * PAGE + 1} to {page * PAGE + shown.length}
            </span>
            <ActionButton isDisabled={page === pages - 1} onClick={() => setPage(page + 1)}>
              Later
            </ActionButton>
          </p>
        )}
      </header>
      <ScrollBox class="request-table-box" label="Requests, table">
        <table>
          <thead>
            <tr>
              <th class="num" scope="col">
                step
              </th>
              <th class="num" scope="col">
                head
              </th>
              <th scope="col">decision</th>
              <th class="num" scope="col">
                sector
              </th>
              <th class="num" scope="col">
                bytes
              </th>
              <th scope="col">status</th>
              <th class="num" scope="col">
                took
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((request) => (
              <tr
                key={`${request.step}-${request.head}`}
                class={request.step === step ? 'chosen' : undefined}
                aria-current={request.step === step ? 'true' : undefined}
              >
                <td class="num">
                  <button
                    type="button"
                    class="to-bytes mono"
                    aria-label={`Go to the request of step ${request.step}, head ${request.head}`}
                    onClick={() => go(request)}
                  >
                    {request.step}
                  </button>
                </td>
                <td class="num mono">{request.head}</td>
                <td>{request.text}</td>
                <td class="num mono">{request.sector === undefined ? '' : String(request.sector)}</td>
                <td class="num mono">{request.segments.reduce((sum, { len }) => sum + len, 0)}</td>
                <td>
                  {request.dropped ? 'dropped' : request.status === undefined ? 'none' : statusText(request.status)}
                </td>
                <td class="num">{request.duration === undefined ? '' : duration(request.duration)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollBox>
    </section>
  )
}

/** Where it is decided on; of one that is not, where its head is loaded. */
function frameOf({ frames }: Stepper, { step, head }: ListedRequest): number | undefined {
  const verdict = frames.walk.verdictOf(step, head)
  if (verdict !== undefined) return verdict
  const first = frames.walk.firstFrameOf(step)
  return frames.find(first - 1, 1, (frame) => frame.step > step || (isHeadLoad(frame) && headOf(frame) === head))
}

function headOf({ bytes = new Uint8Array() }: Frame): number {
  return (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8)
}
