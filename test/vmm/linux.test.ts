// Debian's Linux, booted twice in v86 over a VirtioBlk: once with a writable disk and a script, once with the same
// disk read-only and a terminal. Each boot is made by the first test that needs it; the others look at what it left.
// Needs the guest's files (fetched with apt if the cache has none) and v86; without them the file says so and has no
// tests.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryBackend } from '../../host/backend/memory.ts'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import { type GuestAssets, guestAssets } from '../../host/vmm/debian.ts'
import { bootLinux, startLinux } from '../../host/vmm/linux-boot.ts'
import type { LinuxGuest, LinuxResult } from '../../host/vmm/linux-guest.ts'
import { loadV86 } from '../../host/vmm/v86-node.ts'
import type { V86Runtime } from '../../host/vmm/v86-types.ts'
import { sleep } from '../support/within.ts'

const run = promisify(execFile)
const DISK_BYTES = 64 << 20
const IOPS = 50
const TIMED_READS = 150
const TIMEOUT_MS = 120_000

interface Written {
  result: LinuxResult
  disk: VirtioBlk
  bytes: Uint8Array
}

const WRITE_SCRIPT = `
set -e
echo "sectors $(cat /sys/block/vda/size) ro $(cat /sys/block/vda/ro) serial $(cat /sys/block/vda/serial)"
dd if=/dev/urandom of=/tmp/data bs=64k count=48 2>/dev/null
mkfs.ext4 -q -L from-guest /dev/vda
mount -t ext4 /dev/vda /mnt
cp /tmp/data /mnt/data
cp /bin/busybox /mnt/busybox
mkdir /mnt/many
for i in $(seq 100); do echo "file $i" >/mnt/many/$i; done
sync
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 /dev/vda /mnt
echo "written $(sha256sum </tmp/data)"
echo "read $(/mnt/busybox sha256sum </mnt/data)"
echo "files $(cat /mnt/many/* | sort -u | wc -l)"
umount /mnt
echo "throttle now"
sleep 1
dd if=/dev/vda of=/dev/null bs=4k count=$((2 * ${IOPS})) iflag=direct 2>/dev/null
read start rest </proc/uptime
dd if=/dev/vda of=/dev/null bs=4k count=${TIMED_READS} iflag=direct 2>/dev/null
read end rest </proc/uptime
echo "timed $start $end"
exit 37
`

