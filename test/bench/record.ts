// What recording costs: Linux in v86 reads and writes its disk past the page cache, with and without a recorder, in
// turns. Prints medians of the guest's own time and of the whole boot, and the bytes that a request takes in a trace.
// Needs v86 and the guest's files. Run alone: node build/test/bench/record.js [rounds]

import type { EngineLoader } from '../../host/engine/engine.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import { bootWithDisk, CannotRecord } from '../support/golden-live.ts'

const REQUESTS = 500
const REPEATS = 3
const LOADS: readonly [name: string, command: string][] = [
  ['read 4 KiB', `dd if=/dev/vda of=/dev/null bs=4k count=${REQUESTS} iflag=direct`],
  ['write 4 KiB', `dd if=/dev/zero of=/dev/vda bs=4k count=${REQUESTS} oflag=direct`],
  ['read 64 KiB', 'dd if=/dev/vda of=/dev/null bs=64k count=32 iflag=direct'],
]

const SCRIPT = LOADS.map(
  ([, command], i) => `
read start rest </proc/uptime
for i in $(seq ${REPEATS}); do ${command} 2>/dev/null; done
read end rest </proc/uptime
echo "load ${i} $start $end"
`,
).join('')

interface Run {
  boot: number
  loads: number[]
  requests: number
}

async function measure(engine?: EngineLoader): Promise<Run> {
  const { output, seconds, requests } = await bootWithDisk(SCRIPT, engine)
  const loads = LOADS.map((_, i) => {
    const [, start, end] = new RegExp(`^load ${i} (\\S+) (\\S+)$`, 'm').exec(output) ?? []
    return Number(end) - Number(start)
  })
  return { boot: seconds, loads, requests }
}

/** A guest that crashes is not measured, and told of. */
async function run(makeEngine: () => EngineLoader | undefined): Promise<Run> {
  for (;;) {
    try {
      return await measure(makeEngine())
    } catch (error) {
      if (error instanceof CannotRecord) throw error
      console.log(`a boot failed, again: ${String(error).split('\n')[0]}`)
    }
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number
}

const rounds = Number(process.argv[2] ?? 3)
const plain: Run[] = []
const recorded: Run[] = []
let size = ''
for (let round = 0; round < rounds; round++) {
  plain.push(await run(() => undefined))
  let recorder = new Recorder()
  const one = await run(() => {
    recorder = new Recorder()
    return recorder.engine
  })
  recorded.push(one)
  const trace = recorder.trace()
  const { length } = await trace.bytes()
  const each = (count: number): string => (count / one.requests).toFixed(1)
  size = `${one.requests} requests, ${trace.steps.length} steps, ${length} bytes: ${each(length)} bytes and ${each(trace.steps.length)} steps a request`
}
const line = (name: string, of: (run: Run) => number): void => {
  const [without, with_] = [median(plain.map(of)), median(recorded.map(of))]
  console.log(
    `${name.padEnd(14)} ${without.toFixed(2)} s, recorded ${with_.toFixed(2)} s: ${(with_ / without).toFixed(2)} times`,
  )
}
LOADS.forEach(([name], i) => {
  line(`${name} x${REPEATS * (i < 2 ? REQUESTS : 32)}`, ({ loads }) => loads[i] as number)
})
line('whole boot', ({ boot }) => boot)
console.log(size)
