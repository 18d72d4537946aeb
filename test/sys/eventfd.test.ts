// Eventfds against the real kernel: the counter's arithmetic and its limit, flags, what close leaves behind, and use
// of a number that another thread owns. Waiting for one is epoll.test.ts.

import * as fs from 'node:fs'
import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventFd, signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { closeFd } from '../../host/sys/fd.ts'
import { SysError } from '../../host/sys/libc.ts'
import { isCloseOnExec, isNonBlocking, isOpen, openDescriptors } from '../support/descriptors.ts'
import { serveThread, startThread } from '../support/thread.ts'

const { EAGAIN, EBADF, EINVAL } = constants.errno
const FULL = 2n ** 64n - 2n

const test = suite('sys/eventfd')

function withEventFd(initial: number, body: (event: EventFd) => void): void {
  const event = EventFd.create(initial)
  try {
    body(event)
  } finally {
    event.close()
  }
}

/** Adds any number to the counter, past our own code. */
function add(fd: number, value: bigint): void {
  assert.is(fs.writeSync(fd, new Uint8Array(BigUint64Array.of(value).buffer)), 8)
}

test('create: nothing given -> counter 0, close-on-exec, non-blocking', () => {
  const event = EventFd.create()
  assert.ok(isCloseOnExec(event.fd))
  assert.ok(isNonBlocking(event.fd))
  assert.is(event.take(), 0)
  event.close()
})

test('create: initial values up to 32 bits -> the counter; others -> RangeError', () => {
  for (const initial of [0, 1, 7, 2 ** 31, 2 ** 32 - 1])
    withEventFd(initial, (event) => assert.is(event.take(), initial))
  for (const initial of [-1, 0.5, 2 ** 32, Number.NaN]) assert.throws(() => EventFd.create(initial), RangeError)
})

test('signal, take: any number of signals -> one take has them all, the next has none', () => {
  withEventFd(0, (event) => {
    for (let i = 0; i < 1000; i++) assert.is(event.signal(), 0)
    assert.is(event.take(), 1000)
    assert.is(event.take(), 0)
    assert.is(signalEventFd(event.fd), 0)
    assert.is(event.signal(), 0)
    assert.is(takeEventFd(event.fd), 2)
    assert.is(takeEventFd(event.fd), 0)
  })
})

test('signal, take: after garbage was collected -> the bytes they work on are still theirs', () => {
  withEventFd(0, (event) => {
    for (let i = 0; i < 5; i++) {
      globalThis.gc?.()
      // Whoever gets the memory of buffers that were let go writes into it.
      const others = Array.from({ length: 2000 }, () => new Uint8Array(new ArrayBuffer(8)).fill(0xa5))
      assert.is(event.signal(), 0)
      assert.is(event.take(), 1)
      assert.ok(others.every((bytes) => bytes.every((byte) => byte === 0xa5)))
    }
  })
})

test('take: counts of more than 32 bits -> exact up to 2^53, then rounded', () => {
  withEventFd(0, (event) => {
    for (const value of [2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 5n, 2n ** 53n - 1n]) {
      add(event.fd, value)
      assert.is(event.take(), Number(value))
    }
    add(event.fd, FULL)
    assert.is(event.take(), 2 ** 64)
  })
})

test('signal: counter full -> EAGAIN, the counter as it was; works again once taken', () => {
  withEventFd(0, (event) => {
    add(event.fd, FULL - 1n)
    assert.is(event.signal(), 0)
    assert.is(event.signal(), -EAGAIN)
    assert.is(event.signal(), -EAGAIN)
    const left = new Uint8Array(8)
    assert.is(fs.readSync(event.fd, left), 8)
    assert.is(new BigUint64Array(left.buffer)[0], FULL)
    assert.is(event.signal(), 0)
    assert.is(event.take(), 1)
  })
})

test('close: twice -> once; the object then answers EBADF, even if the number has a new owner', () => {
  const event = EventFd.create(3)
  const number = event.fd
  event.close()
  assert.not.ok(isOpen(number))
  const others = Array.from({ length: 20 }, () => EventFd.create())
  assert.ok(
    others.some(({ fd }) => fd === number),
    'no other got the number',
  )
  event.close()
  assert.is(event.fd, -1)
  assert.is(event.signal(), -EBADF)
  assert.is(event.take(), -EBADF)
  for (const other of others) {
    assert.is(other.take(), 0)
    assert.is(other.signal(), 0)
    other.close()
  }
})

test('close: the descriptor was closed behind the owner -> SysError EBADF', () => {
  const event = EventFd.create()
  closeFd(event.fd)
  try {
    event.close()
    assert.unreachable('should have failed')
  } catch (error) {
    assert.instance(error, SysError)
    assert.is((error as SysError).call, 'close')
    assert.is((error as SysError).code, 'EBADF')
  }
  event.close()
})

test('signalEventFd, takeEventFd: not open, not an eventfd -> -errno', () => {
  assert.is(signalEventFd(-1), -EBADF)
  assert.is(takeEventFd(-1), -EBADF)
  assert.is(takeEventFd(1_000_000), -EBADF)
  const folder = fs.openSync('/', 'r')
  assert.is(signalEventFd(folder), -EBADF)
  assert.is(takeEventFd(folder), -constants.errno.EISDIR)
  fs.closeSync(folder)
  const tooShort = EventFd.create()
  assert.throws(() => fs.writeSync(tooShort.fd, new Uint8Array(4)), new RegExp(`EINVAL|${EINVAL}`))
  tooShort.close()
})

test('create, close: 100 of them at once and in turn -> no descriptor is left', () => {
  const before = openDescriptors()
  const events = Array.from({ length: 100 }, (_, i) => EventFd.create(i))
  assert.is(openDescriptors(), before + 100)
  events.forEach((event, i) => {
    assert.is(event.take(), i)
    event.close()
  })
  for (let i = 0; i < 100; i++) withEventFd(i, (event) => assert.is(event.take(), i))
  assert.is(openDescriptors(), before)
})

test('another thread: a lent number -> signals add up, and it stays open when the thread ends', async () => {
  const event = EventFd.create()
  assert.is(await startThread(import.meta.url, 'signal', { fd: event.fd, times: 500 }), 500)
  assert.is(event.take(), 500)
  for (let i = 0; i < 7; i++) event.signal()
  assert.is(await startThread(import.meta.url, 'take', event.fd), 7)
  assert.is(event.take(), 0)
  event.close()
})

test('another thread: makes and closes its own -> works there, nothing is left', async () => {
  const before = openDescriptors()
  assert.equal(await startThread(import.meta.url, 'own', 3), [4, -EBADF])
  assert.is(openDescriptors(), before)
})

const tasks = {
  signal: ({ fd, times }: { fd: number; times: number }): number => {
    let done = 0
    for (let i = 0; i < times; i++) if (signalEventFd(fd) === 0) done++
    return done
  },
  take: (fd: number): number => takeEventFd(fd),
  own: (initial: number): number[] => {
    const event = EventFd.create(initial)
    event.signal()
    const taken = event.take()
    event.close()
    return [taken, event.take()]
  },
}

if (isMainThread) test.run()
else serveThread(tasks)
