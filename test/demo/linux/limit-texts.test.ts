// Limits as people type them in the Linux view, and what is said of those that are none.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { limitsOf } from '../../../host/demo/linux/limit-texts.ts'

const test = suite('linux limit texts')

const NONE = { iops: '', iopsBurst: '', bytesPerSecond: '', bytesBurst: '' }

test('texts: numbers, grouped or not -> limits; empty -> none', () => {
  assert.equal(limitsOf(NONE), {})
  const texts = { iops: ' 20 ', iopsBurst: '0040', bytesPerSecond: '1,048,576', bytesBurst: '2_000 000' }
  assert.equal(limitsOf(texts), { iops: 20n, iopsBurst: 40n, bytesPerSecond: 1048576n, bytesBurst: 2000000n })
})

test('texts: no whole number from 1 on -> said so, by the name of the field', () => {
  for (const text of ['-3', '0', '00', '1.5', '1e6', 'many']) {
    const message = `Requests a second: a whole number from 1 on, not ${text}; leave it empty for no limit`
    assert.throws(
      () => limitsOf({ ...NONE, iops: ` ${text}` }),
      (error: Error) => error.message === message,
    )
  }
})

test('texts: numbers that are no limits -> the reason of the disk', () => {
  assert.throws(() => limitsOf({ ...NONE, iops: '5', iopsBurst: '3' }), 'iopsBurst (3) must be >= iops (5)')
  assert.throws(() => limitsOf({ ...NONE, bytesBurst: '3' }), 'bytesBurst is set without bytesPerSecond')
})

test.run()
