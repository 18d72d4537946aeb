// The Linux view: Debian in v86 with a terminal, its disk on the engine of this page, and what the disk is doing. The
// guest is in a worker (linux-worker.ts); here is what people see of it and do with it.

import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ThrottleOptions } from '../../device/throttle.ts'
import type { ViewProps } from '../app.tsx'
import { openTrace } from '../open-trace.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { download } from '../ui/files.ts'
import { type Sample, WINDOW_SECONDS } from './chart-data.ts'
import { Charts } from './charts.tsx'
import { LinuxClient } from './client.ts'
import { DiskPanel } from './disk-panel.tsx'
import { Limits } from './limits.tsx'
import type { DiskFacts, News, Phase, Reply, RequestRow, Storage } from './messages.ts'
import { RecordingPanel } from './recording-panel.tsx'
import { Requests } from './requests.tsx'
import { Terminal, type TerminalHandle } from './terminal.tsx'

const ROWS_SHOWN = 200
const EXAMPLES: readonly (readonly [name: string, typed: string])[] = [
  ['Write 8 MiB', 'dd if=/dev/zero of=/mnt/big bs=1M count=8; sync\n'],
  ['Read it back', 'echo 3 >/proc/sys/vm/drop_caches; cat /mnt/big >/dev/null\n'],
  ['List files', 'ls -l /mnt\n'],
  ['Power off', 'poweroff\n'],
]
const LOADING: Phase = { name: 'loading', text: 'starting', done: 0, total: 0 }

export default function LinuxView({ isShown }: ViewProps) {
  const client = useRef<LinuxClient | undefined>(undefined)
  const terminal = useRef<TerminalHandle | undefined>(undefined)
  const limits = useRef<ThrottleOptions>({})
  const drawn = useRef<VNode | undefined>(undefined)
  const heading = useRef<HTMLHeadingElement>(null)
  const [phase, setPhase] = useState<Phase>(LOADING)
  const [disk, setDisk] = useState<DiskFacts>()
  const [samples, setSamples] = useState<readonly Sample[]>([])
  const [rows, setRows] = useState<readonly RequestRow[]>([])
  const [problem, setProblem] = useState<string>()

  useEffect(() => () => client.current?.close(), [])

  const hear = (news: Exclude<News, Reply>): void => {
    if (news.kind === 'console') {
      const { bytes } = news
      terminal.current?.write(bytes, () => client.current?.shown(bytes.length))
    } else if (news.kind === 'phase') setPhase(news.phase)
    else if (news.kind === 'disk') {
      setDisk(news.disk)
      setRows([])
      terminal.current?.clear() // the guest that had the one before is gone
    } else if (news.kind === 'note') setProblem(news.text)
    else {
      const sample = { time: performance.now() / 1000, statistics: news.statistics, limits: limits.current }
      setSamples((before) => [...before.filter(({ time }) => time > sample.time - WINDOW_SECONDS - 1), sample])
      if (news.requests.length > 0) {
        setRows((before) => [...[...news.requests].reverse(), ...before].slice(0, ROWS_SHOWN))
      }
    }
  }

  /** Another disk means another start: that is to be seen. */
  const restart = (work: (client: LinuxClient) => Promise<unknown>): void => {
    heading.current?.scrollIntoView()
    void attempt(work)
  }

  /** Tells what went wrong, where nothing else does. */
  const attempt = async (work: (client: LinuxClient) => Promise<unknown>): Promise<void> => {
    setProblem(undefined)
    try {
      if (client.current === undefined) throw new Error('there is no machine: try again above first')
      await work(client.current)
    } catch (error) {
      setProblem((error as Error).message)
    }
  }

  const start = (storage: Storage): void => {
    if (client.current === undefined) {
      client.current = new LinuxClient(hear, (text) => {
        client.current = undefined
        setPhase({ name: 'failed', text })
      })
      setLimits(limits.current).catch(() => {}) // of a worker before this one; a failure is told above
    }
    const { rows = 24, columns = 80 } = terminal.current ?? {}
    const base = new URL('linux/', document.baseURI).href
    setPhase(LOADING)
    setRows([])
    terminal.current?.clear()
    // What goes wrong mostly comes as a phase too, and before.
    client.current.order({ kind: 'start', base, storage, rows, columns }).catch(({ message }: Error) => {
      setPhase((before) => (before.name === 'loading' ? { name: 'failed', text: message } : before))
    })
  }

  /** The button that was pressed goes, and would take the keyboard's focus with it. */
  const startAgain = (storage: Storage): void => {
    heading.current?.focus()
    start(storage)
  }

  const setLimits = async (given: ThrottleOptions): Promise<void> => {
    await client.current?.order({ kind: 'limits', limits: given })
    limits.current = given
  }

  const last = samples.at(-1)?.statistics
  const recording = last?.recording
  const isRunning = phase.name === 'running'
  const openAt = (number: number, at: number, title: string, head?: number): void => {
    void attempt(async (linux) => openTrace((await linux.trace(number)).bytes, { at, title, head }))
  }

  // What is out of sight is not drawn again: the guest goes on, and there is news four times a second.
  if (!isShown && drawn.current) return drawn.current
  drawn.current = (
    <>
      <h1 ref={heading} tabIndex={-1}>
        Linux
      </h1>
      <p>
        Debian’s kernel in v86, a PC in WebAssembly, going on from a saved machine. Its disk <code>/dev/vda</code> is
        the engine of this page. What the guest has synced is there after a reload. What it has not is lost, as in a
        power cut, and ext4 puts itself right from its journal.
      </p>
      <PhaseBar phase={phase} onStart={startAgain} storage={disk?.storage ?? 'opfs'} />
      {problem !== undefined && (
        <p class="notice bad" role="alert">
          {problem}
        </p>
      )}
      <div class="linux-grid" hidden={phase.name === 'missing'}>
        <section class="card console" aria-label="Console">
          <Terminal
            onReady={(handle) => {
              terminal.current = handle
              start('opfs')
            }}
            onInput={(bytes) => client.current?.type(bytes)}
          />
          <div class="toolbar center small">
            <span class="muted">Type for me:</span>
            {EXAMPLES.map(([name, typed]) => (
              <ActionButton key={name} isDisabled={!isRunning} onClick={() => client.current?.type(typed)}>
                {name}
              </ActionButton>
            ))}
          </div>
        </section>
        <Charts samples={samples} />
        <Requests
          rows={rows}
          oldestRecording={(recording?.number ?? 1) - 1}
          onOpen={({ recording: number, step, head, operation }) =>
            openAt(number, step, `a ${operation} of Linux (recording ${number})`, head)
          }
        />
        <div class="panels">
          <Limits onSet={setLimits} />
          <RecordingPanel
            recording={recording}
            isRunning={isRunning}
            onNew={() => void attempt((linux) => linux.order({ kind: 'record' }))}
            onDownload={() =>
              void attempt(async (linux) => {
                if (!recording) return
                const { bytes } = await linux.trace(recording.number)
                download(`linux-${recording.number}.trace`, [bytes as Uint8Array<ArrayBuffer>])
              })
            }
            onOpen={() => recording && openAt(recording.number, 0, `Linux (recording ${recording.number})`)}
          />
          <DiskPanel
            disk={disk}
            isBusy={phase.name === 'loading'}
            onImport={(file) => {
              restart((linux) => linux.order({ kind: 'import', file }))
            }}
            onExport={() =>
              void attempt(async (linux) => download('disk.img', [(await linux.order({ kind: 'export' })) as Blob]))
            }
            onFresh={() => {
              restart((linux) => linux.order({ kind: 'fresh' }))
            }}
          />
        </div>
      </div>
    </>
  )
  return drawn.current
}

