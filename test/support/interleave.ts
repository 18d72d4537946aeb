// Puts one thread's steps between another's, on one thread: runs an action and calls something else right before its
// n-th atomic access. Control words are touched by Atomics alone, so trying every n tries every order that matters.
// What is called in between sees the plain Atomics. Leaves Atomics as they were.

const NAMES = ['load', 'store', 'add', 'sub', 'exchange', 'compareExchange', 'notify'] as const

export interface Between {
  /** before which access, counted from 0; what comes later than the last one does not happen */
  readonly at: number
  readonly run: () => void
}

/** Returns how many accesses `act` made. */
export function interleaved(act: () => void, between: readonly Between[]): number {
  const real = NAMES.map((name) => [name, Atomics[name] as (...args: unknown[]) => unknown] as const)
  let accesses = 0
  let isInside = false
  for (const [name, call] of real) {
    const hooked = (...args: unknown[]): unknown => {
      if (!isInside) {
        isInside = true
        for (const { at, run } of between) if (at === accesses) run()
        isInside = false
        accesses++
      }
      return call(...args)
    }
    Object.assign(Atomics, { [name]: hooked })
  }
  try {
    act()
    return accesses
  } finally {
    for (const [name, call] of real) Object.assign(Atomics, { [name]: call })
  }
}
