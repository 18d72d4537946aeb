// Numbers that a run of the tests can be given: SEED=n, RUNS=n.

/** A mistyped number must not become a campaign of nothing. */
export function fromEnvironment(name: string, usual: number, min: number): number {
  const text = process.env[name]
  if (text === undefined) return usual
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new Error(`${name}=${text}: it must be a whole number from ${min} on`)
}
