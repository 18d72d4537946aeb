// The frame that is shown, in words: what happens, which bytes, and why, with the rule of the contract and the section
// of the standard. Also says it to screen readers, but not while frames run by.

import { useEffect, useState } from 'preact/hooks'
import { routeHash } from '../route.ts'
import { KINDS } from './kinds.ts'
import type { Reference } from './model/references.ts'
import type { Frame } from './model/walk-types.ts'
import { hex } from './model/words.ts'
import type { Stepper } from './stepper.ts'

export function NowCard({ stepper, onLook }: { stepper: Stepper; onLook: (gpa: number, len: number) => void }) {
  const { frame, at, length } = stepper
  return (
    <section class={`card now ${frame.kind}`} aria-label="This frame">
      <p class="now-head">
        <KindTag kind={frame.kind} />
        <strong class="mono field-name">{frame.field}</strong>
        <span class="muted small now-place">
          frame {at + 1} of {length}
        </span>
      </p>
      <p class="now-text">{frame.text}</p>
      {frame.gpa !== undefined && frame.bytes && (
        <button
          type="button"
          class="bytes mono"
          title="Show these bytes in guest RAM"
          onClick={() => onLook(frame.gpa ?? 0, frame.len ?? frame.bytes?.length ?? 1)}
        >
          <span class="muted">{hex(frame.gpa)}</span> {bytesText(frame)}
        </button>
      )}
      {frame.references.map((reference) => (
        <Why key={reference.rule + reference.why} reference={reference} />
      ))}
    </section>
  )
}

/** A letter in a colour; the word for those who cannot see either. */
function KindTag({ kind }: { kind: Frame['kind'] }) {
  const { letter, word } = KINDS[kind]
  return (
    <span class={`kind ${kind}`}>
      <b>{letter}</b> <span>{word}</span>
    </span>
  )
}

const BYTES_SHOWN = 16

function bytesText({ bytes = new Uint8Array(), len = bytes.length }: Frame): string {
  const shown = [...bytes.subarray(0, BYTES_SHOWN)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
  return len > BYTES_SHOWN ? `${shown} … ${len} bytes` : shown
}

function Why({ reference: { rule, section, row, why } }: { reference: Reference }) {
  return (
    <div class="why">
      <p>{why}</p>
      <p class="small muted">
        {[rule && `Contract: ${rule}`, section && `VIRTIO 1.3, ${section}`].filter(Boolean).join(' · ')}
        {row && (
          <>
            {' · '}
            <a href={routeHash('conformance', { id: row })}>check {row}</a>
          </>
        )}
      </p>
    </div>
  )
}

/** Frames that follow each other faster than this are not all said. */
const SETTLED_MS = 250

export function Announcer({ stepper: { frame, at, length, isPlaying } }: { stepper: Stepper }) {
  const [said, setSaid] = useState('')
  useEffect(() => {
    if (isPlaying) return
    const why = frame.kind === 'decision' ? ` ${frame.references[0]?.why ?? ''}` : ''
    const text = `Frame ${at + 1} of ${length}. ${KINDS[frame.kind].word}: ${frame.text}${why}`
    const timer = setTimeout(() => setSaid(text), SETTLED_MS)
    return () => clearTimeout(timer)
  }, [frame, at, length, isPlaying])
  return (
    <p class="visually-hidden" role="status">
      {said}
    </p>
  )
}
