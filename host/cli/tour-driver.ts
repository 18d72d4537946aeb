// The tour without Linux, for machines where its packages cannot be had: VirtioBlkDriver does the same work over
// guest RAM of its own. Everything it prints says so.

import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FileBackend } from '../backend/file.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import { VirtioBlk } from '../device/virtio-blk.ts'
import { VirtioBlkDriver } from '../driver/driver.ts'
import { bytesText } from './counters.ts'
import type { Progress } from './progress.ts'

/** What a tour did with the disk. */
export interface Tour {
  /** lines for the user: what was done, and how fast */
  report: string[]
  device: VirtioBlk
}

const FILES = 4
const FILE_BYTES = 2 << 20
const FILE_SECTORS = FILE_BYTES / 512

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export async function tourWithDriver(
  backend: FileBackend,
  path: string,
  progress: Progress,
  reason: string,
): Promise<Tour> {
  process.stderr.write(`\nWITHOUT LINUX: ${reason}\nThe same work is done by a driver in TypeScript instead.\n\n`)
  const memory = GuestMemory.create({ ramBytes: 32 << 20 })
  const device = await VirtioBlk.create({ memory, backend })
  const driver = await VirtioBlkDriver.probe({ mmio: device, memory })
  progress.done(`driver (not Linux): ${await driver.getId()}, ${driver.capacitySectors} sectors`)

  const files = Array.from({ length: FILES }, () => new Uint8Array(randomBytes(FILE_BYTES)))
  progress.start(`driver (not Linux): writing ${FILES} times ${bytesText(FILE_BYTES)}, flushing`)
  const writing = performance.now()
  for (const [i, file] of files.entries()) await driver.write(i * FILE_SECTORS, file)
  await driver.flush()
  const written = performance.now() - writing
  progress.done('driver (not Linux): written and flushed')

  await driver.reset()
  const reading = performance.now()
  for (const [i, file] of files.entries()) {
    const back = await driver.read(i * FILE_SECTORS, FILE_BYTES)
    if (sha256(back) !== sha256(file)) throw new Error(`piece ${i} reads back differently`)
  }
  const read = performance.now() - reading
  progress.done(`driver (not Linux): ${FILES} pieces read back after a reset, checksums equal`)

  const image = readFileSync(path)
  for (const [i, file] of files.entries()) {
    const at = i * FILE_BYTES
    if (sha256(image.subarray(at, at + FILE_BYTES)) !== sha256(file)) throw new Error(`piece ${i} is not in the image`)
  }
  progress.done(`host: ${FILES} pieces found in the image file, checksums equal`)
  await driver.close()
  const rate = (ms: number): string => `${((FILES * FILE_BYTES) / 2 ** 20 / (ms / 1000)).toFixed(0)} MiB/s`
  return {
    device,
    report: [
      `WITHOUT LINUX (a driver in TypeScript), for ${bytesText(FILES * FILE_BYTES)}:`,
      `  written and flushed ${rate(written)}`,
      `  read and compared   ${rate(read)}`,
    ],
  }
}
