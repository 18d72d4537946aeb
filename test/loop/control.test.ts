// How threads agree on a disk: the lock, hold and enter, and the words of the engine's state that several threads
// change at once. With real threads over one shared memory, thousands of rounds each; and, in one thread, every order
// of a holder's steps between a worker's (control.ts says why it works).

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { setUp as setUpDevice } from '../../host/device/set-up.ts'
import { CONTROL_BYTES, DiskControl, FAILURE_KINDS } from '../../host/loop/control.ts'
import { BOTH, DONE, GO, READY, RUNS, SHARED_WORDS, STOP, type TaskData, VALUE } from '../support/threads.module.ts'
import { startThread } from '../support/threads.ts'
import { sleep, within } from '../support/within.ts'
import { soon, until } from '../support/worker.ts'

const test = suite('loop control')

interface Bench {
  memory: WebAssembly.Memory
  ptr: number
  shared: Int32Array
  control: DiskControl
}

function bench(): Bench {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const ptr = 1024
  return { memory, ptr, shared: words(), control: new DiskControl(memory, ptr) }
}

function words(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * SHARED_WORDS))
}

/** Lets so many threads begin at once. */
async function go(shared: Int32Array, threads: number): Promise<void> {
  await until('the threads to be ready', () => Atomics.load(shared, READY) === threads)
  Atomics.store(shared, GO, 1)
  Atomics.notify(shared, GO)
}

// The lock -------------------------------------------------------------------------------------------------------

test('device rule 6: worker: the device lock, 3 threads x 5000 -> no increment is lost', async () => {
  const { memory, ptr, shared } = bench()
  const data: TaskData = { memory, ptr, shared, rounds: 5000 }
  const threads = [0, 1, 2].map(() => startThread('increment', data))
  await go(shared, 3)
  await soon('the threads', Promise.all(threads.map(({ result }) => result)))
  assert.is(shared[VALUE], 15_000)
})

test('device rule 6: worker: the device lock taken and waited for -> given to one who waits, then free', async () => {
  const { memory, ptr, shared, control } = bench()
  control.lock()
  const threads = [0, 1].map(() => startThread('increment', { memory, ptr, shared, rounds: 1 }))
  await go(shared, 2)
  await sleep(50)
  assert.is(shared[VALUE], 0, 'both wait')
  control.unlock()
  // Sooner than a wait for the lock gives up and looks again.
  await within(5000, Promise.all(threads.map(({ result }) => result)), 'the threads')
  assert.is(shared[VALUE], 2)
  control.lock()
  control.unlock()
})

// Hold and enter -------------------------------------------------------------------------------------------------

for (const holders of [1, 2]) {
  test(`device rule 25: worker: ${holders} holding, 3000 rounds each -> never both inside, no wake-up lost`, async () => {
    const { memory, ptr, shared } = bench()
    const rounds = 3000
    const worker = startThread('serve', { memory, ptr, shared, rounds: 0 })
    const threads = Array.from({ length: holders }, (_, i) =>
      startThread<number>('hold', { memory, ptr, shared, rounds, seed: i + 1 }),
    )
    await go(shared, holders + 1)
    const hangs = await within(30_000, Promise.all(threads.map(({ result }) => result)), 'the holders')
    Atomics.store(shared, STOP, 1)
    await worker.end()
    assert.equal([...hangs, shared[BOTH]], [...hangs.map(() => 0), 0])
    assert.is(shared[DONE], holders * rounds)
    assert.ok((shared[RUNS] as number) > 0)
  })
}

test('device rule 25: worker: held -> turned away, and the last release says to wake it, once', () => {
  const { control } = bench()
  control.hold()
  control.hold()
  assert.equal([control.enter(), control.isBusy, control.isHeld], [false, false, true])
  assert.is(control.release(), false, 'another one holds on')
  assert.is(control.release(), true)
  control.hold()
  assert.is(control.release(), false, 'nobody was turned away')
  assert.is(control.enter(), true)
  assert.is(control.isBusy, true)
  control.leave()
  assert.is(control.isBusy, false)
})

