// Guest RAM as the device sees it: one linear memory, and the regions of it that are the guest's. The engine's state
// lives in the same memory, outside every region, so the guest has no address for it. Linear offset 0 is never guest
// RAM. Nothing here reads or writes guest memory.

import { REGION_ALIGN, REGIONS_MAX } from '../../assembly/abi.ts'

/** A piece of guest RAM. All three are multiples of 4096. */
export interface Region {
  /** guest-physical address of the first byte */
  readonly gpa: number
  /** length in bytes */
  readonly bytes: number
  /** offset of the first byte in linear memory */
  readonly ptr: number
}

export interface CreateOptions {
  /** bytes of RAM at guest-physical address 0; or give `regions` */
  ramBytes?: number
  /** RAM in pieces, at the guest-physical addresses given, with holes between them or touching */
  regions?: readonly { gpa: number; bytes: number }[]
  /** a shared memory, for vCPUs or workers on other threads. Default false. */
  shared?: boolean
  /** room for the state of all devices over this memory, in bytes; untouched pages cost nothing. Default 32 MiB. */
  stateBytes?: number
}

export interface AdoptOptions {
  memory: WebAssembly.Memory
  regions: readonly Region[]
  /** gives out zeroed bytes of `memory`, 64-byte aligned and outside every region; returns their offset */
  allocate: (bytes: number) => number
  /** told of each buffer that a device fills: an emulator drops what it compiled from these bytes */
  onWrite?: (ptr: number, bytes: number) => void
}

const WASM_PAGE = 65536
const LINEAR_MAX = 2 ** 32
const STATE_ALIGN = 64
/**
 * Nothing of ours or of the guest lies below: 0 must stay "not translatable", and the debug engine keeps strings
 * here.
 */
const RESERVED_LOW = 2 << 20

export class GuestMemory {
  readonly memory: WebAssembly.Memory
  readonly regions: readonly Region[]
  readonly onWrite: ((ptr: number, bytes: number) => void) | undefined
  readonly #allocate: (bytes: number) => number

  private constructor(options: AdoptOptions) {
    this.memory = options.memory
    this.regions = checkRegions(options.regions, options.memory.buffer.byteLength)
    this.onWrite = options.onWrite
    this.#allocate = options.allocate
  }

  /** Makes a memory of its final size: RAM and room for device state. RAM and state together are at most 4 GiB. */
  static create(options: CreateOptions): GuestMemory {
    const { shared = false, stateBytes = 32 << 20 } = options
    const wanted = options.regions ?? [{ gpa: 0, bytes: options.ramBytes ?? Number.NaN }]
    if ((options.ramBytes === undefined) === (options.regions === undefined)) {
      throw new TypeError('GuestMemory: give either ramBytes or regions')
    }
    if (options.ramBytes !== undefined) checkUnit('ramBytes', options.ramBytes)
    if (!Number.isSafeInteger(stateBytes) || stateBytes < 0) {
      throw new RangeError(`GuestMemory: stateBytes must be a whole number of bytes, not ${stateBytes}`)
    }
    // A page that belongs to nobody follows each region: no access that runs off one reaches the next.
    let end = RESERVED_LOW
    const regions = wanted.map(({ gpa, bytes }) => {
      const ptr = end
      end = roundUp(ptr + bytes, WASM_PAGE) + WASM_PAGE
      return { gpa, bytes, ptr }
    })
    const stateEnd = roundUp(end + stateBytes, WASM_PAGE)
    if (stateEnd > LINEAR_MAX) {
      throw new RangeError(
        `GuestMemory: guest RAM and device state need ${stateEnd} bytes, a WebAssembly memory holds at most ${LINEAR_MAX}; give the guest less RAM`,
      )
    }
    const pages = stateEnd / WASM_PAGE
    const memory = new WebAssembly.Memory(
      shared ? { initial: pages, maximum: pages, shared: true } : { initial: pages },
    )
    const allocate = (bytes: number): number => {
      const ptr = roundUp(end, STATE_ALIGN)
      if (ptr + bytes > stateEnd) {
        throw new RangeError(
          `GuestMemory: no room for ${bytes} bytes of device state (${stateEnd - ptr} left); raise stateBytes`,
        )
      }
      end = ptr + bytes
      return ptr
    }
    return new GuestMemory({ memory, regions, allocate })
  }

