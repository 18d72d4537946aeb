// The form that builds a scenario: the device, and what happens to it in order, kicks with their requests above all.
// What is wrong is said at its field while it is typed; Kick runs it and goes to its first frame.

import { useMemo, useRef, useState } from 'preact/hooks'
import { DeviceForm, LimitFields } from './builder-device.tsx'
import { RequestForm } from './builder-request.tsx'
import {
  type Draft,
  type DraftAction,
  type DraftRequest,
  draftOf,
  type Messages,
  newAction,
  scenarioOf,
} from './draft.ts'
import { Field, Fold, Select } from './fields.tsx'
import { count } from './kinds.ts'
import { layOut } from './layouts.ts'
import { runScenario } from './model/run-scenario.ts'
import { type Scenario, ScenarioError } from './model/scenario.ts'
import { encodeScenario } from './model/scenario-code.ts'

const ACTIONS: readonly (readonly [kind: DraftAction['do'], text: string])[] = [
  ['kick', 'Kick: offer requests'],
  ['wait', 'Wait: time passes'],
  ['answer', 'The late back end answers'],
  ['reset', 'The driver resets the device'],
  ['register', 'The driver writes a register'],
  ['resize', 'The host resizes the disk'],
  ['limit', 'The host changes the limits'],
]

const READ: DraftRequest = {
  type: '0',
  sector: '1',
  text: '',
  head: '',
  ringEntry: '',
  pieces: layOut('apart', '0', 512),
  broken: [],
}

interface BuilderProps {
  readonly scenario: Scenario
  /** given the scenario's code */
  onKick(code: string): void
}

export function Builder({ scenario: given, onKick }: BuilderProps) {
  const [draft, setDraft] = useState<Draft>(() => draftOf(given))
  const [begun, setBegun] = useState(given)
  // A scenario does not say which switches made it: what was kicked here comes back as it stood in the form.
  const kicked = useRef(new Map<string, Draft>())
  if (begun !== given) {
    setBegun(given)
    setDraft(kicked.current.get(encodeScenario(given)) ?? draftOf(given))
  }
  const [refusal, setRefusal] = useState<string>()
  const { scenario, messages } = useMemo(() => scenarioOf(draft), [draft])
  const change = (next: Draft): void => {
    setRefusal(undefined)
    setDraft(next)
  }
  const setAction = (at: number, action: DraftAction): void => {
    change({ ...draft, actions: draft.actions.map((one, i) => (i === at ? action : one)) })
  }
  const kick = async (): Promise<void> => {
    if (!scenario) return
    try {
      await runScenario(scenario)
      const code = encodeScenario(scenario)
      kicked.current.set(code, draft)
      onKick(code)
    } catch (error) {
      if (!(error instanceof ScenarioError)) throw error
      setRefusal(error.message.replace(/^scenario: /, ''))
    }
  }
  const general = refusal ?? messages.get('')
  return (
    <form
      class="builder"
      aria-label="Build a request"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        kick()
      }}
    >
      <section class="card">
        <h2>Build a request, whole or broken</h2>
        <DeviceForm device={draft.device} messages={messages} onChange={(device) => change({ ...draft, device })} />
        <ol class="actions">
          {draft.actions.map((action, i) => (
            <li key={i}>
              <Action
                action={action}
                name={`actions[${i}]`}
                number={i + 1}
                messages={messages}
                onChange={(next) => setAction(i, next)}
                onRemove={
                  draft.actions.length > 1
                    ? () => change({ ...draft, actions: draft.actions.filter((_, at) => at !== i) })
                    : undefined
                }
              />
            </li>
          ))}
        </ol>
        <div class="toolbar">
          <Select
            label="And then"
            value=""
            options={[['', 'add what happens next …'], ...ACTIONS]}
            onChange={(kind) => {
              const [known] = ACTIONS.find(([one]) => one === kind) ?? []
              if (known) change({ ...draft, actions: [...draft.actions, newAction(known, READ)] })
            }}
          />
        </div>
      </section>
      <div class="kick">
        <p role="status" class={messages.size > 0 || general ? 'message' : 'muted'}>
          {saidOf(general, messages)}
        </p>
        <button type="submit" class="primary" disabled={!scenario}>
          Kick
        </button>
      </div>
    </form>
  )
}

