// Guest memory that changes between two loads of the device (device rule 9), every place tried: random chains, and for
// each load that the engine makes, other bytes put there right after it, alone or with other fields of the chain. No
// field may be read twice, and what comes out must be what memory that never changed, holding the values that were
// read, would have given: same calls, records, stores, counters and state. avail.idx is read once more by publish(),
// after the used index is out; that is a decision of its own, as are the fields that publish() alone reads.
//
// `SEED=n` repeats a run, `RUNS=n` asks for more than the usual number of chains. Engines that read twice, built from
// changed sources, show that this would be seen.

import { execFile } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import type { EngineExports } from '../../host/engine/engine.ts'
import { loadTraceEngine, type TraceListener } from '../../host/engine/trace.ts'
import { chainSpec, type DeviceOptions } from '../support/chains.ts'
import {
  ChangingMachine,
  LAYOUT,
  LOAD_BYTES,
  type Load,
  QUEUE_SIZE,
  type Run,
  type Setting,
} from '../support/changing-machine.ts'
import { fromEnvironment } from '../support/environment.ts'

const CHAINS = fromEnvironment('RUNS', 3000, 1)
const SEED = fromEnvironment('SEED', Date.now() % 1_000_000_007, 0)

const test = suite('device changing memory')

const DISK: DeviceOptions = {
  ...{ layout: LAYOUT, diskBytes: 65536, readOnly: false, serial: 'disk0', queueSizeMax: QUEUE_SIZE },
  ...{ segMax: QUEUE_SIZE - 2, sizeMax: 4096, blockSize: 512, throttle: {} },
}

const SETTINGS: readonly Setting[] = [
  { options: DISK, eventIdx: true, rings: 'plain' },
  { options: { ...DISK, segMax: 3 }, eventIdx: false, rings: 'descAcrossSeam' },
  { options: { ...DISK, readOnly: true }, eventIdx: true, rings: 'availAcrossSeam' },
  { options: { ...DISK, blockSize: 1024, sizeMax: 0xffffffff }, eventIdx: false, rings: 'usedAcrossSeam' },
]

// Random numbers ------------------------------------------------------------------------------------------------

