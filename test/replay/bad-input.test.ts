// Traces that are cut off, damaged, of another version, or made by someone who means harm: the reader and the player
// answer each with a TraceError, a divergence or a clean replay, and with nothing else.

import { readFileSync } from 'node:fs'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type EngineExports, loadEngine } from '../../host/engine/engine.ts'
import { ByteWriter, TraceError } from '../../host/replay/bytes.ts'
import { xxHash32 } from '../../host/replay/digest.ts'
import { replay } from '../../host/replay/player.ts'
import { readSteps, Trace } from '../../host/replay/trace.ts'
import { fromEnvironment } from '../support/environment.ts'
import { within } from '../support/within.ts'

const test = suite('replay bad input')

const HEADER = 36
const RUNS = fromEnvironment('RUNS', 2000, 1)
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(`test/golden/${name}.trace`))
const body = (name: string): Uint8Array => new Uint8Array(inflateRawSync(file(name).subarray(HEADER)))

async function refusal(bytes: Uint8Array, about: string): Promise<string> {
  try {
    await within(10_000, Trace.parse(bytes), about)
  } catch (error) {
    if (error instanceof TraceError) return error.message
    throw new Error(`${about}: ${String(error)}`, { cause: error })
  }
  throw new Error(`${about}: was read`)
}

/** The header's check made right again. */
function checked(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  view.setUint32(32, xxHash32(bytes.subarray(HEADER), xxHash32(bytes.subarray(0, 32))), true)
  return bytes
}

interface Sealed {
  version?: number
  steps?: number
  bodyBytes?: number
  digest?: string
}

/** A file around these steps whose header and check are right, but for what is given. */
function sealed(steps: Uint8Array, { version = 1, ...header }: Sealed = {}): Uint8Array {
  const packed = deflateRawSync(steps)
  const bytes = new Uint8Array(HEADER + packed.length)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('VBLKTRC\n'))
  view.setUint16(8, version, true)
  view.setUint32(12, bytes.length, true)
  view.setUint32(16, header.steps ?? 0, true)
  view.setUint32(20, header.bodyBytes ?? steps.length, true)
  view.setBigUint64(24, BigInt(`0x${header.digest ?? '0'}`), true)
  bytes.set(packed, HEADER)
  return checked(bytes)
}

test('a trace cut off at every length -> refused', async () => {
  const whole = file('request-g')
  for (let length = 0; length < whole.length; length++) {
    const message = await refusal(whole.subarray(0, length), `${length} bytes`)
    assert.match(message, length < 8 ? /does not begin with VBLKTRC/ : /cut off/)
  }
})

test('a trace with bytes behind its end -> refused', async () => {
  const whole = file('request-g')
  for (const more of [1, 2, 1000]) {
    const longer = new Uint8Array(whole.length + more)
    longer.set(whole)
    assert.match(await refusal(longer, `${more} more`), /has bytes behind its end: \d+ bytes, its header \(byte 12\)/)
  }
})

test('a trace with any byte changed -> refused', async () => {
  const whole = file('request-g')
  for (let at = 0; at < whole.length; at++) {
    for (const change of [0x01, 0x80, 0xff, 0x10, 0x55]) {
      const changed = whole.slice()
      changed[at] = (changed[at] as number) ^ change
      await refusal(changed, `byte ${at} ^ ${change}`)
    }
  }
})

test('a header that lies, under a right check -> refused, naming the field', async () => {
  const whole = file('request-g')
  const lie = (at: number, value: number, width: 2 | 4): Uint8Array => {
    const changed = whole.slice()
    const view = new DataView(changed.buffer)
    if (width === 2) view.setUint16(at, value, true)
    else view.setUint32(at, value, true)
    return checked(changed)
  }
  for (const version of [0, 2, 3, 0xffff]) {
    assert.match(
      await refusal(lie(8, version, 2), 'version'),
      new RegExp(`^the trace has version ${version} \\(byte 8\\)`),
    )
  }
  for (const reserved of [1, 0x8000]) assert.match(await refusal(lie(10, reserved, 2), 'reserved'), /byte 10/)
  for (const length of [0, 35, whole.length - 1, whole.length + 1, 0xffffffff]) {
    assert.match(await refusal(lie(12, length, 4), 'length'), /byte 12/)
  }
  for (const steps of [0, 1, 0xffffffff]) {
    assert.match(await refusal(lie(16, steps, 4), 'steps'), /has 48 steps, its header says \d+/)
  }
  for (const bytes of [0, 1, 100_000, 0x7fffffff, 0x80000000, 0xffffffff]) {
    assert.match(await refusal(lie(20, bytes, 4), 'body'), /byte 20/)
  }
  assert.match(await refusal(lie(24, 0, 4), 'digest'), /byte 24/)
})

