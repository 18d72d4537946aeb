// Runs every check: types of both projects, lint, then each bundled *.test.js in a process of its own, two at a time.
// Prints what failed and what was skipped, and last `N passed, M failed`. Fails on a failure, on a file that runs no
// test, and on a file that exceeds its time. `npm test -- PATTERN...` runs only the files whose path contains a
// pattern.

import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Test files that run: they end with us. */
const children = new Set()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of children) child.kill('SIGKILL')
    process.kill(process.pid, signal)
  })
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const FILE_TIMEOUT_MS = 5 * 60_000
const patterns = process.argv.slice(2)

/** @returns {Promise<{ code: number | null, output: string, seconds: number }>} */
function run(args) {
  const start = performance.now()
  return new Promise((resolve) => {
    let output = ''
    const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' }
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    children.add(child)
    const timer = setTimeout(() => {
      output += `\nstill running after ${FILE_TIMEOUT_MS / 1000} s, stopped\n`
      child.kill('SIGKILL')
    }, FILE_TIMEOUT_MS)
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('close', (code) => {
      clearTimeout(timer)
      children.delete(child)
      resolve({ code, output, seconds: (performance.now() - start) / 1000 })
    })
  })
}

/** One command that passes or fails as a whole. */
async function check(name, args) {
  const { code, output, seconds } = await run(args)
  return { name, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, output, seconds }
}

/** A uvu file: its counts are the last Total: and Passed: lines it prints. */
async function testFile(file) {
  const { code, output, seconds } = await run(['--enable-source-maps', '--expose-gc', file])
  // biome-ignore lint/suspicious/noControlCharactersInRegex: uvu colours its counts
  const plain = output.replace(/\u001b\[[0-9;]*m/g, '')
  const count = (label) => Number([...plain.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)`, 'gm'))].at(-1)?.[1] ?? 0)
  const total = count('Total')
  const passed = count('Passed')
  let failed = total - passed
  if (code !== 0 && failed === 0) failed = 1
  // A file may find that the machine cannot run its tests; it then says so and has none. Anything else without a test
  // is a mistake.
  const skipped = plain.match(/^skipped: .*$/gm) ?? []
  if (total === 0 && failed === 0 && skipped.length === 0) failed = 1
  return { name: relative(join(root, 'build'), file), passed, failed, output, seconds, skipped }
}

const bin = (path) => join(root, 'node_modules', path)
const jobs = []
if (patterns.length === 0) {
  jobs.push(() => check('types: host and test', [bin('typescript/bin/tsc'), '-p', 'tsconfig.json']))
  jobs.push(() => check('types: the page', [bin('typescript/bin/tsc'), '-p', 'host/demo/tsconfig.json']))
  jobs.push(() => check('types: assembly', [bin('typescript/bin/tsc'), '-p', 'assembly/tsconfig.json']))
  jobs.push(() => check('lint', [bin('@biomejs/biome/bin/biome'), 'ci', '--colors=off', '--error-on-warnings', '.']))
}
const built = readdirSync(join(root, 'build/test'), { recursive: true })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  // The longest first, so that they do not run alone at the end.
  .sort((a, b) => Number(b.startsWith('vmm/')) - Number(a.startsWith('vmm/')) || a.localeCompare(b))
for (const file of built) jobs.push(() => testFile(join(root, 'build/test', file)))

let passed = 0
let failed = 0
async function worker() {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    const result = await job()
    passed += result.passed
    failed += result.failed
    const verdict = result.failed > 0 ? 'FAIL' : result.passed === 0 ? 'skip' : 'ok  '
    console.log(`${verdict} ${result.name}: ${result.passed} passed, ${result.seconds.toFixed(1)} s`)
    for (const line of result.skipped ?? []) console.log(`     ${line}`)
    if (result.failed > 0) console.log(result.output.replace(/^/gm, '     '))
  }
}
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))
if (built.length === 0) console.log(`no test file's path contains ${patterns.join(' or ')}`)
if (passed === 0) failed = Math.max(failed, 1)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
