// Debian packages of another architecture, without root and without touching the system: apt with lists, state and
// cache in a folder of our own, but with the system's sources, keyrings and proxy settings. apt checks the archive's
// signatures; the digest of every package file is checked here once more against the authenticated record. Node only.
// Knows nothing of what the packages are for.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** The guest's files cannot be had. One line that says why and what to do. */
export class GuestAssetsError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'GuestAssetsError'
  }
}

/** What apt knows of a package; every field comes from signed lists. */
export interface PackageRecord {
  readonly name: string
  readonly version: string
  readonly sha256: string
  readonly bytes: number
  /** names only, alternatives and versions dropped; Pre-Depends first */
  readonly depends: readonly string[]
}

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Where Debian itself keeps the release whose kernels we want, for systems whose own sources do not have it. */
const BOOKWORM_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const BOOKWORM_SOURCE = `deb [signed-by=${BOOKWORM_KEYRING}] http://deb.debian.org/debian bookworm main\n`
const NETWORK_TROUBLE = /Failed to fetch|Could not (resolve|connect)|Temporary failure|timed out|Unable to connect/i

export class PrivateApt {
  readonly #folder: string
  readonly #config: string
  readonly #architecture: string
  readonly #signal: AbortSignal | undefined
  #trouble = ''

  private constructor(folder: string, architecture: string, signal: AbortSignal | undefined) {
    this.#folder = folder
    this.#architecture = architecture
    this.#config = join(folder, 'apt.conf')
    this.#signal = signal
  }

  /** Prepares `folder`, which must exist and be empty. Throws GuestAssetsError where there is no apt. */
  static async create(folder: string, architecture: string, signal?: AbortSignal): Promise<PrivateApt> {
    for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb']) {
      if (!(await onPath(tool))) {
        throw new GuestAssetsError(
          `${tool} is not installed: the Linux guest is made of Debian packages, so fetch it on Debian 12 or later`,
        )
      }
    }
    const apt = new PrivateApt(folder, architecture, signal)
    for (const part of ['state', 'lists/partial', 'cache', 'archives/partial', 'debs']) {
      await mkdir(join(folder, part), { recursive: true })
    }
    await writeFile(join(folder, 'state/status'), '')
    await writeFile(apt.#config, configuration(folder, architecture))
    return apt
  }

  /** Fetches the package lists. What cannot be fetched shows when a package is asked for. */
  async update(): Promise<void> {
    const { stderr } = await this.#run('apt-get', ['update'])
    this.#trouble = stderr
  }

