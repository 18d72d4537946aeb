// The package of this checkout, packed and installed into a new empty project: by npm with koffi from the registry if
// that can be reached, else unpacked by hand with koffi linked. The caller removes the folder.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'

export interface Installed {
  /** the project */
  folder: string
  tarball: string
  /** all paths in the package */
  files: string[]
  /** where the package is installed */
  place: string
  /** false: by hand, because npm has no registry */
  byNpm: boolean
}

/** What it prints; fails unless the command succeeds (or, `fails`, does not). */
export function run(command: string, args: string[], cwd: string, expected: 'works' | 'fails' = 'works'): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 })
  const said = `${error ?? ''}${stdout}${stderr}`
  assert.ok((status === 0) === (expected === 'works'), `${command} ${args.join(' ')}: status ${status}\n${said}`)
  return stdout
}

/** The same of a program of JavaScript, with what it prints on standard error. */
export function runScript(script: string, cwd: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd,
    encoding: 'utf8',
    timeout: 120_000,
  })
  assert.is(status, 0, stderr)
  return `${stdout}${stderr}`
}

export function installPackage(): Installed {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-package-'))
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], process.cwd())
  const [{ filename, files }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }]
  const tarball = join(folder, filename)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const byNpm = installByNpm(folder, tarball)
  if (!byNpm) installByHand(folder, tarball)
  const place = join(folder, 'node_modules/virtio-blk-wasm')
  return { folder, tarball, files: files.map(({ path }) => path), place, byNpm }
}

function installByNpm(folder: string, tarball: string): boolean {
  const quick = ['--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=0', '--fetch-timeout=20000']
  const { status, stderr } = spawnSync('npm', ['install', tarball, ...quick], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 240_000,
  })
  if (status === 0) return true
  // Nothing else may be a reason: a package that cannot be installed is what is looked for.
  assert.match(stderr, /ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ENOTCACHED|ECONNRESET|network/, stderr)
  console.log('\nskipped: npm install: the registry cannot be reached; koffi is linked')
  return false
}

function installByHand(folder: string, tarball: string): void {
  const modules = join(folder, 'node_modules')
  rmSync(modules, { recursive: true, force: true })
  mkdirSync(join(modules, 'virtio-blk-wasm'), { recursive: true })
  run('tar', ['xzf', tarball, '--strip-components=1', '-C', join(modules, 'virtio-blk-wasm')], folder)
  const { dependencies } = JSON.parse(readFileSync(join(modules, 'virtio-blk-wasm/package.json'), 'utf8'))
  for (const name of [...Object.keys(dependencies), '@koromix']) {
    symlinkSync(resolve('node_modules', name), join(modules, name))
  }
}
