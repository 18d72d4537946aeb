// The particulars of a request that is refused: which descriptor, which sector, how many bytes, as far as the chain
// tells. What the rule says is references.ts. Portable.

import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import { type ChainModel, streams, typeName } from './chain-model.ts'
import type { RegisterModel } from './register-model.ts'
import { count, hex } from './words.ts'

interface Span {
  readonly gpa: bigint
  readonly len: number
}

/** What is wrong with this chain in particular; undefined where the decision says it all. */
export function faultDetail(code: number, chain: ChainModel, registers: RegisterModel): string | undefined {
  const { header, data } = streams(chain)
  const bytes = total(data)
  switch (code) {
    case abi.VERDICT_UNSUPPORTED:
      return chain.type === undefined ? undefined : `the header says ${typeName(chain.type)}`
    case abi.REQUEST_FAULT_ORDER:
      return orderText(chain)
    case abi.REQUEST_FAULT_HEADER_SHORT:
      return `the chain has ${count(total(header), 'readable byte')}`
    case abi.REQUEST_FAULT_HEADER_UNMAPPED:
      return unmappedText(header, registers)
    case abi.REQUEST_FAULT_FLUSH_DATA:
      return `this one has ${count(bytes, 'byte')}`
    case abi.REQUEST_FAULT_ALIGNMENT:
      return `${count(bytes, 'byte')} of data at sector ${chain.sector ?? '?'}`
    case abi.REQUEST_FAULT_DIRECTION:
      return directionText(chain)
    case abi.REQUEST_FAULT_DATA_UNMAPPED:
      return unmappedText(data, registers)
    case abi.REQUEST_FAULT_RANGE: {
      const sectors = count(Math.ceil(bytes / spec.VIRTIO_BLK_SECTOR_BYTES), 'sector')
      return `${sectors} from sector ${chain.sector ?? '?'} on, of a disk with ${registers.capacitySectors}`
    }
    case abi.REQUEST_FAULT_ID_SHORT:
      return `the buffer has ${count(bytes, 'byte')}`
    default:
      return undefined
  }
}

function total(spans: readonly Span[]): number {
  return spans.reduce((sum, { len }) => sum + len, 0)
}

function isWritable({ rest }: ChainModel['descriptors'][number]): boolean {
  return ((rest?.flags ?? 0) & spec.VIRTQ_DESC_F_WRITE) !== 0
}

function orderText({ descriptors }: ChainModel): string | undefined {
  const writable = descriptors.findIndex(isWritable)
  const readable = descriptors.find((one, i) => i > writable && !isWritable(one))
  const before = descriptors[writable]
  if (before === undefined || readable === undefined) return undefined
  return `descriptor ${readable.index} is readable and comes after descriptor ${before.index}, which is WRITE`
}

/** The first descriptor with data that goes the other way than the type. */
function directionText(chain: ChainModel): string | undefined {
  const { type, descriptors } = chain
  if (type === undefined) return undefined
  const { roles } = streams(chain)
  const needsWrite = type === spec.VIRTIO_BLK_T_IN || type === spec.VIRTIO_BLK_T_GET_ID
  const wrong = descriptors.find((one, i) => roles[i]?.includes('data') && isWritable(one) !== needsWrite)
  if (wrong === undefined) return undefined
  const what =
    { [spec.VIRTIO_BLK_T_IN]: 'a read (IN)', [spec.VIRTIO_BLK_T_OUT]: 'a write (OUT)' }[type] ?? typeName(type)
  return needsWrite
    ? `descriptor ${wrong.index} is readable, but ${what} needs it WRITE`
    : `descriptor ${wrong.index} is WRITE, but ${what} needs it readable`
}

function unmappedText(spans: readonly Span[], registers: RegisterModel): string | undefined {
  const outside = spans.find((span) => !isMapped(span, registers))
  return outside && `${count(outside.len, 'byte')} at ${hex(outside.gpa)} are not all in guest RAM`
}

/** Regions can lie next to each other. */
function isMapped({ gpa, len }: Span, { regions }: RegisterModel): boolean {
  const end = gpa + BigInt(len)
  let at = gpa
  while (at < end) {
    const region = regions.find((one) => at >= BigInt(one.gpa) && at < BigInt(one.gpa) + BigInt(one.bytes))
    if (region === undefined) return false
    at = BigInt(region.gpa) + BigInt(region.bytes)
  }
  return true
}
