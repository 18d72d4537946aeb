// Unpacks the LZ4 form that Linux's build makes of a kernel (`lz4 -l`, the "legacy frame"): a magic number, then
// blocks, each with its length in front. apt's helper, which unpacks the other forms, reads only the newer frame.
// Checks every length against the input and the output; there is no checksum. Portable.
// lz4_Block_format.md, lz4_Frame_format.md ("Legacy frame").

const MAGIC = 0x184c2102
const BLOCK_BYTES_MAX = 8 << 20
const MATCH_MIN = 4
const LENGTH_MORE = 15

export function isLegacyLz4(packed: Uint8Array): boolean {
  return packed.length >= 8 && new DataView(packed.buffer, packed.byteOffset).getUint32(0, true) === MAGIC
}

/** Throws RangeError unless the result has exactly `bytes` bytes. */
export function unpackLegacyLz4(packed: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  if (!isLegacyLz4(packed)) throw new RangeError('LZ4: not a legacy frame')
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const out = new Uint8Array(bytes)
  let end = 0
  for (let at = 4; at + 4 <= packed.length; ) {
    const length = view.getUint32(at, true)
    at += 4
    if (length > packed.length - at) throw new RangeError('LZ4: a block is cut off')
    end = unpackBlock(packed.subarray(at, at + length), out, end)
    at += length
  }
  if (end !== bytes) throw new RangeError(`LZ4: ${end} bytes instead of ${bytes}`)
  return out
}

/** Writes a block to `out` from `start` on; returns where it ends. */
function unpackBlock(block: Uint8Array, out: Uint8Array, start: number): number {
  let at = 0
  let to = start
  /** 15 in the token means that bytes follow, up to and with the first that is not 255. */
  const length = (nibble: number): number => {
    let sum = nibble
    if (nibble !== LENGTH_MORE) return sum
    for (let byte = 255; byte === 255; sum += byte) {
      if (at >= block.length) throw new RangeError('LZ4: a length is cut off')
      byte = block[at++] as number
    }
    return sum
  }
  const room = (bytes: number): void => {
    if (bytes > out.length - to || to + bytes - start > BLOCK_BYTES_MAX) throw new RangeError('LZ4: too much output')
  }
  while (at < block.length) {
    const token = block[at++] as number
    const literals = length(token >> 4)
    room(literals)
    if (literals > block.length - at) throw new RangeError('LZ4: literals are cut off')
    out.set(block.subarray(at, at + literals), to)
    at += literals
    to += literals
    if (at === block.length) break // the last sequence has literals only
    if (at + 2 > block.length) throw new RangeError('LZ4: an offset is cut off')
    const offset = (block[at] as number) | ((block[at + 1] as number) << 8)
    at += 2
    const match = length(token & LENGTH_MORE) + MATCH_MIN
    room(match)
    if (offset === 0 || offset > to - start) throw new RangeError('LZ4: an offset points outside')
    if (offset >= match) out.copyWithin(to, to - offset, to - offset + match)
    else for (let i = 0; i < match; i++) out[to + i] = out[to + i - offset] as number
    to += match
  }
  return to
}