  /** From now on Debian 12's own archive instead of the system's sources. False without Debian's keyring. */
  async useBookworm(): Promise<boolean> {
    if (!(await exists(BOOKWORM_KEYRING))) return false
    const list = join(this.#folder, 'bookworm.list')
    await writeFile(list, BOOKWORM_SOURCE)
    const text = await readFile(this.#config, 'utf8')
    await writeFile(this.#config, `${text}Dir::Etc::SourceList "${list}";\nDir::Etc::SourceParts "/dev/null";\n`)
    await this.update()
    return true
  }

  /** The newest version of a package, or undefined if the sources have none. */
  async find(name: string): Promise<PackageRecord | undefined> {
    const { code, stdout } = await this.#run('apt-cache', ['show', '--no-all-versions', name])
    return code === 0 ? parseRecord(stdout) : undefined
  }

  /** Like `find`, but throws the reason: no network, or no such package. */
  async require(name: string): Promise<PackageRecord> {
    const record = await this.find(name)
    if (record) return record
    if (NETWORK_TROUBLE.test(this.#trouble)) {
      throw new GuestAssetsError(`cannot reach the Debian archive (${firstError(this.#trouble)}): check the network`)
    }
    throw new GuestAssetsError(
      `apt has no package ${name} for ${this.#architecture}: add Debian 12 (bookworm) to the apt sources, or install debian-archive-keyring`,
    )
  }

  /** Downloads packages and returns the path of each file, its digest checked, by name. */
  async download(records: readonly PackageRecord[]): Promise<Map<string, string>> {
    const folder = join(this.#folder, 'debs')
    const wanted = records.map(({ name, version }) => `${name}=${version}`)
    const { code, stderr } = await this.#run('apt-get', ['download', ...wanted], folder)
    const files = new Map<string, string>()
    for (const file of await readdir(folder)) {
      const path = join(folder, file)
      const sha256 = createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
      const record = records.find((candidate) => candidate.sha256 === sha256)
      if (record) files.set(record.name, path)
    }
    const missing = records.filter(({ name }) => !files.has(name)).map(({ name }) => name)
    if (missing.length > 0) {
      const why = code === 0 ? 'the files do not have the digests that the signed lists promise' : firstError(stderr)
      throw new GuestAssetsError(`cannot download ${missing.join(', ')} (${why}): check the network and try again`)
    }
    return files
  }

  /** Unpacks a package file into a folder. Owners are not kept, so it needs no root. */
  async extract(file: string, into: string): Promise<void> {
    await mkdir(into, { recursive: true })
    const { code, stderr } = await this.#run('dpkg-deb', ['--extract', file, into])
    if (code !== 0) throw new GuestAssetsError(`cannot unpack ${file} (${firstError(stderr)}): is the disk full?`)
  }

  /** Decompresses with apt's helper what `file` holds; undefined if it cannot. The name's ending says how. */
  async decompress(file: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const helper = '/usr/lib/apt/apt-helper'
    if (!(await exists(helper))) return undefined
    const { code, raw } = await run(helper, ['cat-file', file], { signal: this.#signal })
    return code === 0 && raw.length > 0 ? raw : undefined
  }

  #run(tool: string, args: string[], cwd?: string): Promise<Outcome> {
    const config = tool.startsWith('apt') ? ['-q', '-c', this.#config] : []
    return run(tool, [...config, ...args], { cwd, signal: this.#signal })
  }
}

/** The first record in the output of `apt-cache show`. */
export function parseRecord(text: string): PackageRecord | undefined {
  const fields = new Map<string, string>()
  for (const line of (text.split('\n\n')[0] ?? '').split('\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0 && !line.startsWith(' ')) fields.set(line.slice(0, colon), line.slice(colon + 2).trim())
  }
  const [name, version, sha256] = ['Package', 'Version', 'SHA256'].map((field) => fields.get(field))
  if (!name || !version || !sha256) return undefined
  const depends = ['Pre-Depends', 'Depends']
    .flatMap((field) => fields.get(field)?.split(',') ?? [])
    .map((dependency) => (dependency.trim().split(/[\s(|:]/)[0] ?? '').trim())
    .filter(Boolean)
  return { name, version, sha256, bytes: Number(fields.get('Size') ?? 0), depends }
}

/**
 * The system's hooks after an update belong to the system's lists, so they are dropped. Sandbox user root means: do
 * not change to `_apt`, who may not write here; without root it means nothing.
 */
function configuration(folder: string, architecture: string): string {
  return `#clear APT::Update;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
APT::Architecture "${architecture}";
APT::Architectures { "${architecture}"; };
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::Retries::Delay "false";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Dir::State "${folder}/state";
Dir::State::status "${folder}/state/status";
Dir::State::Lists "${folder}/lists";
Dir::Cache "${folder}/cache";
Dir::Cache::archives "${folder}/archives";
`
}

interface RunOptions {
  cwd?: string | undefined
  signal?: AbortSignal | undefined
}

/** Runs a program to its end. It never rejects for an exit status; a program that cannot start is an error. */
function run(tool: string, args: string[], options: RunOptions): Promise<Outcome & { raw: Uint8Array<ArrayBuffer> }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
      ...(options.cwd ? { cwd: options.cwd } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.on('error', (error) => {
      if (options.signal?.aborted) reject(options.signal.reason)
      else reject(new GuestAssetsError(`cannot run ${tool} (${error.message})`, { cause: error }))
    })
    child.on('close', (code) => {
      const raw = new Uint8Array(Buffer.concat(out))
      resolve({ code, raw, stdout: new TextDecoder().decode(raw), stderr: Buffer.concat(err).toString() })
    })
  })
}

async function onPath(tool: string): Promise<boolean> {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  for (const folder of folders) {
    const found = await access(join(folder, tool), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return true
  }
  return false
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function firstError(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim())
  return lines.find((line) => /^[EW]:/.test(line))?.slice(3) ?? lines.find(Boolean) ?? 'no reason given'
}

/** Moves a finished folder into place; if another process was faster, its folder stays and ours goes. */
export async function publishFolder(made: string, place: string): Promise<void> {
  try {
    await rename(made, place)
  } catch (error) {
    if (!(await exists(place))) throw error
    await rm(made, { recursive: true, force: true })
  }
}
