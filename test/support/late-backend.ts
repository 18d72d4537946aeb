// A back end that answers when the test says so, in any order: every call is a promise that stays in `pending` until
// the test finishes it, answers nonsense or rejects it. What it did is in `calls`. It keeps the buffers it was given,
// as an io_uring or network back end does, so it does not promise `inPlace`.

import * as assert from 'uvu/assert'
import type { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { type Fixture, type SetUpOptions, setUp } from './device.ts'
import type { Flavour } from './engines.ts'

export interface Pending {
  readonly operation: 'read' | 'write' | 'flush'
  readonly offset: number
  readonly bytes: number
  /** does what was asked, on the disk, and resolves */
  finish(): void
  /** resolves with this, sense or nonsense, and does nothing */
  answer(value: unknown): void
  reject(reason: unknown): void
}

export class LateBackend implements BlockBackend {
  readonly disk: MemoryBackend
  /** calls not yet answered, oldest first */
  readonly pending: Pending[] = []
  /** 'read 512+1024', 'write 0+512', 'flush', in order of the calls */
  readonly calls: string[] = []

  constructor(disk: MemoryBackend) {
    this.disk = disk
  }

  get capacityBytes(): number {
    return this.disk.capacityBytes
  }

  read(offset: number, into: Uint8Array[]): Promise<number> {
    return this.#later('read', offset, into, () => this.disk.read(offset, into))
  }

  write(offset: number, from: Uint8Array[]): Promise<number> {
    return this.#later('write', offset, from, () => this.disk.write(offset, from))
  }

  flush(): Promise<void> {
    return this.#later('flush', 0, [], () => undefined)
  }

  /** Finishes all that is pending, oldest first. */
  finishAll(): void {
    for (const call of [...this.pending]) call.finish()
  }

  #later<Value>(
    operation: Pending['operation'],
    offset: number,
    buffers: Uint8Array[],
    work: () => Value,
  ): Promise<Value> {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    this.calls.push(operation === 'flush' ? 'flush' : `${operation} ${offset}+${bytes}`)
    return new Promise<Value>((resolve, reject) => {
      const end = (act: () => void) => (): void => {
        const at = this.pending.indexOf(call)
        if (at >= 0) this.pending.splice(at, 1)
        act()
      }
      const call: Pending = {
        operation,
        offset,
        bytes,
        finish: end(() => resolve(work())),
        answer: (value) => end(() => resolve(value as Value))(),
        reject: (reason) => end(() => reject(reason))(),
      }
      this.pending.push(call)
    })
  }
}

/** A fixture whose disk answers when the test says so. */
export async function setUpLate(
  flavour: Flavour,
  options: Omit<SetUpOptions, 'backend'> = {},
): Promise<{ fixture: Fixture; backend: LateBackend }> {
  let backend: LateBackend | undefined
  const fixture = await setUp(flavour, {
    ...options,
    backend: (disk) => {
      backend = new LateBackend(disk)
      return backend
    },
  })
  assert.ok(backend)
  return { fixture, backend }
}
