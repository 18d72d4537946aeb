// The conformance kit as the package exports it ('virtio-blk-wasm/conformance'): checks any virtio-mmio block device
// against the standard, ours or yours, in Node or a browser.
//
//   const results = await runConformance(() => ({ mmio: { mmioRead, mmioWrite }, memory: { regions, view } }))
//   for (const { id, outcome, tried, seen } of results) console.log(id, outcome, tried, seen)

export { OUTCOMES, type Outcome, type Result, totals } from './outcome.ts'
export { ROWS, type Row } from './rows.ts'
export { chosenRows, type RunOptions, runConformance } from './run.ts'
export type { Target, TargetFactory, TargetFacts, TargetKind } from './target.ts'
