// What the loop decides, as pure functions over plain values: what an epoll event asks for, what a stall leads to, how
// long a timer may run. No file descriptor, no clock, no device: a table tests each (device rules 17, 20, 22).

/** What an event of the loop is about; the low bits of its token. */
export const KICK = 1 // a queue's ioeventfd
export const WAKE = 2 // another thread has something for the disk: a kick by MMIO, the end of a pause
export const TIMER = 3 // the disk's throttle timer
export const CONTROL = 4 // a message for the worker
export const STOP = 5 // the worker is to end

const KIND_BITS = 4
const QUEUE_BITS = 8
const DISK_BITS = 20
/** disks one worker can have over its life */
export const DISKS_MAX = 2 ** DISK_BITS

export type Action = 'kick' | 'wake' | 'timer' | 'control' | 'stop' | 'skip'

/** The u32 that epoll hands back with an event. */
export function tokenOf(kind: number, disk = 0, queue = 0): number {
  return ((disk << (KIND_BITS + QUEUE_BITS)) | (queue << KIND_BITS) | kind) >>> 0
}

export function diskOf(token: number): number {
  return token >>> (KIND_BITS + QUEUE_BITS)
}

export function queueOf(token: number): number {
  return (token >>> KIND_BITS) & (2 ** QUEUE_BITS - 1)
}

/**
 * What to do about an event. The token alone decides: EPOLLERR (a counter at its maximum) and EPOLLHUP come with
 * descriptors that are to be read all the same, and reading them is what clears the condition.
 */
export function dispatch(token: number): Action {
  switch (token & (2 ** KIND_BITS - 1)) {
    case KICK:
      return 'kick'
    case WAKE:
      return 'wake'
    case TIMER:
      return 'timer'
    case CONTROL:
      return 'control'
    case STOP:
      return 'stop'
    default:
      return 'skip'
  }
}

/**
 * The longest sleep in epoll_wait. A thread that is ended from outside (with the thread that made it, or for want of
 * memory) signals nothing, and Node waits until it is back from its system call.
 */
export const LOOK_UP_MS = 1000

/**
 * How long one disk may go on starting requests while others wait for their turn (rule 28): a batch of large requests,
 * or of a slow back end, is cut there. A batch of 256 x 4 KiB takes a fiftieth of it.
 */
export const SLICE_NANOS = 20_000_000

/** The longest a throttle timer runs: one second, in ns. */
export const RETRY_TIMER_MAX_NANOS = 1_000_000_000

/** A wait that a timer can be set for: [1 ns, 1 s]. 0 would disarm the timer. */
export function clampRetryNanos(nanos: number): number {
  return Math.min(Math.max(nanos, 1), RETRY_TIMER_MAX_NANOS)
}

/** After a drain: nothing waits; drain again, the wait is over already; or sleep for so many ns. */
export type StallAction = 'continue' | 'redrain' | { readonly sleepNanos: number }

/** `nanos`: how long the shortest stalled head has to wait, Infinity if none is stalled. */
export function decideStall(nanos: number): StallAction {
  if (nanos === Number.POSITIVE_INFINITY) return 'continue'
  return nanos <= 0 ? 'redrain' : { sleepNanos: clampRetryNanos(nanos) }
}

/** At most one more drain per wake-up: a second "drain again" becomes a sleep of 1 ns. */
export function resolveStall(action: StallAction, redrain: () => StallAction): StallAction {
  if (action !== 'redrain') return action
  const second = redrain()
  return second === 'redrain' ? { sleepNanos: clampRetryNanos(0) } : second
}
