// The device against the model, side by side: random scenarios (chains.ts) are done to both over equal guest
// memories, and after each step all that can be seen must be equal (rig.ts). When they differ, the shrunk scenario is
// printed step by step with the seed: `SEED=n npm test` repeats it. `RUNS=n` asks for more than the usual number of
// chains. Each device also has its 16-bit ring indices driven past their wrap, and plays a few pinned scenarios.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VirtioBlk } from '../../host/device/virtio-blk.ts'
import {
  type ChainSpec,
  type Desc,
  type DeviceOptions,
  describeScenario,
  type Fault,
  LAYOUTS,
  type Layout,
  type Negotiation,
  registerScenario,
  type Scenario,
  scenario,
} from '../support/chains.ts'
import { type Flavour, flavours } from '../support/engines.ts'
import { fromEnvironment } from '../support/environment.ts'
import { type MakeDevice, Rig } from '../support/rig.ts'
import { makeTypeScriptDevice } from '../support/typescript-adapter.ts'

const CHAINS = fromEnvironment('RUNS', 20_000, 1)
const SEED = fromEnvironment('SEED', Date.now() % 1_000_000_007, 0)
const SCENARIOS_AT_ONCE = 50

const test = suite('random')

interface Tally {
  scenarios: number
  steps: number
  offered: number
  ok: number
  failed: number
  unsupported: number
  poisoned: number
}

const NOTHING: Tally = { scenarios: 0, steps: 0, offered: 0, ok: 0, failed: 0, unsupported: 0, poisoned: 0 }

async function play({ options, first, steps }: Scenario, make: MakeDevice, tally: Tally): Promise<void> {
  const rig = await Rig.create(options, make)
  rig.negotiate(first, [], false)
  rig.compare()
  for (const [i, step] of steps.entries()) {
    try {
      await rig.run(step)
    } catch (error) {
      throw new Error(`step ${i} (${step.op}): ${(error as Error).message}`, { cause: error })
    }
  }
  const n = (name: string): number => Number(rig.counters.get(name))
  tally.scenarios += 1
  tally.steps += steps.length
  tally.offered += rig.offered
  tally.ok += n('readsCompleted') + n('writesCompleted') + n('flushesCompleted') + n('idsCompleted')
  tally.failed += n('ioErrors')
  tally.unsupported += n('unsupported')
  tally.poisoned += n('ringFaults') + n('invalidAvailIdx')
}

async function sideBySide(name: string, make: MakeDevice, chains: number): Promise<void> {
  const tally = { ...NOTHING }
  const property = fc.asyncProperty(scenario, (one) => play(one, make, tally))
  // In rounds, until enough chains came back with a status byte.
  for (let round = 0; tally.ok + tally.failed + tally.unsupported < chains; round++) {
    await check(name, property, SEED + round)
  }
  console.log(`  ${name}: ${JSON.stringify(tally)}`)
}

async function check(name: string, property: fc.IAsyncProperty<[Scenario]>, seed: number): Promise<void> {
  const result = await fc.check(property, { seed, numRuns: SCENARIOS_AT_ONCE })
  if (result.failed) {
    const example = result.counterexample?.[0]
    const why = result.errorInstance instanceof Error ? result.errorInstance.message : String(result.errorInstance)
    const steps = example ? describeScenario(example) : 'no counter-example'
    assert.unreachable(`${name}: SEED=${seed} (${result.numShrinks} shrinks)\n${why}\n${steps}`)
  }
}

async function registers(name: string, make: MakeDevice): Promise<void> {
  const property = fc.asyncProperty(registerScenario, (one) => play(one, make, { ...NOTHING }))
  for (let round = 0; round < CHAINS / 5_000; round++) await check(name, property, SEED + round)
}

