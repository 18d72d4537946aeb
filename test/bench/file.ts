// What a request to a disk in a file costs: foreign calls, system calls and copies for each, and its time against
// fs.readSync and friends. The file is in /dev/shm, so this is the cost of the way there, not of a disk.
//
// Counting is done in child processes, so that what is timed is what ships: one counts what koffi is asked for (see
// koffi-counter.ts), two run under strace, of which only the difference counts. Prints tables, asserts nothing: a
// slow machine is not a failure.

import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { FileBackend as Disk } from '../../host/backend/file.ts'
import { LAYOUTS } from './guest.ts'
import { CHILD, type Counts, counts, reset, watch } from './koffi-counter.ts'

// Not imported as the others are: the counter has to change koffi before libc.ts asks it for functions, and a bundler
// that splits keeps no other order.
const { FileBackend } = await import('../../host/backend/file.ts')
const { contestants, countingLoader, sequentialReads } = await import('./file-device.ts')

const IMAGE_BYTES = 16 << 20
const TRIALS = 20

interface Shape {
  name: string
  operation: 'read' | 'write'
  /** bytes of each buffer; 1 KiB of guest RAM is left between them */
  buffers: number[]
}

const SHAPES: Shape[] = [
  { name: 'read 4 KiB', operation: 'read', buffers: [4096] },
  { name: 'write 4 KiB', operation: 'write', buffers: [4096] },
  { name: 'read 4 KiB in 2 buffers', operation: 'read', buffers: [1024, 3072] },
  { name: 'read 64 KiB', operation: 'read', buffers: [65536] },
  { name: 'write 64 KiB', operation: 'write', buffers: [65536] },
  { name: 'read 64 KiB in 16 buffers', operation: 'read', buffers: new Array(16).fill(4096) },
  { name: 'write 64 KiB in 16 buffers', operation: 'write', buffers: new Array(16).fill(4096) },
]

interface Setup {
  disk: Disk
  /** a descriptor of the same file, for node:fs */
  fd: number
  memory: WebAssembly.Memory
  close(): void
}

function setUp(): Setup {
  const path = `/dev/shm/vblk-bench-${process.pid}.img`
  fs.writeFileSync(path, new Uint8Array(IMAGE_BYTES).fill(7))
  const disk = FileBackend.open(path, { lock: false })
  const fd = fs.openSync(path, 'r+')
  fs.unlinkSync(path)
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true })
  return {
    disk,
    fd,
    memory,
    close: () => {
      disk.close()
      fs.closeSync(fd)
    },
  }
}

/** A function that does the next request of this shape through the back end. The views are made once. */
function requests({ disk, memory }: Setup, shape: Shape): () => number {
  const bytes = shape.buffers.reduce((sum, length) => sum + length, 0)
  const buffers = views(memory, shape)
  let offset = 0
  return () => {
    offset = offset + 2 * bytes > IMAGE_BYTES ? 0 : offset + bytes
    return shape.operation === 'read' ? disk.read(offset, buffers) : disk.write(offset, buffers)
  }
}

/** The same through node:fs. */
function nodeRequests({ fd, memory }: Setup, shape: Shape): () => number {
  const bytes = shape.buffers.reduce((sum, length) => sum + length, 0)
  const many = shape.operation === 'read' ? fs.readvSync : fs.writevSync
  const buffers = views(memory, shape)
  const [first] = buffers
  let offset = 0
  return () => {
    offset = offset + 2 * bytes > IMAGE_BYTES ? 0 : offset + bytes
    if (buffers.length > 1 || first === undefined) return many(fd, buffers, offset)
    return shape.operation === 'read'
      ? fs.readSync(fd, first, 0, bytes, offset)
      : fs.writeSync(fd, first, 0, bytes, offset)
  }
}

function views(memory: WebAssembly.Memory, shape: Shape): Uint8Array[] {
  const list: Uint8Array[] = []
  let ptr = 65536
  for (const length of shape.buffers) {
    list.push(new Uint8Array(memory.buffer, ptr, length))
    ptr += length + 1024
  }
  return list
}

// --- counting ------------------------------------------------------------------------------------------------------

/** Runs in a child, where koffi-counter.ts is switched on. */
function countCalls(): Record<string, Counts> {
  const setup = setUp()
  watch(setup.memory.buffer)
  const result: Record<string, Counts> = {}
  for (const shape of SHAPES) {
    const request = requests(setup, shape)
    request()
    reset()
    for (let i = 0; i < 1000; i++) request()
    result[shape.name] = counts()
  }
  setup.close()
  return result
}

/** Runs in the same child: calls out and into the engine, for each request that goes through a whole device. */
async function countDevice(): Promise<Record<string, Counts>> {
  const result: Record<string, Counts> = {}
  for (const layout of LAYOUTS) {
    const crossings: Record<string, number> = {}
    const { buffer, requests, whole, close } = await contestants(layout, countingLoader(crossings))
    watch(buffer)
    for (const name of Object.keys(crossings)) delete crossings[name]
    reset()
    for (let i = 0; i < 100; i++) whole()
    const perRequest = (calls: Record<string, number>): [string, number][] =>
      Object.entries(calls).map(([name, number]) => [name, number / 100 / requests])
    const name = `device: ${layout.title}, batches of ${requests}`
    result[name] = {
      calls: Object.fromEntries(perRequest({ ...counts().calls, ...crossings })),
      outside: counts().outside / 100 / requests,
    }
    close()
  }
  return result
}

