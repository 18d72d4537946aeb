// Random work for a virtio-blk device, as fast-check arbitraries: chains that are mostly right and sometimes wrong in
// any way a guest can be wrong, and scenarios: device options and a sequence of steps. Everything here is plain data
// without addresses; whoever runs a scenario (random.test.ts) places it in guest RAM. Weights keep most chains
// processed: a ring fault ends service until the next reset, so those are rare.
//
// `describeScenario` prints a scenario, shrunk or not, one line per step and per chain.

import * as fc from 'fast-check'

/**
 * Where a buffer lies. ram: fresh bytes; hole: nowhere; intoHole / outOfHole: starts / ends in RAM only;
 * seam: across two regions that touch; top: across 2^64.
 */
export type Place = 'ram' | 'hole' | 'intoHole' | 'outOfHole' | 'seam' | 'top'

export interface Desc {
  len: number
  write: boolean
  place: Place
}

export type Fault = 'none' | 'badHead' | 'badNext' | 'loop' | 'indirect' | 'sameHead' | 'availFull' | 'availJump'

export interface ChainSpec {
  type: number
  sector: bigint
  descs: Desc[]
  fault: Fault
}

/** One answer of a back end instead of the true one; `count` times in a row. */
export interface Hiccup {
  does: 'short' | 'zero' | 'eintr' | 'eio' | 'negative' | 'nan' | 'tooMuch'
  count: number
}

export type Rings =
  | ('plain' | 'availFirst' | 'descAcrossSeam' | 'availAcrossSeam' | 'usedAcrossSeam')
  | ('descMisaligned' | 'availMisaligned' | 'usedMisaligned' | 'descIntoHole' | 'availIntoHole' | 'usedIntoHole')

export interface Negotiation {
  flush: boolean
  eventIdx: boolean
  /** a feature bit of any word that is accepted on top; refused unless it is offered */
  extra: number | null
  queueSize: number
  rings: Rings
  /** tries to change the queue once it is ready, or to stop it and make it ready with other parameters */
  tamper: 'no' | 'change' | 'again'
}

export type Step =
  | { op: 'publish'; chains: ChainSpec[]; kick: boolean; heal: Negotiation }
  | { op: 'kick'; value: number }
  | { op: 'poll'; advance: number }
  | { op: 'wait'; advance: number }
  | { op: 'usedEvent'; delta: number }
  | { op: 'availFlags'; value: number }
  | { op: 'ack'; value: number }
  | { op: 'reset'; negotiation: Negotiation; early: ChainSpec[]; unready: boolean }
  | { op: 'setCapacity'; bytes: number }
  | { op: 'hiccup'; hiccups: Hiccup[] }
  | { op: 'read'; offset: number; width: 1 | 2 | 4 }
  | { op: 'write'; offset: number; width: 1 | 2 | 4; value: number }

export interface Throttle {
  iops?: number
  iopsBurst?: number
  bytesPerSecond?: number
  bytesBurst?: number
}

export interface Layout {
  name: string
  regions: { gpa: number; bytes: number }[]
  /** where two regions touch */
  seam: number | null
}

export interface DeviceOptions {
  layout: Layout
  diskBytes: number
  readOnly: boolean
  serial: string
  queueSizeMax: number
  segMax: number
  sizeMax: number
  blockSize: number
  throttle: Throttle
}

export interface Scenario {
  options: DeviceOptions
  first: Negotiation
  steps: Step[]
}

const KIB = 1024
const GIB4 = 2 ** 32

/** All have a hole after the last region. */
export const LAYOUTS: readonly Layout[] = [
  { name: 'flat', regions: [{ gpa: 0, bytes: 256 * KIB }], seam: null },
  {
    name: 'hole',
    regions: [
      { gpa: 0, bytes: 128 * KIB },
      { gpa: 192 * KIB, bytes: 128 * KIB },
    ],
    seam: null,
  },
  {
    name: 'seam',
    regions: [
      { gpa: 0, bytes: 96 * KIB },
      { gpa: 96 * KIB, bytes: 96 * KIB },
      { gpa: 256 * KIB, bytes: 64 * KIB },
    ],
    seam: 96 * KIB,
  },
  {
    name: 'seam at 4 GiB',
    regions: [
      { gpa: GIB4 - 64 * KIB, bytes: 64 * KIB },
      { gpa: GIB4, bytes: 192 * KIB },
    ],
    seam: GIB4,
  },
  {
    name: 'far',
    regions: [
      { gpa: 64 * KIB, bytes: 64 * KIB },
      { gpa: 2 ** 52, bytes: 192 * KIB },
    ],
    seam: null,
  },
]

