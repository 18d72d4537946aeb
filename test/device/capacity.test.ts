// setCapacity (device rule 27): config space, ConfigGeneration and a CONFIG interrupt, whether the device is idle, at
// work or stalled; requests beyond the new end get IOERR. No interrupt where no driver is running.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answered, diskBytes, each, pattern, setUp, unanswered } from '../support/device.ts'
import { setUpLate } from '../support/late-backend.ts'
import { settle } from '../support/within.ts'

const test = suite('device capacity')

each(
  test,
  'device rule 27: setCapacity: idle device -> config, generation +1, CONFIG bit, one interrupt',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, device } = fixture
    raw.negotiate()
    assert.equal([raw.reg.config64(0), raw.reg.interruptStatus], [2048n, 0])
    const generation = raw.reg.configGeneration
    const gain = fixture.gained(['interrupts'], () => device.setCapacity(512 * 100))
    assert.equal([raw.reg.config64(0), raw.reg.configGeneration, raw.reg.interruptStatus], [100n, generation + 1, 2])
    assert.equal([fixture.interrupts, gain, raw.reg.status], [1, { interrupts: 1 }, 0x0f])
    // Acknowledged, it comes again with the next change.
    raw.reg.interruptAck(2)
    device.setCapacity(512 * 200)
    assert.equal([raw.reg.config64(0), raw.reg.configGeneration, raw.reg.interruptStatus], [200n, generation + 2, 2])
    assert.is(fixture.interrupts, 2)
  },
)

each(test, 'device rule 27: setCapacity: any size -> whole sectors, 64 bits, other fields as they were', async (f) => {
  const { raw, device } = await setUp(f)
  raw.negotiate()
  const rest = Array.from({ length: 22 }, (_, i) => raw.reg.config(8 + i * 4))
  for (const [bytes, sectors] of [
    [0, 0n],
    [511, 0n],
    [512, 1n],
    [1023, 1n],
    [2 ** 41, 4294967296n],
    [2 ** 41 + 512 * 3, 4294967299n],
    [2 ** 53 - 1, 17592186044415n],
  ] as const) {
    device.setCapacity(bytes)
    assert.is(raw.reg.config64(0), sectors)
  }
  assert.equal(
    Array.from({ length: 22 }, (_, i) => raw.reg.config(8 + i * 4)),
    rest,
  )
  for (const bytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    assert.throws(() => device.setCapacity(bytes), /capacity/)
  }
  assert.is(raw.reg.config64(0), 17592186044415n)
})

each(
  test,
  'device rule 27: setCapacity: suppressed ring interrupts -> the CONFIG interrupt fires all the same',
  async (f) => {
    const fixture = await setUp(f)
    for (const eventIdx of [false, true]) {
      const { queue } = fixture.raw.negotiate({ eventIdx })
      queue.availFlags = 1
      queue.usedEvent = 0x8000
      const { interrupts } = fixture
      fixture.device.setCapacity(4096)
      assert.equal([fixture.interrupts, fixture.raw.reg.interruptStatus], [interrupts + 1, 2])
    }
  },
)

each(
  test,
  'device rule 27: setCapacity: no driver, or FAILED or NEEDS_RESET -> config changes, no interrupt',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, device } = fixture
    let sectors = 10
    const silent = (about: string): void => {
      const { interrupts } = fixture
      const generation = raw.reg.configGeneration
      const status = raw.reg.interruptStatus
      device.setCapacity(++sectors * 512)
      assert.equal([raw.reg.config64(0), raw.reg.configGeneration], [BigInt(sectors), generation + 1], about)
      assert.equal([fixture.interrupts, raw.reg.interruptStatus], [interrupts, status], about)
    }
    silent('before any driver')
    for (const upTo of ['reset', 'acknowledge', 'driver', 'featuresOk', 'queues'] as const) {
      raw.negotiate({ upTo })
      silent(upTo)
    }
    raw.negotiate()
    raw.reg.status = 0x8f
    silent('FAILED')
    const { queue } = raw.negotiate()
    queue.submit(0xffff)
    assert.is(raw.reg.status, 0x4f)
    silent('NEEDS_RESET')
    // It survives the reset.
    raw.negotiate()
    assert.is(raw.reg.config64(0), BigInt(sectors))
  },
)

