// The golden traces: recordings of every fault of a ring and of a request, and of real guests, replayed here on every
// flavour that this browser runs. Same files and same digests as the project's tests in Node.

import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Replayed } from '../../replay/player.ts'
import { openTrace } from '../open-trace.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { ABOUT, type Flavour, offeredFlavours } from './flavours.ts'
import { Cancelled, KitWorker } from './kit-worker.ts'

/** What each was recorded for. */
const HELD: Readonly<Record<string, string>> = {
  'kvm-guest': 'A test guest on KVM: reads, writes, flushes, a reset, with EVENT_IDX',
  linux: 'Debian’s Linux in v86: a file system made, mounted, written, read again',
  'request-a': 'Descriptors out of order; a header too short; a header outside RAM',
  'request-b': 'A segment above SIZE_MAX; more than SEG_MAX; a total above 4 GiB',
  'request-c': 'Requests without data; flushes with data',
  'request-d': 'Data that is no whole sector, of the wrong direction, or outside RAM',
  'request-e': 'A write to a read-only disk; a flush that has nothing to do',
  'request-f': 'Sectors beyond the end of the disk, and around 2^64',
  'request-g': 'GET_ID with too small a buffer; a type that does not exist',
  'reset-under-load': 'Resets while requests are in flight',
  'ring-avail-idx': 'avail.idx ahead by more than the queue has',
  'ring-head-in-flight': 'A head offered again while it is in flight',
  'ring-head': 'A head outside the descriptor table',
  'ring-indirect': 'INDIRECT, which was not negotiated',
  'ring-loop': 'A chain that loops',
  'ring-next': 'A next outside the descriptor table',
  'ring-no-status': 'A chain without room for the status byte',
  'ring-status-unmapped': 'A status byte outside guest RAM',
  throttled: 'A limited disk: stalls, a clock that jumps back, a smaller disk',
}

/** As the build writes them; anything else is no name of ours. */
const NAME = /^[a-z][a-z0-9-]{0,63}$/

interface Golden {
  readonly name: string
  readonly file?: Uint8Array
  readonly steps?: number
  readonly digest?: string
  readonly at?: number
  readonly replayed: Readonly<Partial<Record<Flavour, Replayed>>>
  readonly error?: string
}

export function GoldenTraces() {
  const [traces, setTraces] = useState<readonly Golden[]>([])
  const [isRunning, setIsRunning] = useState(false)
  const [message, setMessage] = useState('')
  const [error, setError] = useState<string>()
  const worker = useMemo(() => new KitWorker(), [])
  const flavours = offeredFlavours()

  const run = async (): Promise<void> => {
    setIsRunning(true)
    setError(undefined)
    setMessage('Replaying …')
    let all: Golden[] = []
    const change = (name: string, part: Partial<Golden>): void => {
      all = all.map((one) => (one.name === name ? { ...one, ...part } : one))
      setTraces(all)
    }
    try {
      all = (await names()).map((name) => ({ name, replayed: {} }))
      setTraces(all)
      for (const { name } of all) {
        try {
          await replayOne(worker, name, flavours, (part) => change(name, part))
        } catch (reason) {
          if (reason instanceof Cancelled) throw reason
          change(name, { error: textOf(reason) })
        }
      }
      setMessage(verdict(all, flavours))
    } catch (reason) {
      if (reason instanceof Cancelled) return
      setMessage('')
      setError(textOf(reason))
    }
    setIsRunning(false)
  }
  // Once, when they are first looked at.
  useEffect(() => {
    run()
    return () => worker.close()
  }, [])

  return (
    <>
      <p>
        Recordings of what guests did to the device and of all that the engine answered: every load, store, decision,
        result. Each is replayed here on every flavour of the engine that this browser runs, with no guest, no disk and
        no clock. A digest is over all that came in and went out, and the same wherever the recording is replayed.
      </p>
      <section class="card" aria-label="Golden traces">
        <div class="toolbar center">
          <ActionButton class="primary" isDisabled={isRunning} onClick={() => void run()}>
            Replay all
          </ActionButton>
          <p role="status">{message}</p>
        </div>
        {error !== undefined && (
          <p role="alert" class="notice bad">
            {error}
          </p>
        )}
        {!crossOriginIsolated && (
          <p class="notice wait">
            The flavours for shared memory need cross-origin isolation, which this page does not have here: they are
            left out.
          </p>
        )}
        {traces.length > 0 && <Table traces={traces} flavours={flavours} />}
      </section>
    </>
  )
}

