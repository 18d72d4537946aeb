// What the test guest (guest.s) and its host agree on: where things lie in guest RAM, the parameter block, the result
// block, the words on the debug port, and what each failure code means. guest.test.ts holds the numbers of both files
// to each other by name: PARAM.queueSize is PARAM_QUEUE_SIZE there.
//
// Validates parameters, so that a mistake in a test is not taken for a fault of the device. Knows nothing of KVM: any
// machine that can enter 32-bit protected mode can run the guest.

/** Guest-physical addresses. */
export const PLACE = { load: 0x100000, params: 0x104000, results: 0x105000 } as const
/** What the guest needs: RAM from 0 on. */
export const GUEST_RAM_BYTES = 2 << 20
/** Size of both blocks' pages; the image ends before the first. */
const BLOCK_BYTES = 0x1000

/** Offsets in the parameter block, u32 each. */
export const PARAM = {
  magic: 0x00,
  /** address of the register window */
  window: 0x04,
  /** line of the 8259s, 0..15 */
  irq: 0x08,
  flags: 0x0c,
  queueSize: 0x10,
  /** requests in flight together, 1..32 */
  batch: 0x14,
  /** reads and writes together (even); in probe mode, reads */
  requests: 0x18,
  /** per read or write: whole sectors, at most 4096 */
  dataBytes: 0x1c,
  startSector: 0x20,
  seed: 0x24,
  /** resets in the middle of a batch, one per round at most */
  resets: 0x28,
  /** looks at used.idx before a poll gives up */
  spinLimit: 0x2c,
  /** looks at Status before a reset is given up */
  resetLimit: 0x30,
  /** reads of InterruptStatus after a reset, while an interrupt sent before it may still arrive */
  graceReads: 0x34,
  /** and then, while none may */
  quietReads: 0x38,
  /** what the device must say its size is */
  capacityLow: 0x3c,
  capacityHigh: 0x40,
  /** 20 bytes, padded with NUL: what GET_ID must return */
  serial: 0x44,
} as const

export const PARAMS_MAGIC = 0x31505447
export const FLAG = { interrupts: 1, eventIdx: 2, probe: 4 } as const

/** Offsets in the result block, u32 each. */
export const RESULT = {
  /** one of STATE */
  state: 0x00,
  /** one of STEP: the last one begun */
  step: 0x04,
  /** one of FAIL, 0 = none */
  failure: 0x08,
  got: 0x0c,
  want: 0x10,
  /** requests returned by the device and checked */
  requests: 0x14,
  /** writes to QueueNotify */
  kicks: 0x18,
  /** batches for which the device wanted no kick */
  suppressedKicks: 0x1c,
  /** entries of the interrupt handler */
  interrupts: 0x20,
  /** of these, with InterruptStatus 0 */
  spuriousInterrupts: 0x24,
  /** of these, with the configuration bit */
  configInterrupts: 0x28,
  /** returns from hlt */
  wakeups: 0x2c,
  /** looks at used.idx that found nothing new, polling */
  polls: 0x30,
  /** register accesses; mmioWrites counts QueueNotify too */
  mmioReads: 0x34,
  mmioWrites: 0x38,
  resets: 0x3c,
  /** reads of Status that found a reset not complete */
  resetWaits: 0x40,
  /** requests that a reset found in flight */
  cutRequests: 0x44,
  bytes: 0x48,
} as const

export const STATE = { running: 1, done: 2, failed: 3 } as const

export const DEBUG_PORT = 0xf4
/** The top byte of a 32-bit word on the debug port. The guest stops after `done` and `failed`. */
export const REPORT = { step: 1, interrupts: 2, kicks: 3, suppressedKicks: 4, done: 5, failed: 6 } as const

export const STEP = {
  start: 1,
  device: 2,
  features: 3,
  queue: 4,
  live: 5,
  write: 6,
  read: 7,
  reset: 8,
  quiet: 9,
  special: 10,
  probe: 11,
  end: 12,
} as const

export const FAIL = {
  parameters: 1,
  exception: 2,
  magic: 3,
  version: 4,
  deviceId: 5,
  notReset: 6,
  driver: 7,
  noVersion1: 8,
  noFlush: 9,
  noEventIdx: 10,
  featuresOk: 11,
  generation: 12,
  capacity: 13,
  queueInUse: 14,
  queueSize: 15,
  queueReady: 16,
  driverOk: 17,
  usedAhead: 18,
  usedId: 19,
  usedLength: 20,
  statusNotWritten: 21,
  statusWrong: 22,
  statusOverrun: 23,
  data: 24,
  dataOverrun: 25,
  serial: 26,
  pollTimeout: 27,
  needsReset: 28,
  noCause: 29,
  resetStatus: 30,
  resetTimeout: 31,
  lateWrite: 32,
  lateStatus: 33,
  lateInterrupt: 34,
} as const

