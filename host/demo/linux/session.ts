// The guest of the Linux view, from its files to its end: loads, opens the disk, resumes the machine, counts, and does
// what the page orders. The worker is a shell around it (linux-worker.ts). One machine at a time; the disk outlives it,
// so that what was powered off can be started again, exported or replaced.
//
// A disk is replaced by stopping the machine, because a guest has parts of a mounted disk in its memory. The saved
// machine has not mounted one yet, whatever its disk.

import { MemoryBackend } from '../../backend/memory.ts'
import type { BlockBackend } from '../../backend/types.ts'
import type { ThrottleOptions } from '../../device/throttle.ts'
import { demoGreeting } from '../../vmm/demo-guest.ts'
import { resumeLinux } from '../../vmm/linux-boot.ts'
import type { LinuxGuest, LinuxResult } from '../../vmm/linux-guest.ts'
import type { V86Machine } from '../../vmm/v86.ts'
import { Activity } from './activity.ts'
import { DiskLockedError, DiskStore, type ImageSource, type StoreFolder } from './disk-store.ts'
import { bytesText } from './format.ts'
import { bytesSource, checkImage, fileSource, imageOf, MEMORY_DISK_MAX } from './images.ts'
import { FilesMissingError, type LinuxFiles } from './load.ts'
import type { DiskFacts, News, Order, Phase, Storage, TraceFile } from './messages.ts'
import { RecordedDisk } from './recorded-disk.ts'

export interface SessionParts {
  readonly post: (news: News, transfer?: Transferable[]) => void
  /** the folder for the disk; throws where a browser has none */
  readonly folder: () => Promise<StoreFolder>
  /** how many bytes more the browser would keep */
  readonly room: () => Promise<number>
  /** the saved machine, v86 and the first disk */
  readonly load: (base: string, progress: (done: number, total: number) => void) => Promise<LinuxFiles>
  /** after so many requests a recording is followed by the next; default 20,000 */
  readonly recordingRequests?: number
}

type Start = Extract<Order, { kind: 'start' }>

const STATISTICS_MS = 250
const PROGRESS_MS = 50
/** A recording is ended there and the next begins: a page that opens a longer one stands still for seconds. */
const RECORDING_BYTES = 8 << 20
const RECORDING_REQUESTS = 20_000
/** The machine stands still while so much of the console is not on the screen yet. */
const UNSHOWN_MAX = 256 << 10
/** Of the console, for errors; the page has all of it. */
const OUTPUT_MAX = 64 << 10

export class Session {
  readonly #parts: SessionParts
  readonly #base: { files?: Promise<LinuxFiles> } = {}
  #start: Start | undefined
  #store: DiskStore | undefined
  #backend: BlockBackend | undefined
  #guest: LinuxGuest<V86Machine> | undefined
  #disk: RecordedDisk | undefined
  #limits: ThrottleOptions = {}
  #activity = new Activity()
  #timer: ReturnType<typeof setInterval> | undefined
  #reported = 0
  #toldProgress = 0
  #isBusy = false
  #unshown = 0
  #isPaused = false
  #recordings = 0
  /** the last that was to end because it was long */
  #ended = 0
  /** where it stood before something was begun that can fail */
  #settled: Phase = { name: 'ended', text: '' }

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  /** Never rejects: what goes wrong is told. */
  async take(order: Order): Promise<void> {
    if (order.kind === 'input') {
      this.#guest?.serialWrite(order.bytes)
      return
    }
    if (order.kind === 'shown') {
      this.#shown(order.bytes)
      return
    }
    const { id } = order
    try {
      const result = await this.#do(order)
      const transfer = result === undefined || result instanceof Blob ? [] : [result.bytes.buffer as ArrayBuffer]
      this.#parts.post({ kind: 'done', id, ...(result && { result }) }, transfer)
    } catch (error) {
      this.#parts.post({ kind: 'refused', id, reason: lineOf(error) })
    }
  }

