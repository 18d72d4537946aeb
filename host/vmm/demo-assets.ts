// What the page's Linux view needs as files: made once, of Debian's packages and the installed v86.

import { GuestAssetsError } from './apt.ts'

export async function demoAssets(_: {
  progress?: (message: string) => void
  signal?: AbortSignal
}): Promise<{ folder: string; bytes: number }> {
  throw new GuestAssetsError('not made yet')
}
