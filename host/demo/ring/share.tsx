// In and out: a link to what is shown, its .trace file, and a file from the reader's disk, by button or dropped on the
// page. A file becomes a recording of this view; what is wrong with one is said by the view that opens it.

import { useEffect, useRef, useState } from 'preact/hooks'
import { toBase64Url } from '../base64url.ts'
import { openTrace } from '../open-trace.ts'
import { routeHash } from '../route.ts'
import { download } from '../ui/files.ts'
import { encodeScenario } from './model/scenario-code.ts'
import type { Source } from './source.ts'

/** Characters of a link that every browser and most chat programs carry. */
const LINK_MAX = 8000
/** Bytes of a file: what a page can hold of it, packed and unpacked. */
const FILE_MAX = 1 << 30

export function Share({ source, frame }: { source: Source; frame: number }) {
  const [said, setSaid] = useState('')
  const [link, setLink] = useState('')
  useEffect(() => {
    setSaid('')
    setLink('')
  }, [source])
  const copy = async (): Promise<void> => {
    const made = await linkTo(source, frame)
    if (made === undefined) {
      setSaid('Too long for a link: download the recording and send the file.')
      return
    }
    setLink(made)
    try {
      await navigator.clipboard.writeText(made)
      setSaid('Link copied; it opens at this frame.')
    } catch {
      setSaid('The browser does not let the page copy: copy the link from here.')
    }
  }
  const save = async (): Promise<void> => {
    const bytes = await source.trace.bytes()
    download(`${source.preset?.id ?? 'recording'}.trace`, [bytes as Uint8Array<ArrayBuffer>])
    setSaid(`Saved ${bytes.length.toLocaleString('en')} bytes; replay it with: npx vblk replay FILE`)
  }
  return (
    <div class="share">
      <div class="toolbar">
        <button type="button" onClick={copy}>
          Copy link
        </button>
        <button type="button" onClick={save}>
          Download .trace
        </button>
        <OpenFile />
      </div>
      <p class="small muted share-said" role="status">
        {said}
      </p>
      {link !== '' && said.startsWith('The browser') && (
        <input class="mono" aria-label="Link" readOnly value={link} onFocus={(event) => event.currentTarget.select()} />
      )}
    </div>
  )
}

/** undefined: too long. */
async function linkTo({ scenario, trace }: Source, frame: number): Promise<string | undefined> {
  const content = scenario ? { scenario: encodeScenario(scenario) } : { trace: toBase64Url(await trace.bytes()) }
  const url = new URL(location.href)
  url.hash = routeHash('ring', { ...content, frame: String(frame) })
  return url.href.length > LINK_MAX ? undefined : url.href
}

async function openFile(file: File): Promise<void> {
  openTrace(await contentOf(file), { title: file.name })
}

/** Its bytes, or why there are none: a folder can be dropped too, and a file can be gone by now. */
async function contentOf(file: File): Promise<Uint8Array | Error> {
  const { name, size } = file
  if (size > FILE_MAX) {
    const [has, most] = [size, FILE_MAX].map((bytes) => bytes.toLocaleString('en'))
    return new Error(`${name} has ${has} bytes: more than ${most} cannot be opened here; replay it with vblk replay.`)
  }
  try {
    return new Uint8Array(await file.arrayBuffer())
  } catch (error) {
    return new Error(`${name} could not be read (${(error as Error).name}): is it a file, and still there?`)
  }
}

export function OpenFile() {
  const input = useRef<HTMLInputElement>(null)
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>
        Open .trace …
      </button>
      <input
        ref={input}
        type="file"
        hidden
        accept=".trace"
        aria-label="Trace file"
        onChange={({ currentTarget }) => {
          const [file] = currentTarget.files ?? []
          currentTarget.value = ''
          if (file) openFile(file)
        }}
      />
    </>
  )
}

/** Files that are dropped anywhere on the page while the view is shown. Returns whether one is held over it. */
export function useDroppedFiles(isShown: boolean): boolean {
  const [isOver, setOver] = useState(false)
  useEffect(() => {
    if (!isShown) return
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
    const over = (event: DragEvent): void => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false)
    }
    const drop = (event: DragEvent): void => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(false)
      const file = event.dataTransfer?.files[0]
      if (file) openFile(file)
    }
    const listeners = { dragover: over, dragleave: leave, drop } as const
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener as EventListener)
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener as EventListener)
    }
  }, [isShown])
  return isOver
}
