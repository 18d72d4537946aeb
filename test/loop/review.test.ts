// What a hostile guest found at the worker's door: resets that cross each other, resets that nobody tells the worker
// of, a lock that one vCPU keeps from all others, and a listener that throws in the middle of a reset (device rules 6,
// 7, 25, 29).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { setUp as setUpDevice } from '../../host/device/set-up.ts'
import { Raw } from '../../host/driver/raw.ts'
import { CONTROL_BYTES } from '../../host/loop/control.ts'
import { monotonicNanos, ServedDisk } from '../../host/loop/served-disk.ts'
import { DiskTransport } from '../../host/loop/transport.ts'
import { Epoll } from '../../host/sys/epoll.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { TimerFd } from '../../host/sys/timerfd.ts'
import { diskBytes } from '../support/device.ts'
import { interleaved } from '../support/interleave.ts'
import { LateBackend } from '../support/late-backend.ts'
import { settle as resolved, sleep } from '../support/within.ts'
import { onWorker, servesOnWorker, until } from '../support/worker.ts'

const test = suite('loop review')

const NEEDS_RESET = 0x40
const read = { type: 0, sector: 3, dataIn: 512 }

/** A disk with a late back end and no loop: the test takes its turns. */
async function lateDisk(onFailure: (message: string) => void = () => {}) {
  const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true, stateBytes: 2 << 20 })
  const backend = new LateBackend(new MemoryBackend(diskBytes(0, 64 << 10)))
  const device = await setUpDevice({ memory, backend }, monotonicNanos)
  const [wake, interrupt, kick, timer] = [EventFd.create(), EventFd.create(), EventFd.create(), TimerFd.create()]
  const epoll = Epoll.create()
  const handle = {
    memory: memory.memory,
    statePtr: device.state.ptr,
    controlPtr: memory.allocate(CONTROL_BYTES),
    queues: 1,
    wakeFd: wake.fd,
    kickFds: [kick.fd],
    interruptFd: interrupt.fd,
    timerFd: timer.fd,
  }
  const message = { id: 1, handle, queueSizeMax: device.queueSizeMax, regions: memory.regions }
  const disk = new ServedDisk(message, backend, onFailure, () => {})
  disk.attach(epoll)
  const transport = DiskTransport.open(handle, onFailure)
  const raw = new Raw({ mmio: transport, memory })
  const lockWord = new Int32Array(memory.memory.buffer, handle.controlPtr, 1)
  return {
    backend,
    disk,
    handle,
    raw,
    transport,
    control: transport.control,
    isLocked: () => Atomics.load(lockWord, 0) !== 0,
    settle: () => {
      disk.woken()
      for (let i = 0; disk.turn(); i++) assert.ok(i < 100, 'the disk does not come to rest')
    },
    close: async () => {
      disk.detach(epoll)
      await disk.close()
      for (const owned of [epoll, wake, interrupt, kick, timer]) owned.close()
    },
  }
}

/** Lets the clock of the disks run on. */
function later(ms: number): () => void {
  const real = performance.now
  performance.now = () => real.call(performance) + ms
  return () => {
    performance.now = real
  }
}

test('device rule 6: worker: a new driver comes up while an overdue reset completes -> it is not reset again', async () => {
  const { backend, control, disk, raw, isLocked, settle, close } = await lateDisk()
  let places = 1
  let tried = 0
  for (let at = 0; at < places; at++) {
    const { queue } = raw.negotiate()
    settle()
    queue.run(read)
    settle()
    assert.is(backend.pending.length, 1)
    raw.reg.status = 0
    settle()
    const back = later(1001)
    disk.expired()
    settle()
    assert.is(raw.reg.status, NEEDS_RESET, `access ${at}: overdue`)
    backend.finishAll()
    await resolved()
    let up: ReturnType<Raw['negotiate']> | undefined
    const accesses = interleaved(() => {
      disk.turn()
    }, [
      {
        at,
        run: () => {
          if (control.isBusy || isLocked()) return // it would have to wait
          up = raw.negotiate()
        },
      },
    ])
    if (at === 0) places = accesses
    settle()
    back()
    if (up === undefined) continue
    tried++
    assert.is(up.status, 0x0f, `access ${at}: up`)
    const request = up.queue.run(read)
    settle()
    backend.finishAll()
    await resolved()
    settle()
    assert.equal([raw.reg.status, request.status()], [0x0f, 0], `access ${at}: still up, and served`)
  }
  assert.ok(tried > 2, `${tried} of ${places}`)
  await close()
})

onWorker(
  test,
  'device rule 6: worker: a late back end is not back 1 s after a reset -> Status shows it, without a kick',
  { late: true },
  async (f) => {
    f.script.shut()
    const { queue } = f.raw.negotiate()
    queue.run(read)
    await until('the request is in the back end', () => f.script.inside === 1)
    f.raw.reg.status = 0
    assert.is(f.raw.reg.status, 0)
    await sleep(500)
    assert.is(f.raw.reg.status, 0, 'half a second is no matter')
    await until('NEEDS_RESET', () => f.raw.reg.status === NEEDS_RESET, 2000)
    f.script.open()
    await until('0, by itself', () => f.raw.reg.status === 0)
    await servesOnWorker(f)
  },
)

test.run()