async function prepare(): Promise<{ assets: GuestAssets; runtime: V86Runtime } | undefined> {
  try {
    const runtime = await loadV86()
    return { runtime, assets: await guestAssets() }
  } catch (error) {
    if (!(error instanceof Error) || !/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    console.log(`skipped: Linux in v86: ${error.message}`)
    return undefined
  }
}

const linux = suite('linux in v86')
const ready = await prepare()

/** The first boot. The limit is set while the guest runs, when its script asks for it. */
async function bootAndWrite(): Promise<Written> {
  assert.ok(ready)
  const backend = new MemoryBackend(DISK_BYTES)
  let disk: VirtioBlk | undefined
  let seen = ''
  const result = await bootLinux({
    ...ready,
    script: WRITE_SCRIPT,
    timeoutMs: TIMEOUT_MS,
    disk: async (memory, onInterrupt) => {
      disk = await VirtioBlk.create({ memory, backend, onInterrupt, serial: 'guest-disk' })
      return disk
    },
    onConsole: (bytes) => {
      const asked = seen.includes('throttle now')
      seen += Buffer.from(bytes).toString()
      if (!asked && seen.includes('throttle now')) disk?.setThrottle({ iops: IOPS, iopsBurst: IOPS })
    },
  })
  assert.ok(disk)
  await disk.close()
  return { result, disk, bytes: backend.bytes }
}

let written: Promise<Written> | undefined
function writable(): Promise<Written> {
  written ??= bootAndWrite()
  return written
}

/** The words after the first word of a line of the script's output. */
async function line(word: string): Promise<string[]> {
  const { result } = await writable()
  const found = result.output.split('\n').find((text) => text.startsWith(`${word} `))
  assert.ok(found, `the guest said nothing about "${word}":\n${result.output}`)
  return found.split(/\s+/).slice(1)
}

linux('boot: a script -> its exit status, its output, and a power-off', async () => {
  const { result } = await writable()
  assert.is(result.exitStatus, 37, result.output)
  assert.not.ok(/vblk:|init: cannot load/.test(result.output), result.output)
  console.log(`\n  shell after ${result.bootSeconds.toFixed(1)} s, power-off after ${result.seconds.toFixed(1)} s`)
})

linux('disk: size, mode and serial -> as the guest sees them', async () => {
  assert.equal(await line('sectors'), [`${DISK_BYTES / 512}`, 'ro', '0', 'serial', 'guest-disk'])
})

linux(
  'read-write: mkfs, write, sync, drop caches, mount again -> the same bytes, programs run from the disk',
  async () => {
    assert.equal(await line('read'), await line('written'))
    assert.equal(await line('files'), ['100'])
    const { counters } = (await writable()).disk
    assert.is(counters.ioErrors + counters.ringFaults + counters.engineTraps + counters.unsupported, 0)
    assert.ok(counters.flushesCompleted > 0 && counters.bytesWritten > 4 << 20)
  },
)

// How exact the limit is shows in virtual time (test/device/throttle-time.test.ts); here the load of the machine counts.
linux('throttle: an IOPS limit -> requests wait, and none fails', async () => {
  const [start, end] = (await line('timed')).map(Number)
  assert.ok(start !== undefined && end !== undefined)
  const rate = TIMED_READS / (end - start)
  console.log(`\n  ${rate.toFixed(2)} requests a second, limit ${IOPS}`)
  const { ioErrors, throttledCount, throttledNanos } = (await writable()).disk.counters
  assert.ok(throttledCount > 0 && throttledNanos > 0)
  assert.is(ioErrors, 0)
})

linux('image: made by the guest -> e2fsck finds nothing, debugfs reads the file back', async () => {
  const { bytes } = await writable()
  const folder = await mkdtemp(join(tmpdir(), 'vblk-linux-'))
  try {
    const image = join(folder, 'disk.img')
    await writeFile(image, bytes)
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    const tools = await run('e2fsck', ['-V'], { env }).then(
      () => true,
      () => false,
    )
    if (!tools) {
      console.log('skipped: e2fsck on the image: e2fsprogs is not installed')
      return
    }
    const { stdout } = await run('e2fsck', ['-fn', image], { env })
    assert.match(stdout, /^from-guest: \d+\/\d+ files/m)
    const file = join(folder, 'data')
    await run('debugfs', ['-R', `dump /data ${file}`, image], { env })
    const sum = createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
    assert.is(sum, (await line('written'))[0])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** A guest at a terminal: type, and wait for what it prints. */
class Terminal {
  text = ''
  guest: LinuxGuest | undefined

  async answer(pattern: RegExp, typed?: string | Uint8Array): Promise<string> {
    const from = this.text.length
    if (typed !== undefined) this.guest?.serialWrite(typed)
    for (const end = performance.now() + TIMEOUT_MS; performance.now() < end; await sleep(20)) {
      const found = pattern.exec(this.text.slice(typed === undefined ? 0 : from))
      if (found) return found[1] ?? found[0]
    }
    throw new Error(`the guest did not print ${pattern}:\n${this.text}`)
  }
}

linux('read-only and terminal: writes refused, flush and reads work, Ctrl-C reaches the guest', async () => {
  assert.ok(ready)
  const { bytes } = await writable()
  const before = createHash('sha256').update(bytes).digest('hex')
  const terminal = new Terminal()
  let disk: VirtioBlk | undefined
  terminal.guest = await startLinux({
    ...ready,
    timeoutMs: TIMEOUT_MS,
    disk: async (memory, onInterrupt) => {
      disk = await VirtioBlk.create({ memory, backend: new MemoryBackend(bytes), onInterrupt, readOnly: true })
      return disk
    },
    onConsole: (output) => {
      terminal.text += Buffer.from(output).toString()
    },
  })
  await terminal.answer(/guest:\/# /)
  assert.is(await terminal.answer(/ro=(\d)\r/, 'echo ro=$(cat /sys/block/vda/ro)\n'), '1')
  const write = 'dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=notrunc,fsync 2>&1; echo "rc=$?"\n'
  const refused = await terminal.answer(/([\s\S]*)rc=1\r/, write)
  assert.match(refused, /Operation not permitted|Read-only file system/)
  const flushed = disk?.counters.flushesCompleted ?? 0
  const flush = 'dd if=/dev/null of=/dev/vda conv=notrunc,fsync 2>/dev/null; sync; echo "rc=$?"\n'
  assert.is(await terminal.answer(/rc=(\d+)\r/, flush), '0')
  assert.ok((disk?.counters.flushesCompleted ?? 0) > flushed, 'the flush reached the device')
  const mount = 'mount -t ext4 -o ro /dev/vda /mnt; echo "sum=$(sha256sum </mnt/data)"\n'
  assert.is(await terminal.answer(/sum=(\w{64})/, mount), (await line('written'))[0])
  assert.match(await terminal.answer(/touch: .*\r/, 'touch /mnt/new\n'), 'Read-only file system')
  terminal.guest.serialWrite('sleep 1000\n')
  await sleep(1000)
  assert.is(await terminal.answer(/rc=(\d+)\r/, Uint8Array.of(3, ...Buffer.from('echo "rc=$?"\n'))), '130')
  terminal.guest.serialWrite('exit 7\n')
  const result = await terminal.guest.finished
  assert.is(result.exitStatus, 7)
  const counters = disk?.counters
  assert.equal([counters?.writesCompleted, counters?.ioErrors, counters?.engineTraps], [0, 0, 0])
  await disk?.close()
  assert.is(createHash('sha256').update(bytes).digest('hex'), before, 'not a byte of the disk has changed')
})

if (ready) linux.run()
