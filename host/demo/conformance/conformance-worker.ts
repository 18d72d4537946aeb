// Runs the conformance kit, and replays traces, beside the page, so that the page stays live. One task at a time, in
// the order they came; results go out as they come.

import type { Result } from '../../conformance/outcome.ts'
import { type OwnOptions, ownTarget } from '../../conformance/own-target.ts'
import { runConformance } from '../../conformance/run.ts'
import { replay } from '../../replay/player.ts'
import { Recorder } from '../../replay/recorder.ts'
import { Trace } from '../../replay/trace.ts'
import { ownOptions, playOptions } from './flavour-options.ts'
import type { Flavour } from './flavours.ts'
import { type Answer, parseRequest, type Recording, type Reply, type Task } from './messages.ts'

/** The longest check fills some 10 MB; a recording ends here, the check does not. */
const RECORDING_MAX = 256 << 20

type Tell = (answer: Answer) => void

let busy = Promise.resolve()

addEventListener('message', ({ data }: MessageEvent<unknown>) => {
  const { job, task } = parseRequest(data)
  const tell: Tell = (answer) => postMessage({ job, answer } satisfies Reply)
  busy = busy.then(async () => {
    try {
      await perform(task, tell)
      tell({ kind: 'done' })
    } catch (error) {
      tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    }
  })
})

async function perform(task: Task, tell: Tell): Promise<void> {
  if (task.kind === 'replay') return await replayOn(task.flavours, task.file, tell)
  if (task.kind === 'record') return await record(task.flavour, task.id, tell)
  const chosen = task.id === undefined ? {} : { id: task.id }
  await runConformance(ownTarget(ownOptions(task.flavour)), {
    ...chosen,
    onResult: (result) => tell({ kind: 'result', result }),
  })
}

async function record(flavour: Flavour, id: string, tell: Tell): Promise<void> {
  let recorder: Recorder | undefined
  const [result] = await runConformance(
    async (kind) => {
      // The kit asks a device for its offer before it makes the one that it checks: the last one it is.
      recorder = new Recorder({ maxBytes: RECORDING_MAX })
      const options: OwnOptions = ownOptions(flavour, recorder.engine)
      return await ownTarget(options)(kind)
    },
    { id },
  )
  if (result === undefined) throw new Error(`there is no rule '${id}'`)
  const recording = isChecked(result) && recorder ? await recordingOf(recorder.trace()) : undefined
  tell({ kind: 'recorded', result, recording })
}

function isChecked({ outcome }: Result): boolean {
  return outcome === 'passed' || outcome === 'failed'
}

async function recordingOf(trace: Trace): Promise<Recording> {
  return { file: await trace.bytes(), at: firstAccess(trace) }
}

/** Number of the first step that touches guest memory: what comes before is the bring-up. 0 if none does. */
function firstAccess({ steps }: Trace): number {
  return Math.max(
    steps.findIndex(({ events }) => events.length > 0),
    0,
  )
}

async function replayOn(flavours: readonly Flavour[], file: Uint8Array, tell: Tell): Promise<void> {
  const trace = await Trace.parse(file)
  tell({ kind: 'read', steps: trace.steps.length, digest: trace.digest, at: firstAccess(trace) })
  for (const flavour of flavours) tell({ kind: 'replayed', flavour, replayed: replay(trace, playOptions(flavour)) })
}
