// Timerfds against the real kernel: when they are readable and how often, how the time is rounded and bounded (asked
// of fdinfo, no stopwatch), what close leaves behind, and use on a thread that does not own one.

import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Epoll } from '../../host/sys/epoll.ts'
import { TimerFd } from '../../host/sys/timerfd.ts'
import { descriptorInfo, isCloseOnExec, isNonBlocking, isOpen, openDescriptors } from '../support/descriptors.ts'
import { serveThread, startThread } from '../support/thread.ts'

const { EBADF } = constants.errno
/** Bounds a wait that is expected to return soon. */
const LONG_MS = 10_000

const test = suite('sys/timerfd')

function withTimer(body: (timer: TimerFd, epoll: Epoll) => void): void {
  const timer = TimerFd.create()
  const epoll = Epoll.create()
  try {
    epoll.add(timer.fd, 1)
    body(timer, epoll)
  } finally {
    timer.close()
    epoll.close()
  }
}

/** [seconds, nanoseconds] of a field of fdinfo. */
function timeOf(timer: TimerFd, field: 'it_value' | 'it_interval'): [number, number] {
  const [, seconds, nanos] = descriptorInfo(timer.fd)
    .get(field)
    ?.match(/^\((\d+), (\d+)\)$/) ?? [undefined, '-1', '-1']
  return [Number(seconds), Number(nanos)]
}

/** Nanoseconds until it expires; 0 if it is not armed. */
function remaining(timer: TimerFd): number {
  const [seconds, nanos] = timeOf(timer, 'it_value')
  return seconds * 1e9 + nanos
}

test('create: -> CLOCK_MONOTONIC, close-on-exec, non-blocking, not armed', () => {
  withTimer((timer, epoll) => {
    assert.is(descriptorInfo(timer.fd).get('clockid'), '1')
    assert.ok(isCloseOnExec(timer.fd))
    assert.ok(isNonBlocking(timer.fd))
    assert.is(remaining(timer), 0)
    assert.is(timer.take(), 0)
    assert.is(epoll.wait(0), 0)
  })
})

test('arm: 1 ns, 1 ms -> readable until taken, once', () => {
  withTimer((timer, epoll) => {
    for (const nanos of [1, 1e6]) {
      assert.is(timer.arm(nanos), 0)
      assert.is(epoll.wait(LONG_MS), 1)
      assert.is(epoll.wait(0), 1)
      assert.is(timer.take(), 1)
      assert.is(timer.take(), 0)
      assert.is(epoll.wait(5), 0)
      assert.is(remaining(timer), 0)
    }
  })
})

test('arm: from 1 s to what a number holds -> armed for that, relative, one-shot', () => {
  withTimer((timer) => {
    for (const nanos of [999_999_999, 1e9, 1_000_000_001, 1.5e9, 60e9, 2 ** 32 * 1e6, Number.MAX_SAFE_INTEGER]) {
      assert.is(timer.arm(nanos), 0)
      const left = remaining(timer)
      assert.ok(left > 0 && left <= nanos, `${left} of ${nanos}`)
      assert.ok(left > nanos - 0.9e9, `${left} of ${nanos}`)
      assert.equal(timeOf(timer, 'it_interval'), [0, 0])
    }
  })
})

test('arm: 0, negative, no number, a fraction -> the next whole nanosecond from 1 on; infinite -> the most', () => {
  withTimer((timer, epoll) => {
    for (const nanos of [0, -1, Number.NEGATIVE_INFINITY, Number.NaN, 0.001, 1.5]) {
      assert.is(timer.arm(nanos), 0)
      assert.is(epoll.wait(LONG_MS), 1)
      assert.is(timer.take(), 1)
    }
    assert.is(timer.arm(Number.POSITIVE_INFINITY), 0)
    assert.ok(remaining(timer) > 9e15)
    assert.is(timer.arm(999_999_999.5), 0)
    assert.ok(remaining(timer) > 0)
  })
})

test('arm: armed already -> the new time counts, sooner or later', () => {
  withTimer((timer, epoll) => {
    timer.arm(3600e9)
    timer.arm(1)
    assert.is(epoll.wait(LONG_MS), 1)
    timer.arm(3600e9)
    assert.is(epoll.wait(0), 0)
    assert.is(timer.take(), 0)
    assert.ok(remaining(timer) > 3000e9)
  })
})

test('disarm: armed, expired, never armed -> not readable, nothing to take', () => {
  withTimer((timer, epoll) => {
    assert.is(timer.disarm(), 0)
    timer.arm(3600e9)
    assert.is(timer.disarm(), 0)
    assert.is(remaining(timer), 0)
    timer.arm(1)
    assert.is(epoll.wait(LONG_MS), 1)
    assert.is(timer.disarm(), 0)
    assert.is(epoll.wait(0), 0)
    assert.is(timer.take(), 0)
    timer.arm(1)
    assert.is(epoll.wait(LONG_MS), 1)
  })
})

test('close: twice -> once; afterwards -EBADF, even if the number has a new owner', () => {
  const timer = TimerFd.create()
  const number = timer.fd
  timer.close()
  assert.not.ok(isOpen(number))
  const others = Array.from({ length: 20 }, () => TimerFd.create())
  assert.ok(others.some(({ fd }) => fd === number))
  timer.close()
  assert.is(timer.arm(1), -EBADF)
  assert.is(timer.disarm(), -EBADF)
  assert.is(timer.take(), -EBADF)
  for (const other of others) {
    assert.is(remaining(other), 0)
    other.close()
  }
})

test('borrow: -> the same timer; the borrower closes nothing', () => {
  withTimer((timer, epoll) => {
    const borrowed = TimerFd.borrow(timer.fd)
    borrowed.arm(1)
    assert.is(epoll.wait(LONG_MS), 1)
    assert.is(timer.take(), 1)
    borrowed.close()
    assert.is(borrowed.arm(1), -EBADF)
    assert.is(timer.arm(3600e9), 0)
  })
})

test('create, close: 100 of them, armed -> no descriptor is left', () => {
  const before = openDescriptors()
  const timers = Array.from({ length: 100 }, () => TimerFd.create())
  assert.is(openDescriptors(), before + 100)
  for (const timer of timers) {
    timer.arm(3600e9)
    timer.close()
  }
  assert.is(openDescriptors(), before)
})

test('another thread: borrows the timer -> arms it, waits, takes; the owner finds it open and idle', async () => {
  const timer = TimerFd.create()
  assert.equal(await startThread(import.meta.url, 'arm', timer.fd), [0, 1, 1, 0])
  assert.is(timer.take(), 0)
  assert.is(remaining(timer), 0)
  assert.is(timer.arm(1), 0)
  timer.close()
})

const tasks = {
  arm: (fd: number): number[] => {
    const timer = TimerFd.borrow(fd)
    const epoll = Epoll.create()
    epoll.add(fd, 1)
    const answers = [timer.arm(1000), epoll.wait(LONG_MS), timer.take(), timer.take()]
    epoll.close()
    timer.close()
    return answers
  },
}

if (isMainThread) test.run()
else serveThread(tasks)
