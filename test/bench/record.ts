// What recording costs: Linux in v86 reads and writes its disk past the page cache. In one boot, the loads take turns
// on the plain engine and on the recording one, over the same device; processor time of this process is measured, which
// other work on the machine disturbs little. A second boot is recorded as a whole, for the bytes that a request takes.
// Prints medians, asserts nothing. Needs v86 and the guest's files: node build/test/bench/record.js [rounds]

import { type EngineExports, type EngineLoader, loadEngine } from '../../host/engine/engine.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { bootWithDisk } from '../support/golden-live.ts'

const ROUNDS = Number(process.argv[2] ?? 5)
const MODES = ['plain', 'recorded'] as const
type Mode = (typeof MODES)[number]

const LOADS: readonly [name: string, requests: number, command: string][] = [
  ['read 4 KiB', 500, 'dd if=/dev/vda of=/dev/null bs=4k count=500 iflag=direct'],
  ['write 4 KiB', 500, 'dd if=/dev/zero of=/dev/vda bs=4k count=500 oflag=direct'],
  ['read 64 KiB', 32, 'dd if=/dev/vda of=/dev/null bs=64k count=32 iflag=direct'],
]

const SCRIPT = `
for round in $(seq ${ROUNDS}); do for mode in ${MODES.join(' ')}; do
${LOADS.map(([, , command], i) => `echo "mark $mode ${i}"; sleep 1; ${command} 2>/dev/null; echo "mark idle 0"; sleep 1`).join('\n')}
done; done
`

/** Milliseconds of processor time, by load and mode. */
const times = new Map<string, number[]>()
let mode: Mode = 'recorded'

/** Both engines over one device, in the same state block: each call goes to the one whose turn it is. */
function inTurns(recorder: Recorder): EngineLoader {
  return (memory) => {
    type Calls = Record<string, (...args: number[]) => unknown>
    const plain = loadEngine(memory) as EngineExports as unknown as Calls
    const recording = recorder.engine(memory) as EngineExports as unknown as Calls
    const calls = Object.keys(plain).map((name) => [
      name,
      (...args: number[]) => (mode === 'plain' ? plain : recording)[name]?.(...args),
    ])
    return Object.fromEntries(calls) as EngineExports
  }
}

/** Follows the guest's marks. Its console comes in pieces of some milliseconds, hence the sleeps. */
function watch(): (bytes: Uint8Array) => void {
  let text = ''
  let key = ''
  let start = process.cpuUsage()
  return (bytes) => {
    text += Buffer.from(bytes).toString()
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const [, word, load] = /^mark (\w+) (\d)/.exec(text) ?? []
      text = text.slice(end + 1)
      if (word === undefined) continue
      const { user, system } = process.cpuUsage(start)
      if (key) times.set(key, [...(times.get(key) ?? []), (user + system) / 1000])
      key = word === 'idle' ? '' : `${word} ${load}`
      mode = word === 'plain' ? 'plain' : 'recorded'
      start = process.cpuUsage()
    }
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number
}

await bootWithDisk(SCRIPT, inTurns(new Recorder()), watch())
LOADS.forEach(([name, requests], i) => {
  const [plain = 0, recorded = 0] = MODES.map((word) => median(times.get(`${word} ${i}`) ?? []))
  const more = ((recorded - plain) / requests) * 1000
  console.log(
    `${name} x${requests}: ${plain.toFixed(0)} ms, recorded ${recorded.toFixed(0)} ms: ` +
      `${(recorded / plain).toFixed(2)} times, ${more.toFixed(0)} us more a request`,
  )
})

const recorder = new Recorder()
const { requests } = await bootWithDisk(SCRIPT, recorder.engine)
const trace = recorder.trace()
const { length } = await trace.bytes()
const each = (count: number): string => (count / requests).toFixed(1)
console.log(`${requests} requests, ${trace.steps.length} steps, ${length} bytes in the file`)
console.log(`a request: ${each(length)} bytes, ${each(trace.steps.length)} steps`)
