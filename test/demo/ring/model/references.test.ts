// The references of the Ring view: every constant of the engine's trace has one, each names a rule that the contract
// has and a row of the conformance list with the section it claims, and the walk shows them.

import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../../../assembly/abi.ts'
import * as spec from '../../../../assembly/spec.ts'
import {
  callReferences,
  DATA_REFERENCES,
  DRIVER_REFERENCES,
  eventReferences,
  INTERRUPT_REFERENCES,
  type Reference,
} from '../../../../host/demo/ring/model/references.ts'
import { runScenario } from '../../../../host/demo/ring/model/run-scenario.ts'
import type { ScenarioRequest } from '../../../../host/demo/ring/model/scenario.ts'
import { walkOf } from '../../../../host/demo/ring/model/walk.ts'
import { ARGUMENTS, type Call, type Step } from '../../../../host/replay/step.ts'

const test = suite('references of the Ring view')

const CONTRACT = readFileSync('assembly/CONTRACT.md', 'utf8')
const ROWS = new Map(
  (JSON.parse(readFileSync('host/conformance/conformance.json', 'utf8')) as { id: string; section: string }[]).map(
    ({ id, section }) => [id, section],
  ),
)

/** Numbers and letters of the contract, as references name them. */
function isInContract(rule: string): boolean {
  const numbered = /^rule (\d+)$/.exec(rule)
  if (numbered) return new RegExp(`^${numbered[1]}\\. `, 'm').test(CONTRACT)
  const lettered = /^request fault ([a-g])$/.exec(rule)
  if (lettered) return CONTRACT.includes(`\n| ${lettered[1]} | `)
  return (rule === 'ring faults' || rule === 'request faults') && new RegExp(`\\*\\*${rule}\\*\\*`, 'i').test(CONTRACT)
}

/** What is wrong with them. */
function problems(references: readonly Reference[]): string[] {
  if (references.length === 0) return ['there is none']
  return references.flatMap(({ rule, section, row, why }) => [
    ...(rule === undefined || isInContract(rule) ? [] : [`the contract has no ${rule}`]),
    ...((row === undefined ? undefined : ROWS.get(row)) === section ? [] : [`row ${row} has not section ${section}`]),
    ...(rule === undefined && section === undefined ? ['neither rule nor section'] : []),
    ...(/^\S.{0,108}\.$/.test(why) ? [] : [`'${why}' is no sentence, or too long`]),
  ])
}

function check(references: readonly Reference[], about: string): void {
  assert.equal(problems(references), [], about)
}

/** Names of the constants with these beginnings. */
function constants(...beginnings: string[]): [name: string, value: number][] {
  const found = Object.entries(abi).filter(([name]) => beginnings.some((beginning) => name.startsWith(beginning)))
  return found as [string, number][]
}

const NONE: ReadonlySet<string> = new Set(['TRACE_LOAD_LAST', 'TRACE_STORE_LAST', 'TRACE_VERDICT', 'TRACE_RING_FAULT'])

test('references: every load, store and stall of abi.ts -> a rule and a section', () => {
  const kinds = constants('TRACE_').filter(([name]) => !NONE.has(name))
  assert.is(kinds.length, 18)
  for (const [name, kind] of kinds) {
    const references = eventReferences({ kind, at: 0, low: 0, high: 0 })
    check(references, name)
    // Only the throttle is nothing of the standard's.
    if (kind !== abi.TRACE_STALL) for (const { rule, section } of references) assert.ok(rule && section, name)
  }
})

test('references: every verdict and fault of abi.ts -> a rule and a section', () => {
  const verdicts = constants('VERDICT_', 'REQUEST_FAULT_')
  const faults = constants('RING_FAULT_')
  assert.equal([verdicts.length, faults.length], [20, 8])
  const decided = (kind: number, code: number): readonly Reference[] =>
    eventReferences({ kind, at: 0, low: code >>> 0, high: 0 })
  for (const [name, code] of verdicts) check(decided(abi.TRACE_VERDICT, code), name)
  for (const [name, code] of faults) {
    const references = decided(abi.TRACE_RING_FAULT, code)
    check(references, name)
    assert.equal(
      references.map(({ rule }) => rule),
      ['ring faults', 'rule 7'],
    )
  }
  for (const [name, code] of [...verdicts, ...faults]) {
    const kind = name.startsWith('RING') ? abi.TRACE_RING_FAULT : abi.TRACE_VERDICT
    for (const { rule, section } of decided(kind, code)) assert.ok(rule && section, name)
  }
})

test('references: a read of Status -> what NEEDS_RESET means and asks for; a write -> the rule for writes', () => {
  const status = (call: Call, value: number, result: number): Step => ({
    call,
    nanos: 0,
    args: [spec.VIRTIO_MMIO_STATUS, 4, value],
    result,
    events: [],
    counters: [],
    planned: [],
  })
  const whyOf = (step: Step): string => {
    check(callReferences(step), 'Status')
    return callReferences(step)
      .map(({ why }) => why)
      .join(' ')
  }
  assert.match(whyOf(status('mmioRead', 0, 0x4f)), /NEEDS_RESET: the device met an error.*driver.*must reset/)
  assert.not.match(whyOf(status('mmioRead', 0, 0x0f)), /one new bit|NEEDS_RESET/)
  assert.match(whyOf(status('mmioWrite', 0x40, 0)), /one new bit at a time/)
})

