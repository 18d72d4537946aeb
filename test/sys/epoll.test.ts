// Epoll against the real kernel: which descriptors are reported, how often, with what flags; timeouts, signals,
// mistakes, and a thread that waits on a descriptor it does not own.

import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EPOLL_EVENTS_MAX, EPOLLERR, EPOLLHUP, EPOLLIN, Epoll, epollEventLayout } from '../../host/sys/epoll.ts'
import { EventFd, signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { closeFd } from '../../host/sys/fd.ts'
import { SysError } from '../../host/sys/libc.ts'
import { isCloseOnExec, isOpen, openDescriptors, openPipe } from '../support/descriptors.ts'
import { serveThread, startThread } from '../support/thread.ts'
import { within } from '../support/within.ts'

const { EBADF, EINTR } = constants.errno
/** Bounds a wait that is expected to return at once. */
const LONG_MS = 10_000

const test = suite('sys/epoll')

/** An epoll and `count` eventfds that it does not wait for yet; all are closed afterwards. */
function withEvents(count: number, body: (epoll: Epoll, events: EventFd[]) => void): void {
  const epoll = Epoll.create()
  const events = Array.from({ length: count }, () => EventFd.create())
  try {
    body(epoll, events)
  } finally {
    for (const event of events) event.close()
    epoll.close()
  }
}

/** [token, flags] of each event reported, by token. */
function reported(epoll: Epoll, timeoutMs: number): number[][] {
  const count = epoll.wait(timeoutMs)
  assert.ok(count >= 0, `wait answered ${count}`)
  const events = Array.from({ length: count }, (_, i) => [epoll.token(i), epoll.flags(i)])
  return events.sort(([a = 0], [b = 0]) => a - b)
}

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.instance(error, SysError)
    return `${(error as SysError).call} ${(error as SysError).code}`
  }
  return assert.unreachable('should have failed') as never
}

test('epollEventLayout: x86 -> packed, 12 bytes; others -> 16', () => {
  assert.equal(epollEventLayout('x64'), { words: 3, token: 1 })
  assert.equal(epollEventLayout('ia32'), { words: 3, token: 1 })
  assert.equal(epollEventLayout('arm64'), { words: 4, token: 2 })
  assert.equal(epollEventLayout('riscv64'), { words: 4, token: 2 })
})

test('create: -> close-on-exec; nothing to wait for -> 0', () => {
  withEvents(0, (epoll) => {
    assert.ok(isCloseOnExec(epoll.fd))
    assert.is(epoll.wait(0), 0)
    assert.is(epoll.wait(1), 0)
  })
})

test('wait: several descriptors -> the ready ones by their tokens, each all 32 bits of it', () => {
  withEvents(4, (epoll, events) => {
    const tokens = [0, 1, 0x8000_0000, 0xffff_ffff]
    events.forEach((event, i) => {
      epoll.add(event.fd, tokens[i] ?? 0)
    })
    assert.equal(reported(epoll, 0), [])
    events[2]?.signal()
    assert.equal(reported(epoll, LONG_MS), [[0x8000_0000, EPOLLIN]])
    events[0]?.signal()
    events[3]?.signal()
    const three = [0, 0x8000_0000, 0xffff_ffff]
    assert.equal(
      reported(epoll, -1),
      three.map((token) => [token, EPOLLIN]),
    )
  })
})

test('wait: not taken -> reported again; taken -> not; signalled before add -> reported', () => {
  withEvents(1, (epoll, [event]) => {
    if (!event) return assert.unreachable()
    event.signal()
    epoll.add(event.fd, 5)
    for (let i = 0; i < 3; i++) assert.equal(reported(epoll, 0), [[5, EPOLLIN]])
    event.signal()
    assert.is(event.take(), 2)
    assert.equal(reported(epoll, 0), [])
    event.signal()
    assert.equal(reported(epoll, LONG_MS), [[5, EPOLLIN]])
  })
})

