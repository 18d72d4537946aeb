// The traces beside this file, played on every flavour of the engine: each holds the decisions that it is named for,
// and comes out with the digest typed in digests.ts. `npm run golden` makes them again. The last one, a whole life of a
// Linux guest's disk, finds bugs that are planted in the engine.

import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  REQUEST_FAULT_ALIGNMENT,
  REQUEST_FAULT_DATA_UNMAPPED,
  REQUEST_FAULT_DIRECTION,
  REQUEST_FAULT_FLUSH_DATA,
  REQUEST_FAULT_HEADER_SHORT,
  REQUEST_FAULT_HEADER_UNMAPPED,
  REQUEST_FAULT_ID_SHORT,
  REQUEST_FAULT_NO_DATA,
  REQUEST_FAULT_ORDER,
  REQUEST_FAULT_RANGE,
  REQUEST_FAULT_READ_ONLY,
  REQUEST_FAULT_SEG_MAX,
  REQUEST_FAULT_SIZE_MAX,
  REQUEST_FAULT_TOTAL,
  RING_FAULT_AVAIL_IDX,
  RING_FAULT_HEAD,
  RING_FAULT_HEAD_IN_FLIGHT,
  RING_FAULT_INDIRECT,
  RING_FAULT_LOOP,
  RING_FAULT_NEXT,
  RING_FAULT_NO_STATUS,
  RING_FAULT_STATUS_UNMAPPED,
  TRACE_RING_FAULT,
  TRACE_STALL,
  TRACE_VERDICT,
  VERDICT_FLUSH,
  VERDICT_FLUSH_NOTHING,
  VERDICT_GET_ID,
  VERDICT_READ,
  VERDICT_UNSUPPORTED,
  VERDICT_WRITE,
} from '../../assembly/abi.ts'
import type { EngineExports } from '../../host/engine/engine.ts'
import { replay } from '../../host/replay/player.ts'
import { Trace } from '../../host/replay/trace.ts'
import { flavours } from '../support/engines.ts'
import { within } from '../support/within.ts'
import { DIGESTS } from './digests.ts'

const test = suite('golden traces')
const FOLDER = 'test/golden'

/** Ring faults in order, verdicts in order unless AMONG has them. */
type Golden = readonly [ringFaults: readonly number[], verdicts: readonly number[]]

const GOLDEN: Readonly<Record<string, Golden>> = {
  'ring-avail-idx': [[RING_FAULT_AVAIL_IDX], [VERDICT_READ]],
  'ring-head': [[RING_FAULT_HEAD], [VERDICT_READ, VERDICT_READ]],
  'ring-next': [[RING_FAULT_NEXT], [VERDICT_READ, VERDICT_READ]],
  'ring-loop': [[RING_FAULT_LOOP], [VERDICT_READ, VERDICT_READ]],
  'ring-indirect': [[RING_FAULT_INDIRECT], [VERDICT_READ, VERDICT_READ]],
  'ring-head-in-flight': [[RING_FAULT_HEAD_IN_FLIGHT], [VERDICT_READ, VERDICT_FLUSH]],
  'ring-no-status': [[RING_FAULT_NO_STATUS], [VERDICT_READ, VERDICT_READ]],
  'ring-status-unmapped': [[RING_FAULT_STATUS_UNMAPPED], [VERDICT_READ, VERDICT_READ]],
  'request-a': [[], [REQUEST_FAULT_ORDER, REQUEST_FAULT_HEADER_SHORT, REQUEST_FAULT_HEADER_UNMAPPED, VERDICT_READ]],
  'request-b': [[], [REQUEST_FAULT_SIZE_MAX, REQUEST_FAULT_SEG_MAX, REQUEST_FAULT_TOTAL, VERDICT_READ]],
  'request-c': [
    [],
    [
      ...[REQUEST_FAULT_NO_DATA, REQUEST_FAULT_NO_DATA, REQUEST_FAULT_NO_DATA],
      ...[REQUEST_FAULT_FLUSH_DATA, REQUEST_FAULT_FLUSH_DATA, VERDICT_READ],
    ],
  ],
  'request-d': [
    [],
    [
      ...[REQUEST_FAULT_ALIGNMENT, REQUEST_FAULT_ALIGNMENT, REQUEST_FAULT_DIRECTION, REQUEST_FAULT_DIRECTION],
      ...[REQUEST_FAULT_DATA_UNMAPPED, VERDICT_READ],
    ],
  ],
  'request-e': [[], [REQUEST_FAULT_READ_ONLY, VERDICT_FLUSH_NOTHING, VERDICT_READ]],
  'request-f': [[], [REQUEST_FAULT_RANGE, REQUEST_FAULT_RANGE, REQUEST_FAULT_RANGE, VERDICT_READ]],
  'request-g': [[], [REQUEST_FAULT_ID_SHORT, VERDICT_GET_ID, VERDICT_UNSUPPORTED, VERDICT_READ]],
  throttled: [[], []],
  'reset-under-load': [
    [],
    [
      ...[VERDICT_WRITE, VERDICT_READ, VERDICT_FLUSH, VERDICT_READ],
      ...[VERDICT_WRITE, VERDICT_READ, VERDICT_FLUSH, VERDICT_READ, VERDICT_READ],
    ],
  ],
  'kvm-guest': [[], []],
  linux: [[], []],
}

