// The throttle as users write it, checked and turned into the engine's record (device rules 19 and 24). Portable.

import type { ThrottleRecord } from '../engine/state.ts'

/** Limits of one disk. Each is a positive integer (a bigint above 2^53), at most 2^63; absent = unlimited. */
export interface ThrottleOptions {
  /** requests per second */
  iops?: number | bigint | undefined
  /** requests that may pass at once after a quiet time; default: one second's worth */
  iopsBurst?: number | bigint | undefined
  /** data bytes per second */
  bytesPerSecond?: number | bigint | undefined
  /** bytes that may pass at once after a quiet time; default: one second's worth */
  bytesBurst?: number | bigint | undefined
}

const TOKENS_MAX = 2n ** 63n

function tokens(name: string, value: number | bigint | undefined): bigint | undefined {
  if (value === undefined) return undefined
  const whole = typeof value === 'bigint' || Number.isInteger(value)
  if (!whole || value <= 0 || value > TOKENS_MAX) {
    throw new RangeError(
      `throttle: ${name} must be a positive integer up to 2^63, not ${value}; leave it out for no limit`,
    )
  }
  return BigInt(value)
}

function bucket(
  rateName: string,
  rate: bigint | undefined,
  burstName: string,
  burst: bigint | undefined,
): [rate: bigint, capacity: bigint] {
  if (rate === undefined) {
    if (burst === undefined) return [0n, 0n]
    throw new RangeError(`throttle: ${burstName} is set without ${rateName}; set the rate too, or leave the burst out`)
  }
  if (burst !== undefined && burst < rate) {
    throw new RangeError(
      `throttle: ${burstName} (${burst}) must be >= ${rateName} (${rate}); raise it, or leave the burst out`,
    )
  }
  return [rate, burst ?? rate]
}

/** Throws RangeError naming the first field that is wrong, operations before bytes. */
export function throttleRecord(options: ThrottleOptions = {}): ThrottleRecord {
  const known = ['iops', 'iopsBurst', 'bytesPerSecond', 'bytesBurst']
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`throttle: ${name} is not one of ${known.join(', ')}`)
  }
  const iops = tokens('iops', options.iops)
  const iopsBurst = tokens('iopsBurst', options.iopsBurst)
  const [opsRate, opsCapacity] = bucket('iops', iops, 'iopsBurst', iopsBurst)
  const bytesPerSecond = tokens('bytesPerSecond', options.bytesPerSecond)
  const bytesBurst = tokens('bytesBurst', options.bytesBurst)
  const [bytesRate, bytesCapacity] = bucket('bytesPerSecond', bytesPerSecond, 'bytesBurst', bytesBurst)
  return { opsRate, opsCapacity, bytesRate, bytesCapacity }
}
