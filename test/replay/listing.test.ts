// The listing of a trace: requests put together from steps, and what stands between them. Steps that a polite driver
// does not make are written by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../../assembly/abi.ts'
import {
  descriptorText,
  type Listed,
  type ListedEvent,
  type ListedRequest,
  Lister,
  list,
} from '../../host/replay/listing.ts'
import { Recorder } from '../../host/replay/recorder.ts'
import type { Step, TraceEvent } from '../../host/replay/step.ts'
import { Trace } from '../../host/replay/trace.ts'
import { recordScript } from '../support/record.ts'

const test = suite('listing')

function requestsOf(trace: Trace): ListedRequest[] {
  return list(trace).filter((one): one is ListedRequest => one.kind === 'request')
}

function eventsOf(trace: Trace): ListedEvent[] {
  return list(trace).filter((one): one is ListedEvent => one.kind === 'event')
}

test('requests: type, sector, decision, status and used length of each, in order', async () => {
  const seen = requestsOf(await recordScript()).map(({ type, sector, text, status, usedLen, result }) => {
    return [type, sector, text, status, usedLen, result]
  })
  assert.equal(seen, [
    [1, 0n, 'write (rule 11)', 0, 1, 1024],
    [0, 0n, 'read (rule 11)', 0, 4097, 4096],
    [4, 0n, 'flush (rule 12)', 0, 1, 0],
    [8, 0n, 'GET_ID (rule 14)', 0, 21, undefined],
    [0, 0n, 'read (rule 11)', 0, 513, 512],
    [0, 8n, 'read (rule 11)', 0, 513, 512],
    [0, 300n, 'IOERR, past the end of the disk (fault f)', 1, 0, undefined],
  ])
})

test('requests: the chain and the data as they were loaded, and the steps they took', async () => {
  const [write] = requestsOf(await recordScript())
  assert.ok(write)
  assert.equal(
    write.descriptors.map(({ len, flags }) => [len, flags]),
    [
      [16, 1],
      [1024, 1],
      [1, 2],
    ],
  )
  const [, data] = write.descriptors
  assert.equal(write.segments, [{ gpa: Number(data?.addr), len: 1024 }])
  assert.is(write.endStep, write.step + 1)
  assert.is(write.duration, 1000)
})

test('events: stalls without a request of their own, the limits and the size as they were set', async () => {
  const events = eventsOf(await recordScript())
  const of = (what: string): string[] => events.filter((one) => one.what === what).map(({ text }) => text)
  assert.equal(of('stall'), [
    'queue 0: head 0 waits 1000 ms for tokens',
    'queue 0: head 0 waits 600 ms for tokens',
    'queue 0: head 0 waits 200 ms for tokens',
  ])
  assert.equal(of('host'), [
    'throttle set: no limits',
    'throttle set: 1 requests a second, bursts of 1',
    'throttle set: no limits',
    'capacity set: 256 sectors',
  ])
  assert.ok(of('write').includes('QueueSize = 0x100'))
  assert.is(of('reset').length, 2)
  assert.is(of('interrupt').filter((text) => text === 'interrupt, configuration').length, 1)
})

function step(call: Step['call'], args: number[], result: number | undefined, more: Partial<Step> = {}): Step {
  return { call, args, result, events: [], planned: [], counters: [], nanos: 0, ...more }
}

function event(kind: number, low: number, high = 0): TraceEvent {
  return { kind, at: 0, low, high }
}

const DESCRIPTOR = [event(abi.TRACE_DESC_ADDR, 0x1000, 0x80000000), event(abi.TRACE_DESC_REST, 16, 0x0002_0003)]

test('ring fault: the head and the chain as far as it was read', () => {
  const events = [event(abi.TRACE_HEAD, 5), ...DESCRIPTOR, event(abi.TRACE_RING_FAULT, abi.RING_FAULT_NEXT >>> 0)]
  const listed = list(new Trace([step('plan', [0, 0, 64], abi.PLAN_POISONED << 16, { events })]))
  assert.equal(listed, [
    {
      kind: 'event',
      step: 0,
      nanos: 0,
      what: 'ring fault',
      text: 'queue 0: next outside the queue (ring faults), at head 5, chain 0x8000000000001000+16(nw)',
    },
  ])
})

