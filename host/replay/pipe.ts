// Bytes through a stream of the platform's (CompressionStream and its like), in one piece. Portable.

type Through = { writable: WritableStream; readable: ReadableStream<Uint8Array> }

/** All of what comes out; `most` ends it early: one byte more is enough to know that it is wrong. */
export async function pipe(bytes: Uint8Array, { writable, readable }: Through, most = Number.POSITIVE_INFINITY) {
  const writer = writable.getWriter()
  const fed = writer.write(bytes).then(() => writer.close())
  fed.catch(() => {}) // reading fails with the same error
  const pieces: Uint8Array[] = []
  let length = 0
  const reader = readable.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    pieces.push(next.value)
    length += next.value.length
    if (length <= most) continue
    await reader.cancel()
    break
  }
  const all = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}
