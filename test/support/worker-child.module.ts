// Programs for a process of their own, by the name in the first argument: what the end of a process does to a worker
// that was never closed, waiting for a worker when nothing else keeps the process going, a timer that is taken away.
// Each prints one line of JSON. Run by worker-child.ts.

import { writeSync } from 'node:fs'
import { closeFd } from '../../host/sys/fd.ts'
import { setUpWorker, used, type WorkerFixture, type WorkerSetUp } from './worker.ts'

const read = { type: 0, sector: 3, dataIn: 512 }

function say(value: unknown): void {
  writeSync(1, `${JSON.stringify(value)}\n`)
}

async function served(options: WorkerSetUp = {}): Promise<WorkerFixture> {
  const fixture = await setUpWorker(options)
  const { queue } = fixture.raw.negotiate()
  queue.run(read)
  await used(queue, 1)
  return fixture
}

/** A read that takes a while is under way on the thread. */
async function busy(): Promise<WorkerFixture> {
  const fixture = await served()
  fixture.script.slowMs = 300
  fixture.raw.negotiate().queue.run(read)
  const end = performance.now() + 5000
  while (fixture.script.calls < 2 && performance.now() < end);
  return fixture
}

const PROGRAMS: Record<string, () => Promise<void>> = {
  async 'left open'() {
    const { raw } = await served()
    say({ status: raw.reg.status })
  },
  async 'left open, late back end'() {
    const { raw } = await served({ late: true })
    say({ status: raw.reg.status })
  },
  async 'left open, a call under way'() {
    await busy()
    say({})
  },
  async 'left open, paused'() {
    const { disk } = await served()
    await disk.pause()
    say({})
  },
  async 'process.exit'() {
    await served()
    say({})
    process.exit(3)
  },
  async 'nothing but a pause to wait for'() {
    const { disk } = await busy()
    await disk.pause()
    say({ paused: disk.isPaused })
  },
  async 'nothing but new limits to wait for'() {
    const { disk } = await busy()
    await disk.setThrottle({ iops: 10 })
    say({ done: true })
  },
  async 'nothing but a close to wait for'() {
    const { worker, script } = await busy()
    await worker.close()
    say({ closes: script.count('close') })
  },
  async 'timer taken away'() {
    const fixture = await setUpWorker({ disk: { throttle: { iops: 20 } } })
    const { disk, failures, raw } = fixture
    closeFd(disk.handle.timerFd)
    const { queue } = raw.negotiate()
    const requests = Array.from({ length: 5 }, () => Array.from({ length: 5 }, () => queue.request({ type: 4 })))
    let count = 0
    for (const five of requests) {
      for (const request of five) queue.publish(request.head)
      queue.kick()
      count += 5
      await used(queue, count)
    }
    say({
      flushes: disk.counters.flushesCompleted,
      stalls: disk.counters.throttledCount,
      failures,
      counts: disk.failures,
    })
    process.exit(0)
  },
}

const program = PROGRAMS[process.argv[2] ?? '']
if (program !== undefined) await program()
