// A flavour's engine with a hand on every call: tests count calls, look at guest memory right before and after one,
// or make the next one trap. A trap 'before' the call is a clean one; 'after' it, the engine has done all its work
// and the host does not learn of it. Wraps the exports; the engine itself is the real one.

import type { EngineExports, EngineLoader } from '../../host/engine/engine.ts'

export type EngineCall = keyof EngineExports

type AnyCall = (...args: number[]) => number

export class EngineTap {
  /** give this to the device as its `engine` option */
  readonly engine: EngineLoader
  /** how often each call was made */
  readonly calls = new Map<EngineCall, number>()
  /** looks on: called around every engine call */
  watch: ((name: EngineCall, when: 'before' | 'after') => void) | undefined
  #trap: { name: EngineCall; when: 'before' | 'after' } | undefined

  constructor(inner: EngineLoader) {
    this.engine = async (memory) => {
      const real = (await inner(memory)) as unknown as Record<string, unknown>
      const wrapped: Record<string, unknown> = {}
      for (const name of Object.keys(real)) {
        const call = real[name]
        wrapped[name] = typeof call === 'function' ? this.#wrap(name as EngineCall, call as AnyCall) : call
      }
      return wrapped as unknown as EngineExports
    }
  }

  /** The next call of this name throws, once. */
  trapNext(name: EngineCall, when: 'before' | 'after' = 'before'): void {
    this.#trap = { name, when }
  }

  count(name: EngineCall): number {
    return this.calls.get(name) ?? 0
  }

  #wrap(name: EngineCall, call: AnyCall): AnyCall {
    return (...args) => {
      this.calls.set(name, this.count(name) + 1)
      this.watch?.(name, 'before')
      this.#fall(name, 'before')
      const result = call(...args)
      this.#fall(name, 'after')
      this.watch?.(name, 'after')
      return result
    }
  }

  #fall(name: EngineCall, when: 'before' | 'after'): void {
    if (this.#trap?.name !== name || this.#trap.when !== when) return
    this.#trap = undefined
    throw new WebAssembly.RuntimeError(`scripted trap ${when} ${name}`)
  }
}