each(
  test,
  'device rule 27: setCapacity: stalled device -> interrupt at once, the stalled head goes on later',
  async (f) => {
    const fixture = await setUp(f, { device: { throttle: { iops: 1 } } })
    const { raw, device } = fixture
    const { queue } = raw.negotiate()
    answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
    raw.reg.interruptAck(1)
    const beyond = queue.run({ type: 0, sector: 2000, dataIn: 512 })
    const { interrupts } = fixture
    device.setCapacity(512 * 2000)
    assert.equal([raw.reg.interruptStatus, fixture.interrupts], [2, interrupts + 1])
    unanswered(beyond)
    fixture.advance(1e9)
    device.poll()
    answered(beyond, 1, 0)
  },
)

each(
  test,
  'device rule 27: setCapacity: smaller -> IOERR beyond the new end, OK up to it; larger -> OK again',
  async (f) => {
    const fixture = await setUp(f)
    const { raw, device } = fixture
    const { queue } = raw.negotiate()
    device.setCapacity(512 * 8)
    for (const [sector, count, status] of [
      [0, 8, 0],
      [7, 1, 0],
      [8, 1, 1],
      [7, 2, 1],
      [100, 1, 1],
    ] as const) {
      answered(queue.run({ type: 0, sector, dataIn: 512 * count }), status, status ? 0 : 512 * count + 1, `${sector}`)
      answered(queue.run({ type: 1, sector, dataOut: pattern(512 * count) }), status, 1, `OUT ${sector}`)
    }
    assert.equal(fixture.disk.bytes.slice(4096, 4608), diskBytes(4096, 512))
    device.setCapacity(512 * 9)
    answered(queue.run({ type: 0, sector: 8, dataIn: 512 }), 0, 513)
    answered(queue.run({ type: 0, sector: 9, dataIn: 512 }), 1, 0)
    device.setCapacity(0)
    answered(queue.run({ type: 0, sector: 0, dataIn: 512 }), 1, 0)
    answered(queue.run({ type: 4 }), 0, 1)
  },
)

each(test, 'device rule 27: setCapacity: larger than the backing -> zeros past its end', async (f) => {
  const fixture = await setUp(f, { diskBytes: 4096 })
  const { queue } = fixture.raw.negotiate()
  fixture.device.setCapacity(8192)
  const read = queue.run({ type: 0, sector: 7, dataIn: 1024 })
  answered(read, 0, 1025)
  assert.equal(read.data(), Uint8Array.of(...diskBytes(3584, 512), ...new Uint8Array(512)))
})

each(test, 'device rule 27: setCapacity: smaller while requests are in flight -> they end as they began', async (f) => {
  const { fixture, backend } = await setUpLate(f)
  const { queue } = fixture.raw.negotiate()
  const read = queue.run({ type: 0, sector: 100, dataIn: 512 })
  fixture.device.setCapacity(4096)
  const beyond = queue.run({ type: 0, sector: 100, dataIn: 512 })
  answered(beyond, 1, 0)
  backend?.finishAll()
  await settle()
  answered(read, 0, 513)
  assert.equal(read.data(), diskBytes(51200, 512))
})

each(test, 'device rule 27: setCapacity: from inside the back end and the interrupt handler -> taken', async (f) => {
  const act: { now?: (() => void) | undefined } = {}
  const once = (): void => {
    const { now } = act
    act.now = undefined
    now?.()
  }
  const fixture = await setUp(f, {
    onInterrupt: once,
    backend: (disk) => ({
      capacityBytes: disk.capacityBytes,
      inPlace: true,
      read: (offset, into) => {
        once()
        return disk.read(offset, into)
      },
      write: () => 0,
      flush: () => {},
    }),
  })
  const { queue } = fixture.raw.negotiate()
  act.now = () => fixture.device.setCapacity(4096)
  answered(queue.run({ type: 0, dataIn: 512 }), 0, 513)
  assert.equal([fixture.raw.reg.config64(0), fixture.raw.reg.interruptStatus], [8n, 3])
  act.now = () => fixture.device.setCapacity(8192)
  answered(queue.run({ type: 4 }), 0, 1)
  assert.is(fixture.raw.reg.config64(0), 16n)
})

test.run()