test('descriptor: flags that have no letter are a number', () => {
  assert.is(descriptorText({ addr: 4096n, len: 1, flags: 0x8006, next: 0 }), '0x1000+1(wi+0x8000)')
})

test('header in pieces: type and sector are put together', () => {
  const bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0x39, 0x30, 0, 0, 0, 0, 0, 0x80]
  const header = bytes.map((byte) => event(abi.TRACE_HEADER_BYTE, byte))
  const verdict = event(abi.TRACE_VERDICT, abi.REQUEST_FAULT_RANGE >>> 0)
  const events = [event(abi.TRACE_HEAD, 1), ...DESCRIPTOR, ...header, verdict, event(abi.TRACE_STATUS, 1)]
  const [request] = requestsOf(new Trace([step('plan', [0, 0, 64], 0, { events })]))
  assert.is(request?.type, 0)
  assert.is(request?.sector, 0x8000000000003039n)
  assert.is(request?.status, 1)
})

const PLANNED = { slot: 0, op: 1, sectorLow: 0, sectorHigh: 0, dataBytes: 512, head: 3, segments: [] }
const READ = [event(abi.TRACE_HEAD, 3), ...DESCRIPTOR, event(abi.TRACE_TYPE, 0), event(abi.TRACE_VERDICT, 1)]
const TAKEN = step('plan', [0, 0, 64], 1, { events: READ, planned: [PLANNED] })

test('reset with a request in flight: dropped, and its answer comes late', () => {
  const reset = step('mmioWrite', [0x70, 4, 0], abi.EFFECT_RESET)
  const listed = list(new Trace([TAKEN, reset, step('complete', [0, 512], abi.COMPLETE_STALE)]))
  const [request, ...events] = listed as [ListedRequest, ...ListedEvent[]]
  assert.is(request.status, undefined)
  assert.is(request.dropped, 'the device was reset (step 1)')
  assert.equal(
    events.map(({ what, text }) => [what, text]),
    [
      ['write', 'Status = 0x0'],
      ['reset', 'reset; requests in flight: 1'],
      ['late', 'the answer of head 3 (step 0) comes after a reset and goes nowhere'],
    ],
  )
})

test('the same slot twice without an answer: the first request is dropped', () => {
  const [first, second] = requestsOf(new Trace([TAKEN, TAKEN]))
  assert.match(first?.dropped ?? '', 'its record was given to another request (step 1)')
  assert.is(second?.dropped, undefined)
})

test('while it is recorded: each step as it is made -> the steps and the listing of the trace, drained at will', async () => {
  let tick = 0
  const lister = new Lister()
  const steps: Step[] = []
  const listed: Listed[] = []
  const bytes: number[] = []
  const recorder: Recorder = new Recorder({
    clock: () => (tick += 1000),
    onStep(number, step) {
      assert.is(number, steps.length)
      steps.push(step)
      bytes.push(recorder.bytes)
      lister.take(number, step)
      listed.push(...lister.drain())
    },
  })
  const trace = await recordScript({ recorder })
  assert.equal(steps, trace.steps)
  assert.equal(listed, list(trace))
  assert.equal(lister.drain(), [])
  assert.ok(
    bytes.every((now, i) => now > (bytes[i - 1] ?? 0)),
    'it grows with each step',
  )
})

test('write-through: the answer counts with the flush, not before', () => {
  const done = { events: [event(abi.TRACE_STATUS, 0), event(abi.TRACE_USED_ELEMENT, 3, 1)], nanos: 50 }
  const steps = [TAKEN, step('complete', [0, 512], abi.COMPLETE_FLUSH), step('complete', [0, 0], 0, done)]
  const [request] = requestsOf(new Trace(steps))
  assert.is(request?.endStep, 2)
  assert.is(request?.duration, 50)
  assert.is(request?.usedLen, 1)
})

test('trap, failure, kick by eventfd, wrong slot: a line each', () => {
  const steps = [
    step('publish', [0], undefined),
    step('fail', [1], abi.EFFECT_INTERRUPT),
    step('kicked', [0, 3], 0),
    step('complete', [7, 0], abi.COMPLETE_BAD_SLOT >>> 0),
  ]
  assert.equal(
    eventsOf(new Trace(steps)).map(({ what }) => what),
    ['trap', 'host', 'interrupt', 'kick', 'late'],
  )
})

test.run()