function weighted<T>(...choices: [weight: number, value: T][]): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
}

/** A list of arbitraries with weights; the first is what a counter-example shrinks to. */
function mix<T>(...choices: [weight: number, arbitrary: fc.Arbitrary<T>][]): fc.Arbitrary<T> {
  const all = choices.map(([weight, arbitrary]) => ({ weight, arbitrary }))
  return fc.oneof({ withCrossShrink: true }, ...all)
}

function seldom<T>(arbitrary: fc.Arbitrary<T>, otherwise: T, weight: number): fc.Arbitrary<T> {
  return mix([100 - weight, fc.constant(otherwise)], [weight, arbitrary])
}

// --- one chain ---

const IN = 0
const OUT = 1
const FLUSH = 4
const GET_ID = 8
const UNKNOWN = [2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 0x100, 0x80000000, 0x80000001, 0x80000008, 0xffffffff]

interface Shape {
  type: number
  sector: bigint
  outBytes: number
  inBytes: number
}

function dataBytes(type: number, options: DeviceOptions): fc.Arbitrary<number> {
  const { blockSize, sizeMax } = options
  const block = fc.integer({ min: 1, max: 6 }).map((n) => n * blockSize)
  const odd = fc.constantFrom(0, 1, 511, 512, 513, blockSize - 1, blockSize + 1, blockSize + 512)
  if (type === IN || type === OUT) return mix([88, block], [6, odd], [6, fc.constant(Math.min(16384, sizeMax))])
  if (type === GET_ID) return weighted([50, 20], [8, 0], [8, 19], [8, 21], [8, 1], [8, 512], [8, 64])
  return weighted([type === FLUSH ? 85 : 40, 0], [15, 512], [5, 1], [5, 20])
}

function sectorFor(bytes: number, options: DeviceOptions): fc.Arbitrary<bigint> {
  const capacity = Math.floor(options.diskBytes / 512)
  const perBlock = options.blockSize / 512
  const last = Math.max(0, capacity - Math.ceil(bytes / 512))
  const inside = fc.integer({ min: 0, max: Math.floor(last / perBlock) }).map((n) => BigInt(n * perBlock))
  const nearEnd = fc.integer({ min: Math.max(0, last - 2), max: capacity + 2 }).map(BigInt)
  const huge = fc.constantFrom(23n, 32n, 54n, 55n, 63n, 64n).chain((power) => {
    const least = power === 64n ? -16 : -8
    return fc.integer({ min: least, max: power === 64n ? -1 : 8 }).map((n) => 2n ** power + BigInt(n))
  })
  return mix([86, inside], [10, nearEnd], [4, huge])
}

function shape(options: DeviceOptions): fc.Arbitrary<Shape> {
  const type = mix(
    [30, fc.constant(IN)],
    [35, fc.constant(OUT)],
    [10, fc.constant(FLUSH)],
    [12, fc.constant(GET_ID)],
    [10, fc.constantFrom(...UNKNOWN)],
    [1, fc.integer({ min: 0, max: 0xffffffff })],
  )
  return type.chain((type) =>
    dataBytes(type, options).chain((bytes) =>
      fc
        .tuple(sectorFor(bytes, options), weighted([95, 'right'], [3, 'wrong'], [2, 'both']))
        .map(([sector, direction]) => {
          const out = (type % 2 === 1) === (direction !== 'wrong')
          const both = direction === 'both' ? 512 : 0
          return { type, sector, outBytes: out ? bytes : both, inBytes: out ? both : bytes }
        }),
    ),
  )
}

