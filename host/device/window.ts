// Reads of the register window for hosts, whose accesses are as wide as the guest's instructions (device rule 1).
// The engine knows 1, 2 and 4 bytes; eight are put together here. Portable.

import { VIRTIO_MMIO_CONFIG } from '../../assembly/spec.ts'
import type { EngineExports } from '../engine/engine.ts'

/** What the standard's drivers get for an access of a width that the registers do not have. */
const ALL_ONES_64 = 2 ** 64 - 1

/** `width` bytes (1, 2, 4 or 8) at `offset`, as an unsigned number; what is no such access reads 0. */
export function readWindow(engine: EngineExports, state: number, offset: number, width: number): number {
  if (offset >>> 0 !== offset || ![1, 2, 4, 8].includes(width)) return 0
  if (width !== 8) return engine.mmioRead(state, offset, width) >>> 0
  if (offset < VIRTIO_MMIO_CONFIG) return ALL_ONES_64
  const low = engine.mmioRead(state, offset, 4) >>> 0
  return low + (engine.mmioRead(state, offset + 4, 4) >>> 0) * 2 ** 32
}

/** True for a write that the engine can be asked for: an offset and a value of 32 bits (or its signed twin). */
export function isWindowWrite(offset: number, value: number): boolean {
  return offset >>> 0 === offset && (value >>> 0 === value || (value | 0) === value)
}
