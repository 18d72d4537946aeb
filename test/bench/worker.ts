// What a disk on a worker thread costs: from the kick to the completion interrupt, 4 KiB reads of a file on tmpfs, the
// driver on this thread and the worker on its own; requests per second, CPU and system calls per request; 1, 8 and 64
// disks on one worker. The measure beside it is an eventfd round trip between two threads, in the same run.
//
// `node build/test/bench/worker.js`. System calls are counted by strace, where it is installed.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import * as spec from '../../assembly/spec.ts'
import { createImage } from '../../host/backend/image.ts'
import { GuestMemory } from '../../host/device/guest-memory.ts'
import { DiskWorker } from '../../host/loop/disk-worker.ts'
import type { WorkerDisk } from '../../host/loop/worker-disk.ts'
import { Epoll } from '../../host/sys/epoll.ts'
import { EventFd, signalEventFd, takeEventFd } from '../../host/sys/eventfd.ts'
import { BenchGuest, type Layout } from './guest.ts'

const RAM_BYTES = 16 << 20
const DISK_BYTES = 1 << 30
const CHILD = 'VBLK_BENCH_REQUESTS'

const depth = (chains: number): Layout => ({ name: `${chains}`, title: `depth ${chains}`, segments: 1, chains })

/** A driver that offers a batch, kicks once and sleeps until the interrupt. */
class BenchDriver {
  readonly disk: WorkerDisk
  readonly #guest: BenchGuest
  readonly #used: Uint16Array
  readonly #epoll = Epoll.create()
  #seen = 0

  constructor(disk: WorkerDisk, memory: GuestMemory, chains: number) {
    this.disk = disk
    const ram = memory.view(0, RAM_BYTES)
    this.#guest = new BenchGuest(ram, depth(chains))
    this.#used = new Uint16Array(ram.buffer, ram.byteOffset + 0x3000, 2)
    this.#guest.start((offset, value) => disk.mmioWrite(offset, 4, value))
    this.#epoll.add(disk.interruptFd, 1)
  }

  kick(): number {
    const count = this.#guest.refill()
    this.#seen = (this.#seen + count) & 0xffff
    this.disk.mmioWrite(spec.VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0)
    return count
  }

  /** Sleeps until everything offered is used. */
  wait(): void {
    while (Atomics.load(this.#used, 1) !== this.#seen) {
      this.#epoll.wait(-1)
      takeEventFd(this.disk.interruptFd)
    }
    this.disk.mmioWrite(spec.VIRTIO_MMIO_INTERRUPT_ACK, 4, 1)
  }

  close(): void {
    this.#epoll.close()
  }
}

async function attach(worker: DiskWorker, path: string, chains: number) {
  const memory = GuestMemory.create({ ramBytes: RAM_BYTES, shared: true, stateBytes: 1 << 20 })
  const disk = await worker.attach({ memory, backend: { file: path, lock: false } })
  return new BenchDriver(disk, memory, chains)
}

function quantiles(samples: Float64Array): string {
  const sorted = samples.slice().sort()
  const at = (share: number): string => micros(sorted[Math.floor(sorted.length * share)] as number)
  return `p50 ${at(0.5)}  p99 ${at(0.99)}  p99.9 ${at(0.999)}`
}

const micros = (ms: number): string => `${(ms * 1000).toFixed(1).padStart(6)} us`

function sample(count: number, run: () => void): Float64Array {
  const samples = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const start = performance.now()
    run()
    samples[i] = performance.now() - start
  }
  return samples
}

// The measure ------------------------------------------------------------------------------------------------

/** The other end of the round trip: answers every signal, ends when the answer cannot be given. */
function echo({ ask, answer }: { ask: number; answer: number }): void {
  const epoll = Epoll.create()
  epoll.add(ask, 1)
  for (;;) {
    epoll.wait(-1)
    takeEventFd(ask)
    if (signalEventFd(answer) !== 0) return
  }
}

async function roundTrip(): Promise<Float64Array> {
  const ask = EventFd.create()
  const answer = EventFd.create()
  const thread = new Worker(fileURLToPath(import.meta.url), { workerData: { ask: ask.fd, answer: answer.fd } })
  await new Promise((resolve) => thread.once('online', resolve))
  const epoll = Epoll.create()
  epoll.add(answer.fd, 1)
  const once = (): void => {
    ask.signal()
    epoll.wait(-1)
    answer.take()
  }
  sample(5000, once)
  const samples = sample(20000, once)
  // The other end finds its way out closed.
  epoll.remove(answer.fd)
  answer.close()
  const ended = new Promise((resolve) => thread.once('exit', resolve))
  ask.signal()
  await ended
  for (const fd of [epoll, ask]) fd.close()
  return samples
}