/** Lengths of the pieces of a stream that is cut at the places given. */
function pieces(bytes: number, cuts: readonly number[]): number[] {
  const sorted = [...new Set(cuts)].filter((cut) => cut > 0 && cut < bytes).sort((a, b) => a - b)
  return [...sorted, bytes].map((cut, i) => cut - (sorted[i - 1] ?? 0))
}

function cutsWithin(min: number, max: number, most: number): fc.Arbitrary<number[]> {
  return max > min ? fc.array(fc.integer({ min, max }), { maxLength: most }) : fc.constant([])
}

/** How a shape is spread over descriptors: the usual layout, or both streams cut anywhere. */
function spread({ outBytes, inBytes }: Shape, options: DeviceOptions): fc.Arbitrary<Desc[]> {
  const readable = 16 + outBytes
  const writable = inBytes + 1
  const even = (from: number, bytes: number, count: number): number[] =>
    Array.from({ length: count - 1 }, (_, i) => from + Math.floor((bytes * (i + 1)) / count))
  const usual = (count: fc.Arbitrary<number>): fc.Arbitrary<[number[], number[]]> =>
    count.map((n) => [
      [16, ...even(16, outBytes, n)],
      [inBytes, ...even(0, inBytes, n)],
    ])
  const nearSegMax = fc.integer({ min: Math.max(1, options.segMax - 1), max: options.segMax + 2 })
  const anywhere = fc.tuple(cutsWithin(1, readable, 4), cutsWithin(1, writable, 4))
  const bytewise = fc.tuple(
    fc.constant(Array.from({ length: 15 }, (_, i) => i + 1)),
    fc.constant(Array.from({ length: Math.min(writable, 6) }, (_, i) => writable - i)),
  )
  const headerCut = fc.tuple(cutsWithin(1, 15, 1), fc.constant<number[]>([]))
  const cuts = mix(
    [45, usual(fc.integer({ min: 1, max: 4 }))],
    [4, usual(nearSegMax)],
    [28, anywhere],
    [15, headerCut],
    [4, bytewise],
  )
  return cuts.map(([readCuts, writeCuts]) => [
    ...pieces(readable, readCuts).map((len): Desc => ({ len, write: false, place: 'ram' })),
    ...pieces(writable, writeCuts).map((len): Desc => ({ len, write: true, place: 'ram' })),
  ])
}

type Change = (descs: Desc[], at: number) => Desc[]

function change(options: DeviceOptions): fc.Arbitrary<Change> {
  const replace = (part: Partial<Desc>): Change => {
    return (descs, at) => descs.map((desc, i) => (i === at ? { ...desc, ...part } : desc))
  }
  const { sizeMax } = options
  const zero = fc.tuple(fc.boolean(), fc.constantFrom<Place>('ram', 'hole', 'top')).map(([write, place]): Change => {
    return (descs, at) => descs.toSpliced(at, 0, { len: 0, write, place })
  })
  const place = fc
    .constantFrom<Place>('seam', 'seam', 'seam', 'hole', 'intoHole', 'outOfHole', 'top')
    .map((place) => replace({ place }))
  const len = fc.constantFrom(0, 1, sizeMax, Math.min(sizeMax + 1, 0xffffffff), 0xffffffff)
  const flip: Change = (descs, at) => descs.map((desc, i) => (i === at ? { ...desc, write: !desc.write } : desc))
  const drop: Change = (descs, at) => descs.toSpliced(at, 1)
  const swap: Change = (descs, at) => [...descs.slice(at), ...descs.slice(0, at)]
  // More than a 32-bit count of data bytes, or just not.
  const huge = fc.tuple(fc.constantFrom(0xffffffff, 0xfffffffe), fc.nat(2), fc.boolean()).map(([len, more, write]) => {
    const one: Desc = { len, write, place: 'hole' }
    return ((descs, at) => descs.toSpliced(Math.max(1, at), 0, one, { ...one, len: more })) satisfies Change
  })
  return mix(
    [60, zero],
    [24, place],
    [8, len.map((len) => replace({ len }))],
    [3, fc.constantFrom(flip, drop, swap)],
    [sizeMax === 0xffffffff ? 15 : 1, huge],
  )
}

