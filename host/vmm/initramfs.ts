// Builds initial RAM file systems: cpio archives in the "newc" form that Linux unpacks at boot, and the sequence of
// them that a boot needs. Linux takes several archives one after another, later files replacing earlier ones, with
// one rule: the ACPI tables are searched in the first one, which must not be compressed. So a boot's initramfs is
// [ACPI tables][base, made once][script of this boot]. Portable; knows nothing of what the files are for.

/** A file, directory, symbolic link or device node of an initramfs. Permissions have the usual defaults. */
export type CpioEntry =
  | { readonly path: string; readonly file: Uint8Array | string; readonly mode?: number }
  | { readonly path: string; readonly directory: true; readonly mode?: number }
  | { readonly path: string; readonly symlink: string }
  | { readonly path: string; readonly device: 'char' | 'block'; readonly major: number; readonly minor: number }

interface Record {
  readonly path: string
  readonly mode: number
  readonly links: number
  readonly body: Uint8Array
  readonly major: number
  readonly minor: number
}

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFBLK = 0o060000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

const HEADER_BYTES = 110
const TRAILER = 'TRAILER!!!'
/** Linux skips zeros between two archives as long as each begins on a multiple of 4; cpio itself pads to 512. */
const ARCHIVE_ALIGN = 512
/** Where ACPI_TABLE_UPGRADE looks. */
const ACPI_FOLDER = 'kernel/firmware/acpi'

const encoder = new TextEncoder()

/** Writes one archive. Parent directories that are not listed are added; a path may appear once. */
export function cpio(entries: readonly CpioEntry[]): Uint8Array {
  const records = withParents(entries)
  records.push({ path: TRAILER, mode: 0, links: 1, body: new Uint8Array(), major: 0, minor: 0 })
  const names = records.map(({ path }) => encoder.encode(`${path}\0`))
  let bytes = 0
  records.forEach(({ body }, i) => {
    bytes += align4(HEADER_BYTES + (names[i]?.length ?? 0)) + align4(body.length)
  })
  const archive = new Uint8Array(Math.ceil(bytes / ARCHIVE_ALIGN) * ARCHIVE_ALIGN)
  let at = 0
  records.forEach((record, i) => {
    const name = names[i] as Uint8Array
    archive.set(encoder.encode(header(record, record.path === TRAILER ? 0 : i + 1, name.length)), at)
    archive.set(name, at + HEADER_BYTES)
    at += align4(HEADER_BYTES + name.length)
    archive.set(record.body, at)
    at += align4(record.body.length)
  })
  return archive
}

/** The archive that carries ACPI tables; must be the first of an initramfs. */
export function acpiArchive(tables: readonly Uint8Array[]): Uint8Array {
  return cpio(tables.map((table, i) => ({ path: `${ACPI_FOLDER}/ssdt${i}.aml`, file: table })))
}

/** Puts archives one after another, each on a multiple of 512 bytes. Only those after the first may be compressed. */
export function concatArchives(archives: readonly Uint8Array[]): Uint8Array {
  const starts: number[] = []
  let end = 0
  for (const archive of archives) {
    const start = Math.ceil(end / ARCHIVE_ALIGN) * ARCHIVE_ALIGN
    starts.push(start)
    end = start + archive.length
  }
  const whole = new Uint8Array(end)
  archives.forEach((archive, i) => {
    whole.set(archive, starts[i])
  })
  return whole
}

function withParents(entries: readonly CpioEntry[]): Record[] {
  const records: Record[] = []
  const seen = new Set<string>()
  const add = (record: Record): void => {
    seen.add(record.path)
    records.push(record)
  }
  for (const entry of entries) {
    const path = entry.path.replace(/^\/+|\/+$/g, '')
    const parts = path.split('/')
    if (parts.some((part) => part === '' || part === '.' || part === '..')) {
      throw new RangeError(`cpio: not a path inside the archive: '${entry.path}'`)
    }
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/')
      if (!seen.has(parent)) add(recordOf({ path: parent, directory: true }, parent))
    }
    if (seen.has(path)) {
      if ('directory' in entry) continue
      throw new RangeError(`cpio: '${path}' appears twice`)
    }
    add(recordOf(entry, path))
  }
  return records
}

function recordOf(entry: CpioEntry, path: string): Record {
  const plain = { path, links: 1, body: new Uint8Array(), major: 0, minor: 0 }
  if ('file' in entry) {
    const body = typeof entry.file === 'string' ? encoder.encode(entry.file) : entry.file
    return { ...plain, mode: S_IFREG | (entry.mode ?? 0o644), body }
  }
  if ('directory' in entry) return { ...plain, mode: S_IFDIR | (entry.mode ?? 0o755), links: 2 }
  if ('symlink' in entry) return { ...plain, mode: S_IFLNK | 0o777, body: encoder.encode(entry.symlink) }
  const mode = (entry.device === 'char' ? S_IFCHR : S_IFBLK) | 0o600
  return { ...plain, mode, major: entry.major, minor: entry.minor }
}

/** 6 characters of magic and 13 fields of 8 hexadecimal digits. Owner is root, time is 0: same input, same bytes. */
function header(record: Record, inode: number, nameBytes: number): string {
  const { mode, links, body, major, minor } = record
  const fields = [inode, mode, 0, 0, links, 0, body.length, 0, 0, major, minor, nameBytes, 0]
  return `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
}

function align4(value: number): number {
  return (value + 3) & ~3
}
