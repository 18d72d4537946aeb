// Record and replay: the entry `virtio-blk-wasm/replay`. Node and browsers.

export { loadTraceEngine, type TraceListener } from '../engine/trace.ts'
export { TraceError } from './bytes.ts'
export { type Listed, type ListedDescriptor, type ListedEvent, type ListedRequest, Lister, list } from './listing.ts'
export { type Divergence, type PlayOptions, type Replayed, replay } from './player.ts'
export { Recorder, type RecorderHandle, type RecorderOptions, type StepListener } from './recorder.ts'
export type { Call, InitConfig, PlannedRequest, Step, TraceEvent } from './step.ts'
export { TRACE_VERSION, Trace } from './trace.ts'