function saidOf(general: string | undefined, messages: Messages): string {
  if (general) return general
  if (messages.size > 0) return `${count(messages.size, 'field')} to mend before it can be kicked.`
  return 'The driver writes all this to guest RAM and kicks the device.'
}

interface ActionProps {
  readonly action: DraftAction
  readonly name: string
  readonly number: number
  readonly messages: Messages
  onChange(action: DraftAction): void
  readonly onRemove: (() => void) | undefined
}

function Action({ action, name, number, messages, onChange, onRemove }: ActionProps) {
  const [, title] = ACTIONS.find(([kind]) => kind === action.do) ?? ['', '']
  return (
    <fieldset class="action">
      <legend>
        {number}. {title}
      </legend>
      {action.do === 'kick' ? (
        <Kick action={action} name={name} messages={messages} onChange={onChange} />
      ) : (
        <div class="form-grid">
          <PlainAction action={action} name={name} messages={messages} onChange={onChange} />
        </div>
      )}
      {onRemove && (
        <button type="button" class="danger remove" onClick={onRemove}>
          Remove step {number}
        </button>
      )}
    </fieldset>
  )
}

type PlainProps = Pick<ActionProps, 'action' | 'name' | 'messages' | 'onChange'>

function PlainAction({ action, name, messages, onChange }: PlainProps) {
  const message = (field: string): string | undefined => messages.get(`${name}.${field}`)
  switch (action.do) {
    case 'wait':
      return (
        <Field
          label="Milliseconds"
          value={action.millis}
          message={message('millis')}
          onChange={(millis) => onChange({ ...action, millis })}
        />
      )
    case 'answer':
      return (
        <Field
          label="How many, oldest first"
          empty="all"
          value={action.count}
          message={message('count')}
          onChange={(number) => onChange({ ...action, count: number })}
        />
      )
    case 'register':
      return (
        <>
          <Field
            label="Offset"
            value={action.offset}
            message={message('offset')}
            onChange={(offset) => onChange({ ...action, offset })}
          />
          <Field
            label="Value"
            value={action.value}
            message={message('value')}
            onChange={(value) => onChange({ ...action, value })}
          />
        </>
      )
    case 'resize':
      return (
        <Field
          label="Sectors"
          value={action.sectors}
          message={message('sectors')}
          onChange={(sectors) => onChange({ ...action, sectors })}
        />
      )
    case 'limit':
      return (
        <LimitFields
          limits={action.limits}
          name={`${name}.limits`}
          messages={messages}
          onChange={(limits) => onChange({ ...action, limits })}
        />
      )
    default:
      return <p class="muted">Nothing to choose.</p>
  }
}

interface KickProps {
  readonly action: Extract<DraftAction, { do: 'kick' }>
  readonly name: string
  readonly messages: Messages
  onChange(action: DraftAction): void
}

function Kick({ action, name, messages, onChange }: KickProps) {
  const { requests } = action
  const set = (more: Partial<typeof action>): void => onChange({ ...action, ...more })
  const isRingChanged = action.idxAhead !== '' || action.availFlags !== '' || action.usedEvent !== ''
  return (
    <>
      {requests.map((request, i) => (
        <RequestForm
          key={i}
          request={request}
          name={`${name}.requests[${i}]`}
          number={i + 1}
          messages={messages}
          onChange={(next) => set({ requests: requests.map((one, at) => (at === i ? next : one)) })}
          onRemove={requests.length > 1 ? () => set({ requests: requests.filter((_, at) => at !== i) }) : undefined}
        />
      ))}
      <div class="toolbar">
        <button type="button" onClick={() => set({ requests: [...requests, READ] })}>
          Add a request to this kick
        </button>
      </div>
      <Fold title="The avail ring itself" isUsed={isRingChanged}>
        <div class="form-grid">
          <Field
            label="avail.idx too far ahead by"
            empty="0"
            value={action.idxAhead}
            message={messages.get(`${name}.idxAhead`)}
            onChange={(idxAhead) => set({ idxAhead })}
          />
          <Field
            label="avail.flags (1 = NO_INTERRUPT)"
            empty="stays"
            value={action.availFlags}
            message={messages.get(`${name}.availFlags`)}
            onChange={(availFlags) => set({ availFlags })}
          />
          <Field
            label="used_event"
            empty="stays"
            value={action.usedEvent}
            message={messages.get(`${name}.usedEvent`)}
            onChange={(usedEvent) => set({ usedEvent })}
          />
        </div>
      </Fold>
    </>
  )
}
