// What a request costs in the engine alone: plan + complete + publish with no IO behind it, the driver's refill of
// the available ring included. Ring of 256, EVENT_IDX on, direct chains, 4 KiB buffers in random order; 20 trials of
// about 50 ms, median and minimum. Beside it the same rules as a plain TypeScript device, and with `--native FILE.c`
// a C program (built with gcc -O3) that prints `impl,layout,mode,chains,segs,median,min,trials`.
//
// Ratios between rows of one run are meaningful; absolute figures from different machines or days are not.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as abi from '../../assembly/abi.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import type { EngineExports } from '../../host/engine/engine.ts'
import { EngineState } from '../../host/engine/state.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { flavours } from '../support/engines.ts'
import { BenchGuest, LAYOUTS, type Layout } from './guest.ts'
import { TypeScriptDevice } from './typescript-device.ts'

const TRIALS = 20
const TRIAL_NS = 50e6
const RAM_BYTES = 64 << 20

/** One batch: refill, drain. Returns chains done. */
type Batch = () => number

interface Row {
  name: string
  layout: string
  median: number
  min: number
}

function measure(name: string, layout: Layout, batch: Batch): Row {
  const time = (batches: number): number => {
    const start = process.hrtime.bigint()
    let done = 0
    for (let i = 0; i < batches; i++) done += batch()
    const nanos = Number(process.hrtime.bigint() - start)
    if (done !== batches * layout.chains)
      throw new Error(`${name}: ${done} of ${batches * layout.chains} requests done`)
    return nanos / done
  }
  const warm = time(3000)
  const batches = Math.max(100, Math.ceil(TRIAL_NS / warm / layout.chains))
  const trials = Array.from({ length: TRIALS }, () => time(batches)).sort((a, b) => a - b)
  const median = ((trials[TRIALS / 2 - 1] as number) + (trials[TRIALS / 2] as number)) / 2
  return { name, layout: layout.name, median, min: trials[0] as number }
}

function makeState(engine: EngineExports, memory: GuestMemory): EngineState {
  const bytes = engine.stateBytes(1, 256, 128, memory.regions.length)
  const state = new EngineState(memory.memory, memory.allocate(bytes))
  state.writeConfig({
    deviceFeatures: 0x1_2000_0246n,
    capacitySectors: (1 << 30) / 512,
    queues: 1,
    queueSizeMax: 256,
    segMax: 128,
    sizeMax: 1 << 20,
    blockSize: 512,
    readOnly: false,
    serial: new Uint8Array(20),
    regions: memory.regions,
  })
  if (engine.init(state.ptr) !== 0) throw new Error('init')
  return state
}

function engineBatch(engine: EngineExports, guest: BenchGuest, state: EngineState): Batch {
  const { layout } = guest
  guest.start((offset, value) => engine.mmioWrite(state.ptr, offset, 4, value))
  const list = state.queueWord(0, abi.QUEUE_PLANNED) >>> 2
  const words = state.words
  const { ptr } = state
  return () => {
    guest.refill()
    const count = engine.plan(ptr, 0, 0, 256) & abi.PLAN_COUNT_MASK
    for (let i = 0; i < count; i++) engine.complete(ptr, words[list + i] as number, layout.segments * 4096)
    if ((engine.publish(ptr, 0) & abi.PUBLISH_INTERRUPT) === 0) throw new Error('no interrupt')
    return count
  }
}

function typescriptBatch(memory: GuestMemory, guest: BenchGuest): Batch {
  const device = TypeScriptDevice.forBench(memory.view(0, RAM_BYTES))
  guest.start((offset, value) => device.mmioWrite(offset, value))
  const bytes = guest.layout.segments * 4096
  return () => {
    guest.refill()
    const count = device.plan(0, 0, 256)
    for (let i = 0; i < count; i++) device.complete(device.planned[i] as number, bytes)
    if (!device.publish(0)) throw new Error('no interrupt')
    return count
  }
}