/** Letters of the contract's table, typed in from it. */
const LETTERS: Readonly<Record<string, string>> = {
  REQUEST_FAULT_ORDER: 'a',
  REQUEST_FAULT_HEADER_SHORT: 'a',
  REQUEST_FAULT_HEADER_UNMAPPED: 'a',
  REQUEST_FAULT_SIZE_MAX: 'b',
  REQUEST_FAULT_SEG_MAX: 'b',
  REQUEST_FAULT_TOTAL: 'b',
  REQUEST_FAULT_NO_DATA: 'c',
  REQUEST_FAULT_FLUSH_DATA: 'c',
  REQUEST_FAULT_ALIGNMENT: 'd',
  REQUEST_FAULT_DIRECTION: 'd',
  REQUEST_FAULT_DATA_UNMAPPED: 'd',
  REQUEST_FAULT_READ_ONLY: 'e',
  REQUEST_FAULT_RANGE: 'f',
  REQUEST_FAULT_ID_SHORT: 'g',
}

test('references: each request fault -> its letter in the contract', () => {
  assert.equal(
    constants('REQUEST_FAULT_')
      .map(([name]) => name)
      .sort(),
    Object.keys(LETTERS).sort(),
  )
  for (const [name, code] of constants('REQUEST_FAULT_')) {
    const event = { kind: abi.TRACE_VERDICT, at: 0, low: code >>> 0, high: 0 }
    for (const { rule } of eventReferences(event)) assert.is(rule, `request fault ${LETTERS[name]}`)
  }
})

test('references: fault d on a disk of 4096-byte blocks -> whole blocks, data and sector; what is refused fits 512', async () => {
  const read = (sector: bigint, bytes: number): ScenarioRequest => ({
    type: spec.VIRTIO_BLK_T_IN,
    sector,
    pieces: [
      { writable: false, bytes: 16 },
      { writable: true, bytes },
      { writable: true, bytes: 1 },
    ],
  })
  const { trace, before } = await runScenario({
    device: { sectors: 64, queueSize: 16, blockSize: 4096 },
    actions: [{ do: 'kick', requests: [read(0n, 512), read(1n, 4096), read(8n, 4096)] }],
  })
  const walk = walkOf(trace, before)
  const decisions = walk.framesAt(0, walk.length).filter(({ kind }) => kind === 'decision')
  assert.equal(
    decisions.map(({ code }) => code),
    [abi.REQUEST_FAULT_ALIGNMENT, abi.REQUEST_FAULT_ALIGNMENT, abi.VERDICT_READ],
  )
  for (const { references } of decisions.slice(0, 2)) {
    const [first, ...others] = references
    assert.match(first?.why ?? '', /^Data and sector are whole blocks of blk_size/)
    assert.equal(
      others.map(({ row }) => row),
      ['blk.cfg.blk-size.1'],
    )
  }
})

test('references: every call but init, every register of the standard, and the rest -> a rule or a section', () => {
  const step = (call: Call, args: number[]): Step => {
    return { call, args, events: [], result: 0, planned: [], counters: [], nanos: 0 }
  }
  for (const call of Object.keys(ARGUMENTS) as Call[]) {
    if (call !== 'init') check(callReferences(step(call, [0, 4, 1])), call)
  }
  const registers = Object.entries(spec).filter(([name]) => /^VIRTIO_MMIO_(?!INT_|MAGIC$|VERSION_2$)/.test(name))
  assert.ok(registers.length >= 27)
  for (const [name, offset] of registers) {
    for (const call of ['mmioRead', 'mmioWrite'] as const) {
      for (const value of [0, 1]) check(callReferences(step(call, [offset, 4, value])), `${call} ${name}`)
    }
  }
  for (const [name, list] of Object.entries({ ...INTERRUPT_REFERENCES, ...DATA_REFERENCES })) check(list, name)
  check(DRIVER_REFERENCES, 'driver')
})

test('references: none, a rule or a section that is not there -> what the checks above look for', () => {
  assert.equal(eventReferences({ kind: 15, at: 0, low: 0, high: 0 }), [])
  assert.is(problems([]).length, 1)
  const good = { rule: 'rule 9', section: '2.7.6', row: 'avail.idx.1', why: 'Yes.' }
  assert.equal(problems([good]), [])
  for (const wrong of [{ rule: 'rule 99' }, { rule: 'request fault h' }, { section: '5.2.6' }, { row: 'no.row' }]) {
    assert.is(problems([{ ...good, ...wrong }]).length, 1, JSON.stringify(wrong))
  }
})

test.run()
