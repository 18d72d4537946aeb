// The file of a saved machine: a versioned container of what V86Machine.save, LinuxGuest and VirtioBlk.snapshot give,
// and of what has to be the same where it is resumed. Portable: bytes in, bytes out. Reading checks everything before
// it returns anything; a file that was cut off, changed or made by a newer version is refused with the place.
//
// All numbers little-endian. The three parts follow one another and the file ends with the last.
//
// | offset | bytes | content                                                                   |
// |      0 |     8 | magic, "VBLKSAVE"                                                         |
// |      8 |     4 | version, 1                                                                |
// |     12 |   4,4 | facts: length, CRC-32. UTF-8 JSON, type Facts                             |
// |     20 |   4,4 | disk: length, CRC-32. The disk's snapshot, a format of its own            |
// |     28 |   4,4 | machine: length, CRC-32. v86's state, gzip                                |
// |     36 |     4 | CRC-32 of the 36 bytes before                                             |
// |     40 |       | facts, disk, machine                                                      |

import { crc32 } from '../device/crc32.ts'
import { pipe } from '../replay/pipe.ts'
import type { ConsoleState } from './guest.ts'
import type { V86State } from './v86.ts'

/** What the disk image was like when the machine was saved: one that has changed since would be damaged. */
export interface ImageIdentity {
  readonly bytes: number
  /** time of its last change, nanoseconds since 1970 as decimal digits; 0 where there is none, of a block device */
  readonly modified: string
  readonly isReadOnly: boolean
}

export interface SavedMachine {
  /** of v86 */
  readonly version: string
  readonly memoryBytes: number
  readonly window: number
  readonly irq: number
  readonly console: ConsoleState
  /** whether the guest runs a script; else its shell is on the console */
  readonly hasScript: boolean
  readonly image: ImageIdentity
  readonly machine: V86State
  /** VirtioBlk.snapshot() */
  readonly disk: Uint8Array
}

interface Facts extends Omit<SavedMachine, 'machine' | 'disk'> {
  readonly typed: readonly number[]
  /** length of v86's state, decompressed */
  readonly stateBytes: number
}

/** A file that is no saved machine, not a whole one, or one that this version cannot read. One line, with the place. */
export class SavedMachineError extends Error {
  constructor(message: string) {
    super(`saved machine: ${message}`)
    this.name = 'SavedMachineError'
  }
}

const MAGIC = new TextEncoder().encode('VBLKSAVE')
const VERSION = 1
const HEADER_BYTES = 40
const PARTS = ['facts', 'disk', 'machine'] as const
/** v86's state is the guest's RAM and, beside it, video memory and registers. */
const STATE_OVERHEAD = 64 << 20
const MEMORY_MAX = 3 * 2 ** 30

/** True for the beginning of any file of this kind, whatever its version. */
export function isSavedMachine(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && MAGIC.every((byte, at) => bytes[at] === byte)
}

export async function packSavedMachine({ machine, disk, ...rest }: SavedMachine): Promise<Uint8Array> {
  const { state, typed } = machine
  const facts: Facts = { ...rest, typed: [...typed], stateBytes: state.length }
  const compressed = await pipe(state, new CompressionStream('gzip'))
  const parts = [new TextEncoder().encode(JSON.stringify(facts)), disk, compressed]
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, HEADER_BYTES))
  const header = new DataView(file.buffer)
  file.set(MAGIC)
  header.setUint32(8, VERSION, true)
  let at = HEADER_BYTES
  parts.forEach((part, i) => {
    header.setUint32(12 + 8 * i, part.length, true)
    header.setUint32(16 + 8 * i, crc32(part), true)
    file.set(part, at)
    at += part.length
  })
  header.setUint32(HEADER_BYTES - 4, crc32(file.subarray(0, HEADER_BYTES - 4)), true)
  return file
}

/** Throws SavedMachineError. The disk's part is whole then; what is in it, VirtioBlk.restore checks. */
export async function unpackSavedMachine(given: Uint8Array): Promise<SavedMachine> {
  // Node's Buffer is a Uint8Array that does some things in another way.
  const file = new Uint8Array(given.buffer, given.byteOffset, given.length)
  const [factsPart, disk, compressed] = partsOf(file)
  const { typed, stateBytes, ...facts } = factsOf(factsPart)
  let state: Uint8Array
  try {
    state = await pipe(compressed, new DecompressionStream('gzip'), stateBytes)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new SavedMachineError(`the part "machine" cannot be decompressed: ${reason}`)
  }
  if (state.length !== stateBytes) {
    throw new SavedMachineError(
      `the part "machine" has ${state.length} bytes, decompressed, and should have ${stateBytes}`,
    )
  }
  return { ...facts, disk, machine: { state, typed: Uint8Array.from(typed) } }
}

