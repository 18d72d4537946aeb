// The trace flavour's one import. It is told of every load and store of guest RAM right after it was made, and of every
// decision on a chain, in order (TRACE_* in abi.ts); whoever listens may look at the state block and at guest RAM at
// that moment, and change guest RAM before the next load. In the other flavours TRACE is not defined: the compiler
// drops every call below, and the import with them.

declare function trace(event: u32, at: u32, low: u32, high: u32): void

export function traced(event: u32, at: u32, low: u32, high: u32): void {
  if (isDefined(TRACE)) trace(event, at, low, high)
}

export function traced64(event: u32, at: u32, value: u64): void {
  if (isDefined(TRACE)) trace(event, at, value as u32, (value >> 32) as u32)
}