test('device rule 6: worker: a worker that stays inside -> waitQuiet gives up in time, then sees it leave', async () => {
  const { control } = bench()
  assert.is(control.enter(), true)
  control.hold()
  assert.is(control.waitQuiet(20), false)
  const quiet = control.whenQuiet()
  control.leave()
  await soon('whenQuiet', quiet)
  assert.is(control.waitQuiet(0), true)
})

test('device rule 7: worker: it dies inside -> whoever waits for it to leave goes on', async () => {
  const { control } = bench()
  control.setServed()
  control.enter()
  control.hold()
  const quiet = control.whenQuiet()
  assert.equal([control.abandon(), control.abandon()], [true, false], 'told by the first who knows')
  await soon('whenQuiet', quiet)
  assert.equal([control.hasWorker, control.isBusy, control.isHeld], [true, false, true], 'another is expected')
  control.giveUp()
  assert.is(control.hasWorker, false)
})

/**
 * Runs `act` with `between` called before its n-th atomic access, for n = 0, 1, ... until `act` has no n-th. What is
 * called in between sees the plain Atomics.
 */
function atEachAccess(make: () => { act: () => void; between: () => void; check: (n: number) => void }): number {
  const names = ['load', 'store', 'add', 'sub', 'exchange', 'compareExchange', 'notify'] as const
  const real = new Map(names.map((name) => [name, Atomics[name]]))
  for (let n = 0; ; n++) {
    const { act, between, check } = make()
    let left = n
    let happened = false
    const restore = (): void => {
      for (const [name, call] of real) Object.assign(Atomics, { [name]: call })
    }
    for (const [name, call] of real) {
      const hooked = (...args: unknown[]): unknown => {
        if (left-- === 0) {
          happened = true
          restore()
          between()
        }
        return (call as (...args: unknown[]) => unknown)(...args)
      }
      Object.assign(Atomics, { [name]: hooked })
    }
    try {
      act()
    } finally {
      restore()
    }
    if (!happened) return n
    check(n)
  }
}

test('device rule 25: worker: a hold before each access of enter -> the two see each other', () => {
  const places = atEachAccess(() => {
    const { control } = bench()
    let entered: boolean | undefined
    let wasBusy: boolean | undefined
    return {
      act: () => {
        entered = control.enter()
      },
      between: () => {
        control.hold()
        wasBusy = control.isBusy
      },
      check: (n) => {
        // Inside although held: then the holder has seen it busy and waits. Turned away: then the release wakes it.
        if (entered) assert.ok(wasBusy, `access ${n}`)
        else assert.equal([control.isBusy, control.release()], [false, true], `access ${n}`)
      },
    }
  })
  assert.is(places, 2)
})

test('device rule 25: worker: a release before each access of enter -> it gets in, or is woken', () => {
  const places = atEachAccess(() => {
    const { control } = bench()
    control.hold()
    let entered: boolean | undefined
    let isWoken: boolean | undefined
    return {
      act: () => {
        entered = control.enter()
      },
      between: () => {
        isWoken = control.release()
      },
      check: (n) => assert.ok(entered || isWoken, `access ${n}`),
    }
  })
  assert.ok(places >= 5, `${places}`)
})

test('device rule 25: worker: released and held anew before each access of enter -> the next release wakes it', () => {
  const places = atEachAccess(() => {
    const { control } = bench()
    control.hold()
    let entered: boolean | undefined
    let isWoken = false
    return {
      act: () => {
        entered = control.enter()
      },
      between: () => {
        isWoken = control.release()
        control.hold()
      },
      check: (n) => {
        const atLast = control.release()
        assert.ok(entered || isWoken || atLast, `access ${n}`)
      },
    }
  })
  assert.ok(places >= 5, `${places}`)
})

test('device rule 6: worker: a hold before each access of leave -> it is quiet at the end', () => {
  const places = atEachAccess(() => {
    const { control } = bench()
    control.enter()
    return { act: () => control.leave(), between: () => control.hold(), check: () => assert.not(control.isBusy) }
  })
  assert.is(places, 2)
})