test('packed bytes that are no deflate stream, or go on behind it -> refused', async () => {
  for (const junk of [new Uint8Array(0), Uint8Array.of(0xff, 0xff, 0xff), new Uint8Array(100).fill(7)]) {
    const bytes = new Uint8Array(HEADER + junk.length)
    bytes.set(file('request-g').subarray(0, HEADER))
    bytes.set(junk, HEADER)
    new DataView(bytes.buffer).setUint32(12, bytes.length, true)
    assert.match(await refusal(checked(bytes), `${junk.length} bytes of junk`), /unpack/)
  }
})

test('a bomb: 64 MiB of steps in few bytes, the header says 10 -> refused without unpacking it', async () => {
  const bomb = deflateRawSync(new Uint8Array(64 << 20))
  const bytes = new Uint8Array(HEADER + bomb.length)
  bytes.set(sealed(new Uint8Array(10)).subarray(0, HEADER))
  bytes.set(bomb, HEADER)
  new DataView(bytes.buffer).setUint32(12, bytes.length, true)
  assert.match(await refusal(checked(bytes), 'bomb'), /more than the 10 bytes/)
})

test('no steps at all -> a trace of none, which plays', async () => {
  const empty = new Trace([])
  const read = await Trace.parse(await empty.bytes())
  assert.equal(replay(read), { steps: 0, digest: empty.digest })
})

/** An init step, the numbers of which are given; then other steps' bytes. */
function initStep(words: readonly number[], regions: readonly [number, number][], more: readonly number[] = []) {
  const bytes = new Uint8Array(4096)
  const to = new ByteWriter(bytes)
  to.u8(1)
  to.zigzag(0)
  for (const word of words) to.varint(word)
  to.take(new Uint8Array(20))
  to.varint(regions.length)
  for (const [gpa, size] of regions) {
    to.varint(gpa)
    to.varint(size)
  }
  for (let i = 0; i < 8; i++) to.varint(0)
  to.varint(0)
  to.take(Uint8Array.from(more))
  return bytes.subarray(0, to.at)
}

const WORDS = [1 << 9, 1, 128, 0, 1, 256, 128, 1 << 20, 512, 0]
const RAM: [number, number][] = [[0, 1 << 20]]

test('hostile numbers: RAM of terabytes, of nothing, everywhere; thousands of queues -> a TraceError', async () => {
  const max = Number.MAX_SAFE_INTEGER
  const configs: [string, number[], [number, number][]][] = [
    ['terabytes', WORDS, [[0, 2 ** 42]]],
    ['all there is', WORDS, [[0, max]]],
    ['at the end', WORDS, [[max, 4096]]],
    ['both', WORDS, [[max, max]]],
    ['no bytes', WORDS, [[0, 0]]],
    ['no regions', WORDS, []],
    ['one byte', WORDS, [[0, 1]]],
    ['odd', WORDS, [[1, 4097]]],
    [
      'overlapping',
      WORDS,
      [
        [0, 8192],
        [4096, 8192],
      ],
    ],
    ['many', WORDS, Array.from({ length: 100 }, (_, i): [number, number] => [i * 8192, 4096])],
    [
      'many large ones',
      WORDS,
      [
        [0, 2 ** 31],
        [2 ** 33, 2 ** 31],
        [2 ** 34, 2 ** 31],
      ],
    ],
    ['queues', WORDS.with(4, 65), RAM],
    ['4 billion queues', WORDS.with(4, 0xffffffff), RAM],
    ['4 billion entries', WORDS.with(5, 0xffffffff), RAM],
    ['largest tables', WORDS.with(4, 64).with(5, 32768).with(6, 32766), RAM],
    ['4 billion segments', WORDS.with(6, 0xffffffff), RAM],
  ]
  for (const [about, words, regions] of configs) {
    const trace = new Trace(readSteps(initStep(words, regions)))
    assert.throws(
      () => replay(trace),
      (error: unknown) => error instanceof TraceError,
      about,
    )
  }
})

test('hostile numbers: what init() refuses -> a divergence', () => {
  for (const [at, value] of [
    [0, 1 << 30],
    [4, 0],
    [5, 0],
    [5, 3],
    [6, 0],
    [6, 255],
    [7, 0],
    [8, 0],
    [8, 511],
    [9, 1],
  ]) {
    const words = WORDS.with(at as number, value as number)
    assert.match(
      replay(new Trace(readSteps(initStep(words, RAM)))).divergence?.message ?? '',
      /^step 0, init\(\): result/,
    )
  }
})

