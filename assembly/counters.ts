// Counters that a request earns: kept aside while it is worked on and added after the publish, so that nobody can
// count a completion that the guest has not seen (device rule 16). All others are added where they happen.

import { COUNTERS_PER_REQUEST, QUEUE_PENDING } from './abi.ts'
import { counter, Queue, State, U64 } from './layout.ts'

function pending(queue: Queue, index: u32): U64 {
  return changetype<U64>(changetype<u32>(queue) + QUEUE_PENDING + (index << 3))
}

export function countLater(queue: Queue, index: u32, amount: u64): void {
  pending(queue, index).value += amount
}

export function countNow(state: State, queue: Queue): void {
  for (let i: u32 = 0; i < (COUNTERS_PER_REQUEST as u32); i++) {
    const cell = pending(queue, i)
    const amount = cell.value
    if (amount === 0) continue
    counter(state, i).value += amount
    cell.value = 0
  }
}

export function forget(queue: Queue): void {
  for (let i: u32 = 0; i < (COUNTERS_PER_REQUEST as u32); i++) pending(queue, i).value = 0
}
