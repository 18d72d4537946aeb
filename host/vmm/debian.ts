// The files of the Linux guest: kernel, firmware and a base initramfs, made once of Debian packages and kept in the
// user's cache folder, never in the repository. A filled cache needs neither apt nor a network. Every step happens in
// a temporary folder that is renamed when it is complete, so an interrupted run leaves nothing half-made and two runs
// at a time do not disturb each other. Node only. How the guest is booted is in linux-boot.ts.

import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { GuestAssetsError, type PackageRecord, PrivateApt, publishFolder } from './apt.ts'
import { baseEntries, type GuestArchitecture } from './debian-base.ts'
import { cpio } from './initramfs.ts'
import { compressedKernel } from './kernel-image.ts'
import type { LinuxImages } from './linux-boot.ts'
import type { KernelImages } from './linux-guest.ts'

export { GuestAssetsError } from './apt.ts'

/** For v86: i386, with firmware. */
export type GuestAssets = LinuxImages & FoundAssets
/** For KVM: amd64, and no firmware, which KvmMachine has itself. */
export type KvmGuestAssets = KernelImages & FoundAssets

interface FoundAssets {
  /** versions of the packages that the guest is made of, by name */
  readonly packages: Readonly<Record<string, string>>
  /** the folder in the cache that everything was read from */
  readonly folder: string
}

export interface GuestAssetsOptions {
  /** default: $XDG_CACHE_HOME/virtio-blk-wasm, or ~/.cache/virtio-blk-wasm */
  readonly cacheFolder?: string
  /** told what happens, one line at a time, when something has to be fetched */
  readonly progress?: (message: string) => void
  /** ask the archive for newer packages although the cache is filled */
  readonly refresh?: boolean
  readonly signal?: AbortSignal
}

interface Manifest {
  readonly packages: Record<string, string>
  readonly files: Record<string, number>
}

/** What a guest is made of, and where its complete folders are in the cache. */
interface Recipe {
  readonly architecture: GuestArchitecture
  readonly metaPackage: string
  readonly kernelPackage: RegExp
  readonly packages: readonly string[]
  /** `guest-...-`; with a number that is raised when what is made of the packages changes */
  readonly folder: string
}

const V86_RECIPE: Recipe = {
  architecture: { name: 'i386', bits: 32, triplet: 'i386-linux-gnu' },
  metaPackage: 'linux-image-686',
  kernelPackage: /^linux-image-\d.*-686$/,
  packages: ['busybox-static', 'e2fsprogs', 'seabios'],
  folder: 'guest-1-',
}
/** The flavour for virtual machines: half the size, and ext4 built in. */
const KVM_RECIPE: Recipe = {
  architecture: { name: 'amd64', bits: 64, triplet: 'x86_64-linux-gnu' },
  metaPackage: 'linux-image-cloud-amd64',
  kernelPackage: /^linux-image-\d.*-cloud-amd64$/,
  packages: ['busybox-static', 'e2fsprogs'],
  folder: 'guest-amd64-1-',
}
const STALE_MS = 24 * 3600 * 1000

/** The user's cache folder for this package. */
export function defaultCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'virtio-blk-wasm')
}

/** The guest's files, from the cache if it has them. Throws GuestAssetsError with the remedy if they cannot be had. */
export async function guestAssets(options: GuestAssetsOptions = {}): Promise<GuestAssets> {
  const folder = await assetsFolder(V86_RECIPE, options)
  return { ...(await read(folder)), bios: await readBytes(folder, 'bios.bin') }
}

/** The same for the guest that KVM runs. */
export async function kvmGuestAssets(options: GuestAssetsOptions = {}): Promise<KvmGuestAssets> {
  return read(await assetsFolder(KVM_RECIPE, options))
}

async function assetsFolder(recipe: Recipe, options: GuestAssetsOptions): Promise<string> {
  const cache = options.cacheFolder ?? defaultCacheFolder()
  const cached = options.refresh ? undefined : await newest(cache, recipe)
  return cached ?? (await fetchAssets(cache, recipe, options))
}

/** Whether `guestAssets`, or for KVM `kvmGuestAssets`, needs neither apt nor the network. */
export async function haveGuestAssets(cacheFolder: string, machine: 'v86' | 'kvm' = 'v86'): Promise<boolean> {
  return (await newest(cacheFolder, machine === 'v86' ? V86_RECIPE : KVM_RECIPE)) !== undefined
}

/** The complete folder made last. */
async function newest(cache: string, recipe: Recipe): Promise<string | undefined> {
  const found: { folder: string; made: number }[] = []
  for (const name of await readdir(cache).catch(() => [])) {
    if (!name.startsWith(recipe.folder)) continue
    const folder = join(cache, name)
    const manifest = await readManifest(folder)
    const made = await stat(join(folder, 'manifest.json')).catch(() => undefined)
    if (manifest && made && (await isComplete(folder, manifest))) found.push({ folder, made: made.mtimeMs })
  }
  return found.sort((a, b) => b.made - a.made)[0]?.folder
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as Manifest
    return typeof manifest.packages === 'object' && typeof manifest.files === 'object' ? manifest : undefined
  } catch {
    return undefined
  }
}

async function isComplete(folder: string, { files }: Manifest): Promise<boolean> {
  for (const [name, bytes] of Object.entries(files)) {
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (found?.size !== bytes) return false
  }
  return true
}

