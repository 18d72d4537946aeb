// What can be broken in a request with one switch: each makes a driver's mistake out of a request that is whole. The
// names of the faults are those of assembly/CONTRACT.md. No components.

import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../../../../assembly/spec.ts'
import { RAM_BYTES, type ScenarioDevice, type ScenarioPiece, type ScenarioRequest } from './scenario.ts'

type Group = 'Ring' | 'Header' | 'Data' | 'Status'

interface Breakage {
  readonly id: string
  readonly group: Group
  /** of the switch */
  readonly label: string
  apply(request: ScenarioRequest, device: ScenarioDevice): ScenarioRequest
}

const END = BigInt(RAM_BYTES)
const HEADER_BYTES = 16

function withPieces(request: ScenarioRequest, pieces: readonly ScenarioPiece[]): ScenarioRequest {
  return { ...request, pieces }
}

function change(request: ScenarioRequest, at: number, more: Partial<ScenarioPiece>): ScenarioRequest {
  return withPieces(
    request,
    request.pieces.map((piece, i) => (i === at ? { ...piece, ...more } : piece)),
  )
}

function lastOf(request: ScenarioRequest): number {
  return request.pieces.length - 1
}

/** The piece that ends with the status byte; -1 without one. */
function statusOf({ pieces }: ScenarioRequest): number {
  return pieces.findLastIndex((piece) => piece.writable && piece.bytes > 0)
}

/** The first piece that is data alone; -1 without one. */
function dataOf(request: ScenarioRequest): number {
  const status = statusOf(request)
  return request.pieces.findIndex((piece, i) => i > 0 && i !== status && piece.bytes > 0)
}

function goOn(request: ScenarioRequest, next: number): ScenarioRequest {
  const last = request.pieces.at(-1)
  const flags = VIRTQ_DESC_F_NEXT + (last?.writable ? VIRTQ_DESC_F_WRITE : 0)
  return change(request, lastOf(request), { flags, next })
}

export const BREAKAGES = [
  {
    id: 'head-outside',
    group: 'Ring',
    label: 'The avail ring names a head outside the table',
    apply: (request, { queueSize }) => ({ ...request, ringEntry: queueSize }),
  },
  {
    id: 'head-again',
    group: 'Ring',
    label: 'The avail ring names head 0, in flight or not',
    apply: (request) => ({ ...request, ringEntry: 0 }),
  },
  {
    id: 'next-outside',
    group: 'Ring',
    label: 'The last descriptor goes on outside the table',
    apply: (request, { queueSize }) => goOn(request, queueSize),
  },
  {
    id: 'loop',
    group: 'Ring',
    label: 'The last descriptor goes on with the first',
    // Where the chain begins must be known for that: the end of the table is out of the way of others.
    apply: (request, { queueSize }) => {
      const head = request.head ?? Math.max(0, queueSize - request.pieces.length)
      return { ...goOn(request, head), head }
    },
  },
  {
    id: 'indirect',
    group: 'Ring',
    label: 'The first descriptor says INDIRECT',
    apply: (request) => change(request, 0, { flags: VIRTQ_DESC_F_INDIRECT }),
  },
  {
    id: 'header-short',
    group: 'Header',
    label: 'The header has 15 bytes',
    apply: (request) => change(request, 0, { bytes: HEADER_BYTES - 1 }),
  },
  {
    id: 'header-outside',
    group: 'Header',
    label: 'The header ends outside guest RAM',
    apply: (request) => change(request, 0, { addr: END - 8n }),
  },
  {
    id: 'sector-end',
    group: 'Header',
    label: 'The sector is behind the end of the disk',
    apply: (request, { sectors }) => ({ ...request, sector: BigInt(sectors) }),
  },
  {
    id: 'sector-max',
    group: 'Header',
    label: 'The sector is 2^64 - 1',
    apply: (request) => ({ ...request, sector: 2n ** 64n - 1n }),
  },
  {
    id: 'type-unknown',
    group: 'Header',
    label: 'A type that no device knows (99)',
    apply: (request) => ({ ...request, type: 99 }),
  },
  {
    id: 'data-none',
    group: 'Data',
    label: 'The data is missing',
    apply: (request) => {
      const status = statusOf(request)
      return withPieces(
        request,
        request.pieces.filter((_, i) => i === 0 || i === status),
      )
    },
  },
  {
    id: 'data-odd',
    group: 'Data',
    label: 'The data is one byte longer than whole blocks',
    apply: (request) => {
      const at = dataOf(request)
      return change(request, at, { bytes: (request.pieces[at]?.bytes ?? 0) + 1 })
    },
  },
  {
    id: 'data-direction',
    group: 'Data',
    label: 'The data has the wrong direction',
    apply: (request) => {
      const at = dataOf(request)
      return change(request, at, { writable: !request.pieces[at]?.writable })
    },
  },
  {
    id: 'data-outside',
    group: 'Data',
    label: 'The data ends outside guest RAM',
    apply: (request) => {
      const at = dataOf(request)
      const len = Math.max(request.pieces[at]?.bytes ?? 0, 2)
      return change(request, at, { bytes: 0, len, addr: END - BigInt(Math.floor(len / 2)) })
    },
  },
  {
    id: 'data-order',
    group: 'Data',
    label: 'A readable byte after the writable ones',
    apply: (request) => {
      const status = statusOf(request)
      const stray = { writable: false, bytes: 1 }
      const pieces = [...request.pieces]
      // In front of the status; behind something writable, or else behind the status itself.
      const isBehind = pieces.slice(0, status).some(({ writable, bytes }) => writable && bytes > 0)
      pieces.splice(isBehind ? status : status + 1, 0, stray)
      return withPieces(request, pieces)
    },
  },
  {
    id: 'status-none',
    group: 'Status',
    label: 'No writable byte at all',
    apply: (request) =>
      withPieces(
        request,
        request.pieces.filter(({ writable }) => !writable),
      ),
  },
  {
    id: 'status-outside',
    group: 'Status',
    label: 'The status byte is outside guest RAM',
    apply: (request) => change(request, statusOf(request), { addr: END }),
  },
] as const satisfies readonly Breakage[]

export type BreakageId = (typeof BREAKAGES)[number]['id']
export const BREAKAGE_GROUPS: readonly Group[] = ['Ring', 'Header', 'Data', 'Status']