test('wait: more ready than fit -> as many as fit, and the others in the waits that follow', () => {
  const all = EPOLL_EVENTS_MAX + 36
  withEvents(all, (epoll, events) => {
    events.forEach((event, i) => {
      epoll.add(event.fd, i)
      event.signal()
    })
    const first = reported(epoll, LONG_MS)
    assert.is(first.length, EPOLL_EVENTS_MAX)
    const both = [...first, ...reported(epoll, LONG_MS)]
    assert.is(new Set(both.map(([token]) => token)).size, all)
    assert.ok(both.every(([, flags]) => flags === EPOLLIN))
  })
})

test('remove: ready or not -> no longer reported, and can be added again with another token', () => {
  withEvents(2, (epoll, [event, other]) => {
    if (!event || !other) return assert.unreachable()
    epoll.add(event.fd, 1)
    epoll.add(other.fd, 2)
    event.signal()
    epoll.remove(event.fd)
    assert.equal(reported(epoll, 0), [])
    epoll.add(event.fd, 3)
    assert.equal(reported(epoll, 0), [[3, EPOLLIN]])
  })
})

test('pipe: writer gone -> EPOLLHUP, with EPOLLIN while data is left; reader gone -> EPOLLERR', () => {
  const epoll = Epoll.create()
  const pipe = openPipe()
  epoll.add(pipe.reader, 1)
  assert.equal(reported(epoll, 0), [])
  fs.writeSync(pipe.writer, 'x')
  assert.equal(reported(epoll, LONG_MS), [[1, EPOLLIN]])
  closeFd(pipe.writer)
  assert.equal(reported(epoll, LONG_MS), [[1, EPOLLIN | EPOLLHUP]])
  assert.is(fs.readSync(pipe.reader, new Uint8Array(1)), 1)
  for (let i = 0; i < 2; i++) assert.equal(reported(epoll, LONG_MS), [[1, EPOLLHUP]])
  closeFd(pipe.reader)
  assert.equal(reported(epoll, 0), [])

  const broken = openPipe()
  epoll.add(broken.writer, 2)
  closeFd(broken.reader)
  assert.equal(reported(epoll, LONG_MS), [[2, EPOLLERR]])
  closeFd(broken.writer)
  epoll.close()
})

test('add, remove: mistakes -> SysError with call and name; a token of more than 32 bits -> RangeError', () => {
  withEvents(1, (epoll, [event]) => {
    const fd = event?.fd ?? -1
    epoll.add(fd, 1)
    assert.is(
      codeOf(() => epoll.add(fd, 2)),
      'epoll_ctl(EPOLL_CTL_ADD) EEXIST',
    )
    assert.is(
      codeOf(() => epoll.add(-1, 2)),
      'epoll_ctl(EPOLL_CTL_ADD) EBADF',
    )
    epoll.remove(fd)
    assert.is(
      codeOf(() => epoll.remove(fd)),
      'epoll_ctl(EPOLL_CTL_DEL) ENOENT',
    )
    const folder = fs.openSync('/', 'r')
    assert.is(
      codeOf(() => epoll.add(folder, 2)),
      'epoll_ctl(EPOLL_CTL_ADD) EPERM',
    )
    fs.closeSync(folder)
    for (const token of [-1, 0.5, 2 ** 32, Number.NaN]) assert.throws(() => epoll.add(fd, token), RangeError)
    assert.is(epoll.wait(0), 0)
  })
})

test('close: twice -> once; afterwards -EBADF and EBADF, even if the number has a new owner', () => {
  withEvents(1, (_, [event]) => {
    const fd = event?.fd ?? -1
    const epoll = Epoll.create()
    const number = epoll.fd
    epoll.close()
    assert.not.ok(isOpen(number))
    const others = Array.from({ length: 20 }, () => Epoll.create())
    assert.ok(others.some((other) => other.fd === number))
    epoll.close()
    assert.is(epoll.wait(0), -EBADF)
    assert.is(
      codeOf(() => epoll.add(fd, 1)),
      'epoll_ctl(EPOLL_CTL_ADD) EBADF',
    )
    for (const other of others) {
      other.add(fd, 1)
      other.close()
    }
  })
})