export function chainSpec(options: DeviceOptions): fc.Arbitrary<ChainSpec> {
  const fault = weighted<Fault>(
    ...([[986, 'none']] as [number, Fault][]),
    ...(['badHead', 'badNext', 'loop', 'indirect', 'sameHead', 'availFull', 'availJump'] as const).map(
      (name): [number, Fault] => {
        return [name === 'sameHead' ? 4 : 2, name]
      },
    ),
  )
  const changes = mix<[Change, number][]>(
    [72, fc.constant([])],
    [28, fc.array(fc.tuple(change(options), fc.nat(1000)), { minLength: 1, maxLength: 2 })],
  )
  return shape(options).chain((shape) =>
    fc.tuple(spread(shape, options), changes, fault).map(([descs, changes, fault]) => {
      const { type, sector } = shape
      return { type, sector, descs: changes.reduce((all, [fn, at]) => fn(all, at % (all.length + 1)), descs), fault }
    }),
  )
}

// --- scenarios ---

function negotiation(options: DeviceOptions): fc.Arbitrary<Negotiation> {
  const sizes = [options.queueSizeMax, options.queueSizeMax / 2]
  const badSizes = [0, 1, 2, 3, options.queueSizeMax * 2, 0x10000 + options.queueSizeMax, 0x80000000, 0xffffffff]
  const good: Rings[] = ['plain', 'plain', 'availFirst']
  if (options.layout.seam !== null) good.push('descAcrossSeam', 'availAcrossSeam', 'usedAcrossSeam')
  const bad: Rings[] = ['descMisaligned', 'availMisaligned', 'usedMisaligned']
  bad.push('descIntoHole', 'availIntoHole', 'usedIntoHole')
  return fc.record({
    flush: weighted([70, true], [30, false]),
    eventIdx: weighted([50, false], [50, true]),
    extra: seldom<number | null>(fc.integer({ min: 0, max: 159 }), null, 4),
    queueSize: mix([97, fc.constantFrom(...sizes)], [3, fc.constantFrom(...badSizes)]),
    rings: mix([97, fc.constantFrom(...good)], [3, fc.constantFrom(...bad)]),
    tamper: weighted([94, 'no'], [3, 'change'], [3, 'again']),
  })
}

const REGISTERS = [
  ...[0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x20, 0x24, 0x30, 0x34, 0x38, 0x44, 0x50, 0x60, 0x64, 0x70],
  ...[0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac, 0xb0, 0xb4, 0xb8, 0xbc, 0xc0, 0xfc, 0x28, 0x3c, 0x40],
]

function write(offset: number, value: number, width: 1 | 2 | 4 = 4): Step {
  return { op: 'write', offset, width, value }
}

