// The file of a saved machine: what was put in comes out, and a file that is not whole, not right or not ours is
// refused with the place, whatever byte of it is wrong. Expected offsets are those of the table in saved-machine.ts.

import { gzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  isSavedMachine,
  packSavedMachine,
  type SavedMachine,
  SavedMachineError,
  unpackSavedMachine,
} from '../../host/vmm/saved-machine.ts'

const saved = suite('saved machine')

const MACHINE: SavedMachine = {
  version: '0.5.462+g5f9a90f',
  memoryBytes: 96 << 20,
  window: 0xc0001000,
  irq: 5,
  console: { token: '0123456789abcdef'.repeat(2), begun: true, held: '\r\n@@vblk' },
  hasScript: true,
  image: { bytes: 64 << 20, modified: '1700000000123456789', isReadOnly: false },
  machine: { state: Uint8Array.from({ length: 3000 }, (_, i) => (i * i) >> 3), typed: Uint8Array.of(3, 200, 10) },
  disk: Uint8Array.of(1, 2, 3, 4, 5),
}

async function refusal(file: Uint8Array): Promise<string> {
  try {
    await unpackSavedMachine(file)
  } catch (error) {
    assert.instance(error, SavedMachineError)
    return (error as Error).message
  }
  throw new Error('it was read')
}

/** As gzip writes it at its end. */
function crc(bytes: Uint8Array): number {
  const zipped = gzipSync(bytes)
  return zipped.readUInt32LE(zipped.length - 8)
}

/** Puts other facts in, with the right lengths and checksums. */
function withFacts(file: Uint8Array, text: string): Uint8Array {
  const facts = Buffer.from(text)
  const old = Buffer.from(file)
  const rest = old.subarray(40 + old.readUInt32LE(12))
  const made = Buffer.concat([old.subarray(0, 40), facts, rest])
  made.writeUInt32LE(facts.length, 12)
  made.writeUInt32LE(crc(facts), 16)
  made.writeUInt32LE(crc(made.subarray(0, 36)), 36)
  return made
}

function factsOf(file: Uint8Array): Record<string, unknown> {
  const bytes = Buffer.from(file)
  return JSON.parse(bytes.toString('utf8', 40, 40 + bytes.readUInt32LE(12)))
}

saved('packed and unpacked -> the same, and known by its beginning', async () => {
  const file = await packSavedMachine(MACHINE)
  assert.is(Buffer.from(file).toString('latin1', 0, 8), 'VBLKSAVE')
  assert.ok(isSavedMachine(file))
  assert.not.ok(isSavedMachine(Buffer.from('VBLKSAV')))
  assert.equal(await unpackSavedMachine(file), MACHINE)
})

saved('a disk or typed text of no bytes -> the same', async () => {
  const machine = { ...MACHINE, disk: new Uint8Array(), machine: { ...MACHINE.machine, typed: new Uint8Array() } }
  assert.equal(await unpackSavedMachine(await packSavedMachine(machine)), machine)
})

saved('cut off after any number of bytes -> refused, with how many there are', async () => {
  const file = await packSavedMachine(MACHINE)
  for (let length = 0; length < file.length; length++) {
    const message = await refusal(file.subarray(0, length))
    if (length >= 8) assert.match(message, `cut off: ${length} bytes`)
  }
  assert.match(
    await refusal(Buffer.concat([file, Buffer.of(0)])),
    `damaged: 1 bytes follow its end at byte ${file.length}`,
  )
})

saved('any byte changed -> refused, with the part and where it is', async () => {
  const file = await packSavedMachine(MACHINE)
  const facts = Buffer.from(file).readUInt32LE(12)
  for (let at = 0; at < file.length; at++) {
    for (const flip of [1, 0x80]) {
      const changed = file.slice()
      changed[at] = (changed[at] as number) ^ flip
      const message = await refusal(changed)
      if (at < 8) assert.match(message, 'another kind of file')
      else if (at < 12) assert.match(message, /version \d+ at byte 8|the header/)
      else if (at < 40) assert.match(message, 'the header, bytes 0 to 39')
      else if (at < 40 + facts) assert.match(message, `"facts", bytes 40 to ${39 + facts}`)
      else if (at < 45 + facts) assert.match(message, `"disk", bytes ${40 + facts} to ${44 + facts}`)
      else assert.match(message, `"machine", bytes ${45 + facts} to ${file.length - 1}`)
    }
  }
})

saved('made by a newer version -> refused as such, whatever the rest is like', async () => {
  const file = Buffer.from(await packSavedMachine(MACHINE))
  file.writeUInt32LE(2, 8)
  assert.match(await refusal(file), 'version 2 at byte 8, made by a newer vblk; this one reads up to 1')
})

saved('facts that cannot be, with right checksums -> refused, naming the field', async () => {
  const file = await packSavedMachine(MACHINE)
  const facts = factsOf(file)
  const { console, image } = MACHINE
  const wrong: [string, Record<string, unknown>][] = [
    ['version', { version: 5 }],
    ['memoryBytes', { memoryBytes: 1 }],
    ['memoryBytes', { memoryBytes: 2 ** 40 }],
    ['memoryBytes', { memoryBytes: undefined }],
    ['window', { window: 0xc0001004 }],
    ['irq', { irq: -1 }],
    ['console.token', { console: { ...console, token: '$(reboot)' } }],
    ['console.token', { console: null }],
    ['console.begun', { console: { ...console, begun: 1 } }],
    ['console.held', { console: { ...console, held: 'x'.repeat(1000) } }],
    ['hasScript', { hasScript: 'yes' }],
    ['image.bytes', { image: { ...image, bytes: 1.5 } }],
    ['image.modified', { image: { ...image, modified: 'now' } }],
    ['image.isReadOnly', { image: { ...image, isReadOnly: undefined } }],
    ['typed', { typed: [256] }],
    ['typed', { typed: 'text' }],
    ['stateBytes', { stateBytes: 2 ** 35 }],
  ]
  for (const [name, change] of wrong) {
    assert.match(await refusal(withFacts(file, JSON.stringify({ ...facts, ...change }))), `the field ${name} `)
  }
  for (const text of ['null', '[]', '"x"', '7'])
    assert.match(await refusal(withFacts(file, text)), 'the field version ')
  assert.match(await refusal(withFacts(file, '{')), 'is not JSON')
})

saved('a state longer or shorter than the facts say -> refused, and not read to its end', async () => {
  const file = await packSavedMachine(MACHINE)
  const facts = factsOf(file)
  const said = (stateBytes: number): Uint8Array => withFacts(file, JSON.stringify({ ...facts, stateBytes }))
  assert.match(await refusal(said(2999)), '3000 bytes, decompressed, and should have 2999')
  assert.match(await refusal(said(3001)), '3000 bytes, decompressed, and should have 3001')
})

saved.run()
