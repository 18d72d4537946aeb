// A trace as a file: a header of 36 bytes and the steps, compressed. FORMAT.md describes every byte. Whatever is wrong
// with a file is said before anything is made of it: its length, its check, its version, then step by step. Portable:
// compression is the platform's (CompressionStream, in Node and in browsers).

import { ByteReader, ByteWriter, TraceError } from './bytes.ts'
import { Digest, xxHash32 } from './digest.ts'
import { pipe } from './pipe.ts'
import { digestStep, type Previous, readStep, type Step, stepBytesMax, writeStep } from './step.ts'

export const TRACE_VERSION = 1
const MAGIC = 'VBLKTRC\n'
const HEADER_BYTES = 36
const VERSION_AT = 8
const RESERVED_AT = 10
const LENGTH_AT = 12
const STEPS_AT = 16
const BODY_AT = 20
const DIGEST_AT = 24
const CHECK_AT = 32
/** What a body may be long: a file that says more is refused before it is unpacked. */
const BODY_MAX = 0x7fffffff

export class Trace {
  readonly steps: readonly Step[]
  /** over all that came in and all that went out, 16 hexadecimal digits: the same wherever the trace is replayed */
  readonly digest: string

  constructor(steps: readonly Step[]) {
    this.steps = steps
    const digest = new Digest()
    for (const step of steps) digestStep(digest, step)
    this.digest = digest.hex
  }

  /** Throws TraceError naming what is wrong and where. */
  static async parse(file: Uint8Array): Promise<Trace> {
    const { steps, bodyBytes, digest } = checkHeader(file)
    const body = await unpack(file.subarray(HEADER_BYTES), bodyBytes)
    const trace = new Trace(readSteps(body))
    if (trace.steps.length !== steps) {
      throw new TraceError(`the trace has ${trace.steps.length} steps, its header says ${steps}`)
    }
    if (trace.digest !== digest) {
      throw new TraceError(`the steps have the digest ${trace.digest}, the header (byte ${DIGEST_AT}) says ${digest}`)
    }
    return trace
  }

  /** The file. */
  async bytes(): Promise<Uint8Array> {
    return seal(writeSteps(this.steps), this.steps.length, this.digest)
  }
}

export function readSteps(body: Uint8Array): Step[] {
  const reader = new ByteReader(body)
  const previous: Previous = { gpa: 0, time: 0, nanos: 0 }
  const steps: Step[] = []
  while (!reader.isAtEnd) {
    reader.what = `step ${steps.length}`
    const step = readStep(reader, previous)
    if ((step.call === 'init') !== (steps.length === 0)) reader.fail('init is the first step, and only the first')
    if (steps.length > 0 && steps[0]?.result !== 0) reader.fail('there is no step after an init() that failed')
    steps.push(step)
  }
  return steps
}

function writeSteps(steps: readonly Step[]): Uint8Array {
  const bytes = new Uint8Array(steps.reduce((sum, step) => sum + stepBytesMax(step), 0))
  const writer = new ByteWriter(bytes)
  const previous: Previous = { gpa: 0, time: 0, nanos: 0 }
  for (const step of steps) writeStep(writer, step, previous)
  return bytes.subarray(0, writer.at)
}

async function seal(body: Uint8Array, steps: number, digest: string): Promise<Uint8Array> {
  const packed = await pipe(body, new CompressionStream('deflate-raw'))
  const file = new Uint8Array(HEADER_BYTES + packed.length)
  const view = new DataView(file.buffer)
  file.set(new TextEncoder().encode(MAGIC))
  view.setUint16(VERSION_AT, TRACE_VERSION, true)
  view.setUint32(LENGTH_AT, file.length, true)
  view.setUint32(STEPS_AT, steps, true)
  view.setUint32(BODY_AT, body.length, true)
  view.setBigUint64(DIGEST_AT, BigInt(`0x${digest}`), true)
  file.set(packed, HEADER_BYTES)
  view.setUint32(CHECK_AT, checkOf(file), true)
  return file
}

/** Of the whole file but the check itself. */
function checkOf(file: Uint8Array): number {
  return xxHash32(file.subarray(HEADER_BYTES), xxHash32(file.subarray(0, CHECK_AT)))
}

/** Whether a file that begins so is meant to be a trace. */
export function isTrace(beginning: Uint8Array): boolean {
  return new TextEncoder().encode(MAGIC).every((byte, i) => beginning[i] === byte)
}

function checkHeader(file: Uint8Array): { steps: number; bodyBytes: number; digest: string } {
  if (!isTrace(file)) throw new TraceError('this is no trace: it does not begin with VBLKTRC')
  if (file.length < HEADER_BYTES) {
    throw new TraceError(`the trace is cut off: ${file.length} bytes, its header alone has ${HEADER_BYTES}`)
  }
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const version = view.getUint16(VERSION_AT, true)
  if (version !== TRACE_VERSION) {
    throw new TraceError(
      `the trace has version ${version} (byte ${VERSION_AT}), this program reads version ${TRACE_VERSION}`,
    )
  }
  const reserved = view.getUint16(RESERVED_AT, true)
  if (reserved !== 0) throw new TraceError(`the trace has ${reserved} in byte ${RESERVED_AT}, where 0 must be`)
  const length = view.getUint32(LENGTH_AT, true)
  if (length !== file.length) {
    const wrong = file.length < length ? 'is cut off' : 'has bytes behind its end'
    throw new TraceError(`the trace ${wrong}: ${file.length} bytes, its header (byte ${LENGTH_AT}) says ${length}`)
  }
  const check = view.getUint32(CHECK_AT, true)
  if (checkOf(file) !== check) {
    throw new TraceError(`the trace is damaged: its check (byte ${CHECK_AT}) does not fit its bytes`)
  }
  const bodyBytes = view.getUint32(BODY_AT, true)
  if (bodyBytes > BODY_MAX)
    throw new TraceError(`the trace says (byte ${BODY_AT}) that it unpacks to ${bodyBytes} bytes`)
  const digest = view.getBigUint64(DIGEST_AT, true).toString(16).padStart(16, '0')
  return { steps: view.getUint32(STEPS_AT, true), bodyBytes, digest }
}

/** Never more than the header says, however small the packed bytes are. */
async function unpack(packed: Uint8Array, bodyBytes: number): Promise<Uint8Array> {
  let body: Uint8Array
  try {
    body = await pipe(packed, new DecompressionStream('deflate-raw'), bodyBytes)
  } catch (error) {
    throw new TraceError(`the steps (from byte ${HEADER_BYTES}) cannot be unpacked: ${String(error)}`)
  }
  if (body.length > bodyBytes) {
    throw new TraceError(`the steps unpack to more than the ${bodyBytes} bytes that the header (byte ${BODY_AT}) says`)
  }
  if (body.length !== bodyBytes) {
    throw new TraceError(`the steps unpack to ${body.length} bytes, the header (byte ${BODY_AT}) says ${bodyBytes}`)
  }
  return body
}
