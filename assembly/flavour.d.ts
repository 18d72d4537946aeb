// For the type checker alone: the constant that `--use TRACE=1` defines when a trace flavour is compiled.

declare const TRACE: i32