/** System calls of a child that makes `count` requests, by strace; or why there is no answer. */
function systemCalls(count: number): number | string {
  const environment = { ...process.env, [CHILD]: `run ${count}` }
  const command = ['-f', '-c', '-qq', process.execPath, fileURLToPath(import.meta.url)]
  const { status, stderr, error } = spawnSync('strace', command, { env: environment, encoding: 'utf8' })
  if (status !== 0) return error?.message ?? stderr.trim()
  const total = /(\d+)(?: +\d+)? +total$/m.exec(stderr)?.[1]
  return total === undefined ? 'strace printed no total' : Number(total)
}

function printCounts(): void {
  const environment = { ...process.env, [CHILD]: 'count' }
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { env: environment, encoding: 'utf8' })
  if (child.status !== 0) throw new Error(child.stderr)
  const { alone, device } = JSON.parse(child.stdout) as Record<'alone' | 'device', Record<string, Counts>>
  console.log('request                      koffi calls  copies  which call')
  for (const [name, { calls, outside }] of Object.entries(alone)) {
    const all = Object.values(calls).reduce((sum, count) => sum + count, 0)
    const row = [name.padEnd(28), (all / 1000).toFixed(3).padStart(11), (outside / 1000).toFixed(3).padStart(7)]
    console.log(`${row.join(' ')}  ${Object.keys(calls).join(' ')}`)
  }
  console.log('\ncalls per request through VirtioBlk, out (koffi) and into the engine')
  for (const [name, { calls, outside }] of Object.entries(device)) {
    const list = Object.entries(calls).map(([call, number]) => `${call} ${number.toFixed(3)}`)
    console.log(`${name.padEnd(42)} ${list.join(', ')}; copies ${outside.toFixed(3)}`)
  }
  const [few, many] = [systemCalls(2000), systemCalls(22_000)]
  if (typeof few === 'string' || typeof many === 'string') console.log(`system calls: skipped: ${few}`)
  else console.log(`system calls per 4 KiB read: ${((many - few) / 20_000).toFixed(3)} (strace -c, 20000 requests)`)
}

// --- time ----------------------------------------------------------------------------------------------------------

/** Nanoseconds a call. */
function spin(run: () => number, iterations: number): number {
  const start = performance.now()
  for (let i = 0; i < iterations; i++) run()
  return ((performance.now() - start) * 1e6) / iterations
}

/** Nanoseconds a call, sorted, one number a trial. The contestants take turns: a busy neighbour hits all of them. */
function time(contestants: (() => number)[], iterations: number): number[][] {
  for (const run of contestants) spin(run, 10_000)
  const results: number[][] = contestants.map(() => [])
  for (let trial = 0; trial < TRIALS; trial++) {
    contestants.forEach((run, which) => {
      results[which]?.push(spin(run, iterations))
    })
  }
  return results.map((list) => list.sort((a, b) => a - b))
}

function printTimes(setup: Setup): void {
  console.log('\nns per request               FileBackend: median    min   node:fs: median    min   ratio of medians')
  for (const shape of SHAPES) {
    const iterations = shape.buffers.reduce((sum, length) => sum + length, 0) > 4096 ? 2000 : 10_000
    const [ours = [], theirs = []] = time([requests(setup, shape), nodeRequests(setup, shape)], iterations)
    const number = (value: number | undefined, width: number): string => (value ?? 0).toFixed(0).padStart(width)
    const [a, b] = [ours[TRIALS / 2], theirs[TRIALS / 2]]
    const figures = [number(a, 19), number(ours[0], 6), number(b, 17), number(theirs[0], 6)]
    console.log(`${shape.name.padEnd(28)} ${figures.join(' ')} ${((a ?? 0) / (b ?? 1)).toFixed(2).padStart(18)}`)
  }
  const { memory } = setup
  const { buffer } = memory
  const makers = [() => new Uint8Array(buffer, 65536, 4096).length, () => memory.buffer.byteLength]
  const [view = [], getter = []] = time(makers, 10_000)
  const [a, b] = [view[TRIALS / 2]?.toFixed(0), getter[TRIALS / 2]?.toFixed(0)]
  console.log(`not counted above, by the device: one view on guest RAM ${a} ns; asking for memory.buffer ${b} ns`)
}

async function printDeviceTimes(): Promise<void> {
  console.log('\nns per request                     driver+device+file: median    min   file alone: median    min')
  for (const layout of LAYOUTS) {
    const { requests, whole, direct, close } = await contestants(layout)
    const results = time([whole, direct], Math.ceil(20_000 / layout.segments / requests))
    const figures = results.map((list) =>
      [list[TRIALS / 2], list[0]].map((value) => ((value ?? 0) / requests).toFixed(0)).map((text) => text.padStart(6)),
    )
    const [a = [], b = []] = figures
    const name = `read ${layout.title}, batches of ${requests}`
    console.log(`${name.padEnd(38)} ${a.join(' ').padStart(22)} ${b.join(' ').padStart(26)}`)
    close()
  }
  const { run, close } = await sequentialReads()
  await run(5000)
  const trials: number[] = []
  for (let trial = 0; trial < TRIALS; trial++) {
    const start = performance.now()
    await run(2000)
    trials.push(((performance.now() - start) * 1e6) / 2000)
  }
  trials.sort((a, b) => a - b)
  const [median, min] = [trials[TRIALS / 2], trials[0]]
  console.log(`VirtioBlkDriver.read of 4 KiB, one at a time: median ${median?.toFixed(0)}, min ${min?.toFixed(0)}`)
  close()
}

const [task, count] = (process.env[CHILD] ?? '').split(' ')
if (task === 'count') {
  console.log(JSON.stringify({ alone: countCalls(), device: await countDevice() }))
} else if (task === 'run') {
  const setup = setUp()
  const request = requests(setup, SHAPES[0] as Shape)
  for (let i = 0; i < Number(count); i++) request()
  setup.close()
} else {
  printCounts()
  const setup = setUp()
  printTimes(setup)
  setup.close()
  await printDeviceTimes()
}