function step(options: DeviceOptions): fc.Arbitrary<Step> {
  const width = weighted<1 | 2 | 4>([90, 4], [5, 2], [5, 1])
  const offset = mix([70, fc.constantFrom(...REGISTERS)], [15, fc.nat(0x1ff)], [15, fc.nat(0x80).map((n) => 0x100 + n)])
  const word = mix(
    [60, fc.nat(4)],
    [20, fc.constantFrom(0x0b, 0x0f, 0x4f, 0x8f, 16, 256)],
    [20, fc.integer({ min: 0, max: 0xffffffff })],
  )
  const nanos = mix(
    [50, fc.nat(30_000_000)],
    [30, fc.nat(2_000_000_000)],
    [6, fc.constantFrom(0, 1, 86_400e9, 3e15, -1, -1_000_000_000)],
  )
  const negotiated = negotiation(options)
  const capacity = mix([85, fc.nat(4096).map((n) => n + options.diskBytes)], [15, fc.nat(options.diskBytes)])
  const chains = fc.array(chainSpec(options), { minLength: 1, maxLength: 8 })
  const hiccup = fc.record<Hiccup>({
    does: weighted<Hiccup['does']>(
      [6, 'short'],
      [3, 'eintr'],
      [2, 'eio'],
      [1, 'zero'],
      [1, 'negative'],
      [1, 'nan'],
      [1, 'tooMuch'],
    ),
    count: weighted([6, 1], [3, 3], [1, 17], [1, 16]),
  })
  return mix<Step>(
    [60, fc.record({ op: fc.constant('publish'), chains, kick: weighted([92, true], [8, false]), heal: negotiated })],
    [8, fc.record({ op: fc.constant('poll'), advance: nanos })],
    [4, fc.record({ op: fc.constant('wait'), advance: nanos })],
    [3, fc.record({ op: fc.constant('kick'), value: mix([80, fc.constant(0)], [20, word]) })],
    [6, fc.record({ op: fc.constant('usedEvent'), delta: fc.integer({ min: -3, max: 12 }) })],
    [4, fc.record({ op: fc.constant('availFlags'), value: weighted([5, 1], [5, 0], [1, 0xfffe], [1, 0xffff]) })],
    [4, fc.record({ op: fc.constant('ack'), value: weighted([4, 1], [2, 3], [1, 2], [1, 0xffffffff], [1, 0]) })],
    [2, resetStep(options, negotiated)],
    [1, fc.constantFrom([0x70, 0x8f], [0x70, 0], [0x44, 0]).map(([offset = 0, value = 0]) => write(offset, value))],
    [2, fc.record({ op: fc.constant('setCapacity'), bytes: capacity })],
    [4, fc.record({ op: fc.constant('hiccup'), hiccups: fc.array(hiccup, { minLength: 1, maxLength: 3 }) })],
    [3, fc.record({ op: fc.constant('read'), offset, width })],
    [2, fc.record({ op: fc.constant('write'), offset, width, value: word })],
  )
}

/** Register writes that often make sense one after the other, and often do not. */
function registerStep(options: DeviceOptions): fc.Arbitrary<Step> {
  const { gpa, bytes } = options.layout.regions[0] ?? { gpa: 0, bytes: 0 }
  const places = [0, 8, 0x1000, 0x1001, 0x1400, 0x1402, bytes - 16, bytes, 2 ** 40].map((at) => gpa + at)
  const addresses = [0x80, 0x90, 0xa0].flatMap((low) => [
    ...places.map((at): [number, number] => [low, at % GIB4]),
    ...places.map((at): [number, number] => [low + 4, Math.floor(at / GIB4)]),
  ])
  const sizes = [0, 1, 2, 3, 8, options.queueSizeMax, options.queueSizeMax * 2, 0x10010]
  const one = mix<[number, number]>(
    [40, fc.constantFrom(1, 3, 0x0b, 0x0b, 0x0f, 0x0f, 0, 0x8f, 0x83, 0x4b, 7, 2, 0x13).map((v) => [0x70, v])],
    [8, fc.constantFrom(0, 1, 2, 3, 4, 0xffffffff).map((v) => [0x24, v])],
    [12, fc.constantFrom(0, 1, 1, 1, 0x20000246, 0x20, 0x400).map((v) => [0x20, v])],
    [4, fc.constantFrom(0, 1, 2, 0xffffffff).map((v) => [0x14, v])],
    [6, fc.constantFrom(0, 0, 0, 1, 0x10000).map((v) => [0x30, v])],
    [8, fc.constantFrom(...sizes).map((v) => [0x38, v])],
    [24, fc.constantFrom(...addresses)],
    [20, fc.constantFrom(1, 1, 1, 0, 2, 0xffffffff).map((v) => [0x44, v])],
    [5, fc.constantFrom(0, 1, 0x10000).map((v) => [0x50, v])],
    [2, fc.constantFrom(0, 1, 2, 3).map((v) => [0x64, v])],
  )
  const width = weighted<1 | 2 | 4>([94, 4], [3, 2], [3, 1])
  return fc.tuple(one, width).map(([[offset, value], width]) => write(offset, value, width))
}

function resetStep(options: DeviceOptions, negotiated: fc.Arbitrary<Negotiation>): fc.Arbitrary<Step> {
  return fc.record({
    op: fc.constant('reset'),
    negotiation: negotiated,
    early: seldom(fc.array(chainSpec(options), { maxLength: 3 }), [], 40),
    unready: weighted([90, false], [10, true]),
  })
}

