// Reset while a back end has requests that it has promised to answer (device rule 6): an old write may not land on top
// of a newer one, and a back end that does not come back within a second is seen by the guest until it has.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answered, each, pattern, unanswered } from '../support/device.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle, sleep, within } from '../support/within.ts'

const NEEDS_RESET = 0x40
const test = suite('device reset: late back end')

each(test, 'device rule 6: reset: old write in flight -> a new request waits until it has landed', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw } = fixture
  const old = pattern(512, 1)
  const fresh = pattern(512, 2)
  raw.negotiate().queue.run({ type: 1, sector: 3, dataOut: old })
  const { queue } = raw.negotiate()
  const write = queue.run({ type: 1, sector: 3, dataOut: fresh })
  assert.equal(backend.calls, ['write 1536+512'], 'the new write is not in the back end')
  unanswered(write)
  backend.finishAll()
  await settle()
  assert.equal(backend.calls, ['write 1536+512', 'write 1536+512'])
  backend.finishAll()
  await settle()
  answered(write, 0, 1)
  assert.equal(fixture.disk.bytes.slice(1536, 2048), fresh)
  assert.equal([fixture.counter('writesCompleted'), raw.reg.status], [1, 0x0f])
})

each(test, 'device rule 6: reset: back end away for 1 s -> NEEDS_RESET until it is back, then 0', async (f) => {
  for (const request of [{ type: 0, dataIn: 512 }, { type: 1, dataOut: pattern(512) }, { type: 4 }]) {
    const { fixture, backend } = await setUpLate(f)
    const { raw, device } = fixture
    raw.negotiate().queue.run(request)
    raw.reg.status = 0
    assert.is(raw.reg.status, 0)
    fixture.advance(999_999_999)
    device.poll()
    assert.is(raw.reg.status, 0, 'before the second is over')
    fixture.advance(1)
    device.poll()
    assert.is(raw.reg.status, NEEDS_RESET)
    assert.equal([fixture.interrupts, raw.reg.interruptStatus, fixture.failures.length], [0, 0, 1])
    raw.reg.status = 1
    assert.is(raw.reg.status, NEEDS_RESET, 'set-up has to wait')
    raw.reg.status = 0
    assert.is(raw.reg.status, NEEDS_RESET, 'a second reset changes nothing')
    const before = fixture.ram()
    backend.finishAll()
    await settle()
    assert.is(raw.reg.status, 0, 'the reset completed by itself')
    assert.ok(before.equals(fixture.ram()))
    assert.equal([fixture.interrupts, fixture.failures.length], [0, 1])
    raw.negotiate().queue.run({ type: 4 })
    backend.finishAll()
    await settle()
    assert.is(fixture.counter('flushesCompleted'), 1)
  }
})

each(test, 'device rule 6: reset: back end away, driver up again -> told once by interrupt, then reset', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw, device } = fixture
  raw.negotiate().queue.run({ type: 1, dataOut: pattern(512) })
  const { queue } = raw.negotiate()
  const flush = queue.run({ type: 4 })
  fixture.advance(1e9)
  device.poll()
  device.poll()
  assert.equal([raw.reg.status, raw.reg.interruptStatus, fixture.interrupts], [0x0f | NEEDS_RESET, 2, 1])
  backend.finishAll()
  await settle()
  assert.equal([raw.reg.status, raw.reg.interruptStatus], [0, 0])
  unanswered(flush)
  assert.is(backend.calls.length, 1, 'the request of the driver in between is gone with its reset')
})

each(test, 'device rule 6: reset: back end away -> the device sees to the second itself', async (f) => {
  const { fixture, backend } = await setUpLate(f, { realTime: true })
  const { raw, device } = fixture
  raw.negotiate().queue.run({ type: 4 })
  raw.reg.status = 0
  await within(
    5000,
    (async () => {
      while (raw.reg.status === 0) await sleep(20)
    })(),
  )
  assert.is(raw.reg.status, NEEDS_RESET)
  backend.finishAll()
  await settle()
  assert.is(raw.reg.status, 0)
  await device.close()
})

each(test, 'device rules 6 and 7: reset: trap with requests in flight -> they do not reset the device', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { raw, device } = fixture
  const { queue } = raw.negotiate()
  queue.run({ type: 4 })
  queue.setAvailIdx(1000)
  queue.kick()
  const down = raw.reg.status
  assert.is(down & NEEDS_RESET, NEEDS_RESET)
  fixture.advance(2e9)
  device.poll()
  backend.finishAll()
  await settle()
  device.poll()
  assert.is(raw.reg.status, down, 'only the driver resets a device that failed')
})

test.run()