/** What the live guests do among other things; a head that waits is judged each time it is asked. */
const AMONG: Readonly<Record<string, readonly number[]>> = {
  throttled: [VERDICT_READ, REQUEST_FAULT_RANGE],
  'kvm-guest': [VERDICT_READ, VERDICT_WRITE, VERDICT_FLUSH, VERDICT_GET_ID, VERDICT_UNSUPPORTED],
  linux: [VERDICT_READ, VERDICT_WRITE, VERDICT_FLUSH],
}

const load = (name: string): Promise<Trace> => Trace.parse(new Uint8Array(readFileSync(`${FOLDER}/${name}.trace`)))

function decisions(trace: Trace, kind: number): number[] {
  return trace.steps.flatMap(({ events }) => events.filter((event) => event.kind === kind).map(({ low }) => low | 0))
}

test('golden: files -> these, no more and no fewer', () => {
  assert.equal(Object.keys(GOLDEN).sort(), Object.keys(DIGESTS).sort())
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.trace'))
  assert.equal(
    files.sort(),
    Object.keys(DIGESTS)
      .map((name) => `${name}.trace`)
      .sort(),
  )
})

for (const [name, [ringFaults, verdicts]] of Object.entries(GOLDEN)) {
  const digest = DIGESTS[name]
  test(`golden: ${name} -> the digest and the decisions that it is named for`, async () => {
    const trace = await load(name)
    assert.is(trace.digest, digest, 'the file has changed')
    assert.equal(decisions(trace, TRACE_RING_FAULT), ringFaults)
    const made = decisions(trace, TRACE_VERDICT)
    if (AMONG[name]) for (const verdict of AMONG[name]) assert.ok(made.includes(verdict), `verdict ${verdict}`)
    else assert.equal(made, verdicts)
    if (name === 'throttled') assert.ok(decisions(trace, TRACE_STALL).length > 3)
  })

  test(`golden: ${name} on the trace flavour -> as recorded, access by access`, async () => {
    const trace = await load(name)
    const { divergence, ...rest } = replay(trace)
    assert.is(divergence?.message, undefined)
    assert.equal(rest, { steps: trace.steps.length, digest })
  })

  for (const flavour of flavours) {
    test(`golden: ${name} on the ${flavour.name} flavour -> as recorded`, async () => {
      const trace = await load(name)
      const engine = (memory: WebAssembly.Memory) => flavour.engine(memory) as EngineExports
      const { divergence, ...rest } = replay(trace, { engine, shared: flavour.name === 'shared' })
      assert.is(divergence?.message, undefined)
      assert.equal(rest, { steps: trace.steps.length, digest })
    })
  }
}

// Planted bugs -------------------------------------------------------------------------------------------------

/** The release engine made from changed sources. */
async function mutant(file: string, from: string, to: string): Promise<WebAssembly.Module> {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-mutant-'))
  try {
    cpSync('assembly', join(folder, 'assembly'), { recursive: true })
    cpSync('asconfig.json', join(folder, 'asconfig.json'))
    const path = join(folder, 'assembly', file)
    const source = readFileSync(path, 'utf8')
    assert.is(source.split(from).length, 2, `'${from}' is in ${file} once`)
    writeFileSync(path, source.replace(from, to))
    const asc = [resolve('node_modules/assemblyscript/bin/asc.js'), '--target', 'release']
    const made = promisify(execFile)(process.execPath, [...asc, '--outFile', 'm.wasm', '--textFile', 'm.wat'], {
      cwd: folder,
    })
    await within(120_000, made, 'the AssemblyScript compiler')
    return new WebAssembly.Module(readFileSync(join(folder, 'm.wasm')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const BUGS: readonly [about: string, file: string, from: string, to: string, call: string, message: RegExp][] = [
  [
    'used length of a read without the status byte',
    'request.ts',
    'VIRTIO_BLK_S_OK, bytes + 1, COUNTER_READS_COMPLETED',
    'VIRTIO_BLK_S_OK, bytes, COUNTER_READS_COMPLETED',
    'complete',
    /^step \d+, complete\(\d+, \d+\): used element: expected .* = head \d+, len (\d+), seen .* = head \d+, len \d+$/,
  ],
  [
    'the need-event formula off by one',
    'virtqueue.ts',
    '((idx - event - 1) & 0xffff)',
    '((idx - event) & 0xffff)',
    'publish',
    /^step \d+, publish\(0\): (result|counter \w+): expected /,
  ],
]

for (const [about, file, from, to, call, message] of BUGS) {
  test(`golden: linux on an engine with a planted bug, ${about} -> found, step and field named`, async () => {
    const module = await mutant(file, from, to)
    const engine = (memory: WebAssembly.Memory) =>
      new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as EngineExports
    const { divergence } = replay(await load('linux'), { engine })
    assert.ok(divergence, 'not found')
    console.log(`\n  ${about}: ${divergence.message}`)
    assert.is(divergence.call, call)
    assert.match(divergence.message, message)
  })
}

test.run()
