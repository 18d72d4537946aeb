// The list of the files that the page's Linux view loads: written by demo-assets.ts in Node, read by the page's worker.
// The names of all but the list itself change with their content, so a browser may keep them for good. Portable.

/** Beside the files it lists. */
export const MANIFEST_NAME = 'manifest.json'
const FORMAT = 1

export interface DemoFile {
  readonly name: string
  /** as it lies there */
  readonly bytes: number
}

export interface DemoManifest {
  readonly format: number
  /** of v86: the saved machine goes on in this version alone */
  readonly v86: string
  /** the Debian packages in the saved machine, with their versions */
  readonly packages: Readonly<Record<string, string>>
  readonly files: {
    /** saved-machine.ts: stopped before it looks at its disk */
    readonly machine: DemoFile
    /** the first disk, gzip */
    readonly image: DemoFile & { readonly unpackedBytes: number }
    /** v86.wasm, gzip */
    readonly wasm: DemoFile & { readonly unpackedBytes: number }
    /** libv86.mjs, as it is */
    readonly library: DemoFile
    /** v86's licence, for whoever hosts the files */
    readonly licence: DemoFile
  }
}

const PLAIN_NAME = /^[\w-]+(\.[\w-]+)+$/
const PACKED = ['image', 'wasm'] as const
const ALL = ['machine', 'library', 'licence', ...PACKED] as const
/** No file is as large: a list that says so is damaged. */
const BYTES_MAX = 2 ** 31

export function makeManifest(parts: Omit<DemoManifest, 'format'>): DemoManifest {
  return { format: FORMAT, ...parts }
}

/** Throws an Error with one line that names what is wrong. */
export function readManifest(text: string): DemoManifest {
  const manifest = parse(text)
  if (manifest?.format !== FORMAT) {
    fail(`has format ${JSON.stringify(manifest?.format)}, this page reads ${FORMAT}: make both with the same vblk`)
  }
  if (typeof manifest.v86 !== 'string') fail('does not say which v86 the machine was saved with')
  for (const name of ALL) {
    const file: Partial<DemoFile> | undefined = manifest.files?.[name]
    if (typeof file?.name !== 'string' || !PLAIN_NAME.test(file.name)) fail(`names no file for "${name}"`)
    if (!isSize(file.bytes)) fail(`has no size for "${name}"`)
  }
  for (const name of PACKED) if (!isSize(manifest.files?.[name]?.unpackedBytes)) fail(`has no unpacked size of ${name}`)
  return manifest as DemoManifest
}

function parse(text: string): Partial<DemoManifest> | null {
  try {
    return JSON.parse(text) as Partial<DemoManifest> | null
  } catch {
    return fail('is not JSON')
  }
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < BYTES_MAX
}

function fail(what: string): never {
  throw new Error(`${MANIFEST_NAME} ${what}`)
}
