// The test guest's image, source and protocol agree: the image is what guest.s assembles to (where GNU as is), it was
// made from this guest.s (everywhere), and the numbers in guest.s are those of protocol.ts and of the standard.
// Does not run the guest: test/kvm does. WRITE_GUEST=1 writes the image anew.

import { readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as spec from '../../assembly/spec.ts'
import { assemble, canAssemble, digest, equates, IMAGE, imageText, SOURCE } from './assemble.ts'
import { GUEST_IMAGE, SOURCE_DIGEST } from './image.ts'
import * as protocol from './protocol.ts'

const test = suite('test guest')
const source = readFileSync(SOURCE, 'utf8')
const names = equates(source)

/** queueSize, with prefix PARAM -> PARAM_QUEUE_SIZE */
function equateName(prefix: string, name: string): string {
  const words = name.replace(/[A-Z]|\d+/g, (part) => `_${part}`)
  return `${prefix}_${words}`.toUpperCase()
}

function group(prefix: string): Record<string, number> {
  return Object.fromEntries([...names].filter(([name]) => name.startsWith(`${prefix}_`)))
}

if (canAssemble()) {
  if (process.env.WRITE_GUEST) writeFileSync(IMAGE, imageText(assemble(), source))

  test('guest.s, assembled here -> the committed image, byte for byte', () => {
    assert.is(readFileSync(IMAGE, 'utf8'), imageText(assemble(), source), 'see the head of image.ts')
  })
} else {
  console.log('skipped: no GNU as and ld for x86 here, the image of the test guest is not assembled anew')
}

test('the image was made from this guest.s', () => {
  if (!process.env.WRITE_GUEST) assert.is(SOURCE_DIGEST, digest(source), 'see the head of image.ts')
})

test('the image fits between its address and the parameter block, and starts with cli; cld', () => {
  assert.ok(GUEST_IMAGE.length > 1000)
  assert.ok(protocol.PLACE.load + GUEST_IMAGE.length <= protocol.PLACE.params)
  assert.equal([...GUEST_IMAGE.subarray(0, 2)], [0xfa, 0xfc])
})

test('memory: everything lies in the RAM asked for and nothing overlaps', () => {
  const at = (name: string): number => names.get(name) ?? Number.NaN
  const data = at('DATA') + at('BATCH_MAX') * (at('DATA_BYTES_MAX') + at('GUARD_BYTES'))
  const ends: [string, number][] = [
    ['LOAD', at('LOAD') + GUEST_IMAGE.length],
    ['PARAMS', at('PARAMS') + at('PARAM_SERIAL') + 20],
    ['RESULTS', at('RESULTS') + at('RESULT_BYTES')],
    ['IDT', at('IDT') + 8 * at('VECTORS')],
    ['PRIVATE', at('PRIVATE') + 1024],
    ['STACK_TOP', at('STACK_TOP')],
    ['DESC', at('DESC') + 16 * 1024],
    ['AVAIL', at('AVAIL') + 6 + 2 * 1024],
    ['USED', at('USED') + 6 + 8 * 1024],
    ['HEADERS', at('HEADERS') + 16 * at('BATCH_MAX')],
    ['STATUS', at('STATUS') + 4 * at('BATCH_MAX')],
    ['ID_BUFFER', at('ID_BUFFER') + 20 + 4],
    ['DATA', data],
  ]
  ends.forEach(([name, end], i) => {
    const next = ends[i + 1]
    assert.ok(end <= (next ? at(next[0]) : protocol.GUEST_RAM_BYTES), `${name} ends at 0x${end.toString(16)}`)
  })
  assert.is(at('LOAD'), protocol.PLACE.load)
  assert.is(at('PARAMS'), protocol.PLACE.params)
  assert.is(at('RESULTS'), protocol.PLACE.results)
})

test('the numbers of guest.s are those of protocol.ts, none missing on either side', () => {
  const { PARAM, RESULT, STATE, REPORT, STEP, FAIL, FLAG } = protocol
  for (const [prefix, table] of Object.entries({ PARAM, RESULT, STATE, REPORT, STEP, FAIL, FLAG })) {
    const here = Object.entries(table).map(([name, value]) => [equateName(prefix, name), value])
    assert.equal(group(prefix), Object.fromEntries(here), prefix)
  }
  assert.is(names.get('PARAMS_MAGIC'), protocol.PARAMS_MAGIC)
  assert.is(names.get('DEBUG_PORT'), protocol.DEBUG_PORT)
})

test('the numbers of the standard are those of spec.ts', () => {
  const known: Record<string, number> = { ...spec }
  const standard = Object.entries(group('VIRTIO')).concat(Object.entries(group('VIRTQ')))
  assert.ok(standard.length > 40)
  for (const [name, value] of standard) assert.is(value, known[name], name)
})

test('every failure and every step is used, and no two failures share a code', () => {
  const code = source.replace(/#.*$/gm, '').replace(/^\.equ \w+, (0x|\d).*$/gm, '')
  const unused = [...names.keys()].filter((name) => !new RegExp(`\\b${name}\\b`).test(code))
  assert.equal(
    unused.filter((name) => /^(FAIL|STEP|REPORT|FLAG|STATE|VIRTIO|VIRTQ)_/.test(name)),
    [],
  )
  const codes = Object.values(group('FAIL'))
  assert.is(new Set(codes).size, codes.length)
})

test('guest.s: lines of at most 120 columns', () => {
  assert.equal(
    source.split('\n').filter((line) => line.length > 120),
    [],
  )
})

const sample: protocol.GuestParameters = {
  window: 0xd0000000,
  irq: 5,
  interrupts: true,
  eventIdx: false,
  probe: false,
  queueSize: 128,
  batch: 32,
  requests: 64,
  dataBytes: 512,
  startSector: 8,
  seed: 1,
  resets: 0,
  spinLimit: 1,
  resetLimit: 1,
  graceReads: 1,
  quietReads: 1,
  capacitySectors: 2048,
  serial: 'serial',
}

test('parameters: what the guest cannot do is refused by name', () => {
  const ram = { view: (_: number, bytes: number) => new Uint8Array(bytes) }
  protocol.writeParameters(ram, sample)
  const wrong: [Partial<protocol.GuestParameters>, RegExp][] = [
    [{ batch: 0 }, /batch/],
    [{ batch: 33 }, /batch/],
    [{ queueSize: 64 }, /queueSize/],
    [{ requests: 7 }, /even/],
    [{ requests: -2 }, /requests/],
    [{ resets: 2 }, /resets/],
    [{ resets: 1, probe: true }, /probe/],
    [{ dataBytes: 100 }, /dataBytes/],
    [{ dataBytes: 8192 }, /dataBytes/],
    [{ capacitySectors: 39 }, /disk/],
    [{ spinLimit: 0 }, /spinLimit/],
    [{ irq: 16 }, /irq/],
  ]
  for (const [part, message] of wrong) {
    assert.throws(() => protocol.writeParameters(ram, { ...sample, ...part }), message, JSON.stringify(part))
  }
})

test('parameters: each is where the guest reads it', () => {
  const page = new Uint8Array(4096)
  const ram = { view: (gpa: number) => (gpa === protocol.PLACE.params ? page : new Uint8Array(4096)) }
  protocol.writeParameters(ram, { ...sample, capacitySectors: 3 * 2 ** 32 + 5 })
  const view = new DataView(page.buffer)
  const { PARAM } = protocol
  const word = (name: keyof typeof PARAM): number => view.getUint32(PARAM[name], true)
  assert.is(word('magic'), protocol.PARAMS_MAGIC)
  assert.is(word('flags'), protocol.FLAG.interrupts)
  assert.equal([word('window'), word('irq'), word('queueSize'), word('batch')], [0xd0000000, 5, 128, 32])
  assert.equal([word('capacityLow'), word('capacityHigh')], [5, 3])
  assert.equal([...page.subarray(PARAM.serial, PARAM.serial + 8)], [...Buffer.from('serial'), 0, 0])
})

test('a failure and a report are put into words', () => {
  const page = new Uint8Array(4096)
  const view = new DataView(page.buffer)
  const { RESULT, FAIL, STEP, STATE } = protocol
  const ram = { view: () => page }
  const set = (name: keyof typeof RESULT, value: number): void => view.setUint32(RESULT[name], value, true)
  set('state', STATE.failed)
  set('step', STEP.read)
  set('failure', FAIL.usedLength)
  set('got', 512)
  set('want', 513)
  set('requests', 9)
  const results = protocol.readResults(ram)
  assert.is(protocol.failureOf(results), 'usedLength')
  assert.is(
    protocol.describe(results),
    'usedLength at read, 9 requests done: a used length is wrong; got 0x200, want 0x201',
  )
  protocol.clearResults(ram)
  assert.is(protocol.failureOf(protocol.readResults(ram)), undefined)
  assert.is(protocol.describe(protocol.readResults(ram)), 'not started at no step, 0 requests done')
  assert.equal(protocol.decodeReport(0x05000045), { kind: 'done', value: 0x45 })
  assert.equal(protocol.decodeReport(0x77000001), { kind: undefined, value: 1 })
})

test.run()
