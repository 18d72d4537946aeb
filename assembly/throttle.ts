// Two token buckets per device, operations and bytes (device rules 19 to 23). Time comes in as an argument, in
// nanoseconds; nothing here waits. A request larger than the bucket passes when the balance is not negative and
// leaves a debt. All arithmetic is 64-bit and cannot overflow for rates and capacities up to 2^63.
//
// What was earned but is not yet a whole token is kept as a fraction (in 1e-9 tokens), so any pattern of polling
// yields exactly the configured rate.

import {
  COUNTER_CURRENTLY_THROTTLED,
  COUNTER_THROTTLED_COUNT,
  COUNTER_THROTTLED_NANOS,
  STATE_BYTES_BUCKET,
  STATE_OPS_BUCKET,
} from './abi.ts'
import { Bucket, counter, Queue, State } from './layout.ts'

const SECOND: u64 = 1000000000
const BALANCE_MAX = i64.MAX_VALUE as u64

function opsBucket(state: State): Bucket {
  return changetype<Bucket>(changetype<u32>(state) + STATE_OPS_BUCKET)
}

function bytesBucket(state: State): Bucket {
  return changetype<Bucket>(changetype<u32>(state) + STATE_BYTES_BUCKET)
}

/** Whole nanoseconds; what is no time at all counts as 0, what is beyond 292 years as that. */
export function toNanos(now: f64): u64 {
  if (!(now > 0)) return 0
  if (now >= 9.2e18) return 9200000000000000000
  return now as u64
}

/** Adds what was earned since the last call. A clock that went back starts anew from there (rule 22). */
function refill(bucket: Bucket, now: u64): void {
  const last = bucket.last
  bucket.last = now
  if (now <= last) return
  const elapsed = now - last
  const seconds = elapsed / SECOND
  const nanos = elapsed % SECOND
  const rate = bucket.rate
  // rate * nanos can exceed 64 bits, so the rate is split; each of (rate / 1e9) * nanos and (rate % 1e9) * nanos fits.
  const part = (rate % SECOND) * nanos + bucket.fraction
  let earned = (rate / SECOND) * nanos + part / SECOND
  if (seconds !== 0) {
    if (rate > BALANCE_MAX / seconds) earned = BALANCE_MAX
    else earned = min<u64>(earned + rate * seconds, BALANCE_MAX)
  }
  // Room up to the capacity, as unsigned: at most 2^63 + 2^63 - 1.
  const room = bucket.capacity - (bucket.balance as u64)
  if (earned > room) {
    bucket.balance = bucket.capacity as i64
    bucket.fraction = 0
  } else {
    bucket.balance += earned as i64
    bucket.fraction = part % SECOND
  }
}

/** Nanoseconds until `tokens` are granted: 0 = now; at most one second, the longest a timer is set for. */
function wait(bucket: Bucket, tokens: u64, now: u64): u64 {
  if (bucket.rate === 0 || tokens === 0) return 0
  refill(bucket, now)
  // A request larger than the bucket only needs the debt paid.
  const needed: i64 = tokens <= bucket.capacity ? (tokens as i64) : 0
  if (bucket.balance >= needed) return 0
  let deficit = (needed as u64) - (bucket.balance as u64)
  let rate = bucket.rate
  if (deficit > rate) return SECOND
  let fraction = bucket.fraction
  const bits = 64 - clz<u64>(rate)
  if (bits > 33) {
    // Scaled down to 33 bits the product below fits; rounding up costs less than a nanosecond.
    deficit = (deficit >> (bits - 33)) + 1
    rate = rate >> (bits - 33)
    fraction = 0
  }
  const nanos = (deficit * SECOND - fraction + rate - 1) / rate
  return min<u64>(max<u64>(nanos, 1), SECOND)
}

function charge(bucket: Bucket, tokens: u64): void {
  if (bucket.rate === 0) return
  const balance = bucket.balance
  const charged = balance - (tokens as i64)
  bucket.balance = charged > balance ? i64.MIN_VALUE : charged
}

/**
 * Takes one operation and `bytes` tokens, or stalls the queue and leaves the wait in queue.stallNanos.
 * Both buckets are asked before either is charged (rule 20).
 */
export function take(state: State, queue: Queue, bytes: u32, now: u64): bool {
  const ops = opsBucket(state)
  const data = bytesBucket(state)
  if ((ops.rate | data.rate) === 0) {
    endStall(state, queue, now)
    return true
  }
  const opsWait = wait(ops, 1, now)
  const dataWait = wait(data, bytes, now)
  const longest = max<u64>(opsWait, dataWait)
  if (longest !== 0) {
    counter(state, COUNTER_THROTTLED_COUNT).value++
    if (queue.stalled === 0) {
      queue.stalled = 1
      counter(state, COUNTER_CURRENTLY_THROTTLED).value++
    } else {
      countStall(state, queue, now)
    }
    queue.stalledAt = now
    queue.stallNanos = longest as f64
    return false
  }
  charge(ops, 1)
  charge(data, bytes)
  endStall(state, queue, now)
  return true
}

/** The head, if it waited, waits no longer: it got its tokens, or there is no such head any more. */
export function endStall(state: State, queue: Queue, now: u64): void {
  if (queue.stalled === 0) return
  countStall(state, queue, now)
  clearStall(state, queue)
}

/** As endStall, where no time is known (reset, stop): what was not counted yet is not counted. */
export function clearStall(state: State, queue: Queue): void {
  if (queue.stalled === 0) return
  queue.stalled = 0
  counter(state, COUNTER_CURRENTLY_THROTTLED).value--
}

function countStall(state: State, queue: Queue, now: u64): void {
  if (now > queue.stalledAt) counter(state, COUNTER_THROTTLED_NANOS).value += now - queue.stalledAt
}

function startBucket(bucket: Bucket, rate: u64, capacity: u64, now: u64): void {
  bucket.rate = rate
  bucket.capacity = min<u64>(capacity, BALANCE_MAX)
  bucket.balance = bucket.capacity as i64
  bucket.fraction = 0
  bucket.last = now
}

/** From now on. Debt and balance stay, up to the new capacity; a bucket that was unlimited starts full. */
function changeBucket(bucket: Bucket, rate: u64, capacity: u64, now: u64): void {
  if (bucket.rate === 0 || rate === 0) {
    startBucket(bucket, rate, capacity, now)
    return
  }
  refill(bucket, now)
  bucket.rate = rate
  bucket.capacity = min<u64>(capacity, BALANCE_MAX)
  if (bucket.balance > (bucket.capacity as i64)) bucket.balance = bucket.capacity as i64
}

/** Takes over the throttle record of the state block. */
export function configure(state: State, now: u64): void {
  changeBucket(opsBucket(state), state.opsRate, state.opsCapacity, now)
  changeBucket(bytesBucket(state), state.bytesRate, state.bytesCapacity, now)
}
