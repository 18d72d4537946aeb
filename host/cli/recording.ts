// The trace of `vblk boot --record FILE`: asked for before the boot, written when the guest has ended, however it did.

import { Recorder } from '../replay/recorder.ts'
import { isTrace } from '../replay/trace.ts'
import { checkOutputFile, type OutputFile, writeOutputFile } from './output-file.ts'

export class Recording {
  readonly recorder: Recorder
  readonly #file: OutputFile

  /** `shared`: the disk is served by several threads. */
  constructor(path: string, shared: boolean) {
    this.#file = fileAt(path)
    this.recorder = new Recorder({ shared })
  }

  /** Throws UsageError if the trace could not go there. */
  static check(path: string, disk: string): void {
    checkOutputFile(fileAt(path), disk)
  }

  /** Returns what there is to say about it. */
  async write(): Promise<string> {
    const trace = this.recorder.trace()
    const bytes = await trace.bytes()
    const { path } = this.#file
    writeOutputFile(this.#file, bytes, 'the trace is lost')
    const rest = this.recorder.isFull ? '; the recording ended there, before the guest did' : ''
    return `recorded ${trace.steps.length} steps in ${path}, ${(bytes.length / 1e3).toFixed(1)} kB${rest}; look at it with: vblk trace ${path}`
  }
}

function fileAt(path: string): OutputFile {
  return { option: 'record', path, what: 'trace', isOne: isTrace }
}