/** mulberry32 */
function random(seed: number): (below: number) => number {
  let state = seed | 0
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

type Random = ReturnType<typeof random>

/** Other bytes: one bit less or more, the ends of the range, a small number, or anything. */
function other(bytes: Uint8Array, roll: Random): Uint8Array {
  const kind = roll(5)
  if (kind === 0) return bytes.map((byte, i) => (i === 0 ? byte ^ (1 << roll(8)) : byte))
  if (kind === 1) return bytes.map((byte) => ~byte)
  if (kind === 2) return bytes.map((_, i) => (i === 0 ? roll(8) : 0))
  if (kind === 3) return bytes.map((byte, i) => (i === roll(bytes.length) ? roll(256) : byte))
  return bytes.map(() => roll(256))
}

// What must hold --------------------------------------------------------------------------------------------------

/** Which fields were read, one after the other; what is wrong with it, or ''. */
function readTwice(machine: ChangingMachine, { plan, publish }: Run): string {
  let expected: number | undefined
  const seen = new Map<number, number>()
  for (const [i, { event, ptr, low, high }] of plan.entries()) {
    seen.set(event, (seen.get(event) ?? 0) + 1)
    const before = plan[i - 1]
    if (event === abi.TRACE_HEAD) expected = low
    if (event === abi.TRACE_DESC_ADDR) {
      // The one that was named, by the ring or by the descriptor before it, and that is then read no more.
      const at = expected === undefined ? undefined : machine.ptrOf(BigInt(machine.rings.desc + 16 * expected))
      if (at !== ptr) return `descriptor at ${ptr} read, nothing has led there`
      expected = undefined
    }
    if (event === abi.TRACE_DESC_REST) {
      if (before?.event !== abi.TRACE_DESC_ADDR || before.ptr + 8 !== ptr) return 'half a descriptor read again'
      expected = (high & 1) !== 0 ? high >>> 16 : undefined
    }
  }
  for (const event of [abi.TRACE_AVAIL_IDX, abi.TRACE_HEAD, abi.TRACE_TYPE, abi.TRACE_SECTOR]) {
    if ((seen.get(event) ?? 0) > 1) return `event ${event} twice`
  }
  if ((seen.get(abi.TRACE_HEADER_BYTE) ?? 0) > 16) return 'more than 16 header bytes'
  const events = publish.map(({ event }) => event)
  if (new Set(events).size < events.length) return 'publish() read a field twice'
  const own = [abi.TRACE_AVAIL_IDX, abi.TRACE_AVAIL_FLAGS, abi.TRACE_USED_EVENT]
  return events.every((event) => own.includes(event)) ? '' : 'publish() read what is not its business'
}

/** Bytes that plan() read twice: because two buffers or descriptors are the same bytes, for the guest wants it so. */
function overlaps(loads: readonly Load[]): 'none' | 'equal' | 'different' {
  const values = new Map<number, number>()
  let found: 'none' | 'equal' | 'different' = 'none'
  for (const { event, ptr, low, high } of loads) {
    for (let i = 0; i < (LOAD_BYTES[event] ?? 0); i++) {
      const value = ((i < 4 ? low : high) >>> (8 * (i % 4))) & 0xff
      const known = values.get(ptr + i)
      if (known !== undefined && known !== value) return 'different'
      if (known !== undefined) found = 'equal'
      values.set(ptr + i, value)
    }
  }
  return found
}

function mustBe(wrong: string, about: string): void {
  if (wrong !== '') assert.unreachable(`${about}: ${wrong}`)
}

interface Tally {
  chains: number
  runs: number
  /** runs in which the change was seen by a later load */
  other: number
  /** runs whose chain came by the same bytes twice and found them changed: no unchanging memory is like that */
  overlapping: number
}

/** Tries the chain; throws when anything is not as memory that does not change would have it. */
function tryChain(machine: ChangingMachine, roll: Random, tally: Tally): void {
  machine.onLoad = undefined
  const base = machine.run()
  const loads = [...base.plan, ...base.publish]
  const honest = overlaps(base.plan) === 'none'
  mustBe(readTwice(machine, base), 'nothing changed')
  tally.chains++
  for (let k = 0; k < loads.length; k++) {
    for (const alone of [true, false]) {
      machine.onLoad = ({ event, ptr }, count) => {
        if (count !== k) return
        const targets = [{ event, ptr }]
        for (let more = alone ? 0 : 1 + roll(3); more > 0; more--) targets.push(loads[roll(loads.length)] as Load)
        for (const target of targets) {
          const bytes = machine.bytes.subarray(target.ptr, target.ptr + (LOAD_BYTES[target.event] ?? 0))
          machine.change(target.ptr, other(Uint8Array.from(bytes), roll))
        }
      }
      const changed = machine.run()
      machine.onLoad = undefined
      tally.runs++
      const about = `load ${k}${alone ? '' : ' and others'}`
      mustBe(readTwice(machine, changed), about)
      const twice = overlaps(changed.plan)
      if (alone && honest) {
        assert.is(twice, 'none', `${about}: a byte was read twice`)
        assert.equal(changed.plan, base.plan, `${about}: later loads are others`)
      }
      if (twice === 'different') {
        tally.overlapping++
        continue
      }
      const unchanging = machine.run(changed.plan, changed.publish)
      assert.equal(unchanging.outcome, changed.outcome, `${about}: outcome`)
      if (!unchanging.state.equals(changed.state)) assert.unreachable(`${about}: state block`)
      if (changed.outcome.join() !== base.outcome.join()) tally.other++
    }
  }
}

type Instantiate = (memory: WebAssembly.Memory, listener: TraceListener) => EngineExports

function campaign(instantiate: Instantiate, chains: number, seed: number): Tally {
  const tally: Tally = { chains: 0, runs: 0, other: 0, overlapping: 0 }
  for (const [i, setting] of SETTINGS.entries()) {
    const machine = new ChangingMachine(setting, instantiate)
    const roll = random(seed + i)
    const specs = fc.sample(chainSpec(setting.options), {
      numRuns: Math.ceil(chains / SETTINGS.length),
      seed: seed + i,
    })
    for (const spec of specs) {
      if (spec.descs.length === 0 || spec.descs.length > QUEUE_SIZE) continue
      machine.place(spec)
      try {
        tryChain(machine, roll, tally)
      } catch (error) {
        const text = JSON.stringify(spec, (_, value) => (typeof value === 'bigint' ? `${value}` : value))
        assert.unreachable(`SEED=${seed}, setting ${i}, ${text}: ${(error as Error).message}`)
      }
    }
  }
  return tally
}

test('device rule 9: memory changed after any load of any chain -> as some memory that never changes', () => {
  const tally = campaign(loadTraceEngine, CHAINS, SEED)
  console.log(`  SEED=${SEED}: ${JSON.stringify(tally)}`)
  assert.ok(tally.chains > CHAINS * 0.8 && tally.runs > 10 * tally.chains, 'few chains were tried')
  assert.ok(tally.other > tally.runs / 20, 'the changes were hardly ever seen')
  assert.ok(tally.overlapping < tally.runs / 10, 'too many could not be compared')
})

// Engines that read twice ------------------------------------------------------------------------------------------

/** A piece of source that occurs once, and what it becomes. */
const MUTANTS: readonly (readonly [about: string, file: string, find: string, replace: string, caught: RegExp])[] = [
  [
    'length of the first descriptor',
    'chain.ts',
    'let len = rest as u32',
    'let len = loadDescRest(desc) as u32',
    /half a descriptor read again/,
  ],
  [
    'sector, behind the listener’s back',
    'chain.ts',
    'request.sector = loadSector(ptr)',
    'loadSector(ptr); request.sector = load<u64>(ptr, VIRTIO_BLK_REQ_SECTOR)',
    /load \d+( and others)?: (outcome|state block)/,
  ],
  [
    'avail.idx, once checked',
    'index.ts',
    'const chains = min<u32>(offered, max)',
    'const chains = min<u32>(virtqueue.available(state, queue), max)',
    /event 2 twice/,
  ],
]

/** The engine with the change, compiled as the trace flavour is. */
async function mutant(name: string, [, file, find, replace]: (typeof MUTANTS)[number]): Promise<Instantiate> {
  const folder = join('build', `changing-memory-${process.pid}-${name}`)
  try {
    cpSync('assembly', folder, { recursive: true })
    const [before = '', after, ...more] = readFileSync(join(folder, file), 'utf8').split(find)
    assert.ok(after !== undefined && more.length === 0, `not once in ${file}: ${find}`)
    writeFileSync(join(folder, file), before + replace + after)
    const wasm = join(folder, 'engine.wasm')
    const flags = '--runtime stub --importMemory --noExportMemory --enable threads --use abort= --use TRACE=1'
    const asc = ['node_modules/assemblyscript/bin/asc.js', join(folder, 'index.ts'), '-o', wasm, ...flags.split(' ')]
    await promisify(execFile)(process.execPath, asc)
    const module = new WebAssembly.Module(readFileSync(wasm))
    return (memory, trace) => {
      return new WebAssembly.Instance(module, { env: { memory }, trace: { trace } }).exports as unknown as EngineExports
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test('device rule 9: engines that read a field twice, heard or unheard -> each is caught', async () => {
  await Promise.all(
    MUTANTS.map(async (change, i) => {
      const instantiate = await mutant(`${i}`, change)
      let seen = 'nothing'
      try {
        campaign(instantiate, 400, 1)
      } catch (error) {
        seen = (error as Error).message
      }
      assert.match(seen, change[4], change[0])
    }),
  )
})

test.run()