// Counts ---------------------------------------------------------------------------------------------------------

test('device rule 29: worker: failures -> counted by kind, only the first is to be logged', () => {
  const { control } = bench()
  for (const [i, kind] of FAILURE_KINDS.entries()) {
    assert.is(control.count(kind), true)
    for (let more = 0; more < i; more++) assert.is(control.count(kind), false)
  }
  assert.equal(control.failures, { workerDeaths: 1, fullEventfds: 2, eventfdErrors: 3, timerErrors: 4 })
})

test('device rule 29: worker: every word of the control block -> inside it, and a flag changes no other', () => {
  const { memory, ptr, control } = bench()
  assert.is(control.hasWorker, false)
  control.setServed()
  control.setClosed()
  control.setResetPending(true)
  control.askRetry()
  control.countReset()
  assert.equal([control.hasWorker, control.isClosed, control.isResetPending, control.resets], [true, true, true, 1])
  assert.equal([control.takeRetry(), control.takeRetry()], [true, false])
  control.setResetPending(false)
  assert.equal([control.hasWorker, control.isResetPending, control.isHeld, control.isBusy], [true, false, false, false])
  for (const kind of FAILURE_KINDS) control.count(kind)
  const outside = new Uint8Array(memory.buffer)
  assert.ok(outside.subarray(0, ptr).every((byte) => byte === 0))
  assert.ok(outside.subarray(ptr + CONTROL_BYTES).every((byte) => byte === 0))
})

// The engine's words, two threads ----------------------------------------------------------------------------------

const STATUS = 0x70
const INTERRUPT_STATUS = 0x60
const INTERRUPT_ACK = 0x64
const GENERATION = 0xfc

async function device() {
  const memory = GuestMemory.create({ ramBytes: 1 << 20, shared: true, stateBytes: 1 << 20 })
  const parts = await setUpDevice({ memory, backend: new MemoryBackend(1 << 16) }, () => 0)
  const ptr = parts.state.ptr
  const { engine } = parts
  const read = (offset: number): number => engine.mmioRead(ptr, offset, 4) >>> 0
  const write = (offset: number, value: number): number => engine.mmioWrite(ptr, offset, 4, value)
  const up = (): void => {
    for (const status of [0, 1, 3]) write(STATUS, status)
    write(0x24, 1)
    write(0x20, 1)
    for (const status of [0x0b, 0x0f]) write(STATUS, status)
    assert.is(read(STATUS), 0x0f)
  }
  const start = (shared: Int32Array, rounds: number, call: NonNullable<TaskData['call']>, ...args: number[]) =>
    startThread<number>('engine', { memory: memory.memory, ptr, shared, rounds, call, args })
  return { ...parts, ptr, read, write, up, start }
}

/** Looks without pause, as another thread does, until it is told that all is over. */
function spin(what: string, isOver: () => boolean): void {
  const end = performance.now() + 10_000
  while (!isOver()) if (performance.now() > end) throw new Error(`${what}: not within 10 s`)
}

test('device rule 27: worker: ConfigGeneration raised by 3 threads x 20000 and read meanwhile -> none lost', async () => {
  const { start, read } = await device()
  const shared = words()
  const before = read(GENERATION)
  const threads = [0, 1, 2].map(() => start(shared, 20_000, 'setCapacity', 64, 0))
  await go(shared, 3)
  let last = before
  spin('the threads', () => {
    const now = read(GENERATION)
    assert.ok(now >= last, `${now} after ${last}`)
    last = now
    return now === before + 60_000
  })
  await soon('the threads', Promise.all(threads.map(({ result }) => result)))
  assert.is(read(GENERATION), before + 60_000)
})