// Contests ---------------------------------------------------------------------------------------------------

async function latency(worker: DiskWorker, path: string, chains: number): Promise<void> {
  const driver = await attach(worker, path, chains)
  const once = (): void => {
    driver.kick()
    driver.wait()
  }
  sample(5000, once)
  const count = chains === 1 ? 40000 : 5000
  const cpu = process.cpuUsage()
  const start = performance.now()
  const samples = sample(count, once)
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const requests = count * chains
  console.log(
    `depth ${String(chains).padStart(2)}: ${quantiles(samples)}   ${Math.round(requests / seconds)} requests/s, ` +
      `${((user + system) / requests).toFixed(2)} us CPU per request on both threads`,
  )
  driver.close()
  await driver.disk.close()
}

async function scale(path: string, disks: number): Promise<void> {
  const worker = await DiskWorker.create()
  const drivers: BenchDriver[] = []
  const memory = GuestMemory.create({ ramBytes: RAM_BYTES, shared: true, stateBytes: (disks + 1) << 20 })
  // The first pays for the thread's code; what comes after is what a disk costs.
  const first = await worker.attach({ memory, backend: { file: path, lock: false } })
  const before = process.memoryUsage.rss()
  const descriptors = (): number =>
    spawnSync('ls', [`/proc/${process.pid}/fd`])
      .stdout.toString()
      .split('\n').length
  const fds = descriptors()
  for (let i = 0; i < disks; i++) drivers.push(await attach(worker, path, 1))
  const bytes = (process.memoryUsage.rss() - before) / disks
  const perDisk = (descriptors() - fds) / disks
  const round = (): void => {
    for (const driver of drivers) driver.kick()
    for (const driver of drivers) driver.wait()
  }
  sample(Math.ceil(4000 / disks), round)
  const rounds = Math.ceil(40000 / disks)
  const start = performance.now()
  for (let i = 0; i < rounds; i++) round()
  const seconds = (performance.now() - start) / 1000
  console.log(
    `${String(disks).padStart(2)} disks, one request each: ${Math.round((rounds * disks) / seconds)} requests/s; ` +
      `per disk ${(bytes / 1024).toFixed(0)} KiB resident (its guest's pages of this bench included), ${perDisk} descriptors`,
  )
  for (const driver of drivers) driver.close()
  await first.close()
  await worker.close()
}

/** System calls of a run with so many requests, by name, of all threads. */
function straced(path: string, requests: number, chains: number): Map<string, number> | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-bench-'))
  const output = join(folder, 'strace')
  const child = spawnSync('strace', ['-f', '-c', '-o', output, process.execPath, fileURLToPath(import.meta.url)], {
    env: { ...process.env, [CHILD]: `${requests} ${chains} ${path}` },
    stdio: 'inherit',
  })
  const text = child.status === 0 ? readFileSync(output, 'utf8') : ''
  rmSync(folder, { recursive: true })
  if (text === '') return undefined
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/))
  return new Map(rows.filter((row) => row.length >= 5).map((row) => [row.at(-1) as string, Number(row[3])]))
}

function systemCalls(path: string): void {
  for (const chains of [1, 32]) {
    const few = straced(path, 2000, chains)
    const many = straced(path, 6000, chains)
    if (few === undefined || many === undefined) {
      console.log('system calls: not counted, strace is missing (apt-get install strace)')
      return
    }
    const requests = 4000
    const names = ['epoll_wait', 'read', 'pread64', 'write', 'futex']
    const parts = names.map((name) => {
      const calls = ((many.get(name) ?? 0) - (few.get(name) ?? 0)) / requests
      return `${name} ${calls.toFixed(2)}`
    })
    console.log(`system calls per request at depth ${chains}, driver and worker: ${parts.join(', ')}`)
  }
}

async function child(requests: number, chains: number, path: string): Promise<void> {
  const worker = await DiskWorker.create()
  const driver = await attach(worker, path, chains)
  for (let i = 0; i < requests; i += chains) {
    driver.kick()
    driver.wait()
  }
  driver.close()
  await worker.close()
}

async function main(): Promise<void> {
  const path = `/dev/shm/vblk-bench-${process.pid}-worker.img`
  createImage(path, DISK_BYTES)
  try {
    console.log(`eventfd round trip, two threads: ${quantiles(await roundTrip())}`)
    const worker = await DiskWorker.create()
    for (const chains of [1, 32]) await latency(worker, path, chains)
    await worker.close()
    for (const disks of [1, 8, 64]) await scale(path, disks)
    systemCalls(path)
  } finally {
    rmSync(path)
  }
}

const task = process.env[CHILD]?.split(' ')
if (!isMainThread) echo(workerData)
else if (task) await child(Number(task[0]), Number(task[1]), task[2] as string)
else await main()