function nativeRows(source: string): Row[] {
  const dir = mkdtempSync(join(tmpdir(), 'vblk-bench-'))
  try {
    const binary = join(dir, 'native')
    const gcc = spawnSync('gcc', ['-O3', '-o', binary, source], { encoding: 'utf8' })
    if (gcc.error || gcc.status !== 0) {
      console.log(`native C left out: ${gcc.error?.message ?? gcc.stderr}`)
      return []
    }
    const lines = spawnSync(binary, { encoding: 'utf8' }).stdout.trim().split('\n').slice(1)
    return lines
      .map((line) => line.split(','))
      .filter(([, layout, mode]) => layout === 'direct' && mode === 'full_resolve_batch_publish')
      .map(([, , , , segs, median, min]) => ({
        name: 'native C, full checks',
        layout: segs === '1' ? 'a' : 'b',
        median: Number(median),
        min: Number(min),
      }))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * What is measured, by the name of its row. Each runs in a process of its own: call sites stay monomorphic, as in a
 * host.
 */
const SUBJECTS: Record<string, (layout: Layout) => Promise<Batch>> = {
  'refill alone': async (layout) => {
    const guest = new BenchGuest(new Uint8Array(RAM_BYTES), layout)
    return () => guest.refill()
  },
  ...Object.fromEntries(
    flavours.map((flavour) => [
      `engine, ${flavour.name}`,
      async (layout: Layout) => {
        const memory = flavour.memory({ ramBytes: RAM_BYTES })
        const engine = await flavour.engine(memory.memory)
        const guest = new BenchGuest(memory.view(0, RAM_BYTES), layout)
        return engineBatch(engine, guest, makeState(engine, memory))
      },
    ]),
  ),
  // Each call and each access goes through JavaScript, and the data is hashed.
  'engine, recorded': async (layout) => {
    const memory = GuestMemory.create({ ramBytes: RAM_BYTES })
    const engine = new Recorder().engine(memory.memory) as EngineExports
    const guest = new BenchGuest(memory.view(0, RAM_BYTES), layout)
    return engineBatch(engine, guest, makeState(engine, memory))
  },
  'plain TypeScript device': async (layout) => {
    const memory = GuestMemory.create({ ramBytes: RAM_BYTES })
    return typescriptBatch(memory, new BenchGuest(memory.view(0, RAM_BYTES), layout))
  },
}

/** One row, measured in a child process. */
function row(name: string, layout: Layout): Row {
  const self = process.argv[1] as string
  const child = spawnSync(process.execPath, [self, '--row', name, layout.name], { encoding: 'utf8' })
  if (child.status !== 0) throw new Error(`${name}: ${child.stderr}`)
  return JSON.parse(child.stdout) as Row
}

async function main(args: string[]): Promise<void> {
  if (args[0] === '--row') {
    const layout = LAYOUTS.find(({ name }) => name === args[2])
    const subject = SUBJECTS[args[1] ?? '']
    if (!layout || !subject) throw new Error(`there is no row ${args.slice(1).join(' ')}`)
    console.log(JSON.stringify(measure(args[1] as string, layout, await subject(layout))))
    return
  }
  const rows = LAYOUTS.flatMap((layout) => Object.keys(SUBJECTS).map((name) => row(name, layout)))
  const native = args.indexOf('--native')
  if (native >= 0) rows.push(...nativeRows(args[native + 1] ?? ''))
  report(rows)
  await reportState()
}

/** Bytes of state per device: what is set aside, and the 4 KiB pages of it that a guest makes the engine touch. */
async function reportState(): Promise<void> {
  const [release] = flavours
  const [layout] = LAYOUTS
  if (release === undefined || layout === undefined) return
  const memory = release.memory({ ramBytes: RAM_BYTES })
  const engine = await release.engine(memory.memory)
  const guest = new BenchGuest(memory.view(0, RAM_BYTES), layout)
  const state = makeState(engine, memory)
  const bytes = engine.stateBytes(1, 256, 128, 1)
  const touched = (): string => {
    const block = new Uint8Array(memory.memory.buffer, state.ptr, bytes)
    let pages = 0
    for (let at = 0; at < bytes; at += 4096) if (block.subarray(at, at + 4096).some((byte) => byte !== 0)) pages++
    return `${pages * 4} KiB`
  }
  const idle = touched()
  const batch = engineBatch(engine, guest, state)
  for (let i = 0; i < 1000; i++) batch()
  console.log(`\nstate per device, queue size 256, seg_max 128, one region: ${bytes} bytes set aside`)
  console.log(`  touched: idle ${idle}, with ${layout.chains} requests in flight at a time ${touched()}`)
}

function report(rows: Row[]): void {
  for (const { name: layout, title } of LAYOUTS) {
    console.log(`\n(${layout}) ${title}: ns per request, ${TRIALS} trials`)
    const release = rows.find((row) => row.layout === layout && row.name === 'engine, release')?.median ?? Number.NaN
    for (const row of rows.filter((row) => row.layout === layout)) {
      const ratio = (row.median / release).toFixed(2)
      console.log(
        `  ${row.name.padEnd(26)} median ${row.median.toFixed(1).padStart(7)}  min ${row.min.toFixed(1).padStart(7)}  x ${ratio}`,
      )
    }
  }
}

await main(process.argv.slice(2))