async function read(folder: string): Promise<KvmGuestAssets> {
  const manifest = await readManifest(folder)
  if (!manifest) throw new GuestAssetsError(`${folder} has become unreadable: delete it and run again`)
  return {
    bzImage: await readBytes(folder, 'bzImage'),
    ...('vmlinux' in manifest.files ? { vmlinux: await readBytes(folder, 'vmlinux') } : {}),
    initramfs: await readBytes(folder, 'initramfs.cpio'),
    packages: manifest.packages,
    folder,
  }
}

async function readBytes(folder: string, name: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(join(folder, name)))
}

/** Fetches, builds and publishes; returns the folder. */
async function fetchAssets(cache: string, recipe: Recipe, options: GuestAssetsOptions): Promise<string> {
  const { progress = () => {}, signal } = options
  const work = await workFolder(cache)
  try {
    const aptFolder = join(work, 'apt')
    await mkdir(aptFolder)
    const apt = await PrivateApt.create(aptFolder, recipe.architecture.name, signal)
    progress(`reading the package lists of Debian ${recipe.architecture.name}`)
    const records = await resolvePackages(apt, recipe)
    const packages = Object.fromEntries(records.map(({ name, version }) => [name, version]))
    const key = createHash('sha256').update(JSON.stringify(packages)).digest('hex').slice(0, 16)
    const place = join(cache, `${recipe.folder}${key}`)
    const manifest = await readManifest(place)
    if (manifest && (await isComplete(place, manifest))) return place
    await rm(place, { recursive: true, force: true }) // damaged, or there would have been a manifest

    const megabytes = Math.round(records.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6)
    progress(`downloading ${records.length} Debian packages, ${megabytes} MB`)
    const files = await apt.download(records)
    const root = join(work, 'root')
    for (const { name } of records) {
      progress(`unpacking ${name}`)
      await apt.extract(files.get(name) ?? '', join(root, name))
    }
    progress('building the initramfs')
    const made = join(work, 'made')
    await build({ apt, root, made, packages, recipe })
    await publishFolder(made, place)
    return place
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** A folder of this run alone. Those of runs that were killed go after a day. */
export async function workFolder(cache: string): Promise<string> {
  try {
    await mkdir(cache, { recursive: true })
    for (const name of await readdir(cache)) {
      if (!name.startsWith('work-')) continue
      const found = await stat(join(cache, name)).catch(() => undefined)
      if (found && Date.now() - found.mtimeMs > STALE_MS) await rm(join(cache, name), { recursive: true, force: true })
    }
    return await mkdtemp(join(cache, 'work-'))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new GuestAssetsError(`cannot write the cache folder ${cache} (${reason}): set XDG_CACHE_HOME`, {
      cause: error,
    })
  }
}

/** The kernel that the metapackage stands for, the other packages, and the libraries of those that have some. */
async function resolvePackages(apt: PrivateApt, recipe: Recipe): Promise<PackageRecord[]> {
  const { metaPackage, kernelPackage, packages } = recipe
  await apt.update()
  if (!(await apt.find(metaPackage))) await apt.useBookworm()
  const meta = await apt.require(metaPackage)
  const kernel = meta.depends.find((name) => kernelPackage.test(name))
  if (!kernel) throw new GuestAssetsError(`${metaPackage} names no kernel package: it needs Debian 12's`)
  const records = new Map<string, PackageRecord>()
  for (const name of [kernel, ...packages]) records.set(name, await apt.require(name))
  const libraries = [...(records.get('e2fsprogs')?.depends ?? [])].filter((name) => name.startsWith('lib'))
  for (const name of libraries) records.set(name, await apt.require(name))
  return [...records.values()]
}

interface Build {
  readonly apt: PrivateApt
  readonly root: string
  readonly made: string
  readonly packages: Record<string, string>
  readonly recipe: Recipe
}

async function build({ apt, root, made, packages, recipe }: Build): Promise<void> {
  await mkdir(made)
  const kernelPackage = Object.keys(packages).find((name) => recipe.kernelPackage.test(name)) ?? ''
  const release = kernelPackage.replace('linux-image-', '')
  const bzImage = new Uint8Array(await readFile(join(root, kernelPackage, 'boot', `vmlinuz-${release}`)))
  const files: Record<string, Uint8Array> = {
    bzImage,
    'initramfs.cpio': cpio(await baseEntries(root, kernelPackage, release, recipe.architecture)),
  }
  if ('seabios' in packages) files['bios.bin'] = await readFile(join(root, 'seabios/usr/share/seabios/bios.bin'))
  const payload = compressedKernel(bzImage)
  const packed = join(root, `vmlinux${ending(payload)}`)
  await writeFile(packed, payload)
  const vmlinux = await apt.decompress(packed)
  if (vmlinux) files.vmlinux = vmlinux
  for (const [name, content] of Object.entries(files)) await writeFile(join(made, name), content)
  const sizes = Object.fromEntries(Object.entries(files).map(([name, content]) => [name, content.length]))
  const manifest: Manifest = { packages, files: sizes }
  await writeFile(join(made, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
}

/** The file name ending of a compression, by its magic number: what apt's helper goes by. */
function ending(compressed: Uint8Array): string {
  const magic = Array.from(compressed.subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0')).join('')
  if (magic === 'fd377a58') return '.xz'
  if (magic === '28b52ffd') return '.zst'
  if (magic.startsWith('1f8b')) return '.gz'
  return '.lz4'
}
