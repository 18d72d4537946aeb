// One disk on a worker's real thread, in one call: shared guest RAM, a scripted back end (or a file), the worker, the
// disk, the raw driver over it; and the end of all of it, whatever the test did. Waiting goes through until().

import { pathToFileURL } from 'node:url'
import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { Raw } from '../../host/driver/raw.ts'
import type { RawQueue } from '../../host/driver/raw-queue.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import type { WorkerDisk, WorkerDiskOptions } from '../../host/loop/worker-disk.ts'
import { diskBytes } from './device.ts'
import { Script } from './script.ts'
import type { ScriptedOptions } from './scripted.module.ts'
import { sleep, within } from './within.ts'

/** Ample for anything that happens at all, on a machine with other things to do. */
const PATIENCE_MS = 10_000

/** The file that a module of test/support was built to. */
export function builtModule(name: string): URL {
  return pathToFileURL(`build/test/support/${name}.module.js`)
}

/** Waits until the condition holds. */
export async function until(what: string, condition: () => boolean, ms = PATIENCE_MS): Promise<void> {
  let over = false
  const poll = async (): Promise<void> => {
    while (!over && !condition()) await sleep(1)
  }
  try {
    await within(ms, poll(), what)
  } finally {
    over = true
  }
}

/** within() with the patience of these tests. */
export function soon<Value>(what: string, promise: Promise<Value>): Promise<Value> {
  return within(PATIENCE_MS, promise, what)
}

export interface WorkerSetUp {
  /** bytes of the disk. Default 64 KiB. Its content is diskByte(). */
  diskBytes?: number
  ramBytes?: number
  /** the back end promises its answers */
  late?: boolean
  /** more options of the scripted back end */
  script?: Partial<ScriptedOptions>
  /** the disk's options */
  disk?: Partial<WorkerDiskOptions>
}

export interface ScriptedDisk {
  readonly disk: WorkerDisk
  readonly script: Script
  readonly memory: GuestMemory
  readonly raw: Raw
}

export class WorkerFixture implements ScriptedDisk {
  readonly worker: DiskWorker
  /** messages to onFailure so far */
  readonly failures: string[]
  readonly disk: WorkerDisk
  readonly script: Script
  readonly memory: GuestMemory
  readonly raw: Raw
  readonly #scripts: Script[]

  constructor(worker: DiskWorker, failures: string[], first: ScriptedDisk) {
    this.worker = worker
    this.failures = failures
    this.disk = first.disk
    this.script = first.script
    this.memory = first.memory
    this.raw = first.raw
    this.#scripts = [first.script]
  }

  /** One more disk on the same worker. */
  async attach(options: WorkerSetUp = {}): Promise<ScriptedDisk> {
    const more = await attach(this.worker, options)
    this.#scripts.push(more.script)
    return more
  }

  counter(name: keyof WorkerDisk['counters']): number {
    return this.disk.counters[name]
  }

  /** A copy of all guest RAM, to compare with a later one. */
  ram(): Buffer {
    return Buffer.from(this.memory.view(0, this.memory.regions[0]?.bytes ?? 0))
  }

  async close(): Promise<void> {
    for (const script of this.#scripts) {
      script.mode = 'work'
      script.slowMs = 0
      script.open()
    }
    this.disk.resume()
    await soon('the worker to close', this.worker.close())
  }
}

async function attach(worker: DiskWorker, options: WorkerSetUp): Promise<ScriptedDisk> {
  const script = Script.create(diskBytes(0, options.diskBytes ?? 64 << 10), options.script?.id, options.script?.log)
  const memory = GuestMemory.create({ ramBytes: options.ramBytes ?? 1 << 20, shared: true, stateBytes: 4 << 20 })
  const scripted: ScriptedOptions = { ...options.script, ...script.data, late: options.late ?? false }
  const backend = { module: builtModule('scripted'), options: scripted }
  const disk = await soon('attach', worker.attach({ backend, ...options.disk, memory }))
  return { disk, script, memory, raw: new Raw({ mmio: disk, memory }) }
}

export async function setUpWorker(options: WorkerSetUp = {}): Promise<WorkerFixture> {
  const failures: string[] = []
  const worker = await DiskWorker.create({ onFailure: (message) => failures.push(message) })
  try {
    return new WorkerFixture(worker, failures, await attach(worker, options))
  } catch (error) {
    await soon('the worker to close', worker.close())
    throw error
  }
}

/** A test with a disk on a worker, which is closed after it. */
export function onWorker(
  test: Test,
  name: string,
  options: WorkerSetUp,
  run: (fixture: WorkerFixture) => Promise<void>,
): void {
  test(name, async () => {
    const fixture = await setUpWorker(options)
    try {
      await within(2 * PATIENCE_MS, run(fixture), name)
    } finally {
      await fixture.close()
    }
  })
}

/** Waits until the device has published `count` elements in all. */
export async function used(queue: RawQueue, count: number): Promise<void> {
  await until(`${count} used elements`, () => queue.usedIdx === (count & 0xffff))
}

/** The device serves a read: the proof that it is alive. */
export async function servesOnWorker({ raw, script }: ScriptedDisk, about = 'read'): Promise<void> {
  const { queue, status } = raw.negotiate()
  assert.is(status, 0x0f, `${about}: status after bring-up`)
  const read = queue.run({ type: 0, sector: 3, dataIn: 512 })
  await used(queue, 1)
  assert.equal([read.status(), read.usedLen(), read.intact()], [0, 513, true], about)
  assert.equal(read.data(), Uint8Array.from(script.data.disk.subarray(1536, 2048)), about)
}
