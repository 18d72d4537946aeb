// A chain as the device has come to know it: the descriptors in the order they were loaded, the header, the verdict,
// the answer. And what its bytes are for: the readable ones are header and data, the writable ones data and, the last
// of them, the status (rule 8 of CONTRACT.md). Portable.

import * as spec from '../../../../assembly/spec.ts'
import type { ChainState, Role } from './walk-types.ts'

export interface LoadedDescriptor {
  readonly index: number
  addr: bigint
  /** len, flags and next are loaded after the address */
  rest: { readonly len: number; readonly flags: number; readonly next: number } | undefined
}

export interface ChainModel {
  readonly queue: number
  readonly head: number
  readonly step: number
  readonly frame: number
  state: ChainState
  descriptors: LoadedDescriptor[]
  type: number | undefined
  sector: bigint | undefined
  /** of a header that is read byte by byte */
  headerBytes: number[]
  code: number | undefined
  status: number | undefined
  usedLen: number | undefined
  /** what plan() gave to the host */
  slot: number | undefined
  isWrite: boolean
  segments: readonly { readonly gpa: number; readonly len: number }[]
}

export function newChain(queue: number, head: number, step: number, frame: number): ChainModel {
  return {
    queue,
    head,
    step,
    frame,
    state: 'walking',
    descriptors: [],
    type: undefined,
    sector: undefined,
    headerBytes: [],
    code: undefined,
    status: undefined,
    usedLen: undefined,
    slot: undefined,
    isWrite: false,
    segments: [],
  }
}

/** Apart from the original in all that changes. */
export function copyChain(chain: ChainModel): ChainModel {
  return {
    ...chain,
    descriptors: chain.descriptors.map((descriptor) => ({ ...descriptor })),
    headerBytes: [...chain.headerBytes],
  }
}

interface Span {
  readonly gpa: bigint
  readonly len: number
}

export interface Streams {
  /** of each descriptor, in chain order */
  readonly roles: readonly (readonly Role[])[]
  readonly header: readonly Span[]
  readonly data: readonly (Span & { readonly writable: boolean })[]
  /** address of the last writable byte, once all descriptors are known */
  readonly status: bigint | undefined
}

const U64 = 2n ** 64n - 1n

/** What the bytes of the chain are for, as far as its descriptors are known. */
export function streams(chain: ChainModel): Streams {
  const { descriptors } = chain
  const roles: Role[][] = descriptors.map(() => [])
  const header: Span[] = []
  const data: (Span & { writable: boolean })[] = []
  const last = descriptors.at(-1)?.rest
  const isWhole = last !== undefined && (last.flags & spec.VIRTQ_DESC_F_NEXT) === 0
  const statusIn = isWhole ? descriptors.findLastIndex(({ rest }) => rest && rest.len > 0 && isWritable(rest)) : -1
  let status: bigint | undefined
  let headerLeft: number = spec.VIRTIO_BLK_REQ_HEADER_BYTES
  descriptors.forEach(({ addr, rest }, i) => {
    const mine = roles[i] as Role[]
    if (rest === undefined) return
    let { len } = rest
    let gpa = addr
    if (len === 0) mine.push('empty')
    const writable = isWritable(rest)
    if (!writable && headerLeft > 0 && len > 0) {
      const taken = Math.min(headerLeft, len)
      mine.push('header')
      header.push({ gpa, len: taken })
      headerLeft -= taken
      gpa = (gpa + BigInt(taken)) & U64
      len -= taken
    }
    if (i === statusIn) len--
    if (len > 0) {
      mine.push('data')
      data.push({ gpa, len, writable })
    }
    if (i === statusIn) {
      mine.push('status')
      status = (gpa + BigInt(len)) & U64
    }
  })
  return { roles, header, data, status }
}

function isWritable({ flags }: { readonly flags: number }): boolean {
  return (flags & spec.VIRTQ_DESC_F_WRITE) !== 0
}

const TYPES: Readonly<Record<number, string>> = {
  [spec.VIRTIO_BLK_T_IN]: 'IN',
  [spec.VIRTIO_BLK_T_OUT]: 'OUT',
  [spec.VIRTIO_BLK_T_FLUSH]: 'FLUSH',
  [spec.VIRTIO_BLK_T_GET_ID]: 'GET_ID',
  [spec.VIRTIO_BLK_T_DISCARD]: 'DISCARD',
  [spec.VIRTIO_BLK_T_WRITE_ZEROES]: 'WRITE_ZEROES',
}

export function typeName(type: number): string {
  return TYPES[type] ?? `type ${type}`
}
