// What the loop decides, as tables: what an event asks for, how long a timer may run, what a stall leads to. No thread
// and no descriptor, but for the last tests, which send tokens through a real epoll.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  CONTROL,
  clampRetryNanos,
  DISKS_MAX,
  decideStall,
  diskOf,
  dispatch,
  KICK,
  queueOf,
  RETRY_TIMER_MAX_NANOS,
  resolveStall,
  STOP,
  type StallAction,
  TIMER,
  tokenOf,
  WAKE,
} from '../../host/loop/decisions.ts'
import { bind } from '../../host/sys/bind.ts'
import { EPOLLERR, EPOLLHUP, EPOLLIN, Epoll } from '../../host/sys/epoll.ts'
import { EventFd } from '../../host/sys/eventfd.ts'
import { closeFd, O_CLOEXEC, O_NONBLOCK } from '../../host/sys/fd.ts'

const test = suite('loop decisions')

const KINDS = [
  [KICK, 'kick'],
  [WAKE, 'wake'],
  [TIMER, 'timer'],
  [CONTROL, 'control'],
  [STOP, 'stop'],
] as const
const DISKS = [0, 1, 2, 255, 256, 65_535, DISKS_MAX - 1]
const QUEUES = [0, 1, 63, 255]

test('device rule 17: worker: a token -> kind, disk and queue come back whole, no two alike', () => {
  const seen = new Set<number>()
  for (const [kind, action] of KINDS) {
    for (const disk of DISKS) {
      for (const queue of QUEUES) {
        const token = tokenOf(kind, disk, queue)
        assert.is(token >>> 0, token, 'a token is a u32')
        assert.equal([dispatch(token), diskOf(token), queueOf(token)], [action, disk, queue])
        seen.add(token)
      }
    }
  }
  assert.is(seen.size, KINDS.length * DISKS.length * QUEUES.length)
})

for (const [kind, action] of KINDS) {
  test(`device rule 17: worker: event of kind ${kind} -> ${action}`, () => {
    assert.is(dispatch(tokenOf(kind)), action)
    assert.is(dispatch(tokenOf(kind, DISKS_MAX - 1, 255)), action)
  })
}

test('device rule 29: worker: a token of no known kind -> skipped', () => {
  for (const token of [0, 6, 7, 15, 16, 96, 0x10, 0xffff_fff0, 0xffff_ffff]) assert.is(dispatch(token), 'skip')
})

test('device rule 20: worker: a wait of 0 or less -> 1 ns, which arms a timer where 0 would disarm it', () => {
  for (const nanos of [0, -0, -1, -1e18, Number.NEGATIVE_INFINITY, 0.25]) assert.is(clampRetryNanos(nanos), 1)
})

test('device rule 20: worker: a wait up to the cap -> itself; above it -> the cap', () => {
  const cap = RETRY_TIMER_MAX_NANOS
  const table: [nanos: number, clamped: number][] = [
    [1, 1],
    [2, 2],
    [500_000_000, 500_000_000],
    [cap - 1, cap - 1],
    [cap, cap],
    [cap + 1, cap],
    [Number.MAX_SAFE_INTEGER, cap],
    [1.8e19, cap],
    [Number.POSITIVE_INFINITY, cap],
  ]
  for (const [nanos, clamped] of table) assert.is(clampRetryNanos(nanos), clamped)
})

test('device rule 20: worker: the cap -> one second exactly', () => {
  assert.is(RETRY_TIMER_MAX_NANOS, 1_000_000_000)
})

test('device rule 20: worker: nothing stalled -> go on', () => {
  assert.is(decideStall(Number.POSITIVE_INFINITY), 'continue')
})

test('device rule 20: worker: stalled, the wait is over -> drain again', () => {
  for (const nanos of [0, -0, -5]) assert.is(decideStall(nanos), 'redrain')
})