test('borrow: one descriptor, two objects -> each has its own events; the borrower closes nothing', () => {
  withEvents(2, (epoll, [a, b]) => {
    if (!a || !b) return assert.unreachable()
    const borrowed = Epoll.borrow(epoll.fd)
    epoll.add(a.fd, 1)
    borrowed.add(b.fd, 2)
    a.signal()
    assert.equal(reported(epoll, 0), [[1, EPOLLIN]])
    a.take()
    b.signal()
    assert.equal(reported(borrowed, 0), [[2, EPOLLIN]])
    assert.is(epoll.token(0), 1)
    borrowed.close()
    assert.is(borrowed.wait(0), -EBADF)
    assert.equal(reported(epoll, 0), [[2, EPOLLIN]])
  })
})

test('wait: a signal is handled meanwhile -> -EINTR, before the timeout', async () => {
  const handled = new Promise<void>((resolve) => process.once('SIGUSR2', () => resolve()))
  const script = `for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; kill -USR2 ${process.pid} || exit; read -t 0 x && exit; done`
  // Keeps a handler until the child is gone: the default of SIGUSR2 is to end the process.
  const ignore = (): void => {}
  process.on('SIGUSR2', ignore)
  const child = spawn('bash', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const epoll = Epoll.create()
  assert.is(epoll.wait(LONG_MS), -EINTR)
  epoll.close()
  child.stdin.end()
  await within(LONG_MS, handled, 'the signal')
  await within(LONG_MS, ended, 'the end of the child')
  process.off('SIGUSR2', ignore)
})

test('create, close: 100 of them with something to wait for -> no descriptor is left', () => {
  const before = openDescriptors()
  for (let i = 0; i < 100; i++) {
    withEvents(1, (epoll, [event]) => {
      epoll.add(event?.fd ?? -1, i)
      event?.signal()
      assert.equal(reported(epoll, 0), [[i, EPOLLIN]])
    })
  }
  assert.is(openDescriptors(), before)
})

test('another thread: borrows the epoll and waits -> woken by our signals, answers through an eventfd', async () => {
  const epoll = Epoll.create()
  const events = [EventFd.create(), EventFd.create(), EventFd.create()] as const
  const [kick, call, stop] = events
  epoll.add(kick.fd, 10)
  epoll.add(stop.fd, 20)
  const answer = startThread(import.meta.url, 'serve', { epoll: epoll.fd, kick: kick.fd, call: call.fd })
  const answered = Epoll.create()
  answered.add(call.fd, 1)
  for (let i = 0; i < 100; i++) {
    assert.is(kick.signal(), 0)
    assert.equal(reported(answered, LONG_MS), [[1, EPOLLIN]])
    assert.is(call.take(), 1)
  }
  stop.signal()
  assert.equal(await answer, { kicks: 100, last: [20, EPOLLIN] })
  assert.ok(isOpen(epoll.fd))
  assert.equal(reported(epoll, 0), [[20, EPOLLIN]])
  for (const each of [...events, epoll, answered]) each.close()
})

const tasks = {
  serve: (fds: { epoll: number; kick: number; call: number }): { kicks: number; last: number[] } => {
    const epoll = Epoll.borrow(fds.epoll)
    let kicks = 0
    while (epoll.wait(LONG_MS) === 1 && epoll.token(0) === 10) {
      kicks += takeEventFd(fds.kick)
      signalEventFd(fds.call)
    }
    const last = [epoll.token(0), epoll.flags(0)]
    epoll.close()
    return { kicks, last }
  },
}

if (isMainThread) test.run()
else serveThread(tasks)