  /** Uses a memory that another machine made and owns, v86's for one. */
  static adopt(options: AdoptOptions): GuestMemory {
    return new GuestMemory(options)
  }

  get shared(): boolean {
    return !(this.memory.buffer instanceof ArrayBuffer)
  }

  /** The guest's bytes at `gpa`; throws RangeError unless all of them lie in one region. Made anew at each call. */
  view(gpa: number, bytes: number): Uint8Array {
    for (const region of this.regions) {
      const offset = gpa - region.gpa
      if (offset >= 0 && bytes >= 0 && bytes <= region.bytes - offset) {
        return new Uint8Array(this.memory.buffer, region.ptr + offset, bytes)
      }
    }
    throw new RangeError(`GuestMemory: ${bytes} bytes at 0x${gpa.toString(16)} are not guest RAM`)
  }

  /** True if the linear range is wholly in one region: the check before an address goes to the kernel. */
  contains(ptr: number, bytes: number): boolean {
    for (const region of this.regions) {
      const offset = ptr - region.ptr
      if (offset >= 0 && bytes >= 0 && bytes <= region.bytes - offset) return true
    }
    return false
  }

  /** Zeroed bytes for a device's state, 64-byte aligned, outside guest RAM. Never given back. */
  allocate(bytes: number): number {
    const ptr = this.#allocate(bytes)
    const end = ptr + bytes
    if (!(ptr > 0 && ptr % STATE_ALIGN === 0 && end <= this.memory.buffer.byteLength)) {
      throw new RangeError(`GuestMemory: allocate(${bytes}) gave ${ptr}, which is not an aligned offset in the memory`)
    }
    for (const region of this.regions) {
      if (ptr < region.ptr + region.bytes && end > region.ptr) {
        throw new RangeError(`GuestMemory: allocate(${bytes}) gave ${ptr}, which is inside guest RAM`)
      }
    }
    return ptr
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

function checkUnit(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value % REGION_ALIGN !== 0) {
    throw new RangeError(`GuestMemory: ${name} must be a multiple of ${REGION_ALIGN}, not ${value}`)
  }
}

function checkRegions(regions: readonly Region[], linearBytes: number): readonly Region[] {
  if (regions.length < 1 || regions.length > REGIONS_MAX) {
    throw new RangeError(`GuestMemory: 1 to ${REGIONS_MAX} regions, not ${regions.length}`)
  }
  const sorted = regions.map((region) => ({ ...region })).sort((a, b) => a.gpa - b.gpa)
  sorted.forEach((region, i) => {
    checkUnit('region.gpa', region.gpa)
    checkUnit('region.bytes', region.bytes)
    checkUnit('region.ptr', region.ptr)
    if (region.bytes === 0) throw new RangeError('GuestMemory: a region has no bytes')
    if (region.ptr === 0) throw new RangeError('GuestMemory: linear offset 0 cannot be guest RAM')
    if (region.ptr + region.bytes > linearBytes) {
      throw new RangeError(`GuestMemory: the region at 0x${region.gpa.toString(16)} ends past the linear memory`)
    }
    const next = sorted[i + 1]
    if (next && next.gpa < region.gpa + region.bytes) {
      throw new RangeError(
        `GuestMemory: the regions at 0x${region.gpa.toString(16)} and 0x${next.gpa.toString(16)} overlap`,
      )
    }
    for (const other of sorted) {
      if (other !== region && other.ptr < region.ptr + region.bytes && region.ptr < other.ptr + other.bytes) {
        throw new RangeError('GuestMemory: two regions share linear memory')
      }
    }
  })
  return sorted
}
