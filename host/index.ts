// The portable half of the package: Node and browsers.

export { MemoryBackend } from './backend/memory.ts'
export { BackendError, type BlockBackend } from './backend/types.ts'
export { GuestMemory, type Region } from './device/guest-memory.ts'
export { FEATURE_BITS, type FeatureName, type VirtioBlkOptions } from './device/options.ts'
export type { Overridable, RestoreOptions } from './device/restore.ts'
export { SnapshotError, type SnapshotInfo, validateSnapshot } from './device/snapshot.ts'
export type { ThrottleOptions } from './device/throttle.ts'
export { type PollResult, VirtioBlk } from './device/virtio-blk.ts'
export * from './driver/driver.ts'
export type { EngineExports, EngineLoader } from './engine/engine.ts'
export type { Counters } from './engine/state.ts'
