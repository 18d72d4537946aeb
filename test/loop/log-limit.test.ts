// What a guest can make a worker say is limited: the first messages, then one a second, and none is lost uncounted.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { limited } from '../../host/loop/log-limit.ts'

const test = suite('loop log limit')

test('20 messages at once, then one a second that says how many were kept back', () => {
  let now = 5e9
  const told: string[] = []
  const say = limited(
    (message) => told.push(message),
    () => now,
  )
  for (let i = 0; i < 1000; i++) say(`a${i}`)
  assert.equal(told.slice(0, 2), ['a0', 'a1'])
  assert.is(told.length, 20)
  now += 999_999_999
  say('b')
  assert.is(told.length, 20)
  now += 1
  say('c')
  say('d')
  assert.equal(told.slice(20), ['c (and 981 more messages in between)'])
  now += 1e9
  say('e')
  assert.equal(told.slice(21), ['e (and 1 more messages in between)'])
})

test.run()