/** Rates at which a scenario of some virtual seconds is slowed down, not brought to a halt. */
const throttle: fc.Arbitrary<Throttle> = fc
  .record({
    ops: limit(fc.integer({ min: 1, max: 400 })),
    bytes: limit(fc.integer({ min: 5_000, max: 2_000_000 })),
  })
  .map(({ ops: [iops, iopsBurst], bytes: [bytesPerSecond, bytesBurst] }) => {
    const all = { iops, iopsBurst, bytesPerSecond, bytesBurst }
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null))
  })

/** A rate or none, and with a rate perhaps a burst. */
function limit(rate: fc.Arbitrary<number>): fc.Arbitrary<[number | null, number | null]> {
  const rates = mix([30, fc.constant(null)], [65, rate], [5, fc.constantFrom(2 ** 40, 2 ** 62)])
  return fc.tuple(rates, fc.constantFrom(0, 1, 1.5, 2)).map(([rate, factor]) => {
    return [rate, rate === null || factor === 0 ? null : Math.floor(rate * factor)]
  })
}

const deviceOptions: fc.Arbitrary<DeviceOptions> = fc
  .record({
    queueSizeMax: weighted([3, 16], [3, 32], [2, 64], [1, 256], [1, 8]),
    segMaxLess: seldom(fc.nat(200), 0, 30),
  })
  .chain(({ queueSizeMax, segMaxLess }) =>
    fc.record({
      layout: fc.constantFrom(...LAYOUTS),
      diskBytes: mix([85, fc.constantFrom(65536, 32768)], [15, fc.nat(65536)]),
      readOnly: weighted([90, false], [10, true]),
      serial: fc.constantFrom('disk0', '', 'twenty-bytes-serial!'),
      queueSizeMax: fc.constant(queueSizeMax),
      segMax: fc.constant(Math.max(1, queueSizeMax - 2 - (segMaxLess % queueSizeMax))),
      sizeMax: weighted([3, 1 << 20], [2, 4096], [1, 65536], [1, 0xffffffff]),
      blockSize: weighted([5, 512], [2, 1024], [1, 4096]),
      throttle: seldom(throttle, {}, 22),
    }),
  )

function scenarioOf(kind: (options: DeviceOptions) => fc.Arbitrary<Step>): fc.Arbitrary<Scenario> {
  return deviceOptions.chain((options) =>
    fc.record({
      options: fc.constant(options),
      first: negotiation(options),
      steps: fc.array(kind(options), { minLength: 1, maxLength: 40, size: 'max' }),
    }),
  )
}

/** A driver at work. */
export const scenario = scenarioOf(step)

/** A driver that sets the device up again and again, with mistakes. */
export const registerScenario = scenarioOf((options) => mix([90, registerStep(options)], [10, step(options)]))

// --- printing ---

function describeChain({ type, sector, descs, fault }: ChainSpec): string {
  const list = descs.map(({ len, write, place }) => {
    return `${write ? 'w' : 'r'}${len > 0xffff ? `0x${len.toString(16)}` : len}${place === 'ram' ? '' : `@${place}`}`
  })
  const name = { [IN]: 'IN', [OUT]: 'OUT', [FLUSH]: 'FLUSH', [GET_ID]: 'GET_ID' }[type] ?? `type 0x${type.toString(16)}`
  return `${name} sector ${sector} [${list.join(' ')}]${fault === 'none' ? '' : ` ${fault}`}`
}

export function describeStep(step: Step): string {
  const { op, ...rest } = step
  const chains = 'chains' in step ? step.chains : 'early' in step ? step.early : []
  const plain = JSON.stringify(rest, (key, value) => (key === 'chains' || key === 'early' ? undefined : value))
  return [`${op} ${plain}`, ...chains.map((chain) => `     ${describeChain(chain)}`)].join('\n')
}

export function describeScenario({ options, first, steps }: Scenario): string {
  const { layout, ...rest } = options
  const lines = steps.map((step, i) => `${String(i).padStart(3)}: ${describeStep(step)}`)
  const head = [`layout ${layout.name}; ${JSON.stringify(rest)}`, `first ${JSON.stringify(first)}`]
  return [...head, ...lines].join('\n')
}