  async #do(order: Exclude<Order, { kind: 'input' | 'shown' }>): Promise<TraceFile | Blob | undefined> {
    switch (order.kind) {
      case 'start':
        await this.#alone(() => this.#begin(order))
        return undefined
      case 'limits':
        this.#limits = order.limits
        this.#disk?.setThrottle(order.limits)
        return undefined
      case 'record':
        await this.#newRecording()
        return undefined
      case 'trace':
        return this.#trace(order.recording)
      case 'export':
        if (this.#backend === undefined) throw new Error('there is no disk to export')
        return imageOf(this.#backend)
      case 'import':
        await this.#alone(() => this.#import(order.file))
        return undefined
      case 'fresh':
        await this.#alone(() => this.#fresh())
        return undefined
    }
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    if (this.#isBusy) throw new Error('something else is being done with the machine; wait for that first')
    this.#isBusy = true
    try {
      await work()
    } finally {
      this.#isBusy = false
    }
  }

  #tell(phase: Phase): void {
    if (phase.name !== 'loading') this.#settled = phase
    this.#parts.post({ kind: 'phase', phase })
  }

  /** Not of every piece: the page draws each. */
  #loading(text: string, done = 0, total = 0): void {
    const now = performance.now()
    if (done > 0 && done < total && now - this.#toldProgress < PROGRESS_MS) return
    this.#toldProgress = now
    this.#tell({ name: 'loading', text, done, total })
  }

  // Starting -----------------------------------------------------------------------------------------------

  async #begin(order: Start): Promise<void> {
    if (this.#guest !== undefined) throw new Error('the machine is running already')
    this.#start = order
    try {
      const files = await this.#files(order.base)
      this.#backend ??= await this.#open(order.storage, files)
      await this.#run(files, order)
    } catch (error) {
      if (error instanceof FilesMissingError) {
        const { message: text, reason } = error
        this.#tell({ name: 'missing', text, ...(reason !== undefined && { reason }) })
      } else if (error instanceof DiskLockedError) this.#tell({ name: 'locked' })
      else this.#tell({ name: 'failed', text: lineOf(error) })
      throw error
    }
  }

  /** Once; what failed is tried again. */
  #files(base: string): Promise<LinuxFiles> {
    const known = this.#base.files
    if (known) return known
    this.#loading('loading the saved machine')
    const files = this.#parts.load(base, (done, total) => {
      const text = `loading the saved machine: ${bytesText(done)} of ${bytesText(total)}`
      this.#loading(text, done, total)
    })
    this.#base.files = files
    files.catch(() => {
      delete this.#base.files
    })
    return files
  }

  async #open(storage: Storage, files: LinuxFiles): Promise<BlockBackend> {
    this.#loading('opening the disk')
    let reason: string | undefined
    if (storage === 'opfs') {
      try {
        const store = new DiskStore(await this.#parts.folder())
        const backend = await store.open(async () => bytesSource(await files.image()))
        this.#store = store
        this.#tellDisk({ storage: 'opfs', bytes: backend.capacityBytes })
        return backend
      } catch (error) {
        if (error instanceof DiskLockedError) throw error
        reason = lineOf(error)
      }
    }
    const backend = new MemoryBackend(await files.image())
    this.#tellDisk({ storage: 'memory', bytes: backend.capacityBytes, ...(reason !== undefined && { reason }) })
    return backend
  }

  #tellDisk(disk: DiskFacts): void {
    this.#parts.post({ kind: 'disk', disk })
  }

  async #run(files: LinuxFiles, { rows, columns }: Start): Promise<void> {
    this.#loading('resuming the machine')
    const { saved, runtime } = files
    const backend = this.#backend as BlockBackend
    const activity = new Activity()
    this.#activity = activity
    let disk: RecordedDisk | undefined
    const guest = await resumeLinux({
      runtime,
      saved,
      outputMax: OUTPUT_MAX,
      onConsole: (bytes) => this.#print(bytes),
      disk: async (memory, onInterrupt) => {
        const number = this.#recordings + 1
        disk = await RecordedDisk.restore({
          snapshot: saved.disk,
          memory,
          backend,
          onInterrupt,
          number,
          onFailure: (text) => this.#parts.post({ kind: 'note', text }),
          onStep: (recording, step, what) => activity.step(recording, step, what),
        })
        disk.setThrottle(this.#limits)
        return disk
      },
    })
    this.#guest = guest
    this.#isPaused = false
    this.#disk = disk
    this.#recordings = disk?.recording.number ?? 0
    guest.serialWrite(demoGreeting(rows, columns, Date.now()))
    this.#reported = performance.now()
    const report = (): void => {
      this.#report().catch((error) => this.#parts.post({ kind: 'note', text: lineOf(error) }))
    }
    this.#timer = setInterval(report, STATISTICS_MS)
    this.#tell({ name: 'running' })
    void this.#attend(guest)
  }

  async #attend(guest: LinuxGuest<V86Machine>): Promise<void> {
    const phase = await guest.finished.then(
      ({ exitStatus }: LinuxResult): Phase => {
        return { name: 'ended', text: exitStatus === null ? 'The machine was stopped.' : 'The guest powered off.' }
      },
      (error: unknown): Phase => ({ name: 'failed', text: lineOf(error) }),
    )
    if (this.#guest !== guest) return // stopped for another disk
    await this.#halt(this.#backend).then(
      () => this.#tell(phase),
      (error) => this.#tell({ name: 'failed', text: lineOf(error) }),
    )
  }

  /** The machine goes, its disk stays. */
  async #halt(backend: BlockBackend | undefined): Promise<void> {
    const guest = this.#guest
    this.#guest = undefined
    clearInterval(this.#timer)
    await guest?.stop()
    await this.#report()
    await this.#disk?.close()
    await backend?.flush()
  }

  #print(bytes: Uint8Array): void {
    this.#unshown += bytes.length
    this.#parts.post({ kind: 'console', bytes }, [bytes.buffer as ArrayBuffer])
    if (this.#unshown <= UNSHOWN_MAX || this.#guest === undefined) return
    this.#isPaused = true
    this.#guest.machine.pause()
  }

  #shown(bytes: number): void {
    this.#unshown = Math.max(0, this.#unshown - bytes)
    if (!this.#isPaused || this.#unshown > UNSHOWN_MAX / 2) return
    this.#isPaused = false
    this.#guest?.machine.goOn()
  }

  // While it runs ------------------------------------------------------------------------------------------

  async #report(): Promise<void> {
    const disk = this.#disk
    const now = performance.now()
    const seconds = (now - this.#reported) / 1000
    if (disk === undefined || seconds <= 0) return
    this.#reported = now
    const { rates, rows } = this.#activity.report(seconds, disk.counters, disk.inFlight)
    const { recorder, number, begun } = disk.recording
    const { steps, bytes, isFull } = recorder
    const requests = this.#activity.requests
    const recording = { number, begun, requests, steps, bytes }
    this.#parts.post({ kind: 'statistics', statistics: { ...rates, recording }, requests: rows })
    const { recordingRequests = RECORDING_REQUESTS } = this.#parts
    const isLong = bytes > RECORDING_BYTES || requests > recordingRequests || isFull
    // Once: if it cannot be followed by another, it goes on, and people can try.
    if (!isLong || this.#guest === undefined || this.#ended === number) return
    this.#ended = number
    await this.#newRecording()
  }

  async #newRecording(): Promise<void> {
    if (this.#disk === undefined || this.#guest === undefined) throw new Error('the machine does not run')
    await this.#disk.startRecording()
    this.#recordings = this.#disk.recording.number
  }

  async #trace(number: number): Promise<TraceFile> {
    const recording = this.#disk?.recordingOf(number)
    if (recording === undefined) {
      throw new Error(`recording ${number} is no longer kept: only the present one and the one before are`)
    }
    const trace = recording.recorder.trace()
    return { bytes: await trace.bytes(), steps: trace.steps.length, digest: trace.digest }
  }

  // Another disk -------------------------------------------------------------------------------------------

  async #import(file: File): Promise<void> {
    await checkImage(file, this.#store ? await this.#parts.room() : MEMORY_DISK_MAX)
    await this.#replace(fileSource(file), `importing ${file.name}`)
  }

  async #fresh(): Promise<void> {
    const files = await this.#base.files
    if (files === undefined) throw new Error('the machine was never started')
    await this.#replace(bytesSource(await files.image()), 'making a fresh disk')
  }

  /** The new disk is complete before anything happens to the machine and the old one. */
  async #replace(source: ImageSource, text: string): Promise<void> {
    const start = this.#start
    const files = await this.#base.files
    if (start === undefined || files === undefined) throw new Error('the machine was never started')
    const backend = await this.#make(source, (done) => this.#loading(text, done, source.bytes)).catch((error) => {
      this.#tell(this.#settled)
      throw error
    })
    // At once: it is what the next visit opens, so whatever fails from here, it is what is started again.
    const old = this.#backend
    this.#backend = backend
    try {
      await this.#halt(old).finally(async () => {
        this.#tellDisk({ storage: this.#store ? 'opfs' : 'memory', bytes: backend.capacityBytes })
        await old?.close?.()
        await this.#store?.tidy()
      })
      await this.#run(files, start)
    } catch (error) {
      this.#tell({ name: 'failed', text: lineOf(error) })
      throw error
    }
  }

  async #make(source: ImageSource, progress: (done: number) => void): Promise<BlockBackend> {
    if (this.#store) return this.#store.replace(source, progress)
    const bytes = new Uint8Array(source.bytes)
    let at = 0
    for await (const piece of source.pieces()) {
      bytes.set(piece, at)
      at += piece.length
      progress(at)
    }
    return new MemoryBackend(bytes)
  }
}

function lineOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.split('\n')[0] || 'it failed and did not say why'
}