function Table({ traces, flavours }: { traces: readonly Golden[]; flavours: readonly Flavour[] }) {
  return (
    <table class="golden">
      <caption class="visually-hidden">The golden traces and how each replays</caption>
      <thead>
        <tr>
          <th scope="col">Trace</th>
          <th scope="col">What it holds</th>
          <th scope="col" class="num">
            Steps
          </th>
          <th scope="col">Digest</th>
          {flavours.map((flavour) => (
            <th key={flavour} scope="col" title={ABOUT[flavour]}>
              {flavour}
            </th>
          ))}
          <th scope="col">
            <span class="visually-hidden">Open</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {traces.map((trace) => (
          <TraceRow key={trace.name} trace={trace} flavours={flavours} />
        ))}
      </tbody>
    </table>
  )
}

function TraceRow({ trace, flavours }: { trace: Golden; flavours: readonly Flavour[] }) {
  const { name, file, steps, digest, at = 0, error } = trace
  return (
    <tr>
      <th scope="row">
        <code>{name}</code>
      </th>
      <td class="held">
        {HELD[name]}
        {error !== undefined && <span class="failed">{error}</span>}
      </td>
      <td class="num steps">{steps}</td>
      <td class="digest">
        <code>{digest}</code>
      </td>
      {flavours.map((flavour) => (
        <td key={flavour} data-label={flavour}>
          <Verdict trace={trace} flavour={flavour} />
        </td>
      ))}
      <td class="open">
        {file !== undefined && digest !== undefined && (
          <button
            type="button"
            aria-label={`Open in Ring: ${name}`}
            onClick={() => openTrace(file, { title: `Golden trace ${name}`, at })}
          >
            Open in Ring
          </button>
        )}
      </td>
    </tr>
  )
}

function Verdict({ trace, flavour }: { trace: Golden; flavour: Flavour }) {
  const replayed = trace.replayed[flavour]
  if (replayed === undefined) return <span class="muted">{trace.error === undefined ? 'waiting' : 'not run'}</span>
  if (replayed.divergence) {
    return (
      <>
        <span class="tag bad">differs</span> <span class="small">{replayed.divergence.message}</span>
      </>
    )
  }
  return isSame(trace, replayed) ? (
    <span class="tag good">same</span>
  ) : (
    <>
      <span class="tag bad">differs</span>{' '}
      <span class="small">
        digest <code>{replayed.digest}</code>
      </span>
    </>
  )
}

function isSame({ digest, steps }: Golden, replayed: Replayed): boolean {
  return replayed.divergence === undefined && replayed.digest === digest && replayed.steps === steps
}

function verdict(traces: readonly Golden[], flavours: readonly Flavour[]): string {
  const same = traces.filter((trace) =>
    flavours.every((flavour) => {
      const replayed = trace.replayed[flavour]
      return replayed !== undefined && isSame(trace, replayed)
    }),
  )
  const where = flavours.length === 1 ? 'on 1 flavour' : `on each of ${flavours.length} flavours`
  return `${same.length} of ${traces.length} traces replay as recorded ${where}.`
}

async function names(): Promise<string[]> {
  const list: unknown = JSON.parse(new TextDecoder().decode(await load('golden/index.json')))
  if (!Array.isArray(list) || !list.every((name): name is string => typeof name === 'string' && NAME.test(name))) {
    throw new Error('golden/index.json is no list of traces: build the page anew')
  }
  return list
}

async function load(path: string): Promise<Uint8Array> {
  const response = await fetch(path).catch(() => undefined)
  if (!response?.ok) {
    throw new Error(`${path} could not be fetched (${response?.status ?? 'no answer'}): is the server still there?`)
  }
  return new Uint8Array(await response.arrayBuffer())
}

async function replayOne(
  worker: KitWorker,
  name: string,
  flavours: readonly Flavour[],
  change: (part: Partial<Golden>) => void,
): Promise<void> {
  const file = await load(`golden/${name}.trace`)
  const replayed: Partial<Record<Flavour, Replayed>> = {}
  await worker.perform({ kind: 'replay', flavours, file }, (answer) => {
    if (answer.kind === 'read') change({ file, steps: answer.steps, digest: answer.digest, at: answer.at })
    if (answer.kind !== 'replayed') return
    replayed[answer.flavour] = answer.replayed
    change({ replayed: { ...replayed } })
  })
}

function textOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}
