// Keeps a guest from filling its host's log: whatever it can make us say, it can make us say thousands of times a
// second. The first messages go through, then one a second, with the number of those that were kept back. Pure but for
// the clock it is given.

const BURST = 20
const SECOND = 1e9

/** `clock`: monotonic nanoseconds. What is kept back is told with the next message that goes through. */
export function limited(listener: (message: string) => void, clock: () => number): (message: string) => void {
  let passed = 0
  let kept = 0
  let last = Number.NEGATIVE_INFINITY
  return (message) => {
    const now = clock()
    if (now - last >= SECOND) passed = Math.min(passed, BURST - 1)
    if (passed >= BURST) {
      kept++
      return
    }
    passed++
    last = now
    listener(kept === 0 ? message : `${message} (and ${kept} more messages in between)`)
    kept = 0
  }
}
