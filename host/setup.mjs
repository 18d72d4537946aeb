// What `npm start` and `npm test` run first: from a fresh clone with nothing but Node and npm to a built package; with
// the argument `test` also the tests, and Debian's Chromium for those of the page. Says what it does, does nothing
// twice, and names what is missing. Plain JavaScript without dependencies.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const CHROMIUM = '/usr/bin/chromium'

/** @param {string} message */
function fail(message) {
  process.stderr.write(`setup: ${message}\n`)
  process.exit(2)
}

/** True if node_modules holds exactly what the lock file asks for on this machine. */
function isInstalled() {
  const lock = join(root, 'package-lock.json')
  const installed = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(installed)) return false
  const wanted = JSON.parse(readFileSync(lock, 'utf8')).packages
  const found = JSON.parse(readFileSync(installed, 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || found[path]?.version === version,
  )
}

/** For the tests of the page, which say `skipped` without it: so whatever goes wrong here is no reason to stop. */
function installChromium() {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args) => spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', env })
  const packages = ['chromium', 'fonts-dejavu-core']
  const remedy = `the page's tests will be skipped; to run them: apt-get install ${packages.join(' ')}`
  if (apt('--version').error) return process.stderr.write(`setup: no ${CHROMIUM} and no apt-get: ${remedy}\n`)
  if (process.getuid?.() !== 0) {
    return process.stderr.write(`setup: no ${CHROMIUM}, and installing it needs root: ${remedy} (with sudo)\n`)
  }
  process.stderr.write("setup: installing Debian's chromium for the tests of the page (apt-get, about a minute) ...\n")
  const install = () => apt('install', '-y', '--no-install-recommends', ...packages)
  let done = install()
  // Lists that are old or were never fetched.
  if (done.status !== 0 && apt('update').status === 0) done = install()
  if (done.status !== 0) process.stderr.write(`setup: apt-get failed, ${remedy}\n${done.stderr.trim()}\n`)
}

const major = Number(process.versions.node.split('.')[0])
if (major < 20) fail(`Node ${process.versions.node} is too old, version 20 or later is needed: https://nodejs.org`)

if (!isInstalled()) {
  process.stderr.write('setup: installing npm packages (npm ci) ...\n')
  // Not to standard output: that is the list of files of `npm pack --json`, which runs this first.
  const stdio = ['inherit', process.stderr.fd, 'inherit']
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio })
  if (npm.error) fail(`npm cannot be run (${npm.error.message}); it comes with Node: https://nodejs.org`)
  if (npm.status !== 0) fail('npm ci failed, for the reason above; it needs the npm registry (npm config get registry)')
}

if (process.argv[2] === 'test' && !existsSync(process.env.CHROMIUM ?? CHROMIUM)) installChromium()

const build = spawnSync(process.execPath, [join(root, 'host/build.mjs'), ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
})
process.exit(build.status ?? 1)