function partsOf(file: Uint8Array): [Uint8Array, Uint8Array, Uint8Array] {
  const begun = file.subarray(0, MAGIC.length)
  if (!begun.every((byte, at) => byte === MAGIC[at])) {
    throw new SavedMachineError('this is another kind of file: it does not begin with VBLKSAVE')
  }
  if (file.length < HEADER_BYTES) {
    throw new SavedMachineError(`cut off: ${file.length} bytes, and the header alone has ${HEADER_BYTES}`)
  }
  const header = new DataView(file.buffer, file.byteOffset, HEADER_BYTES)
  const version = header.getUint32(8, true)
  if (version > VERSION) {
    throw new SavedMachineError(`version ${version} at byte 8, made by a newer vblk; this one reads up to ${VERSION}`)
  }
  if (crc32(file.subarray(0, HEADER_BYTES - 4)) !== header.getUint32(HEADER_BYTES - 4, true) || version === 0) {
    throw new SavedMachineError(`damaged: the header, bytes 0 to ${HEADER_BYTES - 1}, does not match its checksum`)
  }
  const lengths = PARTS.map((_, i) => header.getUint32(12 + 8 * i, true))
  const whole = lengths.reduce((sum, length) => sum + length, HEADER_BYTES)
  if (file.length < whole) throw new SavedMachineError(`cut off: ${file.length} bytes of ${whole}`)
  if (file.length > whole) {
    throw new SavedMachineError(`damaged: ${file.length - whole} bytes follow its end at byte ${whole}`)
  }
  let at = HEADER_BYTES
  const [facts, disk, machine] = PARTS.map((name, i) => {
    const part = file.subarray(at, at + (lengths[i] ?? 0))
    if (crc32(part) !== header.getUint32(16 + 8 * i, true)) {
      const place = `bytes ${at} to ${at + part.length - 1}`
      throw new SavedMachineError(`damaged: the part "${name}", ${place}, does not match its checksum`)
    }
    at += part.length
    return part
  })
  return [facts, disk, machine] as [Uint8Array, Uint8Array, Uint8Array]
}

/** Whole by its checksum; that it makes sense is checked all the same, as nothing later does. */
function factsOf(part: Uint8Array): Facts {
  let facts: Partial<Facts> | null
  try {
    facts = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(part)) as Partial<Facts> | null
  } catch {
    throw new SavedMachineError(`the part "facts", from byte ${HEADER_BYTES} on, is not JSON`)
  }
  const { version, memoryBytes, window, irq, console, hasScript, image, typed, stateBytes } = facts ?? {}
  need('version', typeof version === 'string' && version.length < 100, version)
  need('memoryBytes', isWhole(memoryBytes, MEMORY_MAX) && memoryBytes > 0 && memoryBytes % 131072 === 0, memoryBytes)
  need('window', isWhole(window, 0xfffff000) && window % 4096 === 0, window)
  need('irq', isWhole(irq, 23), irq)
  need('console.token', typeof console?.token === 'string' && /^[0-9a-f]{32}$/.test(console.token), console?.token)
  need('console.begun', typeof console?.begun === 'boolean', console?.begun)
  need('console.held', typeof console?.held === 'string' && console.held.length < 200, console?.held)
  need('hasScript', typeof hasScript === 'boolean', hasScript)
  need('image.bytes', isWhole(image?.bytes, Number.MAX_SAFE_INTEGER), image?.bytes)
  need('image.modified', typeof image?.modified === 'string' && /^\d{1,25}$/.test(image.modified), image?.modified)
  need('image.isReadOnly', typeof image?.isReadOnly === 'boolean', image?.isReadOnly)
  need('typed', Array.isArray(typed) && typed.every((byte) => isWhole(byte, 255)), typed)
  need('stateBytes', isWhole(stateBytes, Number(memoryBytes) + STATE_OVERHEAD), stateBytes)
  return facts as Facts
}

function need(name: string, isRight: boolean, value: unknown): void {
  if (isRight) return
  const text = String(JSON.stringify(value)).slice(0, 60)
  throw new SavedMachineError(`the field ${name} of the part "facts", from byte ${HEADER_BYTES} on, cannot be ${text}`)
}

function isWhole(value: unknown, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max
}
