// The Ring view: a virtqueue in guest RAM, stepped through load by load and store by store. Here is what stands where,
// and what the address means. Its parts are files of this folder; what they show is made in model/, without a page.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { ViewProps } from '../app.tsx'
import { navigate, routeHash } from '../route.ts'
import { useFocusOnLeaving } from '../ui/focus.ts'
import { Builder } from './builder.tsx'
import { Chain } from './chain.tsx'
import { DeviceStrip } from './device-strip.tsx'
import { FrameList } from './frame-list.tsx'
import { HexView, type Range } from './hex-view.tsx'
import type { Picture } from './model/walk-types.ts'
import { Announcer, NowCard } from './now.tsx'
import { Outcome } from './outcome.tsx'
import { PresetChooser } from './preset-chooser.tsx'
import { RequestList } from './request-list.tsx'
import { Result } from './result.tsx'
import { Rings } from './rings.tsx'
import { OpenFile, Share, useDroppedFiles } from './share.tsx'
import { FIRST_PRESET, type Source, useSource } from './source.ts'
import { useStepper } from './stepper.ts'
import { Throttle } from './throttle.tsx'
import { KeyHelp, Transport } from './transport.tsx'

export default function RingView({ params, isShown }: ViewProps) {
  const loaded = useSource(params)
  const panel = PANELS.find(([name]) => name === params.get('panel'))?.[0] ?? 'step'
  const isOver = useDroppedFiles(isShown)
  // Each kick begins at its first frame, also of what is shown already.
  const [kicks, setKicks] = useState(0)
  const [kicked, setKicked] = useState<string>()
  // What cannot be opened takes nothing away.
  const shown = useRef<Source>(undefined)
  if (loaded.state === 'ready') shown.current = loaded.source
  const source = loaded.state === 'loading' ? undefined : shown.current
  // It is looked at from its beginning, wherever in the page whoever opened it was.
  useEffect(() => {
    if (source) scrollTo({ top: 0, behavior: 'instant' })
  }, [source, kicks])
  // The throttle keeps its time while another panel is shown.
  const hadThrottle = useRef(false)
  hadThrottle.current ||= panel === 'throttle'
  return (
    <>
      <header class="ring-top">
        <h1>See a virtqueue work</h1>
        <Panels panel={panel} params={params} />
        <p class="muted small">
          The driver puts requests into guest RAM, the device takes them from there: every load, store and decision of
          the real engine, one at a time.
        </p>
      </header>
      <div class="panel" hidden={panel !== 'step'}>
        {loaded.state === 'loading' && <p role="status">Running …</p>}
        {loaded.state === 'failed' && <Failed message={loaded.message} />}
        {source && (
          <Stage
            key={kicks}
            source={source}
            isKicked={kicked !== undefined && kicked === params.get('scenario')}
            isShown={isShown && panel === 'step'}
          />
        )}
      </div>
      <div class="panel" hidden={panel !== 'build'}>
        <Builder
          scenario={source?.scenario ?? FIRST_PRESET.scenario}
          onKick={(code) => {
            setKicks(kicks + 1)
            setKicked(code)
            navigate('ring', { scenario: code })
          }}
        />
      </div>
      <div class="panel" hidden={panel !== 'throttle'}>
        {hadThrottle.current && <Throttle isShown={isShown && panel === 'throttle'} />}
      </div>
      {isOver && (
        <p class="drop-hint" aria-hidden="true">
          Drop the .trace file to open it
        </p>
      )}
    </>
  )
}

const PANELS = [
  ['step', 'Step through'],
  ['build', 'Build a request'],
  ['throttle', 'Throttle'],
] as const

/** The address keeps what is stepped through while another panel is shown. */
function Panels({ panel, params }: { panel: string; params: URLSearchParams }) {
  const hash = (name: string): string => {
    const { panel: _, ...others } = Object.fromEntries(params)
    return routeHash('ring', name === 'step' ? others : { ...others, panel: name })
  }
  return (
    <nav class="ring-panels" aria-label="Ring view">
      {PANELS.map(([name, title]) => (
        <a key={name} href={hash(name)} aria-current={name === panel ? 'true' : undefined}>
          {title}
        </a>
      ))}
    </nav>
  )
}

function Failed({ message }: { message: string }) {
  const box = useRef<HTMLDivElement>(null)
  useFocusOnLeaving(box)
  return (
    <div ref={box} class="notice bad" role="alert">
      <p>{message}</p>
      <p class="toolbar">
        <button type="button" class="primary" onClick={() => navigate('ring')}>
          Show the first preset
        </button>
        <OpenFile />
      </p>
    </div>
  )
}

interface StageProps {
  readonly source: Source
  /** it was just built by hand: what came of it is said at once */
  readonly isKicked: boolean
  readonly isShown: boolean
}

function Stage({ source, isKicked, isShown }: StageProps) {
  const { walk } = source
  const stepper = useStepper(walk, source.first)
  const { frame } = stepper
  const picture = useMemo(() => walk.pictureAt(frame.index), [walk, frame])
  return (
    <>
      <div class="card chooser">
        <PresetChooser source={source} />
        <Share source={source} frame={frame.index} />
      </div>
      <Transport stepper={stepper} isShown={isShown} />
      <Announcer stepper={stepper} />
      {isKicked && <Outcome walk={walk} stepper={stepper} />}
      <Result picture={picture} isLast={stepper.isLast} />
      <Floor source={source} stepper={stepper} picture={picture} />
      <KeyHelp />
    </>
  )
}

interface FloorProps {
  source: Source
  stepper: ReturnType<typeof useStepper>
  picture: Picture
}

function Floor({ source, stepper, picture }: FloorProps) {
  const { look, ...hexView } = useLook(picture)
  const { walk, trace, scenario } = source
  const { queue, chain, registers } = picture
  return (
    <div class="floor">
      <div class="memory">
        {scenario === undefined && (
          <p class="muted small not-known">
            ? = not known: a recording holds only the bytes that the engine has loaded or stored so far.
          </p>
        )}
        {queue?.isReady ? (
          <Rings queue={queue} chain={chain} usesEventIdx={registers.negotiated.includes('EVENT_IDX')} onLook={look} />
        ) : (
          <section class="card" aria-label="Virtqueue">
            <h2>No queue is ready yet</h2>
            <p class="muted">The driver is still setting the device up: no ring has a place in guest RAM.</p>
          </section>
        )}
        <Chain chain={chain} last={picture.requests.at(-1)} touched={picture.touched} onLook={look} />
        {scenario === undefined && <RequestList trace={trace} stepper={stepper} />}
        <HexView
          picture={picture}
          dump={(gpa, len) => walk.dump(picture.frame.index, gpa, len)}
          onLook={look}
          {...hexView}
        />
        <DeviceStrip picture={picture} />
      </div>
      <div class="story">
        <NowCard stepper={stepper} onLook={look} />
        <FrameList stepper={stepper} />
      </div>
    </div>
  )
}

/** Which bytes the hex view shows: those that the frames touch, the last ones if this one touches none; or others. */
function useLook({ touched: [touched] }: Picture) {
  const [chosen, setChosen] = useState<Range>()
  const last = useRef<Range>({ gpa: 0, len: 1 })
  const range = chosen ?? touched ?? last.current
  last.current = range
  return {
    range,
    isFollowing: chosen === undefined,
    onFollow: (follows: boolean): void => setChosen(follows ? undefined : range),
    look: (gpa: number, len: number): void => setChosen({ gpa, len }),
  }
}
