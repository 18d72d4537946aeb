// The guest's disk with a recording that can be begun anew while the guest runs: a thin register window, and behind it
// a VirtioBlk whose engine a Recorder watches. A recording begins with a device's init(), so a new one means a new
// device, restored from a snapshot of the old. That happens between two turns of the machine, which sees nothing of
// it: a back end that answers at once has nothing in flight then, and a restore waits for nothing but microtasks. If
// it fails, the old device and its recording go on. The back end stays its owner's.

import { VIRTQ_AVAIL_IDX } from '../../../assembly/spec.ts'
import type { BlockBackend } from '../../backend/types.ts'
import { GuestMemory } from '../../device/guest-memory.ts'
import { decodeSnapshot } from '../../device/snapshot.ts'
import type { ThrottleOptions } from '../../device/throttle.ts'
import { VirtioBlk } from '../../device/virtio-blk.ts'
import type { Counters } from '../../engine/state.ts'
import { Recorder } from '../../replay/recorder.ts'
import type { Step } from '../../replay/step.ts'

export interface Recording {
  /** counts from 1 */
  readonly number: number
  readonly recorder: Recorder
  /** ms of the wall clock */
  readonly begun: number
}

export interface RecordedDiskOptions {
  /** VirtioBlk.snapshot() of the disk as the guest left it */
  readonly snapshot: Uint8Array
  readonly memory: GuestMemory
  /** must answer at once */
  readonly backend: BlockBackend
  readonly onInterrupt: () => void
  /** one line, when service ends for good */
  readonly onFailure: (message: string) => void
  /** of a recording that is there: none is told of before its device is restored */
  readonly onStep: (recording: Recording, step: number, what: Step) => void
  /** of the first recording, default 1 */
  readonly number?: number
}

/** A recording of the page ends long before: see session.ts. */
const RECORDING_MAX = 256 << 20

export class RecordedDisk {
  readonly #options: RecordedDiskOptions
  readonly #memory: GuestMemory
  readonly #backend: BlockBackend
  /** undefined while another one takes its place */
  #device: VirtioBlk | undefined
  #recording: Recording | undefined
  #before: Recording | undefined
  /** v86 never takes memory back: two blocks, of the present device and of the next */
  readonly #blocks: { ptr: number; bytes: number }[] = []
  #next = 0

  private constructor(options: RecordedDiskOptions) {
    this.#options = options
    this.#memory = this.#withTwoStates(options.memory)
    const { backend } = options
    this.#backend = {
      capacityBytes: backend.capacityBytes,
      inPlace: backend.inPlace ?? false,
      read: (offset, into) => backend.read(offset, into),
      write: (offset, from) => backend.write(offset, from),
      flush: () => backend.flush(),
    }
  }

  static async restore(options: RecordedDiskOptions): Promise<RecordedDisk> {
    const disk = new RecordedDisk(options)
    await disk.#begin(options.number ?? 1, options.snapshot)
    return disk
  }

  mmioRead(offset: number, width: number): number {
    return this.#present.mmioRead(offset, width)
  }

  mmioWrite(offset: number, width: number, value: number): void {
    this.#present.mmioWrite(offset, width, value)
  }

  get counters(): Counters {
    return this.#present.counters
  }

  /**
   * Requests that the guest has put into the ring and that are not answered: those that wait for tokens, which the
   * engine does not look at before it has some.
   */
  get inFlight(): number {
    const [queue] = decodeSnapshot(this.#present.snapshot()).queues
    if (queue?.ready !== 1n) return 0
    const avail = this.#memory.view(Number(queue.availGpa) + VIRTQ_AVAIL_IDX, 2)
    return ((avail[0] as number) + (avail[1] as number) * 256 - Number(queue.nextUsed)) & 0xffff
  }

  setThrottle(limits: ThrottleOptions): void {
    this.#present.setThrottle(limits)
  }

  get recording(): Recording {
    return this.#recording as Recording
  }

  /** This one or the one before: of older ones nothing is kept. */
  recordingOf(number: number): Recording | undefined {
    return [this.#recording, this.#before].find((one) => one?.number === number)
  }

  /**
   * Ends the recording and begins the next. Must not be called from inside a call of the device. If it rejects, the
   * recording goes on.
   */
  async startRecording(): Promise<void> {
    const old = this.#present
    const before = this.recording
    const snapshot = old.snapshot()
    this.#device = undefined
    try {
      await this.#begin(before.number + 1, snapshot)
    } catch (error) {
      this.#device = old
      throw error
    }
    this.#before = before
    void old.close()
  }

  /** Ends the device. The recordings stay. */
  async close(): Promise<void> {
    await this.#device?.close()
  }

  get #present(): VirtioBlk {
    if (this.#device === undefined) throw new Error('the disk was asked for something while it changed its recording')
    return this.#device
  }

  /** A device that goes on from the snapshot, in a recording of its own. Nothing has changed if it rejects. */
  async #begin(number: number, snapshot: Uint8Array): Promise<void> {
    const { onInterrupt, onFailure, onStep } = this.#options
    let isThere = false
    const early: (() => void)[] = []
    const tell = (step: number, what: Step): void => {
      if (isThere) onStep(recording, step, what)
      else early.push(() => onStep(recording, step, what))
    }
    const recorder = new Recorder({ maxBytes: RECORDING_MAX, onStep: tell })
    const recording: Recording = { number, recorder, begun: Date.now() }
    // The machine answers an interrupt by reading the registers, which are not there before the restore has ended.
    let isPending = false
    const interrupt = (): void => {
      if (isThere) onInterrupt()
      else isPending = true
    }
    this.#device = await VirtioBlk.restore(snapshot, {
      memory: this.#memory,
      backend: this.#backend,
      engine: recorder.engine,
      onInterrupt: interrupt,
      onFailure,
      override: ['capacity'],
    })
    this.#recording = recording
    this.#next = 1 - this.#next
    isThere = true
    for (const step of early) step()
    if (isPending) onInterrupt()
  }

  /** Each device gets the block that the present one does not have, zeroed. */
  #withTwoStates(memory: GuestMemory): GuestMemory {
    return GuestMemory.adopt({
      memory: memory.memory,
      regions: memory.regions,
      ...(memory.onWrite && { onWrite: memory.onWrite }),
      allocate: (bytes) => {
        let block = this.#blocks[this.#next]
        if (block === undefined || block.bytes < bytes) block = { ptr: memory.allocate(bytes), bytes }
        this.#blocks[this.#next] = block
        new Uint8Array(memory.memory.buffer, block.ptr, bytes).fill(0)
        return block.ptr
      },
    })
  }
}
