// A disk as its worker serves it, on the test's own thread: a hold that comes, and one that goes, at every point of a
// turn. Whatever the order, nothing of the guest's is touched while the worker is out of a held disk, and everything
// that was offered is answered in the end without another kick (device rules 20, 25, 29). The descriptors are real;
// the loop is a few lines, so that each of its steps can be looked at.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { setUp as setUpDevice } from '../../host/device/set-up.ts'
import type { ThrottleOptions } from '../../host/device/throttle.ts'
import { Raw } from '../../host/driver/raw.ts'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { CONTROL_BYTES, DiskControl } from '../../host/loop/control.ts'
import { dispatch, queueOf } from '../../host/loop/decisions.ts'
import { monotonicNanos, ServedDisk } from '../../host/loop/served-disk.ts'
import { DiskTransport } from '../../host/loop/transport.ts'
import { Epoll } from '../../host/sys/epoll.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { TimerFd } from '../../host/sys/timerfd.ts'
import { diskBytes } from '../support/device.ts'
import { interleaved } from '../support/interleave.ts'
import { LateBackend } from '../support/late-backend.ts'
import { settle as resolved } from '../support/within.ts'
import { until } from '../support/worker.ts'

const test = suite('loop served disk')

interface Options {
  queues?: number
  throttle?: ThrottleOptions
  wrap?: (backend: BlockBackend) => BlockBackend
}

async function bench({ queues = 1, throttle, wrap = (backend) => backend }: Options = {}) {
  const memory = GuestMemory.create({ ramBytes: 4 << 20, shared: true, stateBytes: 2 << 20 })
  const backend = wrap(new MemoryBackend(diskBytes(0, 256 << 10)))
  const options = { memory, backend, queues, ...(throttle && { throttle }) }
  const device = await setUpDevice(options, monotonicNanos)
  const epoll = Epoll.create()
  const wake = EventFd.create()
  const interrupt = EventFd.create()
  const timer = TimerFd.create()
  const kicks = Array.from({ length: queues }, () => EventFd.create())
  const handle = {
    memory: memory.memory,
    statePtr: device.state.ptr,
    controlPtr: memory.allocate(CONTROL_BYTES),
    queues,
    wakeFd: wake.fd,
    kickFds: kicks.map(({ fd }) => fd),
    interruptFd: interrupt.fd,
    timerFd: timer.fd,
  }
  const message = { id: 1, handle, queueSizeMax: device.queueSizeMax, regions: memory.regions }
  const failures: string[] = []
  const transport = DiskTransport.open(handle, (failure) => failures.push(failure))
  let ready = false
  const disk = new ServedDisk(
    message,
    backend,
    (failure) => failures.push(failure),
    () => {
      ready = true
    },
  )
  disk.attach(epoll)
  transport.control.setAlive()
  ready = true

  /** One round of a loop: events, then a turn if one is due. False: it would sleep. */
  const round = (): boolean => {
    const count = epoll.wait(0)
    for (let i = 0; i < count; i++) {
      const token = epoll.token(i)
      const action = dispatch(token)
      if (action === 'kick') disk.kicked(queueOf(token))
      else if (action === 'wake') disk.woken()
      else if (action === 'timer') disk.expired()
      ready = true
    }
    if (!ready) return false
    ready = false
    if (disk.turn()) ready = true
    return true
  }
  const raw = new Raw({ mmio: transport, memory })
  const close = async (): Promise<void> => {
    disk.detach(epoll)
    await disk.close()
    for (const owned of [epoll, wake, interrupt, timer, ...kicks]) owned.close()
  }
  const settle = (): void => {
    for (let i = 0; round(); i++) assert.ok(i < 1000, 'the loop does not come to rest')
  }
  const release = (): void => {
    if (transport.control.release()) transport.wake()
  }
  const ram = (): Buffer => Buffer.from(memory.view(0, 4 << 20))
  return {
    memory,
    device,
    disk,
    transport,
    control: transport.control,
    raw,
    round,
    settle,
    release,
    ram,
    close,
    interrupt,
    failures,
  }
}

const NEVER = Number.MAX_SAFE_INTEGER
const read = { type: 0, sector: 3, dataIn: 512 }

test('device rule 25: worker: held and released at every two points of a drain -> all answered, no kick needed', async () => {
  const { raw, control, round, settle, release, ram, close } = await bench()
  let places = 1
  let orders = 0
  for (let from = 0; from < places; from++) {
    for (let to = from + 1; to <= places; to++) {
      const { queue } = raw.negotiate()
      settle()
      const requests = [read, { ...read, sector: 5 }, { type: 4 }].map((options) => queue.request(options))
      queue.submit(...requests.map(({ head }) => head))
      let isReleased = false
      const free = (): void => {
        isReleased = true
        release()
      }
      // Three rounds: the drain, what it left, and where it finds the hold.
      const accesses = interleaved(() => {
        for (let i = 0; i < 3; i++) round()
      }, [
        { at: from, run: () => control.hold() },
        { at: to, run: free },
      ])
      places = Math.max(places, from === 0 ? accesses : places)
      if (!isReleased) {
        if (!control.isHeld) break
        settle()
        const before = ram()
        settle()
        assert.ok(before.equals(ram()), 'held: no byte changes')
        free()
      }
      settle()
      assert.equal([queue.usedIdx, ...requests.map((request) => request.status())], [3, 0, 0, 0], `${from} to ${to}`)
      orders++
    }
  }
  assert.ok(places >= 10 && orders > 50, `${places} places, ${orders} orders`)
  await close()
})

