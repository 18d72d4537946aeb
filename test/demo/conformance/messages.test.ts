// What the conformance worker accepts: each task as the page sends it, and one line about anything else.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseRequest } from '../../../host/demo/conformance/messages.ts'

const test = suite('conformance view: messages')

const file = new Uint8Array(4)

test('requests of the page -> taken as they are', () => {
  for (const task of [
    { kind: 'run', flavour: 'release' },
    { kind: 'run', flavour: 'trace-shared', id: 'mmio.magic.1' },
    { kind: 'record', flavour: 'trace', id: 'status.1' },
    { kind: 'replay', flavours: ['release', 'shared'], file },
    { kind: 'replay', flavours: [], file },
  ]) {
    const request = { job: 3, task }
    assert.is(parseRequest(request), request)
  }
})

const REFUSED: readonly [about: string, message: unknown, line: RegExp][] = [
  ['nothing', undefined, /^a request is an object/],
  ['a text', 'run', /^a request is an object/],
  ['no job', { task: { kind: 'run', flavour: 'release' } }, /^a request needs the number of its job$/],
  ['no task', { job: 1 }, /^a request is an object/],
  ['another task', { job: 1, task: { kind: 'format' } }, /^there is no task 'format'$/],
  ['another flavour', { job: 1, task: { kind: 'run', flavour: 'debug' } }, /^there is no flavour 'debug' .* release, /],
  ['another rule', { job: 1, task: { kind: 'run', flavour: 'trace', id: 'a.1' } }, /^there is no rule 'a.1'$/],
  ['no rule to record', { job: 1, task: { kind: 'record', flavour: 'trace' } }, /^there is no rule 'undefined'$/],
  ['no file', { job: 1, task: { kind: 'replay', flavours: [] } }, /^a trace is replayed from the bytes/],
  ['no flavours', { job: 1, task: { kind: 'replay', file } }, /^a trace is replayed on a list/],
  ['one wrong', { job: 1, task: { kind: 'replay', file, flavours: ['trace', 1] } }, /^there is no flavour '1'/],
]

for (const [about, message, line] of REFUSED) {
  test(`refused: ${about} -> said in one line`, () => {
    assert.throws(
      () => parseRequest(message),
      (error: Error) => line.test(error.message),
    )
  })
}

test.run()
