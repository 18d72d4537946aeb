// Two parts of the model device (model.ts) that stand alone: guest RAM as a set of regions, and the token bucket of
// the throttle. Both are exact and slow on purpose: every guest address and every token count is a BigInt, so nothing
// wraps, and "is this RAM" is answered byte run by byte run. Accesses are plain: the model runs on one thread.

export interface ModelRegion {
  readonly gpa: number
  readonly bytes: Uint8Array
}

export interface ModelThrottle {
  iops?: number
  iopsBurst?: number
  bytesPerSecond?: number
  bytesBurst?: number
}

export class ModelMemory {
  readonly #regions: readonly ModelRegion[]

  constructor(regions: readonly ModelRegion[]) {
    this.#regions = regions
  }

  /** The pieces of host arrays that make up a guest range; undefined unless every byte of it is RAM. */
  #runs(gpa: bigint, len: bigint): Uint8Array[] | undefined {
    const runs: Uint8Array[] = []
    let at = gpa
    const end = gpa + len
    while (at < end) {
      const region = this.#regions.find(({ gpa: start, bytes }) => {
        return at >= BigInt(start) && at < BigInt(start) + BigInt(bytes.length)
      })
      if (region === undefined) return undefined
      const offset = Number(at - BigInt(region.gpa))
      const left = BigInt(region.bytes.length - offset)
      const run = end - at < left ? end - at : left
      runs.push(region.bytes.subarray(offset, offset + Number(run)))
      at += run
    }
    return runs
  }

  contains(gpa: bigint, len: bigint): boolean {
    return this.#runs(gpa, len) !== undefined
  }

  read(gpa: bigint, len: bigint): Uint8Array | undefined {
    const runs = this.#runs(gpa, len)
    if (runs === undefined) return undefined
    const bytes = new Uint8Array(Number(len))
    let done = 0
    for (const run of runs) {
      bytes.set(run, done)
      done += run.length
    }
    return bytes
  }

  /** All or nothing. */
  write(gpa: bigint, from: Uint8Array): boolean {
    let done = 0
    for (const run of this.#runs(gpa, BigInt(from.length)) ?? []) {
      run.set(from.subarray(done, done + run.length))
      done += run.length
    }
    return done === from.length
  }

  #readNumber(gpa: bigint, bytes: number): bigint | undefined {
    return this.read(gpa, BigInt(bytes))?.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
  }

  #writeNumber(gpa: bigint, bytes: number, value: number): boolean {
    return this.write(
      gpa,
      Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256),
    )
  }

  readU16(gpa: bigint): number | undefined {
    const value = this.#readNumber(gpa, 2)
    return value === undefined ? undefined : Number(value)
  }

  readU32(gpa: bigint): number | undefined {
    const value = this.#readNumber(gpa, 4)
    return value === undefined ? undefined : Number(value)
  }

  readU64(gpa: bigint): bigint | undefined {
    return this.#readNumber(gpa, 8)
  }

  writeU16(gpa: bigint, value: number): boolean {
    return this.#writeNumber(gpa, 2, value)
  }

  writeU32(gpa: bigint, value: number): boolean {
    return this.#writeNumber(gpa, 4, value)
  }
}

const SECOND = 1_000_000_000n

/**
 * Tokens drip in at `rate` a second up to `capacity`. The level is exact: whole tokens in `balance`, and in
 * `fraction` the part of the next one, in billionths. Without a rate there is no limit.
 */
export class Bucket {
  readonly #rate: bigint
  readonly #capacity: bigint
  #balance: bigint
  #fraction = 0n
  #last: number

  constructor(rate: number | undefined, burst: number | undefined, now: number) {
    this.#rate = BigInt(rate ?? 0)
    this.#capacity = BigInt(burst ?? rate ?? 0)
    this.#balance = this.#capacity
    this.#last = now
  }

  get balance(): bigint {
    return this.#balance
  }

  #refill(now: number): void {
    // A clock that went backwards earns nothing, and time is counted from there on.
    const elapsed = BigInt(Math.max(0, now - this.#last))
    this.#last = now
    const earned = elapsed * this.#rate + this.#fraction
    this.#balance += earned / SECOND
    this.#fraction = earned % SECOND
    if (this.#balance <= this.#capacity) return
    this.#balance = this.#capacity
    this.#fraction = 0n
  }

  /** Nanoseconds until `tokens` would be granted; 0 if they would be now. */
  wait(tokens: bigint, now: number): bigint {
    if (this.#rate === 0n || tokens === 0n) return 0n
    this.#refill(now)
    // More than the bucket holds can never be there at once: it passes at a balance of 0 and leaves debt.
    const needed = tokens > this.#capacity ? 0n : tokens
    if (this.#balance >= needed) return 0n
    const missing = (needed - this.#balance) * SECOND - this.#fraction
    return (missing + this.#rate - 1n) / this.#rate
  }

  /** Only after `wait` said 0. */
  take(tokens: bigint): void {
    if (this.#rate > 0n) this.#balance -= tokens
  }
}
