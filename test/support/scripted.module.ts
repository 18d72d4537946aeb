// A back end for a worker's thread that does what a test says through shared memory (script.ts): waits at a gate,
// takes its time, throws, answers nonsense, ends the thread; at once and in place, or late, by promises. Its disk is
// shared memory too, which the test looks at.

import { MemoryBackend } from '../../host/backend/memory.ts'
import type { BlockBackend } from '../../host/backend/types.ts'
import { Script, type ScriptData, type ScriptOperation } from './script.ts'

export interface ScriptedOptions extends ScriptData {
  /** answers by promises. Default false: at once, on the thread, in place. */
  readonly late?: boolean
  /** what the module hands out instead of a back end */
  readonly instead?: unknown
  /** opening ends the thread from the second time on */
  readonly reopenExits?: boolean
  /** opening fails */
  readonly refuse?: string
}

function act<Value>(script: Script, work: () => Value): Value {
  switch (script.mode) {
    case 'throw':
      throw new Error('scripted failure')
    case 'exit':
      return process.exit(7)
    case 'nonsense':
      return Number.NaN as Value
    case 'throwLater':
      setTimeout(() => {
        throw new Error('scripted failure of nobody')
      }, 1)
      return work()
    case 'exitLater':
      setTimeout(() => process.exit(7), 1)
      return work()
    default:
      return work()
  }
}

function pause(ms: number): void {
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

export default function open(options: ScriptedOptions): unknown {
  const script = new Script(options)
  script.arrived('open')
  if (options.refuse !== undefined) throw new RangeError(options.refuse)
  if (options.reopenExits && script.count('open') > 1) process.exit(8)
  if ('instead' in options) return options.instead
  const disk = new MemoryBackend(options.disk)
  const late = options.late ?? false
  const carryOut = <Value>(operation: ScriptOperation, work: () => Value): Value | Promise<Value> => {
    script.arrived(operation)
    if (late) {
      const { slowMs } = script
      const slow = slowMs === 0 ? undefined : new Promise((resolve) => setTimeout(resolve, slowMs))
      return script.whenOpen().then(async () => {
        await slow
        return act(script, work)
      })
    }
    script.wait()
    pause(script.slowMs)
    return act(script, work)
  }
  const backend: BlockBackend = {
    inPlace: !late,
    capacityBytes: disk.capacityBytes,
    read: (offset, into) => carryOut('read', () => disk.read(offset, into)),
    write: (offset, from) => carryOut('write', () => disk.write(offset, from)),
    flush: () => carryOut('flush', () => disk.flush()),
    close: () => script.arrived('close'),
  }
  return backend
}
