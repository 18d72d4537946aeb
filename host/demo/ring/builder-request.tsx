// One request of the form: type, sector, layout, its pieces, payload, and the switches that break it.

import { useState } from 'preact/hooks'
import { ActionButton } from '../ui/action-button.tsx'
import type { DraftPiece, DraftRequest, Messages } from './draft.ts'
import { Check, Field, Fold, Select } from './fields.tsx'
import { count } from './kinds.ts'
import { LAYOUTS, layOut, piece, TYPES, usualBytes } from './layouts.ts'
import { BREAKAGE_GROUPS, BREAKAGES, type BreakageId } from './model/breakages.ts'

interface RequestFormProps {
  readonly request: DraftRequest
  /** of its fields: 'actions[0].requests[1]' */
  readonly name: string
  readonly number: number
  readonly messages: Messages
  onChange(request: DraftRequest): void
  /** undefined: it is the only one */
  readonly onRemove: (() => void) | undefined
}

export function RequestForm({ request, name, number, messages, onChange, onRemove }: RequestFormProps) {
  const set = (more: Partial<DraftRequest>): void => onChange({ ...request, ...more })
  const [preferred, setPreferred] = useState('')
  const { type, pieces } = request
  const dataBytes = dataOf(pieces)
  const layout = layoutOf(pieces, type, dataBytes, preferred)
  const layAnew = (nextLayout: string, nextType: string, bytes: number): void => {
    setPreferred(nextLayout)
    set({ type: nextType, pieces: layOut(nextLayout || 'apart', nextType, bytes) })
  }
  const isKnown = TYPES.some(([value]) => value === type)
  return (
    <fieldset class="request-form">
      <legend>Request {number}</legend>
      <div class="form-grid">
        <Select
          label="Type"
          value={isKnown ? type : 'other'}
          options={[...TYPES, ['other', 'another number']]}
          onChange={(value) => {
            if (value === 'other') set({ type: '99' })
            else layAnew(layout, value, usualBytes(value))
          }}
        />
        {!isKnown && (
          <Field
            label="Type, number"
            value={type}
            message={messages.get(`${name}.type`)}
            onChange={(t) => set({ type: t })}
          />
        )}
        <Field
          label="Sector"
          value={request.sector}
          message={messages.get(`${name}.sector`)}
          onChange={(sector) => set({ sector })}
        />
        <Select
          label="Layout"
          value={layout}
          options={layout === '' ? [['', 'as listed below'], ...LAYOUTS] : LAYOUTS}
          onChange={(next) => layAnew(next, type, dataBytes)}
        />
        <Field
          label="Bytes of data"
          value={String(dataBytes)}
          hint="Lays the request out anew"
          onChange={(text) => {
            if (/^\d{1,5}$/.test(text.trim() || '0')) layAnew(layout, type, Number(text))
          }}
        />
        <Field
          label="Payload, repeated"
          isText
          value={request.text}
          empty="Hello, disk. "
          message={messages.get(`${name}.text`)}
          onChange={(text) => set({ text })}
        />
      </div>
      <Pieces pieces={pieces} name={name} messages={messages} onChange={(next) => set({ pieces: next })} />
      <Breakages broken={request.broken} onChange={(broken) => set({ broken })} />

      <Fold title="Place in table and ring" isUsed={request.head !== '' || request.ringEntry !== ''}>
        <div class="form-grid">
          <Field
            label="First descriptor (head)"
            value={request.head}
            empty="behind the last chain"
            message={messages.get(`${name}.head`)}
            onChange={(head) => set({ head })}
          />
          <Field
            label="What the avail ring says"
            value={request.ringEntry}
            empty="the head"
            message={messages.get(`${name}.ringEntry`)}
            onChange={(ringEntry) => set({ ringEntry })}
          />
        </div>
      </Fold>
      {onRemove && (
        <button type="button" class="danger remove" onClick={onRemove}>
          Remove request {number}
        </button>
      )}
    </fieldset>
  )
}

/** The layout that these pieces have, the preferred one if several look the same; '' if they have none of them. */
function layoutOf(pieces: readonly DraftPiece[], type: string, dataBytes: number, preferred: string): string {
  const text = JSON.stringify(pieces)
  const names = [preferred, ...LAYOUTS.map(([name]) => name)].filter((name) => name !== '')
  return names.find((name) => JSON.stringify(layOut(name, type, dataBytes)) === text) ?? ''
}

/** What is neither header nor status, by the rule for both. */
function dataOf(pieces: readonly DraftPiece[]): number {
  const sum = (writable: boolean): number =>
    pieces.reduce((total, one) => total + (one.writable === writable ? Number(one.bytes) || 0 : 0), 0)
  return Math.max(0, sum(false) - 16) + Math.max(0, sum(true) - 1)
}

