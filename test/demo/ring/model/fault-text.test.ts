// What a decision says of the request that it refuses: the descriptor, the sector, the bytes of this one, for each
// switch of the form that makes a request fault.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as spec from '../../../../assembly/spec.ts'
import { BREAKAGES, type BreakageId } from '../../../../host/demo/ring/model/breakages.ts'
import { runScenario } from '../../../../host/demo/ring/model/run-scenario.ts'
import type { ScenarioDevice, ScenarioRequest } from '../../../../host/demo/ring/model/scenario.ts'
import { walkOf } from '../../../../host/demo/ring/model/walk.ts'

const test = suite('ring: particulars of a fault')

const DEVICE: ScenarioDevice = { sectors: 128, queueSize: 16, flush: true }
const HEADER = { writable: false, bytes: 16 }
const STATUS = { writable: true, bytes: 1 }

const READ: ScenarioRequest = {
  type: spec.VIRTIO_BLK_T_IN,
  sector: 1n,
  pieces: [HEADER, { writable: true, bytes: 1024 }, STATUS],
}
const WRITE: ScenarioRequest = {
  type: spec.VIRTIO_BLK_T_OUT,
  sector: 1n,
  pieces: [HEADER, { writable: false, bytes: 512 }, STATUS],
}

/** The sentence of the decision. */
async function decisionOn(request: ScenarioRequest): Promise<string> {
  const { trace, before } = await runScenario({ device: DEVICE, actions: [{ do: 'kick', requests: [request] }] })
  const walk = walkOf(trace, before)
  return walk.framesAt(0, walk.length).find(({ field }) => field === 'verdict')?.text ?? ''
}

function broken(request: ScenarioRequest, id: BreakageId): ScenarioRequest {
  const breakage = BREAKAGES.find((one) => one.id === id)
  if (!breakage) throw new Error(id)
  return breakage.apply(request, DEVICE)
}

const SAID: readonly (readonly [request: ScenarioRequest, id: BreakageId, detail: RegExp])[] = [
  [READ, 'data-direction', /: descriptor 1 is readable, but a read \(IN\) needs it WRITE$/],
  [WRITE, 'data-direction', /: descriptor 1 is WRITE, but a write \(OUT\) needs it readable$/],
  [READ, 'data-order', /: descriptor 2 is readable and comes after descriptor 1, which is WRITE$/],
  [READ, 'header-short', /: the chain has 15 readable bytes$/],
  [READ, 'header-outside', /: 16 bytes at 0x[\da-f]+ are not all in guest RAM$/],
  [READ, 'data-outside', /: 1024 bytes at 0x[\da-f]+ are not all in guest RAM$/],
  [READ, 'data-odd', /: 1025 bytes of data at sector 1$/],
  [READ, 'sector-end', /: 2 sectors from sector 128 on, of a disk with 128$/],
  [READ, 'sector-max', /: 2 sectors from sector 18446744073709551615 on, of a disk with 128$/],
  [READ, 'type-unknown', /: the header says type 99$/],
]

for (const [request, id, detail] of SAID) {
  test(`${id} of type ${request.type} -> its own particulars`, async () => {
    assert.match(await decisionOn(broken(request, id)), detail)
  })
}

test('flush with data, GET_ID with too little -> how much', async () => {
  const data = { writable: true, bytes: 19 }
  const flush = { ...READ, type: spec.VIRTIO_BLK_T_FLUSH, sector: 0n, pieces: [HEADER, data, STATUS] }
  assert.match(await decisionOn(flush), /\(fault c; 5\.2\.6\.1\): this one has 19 bytes$/)
  assert.match(await decisionOn({ ...flush, type: spec.VIRTIO_BLK_T_GET_ID }), /: the buffer has 19 bytes$/)
})

test('what is whole -> nothing more than the decision', async () => {
  assert.is(await decisionOn(READ), 'decision on head 0: read (rule 11; 5.2.6)')
  assert.is(await decisionOn(WRITE), 'decision on head 0: write (rule 11; 5.2.6)')
})

test.run()