const PLAIN: Negotiation = { flush: true, eventIdx: true, extra: null, queueSize: 256, rings: 'plain', tamper: 'no' }
const DISK: Omit<DeviceOptions, 'layout'> = {
  ...{ diskBytes: 4096, readOnly: false, serial: 'disk0', queueSizeMax: 256 },
  ...{ segMax: 126, sizeMax: 4096, blockSize: 512, throttle: {} },
}

function layoutOf(name: string): Layout {
  const layout = LAYOUTS.find((one) => one.name === name)
  if (layout === undefined) throw new Error(`no layout ${name}`)
  return layout
}

function flushes(count: number, fault: Fault = 'none'): ChainSpec[] {
  const descs: Desc[] = [
    { len: 16, write: false, place: 'ram' },
    { len: 1, write: true, place: 'ram' },
  ]
  return Array.from({ length: count }, () => ({ type: 4, sector: 0n, descs, fault }))
}

/** More than 65 536 requests through one ring. */
async function wrapAround(make: MakeDevice): Promise<void> {
  const rig = await Rig.create({ ...DISK, layout: layoutOf('flat') }, make)
  rig.negotiate(PLAIN, [], false)
  const chains = flushes(128)
  for (let i = 0; i < 520; i++) {
    await rig.run({ op: 'usedEvent', delta: i % 140 })
    await rig.run({ op: 'publish', chains, kick: true, heal: PLAIN })
  }
  assert.is(Number(rig.counters.get('flushesCompleted')), 520 * 128)
}

/** Scenarios that once went wrong, or nearly. */
const PINNED: Record<string, Scenario> = {
  'used ring: an element with its halves in two regions that touch': {
    options: { ...DISK, layout: layoutOf('seam') },
    first: { ...PLAIN, rings: 'usedAcrossSeam' },
    steps: [{ op: 'publish', chains: flushes(2), kick: true, heal: PLAIN }],
  },
  'throttledNanos: the ring breaks while its head is stalled -> the time is counted': {
    options: { ...DISK, layout: layoutOf('flat'), throttle: { iops: 1 } },
    first: PLAIN,
    steps: [
      { op: 'publish', chains: flushes(2), kick: true, heal: PLAIN },
      { op: 'publish', chains: flushes(1, 'availJump'), kick: false, heal: PLAIN },
      { op: 'poll', advance: 5 },
    ],
  },
}

async function pinned(name: string, make: MakeDevice): Promise<void> {
  for (const [title, one] of Object.entries(PINNED)) {
    await play(one, make, { ...NOTHING }).catch((error) => assert.unreachable(`${name}: ${title}: ${error.message}`))
  }
}

/** The real device. Much smaller state than usual, because there is a new memory for each scenario. */
function realDevice({ memory: makeMemory, engine }: Flavour): MakeDevice {
  return async ({ options, backend, clock, onInterrupt }) => {
    const { layout, ...rest } = options
    const memory = makeMemory({ regions: layout.regions, stateBytes: 2 << 20 })
    const { diskBytes: _, ...settings } = rest
    const device = await VirtioBlk.create({ ...settings, memory, backend, clock, onInterrupt, engine, onFailure() {} })
    return { device, ram: layout.regions.map(({ gpa, bytes }) => memory.view(gpa, bytes)) }
  }
}

// The flavours of the engine are one source: the one that is shipped for plain memories gets most of the work.
const devices = [
  ...flavours.map((flavour) => ({ name: flavour.name, make: realDevice(flavour) })),
  { name: 'plain TypeScript', make: makeTypeScriptDevice },
]
for (const { name, make } of devices) {
  const chains = name === 'release' ? CHAINS : CHAINS / 5
  test(`side by side with the model: ${name}`, () => sideBySide(name, make, chains))
  test(`registers side by side: ${name}`, () => registers(name, make))
  test(`pinned scenarios: ${name}`, () => pinned(name, make))
  if (name === 'release' || make === makeTypeScriptDevice) test(`ring indices wrap: ${name}`, () => wrapAround(make))
}

test.run()
