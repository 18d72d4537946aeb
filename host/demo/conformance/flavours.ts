// The engine's flavours as the page offers them, and which of them this browser lets us run.

export const FLAVOURS = ['release', 'trace', 'shared', 'trace-shared'] as const
export type Flavour = (typeof FLAVOURS)[number]

/** What each is for, in a few words. */
export const ABOUT: Readonly<Record<Flavour, string>> = {
  release: 'as it is shipped',
  trace: 'tells of every load and store',
  shared: 'for memory that threads share',
  'trace-shared': 'both',
}

export function isShared(flavour: Flavour): boolean {
  return flavour === 'shared' || flavour === 'trace-shared'
}

export function isTrace(flavour: Flavour): boolean {
  return flavour === 'trace' || flavour === 'trace-shared'
}

/** Those that run in this browsing context: shared memory wants cross-origin isolation. */
export function offeredFlavours(): readonly Flavour[] {
  return FLAVOURS.filter((flavour) => crossOriginIsolated || !isShared(flavour))
}
