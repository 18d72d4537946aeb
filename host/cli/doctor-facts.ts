// Looks at this machine for `vblk doctor`. What may fail to load is loaded here, one by one, so that one missing part
// does not hide the others; what cannot be found out is a fact too. Changes nothing: files go to a temporary folder.

import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { ABI_VERSION } from '../../assembly/abi.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { defaultCacheFolder, haveGuestAssets } from '../vmm/debian.ts'
import type { Facts, Failure } from './doctor-checks.ts'

const APT_HELPER = '/usr/lib/apt/apt-helper'
const NETWORK_SECONDS = 5

export async function findFacts(): Promise<Facts> {
  const missingTools = ['apt-get', 'apt-cache', 'dpkg-deb'].filter((name) => onPath(name) === undefined)
  const cacheFolder = defaultCacheFolder()
  const [system, engine, kvm, v86, mirror, forV86, forKvm] = await Promise.all([
    attempt(async () => (await import('../sys/probe.ts')).probeSystem()),
    attempt(findEngine),
    attempt(async () => (await import('../vmm/kvm-probe.ts')).probeKvm()),
    attempt(findV86),
    missingTools.length === 0 ? findMirror() : undefined,
    haveGuestAssets(cacheFolder, 'v86'),
    haveGuestAssets(cacheFolder, 'kvm'),
  ])
  const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium'
  return {
    node: process.versions.node,
    platform: process.platform,
    arch: process.arch,
    system,
    engine,
    hasSharedMemory: typeof SharedArrayBuffer === 'function',
    kvm,
    ioUringDisabled: textOf('/proc/sys/kernel/io_uring_disabled'),
    v86,
    missingTools,
    mirror,
    cache: { folder: cacheFolder, ...placeOf(cacheFolder) },
    guests: { v86: forV86, kvm: forKvm },
    chromium: existsSync(chromium) ? chromium : undefined,
    memoryBytes: process.availableMemory?.() ?? freemem(),
    limits: {
      openFiles: limit('Max open files'),
      lockedBytes: limit('Max locked memory'),
      addressBytes: limit('Max address space'),
    },
    shmBytes: freeBytes('/dev/shm'),
  }
}

/** What it gives, or in one line why it gives nothing. */
async function attempt<T>(find: () => Promise<T>): Promise<T | Failure> {
  try {
    return await find()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { failure: message.split('\n')[0]?.replace(/ imported from .*/, '') ?? '' }
  }
}

async function findEngine(): Promise<{ abi: number; wanted: number }> {
  const [{ loadEngine }, { GuestMemory }] = await Promise.all([
    import('../engine/engine.ts'),
    import('../device/guest-memory.ts'),
  ])
  const { memory } = GuestMemory.create({ ramBytes: 65536, shared: true })
  const engine = await loadEngine(memory)
  return { abi: engine.abiVersion(), wanted: ABI_VERSION }
}

async function findV86(): Promise<{ version: string; wanted: string }> {
  const { version = 'unknown' } = await (await import('../vmm/v86-node.ts')).loadV86()
  return { version, wanted: packageJson.peerDependencies.v86 }
}

/** The first of apt's archives, and whether a file of 2 kB comes from there, on apt's own ways. */
async function findMirror(): Promise<Facts['mirror']> {
  const format = '$(REPO_URI) $(RELEASE)'
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'])
  const [url = '', release = ''] = stdout.split('\n')[0]?.split(' ') ?? []
  if (url === '') return undefined
  const folder = mkdtempSync(join(tmpdir(), 'vblk-doctor-'))
  try {
    const quick = ['-o', 'Acquire::Retries=0']
    for (const kind of ['http', 'https']) quick.push('-o', `Acquire::${kind}::Timeout=${NETWORK_SECONDS}`)
    const source = `${url}dists/${release}/Release.gpg`
    const { status, stderr } = await run(APT_HELPER, [...quick, 'download-file', source, join(folder, 'file')])
    const words = stderr.split('\n').find((line) => line.startsWith('E: ')) ?? `apt-helper ended with ${status}`
    return {
      url,
      trouble: status === 0 ? '' : words.replace(/^E: /, '').replace(source, '').replace(/\s+/g, ' ').trim(),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function run(program: string, args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, LC_ALL: 'C' }
    const timeout = 4 * NETWORK_SECONDS * 1000
    const child = spawn(program, args, { env, timeout, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data) => {
      stdout += data
    })
    child.stderr.on('data', (data) => {
      stderr += data
    })
    child.once('error', (error) => resolve({ status: null, stdout: '', stderr: `E: ${error.message}` }))
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })
}

function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return folders.map((folder) => join(folder, name)).find((file) => isAllowed(file, constants.X_OK))
}

/** Of the folder, or of the nearest one above it that is there. */
function placeOf(folder: string): { isWritable: boolean; freeBytes: number } {
  let there = folder
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there)
  return { isWritable: isAllowed(there, constants.W_OK | constants.X_OK), freeBytes: freeBytes(there) ?? 0 }
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function freeBytes(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return undefined
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** The soft limit of this process; where the system does not tell, none. */
function limit(name: string): number {
  const line = textOf('/proc/self/limits')
    ?.split('\n')
    .find((one) => one.startsWith(name))
  const soft = Number(line?.slice(name.length).trim().split(/\s+/)[0])
  return Number.isNaN(soft) ? Number.POSITIVE_INFINITY : soft
}
