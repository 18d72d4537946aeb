// What the view shows and where it comes from: a scenario that is run here, a .trace file, or a recording that another
// view hands over. Reads addresses, which anybody can have written: whatever is wrong with one is a line of text.

import { useEffect, useState } from 'preact/hooks'
import { isTrace, Trace } from '../../replay/trace.ts'
import { fromBase64Url } from '../base64url.ts'
import { openedTrace } from '../open-trace.ts'
import { count } from './kinds.ts'
import { PRESETS } from './model/presets.ts'
import { runScenario } from './model/run-scenario.ts'
import type { Preset, Scenario } from './model/scenario.ts'
import { decodeScenario } from './model/scenario-code.ts'
import { type Walk, walkOf } from './model/walk.ts'

export interface Source {
  /** present if it was made here */
  readonly scenario: Scenario | undefined
  readonly preset: Preset | undefined
  readonly title: string
  readonly description: string | undefined
  readonly trace: Trace
  readonly walk: Walk
  /** index of the frame to begin at; undefined: where the set-up ends */
  readonly first: number | undefined
}

export type Loaded =
  | { readonly state: 'loading' }
  | { readonly state: 'ready'; readonly source: Source }
  | { readonly state: 'failed'; readonly message: string }

export const FIRST_PRESET = PRESETS[0] as Preset

/** Of what a link holds; browsers cut longer ones. */
const LINK_MAX = 1 << 20
/** Of the recording in a link, unpacked: what packs well can be a million times as long. */
const LINK_BODY_MAX = 1 << 20
/** Where a trace's header says how long it is unpacked (host/replay/FORMAT.md). */
const BODY_AT = 20

/** A message for the reader, who may not have written the address. */
class SourceError extends Error {}

/** Parameters in, source out; a new run for each new set of parameters. */
export function useSource(params: URLSearchParams): Loaded {
  const key = keyOf(params)
  const [loaded, setLoaded] = useState<Loaded & { key: string }>({ state: 'loading', key })
  useEffect(() => {
    let isWanted = true
    const set = (next: Loaded): void => {
      if (isWanted) setLoaded({ ...next, key })
    }
    load(new URLSearchParams(key)).then(
      (source) => set({ state: 'ready', source }),
      (error: unknown) => set({ state: 'failed', message: error instanceof Error ? error.message : String(error) }),
    )
    return () => {
      isWanted = false
    }
  }, [key])
  return loaded
}

/** Which panel is shown says nothing about what is shown in it. */
function keyOf(params: URLSearchParams): string {
  const others = new URLSearchParams(params)
  others.delete('panel')
  return others.toString()
}

async function load(params: URLSearchParams): Promise<Source> {
  const trace = params.get('trace')
  const scenario = params.get('scenario')
  const opened = params.get('opened')
  const first = numberOf(params, 'frame')
  if (scenario !== null) return ofScenario(decodeScenario(scenario), first)
  if (trace !== null) return ofBytes(linkedBytes(trace), { title: 'A recording from a link', ...given(first) })
  if (opened !== null) return ofOpened(opened, params)
  const id = params.get('preset') ?? FIRST_PRESET.id
  const preset = PRESETS.find((one) => one.id === id)
  if (!preset) throw new SourceError(`There is no preset '${id.slice(0, 60)}'; choose one from the list.`)
  return ofScenario(preset.scenario, first, preset)
}

function given(first: number | undefined): { first?: number } {
  return first === undefined ? {} : { first }
}

function numberOf(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name)
  if (text === null) return undefined
  if (!/^\d{1,9}$/.test(text)) {
    throw new SourceError(`The address says ${name}=${text.slice(0, 40)}: it must be a whole number; leave it out.`)
  }
  return Number(text)
}

function linkedBytes(text: string): Uint8Array {
  if (text.length > LINK_MAX) {
    throw new SourceError(
      `The link holds ${text.length} characters, at most ${LINK_MAX} are read: open the file instead.`,
    )
  }
  const bytes = fromBase64Url(text)
  if (!bytes) throw new SourceError('The link holds no recording, or not all of one: copy the whole link again.')
  const body = bytes.length < BODY_AT + 4 ? 0 : new DataView(bytes.buffer).getUint32(BODY_AT, true)
  if (isTrace(bytes) && body > LINK_BODY_MAX) {
    throw new SourceError(`The recording in the link unpacks to ${body} bytes: only a file may be so long.`)
  }
  return bytes
}

async function ofOpened(name: string, params: URLSearchParams): Promise<Source> {
  const opened = openedTrace(name)
  if (!opened) {
    throw new SourceError(
      'This recording was handed over within the page and is gone since it was loaded anew: open it again where it ' +
        'came from, or open its .trace file.',
    )
  }
  const { bytes, title, at, head } = opened
  if (bytes instanceof Error) throw bytes
  const first = numberOf(params, 'frame')
  try {
    return await ofBytes(bytes, { title, at, ...(head !== undefined && { head }), ...given(first) })
  } catch (error) {
    throw new SourceError(`${title} cannot be opened: ${(error as Error).message}`)
  }
}

async function ofScenario(scenario: Scenario, first: number | undefined, preset?: Preset): Promise<Source> {
  const { trace, before } = await runScenario(scenario)
  const known = preset ?? presetOf(scenario)
  return {
    scenario,
    preset: known,
    title: known?.title ?? 'A scenario of your own',
    description: known?.description,
    trace,
    walk: walkOf(trace, before),
    first,
  }
}

/** The same in every field: a link to a preset shows its name. */
function presetOf(scenario: Scenario): Preset | undefined {
  const text = jsonOf(scenario)
  return PRESETS.find((preset) => jsonOf(preset.scenario) === text)
}

function jsonOf(scenario: Scenario): string {
  return JSON.stringify(scenario, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}

async function ofBytes(
  bytes: Uint8Array,
  { title, at = 0, head, first }: { title: string; at?: number; head?: number; first?: number },
): Promise<Source> {
  const trace = await Trace.parse(bytes)
  const walk = walkOf(trace)
  if (walk.length === 0) throw new SourceError('The recording has no steps: there is nothing to show.')
  const request = head === undefined ? undefined : walk.verdictOf(at, head)
  const begin = request ?? (at > 0 ? walk.firstFrameOf(at) : walk.firstTaken)
  return {
    scenario: undefined,
    preset: undefined,
    title: request === undefined ? title : `${requestText(walk, request)}: ${title}`,
    description: `A recording of ${count(trace.steps.length, 'engine call')}, digest ${trace.digest}.`,
    trace,
    walk,
    first: first ?? begin,
  }
}

/** 'Head 3, IN at sector 104', of the frame that decides on it */
function requestText(walk: Walk, verdict: number): string {
  const { chain } = walk.pictureAt(verdict)
  const what = [`Head ${chain?.head ?? '?'}`, ...(chain?.typeName === undefined ? [] : [chain.typeName])].join(', ')
  const hasSector = chain?.typeName === 'IN' || chain?.typeName === 'OUT'
  return hasSector && chain.sector !== undefined ? `${what} at sector ${chain.sector}` : what
}
