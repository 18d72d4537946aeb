// The guest's disk as a thing to keep: how large it is and where it lies, and ways to take it out, bring another in or
// begin anew. What destroys it asks first.

import { useRef, useState } from 'preact/hooks'
import { ActionButton } from '../ui/action-button.tsx'
import { bytesText } from './format.ts'
import type { DiskFacts } from './messages.ts'

interface DiskPanelProps {
  readonly disk: DiskFacts | undefined
  /** something is being done with the machine: nothing else can be begun */
  readonly isBusy: boolean
  readonly onImport: (file: File) => void
  readonly onExport: () => void
  readonly onFresh: () => void
}

/** What is to be confirmed. */
interface Question {
  readonly text: string
  readonly verb: string
  readonly go: () => void
}

export function DiskPanel({ disk, isBusy, onImport, onExport, onFresh }: DiskPanelProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const input = useRef<HTMLInputElement>(null)
  const [question, setQuestion] = useState<Question>()
  const ask = (next: Question): void => {
    setQuestion(next)
    dialog.current?.showModal()
  }
  const isIdle = disk !== undefined && !isBusy
  return (
    <section class="card" aria-label="Disk">
      <h2>Disk</h2>
      {disk && (
        <dl class="facts">
          <dt>Size</dt>
          <dd>{bytesText(disk.bytes)}</dd>
          <dt>Kept</dt>
          <dd>{placeText(disk)}</dd>
        </dl>
      )}
      <div class="toolbar">
        <ActionButton isDisabled={!isIdle} onClick={onExport}>
          Export the image
        </ActionButton>
        <ActionButton isDisabled={!isIdle} onClick={() => input.current?.click()}>
          Import an image …
        </ActionButton>
        <ActionButton
          class="danger"
          isDisabled={!isIdle}
          onClick={() =>
            ask({
              text: 'The disk and all that is on it is replaced by a fresh one, and the machine starts again.',
              verb: 'Start over',
              go: onFresh,
            })
          }
        >
          Start over with a fresh disk …
        </ActionButton>
        <input
          ref={input}
          type="file"
          hidden
          aria-label="Disk image to import"
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0]
            currentTarget.value = ''
            if (file === undefined) return
            ask({
              text: `The disk and all that is on it is replaced by ${file.name} (${bytesText(file.size)}), and the machine starts again.`,
              verb: 'Import',
              go: () => onImport(file),
            })
          }}
        />
      </div>
      <p class="small muted">
        An image is raw: the bytes of the disk. Run <code>sync</code> before you export one; without, it is as after a
        power cut.
      </p>
      <dialog ref={dialog} class="card" aria-label={question?.verb}>
        <p>{question?.text}</p>
        <p>To keep what is there, export it first.</p>
        <form method="dialog" class="toolbar">
          <button type="submit">Cancel</button>
          <button type="submit" class="danger" onClick={question?.go}>
            {question?.verb}
          </button>
        </form>
      </dialog>
    </section>
  )
}

function placeText({ storage, reason }: DiskFacts): string {
  if (storage === 'opfs') return 'in this browser, for this site (OPFS); it is there after a reload'
  return `in memory: it is gone with this page${reason === undefined ? '' : `, because ${reason}`}`
}
