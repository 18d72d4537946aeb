// What is in the base initramfs, taken from unpacked Debian packages: busybox, the kernel modules of the disk and of
// ext4, and e2fsprogs' mkfs and fsck with the libraries they ask for. It has no /init: that is part of each boot
// (guest.ts). Node only, because it reads files; the archive format is in initramfs.ts.

import { readFileSync } from 'node:fs'
import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isElf, neededLibraries } from './elf.ts'
import { MODULE_FOLDER, MODULE_LIST } from './guest.ts'
import type { CpioEntry } from './initramfs.ts'
import { type KernelModule, type ModuleTree, resolveModules, withoutSignature } from './modules.ts'

/** crc32c is asked for by name at run time, which no dependency shows. */
const MODULES = ['virtio_mmio', 'virtio_blk', 'crc32c_generic', 'ext4']
/** For scripts that start programs by path or through env, xargs and the like; busybox's shell needs no links. */
const LINKS = ['sh', 'cat', 'dd', 'env', 'ls', 'mount', 'sleep', 'sync', 'umount', 'xargs']
const E2FSPROGS = ['sbin/mke2fs', 'sbin/e2fsck']

/** Debian's names for what differs between the two processors that guests run on. */
export interface GuestArchitecture {
  readonly name: 'i386' | 'amd64'
  readonly bits: 32 | 64
  /** of the folder with the libraries */
  readonly triplet: string
}

/** The entries of the base initramfs. `root` has one folder per package. */
export async function baseEntries(
  root: string,
  kernelPackage: string,
  release: string,
  architecture: GuestArchitecture,
): Promise<CpioEntry[]> {
  const modules = await guestModules(join(root, kernelPackage), release)
  return [
    ...['dev', 'proc', 'sys', 'tmp', 'mnt', 'bin', 'sbin', 'etc', 'lib'].map(
      (path): CpioEntry => ({ path, directory: true }),
    ),
    { path: 'dev/console', device: 'char', major: 5, minor: 1 },
    { path: 'dev/null', device: 'char', major: 1, minor: 3 },
    {
      path: 'bin/busybox',
      file: await firstFile(root, 'busybox-static', ['bin/busybox', 'usr/bin/busybox']),
      mode: 0o755,
    },
    ...LINKS.map((name): CpioEntry => ({ path: `bin/${name}`, symlink: 'busybox' })),
    ...modules.map(({ name, content }): CpioEntry => {
      return { path: `${MODULE_FOLDER}/${name}.ko`, file: withoutSignature(content) }
    }),
    { path: MODULE_LIST, file: modules.map(({ name }) => `${name}.ko\n`).join('') },
    ...(await fileSystemTools(root, architecture)),
  ]
}

async function guestModules(packageRoot: string, release: string): Promise<KernelModule[]> {
  const folder = join(packageRoot, 'lib/modules', release)
  const lines = async (name: string): Promise<string[]> => {
    return (await readFile(join(folder, name), 'utf8')).split('\n').filter(Boolean)
  }
  const tree: ModuleTree = {
    paths: await lines('modules.order'),
    builtin: await lines('modules.builtin'),
    read: (path) => new Uint8Array(readFileSync(join(folder, path))),
  }
  return resolveModules(MODULES, tree)
}

async function fileSystemTools(root: string, architecture: GuestArchitecture): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [
    { path: 'etc/mke2fs.conf', file: await firstFile(root, 'e2fsprogs', ['etc/mke2fs.conf']) },
    { path: 'sbin/mkfs.ext4', symlink: 'mke2fs' },
    { path: 'etc/mtab', symlink: '../proc/mounts' },
  ]
  const libraries = new Map<string, Uint8Array>()
  const addNeeded = async (program: Uint8Array): Promise<void> => {
    for (const name of neededLibraries(program)) {
      if (libraries.has(name)) continue
      const library = await findLibrary(root, name, architecture)
      libraries.set(name, library)
      await addNeeded(library)
    }
  }
  for (const path of E2FSPROGS) {
    const program = await firstFile(root, 'e2fsprogs', [path, `usr/${path}`])
    await addNeeded(program)
    entries.push({ path, file: program, mode: 0o755 })
  }
  for (const [name, content] of libraries) {
    // A 64-bit program asks for its loader in /lib64.
    const folder = architecture.bits === 64 && name.startsWith('ld-') ? 'lib64' : 'lib'
    entries.push({ path: `${folder}/${name}`, file: content, mode: 0o755 })
  }
  return entries
}

async function findLibrary(root: string, name: string, { bits, triplet }: GuestArchitecture): Promise<Uint8Array> {
  for (const name_ of await readdir(root)) {
    for (const folder of [`lib/${triplet}`, `usr/lib/${triplet}`, 'lib', 'usr/lib', 'lib64', 'usr/lib64']) {
      const path = join(root, name_, folder, name)
      if (!(await exists(path))) continue
      const content = new Uint8Array(await readFile(path))
      if (isElf(content, bits)) return content
    }
  }
  throw new Error(`guest assets: no package has ${name}`)
}

async function firstFile(root: string, packageName: string, paths: readonly string[]): Promise<Uint8Array> {
  for (const path of paths) {
    const file = join(root, packageName, path)
    if (await exists(file)) return new Uint8Array(await readFile(file))
  }
  throw new Error(`guest assets: ${packageName} has no ${paths[0]}`)
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
