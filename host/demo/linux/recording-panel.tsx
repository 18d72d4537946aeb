// The recording that always runs: what is in it, and ways to look at it, take it away and begin it anew.

import { ActionButton } from '../ui/action-button.tsx'
import { bytesText, count, timeText } from './format.ts'
import type { RecordingFacts } from './messages.ts'

interface RecordingPanelProps {
  readonly recording: RecordingFacts | undefined
  readonly isRunning: boolean
  readonly onNew: () => void
  readonly onDownload: () => void
  readonly onOpen: () => void
}

export function RecordingPanel({ recording, isRunning, onNew, onDownload, onOpen }: RecordingPanelProps) {
  return (
    <section class="card" aria-label="Recording">
      <h2>Recording</h2>
      {recording && (
        <dl class="facts">
          <dt>Number</dt>
          <dd>
            {recording.number}, since {timeText(recording.begun).slice(0, 8)}
          </dd>
          <dt>In it</dt>
          <dd>
            {count(recording.requests)} requests, {count(recording.steps)} calls of the engine,{' '}
            {bytesText(recording.bytes)}
          </dd>
        </dl>
      )}
      <div class="toolbar">
        <ActionButton isDisabled={!isRunning} onClick={onNew}>
          New recording
        </ActionButton>
        <ActionButton isDisabled={recording === undefined} onClick={onDownload}>
          Download the trace
        </ActionButton>
        <ActionButton isDisabled={recording === undefined} onClick={onOpen}>
          Open in the Ring view
        </ActionButton>
      </div>
      <p class="small muted">
        Every call of the engine is recorded, always; of the data only a hash. A long recording is followed by a new
        one. <code>vblk replay FILE</code> runs a trace again.
      </p>
    </section>
  )
}
