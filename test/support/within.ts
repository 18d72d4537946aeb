// Waiting in tests: uvu has no time limit per test, so every wait goes through within(), and what asynchronous back
// ends have resolved is carried on by settle(). Holds no state.

/** The promise's value, or a rejection that names what was waited for. */
export async function within<Value>(ms: number, promise: Promise<Value>, what = 'the promise'): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not settle within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Returns when everything that waits for resolved promises has run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}
