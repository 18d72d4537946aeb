// Tools of Debian that a test needs and a machine may not have: installed with apt-get where we are root, asked for
// otherwise. Files come from Debian's signed archive, and stay.

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

function isOnPath(tool: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function aptGet(...words: string[]): string {
  const { status, stderr, error } = spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...words], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (status === 0) return ''
  return /^E: (.*)$/m.exec(stderr ?? '')?.[1] ?? String(error ?? 'apt-get failed')
}

/** Makes sure of these tools (tool -> package). Returns why that cannot be, with the remedy, or ''. */
export function missingTools(packages: Readonly<Record<string, string>>): string {
  const missing = Object.keys(packages).filter((tool) => !isOnPath(tool))
  if (missing.length === 0) return ''
  const names = missing.flatMap((tool) => packages[tool]?.split(' ') ?? [])
  const remedy = `no ${missing.join(', ')}: sudo apt-get install ${names.join(' ')}`
  if (process.getuid?.() !== 0) return remedy
  process.stderr.write(`installing ${names.join(', ')} with apt-get ...\n`)
  const install = ['install', '-y', '--no-install-recommends', ...names]
  if (aptGet(...install) === '') return ''
  aptGet('update')
  const why = aptGet(...install)
  return why === '' ? '' : `${remedy} (tried: ${why})`
}
