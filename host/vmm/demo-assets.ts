// What the page's Linux view needs as files, made once and kept in the user's cache folder, never in the repository:
// Debian booted in v86 with a fresh disk and saved before it mounts it (demo-guest.ts), that disk, and the two files
// of the installed v86. A folder is named after all that it was made of, so it is made anew when one of them changes.
// Node only; the page reads the list in demo-manifest.ts.

import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { ABI_VERSION } from '../../assembly/abi.ts'
import { MemoryBackend } from '../backend/memory.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import { GuestAssetsError, publishFolder } from './apt.ts'
import { defaultCacheFolder, type GuestAssets, guestAssets, workFolder } from './debian.ts'
import { DEMO_SCRIPT } from './demo-guest.ts'
import { type DemoFile, type DemoManifest, MANIFEST_NAME, makeManifest, readManifest } from './demo-manifest.ts'
import { KERNEL_OPTIONS, saveLinux, startLinux } from './linux-boot.ts'
import { type LinuxGuest, LinuxGuestError } from './linux-guest.ts'
import { packSavedMachine, type SavedMachine } from './saved-machine.ts'
import type { V86Machine } from './v86.ts'
import { findV86, loadV86 } from './v86-node.ts'
import type { V86Runtime } from './v86-types.ts'

export interface DemoAssetsOptions {
  /** default: $XDG_CACHE_HOME/virtio-blk-wasm, or ~/.cache/virtio-blk-wasm */
  readonly cacheFolder?: string
  /** told what happens, one line at a time, when something has to be made */
  readonly progress?: (message: string) => void
  readonly signal?: AbortSignal
}

export interface DemoAssets {
  readonly folder: string
  /** of all files together */
  readonly bytes: number
  readonly manifest: DemoManifest
}

const DISK_BYTES = 32 << 20
/** The least that has room for the initramfs where v86 puts it. */
const MEMORY_BYTES = 96 << 20
const TIMEOUT_MS = 180_000
/** Raised when what is made of the same parts changes. */
const RECIPE = 1

const pack = promisify(gzip)

/** From the cache if they are there. Throws GuestAssetsError or V86MissingError, with the remedy. */
export async function demoAssets(options: DemoAssetsOptions = {}): Promise<DemoAssets> {
  const { cacheFolder = defaultCacheFolder(), progress = () => {}, signal } = options
  const runtime = await loadV86()
  const guest = await guestAssets({ cacheFolder, progress, ...(signal && { signal }) })
  const made = join(cacheFolder, `demo-${keyOf(runtime, guest)}`)
  const cached = await complete(made)
  if (cached) return cached
  const work = await workFolder(cacheFolder)
  try {
    progress('booting Linux, to save it where the page goes on')
    const { image, machine } = await bootAndSave(runtime, guest, signal)
    progress('packing the saved machine')
    const folder = join(work, 'demo')
    await mkdir(folder)
    await write(folder, runtime, guest, { image, machine: await packSavedMachine(machine) })
    await rm(made, { recursive: true, force: true }) // damaged, or it would have been complete
    signal?.throwIfAborted()
    await publishFolder(folder, made)
  } catch (error) {
    throw signal?.aborted ? error : asAssetsError(error, cacheFolder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  const assets = await complete(made)
  if (assets === undefined) throw new GuestAssetsError(`${made} has become unreadable: delete it and run again`)
  return assets
}

/** A guest that does not come up, a full disk: who wants the files has to do without. */
function asAssetsError(error: unknown, cacheFolder: string): unknown {
  if (error instanceof LinuxGuestError) return new GuestAssetsError(`the guest for the page failed: ${error.message}`)
  const { code } = error as NodeJS.ErrnoException
  if (code === undefined) return error
  return new GuestAssetsError(`the guest for the page cannot be kept in ${cacheFolder} (${code})`)
}

function keyOf({ version }: V86Runtime, { packages }: GuestAssets): string {
  const parts = [RECIPE, version, packages, ABI_VERSION, KERNEL_OPTIONS, DEMO_SCRIPT, DISK_BYTES, MEMORY_BYTES]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
}

async function complete(folder: string): Promise<DemoAssets | undefined> {
  let manifest: DemoManifest
  try {
    manifest = readManifest(await readFile(join(folder, MANIFEST_NAME), 'utf8'))
  } catch {
    return undefined
  }
  let sum = 0
  for (const { name, bytes } of Object.values(manifest.files)) {
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (found?.size !== bytes) return undefined
    sum += bytes
  }
  return { folder, bytes: sum, manifest }
}

interface Saved {
  readonly machine: SavedMachine
  readonly image: Uint8Array
}

/** The guest makes its own disk; it is saved when it asks for it. */
async function bootAndSave(runtime: V86Runtime, assets: GuestAssets, signal?: AbortSignal): Promise<Saved> {
  const backend = new MemoryBackend(DISK_BYTES)
  let disk: VirtioBlk | undefined
  let guest: LinuxGuest<V86Machine> | undefined
  let saving: Promise<SavedMachine> | undefined
  try {
    guest = await startLinux({
      runtime,
      assets,
      script: DEMO_SCRIPT,
      canSave: true,
      memoryBytes: MEMORY_BYTES,
      timeoutMs: TIMEOUT_MS,
      ...(signal && { signal }),
      disk: async (memory, onInterrupt) => {
        disk = await VirtioBlk.create({ memory, backend, onInterrupt })
        return disk
      },
      onSave: () => {
        if (guest === undefined || disk === undefined) return
        const served = disk
        saving = saveLinux(guest, {
          runtime,
          memoryBytes: MEMORY_BYTES,
          hasScript: false,
          quiet: () => served.pause(),
          snapshot: () => ({
            disk: served.snapshot(),
            image: { bytes: DISK_BYTES, modified: '0', isReadOnly: false },
          }),
        })
        saving.catch(() => {}) // awaited below
      },
    })
    const { isSaved, output } = await guest.finished
    if (!isSaved || saving === undefined) {
      const last = output.trim().split('\n').at(-1) ?? ''
      throw new GuestAssetsError(`the guest for the page ended before it could be saved: ${last}`)
    }
    return { machine: await saving, image: backend.bytes }
  } finally {
    await guest?.stop()
    await disk?.close()
  }
}

interface Made {
  readonly image: Uint8Array
  readonly machine: Uint8Array
}

async function write(folder: string, runtime: V86Runtime, guest: GuestAssets, made: Made): Promise<void> {
  const v86 = findV86()
  const put = async (stem: string, ending: string, content: Uint8Array): Promise<DemoFile> => {
    const name = `${stem}-${createHash('sha256').update(content).digest('hex').slice(0, 12)}.${ending}`
    await writeFile(join(folder, name), content)
    return { name, bytes: content.length }
  }
  const putPacked = async (stem: string, ending: string, content: Uint8Array) => {
    const packed = await pack(content, { level: 9 })
    return { ...(await put(stem, `${ending}.gz`, packed)), unpackedBytes: content.length }
  }
  const manifest = makeManifest({
    v86: runtime.version,
    packages: guest.packages,
    files: {
      machine: await put('machine', 'save', made.machine),
      image: await putPacked('disk', 'img', made.image),
      wasm: await putPacked('v86', 'wasm', runtime.wasm),
      library: await put('libv86', 'mjs', await readFile(v86.library)),
      licence: await put('v86-licence', 'txt', await readFile(v86.licence)),
    },
  })
  await writeFile(join(folder, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`)
}
