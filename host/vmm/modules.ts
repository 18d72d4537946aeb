// Which kernel module files a guest needs, in the order in which to load them. Debian's kernel packages carry no
// modules.dep (depmod makes it when a package is installed), so the dependencies come from where depmod takes them:
// the .modinfo section of each file. Symbol tables, aliases and soft dependencies are not followed. Portable.

import { moduleInfo } from './elf.ts'

/** The modules of one kernel: their paths, and a way to read one. */
export interface ModuleTree {
  /** lines of `modules.order`: every module that is a file, for instance `kernel/fs/ext4/ext4.ko` */
  readonly paths: readonly string[]
  /** lines of `modules.builtin`: what needs no file */
  readonly builtin: readonly string[]
  readonly read: (path: string) => Uint8Array
}

export interface KernelModule {
  readonly name: string
  readonly path: string
  readonly content: Uint8Array
}

const SIGNATURE_MARK = '~Module signature appended~\n'
/** struct module_signature: 12 bytes, the last four the length of the signature in front of it, big-endian */
const SIGNATURE_RECORD_BYTES = 12

/** The modules named and all that they depend on, each once, dependencies first. Throws for an unknown name. */
export function resolveModules(names: readonly string[], tree: ModuleTree): KernelModule[] {
  const files = new Map(tree.paths.map((path) => [moduleName(path), path]))
  const builtin = new Set(tree.builtin.map(moduleName))
  const resolved = new Map<string, KernelModule>()
  const visit = (wanted: string, chain: readonly string[]): void => {
    const name = moduleName(wanted)
    if (resolved.has(name) || builtin.has(name)) return
    if (chain.includes(name)) throw new Error(`kernel modules: ${[...chain, name].join(' -> ')} is a loop`)
    const path = files.get(name)
    if (path === undefined) throw new Error(`kernel modules: there is no ${[...chain, name].join(' -> ')}`)
    const content = tree.read(path)
    for (const { key, value } of moduleInfo(content)) {
      if (key !== 'depends') continue
      for (const needed of value.split(',').filter(Boolean)) visit(needed, [...chain, name])
    }
    resolved.set(name, { name, path, content })
  }
  for (const name of names) visit(name, [])
  return [...resolved.values()]
}

/**
 * The module without its appended signature: hashing the modules is a third of all the work of a boot. The package
 * that the file comes from was verified; Debian's kernel loads unsigned modules and marks itself tainted.
 */
export function withoutSignature(module: Uint8Array): Uint8Array {
  const mark = new TextEncoder().encode(SIGNATURE_MARK)
  const record = module.length - mark.length - SIGNATURE_RECORD_BYTES
  if (record < 0 || !mark.every((byte, i) => module[module.length - mark.length + i] === byte)) return module
  const signatureBytes = new DataView(module.buffer, module.byteOffset + record).getUint32(8)
  return signatureBytes <= record ? module.subarray(0, record - signatureBytes) : module
}

/** `kernel/fs/ext4/ext4.ko.xz` -> `ext4`; the kernel does not tell `-` from `_` in names. */
function moduleName(path: string): string {
  return path
    .replace(/^.*\//, '')
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_')
}