export type FailureName = keyof typeof FAIL

const FAILURE_TEXT: Record<FailureName, string> = {
  parameters: 'the parameter block is not for this guest, or batch, queue size and data do not fit',
  exception: 'exception or unexpected interrupt (got: vector, want: address or error code)',
  magic: 'MagicValue is wrong',
  version: 'Version is not 2',
  deviceId: 'DeviceID is not that of a block device',
  notReset: 'Status is not 0 after 0 was written',
  driver: 'Status does not keep ACKNOWLEDGE and DRIVER',
  noVersion1: 'VERSION_1 is not offered',
  noFlush: 'FLUSH is not offered',
  noEventIdx: 'EVENT_IDX is not offered',
  featuresOk: 'FEATURES_OK does not stick',
  generation: 'ConfigGeneration does not settle',
  capacity: 'the capacity is not what the host says',
  queueInUse: 'QueueReady is not 0 before the queue was set up',
  queueSize: 'QueueSizeMax is smaller than the size wanted',
  queueReady: 'QueueReady does not stick',
  driverOk: 'DRIVER_OK does not stick',
  usedAhead: 'used.idx is ahead of what was submitted (got: by how many, want: outstanding)',
  usedId: 'a used id is not the head of an outstanding chain (got: id, want: mask of outstanding slots)',
  usedLength: 'a used length is wrong',
  statusNotWritten: 'a request was returned without a status',
  statusWrong: 'a status is wrong (low byte)',
  statusOverrun: 'bytes behind a status byte were written',
  data: 'data read are not what was written',
  dataOverrun: 'bytes behind a buffer were written',
  serial: 'the serial is not what the host says',
  pollTimeout: 'requests did not come back while polling (got: mask of outstanding slots)',
  needsReset: 'the device asks for a reset',
  noCause: 'InterruptStatus was 0 at every interrupt',
  resetStatus: 'Status is neither 0 nor NEEDS_RESET during a reset',
  resetTimeout: 'the reset did not complete',
  lateWrite: 'guest RAM changed after the reset (got: dword, want: its address)',
  lateStatus: 'InterruptStatus is not 0 after the reset',
  lateInterrupt: 'an interrupt came after the reset',
}

export interface GuestParameters {
  window: number
  irq: number
  /** sleep in hlt until the interrupt; false: poll */
  interrupts: boolean
  eventIdx: boolean
  /** only read the same sectors `requests` times, one kick and one wait each */
  probe: boolean
  queueSize: number
  batch: number
  requests: number
  dataBytes: number
  startSector: number
  seed: number
  resets: number
  spinLimit: number
  resetLimit: number
  graceReads: number
  quietReads: number
  capacitySectors: number
  serial: string
}

export type GuestResults = Record<Exclude<keyof typeof RESULT, 'bytes'>, number>

/** Guest RAM: GuestMemory, or anything that gives the bytes at a guest-physical address. */
export interface GuestRam {
  view(gpa: number, bytes: number): Uint8Array
}

const SECTOR_BYTES = 512
const BATCH_MAX = 32
const QUEUE_SIZE_MAX = 1024
const DATA_BYTES_MAX = 4096
const SERIAL_BYTES = 20
const PATTERN_STEP = 0x9e3779b1
/** flush, serial, malformed write, read past the end, unknown type */
const SPECIAL_REQUESTS = 5

function dataView(ram: GuestRam, gpa: number): DataView {
  const { buffer, byteOffset } = ram.view(gpa, BLOCK_BYTES)
  return new DataView(buffer, byteOffset, BLOCK_BYTES)
}

/** Reads and writes of a run that is not a probe, each. */
function pairs(parameters: GuestParameters): number {
  return parameters.probe ? 0 : parameters.requests / 2
}

/** How often the guest submits a batch of writes and one of reads. */
function rounds(parameters: GuestParameters): number {
  return Math.ceil(pairs(parameters) / parameters.batch)
}

