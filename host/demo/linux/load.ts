// Loads the files of the Linux view: the list of them, the saved machine, v86, and the first disk when it is needed. A
// file whose name changes with its content is never asked for again once the browser has it. For a worker or a page.

import { pipe } from '../../replay/pipe.ts'
import type { DemoFile, DemoManifest } from '../../vmm/demo-manifest.ts'
import { MANIFEST_NAME, readManifest } from '../../vmm/demo-manifest.ts'
import { type SavedMachine, unpackSavedMachine } from '../../vmm/saved-machine.ts'
import type { V86Runtime } from '../../vmm/v86-types.ts'

/** There is no list, which is how a page without Linux looks. */
export class FilesMissingError extends Error {
  /** the server's, in one line, if it gave one */
  readonly reason: string | undefined

  constructor(message: string, reason?: string) {
    super(message)
    this.name = 'FilesMissingError'
    this.reason = reason
  }
}

export interface LinuxFiles {
  readonly saved: SavedMachine
  readonly runtime: V86Runtime
  /** the first disk, unpacked */
  image(): Promise<Uint8Array>
}

/** characters */
const REASON_MAX = 500
const NOT_FOUND = /^(error )?(404\b)?[\s:,-]*((the )?(file|page|resource) )?(was )?(not found)?\.?$/i

type Progress = (done: number, total: number) => void

/** `base`: the address of the folder, with a slash at its end. */
export async function loadFiles(base: string, progress: Progress): Promise<LinuxFiles> {
  const manifest = await loadManifest(new URL(MANIFEST_NAME, base))
  const { machine, wasm, library, image } = manifest.files
  const total = machine.bytes + wasm.bytes + library.bytes
  const parts = [0, 0, 0]
  const part = (index: number) => (done: number) => {
    parts[index] = done
    progress(
      parts.reduce((sum, one) => sum + one, 0),
      total,
    )
  }
  const [savedBytes, wasmBytes, V86] = await Promise.all([
    load(base, machine, part(0)),
    loadPacked(base, wasm, part(1)),
    importLibrary(base, library, part(2)),
  ])
  return {
    saved: await unpackSavedMachine(savedBytes),
    runtime: { V86, wasm: wasmBytes, version: manifest.v86 },
    image: () => loadPacked(base, image, () => {}),
  }
}

async function loadManifest(address: URL): Promise<DemoManifest> {
  const answer = await get(address, 'no-cache')
  // Some servers answer with a page for what they do not have.
  if (answer.status === 404 || /\bhtml\b/.test(answer.headers.get('content-type') ?? '')) {
    throw new FilesMissingError(`there is no ${address.href}`, await reasonOf(answer))
  }
  if (!answer.ok) throw new Error(`${address.href}: the server answers ${answer.status} ${answer.statusText}`)
  return readManifest(await answer.text())
}

/** `vblk demo` says why in one line of plain text; other servers say "not found" in many ways, which is no reason. */
async function reasonOf(answer: Response): Promise<string | undefined> {
  if (!/^text\/plain\b/.test(answer.headers.get('content-type') ?? '')) return undefined
  const text = (await answer.text()).trim()
  const isReason = text !== '' && text.length <= REASON_MAX && !text.includes('\n') && !NOT_FOUND.test(text)
  return isReason ? text : undefined
}

async function get(address: URL, cache: RequestCache): Promise<Response> {
  try {
    return await fetch(address, { cache })
  } catch (error) {
    throw new Error(`${address.href} cannot be loaded (${(error as Error).message}): is the server still there?`)
  }
}

async function load(base: string, file: DemoFile, progress: (done: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const address = new URL(file.name, base)
  const answer = await get(address, 'force-cache')
  if (!answer.ok || answer.body === null) {
    throw new Error(`${address.href}: the server answers ${answer.status} ${answer.statusText}`)
  }
  const reader = answer.body.getReader()
  const pieces: Uint8Array[] = []
  let length = 0
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    pieces.push(next.value)
    length += next.value.length
    progress(Math.min(length, file.bytes))
  }
  const bytes = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

/** Where a server says `Content-Encoding: gzip` of these, the browser has unpacked them already. */
async function loadPacked(base: string, file: DemoManifest['files']['image'], progress: (done: number) => void) {
  const packed = await load(base, file, progress)
  const isPacked = packed[0] === 0x1f && packed[1] === 0x8b
  const bytes = isPacked ? await pipe(packed, new DecompressionStream('gzip'), file.unpackedBytes) : packed
  if (bytes.length !== file.unpackedBytes) {
    throw new Error(`${file.name} has ${bytes.length} bytes, unpacked, and should have ${file.unpackedBytes}: reload`)
  }
  return bytes as Uint8Array<ArrayBuffer>
}

async function importLibrary(base: string, file: DemoFile, progress: (done: number) => void) {
  const address = new URL(file.name, base).href
  const { V86 } = (await import(/* @vite-ignore */ address)) as Pick<V86Runtime, 'V86'>
  if (typeof V86 !== 'function') throw new Error(`${address} is not v86`)
  progress(file.bytes)
  return V86
}