test('device rule 16: worker: kicks counted by 3 threads x 20000 -> none lost, a reader sees them grow', async () => {
  const { start, state } = await device()
  const shared = words()
  // The device is not up, so each is counted as ignored: by ioeventfd, by QueueNotify, by both at once.
  const threads = [
    start(shared, 20_000, 'kicked', 0, 3),
    start(shared, 20_000, 'kicked', 0, 1),
    start(shared, 20_000, 'mmioWrite', 0x50, 4, 0),
  ]
  await go(shared, 3)
  let last = 0
  spin('the threads', () => {
    const now = state.readCounters().ignoredKicks
    assert.ok(now >= last, `${now} after ${last}`)
    last = now
    return now === 100_000
  })
  await soon('the threads', Promise.all(threads.map(({ result }) => result)))
  assert.equal([state.readCounters().ignoredKicks, state.readCounters().kicks], [100_000, 0])
})

test('device rule 7: worker: the CONFIG bit set on one thread, acknowledged on another -> none lost', async () => {
  const { start, read, write, up, state, engine, ptr } = await device()
  up()
  const shared = words()
  const rounds = 200_000
  const thread = start(shared, rounds, 'setCapacity', 64, 0)
  await go(shared, 1)
  let seen = 0
  spin('the thread', () => {
    // The count goes up after the bit: once all are counted, the last is set or has been acknowledged.
    const isOver = state.readCounters().interrupts === rounds
    if ((read(INTERRUPT_STATUS) & 2) === 0) return isOver
    seen++
    write(INTERRUPT_ACK, 2)
    return false
  })
  assert.is(await soon('the thread', thread.result), rounds * abi.EFFECT_INTERRUPT, 'every call raises it')
  assert.ok(seen > 0 && seen <= rounds, `${seen}`)
  assert.is(read(INTERRUPT_STATUS), 0)
  // The other order: acknowledged all the time, and the last of all is still there to be seen.
  const more = words()
  const threads = [start(more, rounds, 'mmioWrite', INTERRUPT_ACK, 4, 2), start(more, rounds, 'setCapacity', 64, 0)]
  await go(more, 2)
  await soon('the threads', Promise.all(threads.map(({ result }) => result)))
  write(INTERRUPT_ACK, 2)
  assert.is(engine.setCapacity(ptr, 64, 0), abi.EFFECT_INTERRUPT)
  assert.is(read(INTERRUPT_STATUS), 2)
})

test('device rule 7: worker: bits set and others acknowledged by threads at once -> each thread its own', async () => {
  const { start, read, write, up, memory, ptr } = await device()
  up()
  const shared = words()
  // Bits 4 and 5 are nobody's: one thread acknowledges bit 4 all the time, and CONFIG and bit 5 must not suffer.
  new Int32Array(memory.memory.buffer)[(ptr + abi.STATE_INTERRUPT_STATUS) >>> 2] = 0x30
  const threads = [
    start(shared, 100_000, 'setCapacity', 64, 0),
    start(shared, 100_000, 'mmioWrite', INTERRUPT_ACK, 4, 0x10),
    start(shared, 100_000, 'mmioWrite', INTERRUPT_ACK, 4, 0x40),
  ]
  await go(shared, 3)
  await soon('the threads', Promise.all(threads.map(({ result }) => result)))
  assert.is(read(INTERRUPT_STATUS), 0x22)
  assert.is(write(INTERRUPT_ACK, 0x22), abi.EFFECT_ACK)
})

test('device rule 2: worker: NEEDS_RESET set while the driver writes Status, 2048 rounds -> never lost', async () => {
  const { start, read, write, engine, ptr, state } = await device()
  const shared = words()
  const thread = start(shared, 1e9, 'fail', abi.FAIL_SERVICE)
  await go(shared, 1)
  let lost = 0
  for (let round = 0; round < 2048; round++) {
    write(STATUS, 0)
    write(STATUS, 1)
    write(STATUS, 3)
    engine.fail(ptr, abi.FAIL_SERVICE)
    // From here to the next reset somebody has set it.
    for (const status of [1, 3, 0x0b, 0x0f, 0x83]) {
      write(STATUS, status)
      if ((read(STATUS) & 0x40) === 0) lost++
    }
  }
  await thread.end()
  const { interrupts, resets } = state.readCounters()
  assert.equal([lost, resets], [0, 2048])
  assert.ok(interrupts > 0 && interrupts <= resets + 1, `one interrupt between two resets, not ${interrupts}`)
})

test.run()