/** Throws RangeError for parameters that the guest cannot carry out. */
function check(parameters: GuestParameters): void {
  const { queueSize, batch, requests, dataBytes, startSector, resets, probe, irq } = parameters
  const must = (holds: boolean, what: string): void => {
    if (!holds) throw new RangeError(`test guest: ${what}`)
  }
  for (const [name, value] of Object.entries(parameters)) {
    if (typeof value === 'number') must(Number.isSafeInteger(value) && value >= 0, `${name} is ${value}`)
  }
  must(irq < 16, 'irq must be below 16')
  must(batch >= 1 && batch <= BATCH_MAX, `batch must be 1..${BATCH_MAX}`)
  must(3 * batch <= queueSize && queueSize <= QUEUE_SIZE_MAX, `queueSize must be 3 x batch..${QUEUE_SIZE_MAX}`)
  must(probe || requests % 2 === 0, 'requests must be even: as many reads as writes')
  must(!probe || resets === 0, 'a probe does not reset')
  must(resets <= rounds(parameters) || probe, `resets must be at most one per round, ${rounds(parameters)}`)
  must(dataBytes >= 512 && dataBytes <= DATA_BYTES_MAX && dataBytes % 512 === 0, 'dataBytes must be whole sectors')
  const sectors = (dataBytes / SECTOR_BYTES) * (probe ? 1 : pairs(parameters))
  must(startSector + sectors <= parameters.capacitySectors, 'the disk is too small')
  for (const name of ['spinLimit', 'resetLimit', 'graceReads', 'quietReads'] as const) {
    must(parameters[name] > 0, `${name} must not be 0`)
  }
}

export function writeParameters(ram: GuestRam, parameters: GuestParameters): void {
  check(parameters)
  const view = dataView(ram, PLACE.params)
  const set = (name: keyof typeof PARAM, value: number): void => view.setUint32(PARAM[name], value, true)
  set('magic', PARAMS_MAGIC)
  let flags = 0
  for (const [name, bit] of Object.entries(FLAG)) if (parameters[name as keyof typeof FLAG]) flags |= bit
  set('flags', flags)
  const { serial, interrupts, eventIdx, probe, capacitySectors, ...numbers } = parameters
  for (const [name, value] of Object.entries(numbers)) set(name as keyof typeof numbers, value)
  set('capacityLow', capacitySectors >>> 0)
  set('capacityHigh', Math.floor(capacitySectors / 2 ** 32))
  const bytes = new Uint8Array(SERIAL_BYTES)
  bytes.set(new TextEncoder().encode(serial).subarray(0, SERIAL_BYTES))
  new Uint8Array(view.buffer, view.byteOffset + PARAM.serial, SERIAL_BYTES).set(bytes)
}

export function readResults(ram: GuestRam): GuestResults {
  const view = dataView(ram, PLACE.results)
  const entries = Object.entries(RESULT).filter(([name]) => name !== 'bytes')
  return Object.fromEntries(entries.map(([name, offset]) => [name, view.getUint32(offset, true)])) as GuestResults
}

/** Zeroes the result block, so that nothing of an earlier guest is taken for this one's. */
export function clearResults(ram: GuestRam): void {
  ram.view(PLACE.results, BLOCK_BYTES).fill(0)
}

function nameOf(table: Record<string, number>, value: number): string | undefined {
  return Object.keys(table).find((name) => table[name] === value)
}

/** The name of the failure that the results hold, undefined if none. */
export function failureOf(results: GuestResults): FailureName | undefined {
  return nameOf(FAIL, results.failure) as FailureName | undefined
}

/** One line on how far the guest came and what it found. */
export function describe(results: GuestResults): string {
  const { requests, got, want } = results
  const step = nameOf(STEP, results.step) ?? 'no step'
  const where = `at ${step}, ${requests} requests done`
  const failure = failureOf(results)
  if (failure === undefined) return `${nameOf(STATE, results.state) ?? 'not started'} ${where}`
  const hex = (value: number): string => `0x${value.toString(16)}`
  return `${failure} ${where}: ${FAILURE_TEXT[failure]}; got ${hex(got)}, want ${hex(want)}`
}

/** A word of the debug port taken apart; kind undefined if the guest has no such word. */
export function decodeReport(word: number): { kind: keyof typeof REPORT | undefined; value: number } {
  return { kind: nameOf(REPORT, word >>> 24) as keyof typeof REPORT | undefined, value: word & 0xffffff }
}

/** Requests of a run that passes, those aside that resets cut short or let through. */
export function plannedRequests(parameters: GuestParameters): number {
  return parameters.requests + (parameters.probe ? 0 : SPECIAL_REQUESTS)
}

/** Batches of a run that passes: each is one kick or one suppressed kick. */
export function plannedBatches(parameters: GuestParameters): number {
  if (parameters.probe) return parameters.requests
  return 2 * rounds(parameters) + parameters.resets + Math.ceil(SPECIAL_REQUESTS / parameters.batch)
}

/** What the guest leaves on the disk, from byte `startSector` x 512 on. */
export function writtenPattern(parameters: GuestParameters): Uint8Array {
  const { startSector, seed, dataBytes } = parameters
  const dwords = new DataView(new ArrayBuffer(pairs(parameters) * dataBytes))
  for (let at = 0; at < dwords.byteLength; at += 4) {
    const index = startSector * (SECTOR_BYTES / 4) + at / 4
    dwords.setUint32(at, (seed + Math.imul(index, PATTERN_STEP)) >>> 0, true)
  }
  return new Uint8Array(dwords.buffer)
}