interface PhaseBarProps {
  readonly phase: Phase
  readonly storage: Storage
  readonly onStart: (storage: Storage) => void
}

function PhaseBar({ phase, storage, onStart }: PhaseBarProps) {
  switch (phase.name) {
    case 'running':
      return (
        <p role="status" class="phase">
          <span class="tag good">running</span>
        </p>
      )
    case 'loading':
      return (
        <div class="phase">
          <p role="status">
            <span class="tag wait">{phase.text.replace(/:.*/, '')}</span>
          </p>
          <progress aria-label={phase.text} {...(phase.total > 0 && { value: phase.done, max: phase.total })} />
          <span class="small muted num">{/: (.*)/.exec(phase.text)?.[1]}</span>
        </div>
      )
    case 'ended':
      return (
        <div class="notice toolbar center" role="status">
          <span>{phase.text}</span>
          <button type="button" class="primary" onClick={() => onStart(storage)}>
            Start again
          </button>
        </div>
      )
    case 'failed':
      return (
        <div class="notice bad toolbar center" role="alert">
          <span>{phase.text}</span>
          <button type="button" onClick={() => onStart(storage)}>
            Try again
          </button>
        </div>
      )
    case 'locked':
      return (
        <div class="notice wait toolbar center" role="alert">
          <span>The disk is open in another tab of this browser, and one at a time can use it.</span>
          <button type="button" class="primary" onClick={() => onStart('opfs')}>
            Try again
          </button>
          <button type="button" onClick={() => onStart('memory')}>
            Use a fresh disk in memory
          </button>
        </div>
      )
    case 'missing':
      if (phase.reason !== undefined) {
        return (
          <div class="notice wait" role="alert">
            <p>
              This page was served without Linux: {phase.reason}. Start the server again when that is changed. The other
              views work without it.
            </p>
          </div>
        )
      }
      return (
        <div class="notice wait" role="alert">
          <p>
            The saved machine is not here ({phase.text}). It is made of Debian’s packages on a machine with{' '}
            <code>apt</code>: run <code>npx vblk demo</code> there, or <code>npx vblk demo --out FOLDER</code> for
            another web server. The other views work without it.
          </p>
        </div>
      )
  }
}