test('device rule 20: worker: stalled with a wait -> sleep for that long, clamped', () => {
  const cap = RETRY_TIMER_MAX_NANOS
  for (const [nanos, sleepNanos] of [
    [1, 1],
    [500_000_000, 500_000_000],
    [cap, cap],
    [cap + 1, cap],
    [Number.MAX_VALUE, cap],
  ] as const) {
    assert.equal(decideStall(nanos), { sleepNanos })
  }
})

test('device rule 20: worker: the same wait asked twice -> the same answer', () => {
  for (const nanos of [0, 1, 7, 1e9, 2e9, Number.POSITIVE_INFINITY]) {
    assert.equal(decideStall(nanos), decideStall(nanos))
  }
})

/** What resolveStall makes of a first and a second decision, and how often it drained again. */
function resolved(first: StallAction, second: StallAction = 'continue'): [StallAction, number] {
  let drains = 0
  const action = resolveStall(first, () => {
    drains++
    return second
  })
  return [action, drains]
}

test('device rule 20: worker: go on -> no second drain', () => {
  assert.equal(resolved('continue'), ['continue', 0])
})

test('device rule 20: worker: sleep -> as it is, no second drain', () => {
  assert.equal(resolved({ sleepNanos: 42 }), [{ sleepNanos: 42 }, 0])
})

test('device rule 20: worker: drain again, then nothing waits -> go on, one drain', () => {
  assert.equal(resolved('redrain', 'continue'), ['continue', 1])
})

test('device rule 20: worker: drain again, then a wait -> sleep for that, one drain', () => {
  assert.equal(resolved('redrain', { sleepNanos: 77 }), [{ sleepNanos: 77 }, 1])
})

test('device rule 20: worker: drain again twice -> sleep for 1 ns, one drain', () => {
  assert.equal(resolved('redrain', 'redrain'), [{ sleepNanos: 1 }, 1])
})

test('device rule 20: worker: the second drain -> the same as a wait of 0, clamped', () => {
  assert.equal(resolved('redrain', 'redrain')[0], { sleepNanos: clampRetryNanos(0) })
})

/** The events of one wait: action and flags. */
function waited(epoll: Epoll): [string, number][] {
  const count = epoll.wait(0)
  return Array.from({ length: Math.max(count, 0) }, (_, i) => [dispatch(epoll.token(i)), epoll.flags(i)])
}

test('device rule 29: worker: every kind through a real epoll -> flags and token arrive, the token decides', () => {
  const epoll = Epoll.create()
  const fds: EventFd[] = []
  for (const [kind, action] of KINDS) {
    const fd = EventFd.create(1)
    fds.push(fd)
    epoll.add(fd.fd, tokenOf(kind, DISKS_MAX - 1, 255))
    assert.equal(waited(epoll), [[action, EPOLLIN]])
    assert.is(diskOf(epoll.token(0)), DISKS_MAX - 1)
    assert.is(queueOf(epoll.token(0)), 255)
    epoll.remove(fd.fd)
  }
  for (const owned of [...fds, epoll]) owned.close()
})

const pipe = bind<(fds: Int32Array, flags: number) => number>('pipe2', 'int pipe2(int *fds, int flags)')

for (const [kind, action] of KINDS) {
  for (const [condition, kept, flag] of [
    ['EPOLLERR alone', 1, EPOLLERR],
    ['EPOLLHUP alone', 0, EPOLLHUP],
  ] as const) {
    test(`device rule 29: worker: event of kind ${kind} with ${condition} -> ${action} all the same`, () => {
      const epoll = Epoll.create()
      const ends = new Int32Array(2)
      assert.is(pipe(ends, O_CLOEXEC | O_NONBLOCK), 0)
      const [mine, other] = kept === 0 ? [ends[0], ends[1]] : [ends[1], ends[0]]
      epoll.add(mine as number, tokenOf(kind, 3, 2))
      closeFd(other as number)
      assert.equal(waited(epoll), [[action, flag]])
      closeFd(mine as number)
      epoll.close()
    })
  }
}

test.run()
