// The shortest trace that still fails a check: first the shortest prefix, then delta debugging (ddmin) over what is
// left, until no single step can be left out. Leaving out steps changes what the engine does, so each candidate is
// recorded anew. The first step, init, stays. Portable.

import { Rerecorder } from './rerecord.ts'
import type { Trace } from './trace.ts'

export interface ShrinkProgress {
  readonly phase: 'prefix' | 'steps'
  /** of the shortest trace so far that fails */
  readonly steps: number
  readonly runs: number
}

/**
 * `fails` is asked about one candidate at a time. The result is undefined if the whole trace, recorded anew, does not
 * fail.
 */
export async function shrink(
  trace: Trace,
  fails: (candidate: Trace) => Promise<boolean>,
  onProgress: (progress: ShrinkProgress) => void = () => {},
): Promise<Trace | undefined> {
  const shrinker = new Shrinker(trace, fails, onProgress)
  const all = trace.steps.map((_, number) => number).slice(1)
  if (!(await shrinker.test(all))) return undefined
  await shrinker.prefix(all)
  await shrinker.leaveOut()
  return shrinker.best
}

class Shrinker {
  best: Trace | undefined
  #kept: readonly number[] = []
  #runs = 0
  #phase: 'prefix' | 'steps' = 'prefix'
  readonly #seen = new Map<string, boolean>()
  readonly #recorder: Rerecorder
  readonly #fails: (candidate: Trace) => Promise<boolean>
  readonly #onProgress: (progress: ShrinkProgress) => void

  constructor(
    trace: Trace,
    fails: (candidate: Trace) => Promise<boolean>,
    onProgress: (progress: ShrinkProgress) => void,
  ) {
    this.#recorder = new Rerecorder(trace)
    this.#fails = fails
    this.#onProgress = onProgress
  }

  /** True if these steps fail; then they are the best so far. */
  async test(kept: readonly number[]): Promise<boolean> {
    const key = kept.join()
    const known = this.#seen.get(key)
    if (known !== undefined) return known
    const candidate = this.#recorder.record(kept)
    const failed = await this.#fails(candidate)
    this.#runs++
    this.#seen.set(key, failed)
    if (failed) {
      this.best = candidate
      this.#kept = kept
    }
    this.#onProgress({ phase: this.#phase, steps: this.best?.steps.length ?? 0, runs: this.#runs })
    return failed
  }

  /**
   * Halving finds a length at which failing begins. It is the only one if a longer prefix always fails too, which
   * nobody promises: so shorter ones are looked at, 2, 4, 8, ... steps below, and if one fails, halving goes on there.
   */
  async prefix(all: readonly number[]): Promise<void> {
    let fails = all.length
    for (let isSure = false; !isSure; ) {
      let passes = -1
      while (fails - passes > 1) {
        const half = (fails + passes) >>> 1
        if (await this.test(all.slice(0, half))) fails = half
        else passes = half
      }
      isSure = true
      for (let below = 2; below <= fails && isSure; below *= 2) {
        if (!(await this.test(all.slice(0, fails - below)))) continue
        fails -= below
        isSure = false
      }
    }
  }

  /** ddmin: parts are left out, the last first, halves, quarters and so on down to single steps. */
  async leaveOut(): Promise<void> {
    this.#phase = 'steps'
    let parts = 2
    while (this.#kept.length > 0) {
      const kept = this.#kept
      parts = Math.min(parts, kept.length)
      if (await this.#leaveOutOne(kept, parts)) parts = Math.max(parts - 1, 2)
      else if (parts === kept.length) return
      else parts *= 2
    }
  }

  async #leaveOutOne(kept: readonly number[], parts: number): Promise<boolean> {
    for (let part = parts - 1; part >= 0; part--) {
      const from = Math.floor((part * kept.length) / parts)
      const to = Math.floor(((part + 1) * kept.length) / parts)
      if (await this.test([...kept.slice(0, from), ...kept.slice(to)])) return true
    }
    return false
  }
}
