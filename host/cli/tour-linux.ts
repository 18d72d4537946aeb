// The tour with Linux: the script that runs in the guest, and what the host makes of what it prints. The guest
// reports one `vblk:` line per step; files are looked for in the image by their first bytes and compared by SHA-256.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FileBackend } from '../backend/file.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import { bootLinux, type LinuxImages } from '../vmm/linux-boot.ts'
import { LinuxGuestError } from '../vmm/linux-guest.ts'
import type { V86Runtime } from '../vmm/v86-types.ts'
import { bytesText } from './counters.ts'
import type { Progress } from './progress.ts'
import type { Tour } from './tour-driver.ts'

const TIMEOUT_MS = 5 * 60_000
const FILES = 4
const FILE_MIB = 2
const FILE_BYTES = FILE_MIB << 20
/** ext4's block: files start on one. */
const BLOCK = 4096
const FIRST_BYTES = 32

// One block group (4 KiB blocks, 64 MiB), so a file written in one go lies in one piece.
const SCRIPT = `set -e
say() { echo "vblk:$*"; }
say kernel "$(uname -sr)"
dmesg | grep -E 'virtio_blk|vda' | sed 's/^\\[ *[0-9.]*\\] //' | while read line; do say vda "$line"; done
say step making an ext4 filesystem on /dev/vda
mkfs.ext4 -q -b ${BLOCK} /dev/vda
mkdir -p /mnt
mount -t ext4 /dev/vda /mnt
cd /tmp
for i in ${Array.from({ length: FILES }, (_, i) => i + 1).join(' ')}; do head -c ${FILE_BYTES} /dev/urandom >file$i; done
sha256sum file* >sums
say step writing ${FILES} files of ${FILE_MIB} MiB and syncing
start=$(cut -d' ' -f1 /proc/uptime)
cp file* /mnt
sync
say synced $start $(cut -d' ' -f1 /proc/uptime)
cd /mnt
say step dropping the caches and reading back
echo 3 >/proc/sys/vm/drop_caches
start=$(cut -d' ' -f1 /proc/uptime)
cat file* >/dev/null
say reread $start $(cut -d' ' -f1 /proc/uptime)
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c /tmp/sums >/tmp/check && say compared $(grep -c OK /tmp/check)
for i in file*; do say file $i $(sha256sum $i | cut -d' ' -f1) $(head -c ${FIRST_BYTES} $i | hexdump -ve '1/1 "%02x"'); done
cd /
umount /mnt
say step done
`

interface GuestFile {
  name: string
  sha256: string
  firstBytes: string
}

/** What the guest has said so far. */
class GuestReport {
  readonly values = new Map<string, string[]>()
  #line = ''
  readonly #onStep: (step: string) => void

  constructor(onStep: (step: string) => void) {
    this.#onStep = onStep
  }

  push(bytes: Uint8Array): void {
    this.#line += Buffer.from(bytes).toString('latin1')
    const lines = this.#line.split(/\r?\n/)
    this.#line = lines.pop() ?? ''
    for (const line of lines) {
      const [, key, value] = /^vblk:(\w+) ?(.*)$/.exec(line.trim()) ?? []
      if (key === undefined || value === undefined) continue
      if (key === 'step') this.#onStep(value)
      else this.values.set(key, [...(this.values.get(key) ?? []), value])
    }
  }

  get files(): GuestFile[] {
    return (this.values.get('file') ?? []).map((line) => {
      const [name = '', sha256 = '', firstBytes = ''] = line.split(' ')
      return { name, sha256, firstBytes }
    })
  }

  /** MiB per second between the two times of a line, by the guest's clock. */
  rate(key: string): string {
    const [from, to] = (this.values.get(key)?.[0] ?? '').split(' ').map(Number)
    const seconds = Number(to) - Number(from)
    return seconds > 0 ? `${((FILES * FILE_MIB) / seconds).toFixed(1)} MiB/s` : `less than 10 ms`
  }
}

export async function tourWithLinux(
  backend: FileBackend,
  path: string,
  progress: Progress,
  linux: { runtime: V86Runtime; assets: LinuxImages },
): Promise<Tour> {
  let device: VirtioBlk | undefined
  progress.start('booting Linux in v86')
  let step = ''
  const guest = new GuestReport((next) => {
    if (step === '') progress.done(`Linux is up: ${guest.values.get('kernel')?.[0]}`)
    else progress.done(step)
    if (step === '')
      for (const line of guest.values.get('vda') ?? []) process.stderr.write(`       guest kernel: ${line}\n`)
    step = next
    if (next !== 'done') progress.start(`guest: ${next}`)
  })
  const result = await bootLinux({
    ...linux,
    script: SCRIPT,
    timeoutMs: TIMEOUT_MS,
    onConsole: (bytes) => guest.push(bytes),
    disk: async (memory, onInterrupt) => {
      device = await VirtioBlk.create({ memory, backend, onInterrupt })
      return device
    },
  })
  const compared = Number(guest.values.get('compared')?.[0])
  if (result.exitStatus !== 0 || compared !== FILES || device === undefined) {
    throw new LinuxGuestError(`the script in the guest ended with status ${result.exitStatus}`, result.output)
  }
  progress.done(`guest: ${compared} files read back from the disk, checksums equal`)
  progress.start('looking for the same bytes in the image file')
  backend.flush()
  const found = findFiles(readFileSync(path), guest.files)
  progress.done(`host: ${found} files found in the image file, checksums equal`)
  return {
    device,
    report: [
      `by the guest's clock, for ${bytesText(FILES * FILE_BYTES)}:`,
      `  written and synced  ${guest.rate('synced')}`,
      `  read, caches empty  ${guest.rate('reread')}`,
    ],
  }
}

/** Number of files found whole in the image; throws if one is missing or differs. */
function findFiles(image: Buffer, files: GuestFile[]): number {
  if (files.length !== FILES) throw new Error(`the guest reported ${files.length} files, not ${FILES}`)
  for (const { name, sha256, firstBytes } of files) {
    const wanted = Buffer.from(firstBytes, 'hex')
    let at = image.indexOf(wanted)
    while (at >= 0 && at % BLOCK !== 0) at = image.indexOf(wanted, at + 1)
    if (at < 0) throw new Error(`${name} of the guest is not in the image file`)
    const digest = createHash('sha256')
      .update(image.subarray(at, at + FILE_BYTES))
      .digest('hex')
    if (digest !== sha256) throw new Error(`${name}: the image file has other bytes than the guest read (${digest})`)
  }
  return files.length
}