interface PiecesProps {
  readonly pieces: readonly DraftPiece[]
  readonly name: string
  readonly messages: Messages
  onChange(pieces: readonly DraftPiece[]): void
}

const EXACT = [
  ['addr', 'chosen'],
  ['len', 'its bytes'],
  ['flags', 'right ones'],
  ['next', 'following'],
] as const

function Pieces({ pieces, name, messages, onChange }: PiecesProps) {
  const isExact = pieces.some((one) => EXACT.some(([field]) => one[field] !== ''))
  const [shownExact, setShownExact] = useState(isExact)
  const [isOpen, setOpen] = useState(pieces.length <= 8)
  const shows = shownExact || isExact
  const set = (at: number, more: Partial<DraftPiece>): void => {
    onChange(pieces.map((one, i) => (i === at ? { ...one, ...more } : one)))
  }
  const swap = (at: number): void => {
    const moved = [...pieces]
    moved.splice(at - 1, 2, pieces[at] as DraftPiece, pieces[at - 1] as DraftPiece)
    onChange(moved)
  }
  return (
    <details class="pieces" open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{count(pieces.length, 'descriptor')}</summary>
      <div class="scroll">
        <table class="piece-table">
          <thead>
            <tr>
              <th scope="col">#</th>
              <th scope="col">direction</th>
              <th scope="col">bytes</th>
              {shows && EXACT.map(([field]) => <th scope="col">{field}</th>)}
              <th scope="col">
                <span class="visually-hidden">Change</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {pieces.map((one, i) => (
              <tr key={i}>
                <td class="mono">{i + 1}</td>
                <td>
                  <select
                    aria-label={`Piece ${i + 1}, direction`}
                    value={one.writable ? 'w' : 'r'}
                    onChange={({ currentTarget }) => set(i, { writable: currentTarget.value === 'w' })}
                  >
                    <option value="r">readable</option>
                    <option value="w">writable</option>
                  </select>
                </td>
                <PieceInput
                  label={`Piece ${i + 1}, bytes`}
                  value={one.bytes}
                  message={messages.get(`${name}.pieces[${i}].bytes`)}
                  onChange={(bytes) => set(i, { bytes })}
                />
                {shows &&
                  EXACT.map(([field, empty]) => (
                    <PieceInput
                      key={field}
                      label={`Piece ${i + 1}, ${field}`}
                      value={one[field]}
                      empty={empty}
                      message={messages.get(`${name}.pieces[${i}].${field}`)}
                      onChange={(value) => set(i, { [field]: value })}
                    />
                  ))}
                <td class="piece-buttons">
                  <ActionButton class="icon" label={`Piece ${i + 1}: up`} isDisabled={i === 0} onClick={() => swap(i)}>
                    ↑
                  </ActionButton>
                  <button
                    type="button"
                    class="icon"
                    aria-label={`Piece ${i + 1}: remove`}
                    onClick={() => onChange(pieces.filter((_, at) => at !== i))}
                  >
                    ×
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="toolbar center">
        <button type="button" onClick={() => onChange([...pieces, piece(true, 512)])}>
          Add a piece
        </button>
        <Check label="exact addr, len, flags and next" isOn={shows} onChange={setShownExact} />
      </div>
    </details>
  )
}

interface PieceInputProps {
  label: string
  value: string
  empty?: string
  message: string | undefined
  onChange: (value: string) => void
}

function PieceInput({ label, value, empty, message, onChange }: PieceInputProps) {
  return (
    <td>
      <input
        class="mono"
        size={8}
        aria-label={label}
        aria-invalid={message !== undefined}
        placeholder={empty}
        spellcheck={false}
        autocomplete="off"
        value={value}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
      {message !== undefined && <small class="message">{message}</small>}
    </td>
  )
}

function Breakages(props: { broken: readonly BreakageId[]; onChange: (broken: readonly BreakageId[]) => void }) {
  const { broken, onChange } = props
  return (
    <section class="breakages" aria-label="Break it">
      <h3>
        Break it {broken.length > 0 && <span class="tag bad">{count(broken.length, 'switch', 'switches')} on</span>}
      </h3>
      <div class="breakage-groups">
        {BREAKAGE_GROUPS.map((group) => (
          <fieldset key={group}>
            <legend>{group}</legend>
            {BREAKAGES.filter((one) => one.group === group).map(({ id, label }) => (
              <Check
                key={id}
                label={label}
                isOn={broken.includes(id)}
                onChange={(isOn) => onChange(isOn ? [...broken, id] : broken.filter((one) => one !== id))}
              />
            ))}
          </fieldset>
        ))}
      </div>
    </section>
  )
}
