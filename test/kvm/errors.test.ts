// KvmError on its way from a vCPU's thread to the one that made the machine: callers tell it by its class.

import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fromThread, KvmError } from '../../host/kvm/errors.ts'

const test = suite('kvm/errors')

function thrownOnThread(program: string): Promise<Error> {
  return new Promise((resolve) => new Worker(program, { eval: true }).once('error', resolve))
}

test('a KvmError of another thread -> a KvmError with its code and message', async () => {
  const { message, name } = new KvmError('EINVAL', 'KVM_SET_CPUID2: 40 entries')
  const arrived = await thrownOnThread(
    `throw Object.assign(new Error('${message}'), { name: '${name}', code: 'EINVAL' })`,
  )
  assert.not.instance(arrived, KvmError)
  const error = fromThread(arrived)
  assert.instance(error, KvmError)
  assert.equal([(error as KvmError).code, error.message], ['EINVAL', message])
})

test('any other error of another thread -> itself', async () => {
  const arrived = await thrownOnThread("throw new RangeError('no')")
  assert.is(fromThread(arrived), arrived)
})

test.run()