test('hostile counts: more than can follow -> a TraceError at once', () => {
  const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
  const most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
  const endless = new Array<number>(64).fill(0xff)
  const steps: [string, number[]][] = [
    ['events', [6 | 0x20, 0, 0, ...huge]],
    ['a number over 2^53', [6 | 0x20, 0, 0, ...most, 0x7f]],
    ['a number without an end', [6 | 0x20, 0, ...endless]],
    ['counters', [6 | 0x40, 0, 0, 0, ...huge]],
    ['a counter that there is not', [6 | 0x40, 0, 0, 0, 1, 24, 0]],
    ['a serial of 4 GiB', [6 | 0x20, 0, 0, 1, 23, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['65535 requests', [4, 0, 0, 0, 0, 1, 0xff, 0xff, 3]],
    ['segments', [4, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, ...huge]],
    ['payload', [5, 0, 0, 0, 0, 0, 2, ...huge]],
    ['call 0', [0]],
    ['call 11', [11]],
    ['call 31', [31]],
    ['a second init', [1, 0]],
    ['an event between kinds', [6 | 0x20, 0, 0, 1, 10, 0]],
    ['an address below 0', [6 | 0x20, 0, 0, 1, 1, 1, 0, 0]],
  ]
  for (const [about, bytes] of steps) {
    assert.throws(
      () => readSteps(initStep(WORDS, RAM, bytes)),
      (error: unknown) => error instanceof TraceError && /^step \d+, byte \d+ of the steps: /.test(error.message),
      about,
    )
  }
})

const players: readonly [string, (trace: Trace) => unknown][] = [
  ['trace flavour', (trace) => replay(trace)],
  ['release', (trace) => replay(trace, { engine: (memory) => loadEngine(memory) as EngineExports })],
]

test('hostile events: stores and loads outside RAM, zeros of 4 GiB, over its end -> no other exception', () => {
  // mmioRead(0, 4) whose only event is the one given.
  const events: [string, number[]][] = [
    ['a load outside', [1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0]],
    ['a store outside', [18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0]],
    ['a store over the end', [16, 0xfe, 0xff, 0x7f, ...new Array<number>(8).fill(1)]],
    ['zeros of 4 GiB', [22, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['zeros outside', [22, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 9]],
    ['no zeros', [22, 0, 0]],
    ['no serial', [23, 0, 0]],
    ['a verdict that there is not', [32, 0xff, 0x0f, 0xff, 0xff, 3, 0]],
  ]
  for (const [about, event] of events) {
    const trace = new Trace(
      readSteps(initStep(WORDS, RAM, [2 | 0x20, 0, 0, 4, 1, ...event, 0xf6, 0xe4, 0xa5, 0xa3, 0x07])),
    )
    for (const [player, play] of players) harmless(`${about}, ${player}`, () => play(trace))
  }
})

function harmless<Value>(about: string, act: () => Value): Value | undefined {
  try {
    return act()
  } catch (error) {
    if (error instanceof TraceError) return undefined
    throw new Error(`${about}: ${String(error)}`, { cause: error })
  }
}

/** xorshift32 */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** One to eight changes: bytes set, bits flipped, pieces cut out, doubled or moved. */
function mutated(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  let all = [...bytes]
  const kinds = random(3) === 0 ? 6 : 3
  for (let i = 1 + random(random(4) === 0 ? 8 : 2); i > 0; i--) {
    const at = random(all.length)
    const count = 1 + random(12)
    switch (random(kinds)) {
      case 0:
        all[at] = random(256)
        break
      case 1:
        all[at] = (all[at] as number) ^ (1 << random(8))
        break
      case 2:
        all[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)] as number
        break
      case 3:
        all.splice(at, count)
        break
      case 4:
        all.splice(at, 0, ...all.slice(at, at + count))
        break
      default: {
        const from = random(all.length)
        all = [...all.slice(0, at), ...all.slice(from, from + count), ...all.slice(at + count)]
      }
    }
    if (all.length === 0) all.push(random(256))
  }
  return Uint8Array.from(all)
}

test('random changes to the steps, sealed again -> a TraceError, a divergence or a clean replay', async () => {
  const random = numbers(0x5eed)
  const bodies = ['request-d', 'throttled', 'reset-under-load', 'ring-loop', 'request-g'].map(body)
  const seen = { refused: 0, read: 0, clean: 0, diverged: 0, playRefused: 0 }
  const { gc } = globalThis as { gc?: () => void }
  let slowest = 0
  for (let run = 0; run < RUNS; run++) {
    const from = bodies[run % bodies.length] as Uint8Array
    const steps = mutated(from, random)
    const about = `run ${run}`
    const start = performance.now()
    const trace = harmless(`${about}, reading`, () => new Trace(readSteps(steps)))
    if (trace === undefined) {
      seen.refused++
      if (run % 10 === 0) await refusal(sealed(steps), about)
    } else {
      seen.read++
      const { digest } = trace
      const parsed = await Trace.parse(sealed(steps, { steps: trace.steps.length, digest }))
      assert.is(parsed.digest, digest, about)
      const made = players.map(([name, play]) => harmless(`${about}, ${name}`, () => play(parsed)))
      for (const replayed of made as (ReturnType<typeof replay> | undefined)[]) {
        if (replayed === undefined) seen.playRefused++
        else if (replayed.divergence) seen.diverged++
        else seen.clean++
      }
    }
    slowest = Math.max(slowest, performance.now() - start)
    if (run % 100 === 99) gc?.()
  }
  console.log(`\n  ${JSON.stringify(seen)}, slowest ${slowest.toFixed(0)} ms`)
  assert.ok(seen.refused > RUNS / 20 && seen.diverged > RUNS / 20 && seen.clean > RUNS / 100, JSON.stringify(seen))
})

test.run()