test('device rule 20: worker: held and released around a stall, at every point -> the wait ends by itself', async () => {
  const { raw, control, device, round, settle, release, close } = await bench({ throttle: { bytesPerSecond: 1 << 20 } })
  // Four of these empty the bucket; each of the others then waits 4 ms.
  const { queue: first } = raw.negotiate()
  for (let i = 0; i < 4; i++) first.run({ ...read, sector: 0, dataIn: 256 << 10, segments: 128 << 10 })
  settle()
  let places = 1
  for (let from = 0; from < places; from++) {
    for (const after of [1, 2, 3, NEVER]) {
      const { queue } = raw.negotiate()
      settle()
      const requests = [0, 1, 2, 3].map(() => queue.request({ ...read, dataIn: 4096 }))
      queue.submit(...requests.map(({ head }) => head))
      let isReleased = false
      let isHeld = false
      const free = (): void => {
        isReleased = true
        release()
      }
      const accesses = interleaved(() => {
        for (let i = 0; i < 3; i++) round()
      }, [
        {
          at: from,
          run: () => {
            isHeld = true
            control.hold()
          },
        },
        { at: from + after, run: free },
      ])
      if (from === 0) places = Math.max(places, accesses)
      if (isHeld && !isReleased) {
        settle()
        free()
      }
      await until(`all answered, held before access ${from}, released ${after} later`, () => {
        settle()
        return queue.usedIdx === 4
      })
    }
  }
  assert.ok(places >= 8, `${places} places`)
  assert.ok(device.state.readCounters().throttledCount > 50, 'there were stalls')
  await close()
})

/** A vCPU's waits for the worker end at once: on one thread it cannot leave meanwhile. */
function impatient(control: DiskControl): void {
  Object.assign(control, { waitQuiet: () => DiskControl.prototype.waitQuiet.call(control, 0) })
}

test('device rule 6: worker: reset at every point of a drain -> 0 at once or when it is out, and nothing after', async () => {
  const { raw, control, round, settle, ram, close, interrupt } = await bench()
  impatient(control)
  let places = 1
  let pending = 0
  for (let at = 0; at < places; at++) {
    const { queue } = raw.negotiate()
    settle()
    const requests = [read, { ...read, sector: 5 }, { type: 4 }].map((options) => queue.request(options))
    queue.submit(...requests.map(({ head }) => head))
    let before: Buffer = ram()
    let status = -1
    const accesses = interleaved(() => {
      for (let i = 0; i < 3; i++) round()
    }, [
      {
        at,
        run: () => {
          raw.reg.status = 0
          status = raw.reg.status
          before = ram()
        },
      },
    ])
    if (at === 0) places = 40
    if (status === -1) places = at
    else if (status === 0) assert.ok(before.equals(ram()), `access ${at}: no byte changes after Status reads 0`)
    else {
      assert.is(status, 0x4f, `access ${at}`)
      pending++
    }
    assert.ok(accesses > 0)
    settle()
    if (status !== -1) {
      assert.equal([raw.reg.status, interrupt.take()], [0, 0], `access ${at}: reset, and no interrupt left of before`)
    }
    before = ram()
    settle()
    assert.ok(before.equals(ram()))
    assert.not(control.isHeld)
  }
  assert.ok(pending > 3 && pending < places, `${pending} of ${places} found the worker inside`)
  await close()
})

test('device rule 4: worker: reset, bring-up and DRIVER_OK at every point -> one drain, without a kick', async () => {
  const { raw, control, round, settle, close } = await bench()
  impatient(control)
  let places = 40
  let served = 0
  for (let at = 0; at < places; at++) {
    const { queue: old } = raw.negotiate()
    settle()
    old.submit(old.request(read).head)
    let next: RawQueue | undefined
    let status = -1
    interleaved(() => {
      for (let i = 0; i < 3; i++) round()
    }, [
      {
        at,
        run: () => {
          const { queue, ...up } = raw.negotiate({ upTo: 'queues', keepArena: true })
          queue.publish(queue.request(read).head)
          raw.reg.status = 0x0f
          status = up.status === 0x0b ? raw.reg.status : 0
          next = queue
        },
      },
    ])
    settle()
    if (status === -1) places = at
    if (status !== 0x0f) continue
    served++
    assert.is(next?.usedIdx, 1, `access ${at}`)
  }
  assert.ok(served >= 4, `${served} of ${places}`)
  await close()
})

test('device rule 25: worker: held and released around late answers, at every point -> all answered', async () => {
  let late: LateBackend | undefined
  const { raw, control, round, settle, release, ram, close } = await bench({
    wrap: (backend) => {
      late = new LateBackend(backend as MemoryBackend)
      return late
    },
  })
  for (let places = 8, from = 0; from < places; from++) {
    for (const to of [from + 1, from + 3, NEVER]) {
      const { queue } = raw.negotiate()
      settle()
      const requests = [read, { ...read, sector: 5 }, { type: 4 }].map((options) => queue.request(options))
      queue.submit(...requests.map(({ head }) => head))
      settle()
      assert.is(late?.pending.length, 3)
      late?.finishAll()
      await resolved()
      let isReleased = false
      const free = (): void => {
        isReleased = true
        release()
      }
      const accesses = interleaved(() => {
        for (let i = 0; i < 3; i++) round()
      }, [
        { at: from, run: () => control.hold() },
        { at: to, run: free },
      ])
      places = Math.max(places, Math.min(accesses, 40))
      if (control.isHeld && !isReleased) {
        settle()
        const before = ram()
        settle()
        assert.ok(before.equals(ram()), 'held: no byte changes')
        free()
      }
      settle()
      assert.equal([queue.usedIdx, ...requests.map((request) => request.status())], [3, 0, 0, 0], `${from} to ${to}`)
    }
  }
  await close()
})

test.run()
